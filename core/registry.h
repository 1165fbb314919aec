/* registry.h - the inside of the plugin registry, shared by registry.c (who is there, in which order),
 * plugin_file.c (is a file acceptable), plugin_load.c (loading) and plugin_iface.c (interface tables).
 */
#ifndef RZ_REGISTRY_H
#define RZ_REGISTRY_H

#include "arena.h"
#include "core.h"

#include <pthread.h>

#define RZ_IFACES_MAX 8 /* interfaces of one plugin that the host has asked for */

/* One plugin. Its memory belongs to the registry's arena. */
struct rz_slot {
    struct rz_plugin_entry pub;
    const char *stem;  /* "avx2" of ".../avx2.so"; NULL: built in                     */
    const char *asked; /* "--plugin cuda", "etc/rz.ini:12"; NULL: merely found        */
    const char *said;  /* "etc/rz.ini:12: [plugin.cuda] path"; NULL: no setting names its file */
    int32_t code;      /* of a refusal                                               */
    bool chosen;       /* named by a path, so it may replace a built-in               */
    bool foreign;      /* refused, but only because it is for another CPU */
    bool preferred, attached, started;
    uint32_t rank;               /* lower is asked first          */
    const struct rz_plugin *raw; /* the plugin's own table        */
    struct rz_plugin copy;       /* ours, full size, zero-filled  */
    struct rz_config config;
    uint32_t n_ifaces;
    struct {
        const char *id;
        const void *table;
    } ifaces[RZ_IFACES_MAX];
};

struct rz_registry {
    pthread_mutex_t loading; /* one at a time: a loop whose device failed asks for another one */
    struct rz_arena arena;
    struct rz_settings *settings;
    const struct rz_host *host;
    struct rz_slot **slots;
    uint32_t n;
    size_t cap;
    const char *dir; /* where plugins are found; NULL: nowhere */
    bool strict;
    bool kernels_alone; /* --plugin scalar: the other kernel tables are not offered */
};

/* Marks a slot as refused, with a reason that stays. Returns code. */
int32_t rz_slot_refuse(struct rz_registry *r, struct rz_slot *slot, int32_t code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The refusal as an error of the caller. */
int32_t rz_slot_error(const struct rz_slot *slot, struct rz_err *err);

/* --- plugin_file.c --- */

/* Reads and judges the header of slot->pub.path; fills pub.header and leaves the slot FOUND or REFUSED. */
void rz_slot_inspect(struct rz_registry *r, struct rz_slot *slot);
/* Compares the file with the pin of its section, if there is one. A pin that is no hash is an error. */
int32_t rz_slot_pin(struct rz_registry *r, struct rz_slot *slot, struct rz_err *err);
/* False if somebody else could have put the file (a resolved path) there. */
bool rz_path_safe(const char *real, bool strict, char *why, size_t cap);

/* --- plugin_load.c --- */

/* dlopen and comparison; afterwards the option table may be read. No init. */
int32_t rz_slot_attach(struct rz_registry *r, struct rz_slot *slot, struct rz_err *err);
/* The same and init, with validated options. */
int32_t rz_slot_start(struct rz_registry *r, struct rz_slot *slot, struct rz_err *err);
void rz_slot_stop(struct rz_slot *slot);

/* --- plugin_iface.c --- */

/* The host's copy of an interface table of a started slot; NULL if it has none or a broken one (then the
 * slot is refused). */
const void *rz_slot_iface(struct rz_registry *r, struct rz_slot *slot, const char *id);

#endif
