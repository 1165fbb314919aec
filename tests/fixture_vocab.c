/* fixture_vocab.c - two small vocabularies with the structure of real ones: SentencePiece and byte BPE. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS_MAX 512
#define KIND_NORMAL 1
#define KIND_UNKNOWN 2
#define KIND_CONTROL 3
#define KIND_BYTE 6

struct vocab {
    char *text[TOKENS_MAX];
    float score[TOKENS_MAX];
    int32_t kind[TOKENS_MAX];
    uint32_t n;
};

static void add(struct vocab *v, const char *text, int32_t kind, float score)
{
    if (v->n == TOKENS_MAX)
        die("too many tokens");
    v->text[v->n] = must_alloc(strlen(text) + 1);
    memcpy(v->text[v->n], text, strlen(text));
    v->kind[v->n] = kind;
    v->score[v->n] = score;
    v->n++;
}

static void drop(struct vocab *v)
{
    for (uint32_t i = 0; i < v->n; i++)
        free(v->text[i]);
}

/* Pieces longer than a character, in the order in which they merge; _ stands for U+2581. */
static const char *const spm_pieces[] = {
    "_t", "he", "_a", "in",   "er",  "_the", "on",   "re",  "_s", "at",  "_w", "en",
    "_o", "nd", "ed", "_and", "or",  "_h",   "is",   "ing", "_c", "ou",  "it", "es",
    "_b", "an", "_f", "_in",  "_to", "as",   "_was", "ll",  "om", "_of", "ar",
};

/* Writes piece with every _ spelled as the three bytes of U+2581. */
static void spell_spm(const char *piece, char out[64])
{
    size_t n = 0;
    for (; *piece; piece++) {
        const char *spelled = "\xe2\x96\x81";
        size_t len = *piece == '_' ? 3 : 1;
        memcpy(out + n, *piece == '_' ? spelled : piece, len);
        n += len;
    }
    out[n] = 0;
}

uint32_t vocab_spm(struct gguf *g)
{
    struct vocab v = {.n = 0};
    char text[64];
    add(&v, "<unk>", KIND_UNKNOWN, 0);
    add(&v, "<s>", KIND_CONTROL, 0);
    add(&v, "</s>", KIND_CONTROL, 0);
    for (int byte = 0; byte < 256; byte++) {
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
        add(&v, text, KIND_BYTE, 0);
    }
    float score = 0;
    for (size_t i = 0; i < sizeof spm_pieces / sizeof spm_pieces[0]; i++) {
        spell_spm(spm_pieces[i], text);
        add(&v, text, KIND_NORMAL, score--);
    }
    for (const char *c = "_etaoinshrdlucmwfgypbvkxqjz.,!"; *c; c++) {
        spell_spm((char[]){*c, 0}, text);
        add(&v, text, KIND_NORMAL, score--);
    }
    gguf_str(g, "tokenizer.ggml.model", "llama");
    gguf_str(g, "tokenizer.ggml.pre", "default");
    gguf_str_array(g, "tokenizer.ggml.tokens", v.text, v.n);
    gguf_f32_array(g, "tokenizer.ggml.scores", v.score, v.n);
    gguf_i32_array(g, "tokenizer.ggml.token_type", v.kind, v.n);
    gguf_u32(g, "tokenizer.ggml.unknown_token_id", 0);
    gguf_u32(g, "tokenizer.ggml.bos_token_id", 1);
    gguf_u32(g, "tokenizer.ggml.eos_token_id", 2);
    gguf_bool(g, "tokenizer.ggml.add_bos_token", 1);
    drop(&v);
    return v.n;
}

/* The character that byte-level BPE shows for a byte, as UTF-8: itself if printable, else U+0100 and up. */
static void spell_byte(int byte, char out[3])
{
    int code = byte, hidden = 0;
    for (int b = 0; b <= byte; b++) {
        int shown = (b >= 33 && b <= 126) || (b >= 161 && b != 173);
        if (!shown && b == byte)
            code = 256 + hidden;
        hidden += !shown;
    }
    if (code < 128) {
        out[0] = (char)code;
        out[1] = 0;
    } else {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 63));
        out[2] = 0;
    }
}

/* Pairs in merge order; _ stands for the space as byte BPE shows it, U+0120. */
static const char *const bpe_merges[] = {
    "_ t", "h e", "i n", "_ a", "r e",  "o n", "e r", "_t he", "_ s",   "a t", "_ w", "o r",  "n d", "_a nd",
    "i s", "o u", "_ o", "e n", "in g", "_ c", "i t", "a s",   "_w as", "e s", "_ b", "_t o", "_ f", "l l",
};

static void spell_bpe(const char *merge, char out[64])
{
    size_t n = 0;
    for (; *merge; merge++) {
        if (*merge == '_') {
            memcpy(out + n, "\xc4\xa0", 2);
            n += 2;
        } else {
            out[n++] = *merge;
        }
    }
    out[n] = 0;
}

uint32_t vocab_bpe(struct gguf *g, const char *pre)
{
    struct vocab v = {.n = 0}, merges = {.n = 0};
    char text[64];
    for (int byte = 0; byte < 256; byte++) {
        char one[3];
        spell_byte(byte, one);
        add(&v, one, KIND_NORMAL, 0);
    }
    for (size_t i = 0; i < sizeof bpe_merges / sizeof bpe_merges[0]; i++) {
        spell_bpe(bpe_merges[i], text);
        add(&merges, text, 0, 0);
        char *gap = strchr(text, ' ');
        memmove(gap, gap + 1, strlen(gap));
        add(&v, text, KIND_NORMAL, 0);
    }
    add(&v, "<|endoftext|>", KIND_CONTROL, 0);
    add(&v, "<|im_end|>", KIND_CONTROL, 0);
    gguf_str(g, "tokenizer.ggml.model", "gpt2");
    gguf_str(g, "tokenizer.ggml.pre", pre);
    gguf_str_array(g, "tokenizer.ggml.tokens", v.text, v.n);
    gguf_i32_array(g, "tokenizer.ggml.token_type", v.kind, v.n);
    gguf_str_array(g, "tokenizer.ggml.merges", merges.text, merges.n);
    gguf_u32(g, "tokenizer.ggml.bos_token_id", v.n - 2);
    gguf_u32(g, "tokenizer.ggml.eos_token_id", v.n - 2);
    gguf_bool(g, "tokenizer.ggml.add_bos_token", 0);
    drop(&v);
    drop(&merges);
    return v.n;
}
