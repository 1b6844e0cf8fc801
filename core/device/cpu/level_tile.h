/*
 * A small product in plain vector code; included by level.c alone. It serves where there is no JIT:
 * processors that libxsmm does not know, shapes that it refuses, and the portable level.
 */

enum { TAIL_DEPTH = 256 }; /* rows of B whose last columns are padded at a time */

/* Sums of `rows` rows times `vectors` vectors over depth k. The two are constants wherever this is
 * inlined, which keeps `sum` in registers. */
static inline __attribute__((always_inline)) void tile_block(const int rows, const int vectors,
                                                             int32_t k, const float *a, int64_t lda,
                                                             const float *b, int64_t ldb, float *c,
                                                             int64_t ldc, int32_t accumulate)
{
    vec sum[TILE_ROWS][2];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++)
            sum[i][v] = accumulate ? load_vec(c + i * ldc + v * WIDTH) : (vec){0};
    for (int32_t p = 0; p < k; p++) {
        vec row[2];
        for (int v = 0; v < vectors; v++)
            row[v] = load_vec(b + p * ldb + v * WIDTH);
        for (int i = 0; i < rows; i++) {
            const vec factor = splat(a[i * lda + p]);
            for (int v = 0; v < vectors; v++)
                sum[i][v] += factor * row[v];
        }
    }
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++)
            store_vec(c + i * ldc + v * WIDTH, sum[i][v]);
}

static inline __attribute__((always_inline)) void
tile_columns(const int vectors, int32_t m, int32_t k, const float *a, int64_t lda, const float *b,
             int64_t ldb, float *c, int64_t ldc, int32_t accumulate)
{
    int32_t i = 0;
    for (; i + TILE_ROWS <= m; i += TILE_ROWS)
        tile_block(TILE_ROWS, vectors, k, a + i * lda, lda, b, ldb, c + i * ldc, ldc, accumulate);
    for (; i + 2 <= m; i += 2)
        tile_block(2, vectors, k, a + i * lda, lda, b, ldb, c + i * ldc, ldc, accumulate);
    if (i < m)
        tile_block(1, vectors, k, a + i * lda, lda, b, ldb, c + i * ldc, ldc, accumulate);
}

/* The last n < WIDTH columns: B and C padded to a vector. Going through C between stretches of
 * depth rounds nothing, so the sums are those of one stretch. */
static void tile_tail(const rapt_tile_shape *s, int32_t n, const float *a, const float *b, float *c)
{
    float padded[TAIL_DEPTH * WIDTH], rows[TILE_ROWS * WIDTH];
    const int32_t deepest = s->k < TAIL_DEPTH ? s->k : TAIL_DEPTH;
    memset(padded, 0, (size_t)(deepest > 0 ? deepest : 0) * WIDTH * sizeof(float));
    memset(rows, 0, sizeof rows);
    for (int32_t start = 0; start == 0 || start < s->k; start += TAIL_DEPTH) {
        const int32_t depth = s->k - start < TAIL_DEPTH ? s->k - start : TAIL_DEPTH;
        const int32_t accumulate = s->accumulate || start > 0;
        for (int32_t p = 0; p < depth; p++)
            for (int32_t j = 0; j < n; j++)
                padded[p * WIDTH + j] = b[(start + p) * (int64_t)s->ldb + j];
        for (int32_t i = 0; i < s->m; i += TILE_ROWS) {
            const int32_t count = s->m - i < TILE_ROWS ? s->m - i : TILE_ROWS;
            float *out = c + i * (int64_t)s->ldc;
            for (int32_t r = 0; accumulate && r < count; r++)
                for (int32_t j = 0; j < n; j++)
                    rows[r * WIDTH + j] = out[r * (int64_t)s->ldc + j];
            tile_columns(1, count, depth, a + i * (int64_t)s->lda + start, s->lda, padded, WIDTH,
                         rows, WIDTH, accumulate);
            for (int32_t r = 0; r < count; r++)
                for (int32_t j = 0; j < n; j++)
                    out[r * (int64_t)s->ldc + j] = rows[r * WIDTH + j];
        }
    }
}

static void tile_product(const rapt_tile_shape *s, const float *a, const float *b, float *c)
{
    int32_t j = 0;
    if (s->m <= 0)
        return;
    for (; j + 2 * WIDTH <= s->n; j += 2 * WIDTH)
        tile_columns(2, s->m, s->k, a, s->lda, b + j, s->ldb, c + j, s->ldc, s->accumulate);
    for (; j + WIDTH <= s->n; j += WIDTH)
        tile_columns(1, s->m, s->k, a, s->lda, b + j, s->ldb, c + j, s->ldc, s->accumulate);
    if (j < s->n)
        tile_tail(s, s->n - j, a, b + j, c + j);
}
