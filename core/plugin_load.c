/* plugin_load.c - brings a plugin into the process: dlopen, comparison with what the file showed, options,
 * init. Libraries are never unloaded: their threads and destructors may outlive any moment that we could
 * choose, so the process is the unit of unloading.
 */
#include "registry.h"
#include "schema.h"

#include "err.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define OPTIONS_MAX 256u
#define STRIDE_MAX 4096u

int32_t rz_slot_refuse(struct rz_registry *r, struct rz_slot *slot, int32_t code, const char *format, ...)
{
    char why[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    slot->pub.state = RZ_PLUGIN_REFUSED;
    slot->pub.why = rz_arena_strdup(&r->arena, why);
    if (!slot->pub.why)
        slot->pub.why = "refused (and no memory to say why)";
    slot->code = code;
    return code;
}

static const char *place(const struct rz_slot *slot)
{
    if (slot->asked)
        return slot->asked;
    return slot->pub.path ? slot->pub.path : slot->pub.header.name;
}

int32_t rz_slot_error(const struct rz_slot *slot, struct rz_err *err)
{
    return rz_fail(err, slot->code, place(slot), "%s", slot->pub.why);
}

/* --- floating point mode: a library linked with -ffast-math changes it for the whole thread --- */

#if defined(__x86_64__)
static uint64_t fp_mode(void)
{
    return __builtin_ia32_stmxcsr() & 0xffc0u; /* rounding, masks, flush to zero; not the sticky flags */
}
static void fp_restore(uint64_t mode)
{
    __builtin_ia32_ldmxcsr((__builtin_ia32_stmxcsr() & ~0xffc0u) | (uint32_t)mode);
}
#else
static uint64_t fp_mode(void)
{
    uint64_t v;
    __asm__ volatile("mrs %0, fpcr" : "=r"(v));
    return v;
}
static void fp_restore(uint64_t mode)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
}
#endif

static void fp_check(const struct rz_slot *slot, uint64_t mode, const char *when)
{
    if (fp_mode() == mode)
        return;
    fp_restore(mode);
    rz_log(RZ_LOG_WARN, "plugin %s: changed the floating point mode %s (linked with -ffast-math?); restored",
           slot->pub.header.name, when);
}

/* --- tables --- */

static bool good_name(const char *name)
{
    size_t n = name ? strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") : 0;
    return n && !name[n] && n < 50;
}

/* NULL, or what is wrong with the option table. */
static const char *bad_options(const struct rz_plugin *p)
{
    if (!p->n_options)
        return NULL;
    if (p->n_options > OPTIONS_MAX)
        return "more than 256 options";
    if (!p->options || p->option_stride < sizeof(struct rz_option) || p->option_stride > STRIDE_MAX ||
        p->option_stride % 8)
        return "an option table without a usable address and stride";
    for (uint32_t i = 0; i < p->n_options; i++) {
        const struct rz_option *o = rz_option_at(p->options, p->option_stride, i);
        if (o->size < sizeof(*o) || o->type > RZ_OPT_LIST || o->flags & ~RZ_OPT_SECRET || o->zero || !o->help)
            return "an option of an unknown form";
        if (!good_name(o->name))
            return "an option whose name is not of a-z, 0-9 and _";
        if (o->type == RZ_OPT_CHOICE && (!o->choices || !o->choices[0]))
            return "a choice without choices";
    }
    return NULL;
}

/* The first fields of raw, as far as both sides know them. */
static int32_t copy_table(struct rz_registry *r, struct rz_slot *slot)
{
    size_t n = slot->raw->header.size;
    memset(&slot->copy, 0, sizeof(slot->copy));
    memcpy(&slot->copy, slot->raw, n < sizeof(slot->copy) ? n : sizeof(slot->copy));
    const char *bad = bad_options(&slot->copy);
    if (bad)
        return rz_slot_refuse(r, slot, RZ_EVERSION, "has %s", bad);
    if (!slot->copy.init || !slot->copy.query)
        return rz_slot_refuse(r, slot, RZ_EVERSION, "has no %s function", slot->copy.init ? "query" : "init");
    slot->pub.plugin = &slot->copy;
    return RZ_OK;
}

static int32_t open_library(struct rz_registry *r, struct rz_slot *slot)
{
    uint64_t mode = fp_mode();
    void *library = dlopen(slot->pub.path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    fp_check(slot, mode, "while it was loaded");
    if (!library) {
        const char *why = dlerror();
        return rz_slot_refuse(r, slot, RZ_ECONFIG, "cannot be loaded: %s", why ? why : "no reason given");
    }
    slot->raw = dlsym(library, RZ_PLUGIN_SYMBOL);
    if (!slot->raw)
        return rz_slot_refuse(r, slot, RZ_EVERSION, "has no symbol " RZ_PLUGIN_SYMBOL " once loaded");
    if (memcmp(&slot->raw->header, &slot->pub.header, sizeof(slot->pub.header)))
        return rz_slot_refuse(r, slot, RZ_EVERSION, "its header differs from the one in the file");
    return RZ_OK;
}

int32_t rz_slot_attach(struct rz_registry *r, struct rz_slot *slot, struct rz_err *err)
{
    if (slot->pub.state == RZ_PLUGIN_REFUSED)
        return rz_slot_error(slot, err);
    if (slot->attached)
        return RZ_OK;
    int32_t status = slot->raw ? RZ_OK : open_library(r, slot);
    if (!status)
        status = copy_table(r, slot);
    if (status)
        return rz_slot_error(slot, err);
    slot->attached = true;
    return RZ_OK;
}

int32_t rz_slot_start(struct rz_registry *r, struct rz_slot *slot, struct rz_err *err)
{
    struct rz_err why = RZ_ERR_INIT;
    int32_t status = rz_slot_attach(r, slot, err);
    if (status || slot->started)
        return status;
    status = rz_settings_plugin(r->settings, &slot->copy, &slot->config, err);
    if (status)
        return status; /* a mistake in the configuration, not in the plugin */
    uint64_t mode = fp_mode();
    status = slot->copy.init(r->host, &slot->config, &slot->pub.self, &why);
    fp_check(slot, mode, "in its init");
    if (status < 0) {
        why.where[sizeof(why.where) - 1] = why.message[sizeof(why.message) - 1] = 0;
        rz_slot_refuse(r, slot, status, "%s%s%s", why.where, why.where[0] ? ": " : "",
                       why.message[0] ? why.message : "its init failed without a message");
        return rz_slot_error(slot, err);
    }
    slot->started = true;
    slot->pub.state = RZ_PLUGIN_READY;
    rz_log(RZ_LOG_DEBUG, "plugin %s %s: ready (%s)", slot->pub.header.name, slot->pub.header.version,
           slot->pub.path ? slot->pub.path : "built in");
    return RZ_OK;
}

void rz_slot_stop(struct rz_slot *slot)
{
    if (slot->started && slot->copy.fini)
        slot->copy.fini(slot->pub.self);
    slot->started = false;
}
