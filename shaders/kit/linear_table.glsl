// The table of packed sequences, from their borders. The first of these counts as 0 and the last as n; each
// of those between is held in what the search for it has left, so that the sequences are all positions, in
// order, whatever the borders are: those that rise from 0 to n stay what they are.
//
// Workgroups: 128 entries each.
#include "kit/borders.glsl"
#include "kit/linear.glsl"

layout(local_size_x = 128) in;

layout(push_constant) uniform push_block
{
    uint n, packed, slots;
    uint base, words; // the first border; 32-bit words of a border
    uint skip, gap;   // rows before the first position, in a sequence's first chunk; slots between sequences
};

layout(std430, set = 0, binding = 0) readonly buffer borders_block
{
    uint borders[];
};
layout(std430, set = 0, binding = 1) writeonly buffer table_block
{
    uvec4 table[];
};

uint border(uint i)
{
    const uint at = base + i * words;
    return border_held(borders[at], words > 1 ? int(borders[at + 1]) : int(borders[at]) >> 31, n);
}

uint first_slot(uint s, uint row)
{
    return row / CHUNK + s * gap;
}

// Sequence `at`, or the last that begins at or before slot `at`: which, its first row, the row behind its last.
uvec3 search(uint at, bool slot)
{
    uint low = 0, high = packed, row = 0, end = n;
    while (high - low > 1) {
        const uint middle = (low + high) / 2, held = clamp(border(middle), row, end);
        if ((slot ? first_slot(middle, held) : middle) <= at) {
            low = middle;
            row = held;
        } else {
            high = middle;
            end = held;
        }
    }
    return uvec3(low, row, end);
}

uint chunks_of(uvec3 sequence)
{
    return sequence.y == sequence.z ? 0 : (skip + sequence.z - sequence.y + CHUNK - 1) / CHUNK;
}

uvec4 sequence_at(uint s)
{
    const uvec3 own = search(s, false);
    return uvec4(first_slot(s, own.y), chunks_of(own), own.y, own.z - own.y);
}

uvec4 slot_at(uint slot)
{
    const uvec3 own = search(slot, true);
    const uint index = slot - first_slot(own.x, own.y), row = own.y + index * CHUNK - skip;
    if (index >= chunks_of(own))
        return uvec4(0);
    return uvec4(own.x, index, row, min(own.z - row, CHUNK));
}

void main()
{
    const uint i = gl_GlobalInvocationID.x;
    if (i < packed + slots)
        table[i] = i < packed ? sequence_at(i) : slot_at(i - packed);
}
