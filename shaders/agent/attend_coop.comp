#version 450
// attend.comp for float16 by cooperative matrices: a subgroup owns 16 of the 64 rows, a pair of its
// threads shares a row of scores. Agents and what they gather become float16 operands, which the
// agents are already (pool.comp, ROUNDED). All else is float32. A row's reference may stay up to SLACK
// below its greatest score, so that most tiles need no rescaling of the sums: weights are in
// [0, e^SLACK]. Handing out to at most 64 agents, a workgroup keeps them and walks over tiles of
// queries, and no sum is ever rescaled.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "kit/element_f16.glsl"
#include "agent/bias.glsl"
#define PRODUCT_COOP
#include "agent/options.glsl"

layout(constant_id = 2) const uint FLOATS = 0; // handing out: 1: to `floats`, not to `o`
layout(constant_id = 3) const uint SAVE = 0;   // handing out: 1: leave the rows' statistics

layout(constant_id = 4) const uint FORM = 0;   // 1: width <= 64, 2: keys <= 64, 3: both

#define WIDE_Q 1u // four neighbours of q (k, v, o) are read (written) at once
#define WIDE_K 2u
#define WIDE_V 4u
#define WIDE_O 8u

layout(push_constant) uniform Push {
    uint heads, units, rows, keys, width, values;
    uint q_base, q_batch, q_head, q_row;
    uint k_base, k_batch, k_head, k_row;
    uint v_base, v_batch, v_head, v_row;
    uint o_base, o_batch, o_head, o_row;
    BIAS_FIELDS
    uint split_keys; // handing out: where the sink begins
    uint most_base, total_base;
    float scale, softcap;
    uint wide;
};

layout(local_size_x = 128) in;
#include "kit/coopmat.glsl"

BIAS_BINDINGS(3, 4)
layout(std430, binding = 6) writeonly buffer Floats { float floats[]; };
layout(std430, binding = 6) writeonly buffer Floats4 { vec4 floats4[]; };
layout(std430, binding = 7) writeonly buffer Most { float most[]; };
layout(std430, binding = 8) writeonly buffer Total { float total[]; };
layout(std430, binding = 9) readonly buffer Sink { float sinks[]; };

// Up to `left` of the four elements from `at` on, then zeros.
#define FOUR_HALVES(name, bind, Fours, fours, Ones, ones, flag)                                     \
    layout(std430, binding = bind) readonly buffer Fours { f16vec4 fours[]; };                      \
    layout(std430, binding = bind) readonly buffer Ones { float16_t ones[]; };                      \
    f16vec4 name(uint at, uint left)                                                                \
    {                                                                                               \
        if ((wide & flag) != 0u && left >= 4u)                                                      \
            return fours[at >> 2];                                                                  \
        f16vec4 x = f16vec4(0.0hf);                                                                 \
        [[unroll]] for (uint c = 0; c < 4; c++)                                                     \
            if (c < left)                                                                           \
                x[c] = ones[at + c];                                                                \
        return x;                                                                                   \
    }
#define FOUR_FLOATS(name, bind, Ones, ones)                                                         \
    layout(std430, binding = bind) readonly buffer Ones { float ones[]; };                          \
    f16vec4 name(uint at, uint left)                                                                \
    {                                                                                               \
        vec4 x = vec4(0.0);                                                                         \
        if (left >= 4u)                                                                             \
            x = vec4(ones[at], ones[at + 1u], ones[at + 2u], ones[at + 3u]);                        \
        else                                                                                        \
            [[unroll]] for (uint c = 0; c < 4; c++)                                                 \
                if (c < left)                                                                       \
                    x[c] = ones[at + c];                                                            \
        return f16vec4(clamp(x, -65504.0, 65504.0));                                                \
    }

#ifdef HAND_OUT
FOUR_HALVES(four_q, 0, Q4, q4, Q1, q1, WIDE_Q)
FOUR_FLOATS(four_k, 1, K1, k1)
FOUR_FLOATS(four_v, 2, V1, v1)
layout(std430, binding = 5) writeonly buffer O4 { f16vec4 o4[]; };
layout(std430, binding = 5) writeonly buffer O1 { float16_t o1[]; };
#else
FOUR_FLOATS(four_q, 0, Q1, q1)
FOUR_HALVES(four_k, 1, K4, k4, K1, k1, WIDE_K)
FOUR_HALVES(four_v, 2, V4, v4, V1, v1, WIDE_V)
#endif

