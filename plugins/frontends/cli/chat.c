/* chat.c - `rz chat`: a conversation in the terminal, turn by turn.
 *
 * Owns the messages so far. Answers go to standard output, everything else to standard error; without a
 * terminal each line of standard input is a turn and nothing is asked. Ctrl-C ends an answer, not the
 * program; what was said of it stays in the conversation.
 */
#include <editline/readline.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "generate.h"

#define LINE_MAX_BYTES ((size_t)16 << 20)

struct chat_values {
    struct rz_cli_value model, timings, system, file;
    struct rz_gen_values gen;
};

#define AT(field) offsetof(struct chat_values, field)

static const struct rz_cli_option options[] = {
    {.name = "model", .letter = 'm', .type = OPT_TEXT, .at = AT(model)},
    {.name = "file", .letter = 'f', .type = OPT_TEXT, .at = AT(file)},
    RZ_GEN_OPTIONS(struct chat_values),
    {.name = "timings", .type = OPT_FLAG, .at = AT(timings)},
    {.name = "system", .type = OPT_TEXT, .at = AT(system)},
    {.name = NULL},
};

struct repl {
    struct rz_gen g;
    uint32_t flags; /* RZ_COMMAND_* */
    bool terminal, timings, over, thinking;
    bool block;   /* the text was given in three quotes    */
    int32_t code; /* without a terminal: how the last turn ended */
    struct rz_err *err;
    json_t *messages;
    struct rz_chat *chat;          /* while an answer comes */
    struct rz_buf text, reasoning; /* of the answer */
    FILE *in;
    char *line; /* of getline */
    size_t cap;
};

static volatile sig_atomic_t interrupted;
static volatile int stop_answer;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
    stop_answer = 1;
}

/* --- reading --- */

/* One line without its end; NULL: there is no more. The caller frees. */
static char *read_line(struct repl *r, const char *prompt)
{
    if (r->terminal) {
        char *line = readline(prompt);
        if (line && *line)
            add_history(line);
        return line;
    }
    ssize_t n = getline(&r->line, &r->cap, r->in);
    if (n < 0)
        return NULL;
    while (n && (r->line[n - 1] == '\n' || r->line[n - 1] == '\r'))
        r->line[--n] = 0;
    return strdup(r->line);
}

/* Lines up to one that ends with three quotes. */
static bool read_block(struct repl *r, const char *first, struct rz_buf *out)
{
    static const char quotes[] = "\"\"\"";
    char *line = strdup(first);
    for (bool more = false; line; more = true) {
        size_t n = strlen(line);
        bool end = n >= 3 && !strcmp(line + n - 3, quotes);
        if (more)
            rz_buf_str(out, "\n");
        rz_buf_add(out, line, end ? n - 3 : n);
        free(line);
        if (end)
            return rz_buf_ok(out);
        line = read_line(r, ". ");
    }
    return false;
}

/* What is said next: a line, lines that end with a backslash, or a block in three quotes. */
static bool read_turn(struct repl *r, struct rz_buf *out)
{
    char *line = read_line(r, "> ");
    bool ok = line != NULL;
    r->block = line && !strncmp(line, "\"\"\"", 3);
    if (r->block) {
        ok = read_block(r, line + 3, out);
        free(line);
        return ok;
    }
    while (line) {
        size_t n = strlen(line);
        bool more = n && line[n - 1] == '\\';
        rz_buf_add(out, line, n - more);
        free(line);
        line = NULL;
        if (more) {
            rz_buf_str(out, "\n");
            line = read_line(r, ". ");
        }
    }
    return ok && rz_buf_ok(out);
}

/* --- answering --- */

static void say(struct repl *r, const char *role, const char *text, size_t n)
{
    json_array_append_new(r->messages,
                          json_pack("{s:s,s:o}", "role", role, "content", rz_cli_json_text(text, n)));
}

static void show_piece(void *arg, const struct rz_chat_piece *piece)
{
    struct repl *r = arg;
    bool thought = piece->kind == RZ_CHAT_REASONING;
    bool quiet = r->flags & RZ_COMMAND_QUIET;
    if (r->thinking && !thought && !quiet)
        fprintf(stderr, "%s\n\n", r->terminal ? "\033[0m" : "");
    else if (!r->thinking && thought && !quiet && r->terminal)
        fprintf(stderr, "\033[2m"); /* dim */
    r->thinking = thought;
    if (thought) {
        rz_buf_add(&r->reasoning, piece->text.data, piece->text.len);
        if (!quiet)
            fprintf(stderr, "%.*s", (int)piece->text.len, piece->text.data);
        return;
    }
    rz_buf_add(&r->text, piece->text.data, piece->text.len);
    fwrite(piece->text.data, 1, piece->text.len, stdout);
    fflush(stdout);
}

