#version 450
// attend.comp for float16 by cooperative matrices: a subgroup owns 16 of the workgroup's rows, a pair of
// its threads shares a row of scores. Agents and what they gather become float16 operands, which the
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

// 1: the width is that of a tile, or less; 2: the keys are, too; 4 times the runs of 16 features of a tile of
// keys, 64 times those of values, 1024 times the runs of 16 keys.
layout(constant_id = 4) const uint FORM = 4 * 4 + 64 * 4 + 1024 * 4;

const uint D_BLOCKS = FORM >> 2 & 15u;
const uint E_BLOCKS = FORM >> 6 & 15u;
const uint KEY_BLOCKS = FORM >> 10; // even
const uint KEYS = 16 * KEY_BLOCKS;

// Neighbours of q (k, v, o) are read (written) together, eight float16, four float32.
#define WIDE_Q 1u
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

layout(constant_id = 6) const uint LANES = 128;
layout(local_size_x_id = 6) in;
const uint ROWS = LANES / 2; // of a tile
#include "kit/coopmat_words.glsl"

BIAS_BINDINGS(3, 4)
layout(std430, binding = 6) writeonly buffer Floats { float floats[]; };
layout(std430, binding = 6) writeonly buffer Floats4 { vec4 floats4[]; };
layout(std430, binding = 7) writeonly buffer Most { float most[]; };
layout(std430, binding = 8) writeonly buffer Total { float total[]; };
layout(std430, binding = 9) readonly buffer Sink { float sinks[]; };

uvec4 packed(vec4 low, vec4 high)
{
    return uvec4(packFloat2x16(f16vec2(low.xy)), packFloat2x16(f16vec2(low.zw)),
                 packFloat2x16(f16vec2(high.xy)), packFloat2x16(f16vec2(high.zw)));
}

// Up to `left` of the eight elements from `at` on, then zeros.
#define EIGHT_HALVES(name, bind, Eights, eights, Ones, ones, flag)                                  \
    layout(std430, binding = bind) readonly buffer Eights { uvec4 eights[]; };                      \
    layout(std430, binding = bind) readonly buffer Ones { float16_t ones[]; };                      \
    uvec4 name(uint at, uint left)                                                                  \
    {                                                                                               \
        if ((wide & flag) != 0u && left >= 8u)                                                      \
            return eights[at >> 3];                                                                 \
        uvec4 x = uvec4(0u);                                                                        \
        for (uint c = 0; c < min(left, 8u); c++)                                                    \
            x[c >> 1] |= packFloat2x16(f16vec2(ones[at + c], 0.0hf)) << 16u * (c & 1u);             \
        return x;                                                                                   \
    }
#define EIGHT_FLOATS(name, bind, Fours, fours, Ones, ones, flag)                                    \
    layout(std430, binding = bind) readonly buffer Fours { vec4 fours[]; };                         \
    layout(std430, binding = bind) readonly buffer Ones { float ones[]; };                          \
    uvec4 name(uint at, uint left)                                                                  \
    {                                                                                               \
        vec4 low = vec4(0.0), high = vec4(0.0);                                                     \
        if ((wide & flag) != 0u && left >= 8u) {                                                    \
            low = fours[at >> 2];                                                                   \
            high = fours[(at >> 2) + 1u];                                                           \
        } else                                                                                      \
            for (uint c = 0; c < min(left, 8u); c++)                                                \
                if (c < 4u)                                                                         \
                    low[c] = ones[at + c];                                                          \
                else                                                                                \
                    high[c & 3u] = ones[at + c];                                                    \
        return packed(clamp(low, -65504.0, 65504.0), clamp(high, -65504.0, 65504.0));               \
    }

#ifdef HAND_OUT
EIGHT_HALVES(eight_q, 0, Q8, q8, Q1, q1, WIDE_Q)
EIGHT_FLOATS(eight_k, 1, K4, k4, K1, k1, WIDE_K)
EIGHT_FLOATS(eight_v, 2, V4, v4, V1, v1, WIDE_V)
layout(std430, binding = 5) writeonly buffer O8 { uvec4 o8[]; };
layout(std430, binding = 5) writeonly buffer O1 { float16_t o1[]; };
#else
EIGHT_FLOATS(eight_q, 0, Q4, q4, Q1, q1, WIDE_Q)
EIGHT_HALVES(eight_k, 1, K8, k8, K1, k1, WIDE_K)
EIGHT_HALVES(eight_v, 2, V8, v8, V1, v1, WIDE_V)
#endif

