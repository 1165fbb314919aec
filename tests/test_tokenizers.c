/* test_tokenizers.c - wordpiece, unigram, char and rwkv on small vocabularies. */
#include "tok.h"

#include <stdbool.h>
#include <time.h>

extern const struct rz_plugin rz_builtin_wordpiece, rz_builtin_unigram, rz_builtin_char, rz_builtin_rwkv;

#define SP "\342\226\201"

static void put_vocab(struct meta *m, const char *model, const struct rz_str *tokens, const int32_t *kinds,
                      size_t n)
{
    meta_str(m, K "model", model);
    meta_strs(m, K "tokens", tokens, n);
    meta_i32s(m, K "token_type", kinds, n);
}

/* --- wordpiece --- */
static void wordpiece_meta(struct meta *m)
{
    static const struct rz_str tokens[] = {
        S("[PAD]"), S("[UNK]"),   S("[CLS]"),           S("[SEP]"), S(SP "hello"), S(SP "wor"), S("ld"),
        S(SP "!"),  S(SP "cafe"), S(SP "\344\270\255"), S("s"),     S(SP "a"),     S("a"),      S(SP "'")};
    int32_t kinds[N(tokens)];
    for (size_t i = 0; i < N(tokens); i++)
        kinds[i] = i < 4 ? RZ_TOKEN_CONTROL : RZ_TOKEN_NORMAL;
    put_vocab(m, "bert", tokens, kinds, N(tokens));
    meta_u32(m, K "unknown_token_id", 1);
    meta_u32(m, K "cls_token_id", 2);
    meta_u32(m, K "seperator_token_id", 3);
}

RZ_TEST(wordpiece, words)
{
    struct meta m = {0};
    struct tok t;
    wordpiece_meta(&m);
    make(&t, &rz_builtin_wordpiece, &m);
    check_ids(&t, "", 0, "");
    check_ids(&t, "Hello  WORLD!", 0, "4 5 6 7");
    check_ids(&t, "Caf\303\251s caf\145\314\201", 0, "8 10 8"); /* accents go, composed or not */
    check_ids(&t, "\344\270\255a\344\270\255", 0, "9 11 9");    /* an ideograph is a word */
    check_ids(&t, "hello-world", 0, "4 1 5 6");
    check_ids(&t, "worldx a", 0, "1 11"); /* a word with an unknown end is unknown */
    check_ids(&t, "a\001\302\255a", 0, "11 12");
    check_ids(&t, "\377a", 0, "11"); /* U+FFFD goes */
    check_ids(&t, "a[SEP]a", RZ_ENCODE_SPECIAL, "11 3 11");
    check_ids(&t, "hello", RZ_ENCODE_BOS | RZ_ENCODE_EOS, "2 4 3");
    check_marked(&t, "a[SEP]{a[SEP]}", "11 3 11 1 1 1");
    check_ids(&t, "a [SEP]", 0, "11 1 1 1");
    static const int32_t ids[] = {2, 4, 5, 6, 7, 3, -1};
    rz_check_streq(text_of(&t, ids, 0), "hello world !");
    char words[302];
    memset(words, 'a', sizeof(words));
    rz_check_streq(ids_of(&t, words, 101, 0), "1"); /* more than a hundred characters */
    rz_check(strncmp(ids_of(&t, words, 100, 0), "11 12 12", 8) == 0);
    struct rz_tokenizer_info info = {.size = sizeof(info)};
    rz_check_eq(t.api->info(t.tok, &info), RZ_OK);
    rz_check_eq(info.bos, 2);
    rz_check_eq(info.eos, 3);
    rz_check(info.add_bos && info.add_eos);
    stop(&t);
    meta_free(&m);
}

