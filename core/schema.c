/* schema.c - the core's option tables. Facts only; option.c gives them meaning. etc/rz.ini shows each of
 * them, and a test compares the two. */
#include "schema.h"

#include <string.h>

/* clang-format off */
#define OPT(NAME, TYPE, DEF, HELP) \
    {.size = sizeof(struct rz_option), .type = RZ_OPT_##TYPE, .name = NAME, .def = DEF, .help = HELP}
#define OPT_RANGE(NAME, TYPE, DEF, MIN, MAX, HELP) \
    {.size = sizeof(struct rz_option), .type = RZ_OPT_##TYPE, .name = NAME, .def = DEF, .help = HELP, \
     .min = MIN, .max = MAX}
#define OPT_CHOICE(NAME, DEF, CHOICES, HELP) \
    {.size = sizeof(struct rz_option), .type = RZ_OPT_CHOICE, .name = NAME, .def = DEF, .help = HELP, \
     .choices = CHOICES}

static const struct rz_option rz_options[] = {
    OPT("include", LIST, NULL, "other files to read here; * and ? match names"),
    OPT("plugins", LIST, NULL, "names of plugins, the preferred ones first"),
    OPT("plugin_dir", PATH, NULL, "their folder; unset: plugins/ or ../lib/rz/plugins beside the program"),
    OPT("strict_paths", BOOL, "0", "refuse plugins that others than root and this user could change"),
    OPT("frontends", LIST, "http", "what `rz serve` starts"),
    OPT_CHOICE("log_level", "warn", "error|warn|info|debug", "how much is written to stderr"),
    OPT_CHOICE("log_format", "text", "text|json", "lines for people, or one JSON object a line"),
    OPT_CHOICE("fallback", "warn", "allow|warn|deny", "when nobody preferred runs a node, or a device fails"),
    OPT_RANGE("threads", INT, "0", 0, 1024, "CPU threads; 0: cores of the affinity mask and quota"),
    OPT_RANGE("drain_ms", INT, "10000", 0, 3600000, "how long running requests may go on after SIGTERM"),
};

static const struct rz_option engine_options[] = {
    OPT("device", STRING, "cpu", "what models run on: cpu, or a device plugin such as opencl"),
    OPT("layers", STRING, NULL, "on several devices: 0-9:opencl, 10-29:a+b; head:, embed:; or auto"),
    OPT("experts", STRING, NULL, "the device that experts run on; unset: that of their layer"),
    OPT_CHOICE("kv_type", "auto", "auto|f16|bf16|f32|q8_0|fp8",
               "element type of the KV cache; auto: f16, or bf16 where kernels round to it; fp8: cuda alone"),
    OPT_RANGE("context", INT, "0", 0, 16777216, "positions of one sequence; 0: min(trained, 4096)"),
    OPT_RANGE("max_batch_tokens", INT, "512", 1, 65536, "rows of one step"),
    OPT_RANGE("step_ms", INT, "100", 0, 60000, "how long prompts make a step while others generate; 0: any"),
    OPT_RANGE("max_seqs", INT, "16", 1, 1024, "sequences that run at once"),
    OPT_RANGE("page_tokens", INT, "64", 8, 1024, "positions in one KV page, a multiple of 8"),
    OPT_RANGE("max_queue", INT, "256", 1, 65536, "requests waiting or running"),
    OPT_RANGE("kv_pages", INT, "0", 0, 16777216, "KV pages in all; 0: as many as the context needs"),
    OPT("prefix_cache", BOOL, "1", "keep what was computed for prompts that begin alike"),
    OPT_RANGE("prefix_states", INT, "8", 0, 65536, "states of recurrent models that it keeps"),
    OPT_CHOICE("head", "screened", "screened|full", "LM head of greedy, top-k, min-p: the same tokens"),
    OPT("repack_cache", STRING, "off", "folder that keeps repacked weights for the next start; off: none"),
    OPT_RANGE("repack_cache_size", SIZE, "16G", 0, 0x1p63, "bytes of all its files; the oldest go first"),
    OPT("repack_verify", BOOL, "0", "hash its files when they are written and when they are read"),
    OPT_RANGE("timeout_ms", INT, "0", 0, 86400000, "longest time of one request; 0: no limit"),
    OPT_CHOICE("speculate", "off", "off|lookup|draft", "guess tokens ahead: from the text, or a draft model"),
    OPT("draft_model", STRING, NULL, "model that guesses: [model.NAME] or a file with the same vocabulary"),
    OPT_RANGE("draft_tokens", INT, "16", 1, 31, "most tokens guessed ahead in one step"),
    OPT_RANGE("memory", SIZE, "0", 0, 0x1p63, "what the models of a server may take together; 0: no limit"),
    OPT_RANGE("keep_alive", INT, "-1", -1, 31536000, "seconds an unused model stays loaded; -1: for ever"),
};

static const struct rz_option sampling_options[] = {
    OPT_RANGE("temp", FLOAT, "0.8", 0, 100, "temperature; 0 always takes the best token"),
    OPT_RANGE("top_k", INT, "40", 0, 1000000, "draw from the k best; 0: off"),
    OPT_RANGE("top_p", FLOAT, "0.95", 0, 1, "draw from the best that together have this probability; 1: off"),
    OPT_RANGE("min_p", FLOAT, "0.05", 0, 1, "drop what is less probable than this part of the best; 0: off"),
    OPT_RANGE("typical_p", FLOAT, "1", 0, 1, "locally typical sampling; 1: off"),
    OPT_RANGE("repeat_penalty", FLOAT, "1", 0.01, 100, "divides the logits of recent tokens; 1: off"),
    OPT_RANGE("presence_penalty", FLOAT, "0", -100, 100, "subtracted once from recent tokens; 0: off"),
    OPT_RANGE("frequency_penalty", FLOAT, "0", -100, 100, "the same for each occurrence; 0: off"),
    OPT_RANGE("penalty_last_n", INT, "64", -1, 16777216, "tokens that penalties see; -1: the whole context"),
    OPT_RANGE("seed", INT, NULL, 0, 0x1p63, "seed of the draw; unset: a random one"),
};

static const struct rz_option tokenizer_options[] = {
    OPT("pre", STRING, NULL, "pre-tokenizer instead of the one that the model names"),
};

static const struct rz_option limits_options[] = {
    OPT_RANGE("max_tensors", INT, "1000000", 1, 0x1p63, "tensors in one model file"),
    OPT_RANGE("max_metadata", INT, "65536", 1, 0x1p63, "metadata entries in one model file"),
    OPT_RANGE("max_string_bytes", SIZE, "64M", 1, 0x1p63, "bytes of one metadata string"),
    OPT_RANGE("max_array", SIZE, "16M", 1, 0x1p63, "elements of one metadata array"),
};

/* What a file lacks or says otherwise; all but the template become metadata (overrides.c). */
#define MODEL_SETTINGS \
    OPT("chat_template", STRING, NULL, "text of a chat template in place of the model's own (use @file:)"), \
    OPT_RANGE("sliding_window", INT, NULL, 0, 134217728, "positions that layers with a window see; 0: all"), \
    OPT_RANGE("attention_chunk", INT, NULL, 0, 134217728, "positions of one chunk of chunked attention"), \
    OPT_CHOICE("pooling", NULL, "mean|cls|last", "how a text's states become its embedding"), \
    OPT_RANGE("rope_base", FLOAT, NULL, 0.001, 1e12, "base of the rotary embedding"), \
    OPT_CHOICE("rope_scaling", NULL, "none|linear|yarn|dynamic", "how it is stretched"), \
    OPT_RANGE("rope_factor", FLOAT, NULL, 0.000001, 1000000, "by how much"), \
    OPT_RANGE("rope_magnitude", FLOAT, NULL, 0.000001, 1000000, "factor of yarn and long ropes"), \
    OPT_RANGE("rope_original_context", INT, NULL, 1, 134217728, "positions that it was trained for before"), \
    OPT("yarn_truncate", BOOL, NULL, "round the range that yarn corrects")

static const struct rz_option any_model_options[] = {
    MODEL_SETTINGS,
};

static const struct rz_option model_options[] = {
    OPT("path", PATH, NULL, "the model's file"),
    OPT_RANGE("context", INT, "0", 0, 16777216, "positions of one sequence; 0: that of [engine]"),
    OPT_CHOICE("speculate", NULL, "off|lookup|draft", "guess tokens ahead; unset: that of [engine]"),
    OPT("draft_model", STRING, NULL, "model that guesses; unset: that of [engine]"),
    OPT("device", STRING, NULL, "what it runs on; unset: that of [engine]"),
    OPT("layers", STRING, NULL, "its layers on several devices; unset: those of [engine], without a device"),
    OPT("experts", STRING, NULL, "what its experts run on; unset: that of [engine], without a device"),
    OPT_CHOICE("load", "start", "start|use", "when `rz serve` loads it: at the start, or on first use"),
    OPT("aliases", LIST, NULL, "other names of it; *: every name that no model has"),
    OPT_RANGE("keep_alive", INT, NULL, -1, 31536000, "seconds that it stays loaded; unset: that of [engine]"),
    MODEL_SETTINGS,
};

static const struct rz_option plugin_options[] = {
    OPT("path", PATH, NULL, "the plugin's file; unset: NAME.so in plugin_dir"),
    OPT("sha256", STRING, NULL, "the file must have this hash (64 hex digits)"),
    OPT("required", BOOL, "0", "1: rz does not run without this plugin"),
    OPT("prefer", BOOL, "0", "1: before plugins that are not preferred"),
};
/* clang-format on */

#define TABLE(t) t, sizeof(t) / sizeof((t)[0])

static const struct rz_schema_section sections[] = {
    {"rz", "the program", TABLE(rz_options)},
    {"engine", "the engine loop and its KV cache", TABLE(engine_options)},
    {"sampling", "how a token is drawn, unless the command or request says otherwise",
     TABLE(sampling_options)},
    {"tokenizer", "text to token ids", TABLE(tokenizer_options)},
    {"limits", "what a model file may ask for", TABLE(limits_options)},
    {"model", "what any model's file lacks or says otherwise; [model.NAME] has the same",
     TABLE(any_model_options)},
    {"model.", "a model with a name: [model.NAME]", TABLE(model_options)},
    {"plugin.", "a plugin: [plugin.NAME]; its own options are shown by `rz plugin info NAME`",
     TABLE(plugin_options)},
};

const struct rz_schema_section *rz_schema_all(uint32_t *n)
{
    *n = sizeof(sections) / sizeof(sections[0]);
    return sections;
}

const struct rz_schema_section *rz_schema_find(const char *section)
{
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        size_t len = strlen(sections[i].name);
        bool named = sections[i].name[len - 1] == '.';
        if (named ? !strncmp(section, sections[i].name, len) && section[len]
                  : !strcmp(section, sections[i].name))
            return &sections[i];
    }
    return NULL;
}

int32_t rz_schema_option(const struct rz_schema_section *section, const char *key)
{
    for (uint32_t i = 0; i < section->n_options; i++)
        if (!strcmp(section->options[i].name, key))
            return (int32_t)i;
    return -1;
}
