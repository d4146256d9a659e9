/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stub resolver.
 *
 * Theory of operation
 *
 * What:      A and AAAA are answered from the cache or by the host; those who ask the same share a
 * look-up. What the host does not look up is answered here: "localhost", and the name of the
 * machine, which an image's /etc/hosts cannot know and sudo asks for; AAAA on a host without IPv6,
 * and every other type, with no records, so that nobody waits.
 *
 *   WAITING --its turn--> ASKED --result--> answered, gone
 *      \--EGRESS_DNS_LOOKUP_MS--\--EGRESS_DNS_LOOKUP_MS--> SERVFAIL, gone
 *
 * A lost control channel sets ASKED look-ups back to WAITING and empties the cache: the next host
 * must hear a name before it lets a connection through that is allowed by that name.
 * Ownership: the resolver owns look-ups; those who ask own themselves.
 * Limits:    EGRESS_DNS_CLIENTS_MAX, EGRESS_DNS_ASKED_MAX, the cache's.
 * Trust:     queries are hostile; the worst that they do is to fill the table for others of their
 * sandbox.
 */
#include "envd/egress/egress_dns.h"

#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum lookup_state { LOOKUP_WAITING, LOOKUP_ASKED, LOOKUP_STATES };

/* @id: never one that is in hand. */
struct egress_dns_lookup {
    struct adit_list node;
    struct egress_dns *dns; /* borrowed */
    enum lookup_state state;
    uint32_t id;
    uint16_t type;
    struct adit_list clients;
    struct net_deadline deadline;
    char name[EGRESS_DNS_NAME_MAX];
};

struct egress_dns {
    struct net_loop *loop;          /* borrowed */
    struct egress_control *control; /* borrowed */
    struct egress_dns_cache cache;
    struct adit_list lookups[LOOKUP_STATES];
    size_t client_cnt, asked_cnt;
    uint32_t next_id;
    bool has_ipv6;
};

static uint64_t now_ms(const struct egress_dns *d)
{
    return uv_now(d->loop->uv);
}

/* ---- answering ---- */

static size_t longest(const struct egress_dns_client *c)
{
    if (c->is_stream)
        return EGRESS_DNS_MESSAGE_MAX;
    return c->query.udp_size < EGRESS_DNS_UDP_MAX ? c->query.udp_size : EGRESS_DNS_UDP_MAX;
}

static void answer(struct egress_dns_client *c, enum egress_dns_rcode rcode,
                   const Control__LookupResult *result, uint32_t age_s)
{
    struct adit_buf message;
    if (c->on_result) {
        c->on_result(c, rcode, result);
        return;
    }
    adit_buf_init(&message, EGRESS_DNS_MESSAGE_MAX);
    bool is_written =
        egress_dns_write(&message, &c->query, rcode, result, age_s, longest(c)) == ADIT_OK;
    c->on_answer(c, is_written ? adit_buf_view(&message) : adit_view_mem(NULL, 0));
    adit_buf_fini(&message);
}

static void localhost_answer(struct egress_dns_client *c)
{
    static uint8_t ipv4[] = {127, 0, 0, 1}, ipv6[16] = {[15] = 1};
    Control__Answer a, *answers[] = {&a};
    Control__LookupResult result = CONTROL__LOOKUP_RESULT__INIT;
    bool is_ipv4 = c->query.type == CONTROL_TYPE_A;
    control__answer__init(&a);
    a.name = c->query.name;
    a.type = c->query.type;
    a.ttl = EGRESS_DNS_LOCALHOST_TTL;
    a.data = is_ipv4 ? (ProtobufCBinaryData){sizeof ipv4, ipv4}
                     : (ProtobufCBinaryData){sizeof ipv6, ipv6};
    result.answers = answers;
    result.n_answers = 1;
    answer(c, EGRESS_DNS_NOERROR, &result, 0);
}

static bool is_localhost(const char *name)
{
    static const char localhost[] = "localhost";
    size_t len = strlen(name), tail = sizeof localhost - 1;
    return len >= tail && strcmp(name + len - tail, localhost) == 0 &&
           (len == tail || name[len - tail - 1] == '.');
}

static bool is_own(const char *name)
{
    char own[EGRESS_DNS_NAME_MAX] = "";
    return gethostname(own, sizeof own - 1) == 0 && strcasecmp(own, name) == 0;
}

