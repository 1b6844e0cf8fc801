/*
 * A call of flow, laid out: which rows each (sequence, head) owns, and the numbers that each
 * position has. Level-independent.
 */
#ifndef RAPT_FLOW_JOB_H
#define RAPT_FLOW_JOB_H

#include "flow.h"
#include "kit/linear.h"

#define FLOW_CHUNK        RAPT_LINEAR_CHUNK
#define FLOW_SUMS_AT_ONCE 4 /* those of k, q, out k and inc q */

/* One number for each position of each (batch, head): [B, H, N] or [B, H, M]. */
typedef struct flow_numbers {
    float *gate;     /* sigmoid(cs) inc: what q_i is multiplied with (causal: / t) */
    float *comp;     /* what v_j is multiplied with */
    float *inc, *cs; /* queries; cs before the sigmoid, times n/m in the full form */
    float *out, *cr; /* keys; cr before clipping */
    double *z;       /* causal: sum of e^cr up to t */
} flow_numbers;

typedef struct flow_span {
    int64_t batch, q, n, k, m; /* first row and number of rows of queries and keys */
} flow_span;

typedef struct flow_job {
    rapt_call *call;
    rapt_linear linear; /* causal: the driver's problem */
    int causal;
    float eps, clamp;
    int64_t heads, n, m, d, e, ld, le; /* ld, le: D and E padded to whole vectors */
    int64_t spans;
    flow_span *span;
    rapt_rows q, k, v, o, d_o, dq, dk, dv;
    /* States `sums`, [spans, H, FLOW_SUM_ROWS, D], or NULL; what is written is contiguous. */
    const rapt_view *sums_in, *d_sums_out;
    float *sums_out, *d_sums_in;
    flow_numbers at;
    flow_numbers slope; /* full backward: gradients of inc, cs, out, cr */
    float *border;   /* causal backward: [span chunks][H][4][ld], the four sums before each chunk */
    double *passing; /* causal: [2][H][2 + 4 ld], what one stretch leaves to the next */
    float *state;    /* step: kv, in place */
    char *scratch;
    int64_t scratch_size;
} flow_job;

/* The tasks of one CPU level, made by body.h. */
typedef struct flow_level_code {
    rapt_task running, running_back, whole, whole_back, step;
    size_t tiles_size;
} flow_level_code;

static inline int64_t flow_padded(int64_t width)
{
    return (width + 15) / 16 * 16;
}

/* The numbers of a head's rows, from row `first` of batch b. */
static inline float *flow_at(float *numbers, const flow_job *job, int64_t length, int64_t b,
                             int64_t head, int64_t first)
{
    return numbers + (b * job->heads + head) * length + first;
}

/* --- Causal form ----------------------------------------------------------------------------- */

/* The last two rows of the sums: positions so far, sum of e^cr over them; or their gradients. */
typedef struct flow_carry {
    double length, z;
} flow_carry;

static inline const float *flow_sums_row(const rapt_view *sums, int64_t s, int64_t head, int row)
{
    return (const float *)rapt_view_data(sums) + s * sums->strides[0] + head * sums->strides[1] +
           row * sums->strides[2];
}

/* From `sums`, NULL for zeros. */
static inline flow_carry flow_carry_load(const flow_job *job, const rapt_view *sums, int64_t s,
                                         int64_t head)
{
    flow_carry carry = {0, 0};
    if (sums && job->d > 0) {
        carry.length = (double)*flow_sums_row(sums, s, head, FLOW_SUM_LENGTH);
        carry.z = (double)*flow_sums_row(sums, s, head, FLOW_SUM_EXP);
    }
    return carry;
}

/* One of the four sums; `to` is left alone where `sums` is NULL. */
static inline void flow_carry_row(const flow_job *job, const rapt_view *sums, int64_t s,
                                  int64_t head, int row, double *to)
{
    if (sums)
        for (int64_t c = 0; c < job->d; c++)
            to[c] = (double)flow_sums_row(sums, s, head, row)[c];
}

static inline float *flow_sums_put(const flow_job *job, float *sums, int64_t s, int64_t head,
                                   int row)
{
    return sums + ((s * job->heads + head) * FLOW_SUM_ROWS + row) * job->d;
}

static inline void flow_carry_put(const flow_job *job, float *sums, int64_t s, int64_t head,
                                  int row, const float *from)
{
    if (sums)
        memcpy(flow_sums_put(job, sums, s, head, row), from, (size_t)job->d * sizeof *from);
}

static inline void flow_carry_store(const flow_job *job, float *sums, int64_t s, int64_t head,
                                    const flow_carry *carry)
{
    if (!sums || !job->d)
        return;
    memset(flow_sums_put(job, sums, s, head, FLOW_SUM_EXP), 0, 2 * (size_t)job->d * sizeof *sums);
    *flow_sums_put(job, sums, s, head, FLOW_SUM_EXP) = (float)carry->z;
    *flow_sums_put(job, sums, s, head, FLOW_SUM_LENGTH) = (float)carry->length;
}

/* Where the four sums before a chunk are kept; NULL in forward. */
static inline float *flow_border(const flow_job *job, int64_t chunk, int64_t head)
{
    return job->border ? job->border + (chunk * job->heads + head) * 4 * job->ld : NULL;
}

/* What goes from stretch to stretch: `which` is 0 for what the one in work finds, 1 for what it
 * leaves. The next one may lie before or behind it. */
static inline double *flow_passing(const flow_job *job, int which, int64_t head)
{
    const int64_t stretch = job->linear.from / job->linear.stretch;
    return job->passing + (((stretch + which) & 1) * job->heads + head) * (2 + 4 * job->ld);
}

