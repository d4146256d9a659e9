/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandboxes as virtual machines of QEMU.
 *
 * Theory of operation
 *
 * What:   the launcher starts QEMU and the vsock device and watches over both
 * (broker/launcher/launch_vm.c); here is what only QEMU itself knows: why it is about to end, and
 * that a machine stopped which nobody told to. Such a machine never goes on, so it is told to quit,
 * and the sandbox ends as failed.
 * Ownership: a monitor belongs to the sandbox that it is attached to (launched.h).
 * Trust:  the monitor is one step from the guest. Its words become reasons in logs and records, cut
 * and printable; it can harm its own sandbox only.
 * Failure: without a monitor (no memory, it does not answer) a sandbox lives on; its end has the
 * launcher's words then.
 */
#include "broker/vmm/qemu.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limit.h"
#include "base/list.h"
#include "base/log.h"
#include "broker/vmm/qmp.h"

#define REASON_CAP (QMP_READER_WORD_CAP + 64)
/* Of lines in our log about one machine's disks. */
#define IO_ERRORS_BURST 3
#define IO_ERRORS_PER_S 1

/* owned by: the launched sandbox, as what is attached to it. @reason: "" while there is none */
struct monitor {
    struct qmp *qmp;
    struct adit_limit io_errors;
    char id[VMM_ID_CAP];
    char reason[REASON_CAP];
};

/* ---- what happened in the machine ---- */

/* The first reason counts: what follows, follows from it. */
static void note(struct monitor *m, const char *what, const char *detail)
{
    if (!m->reason[0])
        (void)snprintf(m->reason, sizeof(m->reason), "%s%s", what, detail);
}

/* @why: QEMU's ShutdownCause. A panic looks like a reboot: the guest's kernel reboots after it, and
 * the console has its words. */
static void note_shutdown(struct monitor *m, const char *why)
{
    if (strcmp(why, "guest-reset") == 0)
        note(m, "the guest rebooted", "");
    else if (strcmp(why, "guest-shutdown") == 0)
        note(m, "the guest powered off", "");
    else if (strcmp(why, "guest-panic") == 0)
        note(m, "the guest panicked", "");
    else
        note(m, "QEMU shut down: ", why);
}

static void log_io_error(struct monitor *m, const struct qmp_message *event)
{
    if (adit_limit_take(&m->io_errors, adit_clock_mono_ns()))
        adit_log(ADIT_LOG_WARN, "vm_disk_error", LOG_S("sandbox", m->id),
                 LOG_S("reason", event->reason));
}

static void ask_status(struct monitor *m)
{
    (void)qmp_send(m->qmp, QMP_QUERY_STATUS, NULL); /* a broken connection asks again by itself */
}

static void on_event(void *owner, const struct qmp_message *event)
{
    struct monitor *m = owner;
    if (strcmp(event->word, "SHUTDOWN") == 0)
        note_shutdown(m, event->reason);
    else if (strcmp(event->word, "GUEST_PANICKED") == 0)
        note(m, "the guest panicked", "");
    else if (strcmp(event->word, "BLOCK_IO_ERROR") == 0)
        log_io_error(m, event);
    else if (strcmp(event->word, "STOP") == 0)
        ask_status(m);
}

static void on_answer(void *owner, enum qmp_command command, const struct qmp_message *answer)
{
    static const char *const dead[] = {"internal-error", "io-error", "guest-panicked", "shutdown"};
    struct monitor *m = owner;
    if (command != QMP_QUERY_STATUS || answer->kind != QMP_READER_ANSWER)
        return;
    for (size_t i = 0; i < sizeof(dead) / sizeof(dead[0]); i++) {
        if (strcmp(answer->reason, dead[i]) != 0)
            continue;
        note(m, "the machine stopped: ", dead[i]);
        (void)qmp_send(m->qmp, QMP_QUIT, NULL); /* as above */
    }
}

/* It may have stopped while nobody listened. */
static void on_ready(void *owner)
{
    ask_status(owner);
}

/* ---- beside each sandbox ---- */

static void *attach(struct launched_vmm *v, const char *sandbox_id, const char *sandbox_dir)
{
    static const struct qmp_ops ops = {on_ready, on_answer, on_event};
    struct qemu *qemu = ADIT_CONTAINER_OF(v, struct qemu, launched);
    char path[LAUNCH_SANDBOX_DIR_CAP + sizeof("/" LAUNCH_VMM_SOCKET_NAME)];
    struct adit_err err = ADIT_ERR_INIT;
    struct monitor *m = calloc(1, sizeof(*m));
    (void)snprintf(path, sizeof(path), "%s/" LAUNCH_VMM_SOCKET_NAME, sandbox_dir);
    if (!m || qmp_open(qemu->loop, path, &ops, m, &m->qmp, &err)) {
        adit_log(ADIT_LOG_WARN, "vm_not_monitored", LOG_S("sandbox", sandbox_id), LOG_ERR(&err));
        free(m);
        return NULL;
    }
    (void)snprintf(m->id, sizeof(m->id), "%s", sandbox_id);
    adit_limit_init(&m->io_errors, IO_ERRORS_BURST, IO_ERRORS_PER_S, adit_clock_mono_ns());
    return m;
}

static const char *why(void *attached)
{
    const struct monitor *m = attached;
    return m->reason[0] ? m->reason : NULL;
}

static void detach(void *attached)
{
    struct monitor *m = attached;
    qmp_close(m->qmp);
    free(m);
}

void qemu_init(struct qemu *out, struct launched *all, struct net_loop *loop, const char *unusable)
{
    static const struct launched_ops ops = {.attach = attach, .why = why, .detach = detach};
    *out = (struct qemu){
        .launched = {.vmm = {.driver = &launched_driver,
                             .name = "qemu",
                             .isolation = "vm",
                             .unusable = unusable,
                             .boot_ms = QEMU_BOOT_TCG_MS},
                     .all = all,
                     .kind = LAUNCH_DRIVER_QEMU,
                     .accel = LAUNCH_ACCEL_TCG,
                     .ops = &ops},
        .loop = loop,
    };
}

void qemu_use_kvm(struct qemu *q)
{
    q->launched.accel = LAUNCH_ACCEL_KVM;
    q->launched.vmm.boot_ms = QEMU_BOOT_KVM_MS;
}
