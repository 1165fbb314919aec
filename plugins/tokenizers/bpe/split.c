/* split.c - the walk over a text: each step hands its pieces to the next one, the last one to the caller. */
#include "split.h"

#include "../common/unicode.h"
#include "utf8.h"

#include <string.h>

struct walk {
    const struct rz_splitter *s;
    const char *text;
    rz_split_word *word;
    void *arg;
};

int32_t rz_splitter_init(struct rz_splitter *s, const struct rz_split_rule *rule, struct rz_err *err)
{
    memset(s, 0, sizeof(*s));
    s->rule = rule;
    for (; rule->steps[s->n_steps]; s->n_steps++) {
        const char *step = rule->steps[s->n_steps];
        int32_t status = *step == '@' ? RZ_OK : rz_dfa_compile(&s->dfa[s->n_steps], step, err);
        if (status) {
            rz_splitter_free(s);
            return status;
        }
    }
    return RZ_OK;
}

void rz_splitter_free(struct rz_splitter *s)
{
    for (uint32_t i = 0; i < RZ_SPLIT_STEPS_MAX; i++)
        rz_dfa_free(&s->dfa[i]);
}

static int32_t cut(const struct walk *w, uint32_t step, size_t at, size_t end);

/* The piece [at, end) goes on to the step after this one. */
static int32_t pass(const struct walk *w, uint32_t step, size_t at, size_t end)
{
    if (at == end)
        return RZ_OK;
    if (step + 1 == w->s->n_steps)
        return w->word(w->arg, w->text + at, end - at);
    return cut(w, step + 1, at, end);
}

static int32_t cut_regex(const struct walk *w, uint32_t step, size_t at, size_t end)
{
    const struct rz_dfa *d = &w->s->dfa[step];
    size_t gap = at;
    int32_t status = RZ_OK;
    while (at < end && status >= 0) {
        size_t len = rz_dfa_match(d, w->text, at, end);
        if (!len) {
            at += rz_uc_step(w->text + at, end - at);
            continue;
        }
        if (gap < at)
            status = pass(w, step, gap, at);
        if (status >= 0)
            status = pass(w, step, at, at + len);
        at += len;
        gap = at;
    }
    return status < 0 ? status : pass(w, step, gap, end);
}

/* The class of the character at text[at], and its length. */
static uint8_t class_at(const char *text, size_t at, size_t end, size_t *len)
{
    uint32_t cp;
    size_t n = rz_utf8_decode(text + at, end - at, &cp);
    *len = n ? n : 1;
    return rz_uc_class(cp);
}

static int32_t cut_tail(const struct walk *w, uint32_t step, size_t at, size_t end)
{
    size_t tail = at, len;
    for (size_t i = at; i < end; i += len)
        if (!rz_uc_is_space(class_at(w->text, i, end, &len)))
            tail = i + len;
    int32_t status = pass(w, step, at, tail);
    return status < 0 ? status : pass(w, step, tail, end);
}

static bool is_digit(uint8_t c)
{
    return (c >= '0' && c <= '9') || c == RZ_UC_ND;
}

static bool is_word(uint8_t c)
{
    return rz_uc_is_letter(c) || rz_uc_is_number(c) || (c >= RZ_UC_MN && c <= RZ_UC_ME) || c == '_' ||
           c == RZ_UC_PC;
}

/* Hands on the run [at, end) of `count` digits in groups of three from the right, but for the last, which
 * begins at *gap then; *gap: what was not handed on before. */
static int32_t cut_run(const struct walk *w, uint32_t step, size_t *gap, size_t at, size_t end, size_t count)
{
    int32_t status = RZ_OK;
    size_t len;
    for (; count && status >= 0; count--) {
        if (count % 3 == 0) {
            status = pass(w, step, *gap, at);
            *gap = at;
        }
        class_at(w->text, at, end, &len);
        at += len;
    }
    return status;
}

static int32_t cut_groups(const struct walk *w, uint32_t step, size_t at, size_t end, const char *kind)
{
    bool (*in_run)(uint8_t) = !strcmp(kind, RZ_STEP_GROUPS) ? rz_uc_is_number : is_digit;
    bool cuts = !strcmp(kind, RZ_STEP_CUTS), ending = !strcmp(kind, RZ_STEP_ENDING);
    size_t gap = at, len = 1;
    int32_t status = RZ_OK;
    while (at < end && status >= 0) {
        size_t i = at, count = 0;
        uint8_t next = 0;
        for (; i < end && in_run(next = class_at(w->text, i, end, &len)); i += len)
            count++;
        if (!count || (ending && i < end && is_word(next))) {
            at = count ? i : i + len;
            continue;
        }
        if (!cuts) {
            status = pass(w, step, gap, at);
            gap = at;
        }
        if (status >= 0)
            status = cut_run(w, step, &gap, at, i, count);
        if (status >= 0 && !cuts) {
            status = pass(w, step, gap, i);
            gap = i;
        }
        at = i;
    }
    return status < 0 ? status : pass(w, step, gap, end);
}

static int32_t cut_powers(const struct walk *w, uint32_t step, size_t at, size_t end)
{
    size_t count = 0, len;
    for (size_t i = at; i < end; i += len, count++) {
        uint8_t c = class_at(w->text, i, end, &len);
        if (!rz_uc_is_space(c) || c == '\r' || c == '\n')
            return pass(w, step, at, end);
    }
    int32_t status = RZ_OK;
    while (at < end && status >= 0) {
        size_t take = 512, i = at;
        while (take > count)
            take /= 2;
        count -= take;
        for (; take; take--) {
            class_at(w->text, i, end, &len);
            i += len;
        }
        status = pass(w, step, at, i);
        at = i;
    }
    return status;
}

static int32_t cut(const struct walk *w, uint32_t step, size_t at, size_t end)
{
    const char *kind = w->s->rule->steps[step];
    if (*kind != '@')
        return cut_regex(w, step, at, end);
    if (!strcmp(kind, RZ_STEP_TAIL))
        return cut_tail(w, step, at, end);
    if (!strcmp(kind, RZ_STEP_POWERS))
        return cut_powers(w, step, at, end);
    return cut_groups(w, step, at, end, kind);
}

int32_t rz_split(const struct rz_splitter *s, const char *text, size_t n, rz_split_word *word, void *arg)
{
    struct walk w = {s, text, word, arg};
    return n ? cut(&w, 0, 0, n) : RZ_OK;
}
