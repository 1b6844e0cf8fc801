/*
 * In place of libxsmm in tests that wrap the allocator: the archive wraps malloc itself, by the
 * linker's same means, and the two do not link together. It refuses every shape, so that tiles are
 * served by the vector code, as for any shape that libxsmm does not take.
 */
#include <stddef.h>

void libxsmm_init(void);
void libxsmm_set_target_archid(int id);
void *libxsmm_smmdispatch(void);

void libxsmm_init(void)
{
}

void libxsmm_set_target_archid(int id)
{
    (void)id;
}

void *libxsmm_smmdispatch(void)
{
    return NULL;
}
