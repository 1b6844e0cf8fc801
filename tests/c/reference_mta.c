#include "reference_mta.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Matrices H x N x M of one batch, and their gradients. */
enum { SCORE, LOGIT, PROBABILITY, SMEARED, WEIGHT, SLOPE, MATRICES };

typedef struct batch {
    const reference_mta *task;
    int64_t at;
    double *x[MATRICES], *dx[MATRICES];
} batch;

static bool sees(const reference_mta *task, int64_t i, int64_t j)
{
    const int64_t at = i + task->M - task->N;
    return (!task->causal || j <= at) && (task->left < 0 || j >= at - task->left) &&
           (task->right < 0 || j <= at + task->right);
}

static double *row(const reference_mta *task, double *matrix, int64_t h, int64_t i)
{
    return matrix + (h * task->N + i) * task->M;
}

static void hide(const reference_mta *task, double *matrix)
{
    for (int64_t h = 0; h < task->H; h++)
        for (int64_t i = 0; i < task->N; i++)
            for (int64_t j = 0; j < task->M; j++)
                if (!sees(task, i, j))
                    row(task, matrix, h, i)[j] = 0;
}

/* y[i,j] = sum_ab kernel[a,b] x[i - (rows-1) + a, j - (columns-1)/2 + b]; given dy instead, adds to
 * dx and dkernel. A kernel that is not there leaves x as it is. */
static void convolve(const reference_mta *task, const double *kernel, int64_t rows, int64_t columns,
                     double *x, double *y, const double *dy, double *dx, double *dkernel)
{
    const int64_t matrix = task->H * task->N * task->M;
    if (!kernel) {
        for (int64_t i = 0; !dy && i < matrix; i++)
            y[i] = x[i];
        for (int64_t i = 0; dy && i < matrix; i++)
            dx[i] += dy[i];
        return;
    }
    for (int64_t h = 0; h < task->H; h++)
        for (int64_t i = 0; i < task->N; i++)
            for (int64_t j = 0; j < task->M; j++) {
                const int64_t out = (h * task->N + i) * task->M + j;
                double sum = 0;
                for (int64_t a = 0; a < rows; a++)
                    for (int64_t b = 0; b < columns; b++) {
                        const int64_t n = i - (rows - 1) + a, m = j - (columns - 1) / 2 + b;
                        const int64_t tap = (h * rows + a) * columns + b;
                        const int64_t in = (h * task->N + n) * task->M + m;
                        if (n < 0 || m < 0 || m >= task->M)
                            continue;
                        sum += kernel[tap] * x[in];
                        if (!dy)
                            continue;
                        dx[in] += kernel[tap] * dy[out];
                        dkernel[tap] += x[in] * dy[out];
                    }
                if (!dy)
                    y[out] = sum;
            }
}

/* Head d of a group becomes sum_m W[m][d] head m; given dy instead, adds to dx and dW. */
static void mix(const reference_mta *task, double *x, double *y, const double *dy, double *dx)
{
    const int64_t size = task->N * task->M, c = task->c;
    for (int64_t h = 0; h < task->H; h++)
        for (int64_t m = 0; m < c; m++) {
            const int64_t other = h / c * c + m, at = (h / c * c + m) * c + h % c;
            for (int64_t i = 0; i < size; i++) {
                const double w = task->heads ? task->heads[at] : 1;
                if (!dy) {
                    y[h * size + i] = (m ? y[h * size + i] : 0) + w * x[other * size + i];
                    continue;
                }
                dx[other * size + i] += w * dy[h * size + i];
                if (task->heads)
                    task->grad_heads[at] += x[other * size + i] * dy[h * size + i];
            }
        }
}

static void softmax_row(const reference_mta *task, int64_t at, int64_t h, int64_t i,
                        const double *logit, double *p)
{
    const double sink = task->sink ? task->sink[h] : -INFINITY;
    double most = sink, sum = 0;
    for (int64_t j = 0; j < task->M; j++)
        if (sees(task, i, j))
            most = fmax(most, logit[j]);
    if (sink > -INFINITY)
        sum = exp(sink - most);
    for (int64_t j = 0; j < task->M; j++)
        sum += p[j] = sees(task, i, j) ? exp(logit[j] - most) : 0;
    for (int64_t j = 0; j < task->M; j++)
        p[j] = sum > 0 ? p[j] / sum : 0;
    task->lse[(at * task->H + h) * task->N + i] = sum > 0 ? most + log(sum) : -INFINITY;
}

