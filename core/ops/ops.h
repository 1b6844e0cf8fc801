/* The built-in operators, registered under "core." through the plugin ABI. */
#ifndef RAPT_OPS_OPS_H
#define RAPT_OPS_OPS_H

#include <rapt/plugin.h>

/* Calls `add` with each group of descriptions; stops at and returns the first failure. */
typedef rapt_status (*rapt_add_operators)(void *user, const rapt_operator *operators, size_t n);
rapt_status rapt_register_builtins(rapt_add_operators add, void *user);

#endif