#define STEP      18u // of a row of 64 numbers: two vectors more, for the banks
#define HALF_STEP 10u // of a row of 32
#define SUM_STEP  5u  // of a row of 16 sums

const float SLACK = 8.0;
const float LOG2E = 1.44269504088896340736;
const float HIDDEN = -1e30; // the score of a key that is none: e to its power is 0, without a test
const bool NARROW = (FORM & 1u) != 0u;

shared COOP_HALF4 key_tile[64 * STEP];
shared COOP_HALF4 value_tile[64 * STEP];
shared COOP_HALF4 left_tile[64 * HALF_STEP]; // rows of q, or weights, half a row at a time
shared COOP_FLOAT4 sums_tile[64 * SUM_STEP]; // 16 x 16 of each subgroup
shared float factors[64];

#define LANE gl_LocalInvocationIndex
#define SIDE (LANE & 1u)
#define MINE (LANE >> 1) // row of the tile
#define OWN  (COOP_GROUP * 16u)

COOP_A query[4], weights[4];
COOP_C scores[4], sums[4];

// A thread's share of 64 features, from d on, of the subgroup's 16 rows, on their way to left_tile;
// zeros outside. Its first four vectors are of the first 32 features.
void take_rows(out f16vec4 x[8], uint row0, uint at, uint d)
{
    const uint line = row0 + OWN + (COOP_LANE >> 3), from = d + 4u * (COOP_LANE & 7u);
#ifdef HAND_OUT
    if ((wide & WIDE_Q) != 0u && row0 + 64u <= rows && d + 64u <= width) {
        const uint first = (at + line * q_row + from) >> 2;
        [[unroll]] for (uint i = 0; i < 8; i++)
            x[i] = q4[first + (i & 3u) * q_row + 8u * (i >> 2)];
        return;
    }
#endif
    [[unroll]] for (uint i = 0; i < 8; i++) {
        const uint row = line + 4u * (i & 3u), e = from + 32u * (i >> 2);
        x[i] = row < rows ? four_q(at + row * q_row + e, width - min(width, e)) : f16vec4(0.0hf);
    }
}

// A thread's share of 64 columns, from d on, of rows `first` to `first` + 63; zeros outside.
#define TAKE(name, four, fours, flag, stride, across)                                               \
    void name(out f16vec4 x[8], uint first, uint end, uint at, uint d)                              \
    {                                                                                               \
        const uint line = first + (LANE >> 4), e = d + 4u * (LANE & 15u);                           \
        FAST(fours, flag, stride, across)                                                           \
        [[unroll]] for (uint i = 0; i < 8; i++) {                                                   \
            const uint row = line + 8u * i;                                                         \
            x[i] = row < end ? four(at + row * stride + e, across - min(across, e))                 \
                             : f16vec4(0.0hf);                                                      \
        }                                                                                           \
    }
#ifdef HAND_OUT
#define FAST(fours, flag, stride, across)
#else
#define FAST(fours, flag, stride, across)                                                           \
    if ((wide & flag) != 0u && first + 64u <= end && d + 64u <= across) {                           \
        const uint from = (at + line * stride + e) >> 2;                                            \
        [[unroll]] for (uint i = 0; i < 8; i++)                                                     \
            x[i] = fours[from + i * 2u * stride];                                                   \
        return;                                                                                     \
    }
#endif
TAKE(take_keys, four_k, k4, WIDE_K, k_row, width)
TAKE(take_values, four_v, v4, WIDE_V, v_row, values)

#define PLACE(tile, x)                                                                              \
    [[unroll]] for (uint i = 0; i < 8; i++)                                                         \
        tile[((LANE >> 4) + 8u * i) * STEP + (LANE & 15u)] = COOP_TO_HALF4(x[i]);

