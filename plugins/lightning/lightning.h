/* What the description of lightning and its kernels share. */
#ifndef RAPT_LIGHTNING_H
#define RAPT_LIGHTNING_H

#include "kit/linear_describe.h"
#include <rapt/plugin.h>

enum { LIGHTNING_Q, LIGHTNING_K, LIGHTNING_V, LIGHTNING_SLOPE, LIGHTNING_BORDERS, LIGHTNING_STATE };
enum { LIGHTNING_O, LIGHTNING_FINAL };

RAPT_LINEAR_DECLARE(lightning);

#endif
