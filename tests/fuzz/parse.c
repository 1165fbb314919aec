/* parse.c - fuzz target: an answer, read as one of the ways in which models write calls and reasoning.
 *
 * The first byte chooses the way, the second how the answer is cut. Read in one piece and in many it must
 * give the same; arguments are JSON objects, or the beginning of one that was cut; where no calls are known
 * nothing is missing. */
#include "parse.h"
#include "fuzz.h"
#include "parse_call.h"

#include <string.h>

static const struct {
    const char *templ, *prompt;
} ways[] = {
    {"<tool_call><think></think>", ""},
    {"<tool_call>", ""},
    {"<|channel|><|message|>", ""},
    {"<|tool_call><tool_call|><channel|>", ""},
    {"｜DSML｜function_calls</think>", "<think>"},
    {"｜DSML｜", ""},
    {"<｜tool▁calls▁begin｜><think></think>", "<think>\n"},
    {"<|tool_calls_section_begin|>", ""},
    {"[TOOL_CALLS][THINK][/THINK]", ""},
    {"<|START_ACTION|><|END_THINKING|>", ""},
    {"<|tools_prefix|>", ""},
    {"<tool_calls>[BEGIN FINAL RESPONSE]", "Here are my reasoning steps:\n"},
    {"<|tool_call|>", ""},
    {">>>all", ">>>"},
    {"seed:tool_call</seed:think>", ""},
    {"<|tool_list_start|>", ""},
    {"function call<|role_sep|>", ""},
    {"<function=", ""},
    {"<|python_tag|>", ""},
    {"plain", ""},
};

static const char tools[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"get\",\"parameters\":{\"properties\":{\"city\":{"
    "\"type\":\"string\"},\"n\":{\"type\":\"integer\"}}}}},{\"type\":\"function\",\"function\":{\"name\":"
    "\"f\"}}]";

/* All that came out, pieces of a kind joined. */
struct seen {
    struct rz_buf text, arguments; /* the latter of the call that comes */
    uint32_t kind, calls;
    size_t content;
    bool inside; /* of a call */
};

/* Pieces of a call follow each other, and together they are an object, or the beginning of one. */
static void take_call(struct seen *s, const struct rz_chat_piece *piece)
{
    bool begin = piece->flags & RZ_CHAT_BEGIN, end = piece->flags & RZ_CHAT_END;
    if (begin == s->inside || piece->index + 1 != (s->calls += begin) || !piece->name.len)
        __builtin_trap();
    if (begin) {
        rz_buf_printf(&s->text, "\1call %.*s ", (int)piece->name.len, piece->name.data);
        rz_buf_add(&s->text, piece->id.data, piece->id.len);
        rz_buf_clear(&s->arguments);
    }
    rz_buf_add(&s->text, piece->text.data, piece->text.len);
    rz_buf_add(&s->arguments, piece->text.data, piece->text.len);
    s->inside = !end;
    if (!end)
        return;
    struct rz_part arguments = {s->arguments.data, s->arguments.len};
    bool cut = piece->flags & RZ_CHAT_CUT;
    rz_buf_str(&s->text, cut ? "~" : "");
    if (!arguments.n || arguments.p[0] != '{' || rz_json_is(arguments) == cut)
        __builtin_trap();
}

static void take(void *arg, const struct rz_chat_piece *piece)
{
    struct seen *s = arg;
    fuzz_read(piece->text.data, piece->text.len);
    fuzz_read(piece->name.data, piece->name.len);
    fuzz_read(piece->id.data, piece->id.len);
    bool call = piece->kind == RZ_CHAT_CALL;
    if (s->inside && !call)
        __builtin_trap();
    if (call) {
        take_call(s, piece);
    } else {
        if (piece->kind != s->kind)
            rz_buf_printf(&s->text, "\1%u ", piece->kind);
        rz_buf_add(&s->text, piece->text.data, piece->text.len);
        s->content += piece->kind == RZ_CHAT_CONTENT ? piece->text.len : 0;
    }
    s->kind = piece->kind;
}

/* step 0: in one piece; else the sizes follow from it. */
static void read_answer(const struct rz_parse_kind *kind, const char *text, size_t n, unsigned step,
                        struct seen *s)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_parser *p = rz_parser_new(kind, tools, strlen(tools));
    rz_buf_init(&s->text, 64 << 20);
    rz_buf_init(&s->arguments, 64 << 20);
    for (size_t at = 0, size; p && at < n; at += size) {
        size = step ? 1 + (step + at) % 7 : n;
        size = size < n - at ? size : n - at;
        fuzz_status(rz_parser_feed(p, text + at, size, take, s, &err), &err);
        rz_parser_state(p);
    }
    if (p)
        fuzz_status(rz_parser_finish(p, take, s, &err), &err);
    rz_parser_free(p);
    rz_buf_free(&s->arguments);
    if (s->inside)
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole = {.calls = 0}, cut = {.calls = 0};
    if (size < 2)
        return 0;
    const size_t way = data[0] % (sizeof(ways) / sizeof(ways[0]));
    const char *templ = ways[way].templ, *prompt = ways[way].prompt, *text = (const char *)data + 2;
    struct rz_parse_kind kind = rz_parse_detect(templ, strlen(templ), prompt, strlen(prompt), strlen(prompt));
    read_answer(&kind, text, size - 2, 0, &whole);
    read_answer(&kind, text, size - 2, 1 + data[1], &cut);
    if (whole.text.len != cut.text.len ||
        (whole.text.len && memcmp(whole.text.data, cut.text.data, whole.text.len)))
        __builtin_trap();
    if (!strcmp(kind.format->name, "none") && whole.content != size - 2)
        __builtin_trap();
    rz_buf_free(&whole.text);
    rz_buf_free(&cut.text);
    return 0;
}
