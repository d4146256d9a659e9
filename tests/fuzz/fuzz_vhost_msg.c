/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of a VMM. The input is what QEMU sends, with the number of descriptors that come with a
 * message in the highest byte of its flags, which means nothing to the protocol.
 * Oracles: the cut does not matter: whole messages and single bytes lead to the same events, state
 * and replies; what is told is within its bounds; every descriptor is closed in the end.
 */
#include "vsock-device/vhost_user.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "tests/fuzz/oracle.h"

#define FDS_AT 7
#define FDS_MAX (VHOST_USER_REGION_MAX + 2)
#define TRACE_MAX (1024 * 1024)

struct trace {
    struct adit_buf bytes;
};

static void note(struct trace *t, const void *p, size_t len)
{
    if (adit_buf_append(&t->bytes, p, len))
        abort();
}

static void check_told(const struct vhost_user *v)
{
    ORACLE(v->ring < VHOST_USER_RING_CNT);
    ORACLE(v->region_cnt <= VHOST_USER_REGION_MAX);
    ORACLE((v->features & ~VHOST_USER_FEATURES) == 0);
    ORACLE((v->protocol_features & ~VHOST_USER_PROTOCOL_FEATURES) == 0);
    for (size_t i = 0; v->event == VHOST_USER_MEMORY && i < v->region_cnt; i++) {
        ORACLE(v->regions[i].fd >= 0 && v->regions[i].len > 0);
        ORACLE(v->regions[i].map_offset + v->regions[i].len >= v->regions[i].len);
    }
    if (v->event == VHOST_USER_RUN)
        ORACLE(v->rings[v->ring].kick_fd >= 0 && v->rings[v->ring].has_addr);
    if (v->event == VHOST_USER_CALL)
        ORACLE(v->rings[v->ring].call_fd >= 0);
}

/* What the device would do, as far as it shows. */
static void act(struct vhost_user *v, struct trace *t)
{
    uint8_t reply[VHOST_USER_MESSAGE_MAX];
    check_told(v);
    note(t, &v->event, sizeof(v->event));
    note(t, &v->ring, sizeof(v->ring));
    if (v->event == VHOST_USER_HALT)
        v->rings[v->ring].base = (uint16_t)(v->rings[v->ring].base + 7);
    size_t len = vhost_user_finish(v, reply);
    ORACLE(len <= sizeof(reply));
    note(t, reply, len);
    bool is_resumed = vhost_user_is_resumed(v);
    note(t, &is_resumed, sizeof(is_resumed));
}

/* Descriptors come with the first byte of a message. */
static size_t take_fds(const struct vhost_user *v, const uint8_t *at, size_t left, int *fds)
{
    size_t cnt = v->in_len == 0 && left > FDS_AT ? at[FDS_AT] : 0;
    if (cnt > FDS_MAX)
        cnt = FDS_MAX;
    for (size_t i = 0; i < cnt; i++)
        fds[i] = dup(STDIN_FILENO);
    return cnt;
}

static int run(const uint8_t *data, size_t size, size_t step, struct trace *t)
{
    struct vhost_user v;
    int rc = 0;
    vhost_user_init(&v, 3);
    for (size_t at = 0; rc == 0 && at < size;) {
        int fds[FDS_MAX];
        bool done;
        size_t wanted = vhost_user_wanted(&v), len = size - at;
        ORACLE(wanted > 0 && wanted <= VHOST_USER_MESSAGE_MAX);
        len = len < wanted ? len : wanted;
        len = len < step ? len : step;
        size_t cnt = take_fds(&v, data + at, size - at, fds);
        rc = vhost_user_feed(&v, data + at, len, fds, cnt, &done, NULL);
        at += len;
        if (rc == 0 && done)
            act(&v, t);
    }
    vhost_user_fini(&v);
    return rc;
}

static int next_fd(void)
{
    int fd = dup(STDIN_FILENO);
    (void)close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trace whole, single;
    int before = next_fd();
    adit_buf_init(&whole.bytes, TRACE_MAX);
    adit_buf_init(&single.bytes, TRACE_MAX);
    int rc = run(data, size, SIZE_MAX, &whole);
    ORACLE(run(data, size, 1, &single) == rc);
    struct adit_view a = adit_buf_view(&whole.bytes), b = adit_buf_view(&single.bytes);
    ORACLE(a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0));
    ORACLE(next_fd() == before);
    adit_buf_fini(&whole.bytes);
    adit_buf_fini(&single.bytes);
    return 0;
}
