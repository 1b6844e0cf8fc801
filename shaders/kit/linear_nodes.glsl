// Where the nodes of the trees over chunks lie: those of level b behind those of the levels below,
// ((slots >> b) + 1) of each level, and the node of chunks j 2^b and up of a sequence whose first slot is f
// at (f >> b) + j: no two complete nodes share a place. What the readers of a node say of it comes in parts
// of 2^PART_LOG chunks.
//
// GOES_ON: sequences go on from a position. Chunks are then counted from position 0 of all: a sequence begins
// with chunk `origin`, and its first chunk's tiles skip the rows before its first position. Nodes are counted
// from the one that reaches into the sequence; number -1, before it, is a part of the state that the sequence
// began with, where the origin has the level's bit. What that state says of blocks smaller than a chunk are
// `pieces`, each standing for a row that is skipped; what is said of such blocks of the final state are
// `tails`, in the buffer of gradients. A sequence has six of each, at the end of a head's states.
//
// The shader that includes this has pushed `origin` and, in `flags`, the rows to skip and the origin's bits
// from 32 on; LINEAR_GOES_ON is the number of the constant.
#ifndef RAPT_KIT_LINEAR_NODES_GLSL
#define RAPT_KIT_LINEAR_NODES_GLSL

layout(constant_id = LINEAR_GOES_ON) const uint GOES_ON = 0;

const uint PART_LOG = 3;
const uint MOST_BITS = 40; // of a chunk's number

uint tree_skip()
{
    return GOES_ON != 0 ? flags >> 8 & 63u : 0;
}

// Bits b and up, 32 of them, of the number of a sequence's chunk `index`.
uint tree_shift(uint index, uint b)
{
    if (GOES_ON == 0)
        return index >> b;
    const uint low = origin + index, high = (flags >> 16) + uint(low < index);
    return b == 0 ? low : b < 32 ? low >> b | high << 32 - b : high >> b - 32;
}

// Whether it has bits from b on.
bool tree_reaches(uint index, uint b)
{
    return tree_shift(index, b) != 0 || GOES_ON != 0 && b < 32 && tree_shift(index, 32) != 0;
}

bool tree_bit(uint index, uint b)
{
    return b < (GOES_ON != 0 ? MOST_BITS : 32) && (tree_shift(index, b) & 1u) != 0;
}

// The node of level b that chunk `index` lies in.
uint tree_node(uint index, uint b)
{
    return tree_shift(index, b) - (GOES_ON != 0 ? tree_shift(0, b) : 0);
}

// 1 where the sequence's first node of level b is the right one of two; 0: the left.
uint tree_odd(uint b)
{
    return GOES_ON != 0 ? tree_shift(0, b) & 1u : 0;
}

// The first chunk of node j of level b that is the sequence's; of nodes before it 0. It is one of its chunks,
// or the one behind them.
uint tree_start(uint j, uint b)
{
    if (GOES_ON == 0)
        return j << b;
    if (int(j) <= 0)
        return 0;
    return b < 32 ? (j << b) - (origin & (1u << b) - 1u) : 0u - origin;
}

// Behind the last chunk of node j that is the sequence's.
uint tree_end(uint j, uint b, uint chunks)
{
    return tree_node(chunks - 1, b) + 1 > j + 1 ? tree_start(j + 1, b) : chunks;
}

// How many sequences there are.
uint tree_sequences(uint slots, uint packed, uint n)
{
    return packed != 0 ? packed : n == 0 ? 0 : slots / ((tree_skip() + n + CHUNK - 1) / CHUNK);
}

// Nodes of level b, which a shift must not reach 32 bits for, that so many slots have.
uint tree_width(uint slots, uint b)
{
    return slots >> (GOES_ON != 0 ? min(b, 31u) : b);
}

// `sequences` counts where sequences go on.
uint linear_tree_base(uint bit, uint slots, uint sequences)
{
    uint base = 0;
    for (uint b = 0; b < bit; b++)
        base += tree_width(slots, b) + (GOES_ON != 0 ? 2 * sequences : 1);
    return base;
}

// Node j of level b of sequence s; the level begins at `base`.
uint linear_tree_place(uint base, uint s, uint first, uint b, uint j)
{
    return base + tree_width(first, b) + j + (GOES_ON != 0 ? 2 * s + 1 : 0);
}

// The part of what is said of a node in which chunk `index` says it.
uint linear_tree_part(uint s, uint first, uint index)
{
    return (first >> PART_LOG) + (GOES_ON != 0 ? 2 : 1) * s + tree_node(index, PART_LOG);
}

uint linear_tree_piece(uint lane_states, uint sequences, uint s, uint bit)
{
    return lane_states - 12 * sequences + 6 * s + bit;
}

uint linear_tree_tail(uint lane_states, uint sequences, uint s, uint bit)
{
    return lane_states - 6 * sequences + 6 * s + bit;
}

// The row that stands for a piece; the first row of a block of 2^bit rows, the last one that `count` rows have.
uint tree_piece_row(uint bit)
{
    return (tree_skip() >> bit << bit) - 1;
}

uint tree_block_row(uint count, uint bit)
{
    return (count >> bit) - 1 << bit;
}

#endif
