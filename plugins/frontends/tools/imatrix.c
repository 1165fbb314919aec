/* imatrix.c - `rz imatrix`: which columns of each weight meet large inputs, collected while the model reads a
 * text.
 *
 * For each matrix of a block: the sum over all rows of the square of each input column, and the number of
 * rows. Sums are in double, in the order of the text, so the result does not depend on threads.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools.h"

#define CTX_DEFAULT 512
#define ENTRIES_MAX 65536u

struct imatrix_values {
    struct rz_cli_value model, file, out, ctx, chunks, output, yes;
};

#define AT(field) offsetof(struct imatrix_values, field)
#define INT_MAX_D 2147483647.0

static const struct rz_cli_option options[] = {
    {.name = "model", .letter = 'm', .type = OPT_TEXT, .at = AT(model)},
    {.name = "file", .letter = 'f', .type = OPT_TEXT, .at = AT(file)},
    {.name = "output", .letter = 'o', .type = OPT_TEXT, .at = AT(out)},
    {.name = "ctx", .letter = 'c', .type = OPT_INT, .min = 4, .max = INT_MAX_D, .at = AT(ctx)},
    {.name = "chunks", .type = OPT_INT, .min = 1, .max = INT_MAX_D, .at = AT(chunks)},
    {.name = "process-output", .type = OPT_FLAG, .at = AT(output)},
    {.name = "yes", .letter = 'y', .type = OPT_FLAG, .at = AT(yes)},
    {.name = NULL},
};

/* What was seen of one weight. */
struct entry {
    char *name;
    double *sums; /* [cols] */
    uint64_t cols, rows;
};

struct collector {
    struct rz_cli_model m;
    struct rz_arena arena;
    struct entry *entries;
    struct rz_map names;
    uint32_t n;
    bool with_output;
    int32_t code; /* the first failure inside a callback */
    struct rz_err *err;
    int32_t *ids;
    uint64_t n_ids, ctx, n_windows;
};

/* The entry of a weight, made when it is met first; NULL: not wanted, or no memory. */
static struct entry *entry_of(struct collector *c, const struct rz_str *weight, uint64_t cols)
{
    static const char output[] = "output.weight";
    uint32_t index;
    bool block = weight->len > 4 && !memcmp(weight->data, "blk.", 4);
    bool is_output = weight->len == sizeof(output) - 1 && !memcmp(weight->data, output, sizeof(output) - 1);
    if (!block && !(c->with_output && is_output))
        return NULL;
    if (rz_map_get(&c->names, weight->data, weight->len, &index))
        return &c->entries[index];
    struct entry *e = c->n < ENTRIES_MAX ? &c->entries[c->n] : NULL;
    char *name = e ? rz_arena_strndup(&c->arena, weight->data, weight->len) : NULL;
    double *sums = name ? rz_arena_array(&c->arena, cols, sizeof(*sums)) : NULL;
    if (!sums || rz_map_add(&c->names, name, weight->len, c->n) < 0) {
        c->code = rz_fail(c->err, RZ_ENOMEM, "imatrix", "no memory for %llu columns, or too many weights",
                          (unsigned long long)cols);
        return NULL;
    }
    *e = (struct entry){.name = name, .sums = sums, .cols = cols};
    c->n++;
    return e;
}

static void take_input(void *arg, const struct rz_str *weight, const float *x, uint64_t stride, uint64_t rows,
                       uint64_t cols)
{
    struct collector *c = arg;
    struct entry *e = c->code ? NULL : entry_of(c, weight, cols);
    if (!e)
        return;
    if (e->cols != cols) {
        c->code = rz_fail(c->err, RZ_EINTERNAL, e->name, "has inputs of %llu and of %llu columns",
                          (unsigned long long)e->cols, (unsigned long long)cols);
        return;
    }
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t i = 0; i < cols; i++)
            e->sums[i] += (double)x[r * stride + i] * (double)x[r * stride + i];
    e->rows += rows;
}

static int32_t take_row(void *arg, uint64_t index, const float *values, uint64_t n)
{
    const struct collector *c = arg;
    (void)index;
    (void)values;
    (void)n;
    return c->code;
}

