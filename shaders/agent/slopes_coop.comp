#version 450
// Backward of one of the two attentions (back.glsl) in two passes, the first, of at most 128 features. What is
// summed over positions moved_coop.comp makes, of s and, handing out, p, which are left as float16: a row of s
// times a power of two that fits it.
#extension GL_GOOGLE_include_directive : require
#define OWN_LINES 0
#define MOST_SUMS (D_BLOCKS > E_BLOCKS ? (D_BLOCKS > 4 ? D_BLOCKS : 4) : (E_BLOCKS > 4 ? E_BLOCKS : 4))
#include "agent/back.glsl"

layout(std430, binding = 8) writeonly buffer Slopes { uvec4 slopes[]; }; // [unit][position][64]
layout(std430, binding = 9) writeonly buffer Weights { uvec4 weights[]; };
layout(std430, binding = 11) writeonly buffer Drops { float drops[]; };  // 1 / the row's power of two
layout(std430, binding = 12) buffer Greatest { uint greatest_of[]; };    // slope's bits, of a unit

// x and y go through the lines of AT_S too, 64 features of a row at a time.
const uint D_ROUNDS = (D_BLOCKS + 3) / 4, D_TAKEN = D_ROUNDS * 4;
const uint E_ROUNDS = (E_BLOCKS + 3) / 4, E_TAKEN = E_ROUNDS * 4;
// A tile is on its way while the one before is worked on, y's as long as registers have room for it.
const bool AHEAD = D_BLOCKS + E_BLOCKS <= 8;

shared float factors[64]; // of a tile's rows

COOP_A own[D_BLOCKS > E_BLOCKS ? D_BLOCKS : E_BLOCKS];

// A thread's share of the subgroup's 16 rows, on their way to the pool. If they are WHOLE nothing is asked
// of them, so that nobody waits for them before: behind the last position the last is taken once more, and
// weighs nothing. Otherwise there are zeros.
#define TAKE(name, wides, ones, flag, stride, across, count)                                        \
    void name(out uvec4 taken[count], uint row0, uint at)                                           \
    {                                                                                               \
        const uint line = row0 + OWN + (COOP_LANE >> 3), e0 = 8u * (COOP_LANE & 7u);                \
        COOP_ROLL for (uint i = 0; i < count; i++) {                                                \
            const uint row = line + 4u * (i & 3u), e = e0 + 64u * (i >> 2);                         \
            if (WHOLE) {                                                                            \
                taken[i] = wides[(at + min(row, positions - 1u) * stride + e) >> 3];                \
                continue;                                                                           \
            }                                                                                       \
            const uint from = at + row * stride + e;                                                \
            const uint left = row < positions ? across - min(across, e) : 0u;                       \
            taken[i] = uvec4(0u);                                                                   \
            if ((flags & flag) != 0u && left >= 8u)                                                 \
                taken[i] = wides[from >> 3];                                                        \
            else                                                                                    \
                for (uint c = 0; c < min(left, 8u); c++)                                            \
                    taken[i][c >> 1] |= packFloat2x16(f16vec2(ones[from + c], 0.0hf)) << 16u * (c & 1u); \
        }                                                                                           \
    }
TAKE(take_x, x8, x1, WIDE_X, x_row, width, D_TAKEN)
TAKE(take_y, y8, y1, WIDE_Y, y_row, values, E_TAKEN)

// These rows become the operand `own`.
#define PLACE(taken, blocks, rounds)                                                                \
    COOP_ROLL for (uint r = 0; r < rounds; r++) {                                                   \
        COOP_SYNC                                                                                   \
        COOP_ROLL for (uint i = 0; i < 4; i++)                                                      \
            pool[AT_S + (OWN + 4u * i + (COOP_LANE >> 3)) * STEP + (COOP_LANE & 7u)] = taken[4u * r + i]; \
        COOP_SYNC                                                                                   \
        COOP_ROLL for (uint k = 4u * r; k < min(4u * r + 4u, blocks); k++) {                        \
            COOP_LOAD_A16(own[k], pool, ROWS + 2u * (k & 3u), STEP);                                \
        }                                                                                           \
    }

#define HOLD(taken, count)                                                                          \
    COOP_HOLD(never, COOP_ROLL for (uint i = 0; i < count; i++) pool[AT_S + LANE] = taken[i];)

