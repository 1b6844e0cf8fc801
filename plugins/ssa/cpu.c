/* Selective self-attention on the CPU. */
#include "kit/score.h"

#define RAPT_LEVELS_BODY "hooks.h"
#include "kit/levels.h"

RAPT_SCORE_FUNCTIONS(ssa);
