/* DLPack: what leaves and what comes in, and what is refused. */
#include "tensor/tensor.h"
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include <cmocka.h>

static rapt_error error;

static void assert_error(rapt_status status, const char *word)
{
    assert_int_equal(error.status, status);
    if (!strstr(error.message, word)) {
        print_error("'%s' lacks '%s'\n", error.message, word);
        fail();
    }
    error = (rapt_error){0};
}

/* DLManagedTensorVersioned on a 64-bit machine, byte by byte. */
static void test_layout(void **state)
{
    (void)state;
    assert_int_equal(offsetof(rapt_dlpack, version), 0);
    assert_int_equal(offsetof(rapt_dlpack, manager_context), 8);
    assert_int_equal(offsetof(rapt_dlpack, deleter), 16);
    assert_int_equal(offsetof(rapt_dlpack, flags), 24);
    assert_int_equal(offsetof(rapt_dlpack, view), 32);
    assert_int_equal(offsetof(rapt_view, data), 0);
    assert_int_equal(offsetof(rapt_view, device), 8);
    assert_int_equal(offsetof(rapt_view, ndim), 16);
    assert_int_equal(offsetof(rapt_view, dtype), 20);
    assert_int_equal(offsetof(rapt_view, shape), 24);
    assert_int_equal(offsetof(rapt_view, strides), 32);
    assert_int_equal(offsetof(rapt_view, byte_offset), 40);
    assert_int_equal(sizeof(rapt_view), 48);
    assert_int_equal(sizeof(rapt_dlpack), 80);
}

static void test_export(void **state)
{
    (void)state;
    const int64_t shape[] = {2, 3};
    const rapt_memory before = rapt_memory_usage();
    rapt_tensor *t = rapt_tensor_new(RAPT_F32, 2, shape, true, &error);
    ((float *)t->view.data)[5] = 7;
    rapt_tensor *v = rapt_view_select(t, 0, 1, &error);
    rapt_dlpack *out = rapt_to_dlpack(v, &error);
    assert_non_null(out);
    rapt_tensor_release(t);
    rapt_tensor_release(v);
    assert_int_equal(out->version.major, 1);
    assert_int_equal(out->flags, 0);
    assert_int_equal(out->view.ndim, 1);
    assert_int_equal(out->view.shape[0], 3);
    assert_int_equal(out->view.strides[0], 1);
    assert_int_equal(out->view.byte_offset, 0);
    assert_true(((float *)out->view.data)[2] == 7);
    out->deleter(out);
    assert_int_equal(rapt_memory_usage().current, before.current);
}

static void test_round_trip(void **state)
{
    (void)state;
    const int64_t shape[] = {4, 5};
    rapt_tensor *t = rapt_tensor_new(RAPT_BF16, 2, shape, true, &error);
    rapt_tensor *v = rapt_view_transpose(t, 0, 1, &error);
    rapt_tensor *w = rapt_from_dlpack(rapt_to_dlpack(v, &error), &error);
    assert_non_null(w);
    assert_int_equal(rapt_tensor_dtype(w), RAPT_BF16);
    assert_ptr_equal(rapt_view_data(&w->view), t->view.data);
    assert_int_equal(w->shape[0], 5);
    assert_int_equal(w->strides[0], 1);
    assert_int_equal(w->strides[1], 5);
    assert_int_equal(w->storage->bytes, 40);
    rapt_tensor *x = rapt_view_select(w, 0, 4, &error);
    rapt_tensor_release(t);
    rapt_tensor_release(v);
    rapt_tensor_release(w);
    ((uint16_t *)rapt_view_data(&x->view))[0] = 3; /* alive as long as any view is */
    rapt_tensor_release(x);
}

/* A producer of its own. */
typedef struct producer {
    rapt_dlpack managed;
    int64_t shape[9], strides[9];
    float data[16];
    int deleted;
} producer;

