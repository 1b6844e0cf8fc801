#version 450
// sees[query] = the keys x <= key < y that it sees, the position z that it stands at, its sequence w:
// once for all passes of a call with a window or packed sequences. Borders that do not rise from 0 to
// the number of positions cannot be refused here; they are held within the tensors and made to rise, so
// that neither x nor y falls from one query to the next. Groups with `clean`: 2, of the borders of
// queries and of keys; then queries.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x = 128) in;

layout(push_constant) uniform Push {
    uint queries, keys;
    int left, right; // keys seen on either side; negative: all
    uint borders;    // 0: one sequence
    uint clean;      // 1: borders as they are used from the tensors'
    uint base_q, step_q, wide_q, base_k, step_k, wide_k; // wide: of 64 bits
};

layout(std430, binding = 0) readonly buffer BordersQ { int borders_q[]; };
layout(std430, binding = 1) readonly buffer BordersK { int borders_k[]; };
layout(std430, binding = 2) buffer Rising { int rising[]; }; // [2][borders]
layout(std430, binding = 3) writeonly buffer Sees { ivec4 sees[]; };

shared int tops[128];

// What lies at i, if it is not wide, otherwise at 2 i and behind it.
int word(bool of_keys, uint i)
{
    return of_keys ? borders_k[i] : borders_q[i];
}

// One beyond 32 bits is beyond every tensor.
int border(bool of_keys, uint i)
{
    const uint at = of_keys ? base_k + i * step_k : base_q + i * step_q;
    const uint most = of_keys ? keys : queries;
    if ((of_keys ? wide_k : wide_q) == 0)
        return clamp(word(of_keys, at), 0, int(most));
    const int high = word(of_keys, 2 * at + 1);
    return high != 0 ? (high < 0 ? 0 : int(most)) : int(min(uint(word(of_keys, 2 * at)), most));
}

void make_rise(bool of_keys)
{
    const uint lane = gl_LocalInvocationIndex, each = (borders + 127u) / 128u;
    const uint begin = lane * each, end = min(borders, begin + each);
    int top = 0;
    for (uint i = begin; i < end; i++)
        top = max(top, border(of_keys, i));
    tops[lane] = top;
    barrier();
    top = 0;
    for (uint l = 0; l < lane; l++)
        top = max(top, tops[l]);
    for (uint i = begin; i < end; i++) {
        top = max(top, border(of_keys, i));
        rising[(of_keys ? borders : 0u) + i] = top;
    }
}

void main()
{
    if (clean != 0) {
        make_rise(gl_WorkGroupID.x == 1u);
        return;
    }
    const uint query = gl_GlobalInvocationID.x;
    if (query >= queries)
        return;
    int first = 0, end = int(keys), at = int(query) + int(keys) - int(queries);
    uint below = 0;
    if (borders > 0) {
        uint above = borders - 1; // border `below` <= query < border `above`
        while (above - below > 1) {
            const uint middle = (below + above) / 2;
            if (rising[middle] <= int(query))
                below = middle;
            else
                above = middle;
        }
        first = rising[borders + below];
        end = rising[borders + above];
        at = int(query) + end - rising[above];
    }
    sees[query] = ivec4(left < 0 ? first : clamp(at - left, first, end),
                        right < 0 ? end : clamp(at + right + 1, first, end), at, int(below));
}
