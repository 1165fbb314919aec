/* grammar.c - fuzz target: a schema, a GBNF grammar or a regular expression, and a text that is held to it.
 *
 * The first byte chooses the kind; a zero byte ends the grammar, the rest is the text. A grammar is refused
 * or taken; one that is taken has no dead ends: from every state that the text reaches, some way leads on. */
#include "grammar.h"
#include "../vocab_mixed.h"
#include "automaton.h"
#include "fold.h"
#include "frontend.h"
#include "fuzz.h"

#include <string.h>

/* A state is accepting, or some byte leads on. */
static void check_state(struct rz_automaton *a, uint32_t state)
{
    bool alive = rz_automaton_accepts(a, state);
    for (uint32_t c = 0; c < 256 && !alive; c++)
        alive = rz_automaton_next(a, state, (uint8_t)c) != RZ_STATE_DEAD;
    if (!alive && !a->full && !a->spent)
        __builtin_trap();
}

static void hold(const struct rz_nfa *g, const uint8_t *text, size_t n)
{
    struct rz_automaton a;
    struct rz_err err = {.size = sizeof(err)};
    if (!rz_automaton_init(&a, g, &err)) {
        a.budget = 200000;
        uint32_t state = rz_automaton_begin(&a);
        for (size_t i = 0; i < n && state && i < 200; i++) {
            check_state(&a, state);
            if (i % 16 == 15)
                state = rz_automaton_renew(&a, state);
            state = rz_automaton_next(&a, state, text[i]);
        }
        struct rz_kinds kinds;
        rz_automaton_kinds(&a, state, 1000, &kinds);
    }
    rz_automaton_free(&a);
}

/* Masks over a vocabulary are what its tokens' bytes say. */
static void compare_masks(uint32_t kind, const char *grammar, size_t n, const uint8_t *text, size_t n_text)
{
    static struct rz_trie *trie;
    struct rz_err err = {.size = sizeof(err)};
    struct rz_grammar *g = NULL;
    if (!trie && rz_trie_new(&mixed_vocab, NULL, MIXED_VOCAB, &trie, &err))
        __builtin_trap();
    if (rz_grammar_new(kind, grammar, n, trie, &g, &err))
        return;
    struct rz_grammar_at at = rz_grammar_begin(g);
    for (size_t i = 0; i <= 32 && i <= n_text; i++) {
        if (!(i & (i - 1)) && mixed_judge(g, &at) >= 0)
            __builtin_trap();
        if (i == n_text || !rz_grammar_bytes(g, &at, (const char *)text + i, 1))
            break;
    }
    rz_grammar_unref(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rz_nfa g;
    struct rz_err err = {.size = sizeof(err)};
    if (!size || size > 20000)
        return 0;
    const char *text = (const char *)data + 1;
    const uint8_t *zero = memchr(text, 0, size - 1);
    size_t n = zero ? (size_t)(zero - data) - 1 : size - 1;
    rz_nfa_init(&g);
    if (data[0] % 3 == 0)
        rz_schema_build(&g, text, n);
    else if (data[0] % 3 == 1)
        rz_gbnf_build(&g, text, n, NULL);
    else
        rz_regex_build(&g, text, n);
    int32_t rc = rz_nfa_finish(&g, NULL, &err);
    fuzz_status(rc, &err);
    if (!rc)
        hold(&g, zero ? zero + 1 : data, zero ? size - n - 2 : size);
    bool small = !rc && g.n_nodes < 2000;
    rz_nfa_free(&g);
    static const uint32_t kinds[] = {RZ_GRAMMAR_JSON_SCHEMA, RZ_GRAMMAR_GBNF, RZ_GRAMMAR_REGEX};
    if (small && n < 400)
        compare_masks(kinds[data[0] % 3], text, n, zero ? zero + 1 : data, zero ? size - n - 2 : 0);
    return 0;
}
