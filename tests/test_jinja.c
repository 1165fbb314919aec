/* test_jinja.c - the template engine alone: limits, errors and their lines, broken templates, hostile values.
 * What templates mean is compared with Python's jinja2 by tests/test_template.py. */
#include "rz_test.h"

#include "err.h"
#include "jinja.h"

#include <stdio.h>
#include <stdlib.h>

static struct rz_err err;

/* Renders with a context given as JSON; RZ_OK or the error's code, with the text or the error in out. */
static int32_t render(const char *text, size_t n, const char *json, const struct rz_template_limits *limits,
                      char *out, size_t cap)
{
    struct rz_arena arena;
    struct rz_template *t = NULL;
    struct rz_jvalue context;
    struct rz_buf b;
    err = (struct rz_err)RZ_ERR_INIT;
    rz_arena_init(&arena, 0);
    rz_buf_init(&b, cap - 1);
    rz_check_ok(rz_jvalue_json(&arena, json, strlen(json), &context, &err), &err);
    char *copy = malloc(n ? n : 1); /* without a NUL behind it: a sanitizer sees a read too far */
    rz_check(copy != NULL);
    memcpy(copy, text, n);
    int32_t code = rz_template_parse(copy, n, &t, &err);
    free(copy);
    if (!code)
        code = rz_template_render(t, &context, limits, &b, NULL, &err);
    out[0] = 0;
    if (!code)
        snprintf(out, cap, "%s", b.data ? b.data : "");
    rz_template_free(t);
    rz_buf_free(&b);
    rz_arena_free(&arena);
    return code;
}

static const char json[] =
    "{\"s\":\"H\\u00e9llo\",\"l\":[3,1,2],\"d\":{\"a\":1},\"n\":null,\"f\":2.5,\"x\":[]}";

static void gives(const char *text, const char *want)
{
    char out[4096];
    int32_t code = render(text, strlen(text), json, NULL, out, sizeof(out));
    if (code || strcmp(out, want) != 0)
        rz_fail_test("%s gave %d \"%s\" (%s: %s), wanted \"%s\"", text, code, out, err.where, err.message,
                     want);
}

static void fails(const char *text, int32_t want, const char *where, const char *says)
{
    char out[4096];
    int32_t code = render(text, strlen(text), json, NULL, out, sizeof(out));
    if (code != want || (where && strcmp(err.where, where) != 0) || !strstr(err.message, says))
        rz_fail_test("%s gave %d \"%s\" (%s: %s), wanted %d %s: %s", text, code, out, err.where, err.message,
                     want, where ? where : "", says);
}

RZ_TEST(jinja, text_and_values)
{
    gives("", "");
    gives("plain {text}", "plain {text}");
    gives("{{ 1 + 2 * 3 }} {{ 7 // -2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 1 / 4 }}", "7 -4 2 1024 0.25");
    gives("{{ 0.1 }} {{ 1e16 }} {{ 1e-5 }} {{ 100.0 }} {{ 123456.789 }}", "0.1 1e+16 1e-05 100.0 123456.789");
    gives("{{ s|length }}{{ s[1] }}{{ s[::-1] }}{{ s[1:3] }}", "5\xc3\xa9oll\xc3\xa9H\xc3\xa9l");
    gives("{{ [1, 'a', none, true, 2.0, {'k': (1,)}] }}", "[1, 'a', None, True, 2.0, {'k': (1,)}]");
    gives("{{ missing }}|{{ d.x }}|{{ n }}", "||None");
    gives("{{ s|upper }}{{ '  a '|trim }}{{ l|sort|join(',') }}", "H\xc3\x89LLOa1,2,3");
    gives("{{ {'a': [1, 2.0, none, 'x\"\xc3\xa9']}|tojson }}", "{\"a\": [1, 2.0, null, \"x\\\"\xc3\xa9\"]}");
}

