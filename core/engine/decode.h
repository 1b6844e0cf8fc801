/* What a decoding state is made of; shared by decode.c (steps) and decode_file.c (disk). */
#ifndef RAPT_ENGINE_DECODE_H
#define RAPT_ENGINE_DECODE_H

#include "engine/engine.h"

/* One tensor of the state. */
typedef struct rapt_cell {
    /* Appended: the rows of an input. Rows beyond the position have no meaning. */
    int32_t append; /* input, or -1 */
    char letter;    /* counts its rows: 'M', or 'N' where the spec has no M */
    int32_t behind; /* its axis is this many dimensions from the end (1: the last) */
    rapt_tensor *rows;
    /* Carried: never written while shared; a step writes `spare` and swaps. */
    int32_t input, output; /* or -1 */
    rapt_tensor *carried, *spare;
} rapt_cell;

struct rapt_decoding {
    rapt_context *context;
    rapt_schema *schema;
    int64_t position;
    rapt_dtype dtype;
    rapt_device device;
    int64_t sizes[RAPT_SIZES]; /* of the prefill; N and M are -1 */
    int32_t n_leading;
    int64_t leading[RAPT_MAX_DIMS];
    rapt_named_value attrs[RAPT_MAX_ATTRS]; /* as given; names and texts are the schema's */
    uint32_t n_attrs;
    rapt_tensor *kept[RAPT_MAX_ARGS]; /* inputs that are not positions; NULL elsewhere */
    rapt_cell cells[RAPT_MAX_ARGS];
    uint32_t n_cells;
};

/* Whether input `i` has a row for each position, so that every step brings its own. */
bool rapt_input_is_positional(const rapt_schema *schema, uint32_t i);
bool rapt_input_is_carried(const rapt_schema *schema, uint32_t i);
bool rapt_input_is_appended(const rapt_schema *schema, uint32_t i);
static inline int32_t rapt_cell_axis(const rapt_cell *cell, int32_t ndim)
{
    return ndim - cell->behind;
}
/* An empty state of an operator that has states: cells described, nothing in them. */
rapt_decoding *rapt_decoding_new(rapt_context *context, rapt_schema *schema, rapt_error *error);
/* `n` rows of a view from row `first` on; the shape is written to `shape`. */
static inline rapt_view rapt_rows_of(const rapt_view *view, int32_t axis, int64_t first, int64_t n,
                                     int64_t *shape)
{
    rapt_view part = *view;
    for (int32_t d = 0; d < view->ndim; d++)
        shape[d] = d == axis ? n : view->shape[d];
    part.shape = shape;
    part.byte_offset +=
        (uint64_t)(first * view->strides[axis]) * rapt_dtype_size(rapt_view_dtype(view));
    return part;
}

/* Rows of capacity for `need` positions with the first `filled` of `source` in them. */
rapt_tensor *rapt_rows_make(const rapt_cell *cell, const rapt_tensor *source, int64_t filled,
                            int64_t need, rapt_error *error);

#endif
