// The main program of kit/linear_contribute.glsl by cooperative matrices, with LINEAR_FLOW: 64 rows of a state
// and all of its columns, 128 at most. Rows of the next chunk are on their way while those of one are
// multiplied, and nothing leaves the matrices before the last.

// The state as sums are stored, COOP_FLOAT4.
#ifdef RAPT_COOPMAT_NV
layout(std430, set = 0, binding = 2) writeonly buffer state_words_block { COOP_FLOAT4 state_words[]; };
#else
#define state_words state_quad
#endif

uvec2 next_a[8], next_c[8], next_d[8]; // columns d and up of a; the first 64 of c, and the others
COOP_C state_part[8];

// part += the left tile's columns by the right tile's
#define CONTRIBUTE_PRODUCT(from)                                                                    \
    COOP_ROLL for (uint k = 0; k < 4; k++) {                                                        \
        COOP_A left;                                                                                \
        COOP_LOAD_A_T(left, left_tile, 16 * k * TILE_STEP + linear_own() / 4, TILE_STEP);           \
        COOP_ROLL for (uint x = 0; x < 4; x++) {                                                    \
            COOP_B right;                                                                           \
            COOP_LOAD_B(right, right_tile, 16 * k * TILE_STEP + 4 * x, TILE_STEP);                  \
            COOP_MULTIPLY(state_part[(from) + x], left, right);                                     \
        }                                                                                           \
    }

// The bits of the greatest factor of the chunks' rows: those of a are sigmoids, so that it alone says how
// great they are.
uint greatest_factor(uint slot, uint lane, uint several)
{
    float most = 0.0;
    for (uint i = gl_LocalInvocationIndex; i < several * CHUNK; i += gl_WorkGroupSize.x) {
        const linear_chunk chunk = linear_chunk_at(slot + i / CHUNK, packed, n);
        most = max(most, abs(operand_factor(a_factor, chunk, lane / share, i % CHUNK) *
                             operand_factor(c_factor, chunk, lane, i % CHUNK)));
    }
    atomicMax(greatest[0], floatBitsToUint(most));
    barrier();
    return greatest[0];
}

// The chunks' sum, times `up`.
void add_chunks(uint slot, uint lane, uint several, uint d, float up)
{
    linear_chunk chunk = linear_chunk_at(slot, packed, n);
    LINEAR_ZERO_OF(state_part, 8)
    for (uint u = 0; u < several; u++) {
        vec4 weighed[8];
        COOP_ROLL for (uint r = 0; r < 8; r++) {
            const uint i = LINEAR_LINE + 8 * r;
            weighed[r] = operand_factor(a_factor, chunk, lane / share, i) *
                         operand_factor(c_factor, chunk, lane, i) *
                         linear_open(next_a[r], (flags & SIGMOID) != 0, d + LINEAR_QUAD < height);
        }
        if (u + 1 < several)
            chunk = linear_chunk_at(slot + u + 1, packed, n);
        barrier(); // the tiles may still be in use
        LINEAR_PLACE_SCALED(left_tile, weighed, up)
        LINEAR_PLACE_OPEN(right_tile, next_c, 0, width, SIGMOID * 4)
        if (u + 1 < several) {
            LINEAR_TAKE(next_a, a, chunk, lane / share, d, height)
            LINEAR_TAKE(next_c, c, chunk, lane, 0, width)
        }
        barrier();
        CONTRIBUTE_PRODUCT(0)
        if (width > CHUNK) {
            barrier();
            LINEAR_PLACE_OPEN(right_tile, next_d, CHUNK, width, SIGMOID * 4)
            if (u + 1 < several)
                LINEAR_TAKE(next_d, c, chunk, lane, CHUNK, width)
            barrier();
            CONTRIBUTE_PRODUCT(4)
        }
    }
}

// Rows d and up of the state that begins at `at`: those of a whole tile as they lie in the matrices.
void store_state(uint at, uint d, float factor)
{
    const uint t = gl_LocalInvocationIndex;
    [[unroll]] for (uint e = 0; e < 2; e++) {
        if (e * CHUNK >= width)
            continue;
        if (d + CHUNK <= height && (e + 1) * CHUNK <= width) {
            COOP_ROLL for (uint x = 0; x < 4; x++) {
                LINEAR_SCALE(state_part[4 * e + x], factor);
                COOP_STORE_C(state_part[4 * e + x], state_words,
                             (at + (d + linear_own()) * width + e * CHUNK >> 2) + 4 * x, width >> 2);
            }
            continue;
        }
        COOP_C part[4];
        COOP_ROLL for (uint x = 0; x < 4; x++)
            part[x] = state_part[4 * e + x];
        const float factors[2] = float[](factor, factor);
        LINEAR_CLEAR(sums)
        LINEAR_HAND_OUT(part, factors)
        [[unroll]] for (uint r = 0; r < 8; r++) {
            const uint row = d + LINEAR_ROW(t, r), column = e * CHUNK + LINEAR_COLUMN(t, r);
            state_store(at + row * width + column, row < height ? int(width) - int(column) : 0, sums[r]);
        }
    }
}

void main()
{
    const uint slot = gl_WorkGroupID.x, lane = gl_WorkGroupID.y, d = gl_WorkGroupID.z * CHUNK;
    const linear_chunk first = linear_chunk_at(slot, packed, n);
    if (first.count == 0 || (first.index & (1u << unit_log) - 1u) != 0)
        return;
    linear_start();
    const uint several = min(1u << unit_log, first.chunks - first.index);
    LINEAR_TAKE(next_a, a, first, lane / share, d, height)
    LINEAR_TAKE(next_c, c, first, lane, 0, width)
    if (width > CHUNK)
        LINEAR_TAKE(next_d, c, first, lane, CHUNK, width)
    const uint bits = greatest_factor(slot, lane, several);
    add_chunks(slot, lane, several, d, linear_up(bits));
    const uint place = unit_log == 0 ? slot
                                     : (first.first >> unit_log) + first.sequence + (first.index >> unit_log);
    store_state((lane * lane_states + place) * height * width, d, scale * linear_down(bits));
}
