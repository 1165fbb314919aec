/* fibers.cc - a block of threads on one thread of the host: each is a fiber with a stack of its own.
 *
 * Owns the stacks, the shared memory and the meetings. A fiber runs until it meets others that are not there
 * yet, or returns. RZ_SHIM_ORDER=reverse lets the last thread of a block run first: what depends on the
 * order of the threads between two meetings differs then.
 */
#include "cuda_shim.h"
#include "shim.h"

#include <stdio.h>
#include <stdlib.h>

#define WARP 32
#define THREADS_MAX 1024
#define STACK (128u << 10)

struct shim_dim shim_thread, shim_block, shim_block_dim, shim_grid_dim;

enum state {
    READY,
    BLOCK,
    WARP_WAIT,
    DONE
};

struct fiber {
    void *sp;
    uint8_t *stack;
    enum state state;
    uint32_t exchanges;
};

struct warp {
    uint32_t arrived;
    uint32_t slot[2][WARP];
    const uint32_t *a[WARP], *b[WARP];
    const uint16_t *rows[WARP];
};

static struct fiber fibers[THREADS_MAX];
static struct warp warps[THREADS_MAX / WARP];
static void *scheduler;
static uint32_t n_threads, current, block_arrived;
static bool flat;
static const struct shim_kernel *kernel;
static const void *kernel_params;
static uint8_t *shared;

static void die(const char *what)
{
    fprintf(stderr, "cuda shim: kernel %s, block %u %u %u, thread %u: %s\n", kernel->name, shim_block.x,
            shim_block.y, shim_block.z, current, what);
    abort();
}

#if defined(__x86_64__)
/* Saves what a call must keep on this stack, and goes on where the other one was left. */
extern "C" void rz_shim_switch(void **from, void *to);
__asm__(".text\n.globl rz_shim_switch\n.hidden rz_shim_switch\n.type rz_shim_switch,@function\n"
        "rz_shim_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
        ".size rz_shim_switch,.-rz_shim_switch\n");

static void prepare(struct fiber *f, void (*entry)(void))
{
    void **top = (void **)((uintptr_t)(f->stack + STACK) & ~(uintptr_t)63);
    *--top = nullptr; /* a return address that nobody uses: the stack is aligned as after a call */
    *--top = (void *)entry;
    for (int i = 0; i < 6; i++)
        *--top = nullptr;
    f->sp = top;
}
#else
#include <ucontext.h>
static ucontext_t contexts[THREADS_MAX], main_context;

static void rz_shim_switch(void **from, void *to)
{
    ucontext_t *self = from == &scheduler ? &main_context : &contexts[(struct fiber *)from - fibers];
    *from = self;
    swapcontext(self, (ucontext_t *)to);
}

static void prepare(struct fiber *f, void (*entry)(void))
{
    ucontext_t *c = &contexts[f - fibers];
    getcontext(c);
    c->uc_stack.ss_sp = f->stack;
    c->uc_stack.ss_size = STACK;
    c->uc_link = nullptr;
    makecontext(c, entry, 0);
    f->sp = c;
}
#endif

static void place(uint32_t t)
{
    current = t;
    shim_thread.x = t % shim_block_dim.x;
    shim_thread.y = t / shim_block_dim.x % shim_block_dim.y;
    shim_thread.z = t / shim_block_dim.x / shim_block_dim.y;
}

static void leave(enum state state)
{
    struct fiber *f = &fibers[current];
    f->state = state;
    rz_shim_switch(&f->sp, scheduler);
}

static void enter(void)
{
    kernel->call(kernel_params);
    leave(DONE);
    die("went on after its end");
}

static void wake(uint32_t first, uint32_t n, enum state state)
{
    for (uint32_t t = first; t < first + n; t++)
        if (fibers[t].state == state)
            fibers[t].state = READY;
}

static void meet_warp(void)
{
    struct warp *w = &warps[current / WARP];
    if (flat)
        die("a kernel that is said to be flat meets others");
    if (++w->arrived < WARP)
        return leave(WARP_WAIT);
    w->arrived = 0;
    wake(current / WARP * WARP, WARP, WARP_WAIT);
}

void __syncthreads(void)
{
    if (flat)
        die("a kernel that is said to be flat meets others");
    if (++block_arrived < n_threads)
        return leave(BLOCK);
    block_arrived = 0;
    wake(0, n_threads, BLOCK);
}

void __syncwarp(void)
{
    meet_warp();
}

/* Two slots: who is one exchange ahead writes where nobody reads. */
uint32_t shim_exchange(uint32_t mine, uint32_t other, bool with_xor)
{
    uint32_t t = current, lane = t % WARP, which = fibers[t].exchanges++ & 1;
    struct warp *w = &warps[t / WARP];
    w->slot[which][lane] = mine;
    meet_warp();
    return w->slot[which][(with_xor ? lane ^ other : other) % WARP];
}

static float element(const uint32_t *regs, uint32_t reg, uint32_t half, bool bf16)
{
    uint16_t h = (uint16_t)(regs[reg] >> (16 * half));
    return bf16 ? rz_bf16_to_f32(h) : rz_f16_to_f32(h);
}

/* d += a b, [16, 8] of 16 products each; product(w, row, col, k) finds the elements in the registers of the
 * lanes. */
