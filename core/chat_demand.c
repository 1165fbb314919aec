/* chat_demand.c - what an answer must be, as a grammar in the form in which the model writes.
 *
 * The grammar is GBNF with %json for schemas. Reasoning that the prompt has opened goes on up to its closing
 * mark; marks that are control tokens are asked for as tokens, all others as text. A model that was not asked
 * to reason does not begin to. Where calls may come but need not, any text may stand before the first one.
 */
#define _GNU_SOURCE /* memmem */
#include "chat.h"

#include "err.h"
#include "parse.h"

#include <stdlib.h>
#include <string.h>

/* Calls of formats whose bodies are JSON: open, open_name NAME after_name, arguments, close. */
static const struct form {
    const char *format, *open, *open_name, *after_name, *close;
    const char *between;         /* two calls; NULL: this form has one only      */
    const char *first, *bracket; /* before all calls, where a list of them is opened */
} forms[] = {
    {"hermes", "<tool_call>", "\n{\"name\": \"", "\", \"arguments\": ", "}\n</tool_call>", "\n", "", ""},
    {"llama3", "", "{\"name\": \"", "\", \"parameters\": ", "}", NULL, "", ""},
    {"mistral", "", "{\"name\": \"", "\", \"arguments\": ", "}", ", ", "[TOOL_CALLS]", "["},
    {"granite", "", "{\"name\": \"", "\", \"arguments\": ", "}", ", ", "<|tool_call|>", "["},
    {"apriel", "", "{\"name\": \"", "\", \"arguments\": ", "}", ", ", "<tool_calls>", "["},
    {"functionary-tags", "<function=", "", ">", "</function>", "", "", ""},
};

/* A GBNF literal of these bytes. */
static void literal(struct rz_buf *out, const char *text, size_t n)
{
    rz_buf_str(out, "\"");
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n')
            rz_buf_str(out, "\\n");
        else if (text[i] == '"' || text[i] == '\\')
            rz_buf_printf(out, "\\%c", text[i]);
        else if ((unsigned char)text[i] < 0x20)
            rz_buf_printf(out, "\\x%02x", (unsigned)text[i]);
        else
            rz_buf_add(out, text + i, 1);
    }
    rz_buf_str(out, "\" ");
}

/* A literal whose parts that are control tokens of the vocabulary are asked for as these. */
static void marked(const struct rz_model *model, struct rz_buf *out, const char *text)
{
    size_t n = strlen(text);
    int32_t *ids = calloc(n + 8, sizeof(*ids));
    uint64_t count = 0;
    char piece[256];
    if (!n || !ids || !model->tokenizer ||
        model->tokenizer->encode(model->tok, text, n, RZ_ENCODE_SPECIAL, ids, n + 8, &count, NULL) ||
        count > n + 8)
        count = 0;
    for (uint64_t i = 0; i < count && n; i++) {
        int64_t size = model->tokenizer->piece(model->tok, ids[i], piece, sizeof(piece));
        if (model->tokenizer->kind(model->tok, ids[i]) != RZ_TOKEN_CONTROL || size <= 0 ||
            size > (int64_t)sizeof(piece))
            continue;
        char *at = memmem(text, n, piece, (size_t)size);
        if (!at)
            continue;
        if (at > text)
            literal(out, text, (size_t)(at - text));
        rz_buf_printf(out, "<[%d]> ", ids[i]);
        n -= (size_t)(at - text) + (size_t)size;
        text = at + size;
    }
    if (n)
        literal(out, text, n);
    free(ids);
}

/* What the arguments of a function must be: where a call is demanded always its parameters, else only where
 * it is strict. */
static char *schema_of(const struct rz_chat_demand *demand, const json_t *function)
{
    const json_t *schema = json_object_get(function, "parameters");
    bool strict = demand->flags & RZ_CHAT_DEMAND_CALL || json_is_true(json_object_get(function, "strict"));
    if (!strict)
        return strdup("{\"type\":\"object\"}");
    if (!json_is_object(schema))
        return strdup("{\"type\":\"object\",\"properties\":{}}");
    return json_dumps(schema, JSON_COMPACT | JSON_REAL_PRECISION(17));
}

/* One rule for the call of each function: call0, call1, ... Returns how many, negative: an error. */
static int32_t write_calls(const struct rz_model *model, const struct form *form,
                           const struct rz_chat_demand *demand, struct rz_buf *out, struct rz_err *err)
{
    json_error_t why;
    json_t *tools = json_loadb(demand->tools.data, demand->tools.len, 0, &why);
    int32_t n = 0;
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *f = json_object_get(json_array_get(tools, i), "function");
        const char *name = json_string_value(json_object_get(f, "name"));
        if (!name || (demand->name.len && (strlen(name) != demand->name.len ||
                                           memcmp(name, demand->name.data, demand->name.len))))
            continue;
        char *text = schema_of(demand, f);
        json_t *quoted = json_string(name);
        char *spelled = json_dumps(quoted, JSON_ENCODE_ANY);
        rz_buf_printf(out, "call%d ::= ", n++);
        marked(model, out, form->open);
        literal(out, form->open_name, strlen(form->open_name));
        if (spelled)
            literal(out, spelled + 1, strlen(spelled) - 2);
        literal(out, form->after_name, strlen(form->after_name));
        rz_buf_printf(out, "%%json %s ", text ? text : "false");
        marked(model, out, form->close);
        rz_buf_str(out, "\n");
        json_decref(quoted);
        free(spelled);
        free(text);
    }
    json_decref(tools);
    return n ? n : rz_fail(err, RZ_EINVAL, "tool_choice", "no tool has this name");
}

