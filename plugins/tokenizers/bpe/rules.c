/* rules.c - the table of pre-tokenizers: the expressions that the models' publishers give.
 *
 * Where a publisher's list of steps can be said in one expression it is: "single digits, then GPT-2" is one,
 * as what the second step sees as the end of its text is the end or a digit.
 */
#include "rules.h"

#include <string.h>

#define SUFFIX_LOWER "'s|'t|'re|'ve|'m|'ll|'d"
#define SUFFIX_ANY "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define BLANKS "\\s+(?!\\S)|\\s+"
#define LINES_BLANKS "\\s*[\\r\\n]+|" BLANKS

#define GPT2 SUFFIX_LOWER "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|" BLANKS
#define GPT2_DIGITS "\\p{N}|" SUFFIX_LOWER "| ?\\p{L}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?![^\\s\\p{N}])|\\s+"
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define OTHER " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
#define QWEN2_PLAIN(digits) WORD digits "|" OTHER LINES_BLANKS
#define LLAMA3(digits) SUFFIX_ANY "|" QWEN2_PLAIN(digits)

/* Words by case: capitals then small letters. `not` narrows both sets. */
#define UPPER(not ) "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}" not "]"
#define LOWER(not ) "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}" not "]"
#define CASED(not, suffix) \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER(not ) "*" LOWER(not ) "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?" UPPER( \
        not ) "+" LOWER(not ) "*" suffix "|"
#define OTHER_SLASH " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|"
#define GPT4O CASED("", SUFFIX_ANY "?") "\\p{N}{1,3}|" OTHER_SLASH LINES_BLANKS

#define CJK_KANA "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+"
#define CJK_HANGUL "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"
#define DEEPSEEK_WORDS \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
#define DEEPSEEK3 DEEPSEEK_WORDS " ?[\\p{P}\\p{S}]+[\\r\\n]*|" LINES_BLANKS
#define BLOOM " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"
#define PUNCTUATION_RUN(more) "[\\p{P}$+<=>\\^~|" more "]+"

