// Rows of a chunk from the rows of that chunk and the states at its border:
//
//     out_i = sum_j w(i,j) (a_i . b_j) c_j + sum_states f_i a_i . S
//
//     forward    out = o,  a = q,  b = k,  c = v,  j <= i, S before the chunk
//     backward   out = dq, a = do, b = v,  c = k,  j <= i, S before the chunk, transposed
//                out = dk, a = v,  b = do, c = q,  j >= i, R after the chunk, transposed
//                out = dv, a = k,  b = q,  c = do, j >= i, R after the chunk
//
// Workgroups: (slot, lane, 1), a lane being a head of out. LINEAR_SLOPE: decays by one slope a head;
// LINEAR_FLOW: none, operands through sigmoids and row factors; LINEAR_TREE: decays by position, and
// weights by level.
#define LINEAR_TABLE 5
#include "kit/linear_tile.glsl"

// 0 or 1; 2: as `flags` say, so that one pipeline does for all (software drivers compile for longer than
// they run).
layout(constant_id = 2) const uint UPPER_IS = 0;
layout(constant_id = 3) const uint TRANSPOSED_IS = 0;
layout(constant_id = 4) const uint WIDE_IS = 0;

layout(push_constant) uniform push_block
{
    linear_rows a, b, c, to;
    uint n, packed, share, lane_states; // positions; packed sequences; heads in a group; states in a lane
    uint inner, width;                  // columns of a and b; of c and out
    float near_scale, far_scale;
    uint flags;
#ifdef LINEAR_SLOPE
    uint slope;
#endif
#ifdef LINEAR_FLOW
    uint heads;                          // that factors are laid out for
    uint a_factor, b_factor, c_factor;   // where their factors begin; NONE
#endif
#ifdef LINEAR_TREE
    linear_rows l;
    uint levels, slots, origin;
#endif
};

const uint SEES_FIRST = 1; // there is a state before the first chunk, or after the last
const uint GROUPED = 2;    // out, c have a row a group, a and b one a head; otherwise the other way about
const uint HAS_SLOPE = 4;
const uint WIDE_L = 8;     // l is float32 whatever the inputs are
const uint SIGMOID = 16;   // 16 of a, 32 of b, 64 of c
const uint IS_UPPER = 1 << 14;
const uint IS_WIDE = 1 << 15;
const uint NONE = 0xffffffffu;

#define UPPER      (UPPER_IS == 2 ? flags & IS_UPPER : UPPER_IS)          // j >= i
#define TRANSPOSED (TRANSPOSED_IS == 2 ? flags & GROUPED : TRANSPOSED_IS) // the states are
#define WIDE       (WIDE_IS == 2 ? flags & IS_WIDE : WIDE_IS) // out is float32 whatever the inputs are

LINEAR_INPUT(0, a)
LINEAR_INPUT(1, b)
LINEAR_INPUT(2, c)
LINEAR_OUTPUT(3, to)
layout(std430, set = 0, binding = 3) writeonly buffer wide_block
{
    float wide_one[];
};
LINEAR_FLOATS(4, state)

#ifdef LINEAR_SLOPE
layout(std430, set = 0, binding = 6) readonly buffer slope_block
{
    float slope_of[];
};
#endif
#ifdef LINEAR_FLOW
layout(std430, set = 0, binding = 6) readonly buffer factor_block
{
    float factor_of[];
};
#endif
#ifdef LINEAR_TREE
#define LINEAR_GOES_ON 5
#include "kit/linear_tree.glsl"
#else
shared float near_decay[CHUNK]; // by distance
#endif
#ifndef LINEAR_COOP
shared float row_factor[CHUNK];
#endif

vec4 sums[8];

#include "kit/linear_operand.glsl"

// The weight of a pair of a chunk's rows: 0 on the other side of the diagonal.
float pair_weight(uint i, uint j)
{
    const uint later = UPPER != 0 ? j : i, earlier = UPPER != 0 ? i : j;
    if (earlier > later)
        return 0.0;
#ifdef LINEAR_TREE
    return near_scale * tree_weight(later, earlier);
#else
    return near_scale * near_decay[later - earlier];
#endif
}

#ifdef LINEAR_COOP
#include "kit/linear_apply_coop.glsl"
#else

vec4 pairs[8];

// The operands of a slice are loaded while the slice before it may still be in use: then a barrier, then
// they are put there.

