#version 450
// to[unit0 + unit][own + row][key] = value(row, key), the matrix of `weights`. Groups: keys, rows,
// units.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "mta/stripe.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    STRIPE_FIELDS
    int first; // query of the matrix's row 0
    uint rows; // of the matrix
    int own;
    uint to_base, queries;
};

STRIPE_SEEN(4)
#include "mta/values.glsl"
layout(std430, binding = 3) writeonly buffer To { float to[]; };

void main()
{
    const uint key = gl_GlobalInvocationID.x, unit = gl_WorkGroupID.z;
    const int query = own + int(gl_WorkGroupID.y);
    if (key < keys)
        to[to_base + ((unit0 + unit) * queries + uint(query)) * keys + key] =
            value(unit, query, int(key));
}
