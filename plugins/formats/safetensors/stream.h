/* stream.h - the two long values of tokenizer.json, read where they lie: a vocabulary, an object with a
 * number for each text, and merges, a list of texts or of pairs of texts.
 *
 * A file of 150,000 tokens is mostly these, and a tree of values takes longer to build than all the rest of
 * opening a model. Texts without escapes are borrowed from the mapped file. Nothing is judged here: of what
 * does not read the JSON library tells what is wrong, and where.
 */
#ifndef RZ_SAFETENSORS_STREAM_H
#define RZ_SAFETENSORS_STREAM_H

#include "folder.h"

/* A reader of one of them. */
struct rz_hf_stream {
    struct rz_hf_model *m;
    const char *at, *end;
    bool begun, bad; /* bad: it is not what it should be */
};

struct rz_hf_long {
    struct rz_str vocab, merges; /* data = NULL: is not there, or not an object, or not a list */
};

/* The root of the file without its long values under "model", which are empty there. */
json_t *rz_hf_json_short(struct rz_hf_model *m, const char *name, struct rz_hf_long *l);
/* A file that is such a value as a whole; data = NULL: there is none, or an error. */
struct rz_str rz_hf_json_object(struct rz_hf_model *m, const char *name);
struct rz_hf_stream rz_hf_stream_begin(struct rz_hf_model *m, struct rz_str value);
/* The next member; false: there is none, or it does not read. */
bool rz_hf_stream_token(struct rz_hf_stream *r, struct rz_str *text, int64_t *id);
/* right.data = NULL: a merge that is one text. */
bool rz_hf_stream_merge(struct rz_hf_stream *r, struct rz_str *left, struct rz_str *right);
/* For a stream that went bad: the JSON library's message about the file, or this one. */
void rz_hf_stream_fail(struct rz_hf_model *m, const char *name, const char *where, const char *message);

#endif
