// What the shaders of the linear family share: rows of tensors as quads of four columns, chunks of
// 64 positions and where they lie, and the tile product of 64 x 64 that all of them are made of.
//
// A workgroup has 128 invocations; each owns 8 rows and 4 columns of a tile. Both operands of a
// product come in slices of 16 along the summed dimension, laid out [summed][row or column].
//
// Specialization constants: 0 float16 or bfloat16, 1 whether all rows begin at a multiple of four
// elements and have a multiple of four columns, so that quads are loaded whole.
#ifndef RAPT_KIT_LINEAR_GLSL
#define RAPT_KIT_LINEAR_GLSL

#extension GL_EXT_control_flow_attributes : require
#ifdef LINEAR_COOP
#include "kit/element_f16.glsl"
#else
#include "kit/element.glsl"
#endif

layout(constant_id = 1) const uint ALIGNED = 0;

const uint CHUNK = 64;
const uint CHUNK_LOG = 6;
const uint SLICE = 16;  // of the summed dimension
const uint STRIDE = 17; // quads from one row of a slice to the next: 68 floats spread over the banks
const float NOTHING = -1e4; // exp of it is 0; steps are bounded by it, so that no difference is of infinities

// Element (batch, head, row, column) is base + batch * batch' + head * head' + row * row' + column.
struct linear_rows {
    uint base, batch, head, row;
};

uint linear_row(linear_rows rows, uint batch, uint head, uint row)
{
    return rows.base + batch * rows.batch + head * rows.head + row * rows.row;
}

// --- Quads ---------------------------------------------------------------------------------------

#ifdef RAPT_HALF
#define QUAD uvec2

#ifdef RAPT_COOPMAT_KHR
// 16-bit floats are moved and converted alone: the device may be told that they are of the other type.
vec4 quad_decode(uvec2 raw)
{
    return vec4(f16vec4(unpackFloat2x16(raw.x), unpackFloat2x16(raw.y)));
}

uvec2 quad_encode(vec4 x)
{
    const f16vec4 half_ = f16vec4(x);
    return uvec2(packFloat2x16(half_.xy), packFloat2x16(half_.zw));
}
#else
vec4 quad_decode(uvec2 raw)
{
#ifndef LINEAR_COOP
    if (ELEMENT_BF16 != 0)
        return uintBitsToFloat(uvec4(raw.x << 16, raw.x & 0xffff0000u, raw.y << 16, raw.y & 0xffff0000u));
#endif
    return vec4(unpackHalf2x16(raw.x), unpackHalf2x16(raw.y));
}

// To what float16 can hold, ties to even, so that the packing itself has nothing to round.
vec2 quad_round(vec2 x)
{
    const uvec2 bits = floatBitsToUint(x);
    const uvec2 rounded = (bits + 0xfffu + (bits >> 13 & 1u)) & ~0x1fffu;
    return uintBitsToFloat(rounded);
}

uvec2 quad_encode(vec4 x)
{
#ifndef LINEAR_COOP
    if (ELEMENT_BF16 != 0)
        return uvec2(bf16_encode(x.x) | bf16_encode(x.y) << 16, bf16_encode(x.z) | bf16_encode(x.w) << 16);
#endif
    return uvec2(packHalf2x16(quad_round(x.xy)), packHalf2x16(quad_round(x.zw)));
}
#endif
#else
#define QUAD             vec4
#define quad_decode(raw) (raw)
#define quad_encode(x)   (x)
#endif

float linear_sigmoid(float x)
{
    return 1.0 / (1.0 + exp(min(-x, 87.0)));
}

vec4 linear_sigmoids(vec4 x)
{
    return 1.0 / (1.0 + exp(min(-x, vec4(87.0))));
}

// 1 in the columns that there are, 0 behind the last.
vec4 linear_columns(int left)
{
    return vec4(greaterThan(ivec4(left), ivec4(0, 1, 2, 3)));
}

