// Bin `index` of `count` over `length` positions covers first <= i < end. Both are below 2^31; their
// product may pass 32 bits, the quotient does not.

uint scaled(uint index, uint length, uint count, bool up)
{
    uint high, low;
    umulExtended(index, length, high, low);
    if (high == 0u && (!up || low + (count - 1u) >= low))
        return (up ? low + (count - 1u) : low) / count;
    // Long division of the 64-bit product, bit by bit.
    uint rest = 0u, quotient = 0u;
    for (int bit = 63; bit >= 0; bit--) {
        const uint next = bit >= 32 ? high >> (bit - 32) & 1u : low >> bit & 1u;
        rest = rest << 1 | next;
        quotient = quotient << 1;
        if (rest >= count) {
            rest -= count;
            quotient |= 1u;
        }
    }
    return quotient + uint(up && rest != 0u);
}

uint bin_first(uint index, uint length, uint count)
{
    return scaled(index, length, count, false);
}

uint bin_end(uint index, uint length, uint count)
{
    return scaled(index + 1u, length, count, true);
}