static double distance(const reference_mta *task, int64_t i, int64_t j)
{
    return fabs((double)(i + task->M - task->N - j));
}

/* From a product to a score, and how the score follows the product. */
static double shape(const reference_mta *task, int64_t h, int64_t i, int64_t j, double x,
                    double *slope)
{
    x += task->bias ? task->bias[h * task->N + i] : 0;
    const double y = task->softcap > 0 ? tanh(x / task->softcap) : 0;
    *slope = 1 - y * y;
    if (task->softcap > 0)
        x = task->softcap * y;
    return x - (task->alibi ? task->alibi[h] * distance(task, i, j) : 0);
}

static void forward(const batch *x)
{
    const reference_mta *task = x->task;
    const int64_t D = task->D, E = task->E, N = task->N, M = task->M;
    for (int64_t h = 0; h < task->H; h++)
        for (int64_t i = 0; i < N; i++)
            for (int64_t j = 0; j < M; j++) {
                const double *q = task->q + ((x->at * task->H + h) * N + i) * D;
                const double *k = task->k + ((x->at * task->G + h * task->G / task->H) * M + j) * D;
                double sum = 0;
                for (int64_t d = 0; d < D; d++)
                    sum += q[d] * k[d];
                row(task, x->x[SCORE], h, i)[j] =
                    shape(task, h, i, j, task->scale * sum, row(task, x->x[SLOPE], h, i) + j);
            }
    hide(task, x->x[SCORE]);
    convolve(task, task->qk, task->a, task->b, x->x[SCORE], x->x[LOGIT], NULL, NULL, NULL);
    for (int64_t h = 0; h < task->H; h++)
        for (int64_t i = 0; i < N; i++)
            softmax_row(task, x->at, h, i, row(task, x->x[LOGIT], h, i),
                        row(task, x->x[PROBABILITY], h, i));
    convolve(task, task->post, task->r, task->s, x->x[PROBABILITY], x->x[SMEARED], NULL, NULL,
             NULL);
    hide(task, x->x[SMEARED]);
    mix(task, x->x[SMEARED], x->x[WEIGHT], NULL, NULL);
    memcpy(task->weights + x->at * task->H * N * M, x->x[WEIGHT],
           sizeof(double) * (size_t)(task->H * N * M));
    for (int64_t h = 0; h < task->H; h++)
        for (int64_t i = 0; i < N; i++)
            for (int64_t j = 0; j < M; j++)
                for (int64_t e = 0; e < E; e++)
                    task->o[((x->at * task->H + h) * N + i) * E + e] +=
                        row(task, x->x[WEIGHT], h, i)[j] *
                        task->v[((x->at * task->G + h * task->G / task->H) * M + j) * E + e];
}

/* From the gradient of o to those of v and of the weights. */
static void backward_values(const batch *x)
{
    const reference_mta *task = x->task;
    const int64_t E = task->E, N = task->N, M = task->M;
    for (int64_t h = 0; h < task->H; h++)
        for (int64_t i = 0; i < N; i++)
            for (int64_t j = 0; j < M; j++)
                for (int64_t e = 0; e < E; e++) {
                    const int64_t at = ((x->at * task->G + h * task->G / task->H) * M + j) * E + e;
                    const double g = task->grad_o[((x->at * task->H + h) * N + i) * E + e];
                    task->grad_v[at] += row(task, x->x[WEIGHT], h, i)[j] * g;
                    row(task, x->dx[WEIGHT], h, i)[j] += task->v[at] * g;
                }
}

/* From the gradients of the scores to those of the products. */
static void backward_shape(const batch *x)
{
    const reference_mta *task = x->task;
    for (int64_t h = 0; h < task->H; h++)
        for (int64_t i = 0; i < task->N; i++)
            for (int64_t j = 0; j < task->M; j++) {
                double *g = row(task, x->dx[SCORE], h, i) + j;
                if (task->alibi)
                    task->grad_alibi[h] -= *g * distance(task, i, j);
                *g *= row(task, x->x[SLOPE], h, i)[j];
                if (task->bias)
                    task->grad_bias[h * task->N + i] += *g;
            }
}

