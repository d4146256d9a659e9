/* SPDX-License-Identifier: Apache-2.0 */
/* What a broker knows of one sandbox, and its form on disk. No I/O. */
#ifndef BROKER_NODE_RECORD_H
#define BROKER_NODE_RECORD_H

#include "broker/jtext.h"
#include "broker/sandbox_id.h"
#include "broker/vmm/vmm.h"

/* Room for metadata with every byte escaped. */
#define RECORD_CAP (512u * 1024)
#define RECORD_TEAM_CAP 65     /* a name of the scheduler, at most 64 */
#define RECORD_BOOT_ID_CAP 37  /* a UUID */
#define RECORD_NAME_CAP 160    /* template id, alias */
#define RECORD_BUILD_ID_CAP 37 /* a UUID */
#define RECORD_HOST_CAP 256
#define RECORD_SESSION_CAP 129     /* a session's id, at most 128 */
#define RECORD_SESSION_TYPE_CAP 32 /* "code_interpreter", "custom" */
#define RECORD_REASON_CAP 160
#define RECORD_METADATA_MAX 256 /* entries */
#define RECORD_METADATA_CAP (64u * 1024)

enum sandbox_state {
    SANDBOX_CREATING,
    SANDBOX_RUNNING,
    SANDBOX_KILLED,
    SANDBOX_FAILED,
    SANDBOX_WARM, /* booted, and nobody's yet */
};

enum record_internet { RECORD_INTERNET_UNSAID, RECORD_INTERNET_ALLOWED, RECORD_INTERNET_DENIED };

/* The session that a sandbox is, for its key. @active_ns: its last use, wall clock */
struct record_session {
    char id[RECORD_SESSION_CAP];
    char type[RECORD_SESSION_TYPE_CAP];
    int64_t active_ns;
};

/*
 * @started_ns, @end_ns: wall clock, for clients, and for a next broker after a boot of the host
 * @boot_id: of the host, in which @started_mono_ns and @end_mono_ns are the same moments by the
 *           monotonic clock, for a next broker; empty when they are not known
 * @key_id:    of the API key that made it; empty: none is known (also: an older record)
 * @warm_build_id: of the template that it was booted from before it had an owner; else empty
 * @internet:  allow_internet_access as it was asked for
 * @token_generation: how often its tokens were rotated; @is_rotating: the last time is not finished
 * @metadata:  object of strings (owned; never NULL after record_init)
 * @network:   the validated network object of the create request (owned), or NULL
 * @session:   its id is empty for a sandbox that is no session's
 * @authority: PEM of its own certificate authority (owned), or NULL; holds a private key
 * @instance:  how the driver finds it again; nothing but the driver's name until it was made
 */
struct record {
    char sandbox_id[SANDBOX_ID_CAP];
    char team_id[RECORD_TEAM_CAP];
    char key_id[RECORD_TEAM_CAP];
    char template_id[RECORD_NAME_CAP];
    char alias[RECORD_NAME_CAP];
    char warm_build_id[RECORD_BUILD_ID_CAP];
    enum sandbox_state state;
    char reason[RECORD_REASON_CAP];
    int64_t started_ns, end_ns;
    char boot_id[RECORD_BOOT_ID_CAP];
    int64_t started_mono_ns, end_mono_ns;
    uint32_t cpu_count;
    uint64_t memory_mb, disk_mb;
    bool secure, is_private, is_rotating;
    uint32_t token_generation;
    enum record_internet internet;
    char mask_host[RECORD_HOST_CAP];
    json_t *metadata, *network;
    struct record_session session;
    char *authority;
    struct vmm_instance instance;
};

/* Errors: NO_MEMORY. */
ADIT_MUST_CHECK int record_init(struct record *r);
void record_fini(struct record *r);
/* Of the tokens that are good everywhere. */
uint32_t record_generation(const struct record *r);
const char *record_state_name(enum sandbox_state state);
/* Errors: LIMIT (above RECORD_CAP), NO_MEMORY. */
ADIT_MUST_CHECK int record_encode(const struct record *r, struct adit_buf *out);
/* @out is initialised by it, and needs no record_fini after an error.
 * Errors: BAD_INPUT (torn, not ours, out of range), NO_MEMORY. */
ADIT_MUST_CHECK int record_decode(struct adit_view text, struct record *out, struct adit_err *err);

#endif
