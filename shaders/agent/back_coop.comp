#version 450
// Backward of one of the two attentions (back.glsl) in one pass, of at most 64 features: what is summed over
// positions a workgroup adds up as it walks, and leaves a part of
//
//     moved_a = scale sum_i s_ia x_i                of the agents
//     handing out: summed_a = sum_i p_ia y_i        of what was gathered
//
// Of these a subgroup owns 16 agents. s is an operand times a power of two that fits the greatest so far.
#extension GL_GOOGLE_include_directive : require
#define OWN_LINES (64 * (D_STEP + E_STEP)) // rows of x and of y
#define MOST_SUMS 4
#include "agent/back.glsl"

layout(std430, binding = 8) writeonly buffer Moved4 { vec4 moved4[]; };
layout(std430, binding = 8) writeonly buffer Moved { float moved[]; };
layout(std430, binding = 9) writeonly buffer Summed4 { vec4 summed4[]; };
layout(std430, binding = 9) writeonly buffer Summed { float summed[]; };

const uint AT_X = AT_OWN;
const uint AT_Y = AT_OWN + 64 * D_STEP;

COOP_C moved_sums[D_BLOCKS], summed_sums[E_BLOCKS];
float to_factor, moved_factor;

// A thread's share of 64 rows, some times eight features, on its way to the pool. If they are WHOLE nothing is
// asked of them, so that nobody waits for them before: behind the last position the last is taken once more,
// and weighs nothing. Otherwise there are zeros.
#define TAKE(name, wides, ones, flag, stride, across, vectors, blocks)                              \
    void name(out uvec4 taken[blocks], uint row0, uint at)                                          \
    {                                                                                               \
        COOP_ROLL for (uint i = 0; i < blocks; i++) {                                               \
            const uint n = LANE + 128u * i, row = row0 + n / vectors, e = 8u * (n % vectors);       \
            if (WHOLE) {                                                                            \
                taken[i] = wides[(at + min(row, positions - 1u) * stride + e) >> 3];                \
                continue;                                                                           \
            }                                                                                       \
            const uint from = at + row * stride + e;                                                \
            const uint left = row < positions ? across - min(across, e) : 0u;                       \
            taken[i] = uvec4(0u);                                                                   \
            if ((flags & flag) != 0u && left >= 8u)                                                 \
                taken[i] = wides[from >> 3];                                                        \
            else if (left > 0u)                                                                     \
                COOP_ROLL for (uint c = 0; c < 4; c++) {                                            \
                    f16vec2 two = f16vec2(0.0hf);                                                   \
                    if (2u * c < left)                                                              \
                        two.x = ones[from + 2u * c];                                                \
                    if (2u * c + 1u < left)                                                         \
                        two.y = ones[from + 2u * c + 1u];                                           \
                    taken[i][c] = packFloat2x16(two);                                               \
                }                                                                                   \
        }                                                                                           \
    }
TAKE(take_x, x8, x1, WIDE_X, x_row, width, D_WIDTH, D_BLOCKS)
TAKE(take_y, y8, y1, WIDE_Y, y_row, values, E_WIDTH, E_BLOCKS)

#define PLACE(tile, step, taken, vectors, blocks)                                                   \
    COOP_ROLL for (uint i = 0; i < blocks; i++) {                                                   \
        const uint n = LANE + 128u * i;                                                             \
        pool[tile + n / vectors * step + n % vectors] = taken[i];                                   \
    }

#define PLACE_BOTH                                                                                  \
    PLACE(AT_X, D_STEP, next_x, D_WIDTH, D_BLOCKS)                                                  \
    PLACE(AT_Y, E_STEP, next_y, E_WIDTH, E_BLOCKS)

// sums = the subgroup's rows of `left` times the transposed tile `right`.
#define MULTIPLY_ROWS(left, right, blocks, step)                                                    \
    COOP_ROLL for (uint n = 0; n < 4; n++) {                                                        \
        COOP_ZERO(sums[n]);                                                                         \
    }                                                                                               \
    COOP_ROLL for (uint k = 0; k < blocks; k++) {                                                   \
        COOP_A a;                                                                                   \
        COOP_LOAD_A16(a, pool, left + OWN * step + 2u * k, step);                                   \
        COOP_ROLL for (uint n = 0; n < 4; n++) {                                                    \
            COOP_B b;                                                                               \
            COOP_LOAD_B_T16(b, pool, right + n * 16u * step + 2u * k, step);                        \
            COOP_MULTIPLY(sums[n], a, b);                                                           \
        }                                                                                           \
    }

// to += the transposed tile of weights or slopes, the subgroup's agents of it, times the tile `right`.
#define ADD_COLUMNS(to, right, blocks, step)                                                        \
    COOP_ROLL for (uint k = 0; k < 4; k++) {                                                        \
        COOP_A a;                                                                                   \
        COOP_LOAD_A_T16(a, pool, AT_S + k * 16u * STEP + 2u * COOP_GROUP, STEP);                    \
        COOP_ROLL for (uint n = 0; n < blocks; n++) {                                               \
            COOP_B b;                                                                               \
            COOP_LOAD_B16(b, pool, right + k * 16u * step + 2u * n, step);                          \
            COOP_MULTIPLY(to[n], a, b);                                                             \
        }                                                                                           \
    }

