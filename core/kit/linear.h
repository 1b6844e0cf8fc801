/*
 * kit/linear.h - the chunked driver of the linear family.
 *
 * Computes, for each head and sequence, positions t counted from 0,
 *
 *     o_t = scale * sum_{s <= t} w(t,s) exp(g_{s+1} + ... + g_t) (q_t . k_s) v_s
 *
 * and its gradients, in time linear in N (flat: w = 1) or N log N (hierarchical: w = l[t,
 * level(t,s)], level the bit length of t xor s). The decays g come per step (`g`), per head
 * (`-slope`), or are 0.
 *
 * The sequence is cut into chunks of RAPT_LINEAR_CHUNK positions. Inside a chunk the sum is a dense
 * product under a mask; what came before is a state, the D x E matrix sum exp(..) k_s v_s^T:
 *
 *     forward    states of chunks, each alone; carried along the sequence; outputs
 *     backward   the same, and once more from the end with q and do in place of k and v
 *
 * The first and the last of these take chunks in any order, on all workers.
 *
 * Flat: one state before each chunk. Hierarchical: a binary tree over chunks; chunk c reads, for
 * each bit b set in c, the state of the 2^b chunks before the aligned block that c lies in (a
 * Fenwick tree).
 *
 * A few heads and a stretch of chunks are in work at a time, so that what one pass writes the next
 * finds in the cache, however long the sequence is. Memory beyond inputs and outputs, of the heads
 * in work: flat, a state for each chunk of the stretch, and backward one more for each chunk;
 * hierarchical, two for each chunk of the stretch, and backward four for each chunk.
 *
 * A plugin fills a rapt_linear and calls rapt_linear_forward or _backward inside its kernel. All
 * sums are taken in a fixed order: results do not depend on the number of threads.
 */
#ifndef RAPT_KIT_LINEAR_H
#define RAPT_KIT_LINEAR_H

#include "kit/rows.h"
#include <rapt/plugin.h>
#include <stdbool.h>
#include <string.h>

#define RAPT_LINEAR_CHUNK     64 /* a power of two */
#define RAPT_LINEAR_CHUNK_LOG 6

typedef struct rapt_linear_chunk {
    int64_t sequence;   /* which sequence; unpacked: the batch */
    int64_t index;      /* of this chunk in its sequence */
    int64_t batch, row; /* first position, in the tensors */
    int64_t count;      /* positions, at most RAPT_LINEAR_CHUNK */
    int64_t skip;       /* rows of its tiles before the first position: chunks lie on a grid that
                           begins with position 0, a sequence may begin later */
} rapt_linear_chunk;

/* States of D x E, padded, of some heads: for each, `lane` of them, beginning with number `first`.
 */
typedef struct rapt_linear_states {
    float *data;
    int64_t first, lane;
} rapt_linear_states;

typedef struct rapt_linear_sequence {
    int64_t first, chunks; /* range in the table of chunks */
} rapt_linear_sequence;

/* A problem. The caller fills everything above the line; gradients are read by backward only, and
 * those with NULL data are not computed. */
