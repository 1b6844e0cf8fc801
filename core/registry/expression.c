/* Expressions: text to program. Evaluation stands in evaluate.c. */
#include "base/error.h"
#include "registry/program.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct parser {
    const char *text;
    size_t n, at;
    size_t column; /* of the first byte, from 0 */
    int nest, stack;
    uint32_t n_code, n_names;
    rapt_instruction code[RAPT_EXPRESSION_CODE];
    char names[2 * RAPT_EXPRESSION_TEXT]; /* each name and its zero: never more than this */
    rapt_error *error;
} parser;

static bool parse_or(parser *p);

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_word(char c)
{
    return is_letter(c) || is_digit(c) || c == '_';
}

static void skip_spaces(parser *p)
{
    while (p->at < p->n && strchr(" \t\n", p->text[p->at]) && p->text[p->at])
        p->at++;
}

static char peek(const parser *p, size_t ahead)
{
    return p->at + ahead < p->n ? p->text[p->at + ahead] : 0;
}

/* What stands at the current place, in words. */
static void describe(const parser *p, char *text, size_t size)
{
    const char c = peek(p, 0);
    size_t n = 1;
    if (p->at >= p->n) {
        snprintf(text, size, "the end");
    } else if (c < 0x20 || c == 0x7f) {
        snprintf(text, size, "byte 0x%02x", (unsigned)(unsigned char)c);
    } else {
        while (is_word(c) && is_word(peek(p, n)) && n < 24)
            n++;
        snprintf(text, size, "\"%.*s\"", (int)n, p->text + p->at);
    }
}

static bool expected(parser *p, const char *what)
{
    char came[40];
    describe(p, came, sizeof came);
    rapt_fail(p->error, RAPT_INVALID, "column %zu: expected %s, not %s", p->column + p->at + 1,
              what, came);
    return false;
}

static bool refuse(parser *p, size_t at, const char *what)
{
    rapt_fail(p->error, RAPT_INVALID, "column %zu: %s", p->column + at + 1, what);
    return false;
}

/* `pushes` is how many values the instruction adds to the stack. */
static bool emit(parser *p, rapt_opcode code, double number, uint32_t name, int pushes)
{
    p->stack += pushes;
    if (p->n_code == RAPT_EXPRESSION_CODE || p->stack > RAPT_EXPRESSION_STACK)
        return refuse(p, p->at, "the expression is too long");
    p->code[p->n_code++] = (rapt_instruction){code, 0, number, name};
    return true;
}

/* Reads digits with at most one point and an exponent. The point is moved into the exponent,
 * because strtod would look for the decimal point of the user's locale. */
static bool parse_number(parser *p)
{
    enum { DIGITS = 40 };
    char text[DIGITS + 16];
    const size_t start = p->at;
    int digits = 0, shift = 0, power = 0;
    bool point = false;

    for (; is_digit(peek(p, 0)) || (peek(p, 0) == '.' && !point); p->at++) {
        if (peek(p, 0) == '.') {
            point = true;
            continue;
        }
        if (digits == DIGITS)
            return refuse(p, start, "the number has too many digits");
        text[digits++] = peek(p, 0);
        shift += point;
    }
    if (peek(p, 0) == 'e' || peek(p, 0) == 'E') {
        const bool negative = peek(p, 1) == '-';
        p->at += negative || peek(p, 1) == '+' ? 2 : 1;
        if (!is_digit(peek(p, 0)))
            return expected(p, "the digits of an exponent");
        for (; is_digit(peek(p, 0)); p->at++)
            power = power < 1000 ? 10 * power + (peek(p, 0) - '0') : power;
        power = negative ? -power : power;
    }
    if (is_word(peek(p, 0)) || peek(p, 0) == '.')
        return expected(p, "an operator after the number");
    snprintf(text + digits, sizeof text - (size_t)digits, "e%d", power - shift);
    const double number = strtod(text, NULL);
    if (!isfinite(number))
        return refuse(p, start, "the number is too large");
    return emit(p, RAPT_CODE_NUMBER, number, 0, 1);
}

/* Copies a word to the names and says where it went. */
static uint32_t add_name(parser *p, size_t start, size_t n)
{
    const uint32_t name = p->n_names;
    memcpy(p->names + name, p->text + start, n);
    p->names[name + n] = 0;
    p->n_names += (uint32_t)n + 1;
    return name;
}

static size_t read_word(parser *p)
{
    const size_t start = p->at;
    while (is_word(peek(p, 0)))
        p->at++;
    return p->at - start;
}

