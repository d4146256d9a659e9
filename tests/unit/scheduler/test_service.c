/* SPDX-License-Identifier: Apache-2.0 */
/* The whole scheduler over a Unix socket: what brokers ask, what they are told, what survives. */
#include "tests/unit/suite.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/sha256.h"
#include "rpc/pbjson.h"
#include "rpc/rpc_client.h"
#include "rpc/status.h"
#include "scheduler/message.h"
#include "scheduler/scheduler.h"
#include "secret.h"

#define ANSWER_CAP (1024 * 1024)

static char dir[64], socket_address[80], data_dir[128], level[] = "info";
static struct scheduler_conf conf;
static char metrics_none[] = "";
static uv_loop_t uv;
static struct net_loop client_net;
static struct http_pool *pool;
static struct scheduler *scheduler;
static struct adit_buf answer;
static uint64_t clock_offset_ns;

static uint64_t shifted_mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec + clock_offset_ns;
}

static void start(void)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct http_pool_conf pool_conf = {
        .target = {.kind = HTTP_TARGET_UNIX},
        .dial_ms = 2000,
        .idle_ms = 60000,
        .idle_max = 64,
    };
    snprintf(pool_conf.target.path, sizeof(pool_conf.target.path), "%s", socket_address + 5);
    ck_assert_int_eq(uv_loop_init(&uv), 0);
    ck_assert_int_eq(net_loop_init(&client_net, &uv, NULL), 0);
    ck_assert_msg(scheduler_new(&uv, &conf, &scheduler, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(http_pool_new(&client_net, &pool_conf, &pool, NULL), 0);
}

static void stop(void)
{
    http_pool_close(pool);
    net_loop_close(&client_net);
    scheduler_stop(scheduler);
    uv_run(&uv, UV_RUN_DEFAULT);
    ck_assert_int_eq(scheduler->state, SCHEDULER_ENDED);
    ck_assert_int_ne(access(socket_address + 5, F_OK), 0);
    ck_assert_int_eq(uv_loop_close(&uv), 0);
    scheduler_free(scheduler);
}

static void set_up(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* as every program does; cannot fail */
    snprintf(dir, sizeof(dir), "/tmp/adit-scheduler-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(socket_address, sizeof(socket_address), "unix:%s/s.sock", dir);
    snprintf(data_dir, sizeof(data_dir), "%s/data", dir);
    adit_log_init("scheduler", ADIT_LOG_ERROR, false);
    adit_clock_set(shifted_mono_ns, NULL);
    conf = (struct scheduler_conf){.listen = socket_address,
                                   .metrics_listen = metrics_none,
                                   .data_dir = data_dir,
                                   .log_level = level,
                                   .heartbeat_ms = 2000,
                                   .claim_ttl_ms = 30000};
    adit_buf_init(&answer, ANSWER_CAP);
    start();
}

static void tear_down(void)
{
    stop();
    adit_buf_fini(&answer);
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(adit_file_remove_tree(tmp, dir + 5, NULL), 0);
    close(tmp);
}

/* ---- asking ---- */

static unsigned waiting;

/* The answer as JSON, or "code: message". */
static void on_done(void *user, const ProtobufCMessage *m, const struct adit_err *err)
{
    int rc;
    (void)user;
    waiting--;
    adit_buf_clear(&answer);
    if (err)
        rc = adit_buf_appendf(&answer, "%s: %s", rpc_status_connect(err->code), err->msg);
    else
        rc = pbjson_encode(m, &answer);
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(adit_buf_append_char(&answer, '\0'), 0);
}

static void send_message(const char *method, const ProtobufCMessage *request)
{
    char path[128];
    const ProtobufCMethodDescriptor *m =
        protobuf_c_service_descriptor_get_method_by_name(&scheduler__scheduler__descriptor, method);
    snprintf(path, sizeof(path), "/scheduler.Scheduler/%s", method);
    ck_assert_ptr_nonnull(m);
    ck_assert_int_eq(
        rpc_client_start(pool, path, request, m->output, 5000, on_done, NULL, NULL, NULL), 0);
    waiting++;
}

static void send_json(const char *method, const char *json)
{
    ProtobufCMessage *request = NULL;
    struct adit_err err = ADIT_ERR_INIT;
    const ProtobufCMethodDescriptor *m =
        protobuf_c_service_descriptor_get_method_by_name(&scheduler__scheduler__descriptor, method);
    ck_assert_msg(pbjson_decode(m->input, adit_view_str(json), &request, &err) == 0, "%s: %s", json,
                  err.msg);
    send_message(method, request);
    message_free(request);
}

static const char *await(void)
{
    while (waiting)
        uv_run(&uv, UV_RUN_ONCE);
    return adit_buf_view(&answer).ptr;
}

static const char *ask(const char *method, const char *json)
{
    send_json(method, json);
    return await();
}

#define NODE(incarnation, more)                                                                    \
    "{\"node\":{\"nodeId\":\"n1\",\"incarnation\":\"" incarnation                                  \
    "\",\"state\":\"NODE_STATE_READY\",\"address\":\"10.0.0.1:1\",\"capacity\":{\"cpuCount\":8,"   \
    "\"memoryMb\":4096},\"sandboxMax\":4,\"isolations\":[\"container\"]}" more "}"
#define RUNNING(id)                                                                                \
    "{\"sandboxId\":\"" id "\",\"teamId\":\"team\",\"templateId\":\"base1\","                      \
    "\"resources\":{\"cpuCount\":2,\"memoryMb\":512}}"
#define TEMPLATE(id, aliases)                                                                      \
    "{\"template\":{\"templateId\":\"" id "\",\"buildId\":\"b-1\",\"aliases\":[" aliases           \
    "],\"resources\":{\"cpuCount\":2,\"memoryMb\":\"512\",\"diskMb\":\"100\"},"                    \
    "\"createdAt\":\"2026-01-01T00:00:00Z\"}}"
#define PLACE(id) "{\"sandboxId\":\"" id "\",\"teamId\":\"team\",\"templateRef\":\"base\"}"
#define CONFIRM(id) "{\"sandboxId\":\"" id "\",\"nodeId\":\"n1\"}"
#define ID(id) "{\"sandboxId\":\"" id "\"}"

static void register_all(void)
{
    ck_assert_str_eq(ask("RegisterNode", NODE("a", "")), "{\"heartbeatMs\":2000}");
    ck_assert_str_eq(ask("PutTemplate", TEMPLATE("base1", "\"base\"")), "{}");
}

static void says(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "'%s' is not in '%s'", part, text);
}

/* ---- tests ---- */

START_TEST(service_places_confirms_locates_and_releases)
{
    register_all();
    const char *placed = ask("Place", PLACE("i1"));
    says(placed, "\"nodeId\":\"n1\",\"incarnation\":\"a\",\"address\":\"10.0.0.1:1\"");
    says(placed, "\"templateId\":\"base1\"");
    ck_assert_str_eq(ask("ConfirmSandbox", CONFIRM("i1")), "{}");
    ck_assert_str_eq(ask("ConfirmSandbox", CONFIRM("i1")), "{}");
    ck_assert_str_eq(ask("LocateSandbox", ID("i1")),
                     "{\"nodeId\":\"n1\",\"address\":\"10.0.0.1:1\",\"teamId\":\"team\"}");
    says(ask("Status", "{}"), "\"sandboxCnt\":1,\"placedTotal\":\"1\"");
    ck_assert_str_eq(ask("ReleaseSandbox", ID("i1")), "{}");
    ck_assert_str_eq(ask("ReleaseSandbox", ID("i1")), "{}");
    ck_assert_str_eq(ask("LocateSandbox", ID("i1")), "not_found: sandbox 'i1' not found");
    ck_assert_str_eq(ask("ConfirmSandbox", CONFIRM("i1")), "not_found: sandbox 'i1' has no claim");
}
END_TEST

START_TEST(service_places_a_claim_again_but_no_running_sandbox)
{
    register_all();
    says(ask("Place", PLACE("i1")), "\"nodeId\":\"n1\"");
    says(ask("Place", PLACE("i1")), "\"nodeId\":\"n1\"");
    says(ask("Place", "{\"sandboxId\":\"i1\",\"teamId\":\"other\",\"templateRef\":\"base\"}"),
         "already_exists: ");
    says(ask("Place", "{\"sandboxId\":\"i1\",\"teamId\":\"team\",\"templateRef\":\"base\","
                      "\"excludedNodeIds\":[\"n1\"]}"),
         "unavailable: no node is available: of 1, 1 full (n1: refused this sandbox itself)");
    ck_assert_str_eq(ask("ConfirmSandbox", CONFIRM("i1")), "{}");
    ck_assert_str_eq(ask("Place", PLACE("i1")), "already_exists: sandbox 'i1' exists already");
    says(ask("ConfirmSandbox", "{\"sandboxId\":\"i1\",\"nodeId\":\"n2\"}"), "aborted: ");
}
END_TEST

START_TEST(service_explains_refusals_and_counts_them)
{
    ck_assert_str_eq(ask("PutTemplate", TEMPLATE("base1", "\"base\"")), "{}");
    ck_assert_str_eq(ask("Place", PLACE("i1")),
                     "unavailable: no node is available: none is registered");
    register_all();
    ck_assert_str_eq(
        ask("Place", "{\"sandboxId\":\"i1\",\"teamId\":\"t\",\"templateRef\":\"x:v1\"}"),
        "not_found: template 'x' not found");
    ck_assert_str_eq(
        ask("Place", "{\"sandboxId\":\"i1\",\"teamId\":\"t\",\"templateRef\":\"base:v1\"}"),
        "not_found: tag 'v1' does not exist for template 'base'");
    says(ask("Place", "{\"sandboxId\":\"i1\",\"teamId\":\"t\",\"templateRef\":\"a b\"}"),
         "invalid_argument: Invalid template reference: ");
    says(ask("Place", "{\"sandboxId\":\"i1\",\"teamId\":\"t\",\"templateRef\":\"base\","
                      "\"isolation\":\"vm\"}"),
         "1 incompatible (n1: no isolation 'vm')");
    ck_assert_str_eq(ask("PutTemplate", "{\"template\":{\"templateId\":\"vms\",\"buildId\":\"b\","
                                        "\"aliases\":[\"vms\"],\"resources\":{\"cpuCount\":1,"
                                        "\"memoryMb\":\"9\"},\"isolation\":\"vm\","
                                        "\"createdAt\":\"2026-01-01T00:00:00Z\"}}"),
                     "{}");
    says(ask("Place", "{\"sandboxId\":\"i1\",\"teamId\":\"t\",\"templateRef\":\"vms\"}"),
         "1 incompatible (n1: no isolation 'vm')");
    says(ask("Place", "{\"sandboxId\":\"i2\",\"teamId\":\"t\",\"templateRef\":\"vms\","
                      "\"isolation\":\"container\"}"),
         "\"nodeId\":\"n1\"");
    clock_offset_ns += UINT64_C(7000000000);
    says(ask("Place", PLACE("i1")), "1 unreachable (n1: not heard of for 7 s)");
    ck_assert_str_eq(ask("Heartbeat", NODE("a", "")), "{}");
    says(ask("Place", PLACE("i1")), "\"nodeId\":\"n1\"");
    const char *status = ask("Status", "{}");
    says(status, "\"placedTotal\":\"2\",\"refusedUnreachableTotal\":\"1\"");
    says(status, "\"refusedIncompatibleTotal\":\"2\"");
}
END_TEST

START_TEST(service_counts_claims_that_come_together)
{
    register_all();
    /* Four fit by CPUs and count; all are decided before the first is committed. */
    for (int i = 0; i < 20; i++) {
        char json[128];
        snprintf(json, sizeof(json),
                 "{\"sandboxId\":\"i%d\",\"teamId\":\"t\",\"templateRef\":\"base\"}", i);
        send_json("Place", json);
    }
    (void)await();
    const char *status = ask("Status", "{}");
    says(status, "\"sandboxCnt\":4,\"placedTotal\":\"4\",\"refusedFullTotal\":\"16\"");
    says(status, "\"allocated\":{\"cpuCount\":8,\"memoryMb\":\"2048\",\"diskMb\":\"400\"}");
}
END_TEST

START_TEST(service_drops_claims_that_nobody_confirms)
{
    register_all();
    (void)ask("Place", PLACE("i1"));
    (void)ask("Place", PLACE("i2"));
    ck_assert_str_eq(ask("ConfirmSandbox", CONFIRM("i2")), "{}");
    clock_offset_ns += UINT64_C(29000000000);
    (void)ask("Place", PLACE("i3")); /* unreachable: only time passes */
    says(ask("LocateSandbox", ID("i1")), "\"nodeId\":\"n1\"");
    clock_offset_ns += UINT64_C(2000000000);
    do { /* the sweep is due within a second */
        uv_run(&uv, UV_RUN_ONCE);
    } while (strstr(ask("LocateSandbox", ID("i1")), "nodeId"));
    says(ask("LocateSandbox", ID("i2")), "\"nodeId\":\"n1\"");
    ck_assert_str_eq(ask("ConfirmSandbox", CONFIRM("i1")), "not_found: sandbox 'i1' has no claim");
}
END_TEST

START_TEST(service_brings_records_in_line_with_a_new_incarnation)
{
    register_all();
    (void)ask("Place", PLACE("claimed"));
    (void)ask("Place", PLACE("gone"));
    (void)ask("Place", PLACE("kept"));
    (void)ask("ConfirmSandbox", CONFIRM("gone"));
    (void)ask("ConfirmSandbox", CONFIRM("kept"));
    ck_assert_str_eq(
        ask("RegisterNode", NODE("b", ",\"sandboxes\":[" RUNNING("kept") "," RUNNING("new") "]")),
        "{\"heartbeatMs\":2000}");
    says(ask("LocateSandbox", ID("kept")), "\"nodeId\":\"n1\"");
    says(ask("LocateSandbox", ID("new")), "\"teamId\":\"team\"");
    says(ask("LocateSandbox", ID("gone")), "not_found");
    says(ask("LocateSandbox", ID("claimed")), "not_found");
    ck_assert_str_eq(ask("Heartbeat", NODE("a", "")), "not_found: node 'n1' is not registered");
    ck_assert_str_eq(ask("Heartbeat", NODE("b", "")), "{}");
    says(ask("Status", "{}"), "],\"sandboxCnt\":2,");
}
END_TEST

START_TEST(service_leaves_claims_of_the_same_incarnation)
{
    register_all();
    (void)ask("Place", PLACE("claimed"));
    (void)ask("Place", PLACE("gone"));
    (void)ask("ConfirmSandbox", CONFIRM("gone"));
    ck_assert_str_eq(ask("RegisterNode", NODE("a", "")), "{\"heartbeatMs\":2000}");
    says(ask("LocateSandbox", ID("claimed")), "\"nodeId\":\"n1\"");
    says(ask("LocateSandbox", ID("gone")), "not_found");
    ck_assert_str_eq(ask("ConfirmSandbox", CONFIRM("claimed")), "{}");
}
END_TEST

#define OVER "resource_exhausted: you have reached the maximum number of concurrent E2B sandboxes"

START_TEST(service_holds_a_teams_maximum)
{
    register_all();
    says(ask("UpdateTeam", "{\"teamId\":\"team\",\"limits\":{\"sandboxMax\":2}}"),
         "\"limits\":{\"sandboxMax\":2}");
    /* Decided before the first is committed, and over a restart. */
    send_json("Place", PLACE("i1"));
    send_json("Place", PLACE("i2"));
    send_json("Place", PLACE("i3"));
    (void)await();
    says(ask("Status", "{}"), "\"sandboxCnt\":2,");
    stop();
    start();
    ck_assert_str_eq(ask("Heartbeat", NODE("a", "")), "{}");
    says(ask("Place", PLACE("i4")), OVER " (2). ");
    says(ask("Place", PLACE("i1")), "\"nodeId\":\"n1\""); /* itself is no other */
    says(ask("Place", "{\"sandboxId\":\"i5\",\"teamId\":\"other\",\"templateRef\":\"base\"}"),
         "\"nodeId\":\"n1\"");
    says(ask("Status", "{}"),
         "{\"teamId\":\"team\",\"limits\":{\"sandboxMax\":2},\"sandboxCnt\":2}");
    ck_assert_str_eq(ask("ReleaseSandbox", ID("i2")), "{}");
    says(ask("Place", PLACE("i4")), "\"nodeId\":\"n1\"");
}
END_TEST

/* A key of @team, made with @more; its id. */
static void make_key(const char *team, const char *more, char id[37])
{
    char json[256];
    snprintf(json, sizeof(json), "{\"name\":\"k\",\"teamId\":\"%s\"%s}", team, more);
    const char *at = strstr(ask("CreateKey", json), "\"keyId\":\"");
    ck_assert_ptr_nonnull(at);
    snprintf(id, 37, "%s", at + strlen("\"keyId\":\""));
}

static const char *place_with(const char *sandbox_id, const char *team, const char *key_id)
{
    char json[256];
    snprintf(json, sizeof(json),
             "{\"sandboxId\":\"%s\",\"teamId\":\"%s\",\"templateRef\":\"base\",\"keyId\":\"%s\"}",
             sandbox_id, team, key_id);
    return ask("Place", json);
}

START_TEST(service_holds_a_keys_limits)
{
    char id[37], other[37], json[256];
    register_all();
    make_key("team", ",\"limits\":{\"sandboxMax\":1,\"createRate\":1,\"createBurst\":2}", id);
    make_key("team", "", other);
    says(place_with("i1", "team", id), "\"nodeId\":\"n1\"");
    says(place_with("i2", "team", id), OVER " (1). ");
    says(place_with("i3", "team", other), "\"nodeId\":\"n1\"");
    says(place_with("i4", "blue", other), "unauthenticated: ");
    ck_assert_str_eq(ask("ReleaseSandbox", ID("i1")), "{}");
    says(place_with("i1", "team", id), "\"nodeId\":\"n1\"");
    ck_assert_str_eq(ask("ReleaseSandbox", ID("i1")), "{}");
    ck_assert_str_eq(place_with("i1", "team", id), "{\"retryAfterS\":1}");
    clock_offset_ns += UINT64_C(1100000000);
    says(place_with("i1", "team", id), "\"nodeId\":\"n1\"");
    snprintf(json, sizeof(json), "{\"keyId\":\"%s\"}", other);
    says(ask("RevokeKey", json), "\"revoked\":true");
    says(place_with("i5", "team", other), "unauthenticated: ");
}
END_TEST

START_TEST(service_changes_keys_of_the_team_that_is_named)
{
    char id[37], json[256];
    register_all();
    make_key("red", "", id);
    snprintf(json, sizeof(json), "{\"keyId\":\"%s\",\"teamId\":\"blue\",\"name\":\"x\"}", id);
    says(ask("UpdateKey", json), "not_found: ");
    says(ask("RevokeKey", json), "not_found: ");
    says(ask("ListKeys", "{\"teamId\":\"blue\"}"), "{}");
    snprintf(json, sizeof(json),
             "{\"keyId\":\"%s\",\"teamId\":\"red\",\"name\":\"x\",\"limits\":{\"timeoutMaxS\":60}}",
             id);
    says(ask("UpdateKey", json), "\"name\":\"x\"");
    says(ask("ListKeys", "{\"teamId\":\"red\"}"), "\"limits\":{\"timeoutMaxS\":60}");
}
END_TEST

START_TEST(service_keeps_a_key_revoked_that_is_renamed_meanwhile)
{
    char id[37], json[128];
    make_key("red", "", id);
    snprintf(json, sizeof(json), "{\"keyId\":\"%s\"}", id);
    send_json("RevokeKey", json);
    snprintf(json, sizeof(json), "{\"keyId\":\"%s\",\"name\":\"x\"}", id);
    send_json("UpdateKey", json);
    await();
    ck_assert(keys_get(&scheduler->keys, id)->key->revoked);
    stop();
    start();
    ck_assert(keys_get(&scheduler->keys, id)->key->revoked);
    says(ask("UpdateKey", json), "\"name\":\"x\""); /* nothing is under way */
}
END_TEST

static int write_nothing(struct store *s, const struct store_change *changes, size_t cnt,
                         store_done_fn done, void *user, struct adit_err *err)
{
    (void)s;
    (void)changes;
    (void)cnt;
    (void)done;
    (void)user;
    return adit_err_set(err, ADIT_ERR_LIMIT, "too many writes are waiting for the disk");
}

/* A client would be told that it is over its own limit. */
START_TEST(service_is_unavailable_while_the_disk_is_behind)
{
    static const struct store_ops ops = {.write = write_nothing};
    struct store behind = {.ops = &ops}, *real = scheduler->store;
    register_all();
    scheduler->store = &behind;
    ck_assert_str_eq(ask("Place", PLACE("i1")),
                     "unavailable: too many writes are waiting for the disk");
    scheduler->store = real;
    says(ask("Place", PLACE("i1")), "\"nodeId\":\"n1\""); /* what was reserved is free again */
}
END_TEST

static void make_keys_up_to_the_maximum(void)
{
    while (keys_cnt(&scheduler->keys) < KEYS_MAX) {
        while (waiting < 32 && keys_cnt(&scheduler->keys) + waiting < KEYS_MAX)
            send_json("CreateKey", "{\"name\":\"k\",\"teamId\":\"team\"}");
        await();
    }
}

START_TEST(service_drops_old_revoked_keys_for_new_ones)
{
    char id[37], last[37], json[128];
    register_all();
    make_key("team", "", id);
    make_keys_up_to_the_maximum();
    says(ask("CreateKey", "{\"name\":\"one\"}"), "resource_exhausted: there are 4096 keys already");
    snprintf(json, sizeof(json), "{\"keyId\":\"%s\"}", id);
    says(ask("RevokeKey", json), "\"revoked\":true");
    make_key("team", "", last);
    ck_assert_uint_eq(keys_cnt(&scheduler->keys), KEYS_MAX);
    ck_assert_ptr_null(keys_get(&scheduler->keys, id));
    stop();
    start();
    ck_assert_uint_eq(keys_cnt(&scheduler->keys), KEYS_MAX);
    ck_assert_ptr_nonnull(keys_get(&scheduler->keys, last));
}
END_TEST

START_TEST(service_gives_a_revoked_keys_place_to_one_of_two_that_come_together)
{
    char first[37], second[37], json[128];
    make_key("team", "", first);
    make_key("team", "", second);
    make_keys_up_to_the_maximum();
    snprintf(json, sizeof(json), "{\"keyId\":\"%s\"}", first);
    says(ask("RevokeKey", json), "\"revoked\":true");
    snprintf(json, sizeof(json), "{\"keyId\":\"%s\"}", second);
    says(ask("RevokeKey", json), "\"revoked\":true");
    for (int i = 0; i < 3; i++)
        send_json("CreateKey", "{\"name\":\"new\"}");
    await();
    ck_assert_uint_eq(keys_cnt(&scheduler->keys), KEYS_MAX);
    ck_assert_ptr_null(keys_get(&scheduler->keys, first));
    ck_assert_ptr_null(keys_get(&scheduler->keys, second));
}
END_TEST

START_TEST(service_renames_no_key_whose_place_is_being_taken)
{
    char id[37], json[128];
    make_key("team", "", id);
    make_keys_up_to_the_maximum();
    snprintf(json, sizeof(json), "{\"keyId\":\"%s\"}", id);
    says(ask("RevokeKey", json), "\"revoked\":true");
    send_json("CreateKey", "{\"name\":\"new\"}");
    snprintf(json, sizeof(json), "{\"keyId\":\"%s\",\"name\":\"x\"}", id);
    send_json("UpdateKey", json);
    await();
    ck_assert_uint_eq(keys_cnt(&scheduler->keys), KEYS_MAX);
    ck_assert_ptr_null(keys_get(&scheduler->keys, id));
}
END_TEST

START_TEST(service_lets_a_node_drain_until_it_is_ready_again)
{
    register_all();
    says(ask("SetNodeState", "{\"nodeId\":\"n9\",\"state\":\"NODE_STATE_READY\"}"), "not_found: ");
    says(ask("SetNodeState", "{\"nodeId\":\"n1\"}"), "invalid_argument: ");
    ck_assert_str_eq(ask("SetNodeState", "{\"nodeId\":\"n1\",\"state\":\"NODE_STATE_DRAINING\"}"),
                     "{}");
    says(ask("Status", "{}"), "\"state\":\"NODE_STATE_DRAINING\"");
    ck_assert_str_eq(ask("Heartbeat", NODE("a", "")), "{}");
    says(ask("Place", PLACE("i1")), "1 draining (n1)");
    stop();
    start();
    ck_assert_str_eq(ask("RegisterNode", NODE("b", "")), "{\"heartbeatMs\":2000}");
    says(ask("Place", PLACE("i1")), "1 draining (n1)");
    ck_assert_str_eq(ask("SetNodeState", "{\"nodeId\":\"n1\",\"state\":\"NODE_STATE_READY\"}"),
                     "{}");
    says(ask("Place", PLACE("i1")), "\"nodeId\":\"n1\"");
}
END_TEST

START_TEST(service_lets_a_node_drain_that_registers_meanwhile)
{
    register_all();
    send_json("SetNodeState", "{\"nodeId\":\"n1\",\"state\":\"NODE_STATE_DRAINING\"}");
    send_json("RegisterNode", NODE("b", ""));
    await();
    says(ask("Place", PLACE("i1")), "1 draining (n1)");
    stop();
    start();
    ck_assert_str_eq(ask("RegisterNode", NODE("c", "")), "{\"heartbeatMs\":2000}");
    says(ask("Place", PLACE("i1")), "1 draining (n1)");
}
END_TEST

START_TEST(service_keeps_everything_over_a_restart)
{
    register_all();
    (void)ask("Place", PLACE("i1"));
    (void)ask("Place", PLACE("i2"));
    (void)ask("ConfirmSandbox", CONFIRM("i1"));
    says(ask("CreateKey", "{\"name\":\"one\"}"), "\"secret\":\"e2b_");
    char keys[512];
    snprintf(keys, sizeof(keys), "%s", ask("ListKeys", "{}"));
    stop();
    start();
    ck_assert_str_eq(ask("ListKeys", "{}"), keys);
    says(ask("LocateSandbox", ID("i1")), "\"nodeId\":\"n1\"");
    ck_assert_str_eq(ask("ConfirmSandbox", CONFIRM("i2")), "{}");
    ck_assert_str_eq(ask("Heartbeat", NODE("a", "")), "{}");
    says(ask("Place", PLACE("i3")), "\"nodeId\":\"n1\""); /* at once: the node is known */
    says(ask("Status", "{}"), "\"allocated\":{\"cpuCount\":6");
}
END_TEST

START_TEST(service_moves_an_alias_to_the_template_that_was_put_last)
{
    register_all();
    ck_assert_str_eq(ask("PutTemplate", TEMPLATE("aaa", "\"base\",\"ns/new\"")), "{}");
    says(ask("ResolveTemplate", "{\"templateRef\":\"BASE:default\"}"), "\"templateId\":\"aaa\"");
    stop();
    start(); /* "aaa" comes before "base1" in the store: the order must not matter */
    says(ask("ResolveTemplate", "{\"templateRef\":\"base\"}"), "\"templateId\":\"aaa\"");
    says(ask("ResolveTemplate", "{\"templateRef\":\"ns/new\"}"), "\"templateId\":\"aaa\"");
    const char *all = ask("ListTemplates", "{}");
    says(all, "\"templateId\":\"base1\",\"buildId\":\"b-1\",\"resources\"");
    says(all, "\"aliases\":[\"base\",\"ns/new\"]");
}
END_TEST

static size_t times_in(const char *text, const char *part)
{
    size_t cnt = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        cnt++;
    return cnt;
}

START_TEST(service_gives_an_alias_to_one_of_two_templates_that_come_together)
{
    send_json("PutTemplate", TEMPLATE("aaa", "\"mine\""));
    send_json("PutTemplate", TEMPLATE("bbb", "\"mine\""));
    await();
    ck_assert_uint_eq(times_in(ask("ListTemplates", "{}"), "\"mine\""), 1);
    ck_assert_str_eq(ask("PutTemplate", TEMPLATE("bbb", "\"mine\"")), "{}"); /* as brokers do */
    send_json("PutTemplate", TEMPLATE("ccc", "\"mine\""));
    send_json("PutTemplate", TEMPLATE("aaa", "\"mine\",\"more\""));
    await();
    ck_assert_uint_eq(times_in(ask("ListTemplates", "{}"), "\"mine\""), 1);
    stop();
    start();
    ck_assert_uint_eq(times_in(ask("ListTemplates", "{}"), "\"mine\""), 1);
}
END_TEST

/* The SHA-256 of the secret in the last answer, as a request to Authenticate. */
static void authenticate(const char *secret)
{
    Scheduler__AuthenticateRequest request;
    uint8_t sha256[ADIT_SHA256_LEN];
    hash_secret(secret, sha256);
    scheduler__authenticate_request__init(&request);
    request.key_sha256 = (ProtobufCBinaryData){sizeof(sha256), sha256};
    send_message("Authenticate", &request.base);
}

START_TEST(service_makes_lists_and_revokes_keys)
{
    char secret[KEYS_SECRET_CAP], id[37], request[128];
    const char *created = ask("CreateKey", "{\"name\":\"mine\",\"teamId\":\"team-b\"}");
    says(created, "\"name\":\"mine\",\"teamId\":\"team-b\",\"masked\":\"e2b_");
    snprintf(secret, sizeof(secret), "%s", strstr(created, "\"secret\":\"") + 10);
    snprintf(id, sizeof(id), "%s", strstr(created, "\"keyId\":\"") + 9);
    ck_assert_ptr_null(strstr(ask("ListKeys", "{}"), secret));
    authenticate(secret);
    says(await(), "\"teamId\":\"team-b\"");
    snprintf(request, sizeof(request), "{\"keyId\":\"%.8s\"}", id);
    says(ask("RevokeKey", request), "\"revoked\":true");
    authenticate(secret);
    ck_assert_str_eq(await(), "not_found: no such key");
    says(ask("ListKeys", "{}"), "\"revoked\":true");
    says(ask("RevokeKey", "{\"keyId\":\"zz\"}"), "not_found");
    says(ask("CreateKey", "{}"), "\"teamId\":\""); /* the default team's */
}
END_TEST

static const struct {
    const char *method, *json, *error;
} refusals[] = {
    {"Place", "{\"sandboxId\":\"i1\",\"teamId\":\"t\",\"keyId\":\"a b\"}", "key_id: "},
    {"UpdateKey", "{\"keyId\":\"\"}", "key_id: "},
    {"UpdateKey", "{\"keyId\":\"a\",\"teamId\":\"a b\"}", "team_id: "},
    {"UpdateTeam", "{\"teamId\":\"a b\"}", "team_id: "},
    {"SetNodeState", "{\"nodeId\":\"\"}", "node_id: "},
    {"RegisterNode", "{}", "node: missing"},
    {"RegisterNode", "{\"node\":{}}", "node_id: not 1 to 64"},
    {"RegisterNode", "{\"node\":{\"nodeId\":\"../x\"}}", "node_id: not 1 to 64"},
    {"RegisterNode", "{\"node\":{\"nodeId\":\"a/b\"}}", "node_id: not 1 to 64"},
    {"RegisterNode", "{\"node\":{\"nodeId\":\"n\",\"incarnation\":\"a\"}}", "capacity: missing"},
    {"RegisterNode", "{\"node\":{\"nodeId\":\"n\",\"incarnation\":\"a\",\"capacity\":{}}}",
     "state: neither"},
    {"RegisterNode",
     "{\"node\":{\"nodeId\":\"n\",\"incarnation\":\"a\",\"capacity\":{\"cpuCount\":65537}}}",
     "capacity: out of range"},
    {"RegisterNode", NODE("a", ",\"sandboxes\":[{}]"), "sandbox_id: not 1 to 64"},
    {"RegisterNode", NODE("a", ",\"sandboxes\":[{\"sandboxId\":\"I1\"}]"),
     "sandbox_id: not 1 to 64"},
    {"RegisterNode", NODE("a", ",\"sandboxes\":[" RUNNING("x") "," RUNNING("x") "]"),
     "sandboxes: one is listed twice"},
    {"RegisterNode",
     NODE("a", ",\"sandboxes\":[{\"sandboxId\":\"x\",\"teamId\":\"t\",\"templateId\":\"b\"}]"),
     "resources: missing"},
    {"Heartbeat", "{}", "node: missing"},
    {"Place", "{}", "sandbox_id: not"},
    {"Place", "{\"sandboxId\":\"i1\"}", "team_id: not"},
    {"Place", "{\"sandboxId\":\"i1\",\"teamId\":\"t\"}", "Invalid template reference: it is"},
    {"Place", "{\"sandboxId\":\"i1\",\"teamId\":\"t\",\"isolation\":\"a b\"}", "isolation: not"},
    {"Place", "{\"sandboxId\":\"i1\",\"teamId\":\"t\",\"excludedNodeIds\":[\"\"]}",
     "excluded_node_ids: not"},
    {"ConfirmSandbox", "{}", "sandbox_id: not"},
    {"ConfirmSandbox", "{\"sandboxId\":\"i1\"}", "node_id: not"},
    {"ReleaseSandbox", "{\"sandboxId\":\"i/1\"}", "sandbox_id: not"},
    {"ReleaseSandbox", "{\"sandboxId\":\"i1\",\"reason\":\"a\\nb\"}", "reason: control"},
    {"LocateSandbox", "{}", "sandbox_id: not"},
    {"PutTemplate", "{}", "template: missing"},
    {"PutTemplate", "{\"template\":{\"templateId\":\"a-b\"}}", "template_id: not"},
    {"PutTemplate", "{\"template\":{\"templateId\":\"ab\",\"buildId\":\"b\"}}",
     "resources: missing"},
    {"PutTemplate", TEMPLATE("t", "\"Base\""), "aliases: not a lower-case"},
    {"PutTemplate", TEMPLATE("t", "\"a:b\""), "aliases: not a lower-case"},
    {"PutTemplate", TEMPLATE("t", "\"\""), "aliases: not a lower-case"},
    {"ResolveTemplate", "{}", "Invalid template reference: it is empty"},
    {"Authenticate", "{}", "key_sha256: not 32"},
    {"Authenticate", "{\"keySha256\":\"AAAA\"}", "key_sha256: not 32"},
    {"CreateKey", "{\"name\":\"\\u0007\"}", "name: control"},
    {"CreateKey", "{\"teamId\":\"a b\"}", "team_id: not"},
    {"RevokeKey", "{}", "key_id: not"},
};

START_TEST(service_refuses_bad_requests_by_field)
{
    char expected[160];
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        snprintf(expected, sizeof(expected), "invalid_argument: %s", refusals[i].error);
        const char *said = ask(refusals[i].method, refusals[i].json);
        ck_assert_msg(strncmp(said, expected, strlen(expected)) == 0, "%s %s: %s",
                      refusals[i].method, refusals[i].json, said);
    }
    says(ask("Status", "{}"), "{\"teams\":[{\"teamId\":\""); /* nothing came of it */
}
END_TEST

