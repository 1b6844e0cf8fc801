/* log_linear on the CPU: the chunked driver in its hierarchical form. */
#include "kit/linear.h"
#include "log_linear.h"

rapt_status log_linear_infer(rapt_call *call, int64_t (*shapes)[RAPT_MAX_DIMS], int32_t *ndims)
{
    ndims[LOG_LINEAR_FINAL] = 5;
    shapes[LOG_LINEAR_FINAL][0] = rapt_linear_count(call);
    shapes[LOG_LINEAR_FINAL][1] = call->sizes['H'];
    shapes[LOG_LINEAR_FINAL][2] = call->sizes['L'];
    shapes[LOG_LINEAR_FINAL][3] = call->sizes['D'];
    shapes[LOG_LINEAR_FINAL][4] = call->sizes['E'];
    return RAPT_OK;
}

static rapt_status problem(rapt_call *call, rapt_linear *x)
{
    static char none[1];
    memset(x, 0, sizeof *x);
    x->call = call;
    x->heads = call->sizes['H'];
    x->groups = call->sizes['G'];
    x->d = call->sizes['D'];
    x->e = call->sizes['E'];
    x->levels = call->sizes['L'];
    x->scale = call->attrs[LOG_LINEAR_SCALE].f;
    x->q = rapt_rows_of(call->inputs[LOG_LINEAR_Q]);
    x->k = rapt_rows_of(call->inputs[LOG_LINEAR_K]);
    x->v = rapt_rows_of(call->inputs[LOG_LINEAR_V]);
    x->g = rapt_rows_of(call->inputs[LOG_LINEAR_G]);
    x->l = rapt_rows_of(call->inputs[LOG_LINEAR_L]);
    if (!x->l.data) /* no positions; states still go through a tree */
        x->l.data = none;
    x->position = call->attrs[LOG_LINEAR_POSITION].i[0];
    return rapt_linear_sequences(x, call->sizes['B'], call->sizes['N'],
                                 call->inputs[LOG_LINEAR_BORDERS]);
}

/* States have arbitrary outer strides; the driver wants them whole. */
static rapt_status whole_state(rapt_call *call, const rapt_view *view, const float **state)
{
    return view ? rapt_linear_whole(call, view, state) : RAPT_OK;
}

rapt_status log_linear_cpu_forward(rapt_call *call)
{
    rapt_linear x;
    rapt_status status = problem(call, &x);
    const rapt_view *final_state = call->outputs[LOG_LINEAR_FINAL];
    if (status == RAPT_OK)
        status = whole_state(call, call->inputs[LOG_LINEAR_STATE], &x.levels_in);
    if (status != RAPT_OK)
        return status;
    x.o = rapt_rows_of(call->outputs[LOG_LINEAR_O]);
    x.levels_out = final_state ? (float *)rapt_view_data(final_state) : NULL;
    return rapt_linear_forward(&x);
}

rapt_status log_linear_cpu_backward(rapt_call *call)
{
    rapt_linear x;
    rapt_status status = problem(call, &x);
    const rapt_view *d_state = call->grad_inputs[LOG_LINEAR_STATE];
    if (status == RAPT_OK)
        status = whole_state(call, call->inputs[LOG_LINEAR_STATE], &x.levels_in);
    if (status == RAPT_OK)
        status = whole_state(call, call->grad_outputs[LOG_LINEAR_FINAL], &x.d_levels_out);
    if (status != RAPT_OK)
        return status;
    x.d_levels_in = d_state ? (float *)rapt_view_data(d_state) : NULL;
    x.d_o = rapt_rows_of(call->grad_outputs[LOG_LINEAR_O]);
    x.dq = rapt_rows_of(call->grad_inputs[LOG_LINEAR_Q]);
    x.dk = rapt_rows_of(call->grad_inputs[LOG_LINEAR_K]);
    x.dv = rapt_rows_of(call->grad_inputs[LOG_LINEAR_V]);
    x.dg = rapt_rows_of(call->grad_inputs[LOG_LINEAR_G]);
    x.dl = rapt_rows_of(call->grad_inputs[LOG_LINEAR_L]);
    return rapt_linear_backward(&x);
}

rapt_status log_linear_cpu_step(rapt_call *call)
{
    rapt_linear x;
    const int64_t levels = call->sizes['L'];
    if (levels < 62 && call->position >> (levels - 1))
        return call->host->error(call, RAPT_INVALID,
                                 "position %lld needs more than the %lld levels of l",
                                 (long long)call->position + 1, (long long)levels);
    const rapt_status status = problem(call, &x);
    if (status != RAPT_OK)
        return status;
    x.o = rapt_rows_of(call->outputs[LOG_LINEAR_O]);
    x.levels_out = (float *)rapt_view_data(call->states[0]);
    return rapt_linear_step(&x);
}