/* Answer what needs no look-up. Return: false when it does. */
static bool answer_here(struct egress_dns *d, struct egress_dns_client *c)
{
    const struct egress_dns_query *q = &c->query;
    bool is_address = q->type == CONTROL_TYPE_A || q->type == CONTROL_TYPE_AAAA;
    if (q->class != EGRESS_DNS_CLASS_IN)
        answer(c, EGRESS_DNS_REFUSED, NULL, 0);
    else if (!q->is_nameable)
        answer(c, EGRESS_DNS_NXDOMAIN, NULL, 0);
    else if (!is_address || !q->name[0])
        answer(c, EGRESS_DNS_NOERROR, NULL, 0);
    else if (is_localhost(q->name) || is_own(q->name))
        localhost_answer(c);
    else if (q->type == CONTROL_TYPE_AAAA && !d->has_ipv6)
        answer(c, EGRESS_DNS_NOERROR, NULL, 0);
    else
        return false;
    return true;
}

static bool answer_from_cache(struct egress_dns *d, struct egress_dns_client *c)
{
    uint32_t age_s = 0;
    Control__LookupResult *known =
        egress_dns_cache_get(&d->cache, c->query.name, c->query.type, now_ms(d), &age_s);
    if (!known)
        return false;
    answer(c, (enum egress_dns_rcode)known->rcode, known, age_s);
    control__lookup_result__free_unpacked(known, NULL);
    return true;
}

/* ---- looking up ---- */

static struct egress_dns_client *client_of(struct adit_list *node)
{
    return ADIT_CONTAINER_OF(node, struct egress_dns_client, node);
}

static struct egress_dns_lookup *lookup_of(struct adit_list *node)
{
    return ADIT_CONTAINER_OF(node, struct egress_dns_lookup, node);
}

static void set_state(struct egress_dns_lookup *l, enum lookup_state state)
{
    struct egress_dns *d = l->dns;
    d->asked_cnt -= l->state == LOOKUP_ASKED;
    d->asked_cnt += state == LOOKUP_ASKED;
    l->state = state;
    adit_list_remove(&l->node);
    adit_list_push(&d->lookups[state], &l->node);
}

static void ask_next(struct egress_dns *d)
{
    struct adit_list *first;
    while (egress_control_is_open(d->control) && d->asked_cnt < EGRESS_DNS_ASKED_MAX &&
           (first = adit_list_first(&d->lookups[LOOKUP_WAITING]))) {
        struct egress_dns_lookup *l = lookup_of(first);
        set_state(l, LOOKUP_ASKED);
        egress_control_lookup(d->control, l->id, l->name, l->type);
    }
}

void egress_dns_forget(struct egress_dns_client *c)
{
    if (adit_list_empty(&c->node))
        return;
    adit_list_remove(&c->node);
    c->dns->client_cnt--;
}

/* Answer all who wait for it, and free it. */
static void finish(struct egress_dns_lookup *l, enum egress_dns_rcode rcode,
                   const Control__LookupResult *result)
{
    struct egress_dns *d = l->dns;
    struct adit_list *it;
    net_deadline_cancel(&l->deadline);
    d->asked_cnt -= l->state == LOOKUP_ASKED;
    adit_list_remove(&l->node);
    while ((it = adit_list_first(&l->clients))) {
        egress_dns_forget(client_of(it));
        answer(client_of(it), rcode, result, 0);
    }
    free(l);
    ask_next(d);
}

static void on_deadline(struct net_deadline *due)
{
    finish(ADIT_CONTAINER_OF(due, struct egress_dns_lookup, deadline), EGRESS_DNS_SERVFAIL, NULL);
}

static struct egress_dns_lookup *find(struct egress_dns *d, const char *name, uint16_t type)
{
    struct adit_list *it, *tmp;
    for (int state = 0; state < LOOKUP_STATES; state++) {
        ADIT_LIST_EACH(it, tmp, &d->lookups[state])
        {
            if (lookup_of(it)->type == type && strcmp(lookup_of(it)->name, name) == 0)
                return lookup_of(it);
        }
    }
    return NULL;
}

static struct egress_dns_lookup *begin(struct egress_dns *d, const char *name, uint16_t type)
{
    struct egress_dns_lookup *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->dns = d;
    l->id = d->next_id++;
    l->type = type;
    (void)snprintf(l->name, sizeof l->name, "%s", name); /* as long as the query's */
    adit_list_init(&l->clients);
    adit_list_init(&l->node);
    set_state(l, LOOKUP_WAITING);
    net_deadline_init(&l->deadline, d->loop, on_deadline);
    net_deadline_arm(&l->deadline, EGRESS_DNS_LOOKUP_MS);
    return l;
}

