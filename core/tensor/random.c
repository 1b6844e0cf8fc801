#include "tensor/random.h"
#include "tensor/normal_table.h"
#include <string.h>

/* As in rows.c: a copy for AVX2, picked when the library is loaded. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CLONES __attribute__((target_clones("default", "arch=haswell")))
#else
#define CLONES
#endif

enum { LANES = 8, GROUP = 4 * LANES };

/* The constants of the paper: two multipliers, and what the key grows by in each of ten rounds. */
static const uint64_t MULTIPLIER_0 = 0xd2511f53, MULTIPLIER_1 = 0xcd9e8d57;
static const uint32_t WEYL_0 = 0x9e3779b9, WEYL_1 = 0xbb67ae85;
enum { ROUNDS = 10 };

void rapt_philox_block(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < ROUNDS; round++) {
        const uint64_t p0 = MULTIPLIER_0 * c0, p1 = MULTIPLIER_1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += WEYL_0;
        k1 += WEYL_1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* Blocks first, ..., first + LANES - 1, side by side so that the rounds vectorise. */
CLONES static void philox_group(uint64_t seed, uint64_t stream, uint64_t first, uint32_t *out)
{
    uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES];
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int i = 0; i < LANES; i++) {
        const uint64_t block = first + (uint64_t)i;
        c0[i] = (uint32_t)block;
        c1[i] = (uint32_t)(block >> 32);
        c2[i] = (uint32_t)stream;
        c3[i] = (uint32_t)(stream >> 32);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < LANES; i++) {
            const uint64_t p0 = MULTIPLIER_0 * c0[i], p1 = MULTIPLIER_1 * c2[i];
            c0[i] = (uint32_t)(p1 >> 32) ^ c1[i] ^ k0;
            c1[i] = (uint32_t)p1;
            c2[i] = (uint32_t)(p0 >> 32) ^ c3[i] ^ k1;
            c3[i] = (uint32_t)p0;
        }
        k0 += WEYL_0;
        k1 += WEYL_1;
    }
    for (int i = 0; i < LANES; i++) {
        out[4 * i] = c0[i];
        out[4 * i + 1] = c1[i];
        out[4 * i + 2] = c2[i];
        out[4 * i + 3] = c3[i];
    }
}

void rapt_philox_bits(uint64_t seed, uint64_t stream, uint64_t first, int64_t n, uint32_t *out)
{
    while (n > 0) {
        /* A block never spans the end of the index: 4 divides 2^64. */
        const uint64_t skipped = first % 4;
        const uint64_t blocks_left = ((uint64_t)0 - first + skipped) / 4;
        if (skipped == 0 && n >= GROUP && (first == 0 || blocks_left >= LANES)) {
            philox_group(seed, stream, first / 4, out);
            first += GROUP;
            out += GROUP;
            n -= GROUP;
            continue;
        }
        const uint64_t index = first / 4;
        const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream,
                                     (uint32_t)(stream >> 32)};
        const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
        uint32_t words[4];
        rapt_philox_block(counter, key, words);
        const int64_t room = 4 - (int64_t)skipped, m = n < room ? n : room;
        memcpy(out, words + skipped, (size_t)m * sizeof *out);
        first += (uint64_t)m;
        out += m;
        n -= m;
    }
}

/* Words are made in pieces that stay in the first cache, then turned into numbers. */
enum { PIECE = 1024 };

CLONES static void uniform_piece(const uint32_t *words, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)(int32_t)(words[i] >> 8) * 0x1p-24f;
}

void rapt_philox_uniform(uint64_t seed, uint64_t stream, uint64_t first, int64_t n, float *out)
{
    uint32_t words[PIECE];
    for (int64_t i = 0; i < n; i += PIECE) {
        const int64_t m = n - i < PIECE ? n - i : PIECE;
        rapt_philox_bits(seed, stream, first + (uint64_t)i, m, words);
        uniform_piece(words, m, out + i);
    }
}

static inline uint32_t high_product(uint32_t a, uint32_t b)
{
    return (uint32_t)((uint64_t)a * b >> 32);
}

/* Leading zeros of an odd number, from the exponent of a float: clearing the bit under the first
 * one keeps the conversion from rounding up to the next power of two. Unlike clz, it vectorises. */
static inline int leading_zeros(uint32_t odd)
{
    const float number = (float)(int32_t)((odd & ~(odd >> 1)) >> 1);
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    const int zeros = 157 - (int)(bits >> 23);
    return zeros < 31 ? zeros : 31;
}

static inline uint32_t normal_bits(uint32_t word)
{
    const uint32_t p = word << 1 | 1;
    const int octave = leading_zeros(p);
    const uint32_t scaled = p << octave; /* bit 31 is set; four bits choose the segment */
    const uint32_t *c = normal_table[octave * 16 + (int)(scaled >> 27 & 15)];
    const uint32_t t = scaled << 5;
    const uint32_t z = c[0] - high_product(t, c[1] - high_product(t, c[2] - high_product(t, c[3])));
    /* To a float with one rounding, in the sum; the halves and the powers of two are exact. */
    const float size =
        ((float)(int32_t)(z >> 16) * 0x1p16f + (float)(int32_t)(z & 0xffff)) * 0x1p-29f;
    uint32_t bits;
    memcpy(&bits, &size, sizeof bits);
    return bits | (word & 0x80000000);
}

uint32_t rapt_normal_bits(uint32_t word)
{
    return normal_bits(word);
}

_Static_assert(sizeof normal_table == RAPT_NORMAL_TABLE_BYTES, "as random.h says");

const uint32_t *rapt_normal_table(void)
{
    return normal_table[0];
}

CLONES static void normal_piece(const uint32_t *words, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = normal_bits(words[i]);
        memcpy(out + i, &bits, sizeof bits);
    }
}

void rapt_philox_normal(uint64_t seed, uint64_t stream, uint64_t first, int64_t n, float *out)
{
    uint32_t words[PIECE];
    for (int64_t i = 0; i < n; i += PIECE) {
        const int64_t m = n - i < PIECE ? n - i : PIECE;
        rapt_philox_bits(seed, stream, first + (uint64_t)i, m, words);
        normal_piece(words, m, out + i);
    }
}
