/* cli.c - the command line as a plugin: the table of commands and their help.
 *
 * Each command lives in a file of its own; this one knows only their names. Holds no state but the
 * host's table.
 */
#include "cli.h"

static const char run_usage[] =
    "usage: rz run -m MODEL [-p TEXT | -f FILE | < TEXT] [options]\n"
    "Answers the text, in the model's chat template, and prints the answer as it\n"
    "comes.\n\n"
    "  -n N                  new tokens (default: to the end, or a full context)\n"
    "  -c CTX                context in tokens (default: min(trained, 4096))\n"
    "  --temp T, --seed N    temperature (0: greedy); same seed, same text\n"
    "  --top-k K, --top-p P, --min-p P, --typical-p P   narrow the choice\n"
    "  --repeat-penalty X, --presence-penalty X, --frequency-penalty X,\n"
    "  --penalty-last-n N    against repetition\n"
    "  --logit-bias ID=ADD   added to a token's logit, -inf bans it (repeatable)\n"
    "  --stop TEXT           ends before this text (repeatable)\n"
    "  --ignore-eos          goes on after the end of sequence\n"
    "  --grammar FILE        the answer fits a GBNF grammar\n"
    "  --json-schema FILE    ... is JSON that fits a schema (or the schema itself)\n"
    "  --regex TEXT          ... is matched by a regular expression as a whole\n"
    "  --system TEXT         the system message\n"
    "  --raw                 no chat template: continues the prompt as it is, with\n"
    "                        special tokens\n"
    "  --session FILE        begins with what an earlier run computed of this text\n"
    "                        (if the file exists), and keeps what this one did there\n"
    "  --logprobs K          shows each token's log probability and K alternatives\n"
    "  --timings             speeds, load time, first token and seed, to stderr\n"
    "  --json                one JSON line a token, then an object with everything\n";

static const char chat_usage[] =
    "usage: rz chat -m MODEL [options]\n"
    "Talks with a model, turn by turn. /help shows the commands; Ctrl-C ends an\n"
    "answer. Without a terminal each line of standard input is a turn.\n\n"
    "  --system TEXT         the system message\n"
    "  -f FILE               goes on with a conversation (JSON, as /save writes it)\n"
    "  -n N                  new tokens of one answer (default: to the end)\n"
    "  -c CTX                context in tokens (default: min(trained, 4096))\n"
    "  --temp T, --seed N, --top-k K, --top-p P, --min-p P, --typical-p P,\n"
    "  --repeat-penalty X, --presence-penalty X, --frequency-penalty X,\n"
    "  --penalty-last-n N, --logit-bias ID=ADD, --stop TEXT, --ignore-eos,\n"
    "  --grammar FILE, --json-schema FILE, --regex TEXT: as for run\n"
    "  --timings             speeds and seed of each answer, to stderr\n";

static const char info_usage[] = "usage: rz info MODEL [options]\n"
                                 "Shows what a model file is.\n\n"
                                 "  --tensors             every tensor: name, type, shape, bytes\n"
                                 "  --metadata [KEY]      all metadata, or the value of one key\n"
                                 "  --vocab               every token: id, kind, piece\n"
                                 "  --json                the same as one JSON object\n";

static const char tokenize_usage[] =
    "usage: rz tokenize -m MODEL [-p TEXT | -f FILE | < TEXT] [options]\n"
    "Prints the token ids of a text on one line.\n\n"
    "  --pieces              one token a line: id, TAB, piece as a JSON string\n"
    "  --lines               reads one JSON string a line, prints its ids on a line\n"
    "  --no-special          does not parse special tokens in the text\n"
    "  --bos, --eos          adds the begin / end of sequence token\n"
    "  --json                {\"ids\":[...]} (a line for each text with --lines)\n";

static const char detokenize_usage[] =
    "usage: rz detokenize -m MODEL [-p IDS | -f FILE | < IDS] [options]\n"
    "Prints the text of token ids (separated by spaces, commas or newlines).\n\n"
    "  --lines               reads ids of one text a line, prints JSON strings\n"
    "  --no-special          leaves control tokens out\n"
    "  --json                {\"text\":\"...\"} (a line for each text with --lines)\n";

static const char template_usage[] =
    "usage: rz template (-m MODEL | --template FILE) [-f MESSAGES.json | < JSON]\n"
    "Prints the prompt that a chat template makes of a conversation: a JSON list of\n"
    "messages, or an object with messages, tools, documents, add_generation_prompt\n"
    "(true unless given), chat_template_kwargs and any other template variable.\n\n"
    "  --template FILE       this template; with -m in place of the model's own\n"
    "  --ids                 the token ids that run, chat and serve make of it (-m)\n"
    "  --json                {\"prompt\":\"...\"}; with -m also its ids, how answers are\n"
    "                        read, and the stretches that the conversation gave\n";