RZ_TEST(wordpiece, cased)
{
    struct meta m = {0};
    struct tok t;
    wordpiece_meta(&m);
    meta_bool(&m, K "normalizer.lowercase", 0);
    make(&t, &rz_builtin_wordpiece, &m);
    check_ids(&t, "hello Hello caf\303\251 cafe\314\201", 0, "4 1 1 1");
    stop(&t);
    meta_bool(&m, K "normalizer.strip_accents", 1);
    make(&t, &rz_builtin_wordpiece, &m);
    check_ids(&t, "hello Hello caf\303\251 cafe\314\201", 0, "4 1 8 8");
    stop(&t);
    meta_free(&m);
}

/* --- unigram --- */
static void unigram_meta(struct meta *m, bool bytes)
{
    static struct rz_str tokens[12 + 256];
    static char spelled[256][8];
    static const struct rz_str first[12] = {S("<pad>"), S("</s>"), S("<unk>"), S(SP),      S("a"),   S("b"),
                                            S("ab"),    S(SP "a"), S("abc"),   S(SP "ab"), S("<u>"), S("c")};
    float scores[12 + 256] = {0, 0, 0, -2, -3, -3, -4, -3.5f, -20, -4.25f, 0, -3};
    int32_t kinds[12 + 256];
    for (size_t i = 0; i < 12 + 256; i++) {
        kinds[i] = i < 2     ? RZ_TOKEN_CONTROL
                   : i == 2  ? RZ_TOKEN_UNKNOWN
                   : i == 10 ? RZ_TOKEN_USER
                   : i < 12  ? RZ_TOKEN_NORMAL
                             : RZ_TOKEN_BYTE;
        if (i < 12)
            tokens[i] = first[i];
        else
            tokens[i] = (struct rz_str){spelled[i - 12],
                                        (size_t)snprintf(spelled[i - 12], 8, "<0x%02X>", (unsigned)i - 12)};
    }
    put_vocab(m, "t5", tokens, kinds, bytes ? 12 + 256 : 12);
    meta_f32s(m, K "scores", scores, bytes ? 12 + 256 : 12);
    meta_bool(m, K "remove_extra_whitespaces", 1);
}

RZ_TEST(unigram, best_path)
{
    struct meta m = {0};
    struct tok t;
    unigram_meta(&m, false);
    make(&t, &rz_builtin_unigram, &m);
    check_ids(&t, "", 0, "");
    check_ids(&t, "   ", 0, "");
    check_ids(&t, "ab", 0, "9");
    check_ids(&t, "abc", 0, "9 11"); /* -7.25; "abc" alone is worse */
    check_ids(&t, "  a   b ", 0, "7 3 5");
    check_ids(&t, "a\303\251\303\251b", 0, "7 2 5"); /* a run of unknown characters is one token */
    check_ids(&t, "a<u>b", 0, "7 10 3 5");
    check_ids(&t, "a</s>", RZ_ENCODE_SPECIAL | RZ_ENCODE_EOS, "7 1 1");
    check_ids(&t, "\377a", 0, "3 2 4");
    check_marked(&t, "{a</s>}</s>", "7 2 1");
    static const int32_t ids[] = {7, 3, 5, 1, -1};
    rz_check_streq(text_of(&t, ids, 0), "a b");
    stop(&t);
    meta_bool(&m, K "remove_extra_whitespaces", 0);
    make(&t, &rz_builtin_unigram, &m);
    check_ids(&t, "a  b", 0, "7 3 3 5");
    stop(&t);
    meta_free(&m);
    unigram_meta(&m, true);
    make(&t, &rz_builtin_unigram, &m);
    check_ids(&t, "a\303\251b", 0, "7 207 181 5"); /* bytes where the vocabulary has them all */
    stop(&t);
    meta_free(&m);
}

