#version 450
// sum[batch * heads + head][key][e] += sum over rows of value(row, key) right_row[e]: gradients of
// keys and values, over the queries of this stripe. Groups: tiles of e, tiles of keys, units.
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
    int own;   // the first query that counts
    uint count, width;
    uint right_base, right_batch, right_head, right_row;
};

STRIPE_SEEN(5)
#include "mta/values.glsl"
layout(std430, binding = 3) readonly buffer Right { STORED right[]; };
layout(std430, binding = 4) buffer Sum { float sum[]; };

uint unit, right_at, key0, e0;

// As float16 operands weights are scaled, so that small ones keep their bits.
#ifdef PRODUCT_COOP
#define VALUE_SCALE 64.0
#else
#define VALUE_SCALE 1.0
#endif

float product_left(uint row, uint k)
{
    const float x = VALUE_SCALE * value(unit, own + int(k), int(key0 + row));
    return mix(0.0, x, k < count);
}

float product_right(uint column, uint k)
{
    const uint at = right_at + min(k, count - 1u) * right_row + min(column, width - 1u - e0);
    const float x = LOAD(right[at]);
    return mix(0.0, x, e0 + column < width && k < count);
}

void product_out(uint row, uint column, float x)
{
    if (key0 + row < keys && e0 + column < width)
        sum[((unit0 + unit) * keys + key0 + row) * width + e0 + column] += x / VALUE_SCALE;
}

#define PRODUCT_LEFT_ALONG_K  0
#define PRODUCT_RIGHT_ALONG_K 0
#include "kit/product.glsl"

void main()
{
    unit = gl_WorkGroupID.z;
    key0 = gl_WorkGroupID.y * PRODUCT_TILE;
    e0 = gl_WorkGroupID.x * PRODUCT_TILE;
    if (key0 >= seen(own + int(count) - 1) || key0 + PRODUCT_TILE <= low(own))
        return;
    right_at = right_base + unit_batch(unit) * right_batch + unit_head(unit) * right_head +
               uint(own) * right_row + e0;
    PRODUCT_SUMS(sums);
    PRODUCT_CLEAR(sums)
    PRODUCT_RUN(sums, 0u, count)
    PRODUCT_STORE(sums)
}
