/* rows.h - short forms of the rows of families: keys of config.json (struct rz_hf_key) and tensors (struct
 * rz_hf_spec). For the files that hold such tables only.
 */
#ifndef RZ_SAFETENSORS_ROWS_H
#define RZ_SAFETENSORS_ROWS_H

#include "folder.h"

#define ROW(key, kind, name, value) \
    { \
        key, kind, name, value, 0, 0 \
    }
#define COUNT(key, name) ROW(key, RZ_HF_KEY_COUNT, name, 0)
#define PUT(key, name, value) ROW(key, RZ_HF_KEY_PUT, name, value)
#define TRUTH(key, name) ROW(key, RZ_HF_KEY_TRUTH, name, 0)
#define MUST(key, value) ROW(key, RZ_HF_KEY_MUST, NULL, value)
#define ABSENT(key) ROW(key, RZ_HF_KEY_NULL, NULL, 0)
#define TAKEN(key) ROW(key, RZ_HF_KEY_TAKEN, NULL, 0)
#define SWITCH(key, value, on, off) \
    { \
        key, RZ_HF_KEY_SWITCH, NULL, value, on, off \
    }
#define END_KEYS ROW(NULL, 0, NULL, 0)
#define END \
    { \
        NULL, NULL, 0, 0, 0 \
    }

#endif
