/* test_config.c - settings: values, expansion, files, layers, names. Files are made in a folder of the
 * test's own. */
#include "config.h"
#include "err.h"
#include "nearest.h"
#include "rz_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- a folder with files, and nothing of the user's own settings --- */

static char folder[64];

static const char *path_of(const char *name)
{
    static char path[4][200];
    static int turn;
    char *p = path[turn++ & 3];
    snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
    return p;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");
    rz_check(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void begin(void)
{
    snprintf(folder, sizeof(folder), "/tmp/rz-config-XXXXXX");
    rz_check(mkdtemp(folder) != NULL);
    setenv("RZ_SYSTEM_CONFIG", path_of("system.ini"), 1);
    setenv("XDG_CONFIG_HOME", folder, 1);
    setenv("HOME", folder, 1);
}

static void end(void)
{
    char command[100];
    snprintf(command, sizeof(command), "%s/rz/rz.ini", folder);
    remove(command);
    rmdir(path_of("rz"));
    const char *names[] = {"system.ini", "a.ini", "b.ini",        "c.ini",
                           "d.ini",      "key",   "conf.d/1.ini", "conf.d/2.ini"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        remove(path_of(names[i]));
    rmdir(path_of("conf.d"));
    rmdir(folder);
}

static struct rz_settings *load(const struct rz_cmdline *cmd)
{
    struct rz_settings *s;
    struct rz_err err = RZ_ERR_INIT;
    rz_check_ok(rz_settings_load(cmd, &s, &err), &err);
    return s;
}

static struct rz_settings *load_text(const char *text)
{
    put("a.ini", text);
    return load(&(struct rz_cmdline){.config_file = path_of("a.ini")});
}

static const char *text_of(struct rz_settings *s, const char *section, const char *key)
{
    const struct rz_option_value *v = rz_settings_get(s, section, key);
    rz_check(v != NULL);
    return v->text;
}

/* Loading this file fails at FILE:line with a message that has `part`. */
static void refuses(const char *text, int line, const char *part)
{
    struct rz_settings *s;
    struct rz_err err = RZ_ERR_INIT;
    char where[240];
    put("a.ini", text);
    struct rz_cmdline cmd = {.config_file = path_of("a.ini")};
    rz_check_eq(rz_settings_load(&cmd, &s, &err), RZ_ECONFIG);
    rz_check(s == NULL);
    snprintf(where, sizeof(where), "%s:%d", path_of("a.ini"), line);
    rz_check_streq(err.where, where);
    rz_check_has(err.message, part);
}

/* --- options --- */

static bool parse_one(uint32_t type, const char *text, struct rz_option_value *v, char *why, size_t cap)
{
    static struct rz_arena arena;
    struct rz_option o = {
        .size = sizeof(o), .type = type, .name = "x", .choices = "f16|f32", .min = 0, .max = 100};
    rz_arena_free(&arena);
    *v = (struct rz_option_value){0};
    return rz_option_parse(&o, text, "/base", &arena, v, why, cap);
}

RZ_TEST(option, good_values)
{
    struct rz_option_value v;
    char why[300];
    rz_check(parse_one(RZ_OPT_INT, "42", &v, why, sizeof(why)) && v.i == 42);
    rz_check(parse_one(RZ_OPT_FLOAT, "2.5e1", &v, why, sizeof(why)) && v.f == 25);
    rz_check(parse_one(RZ_OPT_BOOL, "off", &v, why, sizeof(why)) && v.i == 0);
    rz_check(parse_one(RZ_OPT_BOOL, "true", &v, why, sizeof(why)) && v.i == 1);
    rz_check(parse_one(RZ_OPT_SIZE, "64", &v, why, sizeof(why)) && v.i == 64);
    rz_check(parse_one(RZ_OPT_CHOICE, "f32", &v, why, sizeof(why)) && v.i == 1);
    rz_check(parse_one(RZ_OPT_LIST, " a, b\nc ,d\n", &v, why, sizeof(why)));
    rz_check_streq(v.text, "a,b,c,d");
    rz_check(parse_one(RZ_OPT_LIST, "", &v, why, sizeof(why)));
    rz_check_streq(v.text, "");
    rz_check(parse_one(RZ_OPT_PATH, "x.so", &v, why, sizeof(why)));
    rz_check_streq(v.text, "/base/x.so");
    rz_check(parse_one(RZ_OPT_PATH, "/x.so", &v, why, sizeof(why)));
    rz_check_streq(v.text, "/x.so");
}

RZ_TEST(option, bad_values)
{
    static const struct {
        uint32_t type;
        const char *text, *why;
    } cases[] = {
        {RZ_OPT_INT, "4.5", "not a whole number"},
        {RZ_OPT_INT, "", "not a whole number"},
        {RZ_OPT_INT, " 4", "not a whole number"},
        {RZ_OPT_INT, "101", "out of range (0..100)"},
        {RZ_OPT_INT, "99999999999999999999", "too large"},
        {RZ_OPT_FLOAT, "nan", "not a number"},
        {RZ_OPT_FLOAT, "0x10", "not a number"},
        {RZ_OPT_FLOAT, "1e999", "too large"},
        {RZ_OPT_FLOAT, "-1", "out of range"},
        {RZ_OPT_BOOL, "maybe", "neither yes nor no"},
        {RZ_OPT_SIZE, "-1", "not a size"},
        {RZ_OPT_SIZE, "1T", "not a size"},
        {RZ_OPT_SIZE, "99999999999G", "too large"},
        {RZ_OPT_SIZE, "1K", "out of range"},
        {RZ_OPT_CHOICE, "f61", "did you mean f16?"},
        {RZ_OPT_LIST, "a,,b", "empty item"},
        {RZ_OPT_PATH, "", "empty"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rz_option_value v;
        char why[300] = "";
        rz_check(!parse_one(cases[i].type, cases[i].text, &v, why, sizeof(why)));
        rz_check_has(why, cases[i].why);
    }
}

RZ_TEST(option, a_secret_is_not_shown_in_errors)
{
    struct rz_arena arena = {0};
    struct rz_option o = {.size = sizeof(o), .type = RZ_OPT_INT, .flags = RZ_OPT_SECRET, .name = "x"};
    struct rz_option_value v;
    char why[300];
    rz_check(!rz_option_parse(&o, "hunter2", NULL, &arena, &v, why, sizeof(why)));
    rz_check(!strstr(why, "hunter2"));
    rz_arena_free(&arena);
}

RZ_TEST(nearest, finds_typos_and_only_typos)
{
    struct rz_nearest n;
    char hint[96];
    rz_nearest_init(&n, "kv_typ");
    rz_nearest_try(&n, "context");
    rz_nearest_try(&n, "kv_type");
    rz_nearest_try(&n, "kv_pages");
    rz_check_streq(rz_nearest_hint(&n, hint, sizeof(hint)), " (did you mean kv_type?)");
    rz_nearest_init(&n, "zebra");
    rz_nearest_try(&n, "kv_type");
    rz_check_streq(rz_nearest_hint(&n, hint, sizeof(hint)), "");
    rz_nearest_init(&n, "");
    rz_nearest_try(&n, "a");
    rz_check_streq(rz_nearest_hint(&n, hint, sizeof(hint)), "");
}

/* --- expansion --- */

static const char *expand(const char *raw)
{
    static struct rz_arena arena;
    static char why[400];
    rz_arena_free(&arena);
    const char *text = rz_config_expand(&arena, raw, folder, why, sizeof(why));
    return text ? text : why;
}

RZ_TEST(expand, variables)
{
    begin();
    setenv("RZT_A", "one", 1);
    setenv("RZT_EMPTY", "", 1);
    unsetenv("RZT_NO");
    rz_check_streq(expand("plain"), "plain");
    rz_check_streq(expand("<${RZT_A}>"), "<one>");
    rz_check_streq(expand("${RZT_NO:-two}"), "two");
    rz_check_streq(expand("${RZT_A:-two}"), "one");
    rz_check_streq(expand("${RZT_EMPTY:-two}"), "two");
    rz_check_streq(expand("[${RZT_EMPTY}]"), "[]");
    rz_check_streq(expand("${RZT_NO:-a${RZT_NO:-b}c}"), "abc");
    rz_check_streq(expand("$${RZT_A} $5 $"), "${RZT_A} $5 $");
    rz_check_has(expand("${RZT_NO}"), "RZT_NO}: this variable is not set");
    rz_check_has(expand("a${RZT_A"), "without its \"}\"");
    rz_check_has(expand("${RZT_A?x}"), "not ${NAME}");
    rz_check_has(expand("${}"), "not ${NAME}");
    rz_check_has(expand("${N:-${N:-${N:-${N:-${N:-${N:-${N:-${N:-${N:-${N:-x}}}}}}}}}}"),
                 "inside each other");
    end();
}

RZ_TEST(expand, files)
{
    begin();
    put("key", "se;cret ; with\nlines\n\n");
    rz_check_streq(expand("@file:key"), "se;cret ; with\nlines");
    setenv("RZT_A", "key", 1);
    rz_check_streq(expand("@file:${RZT_A}"), "se;cret ; with\nlines");
    rz_check_has(expand("@file:nothing"), "No such file");
    rz_check_has(expand("@file:"), "needs the name");
    rz_check_has(expand("@file:/tmp"), "not a regular file");
    rz_check_has(expand("@file:/dev/zero"), "not a regular file");
    FILE *f = fopen(path_of("key"), "w");
    fwrite("a\0b", 1, 3, f);
    fclose(f);
    rz_check_has(expand("@file:key"), "no text");
    end();
}

/* --- files --- */

RZ_TEST(file, understands_what_the_manual_says)
{
    begin();
    struct rz_settings *s =
        load_text("\xef\xbb\xbf; comment\n# too\n[rz] ; after a section\nplugins = one, ; list\n"
                  "   two,\n\n\tthree\n[engine]\r\n  kv_type=f32\r\ncontext =   8192   ; inline\n"
                  "[model.a-b.C1]\npath = ~/m.gguf\n[engine]\nmax_seqs = 3");
    rz_check_streq(text_of(s, "rz", "plugins"), "one,two,three");
    rz_check_streq(text_of(s, "engine", "kv_type"), "f32");
    rz_check_eq(rz_settings_get(s, "engine", "context")->i, 8192);
    rz_check_eq(rz_settings_get(s, "engine", "max_seqs")->i, 3);
    rz_check_has(rz_settings_get(s, "engine", "max_seqs")->from, "a.ini:14");
    rz_check_streq(text_of(s, "model.a-b.C1", "path"), path_of("m.gguf"));
    rz_check_streq(rz_settings_section(s, "model.", 0), "model.a-b.C1");
    rz_check(rz_settings_section(s, "model.", 1) == NULL);
    rz_check(rz_settings_given(s, "engine", "max_seqs") && !rz_settings_given(s, "engine", "max_queue"));
    rz_check_streq(rz_settings_get(s, "engine", "max_queue")->from, "default");
    rz_check_eq(rz_settings_get(s, "model.other", "context")->i, 0);
    rz_check(rz_settings_get(s, "engine", "nothing") == NULL);
    rz_check(rz_settings_get(s, "nothing", "context") == NULL);
    rz_settings_free(s);
    end();
}

RZ_TEST(file, mistakes_are_refused_with_their_line)
{
    char text[600] = "[rz]\nplugins = ";
    begin();
    refuses("[engine]\nkv_typ = f16\n", 2, "[engine] kv_typ: no such option (did you mean kv_type?)");
    refuses("\n[engin]\nkv_type = f16\n", 3, "[engin]: no such section (did you mean engine?)");
    refuses("[modle.x]\npath = a\n", 2, "did you mean model.?");
    refuses("context = 5\n", 1, "before the first [section]");
    refuses("[engine]\ncontext\n", 2, "neither a [section] nor a key = value");
    refuses("[engine]\ncontext: 5\n", 2, "write = between key and value");
    refuses("[engine]\n= 5\n", 2, "a value without a key");
    refuses("[engine]\nContext = 5\n", 2, "only a-z");
    refuses("[engine\ncontext = 5\n", 1, "without its \"]\"");
    refuses("[engine] context = 5\n", 1, "something after \"]\"");
    refuses("[]\n", 1, "without a name");
    refuses("[engine]\ncontext = 5\ncontext = 6\n", 3, "given twice; it stands at");
    refuses("[engine]\ncontext = many\n", 2, "\"many\" is not a whole number");
    refuses("[engine]\ncontext = -1\n", 2, "out of range");
    refuses("[engine]\nkv_type = f23\n", 2, "did you mean f32?");
    refuses("[rz]\nstrict_paths = maybe\n", 2, "neither yes nor no");
    refuses("[limits]\nmax_string_bytes = 5T\n", 2, "not a size");
    refuses("[engine]\ncontext = 5\n  max_seqs = 3\n", 3, "belongs to the value of context");
    refuses("[engine]\ncontext = 5\n  [rz]\n", 3, "belongs to the value of context");
    refuses("[tokenizer]\npre = ${NO_SUCH_VARIABLE}\n", 2, "this variable is not set");
    refuses("[tokenizer]\npre = ${OPEN\n", 2, "without its \"}\"");
    refuses("[tokenizer]\npre = @file:nothing\n", 2, "No such file");
    refuses("[tokenizer]\npre = a\x01z\n", 2, "control character");
    refuses("[tokenizer]\npre = \xff\n", 2, "not UTF-8");
    refuses("[rz]\ninclude = nothing.ini\n", 2, "nothing.ini: No such file");
    refuses("[rz]\ninclude = a.ini\n", 2, "includes itself");
    refuses("[rz]\nplugins = a,,b\n", 2, "empty item");
    refuses("[model.a b]\npath = x\n", 2, "a section's name has only");
    memset(text + strlen(text), 'x', 300);
    refuses(text, 2, "a line of");
    snprintf(text, sizeof(text), "[model.%.60s]\n", "x123456789x123456789x123456789x123456789x123456789");
    refuses(text, 1, "a section name of");
    end();
}

RZ_TEST(file, a_missing_file_is_an_error_only_when_named)
{
    struct rz_settings *s;
    struct rz_err err = RZ_ERR_INIT;
    begin();
    rz_settings_free(load(&(struct rz_cmdline){0}));
    struct rz_cmdline cmd = {.config_file = path_of("b.ini")};
    rz_check_eq(rz_settings_load(&cmd, &s, &err), RZ_ECONFIG);
    rz_check_has(err.message, "No such file");
    cmd.config_file = "/tmp";
    rz_check_eq(rz_settings_load(&cmd, &s, &err), RZ_ECONFIG);
    rz_check_has(err.message, "not a regular file");
    end();
}

RZ_TEST(file, nul_bytes_are_refused)
{
    struct rz_settings *s;
    struct rz_err err = RZ_ERR_INIT;
    begin();
    FILE *f = fopen(path_of("a.ini"), "w");
    fwrite("[engine]\ncontext = 5\0 6\n", 1, 24, f);
    fclose(f);
    struct rz_cmdline cmd = {.config_file = path_of("a.ini")};
    rz_check_eq(rz_settings_load(&cmd, &s, &err), RZ_ECONFIG);
    rz_check_has(err.message, "control character (0x00)");
    end();
}

RZ_TEST(include, is_read_in_place_and_relative)
{
    begin();
    mkdir(path_of("conf.d"), 0755);
    put("conf.d/1.ini", "[engine]\ncontext = 1\nmax_seqs = 1\n");
    put("conf.d/2.ini", "[engine]\ncontext = 2\n");
    struct rz_settings *s = load_text(
        "[engine]\nmax_queue = 7\n[rz]\ninclude = conf.d/*.ini, conf.d/none*.ini\n[engine]\nmax_seqs = 9\n");
    rz_check_eq(rz_settings_get(s, "engine", "context")->i, 2);
    rz_check_has(rz_settings_get(s, "engine", "context")->from, "conf.d/2.ini:2");
    rz_check_eq(rz_settings_get(s, "engine", "max_seqs")->i, 9);
    rz_check_eq(rz_settings_get(s, "engine", "max_queue")->i, 7);
    rz_settings_free(s);
    put("b.ini", "[rz]\ninclude = c.ini\n");
    put("c.ini", "[rz]\ninclude = b.ini\n");
    struct rz_cmdline cmd = {.config_file = path_of("b.ini")};
    struct rz_err err = RZ_ERR_INIT;
    rz_check_eq(rz_settings_load(&cmd, &s, &err), RZ_ECONFIG);
    rz_check_has(err.where, "c.ini:2");
    rz_check_has(err.message, "includes itself");
    put("c.ini", "[engine]\nnope = 1\n");
    rz_check_eq(rz_settings_load(&cmd, &s, &err), RZ_ECONFIG);
    rz_check_has(err.where, "c.ini:2");
    end();
}

RZ_TEST(include, depth_is_bounded)
{
    struct rz_settings *s;
    struct rz_err err = RZ_ERR_INIT;
    begin();
    char name[32], text[64];
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "deep%d.ini", i);
        snprintf(text, sizeof(text), i < 11 ? "[rz]\ninclude = deep%d.ini\n" : "[rz]\n", i + 1);
        put(name, text);
    }
    struct rz_cmdline cmd = {.config_file = path_of("deep0.ini")};
    rz_check_eq(rz_settings_load(&cmd, &s, &err), RZ_ECONFIG);
    rz_check_has(err.message, "more than 8 files inside each other");
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "deep%d.ini", i);
        remove(path_of(name));
    }
    end();
}

