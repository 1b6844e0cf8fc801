// The products of kit/linear_apply.glsl by cooperative matrices. The states come first, so that the rows
// of `a` in the left tile serve the pairs as well; the weighed pairs then take their place there, each
// subgroup's in its own rows, and stay as operands for all columns of the result.
#ifndef RAPT_KIT_LINEAR_APPLY_COOP_GLSL
#define RAPT_KIT_LINEAR_APPLY_COOP_GLSL

shared float pair_factor[CHUNK]; // of the weighed pairs of a row: what they are as operands, times this
#ifdef LINEAR_FLOW
shared float column_factor[CHUNK];
#endif

COOP_A shares[4];
bool own_there = false; // the left tile holds the first 64 columns of a

// The states at `at`: rows and columns of the tile as they lie.
void take_state(out vec4 quads[8], uint at, uint x, uint w)
{
    const uint row = TRANSPOSED != 0 ? w : x, column = TRANSPOSED != 0 ? x : w;
    const uint rows = TRANSPOSED != 0 ? width : inner, columns = TRANSPOSED != 0 ? inner : width;
    const uint line = row + LINEAR_LINE, quad = column + LINEAR_QUAD;
    const uint from = at + line * columns + quad >> 2, step = columns >> 2;
    if (row + CHUNK <= rows && column + CHUNK <= columns) {
        LINEAR_UNROLL for (uint r = 0; r < 8; r++)
            quads[r] = state_quad[from + 8 * r * step];
    } else {
        LINEAR_UNROLL for (uint r = 0; r < 8; r++) {
            quads[r] = vec4(0.0);
            if (line + 8 * r < rows && quad < columns)
                quads[r] = state_quad[from + 8 * r * step];
        }
    }
}

// sums += row_factor a S, with S the state that begins at `at`
void multiply_far(linear_chunk chunk, uint head, uint at, uint w, uint t)
{
    float factors[4], scaled[4];
    LINEAR_UNROLL for (uint i = 0; i < 4; i++) {
        const uint row = LINEAR_ROW(t, i);
        factors[i] = row_factor[row] * operand_factor(a_factor, chunk, head, row);
    }
    for (uint x = 0; x < inner; x += CHUNK) {
        const bool takes = !own_there || inner > CHUNK;
        uvec2 own[8];
        vec4 other[8];
        if (takes)
            LINEAR_TAKE(own, a, chunk, head, x, inner, SIGMOID)
        take_state(other, at, x, w);
        const uint bits = linear_greatest(other);
        const float up = linear_up(bits), down = linear_down(bits);
        if (takes) {
            LINEAR_PLACE(left_tile, own)
        }
        LINEAR_PLACE_SCALED(right_tile, other, up)
        barrier();
        own_there = true;
        COOP_C part[4];
        LINEAR_ZERO(part)
        LINEAR_UNROLL for (uint k = 0; k < 4; k++) {
            COOP_A left;
            COOP_LOAD_A(left, left_tile, linear_own() * TILE_STEP + 4 * k, TILE_STEP);
            LINEAR_UNROLL for (uint c = 0; c < 4; c++) {
                COOP_B right;
                if (TRANSPOSED != 0) {
                    COOP_LOAD_B_T(right, right_tile, 16 * c * TILE_STEP + 4 * k, TILE_STEP);
                } else {
                    COOP_LOAD_B(right, right_tile, 16 * k * TILE_STEP + 4 * c, TILE_STEP);
                }
                COOP_MULTIPLY(part[c], left, right);
            }
        }
        LINEAR_UNROLL for (uint i = 0; i < 4; i++)
            scaled[i] = factors[i] * down;
        LINEAR_HAND_OUT(part, scaled)
    }
}

// Whether the 16 columns 16 c and up have pairs with the subgroup's rows.
bool has_pairs(uint c)
{
    return UPPER != 0 ? 16 * c >= linear_own() : 16 * c <= linear_own();
}

