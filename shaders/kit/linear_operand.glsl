// Operands of the tile products, and a head's decay: what the shader that includes this has pushed are
// `flags` and `n`, with LINEAR_SLOPE `slope`, with LINEAR_FLOW `heads` and the operands' factors.

float step_of(uint lane)
{
#ifdef LINEAR_SLOPE
    if ((flags & HAS_SLOPE) != 0)
        return max(-slope_of[slope + lane], NOTHING);
#endif
    return 0.0;
}

// Quads of an operand's rows; 0 where there is no position.
#ifdef LINEAR_FLOW
#define OPERAND(name, chunk, head, i, column, bit)                                                  \
    operand_scaled(name##_load(linear_row(name, chunk.batch, head, chunk.row + (i)) + (column),      \
                               linear_has(chunk, i) ? int(extent) - int(column) : 0),               \
                   chunk, head, i, int(extent) - int(column), name##_factor, bit)

vec4 operand_scaled(vec4 x, linear_chunk chunk, uint head, uint i, int left, uint factors, uint bit)
{
    if (i >= chunk.count)
        return x;
    if ((flags & bit) != 0)
        x = linear_sigmoids(x) * linear_columns(left);
    if (factors != NONE)
        x *= factor_of[factors + (chunk.batch * heads + head) * n + chunk.row + i];
    return x;
}
#else
#define OPERAND(name, chunk, head, i, column, bit)                                                  \
    name##_load(linear_row(name, chunk.batch, head, chunk.row + (i)) + (column),                     \
                linear_has(chunk, i) ? int(extent) - int(column) : 0)
#endif

// What a position's row is multiplied with where rows are loaded without it; 0 where there is no position.
#ifdef LINEAR_FLOW
float operand_factor(uint factors, linear_chunk chunk, uint head, uint i)
{
    if (!linear_has(chunk, i))
        return 0.0;
    return factors != NONE ? factor_of[factors + (chunk.batch * heads + head) * n + chunk.row + i] : 1.0;
}
#else
#define operand_factor(factors, chunk, head, i) 1.0
#endif
