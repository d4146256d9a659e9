/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API keys from the command line.
 *
 * Theory of operation
 *
 * One call to the scheduler's socket on a loop that lives as long as the call. The secret of a new
 * key is printed this once, alone on standard output, so that a script can take it; everything
 * about it goes to standard error.
 */
#include "broker/key_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "broker/scheduler_child.h"
#include "broker/scheduler_client.h"
#include "rpc/status.h"

struct run {
    uv_loop_t uv;
    struct net_loop net;
    struct scheduler_client *client;
    void (*print)(const ProtobufCMessage *answer);
    struct adit_err err;
};

static void on_answer(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    struct run *r = user;
    if (err)
        r->err = *err;
    else
        r->print(answer);
    uv_stop(&r->uv);
}

static void print_added(const ProtobufCMessage *answer)
{
    const Scheduler__CreateKeyResponse *a = (const Scheduler__CreateKeyResponse *)answer;
    if (a->key)
        (void)fprintf(stderr, "key %s (%s) of team %s; its secret is shown this once:\n",
                      a->key->key_id, a->key->name, a->key->team_id);
    (void)printf("%s\n", a->secret);
}

static void print_list(const ProtobufCMessage *answer)
{
    const Scheduler__ListKeysResponse *a = (const Scheduler__ListKeysResponse *)answer;
    (void)printf("%-36s  %-16s  %-14s  %-20s  %-7s  %s\n", "ID", "TEAM", "KEY", "CREATED", "STATE",
                 "NAME");
    for (size_t i = 0; i < a->n_keys; i++) {
        const Scheduler__Key *k = a->keys[i];
        char at[ADIT_CLOCK_RFC3339_CAP] = "";
        if (k->created_at)
            adit_clock_format_rfc3339(k->created_at->seconds * INT64_C(1000000000), at);
        (void)printf("%-36s  %-16s  %-14s  %-20s  %-7s  %s\n", k->key_id, k->team_id, k->masked, at,
                     k->revoked ? "revoked" : "valid", k->name);
    }
}

static void print_revoked(const ProtobufCMessage *answer)
{
    const Scheduler__RevokeKeyResponse *a = (const Scheduler__RevokeKeyResponse *)answer;
    if (a->key)
        (void)fprintf(stderr, "key %s (%s) is revoked\n", a->key->key_id, a->key->name);
}

/* Run the loop until the call is answered. Return: an error code. */
static int ask(const struct broker_conf *conf, enum scheduler_method method,
               const ProtobufCMessage *request, void (*print)(const ProtobufCMessage *),
               struct adit_err *err)
{
    struct run r = {.print = print};
    char own[256];
    int n = snprintf(own, sizeof(own), SCHEDULER_CHILD_ADDRESS, conf->state_dir);
    if (n < 0 || (size_t)n >= sizeof(own))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "the state directory's path is too long");
    if (uv_loop_init(&r.uv))
        return adit_err_set(err, ADIT_ERR_IO, "no event loop");
    int rc = net_loop_init(&r.net, &r.uv, err);
    if (rc == 0)
        rc = scheduler_client_new(&r.net, conf->scheduler[0] ? conf->scheduler : own, &r.client,
                                  err);
    if (rc == 0)
        rc = scheduler_client_call(r.client, method, request, on_answer, &r, err);
    if (rc)
        return rc;                       /* the program ends: the loop goes with it */
    (void)uv_run(&r.uv, UV_RUN_DEFAULT); /* until on_answer stops it */
    scheduler_client_close(r.client);
    net_loop_close(&r.net);
    (void)uv_run(&r.uv, UV_RUN_DEFAULT); /* until all is closed */
    (void)uv_loop_close(&r.uv);
    *err = r.err;
    return err->code;
}

static int add_key(const struct broker_conf *conf, int argc, char **argv, struct adit_err *err)
{
    char none[] = "";
    Scheduler__CreateKeyRequest request;
    scheduler__create_key_request__init(&request);
    request.name = argv[0];
    request.team_id = argc > 1 ? argv[1] : none;
    return ask(conf, SCHEDULER_CREATE_KEY, &request.base, print_added, err);
}

static int list_keys(const struct broker_conf *conf, struct adit_err *err)
{
    Scheduler__ListKeysRequest request;
    scheduler__list_keys_request__init(&request);
    return ask(conf, SCHEDULER_LIST_KEYS, &request.base, print_list, err);
}

static int revoke_key(const struct broker_conf *conf, char **argv, struct adit_err *err)
{
    Scheduler__RevokeKeyRequest request;
    scheduler__revoke_key_request__init(&request);
    request.key_id = argv[0];
    return ask(conf, SCHEDULER_REVOKE_KEY, &request.base, print_revoked, err);
}

int key_command_main(const struct broker_conf *conf, int argc, char **argv)
{
    struct adit_err err = ADIT_ERR_INIT;
    const char *verb = argc > 0 ? argv[0] : "";
    int rc;
    if (strcmp(verb, "add") == 0 && (argc == 2 || argc == 3))
        rc = add_key(conf, argc - 1, argv + 1, &err);
    else if (strcmp(verb, "list") == 0 && argc == 1)
        rc = list_keys(conf, &err);
    else if (strcmp(verb, "revoke") == 0 && argc == 2)
        rc = revoke_key(conf, argv + 1, &err);
    else
        rc = adit_err_set(&err, ADIT_ERR_BAD_INPUT,
                          "usage: broker keys [OPTIONS] add NAME [TEAM] | list | revoke ID");
    if (rc)
        (void)fprintf(stderr, "broker: %s\n", err.msg);
    return rpc_status_exit(rc);
}
