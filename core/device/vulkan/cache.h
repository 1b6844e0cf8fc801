/* Small files of rapt's own that may be lost: pipelines, what was found on this machine. */
#ifndef RAPT_DEVICE_VULKAN_CACHE_H
#define RAPT_DEVICE_VULKAN_CACHE_H

#include <rapt/rapt.h>

/* The bytes last stored under `name`, freed with free(); NULL where there are none, where they are
 * damaged, or where others than the user may write to them. */
unsigned char *rapt_vk_cache_load(const char *name, size_t *bytes);
/* Replaces them as a whole. Nothing depends on it: a failure is not reported. */
void rapt_vk_cache_store(const char *name, const void *data, size_t bytes);
/* The folder, $XDG_CACHE_HOME/rapt or ~/.cache/rapt; false: there is none. */
bool rapt_vk_cache_folder(char *path, size_t size);

#endif
