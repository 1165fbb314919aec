/* meta.h - typed access to metadata: a getter names the key, the type that it needs and what it found.
 * A key that is absent is no error: the getters say 0 or NULL then and leave the value as it is. */
#ifndef RZ_TOKENIZERS_META_H
#define RZ_TOKENIZERS_META_H

#include <rz/format.h>
#include <stdbool.h>

const struct rz_meta *rz_meta_find(const struct rz_format_model *m, const char *key);
/* The value of a string key, for probing: {NULL, 0} if absent or of another type. */
struct rz_str rz_meta_text(const struct rz_format_model *m, const char *key);
bool rz_str_is(struct rz_str s, const char *text);

/* 1: read, 0: absent, negative: an error that names the key. */
int32_t rz_meta_get_str(const struct rz_format_model *m, const char *key, struct rz_str *out,
                        struct rz_err *err);
int32_t rz_meta_get_bool(const struct rz_format_model *m, const char *key, bool *out, struct rz_err *err);
/* A token id below n_vocab; all ones (and -1) mean "none" and give -1. */
int32_t rz_meta_get_id(const struct rz_format_model *m, const char *key, uint64_t n_vocab, int32_t *out,
                       struct rz_err *err);
/* An array of elem_type; *out borrows from the map (unaligned, except strings). */
int32_t rz_meta_get_array(const struct rz_format_model *m, const char *key, uint32_t elem_type,
                          const void **out, uint64_t *n, struct rz_err *err);

#endif
