/* test_roundtrip.c - what a chat template writes for an earlier answer is what the parser reads in a new one.
 *
 * Each template of the reference data renders a conversation that ends with reasoning and tool calls; what it
 * adds to the prompt is an answer as the model was taught it.
 */
#include "rz_test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "err.h"
#include "jinja.h"
#include "parse.h"

#define TOOLS \
    "[{\"type\":\"function\",\"function\":{\"name\":\"get_it\",\"description\":\"d\",\"parameters\":{" \
    "\"type\":" \
    "\"object\",\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"}}}}}," \
    "{\"type\":\"function\",\"function\":{\"name\":\"add\",\"description\":\"a\",\"parameters\":{\"type\":" \
    "\"object\",\"properties\":{\"l\":{\"type\":\"array\"}}}}}]"

#define BEGIN \
    "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"tools\":" TOOLS \
    ",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}"

#define CALL(name, args) \
    "{\"id\":\"abcdefg12\",\"type\":\"function\",\"function\":{\"name\":\"" name "\",\"arguments\":" args "}}"

struct seen {
    char calls[1024], content[4096];
};

static void take(void *arg, const struct rz_chat_piece *piece)
{
    struct seen *s = arg;
    size_t n = strlen(s->calls);
    if (piece->kind == RZ_CHAT_CALL)
        snprintf(s->calls + n, sizeof(s->calls) - n, "%.*s%.*s;", (int)piece->name.len, piece->name.data,
                 (int)piece->text.len, piece->text.data);
    n = strlen(s->content);
    if (piece->kind == RZ_CHAT_CONTENT)
        snprintf(s->content + n, sizeof(s->content) - n, "%.*s", (int)piece->text.len, piece->text.data);
}

static bool render(const struct rz_template *t, const char *json, struct rz_buf *out)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_arena arena;
    struct rz_jvalue context;
    rz_arena_init(&arena, 0);
    rz_buf_init(out, 1 << 20);
    rz_check_ok(rz_jvalue_json(&arena, json, strlen(json), &context, &err), &err);
    bool ok = !rz_template_render(t, &context, NULL, out, NULL, &err) && out->len;
    rz_arena_free(&arena);
    return ok;
}

/* What the template adds for an answer with these calls, read again. False: it refuses, or writes none. */
static bool read_back(const char *text, size_t n, const char *calls, struct seen *s)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_template *t;
    struct rz_buf prompt, whole;
    char json[4096];
    s->calls[0] = s->content[0] = 0;
    rz_check_ok(rz_template_parse(text, n, &t, &err), &err);
    bool ok = render(t, BEGIN "],\"add_generation_prompt\":true}", &prompt);
    snprintf(json, sizeof(json),
             BEGIN ",{\"role\":\"assistant\",\"content\":\"\",\"reasoning_content\":\"Hm.\","
                   "\"tool_calls\":[%s]}],\"add_generation_prompt\":false}",
             calls);
    bool both = render(t, json, &whole);
    ok = ok && both && strstr(whole.data, "get_it") && strstr(strstr(whole.data, "Hello"), "get_it");
    if (ok) {
        size_t same = 0;
        while (same < prompt.len && same < whole.len && prompt.data[same] == whole.data[same])
            same++;
        struct rz_parse_kind kind = rz_parse_detect(text, n, prompt.data, prompt.len, prompt.len);
        if (same < prompt.len) /* the answer begins in another way than the prompt asks for */
            kind.thinking = false;
        struct rz_parser *p = rz_parser_new(&kind, TOOLS, strlen(TOOLS));
        rz_check(p != NULL);
        rz_check_ok(rz_parser_feed(p, whole.data + same, whole.len - same, take, s, &err), &err);
        rz_check_ok(rz_parser_finish(p, take, s, &err), &err);
        rz_parser_free(p);
    }
    rz_buf_free(&prompt);
    rz_buf_free(&whole);
    rz_template_free(t);
    return ok;
}

static bool same_json(const char *a, const char *b)
{
    for (;; a++, b++) {
        while (*a == ' ')
            a++;
        while (*b == ' ')
            b++;
        if (*a != *b || !*a)
            return *a == *b;
    }
}

static bool check(const char *name, const char *text, size_t n)
{
    static const struct {
        const char *calls, *want;
    } tries[] = {
        {CALL("get_it", "{\"city\":\"Paris\",\"days\":5}") "," CALL("add", "{\"l\":[1,\"b\"]}"),
         "get_it{\"city\":\"Paris\",\"days\":5};add{\"l\":[1,\"b\"]};"},
        {CALL("get_it", "{\"city\":\"Paris\",\"days\":5}"), "get_it{\"city\":\"Paris\",\"days\":5};"},
        {CALL("get_it", "\"{\\\"city\\\":\\\"Paris\\\",\\\"days\\\":5}\"") "," CALL(
             "add", "\"{\\\"l\\\":[1,\\\"b\\\"]}\""),
         "get_it{\"city\":\"Paris\",\"days\":5};add{\"l\":[1,\"b\"]};"},
        {CALL("get_it", "\"{\\\"city\\\":\\\"Paris\\\",\\\"days\\\":5}\""),
         "get_it{\"city\":\"Paris\",\"days\":5};"},
    };
    struct seen s;
    for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
        if (!read_back(text, n, tries[i].calls, &s))
            continue;
        if (same_json(s.calls, tries[i].want))
            return true;
        fprintf(stderr, "%s, form %zu: read %s of %s\n", name, i, s.calls, s.content);
    }
    return false;
}

RZ_TEST(roundtrip, every_template)
{
    const char *shared = getenv("RZ_SHARED");
    char folder[400], path[800];
    unsigned n = 0, good = 0;
    snprintf(folder, sizeof(folder), "%s/data/templates", shared && *shared ? shared : "../shared");
    DIR *dir = opendir(folder);
    if (!dir)
        rz_skip("no reference data: RZ_SHARED");
    for (struct dirent *e; (e = readdir(dir));) {
        if (!strstr(e->d_name, ".jinja"))
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
        FILE *f = fopen(path, "rb");
        rz_check(f != NULL);
        static char text[1 << 18];
        size_t len = fread(text, 1, sizeof(text), f);
        fclose(f);
        n++;
        if (check(e->d_name, text, len))
            good++;
        else
            fprintf(stderr, "%s: no calls read back\n", e->d_name);
    }
    closedir(dir);
    fprintf(stderr, "%u of %u templates write calls that are read back\n", good, n);
    rz_check(n >= 37);
    rz_check(good >= 28);
}
