/* test_grammar.c - grammars by themselves (core/grammar/): syntax, keywords, limits, and masks over a small
 * vocabulary, which are judged by feeding each token's bytes one by one.
 */
#include "rz_test.h"

#include "err.h"
#include "grammar.h"
#include "vocab_mixed.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* --- a vocabulary: tokens 0 to 255 are single bytes, then these --- */

#define N_BYTES 256
#define END (N_BYTES + 0)   /* ends a text                       */
#define CALL (N_BYTES + 1)  /* a control token                   */
#define EMPTY (N_BYTES + 2) /* adds nothing                      */
#define WORDS (N_BYTES + 3) /* the first of the ordinary ones    */

static const char *const words[] = {"true",
                                    "false",
                                    "null",
                                    "\": ",
                                    "{\"",
                                    "\"}",
                                    "\", \"",
                                    "abc",
                                    "ab",
                                    "a\"b",
                                    "12",
                                    "345",
                                    "-1",
                                    ".5",
                                    "e+",
                                    "\n  ",
                                    "\xc3\xa9t\xc3\xa9",
                                    "\xc3",
                                    "\xa9",
                                    "\xf0\x9f\x98\x80",
                                    "\xf0\x9f",
                                    "\x98\x80",
                                    "\\u00",
                                    "\\\"",
                                    "]]",
                                    "[[",
                                    "[1, 2",
                                    "call",
                                    "x]",
                                    "name",
                                    "\"name\": \"",
                                    "}}",
                                    " ",
                                    "aaaaaaaaaaaaaaaa"};
#define N_WORDS ((int32_t)(sizeof(words) / sizeof(words[0])))
#define N_VOCAB (WORDS + N_WORDS)

static int64_t spell(int32_t id, char *out, uint64_t cap)
{
    const char *text = id == END ? "</s>" : id == CALL ? "<call>" : id == EMPTY ? "" : NULL;
    if (id < 0 || id >= N_VOCAB)
        return -1;
    if (id < N_BYTES) {
        if (cap)
            *out = (char)id;
        return 1;
    }
    text = text ? text : words[id - WORDS];
    if (strlen(text) <= cap)
        memcpy(out, text, strlen(text));
    return (int64_t)strlen(text);
}

static int32_t vocab_info(void *tok, struct rz_tokenizer_info *out)
{
    (void)tok;
    out->n_vocab = N_VOCAB;
    out->n_end = 1;
    out->end[0] = END;
    return 0;
}

static int32_t vocab_kind(void *tok, int32_t id)
{
    (void)tok;
    return id == END || id == CALL ? RZ_TOKEN_CONTROL : id < N_BYTES ? RZ_TOKEN_BYTE : RZ_TOKEN_NORMAL;
}

static int64_t vocab_piece(void *tok, int32_t id, char *out, uint64_t cap)
{
    (void)tok;
    return spell(id, out, cap);
}

static int64_t vocab_decode(void *tok, struct rz_decode_state *state, int32_t id, uint32_t flags, char *out,
                            uint64_t cap)
{
    (void)tok, (void)state, (void)flags;
    return id == END || id == CALL ? 0 : spell(id, out, cap);
}

static const struct rz_tokenizer vocab = {.size = sizeof(vocab),
                                          .name = "test",
                                          .info = vocab_info,
                                          .piece = vocab_piece,
                                          .decode = vocab_decode,
                                          .kind = vocab_kind};

static struct rz_trie *make_trie(void)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_trie *t = NULL;
    rz_check_ok(rz_trie_new(&vocab, NULL, N_VOCAB, &t, &err), &err);
    return t;
}

/* --- texts --- */

static struct rz_grammar *make(uint32_t kind, const char *text, const struct rz_trie *trie)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_grammar *g = NULL;
    /* In a block of its own size, so that a byte behind it is seen by the sanitizer. */
    size_t n = strlen(text);
    char *copy = malloc(n + !n);
    rz_check(copy != NULL);
    memcpy(copy, text, n);
    int32_t rc = rz_grammar_new(kind, copy, n, trie, &g, &err);
    free(copy);
    if (rc)
        rz_fail_test("%s gave %d: %s: %s", text, rc, err.where, err.message);
    return g;
}

static bool fits(struct rz_grammar *g, const char *text)
{
    bool over;
    struct rz_grammar_at at = rz_grammar_begin(g);
    return rz_grammar_bytes(g, &at, text, strlen(text)) && rz_grammar_accepts(g, at, &over);
}