static void delete_producer(rapt_dlpack *self)
{
    ((producer *)self->manager_context)->deleted++;
}

static producer make_producer(void)
{
    producer p = {.shape = {2, 3}, .strides = {8, 2}};
    for (int i = 0; i < 16; i++)
        p.data[i] = (float)i;
    return p;
}

/* After the struct has its final address. */
static rapt_dlpack *fill(producer *p)
{
    p->managed = (rapt_dlpack){.version = {1, 3},
                               .manager_context = p,
                               .deleter = delete_producer,
                               .view = {.data = p->data,
                                        .device = {RAPT_DEVICE_CPU, 0},
                                        .ndim = 2,
                                        .dtype = {2, 32, 1},
                                        .shape = p->shape,
                                        .strides = p->strides,
                                        .byte_offset = 4}};
    return &p->managed;
}

static void test_import(void **state)
{
    (void)state;
    producer p = make_producer();
    rapt_tensor *t = rapt_from_dlpack(fill(&p), &error);
    assert_non_null(t);
    assert_true(*(float *)rapt_view_data(&t->view) == 1);
    assert_int_equal(t->strides[0], 8);
    assert_int_equal(t->storage->bytes, 4 * (8 + 4 + 1));
    rapt_tensor *v = rapt_view_select(t, 1, 2, &error);
    rapt_tensor_release(t);
    assert_int_equal(p.deleted, 0);
    assert_true(((float *)rapt_view_data(&v->view))[v->strides[0]] == 13);
    rapt_tensor_release(v);
    assert_int_equal(p.deleted, 1);

    fill(&p)->view.strides = NULL;
    t = rapt_from_dlpack(&p.managed, &error);
    assert_int_equal(t->strides[0], 3);
    assert_int_equal(t->strides[1], 1);
    rapt_tensor_release(t);
    assert_int_equal(p.deleted, 2);

    fill(&p)->deleter = NULL;
    t = rapt_from_dlpack(&p.managed, &error);
    rapt_tensor_release(t);
    assert_int_equal(p.deleted, 2);

    p.strides[0] = 0; /* an expanded dimension */
    t = rapt_from_dlpack(fill(&p), &error);
    assert_int_equal(t->storage->bytes, 4 * 5);
    rapt_tensor_release(t);

    p.shape[1] = 0;
    fill(&p)->view.data = NULL;
    t = rapt_from_dlpack(&p.managed, &error);
    assert_int_equal(rapt_tensor_count(t), 0);
    rapt_tensor_release(t);

    fill(&p)->view.ndim = 0;
    p.managed.view.shape = p.managed.view.strides = NULL;
    t = rapt_from_dlpack(&p.managed, &error);
    assert_int_equal(rapt_tensor_count(t), 1);
    rapt_tensor_release(t);
    assert_int_equal(p.deleted, 5);
}

static void test_read_only(void **state)
{
    (void)state;
    producer p = make_producer();
    fill(&p)->flags = 1;
    rapt_tensor *t = rapt_from_dlpack(&p.managed, &error);
    assert_non_null(t);
    assert_int_equal(p.deleted, 1);
    assert_true(rapt_tensor_is_contiguous(t));
    const float expected[] = {1, 3, 5, 9, 11, 13};
    assert_memory_equal(t->view.data, expected, sizeof expected);
    ((float *)t->view.data)[0] = 99;
    assert_true(p.data[1] == 1);
    rapt_tensor_release(t);
    assert_int_equal(p.deleted, 1);
}

