/* tokens.c - `rz tokenize` and `rz detokenize`: texts to ids and back, one text or one a line.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct token_values {
    struct rz_cli_value model, prompt, file, pieces, lines, no_special, bos, eos;
};

#define AT(field) offsetof(struct token_values, field)

static const struct rz_cli_option tokenize_options[] = {
    {.name = "model", .letter = 'm', .type = OPT_TEXT, .at = AT(model)},
    {.name = "prompt", .letter = 'p', .type = OPT_TEXT, .at = AT(prompt)},
    {.name = "file", .letter = 'f', .type = OPT_TEXT, .at = AT(file)},
    {.name = "pieces", .type = OPT_FLAG, .at = AT(pieces)},
    {.name = "lines", .type = OPT_FLAG, .at = AT(lines)},
    {.name = "no-special", .type = OPT_FLAG, .at = AT(no_special)},
    {.name = "bos", .type = OPT_FLAG, .at = AT(bos)},
    {.name = "eos", .type = OPT_FLAG, .at = AT(eos)},
    {.name = NULL},
};

static const struct rz_cli_option detokenize_options[] = {
    {.name = "model", .letter = 'm', .type = OPT_TEXT, .at = AT(model)},
    {.name = "prompt", .letter = 'p', .type = OPT_TEXT, .at = AT(prompt)},
    {.name = "file", .letter = 'f', .type = OPT_TEXT, .at = AT(file)},
    {.name = "lines", .type = OPT_FLAG, .at = AT(lines)},
    {.name = "no-special", .type = OPT_FLAG, .at = AT(no_special)},
    {.name = NULL},
};

/* A command while it works on one text after the other. */
struct job {
    struct rz_cli_model m;
    const struct token_values *v;
    const char *command;
    bool json;
    uint64_t line; /* 1.. with --lines; 0: the whole input */
};

typedef int32_t job_text(struct job *job, const char *text, size_t n, struct rz_err *err);

static int32_t job_fail(const struct job *job, struct rz_err *err, int32_t code, const char *what)
{
    if (job->line)
        return rz_fail(err, code, job->command, "line %llu: %s", (unsigned long long)job->line, what);
    return rz_fail(err, code, job->command, "%s", what);
}

static int32_t print_ids_json(const struct job *job, const int32_t *ids, uint64_t n, struct rz_err *err)
{
    json_t *o = json_object(), *list = json_array(), *pieces = json_array();
    for (uint64_t i = 0; i < n; i++) {
        json_array_append_new(list, json_integer(ids[i]));
        if (job->v->pieces.given)
            json_array_append_new(pieces, rz_cli_json_piece(&job->m, ids[i]));
    }
    json_object_set_new(o, "ids", list);
    if (job->v->pieces.given)
        json_object_set(o, "pieces", pieces);
    json_decref(pieces);
    return rz_cli_json(o, err);
}

static int32_t print_pieces(const struct job *job, const int32_t *ids, uint64_t n, struct rz_err *err)
{
    int32_t code = RZ_OK;
    for (uint64_t i = 0; i < n && !code; i++) {
        code = rz_cli_print(err, "%d\t", ids[i]);
        if (!code)
            code = rz_cli_json(rz_cli_json_piece(&job->m, ids[i]), err);
    }
    return code ? code : job->line ? rz_cli_print(err, "\n") : RZ_OK;
}

static int32_t print_ids(const int32_t *ids, uint64_t n, struct rz_err *err)
{
    int32_t code = RZ_OK;
    for (uint64_t i = 0; i < n && !code; i++)
        code = rz_cli_print(err, i ? " %d" : "%d", ids[i]);
    return code ? code : rz_cli_print(err, "\n");
}

static int32_t tokenize_text(struct job *job, const char *text, size_t n, struct rz_err *err)
{
    const struct token_values *v = job->v;
    uint32_t flags = (v->no_special.given ? 0 : RZ_ENCODE_SPECIAL) | (v->bos.given ? RZ_ENCODE_BOS : 0) |
                     (v->eos.given ? RZ_ENCODE_EOS : 0);
    int32_t *ids;
    uint64_t n_ids;
    int32_t code = rz_cli_encode(&job->m, text, n, flags, &ids, &n_ids, err);
    if (!code && job->json)
        code = print_ids_json(job, ids, n_ids, err);
    else if (!code && v->pieces.given)
        code = print_pieces(job, ids, n_ids, err);
    else if (!code)
        code = print_ids(ids, n_ids, err);
    free(ids);
    return code;
}

static int32_t tokenize_line(struct job *job, const char *line, size_t n, struct rz_err *err)
{
    json_error_t why;
    json_t *text = json_loadb(line, n, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &why);
    int32_t code;
    if (json_is_string(text))
        code = tokenize_text(job, json_string_value(text), json_string_length(text), err);
    else
        code = job_fail(job, err, RZ_EFORMAT, "not a JSON string");
    json_decref(text);
    return code;
}

