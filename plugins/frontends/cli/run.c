/* run.c - `rz run`: one prompt in, its continuation out as it comes.
 *
 * Standard output gets the text and nothing else (with --json: a line a token, then one object); what
 * is said about it goes to standard error. The prompt is taken as it is.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

#define POLL_MS 1000
#define SEED_BITS 53 /* so that every JSON reader keeps a drawn seed exactly */

struct run_values {
    struct rz_cli_value model, prompt, file, new_tokens, context, temp, top_k, top_p, min_p, typical_p;
    struct rz_cli_value repeat, presence, frequency, last_n, seed, stop, bias, logprobs;
    struct rz_cli_value ignore_eos, raw, timings, system;
};

#define AT(field) offsetof(struct run_values, field)
#define INT_MAX_D 2147483647.0

static const struct rz_cli_option options[] = {
    {.name = "model", .letter = 'm', .type = OPT_TEXT, .at = AT(model)},
    {.name = "prompt", .letter = 'p', .type = OPT_TEXT, .at = AT(prompt)},
    {.name = "file", .letter = 'f', .type = OPT_TEXT, .at = AT(file)},
    {.name = "new", .letter = 'n', .type = OPT_INT, .min = 1, .max = INT_MAX_D, .at = AT(new_tokens)},
    {.name = "context", .letter = 'c', .type = OPT_INT, .min = 1, .max = INT_MAX_D, .at = AT(context)},
    {.name = "temp", .type = OPT_FLOAT, .min = 0, .max = 100, .at = AT(temp)},
    {.name = "top-k", .type = OPT_INT, .min = 0, .max = INT_MAX_D, .at = AT(top_k)},
    {.name = "top-p", .type = OPT_FLOAT, .min = 0, .max = 1, .at = AT(top_p)},
    {.name = "min-p", .type = OPT_FLOAT, .min = 0, .max = 1, .at = AT(min_p)},
    {.name = "typical-p", .type = OPT_FLOAT, .min = 0, .max = 1, .at = AT(typical_p)},
    {.name = "repeat-penalty", .type = OPT_FLOAT, .min = 0.01, .max = 100, .at = AT(repeat)},
    {.name = "presence-penalty", .type = OPT_FLOAT, .min = -100, .max = 100, .at = AT(presence)},
    {.name = "frequency-penalty", .type = OPT_FLOAT, .min = -100, .max = 100, .at = AT(frequency)},
    {.name = "penalty-last-n", .type = OPT_INT, .min = -1, .max = INT_MAX_D, .at = AT(last_n)},
    {.name = "seed", .type = OPT_U64, .at = AT(seed)},
    {.name = "stop", .type = OPT_LIST, .at = AT(stop)},
    {.name = "logit-bias", .type = OPT_LIST, .at = AT(bias)},
    {.name = "logprobs", .type = OPT_INT, .min = 0, .max = RZ_LOGPROBS_MAX, .at = AT(logprobs)},
    {.name = "ignore-eos", .type = OPT_FLAG, .at = AT(ignore_eos)},
    {.name = "raw", .type = OPT_FLAG, .at = AT(raw)},
    {.name = "timings", .type = OPT_FLAG, .at = AT(timings)},
    {.name = "system", .type = OPT_TEXT, .at = AT(system)},
    {.name = "json-schema", .type = OPT_MISSING},
    {.name = "grammar", .type = OPT_MISSING},
    {.name = NULL},
};