static void test_refused(void **state)
{
    (void)state;
    producer p = make_producer();
    fill(&p)->version.major = 2;
    assert_null(rapt_from_dlpack(&p.managed, &error));
    assert_error(RAPT_UNSUPPORTED, "version 2.3, expected 1");
    fill(&p)->version.major = 0;
    assert_null(rapt_from_dlpack(&p.managed, &error));
    fill(&p)->view.device.type = 2;
    assert_null(rapt_from_dlpack(&p.managed, &error));
    assert_error(RAPT_UNSUPPORTED, "device type 2");
    fill(&p)->view.dtype.lanes = 4;
    assert_null(rapt_from_dlpack(&p.managed, &error));
    assert_error(RAPT_UNSUPPORTED, "4 lanes");
    fill(&p)->view.dtype = (rapt_dltype){5, 64, 1};
    assert_null(rapt_from_dlpack(&p.managed, &error));
    assert_error(RAPT_UNSUPPORTED, "code 5 with 64 bits");
    fill(&p)->view.ndim = 9;
    assert_null(rapt_from_dlpack(&p.managed, &error));
    assert_error(RAPT_UNSUPPORTED, "9 dimensions");
    fill(&p)->view.ndim = -1;
    assert_null(rapt_from_dlpack(&p.managed, &error));
    fill(&p)->view.shape = NULL;
    assert_null(rapt_from_dlpack(&p.managed, &error));
    assert_error(RAPT_INVALID, "no shape");
    fill(&p)->view.data = NULL;
    assert_null(rapt_from_dlpack(&p.managed, &error));
    assert_error(RAPT_INVALID, "6 elements and no memory");
    fill(&p)->view.byte_offset = 2;
    assert_null(rapt_from_dlpack(&p.managed, &error));
    assert_error(RAPT_UNSUPPORTED, "no multiple of 4");
    p.strides[1] = -1;
    assert_null(rapt_from_dlpack(fill(&p), &error));
    assert_error(RAPT_UNSUPPORTED, "[8,-1] are negative in dim 2");
    p.strides[1] = INT64_MAX / 2;
    assert_null(rapt_from_dlpack(fill(&p), &error));
    assert_error(RAPT_INVALID, "63 bits");
    p.strides[1] = 1;
    p.shape[0] = -2;
    assert_null(rapt_from_dlpack(fill(&p), &error));
    assert_error(RAPT_INVALID, "dlpack: shape [-2,3]");
    p.shape[0] = INT64_MAX;
    assert_null(rapt_from_dlpack(fill(&p), &error));
    assert_error(RAPT_INVALID, "63 bits");
    assert_int_equal(p.deleted, 0);

    const rapt_device device = {RAPT_DEVICE_VULKAN, 0};
    const int64_t one[] = {1};
    rapt_storage *s = rapt_storage_wrap(device, &p, 4, false, NULL, NULL, &error);
    rapt_tensor *t = rapt_tensor_over(s, RAPT_F32, 1, one, NULL, 0, &error);
    assert_null(rapt_to_dlpack(t, &error));
    assert_error(RAPT_INVALID, "vulkan:0");
    rapt_tensor_release(t);
    rapt_storage_release(s);
}

static void test_faults(void **state)
{
    (void)state;
    const int64_t shape[] = {2, 3};
    for (int flags = 0; flags < 2; flags++) {
        FAULT_EACH(FAULT_ALL)
        {
            producer p = make_producer();
            fill(&p)->flags = (uint64_t)flags;
            error = (rapt_error){0};
            rapt_tensor *t = rapt_from_dlpack(&p.managed, &error);
            if (t)
                rapt_tensor_release(t);
            else
                fault_expect_error(&error);
            assert_int_equal(p.deleted, t != NULL);
        }
        assert_true(fault_rounds() > 2);
    }
    rapt_tensor *t = rapt_tensor_new(RAPT_F32, 2, shape, true, &error);
    FAULT_EACH(FAULT_ALL)
    {
        error = (rapt_error){0};
        rapt_dlpack *out = rapt_to_dlpack(t, &error);
        if (out)
            out->deleter(out);
        else
            fault_expect_error(&error);
    }
    assert_int_equal(atomic_load(&t->references), 1);
    rapt_tensor_release(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),     cmocka_unit_test(test_export),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_import),
        cmocka_unit_test(test_read_only),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