// pairs = a b^T
void multiply_pairs(linear_chunk chunk, uint head, uint t)
{
    const uint extent = inner, line = t >> 2, column = (t & 3u) * 4;
    LINEAR_CLEAR(pairs)
    for (uint x = 0; x < inner; x += SLICE) {
        vec4 own[2], other[2];
        [[unroll]] for (uint r = 0; r < 2; r++) {
            own[r] = OPERAND(a, chunk, head, line + 32 * r, x + column, SIGMOID);
            other[r] = OPERAND(b, chunk, head, line + 32 * r, x + column, SIGMOID * 2);
        }
        barrier();
        [[unroll]] for (uint r = 0; r < 2; r++) {
            LINEAR_TURN(left_slice, line + 32 * r, column, own[r])
            LINEAR_TURN(right_slice, line + 32 * r, column, other[r])
        }
        barrier();
        LINEAR_MULTIPLY(pairs, (t >> 4) * 2, t & 15u)
    }
}

// pairs *= their weights
void weigh_pairs(uint t)
{
    [[unroll]] for (uint r = 0; r < 8; r++)
        [[unroll]] for (uint c = 0; c < 4; c++)
            pairs[r][c] *= pair_weight((t >> 4) * 8 + r, (t & 15u) * 4 + c);
}

// sums += pairs c
void multiply_near(linear_chunk chunk, uint head, uint w, uint t)
{
    const uint extent = width, first = (t >> 4) * 8, column = w + (t & 15u) * 4;
    for (uint j = 0; j < CHUNK; j += SLICE) {
        vec4 own[2];
        [[unroll]] for (uint r = 0; r < 2; r++)
            own[r] = OPERAND(c, chunk, head, j + (t >> 4) + 8 * r, column, SIGMOID * 4);
        barrier();
        if ((t & 15u) >> 2 == j >> 4) {
            [[unroll]] for (uint c = 0; c < 4; c++) {
                const uint at = ((t & 3u) * 4 + c) * STRIDE + (first >> 2);
                left_slice[at] = vec4(pairs[0][c], pairs[1][c], pairs[2][c], pairs[3][c]);
                left_slice[at + 1] = vec4(pairs[4][c], pairs[5][c], pairs[6][c], pairs[7][c]);
            }
        }
        [[unroll]] for (uint r = 0; r < 2; r++)
            right_slice[((t >> 4) + 8 * r) * STRIDE + (t & 15u)] = own[r];
        barrier();
        if (UPPER != 0 ? first < j + SLICE : first + 8 > j)
            LINEAR_MULTIPLY(sums, (t >> 4) * 2, t & 15u)
    }
}

// sums += row_factor a S, with S the state that begins at `at`
void multiply_far(linear_chunk chunk, uint head, uint at, uint w, uint t)
{
    const uint extent = inner, line = t >> 2, column = (t & 3u) * 4;
    for (uint x = 0; x < inner; x += SLICE) {
        vec4 own[2], other[2];
        [[unroll]] for (uint r = 0; r < 2; r++) {
            const uint i = line + 32 * r;
            own[r] = row_factor[i] * OPERAND(a, chunk, head, i, x + column, SIGMOID);
            if (TRANSPOSED != 0) {
                const int left = w + i < width ? int(inner) - int(x + column) : 0;
                other[r] = state_load(at + (w + i) * inner + x + column, left);
            } else {
                const uint k = x + (t >> 4) + 8 * r, across = w + (t & 15u) * 4;
                other[r] = state_load(at + k * width + across, k < inner ? int(width) - int(across) : 0);
            }
        }
        barrier();
        [[unroll]] for (uint r = 0; r < 2; r++) {
            LINEAR_TURN(left_slice, line + 32 * r, column, own[r])
            if (TRANSPOSED != 0) {
                LINEAR_TURN(right_slice, line + 32 * r, column, other[r])
            } else {
                right_slice[((t >> 4) + 8 * r) * STRIDE + (t & 15u)] = other[r];
            }
        }
        barrier();
        LINEAR_MULTIPLY(sums, (t >> 4) * 2, t & 15u)
    }
}