#ifdef LINEAR_COOP
// What is below, where the host has seen to it that quads are whole.
#define LINEAR_INPUT(number, name)                                                                  \
    layout(std430, set = 0, binding = number) readonly buffer name##_quads_block                    \
    {                                                                                               \
        QUAD name##_quad[];                                                                         \
    };                                                                                              \
    vec4 name##_load(uint at, int left)                                                             \
    {                                                                                               \
        return left > 0 ? quad_decode(name##_quad[at >> 2]) : vec4(0.0);                            \
    }
#define LINEAR_OUTPUT(number, name)                                                                 \
    layout(std430, set = 0, binding = number) writeonly buffer name##_quads_block                   \
    {                                                                                               \
        QUAD name##_quad[];                                                                         \
    };                                                                                              \
    void name##_store(uint at, int left, vec4 x)                                                    \
    {                                                                                               \
        if (left > 0)                                                                               \
            name##_quad[at >> 2] = quad_encode(x);                                                  \
    }
#define LINEAR_FLOATS(number, name)                                                                 \
    layout(std430, set = 0, binding = number) buffer name##_quads_block                             \
    {                                                                                               \
        vec4 name##_quad[];                                                                         \
    };                                                                                              \
    vec4 name##_load(uint at, int left)                                                             \
    {                                                                                               \
        return left > 0 ? name##_quad[at >> 2] : vec4(0.0);                                         \
    }                                                                                               \
    void name##_store(uint at, int left, vec4 x)                                                    \
    {                                                                                               \
        if (left > 0)                                                                               \
            name##_quad[at >> 2] = x;                                                               \
    }
#else
// A tensor of the compute type that is read: NAME_load gives up to four columns from element `at`, of
// which `left` exist; the others are 0.
#define LINEAR_INPUT(number, name)                                                                  \
    layout(std430, set = 0, binding = number) readonly buffer name##_ones_block                     \
    {                                                                                               \
        STORED name##_one[];                                                                        \
    };                                                                                              \
    layout(std430, set = 0, binding = number) readonly buffer name##_quads_block                    \
    {                                                                                               \
        QUAD name##_quad[];                                                                         \
    };                                                                                              \
    vec4 name##_load(uint at, int left)                                                             \
    {                                                                                               \
        vec4 x = vec4(0.0);                                                                         \
        if (left <= 0)                                                                              \
            return x;                                                                               \
        if (ALIGNED != 0)                                                                           \
            return quad_decode(name##_quad[at >> 2]);                                               \
        x.x = LOAD(name##_one[at]);                                                                 \
        if (left > 1)                                                                               \
            x.y = LOAD(name##_one[at + 1]);                                                         \
        if (left > 2)                                                                               \
            x.z = LOAD(name##_one[at + 2]);                                                         \
        if (left > 3)                                                                               \
            x.w = LOAD(name##_one[at + 3]);                                                         \
        return x;                                                                                   \
    }

// The same, to write.
#define LINEAR_OUTPUT(number, name)                                                                 \
    layout(std430, set = 0, binding = number) writeonly buffer name##_ones_block                    \
    {                                                                                               \
        STORED name##_one[];                                                                        \
    };                                                                                              \
    layout(std430, set = 0, binding = number) writeonly buffer name##_quads_block                   \
    {                                                                                               \
        QUAD name##_quad[];                                                                         \
    };                                                                                              \
    void name##_store(uint at, int left, vec4 x)                                                    \
    {                                                                                               \
        if (left <= 0)                                                                              \
            return;                                                                                 \
        if (ALIGNED != 0) {                                                                         \
            name##_quad[at >> 2] = quad_encode(x);                                                  \
            return;                                                                                 \
        }                                                                                           \
        name##_one[at] = STORE(x.x);                                                                \
        if (left > 1)                                                                               \
            name##_one[at + 1] = STORE(x.y);                                                        \
        if (left > 2)                                                                               \
            name##_one[at + 2] = STORE(x.z);                                                        \
        if (left > 3)                                                                               \
            name##_one[at + 3] = STORE(x.w);                                                        \
    }

// Float32 rows of this family's own, whose columns are counted as the tensors' are.
#define LINEAR_FLOATS(number, name)                                                                 \
    layout(std430, set = 0, binding = number) buffer name##_ones_block                              \
    {                                                                                               \
        float name##_one[];                                                                         \
    };                                                                                              \
    layout(std430, set = 0, binding = number) buffer name##_quads_block                             \
    {                                                                                               \
        vec4 name##_quad[];                                                                         \
    };                                                                                              \
    vec4 name##_load(uint at, int left)                                                             \
    {                                                                                               \
        vec4 x = vec4(0.0);                                                                         \
        if (left <= 0)                                                                              \
            return x;                                                                               \
        if (ALIGNED != 0)                                                                           \
            return name##_quad[at >> 2];                                                            \
        for (int i = 0; i < min(left, 4); i++)                                                      \
            x[i] = name##_one[at + i];                                                              \
        return x;                                                                                   \
    }                                                                                               \
    void name##_store(uint at, int left, vec4 x)                                                    \
    {                                                                                               \
        if (left > 0 && ALIGNED != 0)                                                               \
            name##_quad[at >> 2] = x;                                                               \
        for (int i = 0; ALIGNED == 0 && i < min(left, 4); i++)                                      \
            name##_one[at + i] = x[i];                                                              \
    }
#endif

// --- Chunks --------------------------------------------------------------------------------------
// Slots of chunks: of sequences of one length one behind the other; of packed sequences s begins at
// (its first row / 64) + s, so that slots between two sequences may be empty; with rows to skip, + 2 s.

struct linear_chunk {
    uint sequence, index; // which sequence, which of its chunks
    uint batch, row;      // where the first row of its tiles lies
    uint skip, count;     // its positions are rows `skip` and up, below `count`, at most 64; 0: an empty slot
    uint first, chunks;   // its sequence's first slot, and how many
};

// Whether row i of a chunk's tiles is a position.
bool linear_has(linear_chunk chunk, uint i)
{
    return i - chunk.skip < chunk.count - chunk.skip;
}

#ifdef LINEAR_TABLE
#ifndef LINEAR_TABLE_BASE
#define LINEAR_TABLE_BASE 0
#endif

// From LINEAR_TABLE_BASE on: sequences {first slot, chunks, first row, length}, then slots {sequence, index,
// row, count}.
layout(std430, set = 0, binding = LINEAR_TABLE) readonly buffer linear_table_block
{
    uvec4 linear_table[];
};

// `packed`: how many packed sequences there are; 0: sequences of n positions, one in each batch. `skip`: rows
// of a sequence's first chunk before its first position, less than 64.
linear_chunk linear_chunk_at(uint slot, uint packed, uint n, uint skip)
{
    linear_chunk chunk;
    if (packed == 0) {
        const uint chunks = (skip + n + CHUNK - 1) / CHUNK;
        chunk.sequence = chunk.batch = slot / chunks;
        chunk.index = slot - chunk.sequence * chunks;
        chunk.row = chunk.index * CHUNK - skip;
        chunk.skip = chunk.index == 0 ? skip : 0;
        chunk.count = min(n - chunk.row, CHUNK);
        chunk.first = slot - chunk.index;
        chunk.chunks = chunks;
        return chunk;
    }
    const uvec4 own = linear_table[LINEAR_TABLE_BASE + packed + slot];
    const uvec4 sequence = linear_table[LINEAR_TABLE_BASE + own.x];
    chunk.sequence = own.x;
    chunk.index = own.y;
    chunk.batch = 0;
    chunk.row = own.z;
    chunk.skip = chunk.index == 0 && own.w != 0 ? skip : 0; // an empty slot has no position
    chunk.count = own.w;
    chunk.first = sequence.x;
    chunk.chunks = sequence.y;
    return chunk;
}

linear_chunk linear_chunk_at(uint slot, uint packed, uint n)
{
    return linear_chunk_at(slot, packed, n, 0);
}

struct linear_sequence {
    uint first, chunks, row, positions;
};

linear_sequence linear_sequence_at(uint s, uint packed, uint n, uint skip)
{
    linear_sequence sequence;
    if (packed == 0) {
        sequence.chunks = n == 0 ? 0 : (skip + n + CHUNK - 1) / CHUNK;
        sequence.first = s * sequence.chunks;
        sequence.row = 0;
        sequence.positions = n;
        return sequence;
    }
    const uvec4 own = linear_table[LINEAR_TABLE_BASE + s];
    sequence.first = own.x;
    sequence.chunks = own.y;
    sequence.row = own.z;
    sequence.positions = own.w;
    return sequence;
}

linear_sequence linear_sequence_at(uint s, uint packed, uint n)
{
    return linear_sequence_at(s, packed, n, 0);
}
#endif

// --- Two floats as one number ----------------------------------------------------------------------
// Sums of decays: behind a decay of e^-1000, differences of later sums still hold all digits.

vec2 linear_two_sum(vec2 a, vec2 b)
{
    precise const float sum = a.x + b.x;
    precise const float part = sum - a.x;
    precise const float lost = a.x - (sum - part) + (b.x - part);
    precise const float low = lost + (a.y + b.y);
    precise const float high = sum + low;
    precise const float rest = low - (high - sum);
    return vec2(high, rest);
}

// a - b in one float.
float linear_gap(vec2 a, vec2 b)
{
    precise const float high = a.x - b.x;
    precise const float low = a.y - b.y;
    return high + low;
}

#endif
