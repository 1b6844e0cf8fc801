// Tiles for cooperative matrices: a workgroup of four subgroups owns 64 rows, 16 each, against KEYS
// others. Scores go through shared memory, where a pair of threads has a row.
//
// Of wide heads a subgroup's registers hold half: there are eight, two for each 16 rows, and each of the
// two parts has half of the features and half of a row's columns. Scores are sums of both parts' products.
#ifndef RAPT_KIT_SCORE_COOP_GLSL
#define RAPT_KIT_SCORE_COOP_GLSL

layout(constant_id = 5) const uint KEYS = 64; // columns of a tile: 64, 32 or 16
layout(constant_id = 6) const uint LANES = 128; // or 256, in two parts
layout(local_size_x_id = 6) in;

#include "kit/coopmat.glsl"

const uint PARTS = LANES / 128;

// D_BLOCKS and E_BLOCKS count runs of 16 features of a part here; D and E are multiples of 16 PARTS.
const uint D_WIDTH = D_BLOCKS * PARTS * 4; // vec4 of a row
const uint E_WIDTH = E_BLOCKS * PARTS * 4;
// Rows lie in shared memory with a gap, so that the 8 rows that are read at once are in other banks.
const uint D_STEP = D_WIDTH + 2;
const uint E_STEP = E_WIDTH + 2;
const uint TILE_STEP = KEYS / 4 + 2;
const uint TILE_RUN = KEYS / 8; // vec4 of a row that a pair of threads has, for each of the two
const uint TILE_OWN = TILE_RUN / PARTS; // those of the thread's part: the first of them

// The place in its row of vec4 t of a thread.
#define SCORE_COLUMN(t) (2 * (PARTS > 1 ? ((t) + part * TILE_OWN) % TILE_RUN : (t)) + side)

// The thread's row of the tile of scores, and its part's of the tile of partial ones.
shared COOP_FLOAT4 scores[64 * PARTS * TILE_STEP];
#define SCORE_READ(t)                                                                              \
    (PARTS > 1 ? COOP_FROM_FLOAT4(scores[mine * TILE_STEP + SCORE_COLUMN(t)]) +                    \
                     COOP_FROM_FLOAT4(scores[(64 * (PARTS - 1) + mine) * TILE_STEP +               \
                                             SCORE_COLUMN(t)])                                     \
               : COOP_FROM_FLOAT4(scores[mine * TILE_STEP + SCORE_COLUMN(t)]))

// What the subgroups of 16 rows wrote is seen by both.
#define SCORE_JOIN                                                                                 \
    if (PARTS > 1) {                                                                               \
        barrier();                                                                                 \
    } else {                                                                                       \
        COOP_SYNC                                                                                  \
    }

// The sum over the threads of a row; all of the workgroup call it.
shared float part_sums[PARTS > 1 ? 128 : 1];
float score_row_sum(float x, uint part, uint mine, uint side)
{
    float all = x + COOP_OTHER(x);
    if (PARTS > 1) {
        barrier();
        if (side == 0)
            part_sums[part * 64 + mine] = all;
        barrier();
        all = part_sums[mine] + part_sums[64 * (PARTS - 1) + mine];
    }
    return all;
}

layout(std430, set = 0, binding = 0) readonly buffer Q4 { f16vec4 q_four[]; };
layout(std430, set = 0, binding = 0) readonly buffer Q1 { float16_t q_half[]; };
layout(std430, set = 0, binding = 1) readonly buffer K4 { f16vec4 k_four[]; };
layout(std430, set = 0, binding = 1) readonly buffer K1 { float16_t k_half[]; };
layout(std430, set = 0, binding = 2) readonly buffer V4 { f16vec4 v_four[]; };
layout(std430, set = 0, binding = 2) readonly buffer V1 { float16_t v_half[]; };

// A thread's share of a tile of KEYS rows on its way to shared memory: loaded while the tile before it
// is worked on, as long as registers have room for it.
const bool AHEAD = D_BLOCKS + E_BLOCKS <= 8;
const uint D_EACH = (KEYS * D_WIDTH + LANES - 1) / LANES;
const uint E_EACH = (KEYS * E_WIDTH + LANES - 1) / LANES;

// One vec4: number `e_` of `count` rows of `width`. Row `first` is the first, rows from `end` on are
// zeros.
#define SCORE_LOAD(x_, e_, four, half_, base, stride, first, end, width)                           \
    {                                                                                              \
        const uint row_ = (e_) / (width), column_ = (e_) % (width);                                \
        const uint at_ = (base) + ((first) + row_) * (stride) + column_ * 4;                       \
        x_ = f16vec4(0.0hf);                                                                       \
        if ((first) + row_ < (end)) {                                                              \
            if ((call.wants & ALIGNED) != 0)                                                       \
                x_ = four[at_ >> 2];                                                               \
            else                                                                                   \
                x_ = f16vec4(half_[at_], half_[at_ + 1], half_[at_ + 2], half_[at_ + 3]);          \
        }                                                                                          \
    }

