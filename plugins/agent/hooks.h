/* Both attentions are plain softmax. */
#include "kit/score_driver.h"
