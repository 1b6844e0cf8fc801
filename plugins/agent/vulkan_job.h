/* A call of agent under way: its tensors as bindings, and one dispatch after the other. A job's
 * status is that of the first that failed; after it nothing is recorded. */
#ifndef RAPT_AGENT_VULKAN_JOB_H
#define RAPT_AGENT_VULKAN_JOB_H

#include "vulkan_plan.h"
#include "vulkan_shaders.h"

/* Contiguous float32; or any contiguous tensor. */
typedef struct agent_floats {
    rapt_vulkan_buffer buffer;
    uint32_t base;
} agent_floats;

typedef struct agent_bias {
    rapt_vulkan_buffer buffer;
    agent_bias_push push;
    uint32_t kind; /* BIAS of bias.glsl */
} agent_bias;

/* OPTIONS of options.glsl. */
enum {
    AGENT_CAPPED = 1,
    AGENT_HAS_SINK = 2,
    AGENT_PACKED = 4,
    AGENT_WEIGHTS = 8,
    AGENT_WHOLE = 16
};

/* Specialization constants of a shader; the last two are OPTIONS and LANES. */
enum { AGENT_CONSTANTS = 7 };

typedef struct agent_job {
    agent_plan plan;
    rapt_status status;
    float scale, softcap;
    uint32_t bf16, options; /* OPTIONS of options.glsl, without the sink */
    int way;                /* of products */
    agent_floats a, u, gather_most, gather_total;
    int64_t unit0, units, first, count; /* of the chunk at hand */
} agent_job;

static rapt_status begin(rapt_call *call, agent_job *job)
{
    memset(job, 0, sizeof *job);
    job->status = agent_plan_call(call, &job->plan);
    job->scale = (float)call->attrs[AGENT_SCALE].f;
    job->softcap = (float)call->attrs[AGENT_SOFTCAP].f;
    job->options = (job->softcap > 0 ? AGENT_CAPPED : 0u) | (job->plan.packed ? AGENT_PACKED : 0u);
    job->bf16 = call->dtype == RAPT_BF16;
    job->way = RAPT_PRODUCT_PLAIN;
    if (job->status == RAPT_OK && !job->plan.weights)
        job->way = rapt_product_way(&job->plan.device);
    if (job->plan.D == 0)
        job->scale = 0.0f;
    return job->status;
}

/* `constants`: AGENT_CONSTANTS of them, or NULL: those of a shader that has but the type of its
 * elements. */
static void run(agent_job *job, const rapt_vulkan_shader *shader, const uint32_t *constants,
                int64_t x, int64_t y, int64_t z, const rapt_vulkan_buffer *buffers,
                const void *push)
{
    if (job->status == RAPT_OK)
        job->status = rapt_vulkan_run(&job->plan.device, shader, constants ? constants : &job->bf16,
                                      constants ? AGENT_CONSTANTS : 1, (uint32_t)x, (uint32_t)y,
                                      (uint32_t)z, buffers, push, NULL);
}

static bool is_coop(const agent_job *job)
{
    return job->way != RAPT_PRODUCT_PLAIN;
}

/* Workgroups that fill the device. */
static int64_t groups_of(const agent_job *job)
{
    return is_coop(job) ? agent_fill(&job->plan) : AGENT_GROUPS;
}

static const rapt_vulkan_shader *product_way(const agent_job *job, const rapt_vulkan_shader *coop,
                                             const rapt_vulkan_shader *plain, uint32_t half)
{
    return rapt_product_shader(job->way, coop, plain, half, job->plan.device.limits);
}

static uint32_t is_bf16(const rapt_view *view)
{
    return rapt_view_dtype(view) == RAPT_BF16;
}

static uint32_t is_half(const rapt_view *view)
{
    return rapt_view_dtype(view) != RAPT_F32;
}

static rapt_vulkan_rows tensor_of(agent_job *job, const rapt_view *view)
{
    rapt_vulkan_rows rows;
    memset(&rows, 0, sizeof rows);
    if (job->status == RAPT_OK)
        job->status = rapt_vulkan_bind_rows(&job->plan.device, view, &rows);
    return rows;
}

static agent_floats floats_of(agent_job *job, const rapt_view *view)
{
    agent_floats floats;
    memset(&floats, 0, sizeof floats);
    if (view && job->status == RAPT_OK)
        job->status = rapt_vulkan_bind(job->plan.call, job->plan.device.limits, view,
                                       &floats.buffer, &floats.base);
    return floats;
}

/* The borders of packed sequences. */
static rapt_vulkan_buffer borders_of(const agent_job *job)
{
    return agent_buffer(&job->plan, job->plan.borders);
}

static agent_floats floats_at(const agent_job *job, rapt_vulkan_range part)
{
    const agent_floats floats = {agent_buffer(&job->plan, part), 0};
    return floats;
}

/* `flag` if `many` neighbours of each row can be read or written at once. */
static uint32_t aligned(const rapt_vulkan_rows_push *push, uint32_t many, uint32_t flag)
{
    return (push->base | push->batch | push->head | push->row) % many == 0 ? flag : 0;
}

static uint32_t eights(const rapt_vulkan_rows *rows, uint32_t flag)
{
    return aligned(&rows->push, 8, flag);
}

/* A bias [H, rows, columns]; `turned`: rows and columns change places. */
static agent_bias bias_of(agent_job *job, const rapt_view *view, bool turned)
{
    agent_bias bias;
    uint32_t strides[RAPT_MAX_DIMS] = {0};
    memset(&bias, 0, sizeof bias);
    if (!view || job->status != RAPT_OK)
        return bias;
    job->status = rapt_vulkan_bind(job->plan.call, job->plan.device.limits, view, &bias.buffer,
                                   &bias.push.base);
    rapt_vulkan_strides(view, strides);
    bias.push.head = strides[0];
    bias.push.row = strides[turned ? 2 : 1];
    bias.push.column = strides[turned ? 1 : 2];
    bias.kind = is_half(view) ? 2 : 1;
    return bias;
}

#endif
