/* Operators for the tests of the engine, and short ways to make and read tensors. */
#ifndef RAPT_TEST_ENGINE_OPS_H
#define RAPT_TEST_ENGINE_OPS_H

#include "engine/engine.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A context with the built-ins and the operators below; the test fails if there is none.
 *
 *   t.mul(x, y)       x y, elementwise, any leading dimensions; keeps both; any strides
 *   t.square(x)       x^2, inner-contiguous; leaves 2 x to backward and keeps nothing
 *   t.exp(x)          keeps its output; contiguous only; takes 256 bytes of workspace and scratch
 *   t.argmax(x)       i64, no backward
 *   t.floor(x)        f32, no backward
 *   t.split(x)        o = x, extra = -x (optional, differentiable), count (optional i64)
 *   t.fail(x; how)    fails as `how` says
 *   t.bump(x)         x += 1 in place
 *   t.choose(x; want) three kernels; supports() refuses all but kernel `want` (and "any")
 *   t.attend          sum over visible j of (q_i.k_j) v_j, times the slope; causal; appended k, v;
 * no step t.attend_step     the same with a step t.carry           running sums of x over
 * positions; state s: carried; no step t.carry_step      the same with a step
 */
rapt_context *open_context(void);

#define CPU ((rapt_device){RAPT_DEVICE_CPU, 0})
#define SHAPE(...)                                                                                 \
    (int32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])               \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* Fails the test with the text when `status` is not RAPT_OK. */
void must(rapt_status status, const rapt_error *error);
/* An f32 tensor with elements start, start + step, ... */
rapt_tensor *ramp(rapt_context *context, int32_t ndim, const int64_t *shape, float start,
                  float step);
rapt_tensor *random_tensor(rapt_context *context, int32_t ndim, const int64_t *shape);
/* The operator's first output; the test fails if the call does. A NULL ends the inputs. */
rapt_tensor *call1(rapt_context *context, const char *op, const char *name, rapt_tensor *x);
rapt_tensor *call2(rapt_context *context, const char *op, const char *name_a, rapt_tensor *a,
                   const char *name_b, rapt_tensor *b);
/* Elements as float, row major; `out` has room for them. */
void read_floats(rapt_context *context, rapt_tensor *tensor, float *out);
float element(rapt_context *context, rapt_tensor *tensor, int64_t i);
/* Whether the text of an error is this one; the test fails with both texts otherwise. */
void expect_error(const rapt_error *error, rapt_status status, const char *text);

#endif
