/* perplexity.c - `rz perplexity`: how well a model predicts a text, and how far it is from another one.
 *
 * The ids are cut into windows of ctx tokens; the model's BOS, where it wants one, takes the place of
 * each window's first token. The tokens of the second half are scored: positions ctx/2 .. ctx-2 predict
 * the token after them. All sums are in double.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checked.h"
#include "cli.h"

#define CTX_DEFAULT 512

struct perplexity_values {
    struct rz_cli_value model, prompt, file, ctx, chunks, kl, logits;
};

#define AT(field) offsetof(struct perplexity_values, field)
#define INT_MAX_D 2147483647.0

static const struct rz_cli_option options[] = {
    {.name = "model", .letter = 'm', .type = OPT_TEXT, .at = AT(model)},
    {.name = "prompt", .letter = 'p', .type = OPT_TEXT, .at = AT(prompt)},
    {.name = "file", .letter = 'f', .type = OPT_TEXT, .at = AT(file)},
    {.name = "ctx", .letter = 'c', .type = OPT_INT, .min = 4, .max = INT_MAX_D, .at = AT(ctx)},
    {.name = "chunks", .type = OPT_INT, .min = 1, .max = INT_MAX_D, .at = AT(chunks)},
    {.name = "kl", .type = OPT_TEXT, .at = AT(kl)},
    {.name = "logits", .type = OPT_TEXT, .at = AT(logits)},
    {.name = NULL},
};

/* Mean and standard error of a stream of numbers. */
struct mean {
    double sum, squares, max;
    uint64_t n;
};

/* The measurement; rows of one window arrive in order. */
struct score {
    struct rz_cli_model m;
    int32_t *ids; /* the current window stands at ids + window * ctx */
    uint64_t n_ids, ctx, n_windows, window;
    struct mean nll, kl;
    uint64_t agree;
    FILE *base;
    const char *base_path;
    float *base_row; /* [vocab] */
    struct rz_cli_file out;
    bool save;
    struct rz_err *err;
};

static void mean_add(struct mean *m, double v)
{
    m->sum += v;
    m->squares += v * v;
    m->max = !m->n || v > m->max ? v : m->max;
    m->n++;
}

static double mean_of(const struct mean *m)
{
    return m->n ? m->sum / (double)m->n : 0;
}

static double mean_error(const struct mean *m)
{
    double mean = mean_of(m), var = m->n ? m->squares / (double)m->n - mean * mean : 0;
    return m->n > 1 && var > 0 ? sqrt(var / ((double)m->n - 1)) : 0;
}

/* log of the sum of exp over a row; *best: the index of its largest value. */
static double log_sum(const float *row, uint64_t n, uint64_t *best)
{
    double sum = 0;
    *best = 0;
    for (uint64_t i = 1; i < n; i++)
        if (row[i] > row[*best])
            *best = i;
    for (uint64_t i = 0; i < n; i++)
        sum += exp((double)row[i] - (double)row[*best]);
    return log(sum) + (double)row[*best];
}

static int32_t compare(struct score *s, const float *row, uint64_t n, double lse, uint64_t best)
{
    uint64_t base_best;
    double base_lse = log_sum(s->base_row, n, &base_best), kl = 0;
    for (uint64_t i = 0; i < n; i++) {
        double lp = (double)s->base_row[i] - base_lse;
        if (lp > -745) /* below, exp is 0 */
            kl += exp(lp) * (lp - ((double)row[i] - lse));
    }
    if (!isfinite(kl))
        return rz_fail(s->err, RZ_EFORMAT, s->base_path, "window %llu: the logits are not finite",
                       (unsigned long long)s->window);
    mean_add(&s->kl, kl);
    s->agree += best == base_best;
    return RZ_OK;
}

static int32_t take_row(void *arg, uint64_t index, const float *row, uint64_t n)
{
    struct score *s = arg;
    int32_t code = RZ_OK;
    uint64_t best;
    if (n != s->m.info.n_vocab)
        return rz_fail(s->err, RZ_EINTERNAL, "perplexity", "a row has %llu logits", (unsigned long long)n);
    if (s->save)
        code = rz_cli_file_write(&s->out, row, n * sizeof(*row), s->err);
    if (s->base && fread(s->base_row, sizeof(*row), n, s->base) != n)
        code = rz_fail(s->err, RZ_EIO, s->base_path, "cannot read row %llu of window %llu",
                       (unsigned long long)index, (unsigned long long)s->window);
    if (code || index < s->ctx / 2 || index + 1 >= s->ctx)
        return code;
    double lse = log_sum(row, n, &best);
    mean_add(&s->nll, lse - (double)row[s->ids[s->window * s->ctx + index + 1]]);
    if (!isfinite(lse))
        return rz_fail(s->err, RZ_EDEVICE, "perplexity", "window %llu: the logits are not finite",
                       (unsigned long long)s->window);
    return s->base ? compare(s, row, n, lse, best) : RZ_OK;
}

/* The base file must hold exactly one row for each token of the windows. */
static int32_t open_base(struct score *s, const char *path, struct rz_err *err)
{
    struct stat st;
    uint64_t want;
    bool fits = rz_mul_u64(s->n_windows * s->ctx, s->m.info.n_vocab, &want) && rz_mul_u64(want, 4, &want);
    s->base_path = path;
    s->base = fopen(path, "rbe");
    if (!s->base || fstat(fileno(s->base), &st))
        return rz_fail(err, RZ_EIO, path, "cannot open: %s", strerror(errno));
    if (!fits || (uint64_t)st.st_size != want)
        return rz_fail(err, RZ_EFORMAT, path,
                       "%lld bytes; %llu windows of %llu tokens with %u logits need %llu",
                       (long long)st.st_size, (unsigned long long)s->n_windows, (unsigned long long)s->ctx,
                       s->m.info.n_vocab, (unsigned long long)want);
    s->base_row = calloc(s->m.info.n_vocab, sizeof(*s->base_row));
    return s->base_row ? RZ_OK : rz_fail(err, RZ_ENOMEM, path, "no memory for a row");
}

