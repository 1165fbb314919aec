/* tools.c - the model tools as a plugin: the table of commands and their help.
 *
 * The header names the commands, so the plugin is loaded only when one of them is used. Holds no state but
 * the host's table.
 */

#include "tools.h"

static const char quantize_usage[] =
    "usage: rz quantize IN OUT TYPE [options]\n"
    "Writes the model IN to OUT (GGUF) with its matrices as TYPE.\n\n"
    "  TYPE, by size         IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ2_M Q2_K_S Q2_K\n"
    "                        IQ3_XXS IQ3_XS Q3_K_S IQ3_S IQ3_M Q3_K_M Q3_K_L\n"
    "                        IQ4_XS IQ4_NL Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K\n"
    "    plain               Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 F16 BF16 F32\n"
    "    special             TQ1_0 TQ2_0 MXFP4 MXFP4_MOE NVFP4 Q1_0 Q2_0\n"
    "  --imatrix FILE        what rz imatrix made: better, and needed below 2.5 bits\n"
    "  --output-type T       type of the output matrix\n"
    "  --embedding-type T    type of the token embedding\n"
    "  --pure                every matrix the same type, no mix\n"
    "  -y                    replaces OUT if it is there\n"
    "  --dry-run             only tells what OUT would be (with -v, every tensor)\n"
    "  -v                    one line a tensor\n"
    "  --json                the closing figures as one JSON object\n";

static const char convert_usage[] =
    "usage: rz convert FOLDER OUT.gguf [options]\n"
    "Writes a model in Hugging Face form (config.json, *.safetensors, tokenizer) as\n"
    "one GGUF file; metadata, tokenizer and chat template included.\n\n"
    "  --type T              of matrices: F32 F16 BF16 Q8_0, or auto: as stored\n"
    "                        (default). Vectors become F32.\n"
    "  -y                    replaces OUT.gguf if it is there\n"
    "  -v                    one line a tensor\n"
    "  --json                the closing figures as one JSON object\n";

static const char imatrix_usage[] =
    "usage: rz imatrix -m MODEL -f TEXT -o OUT [options]\n"
    "Reads a text with the model and writes how much each column of each weight\n"
    "matters, for rz quantize --imatrix.\n\n"
    "  -c CTX                tokens of a window (default 512)\n"
    "  --chunks N            at most N windows (default: all)\n"
    "  --process-output      collects for the output matrix too\n"
    "  -y                    replaces OUT if it is there\n"
    "  --json                one JSON object\n";

#define COMMAND(name_, args_, help_, usage_, run_) \
    { \
        .size = sizeof(struct rz_command), .name = name_, .args = args_, .help = help_, .usage = usage_, \
        .run = run_ \
    }

static const struct rz_command commands[] = {
    COMMAND("quantize", "IN OUT TYPE", "re-quantise a model", quantize_usage, rz_tools_quantize),
    COMMAND("convert", "FOLDER OUT.gguf", "a Hugging Face folder to GGUF", convert_usage, rz_tools_convert),
    COMMAND("imatrix", "-m MODEL -f TEXT -o OUT", "which weights of a model matter", imatrix_usage,
            rz_tools_imatrix),
};

RZ_COMMANDS_PLUGIN("tools", "frontend:tools command:quantize command:convert command:imatrix", commands);
