// The causal form's numbers and, backward, their gradients, a chunk at a time. Sums run over the positions
// up to (backward: from) each; `prefix` holds what they were where the chunk begins. One invocation has one
// column of q and of k.
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

layout(local_size_x = 64) in;

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

layout(std430, set = 0, binding = 0) readonly buffer q_block
{
    STORED q_one[];
};
layout(std430, set = 0, binding = 1) readonly buffer k_block
{
    STORED k_one[];
};
layout(std430, set = 0, binding = 3) buffer number_block
{
    float number_of[];
};
layout(std430, set = 0, binding = 4) readonly buffer prefix_block
{
    float prefix_of[]; // [side][lane][slot][column]
};
layout(std430, set = 0, binding = 5) writeonly buffer part_block
{
    float part_of[];
};
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
#include "flow/pairs.glsl"

const uint GROUP = 16; // rows whose products are summed together

shared float product[2][GROUP][CHUNK + 1];
shared float half_sum[CHUNK];
shared float dots[2][CHUNK];   // of q rows with the sums of k, of k rows with those of q
shared float factor[2][CHUNK]; // what rows of q and k are multiplied with in their sums

float q_at(linear_chunk chunk, uint lane, uint i, uint column)
{
    return linear_sigmoid(LOAD(q_one[linear_row(q, chunk.batch, lane, chunk.row + i) + column]));
}

float k_at(linear_chunk chunk, uint lane, uint i, uint column)
{
    return linear_sigmoid(LOAD(k_one[linear_row(k, chunk.batch, lane, chunk.row + i) + column]));
}

// Sixteen rows' products, over the columns at work.
void sum_products(uint first)
{
    const uint t = gl_LocalInvocationID.x, which = t >> 5, row = t >> 1 & 15u;
    barrier();
    float sum = 0.0;
    for (uint e = 0; e < 32; e++)
        sum += product[which][row][(t & 1u) * 32 + e];
    half_sum[t] = sum;
    barrier();
    if (t < 32)
        dots[t >> 4][first + (t & 15u)] += half_sum[2 * t] + half_sum[2 * t + 1];
}

void multiply_columns(linear_chunk chunk, uint slot, uint lane)
{
    const uint t = gl_LocalInvocationID.x;
    const bool back = STAGE == 4;
    const float seen = back ? 0.0 : eps, shift = back ? eps : 0.0;
    for (uint d = 0; d < width; d += CHUNK) {
        const uint column = d + t;
        const bool there = column < width;
        const uint at = (lane * slots + slot) * width + column, side = lanes * slots * width;
        const float base_q = there ? prefix_of[at] : 0.0, base_k = there ? prefix_of[side + at] : 0.0;
        float local_q = 0.0, local_k = 0.0;
        for (uint first = 0; first < CHUNK; first += GROUP) {
            for (uint r = 0; r < GROUP; r++) {
                const uint i = back ? CHUNK - 1 - (first + r) : first + r;
                float by_k = 0.0, by_q = 0.0;
                if (there && i < chunk.count) {
                    const float x = q_at(chunk, lane, i, column), y = k_at(chunk, lane, i, column);
                    local_q += factor[0][i] * (x + shift);
                    local_k += factor[1][i] * (y + shift);
                    by_k = (x + seen) * (base_k + local_k + seen);
                    by_q = (y + seen) * (base_q + local_q + seen);
                }
                product[0][r][t] = by_k;
                product[1][r][t] = by_q;
            }
            sum_products(first);
        }
    }
    barrier();
}

// The chunk's sums of factor (x + shift).
void add_columns(linear_chunk chunk, uint slot, uint lane)
{
    const uint t = gl_LocalInvocationID.x;
    const float shift = STAGE > 2 ? eps : 0.0;
    for (uint column = t; column < width; column += CHUNK) {
        const uint at = (lane * slots + slot) * width + column, side = lanes * slots * width;
        float sum_q = 0.0, sum_k = 0.0;
        for (uint i = 0; i < chunk.count; i++) {
            sum_q += factor[0][i] * (q_at(chunk, lane, i, column) + shift);
            sum_k += factor[1][i] * (k_at(chunk, lane, i, column) + shift);
        }
        part_of[at] = sum_q;
        part_of[side + at] = sum_k;
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
    const uint i = gl_LocalInvocationID.x, at = STAGE == 4 ? CHUNK - 1 - i : i;
    const float first = dots[0][at], second = dots[1][at];
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
        dots[0][at] = number(D_FACTOR, 1, chunk, lane) + (d_inc * inc + d_out * inverse) / t;
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
    dots[0][i] = dots[1][i] = 0.0;
    factor[0][i] = factor[1][i] = 1.0;
    if (i < chunk.count && (STAGE == 2 || STAGE == 4)) {
        factor[0][i] = number(STAGE == 2 ? INVERSE : D_CLAIM, 0, chunk, lane);
        factor[1][i] = number(STAGE == 2 ? INVERSE : D_CLAIM, 1, chunk, lane);
    }
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
            sum += dots[0][CHUNK - 1 - r];
        length_of[lane * slots + slot] = sum;
    }
}
