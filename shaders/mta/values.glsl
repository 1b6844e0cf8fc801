// A matrix of a stripe, as it is, as the weights of its softmax, or mixed among heads. The push
// constants have `first` (query of row 0) and `rows` of it.

layout(constant_id = 1) const uint WEIGHTS = 0; // 1: logits are read as softmax weights
layout(constant_id = 2) const uint MIX = 0;     // 1: sum_m W[m][d] x_m, 2: sum_d W[m][d] x_d

layout(constant_id = 7) const uint MIXED = 1;   // `mixed`, of the head kernel

layout(std430, binding = 0) readonly buffer Matrix { float matrix[]; };
layout(std430, binding = 1) readonly buffer Stats { vec4 stats[]; }; // stats.comp
layout(std430, binding = 2) readonly buffer Mixture { float mixture[]; }; // [H / mixed][m][d]

float stored(uint unit, uint row, uint key)
{
    const uint at = unit * height + row;
    const float x = matrix[at * ld + key];
    return WEIGHTS != 0 ? exp(x - stats[at].x) * stats[at].y : x;
}

// The share of head `member` of the group of `unit` in what is asked for.
float mixture_at(uint unit, uint member)
{
    const uint own = unit % mixed, group = unit_head(unit) / mixed;
    return MIX == 1 ? mixture[(group * mixed + member) * mixed + own]
                    : mixture[(group * mixed + own) * mixed + member];
}

// Of a pair that is visible.
float visible_value(uint unit, uint row, uint key)
{
    if (MIX == 0)
        return stored(unit, row, key);
    const uint group = unit - unit % mixed;
    float sum = 0.0;
    [[unroll]] for (uint m = 0; m < 4; m++)
        if (m < MIXED)
            sum = fma(mixture_at(unit, m), stored(group + m, row, key), sum);
    for (uint m = 4; m < MIXED; m++)
        sum = fma(mixture_at(unit, m), stored(group + m, row, key), sum);
    return sum;
}

// 0 where there is no such pair or the mask hides it. What is read is always some of the matrix,
// without a branch, so that loads need not wait for each other.
float value(uint unit, int query, int key)
{
    const int row = query - first;
    const uint from = uint(clamp(row, 0, int(max(rows, 1u)) - 1));
    const float x = visible_value(unit, from, uint(clamp(key, 0, int(ld) - 1)));
    const uint end = seen(query);
    return mix(0.0, x, uint(row) < rows && uint(key) < end && uint(key) >= low(query));
}
