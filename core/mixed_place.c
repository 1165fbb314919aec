/* mixed_place.c - which device runs which layer, as the settings say it: "0-9:opencl, 10-:cpu, head:cpu".
 *
 * Owns the text's grammar and its errors: each layer is on one device, named once. What belongs to no layer
 * is with the first layer before it begins and with the last behind it, unless embed: or head: say
 * otherwise; the choice of the wanted rows stays where the layers end, so that only those cross.
 */
#include "mixed.h"

#include "access.h"
#include "err.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNSAID 255u

uint32_t rz_placement_layers(const struct rz_program *p)
{
    int32_t most = -1;
    for (uint32_t i = 0; i < p->n_nodes; i++)
        most = rz_node_at(p, i)->layer > most ? rz_node_at(p, i)->layer : most;
    return (uint32_t)(most + 1);
}

int32_t rz_placement_name(struct rz_placement *place, const char *name, size_t n)
{
    for (uint32_t i = 0; i < place->n_names; i++)
        if (strlen(place->names[i]) == n && !memcmp(place->names[i], name, n))
            return (int32_t)i;
    if (place->n_names == RZ_MIXED_MAX || n >= sizeof(place->names[0]))
        return -1;
    memcpy(place->names[place->n_names], name, n);
    place->names[place->n_names][n] = 0;
    return (int32_t)place->n_names++;
}

bool rz_placement_member(const char **names, char out[64])
{
    size_t n = strcspn(*names, "+");
    if (!**names)
        return false;
    snprintf(out, 64, "%.*s", (int)n, *names);
    *names += n + ((*names)[n] == '+');
    return true;
}

void rz_placement_free(struct rz_placement *p)
{
    free(p->of);
    free(p->of_layer);
    *p = (struct rz_placement){0};
}

/* --- the text --- */

struct entry {
    const char *range, *name;
    size_t n_range, n_name;
};

static void trim(const char **s, size_t *n)
{
    while (*n && isspace((unsigned char)**s))
        ++*s, --*n;
    while (*n && isspace((unsigned char)(*s)[*n - 1]))
        --*n;
}

static int32_t split(const char *text, size_t n, const char *from, struct entry *out, struct rz_err *err)
{
    const char *colon = memchr(text, ':', n);
    if (!colon)
        return rz_fail(err, RZ_ECONFIG, from, "\"%.*s\": must be like 0-9:cpu, head:cpu, or auto", (int)n,
                       text);
    out->range = text;
    out->n_range = (size_t)(colon - text);
    out->name = colon + 1;
    out->n_name = n - out->n_range - 1;
    trim(&out->range, &out->n_range);
    trim(&out->name, &out->n_name);
    if (out->n_name && out->n_range)
        return RZ_OK;
    return rz_fail(err, RZ_ECONFIG, from, "\"%.*s\": lacks %s", (int)n, text,
                   out->n_range ? "a device behind the colon" : "layers before the colon");
}

static bool number(const char **s, const char *end, uint32_t *out)
{
    const char *begin = *s;
    for (*out = 0; *s < end && isdigit((unsigned char)**s) && *out < 100000; ++*s)
        *out = *out * 10 + (uint32_t)(**s - '0');
    return *s > begin;
}

/* Places of of_layer that an entry means. */
static int32_t range_of(const struct entry *e, uint32_t n_layers, const char *from, uint32_t *first,
                        uint32_t *last, struct rz_err *err)
{
    const char *s = e->range, *end = s + e->n_range;
    *first = *last = 0;
    if (e->n_range == 5 && !memcmp(s, "embed", 5))
        return RZ_OK;
    *first = *last = n_layers + 1;
    if (e->n_range == 4 && !memcmp(s, "head", 4))
        return RZ_OK;
    bool good = number(&s, end, first);
    *last = *first;
    if (good && s < end && *s == '-') {
        s++;
        *last = n_layers - 1;
        good = s == end || number(&s, end, last);
    }
    if (!good || s != end)
        return rz_fail(err, RZ_ECONFIG, from, "\"%.*s\": must be like 7, 0-9, 10-, embed or head",
                       (int)e->n_range, e->range);
    if (*last < *first)
        return rz_fail(err, RZ_ECONFIG, from, "%.*s: ends before it begins", (int)e->n_range, e->range);
    if (*last >= n_layers)
        return rz_fail(err, RZ_ECONFIG, from, "%.*s: the model has layers 0 to %u", (int)e->n_range, e->range,
                       n_layers - 1);
    ++*first;
    ++*last;
    return RZ_OK;
}

/* No name between two signs is missing. */
static bool is_list(const char *names)
{
    return *names != '+' && names[strlen(names) - 1] != '+' && !strstr(names, "++");
}

static int32_t put(struct rz_placement *place, const struct entry *e, const char *from, struct rz_err *err)
{
    uint32_t first, last;
    int32_t status = range_of(e, place->n_layers, from, &first, &last, err);
    if (status)
        return status;
    int32_t device = rz_placement_name(place, e->name, e->n_name);
    if (device < 0)
        return rz_fail(err, RZ_ECONFIG, from, "more than %d devices, or a name that is too long",
                       RZ_MIXED_MAX);
    if (!is_list(place->names[device]))
        return rz_fail(err, RZ_ECONFIG, from, "%s: must be a device, or several like cuda:0+cuda:1",
                       place->names[device]);
    for (uint32_t i = first; i <= last; i++) {
        uint8_t before = place->of_layer[i];
        if (before != UNSAID && i && i <= place->n_layers)
            return rz_fail(err, RZ_ECONFIG, from, "layer %u is on %s and on %s", i - 1, place->names[before],
                           place->names[device]);
        if (before != UNSAID)
            return rz_fail(err, RZ_ECONFIG, from, "%s is said twice", i ? "head" : "embed");
        place->of_layer[i] = (uint8_t)device;
    }
    return RZ_OK;
}

