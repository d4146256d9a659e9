/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Netlink messages.
 *
 * Theory of operation
 *
 * What:     a request is a buffer of messages, each with its length written again as attributes
 * are added, so it is whole at any time. It is stamped with sequence numbers when it is sent, and
 * its acknowledgements are told from those of earlier requests by them.
 * Ownership: the caller's, all of it; nothing is allocated.
 * Limits:   EGRESS_NETLINK_REQUEST_MAX; EGRESS_NETLINK_ANSWER_MS for the answers of the kernel,
 * which gives them inside the call that sends, so a loop that calls this does not wait.
 * Trust:    what is read came from the kernel, but it repeats bytes of hostile programs. Lengths
 * are checked against what is there; the walk ends at the first that is wrong.
 */
#include "envd/egress/egress_netlink.h"

#include <errno.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#define ALIGN(n) (((n) + (NLMSG_ALIGNTO - 1)) & ~(size_t)(NLMSG_ALIGNTO - 1))

int egress_netlink_open(struct egress_netlink *n, int protocol, struct adit_err *err)
{
    struct timeval wait = {.tv_sec = EGRESS_NETLINK_ANSWER_MS / 1000};
    n->sequence = 0;
    n->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (n->fd < 0)
        return adit_err_sys(err, errno, "netlink socket");
    (void)setsockopt(n->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait); /* a valid value */
    return ADIT_OK;
}

void egress_netlink_close(struct egress_netlink *n)
{
    if (n->fd >= 0)
        (void)close(n->fd);
    n->fd = -1;
}

/* ---- writing ---- */

void egress_netlink_init(struct egress_netlink_request *r)
{
    r->len = r->message = 0;
    r->is_full = false;
}

/* Room for @len bytes, zeroed up to the next boundary; NULL when there is none. */
static char *extend(struct egress_netlink_request *r, size_t len)
{
    char *at = r->bytes + r->len;
    if (r->is_full || ALIGN(len) > sizeof r->bytes - r->len) {
        r->is_full = true;
        return NULL;
    }
    memset(at, 0, ALIGN(len));
    r->len += ALIGN(len);
    return at;
}

static struct nlmsghdr *message_at(struct egress_netlink_request *r, size_t at)
{
    return (struct nlmsghdr *)(void *)(r->bytes + at);
}

/* The message ends where the request ends. */
static void message_grew(struct egress_netlink_request *r)
{
    message_at(r, r->message)->nlmsg_len = (uint32_t)(r->len - r->message);
}

void egress_netlink_begin(struct egress_netlink_request *r, uint16_t type, uint16_t flags,
                          const void *head, size_t head_len)
{
    size_t at = r->len;
    char *room = extend(r, sizeof(struct nlmsghdr) + head_len);
    if (!room)
        return;
    r->message = at;
    message_at(r, at)->nlmsg_type = type;
    message_at(r, at)->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    memcpy(room + sizeof(struct nlmsghdr), head, head_len);
    message_grew(r);
}

static char *attribute(struct egress_netlink_request *r, uint16_t type, size_t len)
{
    struct nlattr head = {.nla_len = (uint16_t)(sizeof head + len), .nla_type = type};
    char *room = extend(r, sizeof head + len);
    if (!room)
        return NULL;
    memcpy(room, &head, sizeof head);
    message_grew(r);
    return room + sizeof head;
}

void egress_netlink_put(struct egress_netlink_request *r, uint16_t type, const void *p, size_t len)
{
    char *room = attribute(r, type, len);
    if (room)
        memcpy(room, p, len);
}

void egress_netlink_put_u8(struct egress_netlink_request *r, uint16_t type, uint8_t v)
{
    egress_netlink_put(r, type, &v, sizeof v);
}

void egress_netlink_put_u32(struct egress_netlink_request *r, uint16_t type, uint32_t v)
{
    egress_netlink_put(r, type, &v, sizeof v);
}

void egress_netlink_put_be16(struct egress_netlink_request *r, uint16_t type, uint16_t v)
{
    uint16_t be = htons(v);
    egress_netlink_put(r, type, &be, sizeof be);
}

void egress_netlink_put_be32(struct egress_netlink_request *r, uint16_t type, uint32_t v)
{
    egress_netlink_put_u32(r, type, htonl(v));
}

void egress_netlink_put_text(struct egress_netlink_request *r, uint16_t type, const char *text)
{
    egress_netlink_put(r, type, text, strlen(text) + 1);
}

