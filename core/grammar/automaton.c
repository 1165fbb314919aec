/* automaton.c - states, stacks and successors. See automaton.h.
 *
 * A reading is a number: its stack in the upper and its node in the lower half; 0, the end with nothing
 * open, says that the text may end. Readings of a state are sorted, so equal states are equal bytes.
 */
#include "automaton.h"

#include "err.h"

#include <stdlib.h>
#include <string.h>

#define FRAMES 65536u /* powers of two: */
#define STATES 32768u /* rows hold them in 16 bits */
#define VISITS 16384u
#define SOON 24u
#define READINGS 262144u
#define WORK 8192u       /* nodes that wait within one closure    */
#define FOLLOWERS 16384u /* successors of all readings of a state */
#define LISTS (FOLLOWERS + RZ_READINGS_MAX + 1u)
#define NONE UINT32_MAX

struct item {
    uint32_t node, stack;
};

struct visit {
    uint64_t key, epoch;
};

/* Working memory of one step. */
struct rz_closure {
    struct item items[WORK];
    uint64_t soon[SOON]; /* the first visits: most closures have no more */
    struct visit visits[VISITS];
    uint32_t n_items, n_visits;
    uint64_t epoch;
    uint64_t list[LISTS];
    uint32_t n_list;
    /* of rz_automaton_next: the successors of each reading, and what classes with several lead to */
    uint32_t from[RZ_READINGS_MAX + 1], state_of[RZ_READINGS_MAX];
    uint64_t of_class[256][RZ_READINGS_MAX / 64];
    uint32_t n_words; /* of of_class that the readings of this state need */
    uint64_t merged[LISTS];
};

int32_t rz_automaton_init(struct rz_automaton *a, const struct rz_nfa *g, struct rz_err *err)
{
    *a = (struct rz_automaton){.g = g};
    a->frames = calloc(FRAMES, sizeof(*a->frames));
    a->states = calloc(STATES, sizeof(*a->states));
    a->readings = calloc(READINGS, sizeof(*a->readings));
    a->rows = calloc((size_t)STATES * g->n_classes, sizeof(*a->rows));
    a->expanded = calloc(STATES, sizeof(*a->expanded));
    a->frame_slots = calloc(2 * FRAMES, sizeof(*a->frame_slots));
    a->state_slots = calloc(2 * STATES, sizeof(*a->state_slots));
    a->work = calloc(1, sizeof(*a->work));
    a->marks = calloc(g->n_nodes, sizeof(*a->marks));
    a->line = calloc(RZ_KINDS_MOST, sizeof(*a->line));
    a->set_marks = calloc(g->n_sets + 1ull, sizeof(*a->set_marks));
    if (!a->frames || !a->states || !a->readings || !a->rows || !a->expanded || !a->frame_slots ||
        !a->state_slots || !a->work || !a->marks || !a->line || !a->set_marks)
        return rz_fail(err, RZ_ENOMEM, "grammar", "no memory for its states");
    a->n_frames = a->n_states = 1;
    return RZ_OK;
}

void rz_automaton_free(struct rz_automaton *a)
{
    free(a->frames);
    free(a->states);
    free(a->readings);
    free(a->rows);
    free(a->expanded);
    free(a->frame_slots);
    free(a->state_slots);
    free(a->work);
    free(a->marks);
    free(a->line);
    free(a->set_marks);
    *a = (struct rz_automaton){0};
}

uint64_t rz_automaton_bytes(const struct rz_automaton *a)
{
    return FRAMES * (sizeof(*a->frames) + 8) + STATES * (sizeof(*a->states) + 8) + READINGS * 8ull +
           (uint64_t)STATES * a->g->n_classes * 2 + sizeof(*a->work);
}

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

/* --- stacks --- */

static uint32_t push(struct rz_automaton *a, uint32_t parent, uint32_t node, uint32_t count)
{
    uint64_t h = mix(((uint64_t)parent << 32 | node) + mix(count + 1ull));
    uint32_t at = (uint32_t)h & (2 * FRAMES - 1);
    for (; a->frame_slots[at]; at = (at + 1) & (2 * FRAMES - 1)) {
        const struct rz_frame *f = &a->frames[a->frame_slots[at]];
        if (f->parent == parent && f->node == node && f->count == count)
            return a->frame_slots[at];
    }
    if (a->n_frames == FRAMES) {
        a->full = true;
        return 0;
    }
    a->frames[a->n_frames] = (struct rz_frame){parent, node, count, a->frames[parent].depth + 1};
    return a->frame_slots[at] = a->n_frames++;
}

