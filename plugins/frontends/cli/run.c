/* run.c - `rz run`: one prompt in, its answer out as it comes.
 *
 * Standard output gets the answer and nothing else (with --json: a line a token, then one object); what is
 * said about it, and the model's reasoning, goes to standard error. The prompt is one message of a
 * conversation, in the model's chat template; with --raw, or where there is no template, it is taken as it
 * is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "generate.h"

struct run_values {
    struct rz_cli_value model, prompt, file, logprobs, raw, timings, system, session;
    struct rz_gen_values gen;
};

#define AT(field) offsetof(struct run_values, field)

static const struct rz_cli_option options[] = {
    {.name = "model", .letter = 'm', .type = OPT_TEXT, .at = AT(model)},
    {.name = "prompt", .letter = 'p', .type = OPT_TEXT, .at = AT(prompt)},
    {.name = "file", .letter = 'f', .type = OPT_TEXT, .at = AT(file)},
    RZ_GEN_OPTIONS(struct run_values),
    {.name = "logprobs", .type = OPT_INT, .min = 0, .max = RZ_LOGPROBS_MAX, .at = AT(logprobs)},
    {.name = "raw", .type = OPT_FLAG, .at = AT(raw)},
    {.name = "timings", .type = OPT_FLAG, .at = AT(timings)},
    {.name = "system", .type = OPT_TEXT, .at = AT(system)},
    {.name = "session", .type = OPT_TEXT, .at = AT(session)},
    {.name = NULL},
};

/* A run from its options to its last event. */
struct run {
    struct rz_gen g;
    uint32_t flags; /* RZ_COMMAND_* */
    bool show_logprobs;
    struct rz_chat *chat; /* NULL: the prompt is taken as it is */
    int32_t *ids;
    struct rz_buf piece;           /* what the last event brought of the answer */
    struct rz_buf text, reasoning; /* --json only: all of it */
    struct rz_buf session;         /* with --session: the token ids of the answer */
    json_t *tokens;
    char last; /* last byte written */
};

/* --- the prompt --- */

static json_t *conversation(const struct rz_buf *text, const struct run_values *v)
{
    json_t *messages = json_array();
    if (v->system.given)
        json_array_append_new(messages, json_pack("{s:s,s:o}", "role", "system", "content",
                                                  rz_cli_json_text(v->system.text, strlen(v->system.text))));
    json_array_append_new(messages, json_pack("{s:s,s:o}", "role", "user", "content",
                                              rz_cli_json_text(text->data ? text->data : "", text->len)));
    return json_pack("{s:o}", "messages", messages);
}

/* RZ_ENOTFOUND: no template, and nothing asks for one. */
static int32_t chat_prompt(struct run *r, const struct run_values *v, const struct rz_buf *text,
                           struct rz_err *err)
{
    struct rz_chat_info info;
    int32_t code = rz_gen_chat(&r->g, conversation(text, v), &r->chat, &info, err);
    if (code)
        return code;
    r->g.request.flags |= info.request_flags;
    r->g.request.prompt = info.ids;
    r->g.request.n_prompt = (uint32_t)info.n_ids;
    return RZ_OK;
}

static int32_t raw_prompt(struct run *r, const struct run_values *v, const struct rz_buf *text,
                          struct rz_err *err)
{
    uint64_t n = 0;
    uint32_t flags = (r->g.m.vocab.add_bos ? RZ_ENCODE_BOS : 0) | (v->raw.given ? RZ_ENCODE_SPECIAL : 0);
    int32_t code = rz_cli_encode(&r->g.m, text->data, text->len, flags, &r->ids, &n, err);
    if (code)
        return code;
    if (!n)
        return rz_fail(err, RZ_EINVAL, "run", "the prompt is empty (and the model has no BOS token)");
    if (n > UINT32_MAX)
        return rz_fail(err, RZ_ELIMIT, "run", "the prompt has %llu tokens", (unsigned long long)n);
    r->g.request.prompt = r->ids;
    r->g.request.n_prompt = (uint32_t)n;
    return RZ_OK;
}

