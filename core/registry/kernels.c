/* Kernels of a description. */
#include "base/error.h"
#include "registry/copies.h"
#include "registry/parts.h"

#include <stdlib.h>
#include <string.h>

#define ALL_FLAGS  (RAPT_ANY_STRIDES | RAPT_CONTIGUOUS)
#define ALL_DTYPES (RAPT_DTYPE_T - 1)

enum { MOST_KERNELS = 64 };

static bool uses_compute_type(const rapt_schema *schema)
{
    uint32_t all = 0;
    for (uint32_t i = 0; i < schema->op.n_inputs; i++)
        all |= schema->input_dtypes[i];
    for (uint32_t i = 0; i < schema->op.n_outputs; i++)
        all |= schema->output_dtypes[i];
    return all & RAPT_DTYPE_T;
}

/* Two of the devices are rapt's; others have names in reverse domain form. */
static bool is_device(const char *device)
{
    return !strcmp(device, "cpu") || !strcmp(device, "vulkan") ||
           (strchr(device, '.') && rapt_is_dotted_name(device));
}

static rapt_status check_kernel(const rapt_schema *schema, const rapt_kernel *kernel,
                                rapt_error *error)
{
    const uint32_t flags = kernel->flags & ~(uint32_t)ALL_FLAGS;
    const uint32_t dtypes = kernel->dtypes & ~(uint32_t)ALL_DTYPES;
    if (!kernel->device)
        return rapt_fail(error, RAPT_INVALID, "no device, expected \"cpu\" or \"vulkan\"");
    if (!is_device(kernel->device))
        return rapt_fail(error, RAPT_INVALID,
                         "device \"%s\", expected \"cpu\", \"vulkan\" or a name in reverse domain "
                         "form",
                         kernel->device);
    if (!kernel->forward)
        return rapt_fail(error, RAPT_INVALID, "no forward function");
    if (flags)
        return rapt_fail(error, RAPT_INVALID, "unknown flags 0x%x", flags);
    if ((kernel->flags & ALL_FLAGS) == ALL_FLAGS)
        return rapt_fail(error, RAPT_INVALID,
                         "RAPT_ANY_STRIDES and RAPT_CONTIGUOUS exclude each other");
    if (dtypes)
        return rapt_fail(error, RAPT_INVALID, "unknown dtypes 0x%x", dtypes);
    if (!kernel->dtypes && uses_compute_type(schema))
        return rapt_fail(error, RAPT_INVALID,
                         "no dtypes, but the operator has arguments of dtype T");
    if (kernel->step && !schema->op.n_states)
        return rapt_fail(error, RAPT_INVALID, "a step function, but the operator has no states");
    if (kernel->weights && !schema->op.weights)
        return rapt_fail(error, RAPT_INVALID,
                         "a weights function, but the operator gives no shape of weights");
    return RAPT_OK;
}

static rapt_status check_kernel_name(const rapt_schema *schema, uint32_t i, rapt_error *error)
{
    const rapt_kernel *kernels = schema->op.kernels;
    const char *name = kernels[i].name;
    if (!name || !*name)
        return rapt_fail(error, RAPT_INVALID, "kernel %u has no name", i + 1);
    if (!rapt_is_dotted_name(name))
        return rapt_fail(error, RAPT_INVALID,
                         "kernel \"%s\": a name is [a-z][a-z0-9_]* parts joined by dots", name);
    for (uint32_t j = 0; j < i; j++)
        if (!strcmp(kernels[j].name, name))
            return rapt_fail(error, RAPT_INVALID, "kernel \"%s\": the name is used twice", name);
    return RAPT_OK;
}

/* "q k v o" into masks of inputs and outputs. */
static rapt_status parse_keep(rapt_schema *schema, uint32_t i, rapt_error *error)
{
    const char *at = schema->op.kernels[i].keep;
    if (!at)
        schema->keep_inputs[i] = (UINT64_C(1) << schema->op.n_inputs) - 1;
    while (at && *at) {
        char name[64];
        const size_t n = strcspn(at, " ");
        const char *word = at;
        at += n + (at[n] == ' ');
        if (n == 0)
            continue;
        memcpy(name, word, n < sizeof name ? n : sizeof name - 1);
        name[n < sizeof name ? n : sizeof name - 1] = 0;
        const int32_t input = rapt_schema_input(schema, name);
        const int32_t output = rapt_schema_output(schema, name);
        if (input < 0 && output < 0)
            return rapt_fail(error, RAPT_INVALID, "keep names \"%s\", which is no input or output",
                             name);
        if (input >= 0)
            schema->keep_inputs[i] |= UINT64_C(1) << input;
        else
            schema->keep_outputs[i] |= UINT64_C(1) << output;
    }
    return RAPT_OK;
}

