// Index spaces: the row-major order of a shape, and where each operand's element of an index lies.
// Laid out as rapt_vkop_space is.
#ifndef RAPT_CORE_SPACE_GLSL
#define RAPT_CORE_SPACE_GLSL

#define MOST 5

struct Space {
    uint ndim; // at least 1
    uint count;
    uint size[8], magic[8], shift[8];
    uint stride[MOST][8];
};

// n / d for any n, where d is at least 2 and the host has made magic and shift of it (Granlund and
// Montgomery, "Division by invariant integers using multiplication", 1994).
uint divide(uint n, uint magic, uint shift)
{
    uint high, low;
    umulExtended(n, magic, high, low);
    return high + (n - high >> 1) >> shift;
}

// Adds to the first `operands` of `offset`, an array, where index `index` of `space` lies.
#define LOCATE(space, index, operands, offset)                                                     \
    {                                                                                              \
        uint rest = index;                                                                         \
        for (uint d = space.ndim - 1u; d > 0u; d--) {                                              \
            const uint whole = divide(rest, space.magic[d], space.shift[d]);                       \
            const uint along = rest - whole * space.size[d];                                          \
            for (int k = 0; k < operands; k++)                                                     \
                offset[k] += along * space.stride[k][d];                                              \
            rest = whole;                                                                          \
        }                                                                                          \
        for (int k = 0; k < operands; k++)                                                         \
            offset[k] += rest * space.stride[k][0];                                                \
    }

#endif
