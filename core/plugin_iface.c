/* plugin_iface.c - interface tables of plugins become full-size tables of the host.
 *
 * A plugin may be older or newer than this host, so its tables and records may be shorter or longer than
 * ours. What both know is copied, the rest is zero, and from then on only the copy is called: nobody else
 * has to look at sizes and strides. Function pointers that version 1.0 demands are checked here, once.
 */
#include "registry.h"

#include "err.h"

#include <rz/device.h>
#include <rz/format.h>
#include <rz/frontend.h>
#include <rz/kernels.h>
#include <rz/tokenizer.h>
#include <stdio.h>
#include <string.h>

#define RECORDS_MAX 65536u
#define STRIDE_MAX 4096u

/* A table on its way in: the copy, and the reason if it is refused. */
struct intake {
    struct rz_registry *r;
    const char *why;
};

static bool refuse(struct intake *in, const char *why)
{
    in->why = why;
    return false;
}

/* Copies n records of the plugin into full-size ones. *table and *stride are replaced by ours. */
static bool take_records(struct intake *in, const void **table, uint32_t n, uint32_t *stride, uint32_t min,
                         uint32_t full)
{
    const uint8_t *from = *table;
    if (!n)
        return true;
    if (!from || n > RECORDS_MAX || *stride < min || *stride > STRIDE_MAX || *stride % 8)
        return refuse(in, "an array without a usable address, count and stride");
    uint8_t *to = rz_arena_array(&in->r->arena, n, full);
    if (!to)
        return refuse(in, "an array for which there is no memory");
    for (uint32_t i = 0; i < n; i++) {
        uint32_t size;
        memcpy(&size, from + (uint64_t)i * *stride, 4);
        if (size < min || size > *stride)
            return refuse(in, "an array record with a wrong size");
        memcpy(to + (uint64_t)i * full, from + (uint64_t)i * *stride, size < full ? size : full);
        memcpy(to + (uint64_t)i * full, &full, 4);
    }
    *table = to;
    *stride = full;
    return true;
}

static bool take_format(struct intake *in, void *table)
{
    struct rz_format *t = table;
    return t->name && t->probe && t->open && t->close ? true : refuse(in, "no name, probe, open or close");
}

static bool take_tokenizer(struct intake *in, void *table)
{
    struct rz_tokenizer *t = table;
    if (!t->name || !t->probe || !t->create || !t->destroy || !t->info)
        return refuse(in, "no name, probe, create, destroy or info");
    return t->encode && t->piece && t->decode && t->kind ? true
                                                         : refuse(in, "no encode, piece, decode or kind");
}

static bool take_device(struct intake *in, void *table)
{
    struct rz_device *t = table;
    if (!t->name || !t->open || !t->memory || !t->claim || !t->compile)
        return refuse(in, "no name, open, memory, claim or compile");
    return t->info && t->part && t->execute && t->destroy ? true
                                                          : refuse(in, "no info, part, execute or destroy");
}

static bool take_frontend(struct intake *in, void *table)
{
    struct rz_frontend *t = table;
    const void *commands = t->commands;
    if (!t->name || (!t->start && !t->n_commands))
        return refuse(in, "no name, or neither commands nor start");
    if (t->start && (!t->stop || !t->address))
        return refuse(in, "start without stop and address");
    if (!take_records(in, &commands, t->n_commands, &t->command_stride, 48, sizeof(struct rz_command)))
        return false;
    t->commands = commands;
    for (uint32_t i = 0; i < t->n_commands; i++) {
        const struct rz_command *c = &t->commands[i];
        if (!c->name || !c->args || !c->help || !c->usage || !c->run)
            return refuse(in, "a command without name, args, help, usage or run");
    }
    return true;
}

static bool good_row(const struct rz_kernel_row *row)
{
    uint32_t tiled = row->flags & RZ_ROW_TILED, team = row->flags & RZ_ROW_TEAM;
    return row->run && !(tiled && team) && (!tiled || row->tiles);
}

static bool take_kernels(struct intake *in, void *table)
{
    struct rz_kernels *t = table;
    const void *rows = t->rows, *layouts = t->layouts;
    if (!t->name || !t->n_rows)
        return refuse(in, "no name or no rows");
    if (!take_records(in, &rows, t->n_rows, &t->row_stride, 88, sizeof(struct rz_kernel_row)) ||
        !take_records(in, &layouts, t->n_layouts, &t->layout_stride, 40, sizeof(struct rz_layout)))
        return false;
    t->rows = rows;
    t->layouts = layouts;
    for (uint32_t i = 0; i < t->n_rows; i++)
        if (!good_row(&t->rows[i]))
            return refuse(in, "a row without run, tiled without tiles, or both tiled and team");
    for (uint32_t i = 0; i < t->n_layouts; i++)
        if (!t->layouts[i].bytes || !t->layouts[i].prep || !t->layouts[i].row_group)
            return refuse(in, "a layout without bytes, prep or row_group");
    return true;
}

/* min: the size that version 1.0 of the interface had. */
static const struct known {
    const char *id;
    uint32_t min, full;
    bool (*take)(struct intake *in, void *table);
} known[] = {
    {RZ_FORMAT_1, 40, sizeof(struct rz_format), take_format},
    {RZ_KERNELS_1, 48, sizeof(struct rz_kernels), take_kernels},
    {RZ_DEVICE_1, 88, sizeof(struct rz_device), take_device},
    {RZ_TOKENIZER_1, 80, sizeof(struct rz_tokenizer), take_tokenizer},
    {RZ_FRONTEND_1, 56, sizeof(struct rz_frontend), take_frontend},
};

static const struct known *find_known(const char *id)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (!strcmp(known[i].id, id))
            return &known[i];
    return NULL;
}

static const void *take_table(struct rz_registry *r, struct rz_slot *slot, const struct known *k,
                              const void *raw)
{
    struct intake in = {.r = r};
    uint32_t size;
    memcpy(&size, raw, 4);
    void *copy = rz_arena_alloc(&r->arena, k->full);
    if (!copy)
        refuse(&in, "no room in memory");
    else if (size < k->min || size > STRIDE_MAX)
        refuse(&in, "a wrong size");
    if (!in.why) {
        memcpy(copy, raw, size < k->full ? size : k->full);
        memcpy(copy, &k->full, 4);
        k->take(&in, copy);
    }
    if (!in.why)
        return copy;
    rz_slot_refuse(r, slot, RZ_EVERSION, "its table %s has %s", k->id, in.why);
    return NULL;
}

const void *rz_slot_iface(struct rz_registry *r, struct rz_slot *slot, const char *id)
{
    const struct known *k = find_known(id);
    for (uint32_t i = 0; i < slot->n_ifaces; i++)
        if (!strcmp(slot->ifaces[i].id, id))
            return slot->ifaces[i].table;
    if (!k || !slot->started || slot->n_ifaces == RZ_IFACES_MAX)
        return NULL;
    const void *raw = slot->copy.query(slot->pub.self, id, 0), *table = NULL;
    if (raw)
        table = take_table(r, slot, k, raw);
    else
        rz_slot_refuse(r, slot, RZ_EVERSION, "provides \"%s\" but has no %s", slot->pub.header.provides, id);
    slot->ifaces[slot->n_ifaces].id = k->id;
    slot->ifaces[slot->n_ifaces++].table = table;
    return table;
}