// The states at the chunk's border, with the rows' factors.
void multiply_states(linear_chunk chunk, uint slot, uint lane, uint head, uint w, uint t)
{
    const uint i = gl_LocalInvocationID.x, size = inner * width;
#ifdef LINEAR_TREE
    // After the chunk: its state, of a last chunk the tails too. Before it, by bits of positions: pieces, then
    // whole chunks.
    for (uint bit = UPPER != 0 || GOES_ON != 0 ? 0 : CHUNK_LOG;
         UPPER != 0 ? bit <= (GOES_ON != 0 ? CHUNK_LOG : 0)
                    : GOES_ON != 0 && bit < CHUNK_LOG || tree_reaches(chunk.index, bit - CHUNK_LOG); bit++) {
        uint node;
        if (UPPER != 0) {
            const bool ends = GOES_ON != 0 && bit > 0;
            if (ends && !tree_has_tail(chunk, bit - 1))
                continue;
            if (i < CHUNK)
                row_factor[i] = far_scale * (ends ? tree_tail_weight(chunk, bit - 1, i) : tree_left(i));
            node = ends ? tree_tail(chunk, lane_states, bit - 1) : tree_leaf(chunk);
        } else {
            const bool piece = GOES_ON != 0 && bit < CHUNK_LOG;
            if (piece ? !tree_has_piece(chunk, bit) : !tree_bit(chunk.index, bit - CHUNK_LOG))
                continue;
            if (i < CHUNK)
                row_factor[i] = far_scale * (piece ? tree_piece_weight(bit, i)
                                                   : tree_far(chunk, slot, lane, bit - CHUNK_LOG, i));
            node = piece ? tree_piece(chunk, lane_states, bit) : tree_before(chunk, bit - CHUNK_LOG);
        }
        barrier();
        multiply_far(chunk, head, (lane * lane_states + node) * size, w, t);
    }
#else
    const bool last = UPPER != 0 ? chunk.index + 1 == chunk.chunks : chunk.index == 0;
    if (last && (flags & SEES_FIRST) == 0)
        return;
    if (i < CHUNK)
        row_factor[i] = far_scale * exp(step_of(lane) *
                                        float(UPPER != 0 ? int(chunk.count) - 1 - int(i) : int(i) + 1));
    barrier();
    multiply_far(chunk, head, (lane * lane_states + slot) * size, w, t);
#endif
}

#endif

void store_rows(linear_chunk chunk, uint lane, uint w, uint t)
{
    [[unroll]] for (uint r = 0; r < 8; r++) {
        const uint i = LINEAR_ROW(t, r), column = w + LINEAR_COLUMN(t, r);
        if (!linear_has(chunk, i))
            continue;
        const uint at = linear_row(to, chunk.batch, lane, chunk.row + i) + column;
        if (WIDE == 0)
            to_store(at, int(width) - int(column), sums[r]);
        else
            [[unroll]] for (uint c = 0; c < 4; c++)
                if (column + c < width)
                    wide_one[at + c] = sums[r][c];
    }
}

void main()
{
    const uint slot = gl_WorkGroupID.x, lane = gl_WorkGroupID.y, t = linear_self(slot);
#ifdef LINEAR_TREE
    const linear_chunk chunk = linear_chunk_at(slot, packed, n, tree_skip());
#else
    const linear_chunk chunk = linear_chunk_at(slot, packed, n);
#endif
    if (chunk.count == 0)
        return;
#ifdef LINEAR_COOP
    linear_start();
#endif
    const bool grouped = (flags & GROUPED) != 0;
    const uint several = grouped ? share : 1;
#ifndef LINEAR_TREE
    if (gl_LocalInvocationID.x < CHUNK)
        near_decay[gl_LocalInvocationID.x] = exp(step_of(lane) * float(gl_LocalInvocationID.x));
    barrier();
#endif
    for (uint w = 0; w < width; w += CHUNK) {
        LINEAR_CLEAR(sums)
        for (uint one = 0; one < several; one++) {
            // Heads of this round: of values, and of queries and keys.
            const uint head = grouped ? lane * share + one : lane;
            const uint inner_head = grouped ? head : head / share;
            const uint outer_head = grouped ? lane : head;
            const bool begins = w == 0 || several > 1;
#ifdef LINEAR_TREE
            if (begins)
                tree_load(chunk, slot, head);
#endif
#ifdef LINEAR_COOP
            apply_head(chunk, slot, head, inner_head, outer_head, w, begins, t);
#else
            if (begins) {
                multiply_pairs(chunk, inner_head, t);
                weigh_pairs(t);
            }
            multiply_near(chunk, outer_head, w, t);
            multiply_states(chunk, slot, head, inner_head, w, t);
#endif
        }
        store_rows(chunk, lane, w, t);
    }
}