/* --- layers --- */

RZ_TEST(layers, each_one_is_stronger_than_the_one_before)
{
    static const char *const sets[] = {"engine.max_queue=6", "rz.threads=6", "engine.max_queue=66"};
    begin();
    mkdir(path_of("rz"), 0755);
    put("system.ini",
        "[engine]\nmax_batch_tokens=2\nmax_seqs=2\nkv_pages=2\ntimeout_ms=2\nmax_queue=2\n[rz]\nthreads=2\n");
    put("rz/rz.ini", "[engine]\nmax_seqs=3\nkv_pages=3\ntimeout_ms=3\nmax_queue=3\n[rz]\nthreads=3\n");
    put("a.ini", "[engine]\nkv_pages=4\ntimeout_ms=4\nmax_queue=4\n[rz]\nthreads=4\n");
    setenv("RZ__ENGINE__TIMEOUT_MS", "5", 1);
    setenv("RZ__engine__Max_Queue", "5", 1);
    setenv("RZ__RZ__THREADS", "5", 1);
    struct rz_cmdline cmd = {
        .config_file = path_of("a.ini"), .sets = sets, .n_sets = 3, .threads = 7, .log_level = "debug"};
    struct rz_settings *s = load(&cmd);
    rz_check_eq(rz_settings_get(s, "engine", "page_tokens")->i, 64);
    rz_check_eq(rz_settings_get(s, "engine", "max_batch_tokens")->i, 2);
    rz_check_eq(rz_settings_get(s, "engine", "max_seqs")->i, 3);
    rz_check_eq(rz_settings_get(s, "engine", "kv_pages")->i, 4);
    rz_check_eq(rz_settings_get(s, "engine", "timeout_ms")->i, 5);
    rz_check_streq(rz_settings_get(s, "engine", "timeout_ms")->from, "RZ__ENGINE__TIMEOUT_MS");
    rz_check_eq(rz_settings_get(s, "engine", "max_queue")->i, 66);
    rz_check_streq(rz_settings_get(s, "engine", "max_queue")->from, "-o");
    rz_check_eq(rz_settings_get(s, "rz", "threads")->i, 7);
    rz_check_streq(rz_settings_get(s, "rz", "threads")->from, "--threads");
    rz_check_eq(rz_settings_get(s, "rz", "log_level")->i, 3);
    rz_settings_free(s);
    cmd.bare = true;
    s = load(&cmd);
    rz_check_eq(rz_settings_get(s, "engine", "max_batch_tokens")->i, 512);
    rz_settings_free(s);
    end();
}

