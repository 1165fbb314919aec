/* wide_order.c - in which order the devices run the copies: waves, in which nobody waits for another. */
#include "wide_build.h"

static void find_crossings(struct rz_widening *w)
{
    for (uint32_t i = 0; i < w->n_nodes; i++)
        for (uint32_t k = 0; k < w->nodes[i].n.n_in; k++) {
            int32_t v = w->refs[w->nodes[i].n.first_in + k];
            if (v >= 0 && w->nodes[w->maker[v]].device != w->nodes[i].device)
                w->nodes[w->maker[v]].crosses = true;
        }
}

/* waves[i]: when node i runs; 0: not yet. */
static bool is_ready(const struct rz_widening *w, const uint32_t *waves, uint32_t i, uint32_t wave)
{
    const struct rz_wide_node *n = &w->nodes[i];
    for (uint32_t k = 0; k < n->n.n_in; k++) {
        int32_t v = w->refs[n->n.first_in + k];
        if (v < 0)
            continue;
        uint32_t made = waves[w->maker[v]];
        if (!made || (made == wave && w->nodes[w->maker[v]].device != n->device))
            return false;
    }
    return true;
}

static void place_node(struct rz_widening *w, uint32_t i, uint32_t to, uint32_t wave)
{
    struct rz_node *n = (struct rz_node *)(uintptr_t)w->wide->program.nodes;
    n[to] = w->nodes[i].n;
    n[to].end = to + 1;
    w->wide->of[to] = w->nodes[i].device;
    w->wide->origin[to] = w->nodes[i].origin;
    w->wide->waves[to] = wave;
}

/* Waves: in each, every device does what it can until somebody waits for it or it waits for others. So what
 * devices do in one wave needs nothing of each other. */
void rz_widen_order(struct rz_widening *w)
{
    uint32_t *waves = rz_widen_room(w, w->n_nodes, sizeof(*waves)), next[RZ_WIDE_MAX] = {0}, done = 0;
    struct rz_node *nodes = rz_widen_room(w, w->n_nodes, sizeof(*nodes));
    w->wide->of = rz_widen_room(w, w->n_nodes, 1);
    w->wide->origin = rz_widen_room(w, w->n_nodes, sizeof(*w->wide->origin));
    w->wide->waves = rz_widen_room(w, w->n_nodes, sizeof(*w->wide->waves));
    w->wide->program.nodes = nodes;
    if (w->status)
        return;
    find_crossings(w);
    for (uint32_t wave = 1; done < w->n_nodes; wave++)
        for (uint8_t d = 0; d < RZ_WIDE_MAX; d++)
            for (; next[d] < w->n_nodes; next[d]++) {
                const struct rz_wide_node *n = &w->nodes[next[d]];
                if (n->device != d)
                    continue;
                if (!is_ready(w, waves, next[d], wave))
                    break;
                waves[next[d]] = wave;
                place_node(w, next[d], done++, wave);
                if (n->crosses) {
                    next[d]++;
                    break;
                }
            }
}
