#include "engine_ops.h"

/* --- Elementwise ------------------------------------------------------------------------------ */

static int64_t count_of(const rapt_view *view)
{
    int64_t n = 1;
    for (int32_t d = 0; d < view->ndim; d++)
        n *= view->shape[d];
    return n;
}

/* Element `i` in row-major order, whatever the strides. */
static float *at(const rapt_view *view, int64_t i)
{
    int64_t offset = 0;
    for (int32_t d = view->ndim - 1; d >= 0; d--) {
        offset += i % view->shape[d] * view->strides[d];
        i /= view->shape[d];
    }
    return (float *)rapt_view_data(view) + offset;
}

static rapt_status mul_forward(rapt_call *call)
{
    for (int64_t i = 0; i < count_of(call->outputs[0]); i++)
        *at(call->outputs[0], i) = *at(call->inputs[0], i) * *at(call->inputs[1], i);
    return RAPT_OK;
}

static rapt_status mul_backward(rapt_call *call)
{
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; call->grad_inputs[k] && i < count_of(call->grad_inputs[k]); i++)
            *at(call->grad_inputs[k], i) =
                *at(call->grad_outputs[0], i) * *at(call->inputs[1 - k], i);
    return RAPT_OK;
}

static rapt_status square_forward(rapt_call *call)
{
    const rapt_view *x = call->inputs[0];
    if (x->ndim > 0 && x->shape[x->ndim - 1] > 1 && x->strides[x->ndim - 1] != 1)
        return call->host->error(call, RAPT_INTERNAL, "x is not contiguous inside");
    for (int64_t i = 0; i < count_of(x); i++) {
        *at(call->outputs[0], i) = *at(x, i) * *at(x, i);
        if (call->saved)
            *at(call->saved[0], i) = 2 * *at(x, i);
    }
    return RAPT_OK;
}

static rapt_status square_backward(rapt_call *call)
{
    if (call->inputs[0]->data || call->outputs[0])
        return call->host->error(call, RAPT_INTERNAL, "something was kept that should not be");
    for (int64_t i = 0; i < count_of(call->grad_inputs[0]); i++)
        *at(call->grad_inputs[0], i) = *at(call->saved[0], i) * *at(call->grad_outputs[0], i);
    return RAPT_OK;
}

static size_t exp_workspace(rapt_call *call)
{
    return call->inputs[0]->data ? 0 : 256; /* asked for before there is memory */
}

static rapt_status exp_forward(rapt_call *call)
{
    float *scratch = call->host->scratch(call, 256);
    if (!scratch)
        return RAPT_NO_MEMORY;
    if (call->workspace_size != 256 || (uintptr_t)call->workspace % 64 || (uintptr_t)scratch % 64)
        return call->host->error(call, RAPT_INTERNAL, "bad workspace");
    memset(call->workspace, 1, 256);
    memset(scratch, 1, 256);
    const float *x = rapt_view_data(call->inputs[0]);
    float *o = rapt_view_data(call->outputs[0]);
    for (int64_t i = 0; i < count_of(call->inputs[0]); i++)
        o[i] = expf(x[i]);
    return RAPT_OK;
}

static rapt_status exp_backward(rapt_call *call)
{
    const float *o = rapt_view_data(call->outputs[0]), *g = rapt_view_data(call->grad_outputs[0]);
    float *dx = rapt_view_data(call->grad_inputs[0]);
    for (int64_t i = 0; i < count_of(call->outputs[0]); i++)
        dx[i] = g[i] * o[i];
    return RAPT_OK;
}

static rapt_status argmax_forward(rapt_call *call)
{
    const int64_t d = call->sizes['D'], rows = d ? count_of(call->inputs[0]) / d : 0;
    int64_t *o = rapt_view_data(call->outputs[0]);
    for (int64_t r = 0; r < rows; r++) {
        o[r] = 0;
        for (int64_t i = 1; i < d; i++)
            if (*at(call->inputs[0], r * d + i) > *at(call->inputs[0], r * d + o[r]))
                o[r] = i;
    }
    return RAPT_OK;
}

