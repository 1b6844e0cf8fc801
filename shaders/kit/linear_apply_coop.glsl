// kit/linear_apply.glsl by cooperative matrices: what takes the place of its products and of its main
// program. All that a head needs is on its way before the first product begins:
//
//     a, b into the tiles | a as operands, a b^T, weighed, each subgroup in its own rows of the left tile,
//     and back as operands | a state and c into the tiles | a S, pairs c
//
// so that a head of 64 columns waits three times for all. Rows have no more than 128 columns.
#ifndef RAPT_KIT_LINEAR_APPLY_COOP_GLSL
#define RAPT_KIT_LINEAR_APPLY_COOP_GLSL

shared float pair_factor[CHUNK]; // of the weighed pairs of a row: what they are as operands, times this
#ifdef LINEAR_FLOW
shared float column_factor[CHUNK];
#endif

COOP_A own[8];    // the subgroup's rows of a
COOP_A shares[4]; // their weighed pairs
uvec2 next_a[8], next_b[8];
vec4 next_state[8];

// Whether there is a state at the chunk's border: at its slot.
bool has_state(linear_chunk chunk)
{
    return (flags & SEES_FIRST) != 0 || (UPPER != 0 ? chunk.index + 1 < chunk.chunks : chunk.index > 0);
}

float border_factor(linear_chunk chunk, uint lane, uint i)
{
    return exp(step_of(lane) * float(UPPER != 0 ? int(chunk.count) - 1 - int(i) : int(i) + 1));
}

// The states at `at`: rows and columns of the tile as they lie.
void take_state(uint at, uint x, uint w)
{
    const uint row = TRANSPOSED != 0 ? w : x, column = TRANSPOSED != 0 ? x : w;
    const uint rows = TRANSPOSED != 0 ? width : inner, columns = TRANSPOSED != 0 ? inner : width;
    LINEAR_TAKE_FLOATS(next_state, state, at, row, rows, column, columns)
}

// shares and pair_factor of the products of the subgroup's rows with the chunk's.
void weigh(linear_chunk chunk, uint head, COOP_C part[4])
{
    const uint row = COOP_LANE >> 1, side = COOP_LANE & 1u, i = linear_own() + row;
    vec4 weighed[8];
    float most = 0.0;
    COOP_ROLL for (uint h = 0; h < 4; h++) {
        LINEAR_STAGE(part[h])
        COOP_ROLL for (uint v = 0; v < 2; v++) {
            vec4 x = LINEAR_STAGED(row, 2 * v + side);
            const uint j = 16 * h + 4 * (2 * v + side);
            [[unroll]] for (uint c = 0; c < 4; c++) {
                x[c] *= pair_weight(i, j + c);
#ifdef LINEAR_FLOW
                x[c] *= column_factor[j + c];
#endif
            }
            most = max(most, linear_most(x));
            weighed[2 * h + v] = x;
        }
    }
    const uint bits = floatBitsToUint(max(most, COOP_OTHER(most)));
    const float up = linear_up(bits);
    COOP_ROLL for (uint v = 0; v < 8; v++)
        left_tile[i * TILE_STEP + 2 * v + side] = COOP_TO_HALF4(f16vec4(weighed[v] * up));
    if (side == 0)
        pair_factor[i] = linear_down(bits) * operand_factor(a_factor, chunk, head, i);
    COOP_SYNC
    COOP_ROLL for (uint k = 0; k < 4; k++) {
        COOP_LOAD_A(shares[k], left_tile, linear_own() * TILE_STEP + 4 * k, TILE_STEP);
    }
}

// sums += shares c, with c in the right tile
void multiply_near(uint t)
{
    COOP_C part[4];
    LINEAR_ZERO(part)
    LINEAR_ROWS_BY(part, shares, 0, right_tile, false)
    float factors[2];
    COOP_ROLL for (uint i = 0; i < 2; i++)
        factors[i] = pair_factor[LINEAR_ROW(t, i)];
    LINEAR_HAND_OUT(part, factors)
}

