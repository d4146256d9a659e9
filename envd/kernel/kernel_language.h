/* SPDX-License-Identifier: Apache-2.0 */
/* The languages of kernels: their names, what runs them, and the program that makes a kernel. */
#ifndef ENVD_KERNEL_LANGUAGE_H
#define ENVD_KERNEL_LANGUAGE_H

#include "base/buf.h"

#define KERNEL_LANGUAGE_NAME_CAP 16
#define KERNEL_LANGUAGE_SOURCE_MAX (256u * 1024)
#define KERNEL_LANGUAGE_SOURCES_MAX 4

/*
 * @name:      as clients know it
 * @runtime:   the program that runs it, looked for in PATH
 * @command:   what is started: the runtime, or a shell that starts it
 * @package:   the Debian package that has it
 * @options:   between the command's name and @boot; ends with NULL
 * @boot:      the text that reads the program from descriptor 3 and becomes it
 * @sources:   the program, gzip: the text that @boot reads, and those that it reads itself
 * @is_default: has a context from the start
 * @is_pooled: slow to start, so that one is kept ready; one language only
 */
struct kernel_language {
    const char *name, *runtime, *command, *package;
    const char *const *options;
    const char *boot;
    struct kernel_source_text {
        const char *start, *end;
    } sources[KERNEL_LANGUAGE_SOURCES_MAX];
    bool is_default, is_pooled;
};

/* By name, in any case and with blanks around it; "js" and "ts" are known. NULL: no such language.
 */
const struct kernel_language *kernel_language_find(struct adit_view name);
extern const struct kernel_language kernel_languages[];
extern const size_t kernel_language_cnt;

/* Is its runtime in a directory of @path? */
bool kernel_language_is_installed(const struct kernel_language *l, const char *path);
/* Append the program as frames. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int kernel_language_put_source(const struct kernel_language *l,
                                               struct adit_buf *out, struct adit_err *err);

#endif
