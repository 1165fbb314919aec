/* test_split.c - how a text is cut into words: each rule on texts with known words, and the compiled
 * expression against the scanner on random texts. Looks inside the plugin, so it includes its sources. */
#include "../plugins/tokenizers/bpe/split.c"
#include "../plugins/tokenizers/common/unicode.c"

#include "rz_test.h"

#include <stdio.h>

struct words {
    char text[1 << 16]; /* the words with '|' between */
    size_t len, count;
};

static int32_t collect(void *arg, const char *bytes, size_t n)
{
    struct words *w = arg;
    if (w->len + n + 2 > sizeof(w->text))
        return RZ_ELIMIT;
    if (w->count++)
        w->text[w->len++] = '|';
    memcpy(w->text + w->len, bytes, n);
    w->len += n;
    w->text[w->len] = 0;
    return RZ_OK;
}

static void cut(const char *rule, bool with_regex, const char *text, size_t n, struct words *w)
{
    struct rz_splitter s;
    struct rz_split_work work;
    struct rz_err err = {.size = sizeof(err)};
    w->len = w->count = 0;
    w->text[0] = 0;
    rz_check_ok(rz_splitter_init(&s, rz_split_find((struct rz_str){rule, strlen(rule)}), with_regex, &err),
                &err);
    rz_check(rz_split_work_init(&work, &s, n));
    rz_check_eq(rz_split(&s, &work, text, n, collect, w), RZ_OK);
    rz_split_work_free(&work);
    rz_splitter_free(&s);
}

static void check_words(const char *rule, const char *text, const char *want)
{
    static struct words w;
    for (int with_regex = 0; with_regex < 2; with_regex++) {
        cut(rule, with_regex, text, strlen(text), &w);
        rz_check_streq(w.text, want);
    }
}

RZ_TEST(split, gpt2)
{
    check_words("gpt-2", "", "");
    check_words("gpt-2", "Hello world", "Hello| world");
    check_words("gpt-2", "I'm you're he'll WE'RE", "I|'m| you|'re| he|'ll| WE|'|RE");
    check_words("gpt-2", "a 123 45b", "a| 123| 45|b");
    check_words("gpt-2", "a   b", "a|  | b");
    check_words("gpt-2", "a   ", "a|   ");
    check_words("gpt-2", "a \n\n b", "a| \n\n| b");
    check_words("gpt-2", "x=1; // no", "x|=|1|;| //| no");
    check_words("gpt-2", "na\303\257ve \346\227\245\346\234\254\343\200\200x",
                "na\303\257ve| \346\227\245\346\234\254|\343\200\200|x");
}

RZ_TEST(split, single_digits)
{
    check_words("smollm", "a 123 45b", "a| |1|2|3| |4|5|b");
    check_words("smollm", "a   1", "a|   |1");
    check_words("smollm", "a   b", "a|  | b");
    check_words("starcoder", "it's 2\302\262", "it|'s| |2|\302\262");
}

RZ_TEST(split, llama3)
{
    check_words("llama-bpe", "I'M you'RE", "I|'M| you|'RE");
    check_words("llama-3", "12345 a", "123|45| a");
    check_words("llama3", "(foo) .bar!!\n\nx", "(foo|)| .|bar|!!\n\n|x");
    check_words("llama-v3", "a  \n \n  b", "a|  \n \n| | b");
    check_words("dbrx", "\tx \ty", "\tx| |\ty");
    check_words("llama3", "'\305\277ab '\305\277", "'\305\277|ab| '|\305\277");
}

RZ_TEST(split, qwen2)
{
    check_words("qwen2", "12 a1b", "1|2| a|1|b");
    check_words("deepseek-r1-qwen", "x\r\ny", "x|\r\n|y");
    check_words("qwen2", "a   \n", "a|   \n");
}

RZ_TEST(split, knows_names)
{
    static const char *const bad[] = {"", " ", "gpt", "gpt-2 ", "gpt-2 phi-2", "GPT-2", "default", "qwen22"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        rz_check(rz_split_find((struct rz_str){bad[i], strlen(bad[i])}) == NULL);
    rz_check(rz_split_find((struct rz_str){"gpt-2", 6}) == NULL); /* with its NUL */
    static char longer[100];
    memset(longer, 'a', sizeof(longer));
    rz_check(rz_split_find((struct rz_str){longer, sizeof(longer)}) == NULL);
    rz_check(rz_split_find((struct rz_str){"smollm", 6})->scan == scan_gpt2_digits);
    rz_check(rz_split_find((struct rz_str){"llama-3", 7})->whole_words);
}

static const char *const rule_names[] = {"gpt-2", "smollm", "llama3", "qwen2"};
/* Characters that the rules tell apart, and bytes that are no characters. */
static const char *const pieces[] = {"a",        "Z",        "s",
                                     "t",        "re",       "ve",
                                     "ll",       "LL",       "'",
                                     "'",        "1",        "23",
                                     " ",        " ",        "  ",
                                     "\n",       "\r",       "\t",
                                     "!",        ".",        "_",
                                     "\302\205", "\302\240", "\343\200\200",
                                     "\305\277", "\303\251", "\346\227\245",
                                     "\331\243", "\302\262", "\360\237\230\200",
                                     "\314\201", "\377",     "\303",
                                     "\346\227", "\001",     "\342\200\250",
                                     "\305\205"};

RZ_TEST(split, expression_and_scanner_agree)
{
    static struct words a, b;
    uint64_t state = 88172645463325252u;
    for (int round = 0; round < 20000; round++) {
        char text[200];
        size_t n = 0;
        for (int k = 1 + round % 24; k > 0; k--) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            const char *p = pieces[state % (sizeof(pieces) / sizeof(pieces[0]))];
            memcpy(text + n, p, strlen(p));
            n += strlen(p);
        }
        const char *rule = rule_names[round % 4];
        cut(rule, true, text, n, &a);
        cut(rule, false, text, n, &b);
        rz_check_eq(a.count, b.count);
        rz_check_eq(a.len, b.len);
        rz_check_memeq(a.text, b.text, a.len);
        rz_check_eq(a.len, n + a.count - 1); /* nothing is lost */
    }
}

