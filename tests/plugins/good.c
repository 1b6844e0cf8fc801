/* Right in everything: two operators, a function for Lua, init and fini, which tell the log. Built
 * twice, the second time as another version of itself. */
#include <rapt/plugin.h>

#ifndef SAMPLE_VERSION
#define SAMPLE_VERSION "1.0"
#endif

static const rapt_host *host;
static int calls;

static rapt_status init(const rapt_host *given)
{
    host = given;
    host->log(NULL, RAPT_LOG_INFO, "init " SAMPLE_VERSION);
    return RAPT_OK;
}

static void fini(void)
{
    host->log(NULL, RAPT_LOG_INFO, "fini " SAMPLE_VERSION);
}

/* How often it was called: each copy of the plugin counts for itself. */
static int count_calls(void)
{
    return ++calls;
}

static const rapt_function functions[] = {{sizeof(rapt_function), 0, "int count_calls()",
                                           (void (*)(void))count_calls, "counts its calls"}};

#define SAMPLE_NAME        "test.good"
#define SAMPLE_N_OPERATORS 2
#define SAMPLE_FUNCTIONS   functions
#define SAMPLE_N_FUNCTIONS 1
#define SAMPLE_INIT        init
#define SAMPLE_FINI        fini
#include "sample.h"
