// Products for the gradients of decays. The shader that includes this has `inner` columns of q and k,
// `width` of v and do, `row_factor[CHUNK]`, the tile `sums`, and linear_operand.glsl.

// result = left right^T over `columns`, of rows of a head of each.
#define LINEAR_PAIRS(result, chunk, t, left, left_head, right, right_head, columns)                 \
    LINEAR_CLEAR(result)                                                                            \
    for (uint x = 0; x < columns; x += SLICE) {                                                     \
        const uint extent = columns, line = t >> 2, column = (t & 3u) * 4;                          \
        vec4 own[2], other[2];                                                                      \
        [[unroll]] for (uint r = 0; r < 2; r++) {                                                   \
            own[r] = OPERAND(left, chunk, left_head, line + 32 * r, x + column, 0);                 \
            other[r] = OPERAND(right, chunk, right_head, line + 32 * r, x + column, 0);             \
        }                                                                                           \
        barrier();                                                                                  \
        [[unroll]] for (uint r = 0; r < 2; r++) {                                                   \
            LINEAR_TURN(left_slice, line + 32 * r, column, own[r])                                  \
            LINEAR_TURN(right_slice, line + 32 * r, column, other[r])                               \
        }                                                                                           \
        barrier();                                                                                  \
        LINEAR_MULTIPLY(result, (t >> 4) * 2, t & 15u)                                              \
    }

// dots[8] += the invocation's share of row_factor_i (left_i S) . right_i, of its 8 rows; S begins at `at`.
#define LINEAR_ACROSS(dots, chunk, t, left, left_head, state, at, right, right_head)                \
    for (uint w = 0; w < width; w += CHUNK) {                                                       \
        const uint across = w + (t & 15u) * 4;                                                      \
        LINEAR_CLEAR(sums)                                                                          \
        for (uint x = 0; x < inner; x += SLICE) {                                                   \
            const uint extent = inner, line = t >> 2, column = (t & 3u) * 4;                        \
            vec4 own[2], other[2];                                                                  \
            [[unroll]] for (uint r = 0; r < 2; r++) {                                               \
                const uint i = line + 32 * r, deep = x + (t >> 4) + 8 * r;                           \
                own[r] = row_factor[i] * OPERAND(left, chunk, left_head, i, x + column, 0);         \
                other[r] = state##_load((at) + deep * width + across,                                \
                                        deep < inner ? int(width) - int(across) : 0);                  \
            }                                                                                       \
            barrier();                                                                              \
            [[unroll]] for (uint r = 0; r < 2; r++) {                                               \
                LINEAR_TURN(left_slice, line + 32 * r, column, own[r])                              \
                right_slice[((t >> 4) + 8 * r) * STRIDE + (t & 15u)] = other[r];                    \
            }                                                                                       \
            barrier();                                                                              \
            LINEAR_MULTIPLY(sums, (t >> 4) * 2, t & 15u)                                            \
        }                                                                                           \
        const uint extent = width;                                                                  \
        [[unroll]] for (uint r = 0; r < 8; r++)                                                     \
            dots[r] += dot(sums[r], OPERAND(right, chunk, right_head, (t >> 4) * 8 + r, across, 0)); \
    }
