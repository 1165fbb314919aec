/* describe.c - what a model is made of, for people: its family and what sets it apart.
 *
 * Told from the program that its family makes of it, so that what is said is what would run; where there is
 * none, the reason is. Nothing of a weight's bytes is read.
 */
#include "models.h"

#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct teller {
    void (*line)(void *arg, const char *name, const char *text);
    void *arg;
    const char *name; /* of rz_overrides_each's lines */
    char text[400];
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void add(struct teller *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->text + t->used, sizeof(t->text) - t->used, format, args);
    va_end(args);
    t->used += n > 0 ? (size_t)n : 0;
    if (t->used >= sizeof(t->text))
        t->used = sizeof(t->text) - 1;
}

static void tell(struct teller *t, const char *name)
{
    if (t->used)
        t->line(t->arg, name, t->text);
    t->used = 0;
    t->text[0] = 0;
}

static const struct rz_node *node_at(const struct rz_program *p, uint32_t i)
{
    return (const void *)((const char *)p->nodes + (uint64_t)i * p->node_stride);
}

/* --- layers that are alike --- */

/* What a layer's node says; UINT64_MAX: it has none. */
typedef uint64_t layer_fact(const struct rz_node *n);

static uint64_t fact_window(const struct rz_node *n)
{
    if (n->op != RZ_OP_ATTENTION)
        return UINT64_MAX;
    return n->attr_mask & RZ_ATTR(RZ_A_WINDOW) ? (uint64_t)n->attrs[RZ_A_WINDOW].i : 0;
}

static uint64_t fact_rope(const struct rz_node *n)
{
    return n->op == RZ_OP_ROPE ? (uint64_t)n->attrs[RZ_A_ROPE].i : UINT64_MAX;
}

static uint64_t fact_state(const struct rz_node *n)
{
    return n->op == RZ_OP_SCAN || n->op == RZ_OP_DELTA || n->op == RZ_OP_CONV ? 0 : UINT64_MAX;
}

static bool layer_is(const struct rz_program *p, uint32_t layer, layer_fact *fact, uint64_t value)
{
    for (uint32_t i = 0; i < p->n_nodes; i++)
        if (node_at(p, i)->layer == (int32_t)layer && fact(node_at(p, i)) == value)
            return true;
    return false;
}

/* " in layers 0-2,4", "" for all of them; false: none is. */
static bool add_layers(struct teller *t, const struct rz_graph *g, layer_fact *fact, uint64_t value)
{
    uint32_t n = 0, first = 0;
    for (uint32_t l = 0; l < g->h.n_layer; l++)
        n += layer_is(&g->program, l, fact, value);
    if (!n || n == g->h.n_layer)
        return n;
    add(t, " in layer%s ", n > 1 ? "s" : "");
    bool before = false, some = false;
    for (uint32_t l = 0; l <= g->h.n_layer; l++) {
        bool is = l < g->h.n_layer && layer_is(&g->program, l, fact, value);
        if (is && !before)
            first = l;
        if (!is && before) {
            add(t, first + 1 < l ? "%s%u-%u" : "%s%u", some ? "," : "", first, l - 1);
            some = true;
        }
        before = is;
    }
    return true;
}

/* --- what there is to say --- */

/* Windows of the layers, each once. */
static void tell_attention(struct teller *t, const struct rz_graph *g)
{
    uint64_t seen[16];
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->program.n_nodes && n < 16; i++) {
        uint64_t window = fact_window(node_at(&g->program, i));
        bool old = window == UINT64_MAX;
        for (uint32_t k = 0; k < n; k++)
            old |= seen[k] == window;
        if (old)
            continue;
        seen[n++] = window;
        if (window && g->mask == RZ_MASK_ALL)
            add(t, "%s%llu positions around", n > 1 ? ", " : "", (unsigned long long)(2 * window - 1));
        else if (window)
            add(t, "%swindow of %llu", n > 1 ? ", " : "", (unsigned long long)window);
        else
            add(t, "%sfull", n > 1 ? ", " : "");
        add_layers(t, g, fact_window, window);
    }
    if (g->mask == RZ_MASK_ALL)
        add(t, ", to both sides");
    tell(t, "attention");
}

