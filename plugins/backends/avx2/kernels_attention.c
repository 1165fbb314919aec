/* kernels_attention.c - attention: its jobs, and what is stored in KV pages. */
#include "avx2.h"

#include "../common/attention_jobs.h"
#include "../common/kv_store.h"
