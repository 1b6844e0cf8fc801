/* Elements from one dtype to another, and copies between layouts, on the CPU. */
#ifndef RAPT_TENSOR_CONVERT_H
#define RAPT_TENSOR_CONVERT_H

#include <rapt/rapt.h>

float rapt_f16_to_f32(uint16_t half);
uint16_t rapt_f32_to_f16(float value); /* to nearest even; NaN stays NaN, too large is infinity */
float rapt_bf16_to_f32(uint16_t half);
uint16_t rapt_f32_to_bf16(float value);

/* One element as a number and back. Floats are rounded once, to nearest even, also from f64 and i64
 * to halves; to an integer a float is truncated, what is too large becomes the nearest there is,
 * NaN 0; to bool it is != 0. */
double rapt_element_get(const void *element, rapt_dtype dtype);
void rapt_element_set(void *element, rapt_dtype dtype, double value);

/* target[...] = source[...], same shape, any strides and dtypes, CPU memory, no overlap. i64 to i64
 * (and every dtype to itself) is exact; between dtypes as above, integers among themselves
 * saturate. Single threaded. */
void rapt_view_copy(const rapt_view *target, const rapt_view *source);

#endif
