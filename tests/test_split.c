/* test_split.c - how a text is cut into words: rules on texts with known words, and every rule on random
 * texts against PCRE2, which backtracks over the same expressions. Looks inside the plugin, so it includes
 * its sources. */
#include "../plugins/tokenizers/bpe/dfa.c"
#include "../plugins/tokenizers/bpe/regex.c"
#include "../plugins/tokenizers/bpe/rules.c"
#include "../plugins/tokenizers/bpe/sets.c"
#include "../plugins/tokenizers/bpe/split.c"
#include "../plugins/tokenizers/common/unicode.c"
#include "rz_test.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <time.h>

struct words {
    char text[1 << 14]; /* the words with U+0001 between */
    size_t len, count;
};

static int32_t collect(void *arg, const char *bytes, size_t n)
{
    struct words *w = arg;
    rz_check(n > 0 && w->len + n + 2 <= sizeof(w->text));
    if (w->count++)
        w->text[w->len++] = '\1';
    memcpy(w->text + w->len, bytes, n);
    w->len += n;
    w->text[w->len] = 0;
    return RZ_OK;
}

static void compile(struct rz_splitter *s, const char *name)
{
    struct rz_err err = {.size = sizeof(err)};
    const struct rz_split_rule *rule = rz_split_find((struct rz_str){name, strlen(name)});
    rz_check(rule != NULL);
    rz_check_ok(rz_splitter_init(s, rule, &err), &err);
}

/* want: the words with '|' between. */
static void check_words(const char *rule, const char *text, const char *want)
{
    static struct words w;
    struct rz_splitter s;
    compile(&s, rule);
    w.len = w.count = 0;
    w.text[0] = 0;
    rz_check_eq(rz_split(&s, text, strlen(text), collect, &w), RZ_OK);
    for (size_t i = 0; i < w.len; i++)
        if (w.text[i] == '\1')
            w.text[i] = '|';
    rz_check_streq(w.text, want);
    rz_splitter_free(&s);
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
    check_words("qwen35", "e\314\201a !\314\201", "e\314\201a| !|\314\201");
}

RZ_TEST(split, words_by_case)
{
    check_words("gpt-4o", "helloWorld HTTPServer don't", "hello|World| HTTPServer| don't");
    check_words("tekken", "helloWorld don't a/b/\n", "hello|World| don|'t| a|/b|/\n");
    check_words("llama4", "12345", "123|45");
    check_words("kimi-k2", "abc\346\227\245\346\234\254def", "abc|\346\227\245\346\234\254|def");
}

RZ_TEST(split, digits_from_the_right)
{
    check_words("afmoe", "a1234567 12", "a|1|234|567| |12");
    check_words("tiny_aya", "1234567 12345x", "1|234|567| |123|45|x");
    check_words("superbpe", "two words 12345\302\275 6", "two words |12|345\302\275| |6");
    check_words("jais-2", "a       b", "a|    |  | b");
}

RZ_TEST(split, lists_of_steps)
{
    check_words("deepseek-llm", "Hi there  \n\nx 12,3", "Hi| there|  |\n|\n|x| |12|,|3");
    check_words("deepseek-v3", "ab 1234 \343\201\202!x", "ab| |123|4| |\343\201\202|!x");
    check_words("falcon", "a$+b 12345", "a|$+|b| |123|45");
    check_words("default", "12345 a.", "123|45| a|.");
    check_words("bloom", "Hi, you two", "Hi|,| you| two");
    check_words("viking", "a12", "a|1|2");
    check_words("chameleon", "<sentinel:12>IMGIMGABZ!", "<|sentinel|:|1|2|>|IMGIMGABZ|!");
}