static void tell_ropes(struct teller *t, const struct rz_graph *g)
{
    static const char *const scalings[] = {"", ", linear", ", yarn", ", dynamic"};
    const struct rz_hparams *h = &g->h;
    for (uint32_t r = 0, n = 0; r < g->program.n_ropes; r++) {
        const struct rz_rope *rope =
            (const void *)((const char *)g->program.ropes + (uint64_t)r * g->program.rope_stride);
        size_t before = t->used;
        add(t, "%s%u elements", n ? "; " : "", rope->dim);
        if (rope->dim > 2)
            add(t, ", base %.6g", n && h->rope_base_swa > 0 ? h->rope_base_swa : h->rope_base);
        if (!n && h->scaling && h->scaling < sizeof(scalings) / sizeof(scalings[0]))
            add(t, "%s by %g", scalings[h->scaling], h->scaling_factor);
        if (!n && h->scaling_context)
            add(t, ", trained for %u", h->scaling_context);
        if (!n && g->rope_switch)
            add(t, ", another one for texts that may grow beyond");
        if (add_layers(t, g, fact_rope, r))
            n++;
        else
            t->text[t->used = before] = 0;
    }
    if (!t->used)
        add(t, "none");
    tell(t, "rope");
}

static void tell_rest(struct teller *t, const struct rz_model *model, const struct rz_graph *g)
{
    static const char *const pooling[] = {"", "mean", "cls", "last"};
    char key[96];
    uint32_t experts = 0, used = 0;
    snprintf(key, sizeof(key), "%s.expert_count", model->shown_arch);
    rz_meta_u32(model->tables, key, &experts, NULL);
    snprintf(key, sizeof(key), "%s.expert_used_count", model->shown_arch);
    rz_meta_u32(model->tables, key, &used, NULL);
    if (experts)
        add(t, "%u, %u of them for each token", experts, used);
    tell(t, "experts");
    for (uint32_t i = 0; i < g->program.n_nodes && !t->used; i++)
        if (fact_state(node_at(&g->program, i)) == 0) {
            add(t, "recurrent");
            add_layers(t, g, fact_state, 0);
        }
    tell(t, "state");
    if (g->h.pooling && g->h.pooling <= RZ_POOL_LAST)
        add(t, "%s", pooling[g->h.pooling]);
    else if (g->mask == RZ_MASK_ALL)
        add(t, "mean (the model does not say)");
    tell(t, "pooling");
}

static void tell_setting(void *arg, const char *text)
{
    struct teller *t = arg;
    t->line(t->arg, t->name, text);
}

int32_t rz_model_describe(struct rz_model *model, void (*line)(void *arg, const char *name, const char *text),
                          void *arg)
{
    struct teller t = {.line = line, .arg = arg, .name = "setting"};
    struct rz_err err = RZ_ERR_INIT;
    struct rz_graph *own = NULL;
    const struct rz_graph *g = model->graph;
    if (!g && !rz_graph_build(model->tables, model->set.sources, model->set.n, 0, &own, &err))
        g = own;
    if (g) {
        add(&t, "%s, %s", g->h.arch, g->mask == RZ_MASK_ALL ? "an encoder" : "a decoder");
        tell(&t, "family");
        tell_attention(&t, g);
        tell_ropes(&t, g);
        tell_rest(&t, model, g);
    } else {
        add(&t, "no: %s%s%s", err.where, err.where[0] ? ": " : "", err.message);
        tell(&t, "runs");
    }
    rz_overrides_each(model->overrides, tell_setting, &t);
    rz_graph_free(own);
    return RZ_OK;
}
