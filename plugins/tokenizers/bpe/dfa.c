/* dfa.c - the subset construction over ordered lists of program places.
 *
 * A state is the list of places where the search may be, best first, cut after the first that has matched.
 * What an assertion asks of the next character is answered while that character is read, so a match is
 * found one step late: the entry for (state, next character) says whether a match ended before it.
 */
#include "dfa.h"

#include "err.h"
#include "grow.h"
#include "regex.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

#define STATES_MAX 8192u
#define CLASSES_MAX 200u
#define CODE_POINTS 0x110000u
#define BLOCKS (CODE_POINTS / RZ_DFA_BLOCK)
#define BUCKETS 1024u
#define SCRATCH_MAX (64u << 20)

struct state {
    uint32_t n, hash;
    int32_t chained;
    const uint16_t *places;
};

struct builder {
    struct rz_dfa *dfa;
    struct rz_arena arena;
    struct rz_re re;
    uint64_t members[CLASSES_MAX]; /* of each class: the sets that hold it */
    struct state states[STATES_MAX];
    int32_t bucket[BUCKETS];
    uint16_t *list; /* the list that is being made */
    uint32_t n_list, mark;
    uint32_t *seen, *seen_now; /* mark of each place: in the list; visited at this character */
    bool cut;
};

/* --- classes: code points that no set tells apart --- */
static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The first code points of the stretches between the ends of all ranges, CODE_POINTS last. */
static uint32_t *borders(struct builder *b, uint32_t *count)
{
    uint32_t n = 2;
    for (uint32_t s = 0; s < b->re.n_sets; s++)
        n += 2 * b->re.sets[s].n;
    uint32_t *at = rz_arena_array(&b->arena, n, sizeof(*at)), kept = 0;
    if (!at)
        return NULL;
    at[0] = 0;
    at[1] = CODE_POINTS;
    for (uint32_t s = 0, k = 2; s < b->re.n_sets; s++)
        for (uint32_t r = 0; r < b->re.sets[s].n; r++) {
            at[k++] = b->re.sets[s].range[r][0];
            at[k++] = b->re.sets[s].range[r][1] + 1;
        }
    qsort(at, n, sizeof(*at), by_value);
    for (uint32_t i = 0; i < n; i++)
        if (!kept || at[i] != at[kept - 1])
            at[kept++] = at[i];
    *count = kept - 1;
    return at;
}

/* The class of the characters in exactly these sets; CLASSES_MAX: too many. */
static uint32_t class_of(struct builder *b, uint64_t members)
{
    struct rz_dfa *d = b->dfa;
    uint32_t c = 0;
    while (c < d->n_classes && b->members[c] != members)
        c++;
    if (c == d->n_classes && c < CLASSES_MAX) {
        b->members[c] = members;
        d->n_classes++;
    }
    return c;
}

/* The table in blocks; equal blocks are one. */
static int32_t fold_blocks(struct rz_dfa *d, const uint8_t *all)
{
    uint32_t used = 0, uniform[CLASSES_MAX];
    memset(uniform, 0xff, sizeof(uniform));
    d->block = malloc(BLOCKS * sizeof(*d->block));
    d->classes = malloc(65536);
    if (!d->block || !d->classes)
        return RZ_ENOMEM;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        const uint8_t *from = all + i * RZ_DFA_BLOCK;
        bool same = !memcmp(from, from + 1, RZ_DFA_BLOCK - 1);
        uint32_t at = same ? uniform[*from] : UINT32_MAX;
        if (at == UINT32_MAX && used + RZ_DFA_BLOCK > 65536)
            return RZ_ELIMIT;
        if (at == UINT32_MAX) {
            memcpy(d->classes + used, from, RZ_DFA_BLOCK);
            at = used;
            used += RZ_DFA_BLOCK;
        }
        if (same)
            uniform[*from] = at;
        d->block[i] = (uint16_t)at;
    }
    void *exact = realloc(d->classes, used);
    d->classes = exact ? exact : d->classes;
    return RZ_OK;
}

static int32_t make_classes(struct builder *b)
{
    uint32_t n = 0, at[RZ_RE_SETS_MAX] = {0};
    uint32_t *border = borders(b, &n);
    uint8_t *all = malloc(CODE_POINTS);
    int32_t status = border && all ? RZ_OK : RZ_ENOMEM;
    for (uint32_t i = 0; i < n && !status; i++) {
        uint64_t members = 0;
        for (uint32_t s = 0; s < b->re.n_sets; s++) {
            const struct rz_re_set *set = &b->re.sets[s];
            while (at[s] < set->n && set->range[at[s]][1] < border[i])
                at[s]++;
            if (at[s] < set->n && set->range[at[s]][0] <= border[i])
                members |= 1ull << s;
        }
        uint32_t class = class_of(b, members);
        if (class == CLASSES_MAX)
            status = RZ_ELIMIT;
        else
            memset(all + border[i], (int)class, border[i + 1] - border[i]);
    }
    if (!status)
        status = fold_blocks(b->dfa, all);
    b->dfa->end = b->dfa->n_classes;
    free(all);
    return status;
}

/* --- states --- */

/* Appends the places that are reached from pc without reading, best first. */
static void follow(struct builder *b, uint16_t pc)
{
    const struct rz_re_inst *i = &b->re.insts[pc];
    while (!b->cut && b->seen[pc] != b->mark) {
        b->seen[pc] = b->mark;
        if (i->op != RZ_RE_SPLIT) {
            b->list[b->n_list++] = pc;
            b->cut = i->op == RZ_RE_MATCH;
            return;
        }
        follow(b, i->a);
        pc = i->b;
        i = &b->re.insts[pc];
    }
}

