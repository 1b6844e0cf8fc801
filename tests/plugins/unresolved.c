/* Calls a function that nobody has. */
#include <rapt/plugin.h>

rapt_status rapt_test_nobody_has_this(const rapt_host *host);

static rapt_status init(const rapt_host *host)
{
    return rapt_test_nobody_has_this(host);
}

#define SAMPLE_INIT init
#include "sample.h"
