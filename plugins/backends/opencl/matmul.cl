/* matmul.cl - products with a matrix of one form, an item a strip of 16 rows of the matrix; FORM says
 * which.
 *
 * A strip holds its 16 rows side by side, column after column, so that a vector is one column of the strip.
 * The order of additions of an output depends on the columns alone: how many rows of x an item takes
 * together changes no bit.
 */
#define F32 0
#define F16 1
#define BF16 2
#define Q4 3 /* groups of 32: 16 scales, 16 minima, nibbles of two columns; HALF: these are f16, else f32 */
#define Q8 4 /* groups of GROUP: 16 scales, 16 minima if MINIMA, bytes */
#define TOGETHER 4
#define CHUNK 32 /* rows of x an item */

#if HALF
#define PARAM_BYTES 32
#define PARAM16(p, i) vload_half16(i, (__global const half *)(p))
#define PARAM1(p, i) vload_half(i, (__global const half *)(p))
#else
#define PARAM_BYTES 64
#define PARAM16(p, i) vload16(i, (__global const float *)(p))
#define PARAM1(p, i) ((__global const float *)(p))[i]
#endif

#if FORM == F32
#define COLUMN16(w, c) vload16(c, (__global const float *)(w))
#define ELEMENT(w, r, c) ((__global const float *)(w))[(c)*16 + (r)]
#elif FORM == F16
#define COLUMN16(w, c) vload_half16(c, (__global const half *)(w))
#define ELEMENT(w, r, c) vload_half((c)*16 + (r), (__global const half *)(w))
#elif FORM == BF16
#define COLUMN16(w, c) bf16_16(vload16(c, (__global const ushort *)(w)))
#define ELEMENT(w, r, c) bf16_1(((__global const ushort *)(w))[(c)*16 + (r)])
#elif FORM == Q4
#define GROUP 32
#define HEAD_BYTES (2 * PARAM_BYTES)
#define GROUP_BYTES (HEAD_BYTES + 256)
inline float element(__global const uchar *w, uint r, uint c)
{
    __global const uchar *g = w + c / 32 * GROUP_BYTES;
    uchar q = g[HEAD_BYTES + c % 32 / 2 * 16 + r];
    return fma(PARAM1(g, r), (float)(c & 1 ? q >> 4 : q & 15), PARAM1(g, 16 + r));
}
#define ELEMENT(w, r, c) element(w, r, c)
#else
#define HEAD_BYTES ((1 + MINIMA) * PARAM_BYTES)
#define GROUP_BYTES (HEAD_BYTES + GROUP * 16)
inline float element(__global const uchar *w, uint r, uint c)
{
    __global const uchar *g = w + c / GROUP * GROUP_BYTES;
    float q = (float)(char)g[HEAD_BYTES + c % GROUP * 16 + r], x = PARAM1(g, r) * q;
#if MINIMA
    x += PARAM1(g, 16 + r);
#endif
    return x;
}
#define ELEMENT(w, r, c) element(w, r, c)
#endif

/* Known to the compiler, so that what the rows of x need stays in registers. */
#define EACH(r, n) \
    _Pragma("unroll") for (int r = 0; r < n; r++)

/* acc[r] = the strip times row r of x, for N rows that begin at x + at[r]. */
#if FORM <= BF16
#define DOT(NAME, N) \
    inline void NAME(__global const uchar *w, uint cols, __global const float *x, const uint *at, \
                     float16 *acc) \
    { \
        float16 odd[N]; \
        EACH(r, N) \
            acc[r] = odd[r] = 0; \
        uint c = 0; \
        for (; c + 2 <= cols; c += 2) { \
            float16 a = COLUMN16(w, c), b = COLUMN16(w, c + 1); \
            EACH(r, N) { \
                acc[r] = fma(a, (float16)(x[at[r] + c]), acc[r]); \
                odd[r] = fma(b, (float16)(x[at[r] + c + 1]), odd[r]); \
            } \
        } \
        if (c < cols) \
            EACH(r, N) \
                acc[r] = fma(COLUMN16(w, c), (float16)(x[at[r] + c]), acc[r]); \
        EACH(r, N) \
            acc[r] += odd[r]; \
    }
#elif FORM == Q4
#define DOT(NAME, N) \
    inline void NAME(__global const uchar *w, uint cols, __global const float *x, const uint *at, \
                     float16 *acc) \
    { \
        EACH(r, N) \
            acc[r] = 0; \
        for (uint c = 0; c < cols; c += 32, w += GROUP_BYTES) { \
            float16 even[N], odd[N]; \
            EACH(r, N) \
                even[r] = odd[r] = 0; \
            for (int j = 0; j < 16; j++) { \
                uchar16 q = vload16(j, w + HEAD_BYTES); \
                float16 a = convert_float16(q & (uchar16)15), b = convert_float16(q >> (uchar16)4); \
                EACH(r, N) { \
                    even[r] = fma(a, (float16)(x[at[r] + c + 2 * j]), even[r]); \
                    odd[r] = fma(b, (float16)(x[at[r] + c + 2 * j + 1]), odd[r]); \
                } \
            } \
            float16 d = PARAM16(w, 0), m = PARAM16(w, 1); \
            EACH(r, N) { \
                float s = sum16(vload16(0, x + at[r] + c) + vload16(1, x + at[r] + c)); \
                acc[r] = fma(d, even[r] + odd[r], acc[r]); \
                acc[r] = fma(m, (float16)(s), acc[r]); \
            } \
        } \
    }
