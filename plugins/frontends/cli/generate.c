/* generate.c - a request of the command line: its sampling, its stop texts, its events.
 */
#include "generate.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define POLL_MS 1000
#define SEED_BITS 53 /* so that every JSON reader keeps a drawn seed exactly */

static void set_float(float *to, const struct rz_cli_value *v)
{
    if (v->given)
        *to = (float)v->f;
}

static int32_t read_sampling(struct rz_gen *g, const struct rz_gen_values *v, struct rz_err *err)
{
    struct rz_sampling *s = &g->request.sampling;
    s->size = sizeof(*s);
    int32_t code = g->m.api->sampling(g->m.model, s);
    if (code)
        return rz_fail(err, code, g->command, "the model's default sampling cannot be read");
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
            return rz_fail(err, RZ_EIO, g->command, "no random seed: %s (use --seed)", strerror(errno));
        s->seed >>= 64 - SEED_BITS;
    }
    return RZ_OK;
}

/* ID=ADD, where ADD may be -inf. */
static int32_t read_bias(const struct rz_gen *g, const char *text, struct rz_bias *out, struct rz_err *err)
{
    char id_text[16] = "", shown[64];
    size_t n = strcspn(text, "=");
    int64_t id = -1;
    double add = -INFINITY;
    bool ok = n < sizeof(id_text) && text[n] == '=';
    if (ok)
        memcpy(id_text, text, n);
    ok = ok && rz_cli_int(id_text, &id) && id >= 0 && id < (int64_t)g->m.vocab.n_vocab;
    ok = ok && (!strcmp(text + n + 1, "-inf") || rz_cli_float(text + n + 1, &add));
    if (!ok)
        return rz_fail(err, RZ_ECONFIG, g->command, "--logit-bias %s: not ID=ADD with an id below %u",
                       rz_show(shown, sizeof(shown), text, strlen(text)), g->m.vocab.n_vocab);
    *out = (struct rz_bias){.token = (int32_t)id, .add = (float)add};
    return RZ_OK;
}

static int32_t read_lists(struct rz_gen *g, const struct rz_gen_values *v, struct rz_err *err)
{
    for (uint32_t i = 0; i < v->stop.n; i++) {
        g->stops[i] = (struct rz_str){v->stop.list[i], strlen(v->stop.list[i])};
        if (!g->stops[i].len)
            return rz_fail(err, RZ_ECONFIG, g->command, "--stop: an empty text would stop at once");
    }
    for (uint32_t i = 0; i < v->bias.n; i++) {
        int32_t code = read_bias(g, v->bias.list[i], &g->biases[i], err);
        if (code)
            return code;
    }
    g->request.stops = g->stops;
    g->request.n_stops = v->stop.n;
    g->request.biases = g->biases;
    g->request.n_biases = v->bias.n;
    return RZ_OK;
}

/* --grammar FILE, --json-schema FILE or the schema itself, --regex TEXT: at most one. */
static int32_t read_grammar(struct rz_gen *g, const struct rz_gen_values *v, struct rz_err *err)
{
    const struct rz_cli_value *given = v->grammar.given  ? &v->grammar
                                       : v->schema.given ? &v->schema
                                                         : &v->regex;
    int32_t code = RZ_OK;
    if (v->grammar.given + v->schema.given + v->regex.given > 1)
        return rz_fail(err, RZ_ECONFIG, g->command, "--grammar, --json-schema and --regex: only one of them");
    if (!given->given)
        return RZ_OK;
    const char *text = given->text + strspn(given->text, " \n\t");
    bool file = v->grammar.given || (v->schema.given && *text != '{' && strcmp(text, "true"));
    rz_buf_init(&g->grammar, RZ_CLI_INPUT_MAX);
    if (file)
        code = rz_cli_read(given->text, &g->grammar, err);
    else if (!rz_buf_str(&g->grammar, given->text))
        code = rz_fail(err, RZ_ENOMEM, g->command, "no memory for the grammar");
    g->request.grammar_kind = v->grammar.given  ? RZ_GRAMMAR_GBNF
                              : v->schema.given ? RZ_GRAMMAR_JSON_SCHEMA
                                                : RZ_GRAMMAR_REGEX;
    g->request.grammar = (struct rz_str){g->grammar.data ? g->grammar.data : "", g->grammar.len};
    return code;
}

void rz_gen_close(struct rz_gen *g)
{
    rz_buf_free(&g->grammar);
    rz_cli_close(&g->m);
}

