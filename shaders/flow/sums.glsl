// What is pushed wherever sums along the sequences come in or go out.
#define SUMS_PUSHED                                                                                 \
    linear_rows from; /* those that come in: [sequence, head, row, column] */                       \
    uint to;          /* where those that go out begin, contiguous */                               \
    uint n, packed, slots, sequences, lanes, width, heads, first_head, flags;
