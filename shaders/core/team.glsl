// Lines that a workgroup's lanes share: 2^log_team lanes work on one line, or one result, each at
// every 2^log_team-th index of it. Needs LANES and a local size of LANES.
#ifndef RAPT_CORE_TEAM_GLSL
#define RAPT_CORE_TEAM_GLSL

struct Team {
    uint log_team;
    uint along; // 1: neighbouring lanes work on one line, 0: on neighbouring lines
};

#define TEAM_SIZE(t)    (1u << (t).log_team)
#define TEAMS(t)        (LANES >> (t).log_team)
#define TEAM_MEMBER(t)                                                                             \
    ((t).along != 0u ? gl_LocalInvocationIndex & TEAM_SIZE(t) - 1u                                 \
                     : gl_LocalInvocationIndex / TEAMS(t))
#define TEAM_LINE(t)                                                                               \
    ((t).along != 0u ? gl_LocalInvocationIndex >> (t).log_team                                     \
                     : gl_LocalInvocationIndex & TEAMS(t) - 1u)

// Combines the members' values (type, how) into every member's, as a tree: the order depends on the
// team's size alone. All lanes of the workgroup call it, the same number of times.
#define TEAM_COMBINE(name, type, combined)                                                         \
    shared type name##_shared[LANES];                                                              \
    type name(type value, uint log_team, uint line, uint member)                                   \
    {                                                                                              \
        const uint slot = line << log_team;                                                        \
        barrier();                                                                                 \
        name##_shared[slot + member] = value;                                                      \
        for (uint half_way = (1u << log_team) >> 1; half_way > 0u; half_way >>= 1) {               \
            barrier();                                                                             \
            if (member < half_way) {                                                               \
                const type a = name##_shared[slot + member];                                       \
                const type b = name##_shared[slot + member + half_way];                            \
                name##_shared[slot + member] = combined;                                           \
            }                                                                                      \
        }                                                                                          \
        barrier();                                                                                 \
        return name##_shared[slot];                                                                \
    }

#endif
