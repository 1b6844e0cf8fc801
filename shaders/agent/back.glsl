// What backward by cooperative matrices in one pass (back_coop.comp) and in two (slopes_coop.comp) share, for
// one of the two attentions, of at most 64 agents: tiles of 64 positions, of which they make the weights p and
// the gradients of logits s = p (y . w - delta), and of these
//
//     to_i = scale sum_a s_ia a                     gradients of queries (keys)
//     gathering: value_to_i = sum_a p_ia w_a        of values
//
// x: queries (keys), y: gradients of the output (values), w: what was gathered (its gradient). A subgroup
// owns 16 positions, a pair of its threads shares a row of logits. Groups: as many as walk, units.
#ifndef RAPT_AGENT_BACK_GLSL
#define RAPT_AGENT_BACK_GLSL

#extension GL_EXT_control_flow_attributes : require
#include "kit/element_f16.glsl"
#define PRODUCT_COOP
#include "agent/options.glsl"

layout(constant_id = 1) const uint D_BLOCKS = 4; // runs of 16 features of x
layout(constant_id = 2) const uint E_BLOCKS = 4; // of y
layout(constant_id = 3) const uint FLOATS = 0;   // 1: `to` (gathering: `value_to`) is float32, contiguous
layout(constant_id = 4) const uint HAND_OUT = 0; // 1: handing out; 0: gathering

#define WIDE_X        1u // eight neighbours are read (written) at once
#define WIDE_Y        2u
#define WIDE_TO       4u
#define WIDE_VALUE_TO 8u
#define WANTS_TO      16u
#define WANTS_VALUE   32u // handing out: delta

layout(push_constant) uniform Push {
    uint heads, agents, positions, width, values;
    uint x_base, x_batch, x_head, x_row;
    uint y_base, y_batch, y_head, y_row;
    uint to_base, to_batch, to_head, to_row;
    uint value_base, value_batch, value_head, value_row;
    uint a_base, w_base;
    uint most_base, total_base;
    uint first; // in one pass: of the parts of `moved`; in two: of the units
    float scale, softcap;
    uint flags;
};

layout(local_size_x = 128) in;
#include "kit/coopmat_words.glsl"

layout(std430, binding = 0) readonly buffer X8 { uvec4 x8[]; };
layout(std430, binding = 0) readonly buffer X1 { float16_t x1[]; };
layout(std430, binding = 1) readonly buffer Y8 { uvec4 y8[]; };
layout(std430, binding = 1) readonly buffer Y1 { float16_t y1[]; };
layout(std430, binding = 2) readonly buffer A { float a1[]; };
layout(std430, binding = 3) readonly buffer W { float w1[]; };
layout(std430, binding = 4) readonly buffer Most { float most[]; };
layout(std430, binding = 5) readonly buffer Total { float total[]; };
layout(std430, binding = 6) writeonly buffer To8 { uvec4 to8[]; };
layout(std430, binding = 6) writeonly buffer To1 { float16_t to1[]; };
layout(std430, binding = 7) writeonly buffer Floats4 { vec4 floats4[]; };
layout(std430, binding = 7) writeonly buffer Floats { float floats[]; };
layout(std430, binding = 9) writeonly buffer ValueTo8 { uvec4 value_to8[]; };
layout(std430, binding = 9) writeonly buffer ValueTo1 { float16_t value_to1[]; };
layout(std430, binding = 10) buffer Delta { float delta[]; };

// Vectors of 16 bytes: of a line of 64 agents' halves or 32 floats, of D and of E; one more, for the banks.
const uint STEP = 9;
const uint D_WIDTH = D_BLOCKS * 2, D_STEP = D_WIDTH + 1;
const uint E_WIDTH = E_BLOCKS * 2, E_STEP = E_WIDTH + 1;
// The parts of the pool: rows of agents, of w, what a pass has of its own, and a line for each position.
const uint AT_A = 0;
const uint AT_W = 64 * D_STEP;
const uint AT_OWN = AT_W + 64 * E_STEP;
const uint AT_S = AT_OWN + OWN_LINES; // of a subgroup alone, by turns: sums, weights, slopes

