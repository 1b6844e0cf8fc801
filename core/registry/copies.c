#include "registry/copies.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* Longer than any struct of this ABI will be: a size above it is garbage. */
enum { GREATEST = 4096 };

/* The last field of minor version 0 is named here, and stays when fields are appended. */
#define STRUCT(type, last)                                                                         \
    {                                                                                              \
        sizeof(type), offsetof(type, last) + sizeof(((type *)0)->last), #type                      \
    }
const rapt_struct rapt_struct_plugin = STRUCT(rapt_plugin, fini);
const rapt_struct rapt_struct_function = STRUCT(rapt_function, doc);
const rapt_struct rapt_struct_operator = STRUCT(rapt_operator, infer);
const rapt_struct rapt_struct_arg = STRUCT(rapt_arg, doc);
const rapt_struct rapt_struct_attr = STRUCT(rapt_attr, doc);
const rapt_struct rapt_struct_state = STRUCT(rapt_state_arg, output);
const rapt_struct rapt_struct_kernel = STRUCT(rapt_kernel, weights);

static uint32_t stated_size(const void *from)
{
    uint32_t size;
    memcpy(&size, from, sizeof size);
    return size;
}

rapt_status rapt_copy_struct(const rapt_struct *type, const void *from, void *to, rapt_error *error)
{
    const uint32_t size = stated_size(from);
    const uint32_t own = (uint32_t)type->size;
    if (size < type->minimum)
        return rapt_fail(error, RAPT_INVALID,
                         "%s is a short struct: it states %u bytes, but has had %zu since ABI %d.0",
                         type->name, size, type->minimum, RAPT_ABI_MAJOR);
    if (size > GREATEST)
        return rapt_fail(error, RAPT_INVALID, "%s states a size of %u bytes, which cannot be",
                         type->name, size);
    memset(to, 0, type->size);
    memcpy(to, from, size < type->size ? size : type->size);
    memcpy(to, &own, sizeof own);
    return RAPT_OK;
}

rapt_status rapt_copy_structs(const rapt_struct *type, const void *from, uint32_t n, uint32_t most,
                              const char *what, void **copies, rapt_error *error)
{
    *copies = NULL;
    if (n == 0)
        return RAPT_OK;
    if (n > most)
        return rapt_fail(error, RAPT_INVALID, "%u %s, more than %u", n, what, most);
    if (!from)
        return rapt_fail(error, RAPT_INVALID, "%u %s are announced, but there is no list of them",
                         n, what);
    char *to = calloc(n, type->size);
    if (!to)
        return rapt_fail_memory(error, n * type->size, what);

    const uint32_t step = stated_size(from);
    for (uint32_t i = 0; i < n; i++) {
        const char *at = (const char *)from + (size_t)i * step;
        rapt_status status = RAPT_OK;
        if (stated_size(at) != step)
            status = rapt_fail(error, RAPT_INVALID,
                               "%s: entry %u states a size of %u bytes, but the first states %u",
                               what, i + 1, stated_size(at), step);
        else if ((status = rapt_copy_struct(type, at, to + i * type->size, error)))
            rapt_prefix_error(error, "%s", what);
        if (status) {
            free(to);
            return status;
        }
    }
    *copies = to;
    return RAPT_OK;
}
