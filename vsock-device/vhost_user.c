/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-user messages: the control side of the device.
 *
 * Theory of operation
 *
 * What:    gathers one message at a time, checks it against its row of the table below (length,
 * number of descriptors, feature that it belongs to), keeps what it says and tells the caller what
 * to do. Numbers are little-endian, as they are on the machines that this runs on.
 *
 * States:  of a ring
 *
 *     told  --SIZE, BASE, ADDR, KICK-->  started  --ENABLE-->  running
 *      ^                                     ^                    |
 *      |                                     +-----ENABLE 0-------+
 *      +-------------GET_VRING_BASE---------------- (halted) -----+
 *
 * Ownership: it owns the descriptors that it is fed. Those of a message are closed when it was
 * dealt with, but for the two of a ring.
 * Limits:  VHOST_USER_PAYLOAD_MAX, VHOST_USER_REGION_MAX, two rings, nothing is allocated.
 * Trust:   the VMM is one step from its guest: no length, count, index or address is taken without
 * a check; a size or address that changes while its ring runs is a breach, but for the two changes
 * that dirty logging makes (a feature bit; the same addresses again).
 * Failure: ADIT_ERR_PROTOCOL, on which the device ends. A VMM that wants to know gets "done" only
 * for what was done.
 */
#include "vsock-device/vhost_user.h"

#include <string.h>
#include <unistd.h>

#define FLAG_VERSION 0x1u
#define FLAG_VERSION_MASK 0x3u
#define FLAG_REPLY 0x4u
#define FLAG_NEED_REPLY 0x8u

/* Of a ring's descriptor message: its ring, or that no descriptor comes. */
#define RING_MASK 0xffull
#define RING_NO_FD 0x100ull

/* The most that the configuration space of any device may hold. */
#define CONFIG_MAX 256

struct header {
    uint32_t request, flags, len;
};

struct wire_region {
    uint64_t guest_addr, len, user_addr, map_offset;
};

struct wire_ring_number {
    uint32_t ring, number;
};

struct wire_ring_addr {
    uint32_t ring, flags;
    uint64_t desc, used, avail, log;
};

struct wire_log {
    uint64_t len, map_offset;
};

struct wire_config {
    uint32_t offset, len, flags;
};

#define REGION_LIST_HEAD 8
_Static_assert(REGION_LIST_HEAD + VHOST_USER_REGION_MAX * sizeof(struct wire_region) <=
                   VHOST_USER_PAYLOAD_MAX,
               "a whole memory table fits");
_Static_assert(sizeof(struct wire_config) + CONFIG_MAX <= VHOST_USER_PAYLOAD_MAX,
               "a whole configuration space fits");

static int breach(struct adit_err *err, const char *what)
{
    return adit_err_set(err, ADIT_ERR_PROTOCOL, "vhost-user: %s", what);
}

/* ---- the message in work ---- */

static struct header head_of(const struct vhost_user *v)
{
    struct header h;
    memcpy(&h, v->in, sizeof(h));
    return h;
}

/* Payloads are copied out, so that nothing depends on how they are aligned. */
static void payload(const struct vhost_user *v, size_t offset, void *out, size_t len)
{
    memcpy(out, v->in + VHOST_USER_HEADER_LEN + offset, len);
}

static uint64_t payload_u64(const struct vhost_user *v)
{
    uint64_t n;
    payload(v, 0, &n, sizeof(n));
    return n;
}

static void answer(struct vhost_user *v, const void *p, size_t len)
{
    memcpy(v->reply, p, len);
    v->reply_len = len;
}

static void answer_u64(struct vhost_user *v, uint64_t n)
{
    answer(v, &n, sizeof(n));
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* nothing was written to it that could be lost */
    *fd = -1;
}

static int steal_fd(struct vhost_user *v, size_t i)
{
    int fd = v->fds[i];
    v->fds[i] = -1;
    return fd;
}

/* ---- features ---- */

static bool any_is_running(const struct vhost_user *v)
{
    return v->rings[0].is_running || v->rings[1].is_running;
}

static int get_features(struct vhost_user *v, struct adit_err *err)
{
    (void)err;
    answer_u64(v, VHOST_USER_FEATURES);
    return 0;
}