RZ_TEST(jinja, statements)
{
    gives("{% for x in l if x > 1 %}{{ loop.index }}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}",
          "13,22");
    gives("{% for x in x %}a{% else %}b{% endfor %}", "b");
    gives("{% set ns = namespace(n=0) %}{% for x in l %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}",
          "6");
    gives("{% set a = 1 %}{% for x in l %}{% set a = x %}{% endfor %}{{ a }}", "1");
    gives("{% macro m(a, b=2) %}{{ a }}{{ b }}{{ caller() if caller }}{% endmacro %}{{ m(1) }}{% call m(3, "
          "b=4) %}c{% endcall %}",
          "1234c");
    gives("{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% break %}{% endfor %}", "3");
    gives("a\n  {% if 1 %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc");
    gives("a {%- if 1 -%} b {%- endif -%} c", "abc");
    gives("{% raw %}{{ x }}{% endraw %}{# {{ y }} #}", "{{ x }}");
    gives("{% filter upper %}a{% endfilter %}{% set t %}b{% endset %}{{ t }}{% generation %}c{% "
          "endgeneration %}",
          "Abc");
}

RZ_TEST(jinja, errors_name_the_line)
{
    fails("a\nb\n{{ 1 + }}", RZ_EFORMAT, "template:3", "expression");
    fails("{% if x %}\n\n", RZ_EFORMAT, NULL, "endif");
    fails("\n\n{{ missing.x }}", RZ_EFORMAT, "template:3", "'missing' is undefined");
    fails("\n{{ d.q.r }}", RZ_EFORMAT, "template:2", "no attribute 'q'");
    fails("x\r\ny\r{{ 1/0 }}", RZ_EFORMAT, "template:3", "division by zero");
    fails("{{ 'a' + 1 }}", RZ_EFORMAT, "template:1", "concatenate");
    fails("{% frob %}", RZ_EFORMAT, "template:1", "unknown tag 'frob'");
    fails("{{ x|frob }}", RZ_EFORMAT, "template:1", "no filter named 'frob'");
    fails("{{ l.append(1) }}", RZ_EFORMAT, "template:1", "append");
    fails("{{ raise_exception('only ' ~ 2 ~ ' roles: a\\nb') }}", RZ_EFORMAT, "template", "only 2 roles");
    fails("{{ 9223372036854775807 + 1 }}", RZ_ELIMIT, "template:1", "64 bits");
    fails("{{ 99999999999999999999 }}", RZ_EFORMAT, "template:1", "64 bits");
}

