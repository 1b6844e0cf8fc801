// The state of a chunk, or of a few one after the other: sum_i f_i a_i^T c_i, rows of a tensor with `height`
// columns and of one with `width`.
//
//     forward    a = k, c = v,  f the decay from i to the chunk's end
//     backward   a = q, c = do, f the decay from the chunk's start to i, times the scale
//
// Workgroups: (slot, head in work, tile of 64 x 64; with LINEAR_COOP 64 rows of the state). LINEAR_READERS:
// tiles of each level, backward: what the queries of a block of chunks say of the node that they read, in parts
// of eight chunks at most.
#define LINEAR_TABLE 3
#include "kit/linear_tile.glsl"

layout(constant_id = 2) const uint REVERSE = 0;

layout(push_constant) uniform push_block
{
    linear_rows a, c;
    uint n, packed, share, lane_states;
    uint height, width;
    float scale;
    uint flags;
    uint unit_log; // chunks in one state: 2^unit_log
#ifdef LINEAR_SLOPE
    uint slope;
#endif
#ifdef LINEAR_FLOW
    uint heads; // that factors are laid out for
    uint a_factor, c_factor;
#endif
#ifdef LINEAR_TREE
    linear_rows l;
    uint levels, slots, origin;
    uint lane_parts, part_levels; // parts of one level, levels that have parts
    uint depth;                   // levels
#endif
};

const uint HAS_SLOPE = 4;
const uint WIDE_L = 8;
const uint SIGMOID = 16; // 16 of a, 64 of c
const uint NONE = 0xffffffffu;

LINEAR_INPUT(0, a)
LINEAR_INPUT(1, c)
LINEAR_FLOATS(2, state)

#ifdef LINEAR_SLOPE
layout(std430, set = 0, binding = 6) readonly buffer slope_block
{
    float slope_of[];
};
#endif
#ifdef LINEAR_FLOW
layout(std430, set = 0, binding = 6) readonly buffer factor_block
{
    float factor_of[];
};
#endif
#ifdef LINEAR_TREE
#define LINEAR_GOES_ON 3
#include "kit/linear_tree.glsl"
#endif
#ifdef LINEAR_READERS
LINEAR_FLOATS(5, part)
#endif

#ifndef LINEAR_COOP
shared float row_factor[CHUNK];
#endif

vec4 sums[8];

#include "kit/linear_operand.glsl"

#ifdef LINEAR_COOP
#include "kit/linear_contribute_coop.glsl"
#else
float factor_at(linear_chunk chunk, uint slot, uint lane, uint level, vec2 gap, uint i)
{
#ifdef LINEAR_READERS
    if (GOES_ON != 0 && level >= depth)
        return scale * tree_piece_weight(level - depth, i);
    return scale * tree_far_decay(gap, i) * tree_level_at(chunk, lane, i, CHUNK_LOG + 1 + level);
#elif defined(LINEAR_TREE)
    return tree_left(i);
#else
    // Finite behind the last position, too: it meets a zero there.
    return scale * exp(step_of(lane) * float(REVERSE != 0 ? int(i) + 1 : max(int(chunk.count) - 1 - int(i), 0)));
#endif
}

// sums += the chunk's rows, columns d and up of a, e and up of c
void add_chunk(linear_chunk chunk, uint lane, uint d, uint e)
{
    const uint t = gl_LocalInvocationID.x, quad = (t & 15u) * 4;
    const uint inner_head = lane / share, outer_head = lane; // of q or k; of v or do
    for (uint j = 0; j < chunk.count; j += SLICE) {
        vec4 own[2], other[2];
        [[unroll]] for (uint r = 0; r < 2; r++) {
            const uint i = j + (t >> 4) + 8 * r;
            uint extent = height;
            own[r] = row_factor[i] * OPERAND(a, chunk, inner_head, i, d + quad, SIGMOID);
            extent = width;
            other[r] = OPERAND(c, chunk, outer_head, i, e + quad, SIGMOID * 4);
        }
        barrier(); // the slice before may still be in use
        [[unroll]] for (uint r = 0; r < 2; r++) {
            left_slice[((t >> 4) + 8 * r) * STRIDE + (t & 15u)] = own[r];
            right_slice[((t >> 4) + 8 * r) * STRIDE + (t & 15u)] = other[r];
        }
        barrier();
        LINEAR_MULTIPLY(sums, (t >> 4) * 2, t & 15u)
    }
}

void main()
{
    const uint slot = gl_WorkGroupID.x, lane = gl_WorkGroupID.y, t = gl_LocalInvocationID.x;
    const uint across = (width + CHUNK - 1) / CHUNK, tiles = (height + CHUNK - 1) / CHUNK * across;
    const uint tile = gl_WorkGroupID.z % tiles, level = gl_WorkGroupID.z / tiles;
    const uint d = tile / across * CHUNK, e = tile % across * CHUNK;
#ifdef LINEAR_TREE
    const linear_chunk first = linear_chunk_at(slot, packed, n, tree_skip());
#else
    const linear_chunk first = linear_chunk_at(slot, packed, n);
#endif
#ifdef LINEAR_READERS
    const bool piece = GOES_ON != 0 && level >= depth;
    const uint unit = piece ? 0 : min(level, PART_LOG);
    const bool reads = piece ? tree_has_piece(first, level - depth) : tree_bit(first.index, level);
    const uint ahead = tree_shift(first.index, 0) & (1u << unit) - 1u; // chunks of the unit before this
    const bool begins = ahead == 0 || GOES_ON != 0 && first.index == 0;
#else
    const uint unit = unit_log, ahead = first.index & (1u << unit) - 1u;
    const bool reads = true, begins = ahead == 0;
#endif
    if (first.count == 0 || !reads || !begins)
        return;
    const uint several = min((1u << unit) - ahead, first.chunks - first.index);
    LINEAR_CLEAR(sums)
    for (uint u = 0; u < several; u++) {
        vec2 gap = vec2(0.0);
#ifdef LINEAR_TREE
        const linear_chunk chunk = linear_chunk_at(slot + u, packed, n, tree_skip());
        tree_load(chunk, slot + u, lane);
#else
        const linear_chunk chunk = linear_chunk_at(slot + u, packed, n);
#endif
#ifdef LINEAR_READERS
        if (!piece)
            gap = tree_gap(chunk, slot + u, lane, level);
#endif
        if (t < CHUNK)
            row_factor[t] = factor_at(chunk, slot + u, lane, level, gap, t);
        barrier();
        add_chunk(chunk, lane, d, e);
    }
    uint place = unit == 0 ? slot : (first.first >> unit) + first.sequence + (first.index >> unit);
#ifdef LINEAR_TREE
    place = tree_leaf(first);
#endif
#ifdef LINEAR_READERS
    const bool in_parts = level > PART_LOG && !piece;
    if (piece)
        place = tree_piece(first, lane_states, level - depth);
    else if (in_parts)
        place = linear_tree_part(first.sequence, first.first, first.index);
    else
        place = tree_before(first, level);
    const uint parts = ((lane * part_levels + level - PART_LOG - 1) * lane_parts + place) * height;
#endif
    [[unroll]] for (uint r = 0; r < 8; r++) {
        const uint row = d + LINEAR_ROW(t, r), column = e + LINEAR_COLUMN(t, r);
        const int left = row < height ? int(width) - int(column) : 0;
#ifdef LINEAR_READERS
        if (in_parts) {
            part_store((parts + row) * width + column, left, sums[r]);
            continue;
        }
#endif
        state_store(((lane * lane_states + place) * height + row) * width + column, left, sums[r]);
    }
}
#endif