static int32_t read_prompt(struct run *r, const struct run_values *v, struct rz_err *err)
{
    struct rz_buf text;
    struct rz_err none = RZ_ERR_INIT;
    int32_t code = rz_cli_text("run", &v->prompt, &v->file, &text, err);
    if (!code && v->raw.given) {
        code = raw_prompt(r, v, &text, err);
    } else if (!code) {
        code = chat_prompt(r, v, &text, &none);
        if (code == RZ_ENOTFOUND && !v->system.given) {
            if (!(r->flags & RZ_COMMAND_QUIET))
                fprintf(stderr, "rz: no chat template for this model: the prompt is taken as it is\n");
            code = raw_prompt(r, v, &text, err);
        } else if (code == RZ_ENOTFOUND) {
            code = rz_fail(err, RZ_ECONFIG, "run", "--system: %s", none.message);
        } else if (code) {
            *err = none;
        }
    }
    rz_buf_free(&text);
    return code;
}

/* --- the answer --- */

static json_t *top_json(const struct rz_event *ev)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < ev->n_top; i++)
        json_array_append_new(list, json_pack("{s:i,s:f}", "token", (int)ev->top[i].token, "logprob",
                                              (double)ev->top[i].logprob));
    return list;
}

static void print_piece(const struct run *r, int32_t id, float logprob)
{
    char piece[256], shown[128];
    int64_t n = r->g.m.tokenizer->piece(r->g.m.tok, id, piece, sizeof(piece));
    n = n < 0 || n > (int64_t)sizeof(piece) ? 0 : n;
    fprintf(stderr, "  %d %s %.4f", id, rz_show(shown, sizeof(shown), piece, (size_t)n), (double)logprob);
}

static void print_logprobs(const struct run *r, const struct rz_event *ev)
{
    fprintf(stderr, "rz: token");
    print_piece(r, ev->token, ev->logprob);
    if (ev->n_top)
        fprintf(stderr, "  of");
    for (uint32_t i = 0; i < ev->n_top; i++)
        print_piece(r, ev->top[i].token, ev->top[i].logprob);
    fprintf(stderr, "\n");
}

static void take_piece(void *arg, const struct rz_chat_piece *piece)
{
    struct run *r = arg;
    if (piece->kind == RZ_CHAT_CONTENT)
        rz_buf_add(&r->piece, piece->text.data, piece->text.len);
    else if (r->flags & RZ_COMMAND_JSON)
        rz_buf_add(&r->reasoning, piece->text.data, piece->text.len);
    else if (!(r->flags & RZ_COMMAND_QUIET))
        fprintf(stderr, "%.*s", (int)piece->text.len, piece->text.data);
}

/* What an event adds to the answer, in r->piece. */
static int32_t read_text(struct run *r, const struct rz_event *ev, struct rz_err *err)
{
    rz_buf_clear(&r->piece);
    int32_t code = RZ_OK;
    if (!r->chat)
        rz_buf_add(&r->piece, ev->text, ev->n_text);
    else
        code = r->g.chats->feed(r->chat, ev->text, ev->n_text, take_piece, r, err);
    return code || rz_buf_ok(&r->piece) ? code : rz_fail(err, RZ_ENOMEM, "run", "no memory for the answer");
}

static int32_t show_line(struct run *r, const struct rz_event *ev, struct rz_err *err)
{
    json_t *line = json_object();
    rz_buf_add(&r->text, r->piece.data, r->piece.len);
    if (ev->token >= 0) {
        json_object_set_new(line, "token", json_integer(ev->token));
        json_array_append_new(r->tokens, json_integer(ev->token));
    }
    json_object_set_new(line, "text", rz_cli_json_text(r->piece.data ? r->piece.data : "", r->piece.len));
    if (r->show_logprobs && ev->token >= 0) {
        json_object_set_new(line, "logprob", json_real((double)ev->logprob));
        json_object_set_new(line, "top", top_json(ev));
    }
    return rz_cli_json(line, err);
}