struct judged {
    const char *grammar;
    const char *good[8], *bad[8];
};

static void judge(uint32_t kind, const struct judged *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct rz_grammar *g = make(kind, list[i].grammar, NULL);
        for (int k = 0; k < 8 && list[i].good[k]; k++)
            if (!fits(g, list[i].good[k]))
                rz_fail_test("%s does not fit %s", list[i].good[k], list[i].grammar);
        for (int k = 0; k < 8 && list[i].bad[k]; k++)
            if (fits(g, list[i].bad[k]))
                rz_fail_test("%s fits %s", list[i].bad[k], list[i].grammar);
        rz_grammar_unref(g);
    }
}

struct refused {
    const char *grammar;
    int32_t code;
    const char *where, *message;
};

static void refuse(uint32_t kind, const struct refused *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct rz_err err = RZ_ERR_INIT;
        struct rz_grammar *g = NULL;
        size_t size = strlen(list[i].grammar);
        char *copy = malloc(size + !size);
        rz_check(copy != NULL);
        memcpy(copy, list[i].grammar, size);
        int32_t rc = rz_grammar_new(kind, copy, size, NULL, &g, &err);
        free(copy);
        if (rc != list[i].code || !strstr(err.where, list[i].where) || !strstr(err.message, list[i].message))
            rz_fail_test("%s gave %d: %s: %s", list[i].grammar, rc, err.where, err.message);
        rz_check(!g);
    }
}

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

RZ_TEST(grammar, regular_expressions)
{
    static const struct judged list[] = {
        {"ab|cd", {"ab", "cd"}, {"", "abc", "acd", "a"}},
        {"a*b+c?", {"b", "aabbc"}, {"", "a", "bcc"}},
        {"(?:ab){2}", {"abab"}, {"ab", "ababab"}},
        {"a{2,}", {"aa", "aaaaaaaaaaaaaaaaaaaaaaaa"}, {"a", ""}},
        {"a{9,12}", {"aaaaaaaaa", "aaaaaaaaaaaa"}, {"aaaaaaaa", "aaaaaaaaaaaaa"}},
        {"(a?){3}", {"", "a", "aaa"}, {"aaaa"}},
        {"(a*)*b", {"b", "aab"}, {"a"}},
        {"a{,2}", {"a{,2}"}, {"a", "aa"}},
        {"[a-c]", {"a", "c"}, {"d", "ab", ""}},
        {"[^a-c]", {"d", "\xc3\xa9", "\xf0\x9f\x98\x80"}, {"a", "\xc3", "\x80"}},
        {"[a\\]\\-z-]+", {"a]-z"}, {"b"}},
        {"\\d\\D\\w\\W", {"1a_-", "9-z "}, {"aa_-", "1a--"}},
        {"\\s\\S", {" a", "\xc2\xa0x"}, {"a ", "  "}},
        {".", {"a", "\xe2\x82\xac"}, {"\n", "\r", "ab"}},
        {"\\p{Lu}\\P{Lu}", {"Aa", "\xc3\x89-"}, {"aA", "AA"}},
        {"\\x41\\u0042\\u{43}\\cJ\\t", {"ABC\n\t"}, {"ABC"}},
        {"\\uD83D\\uDE00", {"\xf0\x9f\x98\x80"}, {"\xed\xa0\xbd"}},
        {"a+?b*?", {"a", "ab"}, {"b"}},
        {"(?<name>a)(?P<other>b)", {"ab"}, {"a"}},
        {"^a$|^b", {"a", "b"}, {"ab", "bc"}},
        {"", {""}, {"a"}},
    };
    judge(RZ_GRAMMAR_REGEX, list, COUNT(list));
}

