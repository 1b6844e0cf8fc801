/* What the description of log_linear and its kernels share. */
#ifndef RAPT_LOG_LINEAR_H
#define RAPT_LOG_LINEAR_H

#include "kit/linear_describe.h"
#include <rapt/plugin.h>

enum {
    LOG_LINEAR_Q,
    LOG_LINEAR_K,
    LOG_LINEAR_V,
    LOG_LINEAR_G,
    LOG_LINEAR_L,
    LOG_LINEAR_BORDERS,
    LOG_LINEAR_STATE
};
enum { LOG_LINEAR_O, LOG_LINEAR_FINAL };
enum { LOG_LINEAR_SCALE, LOG_LINEAR_POSITION };

RAPT_LINEAR_DECLARE(log_linear);

#endif