static int32_t check_all(const struct rz_placement *place, const char *from, struct rz_err *err)
{
    for (uint32_t i = 1; i <= place->n_layers; i++) {
        uint32_t end = i;
        while (end <= place->n_layers && place->of_layer[end] == UNSAID)
            end++;
        if (end == i + 1)
            return rz_fail(err, RZ_ECONFIG, from, "layer %u is on no device", i - 1);
        if (end > i)
            return rz_fail(err, RZ_ECONFIG, from, "layers %u-%u are on no device", i - 1, end - 2);
    }
    return RZ_OK;
}

static int32_t read_layers(struct rz_placement *place, const char *text, const char *from, struct rz_err *err)
{
    int32_t status = RZ_OK;
    while (*text && !status) {
        size_t n = strcspn(text, ",");
        const char *s = text;
        struct entry e;
        text += n + (text[n] == ',');
        trim(&s, &n);
        status = split(s, n, from, &e, err);
        if (!status)
            status = put(place, &e, from, err);
    }
    return status ? status : check_all(place, from, err);
}

/* --- nodes --- */

/* Products of chosen experts, and what lies between and around them. */
static bool of_experts(const struct rz_program *p, uint32_t i)
{
    const struct rz_node *n = rz_node_at(p, i);
    for (int32_t k = (int32_t)i; k >= 0; k = rz_node_at(p, (uint32_t)k)->parent) {
        uint16_t op = rz_node_at(p, (uint32_t)k)->op;
        if (op == RZ_OP_GLU_ID || op == RZ_OP_PROJ_ID)
            return true;
    }
    return n->op == RZ_OP_MATMUL_ID || n->op == RZ_OP_SUM_ID || n->op == RZ_OP_SCALE_ID;
}

void rz_placement_spread(struct rz_placement *place, const struct rz_program *p)
{
    uint32_t first = p->n_nodes, last = 0;
    for (uint32_t i = 0; i < p->n_nodes; i++)
        if (rz_node_at(p, i)->layer >= 0) {
            first = i < first ? i : first;
            last = i;
        }
    uint8_t before = place->of_layer[0];
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        const struct rz_node *n = rz_node_at(p, i);
        uint8_t *of = &place->of[i];
        if (n->layer >= 0)
            *of = place->of_layer[n->layer + 1];
        else if (i < first)
            *of = place->of_layer[0];
        else if (i > last && n->op != RZ_OP_SELECT_ROWS)
            *of = place->of_layer[place->n_layers + 1];
        else
            *of = before;
        if (place->experts >= 0 && of_experts(p, i))
            *of = (uint8_t)place->experts;
        else
            before = *of;
    }
}

bool rz_placement_replace(struct rz_placement *place, const struct rz_program *p, uint32_t device,
                          const char *name)
{
    int32_t to = rz_placement_name(place, name, strlen(name));
    for (uint32_t i = 0; i < place->n_layers + 2 && to >= 0; i++)
        if (place->of_layer[i] == device)
            place->of_layer[i] = (uint8_t)to;
    if (to >= 0 && place->experts == (int32_t)device)
        place->experts = to;
    if (to >= 0)
        rz_placement_spread(place, p);
    return to >= 0;
}

static bool has_experts(const struct rz_program *p)
{
    for (uint32_t i = 0; i < p->n_nodes; i++)
        if (of_experts(p, i))
            return true;
    return false;
}

static int32_t read_experts(struct rz_placement *place, const struct rz_placement_text *text,
                            const struct rz_program *p, struct rz_err *err)
{
    place->experts = -1;
    if (!text->experts)
        return RZ_OK;
    if (!has_experts(p))
        return rz_fail(err, RZ_ECONFIG, text->from_experts, "%s: the model has no experts", text->experts);
    place->experts = rz_placement_name(place, text->experts, strlen(text->experts));
    if (place->experts < 0)
        return rz_fail(err, RZ_ECONFIG, text->from_experts,
                       "%s: more than %d devices, or a name that is too long", text->experts, RZ_MIXED_MAX);
    return RZ_OK;
}

int32_t rz_placement_read(const struct rz_placement_text *text, const char *fallback,
                          const struct rz_program *p, struct rz_placement *out, struct rz_err *err)
{
    uint32_t n = rz_placement_layers(p);
    *out = (struct rz_placement){.n_layers = n, .experts = -1};
    out->of = calloc(p->n_nodes + 1ull, 1);
    out->of_layer = malloc(n + 2ull);
    int32_t status =
        out->of && out->of_layer ? RZ_OK : rz_fail(err, RZ_ENOMEM, "layers", "no memory for %u layers", n);
    if (!status) {
        memset(out->of_layer, UNSAID, n + 2ull);
        if (text->layers)
            status = read_layers(out, text->layers, text->from_layers, err);
        else if (fallback)
            memset(out->of_layer, rz_placement_name(out, fallback, strlen(fallback)), n + 2ull);
    }
    if (!status)
        status = read_experts(out, text, p, err);
    if (status) {
        rz_placement_free(out);
        return status;
    }
    if (out->of_layer[0] == UNSAID)
        out->of_layer[0] = n ? out->of_layer[1] : 0;
    if (out->of_layer[n + 1] == UNSAID)
        out->of_layer[n + 1] = n ? out->of_layer[n] : 0;
    if (text->layers || fallback)
        rz_placement_spread(out, p);
    return RZ_OK;
}
