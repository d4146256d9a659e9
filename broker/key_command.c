/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API keys from the command line.
 *
 * Theory of operation
 *
 * One call to the scheduler's socket on a loop that lives as long as the call. The secret of a new
 * key is printed this once, alone on standard output, so that a script can take it; everything
 * about it goes to standard error. Limits are words "name=number"; those that a command names
 * replace all that were there.
 */
#include "broker/key_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "broker/scheduler_keeper.h"
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

/* "sandboxes=20 rate=5 burst=10 timeout=3600", of what there is. */
static void print_limits(const Scheduler__Limits *l)
{
    const struct {
        const char *name;
        uint32_t value;
    } all[] = {{"sandboxes", l ? l->sandbox_max : 0},
               {"rate", l ? l->create_rate : 0},
               {"burst", l ? l->create_burst : 0},
               {"timeout", l ? l->timeout_max_s : 0}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i].value)
            (void)printf("  %s=%u", all[i].name, all[i].value);
    (void)printf("\n");
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
        (void)printf("%-36s  %-16s  %-14s  %-20s  %-7s  %s", k->key_id, k->team_id, k->masked, at,
                     k->revoked ? "revoked" : "valid", k->name);
        print_limits(k->limits);
    }
}

static void print_revoked(const ProtobufCMessage *answer)
{
    const Scheduler__RevokeKeyResponse *a = (const Scheduler__RevokeKeyResponse *)answer;
    if (a->key)
        (void)fprintf(stderr, "key %s (%s) is revoked\n", a->key->key_id, a->key->name);
}

static void print_updated(const ProtobufCMessage *answer)
{
    const Scheduler__UpdateKeyResponse *a = (const Scheduler__UpdateKeyResponse *)answer;
    if (!a->key)
        return;
    (void)printf("key %s:", a->key->key_id);
    print_limits(a->key->limits);
}

static void print_team(const Scheduler__Team *t)
{
    (void)printf("team %s%s, %u sandboxes:", t->team_id, t->is_default ? " (default)" : "",
                 t->sandbox_cnt);
    print_limits(t->limits);
}

static void print_team_updated(const ProtobufCMessage *answer)
{
    const Scheduler__UpdateTeamResponse *a = (const Scheduler__UpdateTeamResponse *)answer;
    if (a->team)
        print_team(a->team);
}

static void print_teams(const ProtobufCMessage *answer)
{
    const Scheduler__StatusResponse *a = (const Scheduler__StatusResponse *)answer;
    for (size_t i = 0; i < a->n_teams; i++)
        print_team(a->teams[i]);
}

/* Run the loop until the call is answered. Return: an error code. */
static int ask(const struct broker_conf *conf, enum scheduler_method method,
               const ProtobufCMessage *request, void (*print)(const ProtobufCMessage *),
               struct adit_err *err)
{
    struct run r = {.print = print};
    char own[256];
    int n = snprintf(own, sizeof(own), SCHEDULER_KEEPER_ADDRESS, conf->state_dir);
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

/* ---- limits ---- */

static int bad_limit(const char *word, struct adit_err *err)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                        "%s: a limit is sandboxes=N, rate=N (creates a second), burst=N or "
                        "timeout=N[s|m|h|d]; 0 is none of its own",
                        word);
}

/* Seconds, or another unit. */
static uint64_t take_unit(struct adit_view *number)
{
    static const char units[] = "smhd";
    static const uint32_t seconds[] = {1, 60, 3600, 86400};
    const char *unit = number->len ? strchr(units, number->ptr[number->len - 1]) : NULL;
    if (!unit)
        return 1;
    number->len--;
    return seconds[unit - units];
}

static int take_limit(const char *word, Scheduler__Limits *l, struct adit_err *err)
{
    struct adit_view name, value;
    uint64_t n = 0, unit = 1;
    bool is_one = adit_view_split(adit_view_str(word), '=', &name, &value);
    uint32_t *to = adit_view_eq_str(name, "sandboxes") ? &l->sandbox_max
                   : adit_view_eq_str(name, "rate")    ? &l->create_rate
                   : adit_view_eq_str(name, "burst")   ? &l->create_burst
                   : adit_view_eq_str(name, "timeout") ? &l->timeout_max_s
                                                       : NULL;
    if (to == &l->timeout_max_s)
        unit = take_unit(&value);
    if (!is_one || !to || adit_view_u64(value, UINT32_MAX, &n) || n * unit > UINT32_MAX)
        return bad_limit(word, err);
    *to = (uint32_t)(n * unit);
    return 0;
}

static int take_limits(int argc, char **argv, Scheduler__Limits *l, struct adit_err *err)
{
    int rc = 0;
    scheduler__limits__init(l);
    for (int i = 0; rc == 0 && i < argc; i++)
        rc = take_limit(argv[i], l, err);
    return rc;
}

/* ---- the commands ---- */

static int limit(const struct broker_conf *conf, int argc, char **argv, struct adit_err *err)
{
    static const char of_team[] = "team:";
    Scheduler__UpdateKeyRequest key;
    Scheduler__UpdateTeamRequest team;
    Scheduler__Limits limits;
    int rc = take_limits(argc - 1, argv + 1, &limits, err);
    if (rc)
        return rc;
    scheduler__update_key_request__init(&key);
    scheduler__update_team_request__init(&team);
    key.limits = team.limits = &limits;
    if (!adit_view_has_prefix(adit_view_str(argv[0]), of_team)) {
        key.key_id = argv[0];
        return ask(conf, SCHEDULER_UPDATE_KEY, &key.base, print_updated, err);
    }
    team.team_id = argv[0] + sizeof(of_team) - 1;
    return ask(conf, SCHEDULER_UPDATE_TEAM, &team.base, print_team_updated, err);
}

static int list_teams(const struct broker_conf *conf, struct adit_err *err)
{
    Scheduler__StatusRequest request = SCHEDULER__STATUS_REQUEST__INIT;
    return ask(conf, SCHEDULER_STATUS, &request.base, print_teams, err);
}

static int add_key(const struct broker_conf *conf, int argc, char **argv, struct adit_err *err)
{
    char none[] = "";
    Scheduler__CreateKeyRequest request;
    Scheduler__Limits limits;
    bool has_team = argc > 1 && !strchr(argv[1], '=');
    int words = has_team ? 2 : 1;
    int rc = take_limits(argc - words, argv + words, &limits, err);
    if (rc)
        return rc;
    scheduler__create_key_request__init(&request);
    request.name = argv[0];
    request.team_id = has_team ? argv[1] : none;
    if (argc > words)
        request.limits = &limits;
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
    if (strcmp(verb, "add") == 0 && argc >= 2)
        rc = add_key(conf, argc - 1, argv + 1, &err);
    else if (strcmp(verb, "list") == 0 && argc == 1)
        rc = list_keys(conf, &err);
    else if (strcmp(verb, "revoke") == 0 && argc == 2)
        rc = revoke_key(conf, argv + 1, &err);
    else if (strcmp(verb, "limit") == 0 && argc >= 2)
        rc = limit(conf, argc - 1, argv + 1, &err);
    else if (strcmp(verb, "teams") == 0 && argc == 1)
        rc = list_teams(conf, &err);
    else
        rc = adit_err_set(&err, ADIT_ERR_BAD_INPUT,
                          "usage: broker keys [OPTIONS] add NAME [TEAM] [LIMIT=N]... | list | "
                          "limit ID|team:[TEAM] [LIMIT=N]... | teams | revoke ID");
    if (rc)
        (void)fprintf(stderr, "broker: %s\n", err.msg);
    return rpc_status_exit(rc);
}
