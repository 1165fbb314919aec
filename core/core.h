/* core.h - the host: configuration, plugin registry, mapped files, host services, models.
 *
 * Data flows one way: settings -> registry -> sources -> models -> engine -> frontend. Everything here
 * is used from the main thread while the program starts and stops; what is handed to other threads is
 * constant by then.
 */
#ifndef RZ_CORE_H
#define RZ_CORE_H

#include "buf.h"

#include <rz/chat.h>
#include <rz/engine.h>
#include <rz/format.h>
#include <rz/kernels.h>
#include <rz/plugin.h>
#include <stdbool.h>

#define RZ_VERSION "0.1.0"

/* --- settings: config.c reads and expands, schema.c holds the core's option tables --- */

struct rz_settings;

/* What the command line said, in order. Strings are borrowed. */
struct rz_cmdline {
    const char *config_file; /* --config                          */
    const char *const *sets; /* -o section.key=value              */
    uint32_t n_sets;
    const char *const *plugins; /* --plugin                          */
    uint32_t n_plugins;
    const char *plugin_dir; /* --plugin-dir                      */
    int32_t threads;        /* -t; 0: not given                  */
    bool bare;              /* built-in values only: no files, no environment, no other plugin_dir */
    const char *log_level;  /* -v: "info", -q: "error"; NULL: not given */
};

/* The folder of the program, and the one above it where that is bin/ (an installation); NULL: none. */
struct rz_arena;
char *rz_program_folder(struct rz_arena *arena);
char *rz_program_prefix(struct rz_arena *arena);

/* Reads built-in values, the system file, the user file, --config, the environment, -o, flags, in this
 * order. Errors are RZ_ECONFIG and name FILE:LINE, the section, the key and the nearest known name. */
int32_t rz_settings_load(const struct rz_cmdline *cmd, struct rz_settings **out, struct rz_err *err);
void rz_settings_free(struct rz_settings *s);

/* The value of an option of a core section ("rz", "engine", "sampling", "tokenizer", "limits", or a
 * named one such as "model.smol"). NULL only if the schema has no such option. */
const struct rz_option_value *rz_settings_get(const struct rz_settings *s, const char *section,
                                              const char *key);
/* True if somebody set it (file, environment, -o or flag). */
bool rz_settings_given(const struct rz_settings *s, const char *section, const char *key);
/* The i-th configured section that begins with prefix ("model."): its full name, or NULL. */
const char *rz_settings_section(const struct rz_settings *s, const char *prefix, uint32_t i);
/* Validates [plugin.NAME] against a plugin's own table; the result lives as long as the settings. */
int32_t rz_settings_plugin(struct rz_settings *s, const struct rz_plugin *plugin, struct rz_config *out,
                           struct rz_err *err);

/* --- registry: registry.c decides, elf.c reads headers before dlopen --- */

struct rz_registry;

#define RZ_PLUGIN_BUILTIN 0 /* linked in, not initialised yet      */
#define RZ_PLUGIN_FOUND 1   /* header read, not loaded             */
#define RZ_PLUGIN_READY 2   /* loaded and initialised              */
#define RZ_PLUGIN_REFUSED 3 /* see why                             */

/* One known plugin, for people and for lookups. */
struct rz_plugin_entry {
    struct rz_plugin_header header; /* zero if the file could not be read that far */
    const char *path;               /* NULL: built in                              */
    int32_t state;                  /* RZ_PLUGIN_*                                 */
    bool explicit_;                 /* named by --plugin, or required = 1          */
    bool flagged;                   /* named by --plugin                           */
    const char *why;                /* of a refusal, else NULL                     */
    const struct rz_plugin *plugin; /* the host's copy once READY or BUILTIN       */
    void *self;
};

/* Looks at built-ins, plugin_dir, [plugin.*] and --plugin. A plugin named explicitly that is refused
 * makes it fail with RZ_ECONFIG; others are kept as REFUSED. No plugin code runs here. */
int32_t rz_registry_open(struct rz_settings *settings, const struct rz_cmdline *cmd,
                         const struct rz_host *host, struct rz_registry **out, struct rz_err *err);
