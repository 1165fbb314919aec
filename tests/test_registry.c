/* test_registry.c - plugins inside the process: option tables, init, interface tables that are broken,
 * older or newer, order of preference. Files are the business of test_elf.c and test_host.py.
 */
#include "config.h"
#include "err.h"
#include "header.h"
#include "registry.h"
#include "rz_test.h"

#include <rz/device.h>
#include <rz/frontend.h>
#include <stdio.h>
#include <stdlib.h>

/* --- a plugin whose every part can be changed --- */

static int n_init, n_query, n_fini;
static int32_t init_result;
static const void *table_of; /* what query answers */
static bool break_fp;

static int32_t fake_init(const struct rz_host *host, const struct rz_config *config, void **self,
                         struct rz_err *err)
{
    n_init++;
    *self = &n_init;
    rz_check(host != NULL && config != NULL);
#if defined(__x86_64__)
    if (break_fp)
        __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040); /* flush to zero, denormals are zero */
#endif
    if (init_result)
        rz_fail(err, init_result, "", "libthing.so.1 not found");
    return init_result;
}

static void fake_fini(void *self)
{
    rz_check(self == &n_init);
    n_fini++;
}

static const void *fake_query(void *self, const char *id, uint32_t minor_need)
{
    (void)id;
    rz_check(self == &n_init && minor_need == 0);
    n_query++;
    return table_of;
}

static struct rz_plugin plugin;
static struct rz_registry registry;
static struct rz_slot slot;

static void begin(void)
{
    struct rz_err err = RZ_ERR_INIT;
    plugin = (struct rz_plugin){
        .header = {RZ_HEADER(RZ_KIND_KERNELS), .name = "fake", .version = "1", .provides = "kernels:fake"},
        .init = fake_init,
        .fini = fake_fini,
        .query = fake_query};
    n_init = n_query = n_fini = 0;
    init_result = 0;
    break_fp = false;
    table_of = NULL;
    slot = (struct rz_slot){.raw = &plugin, .pub = {.header = plugin.header, .state = RZ_PLUGIN_BUILTIN}};
    registry = (struct rz_registry){.host = rz_host_table()};
    struct rz_cmdline cmd = {.bare = true};
    rz_check_ok(rz_settings_load(&cmd, &registry.settings, &err), &err);
}

static void end(void)
{
    rz_slot_stop(&slot);
    rz_settings_free(registry.settings);
    rz_arena_free(&registry.arena);
}

/* A fresh start with what the test has changed is refused with this reason. */
static void refused(const char *part)
{
    struct rz_err err = RZ_ERR_INIT;
    rz_check(rz_slot_start(&registry, &slot, &err) < 0);
    rz_check_eq(slot.pub.state, RZ_PLUGIN_REFUSED);
    rz_check_has(slot.pub.why, part);
    rz_check_has(err.message, part);
    rz_check_eq(rz_slot_start(&registry, &slot, &err), err.code); /* it stays refused */
    end();
}

static const struct rz_option good_option = {
    .size = sizeof(struct rz_option), .type = RZ_OPT_INT, .name = "speed", .def = "3", .help = "how fast"};

RZ_TEST(load, starts_once_and_stops_once)
{
    struct rz_err err = RZ_ERR_INIT;
    begin();
    rz_check_ok(rz_slot_attach(&registry, &slot, &err), &err);
    rz_check_eq(n_init, 0);
    rz_check_ok(rz_slot_start(&registry, &slot, &err), &err);
    rz_check_ok(rz_slot_start(&registry, &slot, &err), &err);
    rz_check_eq(slot.pub.state, RZ_PLUGIN_READY);
    rz_check_eq(n_init, 1);
    end();
    rz_slot_stop(&slot);
    rz_check_eq(n_fini, 1);
}

RZ_TEST(load, a_failed_init_keeps_its_code_and_words)
{
    struct rz_err err = RZ_ERR_INIT;
    begin();
    init_result = RZ_EDEVICE;
    slot.asked = "--plugin fake";
    rz_check_eq(rz_slot_start(&registry, &slot, &err), RZ_EDEVICE);
    rz_check_streq(err.where, "--plugin fake");
    rz_check_streq(err.message, "libthing.so.1 not found");
    end();
    rz_check_eq(n_fini, 0);
}

