/* test_parse.c - reading answers: content, reasoning and tool calls of each family, however they are cut. */
#include "rz_test.h"

#include "err.h"
#include "parse.h"

#include <stdio.h>
#include <stdlib.h>

static const char tools[] = "[{\"type\":\"function\",\"function\":{\"name\":\"get\",\"parameters\":{\"type\":"
                            "\"object\",\"properties\":"
                            "{\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"}}}}},"
                            "{\"type\":\"function\",\"function\":{\"name\":\"add\",\"parameters\":{}}}]";

/* What came out, with a letter for each kind; pieces of a kind that follow each other are one. Behind the
 * arguments of a call: ~ if they are cut, # and its id. */
struct seen {
    char text[8192];
    size_t n;
    uint32_t kind, calls;
    bool inside; /* of a call */
};

static void put(struct seen *s, struct rz_str t)
{
    rz_check(s->n + t.len < sizeof(s->text));
    memcpy(s->text + s->n, t.data, t.len);
    s->n += t.len;
    s->text[s->n] = 0;
}

static void take(void *arg, const struct rz_chat_piece *piece)
{
    struct seen *s = arg;
    rz_check(piece->size == sizeof(*piece));
    const bool call = piece->kind == RZ_CHAT_CALL;
    rz_check(call || !piece->flags);
    rz_check_eq(!s->inside, !call || piece->flags & RZ_CHAT_BEGIN); /* pieces of a call are not parted */
    if (call ? piece->flags & RZ_CHAT_BEGIN : piece->kind != s->kind)
        put(s, (struct rz_str){piece->kind == RZ_CHAT_CONTENT     ? "|C "
                               : piece->kind == RZ_CHAT_REASONING ? "|R "
                                                                  : "|T ",
                               3});
    s->kind = piece->kind;
    if (call) {
        bool end = piece->flags & RZ_CHAT_END;
        rz_check(piece->name.len && (piece->text.len || end) && (end || !(piece->flags & RZ_CHAT_CUT)));
        s->calls += (piece->flags & RZ_CHAT_BEGIN) != 0;
        rz_check_eq(piece->index + 1, s->calls);
        if (piece->flags & RZ_CHAT_BEGIN)
            put(s, piece->name);
        put(s, piece->text);
        s->inside = !end;
        put(s, (struct rz_str){"~", piece->flags & RZ_CHAT_CUT ? 1 : 0});
        put(s, (struct rz_str){"#", end && piece->id.len ? 1 : 0});
        put(s, end ? piece->id : (struct rz_str){"", 0});
    } else {
        rz_check(piece->text.len > 0);
        put(s, piece->text);
    }
}

struct way {
    const char *templ, *prompt; /* prompt: the end of it */
    bool tools;
};

static struct rz_parser *make(const struct way *w)
{
    const char *prompt = w->prompt ? w->prompt : "";
    struct rz_parse_kind kind =
        rz_parse_detect(w->templ, strlen(w->templ), prompt, strlen(prompt), strlen(prompt));
    struct rz_parser *p = rz_parser_new(&kind, tools, w->tools ? strlen(tools) : 0);
    rz_check(p != NULL);
    return p;
}

static void feed(struct rz_parser *p, const char *text, size_t n, struct seen *s)
{
    struct rz_err err = RZ_ERR_INIT;
    char *copy = malloc(n ? n : 1); /* a sanitizer sees a read too far */
    rz_check(copy != NULL);
    memcpy(copy, text, n);
    rz_check_ok(rz_parser_feed(p, copy, n, take, s, &err), &err);
    free(copy);
}

static void compare(const struct way *w, const char *text, const char *how, size_t at, const struct seen *s,
                    const char *want)
{
    if (strcmp(s->text, want) != 0)
        rz_fail_test("%s: \"%s\" cut %s %zu gave\n  %s, wanted\n  %s", w->templ, text, how, at, s->text,
                     want);
}