void rz_registry_close(struct rz_registry *r);
uint32_t rz_registry_count(const struct rz_registry *r);
const struct rz_plugin_entry *rz_registry_at(const struct rz_registry *r, uint32_t i);
/* The folder in which plugins were looked for; NULL: none. */
const char *rz_registry_dir(const struct rz_registry *r);
/* The first entry of this name (or, where no name could be read, of this file name). */
int32_t rz_registry_find(const struct rz_registry *r, const char *name, const char *where, uint32_t *i,
                         struct rz_err *err);
/* Brings the entry into the process (dlopen, compare) so that entry->plugin and its options can be read; no
 * init. */
int32_t rz_registry_attach(struct rz_registry *r, uint32_t i, struct rz_err *err);
/* Loads every plugin that was named explicitly. Its failure is the caller's: RZ_ECONFIG where the file or
 * the configuration is at fault, else what its init said (no device, ...). */
int32_t rz_registry_load_explicit(struct rz_registry *r, struct rz_err *err);
/* Loads (dlopen, compare, init) the entry if it is not yet. */
int32_t rz_registry_load(struct rz_registry *r, uint32_t i, struct rz_err *err);
/* Walks the plugins that provide kind ("format", "kernels", "tokenizer", "frontend", or one thing such as
 * "tokenizer:bpe") in order of preference (--plugin, prefer = 1, [rz] plugins, found, built in), loading
 * each as needed; start with *at = 0. Returns a full-size copy of the interface table that the host may
 * call (arrays in it too: their records are full-size and their strides ours), NULL at the end. A plugin
 * that does not load is skipped with a warning; if it was named explicitly, or its section has a mistake,
 * NULL comes at once and err says why: after NULL look at err->code. */
const void *rz_registry_next(struct rz_registry *r, const char *kind, const char *iface, uint32_t *at,
                             void **self, const char **name, struct rz_err *err);

/* --- sources: source.c opens and maps files --- */

struct rz_source_set {
    struct rz_source *sources;
    uint32_t n;
    void *priv;
};

/* Installs the SIGBUS handler that keeps the maps readable; once, by the program. */
bool rz_source_guard(void);
/* Opens and maps a model file read-only (and the other files of a split model), or the files of a model's
 * folder: config.json first. Refuses what is not a regular file. */
int32_t rz_source_open(const char *path, struct rz_source_set *out, struct rz_err *err);
void rz_source_close(struct rz_source_set *set);
/* RZ_EIO if a mapped file was cut or changed since it was opened, or a page of it could not be read. */
int32_t rz_source_check(const struct rz_source_set *set, struct rz_err *err);
/* Only the latter; costs nothing. */
int32_t rz_source_readable(const struct rz_source_set *set, struct rz_err *err);
/* Appends a line a file that names it, and that changes when the file does. */
void rz_source_identity(const struct rz_source_set *set, struct rz_buf *out);
/* Lets the kernel drop the pages of a range that was copied elsewhere. */
void rz_source_forget(const struct rz_source_set *set, const void *from, uint64_t bytes);

/* --- host services: host.c --- */

/* The table that plugins get at init. */
const struct rz_host *rz_host_table(void);
/* Adds an interface that plugins may query. */
void rz_host_provide(const char *iface, const void *table);
void rz_host_log_level(int32_t level);
/* From now on each line of the log is a JSON object. */
void rz_host_log_json(bool on);
/* What plugins hold of the host's memory. */
void rz_host_memory(uint64_t *bytes, uint64_t *blocks);
/* One line to stderr, if the level is wanted. */
void rz_log(int32_t level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- models: models.c implements rz.host.model/1 --- */

struct rz_models;
int32_t rz_models_open(struct rz_settings *settings, struct rz_registry *registry, uint32_t n_threads,
                       struct rz_models **out, struct rz_err *err);
void rz_models_close(struct rz_models *m);
const struct rz_host_model *rz_models_table(struct rz_models *m);
/* rz.chat/1, over the models of any such set: chat.c */
const struct rz_chat_api *rz_chat_table(void);
/* For `serve`: every configured model (or the one given), loaded now or on first use. From now on the control
 * thread is one of its own. */
int32_t rz_models_serve(struct rz_models *m, const char *name, struct rz_err *err);
/* Ends that thread and the loop threads; requests that still run end within drain_ms or are cancelled. */
void rz_models_stop(struct rz_models *m, uint32_t drain_ms);

#endif
