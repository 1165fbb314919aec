/* vec_math.h - functions of eight floats that activations and soft-caps are made of; for kernel files only.
 *
 * Error bounds are against the exact result in units of its last place, beside vec_exp (vec.h), and are
 * held by tests/test_elementwise.c and, for vec_softplus, tests/test_recurrent.c. Polynomials are minimax
 * in the relative error, fitted for this file. NaN in, NaN out.
 */
#ifndef RZ_X86_VEC_MATH_H
#define RZ_X86_VEC_MATH_H

#include "vec.h"

INLINE __m256 vec_sign_of(__m256 x)
{
    return _mm256_and_ps(x, _mm256_set1_ps(-0.0f));
}

INLINE __m256 vec_abs(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

/* tanh: an odd polynomial below 0.55, then 1 - 2 / (e^2x + 1); within 3 ulp. */
INLINE __m256 vec_tanh(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1);
    __m256 a = vec_abs(x), z = _mm256_mul_ps(x, x);
    __m256 p = _mm256_set1_ps(-0.00623555947f);
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(0.0210396759f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(-0.0538427085f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(0.133324608f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(-0.333333105f));
    __m256 near = _mm256_fmadd_ps(_mm256_mul_ps(x, z), p, x);
    __m256 e = vec_exp(_mm256_add_ps(a, a));
    __m256 far = _mm256_sub_ps(one, _mm256_div_ps(_mm256_set1_ps(2), _mm256_add_ps(e, one)));
    return _mm256_blendv_ps(_mm256_or_ps(far, vec_sign_of(x)), near,
                            _mm256_cmp_ps(a, _mm256_set1_ps(0.55f), _CMP_LT_OQ));
}

/* e^x - 1 for x <= 0: a series near 0; within 4 ulp. */
INLINE __m256 vec_expm1_negative(__m256 x)
{
    __m256 far = _mm256_sub_ps(vec_exp(x), _mm256_set1_ps(1));
    __m256 s = _mm256_set1_ps(1.0f / 5040);
    s = _mm256_fmadd_ps(s, x, _mm256_set1_ps(1.0f / 720));
    s = _mm256_fmadd_ps(s, x, _mm256_set1_ps(1.0f / 120));
    s = _mm256_fmadd_ps(s, x, _mm256_set1_ps(1.0f / 24));
    s = _mm256_fmadd_ps(s, x, _mm256_set1_ps(1.0f / 6));
    s = _mm256_fmadd_ps(s, x, _mm256_set1_ps(0.5f));
    __m256 near = _mm256_fmadd_ps(_mm256_mul_ps(x, x), s, x);
    return _mm256_blendv_ps(far, near, _mm256_cmp_ps(x, _mm256_set1_ps(-0.4f), _CMP_GT_OQ));
}

/* x / (1 + e^-x); within 4 ulp, where the result is below 1e-36 within that. */
INLINE __m256 vec_silu(__m256 x)
{
    __m256 e = vec_exp(_mm256_sub_ps(_mm256_setzero_ps(), x));
    __m256 top = _mm256_max_ps(_mm256_set1_ps(-100), x); /* e^-x ends at e^88 */
    return _mm256_div_ps(top, _mm256_add_ps(_mm256_set1_ps(1), e));
}

/* Phi(-a) for a of 1..14: e^(-a^2 / 2) M(a), where M(a) (a + 4) is a polynomial in (a - 4) / (a + 4) and what
 * is rounded off a^2 is put right, so that the relative error stays small. */
INLINE __m256 vec_normal_tail(__m256 a)
{
    const __m256 one = _mm256_set1_ps(1), half = _mm256_set1_ps(0.5f);
    __m256 r = _mm256_div_ps(one, _mm256_add_ps(a, _mm256_set1_ps(4)));
    __m256 q = _mm256_fnmadd_ps(_mm256_set1_ps(8), r, one);
    __m256 p = _mm256_set1_ps(-0.0001295283f);
    p = _mm256_fmadd_ps(p, q, _mm256_set1_ps(0.000184629942f));
    p = _mm256_fmadd_ps(p, q, _mm256_set1_ps(0.00157185877f));
    p = _mm256_fmadd_ps(p, q, _mm256_set1_ps(-0.00351498253f));
    p = _mm256_fmadd_ps(p, q, _mm256_set1_ps(-0.00752672693f));
    p = _mm256_fmadd_ps(p, q, _mm256_set1_ps(0.0604041442f));
    p = _mm256_fmadd_ps(p, q, _mm256_set1_ps(-0.186523199f));
    p = _mm256_fmadd_ps(p, q, _mm256_set1_ps(0.387136877f));
    p = _mm256_fmadd_ps(p, q, _mm256_set1_ps(-0.607896626f));
    p = _mm256_fmadd_ps(p, q, _mm256_set1_ps(0.755285144f));
    __m256 h = _mm256_mul_ps(a, a), lost = _mm256_fmsub_ps(a, a, h);
    __m256 e = vec_exp(_mm256_mul_ps(h, _mm256_set1_ps(-0.5f)));
    e = _mm256_fnmadd_ps(_mm256_mul_ps(e, half), lost, e);
    return _mm256_mul_ps(_mm256_mul_ps(p, r), e);
}

/* x Phi(x): below 1 Phi is 1/2 and an odd polynomial, beyond it comes from its tail; within 6 ulp. */
INLINE __m256 vec_gelu(__m256 x)
{
    __m256 a = _mm256_min_ps(_mm256_set1_ps(14), vec_abs(x)); /* the second operand is kept when x is NaN */
    __m256 tail = vec_normal_tail(a), z = _mm256_mul_ps(a, a);
    __m256 p = _mm256_set1_ps(-7.65420828e-06f);
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(0.000113486371f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(-0.00118632999f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(0.00997332297f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(-0.0664903596f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(0.398942292f));
    __m256 near = _mm256_mul_ps(x, _mm256_fmadd_ps(p, x, _mm256_set1_ps(0.5f)));
    __m256 left = _mm256_or_ps(_mm256_mul_ps(a, tail), _mm256_set1_ps(-0.0f));
    __m256 right = _mm256_mul_ps(x, _mm256_sub_ps(_mm256_set1_ps(1), tail));
    return _mm256_blendv_ps(_mm256_blendv_ps(right, left, x), near,
                            _mm256_cmp_ps(a, _mm256_set1_ps(1), _CMP_LT_OQ));
}

/* x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)), the tanh form; within 4 ulp of the result plus 2^-24 |x|. */
INLINE __m256 vec_gelu_tanh(__m256 x)
{
    __m256 v =
        _mm256_fmadd_ps(_mm256_set1_ps(0.0713548163f), _mm256_mul_ps(x, x), _mm256_set1_ps(1.59576912f));
    __m256 e = vec_exp(_mm256_sub_ps(_mm256_setzero_ps(), _mm256_mul_ps(x, v)));
    __m256 top = _mm256_max_ps(_mm256_set1_ps(-14), x);
    return _mm256_div_ps(top, _mm256_add_ps(_mm256_set1_ps(1), e));
}

INLINE __m256 vec_relu2(__m256 x)
{
    __m256 v = _mm256_max_ps(x, _mm256_setzero_ps());
    return _mm256_mul_ps(v, v);
}

/* ln(1 + e^x): the larger of x and 0 plus ln(1 + t), where t = e^-|x| and ln(1 + t) = 2 atanh(t / (2 + t));
 * within 4 ulp, where the result is below 1e-36 within that. */
INLINE __m256 vec_softplus(__m256 x)
{
    const __m256 two = _mm256_set1_ps(2);
    __m256 t = vec_exp(_mm256_sub_ps(_mm256_setzero_ps(), vec_abs(x)));
    __m256 s = _mm256_div_ps(t, _mm256_add_ps(two, t)), z = _mm256_mul_ps(s, s);
    __m256 p = _mm256_set1_ps(0.280276388f);
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(0.279981732f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(0.400217921f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(0.666664124f));
    __m256 rest = _mm256_fmadd_ps(_mm256_mul_ps(s, z), p, _mm256_mul_ps(two, s));
    return _mm256_add_ps(_mm256_max_ps(_mm256_setzero_ps(), x), rest); /* NaN is kept */
}

/* c tanh(x / c) */
INLINE __m256 vec_softcap(__m256 x, float c)
{
    return _mm256_mul_ps(vec_tanh(_mm256_div_ps(x, _mm256_set1_ps(c))), _mm256_set1_ps(c));
}

#endif
