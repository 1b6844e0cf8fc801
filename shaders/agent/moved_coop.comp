#version 450
// part[group][unit][agent][e] = scale sum over positions of m_ia x_i[e], by cooperative matrices: m are the
// slopes, or weights, that slopes_coop.comp left. A workgroup walks over tiles of 64 positions; a subgroup
// owns 16 agents. Groups: parts, units.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "kit/element_f16.glsl"

layout(constant_id = 1) const uint BLOCKS = 4; // runs of 16 features
layout(constant_id = 2) const uint SLOPES = 0; // 1: each row has a factor
layout(constant_id = 3) const uint WHOLE = 0;  // 1: rows are read by eight, BLOCKS whole runs of 16 features

#define WIDE_X 1u // eight neighbours are read at once, where there are eight

layout(push_constant) uniform Push {
    uint heads, agents, positions, width;
    uint x_base, x_batch, x_head, x_row;
    uint units, unit0, part0;
    float scale;
    uint flags;
};

layout(local_size_x = 128) in;
#include "kit/coopmat_words.glsl"

layout(std430, binding = 0) readonly buffer X8 { uvec4 x8[]; };
layout(std430, binding = 0) readonly buffer X1 { float16_t x1[]; };
layout(std430, binding = 1) readonly buffer Matrix { uvec4 matrix[]; };
layout(std430, binding = 2) readonly buffer Drops { float drops[]; };
layout(std430, binding = 3) readonly buffer Greatest { uint greatest_of[]; };
layout(std430, binding = 4) writeonly buffer Part { float part[]; };
layout(std430, binding = 4) writeonly buffer Part4 { vec4 part4[]; };

const uint STEP = 9;
const uint WIDTH = BLOCKS * 2, X_STEP = WIDTH + 1; // vectors of 16 bytes; one more, for the banks

// Of many features half a tile at a time lies in shared memory, so that two workgroups have room there.
const uint HALVES = BLOCKS == 8 ? 2 : 1, LINES = 64 / HALVES;

shared uvec4 x_tile[LINES * X_STEP];
shared uvec4 matrix_tile[64 * STEP]; // at the end the subgroup's sums

#define LANE gl_LocalInvocationIndex
#define OWN  (COOP_GROUP * 16u)

COOP_C sums[BLOCKS];

uint unit, x_at;
float lift;

// A thread's share of a tile. If it is WHOLE nothing is asked of a row, so that it can be on its way while
// the tile before is worked on: behind the last position the last is taken once more, and its slopes, or
// weights, become zeros where they are placed.
void take_x(out uvec4 taken[BLOCKS], uint row0)
{
    COOP_ROLL for (uint i = 0; i < BLOCKS; i++) {
        const uint n = LANE + 128u * i, row = row0 + n / WIDTH, e = 8u * (n % WIDTH);
        if (WHOLE != 0) {
            taken[i] = x8[(x_at + min(row, positions - 1u) * x_row + e) >> 3];
            continue;
        }
        const uint from = x_at + row * x_row + e, left = row < positions ? width - min(width, e) : 0u;
        taken[i] = uvec4(0u);
        if ((flags & WIDE_X) != 0u && left >= 8u)
            taken[i] = x8[from >> 3];
        else
            for (uint c = 0; c < min(left, 8u); c++)
                taken[i][c >> 1] |= packFloat2x16(f16vec2(x1[from + c], 0.0hf)) << 16u * (c & 1u);
    }
}

void take_matrix(out uvec4 taken[4], out float factors[4], uint row0)
{
    COOP_ROLL for (uint i = 0; i < 4; i++) {
        const uint row = row0 + (LANE >> 3) + 16u * i;
        const uint at = gl_WorkGroupID.y * positions + min(row, positions - 1u);
        taken[i] = matrix[at * 8u + (LANE & 7u)];
        if (SLOPES != 0)
            factors[i] = drops[at];
    }
}

// Half `h` of a tile that was taken, from position row0 on.
void place(uint h, uint row0, uvec4 x[BLOCKS], uvec4 taken[4], float factors[4])
{
    const uint each = BLOCKS / HALVES, lines = 4 / HALVES;
    COOP_ROLL for (uint i = 0; i < each; i++) {
        const uint n = LANE + 128u * i;
        x_tile[n / WIDTH * X_STEP + n % WIDTH] = x[h * each + i];
    }
    COOP_ROLL for (uint i = 0; i < lines; i++) {
        const uint line = (LANE >> 3) + 16u * i;
        uvec4 m = row0 + h * LINES + line < positions ? taken[h * lines + i] : uvec4(0u);
        if (SLOPES != 0)
            COOP_ROLL for (uint c = 0; c < 4; c++)
                m[c] = packFloat2x16(f16vec2(lift * factors[h * lines + i] * vec2(unpackFloat2x16(m[c]))));
        matrix_tile[line * STEP + (LANE & 7u)] = m;
    }
}

void main()
{
    unit = unit0 + gl_WorkGroupID.y;
    x_at = x_base + unit / heads * x_batch + unit % heads * x_head;
    lift = SLOPES != 0 ? uintBitsToFloat(clamp(268u - (greatest_of[unit] >> 23), 16u, 240u) << 23) : 16384.0;
    COOP_ROLL for (uint n = 0; n < BLOCKS; n++) {
        COOP_ZERO(sums[n]);
    }
    uvec4 next_x[BLOCKS], next[4];
    float factors[4];
    const uint walk = 64u * gl_NumWorkGroups.x;
    uint row0 = 64u * gl_WorkGroupID.x;
    take_x(next_x, row0);
    take_matrix(next, factors, row0);
    const bool never = positions == 0u;
    for (; row0 < positions; row0 += walk) {
        COOP_ROLL for (uint h = 0; h < HALVES; h++) {
            barrier();
            place(h, row0, next_x, next, factors);
            barrier();
            if (h + 1 == HALVES) {
                take_x(next_x, row0 + walk);
                take_matrix(next, factors, row0 + walk);
                COOP_HOLD(never, place(0, row0, next_x, next, factors);
                          place(HALVES - 1, row0, next_x, next, factors);)
            }
            COOP_ROLL for (uint k = 0; k < LINES / 16; k++) {
                COOP_A a;
                COOP_LOAD_A_T16(a, matrix_tile, k * 16u * STEP + 2u * COOP_GROUP, STEP);
                COOP_ROLL for (uint n = 0; n < BLOCKS; n++) {
                    COOP_B b;
                    COOP_LOAD_B16(b, x_tile, k * 16u * X_STEP + 2u * n, X_STEP);
                    COOP_MULTIPLY(sums[n], a, b);
                }
            }
        }
    }
    barrier();
    const float back = scale / lift;
    COOP_ROLL for (uint n = 0; n < BLOCKS; n++) {
        COOP_SYNC
        COOP_STORE_C16(sums[n], matrix_tile, OWN * STEP, STEP);
        COOP_SYNC
        COOP_ROLL for (uint i = 0; i < 2; i++) {
            const uint agent = OWN + 8u * i + (COOP_LANE >> 2), e = 16u * n + 4u * (COOP_LANE & 3u);
            const uint at = (((part0 + gl_WorkGroupID.x) * units + unit) * agents + agent) * width + e;
            const vec4 x = back * uintBitsToFloat(matrix_tile[agent * STEP + (COOP_LANE & 3u)]);
            if (agent < agents && (width & 3u) == 0u && e < width)
                part4[at >> 2] = x;
            else if (agent < agents)
                for (uint c = 0; c < min(width - min(width, e), 4u); c++)
                    part[at + c] = x[c];
        }
    }
}