/* The answer in every two parts, and in pieces of each size up to 7. */
static void reads(const struct way *w, const char *text, const char *want)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_parser *p = make(w);
    size_t n = strlen(text);
    for (size_t cut = 0; cut <= n; cut++) {
        struct seen s = {.n = 0};
        feed(p, text, cut, &s);
        feed(p, text + cut, n - cut, &s);
        rz_check_ok(rz_parser_finish(p, take, &s, &err), &err);
        compare(w, text, "at", cut, &s, want);
    }
    for (size_t size = 1; size < 8; size++) {
        struct seen s = {.n = 0};
        for (size_t at = 0; at < n; at += size)
            feed(p, text + at, size < n - at ? size : n - at, &s);
        rz_check_ok(rz_parser_finish(p, take, &s, &err), &err);
        compare(w, text, "every", size, &s, want);
    }
    rz_parser_free(p);
}

RZ_TEST(parse, plain_text_stays_as_it_is)
{
    const struct way none = {"{{ messages }}", NULL, true}, off = {"<tool_call>", NULL, false};
    reads(&none, "", "");
    reads(&none, " Hello <tool_call> {\"name\":\"get\"} \n\n",
          "|C  Hello <tool_call> {\"name\":\"get\"} \n\n");
    reads(&off, "<tool_call>\n{\"name\": \"get\"}\n</tool_call>",
          "|C <tool_call>\n{\"name\": \"get\"}\n</tool_call>");
    reads(&off, "\n \n", "|C \n \n");
    reads(&off, "Gr\303\274\303\237e <think>", "|C Gr\303\274\303\237e <think>");
}

RZ_TEST(parse, hermes_and_qwen)
{
    const struct way w = {"<tool_call>{{ x }}</tool_call>", NULL, true};
    reads(&w, "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"city\": \"P\"}}\n</tool_call>",
          "|T get{\"city\": \"P\"}");
    reads(&w,
          "Let me see.\n\n<tool_call>{\"arguments\": {}, \"name\": \"get\"}</tool_call>\n<tool_call>"
          "{\"name\":\"add\",\"arguments\":\"{\\\"a\\\":1}\"}</tool_call>\n",
          "|C Let me see.|T get{}|T add{\"a\":1}");
    reads(&w,
          "<tool_call>{\"name\": \"get\", \"arguments\": {\"city\": \"</tool_call>\\\"}{\"}}</tool_call> ok",
          "|T get{\"city\": \"</tool_call>\\\"}{\"}|C ok");
    reads(&w, "<tool_call>{\"function\":{\"name\":\"get\",\"arguments\":{}},\"id\":\"7\"}</tool_call>",
          "|T get{}");
    reads(&w, "<tool_call>{\"name\":\"get\"}", "|T get{}");
    reads(&w, "<tool_call>{\"name\":\"get\"}</tool_", "|T get{}");
    reads(&w,
          "<tool_call>[{\"name\":\"get\",\"id\":\"a\"},{\"name\":\"add\",\"parameters\":{\"b\":[1]}}]</"
          "tool_call>",
          "|T get{}#a|T add{\"b\":[1]}");
}

RZ_TEST(parse, what_is_no_call_is_content)
{
    const struct way w = {"<tool_call>", NULL, true};
    static const char *const same[] = {
        "<tool_call>",
        "<tool_call>\n",
        "<tool_call>not json</tool_call> after",
        "<tool_call>{\"name\": </tool_call>",
        "<tool_call>{\"name\": 5}</tool_call>",
        "<tool_call>{\"name\":\"get\",\"arguments\":[]}</tool_call>",
        "<tool_call>{}</tool_call>",
        "a <tool_cal b <tool_call",
        "<tool_call>{\"name\":\"get\"} junk </tool_call>\n",
        "<tool_call>[]</tool_call>",
        "<tool_call>[5,{\"name\":\"get\"}]</tool_call>",
        "<tool_call>{\"name\":\"\",\"arguments\":{}}</tool_call>",
        "<tool_call>{\"name\":\"get\",\"arguments\": \"{",
        "<tool_call>{\"arguments\": {\"name\": \"get\"}, \"x\": {\"arguments\": {}}}</tool_call>",
    };
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        char want[256];
        snprintf(want, sizeof(want), "|C %s", same[i]);
        reads(&w, same[i], want);
    }
    /* one that fails does not hide the next */
    reads(&w, "<tool_call>{\"name\": <tool_call>{\"name\":\"get\"}</tool_call>",
          "|C <tool_call>{\"name\":|T get{}");
    reads(&w, "x\n<tool_call>{]</tool_call>\n<tool_call>{\"name\":\"add\"}</tool_call>",
          "|C x\n<tool_call>{]</tool_call>|T add{}");
}

