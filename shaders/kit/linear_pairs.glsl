// Products for the gradients of decays. The shader that includes this has `inner` columns of q and k,
// `width` of v and do, `row_factor[CHUNK]`, the tile `sums`, and linear_operand.glsl.

// result = left right^T over `columns`, of rows of a head of each.
#define LINEAR_PAIRS(result, chunk, t, left, left_head, right, right_head, columns)                 \
    LINEAR_CLEAR(result)                                                                            \
    for (uint x = 0; x < columns; x += SLICE) {                                                     \
        const uint extent = columns;                                                                \
        for (uint i = t >> 2; i < CHUNK; i += 32) {                                                 \
            const uint column = (t & 3u) * 4;                                                       \
            const vec4 own = OPERAND(left, chunk, left_head, i, x + column, 0);                     \
            const vec4 other = OPERAND(right, chunk, right_head, i, x + column, 0);                 \
            LINEAR_TURN(left_slice, i, column, own)                                                 \
            LINEAR_TURN(right_slice, i, column, other)                                              \
        }                                                                                           \
        barrier();                                                                                  \
        LINEAR_MULTIPLY(result, (t >> 4) * 2, t & 15u)                                              \
        barrier();                                                                                  \
    }

// dots[8] += the invocation's share of row_factor_i (left_i S) . right_i, of its 8 rows; S begins at `at`.
#define LINEAR_ACROSS(dots, chunk, t, left, left_head, state, at, right, right_head)                \
    for (uint w = 0; w < width; w += CHUNK) {                                                       \
        LINEAR_CLEAR(sums)                                                                          \
        for (uint x = 0; x < inner; x += SLICE) {                                                   \
            const uint extent = inner;                                                              \
            for (uint i = t >> 2; i < CHUNK; i += 32) {                                             \
                const uint column = (t & 3u) * 4;                                                   \
                const vec4 own =                                                                    \
                    row_factor[i] * OPERAND(left, chunk, left_head, i, x + column, 0);              \
                LINEAR_TURN(left_slice, i, column, own)                                             \
            }                                                                                       \
            for (uint r = t >> 4; r < SLICE; r += 8) {                                              \
                const uint column = w + (t & 15u) * 4;                                              \
                right_slice[r * STRIDE + (t & 15u)] =                                               \
                    state##_load((at) + (x + r) * width + column,                                   \
                                 x + r < inner ? int(width) - int(column) : 0);                     \
            }                                                                                       \
            barrier();                                                                              \
            LINEAR_MULTIPLY(sums, (t >> 4) * 2, t & 15u)                                            \
            barrier();                                                                              \
        }                                                                                           \
        const uint extent = width;                                                                  \
        [[unroll]] for (uint r = 0; r < 8; r++)                                                     \
            dots[r] += dot(sums[r], OPERAND(right, chunk, right_head, (t >> 4) * 8 + r,             \
                                            w + (t & 15u) * 4, 0));                                 \
    }