RZ_TEST(load, functions_that_are_missing)
{
    begin();
    plugin.init = NULL;
    refused("has no init function");
    begin();
    plugin.query = NULL;
    refused("has no query function");
    begin();
    plugin.fini = NULL;
    struct rz_err err = RZ_ERR_INIT;
    rz_check_ok(rz_slot_start(&registry, &slot, &err), &err);
    end();
}

RZ_TEST(load, broken_option_tables)
{
    struct rz_option o = good_option;
    begin();
    plugin.n_options = 1;
    refused("without a usable address");
    begin();
    plugin.n_options = 1, plugin.options = &o, plugin.option_stride = 8;
    refused("without a usable address");
    begin();
    plugin.n_options = 1000, plugin.options = &o, plugin.option_stride = sizeof(o);
    refused("more than 256 options");
#define BROKEN(change, part) \
    begin(); \
    o = good_option; \
    plugin.n_options = 1, plugin.options = &o, plugin.option_stride = sizeof(o); \
    change; \
    refused(part)
    BROKEN(o.size = 8, "unknown form");
    BROKEN(o.type = 99, "unknown form");
    BROKEN(o.flags = 2, "unknown form");
    BROKEN(o.zero = 1, "unknown form");
    BROKEN(o.help = NULL, "unknown form");
    BROKEN(o.name = NULL, "whose name");
    BROKEN(o.name = "Speed", "whose name");
    BROKEN(o.name = "", "whose name");
    BROKEN(o.type = RZ_OPT_CHOICE, "without choices");
}

RZ_TEST(load, a_default_that_breaks_its_own_rule)
{
    struct rz_option o = good_option;
    struct rz_err err = RZ_ERR_INIT;
    begin();
    o.def = "fast";
    plugin.n_options = 1, plugin.options = &o, plugin.option_stride = sizeof(o);
    rz_check_eq(rz_slot_start(&registry, &slot, &err), RZ_EVERSION);
    rz_check_has(err.message, "the default of its option speed");
    rz_check_eq(n_init, 0);
    end();
}

RZ_TEST(load, longer_option_records_of_a_newer_plugin)
{
    struct {
        struct rz_option o;
        uint64_t more;
    } options[2] = {{good_option, ~0ull}, {good_option, ~0ull}};
    struct rz_err err = RZ_ERR_INIT;
    begin();
    options[0].o.size = options[1].o.size = sizeof(options[0]);
    options[1].o.name = "colour";
    plugin.n_options = 2, plugin.options = &options[0].o, plugin.option_stride = sizeof(options[0]);
    rz_check_ok(rz_slot_start(&registry, &slot, &err), &err);
    rz_check_eq(slot.config.n_values, 2);
    rz_check_eq(slot.config.values[1].i, 3);
    end();
}

#if defined(__x86_64__)
RZ_TEST(load, the_floating_point_mode_is_restored)
{
    struct rz_err err = RZ_ERR_INIT;
    begin();
    uint32_t before = __builtin_ia32_stmxcsr() & 0xffc0;
    break_fp = true;
    rz_check_ok(rz_slot_start(&registry, &slot, &err), &err);
    rz_check_eq(__builtin_ia32_stmxcsr() & 0xffc0, before);
    end();
}
#endif

/* --- interface tables --- */

static int32_t run_row(const struct rz_kernel_call *call, struct rz_err *err)
{
    (void)call, (void)err;
    return RZ_OK;
}
static uint32_t tiles(const struct rz_kernel_call *call)
{
    (void)call;
    return 1;
}
static uint64_t blob_bytes(const struct rz_weight_view *w)
{
    (void)w;
    return 0;
}
static void blob_prep(const struct rz_weight_view *w, void *dst, uint64_t first, uint64_t n)
{
    (void)w, (void)dst, (void)first, (void)n;
}

static const void *take(const void *table, const char *id)
{
    struct rz_err err = RZ_ERR_INIT;
    table_of = table;
    rz_check_ok(rz_slot_start(&registry, &slot, &err), &err);
    return rz_slot_iface(&registry, &slot, id);
}

static void table_refused(const void *table, const char *id, const char *part)
{
    rz_check(take(table, id) == NULL);
    rz_check_eq(slot.pub.state, RZ_PLUGIN_REFUSED);
    rz_check_has(slot.pub.why, part);
    rz_check(rz_slot_iface(&registry, &slot, id) == NULL);
    end();
}