static void refuses_set(const char *set, const char *part)
{
    struct rz_settings *s;
    struct rz_err err = RZ_ERR_INIT;
    struct rz_cmdline cmd = {.sets = &set, .n_sets = 1};
    rz_check_eq(rz_settings_load(&cmd, &s, &err), RZ_ECONFIG);
    rz_check_streq(err.where, "-o");
    rz_check_has(err.message, part);
}

RZ_TEST(layers, o_is_cut_at_the_last_dot_before_the_equal_sign)
{
    static const char *const sets[] = {"model.qwen2.5.path=/a=b.c", "tokenizer.pre="};
    begin();
    struct rz_settings *s = load(&(struct rz_cmdline){.sets = sets, .n_sets = 2});
    rz_check_streq(text_of(s, "model.qwen2.5", "path"), "/a=b.c");
    rz_check_streq(text_of(s, "tokenizer", "pre"), "");
    rz_settings_free(s);
    refuses_set("engine.kv_type", "not of the form");
    refuses_set("kv_type=f16", "not of the form");
    refuses_set(".kv_type=f16", "not of the form");
    refuses_set("engine.=f16", "not of the form");
    refuses_set("engine.kv_typ=f16", "did you mean kv_type?");
    refuses_set("engin.kv_type=f16", "did you mean engine?");
    refuses_set("engine.kv_type=f61", "did you mean f16?");
    refuses_set("rz.include=x", "only a file can include");
    refuses_set("tokenizer.pre=\xff", "not UTF-8");
    end();
}

