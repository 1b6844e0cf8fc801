/* Lends a function with a signature that nobody can read. */
#include <rapt/plugin.h>

static int one(void)
{
    return 1;
}

static const rapt_function functions[] = {
    {sizeof(rapt_function), 0, "int one(complex x)", (void (*)(void))one, "one"}};

#define SAMPLE_FUNCTIONS   functions
#define SAMPLE_N_FUNCTIONS 1
#include "sample.h"