shared uvec4 pool[AT_S + 64 * STEP];
shared vec4 column_base[16]; // of agents: what is taken from logits
shared vec4 column_delta[16];
shared uint top;   // the greatest slope's bits
shared uint top_w; // of w

const float LOG2E = 1.44269504088896340736;
const float WEIGHT_SCALE = 16384.0;

#define LANE gl_LocalInvocationIndex
#define SIDE (LANE & 1u)
#define MINE (LANE >> 1) // row of the tile
#define OWN  (COOP_GROUP * 16u)
#define ROWS (AT_S + OWN * STEP)

COOP_C sums[MOST_SUMS];

uvec4 packed(vec4 low, vec4 high)
{
    return uvec4(packFloat2x16(f16vec2(low.xy)), packFloat2x16(f16vec2(low.zw)),
                 packFloat2x16(f16vec2(high.xy)), packFloat2x16(f16vec2(high.zw)));
}

// 2^(`to` - exponent of what has these bits), within the range of normal numbers.
float lift_of(uint bits, uint to)
{
    return uintBitsToFloat(clamp(254u + to - (bits >> 23), 16u, 240u) << 23);
}

float magnitude(vec4 x)
{
    const vec4 y = abs(x);
    return max(max(y.x, y.y), max(y.z, y.w));
}

// Eight numbers, from column e on, of row `row` of agents.
#define TAKE_FLOATS(name, ones, base, across)                                                       \
    void name(out vec4 low, out vec4 high, uint unit, uint row, uint e)                             \
    {                                                                                               \
        const uint at = base + (unit * agents + row) * across + e;                                  \
        low = high = vec4(0.0);                                                                     \
        COOP_ROLL for (uint c = 0; c < 4; c++) {                                                    \
            if (row < agents && e + c < across)                                                     \
                low[c] = ones[at + c];                                                              \
            if (row < agents && e + 4u + c < across)                                                \
                high[c] = ones[at + 4u + c];                                                        \
        }                                                                                           \
    }
TAKE_FLOATS(take_a, a1, a_base, width)
TAKE_FLOATS(take_w, w1, w_base, values)

// The agents' rows, and w's times the factor that is returned.
float place_agents(uint unit)
{
    vec4 low[E_BLOCKS], high[E_BLOCKS];
    float most_w = 0.0;
    COOP_ROLL for (uint i = 0; i < D_BLOCKS; i++) {
        const uint n = LANE + 128u * i;
        vec4 l, h;
        take_a(l, h, unit, n / D_WIDTH, 8u * (n % D_WIDTH));
        pool[AT_A + n / D_WIDTH * D_STEP + n % D_WIDTH] =
            packed(clamp(l, -65504.0, 65504.0), clamp(h, -65504.0, 65504.0));
    }
    COOP_ROLL for (uint i = 0; i < E_BLOCKS; i++) {
        const uint n = LANE + 128u * i;
        take_w(low[i], high[i], unit, n / E_WIDTH, 8u * (n % E_WIDTH));
        most_w = max(most_w, max(magnitude(low[i]), magnitude(high[i])));
    }
    if (LANE == 0u)
        top = top_w = 0u;
    barrier();
    atomicMax(top_w, floatBitsToUint(most_w));
    barrier();
    const float lift = lift_of(top_w, 14u);
    COOP_ROLL for (uint i = 0; i < E_BLOCKS; i++) {
        const uint n = LANE + 128u * i;
        pool[AT_W + n / E_WIDTH * E_STEP + n % E_WIDTH] = packed(lift * low[i], lift * high[i]);
    }
    return lift;
}

// log2 of what a row's powers of two are divided by.
float base_of(float reference, float sum)
{
    return sum > 0.0 ? reference * LOG2E + log2(sum) : uintBitsToFloat(0x7f800000u);
}

