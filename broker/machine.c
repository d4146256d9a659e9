/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's processor by name.
 *
 * Theory of operation
 *
 * What: the lines "name<tabs>: value" of /proc/cpuinfo up to the first empty one, which ends the
 * first processor; architectures write other names, whose values stay empty. Trust: the kernel's
 * text; a hypervisor may put what it likes into the model's name, so only printable ASCII is taken.
 * Failure: a name that cannot be found out is empty, and nothing depends on it.
 */
#include "broker/machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "base/file.h"

/* The first processor's lines; a kernel that prints more per processor loses the rest. */
#define CPUINFO_CAP (1024u * 1024)

static void take(char out[MACHINE_TEXT_CAP], struct adit_view text)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len && len < MACHINE_TEXT_CAP - 1; i++)
        if (text.ptr[i] >= ' ' && text.ptr[i] <= '~')
            out[len++] = text.ptr[i];
    out[len] = '\0';
}

void machine_parse(struct adit_view cpuinfo, struct machine *out)
{
    const struct {
        const char *name;
        char *out;
    } wanted[] = {{"cpu family", out->cpu_family},
                  {"model", out->cpu_model},
                  {"model name", out->cpu_model_name}};
    struct adit_view line, name, value;
    while (adit_view_split(cpuinfo, '\n', &line, &cpuinfo) && line.len) {
        if (!adit_view_split(line, ':', &name, &value))
            continue;
        for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
            if (adit_view_eq_str(adit_view_trim(name), wanted[i].name))
                take(wanted[i].out, adit_view_trim(value));
    }
}

void machine_read(struct machine *out)
{
    struct utsname host;
    struct adit_buf text;
    memset(out, 0, sizeof(*out));
    if (uname(&host) == 0)
        take(out->cpu_architecture, adit_view_str(host.machine));
    adit_buf_init(&text, CPUINFO_CAP);
    if (adit_file_read(AT_FDCWD, "/proc/cpuinfo", &text, NULL) == 0)
        machine_parse(adit_buf_view(&text), out);
    adit_buf_fini(&text);
}