static int32_t cut_windows(struct collector *c, const struct imatrix_values *v, struct rz_err *err)
{
    struct rz_buf text;
    struct rz_cli_value none = {0};
    uint32_t flags = c->m.vocab.add_bos ? RZ_ENCODE_BOS : 0;
    int32_t code = rz_cli_text("imatrix", &none, &v->file, &text, err);
    if (!code)
        code = rz_cli_encode(&c->m, text.data, text.len, flags, &c->ids, &c->n_ids, err);
    rz_buf_free(&text);
    if (code)
        return code;
    c->n_windows = c->n_ids / c->ctx;
    if (v->chunks.given && (uint64_t)v->chunks.i < c->n_windows)
        c->n_windows = (uint64_t)v->chunks.i;
    if (!c->n_windows)
        return rz_fail(err, RZ_ELIMIT, "imatrix", "the text has %llu tokens, a window needs %llu (-c)",
                       (unsigned long long)c->n_ids, (unsigned long long)c->ctx);
    for (uint64_t w = 0; w < c->n_windows && c->m.vocab.add_bos && c->m.vocab.bos >= 0; w++)
        c->ids[w * c->ctx] = c->m.vocab.bos;
    return RZ_OK;
}

static int32_t collect(struct collector *c, bool quiet, struct rz_err *err)
{
    struct rz_tools_progress progress;
    int32_t code = RZ_OK;
    rz_tools_progress_start(&progress, c->n_windows, "windows", quiet);
    for (uint64_t w = 0; w < c->n_windows && !code; w++) {
        struct rz_eval e = {.size = sizeof(e),
                            .tokens = c->ids + w * c->ctx,
                            .n_tokens = c->ctx,
                            .hidden = !c->with_output, /* without it, nobody needs logits */
                            .row = take_row,
                            .arg = c,
                            .input = take_input};
        code = c->m.api->eval(c->m.model, &e, err);
        code = c->code ? c->code : code;
        rz_tools_progress_add(&progress, 1);
    }
    rz_tools_progress_end(&progress);
    if (!code && !c->n)
        code = rz_fail(err, RZ_EUNSUPPORTED, c->m.info.path, "the model has no matrices in blocks");
    return code;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* Two tensors an entry: NAME.in_sum2 and NAME.counts. */
static struct rz_tensor *describe(struct collector *c)
{
    struct rz_tensor *t = rz_arena_array(&c->arena, (size_t)c->n * 2, sizeof(*t));
    for (uint32_t i = 0; i < c->n && t; i++) {
        const struct entry *e = &c->entries[i];
        char *sums = rz_arena_printf(&c->arena, "%s.in_sum2", e->name);
        char *counts = rz_arena_printf(&c->arena, "%s.counts", e->name);
        if (!sums || !counts)
            return NULL;
        t[2 * i] = (struct rz_tensor){.size = sizeof(*t),
                                      .type = RZ_TYPE_F32,
                                      .n_dims = 1,
                                      .dims = {e->cols, 1, 1, 1},
                                      .name = {sums, strlen(sums)}};
        t[2 * i + 1] = (struct rz_tensor){.size = sizeof(*t),
                                          .type = RZ_TYPE_F32,
                                          .n_dims = 1,
                                          .dims = {1, 1, 1, 1},
                                          .name = {counts, strlen(counts)}};
    }
    return t;
}

static int32_t write_entry(struct rz_tools_gguf *g, const struct entry *e)
{
    float count = (float)e->rows;
    for (uint64_t i = 0; i < e->cols && !g->code; i++) {
        float sum = (float)e->sums[i];
        if (!isfinite(sum))
            return g->code = rz_fail(g->err, RZ_EDEVICE, e->name,
                                     "column %llu has inputs that are not finite", (unsigned long long)i);
        rz_tools_gguf_write(g, &sum, sizeof(sum));
    }
    rz_tools_gguf_pad(g);
    rz_tools_gguf_write(g, &count, sizeof(count));
    return rz_tools_gguf_pad(g);
}

static int32_t write_file(struct collector *c, const struct imatrix_values *v, struct rz_tools_gguf *g,
                          struct rz_tools_meta *meta, struct rz_err *err)
{
    const char *text = v->file.given ? v->file.text : "-";
    struct rz_str set = {text, strlen(text)}, type = {"imatrix", 7};
    qsort(c->entries, c->n, sizeof(*c->entries), by_name);
    struct rz_tensor *tensors = describe(c);
    if (!tensors)
        return rz_fail(err, RZ_ENOMEM, "imatrix", "no memory for %u tensors", c->n * 2);
    int32_t code = rz_tools_meta_init(meta, NULL, 4, err);
    if (!code)
        code = rz_tools_meta_set_str(meta, "general.type", type, err);
    if (!code)
        code = rz_tools_meta_set_strings(meta, "imatrix.datasets", &set, 1, err);
    if (!code)
        code = rz_tools_meta_set_u32(meta, "imatrix.chunk_count", (uint32_t)c->n_windows, err);
    if (!code)
        code = rz_tools_meta_set_u32(meta, "imatrix.chunk_size", (uint32_t)c->ctx, err);
    if (!code)
        code = rz_tools_gguf_head(g, meta, tensors, (uint64_t)c->n * 2);
    for (uint32_t i = 0; i < c->n && !code; i++)
        code = write_entry(g, &c->entries[i]);
    return code ? code : rz_cli_file_commit(&g->file, err);
}

static int32_t report(const struct collector *c, const char *out, uint32_t flags, struct rz_err *err)
{
    if (flags & RZ_COMMAND_JSON)
        return rz_cli_json(json_pack("{s:o,s:I,s:I,s:I}", "file", rz_cli_json_text(out, strlen(out)),
                                     "weights", (json_int_t)c->n, "windows", (json_int_t)c->n_windows, "ctx",
                                     (json_int_t)c->ctx),
                           err);
    if (flags & RZ_COMMAND_QUIET)
        return RZ_OK;
    int32_t code = rz_cli_print(err, "%s: %u weights, %llu windows of %llu tokens\n", out, c->n,
                                (unsigned long long)c->n_windows, (unsigned long long)c->ctx);
    return code ? code : rz_cli_write("", 0, err);
}

static int32_t work(const struct rz_cli *cli, struct collector *c, const struct imatrix_values *v,
                    uint32_t flags, struct rz_err *err)
{
    struct rz_model_options mo = {.size = sizeof(mo), .level = RZ_MODEL_RUN, .max_seqs = 1, .observe = 1};
    struct rz_tools_gguf g = {.err = err};
    struct rz_tools_meta meta = {0};
    c->err = err;
    c->ctx = v->ctx.given ? (uint64_t)v->ctx.i : CTX_DEFAULT;
    c->with_output = v->output.given;
    mo.context = (uint32_t)c->ctx;
    mo.exact_context = 1;
    rz_arena_init(&c->arena, 0);
    c->entries = calloc(ENTRIES_MAX, sizeof(*c->entries));
    if (!c->entries || !rz_map_init(&c->names, ENTRIES_MAX))
        return rz_fail(err, RZ_ENOMEM, "imatrix", "no memory");
    int32_t code = rz_cli_file_create(&g.file, v->out.text, v->yes.given, err);
    if (!code)
        code = rz_cli_open(cli, v->model.text, &mo, &c->m, err);
    if (!code)
        code = cut_windows(c, v, err);
    if (!code)
        code = collect(c, flags & RZ_COMMAND_QUIET, err);
    if (!code)
        code = write_file(c, v, &g, &meta, err);
    rz_cli_file_discard(&g.file);
    rz_tools_meta_free(&meta);
    return code ? code : report(c, v->out.text, flags, err);
}

int32_t rz_tools_imatrix(void *self, uint32_t flags, int32_t argc, const char *const *argv,
                         struct rz_err *err)
{
    struct imatrix_values v = {0};
    struct collector c = {0};
    int status = rz_cli_parse(options, argc, argv, &v, NULL, err);
    if (status)
        return status;
    if (!v.out.given)
        return rz_cli_status(rz_fail(err, RZ_ECONFIG, "imatrix", "needs -o OUT (see rz imatrix --help)"));
    int32_t code = work(self, &c, &v, flags, err);
    rz_cli_close(&c.m);
    rz_map_free(&c.names);
    rz_arena_free(&c.arena);
    free(c.entries);
    free(c.ids);
    return code ? rz_cli_status(code) : 0;
}
