/* base.cl - what all programs share: the batch, order of sums, half floats. Goes before each other source.
 *
 * Values are rows of float32 in one buffer; a row's stride is a multiple of 16 floats and what lies between
 * width and stride is nobody's, so whole vectors may be read and written there.
 */
#pragma OPENCL FP_CONTRACT OFF
#define ALONE __attribute__((reqd_work_group_size(1, 1, 1)))
#define ROWS_AT 16

/* The batch: counts, then rows of four, sequences of four, wanted rows, tables of pages. */
#define N_ROWS(b) (b)[0]
#define N_WANTED(b) (b)[1]
#define ROW_TOKEN(b, r) (b)[ROWS_AT + 4 * (r)]
#define ROW_SEQ(b, r) (b)[ROWS_AT + 4 * (r) + 1]
#define ROW_POS(b, r) (b)[ROWS_AT + 4 * (r) + 2]
#define SEQ(b, s, i) (b)[(b)[3] + 4 * (s) + (i)]
#define SEQ_LENGTH(b, s) SEQ(b, s, 0)
#define SEQ_ALL(b, s) SEQ(b, s, 1)
#define SEQ_SLOT(b, s) SEQ(b, s, 2)
#define SEQ_VARIANT(b, s) SEQ(b, s, 3)
#define WANTED(b, i) (b)[(b)[4] + (i)]
#define PAGE(b, s, g, p) (b)[(b)[5] + ((s) * (b)[6] + (g)) * (b)[2] + (p)]

inline float sum16(float16 v)
{
    float8 a = v.lo + v.hi;
    float4 b = a.lo + a.hi;
    return (b.x + b.z) + (b.y + b.w);
}

inline float max16(float16 v)
{
    float8 a = fmax(v.lo, v.hi);
    float4 b = fmax(a.lo, a.hi);
    return fmax(fmax(b.x, b.z), fmax(b.y, b.w));
}

inline float16 bf16_16(ushort16 h)
{
    return as_float16(convert_uint16(h) << 16);
}

inline float bf16_1(ushort h)
{
    return as_float((uint)h << 16);
}

/* Round to nearest even. */
inline ushort to_bf16(float f)
{
    uint bits = as_uint(f);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (ushort)(bits >> 16 | 0x40);
    return (ushort)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float sigmoid(float x)
{
    return 1 / (1 + exp(-x));
}

inline float softplus(float x)
{
    return x > 20 ? x : log1p(exp(x));
}