RZ_TEST(table, kernels_of_a_newer_plugin_are_cut_to_ours)
{
    struct {
        struct rz_kernel_row row;
        uint64_t more[2];
    } rows[3];
    struct {
        struct rz_kernels t;
        uint64_t more;
    } table = {{.size = sizeof(table),
                .name = "fake",
                .rows = &rows[0].row,
                .n_rows = 3,
                .row_stride = sizeof(rows[0])},
               ~0ull};
    begin();
    memset(rows, 0xff, sizeof(rows));
    for (int i = 0; i < 3; i++) {
        rows[i].row =
            (struct rz_kernel_row){.size = sizeof(rows[0]), .op = (uint16_t)(7 + i), .run = run_row};
    }
    const struct rz_kernels *k = take(&table, RZ_KERNELS_1);
    rz_check(k != NULL && k != &table.t);
    rz_check_eq(k->size, sizeof(*k));
    rz_check_eq(k->row_stride, sizeof(struct rz_kernel_row));
    rz_check_eq(k->n_rows, 3);
    for (int i = 0; i < 3; i++) {
        rz_check_eq(k->rows[i].size, sizeof(struct rz_kernel_row));
        rz_check_eq(k->rows[i].op, 7 + i);
        rz_check(k->rows[i].run == run_row);
    }
    rz_check(rz_slot_iface(&registry, &slot, RZ_KERNELS_1) == k); /* asked again: the same copy */
    rz_check_eq(n_query, 1);
    end();
}

RZ_TEST(table, broken_kernel_tables)
{
    struct rz_kernel_row row = {.size = sizeof(row), .run = run_row}, r;
    struct rz_layout layout = {.size = sizeof(layout),
                               .row_group = 8,
                               .bytes = blob_bytes,
                               .prep = blob_prep},
                     l;
    struct rz_kernels good = {.size = sizeof(good),
                              .name = "fake",
                              .rows = &r,
                              .n_rows = 1,
                              .row_stride = sizeof(row),
                              .layouts = &l,
                              .n_layouts = 1,
                              .layout_stride = sizeof(layout)},
                      t;
#define KERNELS(change, part) \
    begin(); \
    r = row, l = layout, t = good; \
    change; \
    table_refused(&t, RZ_KERNELS_1, part)
    KERNELS(t.size = 40, "a wrong size");
    KERNELS(t.size = 1u << 20, "a wrong size");
    KERNELS(t.name = NULL, "no name or no rows");
    KERNELS(t.n_rows = 0, "no name or no rows");
    KERNELS(t.rows = NULL, "without a usable address");
    KERNELS(t.n_rows = 1u << 30, "without a usable address, count");
    KERNELS(t.row_stride = 80, "stride");
    KERNELS(t.row_stride = 93, "stride");
    KERNELS(t.row_stride = 1u << 20, "stride");
    KERNELS(r.size = 16, "a wrong size");
    KERNELS(r.size = 96, "a wrong size");
    KERNELS(r.run = NULL, "a row without run");
    KERNELS(r.flags = RZ_ROW_TILED, "tiled without tiles");
    KERNELS((r.flags = RZ_ROW_TILED | RZ_ROW_TEAM, r.tiles = tiles), "both tiled and team");
    KERNELS(t.layouts = NULL, "without a usable address");
    KERNELS(l.prep = NULL, "a layout without");
    KERNELS(l.bytes = NULL, "a layout without");
    KERNELS(l.row_group = 0, "a layout without");
    begin();
    r = row, l = layout, t = good;
    rz_check(take(&t, RZ_KERNELS_1) != NULL);
    end();
    begin();
    table_refused(NULL, RZ_KERNELS_1, "provides \"kernels:fake\" but has no rz.kernels/1");
}