static int32_t show_event(void *arg, const struct rz_event *ev, struct rz_err *err)
{
    struct repl *r = arg;
    return r->g.chats->feed(r->chat, ev->text, ev->n_text, show_piece, r, err);
}

static void print_timings(const struct repl *r)
{
    const struct rz_event *d = &r->g.done;
    fprintf(stderr, "rz: prompt %u tokens in %.2f s, %u new tokens in %.2f s, seed %llu\n", d->n_prompt,
            d->t_prompt, d->n_new, d->t_gen, (unsigned long long)r->g.request.sampling.seed);
}

/* The model's turn. */
static int32_t answer(struct repl *r, struct rz_err *err)
{
    struct rz_chat_info info;
    rz_buf_clear(&r->text);
    rz_buf_clear(&r->reasoning);
    interrupted = stop_answer = 0;
    r->thinking = false;
    int32_t code = rz_gen_chat(&r->g, json_pack("{s:O}", "messages", r->messages), &r->chat, &info, err);
    uint32_t flags = r->g.request.flags;
    if (!code) {
        r->g.request.flags |= info.request_flags;
        r->g.request.prompt = info.ids;
        r->g.request.n_prompt = (uint32_t)info.n_ids;
        code = rz_gen_stream(&r->g, show_event, r, &stop_answer, err);
        if (!code)
            code = r->g.chats->finish(r->chat, show_piece, r, err);
    }
    r->g.request.flags = flags;
    if (r->chat)
        r->g.chats->close(r->chat);
    r->chat = NULL;
    if (r->thinking && r->terminal && !(r->flags & RZ_COMMAND_QUIET))
        fprintf(stderr, "\033[0m");
    if (code)
        return code;
    rz_cli_write("\n", 1, err);
    say(r, "assistant", r->text.data ? r->text.data : "", r->text.len);
    if (r->reasoning.len)
        json_object_set_new(json_array_get(r->messages, json_array_size(r->messages) - 1),
                            "reasoning_content", rz_cli_json_text(r->reasoning.data, r->reasoning.len));
    if (r->timings)
        print_timings(r);
    if (r->g.done.finish == RZ_FINISH_LENGTH && !(r->flags & RZ_COMMAND_QUIET))
        fprintf(stderr,
                "rz: the answer was cut at its length or the context's (%u tokens); /clear begins anew\n",
                r->g.m.info.n_ctx);
    return RZ_OK;
}

/* A turn that failed is taken back, so that the next one can be another. */
static void turn(struct repl *r, const char *text, size_t n)
{
    struct rz_err err = RZ_ERR_INIT;
    say(r, "user", text, n);
    r->code = answer(r, r->terminal ? &err : r->err);
    if (!r->code)
        return;
    if (r->terminal)
        fprintf(stderr, "rz: error: %s: %s\n", err.where, err.message);
    json_array_remove(r->messages, json_array_size(r->messages) - 1);
    r->over = !r->terminal;
}

/* --- commands --- */

static bool is_role(const json_t *message, const char *role)
{
    const char *is = json_string_value(json_object_get(message, "role"));
    return is && !strcmp(is, role);
}

static void set_system(struct repl *r, const char *text)
{
    if (is_role(json_array_get(r->messages, 0), "system"))
        json_array_remove(r->messages, 0);
    if (*text)
        json_array_insert_new(
            r->messages, 0,
            json_pack("{s:s,s:o}", "role", "system", "content", rz_cli_json_text(text, strlen(text))));
}

static void do_help(struct repl *r, const char *rest)
{
    (void)r;
    (void)rest;
    fprintf(stderr,
            "/clear           forgets the conversation, keeps the system message\n"
            "/system [TEXT]   sets the system message; without TEXT removes it\n"
            "/retry           answers the last message again\n"
            "/undo            takes back the last message and its answer\n"
            "/set KEY VALUE   temp, top-k, top-p, min-p, seed or new\n"
            "/show            the settings, and how long the conversation is\n"
            "/save FILE       writes the conversation as JSON; /load FILE reads it\n"
            "/bye             ends (Ctrl-D too); Ctrl-C ends an answer\n"
            "\"\"\"              begins and ends a text of several lines; so does \\ at a line's end\n");
}

