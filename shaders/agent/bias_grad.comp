#version 450
// sum[head][row][column] += sum over the batches of this chunk of value(agent, position); a row is
// an agent or, with BY_POSITION, a position. Groups: positions, agents, heads.
#extension GL_GOOGLE_include_directive : require
#include "agent/chunk.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    CHUNK_FIELDS
    WEIGHT_FIELDS
    uint units;
};

CHUNK_UNITS
#include "agent/value.glsl"
layout(std430, binding = 5) buffer Sum { float sum[]; };
#define BORDERS_BINDING 6
#include "agent/packed.glsl"

void main()
{
    const uint position = gl_GlobalInvocationID.x, agent = gl_WorkGroupID.y, head = gl_WorkGroupID.z;
    if (position >= count)
        return;
    if (PACKED && BY_POSITION == 0)
        sequence = sequence_of(borders_at, sequences, first + position);
    float total = 0.0;
    for (uint unit = (head + heads - unit0 % heads) % heads; unit < units; unit += heads)
        total += value(unit, agent, position);
    const uint at = BY_POSITION != 0
                        ? (head * positions + first + position) * agents + agent
                        : (head * agents + agent) * positions + first + position;
    sum[at] += total;
}
