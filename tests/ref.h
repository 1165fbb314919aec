/* ref.h - the independent reference: reads a GGUF file and decodes weights with code of its own.
 *
 * Nothing here is shared with rz beyond the numbers of the types, so that a mistake in rz does not repeat
 * itself here. Plain double precision, plain loops. A tool: any error ends the program.
 */
#ifndef RZ_REF_H
#define RZ_REF_H

#include <stddef.h>
#include <stdint.h>

/* A file in memory; all functions below read it. */
struct ref_file;
struct ref_file *ref_open(const char *path);
void ref_close(struct ref_file *f);

/* A scalar of the metadata as a number, or otherwise if there is none. */
double ref_number(const struct ref_file *f, const char *key, double otherwise);
/* A string of the metadata, copied to out. */
void ref_string(const struct ref_file *f, const char *key, char *out, size_t cap);

/* A tensor decoded to doubles: rows * cols of them, owned by the caller. NULL if there is none. */
double *ref_tensor(const struct ref_file *f, const char *name, uint64_t *cols, uint64_t *rows);

/* Decodes n elements of an RZ_TYPE_*. Returns 0 for a type that it does not know. */
int ref_decode(int32_t type, const uint8_t *in, uint64_t n, double *out);
/* Bytes of n elements; 0 for an unknown type. */
uint64_t ref_bytes(int32_t type, uint64_t n);

void *ref_alloc(size_t bytes);
void ref_die(const char *what, const char *detail) __attribute__((noreturn));

#endif