// Vectors of 16 bytes: of a line of 32 halves or 16 sums, of a key and of a value; one more, for the banks.
const uint STEP = 5;
const uint D_WIDTH = D_BLOCKS * 2, D_STEP = D_WIDTH + 1;
const uint E_WIDTH = E_BLOCKS * 2, E_STEP = E_WIDTH + 1;
const uint D_TILE = D_BLOCKS * 16, E_TILE = E_BLOCKS * 16;
const uint D_SHARE = (KEYS * D_WIDTH + LANES - 1) / LANES;
const uint E_SHARE = (KEYS * E_WIDTH + LANES - 1) / LANES;
const uint ROUNDS = (D_BLOCKS + 1) / 2; // of 32 features of a row
const uint TAKEN = ROUNDS * 2;
// A tile is on its way while the one before is worked on, as long as registers have room for it.
const bool AHEAD = D_BLOCKS * KEY_BLOCKS + E_BLOCKS * KEY_BLOCKS <= 32;

const float SLACK = 8.0;
const float LOG2E = 1.44269504088896340736;
const float HIDDEN = -1e30; // the score of a key that is none: e to its power is 0, without a test
const bool NARROW = (FORM & 1u) != 0u;

shared uvec4 key_tile[KEYS * D_STEP];
shared uvec4 value_tile[KEYS * E_STEP];
shared uvec4 row_tile[ROWS * STEP]; // of a subgroup alone, by turns: rows of q, sums, weights

#define LANE gl_LocalInvocationIndex
#define SIDE (LANE & 1u)
#define MINE (LANE >> 1) // row of the tile
#define OWN  (COOP_GROUP * 16u)

COOP_A query[D_BLOCKS];
COOP_C scores[KEY_BLOCKS], sums[E_BLOCKS];

// If what is streamed is WHOLE nothing is asked of a row, so that it can be on its way while the tile before
// it is worked on (drivers wait for what a branch has loaded where its ways join): behind the last row the
// last is taken once more, and weighs nothing. Otherwise there are zeros.

// A thread's share of the subgroup's 16 rows, from feature d on, on their way to row_tile.
void take_rows(out uvec4 x[TAKEN], uint row0, uint at, uint d)
{
    const uint line = row0 + OWN + (COOP_LANE >> 2), from = d + 8u * (COOP_LANE & 3u);
    COOP_ROLL for (uint i = 0; i < TAKEN; i++) {
        const uint row = line + 8u * (i & 1u), e = from + 32u * (i >> 1);
#ifdef HAND_OUT
        if (WHOLE) {
            x[i] = q8[(at + min(row, rows - 1u) * q_row + e) >> 3];
            continue;
        }
#endif
        x[i] = row < rows ? eight_q(at + row * q_row + e, width - min(width, e)) : uvec4(0u);
    }
}

void place_rows(uvec4 x[TAKEN])
{
    COOP_ROLL for (uint r = 0; r < ROUNDS; r++) {
        COOP_SYNC
        COOP_ROLL for (uint i = 0; i < 2; i++)
            row_tile[(OWN + 8u * i + (COOP_LANE >> 2)) * STEP + (COOP_LANE & 3u)] = x[2u * r + i];
        COOP_SYNC
        COOP_ROLL for (uint k = 2u * r; k < min(2u * r + 2u, D_BLOCKS); k++) {
            COOP_LOAD_A16(query[k], row_tile, OWN * STEP + 2u * (k & 1u), STEP);
        }
    }
}

