/* Selective self-attention scales rows of q and v as the score driver loads them; there is no hook.
 */
#include "kit/score_driver.h"
