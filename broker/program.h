/* SPDX-License-Identifier: Apache-2.0 */
/* Other programs of this host: where they are, which version. */
#ifndef BROKER_PROGRAM_H
#define BROKER_PROGRAM_H

#include "base/view.h"

/* A program given by name is looked for in PATH, a path is taken as it is. Errors: NOT_FOUND. */
ADIT_MUST_CHECK int program_find(const char *name, char *out, size_t cap, struct adit_err *err);
/* Run "<path> --version". Blocks until it ends. Return: how much of its output is in @out. */
size_t program_ask_version(const char *path, char *out, size_t cap);

#endif
