// Shared memory of every kind that its size is counted of.
#version 450
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 3;
layout(constant_id = 2) const int MODE = 1;
layout(constant_id = 3) const bool WIDE = false;
layout(std430, binding = 0) buffer Y { uint y[]; };

struct place {
    vec3 at;    // 12 of 16
    float left; // 4
    bool there; // 4, and 12 to the next
};

const uint STEP = WIDE ? 2 * ROWS + 1 : ROWS;

shared float one;                       // 4
shared vec4 rows[ROWS];                 // from 16
shared uint each[gl_WorkGroupSize.x];
shared place places[2];                 // of 32
shared vec2 table[MODE == 0 ? 5 : 1][STEP << 1];

void main()
{
    const uint i = gl_LocalInvocationIndex;
    one = 1.0;
    rows[i % ROWS] = vec4(i);
    each[i] = i;
    places[i & 1u].left = 2.0;
    places[i & 1u].there = true;
    table[0][0] = vec2(3.0);
    barrier();
    y[i] = each[i] + uint(one + rows[0].x + places[0].left + table[0][0].x) + uint(places[1].there);
}