RZ_TEST(grammar, refused_expressions)
{
    static const struct refused list[] = {
        {"a(", RZ_EFORMAT, "regex", "byte 2: a group without )"},
        {"(?", RZ_EUNSUPPORTED, "regex", "byte 2"},
        {"(?P", RZ_EFORMAT, "regex", "a group without a name"},
        {"(?<", RZ_EFORMAT, "regex", "a group without a name"},
        {"(?<a", RZ_EFORMAT, "regex", "a group without a name"},
        {"a)", RZ_EFORMAT, "regex", "closes nothing"},
        {"[a", RZ_EFORMAT, "regex", "a class without ]"},
        {"[z-a]", RZ_EFORMAT, "regex", "backwards"},
        {"*a", RZ_EFORMAT, "regex", "byte 0: nothing to repeat"},
        {"a{3,2}", RZ_EFORMAT, "regex", "more at least than at most"},
        {"^*", RZ_EFORMAT, "regex", "a repeated anchor"},
        {"a^b", RZ_EUNSUPPORTED, "regex", "an anchor inside"},
        {"\\", RZ_EFORMAT, "regex", "it ends too early"},
        {"\\u12", RZ_EFORMAT, "regex", "four hex digits"},
        {"\\u{110000}", RZ_EFORMAT, "regex", "no character"},
        {"\\p{Klingon}", RZ_EUNSUPPORTED, "regex", "not known"},
        {"\\p", RZ_EFORMAT, "regex", "without {...}"},
        {"(a)\\1", RZ_EUNSUPPORTED, "regex", "back reference"},
        {"a\\b", RZ_EUNSUPPORTED, "regex", "a boundary"},
        {"(?=a)", RZ_EUNSUPPORTED, "regex", "look-around"},
        {"(?<!a)", RZ_EUNSUPPORTED, "regex", "look-around"},
        {"(?i)a", RZ_EUNSUPPORTED, "regex", "flags"},
        {"\xff", RZ_EFORMAT, "regex", "not UTF-8"},
        {"[^\\u0000-\\u{10ffff}]", RZ_EINVAL, "grammar", "no text fits"},
    };
    refuse(RZ_GRAMMAR_REGEX, list, COUNT(list));
}

RZ_TEST(grammar, gbnf)
{
    static const struct judged list[] = {
        {"root ::= \"a\" | \"b\" # one\n", {"a", "b"}, {"", "ab"}},
        {"root ::= x y\nx ::= \"x\"*\ny ::= \"y\"+ \"z\"?", {"y", "xxyyz"}, {"x", "xz"}},
        {"root ::= (\"a\"\n | \"b\"\n){2}", {"ab", "bb"}, {"a", "aba"}},
        {"root ::= \"a\" |\n  \"b\"", {"a", "b"}, {"ab"}},
        {"root ::= \"a\"{1,2} \"b\"{,1} \"c\"{2,}", {"acc", "aabccc"}, {"aacbc", "ac", "aaacc"}},
        {"root ::= [a-c] [^a-c\\n] .", {"axx", "c-\n"}, {"aax", "a\nx"}},
        {"root ::= \"\\\"\\\\\\n\\x41\\u00e9\\U0001F600\"", {"\"\\\nA\xc3\xa9\xf0\x9f\x98\x80"}, {""}},
        {"root ::= \"(\" root? \")\"", {"()", "((()))"}, {"", "(()", "())"}},
        {"root ::= \"a\"* \"a\"{3}", {"aaa", "aaaaaa"}, {"aa"}},
        {"root ::= %json {\"type\": \"integer\",\n\"minimum\": 5} \";\"", {"5;", "17;"}, {"4;", "5"}},
        {"root ::= %until \"aab\" \"c\"", {"aabc", "xaaaabc"}, {"aabaabc", "aab", "c"}},
        {"root ::= %without \"aab\"", {"", "aa", "abaaa", "xbab"}, {"aab", "xaaabx"}},
        {"root ::= %without \"ab\" (\"ab\" \"c\")?", {"", "aa", "aabc", "xabc"}, {"ab", "xabcx", "abcabc"}},
        {"root ::= \"a\"\nroot ::= \"b\"", {"b"}, {"a"}},
        {"\n# only comments before\nroot ::= one-2\r\none-2 ::= \"\"", {""}, {"a"}},
    };
    judge(RZ_GRAMMAR_GBNF, list, COUNT(list));
}