RZ_TEST(table, functions_that_other_kinds_must_have)
{
    /* pointers are only compared with NULL here, so any address will do */
    uint64_t words[64];
    _Static_assert(sizeof(struct rz_device) <= sizeof(words), "room for the largest");
    struct {
        const char *id;
        uint32_t size, first, n; /* of the function pointers and the name, in 8-byte words */
    } kinds[] = {
        {RZ_FORMAT_1, sizeof(struct rz_format), 1, 4},
        {RZ_TOKENIZER_1, sizeof(struct rz_tokenizer), 1, 9},
        {RZ_DEVICE_1, sizeof(struct rz_device), 1, 10},
    };
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (uint32_t missing = kinds[k].first; missing <= kinds[k].first + kinds[k].n; missing++) {
            bool context = !strcmp(kinds[k].id, RZ_DEVICE_1) && missing == 2; /* ctx may be NULL */
            begin();
            memset(words, 0x11, sizeof(words));
            memset(words, 0, 8);
            memcpy(words, &kinds[k].size, 4);
            if (missing < kinds[k].first + kinds[k].n)
                words[missing] = 0;
            bool good = context || missing == kinds[k].first + kinds[k].n;
            rz_check_eq(take(words, kinds[k].id) != NULL, good);
            end();
        }
    }
}

static int32_t run_command(void *self, uint32_t flags, int32_t argc, const char *const *argv,
                           struct rz_err *err)
{
    (void)self, (void)flags, (void)argc, (void)argv, (void)err;
    return 0;
}
static int32_t start(void *self, struct rz_err *err)
{
    (void)self, (void)err;
    return 0;
}

RZ_TEST(table, frontends)
{
    struct rz_command c = {
        .size = sizeof(c), .name = "a", .args = "", .help = "", .usage = "", .run = run_command};
    struct rz_frontend f = {
        .size = sizeof(f), .name = "f", .commands = &c, .n_commands = 1, .command_stride = sizeof(c)};
    begin();
    const struct rz_frontend *t = take(&f, RZ_FRONTEND_1);
    rz_check(t && t->n_commands == 1 && t->commands != &c);
    rz_check_streq(t->commands[0].name, "a");
    end();
    begin();
    c.usage = NULL;
    table_refused(&f, RZ_FRONTEND_1, "a command without");
    begin();
    f.n_commands = 0;
    table_refused(&f, RZ_FRONTEND_1, "neither commands nor start");
    begin();
    f.start = start;
    table_refused(&f, RZ_FRONTEND_1, "start without stop");
    begin();
    rz_check(take(&f, "rz.unknown/1") == NULL);
    rz_check_eq(slot.pub.state, RZ_PLUGIN_READY);
    end();
}

/* --- the whole registry, with what is linked in and built beside --- */

static struct rz_registry *open_with(struct rz_settings **s, const char *const *plugins, uint32_t n,
                                     const char *list)
{
    struct rz_registry *r;
    struct rz_err err = RZ_ERR_INIT;
    char dir[512], set[256];
    const char *build = getenv("RZ_BUILD"), *sets[] = {set};
    snprintf(dir, sizeof(dir), "%s/plugins", build ? build : "build/release");
    snprintf(set, sizeof(set), "rz.plugins=%s", list);
    setenv("RZ_SYSTEM_CONFIG", "/nonexistent", 1);
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    struct rz_cmdline cmd = {
        .plugins = plugins, .n_plugins = n, .plugin_dir = dir, .sets = sets, .n_sets = list != NULL};
    rz_check_ok(rz_settings_load(&cmd, s, &err), &err);
    rz_check_ok(rz_registry_open(*s, &cmd, rz_host_table(), &r, &err), &err);
    return r;
}

/* The names of the kernel tables in order, "a b c". */
static const char *kernels_in_order(struct rz_registry *r)
{
    static char names[256];
    struct rz_err err = RZ_ERR_INIT;
    const char *name;
    const struct rz_kernels *k;
    uint32_t at = 0;
    names[0] = 0;
    while ((k = rz_registry_next(r, "kernels", RZ_KERNELS_1, &at, NULL, &name, &err)))
        snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", names[0] ? " " : "", name);
    rz_check_eq(err.code, RZ_OK);
    return names;
}