/* What is out stays: the call ends where its JSON does, and the rest is content. */
RZ_TEST(parse, calls_that_break_off)
{
    const struct way w = {"<tool_call>", NULL, true}, named = {"<function=", NULL, true},
                     keyed = {"<|tools_prefix|>", NULL, true}, llama = {"<|python_tag|>", NULL, true},
                     deepseek = {"<｜tool▁calls▁begin｜>", NULL, true};
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"<tool_call>{\"name\":\"get\",\"arguments\":{", "|T get{~"},
        {"<tool_call>{\"name\":\"get\",\"arguments\":{\"city\":\"P\"}", "|T get{\"city\":\"P\"}"},
        {"<tool_call>{\"name\":\"get\",\"arguments\":{}, \"x\": 1", "|T get{}"},
        {"<tool_call>{\"name\":\"get\",\"arguments\":{}}</tool", "|T get{}"},
        {"<tool_call>{\"name\":\"get\",\"arguments\":{\"a\":tru}} b", "|T get{\"a\":tru~|C }} b"},
        {"<tool_call>{\"name\":\"get\",\"arguments\":{\"a\":01}}", "|T get{\"a\":0~|C 1}}"},
        {"<tool_call>{\"name\":\"get\",\"arguments\":{\"a\":\"\\u12x\"}}", "|T get{\"a\":\"\\u12~|C x\"}}"},
        {"<tool_call>{\"name\":\"get\",\"arguments\":{]}\n<tool_call>{\"name\":\"add\"}</tool_call>",
         "|T get{~|C ]}|T add{}"},
        {"<tool_call>{\"name\":\"get\",\"arguments\":{}}}</tool_call>\nok", "|T get{}|C }ok"},
        {"<tool_call>{\"name\":\"get\",\"arguments\":{}} junk </tool_call>", "|T get{}|C junk"},
        {"<tool_call>{\"name\":\"get\",\"arguments\":{}; 1</tool_call>", "|T get{}|C ; 1</tool_call>"},
        {"<tool_call>[{\"name\":\"get\"},5]</tool_call>", "|T get{}|C 5]</tool_call>"},
        {"<tool_call>[{\"name\":\"get\"} , {\"x\":5}]</tool_call>", "|T get{}|C {\"x\":5}]</tool_call>"},
        {"<tool_call>[{\"name\":\"get\",\"arguments\":{}},{\"name\":\"ad", "|T get{}|C {\"name\":\"ad"},
        {"<tool_call>[{\"name\":\"get\",\"arguments\":{}}, ", "|T get{}"},
        {"<tool_call>[{\"name\":\"get\",\"id\":\"a\"},{\"arguments\":{\"b\":1},\"name\":\"add\",\"id\":\"b\"}"
         ","
         "{\"name\":\"get\",\"arguments\":{\"c\":2},\"function\":{\"name\":\"x\"}}]</tool_call>.",
         "|T get{}#a|T add{\"b\":1}#b|T get{\"c\":2}|C ."},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        reads(&w, cases[i].text, cases[i].want);
    reads(&named, "<function=get>{\"a\":1} x</function>", "|T get{\"a\":1}|C x");
    reads(&named, "<function=get>{\"a\":}</function>", "|T get{\"a\":~|C }</function>");
    reads(&named, "<function=a b>{}</function>", "|C <function=a b>{}</function>");
    reads(&keyed, "<|tools_prefix|>[{\"get\": {}, \"b\": {}}]", "|T get{}|C , \"b\": {}}]");
    reads(&llama, "{\"name\": \"get\", \"parameters\": {\"a\": x", "|T get{\"a\": ~|C x");
    reads(&llama, "{\"name\": \"got\", \"parameters\": {\"a\": 1}}",
          "|C {\"name\": \"got\", \"parameters\": {\"a\": 1}}");
    reads(&deepseek, "<｜tool▁call▁begin｜>function<｜tool▁sep｜>get\n```json\n{\"a\":", "|T get{\"a\":~");
}

static size_t same_end(const struct seen *s, const char *text, size_t n)
{
    return s->n >= n && !memcmp(s->text + s->n - n, text, n);
}

