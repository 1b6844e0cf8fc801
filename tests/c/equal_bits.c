#include "equal_bits.h"
#include "sanitized.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
// cmocka.h comes after what it needs
#include <cmocka.h>

static uint64_t bits_with_threads(const char *program, const char *threads)
{
    char command[4096], line[64] = "";
    snprintf(command, sizeof(command), "RAPT_THREADS=%s '%s' bits", threads, program);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(line, sizeof(line), pipe));
    assert_int_equal(pclose(pipe), 0);
    return strtoull(line, NULL, 16);
}

void equal_bits_check(const char *program, uint64_t (*bits)(void))
{
    const uint64_t here = bits();
    assert_true(here == bits_with_threads(program, "2"));
    if (SANITIZED)
        return;
    assert_true(here == bits());
    assert_true(here == bits_with_threads(program, "1"));
    assert_true(here == bits_with_threads(program, "5"));
}
