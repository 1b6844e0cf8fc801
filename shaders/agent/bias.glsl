// A bias of scores [H, rows, columns], float32 or of the compute type; one memory in two bindings.
#ifndef RAPT_AGENT_BIAS_GLSL
#define RAPT_AGENT_BIAS_GLSL

layout(constant_id = 1) const uint BIAS = 0; // 0: none, 1: float32, 2: the compute type

#define BIAS_FIELDS uint bias_base, bias_head, bias_row, bias_column;

#define BIAS_BINDINGS(floats_at, stored_at)                                                         \
    layout(std430, binding = floats_at) readonly buffer BiasFloats { float bias_floats[]; };        \
    layout(std430, binding = stored_at) readonly buffer BiasStored { STORED bias_stored[]; };       \
    float bias_at(uint head, uint row, uint column)                                                 \
    {                                                                                               \
        if (BIAS == 0)                                                                              \
            return 0.0;                                                                             \
        const uint at = bias_base + head * bias_head + row * bias_row + column * bias_column;       \
        return BIAS == 1 ? bias_floats[at] : LOAD(bias_stored[at]);                                 \
    }

#endif
