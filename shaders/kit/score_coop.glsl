// Tiles for cooperative matrices: a workgroup of four subgroups owns 64 rows, 16 each, against KEYS
// others. Scores stay in registers: which row and column of 16 x 16 a thread's element is of, it finds out
// from a matrix of their numbers. Operands of the second product go through shared memory.
//
// For gradients of wide heads' keys a subgroup's registers hold half: there are eight, two for each 16
// rows. Each of the two parts makes the scores of half of the columns, and sums half of the features over
// all columns.
#ifndef RAPT_KIT_SCORE_COOP_GLSL
#define RAPT_KIT_SCORE_COOP_GLSL

layout(constant_id = 5) const uint KEYS = 32; // columns of a tile: 32, or 16
layout(constant_id = 6) const uint LANES = 128; // or 256, in two parts
layout(local_size_x_id = 6) in;

#include "kit/coopmat_words.glsl"

const uint PARTS = LANES / 128;
const uint COLUMNS = KEYS / 16 / PARTS; // runs of 16 columns of a part
const uint BESIDE = COLUMNS > 1 ? 2 : 1; // of these, those that backward works on at once
const float LOG2E = 1.44269504088896340736;
// Below every logit, and so that 2 to its power is 0: a row's reference before it sees a key, and, times
// LOG2E, the logit of a hidden key.
const float HIDDEN = -1e30;

// D_BLOCKS and E_BLOCKS count runs of 16 features of a part here; D and E are multiples of 16 PARTS.
const uint D_ALL = D_BLOCKS * PARTS;
const uint E_ALL = E_BLOCKS * PARTS;
const uint D_WIDTH = D_ALL * 2; // words of a row: uvec4, eight numbers each
const uint E_WIDTH = E_ALL * 2;
// Rows lie in shared memory with a gap, so that the 8 rows that are read at once are in other banks.
const uint D_STEP = D_WIDTH + 1;
const uint E_STEP = E_WIDTH + 1;
const uint TILE_STEP = KEYS + 8; // numbers of a row of operands
const uint SUM_STEP = 5; // words of a row of 16 sums
// Words of the shared array `rows`: the workgroup's own, a tile of others, or sums.
const uint OWN_ROWS = 64 * (D_STEP > E_STEP ? D_STEP : E_STEP);
const uint OTHER_ROWS = KEYS * (D_STEP + E_STEP);
const uint MOST_ROWS = OWN_ROWS > OTHER_ROWS ? OWN_ROWS : OTHER_ROWS;
const uint ROWS_SIZE = MOST_ROWS > 64 * PARTS * SUM_STEP ? MOST_ROWS : 64 * PARTS * SUM_STEP;

// Whether more than order decides what a pair's score is.
const bool SHAPED = HAS_BIAS || HAS_SOFTCAP || HAS_ALIBI;

// What the subgroups of 16 rows wrote is seen by both.
#define SCORE_JOIN                                                                                 \
    if (PARTS > 1) {                                                                               \
        barrier();                                                                                 \
    } else {                                                                                       \
        COOP_SYNC                                                                                  \
    }

#define SCORE_EACH COOP_ROLL for (uint i = 0; i < COOP_EACH; i++)

// Between the loops over tiles the shared array `rows` holds sums instead, 16 x 16 of each subgroup, on
// their way between a thread's elements and rows.
#define SCORE_SUMS_AT ((part * 64 + group * 16) * SUM_STEP)

// row[i] of 64 and column[i] of 16 of a thread's elements.
#define SCORE_PLACES(row, column)                                                                  \
    uint row[COOP_EACH], column[COOP_EACH];                                                        \
    {                                                                                              \
        COOP_ROLL for (uint t_ = 0; t_ < 2; t_++)                                                  \
            rows[(part * 64 + mine) * SUM_STEP + 2 * t_ + side] = floatBitsToUint(                 \
                float(16 * mine + 4 * (2 * t_ + side)) + vec4(0.0, 1.0, 2.0, 3.0));                \
        COOP_SYNC                                                                                  \
        COOP_C places_;                                                                            \
        COOP_LOAD_C16(places_, rows, SCORE_SUMS_AT, SUM_STEP);                                     \
        SCORE_EACH {                                                                               \
            const uint place_ = uint(COOP_AT(places_, i));                                         \
            row[i] = place_ >> 4;                                                                  \
            column[i] = place_ & 15u;                                                              \
        }                                                                                          \
    }

