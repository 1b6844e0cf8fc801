/*
 * kit/score_vulkan_coop.h - which calls go by cooperative matrices, and by which. Part of
 * kit/score_vulkan.h.
 *
 * The shaders are shaders/kit/score_coop*.glsl: 64 rows a workgroup, four subgroups of 32 or, for
 * gradients of wide heads' keys, eight; float16 operands (bfloat16, by KHR's extension) and float32
 * sums. With the environment variable RAPT_VULKAN_EMULATE_COOPMAT a device without cooperative
 * matrices runs them through shared memory, for tests of the flow of data; "parts" has narrow heads
 * go as wide ones.
 */
#ifndef RAPT_KIT_SCORE_VULKAN_COOP_H
#define RAPT_KIT_SCORE_VULKAN_COOP_H

/* Places of the passes. */
enum { RAPT_SCORE_COOP_FORWARD, RAPT_SCORE_COOP_QUERIES, RAPT_SCORE_COOP_KEYS };

enum {
    RAPT_SCORE_VULKAN_COOP_FEATURES = 128, /* most of q and k, and of v */
    RAPT_SCORE_VULKAN_COOP_ROWS = 64       /* least queries for which it pays */
};

/* Shared memory of the pass at `place`, at most. */
static inline int64_t rapt_score_vulkan_coop_bytes(int64_t D, int64_t E, int place,
                                                   rapt_score_vulkan_tile with)
{
    const int64_t d = D / 8 + 1, e = E / 8 + 1, operands = 64 * (with.keys + 8) * 2;
    const int64_t others = rapt_score_max(with.keys * (d + e), 64 * with.parts * 5);
    const int64_t rows = rapt_score_max(64 * rapt_score_max(d, e), others);
    return rows * 16 + operands * (place == RAPT_SCORE_COOP_KEYS ? 2 : 1) + 2048;
}

/* The tile of the pass at `place`. A processor of NVIDIA's has 48 KiB of shared memory for all the
 * workgroups that run on it (H200, 580.159): columns are so few that there are two or three, which
 * counts for more than the size of a tile. */
static inline rapt_score_vulkan_tile rapt_score_vulkan_coop_tile(const rapt_vulkan_limits *limits,
                                                                 int64_t D, int64_t E, int place)
{
    static const rapt_score_vulkan_tile tiles[] = {{32, 2}, {32, 1}, {16, 1}};
    const char *asked = getenv("RAPT_VULKAN_EMULATE_COOPMAT");
    const bool wide = (D > 64 || E > 64 || (asked && strcmp(asked, "parts") == 0)) && D % 32 == 0 &&
                      E % 32 == 0 && limits->invocations >= 256 && place == RAPT_SCORE_COOP_KEYS;
    for (size_t i = wide ? 0 : 1; i < sizeof tiles / sizeof *tiles; i++)
        if (rapt_score_vulkan_coop_bytes(D, E, place, tiles[i]) <= limits->shared_bytes)
            return tiles[i];
    return (rapt_score_vulkan_tile){0, 1};
}

/* Takes the cooperative passes where the kernel is the one that has them. */
static inline void rapt_score_vulkan_choose(rapt_score_vulkan *s,
                                            const rapt_score_vulkan_coop *coop)
{
    if (!coop)
        return;
    s->coop = coop;
    s->params.parts = 1;
}

/* The option that says that rows cannot be read eight elements at a time. */
static inline uint32_t rapt_score_vulkan_unaligned(const rapt_score_vulkan *s)
{
    const rapt_score_vulkan_params *p = &s->params;
    const rapt_score_vulkan_view *views[] = {&p->q, &p->k, &p->v, &p->g};
    uint32_t all = 0;
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        all |= views[i]->base | views[i]->batch | views[i]->head | views[i]->row;
    return all & 7u ? RAPT_SCORE_UNALIGNED : 0u;
}

static inline rapt_status rapt_score_vulkan_coop_supports(rapt_call *call)
{
    const int64_t D = call->sizes['D'], E = call->sizes['E'], N = call->sizes['N'];
    rapt_vulkan device;
    rapt_status status = rapt_score_vulkan_supports(call);
    if (status == RAPT_OK)
        status = rapt_vulkan_begin(call, &device);
    if (status == RAPT_OK)
        status = rapt_vulkan_require_coop(&device);
    if (status != RAPT_OK)
        return status;
    if (call->phase == RAPT_WEIGHTS)
        return call->host->error(call, RAPT_UNSUPPORTED,
                                 "the matrix of weights is made without "
                                 "cooperative matrices");
    if (D < 16 || E < 16 || D % 16 || E % 16 || D > RAPT_SCORE_VULKAN_COOP_FEATURES ||
        E > RAPT_SCORE_VULKAN_COOP_FEATURES)
        return call->host->error(call, RAPT_UNSUPPORTED,
                                 "D and E are multiples of 16 up to %d here, but they are %lld and "
                                 "%lld",
                                 RAPT_SCORE_VULKAN_COOP_FEATURES, (long long)D, (long long)E);
    if (N < RAPT_SCORE_VULKAN_COOP_ROWS)
        return call->host->error(call, RAPT_UNSUPPORTED, "tiles have %d queries, but N is %lld",
                                 RAPT_SCORE_VULKAN_COOP_ROWS, (long long)N);
    const int64_t bytes =
        rapt_score_vulkan_coop_bytes(D, E, RAPT_SCORE_COOP_KEYS, (rapt_score_vulkan_tile){16, 1});
    if (bytes > device.limits->shared_bytes)
        return call->host->error(call, RAPT_UNSUPPORTED,
                                 "tiles for D = %lld and E = %lld take %lld bytes of shared "
                                 "memory; the device has %u",
                                 (long long)D, (long long)E, (long long)bytes,
                                 device.limits->shared_bytes);
    return RAPT_OK;
}

#endif
