/*
 * embed IN NAME OUT: SPIR-V as an array of C, deflated (zlib, RFC 1950), which makes it about a
 * third as large. IN is a SPIR-V file or a text that holds its words as hexadecimal numbers
 * (shaders/kept). The array is `const uint32_t NAME[]`; bytes beyond the end of the stream are
 * zero.
 */
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
    uLongf room = compressBound(size);
    unsigned char *deflated = calloc(1, room + 3);
    if (!deflated ||
        compress2(deflated, &room, (const Bytef *)code, size, Z_BEST_COMPRESSION) != Z_OK)
        return fail("cannot deflate", argv[1]);
    const int status = write_array(argv[3], argv[2], deflated, (room + 3) & ~(size_t)3);
    free(deflated);
    free(code);
    return status;
}