// 64 columns of the subgroup's rows become the operand `a`: each half is what `put` writes.
#define OPERAND(a, put)                                                                             \
    [[unroll]] for (uint h = 0; h < 2; h++) {                                                       \
        COOP_SYNC                                                                                   \
        [[unroll]] for (uint i = 0; i < 4; i++)                                                     \
            put(h, i)                                                                               \
        COOP_SYNC                                                                                   \
        COOP_LOAD_A(a[2u * h], left_tile, OWN * HALF_STEP, HALF_STEP);                              \
        COOP_LOAD_A(a[2u * h + 1u], left_tile, OWN * HALF_STEP + 4u, HALF_STEP);                    \
    }

void place_rows(f16vec4 x[8])
{
#define PUT_ROWS(h, i)                                                                              \
    left_tile[(OWN + 4u * i + (COOP_LANE >> 3)) * HALF_STEP + (COOP_LANE & 7u)] =                   \
        COOP_TO_HALF4(x[4u * h + i]);
    OPERAND(query, PUT_ROWS)
}

void place_weights(vec4 p[8])
{
#define PUT_WEIGHTS(h, i)                                                                           \
    left_tile[MINE * HALF_STEP + 2u * i + SIDE] = COOP_TO_HALF4(f16vec4(p[4u * h + i]));
    OPERAND(weights, PUT_WEIGHTS)
}

void clear_scores()
{
    [[unroll]] for (uint n = 0; n < 4; n++) {
        COOP_ZERO(scores[n]);
    }
}

void clear_sums()
{
    [[unroll]] for (uint n = 0; n < 4; n++) {
        COOP_ZERO(sums[n]);
    }
}

void add_keys()
{
    [[unroll]] for (uint k = 0; k < 4; k++)
        [[unroll]] for (uint n = 0; n < 4; n++) {
            COOP_B b;
            COOP_LOAD_B_T(b, key_tile, n * 16u * STEP + 4u * k, STEP);
            COOP_MULTIPLY(scores[n], query[k], b);
        }
}

void add_values()
{
    [[unroll]] for (uint k = 0; k < 4; k++)
        [[unroll]] for (uint n = 0; n < 4; n++) {
            COOP_B b;
            COOP_LOAD_B(b, value_tile, k * 16u * STEP + 4u * n, STEP);
            COOP_MULTIPLY(sums[n], weights[k], b);
        }
}

// The column of a tile that vector i of a thread begins at.
uint column_of(uint i)
{
    return 8u * i + 4u * SIDE;
}

// This thread's part of a row: its scores, HIDDEN where there is no key; returns the row's greatest.
float read_scores(out vec4 x[8], uint head, uint row, uint key0, uint end)
{
    [[unroll]] for (uint n = 0; n < 4; n++) {
        COOP_SYNC
        COOP_STORE_C(scores[n], sums_tile, OWN * SUM_STEP, SUM_STEP);
        COOP_SYNC
        x[2u * n] = scale * COOP_FROM_FLOAT4(sums_tile[MINE * SUM_STEP + SIDE]);
        x[2u * n + 1u] = scale * COOP_FROM_FLOAT4(sums_tile[MINE * SUM_STEP + 2u + SIDE]);
    }
    if (BIAS != 0 || CAPPED || key0 + 64u > end)
        [[unroll]] for (uint i = 0; i < 8; i++)
            [[unroll]] for (uint c = 0; c < 4; c++) {
                const uint key = key0 + column_of(i) + c;
                if (BIAS != 0 && row < rows && key < end)
                    x[i][c] = max(x[i][c] + bias_at(head, row, key), HIDDEN);
                if (CAPPED && x[i][c] > HIDDEN)
                    x[i][c] = softcapped(x[i][c], softcap);
                x[i][c] = key < end ? x[i][c] : HIDDEN;
            }
    vec4 most4 = x[0];
    [[unroll]] for (uint i = 1; i < 8; i++)
        most4 = max(most4, x[i]);
    const float here = max(max(most4.x, most4.y), max(most4.z, most4.w));
    return max(here, COOP_OTHER(here));
}

