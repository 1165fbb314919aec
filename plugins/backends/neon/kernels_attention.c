/* kernels_attention.c - attention: its jobs, and what is stored in KV pages. */
#include "neon.h"

#define ROWS_AT_ONCE 4 /* rows of a sequence that share their reads */
#include "../common/attention_jobs.h"
#include "../common/kv_store.h"
