/*
 * kit/score_driver.h - the score driver for one CPU level. Included at the end of a variant's hooks
 * (see kit/score.h); defines score_code, the tasks of this level.
 */
#ifndef RAPT_KIT_SCORE_H
#error "include kit/score.h before kit/levels.h"
#endif

#include "tile.h"

#include "score_shape.h"

#include "score_tile.h"

#include "score_tau.h"

#include "score_forward.h"

#include "score_few.h"

#include "score_backward.h"

static const rapt_score_code score_code = {
    .forward = score_forward,
    .few = score_few,
    .few_merge = score_few_merge,
    .weights = score_matrix,
    .delta = score_delta,
    .backward = score_backward,
    .gather_q = score_gather_q,
    .gather_kv = score_gather_kv,
    .bias = score_bias_gradient,
    .heads = score_head_gradients,
};
