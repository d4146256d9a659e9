/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between the broker and its launcher: one struct, one datagram of a SOCK_SEQPACKET pair.
 *
 * Both ends are the same program, so a message is the struct itself; what is checked is its
 * content, because the launcher has privileges and the broker that asks parses bytes of strangers.
 */
#ifndef BROKER_LAUNCHER_LAUNCH_MSG_H
#define BROKER_LAUNCHER_LAUNCH_MSG_H

#include "base/view.h"

#define LAUNCH_MAGIC 0x41444c33u /* "ADL3" */
#define LAUNCH_ID_CAP 64
/* "<sandbox_dir>/channel.sock" fits into sun_path. */
#define LAUNCH_SANDBOX_DIR_CAP 92
#define LAUNCH_TEMPLATE_DIR_CAP 512
#define LAUNCH_CPU_MAX 1024u
#define LAUNCH_MEMORY_MB_MIN 8u
#define LAUNCH_MEMORY_MB_MAX (16u * 1024 * 1024)
#define LAUNCH_PIDS_MAX (4u * 1024 * 1024)
#define LAUNCH_DISK_MB_MAX (16u * 1024 * 1024)

/* Sandboxes get user ids apart from everyone's: slot n has 65536 ids from LAUNCH_UID_BASE + n *
 * 65536 on. The range is above those of login users, subordinate ids and systemd-nspawn, and ends
 * below 2^31, which some programs take for negative. */
#define LAUNCH_UID_BASE 0x70000000u
#define LAUNCH_UID_CNT 65536u
#define LAUNCH_SLOTS 4096u

#define LAUNCH_CHANNEL_NAME "channel.sock"
/* A FIFO; the same as VMM_CONSOLE_NAME. */
#define LAUNCH_CONSOLE_NAME "console"
/* What is the sandbox's own in its directory; root's. */
#define LAUNCH_CONTAINER_NAME "container"
#define LAUNCH_VM_NAME "vm"
/* Where a virtual machine monitor takes its orders (QMP, or an HTTP API): a socket of the broker's,
 * made by the launcher as the channel is. */
#define LAUNCH_VMM_SOCKET_NAME "vmm.sock"
/* A probe's guest has left by then, or cannot run; with emulation it is given more time. */
#define LAUNCH_PROBE_KVM_MS 3000u
#define LAUNCH_PROBE_TCG_MS 15000u

enum launch_kind {
    LAUNCH_PING = 1, /* is it there? */
    LAUNCH_CREATE,   /* start a sandbox; the answer has pid, pid_start and a pidfd */
    LAUNCH_DESTROY,  /* end it and remove what is left of it */
    LAUNCH_EXPLAIN,  /* why did @pid of @sandbox_id end? the answer is in @text */
    LAUNCH_ADOPT,    /* is @pid still the process of @sandbox_id? the answer has a pidfd */
    LAUNCH_MEASURE,  /* what does @sandbox_id use? the answer is in @usage */
    LAUNCH_PROBE,    /* does a guest boot here with @driver and @accel? an error says why not */
};

/* Who makes the sandbox. */
enum launch_driver {
    LAUNCH_DRIVER_CONTAINER = 0,
    LAUNCH_DRIVER_QEMU,
    LAUNCH_DRIVER_FIRECRACKER,
    LAUNCH_DRIVER_CLOUD_HYPERVISOR,
};

/* What executes a guest's instructions. */
enum launch_accel { LAUNCH_ACCEL_TCG = 0, LAUNCH_ACCEL_KVM };

/*
 * What each kind needs: CREATE everything but pid and pid_start; DESTROY sandbox_id, sandbox_dir;
 * EXPLAIN sandbox_id, pid, driver; ADOPT sandbox_id, pid, pid_start; MEASURE sandbox_id; PROBE
 * sandbox_id (one that is nobody's), slot, driver (none but QEMU), accel; PING nothing. The rest is
 * zero.
 * @accel:   0 for containers
 * @disk_mb: of a virtual machine: what its template's disk has to have; 0: whatever it has
 */
struct launch_request {
    uint32_t magic;
    uint32_t kind;
    uint64_t id; /* chosen by the client, comes back in the answer; not 0 */
    uint32_t slot, cpu_count, pids_max;
    int32_t pid;
    uint32_t driver, accel;
    uint64_t memory_mb, disk_mb, pid_start;
    char sandbox_id[LAUNCH_ID_CAP];
    char sandbox_dir[LAUNCH_SANDBOX_DIR_CAP];
    char template_dir[LAUNCH_TEMPLATE_DIR_CAP];
    uint32_t reserved;
};

/* What a sandbox uses, by its control group. */
struct launch_usage {
    uint64_t memory, cache, memory_max; /* bytes; @memory counts @cache */
    uint64_t cpu_ns;                    /* since its start; 0: the host does not say */
};

/*
 * @id:   of the request; 0: a launcher has started (its pid in @pid), and requests that were not
 *        answered by an earlier one may not be answered any more
 * @code: enum adit_err_code
 * @text: the error's message, or the reason of an EXPLAIN
 */
struct launch_reply {
    uint32_t magic;
    int32_t code, sys_errno, pid;
    uint64_t id, pid_start;
    struct launch_usage usage;
    char text[ADIT_ERR_MSG_CAP];
};

/*
 * Take a datagram as a request: exact size, known kind, ids of [a-z0-9], directories absolute and
 * without empty, "." or ".." components or control bytes, figures within their bounds.
 * Errors: BAD_INPUT; @out->id is set whenever the size and magic are right, so that it can be
 * answered, and 0 otherwise.
 */
ADIT_MUST_CHECK int launch_msg_parse_request(struct adit_view datagram, struct launch_request *out,
                                             struct adit_err *err);
/* Take a datagram as a reply. Errors: PROTOCOL. */
ADIT_MUST_CHECK int launch_msg_parse_reply(struct adit_view datagram, struct launch_reply *out,
                                           struct adit_err *err);

/* [a-z0-9]{1,63} */
bool launch_msg_is_id(struct adit_view v);
/* An absolute path in its shortest form, see above. */
bool launch_msg_is_clean_path(struct adit_view v);

#endif
