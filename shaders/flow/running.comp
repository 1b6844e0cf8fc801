// The causal form's numbers and, backward, their gradients, a chunk at a time. Sums run over the positions
// up to (backward: from) each; `prefix` holds what they were where the chunk begins. An invocation has a
// quad of columns of eight neighbouring rows of q and of k.
//
//     STAGE 1  inc, out; the chunk's sums of inc q and out k
//     STAGE 2  cs, cr; the chunk's sum of e^cr
//     STAGE 3  backward: gradients of cs and cr over t; the chunk's sums of them times (q + eps), (k + eps)
//     STAGE 4  backward: gradients of the inverses of inc and out; sums as before, and of that of the length
//
// Workgroups: (slot, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 2
#include "kit/linear.glsl"

layout(local_size_x = 128) in;

layout(constant_id = 2) const uint STAGE = 1;

#include "flow/sums.glsl"

layout(push_constant) uniform push_block
{
    linear_rows q, k;
    SUMS_PUSHED // those before the first position
    uint m, lane_rows;
    float eps, bound;
};

const uint HAS_FROM = 1;
const uint LENGTH_ROW = 5; // of `sums`

LINEAR_INPUT(0, q)
LINEAR_INPUT(1, k)
layout(std430, set = 0, binding = 3) buffer number_block
{
    float number_of[];
};
LINEAR_FLOATS(4, prefix) // [side][lane][slot][column]
LINEAR_FLOATS(5, part)
layout(std430, set = 0, binding = 6) readonly buffer from_block
{
    float from_of[];
};
layout(std430, set = 0, binding = 7) buffer pair_block
{
    vec2 pair_of_slot[]; // [lane][slot]: of the chunk; stage 3: what is behind it
};
layout(std430, set = 0, binding = 8) writeonly buffer length_block
{
    float length_of[]; // [lane][slot]
};

#include "flow/numbers.glsl"
#define PAIRS 128
#include "flow/pairs.glsl"

shared vec4 group_sum[2][8 * 16];    // of eight rows, by quads of columns
shared float row_part[2][CHUNK * 17]; // an invocation's share of rows' products
shared float dots[2][CHUNK];   // of q rows with the sums of k, of k rows with those of q
shared float factor[2][CHUNK]; // what rows of q and k are multiplied with in their sums; 0 behind the last

#define FIRST_ROW (gl_LocalInvocationID.x >> 4 << 3)
#define QUAD_COLUMN ((gl_LocalInvocationID.x & 15u) * 4)

vec4 q_rows[8], k_rows[8];

// Rows FIRST_ROW and up, columns d + QUAD_COLUMN and up.
void take_rows(linear_chunk chunk, uint lane, uint d)
{
    const int left = int(width) - int(d + QUAD_COLUMN);
    const vec4 there = linear_columns(left);
    [[unroll]] for (uint r = 0; r < 8; r++) {
        const uint i = FIRST_ROW + r, column = d + QUAD_COLUMN;
        const int own = i < chunk.count ? left : 0;
        q_rows[r] = q_load(linear_row(q, chunk.batch, lane, chunk.row + i) + column, own);
        k_rows[r] = k_load(linear_row(k, chunk.batch, lane, chunk.row + i) + column, own);
    }
    [[unroll]] for (uint r = 0; r < 8; r++) {
        q_rows[r] = linear_sigmoids(q_rows[r]) * there;
        k_rows[r] = linear_sigmoids(k_rows[r]) * there;
    }
}

// The invocation's rows' sums of factor (x + shift), to be seen by all.
void sum_groups(vec4 shift)
{
    vec4 sum_q = vec4(0.0), sum_k = vec4(0.0);
    [[unroll]] for (uint r = 0; r < 8; r++) {
        sum_q += factor[0][FIRST_ROW + r] * (q_rows[r] + shift);
        sum_k += factor[1][FIRST_ROW + r] * (k_rows[r] + shift);
    }
    barrier();
    group_sum[0][gl_LocalInvocationID.x] = sum_q;
    group_sum[1][gl_LocalInvocationID.x] = sum_k;
    barrier();
}