RZ_TEST(jinja, limits)
{
    char out[1 << 16];
    const struct rz_template_limits steps = {.max_steps = 1000}, memory = {.max_memory = 100000};
    const struct rz_template_limits output = {.max_output = 100}, depth = {.max_depth = 5},
                                    range = {.max_range = 10};
    const struct {
        const char *text;
        const struct rz_template_limits *limits;
        const char *says;
    } cases[] = {
        {"{% for a in range(100) %}{% for b in range(100) %}{% endfor %}{% endfor %}", &steps, "steps"},
        {"{% for a in range(1000) %}{% for b in range(1000) %}{{ 1 }}{% endfor %}{% endfor %}", NULL,
         "steps"},
        {"{% set n = namespace(s='xxxxxxxx') %}{% for i in range(30) %}{% set n.s = n.s + n.s %}{% endfor %}",
         &memory, "bytes"},
        {"{{ 'x' * 1000000 }}", &memory, "long"},
        {"{{ 'x' * 9223372036854775807 }}", NULL, "long"},
        {"{{ [1] * 9223372036854775807 }}", NULL, "long"},
        {"{% for i in range(50) %}abcdef{% endfor %}", &output, "100 bytes"},
        {"{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}", &depth, "macros"},
        {"{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}", NULL, "deep"},
        {"{{ range(11)|list }}", &range, "range"},
        {"{{ range(100001)|list }}", NULL, "range"},
        {"{{ range(-9223372036854775807, 9223372036854775807)|list }}", NULL, "range"},
        {"{{ 'x'.ljust(1000000) }}", NULL, "width"},
        {"{% set n = namespace(l=[]) %}{% for i in range(5000) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}",
         NULL, "deep"},
        {"{% set n = namespace(l=[]) %}{% for i in range(5000) %}{% set n.l = [n.l] %}{% endfor %}{{ "
         "n.l|tojson }}",
         NULL, "deep"},
        {"{% set n = namespace(l=[],k=[]) %}{% for i in range(5000) %}{% set n.l = [n.l] %}{% set n.k = "
         "[n.k] %}{% endfor %}"
         "{{ n.l == n.k }}",
         NULL, "deep"},
        {"{{ 'a'.replace('', 'xxxxxxxxxx' * 1000) * 10000 }}", NULL, "long"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int32_t code = render(cases[i].text, strlen(cases[i].text), "{}", cases[i].limits, out, sizeof(out));
        if (code != RZ_ELIMIT || !strstr(err.message, cases[i].says))
            rz_fail_test("%s gave %d: %s: %s", cases[i].text, code, err.where, err.message);
    }
}

static void nest(char *to, const char *open, const char *middle, const char *close, int n)
{
    to[0] = 0;
    for (int i = 0; i < n; i++)
        to += snprintf(to, 64, "%s", open);
    to += snprintf(to, 64, "%s", middle);
    for (int i = 0; i < n; i++)
        to += snprintf(to, 64, "%s", close);
}

RZ_TEST(jinja, nesting)
{
    static char text[1 << 20], inner[1 << 20], out[64];
    static const char *const kinds[][3] = {
        {"(", "1", ")"},         {"[", "", "]"},   {"{1:", "2", "}"},  {"not ", "1", ""},
        {"-", "1", ""},          {"", "x", "[0]"}, {"", "x", ".a"},    {"", "x", "()"},
        {"", "1", "+1"},         {"", "1", "**1"}, {"", "x", "|list"}, {"1 if 1 else ", "1", ""},
        {"", "1", " if 1"},      {"x(", "1", ")"}, {"x[", "1", "]"},   {"", "1", " == 1"},
        {"", "x", " is defined"}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        nest(inner, kinds[i][0], kinds[i][1], kinds[i][2], 20000);
        int n = snprintf(text, sizeof(text), "{{ %s }}", inner);
        render(text, (size_t)n, json, NULL, out, sizeof(out)); /* any answer, but an answer */
    }
    nest(text, "{% if 1 %}", "x", "{% endif %}", 5000);
    rz_check_eq(render(text, strlen(text), json, NULL, out, sizeof(out)), RZ_EFORMAT);
    rz_check_has(err.message, "deep");
    nest(text, "{% if 1 %}", "x", "{% endif %}", 40);
    rz_check_ok(render(text, strlen(text), json, NULL, out, sizeof(out)), &err);
    rz_check_streq(out, "x");
}

RZ_TEST(jinja, limits_of_growing_lists)
{
    static char text[1 << 20], out[64];
    for (uint32_t extra = 0; extra < 2; extra++) {
        int n = 0;
        for (uint32_t i = 0; i < (1u << 14) + extra; i++)
            n += snprintf(text + n, sizeof(text) - (size_t)n, "{%%set v%u=1%%}", i);
        int32_t code = render(text, (size_t)n, json, NULL, out, sizeof(out));
        if (!extra)
            rz_check_ok(code, &err);
        else if (!code || !strstr(err.message, "too many names"))
            rz_fail_test("%u names gave %d: %s", (1u << 14) + extra, code, err.message);
    }
}

static const char *const whole[] = {
    "{% for m in messages %}{{ m.role|upper ~ ': ' + m['content'][1:] }}{% else %}-{% endfor %}",
    "{% macro m(a, b=[1, {'x': 2}], *) %}{% endmacro %}{% call(x) m(1, b=2) %}{{ x }}{% endcall %}",
    "{% set a, (b, c) = 1, [2, 3] %}{% set n.x = 'a\\x41\\u00e9\\'' %}{% set t | trim %}x{% endset %}",
    "{%- if a is not defined and b in [1, 2] or not c -%} x {%- elif 1 < 2 <= 3 -%} y {%+ else +%} z {% "
    "endif %}",
    "{% raw -%} {{ }} {%- endraw %}{# c -#} {{- x | default('y', true) -}} {{ 1.5e3 // 2 ** -1 % 7 }}",
    "{{ {'a': (1, 2,), 3: [4,]}[\"a\"][::-1] | tojson(indent=2) | replace('a', \"b\") }}{% filter e %}<{% "
    "endfilter %}",
    "{% with x = 1, y = 2 %}{{ x if y else x.y.z() }}{% endwith %}{% generation %}g{% endgeneration %}{{ "
    "f(*a, **b) }}",
};

/* Every prefix, every text with one byte left out, and every text with one byte changed. */
RZ_TEST(jinja, broken_templates_are_refused_or_rendered)
{
    static const char changes[] = "{}%#|'\"()[]-+.,:~=\\ \n0a_\xff";
    char text[512], out[4096];
    for (size_t w = 0; w < sizeof(whole) / sizeof(whole[0]); w++) {
        size_t n = strlen(whole[w]);
        for (size_t i = 0; i <= n; i++)
            render(whole[w], i, json, NULL, out, sizeof(out));
        for (size_t i = 0; i < n; i++) {
            memcpy(text, whole[w], i);
            memcpy(text + i, whole[w] + i + 1, n - i - 1);
            render(text, n - 1, json, NULL, out, sizeof(out));
            for (size_t c = 0; c < sizeof(changes) - 1; c++) {
                memcpy(text, whole[w], n);
                text[i] = changes[c];
                render(text, n, json, NULL, out, sizeof(out));
            }
        }
    }
}

/* Each filter, test and method with each kind of value and arguments. */
RZ_TEST(jinja, every_builtin_with_every_value)
{
    static const char *const values[] = {"missing",
                                         "none",
                                         "true",
                                         "-3",
                                         "2.5",
                                         "''",
                                         "'h\xc3\xa9 b'",
                                         "[]",
                                         "[1, 'a']",
                                         "(1, 2)",
                                         "{}",
                                         "d",
                                         "range(3)",
                                         "d.items()",
                                         "(l|map('abs'))",
                                         "namespace(a=1)",
                                         "range",
                                         "'x'.upper",
                                         "(1e308 * 10)",
                                         "['b', 'a']"};
    static const char *const args[] = {"",
                                       "()",
                                       "(1)",
                                       "('a')",
                                       "(none)",
                                       "('a', 'b')",
                                       "(-1, 2)",
                                       "(2, 'x', true)",
                                       "([1, 2])",
                                       "('a', 1, 2)",
                                       "(x=1)",
                                       "(attribute='a')",
                                       "(9223372036854775807)",
                                       "(-9223372036854775807, -9223372036854775807, 1)"};
    static const char *const names[] = {
        "|abs",          "|attr",      "|batch",       "|capitalize",  "|default",
        "|dictsort",     "|e",         "|first",       "|float",       "|format",
        "|indent",       "|int",       "|items",       "|join",        "|last",
        "|length",       "|list",      "|lower",       "|map",         "|max",
        "|min",          "|reject",    "|rejectattr",  "|replace",     "|reverse",
        "|round",        "|safe",      "|select",      "|selectattr",  "|sort",
        "|string",       "|sum",       "|title",       "|tojson",      "|trim",
        "|unique",       "|upper",     " is boolean",  " is callable", " is divisibleby",
        " is eq",        " is even",   " is in",       " is iterable", " is lower",
        " is lt",        " is sameas", " is sequence", ".capitalize",  ".center",
        ".count",        ".endswith",  ".find",        ".format",      ".index",
        ".isalpha",      ".join",      ".lstrip",      ".partition",   ".removeprefix",
        ".removesuffix", ".replace",   ".rfind",       ".rindex",      ".rjust",
        ".rpartition",   ".rsplit",    ".split",       ".splitlines",  ".startswith",
        ".strip",        ".title",     ".zfill",       ".get",         ".items",
        ".keys",         ".values",    ".copy",        ".append",      ".nope"};
    char text[256], out[1 << 16];
    size_t good = 0;
    for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++)
        for (size_t a = 0; a < sizeof(args) / sizeof(args[0]); a++)
            for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                int n = snprintf(text, sizeof(text), "{{ %s%s%s }}", values[v], names[i], args[a]);
                good += !render(text, (size_t)n, json, NULL, out, sizeof(out));
            }
    rz_check(good > 2000);
}