static const struct rz_split_rule rules[] = {
    {.names =
         " gpt-2 phi-2 mpt olmo jais trillion granite-docling roberta-bpe gigachat modern-bert a.x-4.0 mellum"
         " jina-es jina-de jina-v1-en jina-v2-es jina-v2-de jina-v2-code exaone4 ",
     .steps = {GPT2}},
    {.names = " smollm starcoder refact command-r codeshell exaone minerva-7b minerva mellum2 ",
     .steps = {GPT2_DIGITS}},
    {.names = " llama3 llama-3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano ",
     .steps = {LLAMA3("\\p{N}{1,3}")},
     .whole_words = true,
     .add_bos = true},
    {.names = " dbrx smaug-bpe smaug chatglm-bpe ", .steps = {LLAMA3("\\p{N}{1,3}")}},
    {.names = " glm4 glm5 ", .steps = {LLAMA3("\\p{N}{1,3}")}, .whole_words = true},
    {.names = " minicpm5 ", .steps = {"\\p{N}{1,3}", LLAMA3("\\p{N}+")}, .whole_words = true},
    {.names = " qwen2 deepseek-r1-qwen stablelm2 megrez hunyuan solar-open grok-2 kormo f2llmv2 ",
     .steps = {LLAMA3("\\p{N}")}},
    {.names = " laguna ", .steps = {"[^\\n]+|\\n+", LLAMA3("\\p{N}")}},
    {.names = " ufakzeka ", .steps = {QWEN2_PLAIN("\\p{N}")}},
    {.names = " qwen35 ",
     .steps = {SUFFIX_ANY "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| "
                          "?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" LINES_BLANKS}},
    /* Its blanks come in powers of two; the last one before a word belongs to the word. */
    {.names = " jais-2 ", .steps = {LLAMA3("\\p{N}{1,3}"), RZ_STEP_POWERS}},
    {.names = " default ", .steps = {PUNCTUATION_RUN(""), GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {.names = " falcon ", .steps = {PUNCTUATION_RUN("`"), GPT2, "[0-9][0-9][0-9]"}},
    /* The published set has U+3000 too; the implementation that others run takes it for white space. */
    {.names = " deepseek-llm ",
     .steps = {"[\\r\\n]",
               "\\s?["
#include "deepseek_letters.inc"
               "]+",
               "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3001}\\x{3002}]+",
               RZ_STEP_TAIL, CJK_HANGUL, "\\p{N}+"}},
    {.names = " deepseek-coder ", .steps = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK_HANGUL, "\\p{N}"}},
    {.names = " deepseek-v3 hunyuan-dense joyai-llm hy_v4 ", .steps = {"\\p{N}{1,3}", CJK_KANA, DEEPSEEK3}},
    {.names = " spark2_5 ",
     .steps = {"\\p{N}{1,3}", CJK_KANA, DEEPSEEK_WORDS " ?[\\p{P}\\p{S}]+|[\\r\\n]|" BLANKS, "\\p{N}"}},
    {.names = " youtu ",
     .steps = {"[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}\\x{2018}"
               "\\x{2019}\\x{2014}\\x{ff1a}\\x{ff1b}\\x{ff0c}\\x{3001}-\\x{303f}\\x{fe30}-\\x{fe4f}]+|"
               "[\\x{3105}-\\x{312f}]+|" CJK_KANA,
               CASED("", SUFFIX_ANY "?") "\\p{N}|" OTHER_SLASH LINES_BLANKS},
     .whole_words = true},
    {.names = " tekken ",
     .steps = {CASED("", "") "\\p{N}|" OTHER_SLASH LINES_BLANKS},
     .whole_words = true,
     .add_bos = true},
    {.names = " gpt-4o o200k gpt-oss llama4 kanana2 talkie minimax-m2 ", .steps = {GPT4O}},
    {.names = " granite-embed-multi-97m ", .steps = {GPT4O}, .whole_words = true},
    {.names = " tiny_aya cohere2moe ", .steps = {RZ_STEP_ENDING, GPT4O}},
    {.names = " kimi-k2 ",
     .steps = {"\\p{Han}+|" CASED("&&[^\\p{Han}]", SUFFIX_ANY "?") "\\p{N}{1,3}|" OTHER LINES_BLANKS}},
    {.names = " superbpe ", .steps = {"\\p{N}+", RZ_STEP_CUTS}},
    {.names = " bloom poro-chat poro gpt3-finnish ", .steps = {BLOOM}},
    {.names = " viking ", .steps = {BLOOM, "\\p{N}"}},
    {.names = " bailingmoe bailingmoe2 llada-moe ",
     .steps = {"'(?i:[sdmtSDMT\\x{17f}]|ll|ve|re)|" WORD "\\p{N}|" OTHER "\\s*[\\r\\n]|" BLANKS}},
    {.names = " seed-coder ",
     .steps = {SUFFIX_ANY "|" WORD "\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" LINES_BLANKS}},
    {.names = " exaone-moe ",
     .steps = {SUFFIX_ANY "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}|"
                          " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|" BLANKS}},
    {.names = " afmoe ",
     .steps =
         {RZ_STEP_GROUPS,
          "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}\\x{3040}-\\x{30ff}\\x{ff65}-\\x{ff9f}"
          "\\x{2f00}-\\x{2fdf}\\x{e40}-\\x{eff}\\x{1780}-\\x{17ff}\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}"
          "\\x{a9e0}-\\x{a9ff}\\x{ac00}-\\x{d7af}\\x{1100}-\\x{11ff}]+",
          DEEPSEEK3}},
    {.names = " chameleon ",
     .steps = {"<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", "[\\t\\n]|    |  ", "\\p{N}",
               "[\\p{P}!-/:-@\\[-`{-~]", GPT2},
     .add_bos = true},
};

const struct rz_split_rule *rz_split_rules(size_t *n)
{
    *n = sizeof(rules) / sizeof(rules[0]);
    return rules;
}

const struct rz_split_rule *rz_split_find(struct rz_str name)
{
    char padded[67];
    if (!name.len || name.len > 64 || memchr(name.data, ' ', name.len) || memchr(name.data, 0, name.len))
        return NULL;
    padded[0] = ' ';
    memcpy(padded + 1, name.data, name.len);
    memcpy(padded + name.len + 1, " ", 2);
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (strstr(rules[i].names, padded))
            return &rules[i];
    return NULL;
}