// The rows' products; those of the first columns are still at hand where there are no others.
void multiply_columns(linear_chunk chunk, uint slot, uint lane)
{
    const uint t = gl_LocalInvocationID.x, group = t >> 4;
    const bool back = STAGE == 4;
    float by_k[8], by_q[8];
    [[unroll]] for (uint r = 0; r < 8; r++)
        by_k[r] = by_q[r] = 0.0;
    for (uint d = 0; d < width; d += CHUNK) {
        const int left = int(width) - int(d + QUAD_COLUMN);
        const vec4 there = linear_columns(left);
        const vec4 seen = (back ? 0.0 : eps) * there, shift = (back ? eps : 0.0) * there;
        const uint at = (lane * slots + slot) * width + d + QUAD_COLUMN, side = lanes * slots * width;
        vec4 before_q = prefix_load(at, left) + seen, before_k = prefix_load(side + at, left) + seen;
        if (d > 0)
            take_rows(chunk, lane, d);
        sum_groups(shift);
        for (uint g = back ? group + 1 : 0; g < (back ? 8 : group); g++) {
            before_q += group_sum[0][g * 16 + (t & 15u)];
            before_k += group_sum[1][g * 16 + (t & 15u)];
        }
        [[unroll]] for (uint e = 0; e < 8; e++) {
            const uint r = back ? 7 - e : e;
            before_q += factor[0][FIRST_ROW + r] * (q_rows[r] + shift);
            before_k += factor[1][FIRST_ROW + r] * (k_rows[r] + shift);
            by_k[r] += dot(q_rows[r] + seen, before_k);
            by_q[r] += dot(k_rows[r] + seen, before_q);
        }
    }
    [[unroll]] for (uint r = 0; r < 8; r++) {
        row_part[0][(FIRST_ROW + r) * 17 + (t & 15u)] = by_k[r];
        row_part[1][(FIRST_ROW + r) * 17 + (t & 15u)] = by_q[r];
    }
    barrier();
    float sum = 0.0;
    for (uint g = 0; g < 16; g++)
        sum += row_part[t >> 6][(t & 63u) * 17 + g];
    dots[t >> 6][t & 63u] = sum;
    barrier();
}

// The chunk's sums of factor (x + shift).
void add_columns(linear_chunk chunk, uint slot, uint lane)
{
    const uint t = gl_LocalInvocationID.x, side = t >> 4;
    for (uint d = 0; d < width; d += CHUNK) {
        const int left = int(width) - int(d + QUAD_COLUMN);
        if (width > CHUNK)
            take_rows(chunk, lane, d);
        sum_groups((STAGE > 2 ? eps : 0.0) * linear_columns(left));
        if (side < 2) {
            vec4 sum = vec4(0.0);
            for (uint g = 0; g < 8; g++)
                sum += group_sum[side][g * 16 + (t & 15u)];
            part_store(((side * lanes + lane) * slots + slot) * width + d + QUAD_COLUMN, left, sum);
        }
    }
}

float number(uint which, uint side, linear_chunk chunk, uint lane)
{
    return number_of[number_at(which, side, chunk.batch, lane, chunk.row + gl_LocalInvocationID.x)];
}

void put(uint which, uint side, linear_chunk chunk, uint lane, float value)
{
    number_of[number_at(which, side, chunk.batch, lane, chunk.row + gl_LocalInvocationID.x)] = value;
}