int32_t rz_gen_open(const struct rz_cli *cli, const char *command, const char *model,
                    const struct rz_gen_values *v, struct rz_gen *g, struct rz_err *err)
{
    struct rz_model_options mo = {.size = sizeof(mo), .level = RZ_MODEL_RUN, .max_seqs = 1};
    mo.context = v->context.given ? (uint32_t)v->context.i : 0;
    mo.exact_context = v->context.given;
    g->command = command;
    g->chats = cli->host->query(cli->host->ctx, RZ_CHAT_1, 0);
    int32_t code = rz_cli_open(cli, model, &mo, &g->m, err);
    if (!code)
        code = read_sampling(g, v, err);
    if (!code)
        code = read_lists(g, v, err);
    if (!code)
        code = read_grammar(g, v, err);
    g->request.size = sizeof(g->request);
    g->request.flags = v->ignore_eos.given ? RZ_REQUEST_IGNORE_EOS : 0;
    g->request.max_new = v->new_tokens.given ? (uint32_t)v->new_tokens.i : 0;
    return code;
}

/* One event, or none in the time. */
static int32_t take_event(struct rz_gen *g, const struct rz_engine *e, uint64_t ticket,
                          int32_t (*event)(void *arg, const struct rz_event *ev, struct rz_err *err),
                          void *arg, struct rz_err *err)
{
    struct rz_event ev = {.size = sizeof(ev)};
    int32_t got = e->poll(e->ctx, ticket, &ev, POLL_MS);
    if (got == RZ_AGAIN)
        return RZ_OK;
    if (got != RZ_OK)
        return rz_fail(err, got < 0 ? got : RZ_EINTERNAL, g->command,
                       "the engine ended without a last event");
    if (ev.kind == RZ_EVENT_ERROR)
        return rz_fail(err, ev.code < 0 ? ev.code : RZ_EINTERNAL, g->command, "%.*s", (int)ev.n_text,
                       ev.text);
    if (!g->t_first && ev.kind == RZ_EVENT_TOKEN)
        g->t_first = rz_cli_now();
    if (ev.kind == RZ_EVENT_DONE)
        g->done = ev;
    return ev.kind == RZ_EVENT_TOKEN || ev.n_text ? event(arg, &ev, err) : RZ_OK;
}

int32_t rz_gen_stream(struct rz_gen *g,
                      int32_t (*event)(void *arg, const struct rz_event *ev, struct rz_err *err), void *arg,
                      const volatile int *stop, struct rz_err *err)
{
    const struct rz_engine *e = g->m.api->engine(g->m.model);
    uint64_t ticket = 0;
    if (!e)
        return rz_fail(err, RZ_EINTERNAL, g->command, "the model has no engine");
    g->t_submit = rz_cli_now();
    g->t_first = 0;
    g->done = (struct rz_event){0};
    int32_t code = e->submit(e->ctx, &g->request, &ticket, err);
    if (code)
        return code;
    for (bool told = false; !code && !g->done.kind;) {
        code = take_event(g, e, ticket, event, arg, err);
        if (stop && *stop && !told)
            told = !e->cancel(e->ctx, ticket);
    }
    e->release(e->ctx, ticket);
    return code;
}

int32_t rz_gen_chat(const struct rz_gen *g, json_t *conversation, struct rz_chat **out,
                    struct rz_chat_info *info, struct rz_err *err)
{
    char *json = conversation ? json_dumps(conversation, JSON_COMPACT) : NULL;
    struct rz_chat_ask ask = {.size = sizeof(ask), .json = json, .n = json ? strlen(json) : 0};
    json_decref(conversation);
    *out = NULL;
    if (!json)
        return rz_fail(err, RZ_ENOMEM, g->command, "no memory for the conversation");
    int32_t code = g->chats ? g->chats->open(g->chats->ctx, g->m.model, &ask, out, err)
                            : rz_fail(err, RZ_EUNSUPPORTED, RZ_CHAT_1, "the host does not offer it");
    free(json);
    *info = (struct rz_chat_info){.size = sizeof(*info)};
    if (!code)
        code = g->chats->info(*out, info);
    if (!code && (!info->n_ids || info->n_ids > UINT32_MAX))
        code = rz_fail(err, RZ_ELIMIT, g->command, "the prompt has %llu tokens",
                       (unsigned long long)info->n_ids);
    return code;
}
