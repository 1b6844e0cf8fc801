/*
 * Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011).
 *
 * Value i of (seed, stream) is word i % 4 of the block with counter {i / 4, stream} under key seed;
 * 64-bit numbers lie low word first. Numbers first, first + 1, ..., first + n - 1 are written;
 * an index beyond 2^64 - 1 begins again at 0. All functions: any thread, no state.
 */
#ifndef RAPT_TENSOR_RANDOM_H
#define RAPT_TENSOR_RANDOM_H

#include <stdint.h>

/* One block: four words from a counter of four and a key of two. */
void rapt_philox_block(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

void rapt_philox_bits(uint64_t seed, uint64_t stream, uint64_t first, int64_t n, uint32_t *out);

/* In [0, 1): the upper 24 bits of a word times 2^-24. */
void rapt_philox_uniform(uint64_t seed, uint64_t stream, uint64_t first, int64_t n, float *out);

/*
 * Mean 0, variance 1, from one word w each: bit 31 is the sign, and the other 31 bits u give the
 * size z with P(Z > z) = p = (2u + 1) / 2^33, so |z| < 6.34. The inverse is a table of cubics
 * (normal_table.lua) in units of 2^-29, evaluated with the upper halves of 32 x 32 bit products;
 * the integer that comes out is rounded once to a float, to nearest even (where a device does not
 * promise that of its additions, in integers). So every machine gets the same bits. Absolute error
 * below 3e-7.
 */
void rapt_philox_normal(uint64_t seed, uint64_t stream, uint64_t first, int64_t n, float *out);

/* The normal number of one word, as the bits of a float. */
uint32_t rapt_normal_bits(uint32_t word);

/* The table of rapt_philox_normal, for devices that do the same: rows of four coefficients, sixteen
 * for each number of leading zeros of 2u + 1 in 32 bits. */
enum { RAPT_NORMAL_TABLE_BYTES = 32 * 16 * 4 * 4 };
const uint32_t *rapt_normal_table(void);

#endif
