/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks of launcher messages.
 *
 * Theory of operation
 *
 * What:  bytes of a datagram in, a checked struct out; no I/O, no allocation.
 * Trust: a request comes from the broker, which may have been taken over: every field is checked
 *        here for form, and the launcher checks against the file system and its own configuration
 *        what a form cannot say. A reply comes from the launcher and is checked only so far that
 * the client stays in its bounds.
 */
#include "broker/launcher/launch_msg.h"

static bool is_terminated(const char *text, size_t cap)
{
    return memchr(text, '\0', cap) != NULL;
}

bool launch_msg_is_id(struct adit_view v)
{
    if (v.len == 0 || v.len >= LAUNCH_ID_CAP)
        return false;
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            return false;
    }
    return true;
}

bool launch_msg_is_clean_path(struct adit_view v)
{
    struct adit_view component, rest;

    if (v.len < 2 || v.ptr[0] != '/')
        return false;
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.ptr[i];
        if (c < 0x20 || c == 0x7f)
            return false;
    }
    rest = adit_view_mem(v.ptr + 1, v.len - 1);
    for (bool more = true; more;) {
        more = adit_view_split(rest, '/', &component, &rest);
        if (component.len == 0 || adit_view_eq_str(component, ".") ||
            adit_view_eq_str(component, ".."))
            return false;
    }
    return true;
}

static int check_place(const struct launch_request *r, struct adit_err *err)
{
    if (r->slot >= LAUNCH_SLOTS)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "slot %u is out of range", r->slot);
    if (r->accel > (r->driver == LAUNCH_DRIVER_CONTAINER ? 0 : LAUNCH_ACCEL_KVM))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "unknown accelerator %u", r->accel);
    return 0;
}

static int check_limits(const struct launch_request *r, struct adit_err *err)
{
    if (r->cpu_count < 1 || r->cpu_count > LAUNCH_CPU_MAX)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "CPU count %u is out of range", r->cpu_count);
    if (r->memory_mb < LAUNCH_MEMORY_MB_MIN || r->memory_mb > LAUNCH_MEMORY_MB_MAX)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "memory of %llu MiB is out of range",
                            (unsigned long long)r->memory_mb);
    if (r->disk_mb > LAUNCH_DISK_MB_MAX)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "disk of %llu MiB is out of range",
                            (unsigned long long)r->disk_mb);
    if (r->pids_max < 1 || r->pids_max > LAUNCH_PIDS_MAX)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "limit of %u processes is out of range",
                            r->pids_max);
    return 0;
}

static int check_request(const struct launch_request *r, struct adit_err *err)
{
    if (!is_terminated(r->sandbox_id, sizeof(r->sandbox_id)) ||
        !is_terminated(r->sandbox_dir, sizeof(r->sandbox_dir)) ||
        !is_terminated(r->template_dir, sizeof(r->template_dir)))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "text without end");
    if (r->kind == LAUNCH_PING)
        return 0;
    if (!launch_msg_is_id(adit_view_str(r->sandbox_id)))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "malformed sandbox id");
    if (r->driver > LAUNCH_DRIVER_CLOUD_HYPERVISOR)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "unknown driver %u", r->driver);
    if (r->kind == LAUNCH_EXPLAIN || r->kind == LAUNCH_ADOPT)
        return r->pid > 1 ? 0 : adit_err_set(err, ADIT_ERR_BAD_INPUT, "malformed process id");
    if (r->kind == LAUNCH_MEASURE)
        return 0;
    if (r->kind == LAUNCH_PROBE)
        return r->driver == LAUNCH_DRIVER_QEMU
                   ? check_place(r, err)
                   : adit_err_set(err, ADIT_ERR_BAD_INPUT, "driver %u has no probe", r->driver);
    if (!launch_msg_is_clean_path(adit_view_str(r->sandbox_dir)))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "malformed sandbox directory");
    if (r->kind == LAUNCH_DESTROY)
        return 0;
    if (!launch_msg_is_clean_path(adit_view_str(r->template_dir)))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "malformed template directory");
    int rc = check_place(r, err);
    return rc ? rc : check_limits(r, err);
}

int launch_msg_parse_request(struct adit_view datagram, struct launch_request *out,
                             struct adit_err *err)
{
    memset(out, 0, sizeof(*out));
    if (datagram.len != sizeof(*out))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "request of %zu bytes", datagram.len);
    memcpy(out, datagram.ptr, sizeof(*out));
    if (out->magic != LAUNCH_MAGIC || out->id == 0) {
        out->id = 0;
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "not a request");
    }
    if (out->kind < LAUNCH_PING || out->kind > LAUNCH_PROBE)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "unknown request %u", out->kind);
    return check_request(out, err);
}

int launch_msg_parse_reply(struct adit_view datagram, struct launch_reply *out,
                           struct adit_err *err)
{
    if (datagram.len != sizeof(*out))
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "reply of %zu bytes", datagram.len);
    memcpy(out, datagram.ptr, sizeof(*out));
    if (out->magic != LAUNCH_MAGIC || !is_terminated(out->text, sizeof(out->text)))
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "malformed reply");
    return 0;
}
