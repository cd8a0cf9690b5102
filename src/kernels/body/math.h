/* The exponential of sixteen lanes, as softmax and SiLU use it. Included after a lanes header. */
#ifndef AN_BODY_MATH_H
#define AN_BODY_MATH_H

/*
 * exp(x) within 2 ULP (4 near and below the subnormal range). x = n ln2 + r, |r| <= ln2/2; e^r by its Taylor polynomial of degree 7 (relative
 * remainder 5e-9); 2^n in two factors, so that results overflow to infinity and fade to zero through the subnormals
 * as they should. NaN stays NaN: the clamps return their second operand.
 */
LANE_FN vf vf_exp(vf x)
{
    x = vf_max(vf_set1(-104.0f), vf_min(vf_set1(89.0f), x));
#ifdef AN_LANES_SCALE
    vf nf = vf_rint(vf_mul(x, vf_set1(0x1.715476p+0f)));
#else
    vi n = vf_round(vf_mul(x, vf_set1(0x1.715476p+0f)));
    vf nf = vf_from_int(n);
#endif
    /* ln2 in two parts; the first has 11 trailing zeros, so that its product with n is exact. */
    vf r = vf_fma(nf, vf_set1(-0x1.62e4p-1f), x);
    r = vf_fma(nf, vf_set1(-0x1.7f7d1cp-20f), r);
    vf p = vf_set1(1.0f / 5040);
    p = vf_fma(p, r, vf_set1(1.0f / 720));
    p = vf_fma(p, r, vf_set1(1.0f / 120));
    p = vf_fma(p, r, vf_set1(1.0f / 24));
    p = vf_fma(p, r, vf_set1(1.0f / 6));
    p = vf_fma(p, r, vf_set1(0.5f));
    p = vf_fma(vf_mul(r, r), p, r);
    p = vf_add(p, vf_set1(1.0f));
#ifdef AN_LANES_SCALE
    return vf_scale(p, nf);
#else
    vi half = vi_sra(n, 1), one = vi_set1(127);
    vi rest = vi_add(n, vi_xor(half, vi_set1(-1))); /* n - half - 1 */
    vf a = vf_from_bits(vi_shl(vi_add(half, one), 23));
    vf b = vf_from_bits(vi_shl(vi_add(rest, vi_set1(128)), 23));
    return vf_mul(vf_mul(p, a), b);
#endif
}

#endif