/* What place pc does when a character of this class comes next; true: it has matched before it. */
static bool step(struct builder *b, uint16_t pc, uint32_t class)
{
    const struct rz_re_inst *i = &b->re.insts[pc];
    bool is_end = class == b->dfa->end;
    if (b->seen_now[pc] == b->mark)
        return false;
    b->seen_now[pc] = b->mark;
    bool inside = !is_end && b->members[class] >> i->x & 1;
    switch (i->op) {
    case RZ_RE_MATCH:
        return true;
    case RZ_RE_SET:
        if (inside)
            follow(b, i->a);
        return false;
    case RZ_RE_NOT:
        return !inside && step(b, i->a, class);
    default:
        return step(b, i->a, class) || step(b, i->b, class);
    }
}

/* The number of the state with the list at hand, new or known; -1: no memory, -2: too many. */
static int32_t intern(struct builder *b)
{
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < b->n_list; i++)
        hash = (hash ^ b->list[i]) * 16777619u;
    int32_t *head = &b->bucket[hash % BUCKETS];
    for (int32_t s = *head; s >= 0; s = b->states[s].chained)
        if (b->states[s].hash == hash && b->states[s].n == b->n_list &&
            !memcmp(b->states[s].places, b->list, b->n_list * sizeof(*b->list)))
            return s;
    if (b->dfa->n_states == STATES_MAX)
        return -2;
    uint16_t *places = rz_arena_array(&b->arena, b->n_list + 1, sizeof(*places));
    if (!places)
        return -1;
    memcpy(places, b->list, b->n_list * sizeof(*places));
    int32_t s = (int32_t)b->dfa->n_states++;
    b->states[s] = (struct state){.n = b->n_list, .hash = hash, .chained = *head, .places = places};
    *head = s;
    return s;
}

static void begin_list(struct builder *b)
{
    b->n_list = 0;
    b->cut = false;
    b->mark++;
}

/* Row << 1 | match for one state and class. */
static int32_t make_entry(struct builder *b, uint32_t state, uint32_t class, uint32_t *entry)
{
    bool matched = false;
    begin_list(b);
    for (uint32_t i = 0; i < b->states[state].n && !matched; i++)
        matched = step(b, b->states[state].places[i], class);
    int32_t next = intern(b);
    if (next < 0)
        return next == -1 ? RZ_ENOMEM : RZ_ELIMIT;
    *entry = (uint32_t)next * (b->dfa->end + 1) << 1 | matched;
    return RZ_OK;
}

static int32_t make_states(struct builder *b)
{
    struct rz_dfa *d = b->dfa;
    uint32_t width = d->end + 1;
    b->list = rz_arena_array(&b->arena, b->re.n_insts + 1, sizeof(*b->list));
    b->seen = rz_arena_array(&b->arena, b->re.n_insts, sizeof(*b->seen));
    b->seen_now = rz_arena_array(&b->arena, b->re.n_insts, sizeof(*b->seen_now));
    if (!b->list || !b->seen || !b->seen_now)
        return RZ_ENOMEM;
    memset(b->bucket, 0xff, sizeof(b->bucket));
    begin_list(b);
    int32_t dead = intern(b), start;
    follow(b, (uint16_t)b->re.start);
    start = intern(b);
    if (dead || start < 0)
        return RZ_ENOMEM;
    d->start = (uint32_t)start * width;
    size_t room = 0;
    for (uint32_t s = 0; s < d->n_states; s++) {
        void *more = rz_heap_grow(d->next, s, &room, width * sizeof(*d->next), 64);
        if (!more)
            return RZ_ENOMEM;
        d->next = more;
        for (uint32_t c = 0; c < width; c++) {
            int32_t status = make_entry(b, s, c, &d->next[s * width + c]);
            if (status)
                return status;
        }
    }
    return RZ_OK;
}

int32_t rz_dfa_compile(struct rz_dfa *d, const char *regex, struct rz_err *err)
{
    memset(d, 0, sizeof(*d));
    struct builder *b = calloc(1, sizeof(*b));
    int32_t status = RZ_ENOMEM;
    if (!b)
        goto done;
    b->dfa = d;
    rz_arena_init(&b->arena, SCRATCH_MAX);
    status = rz_re_parse(&b->re, &b->arena, regex);
    if (!status)
        status = make_classes(b);
    if (!status)
        status = make_states(b);
    rz_arena_free(&b->arena);
done:
    free(b);
    if (!status)
        return RZ_OK;
    rz_dfa_free(d);
    const char *why = status == RZ_ENOMEM   ? "no memory"
                      : status == RZ_ELIMIT ? "too large"
                                            : "not understood";
    return rz_fail(err, status, "pre-tokenizer", "expression %s: %s", regex, why);
}

void rz_dfa_free(struct rz_dfa *d)
{
    free(d->next);
    free(d->block);
    free(d->classes);
    memset(d, 0, sizeof(*d));
}

size_t rz_dfa_match(const struct rz_dfa *d, const char *text, size_t at, size_t n)
{
    const uint32_t *next = d->next;
    const uint8_t *ascii = d->classes; /* block 0 is the first */
    uint32_t row = d->start;
    size_t best = at;
    for (size_t i = at; i < n;) {
        unsigned char c = (unsigned char)text[i];
        uint32_t cp, class = ascii[c & 127];
        size_t len = 1;
        if (c >= 0x80) {
            len = rz_utf8_decode(text + i, n - i, &cp);
            len = len ? len : 1;
            class = d->classes[d->block[cp / RZ_DFA_BLOCK] + cp % RZ_DFA_BLOCK];
        }
        uint32_t entry = next[row + class];
        if (entry & 1)
            best = i;
        row = entry >> 1;
        if (!row)
            return best - at;
        i += len;
    }
    return next[row + d->end] & 1 ? n - at : best - at;
}
