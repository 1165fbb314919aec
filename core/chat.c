/* chat.c - rz.chat/1: a conversation to the ids of a prompt, and the parser of its answer.
 *
 * What the conversation says is marked on its way through the template, and the tokenizer names no control
 * token there: only the template's own words can.
 */
#include "chat.h"

#include "err.h"
#include "parse.h"

#include <stdlib.h>
#include <string.h>

#define PROMPT_MAX ((size_t)1 << 30)

struct rz_chat {
    struct rz_buf text, marks; /* marks: struct rz_span */
    int32_t *ids;
    uint64_t n_ids;
    struct rz_parse_kind kind;
    struct rz_parser *parser;
    const struct rz_model *model;
    struct rz_buf grammar; /* of the last demand */
    const char *source;
    bool tools, plain_tools; /* shown to the model; told in messages because the template knows none */
};

/* A template and where it came from. */
struct chosen {
    const char *text, *source;
    char *copy; /* of the model's own, NUL-terminated */
};

static int32_t choose(const struct rz_model *model, const struct rz_chat_ask *ask, struct chosen *c,
                      struct rz_err *err)
{
    struct rz_str own;
    *c = (struct chosen){.text = ask->templ, .source = "caller"};
    if (c->text)
        return RZ_OK;
    c->text = model->chat_template;
    c->source = "configuration";
    if (c->text)
        return RZ_OK;
    int32_t code = rz_meta_str(model->tables, "tokenizer.chat_template", &own, err);
    if (code && code != RZ_ENOTFOUND)
        return code;
    if (!code) {
        if (memchr(own.data, 0, own.len))
            return rz_fail(err, RZ_EFORMAT, "tokenizer.chat_template", "holds a zero byte");
        c->text = c->copy = strndup(own.data, own.len);
        c->source = "model";
        return c->text ? RZ_OK : rz_fail(err, RZ_ENOMEM, "template", "no memory");
    }
    c->text = rz_chat_default(model, &c->source);
    if (c->text)
        return RZ_OK;
    return rz_fail(
        err, RZ_ENOTFOUND, model->path,
        "the model has no chat template, and its vocabulary none of the tokens of a known one: use "
        "--raw with the whole prompt, or give a template (-o model.chat_template=@file:PATH)");
}