RZ_TEST(registry, order_of_preference)
{
    static const char *const scalar[] = {"scalar"}, *const both[] = {"avx2", "scalar"};
    struct rz_settings *s;
    struct rz_registry *r = open_with(&s, NULL, 0, NULL);
    uint32_t i;
    struct rz_err err = RZ_ERR_INIT;
    bool widest =
        !rz_registry_find(r, "avx512", "test", &i, &err) && rz_registry_at(r, i)->state != RZ_PLUGIN_REFUSED;
    if (rz_registry_find(r, "avx2", "test", &i, &err) || rz_registry_at(r, i)->state == RZ_PLUGIN_REFUSED)
        rz_skip("no avx2 here");
    rz_check_eq(rz_registry_at(r, i)->state, RZ_PLUGIN_FOUND);
    rz_check_streq(kernels_in_order(r),
                   widest ? "avx512 avx2 scalar" : "avx2 scalar"); /* most features first */
    rz_check_eq(rz_registry_at(r, i)->state, RZ_PLUGIN_READY);
    rz_registry_close(r);
    rz_settings_free(s);
    r = open_with(&s, scalar, 1, NULL); /* scalar asked for: first and alone */
    rz_check_streq(kernels_in_order(r), "scalar");
    rz_registry_close(r);
    rz_settings_free(s);
    r = open_with(&s, both, 2, NULL);
    rz_check_streq(kernels_in_order(r), widest ? "avx2 scalar avx512" : "avx2 scalar");
    rz_registry_close(r);
    rz_settings_free(s);
    r = open_with(&s, NULL, 0, "scalar,avx2"); /* a list is an order only */
    rz_check_streq(kernels_in_order(r), widest ? "scalar avx2 avx512" : "scalar avx2");
    rz_registry_close(r);
    rz_settings_free(s);
}

RZ_TEST(registry, loads_only_what_is_asked_for)
{
    struct rz_settings *s;
    struct rz_registry *r = open_with(&s, NULL, 0, NULL);
    struct rz_err err = RZ_ERR_INIT;
    uint32_t at = 0, n_ready = 0;
    void *self;
    const char *name;
    if (!rz_registry_next(r, "format", RZ_FORMAT_1, &at, &self, &name, &err))
        rz_skip("no format is linked in");
    for (uint32_t i = 0; i < rz_registry_count(r); i++) {
        const struct rz_plugin_entry *e = rz_registry_at(r, i);
        rz_check(e->state != RZ_PLUGIN_READY || rz_header_provides(&e->header, "format"));
        n_ready += e->state == RZ_PLUGIN_READY;
    }
    rz_check_eq(n_ready, 1);
    rz_check(rz_registry_at(r, rz_registry_count(r)) == NULL);
    at = 0;
    rz_check(rz_registry_next(r, "tokenizer:nothing", RZ_TOKENIZER_1, &at, NULL, NULL, &err) == NULL);
    rz_check_eq(err.code, RZ_OK);
    rz_registry_close(r);
    rz_settings_free(s);
}

RZ_TEST(host, memory_is_aligned_and_counted)
{
    const struct rz_host *h = rz_host_table();
    uint64_t bytes, blocks, bytes_before, blocks_before;
    rz_host_memory(&bytes_before, &blocks_before);
    uint8_t *a = h->alloc(h->ctx, 1000, "test"), *b = h->alloc(h->ctx, 0, "test");
    rz_check(a && b && !((uintptr_t)a % 64) && !((uintptr_t)b % 64));
    memset(a, 0xff, 1000);
    rz_host_memory(&bytes, &blocks);
    rz_check_eq(bytes - bytes_before, 1000);
    rz_check_eq(blocks - blocks_before, 2);
    h->free(h->ctx, a);
    h->free(h->ctx, b);
    h->free(h->ctx, NULL);
    rz_host_memory(&bytes, &blocks);
    rz_check_eq(bytes, bytes_before);
    rz_check_eq(blocks, blocks_before);
    rz_check(h->alloc(h->ctx, UINT64_MAX - 10, "test") == NULL);
}

RZ_TEST(host, interfaces_by_name_and_minor)
{
    static const struct rz_host_threads one = {.size = sizeof(one), .minor = 1},
                                        two = {.size = sizeof(two), .minor = 2};
    const struct rz_host *h = rz_host_table();
    rz_check(h->query(h->ctx, "test.thing/1", 0) == NULL);
    rz_host_provide("test.thing/1", &one);
    rz_check(h->query(h->ctx, "test.thing/1", 0) == &one);
    rz_check(h->query(h->ctx, "test.thing/1", 1) == &one);
    rz_check(h->query(h->ctx, "test.thing/1", 2) == NULL);
    rz_check(h->query(h->ctx, "test.thing/2", 0) == NULL);
    rz_host_provide("test.thing/1", &two);
    rz_check(h->query(h->ctx, "test.thing/1", 2) == &two);
}