/* Byte by byte, no byte of the arguments is kept waiting, and none comes before the name. */
RZ_TEST(parse, arguments_come_as_they_are_written)
{
    static const char args[] =
        "{\"city\": \"<|x|></tool_call>]\\\"}\", \"l\": [1.5e3, {\"t\": true}], \"n\": -0}";
    static const struct {
        struct way way;
        const char *before, *behind;
    } forms[] = {
        {{"<tool_call>", NULL, true},
         "x <tool_call>\n{\"id\": \"7\", \"name\": \"get\", \"arguments\": ",
         "}\n</tool_call>"},
        {{"<tool_call>", NULL, true},
         "<tool_call>[{\"name\": \"add\"}, {\"name\": \"get\", \"parameters\": ",
         "}]</tool_call>"},
        {{"<|python_tag|>", NULL, true}, "{\"name\": \"get\", \"parameters\": ", "}"},
        {{"[TOOL_CALLS]", NULL, true},
         "[TOOL_CALLS][{\"name\": \"get\", \"arguments\": ",
         ", \"id\": \"1\"}]"},
        {{"[TOOL_CALLS]", NULL, true}, "[TOOL_CALLS]get[ARGS]", ""},
        {{">>>all", "\n\n>>>", true}, "get\n", "\n>>>all\nok"},
        {{"<function=", NULL, true}, "<function=get>", "</function>"},
        {{"<｜tool▁calls▁begin｜>", NULL, true},
         "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get\n```json\n",
         "\n```<｜tool▁call▁end｜>"},
        {{"<|tool_calls_section_begin|>", NULL, true},
         "<|tool_call_begin|>functions.get:0<|tool_call_argument_begin|>",
         "<|tool_call_end|>"},
        {{"<|START_ACTION|>", NULL, true},
         "<|START_ACTION|>[{\"tool_call_id\": \"0\", \"tool_name\": \"get\", \"parameters\": ",
         "}]<|END_ACTION|>"},
        {{"<|tools_prefix|>", NULL, true}, "<|tools_prefix|>[{\"get\": ", "}]<|tools_suffix|>"},
        {{"<tool_calls>", NULL, true}, "<tool_calls>[{\"name\": \"get\", \"arguments\": ", "}]</tool_calls>"},
        {{"<|tool_call|>", NULL, true}, "<|tool_call|>[{\"name\": \"get\", \"arguments\": ", "}]"},
        {{"'function call' <|role_sep|>", NULL, true},
         "function call<|role_sep|>\n{\"name\": \"get\", \"arguments\": ",
         "}"},
    };
    struct rz_err err = RZ_ERR_INIT;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct rz_parser *p = make(&forms[i].way);
        struct seen s = {.n = 0};
        for (const char *c = forms[i].before; *c; c++)
            feed(p, c, 1, &s);
        uint32_t calls = s.calls;
        rz_check(!s.inside);
        for (size_t k = 0; k < sizeof(args) - 1; k++) {
            feed(p, args + k, 1, &s);
            rz_check_eq(s.calls, calls + 1);
            rz_check_eq(s.inside, k + 2 < sizeof(args));
            if (!same_end(&s, args, k + 1) && k + 2 < sizeof(args))
                rz_fail_test("%s: \"%.*s\" gave %s", forms[i].before, (int)k + 1, args, s.text);
        }
        for (const char *c = forms[i].behind; *c; c++)
            feed(p, c, 1, &s);
        rz_check_ok(rz_parser_finish(p, take, &s, &err), &err);
        rz_check(!s.inside && strstr(s.text, args));
        rz_parser_free(p);
    }
}