/* Renders one form; tools: with them, else as if there were none. */
static int32_t render_form(const struct rz_model *model, const char *templ, const json_t *root, unsigned form,
                           bool tools, struct rz_buf *text, struct rz_buf *marks, struct rz_err *err)
{
    json_t *shaped = rz_chat_form(root, form, strstr(templ, "developer") != NULL);
    if (!shaped)
        return RZ_ENOTFOUND;
    if (!tools && json_is_object(shaped))
        json_object_del(shaped, "tools");
    char *json = json_dumps(shaped, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(shaped);
    rz_buf_clear(text);
    rz_buf_clear(marks);
    int32_t code = json ? rz_model_prompt(model, templ, json, strlen(json), text, marks, err)
                        : rz_fail(err, RZ_ENOMEM, "template", "no memory for the conversation");
    free(json);
    return code;
}

/* Tries the forms until the template takes one; what it said of the first is the error. */
static int32_t render(struct rz_chat *chat, const struct rz_model *model, const char *templ,
                      const json_t *root, unsigned *form, struct rz_err *err)
{
    int32_t first = RZ_OK;
    for (*form = 0; *form < RZ_CHAT_FORMS; ++*form) {
        struct rz_err later = RZ_ERR_INIT;
        int32_t code =
            render_form(model, templ, root, *form, true, &chat->text, &chat->marks, *form ? &later : err);
        if (!code || (!*form && code != RZ_EFORMAT))
            return code;
        if (!*form)
            first = code;
    }
    return first;
}

/* A template shows the tools if it says something else without them. */
static bool shows_tools(const struct rz_chat *chat, const struct rz_model *model, const char *templ,
                        const json_t *root, unsigned form)
{
    struct rz_buf text, marks;
    struct rz_err err = RZ_ERR_INIT;
    if (!json_is_object(root) || !json_array_size(json_object_get(root, "tools")))
        return false;
    rz_buf_init(&text, PROMPT_MAX);
    rz_buf_init(&marks, PROMPT_MAX);
    bool same = !render_form(model, templ, root, form, false, &text, &marks, &err) &&
                text.len == chat->text.len && (!text.len || !memcmp(text.data, chat->text.data, text.len));
    rz_buf_free(&text);
    rz_buf_free(&marks);
    return !same;
}

/* Tells the tools in messages. They are not shown then either if the template shows no messages. */
static int32_t tell_tools(struct rz_chat *chat, const struct rz_model *model, const char *templ,
                          const json_t *root, struct rz_err *err)
{
    struct rz_chat again = {.text.max = chat->text.max, .marks.max = chat->marks.max};
    unsigned form;
    json_t *told = rz_chat_plain_tools(root);
    if (!told)
        return rz_fail(err, RZ_ENOMEM, "template", "no memory for the tools");
    int32_t code = render(&again, model, templ, told, &form, err);
    json_decref(told);
    bool same = !code && again.text.len == chat->text.len &&
                (!again.text.len || !memcmp(again.text.data, chat->text.data, again.text.len));
    if (!code && !same) {
        struct rz_buf text = chat->text, marks = chat->marks;
        chat->text = again.text;
        chat->marks = again.marks;
        again.text = text;
        again.marks = marks;
        chat->tools = chat->plain_tools = true;
    }
    rz_buf_free(&again.text);
    rz_buf_free(&again.marks);
    return code;
}

/* True if the template itself begins with the BOS token. */
static bool has_bos(const struct rz_chat *chat, const struct rz_model *model, int32_t bos)
{
    char piece[64];
    const struct rz_span *first = (const void *)chat->marks.data;
    int64_t n = bos < 0 ? -1 : model->tokenizer->piece(model->tok, bos, piece, sizeof(piece));
    if (n <= 0 || n > (int64_t)sizeof(piece) || (size_t)n > chat->text.len)
        return false;
    return !memcmp(chat->text.data, piece, (size_t)n) && (!chat->marks.len || first->begin >= (uint64_t)n);
}

static int32_t encode(struct rz_chat *chat, const struct rz_model *model, struct rz_err *err)
{
    struct rz_tokenizer_info info = {.size = sizeof(info)};
    struct rz_marked_text in = {.size = sizeof(in),
                                .flags = RZ_ENCODE_SPECIAL,
                                .text = chat->text.data ? chat->text.data : "",
                                .n = chat->text.len,
                                .plain = (const void *)chat->marks.data,
                                .n_plain = chat->marks.len / sizeof(struct rz_span)};
    if (!RZ_HAS(model->tokenizer, encode_marked) || !model->tokenizer->encode_marked)
        return rz_fail(err, RZ_EUNSUPPORTED, model->path,
                       "its tokenizer plugin cannot tell a conversation from a template: use --raw");
    int32_t code = model->tokenizer->info(model->tok, &info);
    if (code)
        return rz_fail(err, code, model->path, "the tokenizer does not describe itself");
    if (info.add_bos && !has_bos(chat, model, info.bos))
        in.flags |= RZ_ENCODE_BOS;
    uint64_t cap = chat->text.len / 2 + 16;
    for (int tries = 0; tries < 2; tries++) {
        free(chat->ids);
        chat->ids = calloc(cap, sizeof(*chat->ids));
        if (!chat->ids)
            return rz_fail(err, RZ_ENOMEM, "tokenizer", "no memory for %llu ids", (unsigned long long)cap);
        code = model->tokenizer->encode_marked(model->tok, &in, chat->ids, cap, &chat->n_ids, err);
        if (code || chat->n_ids <= cap)
            return code;
        cap = chat->n_ids;
    }
    return rz_fail(err, RZ_EINTERNAL, "tokenizer", "asks for more ids each time");
}

static int32_t make_parser(struct rz_chat *chat, const struct rz_chat_ask *ask, const char *templ,
                           const json_t *root, struct rz_err *err)
{
    const struct rz_span *spans = (const void *)chat->marks.data;
    size_t n = chat->marks.len / sizeof(*spans), last = n ? (size_t)spans[n - 1].end : 0;
    const char *text = chat->text.data ? chat->text.data : "";
    bool wanted = !(ask->flags & RZ_CHAT_NO_TOOLS) && json_is_object(root);
    const json_t *tools = wanted ? json_object_get(root, "tools") : NULL;
    char *list = json_array_size(tools) ? json_dumps(tools, JSON_COMPACT) : NULL;
    chat->kind = rz_parse_detect(templ, strlen(templ), text, chat->text.len, chat->text.len - last);
    if (chat->plain_tools)
        chat->kind.format = rz_parse_format(RZ_CHAT_PLAIN_FORMAT);
    chat->parser = rz_parser_new(&chat->kind, list, list ? strlen(list) : 0);
    free(list);
    return chat->parser ? RZ_OK : rz_fail(err, RZ_ENOMEM, "answer", "no memory for its parser");
}

static int32_t chat_fill(struct rz_chat *chat, struct rz_model *model, const struct rz_chat_ask *ask,
                         const json_t *root, struct rz_err *err)
{
    struct chosen c;
    unsigned form;
    int32_t code = rz_chat_check(root, err);
    if (code)
        return code;
    code = choose(model, ask, &c, err);
    if (!code)
        code = render(chat, model, c.text, root, &form, err);
    if (!code) {
        chat->source = c.source;
        chat->tools = shows_tools(chat, model, c.text, root, form);
        if (!chat->tools && json_is_object(root) && json_array_size(json_object_get(root, "tools")))
            code = tell_tools(chat, model, c.text, root, err);
    }
    if (!code)
        code = encode(chat, model, err);
    if (!code)
        code = make_parser(chat, ask, c.text, root, err);
    free(c.copy);
    return code;
}

static void chat_close(struct rz_chat *chat)
{
    if (!chat)
        return;
    rz_buf_free(&chat->text);
    rz_buf_free(&chat->marks);
    rz_buf_free(&chat->grammar);
    rz_parser_free(chat->parser);
    free(chat->ids);
    free(chat);
}

static int32_t chat_open(void *ctx, struct rz_model *model, const struct rz_chat_ask *ask,
                         struct rz_chat **out, struct rz_err *err)
{
    struct rz_err own = RZ_ERR_INIT;
    json_error_t why;
    char where[48], shown[160];
    (void)ctx;
    err = err ? err : &own;
    if (!model->tok)
        return rz_fail(err, RZ_EINVAL, model->path, "was opened without its tokenizer");
    json_t *root = json_loadb(ask->json, ask->n, JSON_ALLOW_NUL, &why);
    if (!root) {
        snprintf(where, sizeof(where), "json:%d", why.line);
        return rz_fail(err, RZ_EFORMAT, where, "column %d: %s", why.column,
                       rz_show(shown, sizeof(shown), why.text, strlen(why.text)));
    }
    struct rz_chat *chat = calloc(1, sizeof(*chat));
    int32_t code = chat ? RZ_OK : rz_fail(err, RZ_ENOMEM, "chat", "no memory");
    if (chat) {
        rz_buf_init(&chat->text, PROMPT_MAX);
        rz_buf_init(&chat->marks, PROMPT_MAX);
        rz_buf_init(&chat->grammar, PROMPT_MAX);
        chat->model = model;
        code = chat_fill(chat, model, ask, root, err);
    }
    json_decref(root);
    if (code)
        chat_close(chat);
    else
        *out = chat;
    return code;
}

static int32_t chat_info(struct rz_chat *chat, struct rz_chat_info *out)
{
    bool plain = !strcmp(chat->kind.format->name, "none") && !chat->kind.think_open;
    struct rz_chat_info info = {.size = out->size,
                                .request_flags = plain ? 0 : RZ_REQUEST_SPECIAL_TEXT,
                                .text = chat->text.data ? chat->text.data : "",
                                .n_text = chat->text.len,
                                .outside = (const void *)chat->marks.data,
                                .n_outside = chat->marks.len / sizeof(struct rz_span),
                                .ids = chat->ids,
                                .n_ids = chat->n_ids,
                                .source = chat->source,
                                .format = chat->kind.format->name,
                                .reasoning = chat->kind.thinking,
                                .tools = chat->tools};
    memcpy(out, &info, out->size < sizeof(info) ? out->size : sizeof(info));
    return RZ_OK;
}

static int32_t chat_feed(struct rz_chat *chat, const char *text, uint64_t n, rz_chat_emit *emit, void *arg,
                         struct rz_err *err)
{
    return rz_parser_feed(chat->parser, text, n, emit, arg, err);
}

static int32_t chat_finish(struct rz_chat *chat, rz_chat_emit *emit, void *arg, struct rz_err *err)
{
    return rz_parser_finish(chat->parser, emit, arg, err);
}

static uint32_t chat_state(struct rz_chat *chat)
{
    return rz_parser_state(chat->parser);
}

static int32_t chat_constrain(struct rz_chat *chat, const struct rz_chat_demand *demand, uint32_t *kind,
                              struct rz_str *grammar, struct rz_err *err)
{
    if (!demand || demand->size < sizeof(*demand))
        return rz_fail(err, RZ_EINVAL, "demand", "size %u, need %zu", demand ? demand->size : 0,
                       sizeof(*demand));
    rz_buf_clear(&chat->grammar);
    int32_t rc =
        rz_chat_demand_write(chat->model, &chat->kind, chat->plain_tools, demand, kind, &chat->grammar, err);
    *grammar = (struct rz_str){chat->grammar.data ? chat->grammar.data : "", chat->grammar.len};
    return rc;
}

static const struct rz_chat_api table = {.size = sizeof(table),
                                         .open = chat_open,
                                         .close = chat_close,
                                         .info = chat_info,
                                         .feed = chat_feed,
                                         .finish = chat_finish,
                                         .state = chat_state,
                                         .constrain = chat_constrain};

const struct rz_chat_api *rz_chat_table(void)
{
    return &table;
}
