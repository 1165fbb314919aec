/* trie.c - built level by level from the sorted tokens: a node is a stretch of them with a common start. */
#include "trie.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    struct rz_str text;
    uint32_t id, order;
};

struct stretch {
    uint32_t lo, hi, depth;
};

static int compare(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    uint64_t n = x->text.len < y->text.len ? x->text.len : y->text.len;
    int c = n ? memcmp(x->text.data, y->text.data, n) : 0;
    if (c || x->text.len != y->text.len)
        return c ? c : x->text.len < y->text.len ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void build(struct rz_trie *t, const struct entry *e, struct stretch *todo)
{
    for (uint32_t k = 0; k < t->n; k++) {
        struct rz_trie_node *node = &t->nodes[k];
        struct stretch s = todo[k];
        uint32_t i = s.lo;
        node->id = -1;
        if (i < s.hi && e[i].text.len == s.depth && s.depth)
            node->id = (int32_t)e[i].id;
        while (i < s.hi && e[i].text.len == s.depth)
            i++;
        node->first = t->n;
        while (i < s.hi) {
            uint8_t byte = (uint8_t)e[i].text.data[s.depth];
            todo[t->n] = (struct stretch){i, i, s.depth + 1};
            while (i < s.hi && (uint8_t)e[i].text.data[s.depth] == byte)
                i++;
            todo[t->n].hi = i;
            t->nodes[t->n++] = (struct rz_trie_node){.byte = byte};
            node->count++;
        }
    }
}

bool rz_trie_init(struct rz_trie *t, const struct rz_str *texts, const uint32_t *ids, uint32_t n)
{
    struct entry *e = malloc((n ? n : 1) * sizeof(*e));
    struct stretch *todo = NULL;
    uint64_t bytes = 1;
    bool ok = false;
    memset(t, 0, sizeof(*t));
    for (uint32_t i = 0; e && i < n; i++) {
        e[i] = (struct entry){texts[i], ids[i], i};
        bytes += texts[i].len;
    }
    if (!e || bytes >= UINT32_MAX)
        goto done;
    qsort(e, n, sizeof(*e), compare);
    t->nodes = calloc(bytes, sizeof(*t->nodes)); /* at most: pages that stay unused cost nothing */
    todo = malloc(bytes * sizeof(*todo));
    if (!t->nodes || !todo)
        goto done;
    t->n = 1;
    todo[0] = (struct stretch){0, n, 0};
    build(t, e, todo);
    ok = true;
    struct rz_trie_node *exact = realloc(t->nodes, t->n * sizeof(*exact));
    t->nodes = exact ? exact : t->nodes;
done:
    if (!ok)
        rz_trie_free(t);
    free(e);
    free(todo);
    return ok;
}

void rz_trie_free(struct rz_trie *t)
{
    free(t->nodes);
    memset(t, 0, sizeof(*t));
}
