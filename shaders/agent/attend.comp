#version 450
// Softmax attention of float32 agents over keys (gathering) or of queries over float32 agents
// (HAND_OUT), 64 rows at a time, with a running maximum. Gathering leaves parts: for each split of the
// keys the unnormalised sums, the maximum and the sum of exponentials. Groups: tiles of values times
// tiles of rows, splits, batch * heads + head. With PACKED agents stand in the place of a batch for each
// sequence: gathering has its groups, and handing out has tiles of one sequence's rows.
#extension GL_GOOGLE_include_directive : require
#include "kit/element.glsl"
#include "agent/bias.glsl"
#include "agent/options.glsl"

layout(constant_id = 2) const uint FLOATS = 0; // handing out: 1: to `floats`, not to `o`
layout(constant_id = 3) const uint SAVE = 0;   // handing out: 1: leave the rows' statistics

layout(push_constant) uniform Push {
    uint heads, units, rows, keys, width, values;
    uint q_base, q_batch, q_head, q_row;
    uint k_base, k_batch, k_head, k_row;
    uint v_base, v_batch, v_head, v_row;
    uint o_base, o_batch, o_head, o_row;
    BIAS_FIELDS
    uint split_keys; // with PACKED the number of splits; handing out: where the sink begins
    uint most_base, total_base;
    float scale, softcap;
    uint wide; // of attend_coop.comp alone
};

#ifdef HAND_OUT
#define Q_STORED   STORED
#define Q_LOAD(x)  LOAD(x)
#define KV_STORED  float
#define KV_LOAD(x) (x)
#else
#define Q_STORED   float
#define Q_LOAD(x)  (x)
#define KV_STORED  STORED
#define KV_LOAD(x) LOAD(x)
#endif

layout(std430, binding = 0) readonly buffer Q { Q_STORED q[]; };
layout(std430, binding = 1) readonly buffer K { KV_STORED k_[]; };
layout(std430, binding = 2) readonly buffer V { KV_STORED v_[]; };
BIAS_BINDINGS(3, 4)
layout(std430, binding = 5) writeonly buffer O { STORED o[]; };
layout(std430, binding = 6) writeonly buffer Floats { float floats[]; };
layout(std430, binding = 7) writeonly buffer Most { float most[]; };
layout(std430, binding = 8) writeonly buffer Total { float total[]; };
layout(std430, binding = 9) readonly buffer Sink { float sinks[]; };
#define BORDERS_BINDING 10
#include "agent/packed.glsl"

uint q_at, k_at, v_at, row0, row_end, key0, e0, end;
bool of_scores; // which product the loads are for

float product_left(uint row, uint k)
{
    return row0 + row < row_end && k < width ? Q_LOAD(q[q_at + row * q_row + k]) : 0.0;
}

float key_element(uint column, uint k)
{
    return key0 + column < end && k < width ? KV_LOAD(k_[k_at + (key0 + column) * k_row + k]) : 0.0;
}

// Of value `k` of the tile.
float product_right(uint column, uint k)
{
    return key0 + k < end && e0 + column < values ? KV_LOAD(v_[v_at + (key0 + k) * v_row + column])
                                                  : 0.0;
}

// Rows have statistics, so their sums are put away in main.
void product_out(uint row, uint column, float x) {}

#define PRODUCT_LEFT_ALONG_K  1
#define PRODUCT_RIGHT_ALONG_K 0
#include "kit/product.glsl"

#define LOWEST -3.4e38

shared float across[64 * 9];

void load_keys(uint from)
{
    PRODUCT_UNROLL for (uint i = 0; i < 16; i++) {
        const uint at = i * PRODUCT_LANES + PRODUCT_LANE, column = at >> 4, k = at & 15u;
        product_b[k * PRODUCT_PITCH + (column >> 2)][column & 3u] = key_element(column, from + k);
    }
}