static rapt_status floor_forward(rapt_call *call)
{
    for (int64_t i = 0; i < count_of(call->inputs[0]); i++)
        *at(call->outputs[0], i) = floorf(*at(call->inputs[0], i));
    return RAPT_OK;
}

static rapt_status split_forward(rapt_call *call)
{
    for (int64_t i = 0; i < count_of(call->inputs[0]); i++) {
        *at(call->outputs[0], i) = *at(call->inputs[0], i);
        if (call->outputs[1])
            *at(call->outputs[1], i) = -*at(call->inputs[0], i);
    }
    if (call->outputs[2])
        *(int64_t *)rapt_view_data(call->outputs[2]) = count_of(call->inputs[0]);
    return RAPT_OK;
}

static rapt_status split_backward(rapt_call *call)
{
    for (int64_t i = 0; i < count_of(call->grad_inputs[0]); i++) {
        float g = call->grad_outputs[0] ? *at(call->grad_outputs[0], i) : 0;
        if (call->grad_outputs[1])
            g -= *at(call->grad_outputs[1], i);
        *at(call->grad_inputs[0], i) = g;
    }
    return RAPT_OK;
}

/* --- Trouble ---------------------------------------------------------------------------------- */

static rapt_status fail_forward(rapt_call *call)
{
    switch (call->attrs[0].i[0]) {
    case 0: /* message */
        call->host->error(call, RAPT_INVALID, "first\nreason %d", 7);
        return call->host->error(call, RAPT_UNSUPPORTED, "second reason");
    case 1: /* silent */
        return RAPT_UNSUPPORTED;
    case 2: /* scratch */
        return call->host->scratch(call, SIZE_MAX / 4) ? RAPT_OK : RAPT_NO_MEMORY;
    case 3: /* status */
        return (rapt_status)99;
    default: /* backward */
        return floor_forward(call);
    }
}

static rapt_status fail_backward(rapt_call *call)
{
    return call->host->error(call, RAPT_INTERNAL, "no gradient today");
}

static rapt_status bump_forward(rapt_call *call)
{
    for (int64_t i = 0; i < count_of(call->inputs[0]); i++)
        *at(call->inputs[0], i) += 1;
    return RAPT_OK;
}

static rapt_status choose_supports(rapt_call *call)
{
    static const char *const want[] = {"any", "low", "middle", "high", "none"};
    const char *wanted = want[call->attrs[0].i[0]];
    if (call->inputs[0]->data)
        return call->host->error(call, RAPT_INTERNAL, "data too early");
    if (strcmp(wanted, "any") == 0 || strcmp(wanted, call->kernel->name) == 0)
        return RAPT_OK;
    return call->host->error(call, RAPT_UNSUPPORTED, "wants to be %s", wanted);
}

static rapt_status choose_forward(rapt_call *call)
{
    *(float *)rapt_view_data(call->outputs[0]) = (float)call->kernel->priority;
    return RAPT_OK;
}

/* --- Decoding --------------------------------------------------------------------------------- */

/* o_i = slope sum_{j <= i + M - N} (q_i . k_j) v_j over B, with k and v of M rows. */
static void attend(rapt_call *call, const rapt_view *k, const rapt_view *v, int64_t m, bool causal)
{
    const rapt_view *q = call->inputs[0], *slope = call->inputs[3], *o = call->outputs[0];
    const int64_t b_n = q->shape[0], n = q->shape[1], d_n = q->shape[2], e_n = v->shape[2];
    for (int64_t b = 0; b < b_n; b++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t e = 0; e < e_n; e++) {
                float sum = 0;
                for (int64_t j = 0; j < m && (!causal || j <= i + m - n); j++) {
                    float p = 0;
                    for (int64_t d = 0; d < d_n; d++)
                        p += *at(q, (b * n + i) * d_n + d) * *at(k, (b * m + j) * d_n + d);
                    sum += p * *at(v, (b * m + j) * e_n + e);
                }
                *at(o, (b * n + i) * e_n + e) = sum * (slope ? *at(slope, 0) : 1);
            }
}