static int set_features(struct vhost_user *v, struct adit_err *err)
{
    uint64_t wanted = payload_u64(v), changed = wanted ^ v->features;
    if (wanted & ~VHOST_USER_FEATURES)
        return breach(err, "a feature that was not offered");
    if (any_is_running(v) && (changed & ~VHOST_USER_F_LOG_ALL))
        return breach(err, "features change while a ring runs");
    v->features = wanted;
    if (changed & VHOST_USER_F_LOG_ALL)
        v->event = VHOST_USER_LOG;
    return 0;
}

static int get_protocol_features(struct vhost_user *v, struct adit_err *err)
{
    (void)err;
    answer_u64(v, VHOST_USER_PROTOCOL_FEATURES);
    return 0;
}

static int set_protocol_features(struct vhost_user *v, struct adit_err *err)
{
    uint64_t wanted = payload_u64(v);
    if (wanted & ~VHOST_USER_PROTOCOL_FEATURES)
        return breach(err, "a protocol feature that was not offered");
    v->protocol_features = wanted;
    return 0;
}

static int set_owner(struct vhost_user *v, struct adit_err *err)
{
    (void)v; /* a connection has one owner: its other end */
    (void)err;
    return 0;
}

/* ---- memory ---- */

static bool sum_overflows(uint64_t a, uint64_t b)
{
    return a + b < a;
}

/* Whether @len bytes from @offset of a file can be mapped. */
static bool is_mappable(uint64_t offset, uint64_t len)
{
    return len > 0 && offset % VHOST_USER_PAGE == 0 && !sum_overflows(offset, len) &&
           offset + len <= INT64_MAX;
}

static int set_mem_table(struct vhost_user *v, struct adit_err *err)
{
    uint32_t cnt, len = head_of(v).len;
    payload(v, 0, &cnt, sizeof(cnt));
    if (cnt == 0 || cnt > VHOST_USER_REGION_MAX || cnt != v->fd_cnt ||
        len != REGION_LIST_HEAD + cnt * sizeof(struct wire_region))
        return breach(err, "a memory table of another length than it says");
    v->region_cnt = 0;
    for (size_t i = 0; i < cnt; i++) {
        struct wire_region r;
        payload(v, REGION_LIST_HEAD + i * sizeof(r), &r, sizeof(r));
        if (!is_mappable(r.map_offset, r.len))
            return breach(err, "a memory region that cannot be mapped");
        v->regions[i] = (struct vhost_user_region){
            .guest_addr = r.guest_addr,
            .len = r.len,
            .user_addr = r.user_addr,
            .map_offset = r.map_offset,
            .fd = v->fds[i],
        };
    }
    v->region_cnt = cnt;
    v->event = VHOST_USER_MEMORY;
    return 0;
}

/* ---- the log of dirty pages ---- */

static int set_log_base(struct vhost_user *v, struct adit_err *err)
{
    struct wire_log l;
    payload(v, 0, &l, sizeof(l));
    if (!is_mappable(l.map_offset, l.len))
        return breach(err, "a log that cannot be mapped");
    v->log = (struct vhost_user_log){l.len, l.map_offset, v->fds[0]};
    v->event = VHOST_USER_LOG;
    answer_u64(v, 0);
    return 0;
}

static int set_log_fd(struct vhost_user *v, struct adit_err *err)
{
    (void)v; /* nobody is woken for a page: whoever saves a VM reads the log when it wants to */
    (void)err;
    return 0;
}

/* ---- rings ---- */

/* NULL: there is none, and @err says so. */
static struct vhost_user_ring *find_ring(struct vhost_user *v, uint64_t index, struct adit_err *err)
{
    if (index >= VHOST_USER_RING_CNT) {
        (void)breach(err, "a ring that does not exist"); /* every caller returns PROTOCOL */
        return NULL;
    }
    v->ring = (unsigned)index;
    return &v->rings[index];
}

/* The ring of a message that says a number of it, as above. */
static struct vhost_user_ring *find_numbered(struct vhost_user *v, uint32_t *number,
                                             struct adit_err *err)
{
    struct wire_ring_number m;
    payload(v, 0, &m, sizeof(m));
    *number = m.number;
    return find_ring(v, m.ring, err);
}

/* The same for what must not change while the ring runs. */
static struct vhost_user_ring *find_resting(struct vhost_user *v, uint32_t *number,
                                            struct adit_err *err)
{
    struct vhost_user_ring *r = find_numbered(v, number, err);
    if (r && r->is_running) {
        (void)breach(err, "a ring changes while it runs"); /* as above */
        return NULL;
    }
    return r;
}