/* A map of one spelling: "X" becomes "ab". The root's base is 'X' ^ 'X' + 1 ... as written below. */
RZ_TEST(unigram, spelling_map)
{
    struct meta m = {0};
    struct tok t;
    uint32_t table[256] = {0};
    uint8_t data[4 + sizeof(table) + 3] = {0};
    table[0] = 1u << 10;                       /* base 1: the child by 'X' is 1 ^ 'X' */
    table[1 ^ 'X'] = 'X' | 1u << 8 | 2u << 10; /* ends here; its value is at node ^ 2 */
    table[(1 ^ 'X') ^ 2] = 1u << 31 | 0;       /* replacement at 0 */
    memcpy(data, &(uint32_t){sizeof(table)}, 4);
    memcpy(data + 4, table, sizeof(table));
    memcpy(data + 4 + sizeof(table), "ab", 3);
    unigram_meta(&m, false);
    meta_put(&m, K "precompiled_charsmap", RZ_META_ARRAY, RZ_META_U8, sizeof(data), data, sizeof(data));
    make(&t, &rz_builtin_unigram, &m);
    check_ids(&t, "X", 0, "9");
    check_ids(&t, "XX", 0, "9 6");
    stop(&t);
    table[(1 ^ 'X') ^ 2] = 1u << 31 | 5000; /* outside the replacements: as if it were not there */
    memcpy(data + 4, table, sizeof(table));
    meta_put(&m, K "precompiled_charsmap", RZ_META_ARRAY, RZ_META_U8, sizeof(data), data, sizeof(data));
    make(&t, &rz_builtin_unigram, &m);
    check_ids(&t, "X", 0, "3 2");
    stop(&t);
    data[3] = 0x7f; /* a table longer than the data */
    meta_put(&m, K "precompiled_charsmap", RZ_META_ARRAY, RZ_META_U8, sizeof(data), data, sizeof(data));
    check_refused(&rz_builtin_unigram, &m, RZ_EFORMAT, "key " K "precompiled_charsmap",
                  "its table should have");
}

RZ_TEST(unigram, bad_metadata)
{
    static const float nan_score[12] = {0, 0, 0, 0.0f / 0.0f};
    static const struct change changes[] = {
        {K "scores", -1, 0, 0, NULL, 0, RZ_EFORMAT, "key " K "scores", "0 scores for 12 tokens"},
        {K "scores", RZ_META_ARRAY, RZ_META_F32, 12, nan_score, sizeof(nan_score), RZ_EFORMAT,
         "key " K "scores", "the score of token 3 is not a number"},
    };
    for (size_t i = 0; i < N(changes); i++) {
        struct meta m = {0};
        unigram_meta(&m, false);
        if (changes[i].type < 0)
            meta_drop(&m, changes[i].key);
        else
            meta_put(&m, changes[i].key, (uint32_t)changes[i].type, changes[i].elem_type, changes[i].n,
                     changes[i].data, changes[i].bytes);
        check_refused(&rz_builtin_unigram, &m, changes[i].code, changes[i].where, changes[i].message);
    }
}

/* --- char --- */
RZ_TEST(chars, one_a_character)
{
    static const struct rz_str tokens[] = {S("<s>"), S("<unk>"), S("a"), S("\303\251"), S(SP), S("<0x62>")};
    static const int32_t kinds[] = {3, 2, 1, 1, 1, 6};
    struct meta m = {0};
    struct tok t;
    put_vocab(&m, "char", tokens, kinds, N(tokens));
    meta_u32(&m, K "unknown_token_id", 1);
    meta_u32(&m, K "bos_token_id", 0);
    make(&t, &rz_builtin_char, &m);
    check_ids(&t, "a \303\251b\303\244", RZ_ENCODE_BOS, "0 2 4 3 5 1");
    check_ids(&t, "\377<s>", RZ_ENCODE_SPECIAL, "1 0");
    check_marked(&t, "<s>{<s>}", "0 1 1 1");
    static const int32_t ids[] = {0, 2, 4, 3, 5, -1};
    rz_check_streq(text_of(&t, ids, 0), "a \303\251b");
    stop(&t);
    meta_free(&m);
}

