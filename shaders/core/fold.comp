#version 460
#extension GL_GOOGLE_include_directive : require
// out[kept] = scale * the sum (or the largest, the smallest) over `reduced` of f(in0, in1, ...), or
// of a piece of it: core/ops/vulkan/fold.c. Workgroup (x, y): results x * teams and on, piece y.

layout(constant_id = 1) const int OPCODE = 0;
layout(constant_id = 2) const int INPUTS = 1;
layout(constant_id = 3) const uint KIND_OUT = 0;
layout(constant_id = 4) const uint KIND_0 = 0;
layout(constant_id = 5) const uint KIND_1 = 0;
layout(constant_id = 6) const uint KIND_2 = 0;
layout(constant_id = 7) const uint KIND_3 = 0;
layout(constant_id = 8) const int WHAT = 0; // 0: sum, 1: largest, 2: smallest

#define RAPT_PLAIN // nothing is summed that takes more than arithmetic
#include "core/operand.glsl"
#include "core/space.glsl"
#include "core/loops.glsl"
#include "core/team.glsl"

layout(local_size_x = 128) in;

OPERAND(0, readonly, in0)
OPERAND(1, readonly, in1)
OPERAND(2, readonly, in2)
OPERAND(3, readonly, in3)
OPERAND(4, writeonly, result)

layout(std430, binding = 5) readonly buffer Params {
    Space kept, reduced; // of the inputs; in `kept`, operand 4 is the result
    uint base[5];
    uint piece_length;
    uint piece_stride; // elements of the result between pieces
    Team team;
    uint ignored[2]; // the label that OP_counted leaves out
    uint ignores;
    uint a[2], b[2], scale[2]; // NUMBER
} p;

REAL value_at(uint at[5])
{
    if (OPCODE == OP_counted) {
        const uvec2 label = GET_INTEGER(in0, KIND_0, at[0]);
        return REAL(p.ignores != 0u && label.x == p.ignored[0] && label.y == p.ignored[1] ? 0 : 1);
    }
    const REAL x = GET(in0, KIND_0, at[0]);
    const REAL y = INPUTS > 1 ? GET(in1, KIND_1, at[1]) : REAL(0);
    const REAL z = INPUTS > 2 ? GET(in2, KIND_2, at[2]) : REAL(0);
    const REAL w = INPUTS > 3 ? GET(in3, KIND_3, at[3]) : REAL(0);
    return compute(x, y, z, w, NUMBER(p.a), NUMBER(p.b));
}

#ifndef RAPT_DOUBLE

// Order-preserving whole numbers, so that infinities and NaN (the extreme of all) compare exactly.
uint key_of(float x)
{
    const uint bits = floatBitsToUint(x);
    if (is_nan(x))
        return 0xffffffffu;
    const uint ordered = (bits & 0x80000000u) != 0u ? ~bits : bits | 0x80000000u;
    return WHAT == 2 ? ~ordered : ordered;
}

float value_of(uint key)
{
    if (key == 0xffffffffu)
        return nan_value();
    const uint ordered = WHAT == 2 ? ~key : key;
    return uintBitsToFloat((ordered & 0x80000000u) != 0u ? ordered ^ 0x80000000u : ~ordered);
}

TEAM_COMBINE(team_extreme, uint, max(a, b))

#endif

TEAM_COMBINE(team_sum, REAL, a + b)

void main()
{
    const uint member = TEAM_MEMBER(p.team), line = TEAM_LINE(p.team);
    const uint output_index = gl_WorkGroupID.x * TEAMS(p.team) + line;
    const uint first = gl_WorkGroupID.y * p.piece_length;
    const uint last = min(first + p.piece_length, p.reduced.count);
    const bool there = output_index < p.kept.count;
    uint start[5] = uint[5](p.base[0], p.base[1], p.base[2], p.base[3], p.base[4]);
    if (there)
        LOCATE(p.kept, output_index, 5, start)
    REAL total = REAL(0);
    uint extreme = 0u;
    if (there)
        for (uint r = first + member; r < last; r += TEAM_SIZE(p.team)) {
            uint at[5] = start;
            LOCATE(p.reduced, r, INPUTS, at)
            const REAL value = value_at(at);
#ifndef RAPT_DOUBLE
            if (WHAT != 0)
                extreme = max(extreme, key_of(value));
            else
#endif
                total += value;
        }
#ifndef RAPT_DOUBLE
    if (WHAT != 0)
        total = value_of(team_extreme(extreme, p.team.log_team, line, member));
    else
#endif
        total = NUMBER(p.scale) * team_sum(total, p.team.log_team, line, member);
    if (there && member == 0u) {
        const uint target = start[4] + gl_WorkGroupID.y * p.piece_stride;
        PUT(result, KIND_OUT, target, total);
    }
}