RZ_TEST(parse, tags_and_their_types)
{
    const struct way qwen = {"<tool_call> <function= <parameter=", NULL, true},
                     seed = {"seed:tool_call seed:think", NULL, true},
                     glm = {"<tool_call><arg_key>", NULL, true};
    reads(
        &qwen,
        "<tool_call>\n<function=get>\n<parameter=city>\n5\n</parameter>\n<parameter=days>\n5\n</parameter>\n"
        "<parameter=z>\nx \"y\"\n</parameter>\n</function>\n</tool_call>",
        "|T get{\"city\":\"5\",\"days\":5,\"z\":\"x \\\"y\\\"\"}");
    reads(&qwen, "<tool_call>\n<function=get>\n</function>\n</tool_call>", "|T get{}");
    reads(&qwen, "<tool_call>\n<function=get>\n<parameter=a>1</function>\n</tool_call>",
          "|C <tool_call>\n<function=get>\n<parameter=a>1</function>\n</tool_call>");
    reads(&seed,
          "<seed:think>hm</seed:think>\n<seed:tool_call>\n<function=get>\n<parameter=city>a\nb</parameter>\n"
          "</function>\n</seed:tool_call>",
          "|R hm|T get{\"city\":\"a\\nb\"}");
    reads(&glm,
          "<tool_call>get\n<arg_key>city</arg_key>\n<arg_value>P</arg_value>\n<arg_key>l</arg_key>\n"
          "<arg_value>[1, 2]</arg_value>\n</tool_call><tool_call>add</tool_call>",
          "|T get{\"city\":\"P\",\"l\":[1, 2]}|T add{}");
}

RZ_TEST(parse, deepseek)
{
    const struct way r1 = {"<think></think><｜tool▁calls▁begin｜>", "<｜Assistant｜><think>\n", true},
                     v32 = {"｜DSML｜function_calls", NULL, true}, v4 = {"｜DSML｜tool_calls", NULL, true};
    reads(&r1,
          "They want it.\n</think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get\n"
          "```json\n{\"city\": \"P\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>add<｜tool▁sep｜>{}"
          "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
          "|R They want it.|T get{\"city\": \"P\"}|T add{}");
    reads(&r1, "hm</think>A <｜tool▁calls▁begin｜> B", "|R hm|C A <｜tool▁calls▁begin｜> B");
    reads(&r1, "<think>\nhm", "|R hm");
    reads(&v32,
          "ok\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get\">\n<｜DSML｜parameter name=\"city\" "
          "string=\"true\">5</｜DSML｜parameter>\n<｜DSML｜parameter name=\"n\" string=\"false\">5"
          "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
          "|C ok|T get{\"city\":\"5\",\"n\":5}");
    reads(&v4,
          "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"add\">\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>",
          "|T add{}");
}

RZ_TEST(parse, mistral_kimi_functionary)
{
    const struct way m = {"[TOOL_CALLS] [THINK] [/THINK]", NULL, true},
                     k = {"<|tool_calls_section_begin|>", NULL, true}, f32 = {">>>all", "\n\n>>>", true},
                     f31 = {"<function=", NULL, true};
    reads(&m, "[TOOL_CALLS][{\"name\": \"get\", \"arguments\": {\"city\": \"]\"}, \"id\": \"abcdefg12\"}]",
          "|T get{\"city\": \"]\"}"); /* its id comes too late */
    reads(&m, "[TOOL_CALLS][{\"name\": \"get\", \"id\": \"abcdefg12\", \"arguments\": {\"city\": \"]\"}}]",
          "|T get{\"city\": \"]\"}#abcdefg12");
    reads(&m, "[THINK]so[/THINK][TOOL_CALLS]get[ARGS]{\"city\": \"P\"}[TOOL_CALLS]add[CALL_ID]x1[ARGS]{}",
          "|R so|T get{\"city\": \"P\"}|T add{}#x1");
    reads(&m, "[TOOL_CALLS]get[ARGS]", "|C [TOOL_CALLS]get[ARGS]");
    reads(&m, "[TOOL_CALLS]get[ARGS]{\"city\"", "|T get{\"city\"~");
    reads(&k,
          "A<|tool_calls_section_begin|><|tool_call_begin|>functions.get:0<|tool_call_argument_begin|>"
          "{\"city\":\"P\"}<|tool_call_end|><|tool_calls_section_end|>",
          "|C A|T get{\"city\":\"P\"}#functions.get:0");
    reads(&f32, "all\nHello\n>>>get\n{\"city\":\"P\"}\n>>>add\n{}", "|C Hello|T get{\"city\":\"P\"}|T add{}");
    reads(&f32, "get\n{\"city\":\"P\"}", "|T get{\"city\":\"P\"}");
    reads(&f32, "allow me", "|C allow me");
    reads(&f31, "<function=get>{\"city\": \"</function>\"}</function><function=add></function>",
          "|T get{\"city\": \"</function>\"}|T add{}");
}