// The rows of a as operands, their pairs with those of b as shares; c and the state are on their way.
void begin_head(linear_chunk chunk, uint head, uint outer, uint w, bool far, uint at, uint t)
{
    COOP_C part[4];
    LINEAR_ZERO(part)
    LINEAR_TAKE(next_a, a, chunk, head, 0, inner)
    LINEAR_TAKE(next_b, b, chunk, head, 0, inner)
    if (far)
        take_state(at, 0, w);
#ifdef LINEAR_FLOW
    float column = 0.0;
    if (t < CHUNK)
        column = operand_factor(b_factor, chunk, head, t) * operand_factor(c_factor, chunk, outer, t);
#endif
    [[unroll]] for (uint x = 0; x < 2; x++) {
        if (x * CHUNK < inner) {
            barrier();
            LINEAR_PLACE_OPEN(left_tile, next_a, x * CHUNK, inner, SIGMOID)
            LINEAR_PLACE_OPEN(right_tile, next_b, x * CHUNK, inner, SIGMOID * 2)
#ifdef LINEAR_FLOW
            if (t < CHUNK)
                column_factor[t] = column;
#endif
            if (x == 0 && inner > CHUNK) {
                LINEAR_TAKE(next_a, a, chunk, head, CHUNK, inner)
                LINEAR_TAKE(next_b, b, chunk, head, CHUNK, inner)
            } else {
                LINEAR_TAKE(next_b, c, chunk, outer, w, width)
            }
            barrier();
            COOP_ROLL for (uint k = 0; k < 4; k++) {
                COOP_LOAD_A(own[4 * x + k], left_tile, linear_own() * TILE_STEP + 4 * k, TILE_STEP);
            }
            LINEAR_ROWS_BY(part, own, 4 * x, right_tile, true)
        }
    }
    COOP_SYNC // all have the rows that the pairs take the place of
    weigh(chunk, head, part);
}

// Rows of the chunk by one head: sums, of columns w and up. `begins`: its operands are not at hand yet.
void apply_head(linear_chunk chunk, uint slot, uint lane, uint head, uint outer, uint w, bool begins, uint t)
{
    const uint at = (lane * lane_states + slot) * inner * width;
    const bool far = has_state(chunk);
    if (begins) {
        begin_head(chunk, head, outer, w, far, at, t);
    } else {
        if (far)
            take_state(at, 0, w);
        LINEAR_TAKE(next_b, c, chunk, outer, w, width)
    }
    float factors[2], scaled[2];
    COOP_ROLL for (uint i = 0; i < 2; i++) {
        const uint row = LINEAR_ROW(t, i);
        factors[i] = far_scale * border_factor(chunk, lane, row) * operand_factor(a_factor, chunk, head, row);
    }
    if (!far) {
        barrier();
        LINEAR_PLACE_OPEN(right_tile, next_b, w, width, SIGMOID * 4)
        barrier();
    }
    [[unroll]] for (uint x = 0; x < 2; x++) {
        if (far && x * CHUNK < inner) {
            const uint bits = linear_greatest(next_state);
            const float up = linear_up(bits), down = linear_down(bits);
            LINEAR_PLACE_SCALED(left_tile, next_state, up)
            if (x == 0) {
                LINEAR_PLACE_OPEN(right_tile, next_b, w, width, SIGMOID * 4)
                if (inner > CHUNK)
                    take_state(at, CHUNK, w);
            }
            barrier();
            COOP_C part[4];
            LINEAR_ZERO(part)
            LINEAR_ROWS_BY(part, own, 4 * x, left_tile, TRANSPOSED != 0)
            COOP_ROLL for (uint i = 0; i < 2; i++)
                scaled[i] = factors[i] * down;
            LINEAR_HAND_OUT(part, scaled)
        }
    }
    multiply_near(t);
}

#endif
