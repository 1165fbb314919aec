/* template.c - a conversation as JSON to the prompt of a model: the context that chat templates expect.
 *
 * Owns what is around the template engine: the variables, the special tokens of the vocabulary, the clock
 * and the limits. The engine itself (core/engine/jinja.h) knows none of these.
 */
#include "err.h"
#include "jinja.h"
#include "models.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PIECE_MAX 256
#define STEPS_BYTE 16 /* granted for each byte of the conversation */
#define MEMORY_MIN ((uint64_t)256 << 20)
#define OUTPUT_MIN ((uint64_t)64 << 20)

struct setting {
    struct rz_arena arena;
    struct rz_jdict *context;
    struct rz_template_limits limits;
    struct rz_err *err;
};

static int32_t no_memory(struct setting *s)
{
    return rz_fail(s->err, RZ_ENOMEM, "template", "no memory for the conversation");
}

static bool put(struct setting *s, const char *name, struct rz_jvalue v)
{
    struct rz_jvalue key;
    return rz_jvalue_text(&s->arena, name, strlen(name), &key) && rz_jdict_put(&s->arena, s->context, key, v);
}

/* The spelling of a token under a name, if there is such a token. */
static bool put_token(struct setting *s, const struct rz_model *model, const char *name, int32_t id)
{
    char piece[PIECE_MAX];
    struct rz_jvalue v;
    int64_t n = id < 0 ? -1 : model->tokenizer->piece(model->tok, id, piece, sizeof(piece));
    if (n < 0 || n > PIECE_MAX)
        return true;
    return rz_jvalue_text(&s->arena, piece, (size_t)n, &v) && put(s, name, v);
}

static int32_t put_vocabulary(struct setting *s, const struct rz_model *model)
{
    struct rz_tokenizer_info info = {.size = sizeof(info)};
    if (!model || !model->tok || model->tokenizer->info(model->tok, &info))
        return RZ_OK;
    bool ok = put_token(s, model, "bos_token", info.bos) && put_token(s, model, "eos_token", info.eos) &&
              put_token(s, model, "unk_token", info.unk) && put_token(s, model, "pad_token", info.pad);
    return ok ? RZ_OK : no_memory(s);
}

static void read_clock(struct setting *s)
{
    const struct rz_jvalue *given = rz_jdict_text(s->context, "now", 3);
    time_t now = time(NULL);
    struct tm tm;
    s->limits.now = now + (localtime_r(&now, &tm) ? tm.tm_gmtoff : 0);
    if (given && given->type == RZ_J_INT)
        s->limits.now = given->u.i;
}

static int32_t copy_into(struct setting *s, const struct rz_jvalue *from)
{
    for (size_t i = 0; i < rz_jdict_count(from->u.dict); i++) {
        struct rz_jvalue key, value;
        rz_jdict_at(from->u.dict, i, &key, &value);
        if (!rz_jdict_put(&s->arena, s->context, key, value))
            return no_memory(s);
    }
    return RZ_OK;
}

/* The roles that templates write between the brackets of a control token (<|{{ role }}|>): these words, and
 * no others, count as the template's own. */
static int32_t trust_roles(struct setting *s, const struct rz_jvalue *messages)
{
    static const char *const roles[] = {"system", "developer", "user",      "assistant", "tool", "function",
                                        "model",  "ipython",   "tool_call", "context",   NULL};
    for (size_t i = 0; i < rz_jvalue_count(*messages); i++) {
        struct rz_jvalue m = rz_jvalue_at(*messages, i), own;
        const struct rz_jvalue *role = m.type == RZ_J_DICT ? rz_jdict_text(m.u.dict, "role", 4) : NULL;
        for (const char *const *r = roles; role && *r; r++) {
            if (!rz_jvalue_is(*role, *r))
                continue;
            if (!rz_jvalue_text(&s->arena, *r, strlen(*r), &own))
                return no_memory(s);
            *(struct rz_jvalue *)role = own; /* the conversation is ours, and nobody has seen it yet */
        }
    }
    return RZ_OK;
}