/* Each operator with each pair of values. */
RZ_TEST(jinja, every_operator_with_every_pair)
{
    static const char *const values[] = {"missing", "none",        "true",      "-9223372036854775807 - 1",
                                         "-1",      "0",           "2.5",       "'%s'",
                                         "'a'",     "[]",          "[1, 'a']",  "(1, 2)",
                                         "{}",      "d",           "range(3)",  "d.items()",
                                         "range",   "namespace()", "1e308 * 10"};
    static const char *const ops[] = {"+",  "-", "*",  "/",  "//",     "%",   "**", "~",
                                      "==", "<", ">=", "in", "not in", "and", "or"};
    static const size_t n = sizeof(values) / sizeof(values[0]);
    char text[256], out[1 << 12];
    size_t good = 0;
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++) {
            for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
                int k = snprintf(text, sizeof(text), "{{ (%s) %s (%s) }}", values[a], ops[i], values[b]);
                good += !render(text, (size_t)k, json, NULL, out, sizeof(out));
            }
            int k = snprintf(text, sizeof(text), "{{ s[%s:%s] }}{{ l[::%s] }}{{ (%s)[%s] }}", values[a],
                             values[b], values[a], values[a], values[b]);
            good += !render(text, (size_t)k, json, NULL, out, sizeof(out));
        }
    rz_check(good > 1000);
}