static void do_clear(struct repl *r, const char *rest)
{
    (void)rest;
    size_t keep = is_role(json_array_get(r->messages, 0), "system");
    while (json_array_size(r->messages) > keep)
        json_array_remove(r->messages, json_array_size(r->messages) - 1);
}

static void do_system(struct repl *r, const char *rest)
{
    set_system(r, rest);
}

/* Everything behind the last message of the user; that one too with `too`. False: there is none. */
static bool drop_last(struct repl *r, bool too)
{
    size_t n = json_array_size(r->messages), i = n;
    while (i && !is_role(json_array_get(r->messages, i - 1), "user"))
        i--;
    if (!i)
        fprintf(stderr, "rz: nothing was said yet\n");
    for (size_t keep = too ? i - 1 : i; i && n > keep;)
        json_array_remove(r->messages, --n);
    return i > 0;
}

static void do_retry(struct repl *r, const char *rest)
{
    struct rz_err err = RZ_ERR_INIT;
    (void)rest;
    if (!drop_last(r, false))
        return;
    r->g.request.sampling.seed++; /* else it would say the same */
    if (answer(r, &err))
        fprintf(stderr, "rz: error: %s: %s\n", err.where, err.message);
}

static void do_undo(struct repl *r, const char *rest)
{
    (void)rest;
    drop_last(r, true);
}

static void do_show(struct repl *r, const char *rest)
{
    const struct rz_sampling *s = &r->g.request.sampling;
    (void)rest;
    fprintf(stderr, "model %s, context %u, messages %zu, last prompt %u tokens\n", r->g.m.info.path,
            r->g.m.info.n_ctx, json_array_size(r->messages), r->g.done.n_prompt);
    fprintf(stderr, "temp %g, top-k %d, top-p %g, min-p %g, seed %llu, new %u\n", (double)s->temperature,
            s->top_k, (double)s->top_p, (double)s->min_p, (unsigned long long)s->seed, r->g.request.max_new);
}

static void do_set(struct repl *r, const char *rest)
{
    struct rz_sampling *s = &r->g.request.sampling;
    char key[16] = "";
    size_t n = strcspn(rest, " ");
    double v = 0;
    if (n < sizeof(key))
        memcpy(key, rest, n);
    rest += n + strspn(rest + n, " ");
    bool ok = rz_cli_float(rest, &v) && v >= 0, part = v <= 1, whole = v <= 2147483647.0;
    if (ok && !strcmp(key, "temp") && v <= 100)
        s->temperature = (float)v;
    else if (ok && !strcmp(key, "top-k") && whole)
        s->top_k = (int32_t)v;
    else if (ok && !strcmp(key, "top-p") && part)
        s->top_p = (float)v;
    else if (ok && !strcmp(key, "min-p") && part)
        s->min_p = (float)v;
    else if (ok && !strcmp(key, "seed") && v < 0x1p53)
        s->seed = (uint64_t)v;
    else if (ok && !strcmp(key, "new") && whole)
        r->g.request.max_new = (uint32_t)v;
    else
        fprintf(stderr, "rz: /set: temp 0..100, top-k, top-p 0..1, min-p 0..1, seed or new, and a number\n");
}

static void do_save(struct repl *r, const char *rest)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_cli_file file;
    char *text = json_dumps(r->messages, JSON_INDENT(1));
    int32_t code =
        text ? rz_cli_file_create(&file, rest, true, &err) : rz_fail(&err, RZ_ENOMEM, "/save", "no memory");
    if (!code) {
        code = rz_cli_file_write(&file, text, strlen(text), &err);
        if (!code)
            code = rz_cli_file_commit(&file, &err);
        rz_cli_file_discard(&file);
    }
    if (code)
        fprintf(stderr, "rz: error: %s: %s\n", err.where, err.message);
    free(text);
}

/* A list of messages, or an object with one. */
static int32_t load(struct repl *r, const char *path, struct rz_err *err)
{
    struct rz_buf b;
    json_error_t why;
    rz_buf_init(&b, RZ_CLI_INPUT_MAX);
    int32_t code = rz_cli_read(path, &b, err);
    json_t *root = code ? NULL : json_loadb(b.data ? b.data : "", b.len, 0, &why);
    json_t *list = json_is_object(root) ? json_object_get(root, "messages") : root;
    if (!code && !json_is_array(list))
        code = rz_fail(err, RZ_EFORMAT, path, "no list of messages in JSON%s%s", root ? "" : ": ",
                       root ? "" : why.text);
    if (!code) {
        json_incref(list);
        json_decref(r->messages);
        r->messages = list;
    }
    json_decref(root);
    rz_buf_free(&b);
    return code;
}