// The operand of a row's weights, of which `reference` is that of weight 1; returns the sum of the
// thread's part.
float make_weights(vec4 x[8], float reference)
{
    // Where there was no key yet, what is hidden must not count as the greatest.
    const float base = reference > HIDDEN ? reference * LOG2E : 0.0;
    vec4 part = vec4(0.0);
    [[unroll]] for (uint i = 0; i < 8; i++) {
        x[i] = exp2(x[i] * LOG2E - vec4(base));
        part += x[i];
    }
    place_weights(x);
    return part.x + part.y + part.z + part.w;
}

// The sums so far, times a factor of this thread's row. Through shared memory, where rows are known: to
// touch a sum's elements one by one makes drivers keep it in memory all along. It is rare.
void rescale(float factor)
{
    [[unroll]] for (uint n = 0; n < 4; n++) {
        COOP_SYNC
        COOP_STORE_C(sums[n], sums_tile, OWN * SUM_STEP, SUM_STEP);
        COOP_SYNC
        [[unroll]] for (uint i = 0; i < 2; i++) {
            const uint at = MINE * SUM_STEP + 2u * i + SIDE;
            sums_tile[at] = COOP_TO_FLOAT4(COOP_FROM_FLOAT4(sums_tile[at]) * factor);
        }
        COOP_SYNC
        COOP_LOAD_C(sums[n], sums_tile, OWN * SUM_STEP, SUM_STEP);
    }
}

// Four sums of a row, from value e on.
void put(uint at, uint o_at, uint e, vec4 x)
{
    const uint left = values - min(values, e);
#ifdef HAND_OUT
    if (FLOATS == 0) {
        if ((wide & WIDE_O) != 0u && left >= 4u)
            o4[(o_at + e) >> 2] = f16vec4(x);
        else
            [[unroll]] for (uint c = 0; c < 4; c++)
                if (c < left)
                    o1[o_at + e + c] = float16_t(x[c]);
        return;
    }
#endif
    if (left > 0u && (values & 3u) == 0u)
        floats4[(at * values + e) >> 2] = x;
    else
        [[unroll]] for (uint c = 0; c < 4; c++)
            if (c < left)
                floats[at * values + e + c] = x[c];
}

// The rows done: their statistics, and their sums times a factor of the thread's row. `first`: where
// rows begin in what has a row for each.
void finish(uint head, uint first, uint row0, uint e0, uint o_at, float top, float part)
{
#ifdef HAND_OUT
    const bool leave = SAVE != 0 && e0 == 0u;
    float shrink = 1.0;
    if (SINK) {
        const float sink = max(sinks[split_keys + head], HIDDEN);
        if (sink > HIDDEN) {
            const float higher = max(top, sink);
            shrink = exp2((top - higher) * LOG2E);
            part = part * shrink + exp2((sink - higher) * LOG2E);
            top = higher;
        }
    }
    const float factor = part > 0.0 ? shrink / part : 0.0;
#else
    const bool leave = e0 == 0u;
    const float factor = 1.0;
#endif
    if (leave && SIDE == 0u && row0 + MINE < rows) {
        most[most_base + first + row0 + MINE] = top;
        total[total_base + first + row0 + MINE] = part;
    }
    COOP_SYNC
    if (SIDE == 0u)
        factors[MINE] = factor;
    [[unroll]] for (uint n = 0; n < 4; n++) {
        COOP_SYNC
        COOP_STORE_C(sums[n], sums_tile, OWN * SUM_STEP, SUM_STEP);
        COOP_SYNC
        [[unroll]] for (uint i = 0; i < 2; i++) {
            const uint line = OWN + 8u * i + (COOP_LANE >> 2), row = row0 + line;
            const vec4 x =
                factors[line] * COOP_FROM_FLOAT4(sums_tile[line * SUM_STEP + (COOP_LANE & 3u)]);
            if (row < rows)
                put(first + row, o_at + row * o_row, e0 + 16u * n + 4u * (COOP_LANE & 3u), x);
        }
    }
}