RZ_TEST(grammar, refused_gbnf_names_line_and_column)
{
    static const struct refused list[] = {
        {"root ::= \"a", RZ_EFORMAT, "grammar, line 1", "column 12: the line ends"},
        {"root ::= x\nx ::= [a", RZ_EFORMAT, "grammar, line 2", "column 9: the line ends"},
        {"root ::= \"a\"\n\n= \"b\"", RZ_EFORMAT, "grammar, line 3", "column 1: the name of a rule"},
        {"root : \"a\"", RZ_EFORMAT, "grammar, line 1", "::= was expected"},
        {"root ::= (\"a\"\n", RZ_EFORMAT, "grammar, line 2", "a group without )"},
        {"root ::= \"a\") \"b\"", RZ_EFORMAT, "grammar, line 1", "the end of the line"},
        {"root ::= \"a\"{2,1}", RZ_EFORMAT, "grammar, line 1", "more at least than at most"},
        {"root ::= \"a\"{}", RZ_EFORMAT, "grammar, line 1", "{n}, {n,}, {,m} or {n,m}"},
        {"root ::= \"\\q\"", RZ_EFORMAT, "grammar, line 1", "an unknown escape"},
        {"root ::= \"\\x4\"", RZ_EFORMAT, "grammar, line 1", "a hex digit is missing"},
        {"root ::= [z-a]", RZ_EFORMAT, "grammar, line 1", "backwards"},
        {"root ::= other", RZ_EFORMAT, "grammar", "rule other is not defined"},
        {"x ::= \"a\"", RZ_EFORMAT, "grammar", "rule root is not defined"},
        {"root ::= root \"a\" | \"b\"", RZ_EUNSUPPORTED, "grammar", "root begins with itself"},
        {"root ::= \"a\" root", RZ_EINVAL, "grammar", "no text fits"},
        {"root ::= <call>", RZ_EUNSUPPORTED, "grammar, line 1", "no vocabulary"},
        {"root ::= \"a\"\nb ::= %json {\"nope\": 1}", RZ_EUNSUPPORTED, "grammar, line 2, %json #/nope", ""},
        {"root ::= %until \"\"", RZ_EFORMAT, "grammar, line 1", "not empty"},
        {"root ::= %without x", RZ_EFORMAT, "grammar, line 1", "a literal was expected"},
        {"root ::= \"a\"{9999999999}", RZ_ELIMIT, "grammar, line 1", "1000000000"},
    };
    refuse(RZ_GRAMMAR_GBNF, list, COUNT(list));
}

RZ_TEST(grammar, schemas)
{
    static const struct judged list[] = {
        {"{\"type\":\"boolean\"}", {"true", "false"}, {"null", "\"true\"", "tru"}},
        {"{\"enum\":[1,\"a\",null]}", {"1", "\"a\"", "null"}, {"2", "a"}},
        {"{\"const\":{\"a\":[1,2]}}", {"{\"a\": [1, 2]}", "{\"a\":[1,2]}"}, {"{}", "{\"a\":[2,1]}"}},
        {"{\"type\":\"integer\",\"minimum\":-3,\"maximum\":12}",
         {"-3", "0", "12"},
         {"-4", "13", "1.0", "01"}},
        {"{\"type\":\"integer\",\"multipleOf\":7}", {"0", "49", "-7"}, {"1", "8"}},
        {"{\"type\":\"number\",\"exclusiveMinimum\":0.5,\"maximum\":2}",
         {"0.51", "2", "1.99"},
         {"0.5", "2.1"}},
        {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
         {"\"ab\"", "\"\xc3\xa9\xc3\xa9\xc3\xa9\"", "\"\\u0001b\""},
         {"\"a\"", "\"abcd\"", "\"a\nb\""}},
        {"{\"type\":\"string\",\"pattern\":\"^a+$\"}", {"\"a\"", "\"aaa\""}, {"\"\"", "\"ab\""}},
        {"{\"type\":\"string\",\"format\":\"date\"}", {"\"2024-02-29\""}, {"\"2023-02-29\"", "\"x\""}},
        {"{\"type\":\"array\",\"items\":{\"type\":\"null\"},\"minItems\":1,\"maxItems\":2}",
         {"[null]", "[null, null]"},
         {"[]", "[null, null, null]", "[null"}},
        {"{\"type\":\"array\",\"prefixItems\":[{\"const\":1}],\"items\":false}",
         {"[1]", "[]"},
         {"[1, 1]", "[2]"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2}},\"required\":[\"b\"],"
         "\"additionalProperties\":false}",
         {"{\"b\": 2}", "{\"a\": 1, \"b\": 2}"},
         {"{\"a\": 1}", "{\"b\": 2, \"a\": 1}", "{\"b\": 2, \"c\": 1}", "{\"b\": 2,}"}},
        {"{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/t\"}}}}",
         {"[]", "[[], [[]]]"},
         {"[1]", "[[]"}},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"const\":\"x\"}]}", {"null", "\"x\""}, {"1"}},
        {"{\"allOf\":[{\"type\":\"integer\"},{\"minimum\":3},{\"maximum\":3}]}", {"3"}, {"2", "4"}},
    };
    judge(RZ_GRAMMAR_JSON_SCHEMA, list, COUNT(list));
}

