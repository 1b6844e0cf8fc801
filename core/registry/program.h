/* An expression after parsing: a flat program for a small stack machine. For this room only. */
#ifndef RAPT_REGISTRY_PROGRAM_H
#define RAPT_REGISTRY_PROGRAM_H

#include "registry/expression.h"

/* Bounds that make every text safe to parse and every program safe to run. */
#define RAPT_EXPRESSION_TEXT  1024 /* bytes */
#define RAPT_EXPRESSION_CODE  256  /* instructions */
#define RAPT_EXPRESSION_NEST  32   /* brackets within brackets */
#define RAPT_EXPRESSION_STACK 64   /* values at once */

typedef enum rapt_opcode {
    RAPT_CODE_NUMBER, /* push number */
    RAPT_CODE_NAME,   /* push the value of name */
    RAPT_CODE_GIVEN,  /* push whether name was given */
    RAPT_CODE_NEGATE,
    RAPT_CODE_NOT,
    RAPT_CODE_SQRT,
    RAPT_CODE_LOG2,
    RAPT_CODE_CEIL_LOG2,
    RAPT_CODE_CEIL,
    RAPT_CODE_FLOOR,
    RAPT_CODE_TRUTH,  /* any number to 0 or 1 */
    RAPT_CODE_OR,     /* true: leave 1 and go to target; otherwise pop */
    RAPT_CODE_AND,    /* false: leave 0 and go to target; otherwise pop */
    RAPT_CODE_UNLESS, /* pop; if it was false, go to target */
    RAPT_CODE_GO,     /* go to target */
    RAPT_CODE_ADD,    /* from here on: two operands */
    RAPT_CODE_SUBTRACT,
    RAPT_CODE_MULTIPLY,
    RAPT_CODE_DIVIDE,
    RAPT_CODE_REMAINDER,
    RAPT_CODE_MIN,
    RAPT_CODE_MAX,
    RAPT_CODE_EQUAL,
    RAPT_CODE_UNEQUAL,
    RAPT_CODE_LESS,
    RAPT_CODE_LESS_EQUAL,
    RAPT_CODE_GREATER,
    RAPT_CODE_GREATER_EQUAL
} rapt_opcode;

typedef struct rapt_instruction {
    rapt_opcode code;
    uint32_t target; /* RAPT_CODE_OR to RAPT_CODE_GO: an index behind this instruction */
    double number;
    uint32_t name; /* offset into names */
} rapt_instruction;

struct rapt_expression {
    uint32_t n_code;
    char *names; /* zero terminated strings, behind the code */
    rapt_instruction code[];
};

/* As rapt_expression_parse, for a text that begins `column` bytes into the one that errors speak
 * of. */
rapt_expression *rapt_expression_parse_at(const char *text, size_t n, size_t column,
                                          rapt_error *error);

#endif
