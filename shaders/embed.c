/*
 * embed IN NAME OUT: SPIR-V as an array of C, packed (device/vulkan/packed.h) and deflated (zlib,
 * RFC 1950), which makes it about a quarter as large. IN is a SPIR-V file or a text that holds its
 * words as hexadecimal numbers (shaders/kept). The array is `const uint32_t NAME[]`; bytes beyond
 * the end of the stream are zero.
 */
#include "device/vulkan/packed.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define SPIRV_MAGIC 0x07230203u

static int fail(const char *what, const char *path)
{
    fprintf(stderr, "embed: %s %s\n", what, path);
    return 1;
}

/* The whole file with a zero behind it; NULL: it cannot be read. */
static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t room = 0;
    *size = 0;
    while (file && !ferror(file) && !feof(file)) {
        if (*size + 1 >= room) {
            char *more = realloc(text, room = 2 * room + (1 << 16));
            if (!more)
                break;
            text = more;
        }
        *size += fread(text + *size, 1, room - *size - 1, file);
    }
    if (!file || ferror(file) || !feof(file)) {
        free(text);
        text = NULL;
    }
    if (file)
        fclose(file);
    if (text)
        text[*size] = 0;
    return text;
}

/* Turns hexadecimal words, in place, into the bytes that they stand for. */
static size_t words_of_text(char *text)
{
    size_t n = 0;
    char *at = text;
    while ((at = strstr(at, "0x"))) {
        const uint32_t word = (uint32_t)strtoul(at, &at, 16);
        memcpy(text + n, &word, sizeof word);
        n += sizeof word;
    }
    return n;
}

/* --- Packing --------------------------------------------------------------------------------- */

static unsigned char *put(unsigned char *to, uint32_t number)
{
    for (; number >= 128; number >>= 7)
        *to++ = (unsigned char)(number | 128);
    *to++ = (unsigned char)number;
    return to;
}

static unsigned char *put_distance(unsigned char *to, uint32_t word, uint32_t from)
{
    const uint32_t d = word - from;
    return put(to, d << 1 ^ (d >> 31 ? UINT32_MAX : 0));
}

static unsigned char *put_word(unsigned char *to, uint32_t word)
{
    for (int i = 0; i < 4; i++)
        *to++ = (unsigned char)(word >> 8 * i);
    return to;
}

/* `to` has room for 6 bytes a word and the head. NULL: the words are no instructions. */
static unsigned char *pack(unsigned char *to, const uint32_t *code, size_t words)
{
    uint32_t last = 0;
    to = put_word(put_word(to, RAPT_PACKED_MAGIC), (uint32_t)words);
    for (size_t i = 0; i < 5 && i < words; i++)
        to = put(to, code[i]);
    for (size_t i = 5; i < words;) {
        const uint32_t op = code[i] & 0xffff, n = code[i] >> 16;
        if (n == 0 || n > words - i)
            return NULL;
        to = put(to, op << 5 | (n < 32 ? n : 0));
        if (n >= 32)
            to = put(to, n);
        for (uint32_t k = 1; k < n; k++) {
            const uint32_t word = code[i + k];
            to = k == 1 || rapt_packed_plain(op) ? put(to, word) : put_distance(to, word, last);
            if (k == 2 && rapt_packed_result(op))
                last = word;
        }
        i += n;
    }
    return to;
}

static int write_array(const char *path, const char *name, const unsigned char *bytes, size_t size)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return fail("cannot write", path);
    fprintf(file, "const uint32_t %s[] = {", name);
    for (size_t i = 0; i < size; i += 4) {
        uint32_t word;
        memcpy(&word, bytes + i, sizeof word);
        fprintf(file, "%s0x%x,", i % 32 ? "" : "\n", (unsigned)word);
    }
    fprintf(file, "\n};\n");
    const int wrong = ferror(file);
    return fclose(file) != 0 || wrong ? fail("cannot write", path) : 0;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return fail("usage:", "embed IN NAME OUT");
    size_t size;
    char *code = read_file(argv[1], &size);
    if (!code)
        return fail("cannot read", argv[1]);
    uint32_t magic = 0;
    if (size >= sizeof magic)
        memcpy(&magic, code, sizeof magic);
    if (magic != SPIRV_MAGIC) {
        size = words_of_text(code);
        memcpy(&magic, code, sizeof magic);
        if (size < sizeof magic || magic != SPIRV_MAGIC)
            return fail("no SPIR-V in", argv[1]);
    }
    unsigned char *packed = malloc(size / 4 * 6 + RAPT_PACKED_HEAD), *end = NULL;
    if (packed && size % 4 == 0)
        end = pack(packed, (const uint32_t *)(const void *)code, size / 4);
    if (!end)
        return fail("no instructions in", argv[1]);
    uLongf room = compressBound((uLong)(end - packed));
    unsigned char *deflated = calloc(1, room + 3);
    if (!deflated ||
        compress2(deflated, &room, packed, (uLong)(end - packed), Z_BEST_COMPRESSION) != Z_OK)
        return fail("cannot deflate", argv[1]);
    free(packed);
    const int status = write_array(argv[3], argv[2], deflated, (room + 3) & ~(size_t)3);
    free(deflated);
    free(code);
    return status;
}
