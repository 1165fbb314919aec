/* mixed_auto.c - layers = auto: which device runs which layers, by timed steps and free memory.
 *
 * On each device a few steps of one token run through one layer of the commonest kind, and through several:
 * the difference is the time of a layer, the rest what a stage costs. Layers of other kinds, and the head,
 * count by the weights that a token reads there. Among all ways to give each device at most one range of
 * layers that fits its memory, the one with the shortest step is taken; one with more ranges has to be faster
 * by GAIN. Equal ones: the device that is named first.
 */
#include "mixed.h"

#include "access.h"
#include "err.h"

#include <rz/kernels.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GAIN 0.03
#define LAYERS_MAX 4 /* of a trial */
#define STEPS_LEAST 8
#define STEPS_MOST 64
#define TRIAL_SECONDS 0.1
#define MIB 1048576.0

/* What was found of a device. */
struct found {
    double layer_s, stage_s; /* of the measured kind                         */
    double growth;           /* bytes on the device for one of the file      */
    double room;             /* bytes                                        */
    bool known;              /* it said how much is free                     */
    char why[320];           /* not empty: it cannot run the measured layers */
};

/* What a layer, the embedding or the head needs, whoever runs it. */
struct need {
    double weights, kv, token; /* bytes; token: of the weights, read for one token */
};

struct choice {
    double cost;
    uint32_t from; /* layers before the last range */
    uint8_t device;
};

struct choosing {
    const struct rz_auto_setup *setup;
    struct rz_placement *place;
    struct found found[RZ_MIXED_MAX];
    uint32_t n_devices, n_layers;
    uint32_t first, n;   /* layers of the trials */
    struct need *needs;  /* [n_layers + 2] */
    struct choice *best; /* [1 << n_devices][n_layers + 1] */
    struct rz_buf *lines;
    struct rz_err *err;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- layers of a kind --- */

static bool same_node(const struct rz_program *p, uint32_t a, uint32_t b)
{
    const struct rz_node *x = rz_node_at(p, a), *y = rz_node_at(p, b);
    if (x->op != y->op || x->attr_mask != y->attr_mask || x->n_weights != y->n_weights)
        return false;
    for (uint32_t k = 0; k < x->n_weights; k++) {
        int32_t v = p->refs[x->first_weight + k], w = p->refs[y->first_weight + k];
        if ((v < 0) != (w < 0))
            return false;
        if (v >= 0 && (rz_weight_at(p, (uint32_t)v)->type != rz_weight_at(p, (uint32_t)w)->type ||
                       rz_weight_at(p, (uint32_t)v)->bytes != rz_weight_at(p, (uint32_t)w)->bytes))
            return false;
    }
    return true;
}

static uint32_t layer_begin(const struct rz_program *p, uint32_t layer)
{
    uint32_t i = 0;
    while (i < p->n_nodes && rz_node_at(p, i)->layer != (int32_t)layer)
        i++;
    return i;
}

static bool same_kind(const struct rz_program *p, uint32_t a, uint32_t b)
{
    uint32_t i = layer_begin(p, a), k = layer_begin(p, b);
    for (;; i++, k++) {
        bool in = i < p->n_nodes && rz_node_at(p, i)->layer == (int32_t)a;
        bool other = k < p->n_nodes && rz_node_at(p, k)->layer == (int32_t)b;
        if (!in || !other)
            return in == other;
        if (!same_node(p, i, k))
            return false;
    }
}

/* The longest stretch of layers of one kind, of at most LAYERS_MAX. */
static void choose_layers(struct choosing *c)
{
    const struct rz_program *p = c->setup->program;
    uint32_t most = 0, begin = 0;
    for (uint32_t l = 0; l <= c->n_layers; l++) {
        if (l < c->n_layers && l > begin && same_kind(p, begin, l))
            continue;
        if (l - begin > most) {
            most = l - begin;
            c->first = begin + (most > LAYERS_MAX ? (most - LAYERS_MAX) / 2 : 0);
        }
        begin = l;
    }
    c->n = most < LAYERS_MAX ? most : LAYERS_MAX;
}

/* --- needs --- */

/* Place of node i in needs. */
static uint32_t place_of(const struct choosing *c, uint32_t i, uint32_t first)
{
    int32_t layer = rz_node_at(c->setup->program, i)->layer;
    return layer >= 0 ? (uint32_t)layer + 1 : i < first ? 0 : c->n_layers + 1;
}

static void add_kv(struct choosing *c)
{
    const struct rz_program *p = c->setup->program;
    const struct rz_plan_limits *l = &c->setup->limits;
    double tokens = l->n_pages ? (double)l->n_pages * l->page_tokens : l->max_context;
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        const struct rz_node *n = rz_node_at(p, i);
        if (n->op != RZ_OP_KV_STORE || n->layer < 0)
            continue;
        const struct rz_kv_group *g = rz_kv_group_at(p, (uint32_t)n->attrs[RZ_A_KV_GROUP].i);
        uint64_t row = rz_kv_row_bytes(l->kv_type, g->k_dim) +
                       (g->kind == RZ_KV_LATENT ? 0 : rz_kv_row_bytes(l->kv_type, g->v_dim));
        c->needs[n->layer + 1].kv += tokens * g->n_heads * (double)row;
    }
    for (uint32_t i = 0; i < p->n_states; i++)
        if (rz_state_at(p, i)->layer >= 0)
            c->needs[rz_state_at(p, i)->layer + 1].kv +=
                (double)rz_state_at(p, i)->floats * 4 * (l->n_slots ? l->n_slots : 1);
}