// Any number of keys, 64 after the other.
void attend(uint head, uint first, uint row0, uint e0, uint begin, uint end, uint q_at, uint k_at,
            uint v_at, uint o_at)
{
    float reference = HIDDEN, part = 0.0;
    f16vec4 next_k[8], next_v[8];
    vec4 x[8];
    clear_sums();
    if (NARROW) {
        take_rows(next_k, row0, q_at, 0u);
        place_rows(next_k);
        if (begin < end) {
            take_keys(next_k, begin, end, k_at, 0u);
            take_values(next_v, begin, end, v_at, e0);
        }
    }
    for (uint key0 = begin; key0 < end; key0 += 64u) {
        barrier();
        clear_scores();
        if (NARROW) {
            PLACE(key_tile, next_k)
            PLACE(value_tile, next_v)
            barrier();
            if (key0 + 64u < end) {
                take_keys(next_k, key0 + 64u, end, k_at, 0u);
                take_values(next_v, key0 + 64u, end, v_at, e0);
            }
            add_keys();
        } else {
            take_values(next_v, key0, end, v_at, e0);
            PLACE(value_tile, next_v)
            for (uint d = 0; d < width; d += 64u) {
                take_keys(next_k, key0, end, k_at, d);
                take_rows(next_v, row0, q_at, d);
                barrier();
                PLACE(key_tile, next_k)
                place_rows(next_v);
                barrier();
                add_keys();
            }
        }
        const float here = read_scores(x, head, row0 + MINE, key0, end);
        const bool grows = here > reference + SLACK;
        const float next = grows ? here : reference, shrink = exp2((reference - next) * LOG2E);
        reference = next;
        part = part * shrink + make_weights(x, reference);
        if (key0 > begin && COOP_ANY(grows))
            rescale(shrink);
        add_values();
    }
    part += COOP_OTHER(part);
    finish(head, first, row0, e0, o_at, reference, part);
}

#ifdef HAND_OUT
// At most 64 keys: the rows' tiles `tile`, `tile` + `step` ...
void hand_out(uint head, uint first, uint tile, uint step, uint e0, uint q_at, uint k_at, uint v_at,
              uint o_at)
{
    f16vec4 next[8];
    vec4 x[8];
    take_keys(next, 0u, keys, k_at, 0u);
    PLACE(key_tile, next)
    take_values(next, 0u, keys, v_at, e0);
    PLACE(value_tile, next)
    take_rows(next, 64u * tile, q_at, 0u);
    barrier();
    for (uint row0 = 64u * tile; row0 < rows; row0 += 64u * step) {
        place_rows(next);
        if (row0 + 64u * step < rows)
            take_rows(next, row0 + 64u * step, q_at, 0u);
        clear_scores();
        add_keys();
        const float top = read_scores(x, head, row0 + MINE, 0u, keys);
        float part = make_weights(x, top);
        part += COOP_OTHER(part);
        clear_sums();
        add_values();
        finish(head, first, row0, e0, o_at, top, part);
    }
}
#endif

void main()
{
    const uint unit = gl_WorkGroupID.z, split = gl_WorkGroupID.y;
    const uint batch = unit / heads, head = unit % heads;
    const uint tiles = max(1u, (values + 63u) / 64u), tile = gl_WorkGroupID.x / tiles;
    const uint e0 = (gl_WorkGroupID.x - tile * tiles) * 64u;
#ifdef HAND_OUT
    const uint begin = 0u, end = keys;
#else
    const uint begin = split * split_keys, end = min(keys, begin + split_keys);
#endif
    const uint q_at = q_base + batch * q_batch + head * q_head;
    const uint k_at = k_base + batch * k_batch + head * k_head;
    const uint v_at = v_base + batch * v_batch + head * v_head;
    const uint o_at = o_base + batch * o_batch + head * o_head;
#ifdef HAND_OUT
    const uint step = gl_NumWorkGroups.x / tiles;
    if (FORM == 3u)
        hand_out(head, unit * rows, tile, step, e0, q_at, k_at, v_at, o_at);
    else
        for (uint row0 = 64u * tile; row0 < rows; row0 += 64u * step)
            attend(head, unit * rows, row0, e0, begin, end, q_at, k_at, v_at, o_at);
#else
    attend(head, (split * units + unit) * rows, tile * 64u, e0, begin, end, q_at, k_at, v_at, o_at);
#endif
}