static rapt_status attend_forward(rapt_call *call)
{
    attend(call, call->inputs[1], call->inputs[2], call->inputs[1]->shape[1], call->attrs[0].i[0]);
    return RAPT_OK;
}

static rapt_status no_steps(rapt_call *call)
{
    return call->phase == RAPT_STEP
               ? call->host->error(call, RAPT_UNSUPPORTED, "takes no step today")
               : RAPT_OK;
}

static rapt_status attend_step(rapt_call *call)
{
    if (call->inputs[1]->shape[1] != 1 || call->states[0]->shape[1] != call->position + 1 ||
        call->sizes['M'] != call->position + 1 || call->sizes['N'] != 1 || !call->attrs[0].i[0])
        return call->host->error(call, RAPT_INTERNAL, "a step that is none");
    attend(call, call->states[0], call->states[1], call->position + 1, true);
    return RAPT_OK;
}

static void carry(rapt_call *call, const rapt_view *from, const rapt_view *to)
{
    const rapt_view *x = call->inputs[0], *o = call->outputs[0];
    const int64_t b_n = x->shape[0], n = x->shape[1], d_n = x->shape[2];
    for (int64_t b = 0; b < b_n; b++)
        for (int64_t d = 0; d < d_n; d++) {
            float sum = from ? *at(from, b * d_n + d) : 0;
            for (int64_t i = 0; i < n; i++) {
                sum += *at(x, (b * n + i) * d_n + d);
                *at(o, (b * n + i) * d_n + d) = sum;
            }
            if (to)
                *at(to, b * d_n + d) = sum;
        }
}

static rapt_status carry_forward(rapt_call *call)
{
    carry(call, call->inputs[1], call->outputs[1]);
    return RAPT_OK;
}

static rapt_status carry_step(rapt_call *call)
{
    carry(call, call->states[0], call->states[0]);
    /* NaN is the sign to fail, after the state was written. */
    if (isnan(*at(call->inputs[0], 0)))
        return call->host->error(call, RAPT_INVALID, "x is not a number");
    return RAPT_OK;
}

/* --- Descriptions ----------------------------------------------------------------------------- */

#define ARG(text, bits)                                                                            \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = (bits), .spec = (text)                                  \
    }
#define ARG_OF(text, bits, type)                                                                   \
    {                                                                                              \
        .size = sizeof(rapt_arg), .flags = (bits), .spec = (text), .dtype = (type)                 \
    }
#define KERNEL                                                                                     \
    .size = sizeof(rapt_kernel), .name = "cpu", .device = "cpu", .dtypes = RAPT_DTYPE_BIT(RAPT_F32)
#define OPERATOR(n)   .size = sizeof(rapt_operator), .name = (n), .doc = "For tests.", .version = "1"
#define INPUTS(list)  .inputs = (list), .n_inputs = sizeof(list) / sizeof *(list)
#define OUTPUTS(list) .outputs = (list), .n_outputs = sizeof(list) / sizeof *(list)
#define ATTRS(list)   .attrs = (list), .n_attrs = sizeof(list) / sizeof *(list)
#define STATES(list)  .states = (list), .n_states = sizeof(list) / sizeof *(list)
#define KERNELS(list) .kernels = (list), .n_kernels = sizeof(list) / sizeof *(list)

enum { DIFF = RAPT_DIFFERENTIABLE, OPTIONAL = RAPT_OPTIONAL };

