/* template.c - `rz template`: the prompt that a chat template makes of a conversation.
 *
 * With a model it is the prompt that run, chat and the server use; a template alone is rendered as Python's
 * jinja2 does it.
 */
#include <stdlib.h>
#include <string.h>

#include <rz/chat.h>

#include "cli.h"

struct template_values {
    struct rz_cli_value model, file, templ, ids;
};

#define AT(field) offsetof(struct template_values, field)

static const struct rz_cli_option options[] = {
    {.name = "model", .letter = 'm', .type = OPT_TEXT, .at = AT(model)},
    {.name = "file", .letter = 'f', .type = OPT_TEXT, .at = AT(file)},
    {.name = "template", .type = OPT_TEXT, .at = AT(templ)},
    {.name = "ids", .type = OPT_FLAG, .at = AT(ids)},
    {.name = NULL},
};

static void collect(void *arg, const char *text, uint64_t n)
{
    rz_buf_add(arg, text, n);
}

/* The template's text, NUL-terminated; *text NULL: the model's own. */
static int32_t read_template(const struct template_values *v, struct rz_buf *b, const char **text,
                             struct rz_err *err)
{
    *text = NULL;
    if (!v->templ.given)
        return RZ_OK;
    int32_t code = rz_cli_read(v->templ.text, b, err);
    if (!code && b->data && memchr(b->data, 0, b->len))
        code = rz_fail(err, RZ_EFORMAT, v->templ.text, "a zero byte: no template");
    *text = b->data ? b->data : "";
    return code;
}

static int32_t open_model(const struct rz_cli *cli, const struct template_values *v, struct rz_cli_model *m,
                          struct rz_err *err)
{
    struct rz_model_options mo = {.size = sizeof(mo), .level = RZ_MODEL_TOKENIZER};
    if (v->model.given || !v->templ.given)
        return rz_cli_open(cli, v->model.text, &mo, m, err);
    m->api = cli->host->query(cli->host->ctx, RZ_HOST_MODEL_1, 0);
    return m->api ? RZ_OK : rz_fail(err, RZ_EUNSUPPORTED, RZ_HOST_MODEL_1, "the host does not offer it");
}

static int32_t render(struct rz_cli_model *m, const char *text, const struct rz_buf *json, struct rz_buf *out,
                      struct rz_err *err)
{
    if (!RZ_HAS(m->api, render))
        return rz_fail(err, RZ_EUNSUPPORTED, "template", "the host has no templates");
    int32_t code = m->api->render(m->model, text, json->data ? json->data : "", json->len, collect, out, err);
    return code || rz_buf_ok(out) ? code : rz_fail(err, RZ_ENOMEM, "template", "no memory for the prompt");
}

static json_t *ids_json(const struct rz_chat_info *info)
{
    json_t *list = json_array();
    for (uint64_t i = 0; i < info->n_ids; i++)
        json_array_append_new(list, json_integer(info->ids[i]));
    return list;
}

static int32_t show_json(const struct rz_chat_info *info, struct rz_err *err)
{
    json_t *outside = json_array();
    for (uint64_t i = 0; i < info->n_outside; i++)
        json_array_append_new(outside, json_pack("[I,I]", (json_int_t)info->outside[i].begin,
                                                 (json_int_t)info->outside[i].end));
    return rz_cli_json(json_pack("{s:o,s:o,s:o,s:s,s:s,s:b,s:b}", "prompt",
                                 rz_cli_json_text(info->text, info->n_text), "ids", ids_json(info), "outside",
                                 outside, "template", info->source, "format", info->format, "reasoning",
                                 (int)info->reasoning, "tools", (int)info->tools),
                       err);
}

static int32_t show_ids(const struct rz_chat_info *info, struct rz_err *err)
{
    int32_t code = RZ_OK;
    for (uint64_t i = 0; i < info->n_ids && !code; i++)
        code = rz_cli_print(err, i ? " %d" : "%d", info->ids[i]);
    return code ? code : rz_cli_write("\n", 1, err);
}

/* With a model. */
static int32_t show_chat(const struct rz_cli *cli, struct rz_cli_model *m, const struct template_values *v,
                         const char *text, const struct rz_buf *json, uint32_t flags, struct rz_err *err)
{
    const struct rz_chat_api *chats = cli->host->query(cli->host->ctx, RZ_CHAT_1, 0);
    struct rz_chat_ask ask = {.size = sizeof(ask), .json = json->data ? json->data : "", .n = json->len};
    struct rz_chat_info info = {.size = sizeof(info)};
    struct rz_chat *chat = NULL;
    if (!chats)
        return rz_fail(err, RZ_EUNSUPPORTED, RZ_CHAT_1, "the host does not offer it");
    ask.templ = text;
    int32_t code = chats->open(chats->ctx, m->model, &ask, &chat, err);
    if (code)
        return code;
    code = chats->info(chat, &info);
    if (!code && flags & RZ_COMMAND_JSON)
        code = show_json(&info, err);
    else if (!code)
        code = v->ids.given ? show_ids(&info, err) : rz_cli_write(info.text, info.n_text, err);
    chats->close(chat);
    return code;
}

/* A template alone. */
static int32_t show_text(struct rz_cli_model *m, const char *text, const struct rz_buf *json, uint32_t flags,
                         struct rz_err *err)
{
    struct rz_buf out;
    rz_buf_init(&out, RZ_CLI_INPUT_MAX);
    int32_t code = render(m, text, json, &out, err);
    const char *prompt = out.data ? out.data : "";
    if (!code && flags & RZ_COMMAND_JSON)
        code = rz_cli_json(json_pack("{s:o}", "prompt", rz_cli_json_text(prompt, out.len)), err);
    else if (!code)
        code = rz_cli_write(prompt, out.len, err);
    rz_buf_free(&out);
    return code;
}

static int32_t work(const struct rz_cli *cli, const struct template_values *v, uint32_t flags,
                    struct rz_err *err)
{
    struct rz_cli_model m = {0};
    struct rz_cli_value none = {0};
    struct rz_buf templ, json;
    const char *text = NULL;
    rz_buf_init(&templ, RZ_CLI_INPUT_MAX);
    int32_t code = rz_cli_text("template", &none, &v->file, &json, err);
    if (!code && v->ids.given && !v->model.given && v->templ.given)
        code = rz_fail(err, RZ_ECONFIG, "template", "--ids: needs the vocabulary of a model (-m)");
    if (!code)
        code = read_template(v, &templ, &text, err);
    if (!code)
        code = open_model(cli, v, &m, err);
    if (!code)
        code =
            m.model ? show_chat(cli, &m, v, text, &json, flags, err) : show_text(&m, text, &json, flags, err);
    rz_cli_close(&m);
    rz_buf_free(&templ);
    rz_buf_free(&json);
    return code;
}

int32_t rz_cli_template(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err)
{
    struct template_values v = {0};
    int status = rz_cli_parse(options, argc, argv, &v, NULL, err);
    if (status)
        return status;
    int32_t code = work(self, &v, flags, err);
    return code ? rz_cli_status(code) : 0;
}