// A thread's share of the features from d on of the KEYS rows from `first` on.
#define TAKE(name, eight, eights, stride, across, share, vectors)                                   \
    void name(out uvec4 x[share], uint first, uint end, uint at, uint d)                            \
    {                                                                                               \
        COOP_ROLL for (uint i = 0; i < share; i++) {                                                \
            const uint n = LANE + LANES * i, row = first + n / vectors, e = d + 8u * (n % vectors); \
            FAST(eights, stride)                                                                    \
            x[i] = row < end ? eight(at + row * stride + e, across - min(across, e)) : uvec4(0u);   \
        }                                                                                           \
    }
#ifdef HAND_OUT
#define FAST(eights, stride)
#else
#define FAST(eights, stride)                                                                        \
    if (WHOLE) {                                                                                    \
        x[i] = eights[(at + min(row, end - 1u) * stride + e) >> 3];                                 \
        continue;                                                                                   \
    }
#endif
TAKE(take_keys, eight_k, k8, k_row, width, D_SHARE, D_WIDTH)
TAKE(take_values, eight_v, v8, v_row, values, E_SHARE, E_WIDTH)

#define PLACE(tile, step, x, share, vectors)                                                        \
    COOP_ROLL for (uint i = 0; i < share; i++) {                                                    \
        const uint n = LANE + LANES * i;                                                            \
        if (KEYS * vectors % LANES == 0u || n < KEYS * vectors)                                     \
            tile[n / vectors * step + n % vectors] = x[i];                                          \
    }
#define PLACE_KEYS(x)   PLACE(key_tile, D_STEP, x, D_SHARE, D_WIDTH)
#define PLACE_VALUES(x) PLACE(value_tile, E_STEP, x, E_SHARE, E_WIDTH)

void clear_scores()
{
    COOP_ROLL for (uint n = 0; n < KEY_BLOCKS; n++) {
        COOP_ZERO(scores[n]);
    }
}

void clear_sums()
{
    COOP_ROLL for (uint n = 0; n < E_BLOCKS; n++) {
        COOP_ZERO(sums[n]);
    }
}

void add_keys()
{
    COOP_ROLL for (uint k = 0; k < D_BLOCKS; k++)
        COOP_ROLL for (uint n = 0; n < KEY_BLOCKS; n++) {
            COOP_B b;
            COOP_LOAD_B_T16(b, key_tile, n * 16u * D_STEP + 2u * k, D_STEP);
            COOP_MULTIPLY(scores[n], query[k], b);
        }
}

const uint OF_ROW = 2 * KEY_BLOCKS; // vectors of four scores: a thread's half of a row

// The column of a tile that vector i of a thread begins at.
uint column_of(uint i)
{
    return 16u * (i >> 1) + 8u * SIDE + 4u * (i & 1u);
}

// This thread's part of a row: its scores, HIDDEN where there is no key; returns the row's greatest.
float read_scores(out vec4 x[OF_ROW], uint head, uint row, uint key0, uint end)
{
    COOP_ROLL for (uint n = 0; n < KEY_BLOCKS; n++) {
        COOP_SYNC
        COOP_STORE_C16(scores[n], row_tile, OWN * STEP, STEP);
        COOP_SYNC
        COOP_ROLL for (uint i = 0; i < 2; i++)
            x[2u * n + i] = scale * uintBitsToFloat(row_tile[MINE * STEP + 2u * SIDE + i]);
    }
    if (BIAS != 0 || CAPPED || key0 + KEYS > end)
        COOP_ROLL for (uint i = 0; i < OF_ROW; i++)
            COOP_ROLL for (uint c = 0; c < 4; c++) {
                const uint key = key0 + column_of(i) + c;
                if (BIAS != 0 && row < rows && key < end)
                    x[i][c] = max(x[i][c] + bias_at(head, row, key), HIDDEN);
                if (CAPPED && x[i][c] > HIDDEN)
                    x[i][c] = softcapped(x[i][c], softcap);
                x[i][c] = key < end ? x[i][c] : HIDDEN;
            }
    vec4 most4 = x[0];
    COOP_ROLL for (uint i = 1; i < OF_ROW; i++)
        most4 = max(most4, x[i]);
    const float here = max(max(most4.x, most4.y), max(most4.z, most4.w));
    return max(here, COOP_OTHER(here));
}