/* A sequence of one query and one key with nothing before and nothing after. */
static inline bool flow_is_single(const flow_job *job, const flow_span *span)
{
    return span->n == 1 && span->m == 1 && !job->sums_in && !job->d_sums_out &&
           !job->linear.d_state_out;
}

/* The numbers of one position; cr not yet clipped. */
typedef struct flow_position {
    double inc, out, cs, cr;
} flow_position;

static inline double flow_logistic(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static inline double flow_clip(const flow_job *job, double cr)
{
    const double clamp = (double)job->clamp;
    return cr < -clamp ? -clamp : cr > clamp ? clamp : cr;
}

/* Counts position t = carry->length in and writes its numbers. */
static inline void flow_position_put(const flow_job *job, const flow_span *span, int64_t head,
                                     int64_t row, const flow_position *p, flow_carry *carry)
{
    const int64_t b = span->batch, i = span->q + row;
    const double weight = exp(flow_clip(job, p->cr));
    carry->z += weight;
    *flow_at(job->at.inc, job, job->n, b, head, i) = (float)p->inc;
    *flow_at(job->at.out, job, job->n, b, head, i) = (float)p->out;
    *flow_at(job->at.cs, job, job->n, b, head, i) = (float)p->cs;
    *flow_at(job->at.cr, job, job->n, b, head, i) = (float)p->cr;
    *flow_at(job->at.gate, job, job->n, b, head, i) =
        (float)(flow_logistic(p->cs) * p->inc / carry->length);
    *flow_at(job->at.comp, job, job->n, b, head, i) = (float)(carry->length * weight / carry->z);
    job->at.z[(b * job->heads + head) * job->n + i] = carry->z;
}

/* What one position's numbers and their gradients are to the rows: cs and cr already over t. */
typedef struct flow_slope {
    float gate, cs, cr, inc, inc_value, out_value, inc_square, out_square;
} flow_slope;

/* `back` gathers, from the end, the gradients of z and, as far as gate, comp, cs and cr go, of the
 * length t. */
static inline flow_slope flow_slope_of(const flow_job *job, const flow_span *span, int64_t head,
                                       int64_t row, double t, double d_gate, double d_comp,
                                       flow_carry *back)
{
    const int64_t b = span->batch, i = span->q + row;
    const double inc = (double)*flow_at(job->at.inc, job, job->n, b, head, i);
    const double out = (double)*flow_at(job->at.out, job, job->n, b, head, i);
    const double cs = (double)*flow_at(job->at.cs, job, job->n, b, head, i);
    const double cr = (double)*flow_at(job->at.cr, job, job->n, b, head, i);
    const double comp = (double)*flow_at(job->at.comp, job, job->n, b, head, i);
    const double z = job->at.z[(b * job->heads + head) * job->n + i];
    const double open = flow_logistic(cs), bound = flow_clip(job, cr);
    const double d_cs = d_gate * inc / t * open * (1 - open);
    double d_cr = d_comp * comp;
    back->z -= d_comp * comp / z;
    d_cr += exp(bound) * back->z;
    if (bound != cr)
        d_cr = 0;
    back->length += (d_comp * comp - d_gate * open * inc / t - d_cs * cs - d_cr * cr) / t;
    const flow_slope slope = {
        .gate = *flow_at(job->at.gate, job, job->n, b, head, i),
        .cs = (float)(d_cs / t),
        .cr = (float)(d_cr / t),
        .inc = (float)(d_gate * open / t),
        .inc_value = (float)inc,
        .out_value = (float)out,
        .inc_square = (float)(inc * inc / t),
        .out_square = (float)(out * out / t),
    };
    return slope;
}

/* --- Full form ------------------------------------------------------------------------------- */

/* A head's numbers and their gradients. */
typedef struct flow_whole_grad {
    float *inc, *cs, *gate, *out, *cr, *comp;
    float *d_inc, *d_cs, *d_cr, *d_out;
} flow_whole_grad;

static inline flow_whole_grad flow_whole_grads(const flow_job *job, const flow_span *span,
                                               int64_t head)
{
    const int64_t b = span->batch;
    const flow_whole_grad g = {
        .inc = flow_at(job->at.inc, job, job->n, b, head, span->q),
        .cs = flow_at(job->at.cs, job, job->n, b, head, span->q),
        .gate = flow_at(job->at.gate, job, job->n, b, head, span->q),
        .out = flow_at(job->at.out, job, job->m, b, head, span->k),
        .cr = flow_at(job->at.cr, job, job->m, b, head, span->k),
        .comp = flow_at(job->at.comp, job, job->m, b, head, span->k),
        .d_inc = flow_at(job->slope.inc, job, job->n, b, head, span->q),
        .d_cs = flow_at(job->slope.cs, job, job->n, b, head, span->q),
        .d_out = flow_at(job->slope.out, job, job->m, b, head, span->k),
        .d_cr = flow_at(job->slope.cr, job, job->m, b, head, span->k),
    };
    return g;
}

/* One side of the last pass of backward: see flow_back_rows. */
typedef struct flow_side {
    const rapt_rows *x, *y, *dx;
    int64_t batch, head, first, n;
    const float *matrix, *factor;
    const float *a, *c, *h;     /* one number for each row */
    const float *s, *r, *u, *p; /* rows of D */
    bool back;                  /* from the last row to the first */
} flow_side;

static inline char *flow_row(const rapt_rows *rows, int64_t b, int64_t head, int64_t row)
{
    return rapt_row_at(rows, b, head, row);
}

#endif
