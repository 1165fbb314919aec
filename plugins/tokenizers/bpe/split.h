/* split.h - cuts a text into the words inside which BPE merges.
 *
 * A rule is a regular expression over the classes of unicode.h, compiled by PCRE2 with JIT, and the same
 * rule as a linear scanner, which takes over from the place where PCRE2 reaches one of its limits. Both
 * give the same words. A rule and its compiled form are read-only: any thread may use them.
 */
#ifndef RZ_BPE_SPLIT_H
#define RZ_BPE_SPLIT_H

#include <rz/types.h>
#include <stdbool.h>
#include <stddef.h>

struct rz_split_rule {
    const char *names; /* values of tokenizer.ggml.pre, each between spaces */
    const char *regex;
    /* Length of the word at c[at], at < n, in characters. */
    size_t (*scan)(const uint8_t *c, size_t n, size_t at);
    bool whole_words; /* a word that is a token is taken before any merge */
    bool add_bos;     /* unless the metadata says otherwise               */
};

/* NULL: there is no rule of that name. */
const struct rz_split_rule *rz_split_find(struct rz_str name);

struct rz_splitter {
    const struct rz_split_rule *rule;
    void *code; /* pcre2_code; NULL: the scanner is used */
};

/* regex = false: use the scanner alone. */
int32_t rz_splitter_init(struct rz_splitter *s, const struct rz_split_rule *rule, bool regex,
                         struct rz_err *err);
void rz_splitter_free(struct rz_splitter *s);

/* The memory of one walk; may be used for several texts one after the other. */
struct rz_split_work {
    uint8_t *classes; /* one per character */
    size_t cap;
    void *match; /* pcre2_match_data */
};

/* Room for texts of up to n bytes; false: no memory. */
bool rz_split_work_init(struct rz_split_work *w, const struct rz_splitter *s, size_t n);
void rz_split_work_free(struct rz_split_work *w);

/* Calls word for each word of text[0..n) in order; stops at its first negative status and returns it. */
int32_t rz_split(const struct rz_splitter *s, struct rz_split_work *w, const char *text, size_t n,
                 int32_t (*word)(void *arg, const char *bytes, size_t n), void *arg);

#endif
