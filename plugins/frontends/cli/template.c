/* template.c - `rz template`: the prompt that a chat template makes of a conversation.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct template_values {
    struct rz_cli_value model, file, templ;
};

#define AT(field) offsetof(struct template_values, field)

static const struct rz_cli_option options[] = {
    {.name = "model", .letter = 'm', .type = OPT_TEXT, .at = AT(model)},
    {.name = "file", .letter = 'f', .type = OPT_TEXT, .at = AT(file)},
    {.name = "template", .type = OPT_TEXT, .at = AT(templ)},
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

static int32_t work(const struct rz_cli *cli, const struct template_values *v, uint32_t flags,
                    struct rz_err *err)
{
    struct rz_cli_model m = {0};
    struct rz_cli_value none = {0};
    struct rz_buf templ, json, out;
    const char *text;
    rz_buf_init(&templ, RZ_CLI_INPUT_MAX);
    rz_buf_init(&out, RZ_CLI_INPUT_MAX);
    int32_t code = rz_cli_text("template", &none, &v->file, &json, err);
    if (!code)
        code = read_template(v, &templ, &text, err);
    if (!code)
        code = open_model(cli, v, &m, err);
    if (!code)
        code = render(&m, text, &json, &out, err);
    const char *prompt = out.data ? out.data : "";
    if (!code && flags & RZ_COMMAND_JSON)
        code = rz_cli_json(json_pack("{s:o}", "prompt", rz_cli_json_text(prompt, out.len)), err);
    else if (!code)
        code = rz_cli_write(prompt, out.len, err);
    rz_cli_close(&m);
    rz_buf_free(&templ);
    rz_buf_free(&json);
    rz_buf_free(&out);
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
