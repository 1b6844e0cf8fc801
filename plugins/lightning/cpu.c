/* lightning on the CPU: the chunked driver with a constant decay. */
#include "kit/linear.h"
#include "lightning.h"

rapt_status lightning_infer(rapt_call *call, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims)
{
    ndims[LIGHTNING_FINAL] = 4;
    shapes[LIGHTNING_FINAL][0] = rapt_linear_count(call);
    shapes[LIGHTNING_FINAL][1] = call->sizes['H'];
    shapes[LIGHTNING_FINAL][2] = call->sizes['D'];
    shapes[LIGHTNING_FINAL][3] = call->sizes['E'];
    return RAPT_OK;
}

static const float *floats(const rapt_view *view)
{
    return view ? (const float *)rapt_view_data(view) : NULL;
}

static rapt_status problem(rapt_call *call, rapt_linear *x)
{
    memset(x, 0, sizeof *x);
    x->call = call;
    x->heads = x->groups = call->sizes['H'];
    x->d = call->sizes['D'];
    x->e = call->sizes['E'];
    x->scale = call->attrs[0].f;
    x->q = rapt_rows_of(call->inputs[LIGHTNING_Q]);
    x->k = rapt_rows_of(call->inputs[LIGHTNING_K]);
    x->v = rapt_rows_of(call->inputs[LIGHTNING_V]);
    x->slope = floats(call->inputs[LIGHTNING_SLOPE]);
    return rapt_linear_sequences(x, call->sizes['B'], call->sizes['N'],
                                 call->inputs[LIGHTNING_BORDERS]);
}

/* The state has arbitrary outer strides; the driver wants it whole. */
static rapt_status whole_state(rapt_call *call, const rapt_view *view, const float **state)
{
    *state = NULL;
    return view ? rapt_linear_whole(call, view, state) : RAPT_OK;
}

rapt_status lightning_cpu_forward(rapt_call *call)
{
    rapt_linear x;
    rapt_status status = problem(call, &x);
    if (status != RAPT_OK)
        return status;
    status = whole_state(call, call->inputs[LIGHTNING_STATE], &x.state_in);
    if (status != RAPT_OK)
        return status;
    x.o = rapt_rows_of(call->outputs[LIGHTNING_O]);
    x.state_out = (float *)(uintptr_t)floats(call->outputs[LIGHTNING_FINAL]);
    return rapt_linear_forward(&x);
}

rapt_status lightning_cpu_backward(rapt_call *call)
{
    rapt_linear x;
    rapt_status status = problem(call, &x);
    if (status == RAPT_OK)
        status = whole_state(call, call->inputs[LIGHTNING_STATE], &x.state_in);
    if (status == RAPT_OK)
        status = whole_state(call, call->grad_outputs[LIGHTNING_FINAL], &x.d_state_out);
    if (status != RAPT_OK)
        return status;
    x.d_o = rapt_rows_of(call->grad_outputs[LIGHTNING_O]);
    x.dq = rapt_rows_of(call->grad_inputs[LIGHTNING_Q]);
    x.dk = rapt_rows_of(call->grad_inputs[LIGHTNING_K]);
    x.dv = rapt_rows_of(call->grad_inputs[LIGHTNING_V]);
    x.d_slope = (float *)(uintptr_t)floats(call->grad_inputs[LIGHTNING_SLOPE]);
    x.d_state_in = (float *)(uintptr_t)floats(call->grad_inputs[LIGHTNING_STATE]);
    return rapt_linear_backward(&x);
}

rapt_status lightning_cpu_step(rapt_call *call)
{
    rapt_linear x;
    const rapt_status status = problem(call, &x);
    if (status != RAPT_OK)
        return status;
    x.o = rapt_rows_of(call->outputs[LIGHTNING_O]);
    x.state_out = (float *)rapt_view_data(call->states[0]);
    return rapt_linear_step(&x);
}