static const char embed_usage[] =
    "usage: rz embed -m MODEL [-p TEXT ... | -f FILE | < TEXTS] [options]\n"
    "Prints one vector a text; -f and standard input give one text a line.\n\n"
    "  --pooling mean|cls|last   of the hidden states (default: as the model says)\n"
    "  --normalize           makes the length of each vector 1\n"
    "  --truncate            cuts a text that is longer than the context\n"
    "  -c CTX                context in tokens (default: min(trained, 4096))\n"
    "  --format json|text|binary   a JSON array a line (default), numbers a line, or\n"
    "                        raw little-endian float32\n"
    "  --tokens FILE.i32     one text as raw little-endian int32 ids\n"
    "  --json                {\"index\":0,\"tokens\":7,\"embedding\":[...]} a line\n";

static const char eval_usage[] =
    "usage: rz eval -m MODEL --tokens FILE.i32 --logits OUT.f32 [options]\n"
    "Evaluates raw little-endian int32 ids; writes float32 logits [T, vocab].\n\n"
    "  --rows last|all       only the last position, or all of them (default)\n"
    "  --hidden              the final hidden state [T, n_embd] in place of logits\n"
    "  --chunk N             rows of one step (default: as many as fit)\n"
    "  --beside N            runs N other sequences in the same steps\n"
    "  --fork N              goes on from position N in a copy of the sequence\n"
    "  -c CTX                context (default: the number of ids)\n";

static const char perplexity_usage[] =
    "usage: rz perplexity -m MODEL -f FILE [options]\n"
    "Perplexity of a text: windows of CTX tokens, the second half of each is scored.\n\n"
    "  --ctx N               window (default 512)\n"
    "  --chunks N            at most N windows (default: all)\n"
    "  --logits OUT.f32      saves the logits of the windows [windows * ctx, vocab]\n"
    "  --kl BASE.f32         compares with such a file: mean KL, top-1 agreement\n"
    "  --json                one JSON object\n";

static const char bench_usage[] =
    "usage: rz bench -m MODEL [options]\n"
    "Measures prompt and decode speed; one line a test.\n\n"
    "  -p N,..               prompt lengths (default 512; 0: no such test)\n"
    "  -n N,..               new tokens (default 128; 0: no such test)\n"
    "  -d DEPTH,..           tokens already in the KV cache (default 0)\n"
    "  -b BATCH,..           sequences together (default 1)\n"
    "  --whole               -p and -n as one job: new tokens over its whole time\n"
    "  -r REPS               repetitions (default 5)\n"
    "  --json                one JSON object a line\n";

static const char plan_usage[] = "usage: rz plan MODEL --explain\n"
                                 "Shows which device and kernel runs each node, why, and its cost.\n\n"
                                 "  -c CTX                context to plan for\n"
                                 "  --json                {\"plan\":[line, ...]}\n";

#define COMMAND(name_, args_, help_, usage_, run_) \
    { \
        .size = sizeof(struct rz_command), .name = name_, .args = args_, .help = help_, .usage = usage_, \
        .run = run_ \
    }

static const struct rz_command commands[] = {
    COMMAND("run", "-m MODEL [-p TEXT | -f FILE]", "generate text", run_usage, rz_cli_run),
    COMMAND("chat", "-m MODEL", "talk with a model", chat_usage, rz_cli_chat),
    COMMAND("info", "MODEL", "what a model file is", info_usage, rz_cli_info),
    COMMAND("tokenize", "-m MODEL [-p TEXT | -f FILE]", "token ids of a text", tokenize_usage,
            rz_cli_tokenize),
    COMMAND("detokenize", "-m MODEL", "text of token ids", detokenize_usage, rz_cli_detokenize),
    COMMAND("template", "-m MODEL -f MESSAGES.json", "the prompt of a conversation", template_usage,
            rz_cli_template),
    COMMAND("embed", "-m MODEL [-p TEXT | -f FILE]", "a vector for each text", embed_usage, rz_cli_embed),
    COMMAND("eval", "-m MODEL --tokens FILE --logits OUT", "logits of given tokens", eval_usage, rz_cli_eval),
    COMMAND("perplexity", "-m MODEL -f FILE", "perplexity of a text", perplexity_usage, rz_cli_perplexity),
    COMMAND("bench", "-m MODEL", "prompt and decode speed", bench_usage, rz_cli_bench),
    COMMAND("plan", "MODEL --explain", "who runs what, and why", plan_usage, rz_cli_plan),
};

RZ_COMMANDS_PLUGIN("cli", "frontend:cli", commands);