static int32_t find_needs(struct choosing *c)
{
    const struct rz_program *p = c->setup->program;
    uint32_t first = c->n_layers ? layer_begin(p, 0) : 0;
    c->needs = calloc(c->n_layers + 2ull, sizeof(*c->needs));
    if (!c->needs)
        return rz_fail(c->err, RZ_ENOMEM, "layers", "no memory for %u layers", c->n_layers);
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        const struct rz_node *n = rz_node_at(p, i);
        struct need *to = &c->needs[place_of(c, i, first)];
        if (n->end != i + 1 || (c->place->experts >= 0 && c->place->of[i] == c->place->experts))
            continue;
        to->token += (double)rz_node_bytes_token(p, i);
        for (uint32_t k = 0; k < n->n_weights; k++)
            if (p->refs[n->first_weight + k] >= 0)
                to->weights += (double)rz_weight_at(p, (uint32_t)p->refs[n->first_weight + k])->bytes;
    }
    add_kv(c);
    return RZ_OK;
}

/* --- trials --- */

/* One token in a step, again and again. Returns the shortest step. */
static int32_t run_steps(const struct rz_device *d, struct rz_plan *plan, const struct rz_program *p,
                         uint32_t page_tokens, double *out, struct rz_err *err)
{
    static const int32_t page, slot;
    const int32_t *pages[8] = {&page, &page, &page, &page, &page, &page, &page, &page};
    double begin = now();
    int32_t status = RZ_OK;
    *out = 1e9;
    for (uint32_t i = 0; i < STEPS_MOST && !status; i++) {
        uint32_t pos = i % page_tokens;
        struct rz_batch_row row = {.pos = {(int32_t)pos}, .want = RZ_WANT_NONE};
        struct rz_batch_seq seq = {
            .length = pos + 1, .state_slot = p->n_states ? 0 : -1, .adapter = -1, .pages = pages};
        struct rz_batch b = {.size = sizeof(b),
                             .n_rows = 1,
                             .n_seqs = 1,
                             .rows = &row,
                             .seqs = &seq,
                             .n_clears = p->n_states && !pos,
                             .clears = &slot};
        struct rz_result result = {.size = sizeof(result)};
        double t = now();
        status = d->execute(plan, &b, &result, err);
        t = now() - t;
        *out = i > 1 && t < *out ? t : *out;
        if (i >= STEPS_LEAST && now() - begin > TRIAL_SECONDS)
            break;
    }
    return status;
}