RZ_TEST(grammar, refused_schemas_name_the_pointer)
{
    static const struct refused list[] = {
        {"{\"uniqueItems\":true}", RZ_EUNSUPPORTED, "#/uniqueItems", ""},
        {"{\"properties\":{\"a/b\":{\"not\":{}}}}", RZ_EUNSUPPORTED, "#/properties/a~1b/not", ""},
        {"{\"type\":\"strin\"}", RZ_EFORMAT, "#/type", "no type of JSON"},
        {"{\"$ref\":\"#/$defs/no\"}", RZ_EFORMAT, "#/$ref", ""},
        {"{\"type\":\"string\",\"pattern\":\"(\"}", RZ_EFORMAT, "#/pattern", "a group without )"},
        {"{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", RZ_EUNSUPPORTED, "#/oneOf", "exclude"},
        {"{\"type\":\"integer\",\"minimum\":2,\"maximum\":1}", RZ_EINVAL, "grammar", "no text fits"},
        {"false", RZ_EINVAL, "grammar", "no text fits"},
        {"3", RZ_EFORMAT, "#", "an object, true or false"},
        {"{", RZ_EFORMAT, "#", "not JSON"},
        {"", RZ_EFORMAT, "#", "not JSON"},
    };
    refuse(RZ_GRAMMAR_JSON_SCHEMA, list, COUNT(list));
}

RZ_TEST(grammar, limits_are_named)
{
    enum {
        DEEP = 200
    };
    struct rz_err err = RZ_ERR_INIT;
    struct rz_grammar *g = NULL;
    char *big = calloc(1, RZ_GRAMMAR_TEXT_MAX + 1);
    rz_check(big != NULL);
    rz_check_eq(rz_grammar_new(RZ_GRAMMAR_REGEX, big, RZ_GRAMMAR_TEXT_MAX + 1, NULL, &g, &err), RZ_ELIMIT);
    rz_check_has(err.message, "1048577 bytes: at most 1048576");
    memset(big, '(', DEEP);
    memset(big + DEEP, ')', DEEP);
    rz_check_eq(rz_grammar_new(RZ_GRAMMAR_REGEX, big, 2 * DEEP, NULL, &g, &err), RZ_ELIMIT);
    rz_check_has(err.message, "more than 128 groups");
    rz_check_eq(rz_grammar_new(99, "a", 1, NULL, &g, &err), RZ_EINVAL);
    rz_check_has(err.message, "kind 99 is not known");
    free(big);
    /* A count costs nothing. */
    g = make(RZ_GRAMMAR_REGEX, "(ab){999999999}", NULL);
    struct rz_grammar_cost cost;
    rz_grammar_cost(g, &cost);
    rz_check(cost.nodes < 20);
    rz_grammar_unref(g);
}

/* --- masks --- */

static bool has(const uint64_t *mask, int32_t token)
{
    return mask[token >> 6] >> (token & 63) & 1;
}

/* The mask here is what each token's bytes say one by one. */
static void check_mask(struct rz_grammar *g, const struct rz_trie *t, struct rz_grammar_at at)
{
    uint64_t mask[(N_VOCAB + 63) / 64];
    bool over, ends = rz_grammar_accepts(g, at, &over), any = false;
    rz_check_eq(t->n_words, COUNT(mask));
    uint32_t flags = rz_grammar_mask(g, &at, mask);
    for (int32_t i = 0; i < N_VOCAB; i++) {
        char text[32];
        struct rz_grammar_at byte = at, token = at;
        int64_t n = i == CALL || i == EMPTY ? 0 : spell(i, text, sizeof(text));
        bool good = n > 0 && i != END && i != RZ_NFA_CONTROL && rz_grammar_bytes(g, &byte, text, (size_t)n);
        if (i == CALL) /* is asked for behind the mark of control tokens only */
            good = rz_grammar_bytes(g, &byte, "\xff<call>", 7);
        if (i == END)
            good = ends;
        if (good != has(mask, i))
            rz_fail_test("token %d is %s the mask", i, good ? "not in" : "in");
        if (i == END)
            continue;
        rz_check_eq(rz_grammar_token(g, &token, i), good);
        if (good)
            rz_check_eq(token.state, byte.state);
        any |= good;
    }
    rz_check_eq((flags & RZ_GRAMMAR_ENDS) != 0, ends);
    rz_check_eq((flags & RZ_GRAMMAR_TOKENS) != 0, any || (ends && !over));
    rz_check(flags & (RZ_GRAMMAR_TOKENS | RZ_GRAMMAR_ENDS));
}

