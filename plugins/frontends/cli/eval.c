/* eval.c - `rz eval`: raw token ids in, raw logits or hidden states out.
 *
 * The output file appears under its name only when every row was written.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct eval_values {
    struct rz_cli_value model, tokens, logits, rows, chunk, beside, fork, hidden, context;
};

#define AT(field) offsetof(struct eval_values, field)
#define INT_MAX_D 2147483647.0

static const struct rz_cli_option options[] = {
    {.name = "model", .letter = 'm', .type = OPT_TEXT, .at = AT(model)},
    {.name = "tokens", .type = OPT_TEXT, .at = AT(tokens)},
    {.name = "logits", .type = OPT_TEXT, .at = AT(logits)},
    {.name = "rows", .type = OPT_TEXT, .at = AT(rows)},
    {.name = "chunk", .type = OPT_INT, .min = 1, .max = INT_MAX_D, .at = AT(chunk)},
    {.name = "beside", .type = OPT_INT, .min = 0, .max = 1023, .at = AT(beside)},
    {.name = "fork", .type = OPT_INT, .min = 1, .max = INT_MAX_D, .at = AT(fork)},
    {.name = "hidden", .type = OPT_FLAG, .at = AT(hidden)},
    {.name = "context", .letter = 'c', .type = OPT_INT, .min = 1, .max = INT_MAX_D, .at = AT(context)},
    {.name = NULL},
};

/* Where the rows go. */
struct rows {
    struct rz_cli_file file;
    uint64_t n_rows, n_values;
    struct rz_err *err;
};

static int32_t take_row(void *arg, uint64_t index, const float *values, uint64_t n)
{
    struct rows *r = arg;
    (void)index;
    if (r->n_rows && n != r->n_values)
        return rz_fail(r->err, RZ_EINTERNAL, "eval", "rows of different lengths");
    r->n_rows++;
    r->n_values = n;
    return rz_cli_file_write(&r->file, values, n * sizeof(*values), r->err);
}

/* The file of ids is read twice: its length gives the context before the model is opened. */
static int32_t count_ids(const char *path, uint32_t *n, struct rz_err *err)
{
    struct rz_buf b;
    rz_buf_init(&b, RZ_CLI_INPUT_MAX + (1 << 16));
    int32_t code = rz_cli_read(path, &b, err);
    if (!code && (b.len < 4 || b.len % 4))
        code = rz_fail(err, RZ_EFORMAT, path, "%zu bytes are not a list of 32-bit ids", b.len);
    *n = (uint32_t)(b.len / 4);
    rz_buf_free(&b);
    return code;
}

static int32_t evaluate(const struct rz_cli_model *m, const struct eval_values *v, const int32_t *ids,
                        uint64_t n_ids, struct rows *rows, struct rz_err *err)
{
    struct rz_eval e = {.size = sizeof(e), .tokens = ids, .n_tokens = n_ids, .row = take_row, .arg = rows};
    e.chunk = v->chunk.given ? (uint32_t)v->chunk.i : 0;
    e.beside = v->beside.given ? (uint32_t)v->beside.i : 0;
    e.fork = v->fork.given ? (uint32_t)v->fork.i : 0;
    e.hidden = v->hidden.given;
    e.last = v->rows.given && !strcmp(v->rows.text, "last");
    rows->err = err;
    int32_t code = rz_cli_file_open(&rows->file, v->logits.text, err);
    if (code)
        return code;
    code = m->api->eval(m->model, &e, err);
    uint64_t want = e.last ? 1 : n_ids;
    if (!code && rows->n_rows != want)
        code = rz_fail(err, RZ_EINTERNAL, "eval", "%llu rows came, %llu were asked for",
                       (unsigned long long)rows->n_rows, (unsigned long long)want);
    if (!code)
        code = rz_cli_file_commit(&rows->file, err);
    rz_cli_file_discard(&rows->file);
    return code;
}

static int32_t work(const struct rz_cli *cli, const struct eval_values *v, bool json, struct rz_err *err)
{
    struct rz_model_options mo = {.size = sizeof(mo), .level = RZ_MODEL_RUN, .exact_context = 1};
    struct rz_cli_model m = {0};
    struct rows rows = {0};
    int32_t *ids = NULL;
    uint64_t n_ids = 0;
    int32_t code = count_ids(v->tokens.text, &mo.context, err);
    if (code)
        return code;
    if (v->context.given)
        mo.context = (uint32_t)v->context.i;
    mo.max_seqs = 1 + (v->beside.given ? (uint32_t)v->beside.i : 0) + v->fork.given;
    code = rz_cli_open(cli, v->model.text, &mo, &m, err);
    if (!code)
        code = rz_cli_read_ids(&m, v->tokens.text, &ids, &n_ids, err);
    if (!code)
        code = evaluate(&m, v, ids, n_ids, &rows, err);
    if (!code && json)
        code = rz_cli_json(json_pack("{s:I,s:I,s:s}", "rows", (json_int_t)rows.n_rows, "values",
                                     (json_int_t)rows.n_values, "file", v->logits.text),
                           err);
    free(ids);
    rz_cli_close(&m);
    return code;
}

int32_t rz_cli_eval(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err)
{
    struct eval_values v = {0};
    int status = rz_cli_parse(options, argc, argv, &v, NULL, err);
    if (status)
        return status;
    int32_t code = RZ_OK;
    if (!v.tokens.given || !v.logits.given)
        code = rz_fail(err, RZ_ECONFIG, "eval", "needs --tokens FILE.i32 and --logits OUT.f32");
    else if (!strcmp(v.tokens.text, "-"))
        code = rz_fail(err, RZ_ECONFIG, "eval", "--tokens: needs a file, not standard input");
    else if (v.rows.given && strcmp(v.rows.text, "last") && strcmp(v.rows.text, "all"))
        code = rz_fail(err, RZ_ECONFIG, "eval", "--rows %.60s: not last or all", v.rows.text);
    else
        code = work(self, &v, flags & RZ_COMMAND_JSON, err);
    return code ? rz_cli_status(code) : 0;
}