/* A step through n layers on device d alone. */
static int32_t trial(struct choosing *c, uint32_t d, uint32_t n, double *seconds, uint64_t *bytes)
{
    const struct rz_program *p = c->setup->program;
    const struct rz_plan_limits *of = &c->setup->limits;
    struct rz_plan_limits limits = {.size = sizeof(limits),
                                    .max_rows = 1,
                                    .max_wanted = 1,
                                    .max_seqs = 1,
                                    .max_context = of->page_tokens,
                                    .page_tokens = of->page_tokens,
                                    .n_pages = 1,
                                    .kv_type = of->kv_type,
                                    .n_slots = p->n_states ? 1 : 0};
    struct rz_mixed *mixed = NULL;
    struct rz_plan *plan = NULL;
    struct rz_plan_info info = {.size = sizeof(info)};
    uint8_t *who = malloc(p->n_nodes + 1ull);
    if (!who)
        return rz_fail(c->err, RZ_ENOMEM, "layers", "no memory for a trial");
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        int32_t layer = rz_node_at(p, i)->layer;
        bool in = layer >= (int32_t)c->first && layer < (int32_t)(c->first + n);
        bool expert = c->place->experts >= 0 && c->place->of[i] == c->place->experts;
        who[i] = in && !expert ? (uint8_t)d : RZ_MIXED_NOBODY;
    }
    struct rz_mixed_setup setup = {.program = p, .devices = c->setup->devices, .of = who};
    int32_t status = rz_mixed_new(&setup, &mixed, c->err);
    const struct rz_device *device = status ? NULL : rz_mixed_device(mixed);
    if (!status)
        status = device->compile(device->ctx, p, NULL, 0, &limits, &plan, c->err);
    if (!status)
        status = run_steps(device, plan, p, of->page_tokens, seconds, c->err);
    if (!status)
        status = device->info(plan, &info);
    *bytes = info.prepared_bytes;
    if (plan)
        device->destroy(plan);
    rz_mixed_free(mixed);
    free(who);
    return status;
}

static int32_t try_device(struct choosing *c, uint32_t d)
{
    const struct rz_device *device = c->setup->devices[d];
    struct found *f = &c->found[d];
    struct rz_device_memory memory = {.size = sizeof(memory)};
    if (!device) {
        snprintf(f->why, sizeof(f->why), "it failed earlier");
        return RZ_OK;
    }
    double one = 0, all = 0, weights = 0;
    uint64_t bytes = 0;
    int32_t status = device->memory(device->ctx, &memory, c->err);
    if (!status)
        status = trial(c, d, 1, &one, &bytes);
    if (!status)
        status = trial(c, d, c->n, &all, &bytes);
    if (status) {
        snprintf(f->why, sizeof(f->why), "%.300s", c->err->message);
        *c->err = (struct rz_err)RZ_ERR_INIT;
        return RZ_OK;
    }
    for (uint32_t l = 0; l < c->n; l++)
        weights += c->needs[c->first + l + 1].weights;
    f->layer_s = c->n > 1 && all > one ? (all - one) / (c->n - 1) : all / c->n;
    f->stage_s = one > f->layer_s ? one - f->layer_s : 0;
    f->growth = weights > 0 && (double)bytes > weights ? (double)bytes / weights : 1;
    f->known = memory.free != 0;
    f->room = (double)(f->known ? memory.free : memory.total);
    return RZ_OK;
}

/* --- the choice --- */

static double bytes_on(const struct choosing *c, uint32_t d, const struct need *n)
{
    return n->weights * c->found[d].growth + n->kv;
}

