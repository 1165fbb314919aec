/* explain.c - who runs what in a plan, for people: `rz plan --explain`. Asks the device for the plan's parts;
 * layers that are alike share their lines. */
#include "models.h"

#include "access.h"
#include "grow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The parts of a plan, all at once. */
struct parts {
    const struct rz_program *program;
    const char *device;
    struct rz_plan_part *at;
    uint32_t n;
};

static int32_t read_parts(const struct rz_model *model, struct parts *out)
{
    *out = (struct parts){.program = &model->graph->program, .device = model->device->name};
    for (size_t cap = 0;;) { /* where devices share layers there are more parts than nodes */
        struct rz_plan_part *more =
            rz_heap_grow(out->at, out->n, &cap, sizeof(*more), (size_t)out->program->n_nodes + 1);
        if (!more) {
            free(out->at);
            return RZ_ENOMEM;
        }
        out->at = more;
        struct rz_plan_part *p = &out->at[out->n];
        *p = (struct rz_plan_part){.size = sizeof(*p)};
        if (model->device->part(model->plan, out->n, p) != RZ_OK || p->node >= out->program->n_nodes)
            break;
        out->n++;
    }
    return RZ_OK;
}

uint64_t rz_model_bytes_token(const struct rz_model *model)
{
    struct rz_plan_part p = {.size = sizeof(p)};
    uint64_t bytes = 0;
    for (uint32_t i = 0; model->device->part(model->plan, i, &p) == RZ_OK; i++)
        bytes += p.bytes_token;
    return bytes;
}

static int32_t layer_of(const struct parts *p, uint32_t i)
{
    return rz_node_at(p->program, p->at[i].node)->layer;
}

static void describe(const struct parts *p, uint32_t i, char *out, size_t cap)
{
    const struct rz_plan_part *part = &p->at[i];
    snprintf(out, cap, "%-10s %-7s %-34s %9.2f kB  %s", rz_op_name(rz_node_at(p->program, part->node)->op),
             part->device ? part->device : p->device, part->runner, (double)part->bytes_token / 1e3,
             part->why);
}

static uint32_t layer_length(const struct parts *p, uint32_t at)
{
    uint32_t n = 1;
    while (at + n < p->n && layer_of(p, at + n) == layer_of(p, at))
        n++;
    return n;
}

/* Are the parts of two layers, which begin at a and b, alike? */
static bool alike(const struct parts *p, uint32_t a, uint32_t b)
{
    char one[320], other[320];
    uint32_t n = layer_length(p, a);
    if (layer_length(p, b) != n)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        describe(p, a + i, one, sizeof(one));
        describe(p, b + i, other, sizeof(other));
        if (strcmp(one, other))
            return false;
    }
    return true;
}

static void totals(const struct rz_model *model, const struct parts *p,
                   void (*line)(void *arg, const char *text), void *arg)
{
    char text[256];
    struct rz_plan_info info = {.size = sizeof(info)};
    uint32_t scalar = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        scalar += !strncmp(p->at[i].runner, "scalar ", 7);
        bytes += p->at[i].bytes_token;
    }
    model->device->info(model->plan, &info);
    snprintf(text, sizeof(text),
             "%.2f MB of weights a token, %.1f MiB prepared, %.1f MiB KV in %u pages of %u tokens",
             (double)bytes / 1e6, (double)info.prepared_bytes / 1048576, (double)info.kv_bytes / 1048576,
             model->limits.n_pages, model->limits.page_tokens);
    line(arg, text);
    if (info.state_bytes) {
        snprintf(text, sizeof(text), "%.1f MiB recurrent state in %u slots, one a sequence",
                 (double)info.state_bytes / 1048576, model->limits.n_slots);
        line(arg, text);
    }
    if (scalar == p->n)
        snprintf(text, sizeof(text), "everything runs on scalar");
    else if (scalar)
        snprintf(text, sizeof(text), "%u of %u nodes fall back to scalar", scalar, p->n);
    else
        snprintf(text, sizeof(text), "nothing falls back to scalar");
    line(arg, text);
}

static void show_layer(const struct parts *p, uint32_t at, int32_t last,
                       void (*line)(void *arg, const char *text), void *arg)
{
    char text[384], what[320], name[48];
    int32_t layer = layer_of(p, at);
    if (layer < 0)
        snprintf(name, sizeof(name), "model");
    else if (last > layer)
        snprintf(name, sizeof(name), "layers %d-%d", layer, last);
    else
        snprintf(name, sizeof(name), "layer %d", layer);
    for (uint32_t i = 0; i < layer_length(p, at); i++) {
        describe(p, at + i, what, sizeof(what));
        snprintf(text, sizeof(text), "%-15s %s", i ? "" : name, what);
        line(arg, text);
    }
}

/* Why the layers lie where they lie. */
static void show_placement(const struct rz_model *model, void (*line)(void *arg, const char *text), void *arg)
{
    char text[512];
    for (const char *at = model->placed; at && *at;) {
        size_t n = strcspn(at, "\n");
        snprintf(text, sizeof(text), "%.*s", (int)n, at);
        line(arg, text);
        at += n + (at[n] == '\n');
    }
}

int32_t rz_model_explain(const struct rz_model *model, void (*line)(void *arg, const char *text), void *arg)
{
    struct parts p;
    int32_t status = read_parts(model, &p);
    if (status)
        return status;
    show_placement(model, line, arg);
    line(arg, "NODE            OP         DEVICE  KERNEL                             BYTES/TOKEN  WHY");
    for (uint32_t i = 0; i < p.n;) {
        int32_t last = layer_of(&p, i);
        uint32_t n = layer_length(&p, i), next = i + n;
        while (last >= 0 && next < p.n && alike(&p, i, next)) {
            last = layer_of(&p, next);
            next += n;
        }
        show_layer(&p, i, last, line, arg);
        i = next;
    }
    totals(model, &p, line, arg);
    free(p.at);
    return RZ_OK;
}