// Whether rows can be read four elements at a time and none of them lies beyond the end.
#define SCORE_WHOLE(first, count, end) ((call.wants & ALIGNED) != 0 && (first) + (count) <= (end))

// `count` rows of `width` vec4 into `target` from element `slot` on, rows `step` apart.
#define SCORE_FETCH(target, slot, step, four, half_, base, stride, first, end, count, width)       \
    if (SCORE_WHOLE(first, count, end)) {                                                          \
        const uint at_ = ((base) + (first) * (stride)) >> 2, step_ = (stride) >> 2;                \
        for (uint e_ = gl_LocalInvocationIndex; e_ < (count) * (width); e_ += LANES)                 \
            target[(slot) + e_ / (width) * (step) + e_ % (width)] =                                \
                COOP_TO_HALF4(four[at_ + e_ / (width) * step_ + e_ % (width)]);                    \
    } else {                                                                                       \
        for (uint e_ = gl_LocalInvocationIndex; e_ < (count) * (width); e_ += LANES) {               \
            f16vec4 x_;                                                                            \
            SCORE_LOAD(x_, e_, four, half_, base, stride, first, end, width)                       \
            target[(slot) + e_ / (width) * (step) + e_ % (width)] = COOP_TO_HALF4(x_);             \
        }                                                                                          \
    }

// The same in two steps: KEYS rows into the threads' arrays, and from these on. Most tiles are whole and
// lie so that nothing need be asked of an element.
#define SCORE_TAKE(taken, four, half_, base, stride, first, end, width)                            \
    if (SCORE_WHOLE(first, KEYS, end)) {                                                           \
        const uint at_ = ((base) + (first) * (stride)) >> 2, step_ = (stride) >> 2;                \
        [[unroll]] for (uint i_ = 0; i_ < (KEYS * (width) + LANES - 1) / LANES; i_++) {                    \
            const uint e_ = gl_LocalInvocationIndex + LANES * i_;                                    \
            if (KEYS * (width) % LANES == 0 || e_ < KEYS * (width))                                  \
                taken[i_] = four[at_ + e_ / (width) * step_ + e_ % (width)];                       \
        }                                                                                          \
    } else {                                                                                       \
        [[unroll]] for (uint i_ = 0; i_ < (KEYS * (width) + LANES - 1) / LANES; i_++) {                    \
            const uint e_ = gl_LocalInvocationIndex + LANES * i_;                                    \
            if (e_ < KEYS * (width))                                                               \
                SCORE_LOAD(taken[i_], e_, four, half_, base, stride, first, end, width)            \
        }                                                                                          \
    }
#define SCORE_PLACE(target, slot, step, taken, width)                                              \
    [[unroll]] for (uint i_ = 0; i_ < (KEYS * (width) + LANES - 1) / LANES; i_++) {                        \
        const uint e_ = gl_LocalInvocationIndex + LANES * i_;                                        \
        if (KEYS * (width) % LANES == 0 || e_ < KEYS * (width))                                      \
            target[(slot) + e_ / (width) * (step) + e_ % (width)] = COOP_TO_HALF4(taken[i_]);      \
    }

// The scores of a subgroup's 16 own rows, `blocks` fragments each, against the KEYS rows at `slot`; with
// parts a summand of them.
#define SCORE_PRODUCT(own, blocks, slot, step)                                                     \
    [[unroll]] for (uint c = 0; c < KEYS / 16; c++) {                                              \
        COOP_C x_;                                                                                 \
        COOP_ZERO(x_);                                                                             \
        [[unroll]] for (uint f_ = 0; f_ < (blocks); f_++) {                                        \
            COOP_B other_;                                                                         \
            COOP_LOAD_B_T(other_, rows, (slot) + c * 16 * (step) + (part * (blocks) + f_) * 4,     \
                          step);                                                                   \
            COOP_MULTIPLY(x_, own[f_], other_);                                                    \
        }                                                                                          \
        COOP_STORE_C(x_, scores, (part * 64 + group * 16) * TILE_STEP + c * 4, TILE_STEP);         \
    }

