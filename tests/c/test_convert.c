/* Conversions, over all halves, against definitions written another way; copies between layouts. */
#include "tensor/convert.h"
#include "tensor/tensor.h"
#include <math.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The number a half stands for, by the definition of the format. */
static double half_value(unsigned half, int exponent_bits, int fraction_bits)
{
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = (int)(half >> fraction_bits) & ((1 << exponent_bits) - 1);
    const unsigned fraction = half & ((1u << fraction_bits) - 1);
    const double sign = half & 0x8000 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1)
        return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0)
        return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp((double)fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
}

typedef struct format {
    int exponent_bits, fraction_bits;
    float (*widen)(uint16_t);
    uint16_t (*narrow)(float);
    rapt_dtype dtype;
} format;

static const format formats[] = {{5, 10, rapt_f16_to_f32, rapt_f32_to_f16, RAPT_F16},
                                 {8, 7, rapt_bf16_to_f32, rapt_f32_to_bf16, RAPT_BF16}};

static void test_all_halves(void **state)
{
    (void)state;
    for (size_t f = 0; f < 2; f++)
        for (unsigned half = 0; half < 65536; half++) {
            const format *t = &formats[f];
            const float value = t->widen((uint16_t)half);
            const double expected = half_value(half, t->exponent_bits, t->fraction_bits);
            const uint16_t again = t->narrow(value);
            if (isnan(expected)) {
                assert_true(isnan(value));
                assert_int_equal(signbit(value) != 0, half >> 15);
                assert_true(isnan(t->widen(again)));
                assert_int_equal(again >> 15, half >> 15);
            } else {
                assert_true((double)value == expected);
                assert_int_equal(signbit(value) != 0, half >> 15);
                assert_int_equal(again, half);
            }
        }
}

/* Between neighbours a < b of a format: the middle goes to the even one, what lies beside it to the
 * nearer. */
static void check_between(const format *t, uint16_t low, uint16_t high)
{
    const double a = half_value(low, t->exponent_bits, t->fraction_bits);
    const double b = isinf(half_value(high, t->exponent_bits, t->fraction_bits))
                         ? 2 * a - half_value(low - 1, t->exponent_bits, t->fraction_bits)
                         : half_value(high, t->exponent_bits, t->fraction_bits);
    const float middle = (float)((a + b) / 2);
    assert_true((double)middle == (a + b) / 2);
    const uint16_t even = low & 1 ? high : low;
    assert_int_equal(t->narrow(middle), even);
    assert_int_equal(t->narrow(nextafterf(middle, 0)), low);
    assert_int_equal(t->narrow(nextafterf(middle, INFINITY)), high);
    assert_int_equal(t->narrow(-middle), even | 0x8000);
    assert_int_equal(t->narrow(-nextafterf(middle, 0)), low | 0x8000);
    assert_int_equal(t->narrow(-nextafterf(middle, INFINITY)), high | 0x8000);
    /* Doubles that a detour over float would round twice. */
    uint16_t out;
    rapt_element_set(&out, t->dtype, nextafter((a + b) / 2, 0));
    assert_int_equal(out, low);
    rapt_element_set(&out, t->dtype, nextafter((a + b) / 2, INFINITY));
    assert_int_equal(out, high);
    rapt_element_set(&out, t->dtype, (a + b) / 2);
    assert_int_equal(out, even);
    rapt_element_set(&out, t->dtype, -nextafter((a + b) / 2, INFINITY));
    assert_int_equal(out, high | 0x8000);
}

static void test_rounding(void **state)
{
    (void)state;
    for (size_t f = 0; f < 2; f++) {
        const unsigned infinity = (0xffffu << formats[f].fraction_bits) & 0x7fff;
        for (unsigned low = 0; low < infinity; low++)
            check_between(&formats[f], (uint16_t)low, (uint16_t)(low + 1));
    }
}

