// The table of packed sequences, from their borders. Borders that do not rise from 0 to n cannot be refused
// here: they make a table of one bad sequence, and the results are NaN.
//
// Workgroups: 128 entries each.
#include "kit/linear.glsl"

layout(local_size_x = 128) in;

layout(push_constant) uniform push_block
{
    uint n, packed, slots;
    uint base, words; // the first border; 32-bit words of a border
};

layout(std430, set = 0, binding = 0) readonly buffer borders_block
{
    uint borders[];
};
layout(std430, set = 0, binding = 1) writeonly buffer table_block
{
    uvec4 table[];
};

shared uint wrong;

// One that does not fit, or is negative, is beyond n.
uint border(uint i)
{
    const uint at = base + i * words;
    const uint low = borders[at];
    return words > 1 && borders[at + 1] != 0 ? 0xffffffffu : low;
}

bool check(uint i)
{
    const uint own = border(i);
    if (own > n || i == 0 && own != 0 || i == packed && own != n)
        return false;
    return i == 0 || border(i - 1) <= own;
}

uvec4 sequence_at(uint s)
{
    const uint row = border(s), positions = border(s + 1) - row;
    return uvec4(row / CHUNK + s, (positions + CHUNK - 1) / CHUNK, row, positions);
}

uvec4 slot_at(uint slot)
{
    uint low = 0, high = packed; // the last sequence that begins at or before the slot
    while (high - low > 1) {
        const uint middle = (low + high) / 2;
        if (border(middle) / CHUNK + middle <= slot)
            low = middle;
        else
            high = middle;
    }
    const uvec4 sequence = sequence_at(low);
    const uint index = slot - sequence.x;
    if (index >= sequence.y)
        return uvec4(0);
    return uvec4(low, index, sequence.z + index * CHUNK, min(sequence.w - index * CHUNK, CHUNK));
}

uvec4 bad_entry(uint i)
{
    const uint chunks = (n + CHUNK - 1) / CHUNK;
    if (i < packed)
        return i == 0 ? uvec4(0, chunks, 0, n | LINEAR_BAD) : uvec4(0, 0, 0, LINEAR_BAD);
    const uint slot = i - packed;
    if (slot >= chunks)
        return uvec4(0);
    return uvec4(0, slot, slot * CHUNK | LINEAR_BAD, min(n - slot * CHUNK, CHUNK));
}

void main()
{
    const uint t = gl_LocalInvocationID.x, i = gl_GlobalInvocationID.x;
    if (t == 0)
        wrong = 0;
    barrier();
    for (uint b = t; b <= packed; b += 128)
        if (!check(b))
            wrong = 1; // all that write write the same
    barrier();
    if (i >= packed + slots)
        return;
    if (wrong != 0)
        table[i] = bad_entry(i);
    else
        table[i] = i < packed ? sequence_at(i) : slot_at(i - packed);
}