/* Many walks at random; at each step the mask is judged. */
static void walk(uint32_t kind, const char *text)
{
    struct rz_trie *t = make_trie();
    struct rz_grammar *g = make(kind, text, t);
    uint64_t mask[(N_VOCAB + 63) / 64];
    uint32_t seed = 12345;
    for (int k = 0; k < 12; k++) {
        struct rz_grammar_at at = rz_grammar_begin(g);
        for (int step = 0; step < 24; step++) {
            int32_t list[N_VOCAB], n = 0;
            check_mask(g, t, at);
            rz_grammar_mask(g, &at, mask);
            rz_grammar_drop_ends(g, mask);
            rz_check(!has(mask, END));
            for (int32_t i = 0; i < N_VOCAB; i++)
                if (has(mask, i))
                    list[n++] = i;
            if (!n)
                break;
            seed = seed * 1664525u + 1013904223u;
            /* Words more often than bytes: they cross more borders. */
            int32_t token = list[seed & 0x10000 ? n - 1 - (int32_t)(seed >> 20) % (n > 8 ? 8 : n)
                                                : (int32_t)((seed >> 8) % (uint32_t)n)];
            rz_check(rz_grammar_token(g, &at, token));
        }
    }
    rz_grammar_unref(g);
    rz_trie_free(t);
}

RZ_TEST(grammar, masks_are_what_the_bytes_say)
{
    walk(RZ_GRAMMAR_JSON, "");
    walk(RZ_GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\",\"maxLength\":9}");
    walk(RZ_GRAMMAR_JSON_SCHEMA,
         "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"n\":{\"type\":\"number\","
         "\"minimum\":-1.5,\"maximum\":1234},\"l\":{\"type\":\"array\",\"items\":{\"type\":\"boolean\"}}},"
         "\"required\":[\"name\"],\"additionalProperties\":false}");
    walk(RZ_GRAMMAR_REGEX, "(ab?c?|[^a-z\"]+){1,9}true");
    walk(RZ_GRAMMAR_REGEX, ".{3,7}");
    walk(RZ_GRAMMAR_GBNF, "root ::= (\"a\" root? | <call> \"[\" | %until \"ab\")* \"x]\"");
    walk(RZ_GRAMMAR_GBNF, "root ::= %without \"true\" (<call> \"true\" [a-f]*)?");
}

RZ_TEST(grammar, masks_of_a_larger_vocabulary_are_what_the_bytes_say)
{
    static const struct {
        uint32_t kind;
        const char *grammar, *text;
    } list[] = {
        {RZ_GRAMMAR_JSON, "", "{\"a\": [\"b\xc3\xa9 \\n\", 9.0e1, {}]}"},
        {RZ_GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\",\"minLength\":2,\"maxLength\":9}",
         "\"ab \xe6\xbc\xa2-Z\""},
        {RZ_GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\",\"maxLength\":400}", "\"ab \xf0\x9f\x98\x80-Z\""},
        {RZ_GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\",\"pattern\":\"^[a-e]+(-[^a0]{2,5})*$\"}",
         "\"aabe-Z-b-..\""},
        {RZ_GRAMMAR_JSON_SCHEMA, "{\"type\":\"object\",\"properties\":{\"abe\":{\"type\":\"string\"}}}",
         "{\"abeb\": 0.90, \"ab\": \"e\"}"},
        {RZ_GRAMMAR_REGEX, "([a-z]{1,15}(-[0-9]{2,20})?[. \\n]){2,}", "ab-90.baee aeae-0909\n"},
        {RZ_GRAMMAR_REGEX, "[^a-c\\n]{3,90}", "eZZ -\xed\x95\x9c"},
        {RZ_GRAMMAR_REGEX, "[\\u6f00-\\u6fff\\u00e9]*b?", "\xe6\xbc\xa2\xc3\xa9"},
        {RZ_GRAMMAR_GBNF,
         "root ::= (w | n)+ \"}\"\nw ::= [a-bZ]+ (\" \" w)?\nn ::= [0-9]{2,40} (\".\" [0-9])? \"-\"",
         "aab Zb90.0-b a}"},
        /* so ambiguous that not all readings are followed */
        {RZ_GRAMMAR_REGEX,
         "(([a-zA-Z]{1,2}|[^a]{5,51}\xf0\x9f\x98\x80[\xe6\xbc\xa2\xc3\xa9]{5,5})([^\xc3\xa9]{4,9}|\n*"
         "[a-zA-Z]{0,}){2,47}){52,56}",
         "Z\xe6\xbc\xa2Z\na\xe6\xbc\xa2"},
    };
    struct rz_err err = RZ_ERR_INIT;
    struct rz_trie *t = NULL;
    rz_check_ok(rz_trie_new(&mixed_vocab, NULL, MIXED_VOCAB, &t, &err), &err);
    for (size_t i = 0; i < COUNT(list); i++) {
        struct rz_grammar *g = make(list[i].kind, list[i].grammar, t);
        struct rz_grammar_at at = rz_grammar_begin(g);
        for (const char *c = list[i].text;; c++) {
            int32_t wrong = mixed_judge(g, &at);
            if (wrong >= 0)
                rz_fail_test("%s: token %d behind %.*s", list[i].grammar, wrong, (int)(c - list[i].text),
                             list[i].text);
            if (!*c || !rz_grammar_bytes(g, &at, c, 1))
                break;
        }
        rz_grammar_unref(g);
    }
    rz_trie_free(t);
}

