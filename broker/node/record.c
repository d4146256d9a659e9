/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandbox records as JSON.
 *
 * Theory of operation
 *
 * What: one flat object per sandbox, read whole by the next broker. A member that this version does
 * not know is skipped, one that is missing or out of range refuses the record: a sandbox is never
 * adopted on half of what was known about it.
 * Trust: the file is ours, but the disk may have torn it; nothing in it is used unchecked.
 * Limits: RECORD_CAP bytes; metadata as at the door.
 */
#include "broker/node/record.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/egress/egress_authority.h"

#define RECORD_VERSION 1

static const char *const state_names[] = {"creating", "running", "killed", "failed", "warm"};
static const char *const internet_names[] = {"unsaid", "allowed", "denied"};

#define NAME_CNT(names) (sizeof(names) / sizeof((names)[0]))
_Static_assert(NAME_CNT(state_names) == SANDBOX_WARM + 1, "a name for every state");
_Static_assert(NAME_CNT(internet_names) == RECORD_INTERNET_DENIED + 1, "a name for every value");

const char *record_state_name(enum sandbox_state state)
{
    return state_names[state];
}

uint32_t record_generation(const struct record *r)
{
    return r->token_generation - r->is_rotating;
}

int record_init(struct record *r)
{
    memset(r, 0, sizeof(*r));
    r->metadata = json_object();
    return r->metadata ? 0 : ADIT_ERR_NO_MEMORY;
}

void record_fini(struct record *r)
{
    json_decref(r->metadata);
    json_decref(r->network);
    free(r->authority);
    r->metadata = r->network = NULL;
    r->authority = NULL;
}

static json_t *encode_instance(const struct vmm_instance *v)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:i, s:s, s:I, s:I, s:i}", "driver", v->driver, "pid",
                     (json_int_t)v->pid, "pidStart", (json_int_t)v->pid_start, "slot",
                     (json_int_t)v->slot, "targetKind", (int)v->target.kind, "targetPath",
                     v->target.path, "targetCid", (json_int_t)v->target.cid, "targetPort",
                     (json_int_t)v->target.port, "targetTcpPort", (int)v->target.tcp_port);
}

static json_t *encode_session(const struct record_session *s)
{
    return json_pack("{s:s, s:s, s:I}", "id", s->id, "type", s->type, "activeNs",
                     (json_int_t)s->active_ns);
}

int record_encode(const struct record *r, struct adit_buf *out)
{
    json_t *doc = json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:s, s:s, s:O, "
        "s:O*, s:s*, s:s, s:I, s:b, s:o, s:{s:s, s:I, s:I}}",
        "version", RECORD_VERSION, "sandboxID", r->sandbox_id, "teamID", r->team_id, "templateID",
        r->template_id, "alias", r->alias, "state", state_names[r->state], "reason", r->reason,
        "startedNs", (json_int_t)r->started_ns, "endNs", (json_int_t)r->end_ns, "cpuCount",
        (json_int_t)r->cpu_count, "memoryMB", (json_int_t)r->memory_mb, "diskMB",
        (json_int_t)r->disk_mb, "secure", (int)r->secure, "private", (int)r->is_private, "internet",
        internet_names[r->internet], "maskHost", r->mask_host, "metadata", r->metadata, "network",
        r->network, "authority", r->authority, "keyID", r->key_id, "tokenGeneration",
        (json_int_t)r->token_generation, "rotating", (int)r->is_rotating, "instance",
        encode_instance(&r->instance), "clock", "bootID", r->boot_id, "startedNs",
        (json_int_t)r->started_mono_ns, "endNs", (json_int_t)r->end_mono_ns);
    if (!doc)
        return ADIT_ERR_NO_MEMORY;
    int rc = 0;
    if (r->session.id[0] && json_object_set_new(doc, "session", encode_session(&r->session)))
        rc = ADIT_ERR_NO_MEMORY;
    if (r->warm_build_id[0] &&
        json_object_set_new(doc, "warmBuildID", json_string(r->warm_build_id)))
        rc = ADIT_ERR_NO_MEMORY;
    if (rc == 0)
        rc = jtext_append(out, doc);
    json_decref(doc);
    return rc;
}

/* A required string that fits @cap with its NUL. */
static int take_text(const json_t *doc, const char *key, char *out, size_t cap,
                     struct adit_err *err)
{
    const char *text = NULL;
    int rc = jtext_string(doc, key, &text, err);
    if (rc)
        return rc;
    if (!text || strlen(text) >= cap)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "record: %s is missing or too long", key);
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

