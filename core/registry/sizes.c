/* Ranks and sizes of a call. */
#include "base/checked.h"
#include "base/error.h"
#include "registry/binder.h"

#include <string.h>

static const rapt_view *view_of(const rapt_binder *b, uint32_t i)
{
    return b->binding->inputs[i];
}

/* Dimensions of an argument in front of those that its spec writes out. */
static int32_t leading_of(const rapt_binder *b, uint32_t i)
{
    return view_of(b, i)->ndim - b->schema->inputs[i].n_dims;
}

static char *shape_of(const rapt_binder *b, uint32_t i, char text[RAPT_SHAPE_TEXT])
{
    return rapt_shape_text(text, view_of(b, i)->ndim, view_of(b, i)->shape);
}

static rapt_status check_rank(const rapt_binder *b, uint32_t i)
{
    const rapt_spec *spec = &b->schema->inputs[i];
    const int32_t more = leading_of(b, i);
    char shape[RAPT_SHAPE_TEXT];
    if (spec->any || (spec->leading ? more >= 0 : more == 0))
        return RAPT_OK;
    const int32_t ndim = view_of(b, i)->ndim;
    return rapt_fail(b->error, RAPT_INVALID, "%s: %s has %d dimension%s %s but %s has %s%d", b->op,
                     spec->name, ndim, ndim == 1 ? "" : "s", shape_of(b, i, shape),
                     spec->n_dims || spec->leading ? spec->text : "a scalar",
                     spec->leading ? "at least " : "", spec->n_dims);
}

static rapt_status wrong_size(const rapt_binder *b, uint32_t i, unsigned char letter,
                              const char *or_one)
{
    char shape[RAPT_SHAPE_TEXT], other[RAPT_SHAPE_TEXT];
    const uint32_t from = (uint32_t)b->source[letter];
    return rapt_fail(b->error, RAPT_INVALID, "%s: %s is %s but %c is %lld%s (from %s %s)", b->op,
                     b->schema->inputs[i].name, shape_of(b, i, shape), letter,
                     (long long)b->binding->sizes[letter], or_one, b->schema->inputs[from].name,
                     shape_of(b, from, other));
}

/* A dimension that is one letter, of a size that is not a broadcast one. */
static rapt_status bind_letter(rapt_binder *b, uint32_t i, unsigned char letter, int64_t size)
{
    char shape[RAPT_SHAPE_TEXT];
    int64_t *bound = &b->binding->sizes[letter];
    if (*bound < 0) {
        *bound = size;
        b->source[letter] = (int32_t)i;
        return RAPT_OK;
    }
    if (*bound == size)
        return RAPT_OK;
    if (b->source[letter] != (int32_t)i)
        return wrong_size(b, i, letter, "");
    return rapt_fail(b->error, RAPT_INVALID, "%s: %s is %s but %c cannot be both %lld and %lld",
                     b->op, b->schema->inputs[i].name, shape_of(b, i, shape), letter,
                     (long long)*bound, (long long)size);
}

static rapt_status bind_broadcast(rapt_binder *b, uint32_t i, unsigned char letter, int64_t size)
{
    int64_t *bound = &b->binding->sizes[letter];
    if (*bound < 0 || (b->weak[letter] && size != 1)) {
        *bound = size;
        b->source[letter] = (int32_t)i;
        b->weak[letter] = size == 1;
        return RAPT_OK;
    }
    return size == *bound || size == 1 ? RAPT_OK : wrong_size(b, i, letter, " or 1");
}

static rapt_status bind_letters(rapt_binder *b, bool broadcast)
{
    for (uint32_t i = 0; i < b->schema->op.n_inputs; i++) {
        const rapt_spec *spec = &b->schema->inputs[i];
        for (int32_t k = 0; view_of(b, i) && k < spec->n_dims; k++) {
            const rapt_dim *dim = &spec->dims[k];
            if (!dim->letter || dim->broadcast != broadcast)
                continue;
            const int64_t size = view_of(b, i)->shape[leading_of(b, i) + k];
            const unsigned char letter = (unsigned char)dim->letter;
            const rapt_status status =
                broadcast ? bind_broadcast(b, i, letter, size) : bind_letter(b, i, letter, size);
            if (status)
                return status;
        }
    }
    return RAPT_OK;
}

static rapt_status wrong_leading(const rapt_binder *b, uint32_t i, const char *how)
{
    char shape[RAPT_SHAPE_TEXT], other[RAPT_SHAPE_TEXT], leading[RAPT_SHAPE_TEXT];
    const uint32_t from = (uint32_t)b->source['.'];
    return rapt_fail(b->error, RAPT_INVALID, "%s: %s is %s but %s %s (from %s %s)", b->op,
                     b->schema->inputs[i].name, shape_of(b, i, shape), how,
                     rapt_shape_text(leading, b->binding->n_leading, b->binding->leading),
                     b->schema->inputs[from].name, shape_of(b, from, other));
}

/* Widens the leading dimensions by those of an argument that is broadcast, or, where they are
 * `fixed` by another, only compares. */
static rapt_status merge_leading(rapt_binder *b, uint32_t i, bool fixed)
{
    rapt_binding *binding = b->binding;
    const int64_t *shape = view_of(b, i)->shape;
    const int32_t n = leading_of(b, i), more = n - binding->n_leading;
    if (more > 0 && fixed)
        return wrong_leading(b, i, "... is");
    int64_t merged[RAPT_MAX_DIMS];
    const int32_t total = more > 0 ? n : binding->n_leading;
    for (int32_t k = 0; k < total; k++) { /* counted from the end */
        const int64_t old =
            k < binding->n_leading ? binding->leading[binding->n_leading - 1 - k] : 1;
        const int64_t new = k < n ? shape[n - 1 - k] : 1;
        if (new != old &&new != 1 && (fixed || old != 1))
            return wrong_leading(b, i, fixed ? "... is" : "does not broadcast with");
        merged[total - 1 - k] = new == 1 ? old : new;
    }
    memcpy(binding->leading, merged, (size_t)total * sizeof merged[0]);
    binding->n_leading = total;
    return RAPT_OK;
}

