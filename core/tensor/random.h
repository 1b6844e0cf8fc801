/*
 * Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011).
 *
 * Value i of (seed, stream) is word i % 4 of the block with counter {i / 4, stream} under key seed.
 * Normals come from one word each by the inverse of the normal distribution function, computed in
 * integers alone, so that every machine and device gets the same bits.
 */
#ifndef RAPT_TENSOR_RANDOM_H
#define RAPT_TENSOR_RANDOM_H

#include <stdint.h>

void rapt_philox_bits(uint64_t seed, uint64_t stream, uint64_t first, int64_t n, uint32_t *out);
void rapt_philox_uniform(uint64_t seed, uint64_t stream, uint64_t first, int64_t n, float *out);
void rapt_philox_normal(uint64_t seed, uint64_t stream, uint64_t first, int64_t n, float *out);

#endif
