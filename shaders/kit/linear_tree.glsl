// A chunk's decays and level weights, of the hierarchical form: what the shader that includes this has
// bound and pushed are `l`, `flags`, `levels`, `slots`, `packed`, `n` and `origin`.
#include "kit/linear_nodes.glsl"

layout(std430, set = 0, binding = 6) readonly buffer decay_block
{
    vec2 decay_of[]; // [lane][slot][64]: the log decay up to and with a position, in two floats
};
layout(std430, set = 0, binding = 7) readonly buffer span_block
{
    vec4 span_of[]; // [lane][slot]: the log decay before the chunk, and that up to its end
};
layout(std430, set = 0, binding = 8) readonly buffer l_block
{
    STORED l_one[];
};
layout(std430, set = 0, binding = 8) readonly buffer l_wide_block
{
    float l_wide[];
};

const uint NEAR_LEVELS = 7; // of pairs inside a chunk
const uint HAS_FINAL = 128; // the final state has a gradient

shared vec2 tree_sum[CHUNK];
shared float tree_level[NEAR_LEVELS * CHUNK];

// l[position, level]; weights that the tensor lacks are 0.
float tree_level_at(linear_chunk chunk, uint head, uint i, uint level)
{
    if (level >= levels || !linear_has(chunk, i))
        return 0.0;
    const uint at = linear_row(l, chunk.batch, head, chunk.row + i) + level;
    return (flags & WIDE_L) != 0 ? l_wide[at] : LOAD(l_one[at]);
}

void tree_load(linear_chunk chunk, uint slot, uint head)
{
    barrier(); // what is there may still be read
    const uint t = gl_LocalInvocationID.x;
    if (t < CHUNK)
        tree_sum[t] = decay_of[(head * slots + slot) * CHUNK + t];
    for (uint i = t; i < NEAR_LEVELS * CHUNK; i += gl_WorkGroupSize.x)
        tree_level[i] = tree_level_at(chunk, head, i % CHUNK, i / CHUNK);
    barrier();
}

float tree_decay(uint later, uint earlier)
{
    return exp(linear_gap(tree_sum[later], tree_sum[earlier]));
}

uint tree_bits(uint differ)
{
    return uint(findMSB(differ) + 1);
}

float tree_weight(uint later, uint earlier)
{
    return tree_decay(later, earlier) * tree_level[tree_bits(later ^ earlier) * CHUNK + later];
}

// The decay from a position to the chunk's end.
float tree_left(uint i)
{
    return exp(linear_gap(tree_sum[CHUNK - 1], tree_sum[i]));
}

// The place of the state of the block of bit `bit` before a chunk; of its own.
uint tree_before(linear_chunk chunk, uint bit)
{
    const uint base = linear_tree_base(bit, slots, tree_sequences(slots, packed, n));
    return linear_tree_place(base, chunk.sequence, chunk.first, bit, tree_node(chunk.index, bit) - 1);
}

uint tree_leaf(linear_chunk chunk)
{
    return linear_tree_place(0, chunk.sequence, chunk.first, 0, chunk.index);
}

// Whether the first rows of a sequence see a piece.
bool tree_has_piece(linear_chunk chunk, uint bit)
{
    return GOES_ON != 0 && chunk.index == 0 && (tree_skip() >> bit & 1u) != 0;
}

uint tree_piece(linear_chunk chunk, uint lane_states, uint bit)
{
    return linear_tree_piece(lane_states, tree_sequences(slots, packed, n), chunk.sequence, bit);
}

// The weight of a piece for row i.
float tree_piece_weight(uint bit, uint i)
{
    return exp(tree_sum[i].x) * tree_level[tree_bits(i ^ tree_piece_row(bit)) * CHUNK + i];
}

// Whether rows of a sequence's last chunk are the block of 2^bit positions of a final state that has a
// gradient; and its weight there.
bool tree_has_tail(linear_chunk chunk, uint bit)
{
    return GOES_ON != 0 && (flags & HAS_FINAL) != 0 && chunk.index + 1 == chunk.chunks &&
           (chunk.count >> bit & 1u) != 0;
}

uint tree_tail(linear_chunk chunk, uint lane_states, uint bit)
{
    return linear_tree_tail(lane_states, tree_sequences(slots, packed, n), chunk.sequence, bit);
}

float tree_tail_weight(linear_chunk chunk, uint bit, uint i)
{
    return i >> bit == tree_block_row(chunk.count, bit) >> bit ? tree_left(i) : 0.0;
}

// The log decay from the end of the block of bit `bit` before the chunk to its start.
vec2 tree_gap(linear_chunk chunk, uint slot, uint lane, uint bit)
{
    const uint end = chunk.first + tree_start(tree_node(chunk.index, bit), bit); // the slot behind the block
    const vec4 here = span_of[lane * slots + slot], there = span_of[lane * slots + end];
    return linear_two_sum(here.xy, -there.xy);
}

// The decay from that block's end to a position.
float tree_far_decay(vec2 gap, uint i)
{
    return exp(linear_gap(tree_sum[i], -gap));
}

float tree_far(linear_chunk chunk, uint slot, uint lane, uint bit, uint i)
{
    return tree_far_decay(tree_gap(chunk, slot, lane, bit), i) *
           tree_level_at(chunk, lane, i, CHUNK_LOG + 1 + bit);
}