RZ_TEST(jinja, templates_are_bounded_text)
{
    char out[64];
    static char large[(1 << 20) + 2];
    memset(large, 'x', sizeof(large));
    rz_check_eq(render(large, sizeof(large), "{}", NULL, out, sizeof(out)), RZ_ELIMIT);
    rz_check_eq(render("\xff", 1, "{}", NULL, out, sizeof(out)), RZ_EFORMAT);
    rz_check_has(err.message, "UTF-8");
    rz_check_eq(render("x", 1, "[]", NULL, out, sizeof(out)), RZ_EINVAL);
}

RZ_TEST(jinja, json_that_is_none)
{
    static const char *const bad[] = {"",         "{",    "[1,]", "{\"a\":1e999}", "99999999999999999999",
                                      "\"\xff\"", "{} x", "nul"};
    struct rz_arena arena;
    struct rz_jvalue v;
    char deep[2001];
    rz_arena_init(&arena, 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        err = (struct rz_err)RZ_ERR_INIT;
        rz_check_eq(rz_jvalue_json(&arena, bad[i], strlen(bad[i]), &v, &err), RZ_EFORMAT);
        rz_check_has(err.where, "json:");
    }
    memset(deep, '[', 1000);
    memset(deep + 1000, ']', 1000);
    rz_check_eq(rz_jvalue_json(&arena, deep, 2000, &v, &err), RZ_ELIMIT);
    rz_arena_free(&arena);
}

RZ_TEST(jinja, large_dicts_are_found_in)
{
    static char text[1 << 20];
    char out[256];
    size_t n = (size_t)snprintf(text, sizeof(text), "{\"d\":{");
    for (int i = 0; i < 20000; i++)
        n +=
            (size_t)snprintf(text + n, sizeof(text) - n, "%s\"key%d\":%d", i ? "," : "", i * 7919 % 20000, i);
    snprintf(text + n, sizeof(text) - n, "}}");
    const char *t = "{{ d.key0 }} {{ d['key7919'] }} {{ d.key19999 is defined }} {{ d.key20000 is defined }} "
                    "{{ d|length }}";
    rz_check_ok(render(t, strlen(t), text, NULL, out, sizeof(out)), &err);
    rz_check_streq(out, "0 1 True False 20000");
}

