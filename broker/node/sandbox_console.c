/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sandbox says on its console, and what that says about its end.
 *
 * Theory of operation
 *
 * What: lines of the first process, and of a kernel of its own, go to the sandbox's log. To QEMU a
 * kernel that panicked looks like one that rebooted: its own words tell them apart.
 * Trust: whoever is root in the guest can write such words. They are believed only when the guest
 * ended, and harm nobody else's record.
 */
#include <limits.h>
#include <stdio.h>

#include "base/log.h"
#include "broker/node/sandbox.h"

static const char panic_words[] = "Kernel panic - not syncing: ";

/* The last one counts: after it there is nothing more. */
static void note_panic(struct sandbox *s, struct adit_view line)
{
    const char *at = memmem(line.ptr, line.len, panic_words, sizeof(panic_words) - 1);
    if (!at || s->vmm->boot_ms == 0)
        return;
    at += sizeof(panic_words) - 1;
    (void)snprintf(s->panic, sizeof(s->panic), "%.*s", (int)(line.ptr + line.len - at), at);
}

static void on_line(void *owner, struct adit_view line)
{
    struct sandbox *s = owner;
    note_panic(s, line);
    if (!sandbox_is_unclaimed(s))
        journal_log_add_console(s->log, line);
}

static void on_dropped(void *owner, uint64_t cnt)
{
    const struct sandbox *s = owner;
    if (!sandbox_is_unclaimed(s))
        journal_log_add_dropped(s->log, cnt);
}

void sandbox_watch_console(struct sandbox *s)
{
    static const struct console_ops ops = {.on_line = on_line, .on_dropped = on_dropped};
    char dir[PATH_MAX], path[PATH_MAX + sizeof("/" VMM_CONSOLE_NAME)];
    struct adit_err err = ADIT_ERR_INIT;
    sandbox_path(s, dir, sizeof(dir));
    (void)snprintf(path, sizeof(path), "%s/" VMM_CONSOLE_NAME, dir); /* fits */
    int rc = console_open(s->node->conf.loop, path, &ops, s, &s->console, &err);
    if (rc && rc != ADIT_ERR_NOT_FOUND)
        adit_log(ADIT_LOG_WARN, "console_not_read", LOG_S("sandbox", s->record.sandbox_id),
                 LOG_ERR(&err));
}

void sandbox_exited(struct sandbox *s, const char *reason)
{
    char text[RECORD_REASON_CAP];
    if (s->console)
        console_drain(s->console);
    (void)snprintf(text, sizeof(text), "the guest's kernel panicked: %s", s->panic);
    sandbox_end(s, SANDBOX_FAILED, s->panic[0] ? text : reason);
}
