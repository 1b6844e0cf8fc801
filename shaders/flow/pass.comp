// A pass over the rows x of q and k, through their sigmoids: a number for each row from x . T, with T a sum
// over the other side's rows, and then parts of the sum of number_i (x_i + shift), each over 256 rows.
//
//     STAGE 0  the sums of x (chunks of the causal form: over 2^unit_log of them)
//     STAGE 1  inc, out and the sums of out k, inc q
//     STAGE 2  cs, cr, gate and of cr the greatest of a part and the sum of e^(cr - that)
//     STAGE 3  backward: gradients of cs and cr, and their sums
//     STAGE 4  backward: gradients of inc's and out's inverses, and their sums
//
// Workgroups: (slot of either side, head in work, side).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TABLE 2
uint table_base;
#define LINEAR_TABLE_BASE table_base
#include "kit/linear.glsl"

// Rows stay in registers by it; loops that stay loops are for the software driver's compiler.
#ifdef RAPT_LEAN
#define PASS_UNROLL [[dont_unroll]]
#else
#define PASS_UNROLL [[unroll]]
#endif

layout(local_size_x = 128) in;

layout(constant_id = 2) const uint STAGE = 0;

layout(push_constant) uniform push_block
{
    linear_rows q, k;
    uint n, m, packed, slots_q, slots_k, table_k;
    uint lanes, lane_rows, sequences, width;
    uint units, unit_log; // parts of a lane
    uint totals_at;       // where the sums that this stage reads begin
    float eps, bound;
};

LINEAR_INPUT(0, q)
LINEAR_INPUT(1, k)
layout(std430, set = 0, binding = 3) buffer number_block
{
    float number_of[];
};
LINEAR_FLOATS(4, total) // [side][lane][sequence][column]
LINEAR_FLOATS(5, part)  // [side][lane][unit][column]
layout(std430, set = 0, binding = 6) writeonly buffer extreme_block
{
    vec2 extreme_of[]; // [lane][unit]
};
layout(std430, set = 0, binding = 7) readonly buffer mean_block
{
    float mean_of[]; // [lane][sequence]: the sum of comp's gradients times comp
};

#include "flow/numbers.glsl"

shared float row_part[CHUNK * 17];
shared float row_number[4 * CHUNK];
shared vec4 column_part[128];

vec4 row_load(linear_chunk chunk, uint side, uint lane, uint i, uint column)
{
    const int left = i < chunk.count ? int(width) - int(column) : 0;
    vec4 x;
    if (side != 0)
        x = k_load(linear_row(k, chunk.batch, lane, chunk.row + i) + column, left);
    else
        x = q_load(linear_row(q, chunk.batch, lane, chunk.row + i) + column, left);
    return linear_sigmoids(x) * linear_columns(left);
}

// The rows at work, 128 columns of them: an invocation has quads of eight rows, as row_load of (t >> 4) + 8 r.
const uint KEPT = 2;
vec4 kept[KEPT][8];

void keep_rows(linear_chunk chunk, uint side, uint lane)
{
    const uint t = gl_LocalInvocationID.x;
    PASS_UNROLL for (uint d = 0; d < KEPT; d++) {
        const uint column = d * CHUNK + (t & 15u) * 4;
        if (side != 0) {
            PASS_UNROLL for (uint r = 0; r < 8; r++) {
                const uint i = (t >> 4) + 8 * r;
                const int left = i < chunk.count ? int(width) - int(column) : 0;
                kept[d][r] = k_load(linear_row(k, chunk.batch, lane, chunk.row + i) + column, left);
            }
        } else {
            PASS_UNROLL for (uint r = 0; r < 8; r++) {
                const uint i = (t >> 4) + 8 * r;
                const int left = i < chunk.count ? int(width) - int(column) : 0;
                kept[d][r] = q_load(linear_row(q, chunk.batch, lane, chunk.row + i) + column, left);
            }
        }
    }
    PASS_UNROLL for (uint d = 0; d < KEPT; d++) {
        const vec4 there = linear_columns(int(width) - int(d * CHUNK + (t & 15u) * 4));
        if (d * CHUNK < width)
            PASS_UNROLL for (uint r = 0; r < 8; r++)
                kept[d][r] = linear_sigmoids(kept[d][r]) * there;
    }
}