/* --- closure: all readings that a node begins --- */

/* False: this node was there already with this stack, and as fresh. */
static bool visit(struct rz_automaton *a, uint32_t node, uint32_t stack, bool fresh)
{
    struct rz_closure *w = a->work;
    uint64_t key = ((uint64_t)stack << 32 | node) << 1 | fresh;
    for (uint32_t i = 0; i < w->n_visits && i < SOON; i++)
        if (w->soon[i] == key)
            return false;
    if (w->n_visits < SOON) {
        w->soon[w->n_visits++] = key;
        return true;
    }
    uint32_t at = (uint32_t)mix(key) & (VISITS - 1);
    for (; w->visits[at].epoch == w->epoch; at = (at + 1) & (VISITS - 1))
        if (w->visits[at].key == key)
            return false;
    if (w->n_visits == VISITS / 2) {
        a->widest = UINT32_MAX;
        return false;
    }
    w->n_visits++;
    w->visits[at] = (struct visit){key, w->epoch};
    return true;
}

static void want(struct rz_automaton *a, uint32_t node, uint32_t stack)
{
    struct rz_closure *w = a->work;
    /* Nodes that cannot end within the stack are no way on: this is what keeps dead ends away. */
    if (a->g->need[node] + a->frames[stack].depth > RZ_NFA_DEPTH_MAX)
        return;
    if (w->n_items < WORK)
        w->items[w->n_items++] = (struct item){node, stack};
    else
        a->widest = UINT32_MAX;
}

/* A repetition of which `count` bodies are behind. */
static void again(struct rz_automaton *a, uint32_t node, uint32_t count, uint32_t stack)
{
    const struct rz_nfa_node *n = &a->g->nodes[node];
    const struct rz_nfa_bounds *b = &a->g->bounds[n->b];
    if (b->max == RZ_NFA_FOREVER && count > b->min)
        count = b->min;
    if (count >= b->min)
        want(a, n->next, stack);
    if (count >= b->max || a->frames[stack].depth == RZ_NFA_DEPTH_MAX)
        return;
    if (a->g->need[n->a] + a->frames[stack].depth + 1 > RZ_NFA_DEPTH_MAX)
        return;
    uint32_t inside = push(a, stack, node, count);
    if (inside)
        want(a, n->a, inside);
}

static void call(struct rz_automaton *a, uint32_t node, uint32_t stack)
{
    const struct rz_nfa_node *n = &a->g->nodes[node];
    uint32_t start = a->g->rules[n->a].start;
    if (n->next == RZ_NFA_END) { /* nothing to come back to: the stack does not grow */
        want(a, start, stack);
        return;
    }
    uint32_t inside = a->frames[stack].depth < RZ_NFA_DEPTH_MAX ? push(a, stack, node, 0) : 0;
    if (inside)
        want(a, start, inside);
}

/* The end of what is open. base: the depth of the stack when the last byte came; what is deeper is fresh,
 * and a body that may be nothing and was nothing is not counted: leaving it out is the same text. */
static void end(struct rz_automaton *a, uint32_t stack, uint32_t base)
{
    struct rz_closure *w = a->work;
    if (!stack) {
        w->list[w->n_list++] = 0;
        return;
    }
    const struct rz_frame *f = &a->frames[stack];
    const struct rz_nfa_node *n = &a->g->nodes[f->node];
    if (n->kind == RZ_NFA_K_CALL)
        want(a, n->next, f->parent);
    else if (!a->g->bounds[n->b].nullable || f->depth <= base)
        again(a, f->node, f->count + 1, f->parent);
}