static void look_up(struct egress_dns *d, struct egress_dns_client *c)
{
    struct egress_dns_lookup *l = NULL;
    if (d->client_cnt < EGRESS_DNS_CLIENTS_MAX)
        l = find(d, c->query.name, c->query.type);
    if (!l && d->client_cnt < EGRESS_DNS_CLIENTS_MAX)
        l = begin(d, c->query.name, c->query.type);
    if (!l) {
        answer(c, EGRESS_DNS_SERVFAIL, NULL, 0);
        return;
    }
    adit_list_push(&l->clients, &c->node);
    d->client_cnt++;
    ask_next(d);
}

static void find_answer(struct egress_dns *d, struct egress_dns_client *c)
{
    if (!answer_here(d, c) && !answer_from_cache(d, c))
        look_up(d, c);
}

void egress_dns_ask(struct egress_dns *d, struct egress_dns_client *c, bool is_stream,
                    struct adit_view message,
                    void (*on_answer)(struct egress_dns_client *c, struct adit_view message))
{
    int rcode = egress_dns_read(message, &c->query);
    adit_list_init(&c->node);
    c->dns = d;
    c->is_stream = is_stream;
    c->on_answer = on_answer;
    c->on_result = NULL;
    if (rcode < 0)
        on_answer(c, adit_view_mem(NULL, 0));
    else if (rcode != EGRESS_DNS_NOERROR)
        answer(c, (enum egress_dns_rcode)rcode, NULL, 0);
    else
        find_answer(d, c);
}

void egress_dns_resolve(struct egress_dns *d, struct egress_dns_client *c, struct adit_view name,
                        uint16_t type,
                        void (*on_result)(struct egress_dns_client *c, enum egress_dns_rcode rcode,
                                          const Control__LookupResult *result))
{
    *c = (struct egress_dns_client){
        .dns = d,
        .query = {.class = EGRESS_DNS_CLASS_IN, .type = type, .is_nameable = true},
        .on_result = on_result};
    adit_list_init(&c->node);
    adit_view_lower(name, c->query.name); /* with NUL behind it: a name is shorter */
    find_answer(d, c);
}

/* ---- from the control channel ---- */

void egress_dns_open(struct egress_dns *d, bool has_ipv6)
{
    d->has_ipv6 = has_ipv6;
    ask_next(d);
}

void egress_dns_lost(struct egress_dns *d)
{
    struct adit_list *it;
    egress_dns_cache_clear(&d->cache);
    while ((it = adit_list_first(&d->lookups[LOOKUP_ASKED])))
        set_state(lookup_of(it), LOOKUP_WAITING);
}

void egress_dns_result(struct egress_dns *d, const Control__LookupResult *result)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &d->lookups[LOOKUP_ASKED])
    {
        struct egress_dns_lookup *l = lookup_of(it);
        if (l->id != result->id)
            continue;
        egress_dns_cache_put(&d->cache, l->name, l->type, result, now_ms(d));
        finish(l, (enum egress_dns_rcode)result->rcode, result);
        return;
    }
}

/* ---- the resolver ---- */

int egress_dns_new(struct net_loop *l, struct egress_control *control, struct egress_dns **out,
                   struct adit_err *err)
{
    struct egress_dns *d = calloc(1, sizeof *d);
    if (!d)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "resolver");
    d->loop = l;
    d->control = control;
    egress_dns_cache_init(&d->cache);
    for (int state = 0; state < LOOKUP_STATES; state++)
        adit_list_init(&d->lookups[state]);
    *out = d;
    return ADIT_OK;
}

void egress_dns_free(struct egress_dns *d)
{
    struct adit_list *it, *client;
    for (int state = 0; state < LOOKUP_STATES; state++) {
        while ((it = adit_list_first(&d->lookups[state]))) {
            while ((client = adit_list_first(&lookup_of(it)->clients)))
                egress_dns_forget(client_of(client));
            net_deadline_cancel(&lookup_of(it)->deadline);
            adit_list_remove(it);
            free(lookup_of(it));
        }
    }
    egress_dns_cache_clear(&d->cache);
    adit_map_fini(&d->cache.entries);
    free(d);
}