RZ_TEST(split, knows_names)
{
    static const char *const bad[] = {"", " ", "gpt", "gpt-2 ", "gpt-2 phi-2", "GPT-2", "qwen22"};
    static const char *const good[] = {
        "default",    "deepseek-llm", "deepseek-coder", "deepseek-v3", "falcon",    "mpt",
        "starcoder",  "refact",       "command-r",      "qwen35",      "olmo",      "dbrx",
        "smaug-bpe",  "codeshell",    "chatglm-bpe",    "glm4",        "viking",    "jais",
        "tekken",     "exaone",       "exaone4",        "gpt-4o",      "superbpe",  "kimi-k2",
        "seed-coder", "hunyuan",      "llama4",         "minerva-7b",  "bloom",     "gpt3-finnish",
        "poro-chat",  "trillion",     "pixtral",        "bailingmoe",  "stablelm2", "grok-2",
        "afmoe",      "lfm2"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        rz_check(rz_split_find((struct rz_str){bad[i], strlen(bad[i])}) == NULL);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        rz_check(rz_split_find((struct rz_str){good[i], strlen(good[i])}) != NULL);
    rz_check(rz_split_find((struct rz_str){"gpt-2", 6}) == NULL); /* with its NUL */
    static char longer[100];
    memset(longer, 'a', sizeof(longer));
    rz_check(rz_split_find((struct rz_str){longer, sizeof(longer)}) == NULL);
    rz_check(rz_split_find((struct rz_str){"llama-3", 7})->whole_words);
}

/* Characters that the rules tell apart. */
static const char *const pieces[] = {"a",
                                     "Z",
                                     "s",
                                     "t",
                                     "re",
                                     "ve",
                                     "ll",
                                     "LL",
                                     "'",
                                     "'",
                                     "1",
                                     "23",
                                     " ",
                                     " ",
                                     "  ",
                                     "\n",
                                     "\r",
                                     "\t",
                                     "!",
                                     ".",
                                     "_",
                                     "$",
                                     "`",
                                     "|",
                                     "/",
                                     "(",
                                     "-",
                                     "\302\205",
                                     "\302\240",
                                     "\343\200\200",
                                     "\305\277",
                                     "\303\251",
                                     "\303\211",
                                     "\346\227\245",
                                     "\331\243",
                                     "\302\262",
                                     "\360\237\230\200",
                                     "\314\201",
                                     "\342\200\250",
                                     "\305\205",
                                     "\343\201\202",
                                     "\355\225\234",
                                     "\343\200\202",
                                     "\357\274\214",
                                     "\340\270\201",
                                     "\312\260",
                                     "\307\205",
                                     "\342\205\247",
                                     "\340\244\277",
                                     "\342\200\235",
                                     "\341\204\200",
                                     "IMGIMG",
                                     "<sentinel:"};

static size_t random_text(uint64_t *state, char *text, size_t n_pieces)
{
    size_t n = 0;
    for (; n_pieces > 0; n_pieces--) {
        *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
        const char *p = pieces[*state % (sizeof(pieces) / sizeof(pieces[0]))];
        memcpy(text + n, p, strlen(p));
        n += strlen(p);
    }
    return n;
}

/* --- the same rule by PCRE2: a list of pieces that each step cuts further --- */
struct cuts {
    size_t at[400], n; /* places where words begin, and the end */
};

static const char *oracle_of(const char *step)
{
    if (!strcmp(step, RZ_STEP_TAIL))
        return "\\s+\\z";
    if (!strcmp(step, RZ_STEP_ENDING))
        return "\\d{1,3}(?=(?:\\d{3})*(?![\\p{L}\\p{M}\\p{N}\\p{Pc}]))"; /* as \b */
    if (!strcmp(step, RZ_STEP_CUTS))
        return "(?=(\\d{3})+(?!\\d))";
    if (!strcmp(step, RZ_STEP_GROUPS))
        return "\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))";
    return *step == '@' || strstr(step, "&&") ? NULL : step;
}

static void add_cut(struct cuts *c, size_t at)
{
    rz_check(c->n < sizeof(c->at) / sizeof(c->at[0]));
    if (!c->n || c->at[c->n - 1] != at)
        c->at[c->n++] = at;
}

static void cut_by(pcre2_code *code, const char *text, const struct cuts *in, struct cuts *out)
{
    pcre2_match_data *match = pcre2_match_data_create(8, NULL);
    out->n = 0;
    for (size_t k = 0; k + 1 < in->n; k++) {
        size_t begin = in->at[k], n = in->at[k + 1] - begin, at = 0;
        add_cut(out, begin);
        while (at < n && pcre2_match(code, (PCRE2_SPTR)text + begin, n, at, 0, match, NULL) > 0) {
            const PCRE2_SIZE *v = pcre2_get_ovector_pointer(match);
            add_cut(out, begin + v[0]);
            add_cut(out, begin + v[1]);
            at = v[1] > v[0] ? v[1] : v[1] + (v[1] < n ? rz_uc_step(text + begin + v[1], n - v[1]) : 1);
        }
        add_cut(out, begin + n);
    }
    pcre2_match_data_free(match);
}

static void check_rule(const struct rz_split_rule *rule)
{
    static struct words w;
    pcre2_code *code[RZ_SPLIT_STEPS_MAX] = {0};
    struct rz_splitter s;
    struct rz_err err = {.size = sizeof(err)};
    uint64_t state = 88172645463325252u;
    rz_check_ok(rz_splitter_init(&s, rule, &err), &err);
    for (uint32_t i = 0; i < s.n_steps; i++) {
        int number;
        PCRE2_SIZE at;
        if (!oracle_of(rule->steps[i]))
            goto done;
        code[i] = pcre2_compile((PCRE2_SPTR)oracle_of(rule->steps[i]), PCRE2_ZERO_TERMINATED,
                                PCRE2_UTF | PCRE2_UCP, &number, &at, NULL);
        rz_check(code[i] != NULL);
    }
    for (int round = 0; round < 3000; round++) {
        char text[1000];
        struct cuts a = {{0}, 0}, b;
        size_t n = random_text(&state, text, 1 + (size_t)round % 24), at = 0;
        add_cut(&a, 0);
        add_cut(&a, n);
        for (uint32_t i = 0; i < s.n_steps; i++, a = b)
            cut_by(code[i], text, &a, &b);
        w.len = w.count = 0;
        rz_check_eq(rz_split(&s, text, n, collect, &w), RZ_OK);
        if (w.count != a.n - 1)
            rz_fail_test("rule%s: %zu words, PCRE2 has %zu, in \"%.*s\"", rule->names, w.count, a.n - 1,
                         (int)n, text);
        for (size_t k = 0, i = 0; k < w.count; k++, i++) {
            rz_check_eq(at, a.at[k]);
            for (; i < w.len && w.text[i] != '\1'; i++)
                at++;
        }
        rz_check_eq(at, n);
    }
done:
    for (uint32_t i = 0; i < s.n_steps; i++)
        pcre2_code_free(code[i]);
    rz_splitter_free(&s);
}

RZ_TEST(split, every_rule_as_a_backtracking_engine_has_it)
{
    size_t n;
    const struct rz_split_rule *all = rz_split_rules(&n);
    for (size_t i = 0; i < n; i++)
        check_rule(&all[i]);
}

RZ_TEST(split, han)
{
    struct rz_arena arena;
    struct rz_set_builder b = {.arena = &arena};
    struct rz_re_set set;
    rz_arena_init(&arena, 0);
    rz_check(rz_set_add_class(&b, "Han", 3) && rz_set_finish(&b, &set));
    int number;
    PCRE2_SIZE at;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR) "^\\p{sc:Han}", PCRE2_ZERO_TERMINATED, PCRE2_UTF, &number, &at, NULL);
    rz_check(code != NULL);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    for (uint32_t cp = 0, i = 0; cp < 0x2ebf0; cp++) { /* what is behind came after Unicode 14 */
        char text[4];
        if (cp >= 0xd800 && cp < 0xe000)
            continue;
        while (i < set.n && set.range[i][1] < cp)
            i++;
        bool ours = i < set.n && set.range[i][0] <= cp;
        bool theirs = pcre2_match(code, (PCRE2_SPTR)text, rz_utf8_encode(cp, text), 0, 0, match, NULL) > 0;
        if (ours != theirs && cp != 0x2b739)
            rz_fail_test("U+%04X: %d here, %d there", cp, ours, theirs);
    }
    pcre2_match_data_free(match);
    pcre2_code_free(code);
    rz_arena_free(&arena);
}

