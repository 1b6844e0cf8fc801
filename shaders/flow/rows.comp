// Rows of the full form from a D x E matrix of their sequence:
//
//     MODE 0  o = gate q . KV
//     MODE 1  backward: the gradient of gate, do . (q KV)
//     MODE 2  backward: dv = comp k DKV, the gradient of comp, v . (k DKV), and a chunk's sum of comp times
//             that
//     MODE 3  backward: dq, MODE 4: dk, by y (1 - y) (x G^T + a (s + eps) + c r + h (u + eps) + p), with
//             x = gate do, G = KV, y = q; x = comp v, G = DKV, y = k; and of the other side's rows y' the sums
//             s of out y', r of gradients of cr times (y' + eps), u of y', p of gradients of 1/out times
//             (y' + eps)
//
// Workgroups: (slot of the side, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 5
uint table_base;
#define LINEAR_TABLE_BASE table_base
#include "kit/linear_tile.glsl"

layout(constant_id = 2) const uint MODE = 0;

layout(push_constant) uniform push_block
{
    linear_rows x, y, to; // y: of modes 1, 2 what the product meets
    uint n, m, packed, table_k;
    uint lanes, lane_rows, sequences, slots;
    uint inner, width; // D and E
    uint totals;       // numbers in one set of totals
    uint flags;
    float eps, bound;
};

const uint HAS_TO = 1;

LINEAR_INPUT(0, x)
LINEAR_INPUT(1, y)
LINEAR_OUTPUT(2, to)
layout(std430, set = 0, binding = 3) buffer number_block
{
    float number_of[];
};
LINEAR_FLOATS(4, matrix) // [lane][sequence][D][E]
LINEAR_FLOATS(6, total)  // [set][side][lane][sequence][column]
layout(std430, set = 0, binding = 7) writeonly buffer mean_block
{
    float mean_of[]; // [lane][slot]
};

#include "flow/numbers.glsl"

const uint SIDE = MODE == 2 || MODE == 4 ? 1 : 0;
const bool TURNED = MODE > 2;

vec4 sums[8];

float number(uint which, linear_chunk chunk, uint lane, uint i)
{
    return number_of[number_at(which, SIDE, chunk.batch, lane, chunk.row + i)];
}

// sums = factor x . G, columns w and up of the result.
void multiply_matrix(linear_chunk chunk, uint lane, uint at, uint w, uint t)
{
    const uint extent = TURNED ? width : inner, across = TURNED ? inner : width;
    const uint line = t >> 2, column = (t & 3u) * 4;
    LINEAR_CLEAR(sums)
    for (uint d = 0; d < extent; d += SLICE) {
        vec4 own[2], other[2];
        [[unroll]] for (uint r = 0; r < 2; r++) {
            const uint i = line + 32 * r;
            const int left = i < chunk.count ? int(extent) - int(d + column) : 0;
            own[r] = x_load(linear_row(x, chunk.batch, lane, chunk.row + i) + d + column, left);
            if (!TURNED)
                own[r] = linear_sigmoids(own[r]) * linear_columns(left);
            if (MODE != 1 && MODE != 2 && left > 0)
                own[r] *= number(FACTOR, chunk, lane, i);
            if (TURNED) {
                const int there = w + i < across ? int(extent) - int(d + column) : 0;
                other[r] = matrix_load(at + (w + i) * extent + d + column, there);
            } else {
                const uint k = d + (t >> 4) + 8 * r, quad = w + (t & 15u) * 4;
                other[r] = matrix_load(at + k * across + quad, k < extent ? int(across) - int(quad) : 0);
            }
        }
        barrier(); // the slice before may still be in use
        [[unroll]] for (uint r = 0; r < 2; r++) {
            LINEAR_TURN(left_slice, line + 32 * r, column, own[r])
            if (TURNED) {
                LINEAR_TURN(right_slice, line + 32 * r, column, other[r])
            } else {
                right_slice[((t >> 4) + 8 * r) * STRIDE + (t & 15u)] = other[r];
            }
        }
        barrier();
        LINEAR_MULTIPLY(sums, (t >> 4) * 2, t & 15u)
    }
}

vec4 y_row(linear_chunk chunk, uint lane, uint i, uint column, uint across)
{
    return y_load(linear_row(y, chunk.batch, lane, chunk.row + i) + column,
                  i < chunk.count ? int(across) - int(column) : 0);
}