static rapt_status parse_saved(rapt_schema *schema, uint32_t i, const rapt_kernel *description,
                               rapt_error *error)
{
    rapt_kernel *kernel = (rapt_kernel *)&schema->op.kernels[i];
    void *copies;
    rapt_status status =
        rapt_copy_structs(&rapt_struct_arg, description->saved, description->n_saved, RAPT_MAX_ARGS,
                          "saved tensors", &copies, error);
    if (status)
        return status;
    schema->saved_args[i] = copies;
    kernel->saved = copies;
    kernel->n_saved = description->n_saved;
    status = rapt_parse_args(copies, kernel->n_saved, "saved tensor", &schema->saved[i],
                             &schema->saved_dtypes[i], error);
    for (uint32_t k = 0; !status && k < kernel->n_saved; k++) {
        status = rapt_check_spec_names(schema, &schema->saved[i][k], error);
        if (status)
            rapt_prefix_error(error, "saved tensor \"%s\"", kernel->saved[k].spec);
    }
    return status;
}

static rapt_status parse_kernel(rapt_schema *schema, uint32_t i, const rapt_kernel *description,
                                rapt_error *error)
{
    const rapt_kernel *kernel = &schema->op.kernels[i];
    if (check_kernel_name(schema, i, error))
        return error->status;
    if (check_kernel(schema, kernel, error) || parse_keep(schema, i, error) ||
        parse_saved(schema, i, description, error))
        return rapt_prefix_error(error, "kernel \"%s\"", kernel->name);
    schema->compute_dtypes |= kernel->dtypes;
    return RAPT_OK;
}

rapt_status rapt_parse_kernels(rapt_schema *schema, const rapt_operator *description,
                               rapt_error *error)
{
    const uint32_t n = description->n_kernels;
    void *copies;
    rapt_status status;
    if (n == 0)
        return rapt_fail(error, RAPT_INVALID, "no kernels");
    status = rapt_copy_structs(&rapt_struct_kernel, description->kernels, n, MOST_KERNELS,
                               "kernels", &copies, error);
    if (status)
        return status;
    rapt_kernel *kernels = copies;
    /* Their saved tensors are the plugin's until each is copied. */
    for (uint32_t i = 0; i < n; i++) {
        kernels[i].saved = NULL;
        kernels[i].n_saved = 0;
    }
    schema->op.kernels = kernels;
    schema->op.n_kernels = n;
    schema->saved_args = calloc(n, sizeof *schema->saved_args);
    schema->saved = calloc(n, sizeof *schema->saved);
    schema->saved_dtypes = calloc(n, sizeof *schema->saved_dtypes);
    schema->keep_inputs = calloc(n, sizeof *schema->keep_inputs);
    schema->keep_outputs = calloc(n, sizeof *schema->keep_outputs);
    if (!schema->saved_args || !schema->saved || !schema->saved_dtypes || !schema->keep_inputs ||
        !schema->keep_outputs)
        return rapt_fail_memory(error, n * 5 * sizeof(void *), "kernels");

    for (uint32_t i = 0; !status && i < n; i++) {
        rapt_kernel given;
        const char *at =
            (const char *)description->kernels + (size_t)i * description->kernels->size;
        status = rapt_copy_struct(&rapt_struct_kernel, at, &given, error);
        if (!status)
            status = parse_kernel(schema, i, &given, error);
    }
    return status;
}

void rapt_free_kernels(rapt_schema *schema)
{
    for (uint32_t i = 0; i < schema->op.n_kernels; i++) {
        for (uint32_t k = 0; schema->saved && schema->saved[i] && k < schema->op.kernels[i].n_saved;
             k++)
            rapt_spec_free(&schema->saved[i][k]);
        if (schema->saved)
            free(schema->saved[i]);
        if (schema->saved_dtypes)
            free(schema->saved_dtypes[i]);
        if (schema->saved_args)
            free(schema->saved_args[i]);
    }
    free(schema->saved_args);
    free(schema->saved);
    free(schema->saved_dtypes);
    free(schema->keep_inputs);
    free(schema->keep_outputs);
    free((void *)schema->op.kernels);
}
