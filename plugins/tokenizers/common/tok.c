/* tok.c - the calls that only look at the vocabulary. No state of its own. */
#include "tok.h"

#include "err.h"

#include <string.h>

int32_t rz_tok_init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    (void)host;
    (void)config;
    (void)err;
    *self = NULL;
    return RZ_OK;
}

int32_t rz_tok_info(void *tok, struct rz_tokenizer_info *out)
{
    return rz_vocab_info(tok, out);
}

int64_t rz_tok_piece(void *tok, int32_t id, char *out, uint64_t cap)
{
    return rz_vocab_piece(tok, id, out, cap);
}

int32_t rz_tok_kind(void *tok, int32_t id)
{
    return rz_vocab_kind(tok, id);
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

int rz_byte_of(struct rz_str s)
{
    if (s.len != 6 || memcmp(s.data, "<0x", 3) != 0 || s.data[5] != '>')
        return -1;
    int high = hex(s.data[3]), low = hex(s.data[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

int32_t rz_byte_tokens(struct rz_vocab *v, int32_t *byte_id, struct rz_err *err)
{
    memset(byte_id, 0xff, 256 * sizeof(*byte_id));
    for (uint32_t i = 0; i < v->n; i++) {
        int byte = rz_byte_of(v->text[i]);
        if (byte >= 0 && byte_id[byte] < 0) {
            byte_id[byte] = (int32_t)i;
            v->kind[i] = RZ_TOKEN_BYTE; /* files without kinds call it normal */
        } else if (byte < 0 && v->kind[i] == RZ_TOKEN_BYTE) {
            return rz_fail(err, RZ_EFORMAT, "key tokenizer.ggml.tokens",
                           "token %u is a byte but not spelled <0x00> to <0xFF>", i);
        }
    }
    return RZ_OK;
}

/* The spelling with spaces for U+2581, from byte `at` on; returns the bytes needed. */
static uint64_t unescape(struct rz_str s, uint64_t at, char *out, uint64_t cap)
{
    uint64_t len = 0;
    for (int write = 0; write < 2 && (!write || len <= cap); write++) {
        len = 0;
        for (uint64_t i = at; i < s.len; len++) {
            bool space = s.len - i >= RZ_SPACE_LEN && !memcmp(s.data + i, RZ_SPACE, RZ_SPACE_LEN);
            if (write)
                out[len] = space ? ' ' : s.data[i];
            i += space ? RZ_SPACE_LEN : 1;
        }
    }
    return len;
}

int64_t rz_tok_decode(const struct rz_vocab *v, struct rz_decode_state *state, int32_t id, uint32_t flags,
                      bool strip, char *out, uint64_t cap)
{
    int32_t kind = rz_vocab_kind(v, id);
    if (kind < 0)
        return kind;
    struct rz_str s = v->text[id];
    bool begins = state && (!state->n_tokens || state->priv[0]);
    uint64_t need;
    if (kind == RZ_TOKEN_BYTE) {
        char byte = (char)rz_byte_of(s);
        need = (uint64_t)rz_bytes_out(&byte, 1, out, cap);
    } else if (kind == RZ_TOKEN_CONTROL || kind == RZ_TOKEN_UNKNOWN) {
        need = flags & RZ_DECODE_SPECIAL ? (uint64_t)rz_bytes_out(s.data, s.len, out, cap) : 0;
    } else {
        strip = strip && begins && s.len >= RZ_SPACE_LEN && !memcmp(s.data, RZ_SPACE, RZ_SPACE_LEN);
        need = unescape(s, strip ? RZ_SPACE_LEN : 0, out, cap);
        if (strip)
            begins = false;
    }
    if (state && need <= cap) {
        state->n_tokens++;
        state->priv[0] = begins && !need;
    }
    return (int64_t)need;
}