// sums = the subgroup's rows of weights or slopes times the tile `right` of agents.
#define MULTIPLY_AGENTS(right, blocks, step)                                                        \
    COOP_ROLL for (uint n = 0; n < blocks; n++) {                                                   \
        COOP_ZERO(sums[n]);                                                                         \
    }                                                                                               \
    COOP_ROLL for (uint k = 0; k < 4; k++) {                                                        \
        COOP_A a;                                                                                   \
        COOP_LOAD_A16(a, pool, ROWS + 2u * k, STEP);                                                \
        COOP_ROLL for (uint n = 0; n < blocks; n++) {                                               \
            COOP_B b;                                                                               \
            COOP_LOAD_B16(b, pool, right + k * 16u * step + 2u * n, step);                          \
            COOP_MULTIPLY(sums[n], a, b);                                                           \
        }                                                                                           \
    }

// Vector i of a thread begins at this column.
uint column_of(uint i)
{
    return 16u * (i >> 1) + 8u * SIDE + 4u * (i & 1u);
}

// The thread's half of a row of sums.
void read_sums(out vec4 x[8])
{
    COOP_ROLL for (uint h = 0; h < 2; h++) {
        COOP_SYNC
        COOP_STORE_C16(sums[2u * h], pool, ROWS, STEP);
        COOP_STORE_C16(sums[2u * h + 1u], pool, ROWS + 4u, STEP);
        COOP_SYNC
        COOP_ROLL for (uint i = 0; i < 4; i++)
            x[4u * h + i] = uintBitsToFloat(pool[AT_S + MINE * STEP + (column_of(i) >> 2)]);
    }
    COOP_SYNC
}

// The subgroup's rows of sums, eight neighbours of a row at a time, to put(line, column, low, high).
#define HAND_ON(from, blocks, put)                                                                  \
    COOP_ROLL for (uint h = 0; h < blocks; h += 2u) {                                               \
        COOP_SYNC                                                                                   \
        COOP_STORE_C16(from[h], pool, ROWS, STEP);                                                  \
        if (h + 1u < blocks) {                                                                      \
            COOP_STORE_C16(from[h + 1u < blocks ? h + 1u : h], pool, ROWS + 4u, STEP);              \
        }                                                                                           \
        COOP_SYNC                                                                                   \
        COOP_ROLL for (uint i = 0; i < 2; i++) {                                                    \
            const uint line = 8u * i + (COOP_LANE >> 2), eight = COOP_LANE & 3u;                    \
            const uint at = ROWS + line * STEP + 2u * eight;                                        \
            put(OWN + line, 16u * h + 8u * eight, uintBitsToFloat(pool[at]),                        \
                uintBitsToFloat(pool[at + 1u]));                                                    \
        }                                                                                           \
    }                                                                                               \
    COOP_SYNC

// Up to eight neighbours of `count` numbers from `at` on, from column e on.
#define PUT_FLOATS(name, fours, ones)                                                               \
    void name(uint at, uint e, uint count, vec4 low, vec4 high)                                     \
    {                                                                                               \
        if ((count & 3u) == 0u) {                                                                   \
            if (e < count)                                                                          \
                fours[(at + e) >> 2] = low;                                                         \
            if (e + 4u < count)                                                                     \
                fours[((at + e) >> 2) + 1u] = high;                                                 \
            return;                                                                                 \
        }                                                                                           \
        COOP_ROLL for (uint c = 0; c < 4; c++) {                                                    \
            if (e + c < count)                                                                      \
                ones[at + e + c] = low[c];                                                          \
            if (e + 4u + c < count)                                                                 \
                ones[at + e + 4u + c] = high[c];                                                    \
        }                                                                                           \
    }
#define PUT_HALVES(name, eights, ones, flag)                                                        \
    void name(uint at, uint e, uint count, vec4 low, vec4 high)                                     \
    {                                                                                               \
        if ((flags & flag) != 0u && e + 8u <= count) {                                              \
            eights[(at + e) >> 3] = packed(low, high);                                              \
            return;                                                                                 \
        }                                                                                           \
        COOP_ROLL for (uint c = 0; c < 4; c++) {                                                    \
            if (e + c < count)                                                                      \
                ones[at + e + c] = float16_t(low[c]);                                               \
            if (e + 4u + c < count)                                                                 \
                ones[at + e + 4u + c] = float16_t(high[c]);                                         \
        }                                                                                           \
    }