static int32_t show_piece(struct run *r, struct rz_err *err)
{
    if (!r->piece.len)
        return RZ_OK;
    r->last = r->piece.data[r->piece.len - 1];
    return rz_cli_write(r->piece.data, r->piece.len, err);
}

/* Shows one token: its text, or with --json its line. */
static int32_t show_token(void *arg, const struct rz_event *ev, struct rz_err *err)
{
    struct run *r = arg;
    int32_t code = read_text(r, ev, err);
    if (ev->token >= 0)
        rz_buf_add(&r->session, (const char *)&ev->token, sizeof(ev->token));
    if (code)
        return code;
    if (r->flags & RZ_COMMAND_JSON)
        return show_line(r, ev, err);
    if (r->show_logprobs && ev->token >= 0)
        print_logprobs(r, ev);
    return show_piece(r, err);
}

/* What the parser held back. */
static int32_t show_rest(struct run *r, struct rz_err *err)
{
    rz_buf_clear(&r->piece);
    int32_t code = r->chat ? r->g.chats->finish(r->chat, take_piece, r, err) : RZ_OK;
    if (code || !r->piece.len)
        return code;
    const struct rz_event none = {.token = -1};
    return r->flags & RZ_COMMAND_JSON ? show_line(r, &none, err) : show_piece(r, err);
}

static double rate(double n, double seconds)
{
    return seconds > 0 && n > 0 ? n / seconds : 0;
}

/* The first new token comes out of the prompt's last step, the others are decoded. */
static double decode_rate(const struct rz_event *done)
{
    return rate((double)done->n_new - 1, done->t_gen);
}

static void print_timings(const struct run *r)
{
    const struct rz_event *d = &r->g.done;
    fprintf(stderr, "rz: prompt %u tokens, %.1f tokens/s", d->n_prompt, rate(d->n_prompt, d->t_prompt));
    if (d->n_cached)
        fprintf(stderr, " (%u of them were there)", d->n_cached);
    fprintf(stderr, "\n");
    fprintf(stderr, "rz: new    %u tokens, %.1f tokens/s\n", d->n_new, decode_rate(d));
    if (d->n_drafted)
        fprintf(stderr, "rz: ahead  %u tokens guessed, %u right\n", d->n_drafted, d->n_accepted);
    fprintf(stderr, "rz: load %.3f s, first token after %.3f s, seed %llu\n", r->g.m.info.load_seconds,
            r->g.t_first ? r->g.t_first - r->g.t_submit : 0, (unsigned long long)r->g.request.sampling.seed);
}

static const char *finish_name(uint32_t finish)
{
    static const char *const name[] = {"none", "stop", "length", "cancelled", "error", "timeout"};
    return finish < sizeof(name) / sizeof(name[0]) ? name[finish] : "unknown";
}

