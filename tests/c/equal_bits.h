/* The same input gives the same bits, again and whatever the number of threads. */
#ifndef RAPT_TEST_EQUAL_BITS_H
#define RAPT_TEST_EQUAL_BITS_H

#include <stdint.h>

/* Fails unless `bits` gives here what it gives again and what `program bits` prints, in
 * hexadecimal, with 1, 2 and 5 threads; slowed by a sanitizer, with 2 alone. */
void equal_bits_check(const char *program, uint64_t (*bits)(void));

#endif