START_TEST(service_refuses_an_unknown_method)
{
    Scheduler__StatusRequest request = SCHEDULER__STATUS_REQUEST__INIT;
    ck_assert_int_eq(rpc_client_start(pool, "/scheduler.Scheduler/Nope", &request.base,
                                      &scheduler__status_response__descriptor, 5000, on_done, NULL,
                                      NULL, NULL),
                     0);
    waiting++;
    ck_assert_str_eq(await(), "unimplemented: no such method");
}
END_TEST

static void on_ended(void *user, const ProtobufCMessage *m, const struct adit_err *err)
{
    (void)m;
    (void)err;
    *(bool *)user = true;
}

/* They leave before the request is read, while it is written, and behind its end. */
START_TEST(service_lives_on_when_callers_leave)
{
    Scheduler__CreateKeyRequest request;
    unsigned left = 0;
    scheduler__create_key_request__init(&request);
    for (int i = 0; i < 60; i++) {
        struct rpc_client_call *call = NULL;
        bool has_ended = false;
        ck_assert_int_eq(rpc_client_start(pool, "/scheduler.Scheduler/CreateKey", &request.base,
                                          &scheduler__create_key_response__descriptor, 5000,
                                          on_ended, &has_ended, &call, NULL),
                         0);
        for (int turns = 0; turns < i % 12; turns++)
            uv_run(&uv, UV_RUN_NOWAIT);
        if (!has_ended)
            rpc_client_cancel(call);
        left += !has_ended;
    }
    ck_assert_uint_gt(left, 10);
    says(ask("CreateKey", "{\"name\":\"last\"}"), "\"name\":\"last\"");
    says(ask("ListKeys", "{}"), "\"name\":\"last\"");
}
END_TEST