static double seconds_on(const struct choosing *c, uint32_t d, const struct need *n)
{
    double measured = c->needs[c->first + 1].token;
    return measured > 0 ? c->found[d].layer_s * n->token / measured : c->found[d].layer_s;
}

/* Every range [from, to) that device d could run behind the best way to have the others run those before. */
static void extend(struct choosing *c, uint32_t mask, uint32_t from, uint32_t d)
{
    uint32_t n = c->n_layers, after = mask | 1u << d;
    const struct choice *base = &c->best[mask * (n + 1) + from];
    double cost = base->cost + c->found[d].stage_s, bytes = 0;
    if (!from) {
        bytes += bytes_on(c, d, &c->needs[0]);
        cost += seconds_on(c, d, &c->needs[0]);
    }
    for (uint32_t to = from + 1; to <= n; to++) {
        cost += seconds_on(c, d, &c->needs[to]);
        bytes += bytes_on(c, d, &c->needs[to]);
        bool last = to == n;
        double head_s = last ? seconds_on(c, d, &c->needs[n + 1]) : 0;
        double head = last ? bytes_on(c, d, &c->needs[n + 1]) : 0;
        struct choice *best = &c->best[after * (n + 1) + to];
        if (bytes + head > c->found[d].room)
            return;
        if (best->cost < 0 || cost + head_s < best->cost)
            *best = (struct choice){cost + head_s, from, (uint8_t)d};
    }
}

/* The masks grow, so each is complete before it is extended. */
static void find_best(struct choosing *c)
{
    for (uint32_t mask = 0; mask < 1u << c->n_devices; mask++)
        for (uint32_t from = 0; from < c->n_layers; from++)
            for (uint32_t d = 0; d < c->n_devices; d++)
                if (c->best[mask * (c->n_layers + 1) + from].cost >= 0 && !(mask >> d & 1) &&
                    !c->found[d].why[0])
                    extend(c, mask, from, d);
}

/* The set of devices to take; 0: nothing fits. */
static uint32_t take_mask(const struct choosing *c)
{
    uint32_t n = c->n_layers, chosen = 0, count = 0;
    double least = -1;
    for (uint32_t mask = 1; mask < 1u << c->n_devices; mask++) {
        double cost = c->best[mask * (n + 1) + n].cost;
        if (cost >= 0 && (least < 0 || cost < least))
            least = cost;
    }
    for (uint32_t mask = 1; mask < 1u << c->n_devices; mask++) {
        double cost = c->best[mask * (n + 1) + n].cost;
        uint32_t ranges = (uint32_t)__builtin_popcount(mask);
        if (cost < 0 || cost > least * (1 + GAIN))
            continue;
        if (!chosen || ranges < count || (ranges == count && cost < c->best[chosen * (n + 1) + n].cost)) {
            chosen = mask;
            count = ranges;
        }
    }
    return chosen;
}

static void apply(struct choosing *c, uint32_t mask)
{
    uint32_t at = c->n_layers;
    while (at) {
        const struct choice *b = &c->best[mask * (c->n_layers + 1) + at];
        for (uint32_t l = b->from; l < at; l++)
            c->place->of_layer[l + 1] = b->device;
        at = b->from;
        mask &= ~(1u << b->device);
    }
    c->place->of_layer[0] = c->place->of_layer[1];
    c->place->of_layer[c->n_layers + 1] = c->place->of_layer[c->n_layers];
    rz_placement_spread(c->place, c->setup->program);
}

/* --- words --- */

static double all_on(const struct choosing *c, uint32_t d, double *bytes)
{
    double seconds = c->found[d].stage_s;
    *bytes = 0;
    for (uint32_t i = 0; i < c->n_layers + 2; i++) {
        seconds += seconds_on(c, d, &c->needs[i]);
        *bytes += bytes_on(c, d, &c->needs[i]);
    }
    return seconds;
}

