// The numbers that each row of q (side 0) or k (side 1) has, in arrays of `lane_rows` for each of `lanes`
// heads in work: [number][side][batch][lane][row].
const uint INVERSE = 0;  // inc; out
const uint CLAIM = 1;    // cs before the sigmoid, times n/m in the full form; cr before clipping
const uint FACTOR = 2;   // what q is multiplied with; what v is
const uint D_FACTOR = 3; // their gradients; then those of the inverses of inc and out
const uint D_CLAIM = 4;  // gradients of cs and cr, of the causal form over t
const uint EXPONENT = 5; // causal: the sum of e^cr up to t is side 1's number times e to side 0's

uint number_at(uint number, uint side, uint batch, uint lane, uint row)
{
    const uint rows = side != 0 ? m : n;
    return (number * 2 + side) * lanes * lane_rows + (batch * lanes + lane) * rows + row;
}

float flow_clip(float cr)
{
    return clamp(cr, -bound, bound);
}
