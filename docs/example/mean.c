/*
 * mean: every query gets the average of the values that it may see.
 *
 *     o[b,h,i] = (1 / n_i) sum_{j <= c_i} v[b,g,j],   c_i = i + M - N if causal, otherwise M - 1
 *
 * A complete operator in one file, written as a plugin outside rapt's tree would be:
 *
 *     cc -std=c99 -O2 -fPIC -shared -o mean.so mean.c $(pkg-config --cflags rapt)
 *
 * A query that sees no key gives zeros. Runs in O(B H N E) by running sums.
 */
#include <rapt/plugin.h>

enum { IN_Q, IN_V };
enum { ATTR_CAUSAL };

typedef struct mean_job {
    const rapt_call *call;
    int64_t n, m, h, g, e;
    int causal;
} mean_job;

static mean_job job_of(const rapt_call *call)
{
    mean_job job;
    job.call = call;
    job.n = call->sizes['N'];
    job.m = call->sizes['M'];
    job.h = call->sizes['H'];
    job.g = call->sizes['G'];
    job.e = call->sizes['E'];
    job.causal = call->attrs[ATTR_CAUSAL].i[0] != 0;
    return job;
}

/* Number of keys that query i sees. */
static int64_t visible(const mean_job *job, int64_t i)
{
    const int64_t count = job->causal ? i + 1 + job->m - job->n : job->m;
    return count < 0 ? 0 : count;
}

static float *row(const rapt_view *view, int64_t b, int64_t h, int64_t i)
{
    return (float *)rapt_view_data(view) + b * view->strides[0] + h * view->strides[1] +
           i * view->strides[2];
}

/* One head: the output row doubles as the running sum, kept apart from its scaling. */
static void forward_heads(void *context, int64_t begin, int64_t end, int worker)
{
    const mean_job *job = (const mean_job *)context;
    const rapt_view *v = job->call->inputs[IN_V], *o = job->call->outputs[0];
    (void)worker;
    for (int64_t head = begin; head < end; head++) {
        const int64_t b = head / job->h, h = head % job->h, g = h * job->g / job->h;
        for (int64_t e = 0; e < job->e; e++) {
            double sum = 0;
            int64_t j = 0;
            for (int64_t i = 0; i < job->n; i++) {
                const int64_t count = visible(job, i);
                for (; j < count; j++)
                    sum += row(v, b, g, j)[e];
                row(o, b, h, i)[e] = count ? (float)(sum / (double)count) : 0.0f;
            }
        }
    }
}

/* dv[j] = sum over the heads of the group and the queries that see j of do[i] / n_i. */
static void backward_groups(void *context, int64_t begin, int64_t end, int worker)
{
    const mean_job *job = (const mean_job *)context;
    const rapt_view *d_o = job->call->grad_outputs[0], *d_v = job->call->grad_inputs[IN_V];
    const int64_t per_group = job->h / job->g;
    (void)worker;
    for (int64_t group = begin; group < end; group++) {
        const int64_t b = group / job->g, g = group % job->g;
        for (int64_t e = 0; e < job->e; e++) {
            double sum = 0;
            int64_t i = job->n - 1;
            for (int64_t j = job->m - 1; j >= 0; j--) {
                for (; i >= 0 && visible(job, i) > j; i--)
                    for (int64_t h = g * per_group; h < (g + 1) * per_group; h++)
                        sum += (double)row(d_o, b, h, i)[e] / (double)visible(job, i);
                row(d_v, b, g, j)[e] = (float)sum;
            }
        }
    }
}

static void fill_zero(const rapt_view *view)
{
    float *data = (float *)rapt_view_data(view);
    int64_t count = 1;
    for (int32_t d = 0; d < view->ndim; d++)
        count *= view->shape[d];
    for (int64_t i = 0; i < count; i++)
        data[i] = 0.0f;
}

static rapt_status forward(rapt_call *call)
{
    mean_job job = job_of(call);
    call->host->parallel_for(call, call->sizes['B'] * job.h, 1, forward_heads, &job);
    return RAPT_OK;
}

static rapt_status backward(rapt_call *call)
{
    mean_job job = job_of(call);
    if (call->grad_inputs[IN_Q])
        fill_zero(call->grad_inputs[IN_Q]);
    if (!call->grad_inputs[IN_V])
        return RAPT_OK;
    if (call->grad_outputs[0])
        call->host->parallel_for(call, call->sizes['B'] * job.g, 1, backward_groups, &job);
    else
        fill_zero(call->grad_inputs[IN_V]);
    return RAPT_OK;
}

static const rapt_arg inputs[] = {
    {sizeof(rapt_arg), RAPT_DIFFERENTIABLE, "q: B H N D", NULL, RAPT_STREAM, "", NULL,
     "queries; only their number matters"},
    {sizeof(rapt_arg), RAPT_DIFFERENTIABLE, "v: B G M E", NULL, RAPT_STREAM, "", NULL, "values"},
};
static const rapt_arg outputs[] = {
    {sizeof(rapt_arg), RAPT_DIFFERENTIABLE, "o: B H N E", NULL, RAPT_ARGUMENT, NULL, NULL,
     "averages"},
};
static const rapt_attr attrs[] = {
    {sizeof(rapt_attr), RAPT_ATTR_BOOL, "causal", "false", NULL, NULL, NULL, 0, 0,
     "query i sees key j only where j <= i + M - N"},
};
static const rapt_kernel kernels[] = {{
    .size = sizeof(rapt_kernel),
    .name = "cpu",
    .device = "cpu",
    .dtypes = RAPT_DTYPE_BIT(RAPT_F32),
    .keep = "q v",
    .forward = forward,
    .backward = backward,
}};
static const rapt_operator operators[] = {{
    .size = sizeof(rapt_operator),
    .flags = RAPT_OP_FULL | RAPT_OP_CAUSAL | RAPT_OP_CROSS,
    .name = "mean",
    .title = "Averaging",
    .doc = "Averages the values that a query may see: attention with equal weights.",
    .version = "1.0",
    .inputs = inputs,
    .n_inputs = 2,
    .outputs = outputs,
    .n_outputs = 1,
    .attrs = attrs,
    .n_attrs = 1,
    .where = "H % G == 0",
    .flops = "B*H*N*E + B*G*M*E",
    .flops_backward = "B*H*N*E + B*G*M*E",
    .example = "B=2 H=4 G=2 N=9 M=9 D=4 E=8",
    .kernels = kernels,
    .n_kernels = 1,
}};

RAPT_PLUGIN_EXPORT const rapt_plugin rapt_plugin_v1 = {
    .size = sizeof(rapt_plugin),
    .abi_major = RAPT_ABI_MAJOR,
    .abi_minor = RAPT_ABI_MINOR_NEEDED,
    .name = "mean",
    .version = "1.0",
    .author = "the rapt authors",
    .license = "MIT",
    .operators = operators,
    .n_operators = 1,
};
