/*
 * The small language of descriptions: integer and real expressions in sizes and attributes.
 *
 *     expr   := or ;  or := and {"||" and} ;  and := cmp {"&&" cmp}
 *     cmp    := sum [("=="|"!="|"<"|"<="|">"|">=") sum]
 *     sum    := term {("+"|"-") term} ;  term := factor {("*"|"/"|"%") factor}
 *     factor := ["-"|"!"] atom ;  atom := number | name | name "(" expr {"," expr} ")" | "(" expr
 * ")"
 *
 * Functions: sqrt log2 ceil_log2 ceil floor min max given if. min and max take two or more,
 * given(name) a name, if(condition, then, otherwise) looks at one of the two only; ceil_log2 is 0
 * for 0 and 1. "%" has the sign of its left side. "&&" and "||"
 * leave their right side alone where the left decides, so that given(x) == 0 || A <= N holds with A
 * unbound.
 *
 * Parsed once into a flat program; parsing and evaluation have fixed bounds on depth and length, so
 * that any byte string is safe to try.
 */
#ifndef RAPT_REGISTRY_EXPRESSION_H
#define RAPT_REGISTRY_EXPRESSION_H

#include <rapt/rapt.h>

typedef struct rapt_expression rapt_expression;

/* The value of a name, or of given(name); false: unbound. */
typedef bool (*rapt_lookup)(void *user, const char *name, bool given, double *value);

/* `n` bytes of `text`. Errors name the column. */
rapt_expression *rapt_expression_parse(const char *text, size_t n, rapt_error *error);
void rapt_expression_free(rapt_expression *expression);
/* Integer mode: every intermediate value is an integer below 2^53 and "/" must leave no remainder;
 * otherwise doubles. RAPT_INVALID with a text that says what was unbound, divided by zero, inexact
 * or too large. */
rapt_status rapt_expression_evaluate(const rapt_expression *expression, rapt_lookup lookup,
                                     void *user, bool integer, double *value, rapt_error *error);
/* If the expression is a single letter (a size symbol): that letter, otherwise 0. */
char rapt_expression_letter(const rapt_expression *expression);
/* Calls visit for every name in the order of the text, `given` for one inside given(name); stops
 * and returns false when visit does. */
bool rapt_expression_names(const rapt_expression *expression,
                           bool (*visit)(void *user, const char *name, bool given), void *user);

#endif
