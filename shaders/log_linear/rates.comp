// The gradients of decays and level weights, a chunk at a time. Decay r multiplies every pair (t, s) with
// s < r <= t; with W the pairs' weights, what this chunk knows of it are pairs inside (rows less columns),
// pairs that end here and pairs that begin here. Those that pass through are added afterwards, from what
// begins and ends in the chunks (crossing.comp).
//
// Workgroups: (slot, head in work).
#version 450
#extension GL_GOOGLE_include_directive : require
#define LINEAR_TREE
#define LINEAR_TABLE 5
#include "kit/linear_tile.glsl"

LINEAR_INPUT(0, q)
LINEAR_INPUT(1, k)
LINEAR_INPUT(2, v)
LINEAR_INPUT(3, d_o)
LINEAR_FLOATS(4, state)
LINEAR_FLOATS(9, after)
layout(std430, set = 0, binding = 10) writeonly buffer rate_block
{
    float rate_of[];
};
layout(std430, set = 0, binding = 11) writeonly buffer passing_block
{
    vec2 passing_of[];
};
layout(std430, set = 0, binding = 12) writeonly buffer to_block
{
    STORED to_one[];
};
layout(std430, set = 0, binding = 12) writeonly buffer to_wide_block
{
    float to_wide[];
};
layout(std430, set = 0, binding = 13) readonly buffer params_block
{
    linear_rows at_q, at_k, at_v, at_do, at_l, to;
    uint n_of, packed_of, share, levels_of, slots_of, lane_states;
    uint inner, width;
    float scale;
    uint flags_of, origin_of;
};

// As the kit names them.
linear_rows q = at_q, k = at_k, v = at_v, d_o = at_do, l = at_l;
uint n = n_of, packed = packed_of, levels = levels_of, slots = slots_of, flags = flags_of, origin = origin_of;

const uint WIDE_L = 8;
const uint WIDE_TO = 16;
const uint HAS_TO = 32; // the gradients of the level weights are wanted

#define LINEAR_GOES_ON 2
#include "kit/linear_tree.glsl"

shared float row_factor[CHUNK];

vec4 pairs[8];
vec4 sums[8];
float near[NEAR_LEVELS]; // of the invocation's row: pairs by level, without the weights

#include "kit/linear_operand.glsl"
#include "kit/linear_pairs.glsl"

// Zero, but no constant: SPIR-V has none of 16 bits without arithmetic on them.
#define nothing float(gl_LocalInvocationID.y)

// What rows have said of each level's weights, into the tensor.
void store_level(linear_chunk chunk, uint lane, uint i, uint level, float value)
{
    if ((flags & HAS_TO) == 0 || level >= levels || !linear_has(chunk, i))
        return;
    const uint at = linear_row(to, chunk.batch, lane, chunk.row + i) + level;
    if ((flags & WIDE_TO) != 0)
        to_wide[at] = value;
    else
        to_one[at] = STORE(value);
}

// pairs = each pair's product of q k, do v, decay and scale. Their sums over groups of four columns go to
// left_slice [row][group], those of a row's own group one by one to right_slice [row], and the sums over
// eight rows of the weighted ones, without the diagonal, to right_slice [64 + eight * 16 + column / 4].
void spread_pairs(uint t)
{
    const uint group = t & 15u;
    vec4 columns = vec4(0.0);
    barrier(); // the slices may still be in use
    [[unroll]] for (uint r = 0; r < 8; r++) {
        const uint i = (t >> 4) * 8 + r;
        vec4 said = vec4(0.0);
        [[unroll]] for (uint c = 0; c < 4; c++) {
            const uint j = group * 4 + c;
            if (j > i)
                continue;
            said[c] = pairs[r][c] * sums[r][c] * scale * tree_decay(i, j);
            if (j < i)
                columns[c] += said[c] * tree_level[tree_bits(i ^ j) * CHUNK + i];
        }
        left_slice[i * 4 + (group >> 2)][group & 3u] = dot(said, vec4(1.0));
        if (group == i >> 2)
            right_slice[i] = said;
    }
    right_slice[CHUNK + (t >> 4) * 16 + group] = columns;
}

// near, and the pairs of row i less those of column i.
float gather_pairs(uint i)
{
    [[unroll]] for (uint level = 0; level < NEAR_LEVELS; level++)
        near[level] = 0.0;
    const vec4 own = right_slice[i];
    for (uint c = 0; c <= (i & 3u); c++)
        near[tree_bits(c ^ i & 3u)] += own[c];
    for (uint group = 0; group < i >> 2; group++)
        near[tree_bits(group ^ i >> 2) + 2] += left_slice[i * 4 + (group >> 2)][group & 3u];
    float rows = 0.0, columns = 0.0;
    for (uint level = 1; level < NEAR_LEVELS; level++)
        rows += near[level] * tree_level[level * CHUNK + i];
    for (uint eight = 0; eight < 8; eight++)
        columns += right_slice[CHUNK + eight * 16 + (i >> 2)][i & 3u];
    return rows - columns;
}