RZ_TEST(split, classes_of_characters)
{
    static const struct {
        uint32_t cp;
        uint8_t class;
    } cases[] = {{'a', 'a'},
                 {0x7f, 0x7f},
                 {0x80, RZ_UC_CC},
                 {0x85, RZ_UC_NEL},
                 {0xa0, RZ_UC_ZS},
                 {0xaa, RZ_UC_LO},
                 {0xb2, RZ_UC_NO},
                 {0xc0, RZ_UC_LU},
                 {0xe9, 0x81},
                 {0x17f, RZ_UC_LONG_S},
                 {0x300, RZ_UC_MN},
                 {0x660, RZ_UC_ND},
                 {0x2028, 0x97},
                 {0x3042, RZ_UC_LO},
                 {0x20ac, 0x93},
                 {0x10ffff, RZ_UC_CN},
                 {0xe000, 0x9c},
                 {0x1c89, RZ_UC_LU},
                 /* new in Unicode 16 */ {0xfffd, RZ_UC_SO}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        rz_check_eq(rz_uc_class(cases[i].cp), cases[i].class);
    uint8_t out[8];
    rz_check_eq(rz_uc_classes("a\377\303\251\346\227", 6, out), 5);
    rz_check_eq(out[1], RZ_UC_SO);
    rz_check_eq(out[2], 0x81);
    rz_check_eq(out[3], RZ_UC_SO);
    rz_check_eq(out[4], RZ_UC_SO);
}

static int32_t count_word(void *arg, const char *bytes, size_t n)
{
    size_t *sum = arg;
    (void)bytes;
    *sum += n;
    return RZ_OK;
}

/* A quarter megabyte of one piece: no limit of PCRE2 cuts a word short or takes quadratic time. */
RZ_TEST(split, long_runs)
{
    size_t n = 1 << 18;
    char *text = malloc(n);
    rz_check(text != NULL);
    for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
        size_t len = strlen(pieces[p]), at = 0, sum;
        for (; at + len <= n; at += len)
            memcpy(text + at, pieces[p], len);
        for (int r = 0; r < 8; r++) {
            const char *rule = rule_names[r / 2];
            struct rz_splitter s;
            struct rz_split_work w;
            struct rz_err err = {.size = sizeof(err)};
            rz_check_ok(rz_splitter_init(&s, rz_split_find((struct rz_str){rule, strlen(rule)}), r & 1, &err),
                        &err);
            rz_check(rz_split_work_init(&w, &s, at));
            sum = 0;
            rz_check_eq(rz_split(&s, &w, text, at, count_word, &sum), RZ_OK);
            rz_check_eq(sum, at);
            rz_split_work_free(&w);
            rz_splitter_free(&s);
        }
    }
    free(text);
}

static int32_t refuse(void *arg, const char *bytes, size_t n)
{
    (void)bytes;
    (void)n;
    return --*(int *)arg ? RZ_OK : RZ_ENOMEM;
}

RZ_TEST(split, stops_at_an_error)
{
    struct rz_splitter s;
    struct rz_split_work w;
    struct rz_err err = {.size = sizeof(err)};
    int calls = 2;
    rz_check_ok(rz_splitter_init(&s, &rules[0], true, &err), &err);
    rz_check(rz_split_work_init(&w, &s, 11));
    rz_check_eq(rz_split(&s, &w, "one two six", 11, refuse, &calls), RZ_ENOMEM);
    rz_check_eq(calls, 0);
    rz_check_eq(rz_split(&s, &w, "longer than room", 16, refuse, &calls), RZ_EINVAL);
    rz_split_work_free(&w);
    rz_splitter_free(&s);
}

RZ_TEST(split, scanner_takes_over_where_the_expression_gives_up)
{
    static struct words a, b;
    const char *text = "It's 1234  \n\n (two) words,  more";
    struct rz_splitter s = {.rule = rz_split_find((struct rz_str){"llama3", 6})};
    struct rz_split_work work;
    int number;
    PCRE2_SIZE at;
    s.code = pcre2_compile((PCRE2_SPTR) "It|'s", PCRE2_ZERO_TERMINATED, PCRE2_ANCHORED, &number, &at, NULL);
    rz_check(s.code && rz_split_work_init(&work, &s, strlen(text)));
    a.len = a.count = 0;
    rz_check_eq(rz_split(&s, &work, text, strlen(text), collect, &a), RZ_OK);
    rz_split_work_free(&work);
    rz_splitter_free(&s);
    cut("llama3", true, text, strlen(text), &b);
    rz_check_streq(a.text, b.text);
}
