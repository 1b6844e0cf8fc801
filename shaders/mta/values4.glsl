// What values.glsl says, for 4 keys next to each other from a multiple of 4 on. A row is a multiple
// of 16 floats, so they are always there.

layout(constant_id = 1) const uint WEIGHTS = 0; // 1: logits are read as softmax weights
layout(constant_id = 2) const uint MIX = 0;     // 1: sum_m W[m][d] x_m, 2: sum_d W[m][d] x_d

layout(std430, binding = 0) readonly buffer Matrix { vec4 matrix[]; };
layout(std430, binding = 1) readonly buffer Stats { vec4 stats[]; }; // stats.comp
layout(std430, binding = 2) readonly buffer Mixture { float mixture[]; }; // [H / mixed][m][d]

vec4 stored4(uint unit, uint row, uint key)
{
    const uint at = unit * height + row;
    const vec4 x = matrix[(at * ld + key) >> 2];
    return WEIGHTS != 0 ? exp(x - stats[at].x) * stats[at].y : x;
}

// The share of head `member` of the group of `unit` in what is asked for.
float mixture_at(uint unit, uint member, uint mix_of)
{
    const uint own = unit % mixed, group = unit_head(unit) / mixed;
    return mix_of == 1 ? mixture[(group * mixed + member) * mixed + own]
                       : mixture[(group * mixed + own) * mixed + member];
}

// Those of the keys from `key` on that the query sees, if `there`; 0 for the others: they are hidden,
// and may be anything.
vec4 seen_of(vec4 x, int query, int key, bool there)
{
    const int n = int(seen(query)) - key;
    const vec4 until = mix(vec4(0.0), x, lessThan(ivec4(0, 1, 2, 3), ivec4(mix(0, n, there))));
    if (!SIGHT)
        return until;
    return mix(until, vec4(0.0), lessThan(ivec4(0, 1, 2, 3), ivec4(int(low(query)) - key)));
}

// 0 where there is no such pair or the mask hides it. What is read is always some of the matrix,
// without a branch, so that loads need not wait for each other.
vec4 value4(uint unit, int query, int key)
{
    const int row = query - first;
    const uint from = uint(clamp(row, 0, int(max(rows, 1u)) - 1));
    const uint from_key = uint(clamp(key, 0, int(ld) - 4));
    vec4 sum = vec4(0.0);
    if (MIX == 0) {
        sum = stored4(unit, from, from_key);
    } else {
        const uint group = unit - unit % mixed;
        for (uint m = 0; m < mixed; m++)
            sum = fma(vec4(mixture_at(unit, m, MIX)), stored4(group + m, from, from_key), sum);
    }
    return seen_of(sum, query, key, uint(row) < rows && key >= 0);
}