static void test_extremes(void **state)
{
    (void)state;
    assert_int_equal(rapt_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(rapt_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(rapt_f32_to_f16(3.4e38f), 0x7c00);
    assert_int_equal(rapt_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(rapt_f32_to_f16(float_of(1)), 0);
    assert_int_equal(rapt_f32_to_f16(-float_of(1)), 0x8000);
    assert_int_equal(rapt_f32_to_bf16(3.4e38f), 0x7f80);
    assert_int_equal(rapt_f32_to_bf16(float_of(0x7f800001)), 0x7fc0);
    assert_int_equal(rapt_f32_to_f16(float_of(0x7f800001)), 0x7e00);
    assert_int_equal(rapt_f32_to_f16(float_of(0xffffffff)), 0xffff);
    assert_true(isnan(rapt_f16_to_f32(0x7c01)));
    assert_int_equal(bits_of(rapt_f16_to_f32(0x7c01)), 0x7fc02000);
}

static void test_elements(void **state)
{
    (void)state;
    static const struct {
        rapt_dtype dtype;
        double in, out;
    } cases[] = {
        {RAPT_F32, 0.1, (double)0.1f},
        {RAPT_F64, 0.1, 0.1},
        {RAPT_F16, 0.1, 0.0999755859375},
        {RAPT_BF16, 0.1, 0.10009765625},
        {RAPT_F32, 1e300, (double)INFINITY},
        {RAPT_F16, -1e300, -(double)INFINITY},
        {RAPT_BF16, 1e300, (double)INFINITY},
        {RAPT_I32, -1.9, -1},
        {RAPT_I32, 3e9, INT32_MAX},
        {RAPT_I32, -3e9, INT32_MIN},
        {RAPT_I32, (double)NAN, 0},
        {RAPT_I32, -2147483648.5, INT32_MIN},
        {RAPT_I64, 1e30, 0x1p63},
        {RAPT_I64, -1e30, -0x1p63},
        {RAPT_I64, -(double)INFINITY, -0x1p63},
        {RAPT_I64, (double)NAN, 0},
        {RAPT_I64, -123456789012.5, -123456789012},
        {RAPT_U8, 300, 255},
        {RAPT_U8, 254.9, 254},
        {RAPT_U8, -5, 0},
        {RAPT_U8, (double)NAN, 0},
        {RAPT_BOOL, 0.25, 1},
        {RAPT_BOOL, 0, 0},
        {RAPT_BOOL, -0.0, 0},
        {RAPT_BOOL, (double)NAN, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char element[8];
        rapt_element_set(element, cases[i].dtype, cases[i].in);
        assert_true(rapt_element_get(element, cases[i].dtype) == cases[i].out);
    }
    assert_true(rapt_element_get("", RAPT_DTYPE_COUNT) == 0);
    rapt_element_set(NULL, RAPT_DTYPE_COUNT, 1);
}

static void test_integers(void **state)
{
    (void)state;
    const int64_t values[] = {0,
                              1,
                              -1,
                              255,
                              256,
                              INT32_MAX,
                              INT32_MIN,
                              (int64_t)INT32_MAX + 1,
                              INT64_MAX,
                              INT64_MIN,
                              (INT64_C(1) << 53) + 1,
                              (INT64_C(257) << 45) + 1,
                              -(INT64_C(257) << 45) - 1};
    enum { N = sizeof values / sizeof values[0] };
    const int64_t shape[] = {N};
    rapt_tensor *from = rapt_tensor_new(RAPT_I64, 1, shape, false, NULL);
    memcpy(from->view.data, values, sizeof values);
    rapt_tensor *to[RAPT_DTYPE_COUNT];
    for (int d = 0; d < RAPT_DTYPE_COUNT; d++) {
        to[d] = rapt_tensor_new((rapt_dtype)d, 1, shape, false, NULL);
        rapt_view_copy(&to[d]->view, &from->view);
    }
    assert_memory_equal(to[RAPT_I64]->view.data, values, sizeof values);
    for (int i = 0; i < N; i++) {
        const int64_t v = values[i];
        const int64_t narrow = v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v;
        assert_int_equal(((int32_t *)to[RAPT_I32]->view.data)[i], narrow);
        assert_int_equal(((uint8_t *)to[RAPT_U8]->view.data)[i], v > 255 ? 255 : v < 0 ? 0 : v);
        assert_int_equal(((uint8_t *)to[RAPT_BOOL]->view.data)[i], v != 0);
        assert_true(((float *)to[RAPT_F32]->view.data)[i] == (float)v);
        assert_true(((double *)to[RAPT_F64]->view.data)[i] == (double)v);
    }
    /* 257 * 2^45 is halfway between two bf16; one more is above, though no double says so. */
    assert_int_equal(((uint16_t *)to[RAPT_BF16]->view.data)[N - 2], rapt_f32_to_bf16(0x1.02p53f));
    assert_int_equal(((uint16_t *)to[RAPT_BF16]->view.data)[N - 1], rapt_f32_to_bf16(-0x1.02p53f));
    assert_int_equal(((uint16_t *)to[RAPT_F16]->view.data)[8], 0x7c00);
    assert_int_equal(((uint16_t *)to[RAPT_F16]->view.data)[9], 0xfc00);
    for (int d = 0; d < RAPT_DTYPE_COUNT; d++)
        rapt_tensor_release(to[d]);
    rapt_tensor_release(from);
}

static uint32_t state_of_random = 1;
static int64_t random_below(int64_t n)
{
    state_of_random = state_of_random * 1664525u + 1013904223u;
    return (int64_t)(state_of_random >> 8) % n;
}

/* Every element by its index, one at a time: what rapt_view_copy must equal. */
static void naive_copy(const rapt_view *to, const rapt_view *from)
{
    int64_t index[RAPT_MAX_DIMS] = {0};
    const rapt_dtype a = rapt_view_dtype(to), b = rapt_view_dtype(from);
    for (int64_t n = rapt_view_count(to); n > 0; n--) {
        int64_t p = 0, q = 0;
        for (int32_t d = 0; d < to->ndim; d++) {
            p += index[d] * to->strides[d];
            q += index[d] * from->strides[d];
        }
        char *target = (char *)rapt_view_data(to) + p * (int64_t)rapt_dtype_size(a);
        const char *source = (char *)rapt_view_data(from) + q * (int64_t)rapt_dtype_size(b);
        if (a == b)
            memcpy(target, source, rapt_dtype_size(a));
        else
            rapt_element_set(target, a, rapt_element_get(source, b));
        for (int32_t d = to->ndim - 1; d >= 0 && ++index[d] == to->shape[d]; d--)
            index[d] = 0;
    }
}

/* A tensor whose dimensions lie in memory in random order, with gaps; it holds small numbers. */
static rapt_tensor *scattered(rapt_dtype dtype, int32_t ndim, const int64_t *shape, bool may_expand)
{
    int64_t full[RAPT_MAX_DIMS];
    int32_t order[RAPT_MAX_DIMS], back[RAPT_MAX_DIMS];
    for (int32_t i = 0; i < ndim; i++)
        order[i] = i;
    for (int32_t i = ndim - 1; i > 0; i--) {
        const int32_t j = (int32_t)random_below(i + 1), k = order[i];
        order[i] = order[j];
        order[j] = k;
    }
    for (int32_t i = 0; i < ndim; i++) {
        back[order[i]] = i;
        full[i] = shape[order[i]] + random_below(2);
    }
    rapt_tensor *t = rapt_tensor_new(dtype, ndim, full, true, NULL);
    for (int64_t i = 0; i < rapt_tensor_count(t); i++)
        rapt_element_set((char *)t->view.data + i * (int64_t)rapt_dtype_size(dtype), dtype,
                         (double)(random_below(200)) / (dtype < RAPT_I32 ? 8 : 1));
    for (int32_t i = 0; i < ndim; i++) {
        const bool expand = may_expand && shape[order[i]] > 0 && random_below(5) == 0;
        rapt_tensor *v =
            rapt_view_narrow(t, i, full[i] - shape[order[i]], expand ? 1 : shape[order[i]], NULL);
        assert_non_null(v);
        rapt_tensor_release(t);
        t = v;
        full[i] = shape[order[i]];
    }
    rapt_tensor *e = may_expand ? rapt_view_expand(t, ndim, full, NULL) : rapt_tensor_retain(t);
    rapt_tensor *v = rapt_view_permute(e, ndim, back, NULL);
    assert_non_null(v);
    rapt_tensor_release(e);
    rapt_tensor_release(t);
    return v;
}

static void check_copy(rapt_dtype a, rapt_dtype b, int32_t ndim, const int64_t *shape)
{
    rapt_tensor *from = scattered(b, ndim, shape, true);
    rapt_tensor *to = scattered(a, ndim, shape, false);
    /* The whole storage is compared: nothing beside the view is written. */
    const size_t bytes = (size_t)to->storage->bytes;
    void *before = malloc(bytes + 1), *fast = malloc(bytes + 1);
    assert_non_null(before);
    assert_non_null(fast);
    memcpy(before, to->storage->data, bytes);
    rapt_view_copy(&to->view, &from->view);
    memcpy(fast, to->storage->data, bytes);
    memcpy(to->storage->data, before, bytes);
    naive_copy(&to->view, &from->view);
    assert_memory_equal(fast, to->storage->data, bytes);
    free(before);
    free(fast);
    rapt_tensor_release(to);
    rapt_tensor_release(from);
}

static void test_copies(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++)
        for (int a = 0; a < RAPT_DTYPE_COUNT; a++)
            for (int b = 0; b < RAPT_DTYPE_COUNT; b++) {
                int64_t shape[5];
                const int32_t ndim = (int32_t)random_below(6);
                for (int32_t i = 0; i < ndim; i++)
                    shape[i] = random_below(7) + (random_below(40) > 0);
                check_copy((rapt_dtype)a, (rapt_dtype)b, ndim, shape);
            }
    const int64_t large[][3] = {{70, 3, 90}, {1, 130, 33}, {2, 1500, 1}, {33, 2, 32}};
    for (int round = 0; round < 8; round++)
        for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
            check_copy(RAPT_F32, RAPT_F32, 3, large[i]);
            check_copy(RAPT_F16, RAPT_F32, 3, large[i]);
            check_copy(RAPT_F32, RAPT_BF16, 3, large[i]);
            check_copy(RAPT_I64, RAPT_I64, 3, large[i]);
        }
}

/* Long rows take the vectorised loops; they must agree with one element at a time on every value.
 */
static void test_long_rows(void **state)
{
    (void)state;
    enum { N = 65536 };
    const int64_t shape[] = {N};
    rapt_tensor *half = rapt_tensor_new(RAPT_F16, 1, shape, false, NULL);
    rapt_tensor *wide = rapt_tensor_new(RAPT_F32, 1, shape, false, NULL);
    rapt_tensor *again = rapt_tensor_new(RAPT_F16, 1, shape, false, NULL);
    uint16_t *h = half->view.data, *g = again->view.data;
    float *w = wide->view.data;
    for (int i = 0; i < N; i++)
        h[i] = (uint16_t)i;
    rapt_view_copy(&wide->view, &half->view);
    for (int i = 0; i < N; i++)
        assert_int_equal(bits_of(w[i]), bits_of(rapt_f16_to_f32((uint16_t)i)));
    for (int i = 0; i < N; i++)
        w[i] = float_of((uint32_t)i * 65537u + 0x8000u);
    rapt_view_copy(&again->view, &wide->view);
    for (int i = 0; i < N; i++)
        assert_int_equal(g[i], rapt_f32_to_f16(w[i]));
    rapt_tensor_release(half);
    rapt_tensor_release(wide);
    rapt_tensor_release(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_halves), cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_extremes),   cmocka_unit_test(test_elements),
        cmocka_unit_test(test_integers),   cmocka_unit_test(test_copies),
        cmocka_unit_test(test_long_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