#else
#if GROUP == 32
#define SUM_GROUP(x) sum16(vload16(0, x) + vload16(1, x))
#else
#define SUM_GROUP(x) sum16(vload16(0, x))
#endif
#define DOT(NAME, N) \
    inline void NAME(__global const uchar *w, uint cols, __global const float *x, const uint *at, \
                     float16 *acc) \
    { \
        EACH(r, N) \
            acc[r] = 0; \
        for (uint c = 0; c < cols; c += GROUP, w += GROUP_BYTES) { \
            float16 even[N], odd[N]; \
            EACH(r, N) \
                even[r] = odd[r] = 0; \
            for (int j = 0; j < GROUP; j += 2) { \
                float16 a = convert_float16(as_char16(vload16(j, w + HEAD_BYTES))); \
                float16 b = convert_float16(as_char16(vload16(j + 1, w + HEAD_BYTES))); \
                EACH(r, N) { \
                    even[r] = fma(a, (float16)(x[at[r] + c + j]), even[r]); \
                    odd[r] = fma(b, (float16)(x[at[r] + c + j + 1]), odd[r]); \
                } \
            } \
            EACH(r, N) { \
                acc[r] = fma(PARAM16(w, 0), even[r] + odd[r], acc[r]); \
                if (MINIMA) \
                    acc[r] = fma(PARAM16(w, 1), (float16)(SUM_GROUP(x + at[r] + c)), acc[r]); \
            } \
        } \
    }
#endif
DOT(dot_one, 1)
DOT(dot_some, TOGETHER)

inline void put(__global float *y, float16 acc, __global const float *bias, uint n)
{
    if (n == 16) {
        vstore16(bias ? acc + vload16(0, bias) : acc, 0, y);
        return;
    }
    float parts[16];
    vstore16(acc, 0, parts);
    for (uint i = 0; i < n; i++)
        y[i] = bias ? parts[i] + bias[i] : parts[i];
}

/* y = W x + bias; with several parts, each a matrix of its own, what x has beyond the columns follows y. */
__kernel ALONE void matmul(__global const uchar *w, __global float *v, __global const int *b,
                           __global const float *bias, uint count_at, uint x_at, uint x_stride, uint y_at,
                           uint y_stride, uint cols, uint rows, uint strips, ulong strip_bytes, uint x_part,
                           uint y_part)
{
    uint strip = get_global_id(0), part = get_global_id(1), n = b[count_at], first = get_global_id(2) * CHUNK;
    uint end = min(n, first + CHUNK), out = min(16u, rows - strip * 16), at[TOGETHER];
    float16 acc[TOGETHER];
    __global float *y = v + y_at + part * y_part + strip * 16;
    w += (part * strips + strip) * strip_bytes;
    x_at += part * x_part;
    if (bias)
        bias += part * rows + strip * 16;
    uint r = first;
    for (; r + TOGETHER <= end; r += TOGETHER) {
        for (uint i = 0; i < TOGETHER; i++)
            at[i] = x_at + (r + i) * x_stride;
        dot_some(w, cols, v, at, acc);
        for (uint i = 0; i < TOGETHER; i++)
            put(y + (r + i) * y_stride, acc[i], bias, out);
    }
    for (; r < end; r++) {
        at[0] = x_at + r * x_stride;
        dot_one(w, cols, v, at, acc);
        put(y + r * y_stride, acc[0], bias, out);
    }
    for (r = first; r < end && strip == 0; r++)
        for (uint i = cols; i < x_part; i++)
            v[y_at + r * y_stride + part * y_part + rows + i - cols] = v[x_at + r * x_stride + i];
}

/* The rows that chose expert get_global_id(1), TOGETHER at a time. x_step 0: one x for all choices of a
 * row. */
__kernel ALONE void matmul_id(__global const uchar *w, __global float *v, __global const int *b,
                              __global const float *bias, uint count_at, uint x_at, uint x_stride, uint y_at,
                              uint y_stride, uint cols, uint rows, uint strips, ulong strip_bytes,
                              uint x_step, uint ids_at, uint ids_stride, uint used)
{
    uint strip = get_global_id(0), expert = get_global_id(1), n = b[count_at], found = 0;
    uint out = min(16u, rows - strip * 16), at[TOGETHER], to[TOGETHER];
    float16 acc[TOGETHER];
    w += (expert * strips + strip) * strip_bytes;
    if (bias)
        bias += expert * rows + strip * 16;
    for (uint i = 0; i < n * used; i++) {
        uint r = i / used, k = i % used;
        if ((uint)v[ids_at + r * ids_stride + k] != expert)
            continue;
        at[found] = x_at + r * x_stride + k * x_step;
        to[found++] = y_at + r * y_stride + k * rows + strip * 16;
        if (found < TOGETHER)
            continue;
        dot_some(w, cols, v, at, acc);
        for (found = 0; found < TOGETHER; found++)
            put(v + to[found], acc[found], bias, out);
        found = 0;
    }
    for (uint i = 0; i < found; i++) {
        dot_one(w, cols, v, at + i, acc);
        put(v + to[i], acc[0], bias, out);
    }
}

/* Rows of the matrix: of the row's token (which 0), of its position (1), or row `row` (2); added to x
 * unless that is none. An item is 256 columns of a row. */
__kernel ALONE void get_rows(__global const uchar *w, __global float *v, __global const int *b, uint x_at,
                             uint x_stride, uint y_at, uint y_stride, uint cols, ulong strip_bytes,
                             uint which, uint row, uint adds)
{
    uint r = get_global_id(1), first = get_global_id(0) * 256, end = min(cols, first + 256);
    if (which < 2)
        row = which ? ROW_POS(b, r) : ROW_TOKEN(b, r);
    w += row / 16 * strip_bytes;
    for (uint c = first; c < end; c++) {
        float x = ELEMENT(w, row % 16, c);
        v[y_at + r * y_stride + c] = adds ? v[x_at + r * x_stride + c] + x : x;
    }
}