static void tell_device(struct choosing *c, uint32_t d)
{
    const struct found *f = &c->found[d];
    double bytes;
    if (f->why[0]) {
        rz_buf_printf(c->lines, "auto: %s: not used: %s\n", c->place->names[d], f->why);
        return;
    }
    double seconds = all_on(c, d, &bytes);
    rz_buf_printf(
        c->lines,
        "auto: %s: %.1f us a layer, %.1f us a stage; all layers: %.2f ms a token, %.1f MiB of %.1f MiB "
        "that are %s\n",
        c->place->names[d], f->layer_s * 1e6, f->stage_s * 1e6, seconds * 1e3, bytes / MIB, f->room / MIB,
        f->known ? "free" : "there (how many are free is not known)");
}

static void tell_choice(struct choosing *c, uint32_t mask)
{
    const uint8_t *of = c->place->of_layer;
    rz_buf_printf(c->lines, "auto: measured in layer%s %u-%u; %.2f ms a token with", c->n > 1 ? "s" : "",
                  c->first, c->first + c->n - 1, c->best[mask * (c->n_layers + 1) + c->n_layers].cost * 1e3);
    for (uint32_t l = 1, begin = 1; l <= c->n_layers; l++)
        if (l == c->n_layers || of[l + 1] != of[begin]) {
            rz_buf_printf(c->lines, " %u-%u:%s", begin - 1, l - 1, c->place->names[of[begin]]);
            begin = l + 1;
        }
    rz_buf_printf(c->lines, ": %s\n",
                  __builtin_popcount(mask) > 1 ? "the fastest that fits" : "the fastest, and all fits there");
}

static int32_t nothing_fits(struct choosing *c)
{
    char text[512] = "";
    for (uint32_t d = 0; d < c->n_devices; d++) {
        size_t used = strlen(text);
        double bytes;
        if (c->found[d].why[0])
            snprintf(text + used, sizeof(text) - used, "; %s: %.120s", c->place->names[d], c->found[d].why);
        else {
            all_on(c, d, &bytes);
            snprintf(text + used, sizeof(text) - used, "; %s: %.0f MiB needed for all layers, %.0f there",
                     c->place->names[d], bytes / MIB, c->found[d].room / MIB);
        }
    }
    return rz_fail(c->err, RZ_ENOMEM, "layers = auto", "the model does not fit the devices%s", text);
}

static int32_t choose(struct choosing *c)
{
    uint64_t states = (1ull << c->n_devices) * (c->n_layers + 1ull);
    c->best = calloc(states, sizeof(*c->best));
    if (!c->best)
        return rz_fail(c->err, RZ_ENOMEM, "layers", "no memory for %u layers", c->n_layers);
    for (uint64_t i = 0; i < states; i++)
        c->best[i].cost = -1;
    c->best[0].cost = 0;
    memset(c->place->of_layer, RZ_MIXED_NOBODY, c->n_layers + 2ull); /* so that experts can be told apart */
    rz_placement_spread(c->place, c->setup->program);
    int32_t status = find_needs(c);
    choose_layers(c);
    for (uint32_t d = 0; d < c->n_devices && !status; d++)
        status = try_device(c, d);
    if (status)
        return status;
    find_best(c);
    uint32_t mask = take_mask(c);
    if (!mask)
        return nothing_fits(c);
    apply(c, mask);
    for (uint32_t d = 0; d < c->n_devices; d++)
        tell_device(c, d);
    tell_choice(c, mask);
    return RZ_OK;
}

int32_t rz_placement_choose(const struct rz_auto_setup *setup, struct rz_placement *place,
                            struct rz_buf *lines, struct rz_err *err)
{
    struct choosing c = {.setup = setup,
                         .place = place,
                         .n_devices = place->n_names,
                         .n_layers = place->n_layers,
                         .lines = lines,
                         .err = err};
    int32_t status =
        c.n_layers ? choose(&c) : rz_fail(err, RZ_EUNSUPPORTED, "layers = auto", "the model has no layers");
    free(c.needs);
    free(c.best);
    return status;
}