/* Each place of a text whose counts come near to their bounds and go far from them, with one grammar, so that
 * masks come from those of other counts. Returns how many masks were made. */
static uint32_t judge_counts(const char *grammar, const char *piece, uint32_t pieces, const char *end)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_trie *t = NULL;
    struct rz_grammar_cost cost = {0};
    rz_check_ok(rz_trie_new(&mixed_vocab, NULL, MIXED_VOCAB, &t, &err), &err);
    struct rz_grammar *g = make(RZ_GRAMMAR_REGEX, grammar, t);
    struct rz_grammar_at at = rz_grammar_begin(g);
    for (uint32_t i = 0; i <= pieces; i++)
        for (const char *c = i < pieces ? piece : end; *c; c++) {
            int32_t wrong = mixed_judge(g, &at);
            if (wrong >= 0)
                rz_fail_test("%s: token %d behind %u of %s, before %s", grammar, wrong, i, piece, c);
            rz_check(rz_grammar_bytes(g, &at, c, 1));
        }
    rz_check(mixed_judge(g, &at) < 0);
    rz_grammar_cost(g, &cost);
    rz_grammar_unref(g);
    rz_trie_free(t);
    return cost.masks_made;
}

RZ_TEST(grammar, masks_are_shared_far_from_the_bounds_of_counts)
{
    /* bounds near and far, of characters of one byte and of more */
    judge_counts("\"?[^\"\\n]{9,40}\"?", "a", 40, "");
    judge_counts("\"?[^\"\\n]{30,60}\"", "\xe6\xbc\xa2", 44, "");
    judge_counts("[a-eZ]{25,30}[0-9]*", "b", 30, "09");
    /* counts within counts, some of them of bodies that may be nothing */
    judge_counts("([a-e]{1,9}[ -]){2,12}\\.", "abe-", 10, "a a-.");
    judge_counts("(([a-e ]{0,3}-?){2,6}\n){3,8}", "ab-e-\n", 8, "");
    judge_counts("(a?b?){12,40}x?\\.", "ab", 21, ".");
    judge_counts("(a{2,30}|[ab]{3,20}e?){1,3}", "a", 60, "b");
    judge_counts("[ab]{10,}-", "a", 30, "-");
    /* in the middle of 2000 characters all is alike */
    rz_check(judge_counts("[^\"\\n]{2,2000}", "a", 60, "") <= 4);
    rz_check(judge_counts("([0-9]{1,3}-){200,300}", "90-", 30, "") <= 8);
}

