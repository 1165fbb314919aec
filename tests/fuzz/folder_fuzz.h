/* folder_fuzz.h - the steps of opening a folder, for the targets that fuzz one of its files. */
#ifndef RZ_FOLDER_FUZZ_H
#define RZ_FOLDER_FUZZ_H

#include "folder.h"
#include "fuzz.h"

/* A model over these files, with nothing read. */
void fuzz_folder_begin(struct rz_hf_model *m, const struct rz_source *sources, uint32_t n,
                       struct rz_err *err);
/* Looks at its error or its metadata, and frees it. */
void fuzz_folder_end(struct rz_hf_model *m);

#endif