/* One that older records do not have. */
static int take_new_text(const json_t *doc, const char *key, char *out, size_t cap,
                         struct adit_err *err)
{
    return json_object_get(doc, key) ? take_text(doc, key, out, cap, err) : 0;
}

static int take_int(const json_t *doc, const char *key, int64_t max, int64_t *out,
                    struct adit_err *err)
{
    bool has = false;
    int rc = jtext_int(doc, key, 0, max, out, &has, err);
    if (rc == 0 && !has)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "record: %s is missing", key);
    return rc;
}

static int take_name(const json_t *doc, const char *key, const char *const *names, size_t cnt,
                     unsigned *out, struct adit_err *err)
{
    char text[32];
    int rc = take_text(doc, key, text, sizeof(text), err);
    for (unsigned i = 0; rc == 0 && i < cnt; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return 0;
        }
    }
    return rc ? rc : adit_err_set(err, ADIT_ERR_BAD_INPUT, "record: unknown %s", key);
}

static int decode_names(const json_t *doc, struct record *r, struct adit_err *err)
{
    unsigned state = 0, internet = 0;
    int rc;
    if ((rc = take_text(doc, "sandboxID", r->sandbox_id, sizeof(r->sandbox_id), err)) ||
        (rc = take_text(doc, "teamID", r->team_id, sizeof(r->team_id), err)) ||
        (rc = take_new_text(doc, "keyID", r->key_id, sizeof(r->key_id), err)) ||
        (rc = take_text(doc, "templateID", r->template_id, sizeof(r->template_id), err)) ||
        (rc = take_text(doc, "alias", r->alias, sizeof(r->alias), err)) ||
        (rc = take_new_text(doc, "warmBuildID", r->warm_build_id, sizeof(r->warm_build_id), err)) ||
        (rc = take_text(doc, "reason", r->reason, sizeof(r->reason), err)) ||
        (rc = take_text(doc, "maskHost", r->mask_host, sizeof(r->mask_host), err)) ||
        (rc = take_name(doc, "state", state_names, NAME_CNT(state_names), &state, err)) ||
        (rc = take_name(doc, "internet", internet_names, NAME_CNT(internet_names), &internet, err)))
        return rc;
    if (!sandbox_id_is_valid(adit_view_str(r->sandbox_id)))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "record: sandboxID is no sandbox id");
    r->state = (enum sandbox_state)state;
    r->internet = (enum record_internet)internet;
    return 0;
}

static int decode_numbers(const json_t *doc, struct record *r, struct adit_err *err)
{
    int64_t cpu = 0, memory = 0, disk = 0, generation = 0;
    int rc;
    if ((rc = take_int(doc, "startedNs", INT64_MAX, &r->started_ns, err)) ||
        (rc = take_int(doc, "endNs", INT64_MAX, &r->end_ns, err)) ||
        (rc = take_int(doc, "cpuCount", 4096, &cpu, err)) ||
        (rc = take_int(doc, "memoryMB", INT64_MAX >> 20, &memory, err)) ||
        (rc = take_int(doc, "diskMB", INT64_MAX >> 20, &disk, err)) ||
        (rc = jtext_bool(doc, "secure", &r->secure, err)) ||
        (rc = jtext_bool(doc, "private", &r->is_private, err)) ||
        (rc = jtext_bool(doc, "rotating", &r->is_rotating, err)) ||
        (rc = jtext_int(doc, "tokenGeneration", 0, UINT32_MAX, &generation, NULL, err)))
        return rc;
    if (r->is_rotating && generation == 0)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "record: no token was rotated");
    r->token_generation = (uint32_t)generation;
    r->cpu_count = (uint32_t)cpu;
    r->memory_mb = (uint64_t)memory;
    r->disk_mb = (uint64_t)disk;
    return 0;
}

static int decode_documents(const json_t *doc, struct record *r, struct adit_err *err)
{
    json_t *metadata = NULL, *network = NULL;
    int rc;
    if ((rc = jtext_string_map(doc, "metadata", RECORD_METADATA_MAX, RECORD_METADATA_CAP, &metadata,
                               err)) ||
        (rc = jtext_child(doc, "network", JSON_OBJECT, &network, err)))
        return rc;
    if (!metadata)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "record: metadata is missing");
    json_decref(r->metadata);
    r->metadata = json_incref(metadata);
    r->network = json_incref(network);
    return 0;
}