static void refuses_env(const char *name, const char *value, const char *text, const char *part)
{
    struct rz_settings *s;
    struct rz_err err = RZ_ERR_INIT;
    put("a.ini", text);
    struct rz_cmdline cmd = {.config_file = path_of("a.ini")};
    setenv(name, value, 1);
    rz_check_eq(rz_settings_load(&cmd, &s, &err), RZ_ECONFIG);
    rz_check_streq(err.where, name);
    rz_check_has(err.message, part);
    unsetenv(name);
}

RZ_TEST(layers, environment_names)
{
    begin();
    setenv("RZ__MODEL_A_B__CONTEXT", "5", 1);
    setenv("RZ__MODEL_NEW__CONTEXT", "6", 1);
    struct rz_settings *s = load_text("[model.a-b]\npath = x\n");
    rz_check_eq(rz_settings_get(s, "model.a-b", "context")->i, 5);
    rz_check_eq(rz_settings_get(s, "model.new", "context")->i, 6);
    rz_settings_free(s);
    unsetenv("RZ__MODEL_NEW__CONTEXT");
    unsetenv("RZ__MODEL_A_B__CONTEXT");
    refuses_env("RZ__MODEL_A_B__CONTEXT", "5", "[model.a-b]\npath = x\n[model.a.b]\npath = x\n",
                "means both [model.a-b] and [model.a.b]");
    refuses_env("RZ__ENGIN__CONTEXT", "5", "", "did you mean engine?");
    refuses_env("RZ__ENGINE__CONTEX", "5", "", "did you mean context?");
    refuses_env("RZ__ENGINE__CONTEXT", "x", "", "not a whole number");
    refuses_env("RZ__ENGINE", "x", "", "not of the form");
    refuses_env("RZ__ENGINE__", "x", "", "not of the form");
    setenv("RZ__engine__context", "6", 1);
    setenv("RZ__ENGINE__CONTEXT", "5", 1);
    struct rz_err err = RZ_ERR_INIT;
    rz_check_eq(rz_settings_load(&(struct rz_cmdline){0}, &s, &err), RZ_ECONFIG);
    rz_check_has(err.message, "is set by RZ__");
    end();
}

