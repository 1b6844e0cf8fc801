/* SPIR-V as shaders carry it: plain, or deflated. */
#include "device/vulkan/code.h"
#include "base/error.h"
#include <stdlib.h>
#include <zlib.h>

#define SPIRV_MAGIC 0x07230203u

/* No shader is larger; what inflates beyond it is no shader. */
#define CODE_LIMIT ((size_t)64 << 20)

/* The first byte of a zlib stream: deflate with a window of 32 KiB. SPIR-V begins with 3 or 7. */
static bool is_deflated(const rapt_vulkan_shader *shader)
{
    return shader->code_bytes >= 4 && ((const unsigned char *)shader->code)[0] == 0x78;
}

/* Inflates all of it into a block that grows; NULL leaves `result` at zlib's reason. */
static unsigned char *inflate_all(const rapt_vulkan_shader *shader, size_t *bytes, int *result)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)shader->code,
                       .avail_in = (uInt)shader->code_bytes};
    size_t room = 8 * (size_t)shader->code_bytes;
    unsigned char *block = NULL;
    *result = inflateInit(&stream);
    if (*result != Z_OK)
        return NULL;
    while (*result == Z_OK && room <= CODE_LIMIT) {
        unsigned char *more = realloc(block, room);
        if (!more) {
            *result = Z_MEM_ERROR;
            break;
        }
        block = more;
        stream.next_out = block + stream.total_out;
        stream.avail_out = (uInt)(room - stream.total_out);
        *result = inflate(&stream, Z_FINISH);
        if (*result == Z_BUF_ERROR && stream.avail_out == 0) {
            *result = Z_OK;
            room *= 2;
        }
    }
    *bytes = stream.total_out;
    inflateEnd(&stream);
    if (*result == Z_STREAM_END)
        return block;
    free(block);
    return NULL;
}

rapt_status rapt_vk_unpack(const rapt_vulkan_shader *shader, rapt_vk_words *words,
                           rapt_error *error)
{
    *words = (rapt_vk_words){shader->code, shader->code_bytes, NULL};
    if (shader->code_bytes > CODE_LIMIT)
        return rapt_fail(error, RAPT_INVALID, "shader %s: its code has %llu bytes", shader->name,
                         (unsigned long long)shader->code_bytes);
    if (is_deflated(shader)) {
        int result;
        words->owned = inflate_all(shader, &words->bytes, &result);
        words->code = words->owned;
        if (result == Z_MEM_ERROR)
            return rapt_fail(error, RAPT_NO_MEMORY, "out of memory (the code of shader %s)",
                             shader->name);
        if (!words->owned)
            return rapt_fail(error, RAPT_INVALID, "shader %s: its deflated code is damaged",
                             shader->name);
    }
    if (words->bytes >= 20 && words->bytes % 4 == 0 && words->code[0] == SPIRV_MAGIC)
        return RAPT_OK;
    free(words->owned);
    words->owned = NULL;
    return rapt_fail(error, RAPT_INVALID, "shader %s: its code is no SPIR-V", shader->name);
}
