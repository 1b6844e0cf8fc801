// Tiles of scores: 8 ROWS rows that a workgroup owns against 64 others, 16 threads across and 8
// down. Thread (x, y) has rows y + 8 i; of products of features the columns x + 16 c, of sums over
// the others the columns 4 x + c of each run of 64 features. 16 KiB of shared memory in all.
//
// Macros, for GLSL passes no buffers. They use `id`, the thread's index, and between the calls of
// one and the next that reuses the chunk stands a barrier.
#ifndef RAPT_KIT_SCORE_TILE_GLSL
#define RAPT_KIT_SCORE_TILE_GLSL

const uint OTHERS = 64;
const uint TILE_STEP = 17;   // vec4 from row to row: rows of neighbouring threads in other banks
const uint CHUNK_STEP = 5;   // likewise, of 16 features
const uint CHUNK_OTHER = 160; // where the others' rows begin

shared vec4 score_tile[32 * TILE_STEP];
shared vec4 score_chunk[480];

const vec4 ZERO = vec4(0.0);

void score_put(uint i, float x)
{
    score_chunk[i >> 2][i & 3u] = x;
}

// 16 features, from `first` on, of `count` times 8 rows into the chunk; `at` says with i_ and row_
// where row row_ begins.
#define SCORE_STAGE(data, slot, count, at, features, first)                                        \
    SCORE_UNROLL for (uint i_ = 0; i_ < count; i_++)                                               \
    {                                                                                              \
        const uint row_ = (id >> 4) + 8 * i_, feature_ = (first) + (id & 15u);                     \
        const uint at_ = at;                                                                       \
        float x_ = 0.0;                                                                            \
        if (at_ != NOWHERE && feature_ < features)                                                 \
            x_ = LOAD(data[at_ + feature_]);                                                       \
        score_put((slot)*4 + row_ * CHUNK_STEP * 4 + (id & 15u), x_);                              \
    }

// What the chunk's features add to the products of own and other rows.
void score_dots(uint id, inout vec4 s[4])
{
    const uint x = id & 15u, y = id >> 4;
    SCORE_UNROLL for (uint f = 0; f < 4; f++) {
        vec4 a[4];
        [[unroll]] for (uint i = 0; i < ROWS; i++)
            a[i] = score_chunk[(y + 8 * i) * CHUNK_STEP + f];
        [[unroll]] for (uint c = 0; c < 4; c++) {
            const vec4 b = score_chunk[CHUNK_OTHER + (x + 16 * c) * CHUNK_STEP + f];
            [[unroll]] for (uint i = 0; i < ROWS; i++)
                s[i][c] = s[i][c] + a[i].x * b.x + a[i].y * b.y + a[i].z * b.z + a[i].w * b.w;
        }
    }
}

// s[i][c] = own . other over all features.
#define SCORE_PRODUCTS(s, own, own_at, other, other_at, features)                                  \
    s = vec4[4](ZERO, ZERO, ZERO, ZERO);                                                           \
    for (uint f_ = 0; f_ < features; f_ += 16) {                                                   \
        barrier();                                                                                 \
        SCORE_STAGE(own, 0, ROWS, own_at, features, f_)                                            \
        SCORE_STAGE(other, CHUNK_OTHER, 8, other_at, features, f_)                                 \
        barrier();                                                                                 \
        score_dots(id, s);                                                                         \
    }

// A thread's values of the tile that the sums read.
void score_put_tile(uint id, vec4 w[4])
{
    const uint x = id & 15u, y = id >> 4;
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        [[unroll]] for (uint c = 0; c < 4; c++) {
            const uint column = x + 16 * c;
            score_tile[(y + 8 * i) * TILE_STEP + (column >> 2)][column & 3u] = w[i][c];
        }
}

// 16 others' rows by 64 features of block b_, into the chunk; `at` says with row_ where they begin.
#define SCORE_STAGE_COLUMNS(data, at, features, b_)                                                \
    SCORE_UNROLL for (uint i_ = 0; i_ < 8; i_++)                                                   \
    {                                                                                              \
        const uint e_ = id + 128 * i_, row_ = e_ >> 6, feature_ = b_ * 64 + (e_ & 63u);            \
        const uint at_ = at;                                                                       \
        float x_ = 0.0;                                                                            \
        if (at_ != NOWHERE && feature_ < features)                                                 \
            x_ = LOAD(data[at_ + feature_]);                                                       \
        score_put(e_, x_);                                                                         \
    }

// What 16 others, from o_ on, add to the sums of one block of features.
#define SCORE_ADD(id, sums, b_, o_)                                                                \
    SCORE_UNROLL for (uint k_ = 0; k_ < 4; k_++)                                                   \
    {                                                                                              \
        const uint x_ = id & 15u, y_ = id >> 4;                                                    \
        vec4 c_[4];                                                                                \
        [[unroll]] for (uint t_ = 0; t_ < 4; t_++)                                                 \
            c_[t_] = score_chunk[(k_ * 4 + t_) * 16 + x_];                                         \
        [[unroll]] for (uint i_ = 0; i_ < ROWS; i_++)                                              \
        {                                                                                          \
            const vec4 a_ = score_tile[(y_ + 8 * i_) * TILE_STEP + ((o_) >> 2) + k_];              \
            sums[b_ * 4 + i_] =                                                                    \
                sums[b_ * 4 + i_] + a_.x * c_[0] + a_.y * c_[1] + a_.z * c_[2] + a_.w * c_[3];     \
        }                                                                                          \
    }

// sums[row][feature] += sum over the first `count` others of tile[row][other] data[other][feature];
// `at` says with row_ and o_ where other o_ + row_ begins.
#define SCORE_SUMS(sums, blocks, data, at, features, count)                                        \
    for (uint o_ = 0; o_ < (count); o_ += 16)                                                      \
        [[unroll]] for (uint b_ = 0; b_ < blocks; b_++) {                                          \
            barrier();                                                                             \
            SCORE_STAGE_COLUMNS(data, at, features, b_)                                            \
            barrier();                                                                             \
            SCORE_ADD(id, sums, b_, o_)                                                            \
        }

// The greatest, or the sum, of the 16 threads of each row; in every one of them. The values go by
// the same tree in each thread.
void score_exchange(uint id, float mine[4])
{
    barrier();
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        score_put(((id >> 4) + 8 * i) * 16 + (id & 15u), mine[i]);
    barrier();
}

void score_row_most(uint id, inout float most[4])
{
    score_exchange(id, most);
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        const uint at = ((id >> 4) + 8 * i) * 4;
        const vec4 x = max(max(score_chunk[at], score_chunk[at + 1]),
                           max(score_chunk[at + 2], score_chunk[at + 3]));
        most[i] = max(max(x.x, x.y), max(x.z, x.w));
    }
}

void score_row_sum(uint id, inout float sum[4])
{
    score_exchange(id, sum);
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        const uint at = ((id >> 4) + 8 * i) * 4;
        const vec4 x = (score_chunk[at] + score_chunk[at + 1]) +
                       (score_chunk[at + 2] + score_chunk[at + 3]);
        sum[i] = (x.x + x.y) + (x.z + x.w);
    }
}

#endif