static bool parse_given(parser *p)
{
    skip_spaces(p);
    const size_t start = p->at;
    if (!is_letter(peek(p, 0)))
        return expected(p, "the name of an input or attribute");
    const uint32_t name = add_name(p, start, read_word(p));
    skip_spaces(p);
    if (peek(p, 0) != ')')
        return expected(p, "\")\"");
    p->at++;
    return emit(p, RAPT_CODE_GIVEN, 0, name, 1);
}

static const struct function {
    const char *name;
    rapt_opcode code;
    int operands; /* 2: two or more, folded from the left */
} functions[] = {
    {"sqrt", RAPT_CODE_SQRT, 1},
    {"log2", RAPT_CODE_LOG2, 1},
    {"ceil_log2", RAPT_CODE_CEIL_LOG2, 1},
    {"ceil", RAPT_CODE_CEIL, 1},
    {"floor", RAPT_CODE_FLOOR, 1},
    {"min", RAPT_CODE_MIN, 2},
    {"max", RAPT_CODE_MAX, 2},
};

/* The operands of a function and its closing bracket; the opening one is read already. */
static bool parse_operands(parser *p, const struct function *function)
{
    if (!parse_or(p))
        return false;
    for (int operands = 1;; operands++) {
        skip_spaces(p);
        if (peek(p, 0) == ')' && operands >= function->operands)
            break;
        if (peek(p, 0) != ',' || (function->operands == 1))
            return expected(p, operands < function->operands ? "\",\"" : "\")\"");
        p->at++;
        if (!parse_or(p) || !emit(p, function->code, 0, 0, -1))
            return false;
    }
    p->at++;
    return function->operands > 1 || emit(p, function->code, 0, 0, 0);
}

static bool parse_comma(parser *p)
{
    skip_spaces(p);
    if (peek(p, 0) != ',')
        return expected(p, "\",\"");
    p->at++;
    return true;
}

/* The operands of if(condition, then, otherwise): only the one that holds is looked at. */
static bool parse_if(parser *p)
{
    if (!parse_or(p) || !parse_comma(p))
        return false;
    const uint32_t unless = p->n_code;
    if (!emit(p, RAPT_CODE_UNLESS, 0, 0, -1) || !parse_or(p) || !parse_comma(p))
        return false;
    const uint32_t go = p->n_code;
    /* The parser counts the stack along the text, where one of the two values is never made. */
    if (!emit(p, RAPT_CODE_GO, 0, 0, -1))
        return false;
    p->code[unless].target = p->n_code;
    if (!parse_or(p))
        return false;
    p->code[go].target = p->n_code;
    skip_spaces(p);
    if (peek(p, 0) != ')')
        return expected(p, "\")\"");
    p->at++;
    return true;
}

static bool parse_function(parser *p, size_t start, size_t n)
{
    static const char given[] = "given";
    if (n == 2 && !memcmp(p->text + start, "if", 2))
        return parse_if(p);
    if (n == strlen(given) && !memcmp(p->text + start, given, n))
        return parse_given(p);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (n == strlen(functions[i].name) && !memcmp(p->text + start, functions[i].name, n))
            return parse_operands(p, &functions[i]);
    p->at = start;
    return expected(p, "one of the functions sqrt, log2, ceil_log2, ceil, floor, min, max, if, "
                       "given");
}

static bool parse_atom(parser *p)
{
    const char c = peek(p, 0);
    if (is_digit(c) || (c == '.' && is_digit(peek(p, 1))))
        return parse_number(p);
    if (c == '(') {
        p->at++;
        if (!parse_or(p))
            return false;
        skip_spaces(p);
        if (peek(p, 0) != ')')
            return expected(p, "an operator or \")\"");
        p->at++;
        return true;
    }
    if (!is_letter(c))
        return expected(p, "a number, a name or \"(\"");
    const size_t start = p->at, n = read_word(p);
    skip_spaces(p);
    if (peek(p, 0) == '(') {
        p->at++;
        return parse_function(p, start, n);
    }
    return emit(p, RAPT_CODE_NAME, 0, add_name(p, start, n), 1);
}

static bool parse_factor(parser *p)
{
    skip_spaces(p);
    const char sign = peek(p, 0);
    if (sign != '-' && sign != '!')
        return parse_atom(p);
    p->at++;
    skip_spaces(p);
    return parse_atom(p) && emit(p, sign == '-' ? RAPT_CODE_NEGATE : RAPT_CODE_NOT, 0, 0, 0);
}

static bool parse_term(parser *p)
{
    if (!parse_factor(p))
        return false;
    for (;;) {
        skip_spaces(p);
        const char c = peek(p, 0);
        if (c != '*' && c != '/' && c != '%')
            return true;
        p->at++;
        const rapt_opcode code = c == '*'   ? RAPT_CODE_MULTIPLY
                                 : c == '/' ? RAPT_CODE_DIVIDE
                                            : RAPT_CODE_REMAINDER;
        if (!parse_factor(p) || !emit(p, code, 0, 0, -1))
            return false;
    }
}

