/* parse_format.c - how models write tool calls and reasoning: a table, and which row a template belongs to.
 *
 * A template shows what its model was taught by the words that it puts around calls in earlier messages.
 * Rows are tried in order: those that hold rarer words come first.
 */
#define _GNU_SOURCE /* memmem */
#include "parse.h"

#include <string.h>

static const struct rz_parse_format formats[] = {
    {.name = "harmony", .needs = {"<|channel|>", "<|message|>"}, .flags = RZ_PARSE_HARMONY},
    {.name = "gemma4",
     .needs = {"<|tool_call>", "<tool_call|>"},
     .open = "<|tool_call>call:",
     .close = "<tool_call|>",
     .flags = RZ_PARSE_LOOSE},
    {.name = "deepseek-v3.2",
     .needs = {"｜DSML｜", "function_calls"},
     .open = "<｜DSML｜invoke name=\"",
     .close = "</｜DSML｜invoke>",
     .sections = {"<｜DSML｜function_calls>", "</｜DSML｜function_calls>"},
     .flags = RZ_PARSE_INVOKE},
    {.name = "deepseek-v4",
     .needs = {"｜DSML｜"},
     .open = "<｜DSML｜invoke name=\"",
     .close = "</｜DSML｜invoke>",
     .sections = {"<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>"},
     .flags = RZ_PARSE_INVOKE},
    {.name = "deepseek",
     .needs = {"<｜tool▁calls▁begin｜>"},
     .open = "<｜tool▁call▁begin｜>",
     .close = "<｜tool▁call▁end｜>",
     .sections = {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"},
     .flags = RZ_PARSE_NAMED},
    {.name = "kimi",
     .needs = {"<|tool_calls_section_begin|>"},
     .open = "<|tool_call_begin|>",
     .close = "<|tool_call_end|>",
     .sections = {"<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"},
     .flags = RZ_PARSE_NAMED},
    {.name = "mistral", .needs = {"[TOOL_CALLS]"}, .open = "[TOOL_CALLS]", .flags = RZ_PARSE_NAMED},
    {.name = "cohere",
     .needs = {"<|START_ACTION|>"},
     .open = "<|START_ACTION|>",
     .close = "<|END_ACTION|>",
     .drops = {"<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"}},
    {.name = "apertus",
     .needs = {"<|tools_prefix|>"},
     .open = "<|tools_prefix|>",
     .close = "<|tools_suffix|>",
     .flags = RZ_PARSE_KEYED},
    {.name = "apriel", .needs = {"<tool_calls>"}, .open = "<tool_calls>", .close = "</tool_calls>"},
    {.name = "granite",
     .needs = {"<|tool_call|>"},
     .open = "<|tool_call|>",
     .drops = {"<response>", "</response>"}},
    {.name = "functionary", .needs = {">>>all"}, .open = ">>>", .flags = RZ_PARSE_NAMED | RZ_PARSE_ALL},
    {.name = "seed", .needs = {"seed:tool_call"}, .open = "<seed:tool_call>", .close = "</seed:tool_call>"},
    {.name = "lfm2",
     .needs = {"<|tool_list_start|>"},
     .open = "<|tool_call_start|>",
     .close = "<|tool_call_end|>",
     .flags = RZ_PARSE_CALLS},
    {.name = "lfm2",
     .needs = {"List of tools: "},
     .open = "<|tool_call_start|>",
     .close = "<|tool_call_end|>",
     .flags = RZ_PARSE_CALLS},
    {.name = "gigachat",
     .needs = {"function call", "<|role_sep|>"},
     .open = "function call<|role_sep|>\n",
     .sections = {"<|message_sep|>"}},
    {.name = "hermes", .needs = {"<tool_call>"}, .open = "<tool_call>", .close = "</tool_call>"},
    {.name = "functionary-tags",
     .needs = {"<function="},
     .open = "<function=",
     .close = "</function>",
     .flags = RZ_PARSE_NAMED},
    {.name = "llama3", .needs = {"<|python_tag|>"}, .open = "<|python_tag|>", .flags = RZ_PARSE_BARE},
    {.name = "llama3",
     .needs = {"\"parameters\"", "<|start_header_id|>"},
     .open = "<|python_tag|>",
     .flags = RZ_PARSE_BARE},
    {.name = "none"},
};

static const struct {
    const char *open, *close;
} thoughts[] = {
    {"<seed:think>", "</seed:think>"},
    {"[THINK]", "[/THINK]"},
    {"<|START_THINKING|>", "<|END_THINKING|>"},
    {"<|channel>thought", "<channel|>"},
    {"<|inner_prefix|>", "<|inner_suffix|>"},
    {"Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"},
    {"<think>", "</think>"},
};

static bool holds(const char *text, size_t n, const char *what)
{
    return !what || memmem(text, n, what, strlen(what)) != NULL;
}

/* The prompt's own last bytes end with this text, blanks aside. */
static bool ends_with(const char *prompt, size_t n, size_t own, const char *what)
{
    size_t len = strlen(what), end = n;
    while (end && strchr(" \n\t", prompt[end - 1]))
        end--;
    return len <= end && n - (end - len) <= own && !memcmp(prompt + end - len, what, len);
}

/* Tags may be put together from parts by the template: then only their inner word is there. */
static bool has_thoughts(const char *templ, size_t n, const char *close)
{
    char word[40];
    size_t len = strlen(close);
    if (holds(templ, n, close))
        return true;
    if (len < 5 || len >= sizeof(word) || close[0] != '<' || close[1] != '/' || !strchr(close, ':'))
        return false;
    memcpy(word, close + 2, len - 3);
    word[len - 3] = 0;
    return holds(templ, n, word);
}

const struct rz_parse_format *rz_parse_format(const char *name)
{
    const struct rz_parse_format *f = formats;
    while (strcmp(f->name, "none") && strcmp(f->name, name))
        f++;
    return f;
}

struct rz_parse_kind rz_parse_detect(const char *templ, size_t n_templ, const char *prompt, size_t n,
                                     size_t own)
{
    struct rz_parse_kind kind = {.format = formats};
    while (strcmp(kind.format->name, "none") &&
           !(holds(templ, n_templ, kind.format->needs[0]) && holds(templ, n_templ, kind.format->needs[1])))
        kind.format++;
    if (kind.format->flags & RZ_PARSE_HARMONY)
        return kind;
    kind.inside = kind.format->flags & RZ_PARSE_ALL && ends_with(prompt, n, own, kind.format->open);
    for (size_t i = 0; i < sizeof(thoughts) / sizeof(thoughts[0]) && !kind.think_open; i++) {
        if (!has_thoughts(templ, n_templ, thoughts[i].close))
            continue;
        kind.think_open = thoughts[i].open;
        kind.think_close = thoughts[i].close;
        kind.thinking = ends_with(prompt, n, own, thoughts[i].open);
    }
    return kind;
}