float[8] no_dots()
{
    return float[8](0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
}

// The sum of a row over the invocations that share it; each of the first 64 gets that of its row.
float gather_row(float dots[8], uint t)
{
    const uint i = gl_LocalInvocationID.x;
    float sum = 0.0;
    barrier(); // the slices may still be in use
    [[unroll]] for (uint r = 0; r < 8; r++)
        left_slice[((t >> 4) * 8 + r) * 4 + ((t & 15u) >> 2)][t & 3u] = dots[r];
    barrier();
    for (uint g = 0; i < CHUNK && g < 4; g++)
        sum += dot(left_slice[i * 4 + g], vec4(1.0));
    barrier();
    return sum;
}

// What the states before the chunk give, of the first 64 invocations' rows; their levels' gradients. By bits
// of positions: pieces, which are near, then whole chunks.
float from_states(linear_chunk chunk, uint slot, uint lane, uint t)
{
    const uint i = gl_LocalInvocationID.x;
    float query = 0.0;
    for (uint bit = GOES_ON != 0 ? 0 : CHUNK_LOG; GOES_ON != 0 && bit < CHUNK_LOG || bit + 1 < levels; bit++) {
        const bool piece = GOES_ON != 0 && bit < CHUNK_LOG;
        if (piece ? !tree_has_piece(chunk, bit) : !tree_bit(chunk.index, bit - CHUNK_LOG)) {
            if (i < CHUNK && !piece)
                store_level(chunk, lane, i, bit + 1, nothing);
            continue;
        }
        if (i < CHUNK)
            row_factor[i] =
                scale * (piece ? exp(tree_sum[i].x)
                               : tree_far_decay(tree_gap(chunk, slot, lane, bit - CHUNK_LOG), i));
        barrier();
        const uint before = piece ? tree_piece(chunk, lane_states, bit) : tree_before(chunk, bit - CHUNK_LOG);
        float dots[8] = no_dots();
        LINEAR_ACROSS(dots, chunk, t, q, lane / share, state, (lane * lane_states + before) * inner * width,
                      d_o, lane)
        const float said = gather_row(dots, t);
        if (i < CHUNK) {
            const uint level = piece ? tree_bits(i ^ tree_piece_row(bit)) : bit + 1;
            if (piece)
                near[level] += said;
            else
                store_level(chunk, lane, i, level, said);
            query += said * tree_level_at(chunk, lane, i, level);
        }
    }
    return query;
}

// What the states after the chunk, and of a last chunk the tails, say of the first 64 invocations' keys.
float from_readers(linear_chunk chunk, uint lane, uint t)
{
    const uint i = gl_LocalInvocationID.x;
    float dots[8] = no_dots();
    for (uint tail = 0; tail <= (GOES_ON != 0 ? CHUNK_LOG : 0); tail++) {
        const bool ends = GOES_ON != 0 && tail > 0;
        if (ends && !tree_has_tail(chunk, tail - 1))
            continue;
        if (i < CHUNK)
            row_factor[i] = ends ? tree_tail_weight(chunk, tail - 1, i) : tree_left(i);
        barrier();
        const uint behind = ends ? tree_tail(chunk, lane_states, tail - 1) : tree_leaf(chunk);
        LINEAR_ACROSS(dots, chunk, t, k, lane / share, after, (lane * lane_states + behind) * inner * width, v,
                      lane)
    }
    return gather_row(dots, t);
}

void store_near(linear_chunk chunk, uint lane, uint i)
{
    for (uint level = 0; level < NEAR_LEVELS && i < CHUNK; level++)
        store_level(chunk, lane, i, level, near[level]);
}

void main()
{
    const uint slot = gl_WorkGroupID.x, lane = gl_WorkGroupID.y, t = linear_self(slot);
    const uint i = gl_LocalInvocationID.x, place = lane * slots + slot;
    const linear_chunk chunk = linear_chunk_at(slot, packed, n, tree_skip());
    if (chunk.count == 0)
        return;
    tree_load(chunk, slot, lane);
    LINEAR_PAIRS(pairs, chunk, t, q, lane / share, k, lane / share, inner)
    LINEAR_PAIRS(sums, chunk, t, d_o, lane, v, lane, width)
    spread_pairs(t);
    barrier();
    float ends = i < CHUNK ? gather_pairs(i) : 0.0;
    if (GOES_ON == 0)
        store_near(chunk, lane, i);
    barrier();
    const float query = from_states(chunk, slot, lane, t);
    if (GOES_ON != 0)
        store_near(chunk, lane, i);
    const float key = from_readers(chunk, lane, t);
    ends += query;
    if (i < CHUNK)
        left_slice[i] = vec4(ends, key, query, 0.0);
    barrier();
    if (i >= CHUNK)
        return;
    float rate = 0.0;
    for (uint r = i; r < CHUNK; r++)
        rate += left_slice[r].x;
    for (uint r = 0; r < i; r++)
        rate += left_slice[r].y;
    rate_of[place * CHUNK + i] = rate;
    if (i == 0) {
        vec2 passing = vec2(0.0);
        for (uint r = 0; r < CHUNK; r++)
            passing += left_slice[r].yz;
        passing_of[place] = passing;
    }
}