static void do_load(struct repl *r, const char *rest)
{
    struct rz_err err = RZ_ERR_INIT;
    if (load(r, rest, &err))
        fprintf(stderr, "rz: error: %s: %s\n", err.where, err.message);
}

static void do_bye(struct repl *r, const char *rest)
{
    (void)rest;
    r->over = true;
}

static void command(struct repl *r, const char *line)
{
    static const struct {
        const char *name;
        void (*run)(struct repl *r, const char *rest);
    } table[] = {
        {"/help", do_help}, {"/?", do_help},      {"/clear", do_clear}, {"/system", do_system},
        {"/set", do_set},   {"/retry", do_retry}, {"/undo", do_undo},   {"/show", do_show},
        {"/save", do_save}, {"/load", do_load},   {"/bye", do_bye},     {"/exit", do_bye},
        {"/quit", do_bye},
    };
    size_t n = strcspn(line, " ");
    const char *rest = line + n + strspn(line + n, " ");
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (strlen(table[i].name) == n && !memcmp(table[i].name, line, n)) {
            table[i].run(r, rest);
            return;
        }
    fprintf(stderr, "rz: no such command (see /help; a text that begins with / goes between \"\"\")\n");
}

/* --- the loop --- */

static void talk(struct repl *r)
{
    struct rz_buf text;
    rz_buf_init(&text, LINE_MAX_BYTES);
    while (!r->over) {
        interrupted = 0;
        rz_buf_clear(&text);
        if (!read_turn(r, &text)) {
            if (!r->terminal || !interrupted)
                break;
            fprintf(stderr, "\n");
            continue;
        }
        if (text.len && text.data[0] == '/' && !r->block)
            command(r, text.data);
        else if (text.len)
            turn(r, text.data, text.len);
    }
    rz_buf_free(&text);
}

/* A model without a template is refused before anything is asked. */
static int32_t probe(struct repl *r, struct rz_err *err)
{
    struct rz_err why = RZ_ERR_INIT;
    struct rz_chat *chat;
    struct rz_chat_info info;
    json_t *hello = json_pack("{s:[{s:s,s:s}]}", "messages", "role", "user", "content", "Hello");
    int32_t code = rz_gen_chat(&r->g, hello, &chat, &info, &why);
    if (chat)
        r->g.chats->close(chat);
    if (code == RZ_ENOTFOUND || code == RZ_EUNSUPPORTED) {
        *err = why;
        return code;
    }
    return RZ_OK;
}

static int32_t start(const struct rz_cli *cli, struct repl *r, const struct chat_values *v,
                     struct rz_err *err)
{
    int32_t code = rz_gen_open(cli, "chat", v->model.text, &v->gen, &r->g, err);
    r->messages = json_array();
    if (!code)
        code = probe(r, err);
    if (!code && v->file.given)
        code = load(r, v->file.text, err);
    if (code)
        return code;
    if (v->system.given)
        set_system(r, v->system.text);
    if (r->terminal && !(r->flags & RZ_COMMAND_QUIET))
        fprintf(stderr, "%s; /help shows the commands\n", r->g.m.info.path);
    struct sigaction action = {.sa_handler = on_interrupt}, before;
    if (r->terminal)
        sigaction(SIGINT, &action, &before);
    talk(r);
    if (r->terminal)
        sigaction(SIGINT, &before, NULL);
    return r->terminal ? RZ_OK : r->code;
}

int32_t rz_cli_chat(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err)
{
    struct chat_values v = {0};
    int status = rz_cli_parse(options, argc, argv, &v, NULL, err);
    if (status)
        return status;
    if (flags & RZ_COMMAND_JSON) {
        rz_fail(err, RZ_ECONFIG, "chat", "--json: not for a conversation (use rz run --json, or rz serve)");
        return 2;
    }
    struct repl r = {.flags = flags,
                     .terminal = isatty(0) && isatty(2),
                     .timings = v.timings.given,
                     .in = stdin,
                     .err = err};
    rz_buf_init(&r.text, RZ_CLI_INPUT_MAX);
    rz_buf_init(&r.reasoning, RZ_CLI_INPUT_MAX);
    int32_t code = start(self, &r, &v, err);
    rz_gen_close(&r.g);
    json_decref(r.messages);
    rz_buf_free(&r.text);
    rz_buf_free(&r.reasoning);
    free(r.line);
    return code ? rz_cli_status(code) : 0;
}
