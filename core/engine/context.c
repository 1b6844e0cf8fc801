/* Opening and closing; the log; operators and plugins by name. */
#include "base/error.h"
#include "base/text.h"
#include "engine/engine.h"
#include "ops/ops.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Log ------------------------------------------------------------------------------------- */

static void log_to_stderr(void *user, rapt_log_level level, const char *line)
{
    (void)user;
    if (level != RAPT_LOG_DEBUG)
        fprintf(stderr, "rapt: %s%s\n", level == RAPT_LOG_WARNING ? "warning: " : "", line);
}

void rapt_context_log(const rapt_context *context, rapt_log_level level, const char *line)
{
    if (context)
        context->log(context->log_user, level, line);
    else
        log_to_stderr(NULL, level, line);
}

/* --- Open and close -------------------------------------------------------------------------- */

typedef struct registration {
    rapt_registry *registry;
    rapt_error *error;
} registration;

static rapt_status add_group(void *user, const rapt_operator *operators, size_t n)
{
    const registration *to = user;
    return rapt_registry_add_builtin(to->registry, operators, n, to->error);
}

/* The fields of `given` that its author knew. */
static rapt_options read_options(const rapt_options *given)
{
    rapt_options options = {0};
    if (given)
        memcpy(&options, given, given->size < sizeof options ? given->size : sizeof options);
    return options;
}

static rapt_status find_plugins(rapt_context *context, const rapt_options *options,
                                rapt_error *error)
{
    if (options->no_plugins)
        return RAPT_OK;
    rapt_error why = {0};
    char *folders = rapt_plugin_folders(options->plugin_path, &why);
    if (!folders)
        return rapt_fail(error, why.status, "%s", why.message);
    rapt_loading = context;
    rapt_registry_scan(context->registry, folders);
    rapt_devices_forget();
    rapt_loading = NULL;
    free(folders);
    return RAPT_OK;
}

rapt_context *rapt_open(const rapt_options *given, rapt_error *error)
{
    const rapt_options options = read_options(given);
    if (rapt_devices_hold(error) != RAPT_OK)
        return NULL;
    rapt_context *context = calloc(1, sizeof *context);
    if (!context) {
        rapt_devices_drop();
        rapt_fail_memory(error, sizeof *context, "a context");
        return NULL;
    }
    context->recording = true;
    context->log = options.log ? options.log : log_to_stderr;
    context->log_user = options.user;
    context->registry = rapt_registry_new(&rapt_host_table, error);
    registration to = {context->registry, error};
    if (!context->registry || rapt_register_builtins(add_group, &to) != RAPT_OK ||
        find_plugins(context, &options, error) != RAPT_OK) {
        rapt_close(context);
        return NULL;
    }
    return context;
}

void rapt_close(rapt_context *context)
{
    if (!context)
        return;
    rapt_loading = context;
    if (context->registry)
        rapt_registry_free(context->registry);
    rapt_loading = NULL;
    rapt_arena_free(&context->arena);
    free(context);
    rapt_devices_drop();
}

bool rapt_set_recording(rapt_context *context, bool on)
{
    const bool was = context->recording;
    context->recording = on;
    return was;
}

/* --- Operators by name ----------------------------------------------------------------------- */

const rapt_operator *rapt_find_operator(rapt_context *context, const char *op, rapt_error *error)
{
    rapt_schema *schema;
    return rapt_registry_find(context->registry, op, &schema, error) == RAPT_OK ? &schema->op
                                                                                : NULL;
}

static bool listed(const rapt_schema *schema, bool all)
{
    return all ||
           (!(schema->op.flags & RAPT_OP_PRIVATE) && strncmp(schema->op.name, "core.", 5) != 0);
}

const char **rapt_operator_names(rapt_context *context, bool all, rapt_error *error)
{
    const size_t n = rapt_registry_count(context->registry);
    size_t count = 0, bytes = 0;
    for (size_t i = 0; i < n; i++) {
        const rapt_schema *schema = rapt_registry_at(context->registry, i);
        if (listed(schema, all)) {
            count++;
            bytes += strlen(schema->op.name) + 1;
        }
    }
    const size_t total = (count + 1) * sizeof(char *) + bytes;
    const char **names = malloc(total);
    if (!names) {
        rapt_fail_memory(error, total, "names of operators");
        return NULL;
    }
    char *text = (char *)(names + count + 1);
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        const rapt_schema *schema = rapt_registry_at(context->registry, i);
        if (!listed(schema, all))
            continue;
        names[k++] = text;
        text = stpcpy(text, schema->op.name) + 1;
    }
    names[k] = NULL;
    return names;
}

/* --- Plugins --------------------------------------------------------------------------------- */

rapt_status rapt_load_plugin(rapt_context *context, const char *path, rapt_error *error)
{
    rapt_loading = context;
    const rapt_status status = rapt_registry_load(context->registry, path, error);
    rapt_devices_forget();
    rapt_loading = NULL;
    return status;
}

rapt_status rapt_reload(rapt_context *context, const char *op, rapt_error *error)
{
    rapt_loading = context;
    const rapt_status status = rapt_registry_reload(context->registry, op, error);
    rapt_devices_forget();
    rapt_loading = NULL;
    return status;
}

size_t rapt_plugin_count(rapt_context *context)
{
    return rapt_registry_plugin_count(context->registry);
}

const rapt_plugin_info *rapt_plugin_at(rapt_context *context, size_t i)
{
    return i < rapt_plugin_count(context) ? rapt_registry_plugin_at(context->registry, i) : NULL;
}