static const rapt_arg x_y[] = {ARG("x: ...", DIFF), ARG("y: ...", DIFF)};
static const rapt_arg x_only[] = {ARG("x: ...", DIFF)};
static const rapt_arg o_only[] = {ARG("o: ...", DIFF)};
static const rapt_arg saved_twice[] = {ARG("twice: ...", 0)};
static const rapt_arg argmax_in[] = {ARG("x: ... D", 0)};
static const rapt_arg argmax_out[] = {ARG_OF("o: ...", 0, "i64")};
static const rapt_arg split_out[] = {ARG("o: ...", DIFF), ARG("extra: ...", DIFF | OPTIONAL),
                                     ARG_OF("count:", OPTIONAL, "i64")};
static const rapt_arg bump_in[] = {ARG("x: ...", RAPT_MUTATED)};
static const rapt_arg scalar_out[] = {ARG("o:", 0)};
static const rapt_attr fail_attrs[] = {{.size = sizeof(rapt_attr),
                                        .type = RAPT_ATTR_CHOICE,
                                        .name = "how",
                                        .fallback = "message",
                                        .choices = "message|silent|scratch|status|backward",
                                        .doc = "How."}};
static const rapt_attr choose_attrs[] = {{.size = sizeof(rapt_attr),
                                          .type = RAPT_ATTR_CHOICE,
                                          .name = "want",
                                          .fallback = "any",
                                          .choices = "any|low|middle|high|none",
                                          .doc = "Which."}};
static const rapt_arg attend_in[] = {ARG("q: B N D", 0), ARG("k: B M D", 0), ARG("v: B M E", 0),
                                     ARG("slope:", OPTIONAL)};
static const rapt_arg attend_out[] = {ARG("o: B N E", 0)};
static const rapt_attr attend_attrs[] = {
    {.size = sizeof(rapt_attr),
     .type = RAPT_ATTR_BOOL,
     .name = "causal",
     .fallback = "false",
     .doc = "Aligned at the end."},
    {.size = sizeof(rapt_attr),
     .type = RAPT_ATTR_INTS,
     .name = "window",
     .count = 2,
     .doc = "Not used."},
    {.size = sizeof(rapt_attr), .type = RAPT_ATTR_FLOAT, .name = "scale", .doc = "Not used."}};
static const rapt_state_arg attend_states[] = {{.size = sizeof(rapt_state_arg), .append = "k"},
                                               {.size = sizeof(rapt_state_arg), .append = "v"}};
static const rapt_arg carry_in[] = {ARG("x: B N D", 0),
                                    {.size = sizeof(rapt_arg),
                                     .flags = RAPT_OPTIONAL,
                                     .spec = "s: B D",
                                     .dtype = "f32",
                                     .role = RAPT_STATE}};
static const rapt_arg carry_out[] = {ARG("o: B N D", 0),
                                     {.size = sizeof(rapt_arg),
                                      .flags = RAPT_OPTIONAL,
                                      .spec = "s_out: B D",
                                      .dtype = "f32",
                                      .role = RAPT_STATE}};
static const rapt_state_arg carry_states[] = {
    {.size = sizeof(rapt_state_arg), .input = "s", .output = "s_out"}};

static const rapt_kernel mul_kernels[] = {
    {KERNEL, .flags = RAPT_ANY_STRIDES, .forward = mul_forward, .backward = mul_backward}};
static const rapt_kernel square_kernels[] = {{KERNEL, .keep = "", .saved = saved_twice,
                                              .n_saved = 1, .forward = square_forward,
                                              .backward = square_backward}};
static const rapt_kernel exp_kernels[] = {{KERNEL, .flags = RAPT_CONTIGUOUS, .keep = "o",
                                           .workspace = exp_workspace, .forward = exp_forward,
                                           .backward = exp_backward}};
static const rapt_kernel argmax_kernels[] = {{KERNEL, .forward = argmax_forward}};
static const rapt_kernel floor_kernels[] = {{KERNEL, .forward = floor_forward}};
static const rapt_kernel split_kernels[] = {
    {KERNEL, .keep = "", .forward = split_forward, .backward = split_backward}};