RZ_TEST(split, expressions_that_are_refused)
{
    static const char *const bad[] = {"(",      ")",       "a)",          "[a",    "\\",
                                      "a{2,1}", "\\p{Xx}", "\\x{110000}", "(?!ab)"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct rz_dfa d;
        struct rz_err err = {.size = sizeof(err)};
        rz_check(rz_dfa_compile(&d, bad[i], &err) < 0);
        rz_check_has(err.message, bad[i]);
    }
}

RZ_TEST(split, classes_of_characters)
{
    static const struct {
        uint32_t cp;
        uint8_t class;
    } cases[] = {{'a', 'a'},       {0x7f, 0x7f},          {0x80, RZ_UC_CC},  {0x85, RZ_UC_NEL},
                 {0xa0, RZ_UC_ZS}, {0xaa, RZ_UC_LO},      {0xb2, RZ_UC_NO},  {0xc0, RZ_UC_LU},
                 {0xe9, 0x81},     {0x17f, RZ_UC_LONG_S}, {0x300, RZ_UC_MN}, {0x660, RZ_UC_ND},
                 {0x2028, 0x97},   {0x3042, RZ_UC_LO},    {0x20ac, 0x93},    {0x10ffff, RZ_UC_CN},
                 {0xe000, 0x9c},   {0x1c89, RZ_UC_LU},    {0xfffd, RZ_UC_SO}}; /* U+1C89: new in 16 */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        rz_check_eq(rz_uc_class(cases[i].cp), cases[i].class);
}