/* Most sandboxes have none. */
static int decode_authority(const json_t *doc, struct record *r, struct adit_err *err)
{
    const char *text = NULL;
    int rc = jtext_string(doc, "authority", &text, err);
    if (rc || !text)
        return rc;
    if (strlen(text) >= EGRESS_AUTHORITY_CAP)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "record: authority is too long");
    r->authority = strdup(text);
    return r->authority ? 0 : adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a record");
}

static int decode_instance(const json_t *doc, struct vmm_instance *v, struct adit_err *err)
{
    json_t *in = NULL;
    int64_t pid = 0, pid_start = 0, slot = 0, kind = 0, cid = 0, port = 0, tcp_port = 0;
    int rc;
    if ((rc = jtext_child(doc, "instance", JSON_OBJECT, &in, err)))
        return rc;
    if ((rc = take_text(in, "driver", v->driver, sizeof(v->driver), err)) ||
        (rc = take_int(in, "pid", INT32_MAX, &pid, err)) ||
        (rc = take_int(in, "pidStart", INT64_MAX, &pid_start, err)) ||
        (rc = take_int(in, "slot", UINT32_MAX, &slot, err)) ||
        (rc = take_int(in, "targetKind", HTTP_TARGET_TCP, &kind, err)) ||
        (rc = take_text(in, "targetPath", v->target.path, sizeof(v->target.path), err)) ||
        (rc = take_int(in, "targetCid", UINT32_MAX, &cid, err)) ||
        (rc = take_int(in, "targetPort", UINT32_MAX, &port, err)) ||
        (rc = take_int(in, "targetTcpPort", UINT16_MAX, &tcp_port, err)))
        return rc;
    v->pid = (pid_t)pid;
    v->pid_start = (uint64_t)pid_start;
    v->slot = (uint32_t)slot;
    v->target.kind = (enum http_target_kind)kind;
    v->target.cid = (uint32_t)cid;
    v->target.port = (uint32_t)port;
    v->target.tcp_port = (uint16_t)tcp_port;
    return 0;
}

/* A record of an older broker has none. */
static int decode_clock(const json_t *doc, struct record *r, struct adit_err *err)
{
    json_t *in = NULL;
    int rc = jtext_child(doc, "clock", JSON_OBJECT, &in, err);
    if (rc || !in)
        return rc;
    if ((rc = take_text(in, "bootID", r->boot_id, sizeof(r->boot_id), err)) ||
        (rc = take_int(in, "startedNs", INT64_MAX, &r->started_mono_ns, err)))
        return rc;
    return take_int(in, "endNs", INT64_MAX, &r->end_mono_ns, err);
}

/* Most sandboxes are no session's. */
static int decode_session(const json_t *doc, struct record_session *s, struct adit_err *err)
{
    json_t *in = NULL;
    int rc = jtext_child(doc, "session", JSON_OBJECT, &in, err);
    if (rc || !in)
        return rc;
    if ((rc = take_text(in, "id", s->id, sizeof(s->id), err)) ||
        (rc = take_text(in, "type", s->type, sizeof(s->type), err)))
        return rc;
    return take_int(in, "activeNs", INT64_MAX, &s->active_ns, err);
}

static int decode_all(const json_t *doc, struct record *r, struct adit_err *err)
{
    int64_t version = 0;
    int rc = take_int(doc, "version", INT32_MAX, &version, err);
    if (rc == 0 && version != RECORD_VERSION)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "record: version %lld is unknown",
                            (long long)version);
    if (rc || (rc = decode_names(doc, r, err)) || (rc = decode_numbers(doc, r, err)) ||
        (rc = decode_documents(doc, r, err)) || (rc = decode_authority(doc, r, err)))
        return rc;
    rc = decode_clock(doc, r, err);
    if (rc == 0)
        rc = decode_session(doc, &r->session, err);
    return rc ? rc : decode_instance(doc, &r->instance, err);
}

int record_decode(struct adit_view text, struct record *out, struct adit_err *err)
{
    json_t *doc = NULL;
    int rc = jtext_parse(text, &doc, err);
    if (rc)
        return rc;
    rc = record_init(out);
    if (rc == 0)
        rc = decode_all(doc, out, err);
    if (rc)
        record_fini(out);
    json_decref(doc);
    return rc;
}