/* The text with brackets around what came from outside. */
static void marked(const char *text, const char *want)
{
    struct rz_arena arena;
    struct rz_template *t = NULL;
    struct rz_jvalue context;
    struct rz_buf b, marks, out;
    err = (struct rz_err)RZ_ERR_INIT;
    rz_arena_init(&arena, 0);
    rz_buf_init(&b, 1 << 20);
    rz_buf_init(&marks, 1 << 20);
    rz_buf_init(&out, 1 << 20);
    static const char given[] =
        "{\"s\":\"h\u00e9l<p>\",\"l\":[\"a\",\"b c\"],\"d\":{\"k\":\"v\\n\"},\"i\":7,\"e\":\"\"}";
    rz_check_ok(rz_jvalue_json(&arena, given, strlen(given), &context, &err), &err);
    rz_check_ok(rz_template_parse(text, strlen(text), &t, &err), &err);
    rz_check_ok(rz_template_render(t, &context, NULL, &b, &marks, &err), &err);
    const struct rz_span *spans = (const void *)marks.data;
    size_t at = 0;
    for (size_t i = 0; i < marks.len / sizeof(*spans); i++) {
        rz_check(spans[i].begin >= at && spans[i].begin < spans[i].end && spans[i].end <= b.len);
        rz_buf_printf(&out, "%.*s[%.*s]", (int)(spans[i].begin - at), b.data + at,
                      (int)(spans[i].end - spans[i].begin), b.data + spans[i].begin);
        at = spans[i].end;
    }
    rz_buf_printf(&out, "%.*s", (int)(b.len - at), b.data ? b.data + at : "");
    if (strcmp(out.data, want) != 0)
        rz_fail_test("%s gave %s, wanted %s", text, out.data, want);
    rz_template_free(t);
    rz_buf_free(&b);
    rz_buf_free(&marks);
    rz_buf_free(&out);
    rz_arena_free(&arena);
}

RZ_TEST(jinja, marks_follow_the_bytes)
{
    marked("x{{ s }}y", "x[h\u00e9l<p>]y");
    marked("{{ '<' + s + '>' }}{{ 'a' ~ s ~ 'b' }}", "<[h\u00e9l<p>]>a[h\u00e9l<p>]b");
    marked("{{ (' ' + s + ' ')|trim }}|{{ ('ab' + s)[1:4] }}", "[h\u00e9l<p>]|b[h\u00e9]");
    marked("{{ ('ab' + s)[::-1] }}", "[>p<l\u00e9h]ba");
    marked("{{ ('-' + s + '-')|replace('l', 'LL') }}", "-[h\u00e9]LL[<p>]-");
    marked("{{ 'x-y'|replace('-', s) }}", "x[h\u00e9l<p>]y");
    marked("{{ ('1,' + s + ',2').split(',')|join(';') }}", "1;[h\u00e9l<p>];2");
    marked("{{ s.split('l') }}", "['[h\u00e9]', '[<p>]']");
    marked("{{ s|upper }}{{ s|e }}{{ ('q' + l[0])|title }}", "[H\u00c9L<P>h\u00e9l&lt;p&gt;]Q[a]");
    marked("{{ d|tojson }}{{ i }}", "{\"[k]\": \"[v\\n]\"}7");
    marked("{{ {'k': s}|tojson(indent=1) }}", "{\n \"k\": \"[h\u00e9l<p>]\"\n}");
    marked("{% macro m(x) %}({{ x }}){% endmacro %}{{ m(l[1]) }}", "([b c])");
    marked("{% set t %}a{{ l[0] }}{% endset %}{{ t }}{{ t[1:] }}", "a[aa]");
    marked("{% for x in d %}{{ x }}={{ d[x] }}{% endfor %}", "[k]=[v\n]");
    marked("{{ '%s:%5s.' % (l[0], l[1]) }}{{ '{}!{}'.format(s, i) }}", "[a]:  [b c].[h\u00e9l<p>]!7");
    marked("{{ l[0] * 3 }}{{ l|join }}{{ l|join(l[0]) }}", "[aaaab caab c]");
    marked("{% filter indent(2) %}a\n{{ s }}{% endfilter %}", "a\n  [h\u00e9l<p>]");
    marked("{{ l[0].center(5, '*') }}{{ e }}{{ s if e else 'no' }}", "**[a]**no");
    marked("{% set n = namespace(t='') %}{% for x in l %}{% set n.t = n.t + '|' + x %}{% endfor %}{{ n.t }}",
           "|[a]|[b c]");
}