/* Appends the readings from a node to work->list, at most `most`. */
static void close_over(struct rz_automaton *a, uint32_t node, uint32_t stack, uint32_t most)
{
    struct rz_closure *w = a->work;
    uint32_t from = w->n_list, base = a->frames[stack].depth;
    w->epoch++;
    w->n_visits = w->n_items = 0;
    want(a, node, stack);
    for (; w->n_items && w->n_list - from < most; a->budget--) {
        struct item it = w->items[--w->n_items];
        const struct rz_nfa_node *n = &a->g->nodes[it.node];
        if (!visit(a, it.node, it.stack, a->frames[it.stack].depth > base))
            continue;
        switch (n->kind) {
        case RZ_NFA_K_END:
            end(a, it.stack, base);
            break;
        case RZ_NFA_K_SET:
            w->list[w->n_list++] = (uint64_t)it.stack << 32 | it.node;
            break;
        case RZ_NFA_K_SPLIT:
            for (uint32_t e = n->b; e--;)
                want(a, a->g->edges[n->a + e], it.stack);
            break;
        case RZ_NFA_K_CALL:
            call(a, it.node, it.stack);
            break;
        default:
            again(a, it.node, 0, it.stack);
        }
    }
}

/* --- states --- */

static int by_number(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

static uint32_t sort_unique(uint64_t *list, uint32_t n)
{
    if (n < 2)
        return n;
    qsort(list, n, sizeof(*list), by_number);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < n; i++)
        if (list[i] != list[kept - 1])
            list[kept++] = list[i];
    return kept < RZ_READINGS_MAX ? kept : RZ_READINGS_MAX;
}

/* The state with these readings. The list is sorted in place. */
static uint32_t state_of(struct rz_automaton *a, uint64_t *list, uint32_t n)
{
    n = sort_unique(list, n);
    if (!n)
        return RZ_STATE_DEAD;
    uint64_t h = n;
    for (uint32_t i = 0; i < n; i++)
        h = mix(h + list[i]);
    uint32_t at = (uint32_t)h & (2 * STATES - 1);
    for (; a->state_slots[at]; at = (at + 1) & (2 * STATES - 1)) {
        const struct rz_state *s = &a->states[a->state_slots[at]];
        if (s->hash == h && s->n == n && !memcmp(a->readings + s->first, list, n * sizeof(*list)))
            return a->state_slots[at];
    }
    if (a->n_states == STATES || a->n_readings + n > READINGS) {
        a->full = true;
        return RZ_STATE_DEAD;
    }
    memcpy(a->readings + a->n_readings, list, n * sizeof(*list));
    a->states[a->n_states] = (struct rz_state){.hash = h, .first = a->n_readings, .n = n};
    a->n_readings += n;
    return a->state_slots[at] = a->n_states++;
}

uint32_t rz_automaton_begin(struct rz_automaton *a)
{
    a->work->n_list = 0;
    close_over(a, a->g->rules[0].start, 0, RZ_READINGS_MAX);
    return state_of(a, a->work->list, a->work->n_list);
}

/* --- successors --- */

/* Closes over what follows each reading of a state, and notes for each class which readings take it. */
static void follow(struct rz_automaton *a, const struct rz_state *s)
{
    struct rz_closure *w = a->work;
    w->n_list = 0;
    w->n_words = (s->n + 63) / 64;
    for (uint32_t c = 0; c < a->g->n_classes; c++)
        memset(w->of_class[c], 0, w->n_words * sizeof(w->of_class[c][0]));
    for (uint32_t i = 0; i < s->n; i++) {
        uint64_t reading = a->readings[s->first + i];
        const struct rz_nfa_node *n = &a->g->nodes[(uint32_t)reading];
        w->from[i] = w->n_list;
        w->state_of[i] = NONE;
        if (!reading)
            continue;
        /* The readings that are left have room for one successor each at least. */
        uint32_t room = FOLLOWERS - w->n_list - (s->n - 1 - i);
        close_over(a, n->next, (uint32_t)(reading >> 32), room < RZ_READINGS_MAX ? room : RZ_READINGS_MAX);
        const uint64_t *classes = a->g->class_sets[n->a].w;
        for (uint32_t v = 0; v < 4; v++)
            for (uint64_t left = classes[v]; left; left &= left - 1)
                w->of_class[64 * v + (uint32_t)__builtin_ctzll(left)][i / 64] |= 1ull << (i & 63);
    }
    w->from[s->n] = w->n_list;
    a->widest = w->n_list > a->widest ? w->n_list : a->widest;
}

