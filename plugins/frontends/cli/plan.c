/* plan.c - `rz plan MODEL --explain`: the plan report of a model, line by line.
 */
#include <string.h>

#include "cli.h"

struct plan_values {
    struct rz_cli_value model, context, explain;
};

#define AT(field) offsetof(struct plan_values, field)

static const struct rz_cli_option options[] = {
    {.name = "model", .letter = 'm', .type = OPT_TEXT, .at = AT(model)},
    {.name = "context", .letter = 'c', .type = OPT_INT, .min = 1, .max = 2147483647.0, .at = AT(context)},
    {.name = "explain", .type = OPT_FLAG, .at = AT(explain)},
    {.name = NULL},
};

/* Where the lines go: stdout at once, or an array. */
struct sink {
    json_t *lines;
    int32_t code;
    struct rz_err *err;
};

static void take_line(void *arg, const char *text)
{
    struct sink *s = arg;
    if (s->lines)
        json_array_append_new(s->lines, rz_cli_json_text(text, strlen(text)));
    else if (!s->code)
        s->code = rz_cli_print(s->err, "%s\n", text);
}

static int32_t explain(const struct rz_cli_model *m, bool json, struct rz_err *err)
{
    struct sink s = {.lines = json ? json_array() : NULL, .err = err};
    int32_t code = m->api->explain(m->model, take_line, &s, err);
    if (!code)
        code = s.code;
    if (json && !code)
        return rz_cli_json(json_pack("{s:o}", "plan", s.lines), err);
    json_decref(s.lines);
    return code;
}

int32_t rz_cli_plan(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err)
{
    struct plan_values v = {0};
    struct rz_cli_model m = {0};
    const char *name = NULL;
    int status = rz_cli_parse(options, argc, argv, &v, &name, err);
    if (status)
        return status;
    if (v.model.given && name) {
        rz_fail(err, RZ_ECONFIG, "plan", "%s: the model is already named by -m", name);
        return 2;
    }
    if (!v.explain.given) {
        rz_fail(err, RZ_ECONFIG, "plan", "nothing to do (say --explain)");
        return 2;
    }
    struct rz_model_options mo = {.size = sizeof(mo), .level = RZ_MODEL_RUN};
    mo.context = v.context.given ? (uint32_t)v.context.i : 0;
    mo.exact_context = v.context.given;
    int32_t code = rz_cli_open(self, name ? name : v.model.text, &mo, &m, err);
    if (!code)
        code = explain(&m, flags & RZ_COMMAND_JSON, err);
    rz_cli_close(&m);
    return code ? rz_cli_status(code) : 0;
}
