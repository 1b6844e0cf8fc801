/* SANITIZED is 1 where AddressSanitizer makes everything slow: what is measured by size rather than
 * looked for by it may take a smaller size then. */
#ifndef RAPT_TESTS_SANITIZED_H
#define RAPT_TESTS_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#endif
