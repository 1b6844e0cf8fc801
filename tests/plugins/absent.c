/* The library that missing_library.c needs. */
int rapt_test_absent(void);
__attribute__((visibility("default"))) int rapt_test_absent(void)
{
    return 1;
}
