// A matrix of a stripe, as it is, as the weights of its softmax, or mixed among heads. The push
// constants have `first` (query of row 0) and `rows` of it.

layout(constant_id = 1) const uint WEIGHTS = 0; // 1: logits are read as softmax weights
layout(constant_id = 2) const uint MIX = 0;     // 1: sum_m W[m][d] x_m, 2: sum_d W[m][d] x_d

layout(std430, binding = 0) readonly buffer Matrix { float matrix[]; };
layout(std430, binding = 1) readonly buffer Most { float most[]; };
layout(std430, binding = 2) readonly buffer Share { float share[]; };
layout(std430, binding = 3) readonly buffer Mixture { float mixture[]; }; // [H / mixed][m][d]

float stored(uint unit, uint row, uint key)
{
    const uint at = unit * height + row;
    const float x = matrix[at * ld + key];
    return WEIGHTS != 0 ? exp(x - most[at]) * share[at] : x;
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
    for (uint m = 0; m < mixed; m++)
        sum = fma(mixture_at(unit, m), stored(group + m, row, key), sum);
    return sum;
}

// 0 where there is no such pair or the mask hides it.
float value(uint unit, int query, int key)
{
    const uint row = uint(query - first);
    return row < rows && uint(key) < seen(query) ? visible_value(unit, row, uint(key)) : 0.0;
}