size_t egress_netlink_nest(struct egress_netlink_request *r, uint16_t type)
{
    size_t at = r->len;
    (void)attribute(r, (uint16_t)(type | NLA_F_NESTED), 0); /* is_full remembers */
    return at;
}

void egress_netlink_nest_end(struct egress_netlink_request *r, size_t nest)
{
    uint16_t len = (uint16_t)(r->len - nest);
    if (!r->is_full)
        memcpy(r->bytes + nest + offsetof(struct nlattr, nla_len), &len, sizeof len);
}

/* ---- sending ---- */

/* Number the messages. Return: how many want an acknowledgement. */
static unsigned stamp(struct egress_netlink *n, struct egress_netlink_request *r)
{
    unsigned ack_cnt = 0;
    for (size_t at = 0; at < r->len; at += ALIGN(message_at(r, at)->nlmsg_len)) {
        message_at(r, at)->nlmsg_seq = ++n->sequence;
        ack_cnt += (message_at(r, at)->nlmsg_flags & NLM_F_ACK) != 0;
    }
    return ack_cnt;
}

static int send_whole(const struct egress_netlink *n, const struct egress_netlink_request *r)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t sent;
    do {
        sent = sendto(n->fd, r->bytes, r->len, MSG_NOSIGNAL, (struct sockaddr *)&kernel,
                      sizeof kernel);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? errno : 0;
}

int egress_netlink_send(struct egress_netlink *n, struct egress_netlink_request *r)
{
    (void)stamp(n, r);
    return r->is_full ? EMSGSIZE : send_whole(n, r);
}

/* Count the acknowledgements in a datagram that are not older than @first. Return: 0, or the errno
 * of the first refusal. */
static int count_answers(struct adit_view in, uint32_t first, unsigned *cnt)
{
    struct adit_view body;
    uint16_t type;
    uint32_t sequence;
    int32_t error;
    while (egress_netlink_next_message(&in, &type, &sequence, &body)) {
        if (type != NLMSG_ERROR || body.len < sizeof error || sequence < first)
            continue;
        memcpy(&error, body.ptr, sizeof error);
        if (error)
            return -error;
        (*cnt)++;
    }
    return 0;
}

int egress_netlink_request(struct egress_netlink *n, struct egress_netlink_request *r,
                           const char *what, struct adit_err *err)
{
    _Alignas(8) char answer[EGRESS_NETLINK_REQUEST_MAX];
    uint32_t first = n->sequence + 1;
    unsigned answer_cnt = 0;
    if (r->is_full)
        return adit_err_set(err, ADIT_ERR_LIMIT, "%s: netlink request is too long", what);
    unsigned ack_cnt = stamp(n, r);
    int failed = send_whole(n, r);
    while (!failed && answer_cnt < ack_cnt) {
        ssize_t got = recv(n->fd, answer, sizeof answer, 0);
        if (got >= 0)
            failed = count_answers(adit_view_mem(answer, (size_t)got), first, &answer_cnt);
        else if (errno != EINTR)
            failed = errno == EAGAIN ? ETIMEDOUT : errno;
    }
    return failed ? adit_err_sys(err, failed, "%s", what) : ADIT_OK;
}

/* ---- reading ---- */

/* Drop a part of @len bytes, and what fills it up to the boundary. */
static void advance(struct adit_view *in, size_t len)
{
    size_t step = ALIGN(len) < in->len ? ALIGN(len) : in->len;
    in->ptr += step;
    in->len -= step;
}

bool egress_netlink_next_message(struct adit_view *in, uint16_t *type, uint32_t *sequence,
                                 struct adit_view *body)
{
    struct nlmsghdr head;
    if (in->len < sizeof head)
        return false;
    memcpy(&head, in->ptr, sizeof head);
    if (head.nlmsg_len < sizeof head || head.nlmsg_len > in->len)
        return false;
    *type = head.nlmsg_type;
    *sequence = head.nlmsg_seq;
    *body = adit_view_mem(in->ptr + sizeof head, head.nlmsg_len - sizeof head);
    advance(in, head.nlmsg_len);
    return true;
}

bool egress_netlink_next_attribute(struct adit_view *in, uint16_t *type, struct adit_view *value)
{
    struct nlattr head;
    if (in->len < sizeof head)
        return false;
    memcpy(&head, in->ptr, sizeof head);
    if (head.nla_len < sizeof head || head.nla_len > in->len)
        return false;
    *type = (uint16_t)(head.nla_type & (uint16_t)NLA_TYPE_MASK);
    *value = adit_view_mem(in->ptr + sizeof head, head.nla_len - sizeof head);
    advance(in, head.nla_len);
    return true;
}