/* The state that the marked readings lead to together. */
static uint32_t merge(struct rz_automaton *a, const uint64_t *marked)
{
    struct rz_closure *w = a->work;
    uint32_t n = 0, count = 0, last = 0;
    for (uint32_t v = 0; v < w->n_words; v++)
        for (uint64_t left = marked[v]; left; left &= left - 1, count++)
            last = 64 * v + (uint32_t)__builtin_ctzll(left);
    if (!count)
        return RZ_STATE_DEAD;
    if (count == 1) {
        if (w->state_of[last] == NONE)
            w->state_of[last] = state_of(a, w->list + w->from[last], w->from[last + 1] - w->from[last]);
        return w->state_of[last];
    }
    for (uint32_t v = 0; v < w->n_words; v++)
        for (uint64_t left = marked[v]; left; left &= left - 1) {
            uint32_t i = 64 * v + (uint32_t)__builtin_ctzll(left), size = w->from[i + 1] - w->from[i];
            memcpy(w->merged + n, w->list + w->from[i], size * sizeof(*w->merged));
            n += size;
        }
    a->budget -= n;
    return state_of(a, w->merged, n);
}

static bool same_readings(const struct rz_closure *w, uint32_t class, uint32_t other)
{
    uint64_t differ = 0;
    for (uint32_t v = 0; v < w->n_words; v++)
        differ |= w->of_class[class][v] ^ w->of_class[other][v];
    return !differ;
}

/* Fills the row of a state. False: there is no room. */
static bool expand(struct rz_automaton *a, uint32_t state)
{
    struct rz_closure *w = a->work;
    uint32_t n = a->g->n_classes;
    if (a->budget <= 0) {
        a->spent = true;
        return false;
    }
    uint16_t *row = a->rows + (size_t)state * n;
    uint32_t tried[256], n_tried = 0;
    bool before = a->full;
    a->full = false;
    follow(a, &a->states[state]);
    for (uint32_t c = 0; c < n; c++) {
        uint32_t same = 0; /* classes are many, what readings take them is mostly one of a few sets */
        while (same < n_tried && !same_readings(w, tried[same], c))
            same++;
        if (same < n_tried) {
            row[c] = row[tried[same]];
            continue;
        }
        row[c] = (uint16_t)merge(a, w->of_class[c]);
        tried[n_tried++] = c;
    }
    if (a->full)
        return false;
    a->full = before;
    a->expanded[state] = 1;
    return true;
}

const uint16_t *rz_automaton_row(struct rz_automaton *a, uint32_t state)
{
    if (state != RZ_STATE_DEAD && !a->expanded[state] && !expand(a, state))
        return a->rows; /* that of RZ_STATE_DEAD, which leads nowhere */
    return a->rows + (size_t)state * a->g->n_classes;
}

uint32_t rz_automaton_next(struct rz_automaton *a, uint32_t state, uint8_t byte)
{
    return rz_automaton_row(a, state)[a->g->classes[byte]];
}

bool rz_automaton_accepts(const struct rz_automaton *a, uint32_t state)
{
    return state != RZ_STATE_DEAD && a->readings[a->states[state].first] == 0;
}

bool rz_automaton_over(const struct rz_automaton *a, uint32_t state)
{
    return rz_automaton_accepts(a, state) && a->states[state].n == 1;
}

/* --- states that do the same for a while --- */

/* The count that stands for all on the same side of the bounds, if this one is `far` bytes from leaving it.
 * The first body may end with the next byte, each after it has `least` at least; nothing is known of bodies
 * that may be nothing. */
static uint32_t alike_count(const struct rz_nfa_bounds *b, uint32_t count, uint32_t far, uint32_t *same)
{
    bool below = count + 1 < b->min;
    uint32_t bound = below ? b->min : b->max, to = below || !b->min ? 0 : b->min - 1;
    if (b->nullable || (!below && count + 1 >= b->max) || to == count)
        return count;
    uint64_t bytes = (uint64_t)(bound - 1 - count) * b->least;
    if (bound == RZ_NFA_FOREVER || bytes > UINT32_MAX)
        bytes = UINT32_MAX;
    if (bytes < far)
        return count;
    *same = bytes < *same ? (uint32_t)bytes : *same;
    return to;
}