static int32_t print_result(struct run *r, struct rz_err *err)
{
    const struct rz_event *d = &r->g.done;
    if (!rz_buf_ok(&r->text) || !rz_buf_ok(&r->reasoning))
        return rz_fail(err, RZ_ENOMEM, "run", "no memory for the whole text");
    json_t *prompt = json_array(), *o = json_object(), *t;
    for (uint32_t i = 0; i < r->g.request.n_prompt; i++)
        json_array_append_new(prompt, json_integer(r->g.request.prompt[i]));
    t = json_pack("{s:f,s:f,s:f,s:f,s:f,s:f}", "load_s", r->g.m.info.load_seconds, "prompt_s", d->t_prompt,
                  "prompt_tokens_per_s", rate(d->n_prompt, d->t_prompt), "new_s", d->t_gen,
                  "new_tokens_per_s", decode_rate(d), "first_token_s",
                  r->g.t_first ? r->g.t_first - r->g.t_submit : 0);
    json_object_set_new(o, "finish", json_string(finish_name(d->finish)));
    json_object_set_new(o, "text", rz_cli_json_text(r->text.data ? r->text.data : "", r->text.len));
    if (r->reasoning.len)
        json_object_set_new(o, "reasoning", rz_cli_json_text(r->reasoning.data, r->reasoning.len));
    json_object_set_new(o, "prompt_tokens", json_integer(d->n_prompt));
    json_object_set_new(o, "cached_tokens", json_integer(d->n_cached));
    json_object_set_new(o, "new_tokens", json_integer(d->n_new));
    json_object_set_new(o, "drafted_tokens", json_integer(d->n_drafted));
    json_object_set_new(o, "accepted_tokens", json_integer(d->n_accepted));
    json_object_set_new(o, "seed",
                        r->g.request.sampling.seed <= INT64_MAX
                            ? json_integer((json_int_t)r->g.request.sampling.seed)
                            : json_sprintf("%llu", (unsigned long long)r->g.request.sampling.seed));
    json_object_set_new(o, "prompt", prompt);
    json_object_set(o, "tokens", r->tokens);
    json_object_set_new(o, "timings", t);
    return rz_cli_json(o, err);
}

static int32_t finish(struct run *r, const struct run_values *v, struct rz_err *err)
{
    int32_t code = RZ_OK;
    if (r->flags & RZ_COMMAND_JSON)
        code = print_result(r, err);
    else if (isatty(1) && r->last != '\n')
        code = rz_cli_write("\n", 1, err);
    if (v->timings.given)
        print_timings(r);
    if (!code && r->g.done.finish == RZ_FINISH_ERROR)
        code = rz_fail(err, RZ_EDEVICE, "run", "the engine gave up after %u tokens", r->g.done.n_new);
    return code;
}

static int32_t start(const struct rz_cli *cli, struct run *r, const struct run_values *v, struct rz_err *err)
{
    int32_t code = rz_gen_open(cli, "run", v->model.text, &v->gen, &r->g, err);
    if (!code)
        code = read_prompt(r, v, err);
    if (code)
        return code;
    r->g.request.n_logprobs = v->logprobs.given ? (uint32_t)v->logprobs.i : 0;
    r->show_logprobs = r->g.request.n_logprobs > 0;
    r->tokens = json_array();
    if (v->session.given && (code = rz_gen_restore(&r->g, v->session.text, err)))
        return code;
    code = rz_gen_stream(&r->g, show_token, r, NULL, err);
    return code ? code : show_rest(r, err);
}

int32_t rz_cli_run(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err)
{
    struct run_values v = {0};
    struct run r = {.flags = flags};
    int status = rz_cli_parse(options, argc, argv, &v, NULL, err);
    if (status)
        return status;
    if (v.system.given && v.raw.given) {
        rz_fail(err, RZ_ECONFIG, "run",
                "--system: has no place in a --raw prompt (write it into the prompt)");
        return 2;
    }
    rz_buf_init(&r.piece, RZ_CLI_INPUT_MAX);
    rz_buf_init(&r.text, RZ_CLI_INPUT_MAX);
    rz_buf_init(&r.reasoning, RZ_CLI_INPUT_MAX);
    rz_buf_init(&r.session, RZ_CLI_INPUT_MAX);
    int32_t code = start(self, &r, &v, err);
    if (!code)
        code = finish(&r, &v, err);
    if (!code && v.session.given)
        code = rz_gen_save(&r.g, v.session.text, &r.session, flags, err);
    if (r.chat)
        r.g.chats->close(r.chat);
    rz_gen_close(&r.g);
    json_decref(r.tokens);
    rz_buf_free(&r.piece);
    rz_buf_free(&r.text);
    rz_buf_free(&r.reasoning);
    rz_buf_free(&r.session);
    free(r.ids);
    if (code)
        return rz_cli_status(code);
    return r.g.done.finish == RZ_FINISH_CANCELLED ? 130 : 0;
}