START_TEST(scheduler_serves_the_loopback_but_no_other_address)
{
    static const char *const refused[] = {":3001", "0.0.0.0:3001", "10.0.0.1:3001", "vsock:1"};
    uv_loop_t other;
    struct scheduler *second = NULL;
    struct adit_err err = ADIT_ERR_INIT;
    char own_dir[160], address[32];
    struct scheduler_conf c = conf;
    snprintf(own_dir, sizeof(own_dir), "%s/data2", dir);
    c.data_dir = own_dir;
    c.listen = address;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        snprintf(address, sizeof(address), "%s", refused[i]);
        ck_assert_int_eq(uv_loop_init(&other), 0);
        ck_assert_int_eq(scheduler_new(&other, &c, &second, &err), ADIT_ERR_BAD_INPUT);
        ck_assert_int_eq(uv_loop_close(&other), 0);
    }
    snprintf(address, sizeof(address), "127.0.0.1:0");
    ck_assert_int_eq(uv_loop_init(&other), 0);
    ck_assert_int_eq(scheduler_new(&other, &c, &second, &err), 0);
    scheduler_stop(second);
    scheduler_stop(second);
    uv_run(&other, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&other), 0);
    scheduler_free(second);
}
END_TEST

SUITE_MAIN_WITH("service", .fixtures = {{set_up, tear_down}},
                TESTS(service_places_confirms_locates_and_releases,
                      service_places_a_claim_again_but_no_running_sandbox,
                      service_explains_refusals_and_counts_them,
                      service_counts_claims_that_come_together,
                      service_drops_claims_that_nobody_confirms,
                      service_brings_records_in_line_with_a_new_incarnation,
                      service_leaves_claims_of_the_same_incarnation,
                      service_keeps_everything_over_a_restart, service_holds_a_teams_maximum,
                      service_holds_a_keys_limits, service_changes_keys_of_the_team_that_is_named,
                      service_keeps_a_key_revoked_that_is_renamed_meanwhile,
                      service_is_unavailable_while_the_disk_is_behind,
                      service_drops_old_revoked_keys_for_new_ones,
                      service_gives_a_revoked_keys_place_to_one_of_two_that_come_together,
                      service_renames_no_key_whose_place_is_being_taken,
                      service_lets_a_node_drain_until_it_is_ready_again,
                      service_lets_a_node_drain_that_registers_meanwhile,
                      service_moves_an_alias_to_the_template_that_was_put_last,
                      service_gives_an_alias_to_one_of_two_templates_that_come_together,
                      service_makes_lists_and_revokes_keys, service_refuses_bad_requests_by_field,
                      service_refuses_an_unknown_method, service_lives_on_when_callers_leave,
                      scheduler_serves_the_loopback_but_no_other_address))