/* --- plugins' sections --- */

static const struct rz_option own[] = {
    {.size = sizeof(struct rz_option), .type = RZ_OPT_INT, .name = "speed", .def = "5", .help = "", .max = 9},
    {.size = sizeof(struct rz_option),
     .type = RZ_OPT_STRING,
     .flags = RZ_OPT_SECRET,
     .name = "token",
     .help = ""},
};
static const struct rz_plugin plugin = {
    .header.name = "my-plug", .options = own, .n_options = 2, .option_stride = sizeof(struct rz_option)};

RZ_TEST(plugin_section, own_options_are_validated_late)
{
    struct rz_config c;
    struct rz_err err = RZ_ERR_INIT;
    begin();
    struct rz_settings *s = load_text("[plugin.my-plug]\nspeed = 7\nrequired = 1\n");
    rz_check_eq(rz_settings_get(s, "plugin.my-plug", "required")->i, 1);
    rz_check_ok(rz_settings_plugin(s, &plugin, &c, &err), &err);
    rz_check_eq(c.n_values, 2);
    rz_check_eq(c.values[0].i, 7);
    rz_check_has(c.values[0].from, "a.ini:2");
    rz_check(c.values[1].text == NULL);
    rz_settings_free(s);
    s = load_text("[plugin.my-plug]\n\nspede = 7\n");
    rz_check_eq(rz_settings_plugin(s, &plugin, &c, &err), RZ_ECONFIG);
    rz_check_has(err.where, "a.ini:3");
    rz_check_has(err.message, "did you mean speed?");
    rz_settings_free(s);
    s = load_text("[plugin.my-plug]\nspeed = 10\n");
    rz_check_eq(rz_settings_plugin(s, &plugin, &c, &err), RZ_ECONFIG);
    rz_check_has(err.message, "out of range");
    rz_settings_free(s);
    end();
}

