// The score kit on Vulkan: what all passes share. See core/kit/score_vulkan.h for the host's side,
// core/kit/score.h and score_options.h for the formulas.
//
//     s_ij = shape(scale tau_q_i q_i . k_j + bias_ij),   o_i = sum_j f(s_ij) softmax_j(z(s_ij)) tau_v_j v_j
//
// An operator's file is: this file, its hooks, kit/score_pass.glsl (which takes the pass that
// SCORE_PASS names). Hooks are functions of a score, finite for finite scores:
//
//     #define SCORE_LOGIT          // z is not the score itself
//     #define SCORE_FACTOR         // f is not 1
//     #define SCORE_FACTOR_SLOPE   // f' is not 0
//     float score_logit(score_site at, float s)
//     float score_logit_slope(score_site at, float s)
//     float score_factor(score_site at, float s)
//     float score_factor_slope(score_site at, float s)
#ifndef RAPT_KIT_SCORE_GLSL
#define RAPT_KIT_SCORE_GLSL

#extension GL_EXT_control_flow_attributes : require

#include "kit/element.glsl"

// Loops that need not be unrolled for what they index to stay in registers. With RAPT_LEAN they stay
// loops: code that a software driver compiles in a third of the time.
#ifdef RAPT_LEAN
#define SCORE_UNROLL [[dont_unroll]]
#else
#define SCORE_UNROLL [[unroll]]
#endif

// Numbers of the passes; rapt_score_vulkan_pass on the host.
#define SCORE_FORWARD 0
#define SCORE_MERGE   1
#define SCORE_WEIGHTS 2
#define SCORE_DELTA   3
#define SCORE_QUERIES 4
#define SCORE_KEYS    5
#define SCORE_BIAS    6
#define SCORE_SUM     7
#define SCORE_HEADS   8
#define SCORE_BORDERS 9
#define SCORE_COOP_FORWARD 10 // by cooperative matrices
#define SCORE_COOP_QUERIES 11
#define SCORE_COOP_KEYS    12

#if SCORE_PASS < SCORE_COOP_FORWARD
layout(local_size_x = 128) in;
#endif

layout(constant_id = 1) const uint ROWS = 4;     // rows of a thread; a tile has 8 ROWS rows, 64 columns
layout(constant_id = 2) const uint D_BLOCKS = 1; // runs of 64 features that D, and E, takes
layout(constant_id = 3) const uint E_BLOCKS = 1;
layout(constant_id = 4) const uint OPTIONS = 0;

const bool HAS_BIAS = (OPTIONS & 1) != 0;
const bool BIAS_IS_F32 = (OPTIONS & 2) != 0;
const bool HAS_SOFTCAP = (OPTIONS & 4) != 0;
const bool HAS_ALIBI = (OPTIONS & 8) != 0;
const bool HAS_SINK = (OPTIONS & 16) != 0;
const bool HAS_TAU_Q = (OPTIONS & 32) != 0;
const bool HAS_TAU_V = (OPTIONS & 64) != 0;
const bool PACKED = (OPTIONS & 128) != 0;
const bool UNALIGNED = (OPTIONS & 256) != 0; // rows of q, k, v and g begin anywhere, not every 8 elements

// Bits of call.wants.
const uint WANTS_STATISTICS = 1; // row_reference and row_sum
const uint WANTS_LSE = 2;
const uint WANTS_REST = 4;
const uint WANTS_Q = 8;
const uint WANTS_K = 16;
const uint WANTS_V = 32;
const uint WANTS_TAU_Q = 64;
const uint WANTS_TAU_V = 128;
const uint WANTS_ALIBI = 256;
const uint WANTS_SINK = 512;
const uint GIVEN_G = 1024; // backward: the outputs' gradient
const uint GIVEN_LSE = 2048;
const uint WIDE_Q = 4096; // the borders of packed sequences are 64 bits wide
const uint WIDE_K = 8192;
const uint WANTS_SCALE = 16384; // the greatest |g| of each (b, group)

// Where (b, h, n) of a tensor [batch, head, position, feature] begins, in elements of its binding.
struct score_view {
    uint base, batch, head, row;
};

layout(std430, set = 0, binding = 15) readonly buffer Call {
    uint B, H, G, N, M, D, E;
    uint share; // H / G
    int left, right; // keys seen on either side; negative: all
    float scale, softcap;
    uint units, unit_heads; // forward: (b, unit) has the rows of unit_heads heads, head by head
    uint parts, part_keys;  // forward: the keys are divided in parts of part_keys
    uint wants, borders;
    uint row_parts, key_parts;       // bias: of the tiles that share an element of it
    uint bias_B, bias_H, bias_N, bias_M;
    uint delta, rows, partials, slopes, greatest; // where these begin in `work`, in elements
    score_view q, k, v, g, bias, tau_q, tau_v;
    uint bias_key; // step from key to key: 1 or 0
    uint alibi, sink, reference, sum;
    uint out_a, out_b, out_c, out_g; // first elements of the bindings that differ from pass to pass
} call;