PUT_HALVES(put_to_halves, to8, to1, WIDE_TO)
PUT_FLOATS(put_floats, floats4, floats)
PUT_HALVES(put_value_halves, value_to8, value_to1, WIDE_VALUE_TO)

uint unit, row0, to_at, value_at;
float value_factor, w_back;

// Eight sums of `to`, times a factor.
void put_to_row(uint line, uint e, float factor, vec4 low, vec4 high)
{
    const uint row = row0 + line;
    if (row >= positions)
        return;
    if (HAND_OUT != 0 && FLOATS != 0)
        put_floats((unit * positions + row) * width, e, width, factor * low, factor * high);
    else
        put_to_halves(to_at + row * to_row, e, width, factor * low, factor * high);
}

void put_value(uint line, uint e, vec4 low, vec4 high)
{
    const uint row = row0 + line;
    if (row >= positions)
        return;
    if (FLOATS != 0)
        put_floats((unit * positions + row) * values, e, values, value_factor * low, value_factor * high);
    else
        put_value_halves(value_at + row * value_row, e, values, value_factor * low, value_factor * high);
}

// The group's unit: where its rows are, what is taken from logits, and the tiles of agents and of w.
void begin()
{
    const uint batch = unit / heads, head = unit % heads;
    to_at = to_base + batch * to_batch + head * to_head;
    value_at = value_base + batch * value_batch + head * value_head;
    if (LANE < 64u) {
        float base = uintBitsToFloat(0x7f800000u), less = 0.0;
        if (LANE < agents) {
            base = 0.0;
            if (HAND_OUT == 0) {
                const uint at = unit * agents + LANE;
                base = base_of(most[most_base + at], total[total_base + at]);
                less = delta[at];
            }
        }
        column_base[LANE >> 2][LANE & 3u] = base;
        column_delta[LANE >> 2][LANE & 3u] = less;
    }
    w_back = 1.0 / place_agents(unit);
    value_factor = w_back / WEIGHT_SCALE;
}

// What is taken from a row's logits; of no position, so much that no weight is left.
float base_of_row(uint row)
{
    if (row >= positions)
        return uintBitsToFloat(0x7f800000u);
    if (HAND_OUT == 0)
        return 0.0;
    const uint at = unit * positions + row;
    return base_of(most[most_base + at], total[total_base + at]);
}

// The thread's half of a row, of x . a and of y . w, becomes weights and slopes; returns the greatest slope.
float make_slopes(inout vec4 p[8], inout vec4 s[8], uint row, float row_base)
{
    vec4 bends[8];
    vec4 part = vec4(0.0);
    COOP_ROLL for (uint i = 0; i < 8; i++) {
        vec4 z = scale * p[i];
        if (CAPPED) {
            COOP_ROLL for (uint c = 0; c < 4; c++)
                z[c] = softcapped(z[c], softcap);
            bends[i] = max(vec4(0.0), 1.0 - z / softcap * (z / softcap));
        }
        p[i] = exp2(z * LOG2E - (row_base + column_base[column_of(i) >> 2]));
        s[i] *= w_back;
        part += p[i] * s[i];
    }
    float less = 0.0;
    if (HAND_OUT != 0) {
        less = part.x + part.y + part.z + part.w;
        less += COOP_OTHER(less);
        if ((flags & WANTS_VALUE) != 0u && SIDE == 0u && row < positions)
            delta[unit * positions + row] = less;
    }
    float greatest = 0.0;
    COOP_ROLL for (uint i = 0; i < 8; i++) {
        s[i] = p[i] * (s[i] - (HAND_OUT != 0 ? vec4(less) : column_delta[column_of(i) >> 2]));
        if (CAPPED)
            s[i] *= bends[i];
        greatest = max(greatest, magnitude(s[i]));
    }
    return greatest;
}

#endif
