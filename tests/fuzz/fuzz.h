/* fuzz.h - what the fuzz targets share: the entry point, and eyes that look at every byte of a result.
 *
 * A target tests/fuzz/NAME.c is a program of its own with libFuzzer's main (make fuzz TARGET=NAME). It runs
 * the code that the program runs, over the bytes as they are; inputs of several files are cut at NUL bytes.
 */
#ifndef RZ_FUZZ_H
#define RZ_FUZZ_H

#include "err.h"

#include <rz/format.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Reads every byte; what may not be read is the sanitizer's finding. */
void fuzz_read(const void *data, size_t n);
/* Reads all that tables promise: keys, values, names, and the first and the last byte of each tensor. */
void fuzz_tables(const struct rz_format_model *m, const struct rz_source *sources, uint32_t n);
/* A refusal must say something, in texts that end; a success must leave the error alone. Traps if not. */
void fuzz_status(int32_t status, const struct rz_err *err);
/* A file in memory with these bytes: the same one each time. path_of_file names it. */
int fuzz_file(const uint8_t *data, size_t size);
const char *fuzz_file_path(void);
/* Cuts data at NUL bytes into at most cap sources of these names; returns how many there are. */
uint32_t fuzz_sources(const uint8_t *data, size_t size, const char *const *names, struct rz_source *out,
                      uint32_t cap);

#endif
