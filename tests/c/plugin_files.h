/* Plugins of tests/plugins in a folder of the test's own, so that their modes are known and nothing
 * outside is touched. Linked into each test of the loader. */
#ifndef RAPT_TEST_PLUGIN_FILES_H
#define RAPT_TEST_PLUGIN_FILES_H

#include "registry/loader.h"

#include <sys/types.h>

extern char home[128];   /* this test's folder, a real path */
extern char logged[512]; /* what plugins have logged, each line and ";" */
extern const rapt_host test_host;

/* A path in this test's folder. Four at a time. */
const char *at(const char *format, ...) RAPT_PRINTF(1, 2);
/* Copies at most `most` bytes. */
void copy_part(const char *from, const char *to, size_t most);
/* The path of a plugin as it was built. Two at a time. */
const char *built_plugin(const char *plugin);
/* Puts a plugin into this test's folder, as a new file. */
void put(const char *plugin, const char *as);
void write_text(const char *name, const char *text);
void make_folder(const char *name, mode_t mode);

/* A folder and an empty log for each test; whether the plugins are known. */
int set_up(void **state);
int tear_down(void **state);
bool know_plugins(void);

/* These fail the test where they cannot do what they say. */
rapt_registry *new_registry(void);
void expect_load(rapt_registry *registry, const char *name);
rapt_schema *find(rapt_registry *registry, const char *name);
/* Runs an operator of the samples on one number, factor 3. */
float run(const rapt_schema *schema, float x);

#endif