// The sum over the threads of a row; all of the workgroup call it.
shared float part_rows[PARTS > 1 ? 128 : 1];
float score_row_sum(float x, uint part, uint mine, uint side)
{
    float all = x + COOP_OTHER(x);
    if (PARTS > 1) {
        barrier();
        if (side == 0)
            part_rows[part * 64 + mine] = all;
        barrier();
        all = part_rows[mine] + part_rows[64 * (PARTS - 1) + mine];
    }
    return all;
}

// Of a row, the sum of what its threads have in `values`.
#define SCORE_ROW_SUM(result, values)                                                              \
    {                                                                                              \
        COOP_C turned_;                                                                            \
        SCORE_EACH                                                                                 \
            COOP_AT(turned_, i) = values[i];                                                       \
        barrier();                                                                                 \
        COOP_STORE_C16(turned_, rows, SCORE_SUMS_AT, SUM_STEP);                                    \
        COOP_SYNC                                                                                  \
        const uint at_ = (part * 64 + mine) * SUM_STEP + side;                                     \
        const vec4 half_ = uintBitsToFloat(rows[at_]) + uintBitsToFloat(rows[at_ + 2]);            \
        result = score_row_sum(half_.x + half_.y + (half_.z + half_.w), part, mine, side);         \
    }

layout(std430, set = 0, binding = 0) readonly buffer Q8 { uvec4 q_words[]; };
layout(std430, set = 0, binding = 0) readonly buffer Q1 { float16_t q_half[]; };
layout(std430, set = 0, binding = 1) readonly buffer K8 { uvec4 k_words[]; };
layout(std430, set = 0, binding = 1) readonly buffer K1 { float16_t k_half[]; };
layout(std430, set = 0, binding = 2) readonly buffer V8 { uvec4 v_words[]; };
layout(std430, set = 0, binding = 2) readonly buffer V1 { float16_t v_half[]; };

#define SCORE_TWO(half_, at) packFloat2x16(f16vec2(half_[at], half_[(at) + 1]))

// The word at element at_ of a tensor.
#define SCORE_LOAD(x_, words_, half_, at_)                                                         \
    if (UNALIGNED)                                                                                 \
        x_ = uvec4(SCORE_TWO(half_, at_), SCORE_TWO(half_, at_ + 2), SCORE_TWO(half_, at_ + 4),    \
                   SCORE_TWO(half_, at_ + 6));                                                     \
    else                                                                                           \
        x_ = words_[at_ >> 3];

// A thread's share of `count` rows of `width` words from row `first` on, in two steps: into `taken`, and
// from there into shared memory from word `slot` on, rows `step` apart. Nothing is asked of a row, so that
// what is taken can be on its way while the tile before it is worked on (drivers wait for what a branch
// has loaded where its ways join): instead of those behind it row `last` is taken once more. What comes of
// these is multiplied by zeros or not stored.
#define SCORE_SHARE(count, width) (((count) * (width) + LANES - 1) / LANES)
#define SCORE_TAKE(taken, words_, half_, base, stride, first, last, count, width)                  \
    COOP_ROLL for (uint i_ = 0; i_ < SCORE_SHARE(count, width); i_++) {                            \
        const uint e_ = gl_LocalInvocationIndex + LANES * i_;                                      \
        const uint at_ = (base) + min((first) + e_ / (width), last) * (stride) + e_ % (width) * 8; \
        SCORE_LOAD(taken[i_], words_, half_, at_)                                                  \
    }