// sums = `own` times the transposed tile `right`.
#define MULTIPLY_ROWS(right, blocks, step)                                                          \
    COOP_ROLL for (uint n = 0; n < 4; n++) {                                                        \
        COOP_ZERO(sums[n]);                                                                         \
    }                                                                                               \
    COOP_ROLL for (uint k = 0; k < blocks; k++)                                                     \
        COOP_ROLL for (uint n = 0; n < 4; n++) {                                                    \
            COOP_B b;                                                                               \
            COOP_LOAD_B_T16(b, pool, right + n * 16u * step + 2u * k, step);                        \
            COOP_MULTIPLY(sums[n], own[k], b);                                                      \
        }

void place_row(uvec4 x[4])
{
    COOP_ROLL for (uint i = 0; i < 4; i++)
        pool[AT_S + MINE * STEP + 2u * i + SIDE] = x[i];
}

void put_to(uint line, uint e, vec4 low, vec4 high)
{
    put_to_row(line, e, factors[line], low, high);
}

// What moved_coop.comp takes of a row, the thread's half of it.
void keep_row(uint row, uvec4 p[4], uvec4 s[4], float drop)
{
    const uint at = gl_WorkGroupID.y * positions + row;
    if (row >= positions)
        return;
    COOP_ROLL for (uint i = 0; i < 4; i++) {
        slopes[at * 8u + 2u * i + SIDE] = s[i];
        if (HAND_OUT != 0)
            weights[at * 8u + 2u * i + SIDE] = p[i];
    }
    if (SIDE == 0u)
        drops[at] = drop;
}

void main()
{
    unit = first + gl_WorkGroupID.y;
    const uint x_at = x_base + unit / heads * x_batch + unit % heads * x_head;
    const uint y_at = y_base + unit / heads * y_batch + unit % heads * y_head;
    begin();
    uvec4 next_x[D_TAKEN], next_y[E_TAKEN];
    float most_s = 0.0;
    row0 = 64u * gl_WorkGroupID.x;
    const bool never = positions == 0u;
    take_x(next_x, row0, x_at);
    if (AHEAD)
        take_y(next_y, row0, y_at);
    barrier();
    const uint walk = 64u * gl_NumWorkGroups.x;
    for (; row0 < positions; row0 += walk) {
        const float row_base = base_of_row(row0 + MINE);
        vec4 p[8], s[8];
        if (!AHEAD)
            take_y(next_y, row0, y_at);
        PLACE(next_x, D_BLOCKS, D_ROUNDS)
        take_x(next_x, row0 + walk, x_at);
        HOLD(next_x, D_TAKEN)
        MULTIPLY_ROWS(AT_A, D_BLOCKS, D_STEP)
        read_sums(p);
        PLACE(next_y, E_BLOCKS, E_ROUNDS)
        if (AHEAD) {
            take_y(next_y, row0 + walk, y_at);
            HOLD(next_y, E_TAKEN)
        }
        MULTIPLY_ROWS(AT_W, E_BLOCKS, E_STEP)
        read_sums(s);
        float greatest = make_slopes(p, s, row0 + MINE, row_base);
        most_s = max(most_s, greatest);
        greatest = max(greatest, COOP_OTHER(greatest));
        const float lift = lift_of(floatBitsToUint(greatest), 14u);
        uvec4 packed_p[4], packed_s[4];
        COOP_ROLL for (uint i = 0; i < 4; i++) {
            packed_p[i] = packed(WEIGHT_SCALE * p[2u * i], WEIGHT_SCALE * p[2u * i + 1u]);
            packed_s[i] = packed(lift * s[2u * i], lift * s[2u * i + 1u]);
        }
        keep_row(row0 + MINE, packed_p, packed_s, 1.0 / lift);
        if (HAND_OUT == 0 && (flags & WANTS_VALUE) != 0u) {
            place_row(packed_p);
            COOP_SYNC
            MULTIPLY_AGENTS(AT_W, E_BLOCKS, E_STEP)
            HAND_ON(sums, E_BLOCKS, put_value)
        }
        if ((flags & WANTS_TO) != 0u) {
            place_row(packed_s);
            if (SIDE == 0u)
                factors[MINE] = scale / lift;
            COOP_SYNC
            MULTIPLY_AGENTS(AT_A, D_BLOCKS, D_STEP)
            HAND_ON(sums, D_BLOCKS, put_to)
        }
    }
    atomicMax(top, floatBitsToUint(most_s));
    barrier();
    if (LANE == 0u)
        atomicMax(greatest_of[unit], top);
}