vec4 total_row(uint set, linear_chunk chunk, uint lane, uint column)
{
    const uint other = ((1 - SIDE) * lanes + lane) * sequences + chunk.sequence;
    return total_load(set * totals + other * inner + column, int(inner) - int(column));
}

// Through the sigmoid: the rest of a gradient of q or k.
void finish_gradients(linear_chunk chunk, uint lane, uint w, uint t)
{
    const uint column = w + (t & 15u) * 4;
    if (column >= inner)
        return;
    const vec4 s = total_row(1, chunk, lane, column) + eps, r = total_row(2, chunk, lane, column);
    const vec4 u = total_row(0, chunk, lane, column) + eps, p = total_row(3, chunk, lane, column);
    [[unroll]] for (uint e = 0; e < 8; e++) {
        const uint i = (t >> 4) * 8 + e;
        if (i >= chunk.count)
            continue;
        const vec4 own = linear_sigmoids(y_row(chunk, lane, i, column, inner));
        const float a = number(D_CLAIM, chunk, lane, i), c = number(INVERSE, chunk, lane, i);
        const float h = number(D_FACTOR, chunk, lane, i);
        sums[e] = (sums[e] + a * s + c * r + h * u + p) * own * (1.0 - own);
    }
}

void store_rows(linear_chunk chunk, uint lane, uint w, uint across, uint t)
{
    const uint column = w + (t & 15u) * 4;
    [[unroll]] for (uint e = 0; e < 8; e++) {
        const uint i = (t >> 4) * 8 + e;
        if (i >= chunk.count)
            continue;
        const float factor = MODE == 2 ? number(FACTOR, chunk, lane, i) : 1.0;
        to_store(linear_row(to, chunk.batch, lane, chunk.row + i) + column, int(across) - int(column),
                 factor * sums[e]);
    }
}

// The rows' products with y, over the invocations that share a row; and the chunk's mean.
void store_dots(linear_chunk chunk, uint slot, uint lane, float dots[8], uint t)
{
    const uint i = gl_LocalInvocationID.x;
    barrier(); // the slices may still be in use
    [[unroll]] for (uint e = 0; e < 8; e++)
        left_slice[((t >> 4) * 8 + e) * 4 + ((t & 15u) >> 2)][t & 3u] = dots[e];
    barrier();
    float sum = 0.0, mean = 0.0;
    for (uint g = 0; i < CHUNK && g < 4; g++)
        sum += dot(left_slice[i * 4 + g], vec4(1.0));
    if (i < chunk.count) {
        number_of[number_at(D_FACTOR, SIDE, chunk.batch, lane, chunk.row + i)] = sum;
        mean = MODE == 2 ? sum * number(FACTOR, chunk, lane, i) : 0.0;
    }
    if (MODE != 2)
        return;
    if (i < CHUNK)
        right_slice[i] = vec4(mean);
    barrier();
    if (i == 0) {
        for (uint r = 1; r < CHUNK; r++)
            mean += right_slice[r].x;
        mean_of[lane * slots + slot] = mean;
    }
}

void main()
{
    const uint slot = gl_WorkGroupID.x, lane = gl_WorkGroupID.y, t = linear_self(slot);
    table_base = SIDE != 0 ? table_k : 0;
    const linear_chunk chunk = linear_chunk_at(slot, packed, SIDE != 0 ? m : n);
    if (chunk.count == 0)
        return;
    const uint at = (lane * sequences + chunk.sequence) * inner * width;
    const uint across = TURNED ? inner : width;
    float dots[8] = float[8](0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for (uint w = 0; w < across; w += CHUNK) {
        multiply_matrix(chunk, lane, at, w, t);
        if (MODE == 1 || MODE == 2)
            [[unroll]] for (uint e = 0; e < 8; e++)
                dots[e] += dot(sums[e], y_row(chunk, lane, (t >> 4) * 8 + e, w + (t & 15u) * 4, across));
        if (TURNED)
            finish_gradients(chunk, lane, w, t);
        if (MODE != 1 && (flags & HAS_TO) != 0)
            store_rows(chunk, lane, w, across, t);
    }
    if (MODE == 1 || MODE == 2)
        store_dots(chunk, slot, lane, dots, t);
}
