/* cuda_peak.cu - what a GPU gives at best, in the same minute as a measurement beside it: reading memory, copying it,
 * and a product of bfloat16 by cublasLt, which is loaded where it is found. Built and run by bench/cuda.sh; prints a
 * line each.
 */
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define MUST(call) \
    do { \
        int e_ = (int)(call); \
        if (e_) { \
            fprintf(stderr, "%s: error %d\n", #call, e_); \
            exit(1); \
        } \
    } while (0)

static __global__ void read_all(const uint4 *from, size_t n, uint32_t *out)
{
    uint32_t sum = 0;
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) {
        uint4 v = __ldcs(from + i);
        sum += v.x ^ v.y ^ v.z ^ v.w;
    }
    if (sum == 0x12345678)
        *out = sum;
}

static __global__ void fill(uint32_t *to, size_t n)
{
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x)
        to[i] = (uint32_t)(i * 2654435761u & 0x807f807fu) | 0x3c003d00u; /* small bfloat16 of both signs */
}

static float best_ms(cudaStream_t s, void (*run)(void *), void *arg)
{
    cudaEvent_t a, b;
    float best = 1e30f, ms;
    MUST(cudaEventCreate(&a));
    MUST(cudaEventCreate(&b));
    for (int i = 0; i < 20; i++) {
        MUST(cudaEventRecord(a, s));
        run(arg);
        MUST(cudaEventRecord(b, s));
        MUST(cudaEventSynchronize(b));
        MUST(cudaEventElapsedTime(&ms, a, b));
        best = ms < best ? ms : best;
    }
    return best;
}

struct memory {
    uint32_t *a, *b, *out;
    size_t bytes;
    int blocks;
};

static void run_read(void *arg)
{
    struct memory *m = (struct memory *)arg;
    read_all<<<m->blocks, 512>>>((const uint4 *)m->a, m->bytes / 16, m->out);
}

static void run_copy(void *arg)
{
    struct memory *m = (struct memory *)arg;
    MUST(cudaMemcpyAsync(m->b, m->a, m->bytes, cudaMemcpyDeviceToDevice));
}

/* Of the toolkit that this was built with, or the one before; elsewhere CUBLASLT names the file. */
static void *library(void)
{
    const char *given = getenv("CUBLASLT"), *names[] = {
        given ? given : "libcublasLt.so.13", "/usr/local/cuda/lib64/libcublasLt.so.13", "libcublasLt.so.12"};
    void *file = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !file; i++)
        file = dlopen(names[i], RTLD_NOW);
    return file;
}

static void *lt;
#define CALL(name) ((decltype(&name))dlsym(lt, #name))

struct product {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c;
    void *pa, *pb, *pc, *work;
    size_t work_bytes;
};

static void run_product(void *arg)
{
    struct product *p = (struct product *)arg;
    float one = 1, zero = 0;
    MUST(CALL(cublasLtMatmul)(p->handle, p->desc, &one, p->pa, p->a, p->pb, p->b, &zero, p->pc, p->c, p->pc, p->c, NULL,
                        p->work, p->work_bytes, 0));
}

static void measure_product(uint32_t *memory, int n)
{
    struct product p = {};
    cublasOperation_t t = CUBLAS_OP_T;
    size_t bytes = (size_t)n * n * 2;
    lt = library();
    if (!lt) {
        printf("no product: libcublasLt.so is not found (CUBLASLT)\n");
        return;
    }
    p.pa = memory;
    p.pb = (char *)memory + bytes;
    p.pc = (char *)memory + 2 * bytes;
    p.work_bytes = 32 << 20;
    MUST(cudaMalloc(&p.work, p.work_bytes));
    MUST(CALL(cublasLtCreate)(&p.handle));
    MUST(CALL(cublasLtMatmulDescCreate)(&p.desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    MUST(CALL(cublasLtMatmulDescSetAttribute)(p.desc, CUBLASLT_MATMUL_DESC_TRANSA, &t, sizeof t));
    MUST(CALL(cublasLtMatrixLayoutCreate)(&p.a, CUDA_R_16BF, n, n, n));
    MUST(CALL(cublasLtMatrixLayoutCreate)(&p.b, CUDA_R_16BF, n, n, n));
    MUST(CALL(cublasLtMatrixLayoutCreate)(&p.c, CUDA_R_16BF, n, n, n));
    printf("bf16 product %d^3: %.1f TFLOP/s\n", n, 2.0 * n * n * n / best_ms(0, run_product, &p) / 1e9);
}

int main(void)
{
    struct cudaDeviceProp prop;
    struct memory m = {};
    MUST(cudaGetDeviceProperties(&prop, 0));
    m.bytes = prop.totalGlobalMem / 8 / 4096 * 4096;
    m.blocks = prop.multiProcessorCount * 8;
    MUST(cudaMalloc(&m.a, m.bytes));
    MUST(cudaMalloc(&m.b, m.bytes));
    MUST(cudaMalloc(&m.out, 4));
    fill<<<m.blocks, 512>>>(m.a, m.bytes / 4);
    printf("%s\nread: %.0f GB/s\n", prop.name, m.bytes / best_ms(0, run_read, &m) / 1e6);
    printf("copy: %.0f GB/s\n", 2.0 * m.bytes / best_ms(0, run_copy, &m) / 1e6);
    measure_product(m.a, m.bytes > 6ull * 8192 * 8192 ? 8192 : 4096);
    return 0;
}