/* A run from its options to its last event. */
struct run {
    struct rz_cli_model m;
    uint32_t flags; /* RZ_COMMAND_* */
    bool show_logprobs;
    struct rz_request request;
    int32_t *prompt;
    struct rz_str stops[RZ_CLI_LIST_MAX];
    struct rz_bias biases[RZ_CLI_LIST_MAX];
    struct rz_buf text; /* --json only: all of it */
    json_t *tokens;
    char last; /* last byte written */
    double t_submit, t_first;
    struct rz_event done;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void set_float(float *to, const struct rz_cli_value *v)
{
    if (v->given)
        *to = (float)v->f;
}

static int32_t read_sampling(struct run *r, const struct run_values *v, struct rz_err *err)
{
    struct rz_sampling *s = &r->request.sampling;
    s->size = sizeof(*s);
    int32_t code = r->m.api->sampling(r->m.model, s);
    if (code)
        return rz_fail(err, code, "run", "the model's default sampling cannot be read");
    set_float(&s->temperature, &v->temp);
    set_float(&s->top_p, &v->top_p);
    set_float(&s->min_p, &v->min_p);
    set_float(&s->typical_p, &v->typical_p);
    set_float(&s->repeat_penalty, &v->repeat);
    set_float(&s->presence_penalty, &v->presence);
    set_float(&s->frequency_penalty, &v->frequency);
    if (v->top_k.given)
        s->top_k = (int32_t)v->top_k.i;
    if (v->last_n.given)
        s->penalty_last_n = (int32_t)v->last_n.i;
    if (v->seed.given) {
        s->seed = v->seed.u;
    } else if (!s->seed) {
        if (getrandom(&s->seed, sizeof(s->seed), 0) != (ssize_t)sizeof(s->seed))
            return rz_fail(err, RZ_EIO, "run", "no random seed: %s (use --seed)", strerror(errno));
        s->seed >>= 64 - SEED_BITS;
    }
    return RZ_OK;
}

/* ID=ADD, where ADD may be -inf. */
static int32_t read_bias(const char *text, uint32_t n_vocab, struct rz_bias *out, struct rz_err *err)
{
    char id_text[16] = "", shown[64];
    size_t n = strcspn(text, "=");
    int64_t id = -1;
    double add = -INFINITY;
    bool ok = n < sizeof(id_text) && text[n] == '=';
    if (ok)
        memcpy(id_text, text, n);
    ok = ok && rz_cli_int(id_text, &id) && id >= 0 && id < (int64_t)n_vocab;
    ok = ok && (!strcmp(text + n + 1, "-inf") || rz_cli_float(text + n + 1, &add));
    if (!ok)
        return rz_fail(err, RZ_ECONFIG, "run", "--logit-bias %s: not ID=ADD with an id below %u",
                       rz_show(shown, sizeof(shown), text, strlen(text)), n_vocab);
    *out = (struct rz_bias){.token = (int32_t)id, .add = (float)add};
    return RZ_OK;
}

static int32_t read_lists(struct run *r, const struct run_values *v, struct rz_err *err)
{
    for (uint32_t i = 0; i < v->stop.n; i++) {
        r->stops[i] = (struct rz_str){v->stop.list[i], strlen(v->stop.list[i])};
        if (!r->stops[i].len)
            return rz_fail(err, RZ_ECONFIG, "run", "--stop: an empty text would stop at once");
    }
    for (uint32_t i = 0; i < v->bias.n; i++) {
        int32_t code = read_bias(v->bias.list[i], r->m.vocab.n_vocab, &r->biases[i], err);
        if (code)
            return code;
    }
    r->request.stops = r->stops;
    r->request.n_stops = v->stop.n;
    r->request.biases = r->biases;
    r->request.n_biases = v->bias.n;
    return RZ_OK;
}

static int32_t read_prompt(struct run *r, const struct run_values *v, struct rz_err *err)
{
    struct rz_buf text;
    uint64_t n = 0;
    uint32_t flags = (r->m.vocab.add_bos ? RZ_ENCODE_BOS : 0) | (v->raw.given ? RZ_ENCODE_SPECIAL : 0);
    int32_t code = rz_cli_text("run", &v->prompt, &v->file, &text, err);
    if (!code)
        code = rz_cli_encode(&r->m, text.data, text.len, flags, &r->prompt, &n, err);
    rz_buf_free(&text);
    if (code)
        return code;
    if (!n)
        return rz_fail(err, RZ_EINVAL, "run", "the prompt is empty (and the model has no BOS token)");
    if (n > UINT32_MAX)
        return rz_fail(err, RZ_ELIMIT, "run", "the prompt has %llu tokens", (unsigned long long)n);
    r->request.prompt = r->prompt;
    r->request.n_prompt = (uint32_t)n;
    return RZ_OK;
}

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
    int64_t n = r->m.tokenizer->piece(r->m.tok, id, piece, sizeof(piece));
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

/* Shows one token: its text, or with --json its line. */
static int32_t show_token(struct run *r, const struct rz_event *ev, struct rz_err *err)
{
    if (!(r->flags & RZ_COMMAND_JSON)) {
        if (r->show_logprobs && ev->token >= 0)
            print_logprobs(r, ev);
        if (ev->n_text)
            r->last = ev->text[ev->n_text - 1];
        return ev->n_text ? rz_cli_write(ev->text, ev->n_text, err) : RZ_OK;
    }
    json_t *line = json_object();
    rz_buf_add(&r->text, ev->text, ev->n_text);
    if (ev->token >= 0) {
        json_object_set_new(line, "token", json_integer(ev->token));
        json_array_append_new(r->tokens, json_integer(ev->token));
    }
    json_object_set_new(line, "text", rz_cli_json_text(ev->text, ev->n_text));
    if (r->show_logprobs && ev->token >= 0) {
        json_object_set_new(line, "logprob", json_real((double)ev->logprob));
        json_object_set_new(line, "top", top_json(ev));
    }
    return rz_cli_json(line, err);
}

static int32_t stream(struct run *r, struct rz_err *err)
{
    const struct rz_engine *e = r->m.api->engine(r->m.model);
    uint64_t ticket = 0;
    if (!e)
        return rz_fail(err, RZ_EINTERNAL, "run", "the model has no engine");
    r->t_submit = now();
    int32_t code = e->submit(e->ctx, &r->request, &ticket, err);
    if (code)
        return code;
    while (!code && !r->done.kind) {
        struct rz_event ev = {.size = sizeof(ev)};
        int32_t got = e->poll(e->ctx, ticket, &ev, POLL_MS);
        if (got == RZ_AGAIN)
            continue;
        if (got != RZ_OK) {
            code = rz_fail(err, got < 0 ? got : RZ_EINTERNAL, "run", "the engine ended without a last event");
        } else if (ev.kind == RZ_EVENT_ERROR) {
            code = rz_fail(err, ev.code < 0 ? ev.code : RZ_EINTERNAL, "run", "%.*s", (int)ev.n_text, ev.text);
        } else {
            if (!r->t_first && ev.kind == RZ_EVENT_TOKEN)
                r->t_first = now();
            if (ev.kind == RZ_EVENT_DONE)
                r->done = ev;
            if (ev.kind == RZ_EVENT_TOKEN || ev.n_text)
                code = show_token(r, &ev, err);
        }
    }
    e->release(e->ctx, ticket);
    return code;
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
    const struct rz_event *d = &r->done;
    fprintf(stderr, "rz: prompt %u tokens, %.1f tokens/s\n", d->n_prompt, rate(d->n_prompt, d->t_prompt));
    fprintf(stderr, "rz: new    %u tokens, %.1f tokens/s\n", d->n_new, decode_rate(d));
    fprintf(stderr, "rz: load %.3f s, first token after %.3f s, seed %llu\n", r->m.info.load_seconds,
            r->t_first ? r->t_first - r->t_submit : 0, (unsigned long long)r->request.sampling.seed);
}

static const char *finish_name(uint32_t finish)
{
    static const char *const name[] = {"none", "stop", "length", "cancelled", "error", "timeout"};
    return finish < sizeof(name) / sizeof(name[0]) ? name[finish] : "unknown";
}

static int32_t print_result(struct run *r, struct rz_err *err)
{
    const struct rz_event *d = &r->done;
    if (!rz_buf_ok(&r->text))
        return rz_fail(err, RZ_ENOMEM, "run", "no memory for the whole text");
    json_t *prompt = json_array(), *o = json_object(), *t;
    for (uint32_t i = 0; i < r->request.n_prompt; i++)
        json_array_append_new(prompt, json_integer(r->prompt[i]));
    t = json_pack("{s:f,s:f,s:f,s:f,s:f,s:f}", "load_s", r->m.info.load_seconds, "prompt_s", d->t_prompt,
                  "prompt_tokens_per_s", rate(d->n_prompt, d->t_prompt), "new_s", d->t_gen,
                  "new_tokens_per_s", decode_rate(d), "first_token_s",
                  r->t_first ? r->t_first - r->t_submit : 0);
    json_object_set_new(o, "finish", json_string(finish_name(d->finish)));
    json_object_set_new(o, "text", rz_cli_json_text(r->text.data ? r->text.data : "", r->text.len));
    json_object_set_new(o, "prompt_tokens", json_integer(d->n_prompt));
    json_object_set_new(o, "new_tokens", json_integer(d->n_new));
    json_object_set_new(o, "seed",
                        r->request.sampling.seed <= INT64_MAX
                            ? json_integer((json_int_t)r->request.sampling.seed)
                            : json_sprintf("%llu", (unsigned long long)r->request.sampling.seed));
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
    if (!code && r->done.finish == RZ_FINISH_ERROR)
        code = rz_fail(err, RZ_EDEVICE, "run", "the engine gave up after %u tokens", r->done.n_new);
    return code;
}

static int32_t start(const struct rz_cli *cli, struct run *r, const struct run_values *v, struct rz_err *err)
{
    struct rz_model_options mo = {.size = sizeof(mo), .level = RZ_MODEL_RUN, .max_seqs = 1};
    mo.context = v->context.given ? (uint32_t)v->context.i : 0;
    mo.exact_context = v->context.given;
    int32_t code = rz_cli_open(cli, v->model.text, &mo, &r->m, err);
    if (!code)
        code = read_sampling(r, v, err);
    if (!code)
        code = read_lists(r, v, err);
    if (!code)
        code = read_prompt(r, v, err);
    if (code)
        return code;
    r->request.size = sizeof(r->request);
    r->request.flags = v->ignore_eos.given ? RZ_REQUEST_IGNORE_EOS : 0;
    r->request.max_new = v->new_tokens.given ? (uint32_t)v->new_tokens.i : 0;
    r->request.n_logprobs = v->logprobs.given ? (uint32_t)v->logprobs.i : 0;
    r->show_logprobs = r->request.n_logprobs > 0;
    r->tokens = json_array();
    rz_buf_init(&r->text, RZ_CLI_INPUT_MAX);
    return stream(r, err);
}

int32_t rz_cli_run(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err)
{
    struct run_values v = {0};
    struct run r = {.flags = flags};
    int status = rz_cli_parse(options, argc, argv, &v, NULL, err);
    if (status)
        return status;
    if (v.system.given) {
        rz_fail(err, RZ_ECONFIG, "run",
                "--system: needs the model's chat template, and this build has no "
                "templates (write the whole prompt and use --raw)");
        return 2;
    }
    int32_t code = start(self, &r, &v, err);
    if (!code)
        code = finish(&r, &v, err);
    rz_cli_close(&r.m);
    json_decref(r.tokens);
    rz_buf_free(&r.text);
    free(r.prompt);
    if (code)
        return rz_cli_status(code);
    return r.done.finish == RZ_FINISH_CANCELLED ? 130 : 0;
}
