/* split.c - the rules, and the walk over a text.
 *
 * The published rules are sequences of expressions over Unicode properties. Here each is one expression
 * over class bytes: the sequence "single digits, then GPT-2" becomes one because what the second
 * expression sees as the end of its text is the end of the text or a digit.
 */
#include "split.h"

#include "../common/unicode.h"
#include "err.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#define L "A-Za-z\\x80-\\x84\\x9e"   /* letters     */
#define N "0-9\\x88-\\x8a"           /* numbers     */
#define S "\\t-\\r \\x96-\\x98\\x9f" /* white space */

#define SUFFIX_LOWER "'s|'t|'re|'ve|'m|'ll|'d"
#define SUFFIX_ANY "'(?:[sS\\x9e]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])"

#define GPT2 SUFFIX_LOWER "| ?[" L "]+| ?[" N "]+| ?[^" S L N "]+|[" S "]+(?![^" S "])|[" S "]+"
#define GPT2_DIGITS "[" N "]|" SUFFIX_LOWER "| ?[" L "]+| ?[^" S L N "]+|[" S "]+(?![^" S N "])|[" S "]+"
#define LLAMA3(digits) \
    SUFFIX_ANY "|[^\\r\\n" L N "]?[" L "]+|[" N "]" digits "| ?[^" S L N "]+[\\r\\n]*|[" S "]*[\\r\\n]+|[" S \
               "]+(?![^" S "])|[" S "]+"

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= RZ_UC_LU && c <= RZ_UC_LO) ||
           c == RZ_UC_LONG_S;
}

static bool is_number(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= RZ_UC_ND && c <= RZ_UC_NO);
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= RZ_UC_ZS && c <= RZ_UC_ZP) || c == RZ_UC_NEL;
}

static bool is_other(uint8_t c)
{
    return !is_letter(c) && !is_number(c) && !is_space(c);
}

static size_t run(const uint8_t *c, size_t n, size_t at, bool (*is)(uint8_t))
{
    while (at < n && is(c[at]))
        at++;
    return at;
}

