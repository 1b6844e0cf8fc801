/* Accepted, and then unwilling. */
#include <rapt/plugin.h>

static rapt_status init(const rapt_host *host)
{
    host->log(NULL, RAPT_LOG_WARNING, "init");
    return RAPT_UNSUPPORTED;
}

static const rapt_host *nobody;

/* Must not be called: init has failed. */
static void fini(void)
{
    nobody->log(NULL, RAPT_LOG_WARNING, "fini");
}

#define SAMPLE_INIT init
#define SAMPLE_FINI fini
#include "sample.h"