// row_part = each invocation's share of (x_i + eps) . (T + eps), in stage 4 of x_i . T.
void multiply_rows(linear_chunk chunk, uint side, uint lane)
{
    const uint t = gl_LocalInvocationID.x;
    const float shift = STAGE == 4 ? 0.0 : eps;
    float dots[8] = float[8](0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    const uint base = totals_at + (((1 - side) * lanes + lane) * sequences + chunk.sequence) * width;
    PASS_UNROLL for (uint d = 0; d < KEPT; d++) {
        if (d * CHUNK < width) {
            const uint column = d * CHUNK + (t & 15u) * 4;
            const int left = int(width) - int(column);
            const vec4 ones = shift * linear_columns(left);
            const vec4 total = total_load(base + column, left) + ones;
            PASS_UNROLL for (uint r = 0; r < 8; r++)
                dots[r] += dot(kept[d][r] + ones, total);
        }
    }
    for (uint d = KEPT * CHUNK; d < width; d += CHUNK) {
        const uint column = d + (t & 15u) * 4;
        const int left = int(width) - int(column);
        const vec4 ones = shift * linear_columns(left);
        const vec4 total = total_load(base + column, left) + ones;
        PASS_UNROLL for (uint r = 0; r < 8; r++)
            dots[r] += dot(row_load(chunk, side, lane, (t >> 4) + 8 * r, column) + ones, total);
    }
    PASS_UNROLL for (uint r = 0; r < 8; r++)
        row_part[((t >> 4) + 8 * r) * 17 + (t & 15u)] = dots[r];
}

// What row i's number is, from value = its product; a sequence with nothing on the other side has none.
float settle(linear_chunk chunk, uint side, uint lane, uint i, float value, uint others)
{
    const uint row = chunk.row + i, own = side != 0 ? m : n;
    const uint inverse = number_at(INVERSE, side, chunk.batch, lane, row);
    const uint claim = number_at(CLAIM, side, chunk.batch, lane, row);
    const uint factor = number_at(FACTOR, side, chunk.batch, lane, row);
    const uint d_factor = number_at(D_FACTOR, side, chunk.batch, lane, row);
    const uint d_claim = number_at(D_CLAIM, side, chunk.batch, lane, row);
    if (STAGE == 1) {
        value = others == 0 ? 0.0 : 1.0 / value;
        number_of[inverse] = value;
    } else if (STAGE == 2) {
        if (side == 0) {
            const uint positions = linear_sequence_at(chunk.sequence, packed, n).positions;
            value = others == 0 ? 0.0 : value * (float(positions) / float(others));
            number_of[factor] = linear_sigmoid(value) * number_of[inverse];
        }
        number_of[claim] = value;
        value = flow_clip(value);
    } else if (STAGE == 3) {
        const float given = number_of[d_factor];
        if (side == 0) {
            const uint positions = linear_sequence_at(chunk.sequence, packed, n).positions;
            const float open = linear_sigmoid(number_of[claim]);
            const float ratio = others == 0 ? 0.0 : float(positions) / float(others);
            value = given * number_of[inverse] * open * (1.0 - open) * ratio;
            number_of[d_factor] = given * open;
        } else {
            const uint positions = linear_sequence_at(chunk.sequence, packed, m).positions;
            const float mean = mean_of[lane * sequences + chunk.sequence] / float(positions);
            const float cr = number_of[claim];
            value = flow_clip(cr) != cr ? 0.0 : number_of[factor] * (given - mean);
            number_of[d_factor] = 0.0;
        }
        number_of[d_claim] = value;
    } else {
        const float flow = number_of[inverse];
        value = -flow * flow * (number_of[d_factor] + value);
        number_of[d_factor] = value;
    }
    return value;
}

// row_number of one chunk's rows.
void number_rows(linear_chunk chunk, uint side, uint lane, uint u)
{
    const uint t = gl_LocalInvocationID.x;
    uint others = 0;
    if (STAGE != 3)
        multiply_rows(chunk, side, lane);
    barrier();
    table_base = side != 0 ? 0 : table_k;
    others = linear_sequence_at(chunk.sequence, packed, side != 0 ? n : m).positions;
    table_base = side != 0 ? table_k : 0;
    if (t < CHUNK) {
        float value = 0.0;
        for (uint g = 0; STAGE != 3 && g < 16; g++)
            value += row_part[t * 17 + g];
        if (t < chunk.count)
            value = settle(chunk, side, lane, t, value, others);
        row_number[u * CHUNK + t] = t < chunk.count ? value : (STAGE == 2 ? -3.4e38 : 0.0);
    }
    barrier();
}

vec4 column_sum[KEPT]; // of the rows kept so far, each times its number

void add_kept(linear_chunk chunk, uint u)
{
    const uint t = gl_LocalInvocationID.x;
    const float shift = STAGE > 2 ? eps : 0.0;
    float numbers[8];
    PASS_UNROLL for (uint r = 0; r < 8; r++) {
        const uint i = (t >> 4) + 8 * r;
        numbers[r] = i < chunk.count ? (STAGE == 0 ? 1.0 : row_number[u * CHUNK + i]) : 0.0;
    }
    PASS_UNROLL for (uint d = 0; d < KEPT; d++) {
        const vec4 ones = shift * linear_columns(int(width) - int(d * CHUNK + (t & 15u) * 4));
        vec4 inside = vec4(0.0);
        PASS_UNROLL for (uint r = 0; r < 8; r++)
            inside += numbers[r] * (kept[d][r] + ones);
        column_sum[d] += inside;
    }
}

// What the invocations of a column have, put together.
void store_part(uint column, uint at, vec4 sum)
{
    const uint t = gl_LocalInvocationID.x;
    barrier();
    column_part[t] = sum;
    barrier();
    if (t < 16) {
        for (uint g = 1; g < 8; g++)
            sum += column_part[g * 16 + t];
        part_store(at + column, int(width) - int(column), sum);
    }
}

// The unit's part of the sum of row_number_i (x_i + shift).
void add_rows(uint slot, uint side, uint lane, uint several, uint rows, uint part)
{
    const uint t = gl_LocalInvocationID.x;
    const float shift = STAGE > 2 ? eps : 0.0;
    PASS_UNROLL for (uint d = 0; d < KEPT; d++)
        if (d * CHUNK < width)
            store_part(d * CHUNK + (t & 15u) * 4, part, column_sum[d]);
    for (uint d = KEPT * CHUNK; d < width; d += CHUNK) {
        const uint column = d + (t & 15u) * 4;
        const vec4 ones = shift * linear_columns(int(width) - int(column));
        vec4 sum = vec4(0.0);
        for (uint u = 0; u < several; u++) {
            const linear_chunk chunk = linear_chunk_at(slot + u, packed, rows);
            vec4 inside = vec4(0.0);
            PASS_UNROLL for (uint r = 0; r < 8; r++) {
                const uint i = (t >> 4) + 8 * r;
                const float number = STAGE == 0 ? 1.0 : row_number[u * CHUNK + i];
                inside += number * (row_load(chunk, side, lane, i, column) + ones);
            }
            sum += inside;
        }
        store_part(column, part, sum);
    }
}

// Of the unit's 256 numbers the greatest, and the sum of e^(number - that).
void find_extreme(uint several, uint at)
{
    const uint t = gl_LocalInvocationID.x;
    float greatest = -3.4e38, sum = 0.0;
    for (uint i = t; i < several * CHUNK; i += 128)
        greatest = max(greatest, row_number[i]);
    row_part[t] = greatest;
    for (uint half_way = 64; half_way > 0; half_way /= 2) {
        barrier();
        if (t < half_way)
            row_part[t] = max(row_part[t], row_part[t + half_way]);
    }
    barrier();
    greatest = row_part[0];
    barrier();
    for (uint i = t; i < several * CHUNK; i += 128)
        sum += row_number[i] < -1e38 ? 0.0 : exp(row_number[i] - greatest);
    row_part[t] = sum;
    for (uint half_way = 64; half_way > 0; half_way /= 2) {
        barrier();
        if (t < half_way)
            row_part[t] += row_part[t + half_way];
    }
    if (t == 0)
        extreme_of[at] = vec2(greatest, row_part[0]);
}

void main()
{
    const uint slot = gl_WorkGroupID.x, lane = gl_WorkGroupID.y, side = gl_WorkGroupID.z;
    const uint rows = side != 0 ? m : n;
    if (slot >= (side != 0 ? slots_k : slots_q))
        return;
    table_base = side != 0 ? table_k : 0;
    const linear_chunk first = linear_chunk_at(slot, packed, rows);
    if (first.count == 0 || (first.index & (1u << unit_log) - 1u) != 0)
        return;
    const uint several = min(1u << unit_log, first.chunks - first.index);
    const uint place = unit_log == 0 ? slot
                                     : (first.first >> unit_log) + first.sequence + (first.index >> unit_log);
    PASS_UNROLL for (uint d = 0; d < KEPT; d++)
        column_sum[d] = vec4(0.0);
    for (uint u = 0; u < several; u++) {
        const linear_chunk chunk = linear_chunk_at(slot + u, packed, rows);
        keep_rows(chunk, side, lane);
        if (STAGE != 0)
            number_rows(chunk, side, lane, u);
        if (STAGE != 2)
            add_kept(chunk, u);
    }
    if (STAGE != 2)
        add_rows(slot, side, lane, several, rows, ((side * lanes + lane) * units + place) * width);
    else if (side != 0)
        find_extreme(several, lane * units + place);
}
