#version 450
// matrix[unit][row][key] = factor left_row . right_key: gradients of weights, or scores, which the
// options shape: cap(. + bias) - alibi |distance|. Groups: tiles of keys, tiles of rows, units.
#extension GL_GOOGLE_include_directive : require
#ifdef PRODUCT_COOP
#include "kit/element_f16.glsl"
#else
#include "kit/element.glsl"
#endif
#include "mta/stripe.glsl"

layout(push_constant) uniform Push {
    STRIPE_FIELDS
    int first; // query of row 0
    uint rows, width;
    uint left_base, left_batch, left_head, left_row;
    uint right_base, right_batch, right_head, right_row;
    uint readers; // heads that read a key/value head
    float factor;
    uint bias_base, bias_batch, bias_head, bias_row, bias_key;
    uint alibi_base;
    int offset; // M - N
    float softcap;
};

layout(std430, binding = 0) readonly buffer Left { STORED left[]; };
layout(std430, binding = 1) readonly buffer Right { STORED right[]; };
layout(std430, binding = 2) writeonly buffer Matrix { float matrix[]; };
layout(std430, binding = 3) readonly buffer Bias { STORED bias[]; };
layout(std430, binding = 3) readonly buffer BiasF32 { float bias_f32[]; };
layout(std430, binding = 4) readonly buffer Alibi { float alibi[]; };

STRIPE_SEEN(5)

const bool HAS_BIAS = (OPTIONS & 4) != 0;
const bool BIAS_IS_F32 = (OPTIONS & 8) != 0;
const bool HAS_SOFTCAP = (OPTIONS & 16) != 0;
const bool HAS_ALIBI = (OPTIONS & 32) != 0;

uint unit, left_at, right_at, row0, key0, end;

float product_left(uint row, uint k)
{
    const uint at = left_at + min(row, rows - 1u - row0) * left_row + min(k, width - 1u);
    const float x = LOAD(left[at]);
    return mix(0.0, x, row0 + row < rows && k < width);
}

float product_right(uint column, uint k)
{
    const uint at = right_at + min(column, keys - 1u - key0) * right_row + min(k, width - 1u);
    const float x = LOAD(right[at]);
    return mix(0.0, x, key0 + column < keys && k < width);
}

// tanh to a few ulp near 0 too, and without overflow.
float tanh_of(float x)
{
    const float y = min(abs(x), 15.0), y2 = y * y;
    if (y < 0.25)
        return x * (1.0 + y2 * (-1.0 / 3.0 + y2 * (2.0 / 15.0 + y2 * (-17.0 / 315.0 + y2 * (62.0 / 2835.0)))));
    const float t = 1.0 - 2.0 / (exp(2.0 * y) + 1.0);
    return x < 0.0 ? -t : t;
}

float shaped(int query, uint key, float s)
{
    const uint head = unit_head(unit);
    if (HAS_BIAS) {
        const uint at = bias_base + unit_batch(unit) * bias_batch + head * bias_head +
                        uint(query) * bias_row + key * bias_key;
        if (BIAS_IS_F32)
            s += bias_f32[at];
        else
            s += LOAD(bias[at]);
    }
    if (HAS_SOFTCAP)
        s = softcap * tanh_of(s / softcap);
    if (HAS_ALIBI) {
        int position = query + offset;
        if (SIGHT)
            position = sight(query).z;
        s -= alibi[alibi_base + head] * abs(float(position - int(key)));
    }
    return s;
}

void product_out(uint row, uint column, float x)
{
    if (row0 + row < rows && key0 + column < end)
        matrix[(unit * height + row0 + row) * ld + key0 + column] =
            shaped(first + int(row0 + row), key0 + column, factor * x);
}

#define PRODUCT_LEFT_ALONG_K  1
#define PRODUCT_RIGHT_ALONG_K 1
#include "kit/product.glsl"

void main()
{
    unit = gl_WorkGroupID.z;
    const uint batch = unit_batch(unit), head = unit_head(unit);
    row0 = gl_WorkGroupID.y * PRODUCT_TILE;
    key0 = gl_WorkGroupID.x * PRODUCT_TILE;
    end = seen(first + int(min(rows, row0 + PRODUCT_TILE)) - 1);
    if (key0 >= end || key0 + PRODUCT_TILE <= low(first + int(row0)))
        return;
    left_at = left_base + batch * left_batch + head * left_head + (uint(first) + row0) * left_row;
    right_at = right_base + batch * right_batch + head / readers * right_head + key0 * right_row;
    PRODUCT_SUMS(sums);
    PRODUCT_CLEAR(sums)
    PRODUCT_RUN(sums, 0u, width)
    PRODUCT_STORE(sums)
}
