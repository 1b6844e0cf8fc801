/* Rotary position embedding (Su et al., arXiv 2104.09864). */
#include "ops/common.h"

#include <math.h>

enum { BASE, OFFSET, LAYOUT };
#define CHUNK 64 /* positions that one exact angle serves; the others are turned from it */

typedef struct rotation {
    rapt_lines lines; /* rows of x and y */
    int64_t positions, half, first;
    double base;
    bool pairs; /* neighbours turn together; otherwise i and i + D/2 */
    float direction;
    float *cosine, *sine; /* [positions][half] */
    float *rows;          /* two for each worker */
} rotation;

/* The angle of position t and pair i is t base^(-2i/D). */
static void table_task(void *context, int64_t begin, int64_t end, int worker)
{
    const rotation *r = context;
    (void)worker;
    for (int64_t chunk = begin; chunk < end; chunk++) {
        const int64_t first = chunk * CHUNK, left = r->positions - first;
        const int64_t n = left < CHUNK ? left : CHUNK;
        for (int64_t i = 0; i < r->half; i++) {
            const double speed = pow(r->base, -(double)i / (double)r->half);
            const double step_c = cos(speed), step_s = sin(speed);
            double c = cos(speed * (double)(r->first + first));
            double s = sin(speed * (double)(r->first + first));
            for (int64_t t = first; t < first + n; t++) {
                const double turned = c * step_c - s * step_s;
                r->cosine[t * r->half + i] = (float)c;
                r->sine[t * r->half + i] = (float)s * r->direction;
                s = s * step_c + c * step_s;
                c = turned;
            }
        }
    }
}

static void turn(const rotation *r, int64_t t, const float *x, float *y)
{
    const float *c = r->cosine + t * r->half, *s = r->sine + t * r->half;
    const int64_t step = r->pairs ? 2 : 1, other = r->pairs ? 1 : r->half;
    for (int64_t i = 0; i < r->half; i++) {
        const float a = x[i * step], b = x[i * step + other];
        y[i * step] = a * c[i] - b * s[i];
        y[i * step + other] = b * c[i] + a * s[i];
    }
}

static void turn_task(void *context, int64_t begin, int64_t end, int worker)
{
    const rotation *r = context;
    float *row = r->rows + (int64_t)worker * 2 * r->lines.length;
    for (int64_t i = begin; i < end; i++) {
        const float *x = rapt_line_load(&r->lines, 0, i, row);
        float *y = rapt_line_target(&r->lines, 1, i, row + r->lines.length);
        turn(r, i % r->positions, x, y);
        rapt_line_store(&r->lines, 1, i, y);
    }
}

static rapt_status rotate(rapt_call *call, const rapt_view *source, const rapt_view *target,
                          float direction)
{
    rotation r = {.positions = target->shape[target->ndim - 2],
                  .half = target->shape[target->ndim - 1] / 2,
                  .first = call->attrs[OFFSET].i[0],
                  .base = call->attrs[BASE].f,
                  .pairs = call->attrs[LAYOUT].i[0] != 0,
                  .direction = direction};
    rapt_walk walk;
    rapt_walk_begin(&walk, call, target->ndim, target->shape);
    if (walk.count == 0)
        return RAPT_OK;
    rapt_walk_add(&walk, source);
    rapt_walk_add(&walk, target);
    rapt_lines_begin(&r.lines, &walk, target->ndim - 1);
    const size_t angles = (size_t)(r.positions * r.half);
    const size_t rows = (size_t)call->host->workers() * 2 * (size_t)r.lines.length;
    r.cosine = call->host->scratch(call, (2 * angles + rows) * sizeof(float));
    if (r.cosine == NULL)
        return RAPT_NO_MEMORY;
    r.sine = r.cosine + angles;
    r.rows = r.sine + angles;
    call->host->parallel_for(call, (r.positions + CHUNK - 1) / CHUNK,
                             rapt_grain(RAPT_PIECE, CHUNK * r.half), table_task, &r);
    call->host->parallel_for(call, r.lines.count, rapt_grain(RAPT_PIECE, r.lines.length), turn_task,
                             &r);
    return RAPT_OK;
}

static rapt_status forward(rapt_call *call)
{
    return rotate(call, call->inputs[0], call->outputs[0], 1);
}

static rapt_status backward(rapt_call *call)
{
    if (call->grad_inputs[0] == NULL)
        return RAPT_OK;
    return rotate(call, call->grad_outputs[0], call->grad_inputs[0], -1);
}

static const rapt_arg inputs[] = {RAPT_REAL("x: ... N D", "queries or keys")};
static const rapt_arg outputs[] = {RAPT_REAL("y: ... N D", "turned by their position")};
static const rapt_attr attrs[] = {
    RAPT_ATTR("base", RAPT_ATTR_FLOAT, "10000", "of the wavelengths", .min = "1"),
    RAPT_ATTR("offset", RAPT_ATTR_INT, "0", "position of the first row", .min = "0"),
    RAPT_ATTR("layout", RAPT_ATTR_CHOICE, "halves",
              "which features turn together: i and i + D/2, or neighbours",
              .choices = "halves|pairs"),
};
static const rapt_kernel kernel[] = {
    {RAPT_CPU, .dtypes = RAPT_DTYPES_COMPUTE, .keep = "", .forward = forward, .backward = backward},
    {RAPT_VULKAN, .dtypes = RAPT_DTYPES_COMPUTE, .keep = "", .forward = rapt_vulkan_rope_forward,
     .backward = rapt_vulkan_rope_backward}};

static const rapt_operator operators[] = {
    {RAPT_CORE("rope"), .title = "Rotary position embedding", .paper = "arXiv 2104.09864",
     .doc = "Turns pair i of the features at position t by the angle (offset + t) base^(-2i/D), so "
            "that q.k depends on the distance of their positions.",
     RAPT_INPUTS(inputs), RAPT_OUTPUTS(outputs), RAPT_ATTRS(attrs), .where = "D % 2 == 0",
     .flops = "3 * leading * N * D", .flops_backward = "3 * leading * N * D",
     .example = "...=2 N=17 D=16", RAPT_KERNEL(kernel)},
};

const rapt_group rapt_ops_rotary = {operators, RAPT_COUNT(operators)};