static bool parse_sum(parser *p)
{
    if (!parse_term(p))
        return false;
    for (;;) {
        skip_spaces(p);
        const char c = peek(p, 0);
        if (c != '+' && c != '-')
            return true;
        p->at++;
        if (!parse_term(p) || !emit(p, c == '+' ? RAPT_CODE_ADD : RAPT_CODE_SUBTRACT, 0, 0, -1))
            return false;
    }
}

static bool parse_comparison(parser *p)
{
    if (!parse_sum(p))
        return false;
    skip_spaces(p);
    const char c = peek(p, 0);
    const bool equals = peek(p, 1) == '=';
    rapt_opcode code;
    if (c == '<')
        code = equals ? RAPT_CODE_LESS_EQUAL : RAPT_CODE_LESS;
    else if (c == '>')
        code = equals ? RAPT_CODE_GREATER_EQUAL : RAPT_CODE_GREATER;
    else if (c == '=' && equals)
        code = RAPT_CODE_EQUAL;
    else if (c == '!' && equals)
        code = RAPT_CODE_UNEQUAL;
    else
        return true;
    p->at += equals ? 2 : 1;
    return parse_sum(p) && emit(p, code, 0, 0, -1);
}

/* A chain of `next` joined by the doubled character `c`, with jumps past what need not be looked
 * at. */
static bool parse_chain(parser *p, char c, rapt_opcode jump, bool (*next)(parser *))
{
    if (!next(p))
        return false;
    for (;;) {
        skip_spaces(p);
        if (peek(p, 0) != c || peek(p, 1) != c)
            return true;
        p->at += 2;
        const uint32_t from = p->n_code;
        if (!emit(p, jump, 0, 0, -1) || !next(p) || !emit(p, RAPT_CODE_TRUTH, 0, 0, 0))
            return false;
        p->code[from].target = p->n_code;
    }
}

static bool parse_and(parser *p)
{
    return parse_chain(p, '&', RAPT_CODE_AND, parse_comparison);
}

static bool parse_or(parser *p)
{
    if (p->nest == RAPT_EXPRESSION_NEST)
        return refuse(p, p->at, "brackets are nested too deeply");
    p->nest++;
    const bool ok = parse_chain(p, '|', RAPT_CODE_OR, parse_and);
    p->nest--;
    return ok;
}

static rapt_expression *finish(const parser *p)
{
    const size_t code = p->n_code * sizeof p->code[0];
    rapt_expression *expression = malloc(sizeof *expression + code + p->n_names);
    if (!expression) {
        rapt_fail_memory(p->error, sizeof *expression + code + p->n_names, "an expression");
        return NULL;
    }
    expression->n_code = p->n_code;
    expression->names = (char *)expression->code + code;
    memcpy(expression->code, p->code, code);
    memcpy(expression->names, p->names, p->n_names);
    return expression;
}

rapt_expression *rapt_expression_parse(const char *text, size_t n, rapt_error *error)
{
    return rapt_expression_parse_at(text, n, 0, error);
}

rapt_expression *rapt_expression_parse_at(const char *text, size_t n, size_t column,
                                          rapt_error *error)
{
    parser p;
    p.text = text;
    p.n = n;
    p.at = 0;
    p.column = column;
    p.nest = p.stack = 0;
    p.n_code = p.n_names = 0;
    p.error = error;
    if (n > RAPT_EXPRESSION_TEXT) {
        rapt_fail(error, RAPT_INVALID, "the expression has %zu bytes, more than %d", n,
                  RAPT_EXPRESSION_TEXT);
        return NULL;
    }
    if (!parse_or(&p))
        return NULL;
    skip_spaces(&p);
    if (p.at < n) {
        expected(&p, "an operator or the end");
        return NULL;
    }
    return finish(&p);
}

void rapt_expression_free(rapt_expression *expression)
{
    free(expression);
}

char rapt_expression_letter(const rapt_expression *expression)
{
    const rapt_instruction *first = &expression->code[0];
    if (expression->n_code != 1 || first->code != RAPT_CODE_NAME)
        return 0;
    const char *name = expression->names + first->name;
    return name[1] ? 0 : name[0];
}

bool rapt_expression_names(const rapt_expression *expression,
                           bool (*visit)(void *user, const char *name, bool given), void *user)
{
    for (uint32_t i = 0; i < expression->n_code; i++) {
        const rapt_instruction *at = &expression->code[i];
        if (at->code != RAPT_CODE_NAME && at->code != RAPT_CODE_GIVEN)
            continue;
        if (!visit(user, expression->names + at->name, at->code == RAPT_CODE_GIVEN))
            return false;
    }
    return true;
}
