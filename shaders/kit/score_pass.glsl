// The pass that SCORE_PASS names, with the hooks above this line.

// The logit of a score.
#ifdef SCORE_LOGIT
#define SCORE_Z(site, s) score_logit(site, s)
#else
#define SCORE_Z(site, s) (s)
#endif

#if SCORE_PASS == SCORE_FORWARD
#include "kit/score_forward.glsl"
#elif SCORE_PASS == SCORE_MERGE
#include "kit/score_merge.glsl"
#elif SCORE_PASS == SCORE_WEIGHTS
#include "kit/score_weights.glsl"
#elif SCORE_PASS == SCORE_DELTA
#include "kit/score_delta.glsl"
#elif SCORE_PASS == SCORE_QUERIES
#include "kit/score_queries.glsl"
#elif SCORE_PASS == SCORE_KEYS
#include "kit/score_keys.glsl"
#elif SCORE_PASS == SCORE_BIAS
#include "kit/score_bias.glsl"
#elif SCORE_PASS == SCORE_SUM
#include "kit/score_sum.glsl"
#elif SCORE_PASS == SCORE_HEADS
#include "kit/score_heads.glsl"
#elif SCORE_PASS == SCORE_BORDERS
#include "kit/score_borders.glsl"
#elif SCORE_PASS == SCORE_COOP_QUERIES
#include "kit/score_coop_queries.glsl"
#elif SCORE_PASS == SCORE_COOP_KEYS
#include "kit/score_coop_keys.glsl"
#elif SCORE_PASS == SCORE_COOP_FORWARD
#include "kit/score_coop_forward.glsl"
#else
#error "SCORE_PASS names no pass"
#endif
