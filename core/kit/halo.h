/*
 * kit/halo.h - small two-dimensional convolutions of tiles, and the gradient of their kernels, for
 * one CPU level.
 *
 * A body for kit/levels.h (or to be included by one). With row-major tiles of float32,
 *
 *     halo_convolve    y[r][i]  = sum_{a < na, b < nb} taps[a][b] x[r + b][i + a]      (or +=)
 *     halo_correlate   sums[a][b] += sum_{r, i} y[r][i] x[r + b][i + a], a vector for each tap
 *
 * The caller points x at the halo's first row and lane, so all offsets are positive: the rows of x
 * reach nb - 1 further than those of y, its lanes na - 1. A block of rows of y stays in registers
 * while x passes by once for each lane offset. The gradient of a convolution with respect to x is a
 * convolution of y's gradient with the taps in reverse.
 *
 * `lanes` is a multiple of SIMD_LANES. Rows are taken HALO_ROWS at a time: y must have room for,
 * and x must hold, as many as the next multiple needs. Rows of y beyond `rows` get values without
 * meaning; those of halo_correlate have to be zero.
 */
#ifndef RAPT_KIT_HALO_NAMES
#define RAPT_KIT_HALO_NAMES
#define halo_convolve_block  RAPT_LEVEL_NAME(halo_convolve_block)
#define halo_convolve_taps   RAPT_LEVEL_NAME(halo_convolve_taps)
#define halo_convolve        RAPT_LEVEL_NAME(halo_convolve)
#define halo_correlate_block RAPT_LEVEL_NAME(halo_correlate_block)
#define halo_correlate_taps  RAPT_LEVEL_NAME(halo_correlate_taps)
#define halo_correlate       RAPT_LEVEL_NAME(halo_correlate)
#define RAPT_HALO_ROWS       16 /* the greatest HALO_ROWS of all levels */
#endif

/* Each level's functions exist once, however many bodies include this. */
#undef RAPT_KIT_HALO_WANTED
#if RAPT_LEVEL == 2 && !defined(RAPT_KIT_HALO_AVX512)
#define RAPT_KIT_HALO_AVX512
#define RAPT_KIT_HALO_WANTED
#elif RAPT_LEVEL == 1 && !defined(RAPT_KIT_HALO_AVX2)
#define RAPT_KIT_HALO_AVX2
#define RAPT_KIT_HALO_WANTED
#elif RAPT_LEVEL == 3 && !defined(RAPT_KIT_HALO_NEON)
#define RAPT_KIT_HALO_NEON
#define RAPT_KIT_HALO_WANTED
#elif RAPT_LEVEL == 0 && !defined(RAPT_KIT_HALO_PORTABLE)
#define RAPT_KIT_HALO_PORTABLE
#define RAPT_KIT_HALO_WANTED
#endif

#ifdef RAPT_KIT_HALO_WANTED

/* Rows of y and taps of a row that the registers hold beside a vector of x: 32 registers, or 16. */
#undef HALO_ROWS
#undef HALO_TAPS
#if RAPT_LEVEL == 2 || RAPT_LEVEL == 3
#define HALO_ROWS 16
#define HALO_TAPS 11
#else
#define HALO_ROWS 8
#define HALO_TAPS 6
#endif

#ifndef HALO_UNROLL
#if defined(__clang__)
#define HALO_UNROLL _Pragma("clang loop unroll(full)")
#else
#define HALO_UNROLL _Pragma("GCC unroll 32")
#endif
#endif

/* One vector of HALO_ROWS rows; `count` taps of each row of the kernel, constant where called. */
SIMD_FN void halo_convolve_block(const int count, int64_t na, const float *taps, int64_t ldt,
                                 const float *x, int64_t ldx, float *y, int64_t ldy, int accumulate)
{
    simd_f sum[HALO_ROWS], tap[HALO_TAPS];
    HALO_UNROLL
    for (int r = 0; r < HALO_ROWS; r++)
        sum[r] = accumulate ? simd_load(y + r * ldy) : simd_zero();
    for (int64_t a = 0; a < na; a++) {
        const float *row = x + a;
        HALO_UNROLL
        for (int b = 0; b < count; b++)
            tap[b] = simd_set(taps[a * ldt + b]);
        HALO_UNROLL
        for (int r = 0; r < HALO_ROWS + count - 1; r++) {
            const simd_f value = simd_load(row);
            row += ldx;
            HALO_UNROLL
            for (int b = 0; b < count; b++)
                if (r >= b && r - b < HALO_ROWS)
                    sum[r - b] = simd_fma(tap[b], value, sum[r - b]);
        }
    }
    HALO_UNROLL
    for (int r = 0; r < HALO_ROWS; r++)
        simd_store(y + r * ldy, sum[r]);
}

