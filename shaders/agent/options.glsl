// What a call asks for beyond the plain formulas, and what softcap makes of a score.
#ifndef RAPT_AGENT_OPTIONS_GLSL
#define RAPT_AGENT_OPTIONS_GLSL

layout(constant_id = 5) const uint OPTIONS = 0;

const bool CAPPED = (OPTIONS & 1u) != 0u;
const bool SINK = (OPTIONS & 2u) != 0u;
#ifdef PRODUCT_COOP
const bool PACKED = false; // the plain path takes it
#else
const bool PACKED = (OPTIONS & 4u) != 0u;
#endif
const bool WEIGHTS = (OPTIONS & 8u) != 0u; // handing out: values are the agents' weights of all keys
const bool WHOLE = (OPTIONS & 16u) != 0u; // rows are read by eight, all runs of features whole

// c tanh(x / c), to a few ulp near 0 too and without overflow; what a bias of -inf hides stays hidden.
float softcapped(float x, float c)
{
    if (floatBitsToUint(x) >= 0xff000000u)
        return x;
    const float s = x / c, y = min(abs(s), 15.0), y2 = y * y;
    if (y < 0.25)
        return c * s *
               (1.0 + y2 * (-1.0 / 3.0 + y2 * (2.0 / 15.0 + y2 * (-17.0 / 315.0 + y2 * (62.0 / 2835.0)))));
    const float t = 1.0 - 2.0 / (exp(2.0 * y) + 1.0);
    return x < 0.0 ? -c * t : c * t;
}

#endif