RZ_TEST(grammar, control_tokens_are_asked_for_by_name_or_number)
{
    struct rz_trie *t = make_trie();
    for (int by_number = 0; by_number < 2; by_number++) {
        char text[64];
        snprintf(text, sizeof(text), by_number ? "root ::= <[%d]> \"a\"" : "root ::= <call> \"a\"", CALL);
        struct rz_grammar *g = make(RZ_GRAMMAR_GBNF, text, t);
        struct rz_grammar_at at = rz_grammar_begin(g), spelled = at;
        bool over;
        rz_check(!rz_grammar_bytes(g, &spelled, "<call>", 6)); /* its spelling as text is not it */
        rz_check(!rz_grammar_token(g, &at, 'a'));
        rz_check(!rz_grammar_token(g, &at, N_VOCAB) && !rz_grammar_token(g, &at, -1));
        rz_check(rz_grammar_token(g, &at, CALL) && rz_grammar_token(g, &at, 'a'));
        rz_check(rz_grammar_accepts(g, at, &over) && over);
        rz_grammar_unref(g);
    }
    struct rz_err err = RZ_ERR_INIT;
    struct rz_grammar *g = NULL;
    rz_check_eq(rz_grammar_new(RZ_GRAMMAR_GBNF, "root ::= <nope>", 15, t, &g, &err), RZ_EUNSUPPORTED);
    rz_check_has(err.message, "<nope> is no special token");
    rz_trie_free(t);
}

RZ_TEST(grammar, a_copy_of_where_a_text_stands_goes_back)
{
    struct rz_trie *t = make_trie();
    struct rz_grammar *g = make(RZ_GRAMMAR_REGEX, "a(b|cd)*e", t);
    struct rz_grammar_at at = rz_grammar_begin(g), kept;
    bool over;
    rz_check(rz_grammar_bytes(g, &at, "ab", 2));
    kept = at;
    rz_check(rz_grammar_bytes(g, &at, "cdbe", 4) && rz_grammar_accepts(g, at, &over) && over);
    rz_check(!rz_grammar_accepts(g, kept, &over));
    check_mask(g, t, kept);
    rz_check(rz_grammar_bytes(g, &kept, "e", 1) && rz_grammar_accepts(g, kept, &over));
    rz_check_eq(kept.state, at.state); /* equal ways on are one state */
    kept = at;
    rz_check(!rz_grammar_bytes(g, &at, "e", 1)); /* what is refused leaves it where it was */
    rz_check_eq(at.state, kept.state);
    rz_grammar_unref(g);
    rz_trie_free(t);
}

RZ_TEST(grammar, old_places_become_stale_and_are_found_again)
{
    struct rz_trie *t = make_trie();
    struct rz_grammar *g = make(RZ_GRAMMAR_REGEX, "(ab){0,1000000}", t);
    struct rz_grammar_at old = rz_grammar_begin(g), at = old;
    struct rz_grammar_cost cost = {0};
    uint64_t mask[(N_VOCAB + 63) / 64];
    bool over;
    for (int i = 0; i < 40000; i++)
        rz_check(rz_grammar_bytes(g, &at, "ab", 2));
    rz_grammar_cost(g, &cost);
    rz_check(cost.renewed > 0);
    rz_check(rz_grammar_fresh(g, at) && !rz_grammar_fresh(g, old));
    rz_check_eq(rz_grammar_mask(g, &old, mask), RZ_GRAMMAR_STALE);
    rz_check(!rz_grammar_token(g, &old, 'a') && !rz_grammar_accepts(g, old, &over));
    rz_check(rz_grammar_accepts(g, at, &over) && !over);
    check_mask(g, t, at);
    old = rz_grammar_begin(g);
    rz_check(rz_grammar_bytes(g, &old, "abab", 4));
    check_mask(g, t, old);
    rz_grammar_unref(g);
    rz_trie_free(t);
}

RZ_TEST(grammar, masks_are_kept)
{
    struct rz_trie *t = make_trie();
    struct rz_grammar *g = make(RZ_GRAMMAR_JSON, "", t);
    struct rz_grammar_cost cost = {0};
    uint64_t first[(N_VOCAB + 63) / 64], second[(N_VOCAB + 63) / 64];
    struct rz_grammar_at at = rz_grammar_begin(g);
    rz_grammar_mask(g, &at, first);
    rz_grammar_ref(g);
    at = rz_grammar_begin(g);
    rz_grammar_mask(g, &at, second);
    rz_check_memeq(first, second, sizeof(first));
    rz_grammar_cost(g, &cost);
    rz_check_eq(cost.masks_made, 1);
    rz_check_eq(cost.masks_found, 1);
    rz_grammar_unref(g);
    rz_grammar_unref(g);
    rz_grammar_unref(NULL);
    rz_trie_free(t);
}
