// kit/linear_tile.glsl by cooperative matrices (LINEAR_COOP), for float16: operands are float16, sums
// float32. A subgroup owns 16 of the 64 rows of a product. What is not float16 already - states, weighed
// rows and pairs - becomes an operand times a power of two that brings its greatest value below 2^15, so
// that nothing overflows and what is small beside the others alone is lost. Every product of tiles goes
// through shared memory into sums that the invocations hold as the plain ones do: there the power of two
// and the rows' factors are put on, in float32, and no element of a cooperative matrix is touched.
//
// The device may be told that 16-bit floats are bfloat16: they are moved and converted alone.
#ifndef RAPT_KIT_LINEAR_COOP_GLSL
#define RAPT_KIT_LINEAR_COOP_GLSL

#include "kit/coopmat.glsl"

// Emulated matrices go through eight elements at a turn here: software drivers end a shader's loops after
// 65536 turns in all.
#if defined(RAPT_COOPMAT_KHR) || defined(RAPT_COOPMAT_NV)
#define LINEAR_SCALE(c, x) c = (c) * (x)
#else
#undef COOP_LOAD_B
#undef COOP_LOAD_B_T
#undef COOP_MULTIPLY
#define LINEAR_EIGHTS(does)                                                                         \
    for (uint k_ = 0; k_ < 16; k_++)                                                                \
        [[unroll]] for (uint i_ = 0; i_ < 8; i_++)                                                  \
            does;
#define COOP_LOAD_B(m, array, at, step)                                                             \
    LINEAR_EIGHTS(m.e[8 * k_ + i_] = COOP_ELEMENT(array, at, step, k_, COOP_COLUMN + i_))
#define COOP_LOAD_B_T(m, array, at, step)                                                           \
    LINEAR_EIGHTS(m.e[8 * k_ + i_] = COOP_ELEMENT(array, at, step, COOP_COLUMN + i_, k_))
#define COOP_MULTIPLY(c, a, b) LINEAR_EIGHTS(c.e[i_] += a.e[k_] * b.e[8 * k_ + i_])
#define LINEAR_SCALE(c, x)                                                                          \
    [[unroll]] for (uint i_ = 0; i_ < 8; i_++)                                                      \
        c.e[i_] *= (x)
#endif

const uint TILE_STEP = 18;  // vectors of four from row to row: two more than there are, for the banks
const uint STAGE_STEP = 5;  // the same of 16 columns

shared COOP_HALF4 left_tile[CHUNK * TILE_STEP];
shared COOP_HALF4 right_tile[CHUNK * TILE_STEP];
shared COOP_FLOAT4 stage[CHUNK * STAGE_STEP]; // each subgroup's 16 rows on their way
shared uint greatest[2];

uint greatest_turn = 0;

uint linear_self(uint slot)
{
    return gl_LocalInvocationIndex;
}

// The first of the subgroup's rows, turned from slot to slot: of a triangle some have more to do.
uint linear_own()
{
    return (COOP_GROUP + gl_WorkGroupID.x & 3u) * 16;
}

// The row and the first column of quad `r` of an invocation's sums.
#define LINEAR_ROW(t, r)    (linear_own() + 8 * ((r) & 1u) + (COOP_LANE >> 2))
#define LINEAR_COLUMN(t, r) (16 * ((r) >> 1) + 4 * (COOP_LANE & 3u))

// Before all else.
void linear_start()
{
    if (gl_LocalInvocationIndex == 0)
        greatest[0] = 0;
    barrier();
}

// --- Tiles -----------------------------------------------------------------------------------------
// An invocation loads eight quads of a tile: of row index / 16 + 8 r and column 4 (index % 16).

#define LINEAR_LINE (gl_LocalInvocationIndex >> 4)
#define LINEAR_QUAD ((gl_LocalInvocationIndex & 15u) * 4)