typedef struct rapt_linear {
    rapt_call *call;
    int64_t heads, groups; /* value heads; query/key heads, which divide them */
    int64_t d, e, levels;
    double scale;
    rapt_rows q, k, v;  /* q, k have `groups` heads */
    rapt_rows g, l;     /* [B,H,N] log decays, [B,H,N,L] level weights; l present: hierarchical */
    const float *slope; /* [H], decay -slope[h] at each step, or NULL */
    rapt_rows o;        /* forward */
    rapt_rows d_o, dq, dk, dv, dg, dl;
    float *d_slope; /* [H] */
    /* [sequences, H, D, E], contiguous, or NULL; flat form only. */
    const float *state_in;
    float *state_out;
    const float *d_state_out;
    float *d_state_in;
    /* Hierarchical form: how many positions came before, of every sequence, and what they left:
     * [sequences, H, L, D, E], contiguous, or NULL. Entry l + 1 is the state of the last aligned
     * block of 2^l positions where bit l of the number of positions is set, decayed to now; the
     * others are not read and written as 0. A step updates levels_out in place. */
    int64_t position;
    const float *levels_in, *d_levels_out;
    float *d_levels_in;
    float *levels_out;
    /* Work of the caller's own on the stretches, each NULL or called between two passes with `from`
     * and `until`, `first_head` and `round_heads` saying what is in work: `enter` before the states
     * of a stretch are made, the first stretch first (it may write the rows' factors); `leave`
     * after its gradients are, the last first. `owner` is theirs. `least_heads`: in work at a time,
     * if there are as many. */
    void (*enter)(struct rapt_linear *linear);
    void (*leave)(struct rapt_linear *linear);
    void *owner;
    int64_t least_heads;
    /* dq, dk, dv go to tiles of the stretch in work instead (rapt_linear_grad_tile), for `leave`;
     * `groups` is `heads` then. */
    bool grads_in_tiles;
    /* ---- set up by the driver ---- */
    int64_t n_sequences, n_chunks;
    rapt_linear_sequence *sequences;
    rapt_linear_chunk *chunks;
    int64_t first_head, round_heads; /* the heads in work */
    int64_t width_d, width_e;        /* D and E padded to whole vectors */
    const rapt_math_service *math;
    int64_t from, until; /* the chunks in work */
    int64_t stretch;     /* how many that is at most */
    struct linear_tree {
        int64_t nodes;  /* slots of a head */
        int64_t *first; /* [sequences][levels]: nodes of a level in the sequences before */
        int64_t *base;  /* [levels + 1]: where a level's slots begin, behind them the pieces' */
        int64_t *room;  /* [levels + 1]: how many there are */
        int levels;
        bool whole; /* every node has a slot of its own */
    } tree;
    /* Flat: the state before each chunk; tree: nodes by level. */
    rapt_linear_states states;
    /* The same for gradients: after each chunk; tree: totals by level. */
    rapt_linear_states reverse;
    /* Flat: the state [round_heads] that goes on from one stretch to the next, read and written. */
    float *carried[2];
    double *decay;     /* [round_heads][n_chunks]: the chunk's total log decay */
    double *prefix;    /* [round_heads][n_chunks]: the sum of those before it in its sequence */
    double *passing;   /* [round_heads][n_chunks][2]: pair weights that begin in, end in a chunk */
    float *rate;       /* [round_heads][n_chunks][RAPT_LINEAR_CHUNK]: gradients of the decays */
    float *grad_tiles; /* [round_heads][stretch] of dq, dk [CHUNK, width_d], dv [CHUNK, width_e] */
    char *scratch;     /* one block per worker */
    int64_t scratch_size;
} rapt_linear;

/* The sequences of a call: B of N positions, or, with `cu_seqlens` (int32 or int64, [P], from 0 up
 * to N, not decreasing), P - 1 packed into one batch. Call before forward or backward. */
static inline rapt_status rapt_linear_sequences(rapt_linear *linear, int64_t batch, int64_t n,
                                                const rapt_view *cu_seqlens);
/* Entry i of borders; whether borders are good, with an error that calls them `name`. */
static inline int64_t rapt_linear_border(const rapt_view *cu_seqlens, int64_t i);
static inline rapt_status rapt_linear_check(rapt_call *call, const char *name,
                                            const rapt_view *cu_seqlens, int64_t n);

/* A copy of a state in scratch memory, contiguous, as state_in, levels_in and the like want it. */
static inline rapt_status rapt_linear_whole(rapt_call *call, const rapt_view *view,
                                            const float **whole);

static inline rapt_status rapt_linear_forward(rapt_linear *linear);
/* One position, N = 1: state_out or levels_out is read and written in place. */
static inline rapt_status rapt_linear_step(rapt_linear *linear);
static inline rapt_status rapt_linear_backward(rapt_linear *linear);

#include "kit/linear_parts.h"
#define RAPT_LEVELS_BODY "kit/linear_body.h"
#include "kit/levels.h"
#include "kit/linear_driver.h"
#endif