/* Appends the text of one id to out. */
static int32_t decode_one(struct job *job, struct rz_decode_state *state, int64_t id, struct rz_buf *out,
                          struct rz_err *err)
{
    const struct rz_cli_model *m = &job->m;
    uint32_t flags = job->v->no_special.given ? 0 : RZ_DECODE_SPECIAL;
    if (id < 0 || id >= (int64_t)m->vocab.n_vocab) {
        char what[80];
        snprintf(what, sizeof(what), "id %lld: the vocabulary has %u", (long long)id, m->vocab.n_vocab);
        return job_fail(job, err, RZ_EFORMAT, what);
    }
    char small[256];
    int64_t n = m->tokenizer->decode(m->tok, state, (int32_t)id, flags, small, sizeof(small));
    if (n >= 0 && n <= (int64_t)sizeof(small)) {
        rz_buf_add(out, small, (size_t)n);
    } else if (n > 0) {
        char *at = rz_buf_reserve(out, (size_t)n);
        if (at && m->tokenizer->decode(m->tok, state, (int32_t)id, flags, at, (uint64_t)n) == n)
            out->len += (size_t)n;
    }
    if (n < 0 || !rz_buf_ok(out))
        return job_fail(job, err, n < 0 ? (int32_t)n : RZ_ENOMEM, "the ids cannot be decoded");
    return RZ_OK;
}

static int32_t detokenize_text(struct job *job, const char *text, size_t n, struct rz_err *err)
{
    static const char spaces[] = " ,\t\r\n[]";
    struct rz_decode_state state = {.size = sizeof(state)};
    struct rz_buf out;
    int32_t code = RZ_OK;
    rz_buf_init(&out, RZ_CLI_INPUT_MAX);
    for (size_t at = 0; at < n && !code;) {
        char word[24] = "", shown[40];
        size_t len = 0;
        int64_t id;
        while (at + len < n && !memchr(spaces, text[at + len], sizeof(spaces) - 1))
            len++;
        memcpy(word, text + at, len < sizeof(word) - 1 ? len : sizeof(word) - 1);
        if (len && (len >= sizeof(word) || strlen(word) != len || !rz_cli_int(word, &id)))
            code = rz_fail(err, RZ_EFORMAT, job->command, "%s: not a token id",
                           rz_show(shown, sizeof(shown), text + at, len));
        else if (len)
            code = decode_one(job, &state, id, &out, err);
        at += len + 1;
    }
    const char *bytes = out.data ? out.data : "";
    if (!code && job->json)
        code = rz_cli_json(json_pack("{s:o}", "text", rz_cli_json_text(bytes, out.len)), err);
    else if (!code && job->line)
        code = rz_cli_json(rz_cli_json_text(bytes, out.len), err);
    else if (!code)
        code = rz_cli_write(bytes, out.len, err);
    rz_buf_free(&out);
    return code;
}

/* The whole input to `text`, or each of its lines to `line`. */
static int32_t each_text(struct job *job, struct rz_buf *in, job_text *text, job_text *line,
                         struct rz_err *err)
{
    const char *at = in->data ? in->data : "", *end = at + in->len;
    int32_t code = RZ_OK;
    if (!job->v->lines.given)
        return text(job, at, in->len, err);
    while (at < end && !code) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        job->line++;
        code = line(job, at, (size_t)(stop - at), err);
        at = stop + 1;
    }
    return code;
}

static int32_t work(void *self, const char *command, const struct token_values *v, uint32_t flags,
                    job_text *text, job_text *line, struct rz_err *err)
{
    struct job job = {.v = v, .command = command, .json = flags & RZ_COMMAND_JSON};
    struct rz_model_options mo = {.size = sizeof(mo), .level = RZ_MODEL_TOKENIZER};
    struct rz_buf in;
    int32_t code = rz_cli_text(command, &v->prompt, &v->file, &in, err);
    if (!code)
        code = rz_cli_open(self, v->model.text, &mo, &job.m, err);
    if (!code)
        code = each_text(&job, &in, text, line, err);
    if (!code)
        code = rz_cli_write("", 0, err);
    rz_cli_close(&job.m);
    rz_buf_free(&in);
    return code ? rz_cli_status(code) : 0;
}

int32_t rz_cli_tokenize(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err)
{
    struct token_values v = {0};
    int status = rz_cli_parse(tokenize_options, argc, argv, &v, NULL, err);
    return status ? status : work(self, "tokenize", &v, flags, tokenize_text, tokenize_line, err);
}

int32_t rz_cli_detokenize(void *self, uint32_t flags, int32_t argc, const char *const *argv,
                          struct rz_err *err)
{
    struct token_values v = {0};
    int status = rz_cli_parse(detokenize_options, argc, argv, &v, NULL, err);
    return status ? status : work(self, "detokenize", &v, flags, detokenize_text, detokenize_text, err);
}