// The gradients of a row's cs and cr over t; of the length what they say of it, into D_FACTOR of k.
void open_row(linear_chunk chunk, uint slot, uint lane, float t)
{
    const bool there = gl_LocalInvocationID.x < chunk.count;
    float d_comp = 0.0, comp = 0.0, exponent = 0.0, z = 1.0;
    if (there) {
        d_comp = number(D_FACTOR, 1, chunk, lane);
        comp = number(FACTOR, 1, chunk, lane);
        exponent = number(EXPONENT, 0, chunk, lane);
        z = number(EXPONENT, 1, chunk, lane);
    }
    const vec2 own = there && d_comp * comp != 0.0 ? vec2(-exponent, -d_comp * comp / z) : NO_PAIR;
    const vec2 back = joined(pair_of_slot[lane * slots + slot], pair_scan(own, true));
    if (!there)
        return;
    const float inc = number(INVERSE, 0, chunk, lane), cs = number(CLAIM, 0, chunk, lane);
    const float cr = number(CLAIM, 1, chunk, lane), d_gate = number(D_FACTOR, 0, chunk, lane);
    const float open = linear_sigmoid(cs), clipped = flow_clip(cr);
    const float d_cs = d_gate * inc / t * open * (1.0 - open);
    float d_cr = d_comp * comp + back.y * exp(min(clipped + back.x, 88.0));
    if (clipped != cr)
        d_cr = 0.0;
    put(D_CLAIM, 0, chunk, lane, d_cs / t);
    put(D_CLAIM, 1, chunk, lane, d_cr / t);
    put(D_FACTOR, 0, chunk, lane, d_gate * open / t);
    put(D_FACTOR, 1, chunk, lane, (d_comp * comp - d_gate * open * inc / t - d_cs * cs - d_cr * cr) / t);
    factor[0][gl_LocalInvocationID.x] = d_cs / t;
    factor[1][gl_LocalInvocationID.x] = d_cr / t;
}

// A row's numbers, from its products.
void settle_row(linear_chunk chunk, uint lane, float t)
{
    const uint i = gl_LocalInvocationID.x;
    const float first = dots[0][i], second = dots[1][i];
    if (STAGE == 1) {
        factor[0][i] = t / first;
        factor[1][i] = t / second;
        put(INVERSE, 0, chunk, lane, factor[0][i]);
        put(INVERSE, 1, chunk, lane, factor[1][i]);
    } else if (STAGE == 2) {
        put(CLAIM, 0, chunk, lane, first / t);
        put(CLAIM, 1, chunk, lane, second / t);
    } else {
        const float inc = number(INVERSE, 0, chunk, lane), inverse = number(INVERSE, 1, chunk, lane);
        const float d_inc = number(D_FACTOR, 0, chunk, lane) + first, d_out = second;
        dots[0][i] = number(D_FACTOR, 1, chunk, lane) + (d_inc * inc + d_out * inverse) / t;
        factor[0][i] = -inc * inc / t * d_inc;
        factor[1][i] = -inverse * inverse / t * d_out;
        put(D_FACTOR, 0, chunk, lane, factor[0][i]);
        put(D_FACTOR, 1, chunk, lane, factor[1][i]);
    }
}

void main()
{
    const uint slot = gl_WorkGroupID.x, lane = gl_WorkGroupID.y, i = gl_LocalInvocationID.x;
    const linear_chunk chunk = linear_chunk_at(slot, packed, n);
    if (chunk.count == 0)
        return;
    float t = float(chunk.index * CHUNK + i + 1);
    if ((flags & HAS_FROM) != 0)
        t += from_of[linear_row(from, chunk.sequence, lane, LENGTH_ROW)];
    if (i < CHUNK) {
        factor[0][i] = factor[1][i] = i < chunk.count ? 1.0 : 0.0;
        if (i < chunk.count && (STAGE == 2 || STAGE == 4)) {
            factor[0][i] = number(STAGE == 2 ? INVERSE : D_CLAIM, 0, chunk, lane);
            factor[1][i] = number(STAGE == 2 ? INVERSE : D_CLAIM, 1, chunk, lane);
        }
    }
    take_rows(chunk, lane, 0);
    barrier();
    if (STAGE == 3)
        open_row(chunk, slot, lane, t);
    else
        multiply_columns(chunk, slot, lane);
    if (STAGE != 3 && i < chunk.count)
        settle_row(chunk, lane, t);
    barrier();
    if (STAGE == 2) {
        const vec2 own = i < chunk.count ? vec2(flow_clip(dots[1][i] / t), 1.0) : NO_PAIR;
        const vec2 sum = pair_scan(own, false);
        if (i == CHUNK - 1)
            pair_of_slot[lane * slots + slot] = sum;
        return;
    }
    add_columns(chunk, slot, lane);
    if (STAGE == 4 && i == 0) {
        float sum = 0.0;
        for (uint r = 0; r < chunk.count; r++)
            sum += dots[0][r];
        length_of[lane * slots + slot] = sum;
    }
}
