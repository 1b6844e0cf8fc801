// Backward: what all its passes make of a pair, and the rows' statistics.
#ifndef RAPT_KIT_SCORE_SLOPES_GLSL
#define RAPT_KIT_SCORE_SLOPES_GLSL

layout(std430, set = 0, binding = 14) readonly buffer G { STORED g_data[]; };

// A query, as backward sees it. `share` is 1 / sum, 0 for one that sees nothing; `factor` is
// scale tau_q.
struct score_query {
    ivec3 sees;
    float reference, share, delta, factor;
};

score_query score_query_of(uint b, uint h, uint n)
{
    score_query query = score_query(ivec3(0), 0.0, 0.0, 0.0, 0.0);
    if (n >= call.N)
        return query;
    const uint row = score_flat(b, h, n);
    const float sum = sum_data[call.sum + row];
    query.sees = score_sees(n);
    query.factor = call.scale * score_tau_q(b, h, n);
    if (sum > 0.0) {
        query.reference = reference_data[call.reference + row];
        query.share = 1.0 / sum;
        query.delta = work[call.delta + row];
    }
    return query;
}

struct score_slope {
    float w;      // the weight without tau_v
    float shaped; // gradient of the score as hooks see it
    float ds;     // gradient of the score before softcap
};

// Of a pair whose softmax is p, with g.v. w = f p and, with dw = tau_v g.v,
// ds = p (f dw - delta) z'(s) + p dw f'(s). What is hidden has p = 0, and so is all that comes of it, for
// scores are finite.
score_slope score_slope_of(score_site site, score_pair pair, float p, float delta, float gv, float tau_v)
{
    score_slope result;
    const float dw = gv * tau_v;
#ifdef SCORE_FACTOR
    result.w = score_factor(site, pair.s) * p;
    result.shaped = result.w * dw - p * delta;
#else
    result.w = p;
    result.shaped = p * (dw - delta);
#endif
#ifdef SCORE_LOGIT
    result.shaped *= score_logit_slope(site, pair.s);
#endif
#ifdef SCORE_FACTOR_SLOPE
    result.shaped += p * dw * score_factor_slope(site, pair.s);
#endif
    result.ds = result.shaped * pair.slope;
    return result;
}

// Of query n and key j with q.k and g.v.
score_slope score_slopes(uint b, uint h, uint n, uint j, score_query query, float qk, float gv,
                         float tau_v)
{
    const score_pair pair = score_shape(b, h, n, j, query.sees, qk * query.factor);
    const score_site site = score_site(b, h);
    // min: a query that sees nothing has no reference.
    const float p =
        exp(pair.seen ? min(SCORE_Z(site, pair.s) - query.reference, 80.0) : -1e30) * query.share;
    return score_slope_of(site, pair, p, query.delta, gv, tau_v);
}

// Where row n of the outputs' gradient begins, if there is one.
uint score_g_at(uint base, uint n)
{
    return (call.wants & GIVEN_G) != 0 ? score_at(base, call.g.row, n, call.N) : NOWHERE;
}

#endif