// Rows of a chunk, 64 columns from `column` on of `extent`; 0 where there is none. Most tiles are whole, and
// nothing need be asked of a quad.
#define LINEAR_TAKE(taken, name, chunk, lane_, column, extent)                                      \
    {                                                                                               \
        const uint quad_ = (column) + LINEAR_QUAD;                                                  \
        const uint at_ = name.base + chunk.batch * name.batch + (lane_) * name.head +               \
                         (chunk.row + LINEAR_LINE) * name.row + quad_;                              \
        if (chunk.skip == 0 && chunk.count == CHUNK && (column) + CHUNK <= (extent)) {              \
            COOP_ROLL for (uint r_ = 0; r_ < 8; r_++)                                               \
                taken[r_] = name##_quad[at_ + 8 * r_ * name.row >> 2];                              \
        } else {                                                                                    \
            COOP_ROLL for (uint r_ = 0; r_ < 8; r_++) {                                             \
                taken[r_] = uvec2(0);                                                               \
                if (LINEAR_THERE(chunk, r_) && quad_ < (extent))                                    \
                    taken[r_] = name##_quad[at_ + 8 * r_ * name.row >> 2];                          \
            }                                                                                       \
        }                                                                                           \
    }
#define LINEAR_THERE(chunk, r)                                                                      \
    (LINEAR_LINE + 8 * (r) - chunk.skip < chunk.count - chunk.skip)
// The same of float32 numbers in rows of `columns` that begin at `at`: 64 rows from `row` on of `rows`.
#define LINEAR_TAKE_FLOATS(taken, name, at, row, rows, column, columns)                             \
    {                                                                                               \
        const uint line_ = (row) + LINEAR_LINE, quad_ = (column) + LINEAR_QUAD;                     \
        const uint from_ = (at) + line_ * (columns) + quad_ >> 2, step_ = (columns) >> 2;           \
        if ((row) + CHUNK <= (rows) && (column) + CHUNK <= (columns)) {                             \
            COOP_ROLL for (uint r_ = 0; r_ < 8; r_++)                                               \
                taken[r_] = name##_quad[from_ + 8 * r_ * step_];                                    \
        } else {                                                                                    \
            COOP_ROLL for (uint r_ = 0; r_ < 8; r_++) {                                             \
                taken[r_] = vec4(0.0);                                                              \
                if (line_ + 8 * r_ < (rows) && quad_ < (columns))                                   \
                    taken[r_] = name##_quad[from_ + 8 * r_ * step_];                                \
            }                                                                                       \
        }                                                                                           \
    }

#define LINEAR_AT(r) ((LINEAR_LINE + 8 * (r)) * TILE_STEP + (gl_LocalInvocationIndex & 15u))

#define LINEAR_PLACE(tile, taken)                                                                   \
    COOP_ROLL for (uint r_ = 0; r_ < 8; r_++)                                                       \
        tile[LINEAR_AT(r_)] = COOP_TO_HALF4(f16vec4(unpackFloat2x16(taken[r_].x),                   \
                                                    unpackFloat2x16(taken[r_].y)));

// With LINEAR_FLOW columns that there are (`inside`) may go through a sigmoid; rows that there are not, too:
// they have the factor 0, or nobody asks for them.
#ifdef LINEAR_FLOW
vec4 linear_open(uvec2 raw, bool opens, bool inside)
{
    vec4 x = quad_decode(raw);
    if (opens)
        x = inside ? linear_sigmoids(x) : vec4(0.0);
    return x;
}
#define LINEAR_PLACE_IF(opens, tile, taken, column, extent)                                         \
    if (opens) {                                                                                    \
        COOP_ROLL for (uint r_ = 0; r_ < 8; r_++)                                                   \
            tile[LINEAR_AT(r_)] = COOP_TO_HALF4(                                                    \
                f16vec4(linear_open(taken[r_], true, (column) + LINEAR_QUAD < (extent))));          \
    } else {                                                                                        \
        LINEAR_PLACE(tile, taken)                                                                   \
    }
#define LINEAR_PLACE_OPEN(tile, taken, column, extent, bit)                                         \
    LINEAR_PLACE_IF((flags & (bit)) != 0, tile, taken, column, extent)
#else
#define linear_open(raw, opens, inside)                     quad_decode(raw)
#define LINEAR_PLACE_OPEN(tile, taken, column, extent, bit) LINEAR_PLACE(tile, taken)
#endif