static int32_t count_word(void *arg, const char *bytes, size_t n)
{
    size_t *sum = arg;
    (void)bytes;
    *sum += n;
    return RZ_OK;
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A long run of each piece: quadratic work would take hours. Stray bytes too. */
RZ_TEST(split, long_runs_take_linear_time)
{
    size_t n = 1 << 16, n_rules, n_pieces = sizeof(pieces) / sizeof(pieces[0]);
    const struct rz_split_rule *all = rz_split_rules(&n_rules);
    char *text = malloc(n);
    rz_check(text != NULL);
    double begin = cpu_seconds();
    for (size_t r = 0; r < n_rules; r++) {
        struct rz_splitter s;
        struct rz_err err = {.size = sizeof(err)};
        rz_check_ok(rz_splitter_init(&s, &all[r], &err), &err);
        for (size_t p = 0; p < n_pieces + 2; p++) {
            const char *piece = p < n_pieces ? pieces[p] : p == n_pieces ? "\377" : "\303";
            size_t len = strlen(piece), at = 0, sum = 0;
            for (; at + len <= n; at += len)
                memcpy(text + at, piece, len);
            if (p % 2 && at)
                text[at - 1] = 'x'; /* a run that another character ends */
            rz_check_eq(rz_split(&s, text, at, count_word, &sum), RZ_OK);
            rz_check_eq(sum, at);
        }
        rz_splitter_free(&s);
    }
    rz_check(cpu_seconds() - begin < 60);
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
    static const char *const names[] = {"gpt-2", "deepseek-llm", "superbpe", "jais-2", "afmoe"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct rz_splitter s;
        int calls = 2;
        compile(&s, names[i]);
        rz_check_eq(rz_split(&s, "one 12345  six", 14, refuse, &calls), RZ_ENOMEM);
        rz_check_eq(calls, 0);
        rz_splitter_free(&s);
    }
}