RZ_TEST(plugin_section, environment_finds_names_with_dashes)
{
    static const char *const names[] = {"other", "my-plug"}, *const two[] = {"my-plug", "my_plug"};
    struct rz_config c;
    struct rz_err err = RZ_ERR_INIT;
    begin();
    setenv("RZ__PLUGIN_MY_PLUG__SPEED", "3", 1);
    struct rz_settings *s = load(&(struct rz_cmdline){0});
    rz_check_ok(rz_config_bind_plugins(s, names, 2, &err), &err);
    rz_check_ok(rz_settings_plugin(s, &plugin, &c, &err), &err);
    rz_check_eq(c.values[0].i, 3);
    rz_settings_free(s);
    s = load(&(struct rz_cmdline){0});
    rz_check_eq(rz_config_bind_plugins(s, two, 2, &err), RZ_ECONFIG);
    rz_check_has(err.message, "means both plugin my-plug and plugin my_plug");
    rz_settings_free(s);
    unsetenv("RZ__PLUGIN_MY_PLUG__SPEED");
    s = load_text("[plugin.my-plub]\nspeed = 3\n");
    rz_check_eq(rz_config_bind_plugins(s, names, 2, &err), RZ_ECONFIG);
    rz_check_has(err.message, "did you mean my-plug?");
    rz_settings_free(s);
    end();
}