layout(std430, set = 0, binding = 0) readonly buffer Q { STORED q_data[]; };
layout(std430, set = 0, binding = 1) readonly buffer K { STORED k_data[]; };
layout(std430, set = 0, binding = 2) readonly buffer V { STORED v_data[]; };
layout(std430, set = 0, binding = 3) readonly buffer Bias { STORED bias_data[]; };
layout(std430, set = 0, binding = 3) readonly buffer BiasF32 { float bias_f32[]; };
layout(std430, set = 0, binding = 4) readonly buffer Alibi { float alibi_data[]; };
layout(std430, set = 0, binding = 5) readonly buffer Sink { float sink_data[]; };
layout(std430, set = 0, binding = 6) readonly buffer TauQ { STORED tau_q_data[]; };
layout(std430, set = 0, binding = 7) readonly buffer TauV { STORED tau_v_data[]; };
// Gradients of queries and of keys run side by side: neither may be said to write what both read.
#if SCORE_PASS == SCORE_QUERIES || SCORE_PASS == SCORE_KEYS || SCORE_PASS == SCORE_COOP_QUERIES ||              \
    SCORE_PASS == SCORE_COOP_KEYS
#define SCORE_SHARED readonly
#else
#define SCORE_SHARED
#endif
layout(std430, set = 0, binding = 8) SCORE_SHARED buffer Reference { float reference_data[]; };
layout(std430, set = 0, binding = 9) SCORE_SHARED buffer Sum { float sum_data[]; };
layout(std430, set = 0, binding = 10) SCORE_SHARED buffer Work { float work[]; };
layout(std430, set = 0, binding = 10) SCORE_SHARED buffer WorkInts { int work_ints[]; };
layout(std430, set = 0, binding = 10) SCORE_SHARED buffer WorkUints { uint work_uints[]; };

// Below every logit: what is hidden, and the greatest of nothing.
const float LOWEST = -3.4e38;
const uint MINUS_INFINITY = 0xff800000u;
const uint NOWHERE = 0xffffffffu;

// Whose scores a hook looks at.
struct score_site {
    uint batch, head;
};

uint score_row(score_view view, uint b, uint h, uint n)
{
    return view.base + b * view.batch + h * view.head + n * view.row;
}

// Where row n of `count` begins; its first element is `base`.
uint score_at(uint base, uint stride, uint n, uint count)
{
    return n < count ? base + n * stride : NOWHERE;
}

// Position of a row among B H N of them.
uint score_flat(uint b, uint h, uint n)
{
    return (b * call.H + h) * call.N + n;
}

// The keys x <= j < y that query n sees, none if x >= y, and the key position z that it stands at.
ivec3 score_sees(uint n)
{
    if (PACKED) {
        const uint i = call.rows + 3 * n;
        return ivec3(work_ints[i], work_ints[i + 1], work_ints[i + 2]);
    }
    const int keys = int(call.M), at = int(n) + keys - int(call.N);
    return ivec3(call.left < 0 ? 0 : clamp(at - call.left, 0, keys),
                 call.right < 0 ? keys : clamp(at + call.right + 1, 0, keys), at);
}

float score_tau_q(uint b, uint h, uint n)
{
    if (HAS_TAU_Q)
        return LOAD(tau_q_data[score_row(call.tau_q, b, h, n)]);
    return 1.0;
}

float score_tau_v(uint b, uint h, uint j)
{
    if (HAS_TAU_V)
        return LOAD(tau_v_data[score_row(call.tau_v, b, h, j)]);
    return 1.0;
}

float score_bias(uint b, uint h, uint n, uint j)
{
    const uint at = score_row(call.bias, b, h, n) + j * call.bias_key;
    if (BIAS_IS_F32)
        return bias_f32[at];
    return LOAD(bias_data[at]);
}

// tanh to a few ulp near 0 too, and without overflow.
float score_tanh(float x)
{
    const float y = min(abs(x), 15.0), y2 = y * y;
    if (y < 0.25)
        return x * (1.0 + y2 * (-1.0 / 3.0 + y2 * (2.0 / 15.0 + y2 * (-17.0 / 315.0 + y2 * (62.0 / 2835.0)))));
    const float t = 1.0 - 2.0 / (exp(2.0 * y) + 1.0);
    return x < 0.0 ? -t : t;
}

struct score_pair {
    bool seen;
    float s;     // the score, as hooks see it
    float slope; // of what softcap made of it
};

// Query n of head h and key j, given scale q.k tau_q.
score_pair score_shape(uint b, uint h, uint n, uint j, ivec3 sees, float s)
{
    score_pair pair = score_pair(int(j) >= sees.x && int(j) < sees.y, s, 1.0);
    if (HAS_BIAS && pair.seen) {
        const float bias = score_bias(b, h, n, j);
        if (floatBitsToUint(bias) == MINUS_INFINITY)
            pair.seen = false;
        else
            pair.s += bias;
    }
    if (HAS_SOFTCAP) {
        const float t = score_tanh(pair.s / call.softcap);
        pair.slope = 1.0 - t * t;
        pair.s = t * call.softcap;
    }
    if (HAS_ALIBI)
        pair.s -= alibi_data[call.alibi + h] * abs(float(sees.z - int(j)));
    return pair;
}

#endif
