/* Softmax attention adds nothing to the score driver: logits are the scores, their factor is 1. */
#include "kit/score_driver.h"