/* --- rwkv --- */
RZ_TEST(rwkv, longest_token_wins)
{
    static const struct rz_str tokens[] = {S("<s>"),      S("a"),     S("ab"),  S("abcd"), S("b"),
                                           S("\\x0a\\t"), S("\\\\'"), S("\\n"), S("\\xff")};
    static const int32_t kinds[] = {3, 1, 1, 1, 1, 1, 1, 1, 1};
    struct meta m = {0};
    struct tok t;
    put_vocab(&m, "rwkv", tokens, kinds, N(tokens));
    make(&t, &rz_builtin_rwkv, &m);
    check_ids(&t, "abcdabca", 0, "3 2 1"); /* no token for c, no unknown token */
    check_ids(&t, "b\n\t\n\\'\377", 0, "4 5 7 6 8");
    check_marked(&t, "<s>ab{<s>a}", "0 2 1");
    static const int32_t ids[] = {0, 5, 6, 8, -1};
    rz_check_streq(text_of(&t, ids, 0), "\n\t\\'\377");
    stop(&t);
    static const struct rz_str cut[] = {S("a"), S("\\x4")};
    meta_strs(&m, K "tokens", cut, 2);
    meta_i32s(&m, K "token_type", kinds + 1, 2);
    check_refused(&rz_builtin_rwkv, &m, RZ_EFORMAT, "key " K "tokens", "token 1 ends inside a \\ escape");
}

/* --- time in proportion to length: four times the text, far less than sixteen times the time --- */
static double seconds(struct tok *t, const char *text, size_t n)
{
    struct timespec a, b;
    uint64_t count;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    rz_check_ok(t->api->encode(t->tok, text, n, RZ_ENCODE_SPECIAL, NULL, 0, &count, &t->err), &t->err);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
}

static void check_linear(const struct rz_plugin *plugin, struct meta *m)
{
    static const char *const fills[] = {"a",   " ",  "\314\201", "\360\237\230\200", "ab", "\377",
                                        "<u>", "\n", "X"};
    size_t big = 4 << 20;
    char *text = malloc(big);
    struct tok t;
    rz_check(text != NULL);
    make(&t, plugin, m);
    for (size_t f = 0; f < N(fills); f++) {
        size_t len = strlen(fills[f]);
        for (size_t i = 0; i < big; i++)
            text[i] = fills[f][i % len];
        double small = seconds(&t, text, big / 4), large = seconds(&t, text, big);
        if (large > 0.2 && large > 12 * small)
            rz_fail_test("%s: 1 MiB of \"%s\" takes %.3f s, 4 MiB %.3f s", t.api->name, fills[f], small,
                         large);
    }
    free(text);
    stop(&t);
    meta_free(m);
}

RZ_TEST(linear, wordpiece)
{
    struct meta m = {0};
    wordpiece_meta(&m);
    check_linear(&rz_builtin_wordpiece, &m);
}

RZ_TEST(linear, unigram)
{
    struct meta m = {0};
    unigram_meta(&m, true);
    check_linear(&rz_builtin_unigram, &m);
}

RZ_TEST(linear, rwkv)
{
    static const struct rz_str tokens[] = {S("a"), S("ab"), S("aaaaaaaa"), S("b"), S(" "), S("\\xff")};
    static const int32_t kinds[] = {1, 1, 1, 1, 1, 1};
    struct meta m = {0};
    put_vocab(&m, "rwkv", tokens, kinds, N(tokens));
    check_linear(&rz_builtin_rwkv, &m);
}

RZ_TEST(linear, chars)
{
    static const struct rz_str tokens[] = {S("<unk>"), S("a"), S(SP)};
    static const int32_t kinds[] = {2, 1, 1};
    struct meta m = {0};
    put_vocab(&m, "char", tokens, kinds, N(tokens));
    check_linear(&rz_builtin_char, &m);
}