// Adds the tile's values, weighted, `reference` being the score of weight 1; returns the sum of the
// thread's part of the weights.
float weigh(vec4 x[OF_ROW], float reference)
{
    // Where there was no key yet, what is hidden must not count as the greatest.
    const float base = reference > HIDDEN ? reference * LOG2E : 0.0;
    vec4 part = vec4(0.0);
    COOP_ROLL for (uint i = 0; i < OF_ROW; i++) {
        x[i] = exp2(x[i] * LOG2E - vec4(base));
        part += x[i];
    }
    COOP_ROLL for (uint k = 0; k < KEY_BLOCKS; k++) {
        COOP_A a;
        if ((k & 1u) == 0u) {
            COOP_SYNC
            COOP_ROLL for (uint i = 0; i < 2; i++)
                row_tile[MINE * STEP + 2u * i + SIDE] =
                    packed(x[2u * (k + i)], x[2u * (k + i) + 1u]);
            COOP_SYNC
        }
        COOP_LOAD_A16(a, row_tile, OWN * STEP + 2u * (k & 1u), STEP);
        COOP_ROLL for (uint n = 0; n < E_BLOCKS; n++) {
            COOP_B b;
            COOP_LOAD_B16(b, value_tile, k * 16u * E_STEP + 2u * n, E_STEP);
            COOP_MULTIPLY(sums[n], a, b);
        }
    }
    return part.x + part.y + part.z + part.w;
}

// The sums so far, times a factor of this thread's row. Through shared memory, where rows are known: to
// touch a sum's elements one by one makes drivers keep it in memory all along. It is rare.
void rescale(float factor)
{
    COOP_ROLL for (uint n = 0; n < E_BLOCKS; n++) {
        COOP_SYNC
        COOP_STORE_C16(sums[n], row_tile, OWN * STEP, STEP);
        COOP_SYNC
        COOP_ROLL for (uint i = 0; i < 2; i++) {
            const uint at = MINE * STEP + 2u * SIDE + i;
            row_tile[at] = floatBitsToUint(factor * uintBitsToFloat(row_tile[at]));
        }
        COOP_SYNC
        COOP_LOAD_C16(sums[n], row_tile, OWN * STEP, STEP);
    }
}

// Eight sums of a row, from value e on.
void put(uint at, uint o_at, uint e, vec4 low, vec4 high)
{
    const uint left = values - min(values, e);
#ifdef HAND_OUT
    if (FLOATS == 0) {
        if ((wide & WIDE_O) != 0u && left >= 8u)
            o8[(o_at + e) >> 3] = packed(low, high);
        else
            for (uint c = 0; c < min(left, 8u); c++)
                o1[o_at + e + c] = float16_t(c < 4u ? low[c] : high[c & 3u]);
        return;
    }
#endif
    if ((values & 3u) == 0u) {
        if (left > 0u)
            floats4[(at * values + e) >> 2] = low;
        if (left > 4u)
            floats4[(at * values + e + 4u) >> 2] = high;
    } else
        for (uint c = 0; c < min(left, 8u); c++)
            floats[at * values + e + c] = c < 4u ? low[c] : high[c & 3u];
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
    const uint row = row0 + MINE;
    COOP_ROLL for (uint n = 0; n < E_BLOCKS; n++) {
        COOP_SYNC
        COOP_STORE_C16(sums[n], row_tile, OWN * STEP, STEP);
        COOP_SYNC
        const uint at = MINE * STEP + 2u * SIDE;
        if (row < rows)
            put(first + row, o_at + row * o_row, e0 + 16u * n + 8u * SIDE,
                factor * uintBitsToFloat(row_tile[at]), factor * uintBitsToFloat(row_tile[at + 1u]));
    }
}

