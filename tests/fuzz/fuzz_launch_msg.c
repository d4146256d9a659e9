/* SPDX-License-Identifier: Apache-2.0 */
/* Launcher messages. Oracles: what is taken is within all bounds and is taken again unchanged. */
#include <stdlib.h>

#include "broker/launcher/launch_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_true)
{
    if (!is_true)
        abort();
}

static void check(const struct launch_request *r)
{
    struct launch_request again;
    must(r->id != 0 && r->magic == LAUNCH_MAGIC);
    if (r->kind != LAUNCH_PING)
        must(launch_msg_is_id(adit_view_str(r->sandbox_id)));
    if (r->kind == LAUNCH_CREATE || r->kind == LAUNCH_DESTROY)
        must(r->sandbox_dir[0] == '/' && !strstr(r->sandbox_dir, "/../") &&
             !strstr(r->sandbox_dir, "//"));
    if (r->kind == LAUNCH_CREATE)
        must(r->slot < LAUNCH_SLOTS && r->cpu_count && r->pids_max &&
             r->memory_mb <= LAUNCH_MEMORY_MB_MAX && r->template_dir[0] == '/' &&
             r->disk_mb <= LAUNCH_DISK_MB_MAX);
    if (r->kind != LAUNCH_PING)
        must(r->driver <= LAUNCH_DRIVER_CLOUD_HYPERVISOR);
    if (r->kind == LAUNCH_CREATE || r->kind == LAUNCH_PROBE)
        must(r->accel <= LAUNCH_ACCEL_KVM);
    must(launch_msg_parse_request(adit_view_mem(r, sizeof(*r)), &again, NULL) == 0);
    must(memcmp(r, &again, sizeof(again)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct adit_view datagram = adit_view_mem(data, size);
    struct launch_request request;
    struct launch_reply reply;
    struct adit_err err = ADIT_ERR_INIT;

    if (launch_msg_parse_request(datagram, &request, &err) == 0)
        check(&request);
    else
        must(err.code == ADIT_ERR_BAD_INPUT && err.msg[0]);
    if (launch_msg_parse_reply(datagram, &reply, NULL) == 0)
        must(strlen(reply.text) < sizeof(reply.text));
    return 0;
}
