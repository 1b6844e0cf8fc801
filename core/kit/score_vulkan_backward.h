/*
 * kit/score_vulkan_backward.h - gradients on Vulkan. Part of kit/score_vulkan.h.
 *
 * delta of the rows; then gradients by query tile and by key tile, beside each other; those of a
 * bias; and what each head has one of. Every pass makes the scores again.
 */
#ifndef RAPT_KIT_SCORE_VULKAN_BACKWARD_H
#define RAPT_KIT_SCORE_VULKAN_BACKWARD_H

#include "score_args.h"
#include "vulkan.h"

/* The gradients that the call wants, and what it gives. */
static inline uint32_t rapt_score_vulkan_wants(const rapt_call *call)
{
    static const struct {
        const char *name;
        uint32_t bit;
    } wanted[] = {{"q", RAPT_SCORE_WANTS_Q},         {"k", RAPT_SCORE_WANTS_K},
                  {"v", RAPT_SCORE_WANTS_V},         {"tau_q", RAPT_SCORE_WANTS_TAU_Q},
                  {"tau_v", RAPT_SCORE_WANTS_TAU_V}, {"alibi", RAPT_SCORE_WANTS_ALIBI},
                  {"sink", RAPT_SCORE_WANTS_SINK}};
    uint32_t wants = 0;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (rapt_score_vulkan_grad(call, wanted[i].name))
            wants |= wanted[i].bit;
    if (call->grad_outputs[0])
        wants |= RAPT_SCORE_GIVEN_G;
    if (call->op->n_outputs > 1 && call->grad_outputs[1])
        wants |= RAPT_SCORE_GIVEN_LSE;
    if (rapt_score_vulkan_saved(call, 2))
        wants |= RAPT_SCORE_WANTS_REST;
    return wants;
}

/* Binds up to three views as the slots A, B and C. */
static inline rapt_status rapt_score_vulkan_put_outs(rapt_score_vulkan *s, const rapt_view *a,
                                                     const rapt_view *b, const rapt_view *c)
{
    rapt_status status = rapt_score_vulkan_put(s, RAPT_SCORE_SLOT_A, a, &s->params.out[0]);
    if (status == RAPT_OK)
        status = rapt_score_vulkan_put(s, RAPT_SCORE_SLOT_B, b, &s->params.out[1]);
    if (status == RAPT_OK)
        status = rapt_score_vulkan_put(s, RAPT_SCORE_SLOT_C, c, &s->params.out[2]);
    return status;
}

static inline rapt_status rapt_score_vulkan_back_rows(rapt_score_vulkan *s)
{
    const rapt_call *call = s->device.call;
    const uint64_t rows = (uint64_t)s->params.B * s->params.H * s->params.N;
    const rapt_view *lse = call->op->n_outputs > 1 ? call->grad_outputs[1] : NULL;
    rapt_status status =
        rapt_score_vulkan_put_outs(s, call->outputs[0], rapt_score_vulkan_saved(call, 2), lse);
    const rapt_vulkan_buffer greatest = rapt_vulkan_part(
        call, s->work.greatest, (uint64_t)s->params.B * s->params.G * sizeof(uint32_t));
    if (status == RAPT_OK && s->coop && greatest.bytes)
        status = s->device.service->clear(s->device.call, &greatest);
    if (status != RAPT_OK)
        return status;
    return rapt_score_vulkan_run(s, RAPT_SCORE_PASS_DELTA,
                                 rapt_score_vulkan_tiles((int64_t)rows, 8), 1, 1, 0);
}

static inline rapt_status rapt_score_vulkan_back_queries(rapt_score_vulkan *s)
{
    const rapt_call *call = s->device.call;
    const rapt_score_vulkan_params *p = &s->params;
    const rapt_status status = rapt_score_vulkan_put_outs(
        s, rapt_score_vulkan_grad(call, "q"), rapt_score_vulkan_grad(call, "tau_q"), NULL);
    if (status != RAPT_OK)
        return status;
    rapt_score_vulkan_put_work(s, RAPT_SCORE_SLOT_WORK, 0, s->work.slopes);
    if (p->wants & RAPT_SCORE_WANTS_ALIBI)
        rapt_score_vulkan_put_work(s, RAPT_SCORE_SLOT_C, s->work.slopes, s->work.slopes_bytes);
    const int64_t height = s->coop ? RAPT_SCORE_VULKAN_OTHERS : 8 * s->rows;
    return rapt_score_vulkan_run(s, RAPT_SCORE_PASS_QUERIES, rapt_score_vulkan_tiles(p->N, height),
                                 p->H, p->B, 0);
}