/* `count` columns of the kernel on the whole tile. */
static __attribute__((noinline, unused)) void
halo_convolve_taps(int64_t count, int64_t rows, int64_t lanes, int64_t na, const float *taps,
                   int64_t ldt, const float *x, int64_t ldx, float *y, int64_t ldy, int accumulate)
{
#define HALO_CASE(n)                                                                               \
    case n:                                                                                        \
        halo_convolve_block(n, na, taps, ldt, x + r * ldx + i, ldx, y + r * ldy + i, ldy,          \
                            accumulate);                                                           \
        break;
    for (int64_t r = 0; r < rows; r += HALO_ROWS)
        for (int64_t i = 0; i < lanes; i += SIMD_LANES)
            switch (count) {
                HALO_CASE(1)
                HALO_CASE(2)
                HALO_CASE(3)
                HALO_CASE(4)
                HALO_CASE(5)
                HALO_CASE(6)
#if HALO_TAPS == 11
                HALO_CASE(7)
                HALO_CASE(8)
                HALO_CASE(9)
                HALO_CASE(10)
                HALO_CASE(11)
#endif
            }
#undef HALO_CASE
}

/* taps is na x nb, contiguous. y must not overlap x. [task] */
static __attribute__((unused)) void halo_convolve(int64_t rows, int64_t lanes, int64_t na,
                                                  int64_t nb, const float *taps, const float *x,
                                                  int64_t ldx, float *y, int64_t ldy)
{
    const int64_t pieces = (nb + HALO_TAPS - 1) / HALO_TAPS;
    for (int64_t p = 0; p < pieces; p++) {
        const int64_t b = p * nb / pieces, end = (p + 1) * nb / pieces;
        halo_convolve_taps(end - b, rows, lanes, na, taps + b, nb, x + b * ldx, ldx, y, ldy, p > 0);
    }
}

/* One vector of HALO_ROWS rows of y against `count` taps of each row of the kernel. */
SIMD_FN void halo_correlate_block(const int count, int64_t na, const float *y, int64_t ldy,
                                  const float *x, int64_t ldx, float *sums, int64_t lds)
{
    simd_f value[HALO_ROWS], sum[HALO_TAPS];
    HALO_UNROLL
    for (int r = 0; r < HALO_ROWS; r++)
        value[r] = simd_load(y + r * ldy);
    for (int64_t a = 0; a < na; a++) {
        const float *row = x + a;
        float *to = sums + a * lds;
        HALO_UNROLL
        for (int b = 0; b < count; b++)
            sum[b] = simd_load(to + b * SIMD_LANES);
        HALO_UNROLL
        for (int r = 0; r < HALO_ROWS + count - 1; r++) {
            const simd_f other = simd_load(row);
            row += ldx;
            HALO_UNROLL
            for (int b = 0; b < count; b++)
                if (r >= b && r - b < HALO_ROWS)
                    sum[b] = simd_fma(value[r - b], other, sum[b]);
        }
        HALO_UNROLL
        for (int b = 0; b < count; b++)
            simd_store(to + b * SIMD_LANES, sum[b]);
    }
}

static __attribute__((noinline, unused)) void
halo_correlate_taps(int64_t count, int64_t rows, int64_t lanes, int64_t na, const float *y,
                    int64_t ldy, const float *x, int64_t ldx, float *sums, int64_t lds)
{
#define HALO_CASE(n)                                                                               \
    case n:                                                                                        \
        halo_correlate_block(n, na, y + r * ldy + i, ldy, x + r * ldx + i, ldx, sums, lds);        \
        break;
    for (int64_t r = 0; r < rows; r += HALO_ROWS)
        for (int64_t i = 0; i < lanes; i += SIMD_LANES)
            switch (count) {
                HALO_CASE(1)
                HALO_CASE(2)
                HALO_CASE(3)
                HALO_CASE(4)
                HALO_CASE(5)
                HALO_CASE(6)
#if HALO_TAPS == 11
                HALO_CASE(7)
                HALO_CASE(8)
                HALO_CASE(9)
                HALO_CASE(10)
                HALO_CASE(11)
#endif
            }
#undef HALO_CASE
}

/* sums is na x nb vectors of SIMD_LANES, contiguous; a tap's value is the sum over its lanes.
 * [task] */
static __attribute__((unused)) void halo_correlate(int64_t rows, int64_t lanes, int64_t na,
                                                   int64_t nb, const float *y, int64_t ldy,
                                                   const float *x, int64_t ldx, float *sums)
{
    const int64_t pieces = (nb + HALO_TAPS - 1) / HALO_TAPS;
    for (int64_t p = 0; p < pieces; p++) {
        const int64_t b = p * nb / pieces, end = (p + 1) * nb / pieces;
        halo_correlate_taps(end - b, rows, lanes, na, y, ldy, x + b * ldx, ldx,
                            sums + b * SIMD_LANES, nb * SIMD_LANES);
    }
}

#endif /* RAPT_KIT_HALO_WANTED */