/* The variables: what is always there, then the vocabulary's, then what the caller gives. */
static int32_t make_context(struct setting *s, const struct rz_model *model, const char *json, uint64_t n)
{
    struct rz_jvalue given, none = {.type = RZ_J_NONE};
    int32_t code = rz_jvalue_json(&s->arena, json, n, &given, s->err);
    if (code)
        return code;
    s->context = rz_jdict_new(&s->arena, 16);
    if (!s->context || !put(s, "tools", none) || !put(s, "documents", none) ||
        !put(s, "add_generation_prompt", rz_jvalue_bool(true)))
        return no_memory(s);
    code = put_vocabulary(s, model);
    if (code)
        return code;
    if (rz_jvalue_is_list(given))
        return put(s, "messages", given) ? trust_roles(s, &given) : no_memory(s);
    const struct rz_jvalue *messages =
        given.type == RZ_J_DICT ? rz_jdict_text(given.u.dict, "messages", 8) : NULL;
    if (!messages || !rz_jvalue_is_list(*messages))
        return rz_fail(s->err, RZ_EFORMAT, "json", "neither a list of messages nor an object with one");
    const struct rz_jvalue *more = rz_jdict_text(given.u.dict, "chat_template_kwargs", 20);
    if (more && more->type != RZ_J_DICT && more->type != RZ_J_NONE)
        return rz_fail(s->err, RZ_EFORMAT, "json", "chat_template_kwargs is not an object");
    code = trust_roles(s, messages);
    if (!code)
        code = copy_into(s, &given);
    return code || !more || more->type != RZ_J_DICT ? code : copy_into(s, more);
}

static int32_t find_template(const struct rz_model *model, const char *given, struct rz_str *out,
                             struct rz_err *err)
{
    if (given) {
        *out = (struct rz_str){given, strlen(given)};
        return RZ_OK;
    }
    if (!model)
        return rz_fail(err, RZ_EINVAL, "template", "neither a model nor a template");
    if (model->chat_template) {
        *out = (struct rz_str){model->chat_template, strlen(model->chat_template)};
        return RZ_OK;
    }
    int32_t code = rz_meta_str(model->tables, "tokenizer.chat_template", out, err);
    if (code == RZ_ENOTFOUND)
        rz_fail(err, code, model->path, "the model has no chat template: give one (--template FILE)");
    return code;
}

int32_t rz_model_prompt(const struct rz_model *model, const char *templ, const char *json, uint64_t n,
                        struct rz_buf *text, struct rz_buf *marks, struct rz_err *err)
{
    struct rz_err own = RZ_ERR_INIT;
    struct setting s = {.err = err ? err : &own};
    struct rz_template *t = NULL;
    struct rz_str source;
    s.limits = (struct rz_template_limits){.max_steps = 500000 + n * STEPS_BYTE,
                                           .max_memory = MEMORY_MIN + n * 16,
                                           .max_output = OUTPUT_MIN + n * 4};
    rz_arena_init(&s.arena, 0);
    int32_t code = find_template(model, templ, &source, s.err);
    if (!code)
        code = make_context(&s, model, json, n);
    if (!code)
        code = rz_template_parse(source.data, source.len, &t, s.err);
    if (!code) {
        struct rz_jvalue context = rz_jvalue_dict(s.context);
        read_clock(&s);
        code = rz_template_render(t, &context, &s.limits, text, marks, s.err);
    }
    rz_template_free(t);
    rz_arena_free(&s.arena);
    return code;
}

int32_t rz_model_render(struct rz_model *model, const char *templ, const char *json, uint64_t n,
                        void (*emit)(void *arg, const char *text, uint64_t n), void *arg, struct rz_err *err)
{
    struct rz_buf out;
    rz_buf_init(&out, OUTPUT_MIN + n * 4);
    int32_t code = rz_model_prompt(model, templ, json, n, &out, NULL, err);
    if (!code && out.len)
        emit(arg, out.data, out.len);
    rz_buf_free(&out);
    return code;
}