/* Without the protocol's feature bit there is no ENABLE: a ring that was started runs. */
static void run_or_halt(struct vhost_user *v, struct vhost_user_ring *r)
{
    bool runs = r->kick_fd >= 0 && (r->is_enabled || !(v->features & VHOST_USER_F_PROTOCOL));
    if (runs != r->is_running)
        v->event = runs ? VHOST_USER_RUN : VHOST_USER_HALT;
    r->is_running = runs;
}

static int set_vring_num(struct vhost_user *v, struct adit_err *err)
{
    uint32_t size;
    struct vhost_user_ring *r = find_resting(v, &size, err);
    if (!r)
        return ADIT_ERR_PROTOCOL;
    r->size = size; /* vring_enable() judges it, as it does the addresses */
    return 0;
}

static int set_vring_base(struct vhost_user *v, struct adit_err *err)
{
    uint32_t base;
    struct vhost_user_ring *r = find_resting(v, &base, err);
    if (!r)
        return ADIT_ERR_PROTOCOL;
    if (base > UINT16_MAX)
        return breach(err, "a ring's base beyond 16 bits");
    r->base = (uint16_t)base;
    return 0;
}

static int set_vring_addr(struct vhost_user *v, struct adit_err *err)
{
    struct wire_ring_addr m;
    payload(v, 0, &m, sizeof(m));
    struct vhost_user_ring *r = find_ring(v, m.ring, err);
    if (!r)
        return ADIT_ERR_PROTOCOL;
    if (r->is_running && (m.desc != r->desc || m.avail != r->avail || m.used != r->used))
        return breach(err, "a ring moves while it runs");
    r->desc = m.desc;
    r->avail = m.avail;
    r->used = m.used;
    r->has_addr = true;
    return 0;
}

/* The queue rests from here on; its kick is not listened to any more. */
static int get_vring_base(struct vhost_user *v, struct adit_err *err)
{
    uint32_t number;
    const struct vhost_user_ring *r = find_numbered(v, &number, err);
    if (!r)
        return ADIT_ERR_PROTOCOL;
    if (r->is_running)
        v->event = VHOST_USER_HALT;
    v->rings[v->ring].is_running = false;
    answer(v, &(const struct wire_ring_number){.ring = v->ring}, sizeof(struct wire_ring_number));
    return 0; /* the number is filled in when the ring rests */
}

/* The ring of a message that comes with a descriptor, or says that it does not (*fd is -1). */
static struct vhost_user_ring *find_with_fd(struct vhost_user *v, int *fd, struct adit_err *err)
{
    uint64_t m = payload_u64(v);
    bool has_fd = !(m & RING_NO_FD);
    if ((m & ~(RING_MASK | RING_NO_FD)) || has_fd != (v->fd_cnt == 1)) {
        (void)breach(err, "a ring's descriptor that is said and not sent, or sent and not said");
        return NULL;
    }
    *fd = has_fd ? v->fds[0] : -1;
    return find_ring(v, m & RING_MASK, err);
}

static int set_vring_kick(struct vhost_user *v, struct adit_err *err)
{
    int fd;
    struct vhost_user_ring *r = find_with_fd(v, &fd, err);
    if (!r)
        return ADIT_ERR_PROTOCOL;
    if (r->is_running)
        return breach(err, "a ring is started while it runs");
    if (fd < 0 || r->size == 0 || !r->has_addr || v->region_cnt == 0)
        return breach(err, "a ring is started before it was described");
    close_fd(&r->kick_fd);
    r->kick_fd = steal_fd(v, 0);
    run_or_halt(v, r);
    return 0;
}

static int set_vring_call(struct vhost_user *v, struct adit_err *err)
{
    int fd;
    struct vhost_user_ring *r = find_with_fd(v, &fd, err);
    if (!r)
        return ADIT_ERR_PROTOCOL;
    close_fd(&r->call_fd);
    if (fd < 0)
        return 0;
    r->call_fd = steal_fd(v, 0);
    v->event = VHOST_USER_CALL;
    return 0;
}

/* Errors are told by the end of the device, so its descriptor is not kept. */
static int set_vring_err(struct vhost_user *v, struct adit_err *err)
{
    int fd;
    return find_with_fd(v, &fd, err) ? 0 : ADIT_ERR_PROTOCOL;
}

static int set_vring_enable(struct vhost_user *v, struct adit_err *err)
{
    uint32_t on;
    struct vhost_user_ring *r = find_numbered(v, &on, err);
    if (!r)
        return ADIT_ERR_PROTOCOL;
    if (on > 1)
        return breach(err, "a ring is enabled neither on nor off");
    r->is_enabled = on == 1;
    run_or_halt(v, r);
    return 0;
}