RZ_TEST(parse, llama_json)
{
    const struct way w = {"<|python_tag|>", NULL, true};
    reads(&w, "{\"name\": \"get\", \"parameters\": {\"city\": \"P\"}}", "|T get{\"city\": \"P\"}");
    reads(&w, "\n{\"type\": \"function\", \"name\": \"get\", \"parameters\": {}}; {\"name\":\"add\"}",
          "|T get{}|T add{}");
    reads(&w, "{\"name\": \"unknown\", \"parameters\": {}}",
          "|C {\"name\": \"unknown\", \"parameters\": {}}");
    reads(&w, " {\"a\": 1} and text {\"name\":\"get\"}", "|C  {\"a\": 1} and text {\"name\":\"get\"}");
    reads(&w, "<|python_tag|>{\"name\": \"get\", \"parameters\": {}}", "|T get{}");
    reads(&w, "<|python_tag|>get.call(city=\"P\", days=2)", "|T get{\"city\":\"P\",\"days\":2}");
    reads(&w, "<|python_tag|>print(1)", "|C <|python_tag|>print(1)");
    reads(&w, "Hi <b>", "|C Hi <b>");
}

RZ_TEST(parse, harmony)
{
    const struct way w = {"<|channel|><|message|>", "<|start|>assistant", true},
                     off = {"<|channel|><|message|>", "<|start|>assistant", false};
    reads(
        &w,
        "<|channel|>analysis<|message|>Think.<|end|><|start|>assistant<|channel|>commentary to=functions.get "
        "<|constrain|>json<|message|>{\"city\": \"P\"}<|call|>",
        "|R Think.|T get{\"city\": \"P\"}");
    reads(&w, " to=functions.add<|channel|>commentary json<|message|>{}", "|T add{}");
    reads(&w,
          "<|channel|>analysis<|message|>A<|end|>\n<|start|>assistant<|channel|>final<|message|> B <c> "
          "\n<|return|>",
          "|R A|C  B <c> \n");
    reads(&w, "<|channel|>final<|message|>cut off <|e", "|C cut off <|e");
    reads(&w, "<|channel|>other<|message|>x<|end|>y", "|C <|channel|>other<|message|>xy");
    reads(&w, "<|channel|>commentary to=functions.get<|message|>no json<|call|>",
          "|C <|channel|>commentary to=functions.get<|message|>no json");
    reads(&off, "<|channel|>commentary to=functions.get<|message|>{}<|call|>",
          "|C <|channel|>commentary to=functions.get<|message|>{}");
    reads(&w, "no header at all", "|C no header at all");
    reads(&w, "<|channel|>commentary to=functions.add<|message|>", "|T add{}");
    reads(&w, " to=functions.get<|channel|>commentary<|message|> {\"city\": \"P", "|T get{\"city\": \"P~");
    reads(&w, " to=functions.get<|channel|>commentary<|message|>{\"a\": x}<|call|>", "|T get{\"a\": ~|C x}");
    reads(&w, " to=functions.get<|channel|>commentary<|message|>{} y <|call|> z", "|T get{}|C y z");
}