/* --- the sample file cannot drift from the schema --- */

/* The line ";KEY = DEFAULT" of a section, as etc/rz.ini writes it. */
static bool sample_has(const char *sample, const struct rz_schema_section *kind, const struct rz_option *o)
{
    char head[64], line[200], help[300], form[128];
    bool named = kind->name[strlen(kind->name) - 1] == '.';
    snprintf(head, sizeof(head), named ? "\n;[%sNAME]\n" : "\n[%s]\n", kind->name);
    snprintf(line, sizeof(line), o->def ? "\n;%s = %s\n" : "\n;%s =\n", o->name, o->def);
    snprintf(help, sizeof(help), "\n; %s (%s)%s", o->help, rz_option_form(o, form, sizeof(form)), line);
    const char *from = strstr(sample, head), *to = from ? strstr(from + 1, "\n\n") : NULL;
    const char *at = from ? strstr(from, help) : NULL;
    return at && (!to || at < to);
}

RZ_TEST(sample, shows_every_option_with_its_default_and_help)
{
    static char sample[1 << 16];
    char path[512];
    const char *source = getenv("RZ_SOURCE");
    snprintf(path, sizeof(path), "%s/etc/rz.ini", source ? source : ".");
    FILE *f = fopen(path, "r");
    if (!f)
        rz_skip("no etc/rz.ini (run from the source folder, or set RZ_SOURCE)");
    sample[fread(sample, 1, sizeof(sample) - 1, f)] = 0;
    fclose(f);
    uint32_t n;
    const struct rz_schema_section *kinds = rz_schema_all(&n);
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t i = 0; i < kinds[k].n_options; i++)
            if (!sample_has(sample, &kinds[k], &kinds[k].options[i]))
                rz_fail_test("etc/rz.ini: [%s] %s is not there as the schema has it", kinds[k].name,
                             kinds[k].options[i].name);
    begin();
    rz_settings_free(load(&(struct rz_cmdline){.config_file = path}));
    end();
}
