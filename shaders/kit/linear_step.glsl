// One position: the state is read and written in place.
//
//     S = decay S + k^T v,  o = scale q S
//
// LINEAR_TREE: a state for each level; entry l + 1 holds the 2^l positions that bit l of the position
// stands for, and the new one joins them as a counter counts.
//
// Workgroups: (32 columns, head, batch); four invocations share a column.
#include "kit/linear.glsl"

layout(local_size_x = 128) in;

struct step_row {
    uint base, batch, head;
};

layout(push_constant) uniform push_block
{
    step_row q, k, v, to;
    uint state; // where it begins
    uint height, width, heads, share;
    float scale;
    uint flags;
#ifdef LINEAR_SLOPE
    uint slope;
#endif
#ifdef LINEAR_TREE
    step_row g, l;
    uint levels, position, position_high;
#endif
};

const uint HAS_SLOPE = 4;
const uint WIDE_L = 8;
const uint WIDE_G = 16;

layout(std430, set = 0, binding = 0) readonly buffer q_block
{
    STORED q_one[];
};
layout(std430, set = 0, binding = 1) readonly buffer k_block
{
    STORED k_one[];
};
layout(std430, set = 0, binding = 2) readonly buffer v_block
{
    STORED v_one[];
};
layout(std430, set = 0, binding = 3) writeonly buffer to_block
{
    STORED to_one[];
};
layout(std430, set = 0, binding = 4) buffer state_block
{
    float state_of[];
};
#ifdef LINEAR_SLOPE
layout(std430, set = 0, binding = 5) readonly buffer slope_block
{
    float slope_of[];
};
#endif
#ifdef LINEAR_TREE
layout(std430, set = 0, binding = 5) readonly buffer g_block
{
    STORED g_one[];
};
layout(std430, set = 0, binding = 5) readonly buffer g_wide_block
{
    float g_wide[];
};
layout(std430, set = 0, binding = 6) readonly buffer l_block
{
    STORED l_one[];
};
layout(std430, set = 0, binding = 6) readonly buffer l_wide_block
{
    float l_wide[];
};
#endif

shared float column_sum[4][32];

uint at(step_row row, uint head)
{
    return row.base + gl_WorkGroupID.z * row.batch + head * row.head;
}

float decay_of(uint head)
{
    float step = 0.0;
#ifdef LINEAR_SLOPE
    if ((flags & HAS_SLOPE) != 0)
        step = -slope_of[slope + head];
#endif
#ifdef LINEAR_TREE
    step = (flags & WIDE_G) != 0 ? g_wide[at(g, head)] : LOAD(g_one[at(g, head)]);
#endif
    return exp(max(step, NOTHING));
}

#ifdef LINEAR_TREE
float level_weight(uint head, uint level)
{
    const uint from = at(l, head) + level;
    return (flags & WIDE_L) != 0 ? l_wide[from] : LOAD(l_one[from]);
}

bool counted(uint bit)
{
    return ((bit < 32 ? position >> bit : position_high >> bit - 32) & 1u) != 0;
}

// The states' part in one number of what the query sees, own = k v; and the counter's step.
float see(uint head, uint cell, uint carry, float decay, float own)
{
    const uint size = height * width;
    float seen = level_weight(head, 0) * own, joined = own;
    for (uint bit = 0; bit + 1 < levels && bit < 64; bit++) {
        if (!counted(bit))
            continue;
        const uint from = cell + (bit + 1) * size;
        const float old = decay * state_of[from];
        seen += level_weight(head, bit + 1) * old;
        if (bit < carry)
            joined += old;
        state_of[from] = bit < carry ? 0.0 : old;
    }
    if (carry + 1 < levels)
        state_of[cell + (carry + 1) * size] = joined;
    return seen;
}
#endif

void main()
{
    const uint t = gl_LocalInvocationID.x, head = gl_WorkGroupID.y, batch = gl_WorkGroupID.z;
    const uint column = gl_WorkGroupID.x * 32 + (t & 31u), group = head / share;
    const float decay = decay_of(head);
    float sum = 0.0;
    if (column < width) {
        const float value = LOAD(v_one[at(v, head) + column]);
#ifdef LINEAR_TREE
        uint carry = 0;
        while (carry < 63 && counted(carry))
            carry++;
#endif
        for (uint row = t >> 5; row < height; row += 4) {
            const float own = LOAD(k_one[at(k, group) + row]) * value;
            const float query = LOAD(q_one[at(q, group) + row]);
#ifdef LINEAR_TREE
            const uint cell = state + (batch * heads + head) * levels * height * width + row * width + column;
            sum += query * see(head, cell, carry, decay, own);
#else
            const uint cell = state + ((batch * heads + head) * height + row) * width + column;
            const float now = decay * state_of[cell] + own;
            state_of[cell] = now;
            sum += query * now;
#endif
        }
    }
    column_sum[t >> 5][t & 31u] = sum;
    barrier();
    if (t < 32 && column < width) {
        sum = column_sum[0][t] + column_sum[1][t] + (column_sum[2][t] + column_sum[3][t]);
        to_one[at(to, head) + column] = STORE(scale * sum);
    }
}
