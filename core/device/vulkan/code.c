/* SPIR-V as shaders carry it: plain, or deflated, or packed and deflated. */
#include "device/vulkan/code.h"
#include "base/error.h"
#include "device/vulkan/packed.h"
#include <stdlib.h>
#include <string.h>
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

/* --- Packed words ---------------------------------------------------------------------------- */

typedef struct reader {
    const unsigned char *at, *end;
    bool wrong;
} reader;

static uint32_t number(reader *r)
{
    uint32_t value = 0;
    for (uint32_t shift = 0; shift < 32 && r->at < r->end; shift += 7) {
        const uint32_t byte = *r->at++;
        value |= (byte & 127) << shift;
        if (byte < 128)
            return value;
    }
    r->wrong = true;
    return 0;
}

static uint32_t at_distance(reader *r, uint32_t from)
{
    const uint32_t d = number(r);
    return from + (d >> 1 ^ (d & 1 ? UINT32_MAX : 0));
}

static uint32_t word_at(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static bool read_words(reader *r, uint32_t *code, size_t words)
{
    uint32_t last = 0;
    for (size_t i = 0; i < 5 && i < words; i++)
        code[i] = number(r);
    for (size_t i = 5; i < words && !r->wrong;) {
        const uint32_t head = number(r), op = head >> 5;
        const uint32_t n = head & 31 ? head & 31 : number(r);
        if (n == 0 || n > words - i || n > UINT16_MAX || op > UINT16_MAX)
            return false;
        code[i] = n << 16 | op;
        for (uint32_t k = 1; k < n; k++) {
            const bool plain = k == 1 || rapt_packed_plain(op);
            code[i + k] = plain ? number(r) : at_distance(r, last);
            if (k == 2 && rapt_packed_result(op))
                last = code[i + k];
        }
        i += n;
    }
    return !r->wrong && r->at == r->end;
}

/* Puts the words that packed bytes stand for in their place; false: there is no such module, or,
 * with words->owned NULL, no memory for it. */
static bool unpack_words(rapt_vk_words *words)
{
    const unsigned char *packed = words->owned;
    reader r = {packed + RAPT_PACKED_HEAD, packed + words->bytes, false};
    const size_t n = word_at(packed + 4);
    uint32_t *code =
        n <= words->bytes ? malloc(n * sizeof *code + 1) : NULL; /* a byte a word or more */
    const bool fine = code && read_words(&r, code, n);
    if (!fine && (code || n > words->bytes)) {
        free(code);
        return false;
    }
    free(words->owned);
    *words = (rapt_vk_words){code, n * sizeof *code, code};
    return fine;
}

static bool is_packed(const rapt_vk_words *words)
{
    return words->owned && words->bytes >= RAPT_PACKED_HEAD &&
           word_at(words->owned) == RAPT_PACKED_MAGIC;
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
        const bool whole = words->owned && (!is_packed(words) || unpack_words(words));
        if (result == Z_STREAM_END && !words->owned)
            return rapt_fail(error, RAPT_NO_MEMORY, "out of memory (the code of shader %s)",
                             shader->name);
        if (!whole) {
            free(words->owned);
            words->owned = NULL;
            return rapt_fail(error, RAPT_INVALID, "shader %s: its deflated code is damaged",
                             shader->name);
        }
    }
    if (words->bytes >= 20 && words->bytes % 4 == 0 && words->code[0] == SPIRV_MAGIC)
        return RAPT_OK;
    free(words->owned);
    words->owned = NULL;
    return rapt_fail(error, RAPT_INVALID, "shader %s: its code is no SPIR-V", shader->name);
}
