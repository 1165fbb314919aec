/* config.h - the inside of the settings, for config*.c, the registry and the `config` verb.
 *
 * Settings are sections of entries. An entry keeps the text as written and where it stood; of several
 * that set the same key the one of the highest layer stays. Texts become values once all layers are in.
 */
#ifndef RZ_CONFIG_H
#define RZ_CONFIG_H

#include "arena.h"
#include "core.h"
#include "schema.h"

/* layers, weakest first */
#define RZ_LAYER_SYSTEM 1
#define RZ_LAYER_USER 2
#define RZ_LAYER_FILE 3
#define RZ_LAYER_ENV 4
#define RZ_LAYER_SET 5
#define RZ_LAYER_FLAG 6

#define RZ_CONFIG_FILE_MAX (1u << 20) /* bytes of one file, and of one value from a file */
#define RZ_CONFIG_DEPTH 8             /* files inside files */

/* Where a text stood. */
struct rz_origin {
    int32_t layer;
    uint32_t file;    /* number of the reading of a file; 0: no file                          */
    const char *from; /* "FILE:LINE", "RZ__ENGINE__KV_TYPE", "-o engine.kv_type", "--threads" */
    const char *dir;  /* relative paths count from here; NULL: the current folder             */
};

struct rz_entry {
    struct rz_entry *next;
    const char *key, *raw;
    struct rz_origin at;
    const char *text; /* expanded; NULL until then */
};

struct rz_section {
    struct rz_section *next;
    const char *name, *from; /* from: where it was named first */
    const struct rz_schema_section *schema;
    struct rz_entry *entries;
    struct rz_option_value *values; /* [schema->n_options] */
    bool guessed;                   /* named by the environment only, so '_' may stand for anything */
};

struct rz_settings {
    struct rz_arena arena;
    struct rz_section *sections;       /* in the order in which they were met */
    struct rz_option_value **defaults; /* of each kind of section */
    uint32_t n_files;
    int32_t layer; /* of the file that is read */
};

/* --- config.c --- */

/* Sets a key. Refuses unknown sections and keys (of the core's sections) and a key that the same file has
 * set before. */
int32_t rz_config_set(struct rz_settings *s, const char *section, const char *key, const char *raw,
                      const struct rz_origin *at, struct rz_err *err);
struct rz_section *rz_config_section(struct rz_settings *s, const char *name);
struct rz_entry *rz_config_entry(const struct rz_section *section, const char *key);
/* Expands and parses one entry. */
int32_t rz_config_value(struct rz_settings *s, const char *section, struct rz_entry *e,
                        const struct rz_option *option, struct rz_option_value *out, struct rz_err *err);
/* The names of all plugins are known now: every [plugin.NAME] must be one of them or have a path. */
int32_t rz_config_bind_plugins(struct rz_settings *s, const char *const *names, uint32_t n,
                               struct rz_err *err);
/* Changes an option of a plugin that was not validated yet; for flags of `serve`. */
int32_t rz_config_flag(struct rz_settings *s, const char *section, const char *key, const char *text,
                       const char *flag, struct rz_err *err);
/* The text of a key as it was written, or NULL. */
const char *rz_config_raw(const struct rz_settings *s, const char *section, const char *key);

/* --- config_file.c --- */

/* Reads one file and what it includes. `named`: its absence is an error. */
int32_t rz_config_read(struct rz_settings *s, const char *path, int32_t layer, bool named,
                       struct rz_err *err);

/* --- config_value.c --- */

/* ${VAR}, ${VAR:-default} and @file:. Returns NULL with a reason in why. */
char *rz_config_expand(struct rz_arena *arena, const char *raw, const char *dir, char *why, size_t cap);
/* Reads a small regular file into the arena. Returns NULL with a reason in why; sets *len. */
char *rz_config_slurp(struct rz_arena *arena, const char *path, size_t *len, char *why, size_t cap);

/* --- config_env.c --- */

/* RZ__SECTION__KEY of the environment. Files and -o have been read before, so that sections are known. */
int32_t rz_config_environment(struct rz_settings *s, struct rz_err *err);
/* True if the names are equal, case-blind and with everything non-alphanumeric as '_'. */
bool rz_config_same_name(const char *a, const char *b);

#endif
