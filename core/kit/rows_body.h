/*
 * kit/rows_body.h - rows of a tensor to and from tiles of floats. For inclusion in a body that
 * kit/levels.h compiles; each level's functions exist once in a source.
 *
 * A tile is row major, `ld` floats from row to row, ld a multiple of SIMD_LANES; columns from
 * `width` to ld are zero after a load.
 */
#ifndef RAPT_KIT_ROWS_NAMES
#define RAPT_KIT_ROWS_NAMES
#define rows_load      RAPT_LEVEL_NAME(rows_load)
#define rows_store     RAPT_LEVEL_NAME(rows_store)
#define rows_transpose RAPT_LEVEL_NAME(rows_transpose)
#define rows_scale     RAPT_LEVEL_NAME(rows_scale)
#define rows_columns   RAPT_LEVEL_NAME(rows_columns)
#define rows_sigmoid   RAPT_LEVEL_NAME(rows_sigmoid)
#define rows_dot       RAPT_LEVEL_NAME(rows_dot)
#define rows_axpy      RAPT_LEVEL_NAME(rows_axpy)
#endif

#undef RAPT_KIT_ROWS_WANTED
#if RAPT_LEVEL == 2 && !defined(RAPT_KIT_ROWS_AVX512)
#define RAPT_KIT_ROWS_AVX512
#define RAPT_KIT_ROWS_WANTED
#elif RAPT_LEVEL == 1 && !defined(RAPT_KIT_ROWS_AVX2)
#define RAPT_KIT_ROWS_AVX2
#define RAPT_KIT_ROWS_WANTED
#elif RAPT_LEVEL == 3 && !defined(RAPT_KIT_ROWS_NEON)
#define RAPT_KIT_ROWS_NEON
#define RAPT_KIT_ROWS_WANTED
#elif RAPT_LEVEL == 0 && !defined(RAPT_KIT_ROWS_PORTABLE)
#define RAPT_KIT_ROWS_PORTABLE
#define RAPT_KIT_ROWS_WANTED
#endif

#ifdef RAPT_KIT_ROWS_WANTED

#define ROWS_FN static __attribute__((unused))

/* tile[i][c] = factor * row i, for i < count; rows from count to `rows` are zero. `stride` counts
 * elements of dtype. */
ROWS_FN void rows_load(rapt_dtype dtype, const void *data, int64_t stride, int64_t count,
                       int64_t rows, int64_t width, float factor, float *tile, int64_t ld)
{
    const int64_t whole = width / SIMD_LANES * SIMD_LANES;
    const simd_f scale = simd_set(factor);
    for (int64_t i = 0; i < count; i++) {
        float *to = tile + i * ld;
        int64_t c = 0;
        for (; c < whole; c += SIMD_LANES)
            simd_store(to + c, scale * simd_load_as(dtype, data, i * stride + c));
        if (c < width) {
            simd_store(to + c,
                       scale * simd_load_as_n(dtype, data, i * stride + c, (int)(width - c)));
            c += SIMD_LANES;
        }
        for (; c < ld; c += SIMD_LANES)
            simd_store(to + c, simd_zero());
    }
    if (count < rows)
        memset(tile + count * ld, 0, (size_t)((rows - count) * ld) * sizeof(float));
}

/* Row i of data = factor * tile[i], for i < count. */
ROWS_FN void rows_store(rapt_dtype dtype, void *data, int64_t stride, int64_t count, int64_t width,
                        float factor, const float *tile, int64_t ld)
{
    const int64_t whole = width / SIMD_LANES * SIMD_LANES;
    const simd_f scale = simd_set(factor);
    for (int64_t i = 0; i < count; i++) {
        const float *from = tile + i * ld;
        for (int64_t c = 0; c < whole; c += SIMD_LANES)
            simd_store_as(dtype, data, i * stride + c, scale * simd_load(from + c));
        if (whole < width)
            simd_store_as_n(dtype, data, i * stride + whole, scale * simd_load(from + whole),
                            (int)(width - whole));
    }
}

/* to[c][i] = from[i][c] for a tile of rows x columns, both multiples of SIMD_LANES. */
ROWS_FN void rows_transpose(int64_t rows, int64_t columns, const float *from, int64_t ld_from,
                            float *to, int64_t ld_to)
{
    for (int64_t i = 0; i < rows; i += SIMD_LANES)
        for (int64_t c = 0; c < columns; c += SIMD_LANES) {
            simd_f square[SIMD_LANES];
            for (int r = 0; r < SIMD_LANES; r++)
                square[r] = simd_load(from + (i + r) * ld_from + c);
            simd_transpose(square);
            for (int r = 0; r < SIMD_LANES; r++)
                simd_store(to + (c + r) * ld_to + i, square[r]);
        }
}

/* to[i][c] = factor[i] * from[i][c]; to may be from. */
ROWS_FN void rows_scale(int64_t rows, int64_t ld, const float *factor, const float *from, float *to)
{
    for (int64_t i = 0; i < rows; i++) {
        const simd_f scale = simd_set(factor[i]);
        for (int64_t c = 0; c < ld; c += SIMD_LANES)
            simd_store(to + i * ld + c, scale * simd_load(from + i * ld + c));
    }
}

/* to[r][i] = factor[i] * from[r][i]: the columns of a transposed tile. */
ROWS_FN void rows_columns(int64_t rows, int64_t ld, const float *factor, const float *from,
                          float *to)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < ld; c += SIMD_LANES)
            simd_store(to + r * ld + c, simd_load(factor + c) * simd_load(from + r * ld + c));
}

/* tile = sigmoid(tile) where it holds data: the padding stays zero. */
ROWS_FN void rows_sigmoid(int64_t count, int64_t width, float *tile, int64_t ld)
{
    for (int64_t i = 0; i < count; i++)
        for (int64_t c = 0; c < width; c += SIMD_LANES) {
            const int32_t left = width - c < SIMD_LANES ? (int32_t)(width - c) : SIMD_LANES;
            const simd_f y = simd_sigmoid(simd_load(tile + i * ld + c));
            simd_store(tile + i * ld + c, simd_keep(simd_lt_i(simd_iota(), simd_set_i(left)), y));
        }
}

/* a . b over n floats, n a multiple of SIMD_LANES. */
ROWS_FN float rows_dot(int64_t n, const float *a, const float *b)
{
    simd_f sum = simd_zero();
    for (int64_t c = 0; c < n; c += SIMD_LANES)
        sum = simd_fma(simd_load(a + c), simd_load(b + c), sum);
    return simd_sum(sum);
}

/* to = factor * to + from over n floats, n a multiple of SIMD_LANES. */
ROWS_FN void rows_axpy(int64_t n, float factor, const float *from, float *to)
{
    const simd_f scale = simd_set(factor);
    for (int64_t c = 0; c < n; c += SIMD_LANES)
        simd_store(to + c, simd_fma(scale, simd_load(to + c), simd_load(from + c)));
}

#endif /* RAPT_KIT_ROWS_WANTED */
