/* Picks the code of the level in use. */
#include "device/cpu/level.h"
#include "device/cpu/services.h"

const rapt_level_code *rapt_level_select(void)
{
    switch (rapt_cpu_table()->level) {
#if defined(__x86_64__)
    case RAPT_CPU_AVX512:
        return &rapt_level_avx512;
    case RAPT_CPU_AVX2:
        return &rapt_level_avx2;
#elif defined(__aarch64__)
    case RAPT_CPU_NEON:
        return &rapt_level_neon;
#endif
    default:
        return &rapt_level_portable;
    }
}

const rapt_math_service *rapt_math_select(void)
{
    return &rapt_level_select()->math;
}
