/*
 * kit/describe.h - what the description of every operator repeats: its lists and their lengths, the
 * factor of the products, and the plugin around one operator.
 *
 *     static const rapt_operator operators[] = {{
 *         .size = sizeof(rapt_operator),
 *         .name = "cog",
 *         RAPT_DESCRIBE_LISTS,
 *         ...
 *     }};
 *     RAPT_DESCRIBE_PLUGIN("cog", "1.0");
 */
#ifndef RAPT_KIT_DESCRIBE_H
#define RAPT_KIT_DESCRIBE_H

#include <rapt/plugin.h>

/* A list of an operator and how long it is; the array is named as the field. */
#define RAPT_DESCRIBE_LIST(list) .list = list, .n_##list = sizeof(list) / sizeof(*(list))
#define RAPT_DESCRIBE_LISTS                                                                        \
    RAPT_DESCRIBE_LIST(inputs), RAPT_DESCRIBE_LIST(outputs), RAPT_DESCRIBE_LIST(attrs),            \
        RAPT_DESCRIBE_LIST(kernels)

#define RAPT_DESCRIBE_SCALE(value, text)                                                           \
    {                                                                                              \
        .size = sizeof(rapt_attr), .type = RAPT_ATTR_FLOAT, .name = "scale", .fallback = value,    \
        .doc = text                                                                                \
    }

/* What the plugin exports: its array `operators`. */
#define RAPT_DESCRIBE_PLUGIN(id, release)                                                          \
    RAPT_PLUGIN_EXPORT const rapt_plugin rapt_plugin_v1 = {.size = sizeof(rapt_plugin),            \
                                                           .abi_major = RAPT_ABI_MAJOR,            \
                                                           .abi_minor = RAPT_ABI_MINOR_NEEDED,     \
                                                           .name = id,                             \
                                                           .version = release,                     \
                                                           .author = "the rapt authors",           \
                                                           .license = "MIT",                       \
                                                           RAPT_DESCRIBE_LIST(operators)}

#endif
