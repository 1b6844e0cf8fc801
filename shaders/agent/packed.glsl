// Packed sequences. Their borders rise from 0 to the number of positions (borders.comp sees to it):
// sequences + 1 of q, then as many of k; `at` is 0 or sequences + 1. The including shader defines
// BORDERS_BINDING.
layout(std430, binding = BORDERS_BINDING) readonly buffer Borders { uint borders[]; };

// The sequence that a position lies in.
uint sequence_of(uint at, uint sequences, uint position)
{
    uint below = 0u, above = sequences; // border `below` <= position < border `above`
    while (above - below > 1u) {
        const uint middle = (below + above) / 2u;
        if (borders[at + middle] <= position)
            below = middle;
        else
            above = middle;
    }
    return below;
}

// The positions x <= i < y of a sequence among `count` of them from `first` on, counted from there.
uvec2 positions_of(uint at, uint sequence, uint first, uint count)
{
    return clamp(uvec2(borders[at + sequence], borders[at + sequence + 1u]), first, first + count) - first;
}

// Share `part` of `parts` of a range, a multiple of `step` but for the last.
uvec2 share_of(uvec2 range, uint part, uint parts, uint step)
{
    const uint each = ((range.y - range.x + parts - 1u) / parts + step - 1u) / step * step;
    const uint from = min(range.y, range.x + part * each);
    return uvec2(from, min(range.y, from + each));
}

// Positions first to first + count - 1 are cut every 64 and at each border. Tile `index` of what comes
// of it is of sequence x and has the positions y <= i < z, counted from `first`; none: y >= z. There are
// at most sequences + ceil(count / 64).
uvec3 tile_of(uint at, uint sequences, uint index, uint first, uint count)
{
    uint below = 0u, above = sequences; // the tiles of sequence `below` begin at or before `index`
    while (above - below > 1u) {
        const uint middle = (below + above) / 2u;
        const uint begin = positions_of(at, middle, first, count).x;
        // Before it: a tile for each sequence, and one for each multiple of 64 above 0 and below `begin`.
        if (middle + max((begin + 63u) / 64u, 1u) - 1u <= index)
            below = middle;
        else
            above = middle;
    }
    const uvec2 range = positions_of(at, below, first, count);
    const uint cut = max((range.x + 63u) / 64u, 1u); // the first multiple of 64 behind the sequence's begin
    const uint k = index - (below + cut - 1u);
    return uvec3(below, k == 0u ? range.x : 64u * (cut + k - 1u), min(64u * (cut + k), range.y));
}