static inline rapt_status rapt_score_vulkan_back_keys(rapt_score_vulkan *s, int beside)
{
    const rapt_call *call = s->device.call;
    const rapt_score_vulkan_params *p = &s->params;
    const rapt_status status = rapt_score_vulkan_put_outs(s, rapt_score_vulkan_grad(call, "k"),
                                                          rapt_score_vulkan_grad(call, "v"),
                                                          rapt_score_vulkan_grad(call, "tau_v"));
    if (status != RAPT_OK)
        return status;
    rapt_score_vulkan_put_work(s, RAPT_SCORE_SLOT_WORK, 0, s->work.slopes);
    const int64_t height = s->coop ? RAPT_SCORE_VULKAN_OTHERS : 8 * s->rows;
    return rapt_score_vulkan_run(s, RAPT_SCORE_PASS_KEYS, rapt_score_vulkan_tiles(p->M, height),
                                 p->G, p->B, beside);
}

static inline rapt_status rapt_score_vulkan_back_bias(rapt_score_vulkan *s)
{
    const rapt_view *grad = rapt_score_vulkan_grad(s->device.call, "bias");
    rapt_score_vulkan pass = *s;
    rapt_score_vulkan_params *p = &pass.params;
    if (!grad)
        return RAPT_OK;
    const int64_t elements = (int64_t)p->bias_B * p->bias_H * p->bias_N * p->bias_M;
    rapt_status status = rapt_score_vulkan_put_outs(&pass, grad, NULL, NULL);
    if (status != RAPT_OK)
        return status;
    p->parts = p->row_parts * p->key_parts;
    const uint32_t rows =
        p->bias_N == 1 ? p->row_parts : rapt_score_vulkan_tiles(p->N, 8 * s->rows);
    const uint32_t keys =
        p->bias_M == 1 ? p->key_parts : rapt_score_vulkan_tiles(p->M, RAPT_SCORE_VULKAN_OTHERS);
    status =
        rapt_score_vulkan_run(&pass, RAPT_SCORE_PASS_BIAS, keys, rows, p->bias_B * p->bias_H, 0);
    if (status == RAPT_OK && p->parts > 1)
        status = rapt_score_vulkan_run(&pass, RAPT_SCORE_PASS_SUM,
                                       rapt_score_vulkan_tiles(elements, 128), 1, 1, 0);
    return status;
}

static inline rapt_status rapt_score_vulkan_back_heads(rapt_score_vulkan *s)
{
    const rapt_call *call = s->device.call;
    const rapt_status status = rapt_score_vulkan_put_outs(
        s, rapt_score_vulkan_grad(call, "alibi"), rapt_score_vulkan_grad(call, "sink"), NULL);
    if (status != RAPT_OK)
        return status;
    return rapt_score_vulkan_run(s, RAPT_SCORE_PASS_HEADS, s->params.H, 1, 1, 0);
}

/* codes and coop as of rapt_score_vulkan_forward. [call] */
static inline rapt_status rapt_score_vulkan_backward(rapt_call *call,
                                                     const rapt_score_vulkan_code *codes,
                                                     const rapt_score_vulkan_coop *coop)
{
    rapt_score_vulkan s;
    rapt_status status = rapt_score_vulkan_start(&s, call, codes);
    if (status == RAPT_OK)
        rapt_score_vulkan_choose(&s, coop);
    if (status == RAPT_OK)
        status = rapt_score_vulkan_statistics(&s);
    if (status == RAPT_OK)
        status =
            rapt_score_vulkan_put_rows(&s, RAPT_SCORE_SLOT_G, call->grad_outputs[0], &s.params.g);
    if (status != RAPT_OK)
        return status;
    s.params.wants = rapt_score_vulkan_wants(call) | (s.coop ? RAPT_SCORE_WANTS_SCALE : 0u);
    const uint32_t wants = s.params.wants;
    const int queries =
        (wants & (RAPT_SCORE_WANTS_Q | RAPT_SCORE_WANTS_TAU_Q | RAPT_SCORE_WANTS_ALIBI)) != 0;
    status = rapt_score_vulkan_back_rows(&s);
    if (status == RAPT_OK && queries)
        status = rapt_score_vulkan_back_queries(&s);
    if (status == RAPT_OK &&
        (wants & (RAPT_SCORE_WANTS_K | RAPT_SCORE_WANTS_V | RAPT_SCORE_WANTS_TAU_V)))
        status = rapt_score_vulkan_back_keys(&s, queries);
    rapt_score_vulkan_put_work(&s, RAPT_SCORE_SLOT_WORK, 0, s.work.bytes);
    if (status == RAPT_OK)
        status = rapt_score_vulkan_back_bias(&s);
    if (status == RAPT_OK && (wants & (RAPT_SCORE_WANTS_ALIBI | RAPT_SCORE_WANTS_SINK)))
        status = rapt_score_vulkan_back_heads(&s);
    return status;
}

#endif
