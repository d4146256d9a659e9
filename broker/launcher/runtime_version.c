/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime's version.
 *
 * Theory of operation
 *
 * What:    distributions ship runtimes with known escapes, and the operator should know. The broker
 * works with them: a warning is all that comes of it. Only crun is known by name; others say
 * nothing. Failure: a runtime that does not answer is reported as "unknown".
 */
#include "broker/launcher/runtime_version.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "broker/program.h"

/* Take digits from the front. Return: their value, cut at a million. */
static unsigned take_number(struct adit_view *v)
{
    unsigned n = 0;
    while (v->len && *v->ptr >= '0' && *v->ptr <= '9') {
        n = n < 1000000 ? n * 10 + (unsigned)(*v->ptr - '0') : n;
        *v = adit_view_mem(v->ptr + 1, v->len - 1);
    }
    if (v->len && *v->ptr == '.')
        *v = adit_view_mem(v->ptr + 1, v->len - 1);
    return n;
}

bool runtime_version_is_safe(struct adit_view output, char version[RUNTIME_VERSION_CAP])
{
    static const char word[] = "crun version ";
    struct adit_view line, rest, wanted = adit_view_str(RUNTIME_VERSION_CRUN_SAFE);
    (void)adit_view_split(output, '\n', &line, &rest); /* one line is fine */
    (void)snprintf(version, RUNTIME_VERSION_CAP, "unknown");
    if (!adit_view_has_prefix(line, word))
        return false;
    rest = adit_view_mem(line.ptr + strlen(word), line.len - strlen(word));
    (void)snprintf(version, RUNTIME_VERSION_CAP, "%.*s", ADIT_VIEW_ARG(rest));
    while (wanted.len) {
        unsigned have = take_number(&rest), need = take_number(&wanted);
        if (have != need)
            return have > need;
    }
    return true;
}

void runtime_version_check(const char *runtime)
{
    char output[512], version[RUNTIME_VERSION_CAP];
    const char *name = strrchr(runtime, '/');
    if (strcmp(name ? name + 1 : runtime, "crun") != 0)
        return;
    struct adit_view text = {output, program_ask_version(runtime, output, sizeof(output))};
    if (!runtime_version_is_safe(text, version))
        adit_log(ADIT_LOG_WARN, "runtime_not_for_untrusted_code", LOG_S("runtime", runtime),
                 LOG_S("version", version), LOG_S("required", RUNTIME_VERSION_CRUN_SAFE),
                 LOG_S("see", "docs/isolation.md"));
}