/* ---- the configuration space: the guest's CID ---- */

static int get_config(struct vhost_user *v, struct adit_err *err)
{
    struct wire_config c;
    uint64_t cid = v->guest_cid;
    size_t len = head_of(v).len;
    payload(v, 0, &c, sizeof(c));
    if (len != sizeof(c) + c.len || c.offset > sizeof(cid) || c.len > sizeof(cid) - c.offset)
        return breach(err, "a part of the configuration that does not exist");
    memcpy(v->reply, &c, sizeof(c));
    memcpy(v->reply + sizeof(c), (const uint8_t *)&cid + c.offset, c.len);
    v->reply_len = len;
    return 0;
}

/* ---- the table ---- */

/*
 * @feature: the protocol feature that must have been agreed on; 0: none
 */
static const struct row {
    uint16_t len_min, len_max;
    uint8_t fd_min, fd_max;
    uint64_t feature;
    int (*apply)(struct vhost_user *v, struct adit_err *err);
} rows[VHOST_USER_REQUEST_CNT] = {
    [VHOST_USER_GET_FEATURES] = {.apply = get_features},
    [VHOST_USER_SET_FEATURES] = {8, 8, 0, 0, 0, set_features},
    [VHOST_USER_SET_OWNER] = {.apply = set_owner},
    [VHOST_USER_SET_MEM_TABLE] = {REGION_LIST_HEAD, VHOST_USER_PAYLOAD_MAX, 1,
                                  VHOST_USER_REGION_MAX, 0, set_mem_table},
    [VHOST_USER_SET_LOG_BASE] = {16, 16, 1, 1, VHOST_USER_PROTOCOL_LOG_SHMFD, set_log_base},
    [VHOST_USER_SET_LOG_FD] = {0, 8, 0, 1, VHOST_USER_PROTOCOL_LOG_SHMFD, set_log_fd},
    [VHOST_USER_SET_VRING_NUM] = {8, 8, 0, 0, 0, set_vring_num},
    [VHOST_USER_SET_VRING_ADDR] = {40, 40, 0, 0, 0, set_vring_addr},
    [VHOST_USER_SET_VRING_BASE] = {8, 8, 0, 0, 0, set_vring_base},
    [VHOST_USER_GET_VRING_BASE] = {8, 8, 0, 0, 0, get_vring_base},
    [VHOST_USER_SET_VRING_KICK] = {8, 8, 0, 1, 0, set_vring_kick},
    [VHOST_USER_SET_VRING_CALL] = {8, 8, 0, 1, 0, set_vring_call},
    [VHOST_USER_SET_VRING_ERR] = {8, 8, 0, 1, 0, set_vring_err},
    [VHOST_USER_GET_PROTOCOL_FEATURES] = {.apply = get_protocol_features},
    [VHOST_USER_SET_PROTOCOL_FEATURES] = {8, 8, 0, 0, 0, set_protocol_features},
    [VHOST_USER_SET_VRING_ENABLE] = {8, 8, 0, 0, 0, set_vring_enable},
    [VHOST_USER_GET_CONFIG] = {sizeof(struct wire_config), sizeof(struct wire_config) + CONFIG_MAX,
                               0, 0, VHOST_USER_PROTOCOL_CONFIG, get_config},
};

static const struct row *row_of(const struct vhost_user *v)
{
    uint32_t request = head_of(v).request;
    return request < VHOST_USER_REQUEST_CNT && rows[request].apply ? &rows[request] : NULL;
}

static int check_head(const struct vhost_user *v, struct adit_err *err)
{
    struct header h = head_of(v);
    const struct row *row = row_of(v);
    if (!row || (row->feature & ~v->protocol_features))
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "vhost-user: request %u is not offered",
                            h.request);
    if ((h.flags & (FLAG_VERSION_MASK | FLAG_REPLY)) != FLAG_VERSION)
        return breach(err, "a request of another version");
    if (h.len < row->len_min || h.len > row->len_max)
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "vhost-user: request %u of %u bytes", h.request,
                            h.len);
    return 0;
}

static int take_message(struct vhost_user *v, struct adit_err *err)
{
    const struct row *row = row_of(v);
    if (v->fd_cnt < row->fd_min || v->fd_cnt > row->fd_max)
        return breach(err, "another number of descriptors than the request has");
    return row->apply(v, err);
}

