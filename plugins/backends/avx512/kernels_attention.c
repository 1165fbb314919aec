/* kernels_attention.c - attention: its jobs, and what is stored in KV pages. */
#include "avx512.h"

#define ROWS_AT_ONCE 32 /* rows of a sequence that share their reads */
#include "../common/attention_jobs.h"
#include "../common/kv_store.h"

int32_t pairs_accept(const struct rz_kernel_node *n)
{
    return attention_accept(n) && quantised_program(n) && n->attr[RZ_A_HEAD_DIM].i % 16 == 0;
}
