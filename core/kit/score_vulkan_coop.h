/*
 * kit/score_vulkan_coop.h - which calls go by cooperative matrices, and by which. Part of
 * kit/score_vulkan.h.
 *
 * The shaders are shaders/kit/score_coop*.glsl: 64 rows a workgroup, four subgroups of 32 or, of
 * wide heads, eight; float16 operands (bfloat16, by KHR's extension) and float32 sums. With the
 * environment variable RAPT_VULKAN_EMULATE_COOPMAT a device without cooperative matrices runs them
 * through shared memory, for tests of the flow of data; "parts" has narrow heads go as wide ones.
 */
#ifndef RAPT_KIT_SCORE_VULKAN_COOP_H
#define RAPT_KIT_SCORE_VULKAN_COOP_H

enum {
    RAPT_SCORE_VULKAN_COOP_FEATURES = 128, /* most of q and k, and of v */
    RAPT_SCORE_VULKAN_COOP_ROWS = 64       /* least queries for which it pays */
};

/* Shared memory of the passes, at most. */
static inline int64_t rapt_score_vulkan_coop_bytes(int64_t D, int64_t E,
                                                   rapt_score_vulkan_tile with)
{
    const int64_t d = D / 4 + 2, e = E / 4 + 2, tile = 64 * (with.keys / 4 + 2);
    const int64_t rows = rapt_score_max(64 * rapt_score_max(d, e), with.keys * (d + e));
    return rows * 8 + tile * (16 * with.parts + 8) + with.keys * (16 + 16) + 640 * with.parts;
}

static inline rapt_score_vulkan_tile rapt_score_vulkan_coop_tile(const rapt_vulkan_limits *limits,
                                                                 int64_t D, int64_t E)
{
    static const rapt_score_vulkan_tile tiles[] = {{32, 2}, {16, 2}, {64, 1}, {32, 1}};
    const char *asked = getenv("RAPT_VULKAN_EMULATE_COOPMAT");
    const bool wide = (D > 64 || E > 64 || (asked && strcmp(asked, "parts") == 0)) && D % 32 == 0 &&
                      E % 32 == 0 && limits->invocations >= 256;
    for (size_t i = wide ? 0 : 2; i < sizeof tiles / sizeof *tiles; i++) {
        const bool fits = rapt_score_vulkan_coop_bytes(D, E, tiles[i]) <= limits->shared_bytes;
        if (fits && (D + E <= 128 || tiles[i].keys <= 32))
            return tiles[i];
    }
    return (rapt_score_vulkan_tile){0, 1};
}

/* Takes the cooperative passes where the kernel is the one that has them. */
static inline void rapt_score_vulkan_choose(rapt_score_vulkan *s,
                                            const rapt_score_vulkan_coop *coop)
{
    const rapt_vulkan_limits *limits = s->device.limits;
    if (!coop)
        return;
    s->coop = coop;
    s->tile = rapt_score_vulkan_coop_tile(limits, s->params.D, s->params.E);
    s->params.parts = 1;
}

/* The shader of a pass by its place among the cooperative ones: forward, queries, keys. NVIDIA's
 * driver, the one that has both extensions, makes other code of either (H200, 580.159): of NV's
 * form forward takes 8 to 16 % less time than of KHR's and queries 2 to 8 %, but queries of wide
 * heads 55 % more and keys 6 to 16 %. NV's knows no bfloat16. */
static inline const rapt_vulkan_shader *rapt_score_vulkan_coop_shader(const rapt_score_vulkan *s,
                                                                      int place)
{
    const bool better = place == 0 || (place == 1 && s->tile.parts == 1);
    int way = rapt_vulkan_coop_way(&s->device);
    if (better && s->device.call->dtype == RAPT_F16 &&
        s->device.limits->features & RAPT_VULKAN_COOPMAT_NV)
        way = RAPT_VULKAN_BY_NV;
    return &s->coop->pass[way][place];
}

static inline int rapt_score_vulkan_view_aligned(const rapt_score_vulkan_view *view)
{
    return ((view->base | view->batch | view->head | view->row) & 3u) == 0;
}

/* The bit that says that rows can be read four elements at a time. */
static inline uint32_t rapt_score_vulkan_aligned(const rapt_score_vulkan *s)
{
    const rapt_score_vulkan_params *p = &s->params;
    return rapt_score_vulkan_view_aligned(&p->q) && rapt_score_vulkan_view_aligned(&p->k) &&
                   rapt_score_vulkan_view_aligned(&p->v) && rapt_score_vulkan_view_aligned(&p->g)
               ? RAPT_SCORE_ALIGNED
               : 0u;
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
    if (!rapt_score_vulkan_coop_tile(device.limits, D, E).keys)
        return call->host->error(
            call, RAPT_UNSUPPORTED,
            "tiles for D = %lld and E = %lld take %lld bytes of shared "
            "memory; the device has %u",
            (long long)D, (long long)E,
            (long long)rapt_score_vulkan_coop_bytes(D, E, (rapt_score_vulkan_tile){32, 1}),
            device.limits->shared_bytes);
    return RAPT_OK;
}

#endif
