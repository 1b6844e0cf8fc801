// Lines, all elements along one dimension, and the lanes that work on them. Laid out as
// rapt_vkop_lines is. LINES_BEGIN(lines, operands) declares
//     line, member   which of the workgroup's teams this lane is in, and which of its lanes it is
//     number, there  the line's number, and whether there is such a line
//     at             of each operand, where the line begins
#ifndef RAPT_CORE_LINES_GLSL
#define RAPT_CORE_LINES_GLSL

#include "core/space.glsl"
#include "core/team.glsl"

struct Lines {
    Space outer;
    uint line_length;
    uint along[MOST]; // elements between neighbours of a line
    uint base[MOST];
    Team team;
};

#define LINES_BEGIN(lines, operands)                                                               \
    const uint line = TEAM_LINE(lines.team), member = TEAM_MEMBER(lines.team);                     \
    const uint number = gl_WorkGroupID.x * TEAMS(lines.team) + line;                               \
    const bool there = number < lines.outer.count;                                                 \
    uint at[MOST] = uint[MOST](lines.base[0], lines.base[1], lines.base[2], lines.base[3],         \
                               lines.base[4]);                                                     \
    if (there)                                                                                     \
        LOCATE(lines.outer, number, operands, at)

// What a lane has of its line: i = member, member + team, ...
#define EACH_OF_LINE(lines, i)                                                                     \
    for (uint i = member; there && i < lines.line_length; i += TEAM_SIZE(lines.team))

#define LEAST -3.4e38 // below every number, in sums' place of -inf

#endif