RZ_TEST(parse, other_families)
{
    const struct way cohere = {"<|START_ACTION|><|END_THINKING|>", "<|START_THINKING|>", true},
                     apertus = {"<|tools_prefix|>", NULL, true}, apriel = {"<tool_calls>", NULL, true},
                     granite = {"<|tool_call|> <think></think>", NULL, true},
                     lfm = {"<|tool_list_start|>", NULL, true},
                     gemma = {"<|tool_call> <tool_call|> <channel|>", NULL, true},
                     giga = {"'function call' <|role_sep|>", NULL, true};
    reads(&cohere,
          "Plan.<|END_THINKING|><|START_ACTION|>[\n  {\"tool_call_id\": \"0\", \"tool_name\": \"get\", "
          "\"parameters\": "
          "{\"city\": \"P\"}}\n]<|END_ACTION|>",
          "|R Plan.|T get{\"city\": \"P\"}#0");
    reads(&cohere, "P<|END_THINKING|><|START_RESPONSE|>Hi.<|END_RESPONSE|>", "|R P|C Hi.");
    reads(&apertus, "<|tools_prefix|>[{\"get\": {\"city\": \"P\"}}, {\"add\": {}}]<|tools_suffix|>",
          "|T get{\"city\": \"P\"}|T add{}");
    reads(&apriel, "<tool_calls>[{\"name\": \"get\", \"arguments\": {}, \"id\": \"1\"}]</tool_calls>",
          "|T get{}");
    reads(&granite, "<think>a</think>\n<response>b</response>", "|R a|C b");
    reads(&granite, "<|tool_call|>[{\"name\": \"get\", \"arguments\": {}}]", "|T get{}");
    reads(&lfm,
          "<|tool_call_start|>[get(city=\"a\\\"b\", days=3, x=[1, 'y', {\"k\": None}], t=True), add()]"
          "<|tool_call_end|>Done",
          "|T get{\"city\":\"a\\\"b\",\"days\":3,\"x\":[1,\"y\",{\"k\":null}],\"t\":true}|T add{}|C Done");
    reads(&lfm, "<|tool_call_start|>[{\"name\": \"get\", \"arguments\": {}}]<|tool_call_end|>", "|T get{}");
    reads(&gemma,
          "<|channel>thought\nhm\n<channel|><|tool_call>call:get{city:<|\"|>P "
          "\"q\"<|\"|>,n:[1,true],o:{a:null}}"
          "<tool_call|>",
          "|R hm|T get{\"city\":\"P \\\"q\\\"\",\"n\":[1,true],\"o\":{\"a\":null}}");
    reads(&giga, "Sure<|message_sep|>\n\nfunction call<|role_sep|>\n{\"name\": \"get\", \"arguments\": {}}",
          "|C Sure|T get{}");
}

RZ_TEST(parse, reasoning)
{
    const struct way w = {"<think></think>", NULL, false},
                     open = {"<think></think>", "assistant\n<think>\n", false},
                     closed = {"<think></think>", "<think>\n\n</think>\n\n", false},
                     apriel = {"[BEGIN FINAL RESPONSE]", "Here are my reasoning steps:\n", false};
    reads(&w, "\n<think>\n a b \n\n</think>\n\n Hi \n", "|R a b|C Hi \n");
    reads(&w, "<think></think>Hi", "|C Hi");
    reads(&open, "\nso </thin </think> Hi", "|R so </thin|C Hi");
    reads(&open, "never ends \n", "|R never ends");
    reads(&closed, "Hi", "|C Hi");
    reads(&apriel, "one\n[BEGIN FINAL RESPONSE]\ntwo", "|R one|C two");
}

RZ_TEST(parse, what_the_conversation_says_does_not_open_reasoning)
{
    static const char templ[] = "<think></think>", prompt[] = "user: <think>\n";
    rz_check(rz_parse_detect(templ, strlen(templ), prompt, strlen(prompt), strlen(prompt)).thinking);
    rz_check(!rz_parse_detect(templ, strlen(templ), prompt, strlen(prompt), 1).thinking);
}

/* Many marks and no call: the work stays proportional. */
RZ_TEST(parse, hostile_answers_end)
{
    static const char *const parts[] = {"<tool_call>{\"a\":[",
                                        "<tool_call>\"</tool_call>",
                                        "<tool_call>{\"</tool_call>",
                                        "\n",
                                        "<tool_call>[",
                                        "<tool_call",
                                        "</tool_call>"};
    const struct way w = {"<tool_call>", NULL, true};
    struct rz_err err = RZ_ERR_INIT;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        struct rz_parser *p = make(&w);
        struct rz_buf text;
        struct seen s = {.n = 0};
        rz_buf_init(&text, 1 << 20);
        while (text.len < 6000)
            rz_buf_str(&text, parts[i]);
        for (size_t at = 0; at < text.len; at += 97)
            feed(p, text.data + at, text.len - at < 97 ? text.len - at : 97, &s);
        rz_check_ok(rz_parser_finish(p, take, &s, &err), &err);
        rz_check_eq(s.n, text.len + 3);
        rz_check(!memcmp(s.text + 3, text.data, text.len));
        rz_buf_free(&text);
        rz_parser_free(p);
    }
}