// shares and pair_factor of the products of the subgroup's rows.
void weigh(linear_chunk chunk, uint head, COOP_C part[4])
{
    const uint row = COOP_LANE >> 1, side = COOP_LANE & 1u, i = linear_own() + row;
    vec4 weighed[8];
    float most = 0.0;
    LINEAR_UNROLL for (uint h = 0; h < 2; h++) {
        LINEAR_STAGE(part, h)
        LINEAR_UNROLL for (uint v = 0; v < 4; v++) {
            vec4 x = LINEAR_STAGED(row, 2 * v + side);
            const uint j = 32 * h + 4 * (2 * v + side);
            LINEAR_UNROLL for (uint c = 0; c < 4; c++) {
                x[c] *= pair_weight(i, j + c);
#ifdef LINEAR_FLOW
                x[c] *= column_factor[j + c];
#endif
            }
            most = max(most, linear_most(x));
            weighed[4 * h + v] = x;
        }
    }
    const uint bits = floatBitsToUint(max(most, COOP_OTHER(most)));
    const float up = linear_up(bits);
    LINEAR_UNROLL for (uint v = 0; v < 8; v++)
        left_tile[i * TILE_STEP + 2 * v + side] = COOP_TO_HALF4(f16vec4(weighed[v] * up));
    if (side == 0)
        pair_factor[i] = linear_down(bits) * operand_factor(a_factor, chunk, head, i);
    own_there = false;
    COOP_SYNC
    LINEAR_UNROLL for (uint k = 0; k < 4; k++) {
        COOP_LOAD_A(shares[k], left_tile, linear_own() * TILE_STEP + 4 * k, TILE_STEP);
    }
}

// shares = a b^T, weighed
void multiply_pairs(linear_chunk chunk, uint inner_head, uint outer_head, uint t)
{
    COOP_C part[4];
    LINEAR_ZERO(part)
#ifdef LINEAR_FLOW
    if (t < CHUNK)
        column_factor[t] = operand_factor(b_factor, chunk, inner_head, t) *
                           operand_factor(c_factor, chunk, outer_head, t);
#endif
    for (uint x = 0; x < inner; x += CHUNK) {
        const bool takes = !own_there || inner > CHUNK;
        uvec2 own[8], other[8];
        if (takes)
            LINEAR_TAKE(own, a, chunk, inner_head, x, inner, SIGMOID)
        LINEAR_TAKE(other, b, chunk, inner_head, x, inner, SIGMOID * 2)
        barrier();
        if (takes) {
            LINEAR_PLACE(left_tile, own)
        }
        LINEAR_PLACE(right_tile, other)
        barrier();
        LINEAR_UNROLL for (uint k = 0; k < 4; k++) {
            COOP_A left;
            COOP_LOAD_A(left, left_tile, linear_own() * TILE_STEP + 4 * k, TILE_STEP);
            LINEAR_UNROLL for (uint c = 0; c < 4; c++) {
                if (has_pairs(c)) {
                    COOP_B right;
                    COOP_LOAD_B_T(right, right_tile, 16 * c * TILE_STEP + 4 * k, TILE_STEP);
                    COOP_MULTIPLY(part[c], left, right);
                }
            }
        }
    }
    weigh(chunk, inner_head, part);
}

// sums += shares c
void multiply_near(linear_chunk chunk, uint head, uint w, uint t)
{
    uvec2 other[8];
    LINEAR_TAKE(other, c, chunk, head, w, width, SIGMOID * 4)
    barrier();
    LINEAR_PLACE(right_tile, other)
    barrier();
    COOP_C part[4];
    LINEAR_ZERO(part)
    LINEAR_UNROLL for (uint k = 0; k < 4; k++) {
        if (has_pairs(k)) {
            LINEAR_UNROLL for (uint c = 0; c < 4; c++) {
                COOP_B right;
                COOP_LOAD_B(right, right_tile, 16 * k * TILE_STEP + 4 * c, TILE_STEP);
                COOP_MULTIPLY(part[c], shares[k], right);
            }
        }
    }
    float factors[4];
    LINEAR_UNROLL for (uint i = 0; i < 4; i++)
        factors[i] = pair_factor[LINEAR_ROW(t, i)];
    LINEAR_HAND_OUT(part, factors)
}

#endif
