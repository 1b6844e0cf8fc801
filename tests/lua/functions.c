/* A plugin that only lends functions to Lua: one for each type. */
#include <rapt/plugin.h>

#include <stdbool.h>

static int calls;

static void touch(void)
{
    calls++;
}

static int touched(void)
{
    return calls;
}

static bool negate(bool x)
{
    return !x;
}

static int add(int a, int b)
{
    return a + b;
}

static int64_t twice(int64_t x)
{
    return 2 * x;
}

static double slope(int head, int heads)
{
    return -(double)(head + 1) / heads;
}

static float half(float x)
{
    return x / 2;
}

static const char *pick(const char *text, bool really)
{
    return really ? text : NULL;
}

static void *same(void *p)
{
    return p;
}

static void *address(void)
{
    return &calls;
}

static double total(const rapt_view *x)
{
    double sum = 0;
    for (int64_t i = 0; x->ndim == 1 && i < x->shape[0]; i++)
        sum += ((const float *)rapt_view_data(x))[i * x->strides[0]];
    return sum;
}

static int many(int a, double b, int64_t c, float d, bool e, const char *f, int g, double h)
{
    return a + (int)b + (int)c + (int)d + e + f[0] + g + (int)h;
}

#define FUNCTION(signature, name)                                                                  \
    {                                                                                              \
        sizeof(rapt_function), 0, signature, (void (*)(void))name, "for the tests"                 \
    }

static const rapt_function functions[] = {
    FUNCTION("void touch()", touch),
    FUNCTION("int touched()", touched),
    FUNCTION("bool negate(bool)", negate),
    FUNCTION("int add(int a, int b)", add),
    FUNCTION("int64 twice(int64 x)", twice),
    FUNCTION("double slope(int head, int heads)", slope),
    FUNCTION("float half(float)", half),
    FUNCTION("string pick(string text, bool really)", pick),
    FUNCTION("pointer same(pointer p)", same),
    FUNCTION("pointer address( )", address),
    FUNCTION("double total(tensor x)", total),
    FUNCTION("int many(int a, double b, int64 c, float d, bool e, string f, int g, double h)",
             many),
};

RAPT_PLUGIN_EXPORT const rapt_plugin rapt_plugin_v1 = {
    .size = sizeof(rapt_plugin),
    .abi_major = RAPT_ABI_MAJOR,
    .abi_minor = RAPT_ABI_MINOR_NEEDED,
    .name = "functions",
    .version = "1.0",
    .author = "rapt",
    .license = "MIT",
    .functions = functions,
    .n_functions = sizeof functions / sizeof functions[0],
};