static const rapt_kernel fail_kernels[] = {
    {KERNEL, .forward = fail_forward, .backward = fail_backward}};
static const rapt_kernel bump_kernels[] = {{KERNEL, .forward = bump_forward}};
#define CHOICE(text, number)                                                                       \
    {                                                                                              \
        .size = sizeof(rapt_kernel), .name = (text), .device = "cpu",                              \
        .dtypes = RAPT_DTYPE_BIT(RAPT_F32), .priority = (number), .supports = choose_supports,     \
        .forward = choose_forward                                                                  \
    }
static const rapt_kernel choose_kernels[] = {CHOICE("low", 1),
                                             CHOICE("high", 30),
                                             CHOICE("middle", 20),
                                             {.size = sizeof(rapt_kernel),
                                              .name = "elsewhere",
                                              .device = "vulkan",
                                              .dtypes = RAPT_DTYPE_BIT(RAPT_F32),
                                              .priority = 90,
                                              .forward = choose_forward},
                                             {.size = sizeof(rapt_kernel),
                                              .name = "half",
                                              .device = "cpu",
                                              .dtypes = RAPT_DTYPE_BIT(RAPT_F16),
                                              .priority = 95,
                                              .forward = choose_forward}};
static const rapt_kernel attend_kernels[] = {{KERNEL, .forward = attend_forward}};
static const rapt_kernel attend_step_kernels[] = {
    {KERNEL, .forward = attend_forward, .step = attend_step}};
static const rapt_kernel attend_refuse_kernels[] = {
    {KERNEL, .supports = no_steps, .forward = attend_forward, .step = attend_step}};
static const rapt_kernel carry_kernels[] = {{KERNEL, .forward = carry_forward}};
static const rapt_kernel carry_step_kernels[] = {
    {KERNEL, .forward = carry_forward, .step = carry_step}};

static const rapt_operator operators[] = {
    {OPERATOR("t.mul"), INPUTS(x_y), OUTPUTS(o_only), KERNELS(mul_kernels), .flops = "leading"},
    {OPERATOR("t.square"), INPUTS(x_only), OUTPUTS(o_only), KERNELS(square_kernels)},
    {OPERATOR("t.exp"), INPUTS(x_only), OUTPUTS(o_only), KERNELS(exp_kernels)},
    {OPERATOR("t.argmax"), INPUTS(argmax_in), OUTPUTS(argmax_out), KERNELS(argmax_kernels)},
    {OPERATOR("t.floor"), INPUTS(x_only), OUTPUTS(o_only), KERNELS(floor_kernels)},
    {OPERATOR("t.split"), INPUTS(x_only), OUTPUTS(split_out), KERNELS(split_kernels)},
    {OPERATOR("t.fail"), INPUTS(x_only), OUTPUTS(o_only), ATTRS(fail_attrs), KERNELS(fail_kernels)},
    {OPERATOR("t.bump"), INPUTS(bump_in), KERNELS(bump_kernels)},
    {OPERATOR("t.choose"), INPUTS(x_only), OUTPUTS(scalar_out), ATTRS(choose_attrs),
     KERNELS(choose_kernels)},
    {OPERATOR("t.attend"), .flags = RAPT_OP_CAUSAL | RAPT_OP_DECODE, INPUTS(attend_in),
     OUTPUTS(attend_out), ATTRS(attend_attrs), STATES(attend_states), KERNELS(attend_kernels)},
    {OPERATOR("t.attend_step"), .flags = RAPT_OP_CAUSAL | RAPT_OP_DECODE, INPUTS(attend_in),
     OUTPUTS(attend_out), ATTRS(attend_attrs), STATES(attend_states), KERNELS(attend_step_kernels)},
    {OPERATOR("t.attend_refuse"), .flags = RAPT_OP_CAUSAL | RAPT_OP_DECODE, INPUTS(attend_in),
     OUTPUTS(attend_out), ATTRS(attend_attrs), STATES(attend_states),
     KERNELS(attend_refuse_kernels)},
    {OPERATOR("t.carry"), .flags = RAPT_OP_CAUSAL | RAPT_OP_DECODE, INPUTS(carry_in),
     OUTPUTS(carry_out), STATES(carry_states), KERNELS(carry_kernels)},
    {OPERATOR("t.carry_step"), .flags = RAPT_OP_CAUSAL | RAPT_OP_DECODE, INPUTS(carry_in),
     OUTPUTS(carry_out), STATES(carry_states), KERNELS(carry_step_kernels)},
};

