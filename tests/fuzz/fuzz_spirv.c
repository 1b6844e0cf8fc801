/*
 * libFuzzer target: the code of a shader, in every form that it comes in, and what is made of its
 * SPIR-V. The input is what a plugin's array would be.
 */
#include "device/vulkan/bfloat.h"
#include "device/vulkan/part.h"
#include "device/vulkan/shared.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(const rapt_error *error)
{
    if (error->status == RAPT_OK || !error->message[0] || strchr(error->message, '\n'))
        abort();
}

/* Every word that was written is read. */
static void check_words(const rapt_vk_words *words)
{
    volatile uint32_t sum = 0;
    if (words->owned != words->code || words->bytes < 20 || words->bytes % 4 != 0)
        abort();
    for (size_t i = 0; i < words->bytes / 4; i++)
        sum += words->code[i];
}

static void try_part(const rapt_vk_words *words)
{
    static const rapt_vk_part part = {{1, 70000, 0}, {2, 140000, 3}};
    rapt_vk_words result;
    rapt_error error = {0};
    if (rapt_vk_part_code("fuzz", words, &part, &result, &error) != RAPT_OK) {
        check_error(&error);
        return;
    }
    check_words(&result);
    free(result.owned);
}

static void try_bfloat(const rapt_vk_words *words)
{
    rapt_vk_words result;
    rapt_error error = {0};
    if (rapt_vk_bfloat_code("fuzz", words, &result, &error) != RAPT_OK) {
        check_error(&error);
        return;
    }
    check_words(&result);
    try_part(&result);
    free(result.owned);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t constants[] = {64, 1, 0};
    void *code = malloc(size ? size : 1); /* aligned, and no longer than it is */
    if (!code)
        abort();
    if (size)
        memcpy(code, data, size);
    const rapt_vulkan_shader shader = {
        .size = sizeof shader, .name = "fuzz", .code = code, .code_bytes = size};
    rapt_vk_words words;
    rapt_error error = {0};
    uint64_t bytes;
    if (rapt_vk_unpack(&shader, &words, &error) == RAPT_OK) {
        (void)rapt_vk_shared_bytes(&words, constants, 3, &bytes);
        try_part(&words);
        try_bfloat(&words);
        free(words.owned);
    } else {
        check_error(&error);
    }
    free(code);
    return 0;
}