/* ---- from outside ---- */

void vhost_user_init(struct vhost_user *v, uint64_t guest_cid)
{
    *v = (struct vhost_user){.guest_cid = guest_cid, .log.fd = -1};
    for (size_t i = 0; i < VHOST_USER_RING_CNT; i++)
        v->rings[i].kick_fd = v->rings[i].call_fd = -1;
}

/* The descriptors of the message, wherever they were noted. */
static void drop_fds(struct vhost_user *v)
{
    for (size_t i = 0; i < v->fd_cnt; i++)
        close_fd(&v->fds[i]);
    v->fd_cnt = 0;
    for (size_t i = 0; i < VHOST_USER_REGION_MAX; i++)
        v->regions[i].fd = -1;
    v->log.fd = -1;
}

void vhost_user_fini(struct vhost_user *v)
{
    drop_fds(v);
    for (size_t i = 0; i < VHOST_USER_RING_CNT; i++) {
        close_fd(&v->rings[i].kick_fd);
        close_fd(&v->rings[i].call_fd);
    }
}

size_t vhost_user_wanted(const struct vhost_user *v)
{
    if (v->in_len < VHOST_USER_HEADER_LEN)
        return VHOST_USER_HEADER_LEN - v->in_len;
    return VHOST_USER_HEADER_LEN + head_of(v).len - v->in_len;
}

static int take_fds(struct vhost_user *v, const int *fds, size_t cnt, struct adit_err *err)
{
    size_t taken = 0;
    while (taken < cnt && v->fd_cnt < VHOST_USER_REGION_MAX)
        v->fds[v->fd_cnt++] = fds[taken++];
    if (taken == cnt)
        return 0;
    while (taken < cnt)
        (void)close(fds[taken++]);
    return breach(err, "more descriptors than any request has");
}

int vhost_user_feed(struct vhost_user *v, const void *bytes, size_t len, const int *fds,
                    size_t fd_cnt, bool *done, struct adit_err *err)
{
    *done = false;
    int rc = take_fds(v, fds, fd_cnt, err);
    if (rc)
        return rc;
    bool in_head = v->in_len < VHOST_USER_HEADER_LEN;
    memcpy(v->in + v->in_len, bytes, len);
    v->in_len += len;
    if (v->in_len < VHOST_USER_HEADER_LEN)
        return 0;
    if (in_head)
        rc = check_head(v, err);
    if (rc == 0 && v->in_len == VHOST_USER_HEADER_LEN + head_of(v).len) {
        v->event = VHOST_USER_NOTHING;
        rc = take_message(v, err);
        *done = rc == 0;
    }
    return rc;
}

/* Where the ring rests is known by now. */
static void note_halt(struct vhost_user *v)
{
    struct vhost_user_ring *r = &v->rings[v->ring];
    bool is_asked = head_of(v).request == VHOST_USER_GET_VRING_BASE;
    if (v->event == VHOST_USER_HALT || is_asked)
        v->last_base[v->ring] = r->base;
    if (!is_asked)
        return;
    uint32_t base = r->base;
    memcpy(v->reply + sizeof(uint32_t), &base, sizeof(base));
    close_fd(&r->kick_fd);
    r->has_addr = r->is_enabled = false;
}

size_t vhost_user_finish(struct vhost_user *v, uint8_t *out)
{
    struct header h = head_of(v);
    bool wants_done =
        (h.flags & FLAG_NEED_REPLY) && (v->protocol_features & VHOST_USER_PROTOCOL_REPLY_ACK);
    note_halt(v);
    if (v->reply_len == 0 && wants_done)
        answer_u64(v, 0);
    h.flags = FLAG_VERSION | FLAG_REPLY;
    h.len = (uint32_t)v->reply_len;
    size_t len = v->reply_len ? VHOST_USER_HEADER_LEN + v->reply_len : 0;
    memcpy(out, &h, sizeof(h));
    memcpy(out + sizeof(h), v->reply, v->reply_len);
    drop_fds(v);
    v->in_len = v->reply_len = 0;
    v->event = VHOST_USER_NOTHING;
    return len;
}

bool vhost_user_is_resumed(const struct vhost_user *v)
{
    bool is_same = true, is_fresh = true;
    for (size_t i = 0; i < VHOST_USER_RING_CNT; i++) {
        is_same = is_same && v->rings[i].base == v->last_base[i];
        is_fresh = is_fresh && v->rings[i].base == 0;
    }
    return is_same && !is_fresh;
}
