/* Inputs, outputs and saved tensors of a description. */
#include "base/error.h"
#include "registry/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALL_FLAGS (RAPT_OPTIONAL | RAPT_DIFFERENTIABLE | RAPT_MUTATED | RAPT_VALUE_ONLY)

static rapt_status parse_dtype(const rapt_arg *arg, bool output, uint32_t *mask, rapt_error *error)
{
    const uint32_t f32 = RAPT_DTYPE_BIT(RAPT_F32);
    if (!arg->dtype) {
        *mask = arg->role == RAPT_STATE ? f32 : RAPT_DTYPE_T;
        return RAPT_OK;
    }
    const rapt_status status = rapt_dtype_mask(arg->dtype, mask, error);
    if (status)
        return status;
    if (arg->role == RAPT_STATE && *mask != f32)
        return rapt_fail(error, RAPT_INVALID, "dtype \"%s\", but a state is f32", arg->dtype);
    if (output && (*mask & (*mask - 1)))
        return rapt_fail(error, RAPT_INVALID, "dtype \"%s\" is several, expected one", arg->dtype);
    return RAPT_OK;
}

static rapt_status parse_arg(rapt_arg *arg, const char *what, rapt_spec *spec, uint32_t *mask,
                             rapt_error *error)
{
    const bool input = !strcmp(what, "input");
    if (!arg->spec)
        return rapt_fail(error, RAPT_INVALID, "no spec, expected \"name: dimensions\"");
    rapt_status status = rapt_spec_parse(arg->spec, spec, error);
    if (status)
        return status;
    if (arg->flags & ~(uint32_t)ALL_FLAGS)
        return rapt_fail(error, RAPT_INVALID, "unknown flags 0x%x",
                         arg->flags & ~(uint32_t)ALL_FLAGS);
    if ((unsigned)arg->role > RAPT_STATE)
        return rapt_fail(error, RAPT_INVALID, "unknown role %d", (int)arg->role);
    if (spec->any && !strcmp(what, "saved tensor"))
        return rapt_fail(error, RAPT_INVALID, "\"*\", but nothing infers its shape");
    if (!arg->activation)
        arg->activation = "";
    if (!arg->doc)
        arg->doc = "";
    return parse_dtype(arg, !input, mask, error);
}

rapt_status rapt_parse_args(rapt_arg *args, uint32_t n, const char *what, rapt_spec **specs,
                            uint32_t **masks, rapt_error *error)
{
    if (n == 0)
        return RAPT_OK;
    *specs = calloc(n, sizeof **specs);
    *masks = calloc(n, sizeof **masks);
    if (!*specs || !*masks)
        return rapt_fail_memory(error, n * (sizeof **specs + sizeof **masks), what);
    for (uint32_t i = 0; i < n; i++) {
        rapt_status status = parse_arg(&args[i], what, &(*specs)[i], &(*masks)[i], error);
        for (uint32_t j = 0; !status && j < i; j++)
            if (!strcmp((*specs)[i].name, (*specs)[j].name))
                status = rapt_fail(error, RAPT_INVALID, "the name is used twice");
        if (status && args[i].spec)
            return rapt_prefix_error(error, "%s \"%s\"", what, args[i].spec);
        if (status)
            return rapt_prefix_error(error, "%s %u", what, i + 1);
    }
    return RAPT_OK;
}
