/* What the validation layers said. */
#include "device/vulkan/vulkan.h"
#include <stdio.h>
#include <string.h>

enum { KEPT = 64, LENGTH = 2048 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *kept[KEPT]; /* the first ones: what follows is often their consequence */
static size_t said;

void (*rapt_vulkan_log)(rapt_log_level level, const char *line);

void rapt_vk_message(const char *text)
{
    char line[LENGTH];
    snprintf(line, sizeof line, "%s", text);
    for (char *c = line; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    pthread_mutex_lock(&lock);
    if (said < KEPT)
        kept[said] = strdup(line);
    said++;
    pthread_mutex_unlock(&lock);
    if (rapt_vulkan_log)
        rapt_vulkan_log(RAPT_LOG_WARNING, line);
}

size_t rapt_vulkan_message_count(void)
{
    pthread_mutex_lock(&lock);
    const size_t n = said;
    pthread_mutex_unlock(&lock);
    return n;
}

const char *rapt_vulkan_message(size_t i)
{
    pthread_mutex_lock(&lock);
    const char *text = i < said && i < KEPT ? kept[i] : NULL;
    pthread_mutex_unlock(&lock);
    return text;
}