#define LINEAR_PLACE_SCALED(tile, quads, scale)                                                     \
    COOP_ROLL for (uint r_ = 0; r_ < 8; r_++)                                                       \
        tile[LINEAR_AT(r_)] = COOP_TO_HALF4(f16vec4(quads[r_] * (scale)));

// The power of two that brings a number with these bits below 2^15, and its inverse.
float linear_up(uint bits)
{
    return uintBitsToFloat(268u - clamp(bits >> 23, 15u, 253u) << 23);
}

float linear_down(uint bits)
{
    return uintBitsToFloat(clamp(bits >> 23, 15u, 253u) - 14u << 23);
}

float linear_most(vec4 x)
{
    const vec4 size = abs(x);
    return max(max(size.x, size.y), max(size.z, size.w));
}

// The bits of the greatest size in a tile of eight quads of each invocation. It waits for all: whatever was
// in use before may be overwritten behind it. There must be a barrier before it is called again.
uint linear_greatest(vec4 quads[8])
{
    float most = 0.0;
    COOP_ROLL for (uint r = 0; r < 8; r++)
        most = max(most, linear_most(quads[r]));
    atomicMax(greatest[greatest_turn], floatBitsToUint(most));
    barrier();
    const uint bits = greatest[greatest_turn];
    greatest_turn ^= 1u;
    if (gl_LocalInvocationIndex == 0)
        greatest[greatest_turn] = 0;
    return bits;
}

// --- Sums ------------------------------------------------------------------------------------------

#define LINEAR_CLEAR(sums)                                                                          \
    COOP_ROLL for (uint linear_i = 0; linear_i < 8; linear_i++)                                     \
        sums[linear_i] = vec4(0.0);
#define LINEAR_ZERO_OF(part, count)                                                                 \
    COOP_ROLL for (uint n_ = 0; n_ < (count); n_++) {                                               \
        COOP_ZERO(part[n_]);                                                                        \
    }
#define LINEAR_ZERO(part) LINEAR_ZERO_OF(part, 4)

// part += operands from .. from + 3 by a tile, or its transpose.
#define LINEAR_ROWS_BY(part, operands, from, tile, turned)                                          \
    COOP_ROLL for (uint k_1 = 0; k_1 < 4; k_1++) {                                                  \
        COOP_ROLL for (uint c_1 = 0; c_1 < 4; c_1++) {                                              \
            COOP_B right_;                                                                          \
            if (turned) {                                                                           \
                COOP_LOAD_B_T(right_, tile, 16 * c_1 * TILE_STEP + 4 * k_1, TILE_STEP);             \
            } else {                                                                                \
                COOP_LOAD_B(right_, tile, 16 * k_1 * TILE_STEP + 4 * c_1, TILE_STEP);               \
            }                                                                                       \
            COOP_MULTIPLY(part[c_1], operands[(from) + k_1], right_);                               \
        }                                                                                           \
    }

// The subgroup's rows of a sum, 16 columns, into its part of the stage.
#define LINEAR_STAGE(part)                                                                          \
    COOP_SYNC                                                                                       \
    COOP_STORE_C(part, stage, COOP_GROUP * 16 * STAGE_STEP, STAGE_STEP);                            \
    COOP_SYNC

#define LINEAR_STAGED(row, quad) COOP_FROM_FLOAT4(stage[(COOP_GROUP * 16 + (row)) * STAGE_STEP + (quad)])

// sums += the factors of the invocation's two rows times `part`.
#define LINEAR_HAND_OUT(part, factors)                                                              \
    COOP_ROLL for (uint n_ = 0; n_ < 4; n_++) {                                                     \
        LINEAR_STAGE(part[n_])                                                                      \
        COOP_ROLL for (uint i_ = 0; i_ < 2; i_++)                                                   \
            sums[2 * n_ + i_] +=                                                                    \
                factors[i_] * LINEAR_STAGED(8 * i_ + (COOP_LANE >> 2), COOP_LANE & 3u);             \
    }

#endif
