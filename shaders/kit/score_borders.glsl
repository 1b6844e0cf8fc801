// Packed sequences: the keys that each query sees, and where it stands, once for all passes. Borders
// that do not rise from 0 to the number of positions cannot be refused here; they are held within
// the tensors.
layout(std430, set = 0, binding = 11) readonly buffer BordersQ { int borders_q[]; };
layout(std430, set = 0, binding = 12) readonly buffer BordersK { int borders_k[]; };

#include "kit/borders.glsl"

// Borders of either width.
int score_border_q(uint i)
{
    const bool wide = (call.wants & WIDE_Q) != 0;
    const uint at = (call.out_a + i * call.q.row) * (wide ? 2 : 1);
    return int(border_held(uint(borders_q[at]), wide ? borders_q[at + 1] : borders_q[at] >> 31, call.N));
}

int score_border_k(uint i)
{
    const bool wide = (call.wants & WIDE_K) != 0;
    const uint at = (call.out_b + i * call.k.row) * (wide ? 2 : 1);
    return int(border_held(uint(borders_k[at]), wide ? borders_k[at + 1] : borders_k[at] >> 31, call.M));
}

void main()
{
    const uint n = gl_GlobalInvocationID.x;
    if (n >= call.N)
        return;
    uint below = 0, above = call.borders - 1; // border `below` <= n < border `above`
    while (above - below > 1) {
        const uint middle = (below + above) / 2;
        if (score_border_q(middle) <= int(n))
            below = middle;
        else
            above = middle;
    }
    const int first = score_border_k(below), end = max(first, score_border_k(above));
    const int at = int(n) + end - score_border_q(above);
    const uint to = call.rows + 3 * n;
    work_ints[to] = call.left < 0 ? first : clamp(at - call.left, first, end);
    work_ints[to + 1] = call.right < 0 ? end : clamp(at + call.right + 1, first, end);
    work_ints[to + 2] = at;
}