#define SCORE_PLACE(slot, step, taken, count, width)                                               \
    COOP_ROLL for (uint i_ = 0; i_ < SCORE_SHARE(count, width); i_++) {                            \
        const uint e_ = gl_LocalInvocationIndex + LANES * i_;                                      \
        if ((count) * (width) % LANES == 0 || e_ < (count) * (width))                              \
            rows[(slot) + e_ / (width) * (step) + e_ % (width)] = taken[i_];                       \
    }

// The workgroup's own rows, as operands of `blocks` runs of features.
#define SCORE_OWN(own, words_, half_, base, stride, last, given_, blocks, step)                    \
    {                                                                                              \
        uvec4 taken_[SCORE_SHARE(64, (blocks) * 2)];                                               \
        SCORE_TAKE(taken_, words_, half_, base, stride, first, last, 64, (blocks) * 2)             \
        COOP_ROLL for (uint i_ = 0; i_ < SCORE_SHARE(64, (blocks) * 2); i_++)                      \
            taken_[i_] = (given_) ? taken_[i_] : uvec4(0);                                         \
        barrier();                                                                                 \
        SCORE_PLACE(0, step, taken_, 64, (blocks) * 2)                                             \
        barrier();                                                                                 \
        COOP_ROLL for (uint f_ = 0; f_ < (blocks); f_++)                                           \
            COOP_LOAD_A16(own[f_], rows, group * 16 * (step) + f_ * 2, step);                      \
    }

// A tile of KEYS rows: taken ahead as long as registers have room for it.
#if SCORE_PASS == SCORE_COOP_FORWARD
const bool AHEAD = D_BLOCKS + E_BLOCKS <= 16;
#else
const bool AHEAD = D_BLOCKS + E_BLOCKS <= 8;
#endif

// The products x of a subgroup's 16 own rows and run c of its part's columns, of the rows at `slot`.
#define SCORE_PRODUCT(x, own, c, slot, step, blocks)                                               \
    COOP_ZERO(x);                                                                                  \
    COOP_ROLL for (uint f_ = 0; f_ < (blocks); f_++) {                                             \
        COOP_B other_;                                                                             \
        COOP_LOAD_B_T16(other_, rows, (slot) + (part * COLUMNS + (c)) * 16 * (step) + f_ * 2,      \
                        step);                                                                     \
        COOP_MULTIPLY(x, own[f_], other_);                                                         \
    }

// Element i of run c of the part's columns, as an operand.
#define SCORE_WEIGH(operands, c, x)                                                                \
    operands[row[i] * TILE_STEP + (part * COLUMNS + (c)) * 16 + column[i]] = COOP_TO_HALF(x);

// Adds to `sums` the KEYS rows at `slot`, weighted.
#define SCORE_ADD(sums, weights, blocks, slot, step)                                               \
    COOP_ROLL for (uint c_ = 0; c_ < KEYS / 16; c_++) {                                            \
        COOP_A w_;                                                                                 \
        COOP_LOAD_A1(w_, weights, group * 16 * TILE_STEP + c_ * 16, TILE_STEP);                    \
        COOP_ROLL for (uint f_ = 0; f_ < (blocks); f_++) {                                         \
            COOP_B other_;                                                                         \
            COOP_LOAD_B16(other_, rows, (slot) + c_ * 16 * (step) + (part * (blocks) + f_) * 2,    \
                          step);                                                                   \
            COOP_MULTIPLY(sums[f_], w_, other_);                                                   \
        }                                                                                          \
    }