// Adds to `sums` the KEYS rows at `slot`, weighted.
#define SCORE_ADD(sums, weights, blocks, slot, step)                                               \
    [[unroll]] for (uint c = 0; c < KEYS / 16; c++) {                                              \
        COOP_A w_;                                                                                 \
        COOP_LOAD_A(w_, weights, group * 16 * TILE_STEP + c * 4, TILE_STEP);                       \
        [[unroll]] for (uint f_ = 0; f_ < (blocks); f_++) {                                        \
            COOP_B other_;                                                                         \
            COOP_LOAD_B(other_, rows, (slot) + c * 16 * (step) + (part * (blocks) + f_) * 4,       \
                        step);                                                                     \
            COOP_MULTIPLY(sums[f_], w_, other_);                                                   \
        }                                                                                          \
    }

// Four elements of a row of results, which begin at multiples of four. Float16 is converted by the device,
// in a third of the time of element_encode (H200); bfloat16 is not, for devices may cut off.
uvec2 score_encode(vec4 x)
{
    return uvec2(element_encode(x.x) | element_encode(x.y) << 16, element_encode(x.z) | element_encode(x.w) << 16);
}

vec4 score_decode(uvec2 stored)
{
    return vec4(element_decode(stored.x & 0xffffu), element_decode(stored.x >> 16),
                element_decode(stored.y & 0xffffu), element_decode(stored.y >> 16));
}

#define SCORE_PUT(name, at, x)                                                                     \
    {                                                                                              \
        if (ELEMENT_BF16 != 0)                                                                     \
            name##_words[(at) >> 2] = score_encode(x);                                             \
        else                                                                                       \
            name##_four[(at) >> 2] = f16vec4(x);                                                   \
    }

// What rounding takes from x.
#define SCORE_REST(x) ((x) - (ELEMENT_BF16 != 0 ? score_decode(score_encode(x)) : vec4(f16vec4(x))))

// Runs `write` for every four elements of `sums`: x, those from `feature` on of the tile's row r.
#define SCORE_HAND_OUT(sums, blocks, write)                                                        \
    [[unroll]] for (uint block = 0; block < (blocks); block++) {                                   \
        COOP_SYNC                                                                                  \
        COOP_STORE_C(sums[block], scores, (part * 64 + group * 16) * TILE_STEP, TILE_STEP);        \
        COOP_SYNC                                                                                  \
        [[unroll]] for (uint i = 0; i < 2; i++) {                                                  \
            const uint r = group * 16 + 8 * i + (lane >> 2);                                       \
            const uint feature = (part * (blocks) + block) * 16 + 4 * (lane & 3u);                 \
            const vec4 x = COOP_FROM_FLOAT4(scores[(part * 64 + r) * TILE_STEP + (lane & 3u)]);    \
            write                                                                                  \
        }                                                                                          \
    }

// Keys and values of the tile from j on, for shaders whose own rows are queries: on their way, and into
// shared memory with the keys' tau_v.
#define SCORE_TAKE_KEYS(j)                                                                         \
    SCORE_TAKE(next_k, k_four, k_half, k_base, call.k.row, j, call.M, D_WIDTH)                     \
    SCORE_TAKE(next_v, v_four, v_half, v_base, call.v.row, j, call.M, E_WIDTH)
#define SCORE_PLACE_KEYS(j0)                                                                       \
    if (AHEAD) {                                                                                   \
        SCORE_PLACE(rows, 0, D_STEP, next_k, D_WIDTH)                                              \
        SCORE_PLACE(rows, KEYS * D_STEP, E_STEP, next_v, E_WIDTH)                                  \
    } else {                                                                                       \
        SCORE_FETCH(rows, 0, D_STEP, k_four, k_half, k_base, call.k.row, j0, call.M, KEYS, D_WIDTH)\
        SCORE_FETCH(rows, KEYS * D_STEP, E_STEP, v_four, v_half, v_base, call.v.row, j0, call.M,   \
                    KEYS, E_WIDTH)                                                                 \
    }                                                                                              \
    if (HAS_TAU_V && gl_LocalInvocationIndex < KEYS) {                                             \
        const uint j_ = (j0) + gl_LocalInvocationIndex;                                            \
        tau_of[gl_LocalInvocationIndex] = j_ < call.M ? score_tau_v(b, h, j_) : 1.0;               \
    }

// The power of two of the greatest gradient given to (b, group), and its inverse. Gradients of scores
// are float16 operands: by it they neither vanish nor overflow.
float score_scale_down(uint b, uint group)
{
    return uintBitsToFloat(clamp(work_uints[call.greatest + b * call.G + group] >> 23, 1u, 253u) << 23);
}

float score_scale_up(uint b, uint group)
{
    return 1.0 / score_scale_down(b, group);
}

// The logit of a score.
#ifdef SCORE_LOGIT
#define SCORE_Z(site, s) score_logit(site, s)
#else
#define SCORE_Z(site, s) (s)
#endif

// An operand: beyond float16's range its end.
f16vec4 score_operand(vec4 x)
{
    return f16vec4(clamp(x, -65504.0, 65504.0));
}

#endif