static int32_t write_tools(const struct rz_model *model, const char *format,
                           const struct rz_chat_demand *demand, struct rz_buf *out, struct rz_err *err)
{
    const struct form *form = forms, *end = forms + sizeof(forms) / sizeof(forms[0]);
    bool one = demand->flags & RZ_CHAT_DEMAND_ONE_CALL || demand->name.len;
    while (form < end && strcmp(form->format, format))
        form++;
    const char *mark = form == end ? "" : *form->first ? form->first : form->open;
    if (form == end || (!*mark && !(demand->flags & RZ_CHAT_DEMAND_CALL)))
        return rz_fail(err, RZ_EUNSUPPORTED, "tool_choice",
                       "calls in this model's form (%s) cannot be demanded", format);
    int32_t n = write_calls(model, form, demand, out, err);
    if (n < 0)
        return n;
    rz_buf_str(out, "call ::= ");
    for (int32_t i = 0; i < n; i++)
        rz_buf_printf(out, "%scall%d", i ? " | " : "", i);
    rz_buf_str(out, "\nanswer ::= ");
    if (!(demand->flags & RZ_CHAT_DEMAND_CALL)) {
        rz_buf_str(out, "%without ");
        literal(out, mark, strlen(mark));
        rz_buf_str(out, "calls?\ncalls ::= ");
    }
    marked(model, out, form->first);
    literal(out, form->bracket, strlen(form->bracket));
    rz_buf_str(out, "call ");
    if (!one && form->between) {
        rz_buf_str(out, "( ");
        literal(out, form->between, strlen(form->between));
        rz_buf_str(out, "call )* ");
    }
    literal(out, *form->bracket ? "]" : "", *form->bracket ? 1 : 0);
    if (!strcmp(form->format, "apriel"))
        literal(out, "</tool_calls>", 13);
    rz_buf_str(out, "\n");
    return RZ_OK;
}

int32_t rz_chat_demand_write(const struct rz_model *model, const struct rz_parse_kind *kind, bool plain_tools,
                             const struct rz_chat_demand *demand, uint32_t *grammar_kind, struct rz_buf *out,
                             struct rz_err *err)
{
    bool call = demand->flags & (RZ_CHAT_DEMAND_CALL | RZ_CHAT_DEMAND_STRICT),
         wrapped = call || kind->thinking;
    const struct rz_str *text = demand->schema.len    ? &demand->schema
                                : demand->grammar.len ? &demand->grammar
                                                      : &demand->regex;
    int32_t rc = RZ_OK;
    *grammar_kind = RZ_GRAMMAR_GBNF;
    if (!wrapped) {
        *grammar_kind = demand->schema.len    ? RZ_GRAMMAR_JSON_SCHEMA
                        : demand->grammar.len ? RZ_GRAMMAR_GBNF
                        : demand->regex.len   ? RZ_GRAMMAR_REGEX
                                              : RZ_GRAMMAR_JSON;
        rz_buf_add(out, text->data, text->len);
        return rz_buf_ok(out) ? RZ_OK : rz_fail(err, RZ_ENOMEM, "grammar", "no memory");
    }
    if (!call && (demand->grammar.len || demand->regex.len))
        return rz_fail(err, RZ_EUNSUPPORTED, "grammar",
                       "the answer begins with reasoning: only schemas can follow it");
    rz_buf_str(out, "root ::= ");
    if (kind->thinking) {
        /* The closing mark comes as text or as the token that it is spelled like. */
        rz_buf_str(out, "%until ");
        literal(out, kind->think_close, strlen(kind->think_close));
        rz_buf_str(out, "[ \\n\\r\\t]* ");
    }
    rz_buf_str(out, "answer\n");
    if (call)
        rc = write_tools(model, plain_tools ? RZ_CHAT_PLAIN_FORMAT : kind->format->name, demand, out, err);
    else if (demand->schema.len)
        rz_buf_printf(out, "answer ::= %%json %.*s\n", (int)demand->schema.len, demand->schema.data);
    else
        rz_buf_str(out, "answer ::= %json {\"type\":\"object\"}\n");
    if (!rc && !rz_buf_ok(out))
        rc = rz_fail(err, RZ_ENOMEM, "grammar", "no memory");
    return rc;
}