static uint32_t alike_stack(struct rz_automaton *a, uint32_t stack, uint32_t far, uint32_t *same)
{
    uint32_t open[RZ_NFA_DEPTH_MAX], n = 0, to = 0;
    for (uint32_t f = stack; f; f = a->frames[f].parent)
        open[n++] = f;
    while (n--) {
        struct rz_frame f = a->frames[open[n]];
        const struct rz_nfa_node *x = &a->g->nodes[f.node];
        if (x->kind == RZ_NFA_K_REPEAT)
            f.count = alike_count(&a->g->bounds[x->b], f.count, far, same);
        bool kept = f.parent == to && f.count == a->frames[open[n]].count;
        to = kept ? open[n] : push(a, to, f.node, f.count);
        if (!to)
            break;
    }
    return to;
}

uint32_t rz_automaton_alike(struct rz_automaton *a, uint32_t state, uint32_t far, uint32_t *same)
{
    const struct rz_state *s = &a->states[state];
    uint64_t *list = a->work->merged;
    uint32_t last = 0, to = 0, changed = 0;
    *same = UINT32_MAX;
    for (uint32_t i = 0; i < s->n; i++) {
        uint64_t reading = a->readings[s->first + i];
        uint32_t stack = (uint32_t)(reading >> 32);
        to = stack == last ? to : alike_stack(a, stack, far, same);
        if (stack && !to) /* no room */
            return state;
        last = stack;
        changed |= to ^ stack;
        list[i] = (uint64_t)to << 32 | (uint32_t)reading;
    }
    uint32_t found = changed ? state_of(a, list, s->n) : state;
    return found ? found : state;
}

/* For each stack of the one state the other has no more successors than were counted. */
bool rz_automaton_follows_all(const struct rz_automaton *a, uint32_t state)
{
    const struct rz_state *s = &a->states[state];
    uint32_t stacks = 1; /* readings are in their order */
    for (uint32_t i = 1; i < s->n; i++)
        stacks += a->readings[s->first + i] >> 32 != a->readings[s->first + i - 1] >> 32;
    return (uint64_t)stacks * a->widest < RZ_READINGS_MAX;
}

/* --- room --- */

bool rz_automaton_crowded(const struct rz_automaton *a)
{
    return a->full || a->n_states > STATES / 4 * 3 || a->n_readings > READINGS / 4 * 3 ||
           a->n_frames > FRAMES / 4 * 3;
}

/* Keeps the frames that are open in a state, in their order: parents stay before what is inside of them.
 * The slots hold the new numbers meanwhile. */
static void compact(struct rz_automaton *a, uint64_t *list, uint32_t n)
{
    uint32_t *to = a->frame_slots, kept = 1;
    memset(to, 0, 2 * FRAMES * sizeof(*to));
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t f = (uint32_t)(list[i] >> 32); f && !to[f]; f = a->frames[f].parent)
            to[f] = 1;
    for (uint32_t f = 1; f < a->n_frames; f++) {
        if (!to[f])
            continue;
        a->frames[kept] = a->frames[f];
        a->frames[kept].parent = to[a->frames[f].parent];
        to[f] = kept++;
    }
    for (uint32_t i = 0; i < n; i++)
        list[i] = (uint64_t)to[list[i] >> 32] << 32 | (uint32_t)list[i];
    memset(to, 0, 2 * FRAMES * sizeof(*to));
    a->n_frames = 1;
    for (uint32_t f = 1; f < kept; f++)
        push(a, a->frames[f].parent, a->frames[f].node, a->frames[f].count);
}

uint32_t rz_automaton_renew(struct rz_automaton *a, uint32_t keep)
{
    const struct rz_state *s = &a->states[keep];
    uint32_t n = keep == RZ_STATE_DEAD ? 0 : s->n;
    memcpy(a->work->merged, a->readings + s->first, n * sizeof(*a->readings));
    compact(a, a->work->merged, n);
    memset(a->state_slots, 0, 2 * STATES * sizeof(*a->state_slots));
    a->n_states = 1;
    a->n_readings = 0;
    memset(a->expanded, 0, STATES * sizeof(*a->expanded));
    a->full = false;
    a->widest = 0;
    return state_of(a, a->work->merged, n);
}
