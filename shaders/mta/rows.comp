#version 450
// part[split][unit][row][e] = sum over the keys of the split of value(row, key) right_key[e]: outputs
// and gradients of queries. Groups: tiles of e times splits, tiles of rows, units.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#ifdef PRODUCT_COOP
#include "kit/element_f16.glsl"
#else
#include "kit/element.glsl"
#endif
#include "mta/stripe.glsl"

layout(push_constant) uniform Push {
    STRIPE_FIELDS
    int first; // query of the matrix's row 0
    uint rows; // of the matrix
    int own;   // the first query asked for
    uint count, width;
    uint right_base, right_batch, right_head, right_row;
    uint readers; // heads that read a key/value head
    uint units, splits, split_keys;
};

STRIPE_SEEN(5)
#include "mta/values.glsl"
layout(std430, binding = 3) readonly buffer Right { STORED right[]; };
layout(std430, binding = 4) writeonly buffer Part { float part[]; };

uint unit, split, right_at, row0, e0, end;

// As float16 operands weights are scaled, so that small ones keep their bits.
#ifdef PRODUCT_COOP
#define VALUE_SCALE 64.0
#else
#define VALUE_SCALE 1.0
#endif

float product_left(uint row, uint k)
{
    const float x = VALUE_SCALE * value(unit, own + int(row0 + row), int(k));
    return mix(0.0, x, row0 + row < count && k < end);
}

float product_right(uint column, uint k)
{
    const uint at = right_at + min(k, end - 1u) * right_row + min(column, width - 1u - e0);
    const float x = LOAD(right[at]);
    return mix(0.0, x, e0 + column < width && k < end);
}

void product_out(uint row, uint column, float x)
{
    if (row0 + row < count && e0 + column < width)
        part[((split * units + unit) * count + row0 + row) * width + e0 + column] = x / VALUE_SCALE;
}

#define PRODUCT_LEFT_ALONG_K  1
#define PRODUCT_RIGHT_ALONG_K 0
#include "kit/product.glsl"

void main()
{
    unit = gl_WorkGroupID.z;
    row0 = gl_WorkGroupID.y * PRODUCT_TILE;
    e0 = gl_WorkGroupID.x / splits * PRODUCT_TILE;
    split = gl_WorkGroupID.x % splits;
    // Splits begin with the keys that the stripe's first query sees.
    const uint from = (low(own) & ~63u) + split * split_keys;
    const uint begin = max(from, low(own + int(row0)) & ~63u);
    end = min(seen(own + int(min(count, row0 + PRODUCT_TILE)) - 1), from + split_keys);
    right_at = right_base + unit_batch(unit) * right_batch + unit_head(unit) / readers * right_head + e0;
    PRODUCT_SUMS(sums);
    PRODUCT_CLEAR(sums)
    PRODUCT_RUN(sums, begin, end)
    PRODUCT_STORE(sums)
}