static int32_t cut_windows(struct score *s, const struct perplexity_values *v, struct rz_err *err)
{
    struct rz_buf text;
    uint32_t flags = s->m.vocab.add_bos ? RZ_ENCODE_BOS : 0;
    int32_t code = rz_cli_text("perplexity", &v->prompt, &v->file, &text, err);
    if (!code)
        code = rz_cli_encode(&s->m, text.data, text.len, flags, &s->ids, &s->n_ids, err);
    rz_buf_free(&text);
    if (code)
        return code;
    s->n_windows = s->n_ids / s->ctx;
    if (v->chunks.given && (uint64_t)v->chunks.i < s->n_windows)
        s->n_windows = (uint64_t)v->chunks.i;
    if (!s->n_windows)
        return rz_fail(err, RZ_ELIMIT, "perplexity", "the text has %llu tokens, a window needs %llu",
                       (unsigned long long)s->n_ids, (unsigned long long)s->ctx);
    for (uint64_t w = 0; w < s->n_windows && s->m.vocab.add_bos && s->m.vocab.bos >= 0; w++)
        s->ids[w * s->ctx] = s->m.vocab.bos;
    return RZ_OK;
}

static int32_t measure(struct score *s, bool quiet, struct rz_err *err)
{
    int32_t code = RZ_OK;
    bool progress = !quiet && isatty(2);
    s->err = err;
    for (s->window = 0; s->window < s->n_windows && !code; s->window++) {
        struct rz_eval e = {.size = sizeof(e), .tokens = s->ids + s->window * s->ctx, .n_tokens = s->ctx};
        e.row = take_row;
        e.arg = s;
        code = s->m.api->eval(s->m.model, &e, err);
        if (progress)
            fprintf(stderr, "\rwindow %llu of %llu ", (unsigned long long)s->window + 1,
                    (unsigned long long)s->n_windows);
    }
    if (progress)
        fprintf(stderr, "\r\x1b[K");
    return code;
}

static int32_t report(const struct score *s, bool json, struct rz_err *err)
{
    double ppl = exp(mean_of(&s->nll)), error = ppl * mean_error(&s->nll);
    double agree = s->kl.n ? 100.0 * (double)s->agree / (double)s->kl.n : 0;
    if (json) {
        json_t *o = json_pack("{s:f,s:f,s:f,s:I,s:I,s:I}", "perplexity", ppl, "standard_error", error, "nll",
                              mean_of(&s->nll), "tokens", (json_int_t)s->nll.n, "windows",
                              (json_int_t)s->n_windows, "ctx", (json_int_t)s->ctx);
        if (s->base)
            json_object_update_new(o,
                                   json_pack("{s:f,s:f,s:f,s:f}", "kl", mean_of(&s->kl), "kl_standard_error",
                                             mean_error(&s->kl), "kl_max", s->kl.max, "top1_percent", agree));
        return rz_cli_json(o, err);
    }
    int32_t code = rz_cli_print(
        err, "perplexity %.4f +/- %.4f (%llu tokens scored in %llu windows of %llu)\n", ppl, error,
        (unsigned long long)s->nll.n, (unsigned long long)s->n_windows, (unsigned long long)s->ctx);
    if (s->base && !code)
        code = rz_cli_print(err, "mean KL %.6g +/- %.2g, max %.4g, top-1 agreement %.2f %%\n",
                            mean_of(&s->kl), mean_error(&s->kl), s->kl.max, agree);
    return code ? code : rz_cli_write("", 0, err);
}

static int32_t work(const struct rz_cli *cli, struct score *s, const struct perplexity_values *v,
                    uint32_t flags, struct rz_err *err)
{
    struct rz_model_options mo = {.size = sizeof(mo), .level = RZ_MODEL_RUN, .max_seqs = 1};
    s->ctx = v->ctx.given ? (uint64_t)v->ctx.i : CTX_DEFAULT;
    mo.context = (uint32_t)s->ctx;
    mo.exact_context = 1;
    int32_t code = rz_cli_open(cli, v->model.text, &mo, &s->m, err);
    if (!code)
        code = cut_windows(s, v, err);
    if (!code && v->kl.given)
        code = open_base(s, v->kl.text, err);
    if (!code && v->logits.given) {
        code = rz_cli_file_open(&s->out, v->logits.text, err);
        s->save = !code;
    }
    if (!code)
        code = measure(s, flags & RZ_COMMAND_QUIET, err);
    if (!code && s->save)
        code = rz_cli_file_commit(&s->out, err);
    return code ? code : report(s, flags & RZ_COMMAND_JSON, err);
}

int32_t rz_cli_perplexity(void *self, uint32_t flags, int32_t argc, const char *const *argv,
                          struct rz_err *err)
{
    struct perplexity_values v = {0};
    struct score s = {0};
    int status = rz_cli_parse(options, argc, argv, &v, NULL, err);
    if (status)
        return status;
    int32_t code = work(self, &s, &v, flags, err);
    if (s.base)
        fclose(s.base);
    rz_cli_file_discard(&s.out);
    rz_cli_close(&s.m);
    free(s.base_row);
    free(s.ids);
    return code ? rz_cli_status(code) : 0;
}
