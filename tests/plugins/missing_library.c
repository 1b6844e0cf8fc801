/* Needs a library that is not there. */
int rapt_test_absent(void);
static int use_library(void)
{
    return rapt_test_absent();
}
#define SAMPLE_INIT init
#include <rapt/plugin.h>
static rapt_status init(const rapt_host *host)
{
    (void)host;
    return use_library() ? RAPT_OK : RAPT_UNSUPPORTED;
}
#include "sample.h"