void place_row(vec4 x[8], float factor)
{
    COOP_ROLL for (uint i = 0; i < 4; i++)
        pool[AT_S + MINE * STEP + 2u * i + SIDE] = packed(factor * x[2u * i], factor * x[2u * i + 1u]);
}

PUT_FLOATS(put_moved_floats, moved4, moved)
PUT_FLOATS(put_summed_floats, summed4, summed)

void put_to(uint line, uint e, vec4 low, vec4 high)
{
    put_to_row(line, e, to_factor, low, high);
}

void put_moved(uint line, uint e, vec4 low, vec4 high)
{
    const uint part = first + gl_WorkGroupID.x;
    if (line < agents)
        put_moved_floats(((part * gl_NumWorkGroups.y + unit) * agents + line) * width, e, width,
                         moved_factor * low, moved_factor * high);
}

void put_summed(uint line, uint e, vec4 low, vec4 high)
{
    if (line < agents)
        put_summed_floats(((gl_WorkGroupID.x * gl_NumWorkGroups.y + unit) * agents + line) * values, e,
                          values, low / WEIGHT_SCALE, high / WEIGHT_SCALE);
}

// The sums that slopes were added to, times a factor. Through shared memory, as touching a sum's elements
// makes drivers keep it in memory all along; it is rare.
void rescale(float factor)
{
    COOP_ROLL for (uint n = 0; n < D_BLOCKS; n++) {
        COOP_SYNC
        COOP_STORE_C16(moved_sums[n], pool, ROWS, STEP);
        COOP_SYNC
        COOP_ROLL for (uint i = 0; i < 2; i++) {
            const uint at = AT_S + MINE * STEP + 2u * i + SIDE;
            pool[at] = floatBitsToUint(factor * uintBitsToFloat(pool[at]));
        }
        COOP_SYNC
        COOP_LOAD_C16(moved_sums[n], pool, ROWS, STEP);
    }
    COOP_SYNC
}

// Weights of a tile: what they sum over positions, or hand to each.
void use_weights()
{
    if (HAND_OUT != 0) {
        barrier();
        ADD_COLUMNS(summed_sums, AT_Y, E_BLOCKS, E_STEP)
    } else if ((flags & WANTS_VALUE) != 0u) {
        COOP_SYNC
        MULTIPLY_AGENTS(AT_W, E_BLOCKS, E_STEP)
        HAND_ON(sums, E_BLOCKS, put_value)
    }
}

void main()
{
    unit = gl_WorkGroupID.y;
    const uint x_at = x_base + unit / heads * x_batch + unit % heads * x_head;
    const uint y_at = y_base + unit / heads * y_batch + unit % heads * y_head;
    begin();
    COOP_ROLL for (uint n = 0; n < D_BLOCKS; n++) {
        COOP_ZERO(moved_sums[n]);
    }
    if (HAND_OUT != 0)
        COOP_ROLL for (uint n = 0; n < E_BLOCKS; n++) {
            COOP_ZERO(summed_sums[n]);
        }

    uvec4 next_x[D_BLOCKS], next_y[E_BLOCKS];
    uint exponent = 0u; // of what slopes' factor is for
    float lift = 1.0;
    row0 = 64u * gl_WorkGroupID.x;
    take_x(next_x, row0, x_at);
    take_y(next_y, row0, y_at);
    PLACE_BOTH
    const uint walk = 64u * gl_NumWorkGroups.x;
    for (; row0 < positions; row0 += walk) {
        const float row_base = base_of_row(row0 + MINE);
        barrier();
        if (WHOLE || row0 + walk < positions) {
            take_x(next_x, row0 + walk, x_at);
            take_y(next_y, row0 + walk, y_at);
            COOP_HOLD(WHOLE && positions == 0u, PLACE_BOTH)
        }
        vec4 p[8], s[8];
        MULTIPLY_ROWS(AT_X, AT_A, D_BLOCKS, D_STEP)
        read_sums(p);
        MULTIPLY_ROWS(AT_Y, AT_W, E_BLOCKS, E_STEP)
        read_sums(s);
        const float greatest = make_slopes(p, s, row0 + MINE, row_base);
        if (floatBitsToUint(greatest) >> 23 > exponent)
            atomicMax(top, floatBitsToUint(greatest));
        place_row(p, WEIGHT_SCALE);
        use_weights();
        barrier();
        // Slopes are up to 2^12 when the factor is made, and may grow by eight before it is made anew.
        const uint now = top >> 23;
        if (now > exponent + 3u || exponent == 0u) {
            const float old = lift;
            lift = lift_of(top, 11u);
            if (exponent != 0u)
                rescale(lift / old);
            exponent = now;
        }
        place_row(s, lift);
        barrier();
        ADD_COLUMNS(moved_sums, AT_X, D_BLOCKS, D_STEP)
        if ((flags & WANTS_TO) != 0u) {
            MULTIPLY_AGENTS(AT_A, D_BLOCKS, D_STEP)
        }
        barrier();
        if (row0 + walk < positions) {
            PLACE_BOTH
        }
        to_factor = scale / lift;
        if ((flags & WANTS_TO) != 0u) {
            HAND_ON(sums, D_BLOCKS, put_to)
        }
    }
    moved_factor = scale / lift;
    HAND_ON(moved_sums, D_BLOCKS, put_moved)
    if (HAND_OUT != 0) {
        HAND_ON(summed_sums, E_BLOCKS, put_summed)
    }
}
