// MODE 0 of rows.comp by cooperative matrices: o = gate q . KV, of the full form. Neither D nor E is above
// 128. The next 64 columns of a matrix are on their way while those before are multiplied.
//
// Workgroups: (slot of the queries, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 5
#define LINEAR_FLOW
#include "kit/linear_tile.glsl"

layout(push_constant) uniform push_block
{
    linear_rows x, y, to; // y: not used
    uint n, m, packed, table_k;
    uint lanes, lane_rows, sequences, slots;
    uint inner, width; // D and E
};

LINEAR_INPUT(0, x)
LINEAR_OUTPUT(2, to)
layout(std430, set = 0, binding = 3) readonly buffer number_block
{
    float number_of[];
};
LINEAR_FLOATS(4, matrix) // [lane][sequence][D][E]

const float bound = 0.0; // numbers that are clipped are not asked for
#include "flow/numbers.glsl"

vec4 sums[8];
COOP_A own[8]; // the subgroup's rows of q
uvec2 next_x[8];
vec4 next_matrix[8];

// sums = factors q . KV, columns w and up.
void multiply_matrix(linear_chunk chunk, uint lane, uint at, uint w, float factors[2])
{
    float scaled[2];
    if (w == 0) {
        LINEAR_TAKE(next_x, x, chunk, lane, 0, inner)
        LINEAR_TAKE_FLOATS(next_matrix, matrix, at, 0, inner, 0, width)
    }
    LINEAR_CLEAR(sums)
    [[unroll]] for (uint d = 0; d < 2; d++) {
        if (d * CHUNK < inner) {
            const uint bits = linear_greatest(next_matrix);
            const float up = linear_up(bits), down = linear_down(bits);
            LINEAR_PLACE_SCALED(right_tile, next_matrix, up)
            if (w == 0)
                LINEAR_PLACE_IF(true, left_tile, next_x, d * CHUNK, inner)
            if (d == 0 && inner > CHUNK) {
                if (w == 0)
                    LINEAR_TAKE(next_x, x, chunk, lane, CHUNK, inner)
                LINEAR_TAKE_FLOATS(next_matrix, matrix, at, CHUNK, inner, w, width)
            } else if (w + CHUNK < width) {
                LINEAR_TAKE_FLOATS(next_matrix, matrix, at, 0, inner, w + CHUNK, width)
            }
            barrier();
            if (w == 0)
                COOP_ROLL for (uint k = 0; k < 4; k++) {
                    COOP_LOAD_A(own[4 * d + k], left_tile, linear_own() * TILE_STEP + 4 * k, TILE_STEP);
                }
            COOP_C part[4];
            LINEAR_ZERO(part)
            LINEAR_ROWS_BY(part, own, 4 * d, right_tile, false)
            COOP_ROLL for (uint i = 0; i < 2; i++)
                scaled[i] = factors[i] * down;
            LINEAR_HAND_OUT(part, scaled)
        }
    }
}

void main()
{
    const uint slot = gl_WorkGroupID.x, lane = gl_WorkGroupID.y, t = linear_self(slot);
    const linear_chunk chunk = linear_chunk_at(slot, packed, n);
    if (chunk.count == 0)
        return;
    linear_start();
    const uint at = (lane * sequences + chunk.sequence) * inner * width;
    float factors[2];
    COOP_ROLL for (uint i = 0; i < 2; i++) {
        const uint row = LINEAR_ROW(t, i);
        factors[i] = 0.0;
        if (row < chunk.count)
            factors[i] = number_of[number_at(FACTOR, 0, chunk.batch, lane, chunk.row + row)];
    }
    for (uint w = 0; w < width; w += CHUNK) {
        multiply_matrix(chunk, lane, at, w, factors);
        [[unroll]] for (uint e = 0; e < 8; e++) {
            const uint i = LINEAR_ROW(t, e), column = w + LINEAR_COLUMN(t, e);
            if (i < chunk.count)
                to_store(linear_row(to, chunk.batch, lane, chunk.row + i) + column, int(width) - int(column),
                         sums[e]);
        }
    }
}