/* --- Short ways ------------------------------------------------------------------------------- */

void must(rapt_status status, const rapt_error *error)
{
    if (status != RAPT_OK)
        fail_msg("%s", error ? error->message : "failed");
}

rapt_context *open_context(void)
{
    rapt_error error = {0};
    const rapt_options options = {.size = sizeof options, .no_plugins = true};
    rapt_context *context = rapt_open(&options, &error);
    if (!context)
        fail_msg("%s", error.message);
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        must(rapt_registry_add_builtin(context->registry, &operators[i], 1, &error), &error);
    return context;
}

rapt_tensor *ramp(rapt_context *context, int32_t ndim, const int64_t *shape, float start,
                  float step)
{
    rapt_error error = {0};
    rapt_tensor *tensor = rapt_tensor_empty(context, RAPT_F32, CPU, ndim, shape, &error);
    if (!tensor)
        fail_msg("%s", error.message);
    float *data = rapt_view_data(rapt_tensor_view(tensor));
    for (int64_t i = 0; i < rapt_tensor_count(tensor); i++)
        data[i] = start + step * (float)i;
    return tensor;
}

rapt_tensor *random_tensor(rapt_context *context, int32_t ndim, const int64_t *shape)
{
    rapt_error error = {0};
    rapt_tensor *tensor = ramp(context, ndim, shape, 0, 0);
    must(rapt_fill_normal(context, tensor, &error), &error);
    return tensor;
}

rapt_tensor *call1(rapt_context *context, const char *op, const char *name, rapt_tensor *x)
{
    rapt_error error = {0};
    const rapt_named_tensor input = {name, x};
    rapt_named_tensor output = {0};
    must(rapt_call_operator(context, op, &input, 1, NULL, 0, &output, 1, &error), &error);
    return output.tensor;
}

rapt_tensor *call2(rapt_context *context, const char *op, const char *name_a, rapt_tensor *a,
                   const char *name_b, rapt_tensor *b)
{
    rapt_error error = {0};
    const rapt_named_tensor inputs[] = {{name_a, a}, {name_b, b}};
    rapt_named_tensor output = {0};
    must(rapt_call_operator(context, op, inputs, 2, NULL, 0, &output, 1, &error), &error);
    return output.tensor;
}

void read_floats(rapt_context *context, rapt_tensor *tensor, float *out)
{
    rapt_error error = {0};
    const bool was = rapt_set_recording(context, false);
    rapt_tensor *floats = rapt_to(context, tensor, RAPT_F32, CPU, &error);
    if (!floats)
        fail_msg("%s", error.message);
    must(rapt_read(context, floats, out, (size_t)rapt_tensor_count(floats) * sizeof *out, &error),
         &error);
    rapt_tensor_release(floats);
    rapt_set_recording(context, was);
}

float element(rapt_context *context, rapt_tensor *tensor, int64_t i)
{
    float *all = malloc((size_t)rapt_tensor_count(tensor) * sizeof *all);
    read_floats(context, tensor, all);
    const float value = all[i];
    free(all);
    return value;
}

void expect_error(const rapt_error *error, rapt_status status, const char *text)
{
    assert_string_equal(error->message, text);
    assert_int_equal(error->status, status);
}
