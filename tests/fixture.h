/* fixture.h - what mkmodel is made of: a seeded generator, a GGUF writer, random blocks, two vocabularies.
 *
 * A tool of the build, not of rz: it trusts itself and ends the program on any error.
 */
#ifndef RZ_FIXTURE_H
#define RZ_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

/* --- random numbers: the same on every machine --- */
struct rng {
    uint64_t state;
};
uint64_t rng_next(struct rng *r);
/* Uniform in lo..hi, both included. */
int rng_int(struct rng *r, int lo, int hi);
/* About normal, mean 0, standard deviation 1, within -4..4. */
double rng_normal(struct rng *r);
/* n of them times std; the caller frees. */
float *random_floats(size_t n, double std, struct rng *r);

/* --- a GGUF file of version 3, kept in memory until gguf_write --- */
struct gguf;
struct gguf *gguf_new(void);
void gguf_u32(struct gguf *g, const char *key, uint32_t value);
void gguf_f32(struct gguf *g, const char *key, float value);
void gguf_bool(struct gguf *g, const char *key, int value);
void gguf_str(struct gguf *g, const char *key, const char *value);
void gguf_str_array(struct gguf *g, const char *key, char *const *values, uint32_t n);
void gguf_f32_array(struct gguf *g, const char *key, const float *values, uint32_t n);
void gguf_i32_array(struct gguf *g, const char *key, const int32_t *values, uint32_t n);
/* A tensor [rows, cols] (rows 0: a vector of cols) of bytes bytes, which are copied. */
void gguf_tensor(struct gguf *g, const char *name, int32_t type, uint32_t cols, uint32_t rows,
                 const void *data, size_t bytes);
/* Writes the file and frees g. */
void gguf_write(struct gguf *g, const char *path);

/* --- weights --- */
/* Bytes of n elements of an RZ_TYPE_*; n must be a multiple of its block. */
size_t weight_bytes(int32_t type, size_t n);
/* Fills out with n random elements of the type, mean about 0 and standard deviation about std; integers are
 * of any bits. */
void weight_random(int32_t type, void *out, size_t n, double std, struct rng *r);
uint16_t half_of(double x);

/* --- vocabularies; both write their metadata and return the number of tokens --- */
/* SentencePiece style: unk, bos, eos, 256 byte tokens, letters, a few words. */
uint32_t vocab_spm(struct gguf *g);
/* Byte-level BPE: 256 byte tokens, a few merges, two control tokens; pre names the splitter. */
uint32_t vocab_bpe(struct gguf *g, const char *pre);

/* Never NULL. */
void *must_alloc(size_t bytes);
void die(const char *what) __attribute__((noreturn));

#endif