void main()
{
    const uint unit = gl_WorkGroupID.z, split = gl_WorkGroupID.y;
    const uint batch = unit / heads, head = unit % heads, sequences = units / heads;
    const uint tiles = (values + PRODUCT_TILE - 1u) / PRODUCT_TILE;
    const uint row_tile = tiles > 0u ? gl_WorkGroupID.x / tiles : gl_WorkGroupID.x;
    uint set = batch; // of agents: the batch's or the sequence's
    uvec2 seen = uvec2(0u, values); // WEIGHTS: the keys of the rows
    row0 = row_tile * PRODUCT_TILE;
    row_end = rows;
    e0 = (gl_WorkGroupID.x - row_tile * tiles) * PRODUCT_TILE;
#ifdef HAND_OUT
    const uint begin = 0u;
    end = keys;
    if (PACKED) {
        const uvec3 tile = tile_of(0u, sequences, row_tile, 0u, rows);
        if (tile.y >= tile.z)
            return;
        set = tile.x;
        row0 = tile.y;
        row_end = tile.z;
        if (WEIGHTS)
            seen = positions_of(sequences + 1u, set, 0u, values);
    }
#else
    uint begin = split * split_keys;
    end = min(keys, begin + split_keys);
    if (PACKED) {
        const uvec2 all = positions_of(sequences + 1u, set, 0u, keys);
        const uvec2 share = share_of(all, split, split_keys, PRODUCT_TILE);
        begin = share.x;
        end = share.y;
    }
#endif
    q_at = q_base + batch * q_batch + head * q_head + row0 * q_row;
    k_at = k_base + set * k_batch + head * k_head;
    v_at = v_base + set * v_batch + head * v_head + e0;

    PRODUCT_SUMS(sums);
    PRODUCT_CLEAR(sums)
    float top[8], part[8];
    PRODUCT_UNROLL for (uint r = 0; r < 8; r++) {
        top[r] = LOWEST;
        part[r] = 0.0;
    }
    for (key0 = begin; key0 < end; key0 += PRODUCT_TILE) {
        PRODUCT_SUMS(scores);
        PRODUCT_CLEAR(scores)
        for (uint d = 0; d < width; d += PRODUCT_CHUNK) {
            product_load_left(d);
            load_keys(d);
            barrier();
            PRODUCT_MULTIPLY(scores)
            barrier();
        }
        PRODUCT_UNROLL for (uint r = 0; r < 8; r++) {
            const uint row = row0 + product_row(r);
            float here = LOWEST;
            PRODUCT_UNROLL for (uint c = 0; c < 8; c++) {
                const uint key = key0 + product_column(c >> 2, c & 3u);
                float x = LOWEST;
                if (key < end && row < row_end) {
                    x = scale * scores[r][c >> 2][c & 3u] + bias_at(head, row, key);
                    if (CAPPED)
                        x = softcapped(x, softcap);
                }
                scores[r][c >> 2][c & 3u] = x;
                here = max(here, x);
            }
            across[product_row(r) * 9u + PRODUCT_X] = here;
        }
        barrier();
        PRODUCT_UNROLL for (uint r = 0; r < 8; r++) {
            float higher = top[r];
            PRODUCT_UNROLL for (uint x = 0; x < 8; x++)
                higher = max(higher, across[product_row(r) * 9u + x]);
            const float factor = exp(top[r] - higher);
            top[r] = higher;
            part[r] *= factor;
            sums[r][0] *= factor;
            sums[r][1] *= factor;
            PRODUCT_UNROLL for (uint c = 0; c < 8; c++) {
                const float x = scores[r][c >> 2][c & 3u];
                const float p = x > LOWEST ? exp(x - higher) : 0.0;
                scores[r][c >> 2][c & 3u] = p;
                part[r] += p;
            }
        }
        // Keys 16 c to 16 c + 15 of the tile lie in vector c / 2 of the invocations with x / 4 = c % 2.
        PRODUCT_UNROLL for (uint chunk = 0; chunk < 4; chunk++) {
            barrier();
            if (PRODUCT_X >> 2 == (chunk & 1u))
                PRODUCT_UNROLL for (uint c = 0; c < 4; c++) {
                    const uint at = (4u * (PRODUCT_X & 3u) + c) * PRODUCT_PITCH + PRODUCT_Y;
                    const uint v = chunk >> 1;
                    product_a[at] = vec4(scores[0][v][c], scores[1][v][c], scores[2][v][c],
                                         scores[3][v][c]);
                    product_a[at + 8u] = vec4(scores[4][v][c], scores[5][v][c], scores[6][v][c],
                                              scores[7][v][c]);
                }
            product_load_right(chunk * PRODUCT_CHUNK);
            barrier();
            PRODUCT_MULTIPLY(sums)
        }
        barrier();
    }
    barrier();
    PRODUCT_UNROLL for (uint r = 0; r < 8; r++)
        across[product_row(r) * 9u + PRODUCT_X] = part[r];
    barrier();
    PRODUCT_UNROLL for (uint r = 0; r < 8; r++) {
        const uint row = row0 + product_row(r);
        float sum = 0.0;
        PRODUCT_UNROLL for (uint x = 0; x < 8; x++)
            sum += across[product_row(r) * 9u + x];
        if (row >= row_end)
            continue;
#ifdef HAND_OUT
        const uint stat = unit * rows + row;
        float shrink = 1.0;
        if (SINK) {
            const float sink = sinks[split_keys + head];
            if (sink > LOWEST) {
                const float higher = max(top[r], sink);
                shrink = exp(top[r] - higher);
                sum = sum * shrink + exp(sink - higher);
                top[r] = higher;
            }
        }
        const float factor = sum > 0.0 ? shrink / sum : 0.0;
        const bool first = SAVE != 0 && e0 == 0u && PRODUCT_X == 0u;
#else
        const uint stat = (split * units + unit) * rows + row;
        const float factor = 1.0;
        const bool first = e0 == 0u && PRODUCT_X == 0u;
#endif
        if (first) {
            most[most_base + stat] = top[r];
            total[total_base + stat] = sum;
        }
        PRODUCT_UNROLL for (uint c = 0; c < 8; c++) {
            const uint e = e0 + product_column(c >> 2, c & 3u);
            if (e >= values)
                continue;
            float x = factor * sums[r][c >> 2][c & 3u];
#ifdef HAND_OUT
            if (WEIGHTS) {
                if (PACKED && (e < seen.x || e >= seen.y))
                    x = 0.0;
                floats[o_base + stat * values + e] = x;
                continue;
            }
            if (FLOATS == 0) {
                o[o_base + batch * o_batch + head * o_head + row * o_row + e] = STORE(x);
                continue;
            }
#endif
            floats[stat * values + e] = x;
        }
    }
}