/* 's 't 'm 'd: 2; 're 've 'll: 3; else 0. fold: capitals count too. */
static size_t suffix(const uint8_t *c, size_t n, size_t at, bool fold)
{
    if (c[at] != '\'' || n - at < 2)
        return 0;
    uint8_t a = c[at + 1], b = n - at > 2 ? c[at + 2] : 0;
    if (fold) {
        a = a == RZ_UC_LONG_S ? 's' : a >= 'A' && a <= 'Z' ? (uint8_t)(a + 32) : a;
        b = b >= 'A' && b <= 'Z' ? (uint8_t)(b + 32) : b;
    }
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* White space before a word leaves its last character to the word. */
static size_t spaces(const uint8_t *c, size_t n, size_t at, bool digits_end)
{
    size_t end = run(c, n, at, is_space);
    if (end == n || end - at == 1 || (digits_end && is_number(c[end])))
        return end - at;
    return end - at - 1;
}

static size_t scan_gpt2_with(const uint8_t *c, size_t n, size_t at, bool single_digits)
{
    if (single_digits && is_number(c[at]))
        return 1;
    size_t len = suffix(c, n, at, false);
    if (len)
        return len;
    size_t q = at + (c[at] == ' ');
    if (q < n && is_letter(c[q]))
        return run(c, n, q, is_letter) - at;
    if (q < n && is_number(c[q]) && !single_digits)
        return run(c, n, q, is_number) - at;
    if (q < n && is_other(c[q]))
        return run(c, n, q, is_other) - at;
    return spaces(c, n, at, single_digits);
}

static size_t scan_gpt2(const uint8_t *c, size_t n, size_t at)
{
    return scan_gpt2_with(c, n, at, false);
}

static size_t scan_gpt2_digits(const uint8_t *c, size_t n, size_t at)
{
    return scan_gpt2_with(c, n, at, true);
}

static size_t scan_llama3_with(const uint8_t *c, size_t n, size_t at, size_t max_digits)
{
    size_t len = suffix(c, n, at, true), end;
    if (len)
        return len;
    if (is_letter(c[at]))
        return run(c, n, at, is_letter) - at;
    if (is_number(c[at])) {
        end = run(c, n - at < max_digits ? n : at + max_digits, at, is_number);
        return end - at;
    }
    if (c[at] != '\r' && c[at] != '\n' && at + 1 < n && is_letter(c[at + 1]))
        return run(c, n, at + 1, is_letter) - at;
    size_t q = at + (c[at] == ' ');
    if (q < n && is_other(c[q])) {
        end = run(c, n, q, is_other);
        while (end < n && (c[end] == '\r' || c[end] == '\n'))
            end++;
        return end - at;
    }
    end = run(c, n, at, is_space);
    for (size_t i = end; i > at; i--)
        if (c[i - 1] == '\r' || c[i - 1] == '\n')
            return i - at;
    return spaces(c, n, at, false);
}

static size_t scan_llama3(const uint8_t *c, size_t n, size_t at)
{
    return scan_llama3_with(c, n, at, 3);
}

static size_t scan_qwen2(const uint8_t *c, size_t n, size_t at)
{
    return scan_llama3_with(c, n, at, 1);
}

static const struct rz_split_rule rules[] = {
    {.names =
         " gpt-2 phi-2 mpt olmo jais trillion granite-docling roberta-bpe gigachat modern-bert a.x-4.0 mellum"
         " jina-es jina-de jina-v1-en jina-v2-es jina-v2-de jina-v2-code ",
     .regex = GPT2,
     .scan = scan_gpt2},
    {.names = " smollm starcoder refact command-r codeshell exaone minerva-7b mellum2 ",
     .regex = GPT2_DIGITS,
     .scan = scan_gpt2_digits},
    {.names = " llama3 llama-3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 ",
     .regex = LLAMA3("{1,3}"),
     .scan = scan_llama3,
     .whole_words = true,
     .add_bos = true},
    {.names = " dbrx smaug-bpe chatglm-bpe glm4 ", .regex = LLAMA3("{1,3}"), .scan = scan_llama3},
    {.names = " qwen2 deepseek-r1-qwen stablelm2 megrez hunyuan solar-open grok-2 ",
     .regex = LLAMA3(""),
     .scan = scan_qwen2},
};

const struct rz_split_rule *rz_split_find(struct rz_str name)
{
    char padded[67];
    if (!name.len || name.len > 64 || memchr(name.data, ' ', name.len) || memchr(name.data, 0, name.len))
        return NULL;
    padded[0] = ' ';
    memcpy(padded + 1, name.data, name.len);
    memcpy(padded + name.len + 1, " ", 2);
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (strstr(rules[i].names, padded))
            return &rules[i];
    return NULL;
}

int32_t rz_splitter_init(struct rz_splitter *s, const struct rz_split_rule *rule, bool regex,
                         struct rz_err *err)
{
    *s = (struct rz_splitter){.rule = rule};
    if (!regex)
        return RZ_OK;
    int number;
    PCRE2_SIZE at;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)rule->regex, PCRE2_ZERO_TERMINATED, PCRE2_ANCHORED, &number, &at, NULL);
    if (!code) {
        PCRE2_UCHAR text[120];
        pcre2_get_error_message(number, text, sizeof(text));
        return rz_fail(err, RZ_EINTERNAL, "pre-tokenizer", "rule%s: %s at %zu", rule->names,
                       (const char *)text, (size_t)at);
    }
    /* Where executable memory is forbidden this fails and the interpreter serves. */
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    s->code = code;
    return RZ_OK;
}

void rz_splitter_free(struct rz_splitter *s)
{
    pcre2_code_free(s->code);
    s->code = NULL;
}

bool rz_split_work_init(struct rz_split_work *w, const struct rz_splitter *s, size_t n)
{
    *w = (struct rz_split_work){.cap = n};
    w->classes = malloc(n ? n : 1);
    if (s->code)
        w->match = pcre2_match_data_create(1, NULL);
    if (w->classes && (w->match || !s->code))
        return true;
    rz_split_work_free(w);
    return false;
}

void rz_split_work_free(struct rz_split_work *w)
{
    free(w->classes);
    pcre2_match_data_free(w->match);
    *w = (struct rz_split_work){0};
}

/* Characters of the word at `at` by the expression; 0: it gave no answer. */
static size_t match(const struct rz_splitter *s, struct rz_split_work *w, size_t n, size_t at)
{
    int rc = pcre2_match(s->code, w->classes, n, at, 0, w->match, NULL);
    if (rc < 0)
        return 0;
    return pcre2_get_ovector_pointer(w->match)[1] - at;
}

int32_t rz_split(const struct rz_splitter *s, struct rz_split_work *w, const char *text, size_t n,
                 int32_t (*word)(void *arg, const char *bytes, size_t n), void *arg)
{
    if (n > w->cap)
        return RZ_EINVAL;
    bool regex = s->code != NULL;
    size_t count = rz_uc_classes(text, n, w->classes), byte = 0;
    for (size_t at = 0; at < count;) {
        size_t len = regex ? match(s, w, count, at) : 0;
        if (!len) { /* a limit of PCRE2: the scanner does the rest */
            regex = false;
            len = s->rule->scan(w->classes, count, at);
        }
        size_t begin = byte;
        for (at += len; len > 0; len--)
            byte += rz_uc_step(text + byte, n - byte);
        int32_t status = word(arg, text + begin, byte - begin);
        if (status < 0)
            return status;
    }
    return RZ_OK;
}