static void backward_scores(const batch *x)
{
    const reference_mta *task = x->task;
    const int64_t D = task->D, N = task->N, M = task->M;
    for (int64_t h = 0; h < task->H; h++)
        for (int64_t i = 0; i < N; i++)
            for (int64_t j = 0; j < M; j++)
                for (int64_t d = 0; d < D; d++) {
                    const int64_t q = ((x->at * task->H + h) * N + i) * D + d;
                    const int64_t k = ((x->at * task->G + h * task->G / task->H) * M + j) * D + d;
                    const double g = task->scale * row(task, x->dx[SCORE], h, i)[j];
                    task->grad_q[q] += g * task->k[k];
                    task->grad_k[k] += g * task->q[q];
                }
}

static void backward(const batch *x)
{
    const reference_mta *task = x->task;
    backward_values(x);
    mix(task, x->x[SMEARED], NULL, x->dx[WEIGHT], x->dx[SMEARED]);
    hide(task, x->dx[SMEARED]);
    convolve(task, task->post, task->r, task->s, x->x[PROBABILITY], NULL, x->dx[SMEARED],
             x->dx[PROBABILITY], task->grad_post);
    for (int64_t h = 0; h < task->H; h++)
        for (int64_t i = 0; i < task->N; i++) {
            const double *p = row(task, x->x[PROBABILITY], h, i);
            const double *dp = row(task, x->dx[PROBABILITY], h, i);
            const int64_t at = (x->at * task->H + h) * task->N + i;
            double sum = task->grad_lse ? -task->grad_lse[at] : 0;
            for (int64_t j = 0; j < task->M; j++)
                sum += p[j] * dp[j];
            if (task->sink && task->lse[at] > -INFINITY)
                task->grad_sink[h] -= exp(task->sink[h] - task->lse[at]) * sum;
            for (int64_t j = 0; j < task->M; j++)
                row(task, x->dx[LOGIT], h, i)[j] = p[j] * (dp[j] - sum);
        }
    convolve(task, task->qk, task->a, task->b, x->x[SCORE], NULL, x->dx[LOGIT], x->dx[SCORE],
             task->grad_qk);
    hide(task, x->dx[SCORE]);
    backward_shape(x);
    backward_scores(x);
}

static void clear(double *x, int64_t n)
{
    if (x)
        memset(x, 0, sizeof(double) * (size_t)n);
}

bool reference_mta_attend(const reference_mta *task)
{
    reference_mta own = *task;
    batch x = {.task = &own};
    bool enough = true;
    if (!own.heads)
        own.c = 1;
    clear(own.o, own.B * own.H * own.N * own.E);
    clear(own.grad_q, own.B * own.H * own.N * own.D);
    clear(own.grad_k, own.B * own.G * own.M * own.D);
    clear(own.grad_v, own.B * own.G * own.M * own.E);
    clear(own.grad_qk, own.qk ? own.H * own.a * own.b : 0);
    clear(own.grad_post, own.post ? own.H * own.r * own.s : 0);
    clear(own.grad_heads, own.heads ? own.H * own.c : 0);
    clear(own.grad_bias, own.bias ? own.H * own.N : 0);
    clear(own.grad_alibi, own.alibi ? own.H : 0);
    clear(own.grad_sink, own.sink ? own.H : 0);
    for (x.at = 0; enough && x.at < own.B; x.at++) {
        for (int i = 0; i < MATRICES; i++) {
            const size_t size = (size_t)(own.H * own.N * own.M + 1);
            x.x[i] = calloc(size, sizeof(double));
            x.dx[i] = calloc(size, sizeof(double));
            enough = enough && x.x[i] && x.dx[i];
        }
        if (enough) {
            forward(&x);
            backward(&x);
        }
        for (int i = 0; i < MATRICES; i++) {
            free(x.x[i]);
            free(x.dx[i]);
        }
    }
    return enough;
}