static rapt_status set_leading(rapt_binder *b, uint32_t i)
{
    const int32_t n = leading_of(b, i);
    const size_t bytes = (size_t)n * sizeof(int64_t);
    if (b->source['.'] >= 0) {
        const bool equal = n == b->binding->n_leading &&
                           (n == 0 || !memcmp(b->binding->leading, view_of(b, i)->shape, bytes));
        return equal ? RAPT_OK : wrong_leading(b, i, "... is");
    }
    b->source['.'] = (int32_t)i;
    b->binding->n_leading = n;
    if (n > 0)
        memcpy(b->binding->leading, view_of(b, i)->shape, bytes);
    return RAPT_OK;
}

static rapt_status multiply_leading(const rapt_binder *b)
{
    char text[RAPT_SHAPE_TEXT];
    rapt_binding *binding = b->binding;
    int64_t product = 1;
    bool fits = true, empty = false;
    for (int32_t k = 0; k < binding->n_leading; k++) {
        empty |= binding->leading[k] == 0;
        fits = fits && rapt_mul(product, binding->leading[k], &product);
    }
    if (!fits && !empty)
        return rapt_fail(b->error, RAPT_INVALID, "%s: the dimensions %s together are too large",
                         b->op, rapt_shape_text(text, binding->n_leading, binding->leading));
    binding->sizes['.'] = empty ? 0 : product;
    return RAPT_OK;
}

static rapt_status bind_leading(rapt_binder *b)
{
    bool fixed = false;
    rapt_status status = RAPT_OK;
    b->source['.'] = -1;
    for (int pass = 0; pass < 2; pass++) { /* first those that fix, then those that broadcast */
        for (uint32_t i = 0; !status && i < b->schema->op.n_inputs; i++) {
            const rapt_spec *spec = &b->schema->inputs[i];
            if (!view_of(b, i) || !spec->leading || spec->leading_broadcast != pass)
                continue;
            if (pass && b->source['.'] >= 0)
                status = merge_leading(b, i, fixed);
            else
                status = set_leading(b, i);
        }
        fixed = b->source['.'] >= 0;
    }
    if (status || b->source['.'] < 0)
        return status;
    return multiply_leading(b);
}

rapt_status rapt_bind_sizes(rapt_binder *b)
{
    rapt_status status = RAPT_OK;
    for (uint32_t i = 0; !status && i < b->schema->op.n_inputs; i++)
        if (view_of(b, i))
            status = check_rank(b, i);
    if (!status)
        status = bind_letters(b, false);
    if (!status)
        status = bind_letters(b, true);
    return status ? status : bind_leading(b);
}

/* "H 8, E 64" for "H*E". */
typedef struct factors {
    const rapt_binding *binding;
    rapt_text text;
} factors;

static bool append_factor(void *user, const char *name, bool given)
{
    factors *f = user;
    rapt_bound_names names = {f->binding, NULL};
    double value;
    if (!given && rapt_bound_lookup(&names, name, false, &value))
        rapt_text_append(&f->text, "%s%s %.17g", f->text.length ? ", " : " (", name, value);
    return true;
}

static rapt_status check_dim(const rapt_binder *b, uint32_t i, int32_t k)
{
    const rapt_dim *dim = &b->schema->inputs[i].dims[k];
    const char *name = b->schema->inputs[i].name;
    const int64_t size = view_of(b, i)->shape[leading_of(b, i) + k];
    rapt_bound_names names = {b->binding, NULL};
    char shape[RAPT_SHAPE_TEXT];
    rapt_error why;
    double value;
    if (rapt_expression_evaluate(dim->expression, rapt_bound_lookup, &names, true, &value, &why)) {
        if (b->phase == RAPT_WEIGHTS && !rapt_bound_all(b->binding, dim->expression))
            return RAPT_OK;
        return rapt_fail(b->error, why.status, "%s: size %d of %s (%s): %s", b->op, k + 1, name,
                         b->schema->inputs[i].text, why.message);
    }
    if ((double)size == value || (dim->broadcast && size == 1))
        return RAPT_OK;
    factors f = {b->binding, {0}};
    rapt_expression_names(dim->expression, append_factor, &f);
    if (f.text.length)
        rapt_text_append(&f.text, ")");
    const rapt_status status =
        f.text.failed
            ? rapt_fail_memory(b->error, 64, "a message")
            : rapt_fail(b->error, RAPT_INVALID, "%s: %s is %s but size %d of %s is %.17g%s%s",
                        b->op, name, shape_of(b, i, shape), k + 1, b->schema->inputs[i].text, value,
                        dim->broadcast ? " or 1" : "", f.text.data ? f.text.data : "");
    rapt_text_free(&f.text);
    return status;
}

rapt_status rapt_bind_expressions(rapt_binder *b)
{
    for (uint32_t i = 0; i < b->schema->op.n_inputs; i++) {
        const rapt_spec *spec = &b->schema->inputs[i];
        for (int32_t k = 0; view_of(b, i) && k < spec->n_dims; k++) {
            const rapt_status status = spec->dims[k].letter ? RAPT_OK : check_dim(b, i, k);
            if (status)
                return status;
        }
    }
    return RAPT_OK;
}
