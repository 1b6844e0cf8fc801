/* Expressions: running a program. */
#include "base/error.h"
#include "registry/program.h"

#include <math.h>

/* Integers below this are exact in a double, and so is every check on them: rounding is monotone,
 * so a true result of at least 2^53 never comes out smaller. */
#define LIMIT 9007199254740992.0

typedef struct machine {
    const rapt_expression *expression;
    rapt_lookup lookup;
    void *user;
    bool integer;
    rapt_error *error;
} machine;

static rapt_status check(const machine *m, double value)
{
    if (!isfinite(value))
        return rapt_fail(m->error, RAPT_INVALID, "the value is too large");
    if (!m->integer)
        return RAPT_OK;
    if (fabs(value) >= LIMIT)
        return rapt_fail(m->error, RAPT_INVALID, "the value is too large (2^53 or more)");
    if (value != floor(value))
        return rapt_fail(m->error, RAPT_INVALID, "%.6g is not an integer", value);
    return RAPT_OK;
}

static rapt_status divide(const machine *m, double a, double b, double *value)
{
    if (b == 0)
        return rapt_fail(m->error, RAPT_INVALID, "division by zero");
    if (m->integer && fmod(a, b) != 0)
        return rapt_fail(m->error, RAPT_INVALID, "%.17g / %.17g leaves a remainder", a, b);
    *value = a / b;
    return RAPT_OK;
}

static rapt_status binary(const machine *m, rapt_opcode code, double a, double b, double *value)
{
    switch (code) {
    case RAPT_CODE_ADD:
        *value = a + b;
        break;
    case RAPT_CODE_SUBTRACT:
        *value = a - b;
        break;
    case RAPT_CODE_MULTIPLY:
        *value = a * b;
        break;
    case RAPT_CODE_DIVIDE:
        return divide(m, a, b, value);
    case RAPT_CODE_REMAINDER:
        if (b == 0)
            return rapt_fail(m->error, RAPT_INVALID, "division by zero");
        *value = fmod(a, b);
        break;
    case RAPT_CODE_MIN:
        *value = a < b ? a : b;
        break;
    case RAPT_CODE_MAX:
        *value = a > b ? a : b;
        break;
    case RAPT_CODE_EQUAL:
        *value = a == b;
        break;
    case RAPT_CODE_UNEQUAL:
        *value = a != b;
        break;
    case RAPT_CODE_LESS:
        *value = a < b;
        break;
    case RAPT_CODE_LESS_EQUAL:
        *value = a <= b;
        break;
    case RAPT_CODE_GREATER:
        *value = a > b;
        break;
    default:
        *value = a >= b;
        break;
    }
    return RAPT_OK;
}

static double ceil_log2(double x)
{
    int power;
    if (x <= 1)
        return 0;
    const double mantissa = frexp(x, &power);
    return mantissa == 0.5 ? power - 1 : power;
}

static rapt_status unary(const machine *m, rapt_opcode code, double *value)
{
    const double x = *value;
    switch (code) {
    case RAPT_CODE_NEGATE:
        *value = -x;
        break;
    case RAPT_CODE_NOT:
        *value = x == 0;
        break;
    case RAPT_CODE_TRUTH:
        *value = x != 0;
        break;
    case RAPT_CODE_SQRT:
        if (x < 0)
            return rapt_fail(m->error, RAPT_INVALID, "sqrt of %.6g", x);
        *value = sqrt(x);
        break;
    case RAPT_CODE_LOG2:
        if (x <= 0)
            return rapt_fail(m->error, RAPT_INVALID, "log2 of %.6g", x);
        *value = log2(x);
        break;
    case RAPT_CODE_CEIL_LOG2:
        if (x < 0)
            return rapt_fail(m->error, RAPT_INVALID, "ceil_log2 of %.6g", x);
        *value = ceil_log2(x);
        break;
    case RAPT_CODE_CEIL:
        *value = ceil(x);
        break;
    default:
        *value = floor(x);
        break;
    }
    return RAPT_OK;
}

static rapt_status load(const machine *m, const rapt_instruction *at, double *value)
{
    const char *name = m->expression->names + at->name;
    const bool given = at->code == RAPT_CODE_GIVEN;
    *value = at->number;
    if (at->code == RAPT_CODE_NUMBER || m->lookup(m->user, name, given, value))
        return RAPT_OK;
    return rapt_fail(m->error, RAPT_INVALID, "%s is not known here", name);
}

/* Decides an "||" or "&&" from its left side: true if the right side need not be looked at. */
static bool short_cut(rapt_opcode code, double *top)
{
    const bool truth = *top != 0;
    *top = truth;
    return truth == (code == RAPT_CODE_OR);
}

rapt_status rapt_expression_evaluate(const rapt_expression *expression, rapt_lookup lookup,
                                     void *user, bool integer, double *value, rapt_error *error)
{
    const machine m = {expression, lookup, user, integer, error};
    double stack[RAPT_EXPRESSION_STACK];
    int n = 0; /* the parser has counted: never above the bound, never below what is popped */

    for (uint32_t i = 0; i < expression->n_code; i++) {
        const rapt_instruction *at = &expression->code[i];
        rapt_status status = RAPT_OK;
        if (at->code <= RAPT_CODE_GIVEN) {
            status = load(&m, at, &stack[n++]);
        } else if (at->code == RAPT_CODE_OR || at->code == RAPT_CODE_AND) {
            if (short_cut(at->code, &stack[n - 1]))
                i = at->target - 1;
            else
                n--;
            continue;
        } else if (at->code == RAPT_CODE_UNLESS || at->code == RAPT_CODE_GO) {
            if (at->code == RAPT_CODE_GO || stack[--n] == 0)
                i = at->target - 1;
            continue;
        } else if (at->code < RAPT_CODE_OR) {
            status = unary(&m, at->code, &stack[n - 1]);
        } else {
            n--;
            status = binary(&m, at->code, stack[n - 1], stack[n], &stack[n - 1]);
        }
        if (!status)
            status = check(&m, stack[n - 1]);
        if (status)
            return status;
    }
    *value = stack[0];
    return RAPT_OK;
}
