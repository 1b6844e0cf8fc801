/* Structs of a plugin, of whatever minor version, copied into this version's. For this room only.
 */
#ifndef RAPT_REGISTRY_COPIES_H
#define RAPT_REGISTRY_COPIES_H

#include <rapt/rapt.h>

/* A struct of the ABI: how long this version's is, and how long that of minor version 0 was. */
typedef struct rapt_struct {
    size_t size, minimum;
    const char *name;
} rapt_struct;

extern const rapt_struct rapt_struct_plugin, rapt_struct_function, rapt_struct_operator,
    rapt_struct_arg, rapt_struct_attr, rapt_struct_state, rapt_struct_kernel;

/* Copies one struct: what the author did not know is zero, what this version does not know is left
 * out, and the copy states this version's size. */
rapt_status rapt_copy_struct(const rapt_struct *type, const void *from, void *to,
                             rapt_error *error);
/* An array of `n` of this version's structs, at most `most`, from one that is walked by the size of
 * its first element. NULL for n = 0, otherwise to be freed. `what` names it in errors. */
rapt_status rapt_copy_structs(const rapt_struct *type, const void *from, uint32_t n, uint32_t most,
                              const char *what, void **copies, rapt_error *error);

#endif