// Four elements of a row of results, which begin at multiples of four. Float16 is converted by the device,
// in a third of the time of element_encode (H200); bfloat16 is not, for devices may cut off.
uvec2 score_encode(vec4 x)
{
    return uvec2(element_encode(x.x) | element_encode(x.y) << 16,
                 element_encode(x.z) | element_encode(x.w) << 16);
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
    barrier();                                                                                     \
    COOP_ROLL for (uint block = 0; block < (blocks); block++) {                                    \
        COOP_SYNC                                                                                  \
        COOP_STORE_C16(sums[block], rows, SCORE_SUMS_AT, SUM_STEP);                                \
        COOP_SYNC                                                                                  \
        COOP_ROLL for (uint i = 0; i < 2; i++) {                                                   \
            const uint r = group * 16 + 8 * i + (lane >> 2);                                       \
            const uint feature = (part * (blocks) + block) * 16 + 4 * (lane & 3u);                 \
            const vec4 x = uintBitsToFloat(rows[(part * 64 + r) * SUM_STEP + (lane & 3u)]);        \
            write                                                                                  \
        }                                                                                          \
    }

// Keys and values of the tile from j on, for shaders whose own rows are queries; of the keys' tau_v one a
// thread.
#define SCORE_TAKE_KEYS(j)                                                                         \
    SCORE_TAKE(next_k, k_words, k_half, k_base, call.k.row, j, end - 1, KEYS, D_WIDTH)             \
    SCORE_TAKE(next_v, v_words, v_half, v_base, call.v.row, j, end - 1, KEYS, E_WIDTH)             \
    if (HAS_TAU_V)                                                                                 \
        next_tau = uint(tau_v_data[score_row(                                                      \
            call.tau_v, b, h, min((j) + gl_LocalInvocationIndex % KEYS, end - 1))]);
#define SCORE_PLACE_KEYS                                                                           \
    SCORE_PLACE(0, D_STEP, next_k, KEYS, D_WIDTH)                                                  \
    SCORE_PLACE(KEYS * D_STEP, E_STEP, next_v, KEYS, E_WIDTH)                                      \
    if (HAS_TAU_V)                                                                                 \
        tau_of[gl_LocalInvocationIndex % KEYS] = element_decode(next_tau);

// score_sees of a row of a tile: behind the last, nothing, so that no bias of it is read. Where order alone
// decides, it does not matter what such a row sees, and asking for the last's takes fewer registers.
ivec3 score_sees_row(uint n)
{
    return n < call.N ? score_sees(n) : ivec3(0);
}

// Backward: the logits of all elements of x, runs c of columns, as pair[c][i], and z[c][i], the power of two
// that is the softmax; query_, key_: who meet in element i of run c.
#define SCORE_PAIRS(x, query_, key_, factor_, normaliser_)                                         \
    score_pair pair[BESIDE][COOP_EACH];                                                            \
    float z[BESIDE][COOP_EACH];                                                                    \
    COOP_ROLL for (uint c = 0; c < BESIDE; c++)                                                    \
        SCORE_EACH {                                                                               \
            pair[c][i] = score_pair(true, COOP_AT(x[c], i) * (factor_), 1.0);                      \
            if (SHAPED)                                                                            \
                pair[c][i] =                                                                       \
                    score_shape(b, h, query_, key_, score_sees_row(query_), pair[c][i].s);         \
            z[c][i] = HIDDEN;                                                                      \
            if (pair[c][i].seen)                                                                   \
                z[c][i] = SCORE_Z(site, pair[c][i].s) * LOG2E - (normaliser_);                     \
        }                                                                                          \
    if (!SHAPED && !all_seen) {                                                                    \
        COOP_ROLL for (uint c = 0; c < BESIDE; c++)                                                \
            SCORE_EACH {                                                                           \
                const ivec3 sees = score_sees(min(query_, call.N - 1));                            \
                if (int(key_) < sees.x || int(key_) >= sees.y)                                     \
                    z[c][i] = HIDDEN;                                                              \
            }                                                                                      \
    }

// Backward: of a query with this reference, sum of weights and delta. First log2 of what e to the logits is
// divided by: 2 to (logit times LOG2E less this) is the softmax, and 0 of a query that sees nothing.
vec2 score_statistics(bool there, float reference, float sum, float delta)
{
    return there && sum > 0.0 ? vec2(reference * LOG2E + log2(sum), delta) : vec2(-HIDDEN, 0.0);
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

// An operand: beyond float16's range its end.
float score_operand(float x)
{
    return clamp(x, -65504.0, 65504.0);
}

#endif