template <typename T, typename Product>
static void multiply(T *d, const uint32_t *a, const uint32_t *b, Product product)
{
    uint32_t lane = current % WARP;
    struct warp *w = &warps[current / WARP];
    w->a[lane] = a;
    w->b[lane] = b;
    meet_warp();
    T sum[4];
    for (uint32_t i = 0; i < 4; i++) {
        sum[i] = d[i];
        for (uint32_t k = 0; k < 16; k++)
            sum[i] += product(w, lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2, k);
    }
    meet_warp();
    memcpy(d, sum, sizeof(sum));
}

/* The places of elements are those of mma.m16n8k16 in the documentation of PTX. */
void shim_mma(float *d, const uint32_t *a, const uint32_t *b, bool bf16)
{
    multiply(d, a, b, [bf16](const struct warp *w, uint32_t row, uint32_t col, uint32_t k) {
        return element(w->a[row % 8 * 4 + k % 8 / 2], k / 8 * 2 + row / 8, k % 2, bf16) *
               element(w->b[col * 4 + k % 8 / 2], k / 8, k % 2, bf16);
    });
}

/* The places of elements are those of mma.m16n8k16 of .s8. */
void shim_mma_bytes(int *d, const uint32_t *a, const uint32_t *b)
{
    multiply(d, a, b, [](const struct warp *w, uint32_t row, uint32_t col, uint32_t k) {
        return (int8_t)(w->a[row % 8 * 4 + k / 4][row / 8] >> (k % 4 * 8)) *
               (int8_t)(w->b[col * 4 + k / 4][0] >> (k % 4 * 8));
    });
}

/* As ldmatrix.x4: a lane's elements are 2 (lane % 4) and the next one of row lane / 4, or turned. */
void shim_ldmatrix(uint32_t *r, const uint16_t *p, bool turned)
{
    uint32_t lane = current % WARP, two = lane % 4 * 2, one = lane / 4;
    struct warp *w = &warps[current / WARP];
    if ((uintptr_t)p % 16 || (const uint8_t *)p < shared)
        die("a row of a tile does not begin at 16 bytes of shared memory");
    w->rows[lane] = p;
    meet_warp();
    for (uint32_t i = 0; i < 4; i++) {
        const uint16_t *const *rows = w->rows + 8 * i;
        uint32_t low = turned ? rows[two][one] : rows[one][two];
        uint32_t high = turned ? rows[two + 1][one] : rows[one][two + 1];
        r[i] = low | high << 16;
    }
    meet_warp();
}

void *shim_shared(void)
{
    return shared;
}

/* A warp goes as far as it can before the next one starts: who does not wait for the others is far ahead. */
static bool run_warp(uint32_t warp, bool backwards, uint32_t *left)
{
    bool moved = false;
    for (bool more = true; more;) {
        more = false;
        for (uint32_t i = 0; i < WARP; i++) {
            uint32_t t = warp * WARP + (backwards ? WARP - 1 - i : i);
            if (fibers[t].state != READY)
                continue;
            place(t);
            more = moved = true;
            rz_shim_switch(&scheduler, fibers[t].sp);
            *left -= fibers[t].state == DONE;
        }
    }
    return moved;
}

static void run_fibers(bool backwards)
{
    uint32_t left = n_threads;
    block_arrived = 0;
    memset(warps, 0, sizeof(warps));
    for (uint32_t t = 0; t < n_threads; t++) {
        fibers[t].state = READY;
        fibers[t].exchanges = 0;
        if (!fibers[t].stack && !(fibers[t].stack = (uint8_t *)malloc(STACK)))
            die("no memory for its stack");
        prepare(&fibers[t], enter);
    }
    while (left) {
        bool moved = false;
        for (uint32_t i = 0; i < n_threads / WARP; i++)
            moved |= run_warp(backwards ? n_threads / WARP - 1 - i : i, backwards, &left);
        if (!moved)
            die("threads wait for others that have ended or wait elsewhere");
    }
}

static void run_block(bool backwards, size_t shared_bytes)
{
    memset(shared, 0xff, shared_bytes); /* not a number, whatever is read from it */
    if (!flat)
        return run_fibers(backwards);
    for (uint32_t i = 0; i < n_threads; i++) {
        place(backwards ? n_threads - 1 - i : i);
        kernel->call(kernel_params);
    }
}

void shim_run(const struct shim_kernel *k, const struct shim_dim *grid, const struct shim_dim *block,
              size_t shared_bytes, const void *params)
{
    const char *order = getenv("RZ_SHIM_ORDER");
    bool backwards = order && !strcmp(order, "reverse");
    kernel = k;
    kernel_params = params;
    flat = k->flat;
    n_threads = block->x * block->y * block->z;
    shim_block_dim = *block;
    shim_grid_dim = *grid;
    shared = (uint8_t *)aligned_alloc(64, (shared_bytes + 63) / 64 * 64 + 64);
    if (!shared || n_threads > k->threads || (!flat && n_threads % WARP))
        die("cannot be launched with these threads");
    uint64_t n = (uint64_t)grid->x * grid->y * grid->z;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = backwards ? n - 1 - i : i;
        shim_block = {(uint32_t)(at % grid->x), (uint32_t)(at / grid->x % grid->y),
                      (uint32_t)(at / grid->x / grid->y)};
        run_block(backwards, shared_bytes);
    }
    free(shared);
}

void shim_free_stacks(void)
{
    for (uint32_t t = 0; t < THREADS_MAX; t++) {
        free(fibers[t].stack);
        fibers[t].stack = nullptr;
    }
}
