/* spm.c - tokenizer.model: the vocabulary of a SentencePiece model, a protocol buffer.
 *
 * A minimal reader of the wire format: fields are skipped by their wire type, every length is compared with
 * the bytes that are left, groups and unknown wire types are refused. Only models of the kind BPE without a
 * normaliser's table are what the program's tokenizer does.
 */
#include "folder.h"

#include "err.h"

#include <rz/tokenizer.h>
#include <stdio.h>
#include <string.h>

#define FILE_NAME "tokenizer.model"
#define PIECES 1u /* fields of the model */
#define TRAINER 2u
#define NORMALIZER 3u
#define KIND_BPE 2u /* trainer_spec.model_type */

struct wire {
    struct rz_hf_model *m;
    const uint8_t *begin, *at, *end;
};

struct field {
    uint32_t number, type;
    uint64_t value;      /* of a number                            */
    const uint8_t *data; /* of bytes: value of them                */
};

static void fail(struct wire *w, const char *what)
{
    char where[80];
    snprintf(where, sizeof(where), FILE_NAME ": byte %llu", (unsigned long long)(w->at - w->begin));
    rz_hf_fail(w->m, RZ_EFORMAT, where, "%s", what);
}

static uint64_t varint(struct wire *w)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (w->at == w->end) {
            fail(w, "the file ends within a number");
            return 0;
        }
        uint8_t byte = *w->at++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return value;
    }
    fail(w, "a number is longer than 64 bits");
    return 0;
}

static void take_fixed(struct wire *w, struct field *f, size_t n)
{
    if ((size_t)(w->end - w->at) < n) {
        fail(w, "the file ends within a number");
        return;
    }
    memcpy(&f->value, w->at, n);
    w->at += n;
}

/* The next field; false: the end, or an error. */
static bool next(struct wire *w, struct field *f)
{
    *f = (struct field){0};
    if (w->m->status || w->at == w->end)
        return false;
    uint64_t tag = varint(w);
    f->type = tag & 7;
    f->number = tag >> 3 > UINT32_MAX ? 0 : (uint32_t)(tag >> 3);
    if (!w->m->status && !f->number)
        fail(w, "a field has no number");
    if (w->m->status)
        return false;
    if (f->type == 0)
        f->value = varint(w);
    else if (f->type == 1 || f->type == 5)
        take_fixed(w, f, f->type == 1 ? 8 : 4);
    else if (f->type == 2) {
        f->value = varint(w);
        f->data = w->at;
        if (f->value > (uint64_t)(w->end - w->at))
            fail(w, "a field runs past the end of what holds it");
        else
            w->at += f->value;
    } else {
        fail(w, "a field of a wire type that is not 0, 1, 2 or 5");
    }
    return !w->m->status;
}

static struct wire inside(const struct wire *w, const struct field *f)
{
    return (struct wire){w->m, w->begin, f->data, f->data + f->value};
}

static void read_piece(struct wire *w, struct rz_hf_vocab *v, const struct field *piece)
{
    struct wire p = inside(w, piece);
    struct field f;
    const char *text = "";
    size_t len = 0;
    float score = 0;
    uint64_t type = RZ_TOKEN_NORMAL; /* the numbers of kinds are the same as ours */
    while (next(&p, &f)) {
        if (f.number == 1 && f.type == 2) {
            text = (const char *)f.data;
            len = (size_t)f.value;
        } else if (f.number == 2 && f.type == 5) {
            uint32_t bits = (uint32_t)f.value;
            memcpy(&score, &bits, sizeof(score));
        } else if (f.number == 3 && f.type == 0) {
            type = f.value;
        }
    }
    if (!w->m->status && (type < RZ_TOKEN_NORMAL || type > RZ_TOKEN_BYTE))
        fail(&p, "a piece has a kind that is not 1 to 6");
    if (w->m->status)
        return;
    uint32_t id = v->n;
    rz_hf_token(w->m, v, FILE_NAME, id, (struct rz_str){text, len}, (int32_t)type, false);
    if (!w->m->status)
        v->score[id] = score;
}

static void check_trainer(struct wire *w, const struct field *trainer)
{
    struct wire t = inside(w, trainer);
    struct field f;
    uint64_t kind = 1;
    while (next(&t, &f))
        if (f.number == 3 && f.type == 0)
            kind = f.value;
    if (!w->m->status && kind != KIND_BPE)
        rz_hf_fail(w->m, RZ_EUNSUPPORTED, FILE_NAME,
                   "is a SentencePiece model of the kind %s: this rz has BPE in folders",
                   kind == 1   ? "unigram"
                   : kind == 3 ? "word"
                   : kind == 4 ? "char"
                               : "?");
}

static void read_normalizer(struct wire *w, const struct field *normalizer)
{
    struct wire n = inside(w, normalizer);
    struct field f;
    bool prefix = true, table = false;
    while (next(&n, &f)) {
        if (f.number == 2 && f.type == 2)
            table = f.value != 0;
        if (f.number == 3 && f.type == 0)
            prefix = f.value != 0;
    }
    if (table)
        rz_hf_fail(w->m, RZ_EUNSUPPORTED, FILE_NAME, "has a normaliser's table, which this rz does not have");
    if (!prefix || w->m->c.family->no_prefix)
        rz_hf_put_bool(w->m, "tokenizer.ggml.add_space_prefix", false);
}

void rz_hf_read_spm(struct rz_hf_model *m, struct rz_hf_vocab *v, const struct rz_source *s)
{
    struct wire w = {m, s->data, s->data, s->data + s->bytes};
    struct field f;
    bool trainer = false;
    if (m->status)
        return;
    v->spm = true;
    rz_hf_put_str(m, "tokenizer.ggml.model", "llama", 5);
    rz_hf_put_str(m, "tokenizer.ggml.pre", "default", 7);
    while (next(&w, &f)) {
        if (f.type != 2)
            continue;
        if (f.number == PIECES)
            read_piece(&w, v, &f);
        else if (f.number == TRAINER)
            check_trainer(&w, &f);
        else if (f.number == NORMALIZER)
            read_normalizer(&w, &f);
        trainer |= f.number == TRAINER;
    }
    if (!m->status && (!v->n || !trainer))
        rz_hf_fail(m, RZ_EFORMAT, FILE_NAME, v->n ? "has no trainer_spec" : "has no pieces");
}