// Any number of keys, a tile after the other.
void attend(uint head, uint first, uint row0, uint e0, uint begin, uint end, uint q_at, uint k_at,
            uint v_at, uint o_at)
{
    float reference = HIDDEN, part = 0.0;
    uvec4 next_k[D_SHARE], next_v[E_SHARE], next_q[TAKEN];
    vec4 x[OF_ROW];
    clear_sums();
    if (NARROW) {
        take_rows(next_q, row0, q_at, 0u);
        place_rows(next_q);
        if (AHEAD && begin < end) {
            take_keys(next_k, begin, end, k_at, 0u);
            take_values(next_v, begin, end, v_at, e0);
        }
    }
    for (uint key0 = begin; key0 < end; key0 += KEYS) {
        clear_scores();
        if (NARROW) {
            if (!AHEAD) {
                take_keys(next_k, key0, end, k_at, 0u);
                take_values(next_v, key0, end, v_at, e0);
            }
            barrier();
            PLACE_KEYS(next_k)
            PLACE_VALUES(next_v)
            barrier();
            if (AHEAD && (WHOLE || key0 + KEYS < end)) {
                take_keys(next_k, key0 + KEYS, end, k_at, 0u);
                take_values(next_v, key0 + KEYS, end, v_at, e0);
                COOP_HOLD(WHOLE && heads == 0u, PLACE_KEYS(next_k) PLACE_VALUES(next_v))
            }
            add_keys();
        } else {
            take_values(next_v, key0, end, v_at, e0);
            barrier();
            PLACE_VALUES(next_v)
            for (uint d = 0; d < width; d += D_TILE) {
                take_keys(next_k, key0, end, k_at, d);
                take_rows(next_q, row0, q_at, d);
                barrier();
                PLACE_KEYS(next_k)
                place_rows(next_q);
                barrier();
                add_keys();
            }
        }
        const float here = read_scores(x, head, row0 + MINE, key0, end);
        const bool grows = here > reference + SLACK;
        const float next = grows ? here : reference, shrink = exp2((reference - next) * LOG2E);
        reference = next;
        if (key0 > begin && COOP_ANY(grows))
            rescale(shrink);
        part = part * shrink + weigh(x, reference);
    }
    part += COOP_OTHER(part);
    finish(head, first, row0, e0, o_at, reference, part);
}

#ifdef HAND_OUT
// All keys in one tile: the rows' tiles `tile`, `tile` + `step` ...
void hand_out(uint head, uint first, uint tile, uint step, uint e0, uint q_at, uint k_at, uint v_at,
              uint o_at)
{
    uvec4 next_k[D_SHARE], next_v[E_SHARE], next[TAKEN];
    vec4 x[OF_ROW];
    take_keys(next_k, 0u, keys, k_at, 0u);
    PLACE_KEYS(next_k)
    take_values(next_v, 0u, keys, v_at, e0);
    PLACE_VALUES(next_v)
    take_rows(next, ROWS * tile, q_at, 0u);
    barrier();
    for (uint row0 = ROWS * tile; row0 < rows; row0 += ROWS * step) {
        place_rows(next);
        if (WHOLE || row0 + ROWS * step < rows) {
            take_rows(next, row0 + ROWS * step, q_at, 0u);
            COOP_HOLD(WHOLE && heads == 0u,
                      COOP_ROLL for (uint i = 0; i < TAKEN; i++) row_tile[LANE] = next[i];)
        }
        clear_scores();
        add_keys();
        const float top = read_scores(x, head, row0 + MINE, 0u, keys);
        clear_sums();
        float part = weigh(x, top);
        part += COOP_OTHER(part);
        finish(head, first, row0, e0, o_at, top, part);
    }
}
#endif

void main()
{
    const uint unit = gl_WorkGroupID.z, split = gl_WorkGroupID.y;
    const uint batch = unit / heads, head = unit % heads;
    const uint tiles = max(1u, (values + E_TILE - 1u) / E_TILE), tile = gl_WorkGroupID.x / tiles;
    const uint e0 = (gl_WorkGroupID.x - tile * tiles) * E_TILE;
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
    if ((FORM & 3u) == 3u)
        hand_out(head, unit * rows, tile, step, e0, q_at, k_at, v_at, o_at);
    else
        for (uint row0 = ROWS * tile; row0 < rows; row0 += ROWS * step)
            attend(head, unit * rows, row0, e0, begin, end, q_at, k_at, v_at, o_at);
#else
    attend(head, (split * units + unit) * rows, tile * ROWS, e0, begin, end, q_at, k_at, v_at, o_at);
#endif
}
