/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker: start-up, signals, and the orderly end.
 *
 * Theory of operation
 *
 * Start, as root and with one thread: configuration → directories, lock of the state directory →
 * launcher and scheduler's keeper (forked) → secrets of the operator → listening sockets. Then
 * privileges are given up; all that follows, and everything that reads bytes of strangers, runs
 * without: control loop, driver, scheduler, node, relay loops → adoption of what an earlier broker
 * left. The routes of running sandboxes are published before the loop takes its first request.
 * Signals: SIGINT and SIGTERM stop in order (a second one at once); SIGHUP reads templates and
 * certificate again. Stop: the edge drains while the pool is emptied, and closes when no sandbox
 * needs it any more; then node, registration, driver and the own scheduler close; the loop ends by
 * itself. Sandboxes stay and are named.
 */
#include "broker/broker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sys/resource.h>

#include "base/clock.h"
#include "base/log.h"
#include "broker/api/api.h"
#include "broker/client_env.h"
#include "broker/debug_sandbox.h"
#include "broker/dev_cert.h"
#include "broker/doctor.h"
#include "broker/egress/egress_operator.h"
#include "broker/egress/egress_resolver.h"
#include "broker/egress/egress_trust.h"
#include "broker/exposition.h"
#include "broker/host.h"
#include "broker/key_command.h"
#include "broker/purge.h"
#include "broker/launcher/launcher.h"
#include "broker/launcher/launch_msg.h"
#include "broker/launcher/launcher_client.h"
#include "broker/scheduler_keeper.h"
#include "broker/session/session.h"
#include "broker/vmm/container.h"
#include "net/channel.h"
#include "net/listener.h"
#include "rpc/status.h"

#define SIGNAL_CNT 3
/* Half of all descriptors are for connections of sandboxes to the outside, two for each. */
#define DESCRIPTORS_OF_EGRESS 4

/* What only start and stop touch. owned by: main() */
struct program {
    struct broker broker;
    struct host host;
    struct client_env *client_env;
    struct exposition *exposition;
    struct debug_sandbox *debug_sandbox; /* NULL without debug mode */
    uv_signal_t signals[SIGNAL_CNT];
    struct client_env_address address;
    struct egress_resolver *resolver; /* until the egress thread has it */
    struct tls_context *trust;        /* as above */
    uint64_t egress_connections_max;  /* of all sandboxes */
    bool is_stopping, has_lost_helper;
    bool is_json; /* how a doctor is to speak */
};

/* ---- stopping ---- */

static void name_sandboxes(const struct broker *b)
{
    size_t pos = 0;
    const struct sandbox *s;
    (void)printf("\nstopped; %llu sandboxes go on running:\n",
                 (unsigned long long)node_admission(b->node)->sandbox_cnt);
    while ((s = node_next_any(b->node, &pos)))
        (void)printf("  %s\n", node_record(s)->sandbox_id);
    (void)fflush(stdout);
}

static void close_rest(void *user)
{
    struct program *p = user;
    struct broker *b = &p->broker;
    name_sandboxes(b);
    exposition_close(p->exposition);
    warm_pool_close(b->warm_pool);
    node_stop(b->node);
    egress_stop(b->egress);
    registration_close(b->registration);
    scheduler_client_close(b->scheduler);
    host_close(&p->host);
    certificate_close(b->certificate);
    debug_sandbox_stop(p->debug_sandbox);
    if (b->scheduler_child)
        scheduler_child_close(b->scheduler_child);
    for (size_t i = 0; i < SIGNAL_CNT; i++)
        uv_close((uv_handle_t *)&p->signals[i], NULL);
    net_loop_close(&b->net);
}

static void close_edge(void *user)
{
    struct program *p = user;
    edge_close(p->broker.edge, close_rest, p);
}

static void stop(struct program *p)
{
    p->is_stopping = true;
    session_all_stop(p->broker.sessions);
    edge_drain(p->broker.edge);
    if (p->has_lost_helper) /* nothing can be ended, and the next broker has the pool */
        close_edge(p);
    else
        warm_pool_drain(p->broker.warm_pool, close_edge, p);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct program *p = handle->data;
    if (number == SIGHUP) {
        registration_renew(p->broker.registration);
        if (p->broker.certificate)
            certificate_reload(p->broker.certificate);
        return;
    }
    adit_log(ADIT_LOG_INFO, "stopping", LOG_D("signal", number));
    if (p->is_stopping)
        _exit(128 + number); /* asked twice: sandboxes and records are safe at any moment */
    stop(p);
}

/* A broker that can neither create nor end anything, or can never again have a scheduler, makes
 * room for a new one: the service manager starts it, and the sandboxes are adopted. */
static void on_helper_lost(void *owner)
{
    struct program *p = ADIT_CONTAINER_OF(owner, struct program, broker);
    p->has_lost_helper = true;
    if (!p->is_stopping)
        stop(p);
}

static int watch_signals(struct program *p, struct adit_err *err)
{
    static const int numbers[SIGNAL_CNT] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < SIGNAL_CNT; i++) {
        uv_signal_init(&p->broker.uv, &p->signals[i]);
        p->signals[i].data = p;
        int rc = uv_signal_start(&p->signals[i], on_signal, numbers[i]);
        if (rc)
            return adit_err_set(err, ADIT_ERR_IO, "watch signals: %s", uv_strerror(rc));
    }
    return 0;
}

/* ---- starting ---- */

static void on_exited(void *owner, const char *sandbox_id, const char *reason)
{
    struct broker *b = owner;
    node_exited(b->node, sandbox_id, reason);
}

static int open_node(struct program *p, struct adit_err *err)
{
    struct broker *b = &p->broker;
    struct node_conf conf = {
        .loop = &b->net,
        .state_dir = b->conf.state_dir,
        .boot_id = p->host.boot_id,
        .vmms = &p->host.vmms,
        .tokens = &b->tokens,
        .ops = &broker_node_ops,
        .owner = b,
        .create_ms = b->conf.create_ms,
        .ready_ms = b->conf.ready_ms,
        .pids_max = (uint32_t)b->conf.pids_max,
        .log_retention_ms = b->conf.sandbox_log_retention_ms,
        .log_bytes_max = b->conf.sandbox_log_bytes,
    };
    struct admission_conf limits = {b->conf.cpu_percent, b->conf.memory_percent,
                                    b->conf.disk_percent, b->conf.sandbox_max};
    admission_init(&conf.admission, &limits, b->conf.state_dir);
    return node_new(&conf, &b->node, err);
}

static void on_rescanned(void *user)
{
    (void)user; /* on_online() has begun anew with the pool */
}

static void rescan_templates(void *owner)
{
    struct broker *b = owner;
    (void)registration_sync_templates(b->registration, on_rescanned,
                                      b); /* the next look asks again */
}

static int open_warm_pool(struct broker *b, struct adit_err *err)
{
    const struct warm_pool_conf conf = {.loop = &b->net,
                                        .node = b->node,
                                        .templates = b->templates,
                                        .option = b->conf.warm,
                                        .booting_max = (unsigned)b->conf.warm_booting,
                                        .rescan = rescan_templates,
                                        .owner = b};
    return warm_pool_new(&conf, &b->warm_pool, err);
}

static void on_online(void *owner)
{
    struct program *p = owner;
    client_env_on_online(p->client_env);
    warm_pool_start(p->broker.warm_pool);
    if (p->debug_sandbox)
        debug_sandbox_start(p->debug_sandbox);
}

static int open_scheduler(struct program *p, struct adit_err *err)
{
    struct broker *b = &p->broker;
    char own[PATH_MAX];
    int rc = 0;
    (void)snprintf(own, sizeof(own), SCHEDULER_KEEPER_ADDRESS, b->conf.state_dir);
    if (!b->conf.scheduler[0])
        rc = scheduler_child_new(&b->uv, p->host.scheduler_fd, on_helper_lost, b,
                                 &b->scheduler_child, err);
    if (rc == 0)
        rc = scheduler_client_new(&b->net, b->conf.scheduler[0] ? b->conf.scheduler : own,
                                  &b->scheduler, err);
    if (rc == 0)
        rc = template_dir_new(&b->uv, b->conf.templates_dir, &b->templates, err);
    return rc;
}

static int open_registration(struct program *p, struct adit_err *err)
{
    struct broker *b = &p->broker;
    struct client_env_conf env = {
        b->scheduler,   b->conf.state_dir,
        b->conf.domain, b->certificate ? b->conf.tls_cert : "",
        &p->address,    p->host.vmms.fallback->isolation,
    };
    struct registration_conf conf = {
        .loop = &b->net,
        .client = b->scheduler,
        .child = b->scheduler_child,
        .node = b->node,
        .templates = b->templates,
        .machine = &p->host.machine,
        .node_id = b->node_id,
        .on_online = on_online,
        .owner = p,
    };
    int rc = client_env_new(&env, &p->client_env, err);
    if (rc == 0 && b->conf.debug)
        rc = debug_sandbox_new(b, &p->debug_sandbox, err);
    return rc ? rc : registration_new(&conf, &b->registration, err);
}

/* Split an option in place. @debug_port: 0, or the port of the debug sandbox that they lead to. */
static int take_listeners(char *text, uint16_t debug_port, struct edge_conf *conf,
                          struct adit_err *err)
{
    char *save = NULL;
    for (char *word = strtok_r(text, ", ", &save); word; word = strtok_r(NULL, ", ", &save)) {
        if (conf->listen_cnt == EDGE_LISTENERS_MAX)
            return adit_err_set(err, ADIT_ERR_LIMIT, "listen: more than %d addresses",
                                EDGE_LISTENERS_MAX);
        if (debug_port && !debug_sandbox_may_listen(word))
            return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                                "debug mode has no authentication: %s is not a loopback address "
                                "(127.0.0.1:port, [::1]:port)",
                                word);
        conf->debug_ports[conf->listen_cnt] = debug_port;
        conf->listen[conf->listen_cnt++] = word;
    }
    if (conf->listen_cnt == 0)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "listen: no address");
    return 0;
}

static void on_certificate(void *owner, struct tls_context *tls)
{
    struct broker *b = owner;
    struct adit_err err = ADIT_ERR_INIT;
    if (edge_set_tls(b->edge, tls, &err))
        adit_log(ADIT_LOG_ERROR, "certificate_not_published", LOG_ERR(&err));
}

static int open_certificate(struct broker *b, struct edge_conf *edge, struct adit_err *err)
{
    bool has_tls = false;
    for (size_t i = 0; i < edge->listen_cnt; i++)
        has_tls = has_tls || edge_is_tls(edge->listen[i]);
    if (!has_tls)
        return 0;
    if (!b->conf.tls_cert[0] || !b->conf.tls_key[0])
        return adit_err_set(
            err, ADIT_ERR_BAD_INPUT,
            "listen: a tls: address needs tls-cert and tls-key (\"broker dev-cert\" "
            "makes a pair for a try)");
    struct certificate_conf conf = {
        .loop = &b->net,
        .files = {b->conf.tls_cert, b->conf.tls_key, .offers_h2 = true},
        .domain = b->conf.domain,
        .on_changed = on_certificate,
        .owner = b,
    };
    int rc = certificate_open(&conf, &b->certificate, err);
    if (rc == 0)
        edge->tls = certificate_tls(b->certificate);
    return rc;
}

/* The listener that clients are told of: with a domain its TLS one, as only that serves every
 * client; else the first. */
static size_t shown_listener(const struct edge_conf *conf)
{
    size_t i = 0;
    while (i < conf->listen_cnt && !edge_is_tls(conf->listen[i]))
        i++;
    return i == conf->listen_cnt || strcmp(conf->domain, "localhost") == 0 ? 0 : i;
}

static int open_edge(struct program *p, struct adit_err *err)
{
    struct broker *b = &p->broker;
    struct edge_conf conf = {
        .control = &b->uv,
        .loops = b->conf.relay_loops,
        .domain = b->conf.domain,
        .connections_max = b->conf.connections_max,
        .channels_per_sandbox = b->conf.channels_max,
        .header_ms = b->conf.header_ms,
        .body_ms = b->conf.body_ms,
        .client_idle_ms = b->conf.client_idle_ms,
        .guest_idle_ms = b->conf.guest_idle_ms,
        .dial_ms = b->conf.dial_ms,
        .drain_ms = b->conf.drain_ms,
        .on_api = api_handle,
        .on_api_gone = session_on_gone,
        .owner = b,
    };
    int rc = take_listeners(b->conf.listen, 0, &conf, err);
    if (rc == 0 && b->conf.debug)
        rc = take_listeners(b->conf.debug_envd, CHANNEL_PORT_ENVD, &conf, err);
    if (rc == 0 && b->conf.debug)
        rc = take_listeners(b->conf.debug_interpreter, CHANNEL_PORT_KERNEL, &conf, err);
    if (rc == 0)
        rc = open_certificate(b, &conf, err);
    if (rc == 0)
        rc = edge_open(&conf, &b->edge, err);
    if (rc == 0 && b->conf.metrics_listen[0])
        rc = listener_open_early(&b->conf.metrics_listen, err);
    if (rc)
        return rc;
    size_t shown = shown_listener(&conf);
    client_env_address(conf.listen[shown], edge_port(b->edge, shown), b->conf.domain, &p->address);
    adit_log(ADIT_LOG_INFO, "listening", LOG_S("address", conf.listen[shown]),
             LOG_S("url", p->address.api_url));
    return 0;
}

/* What takes files and interfaces that cannot be seen later. */
static int prepare_egress(struct program *p, struct adit_err *err)
{
    struct broker *b = &p->broker;
    struct rlimit descriptors = {0};
    (void)getrlimit(RLIMIT_NOFILE, &descriptors); /* cannot fail with these arguments */
    p->egress_connections_max = descriptors.rlim_cur / DESCRIPTORS_OF_EGRESS;
    int rc =
        egress_operator_read(b->conf.egress_allow_private, b->conf.egress_deny, &b->reach, err);
    if (rc == 0)
        rc = egress_trust_load(b->conf.egress_ca_file, &p->trust, err);
    return rc ? rc : egress_resolver_new(b->conf.dns_server, &p->resolver, err);
}

static int open_egress(struct program *p, struct adit_err *err)
{
    struct broker *b = &p->broker;
    struct egress_conf conf = {.operator_ = &b->reach,
                               .take_resolver = p->resolver,
                               .take_trust = p->trust,
                               .is_off = !b->conf.egress,
                               .dials_max = b->conf.egress_connections,
                               .all_dials_max = p->egress_connections_max,
                               .bytes_per_s = b->conf.egress_bandwidth};
    return egress_start(&conf, &b->egress, err);
}

static int open_all(struct program *p, struct adit_err *err)
{
    struct broker *b = &p->broker;
    int rc;
    if (uv_loop_init(&b->uv))
        return adit_err_set(err, ADIT_ERR_IO, "no event loop");
    key_cache_init(&b->keys);
    adit_limit_init(&b->refusal_log, 50, 10, adit_clock_mono_ns());
    if ((rc = net_loop_init(&b->net, &b->uv, err)) ||
        (rc = tokens_load(b->conf.state_dir, &b->tokens, err)) ||
        (rc = registration_load_node_id(b->conf.state_dir, b->node_id, err)) ||
        (rc = host_open(&p->host, &b->net, &b->conf, on_exited, on_helper_lost, b, err)) ||
        (rc = host_choose_isolation(&p->host, &b->uv, &b->conf, err)) ||
        (rc = watch_signals(p, err)) || (rc = certificate_watch(b->certificate, err)) ||
        (rc = open_node(p, err)) || (rc = open_scheduler(p, err)) ||
        (rc = open_warm_pool(b, err)) || (rc = session_all_new(b, &b->sessions, err)) ||
        (rc = edge_start(b->edge, err)) || (rc = open_egress(p, err)) ||
        (rc = open_registration(p, err)) ||
        (rc = exposition_open(b, p->host.launcher, &p->exposition, err)))
        return rc;
    node_adopt(b->node);
    return 0;
}

static void free_all(struct program *p)
{
    struct broker *b = &p->broker;
    exposition_free(p->exposition);
    session_all_free(b->sessions);
    node_free(b->node);
    egress_free(b->egress);
    egress_operator_fini(&b->reach);
    warm_pool_free(b->warm_pool);
    template_dir_free(b->templates);
    client_env_free(p->client_env);
    debug_sandbox_free(p->debug_sandbox);
    key_cache_fini(&b->keys);
    broker_conf_fini(&b->conf);
    (void)uv_loop_close(&b->uv);
}

static int serve(struct program *p, struct adit_err *err)
{
    struct broker_conf *conf = &p->broker.conf;
    int rc = host_prepare(&p->host, conf, err);
    if (rc == 0 && !conf->scheduler[0])
        rc = host_start_scheduler(&p->host, conf, err);
    if (rc == 0)
        rc = admin_token_load(conf->state_dir, conf->admin_token_file, &p->broker.admin, err);
    if (rc == 0)
        rc = open_edge(p, err);
    if (rc == 0)
        rc = prepare_egress(p, err);
    if (rc == 0)
        rc = host_confine(&p->host, conf, err);
    if (rc == 0)
        rc = open_all(p, err);
    if (rc)
        return rc; /* the process ends: what is open goes with it */
    (void)uv_run(&p->broker.uv, UV_RUN_DEFAULT);
    free_all(p);
    return p->has_lost_helper
               ? adit_err_set(err, ADIT_ERR_UNAVAILABLE,
                              "a process that keeps privileges was killed: start again")
               : 0;
}

/* ---- the command line ---- */

static int init_log(const struct broker_conf *c, struct adit_err *err)
{
    enum adit_log_level level;
    if (adit_log_level_parse(c->log_level, &level))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "log-level: %s is none", c->log_level);
    adit_log_init("broker", level, c->log_json);
    return 0;
}

/* @command: the first word, "" to serve. Return: an error code, or what key_command_main() says in
 * *status. */
static int run(struct program *p, const char *command, int argc, char **argv, int *status,
               struct adit_err *err)
{
    struct broker_conf *c = &p->broker.conf;
    int rc = init_log(c, err);
    if (rc)
        return rc;
    if (strcmp(command, "keys") == 0) {
        *status = key_command_main(c, argc, argv);
        return 0;
    }
    if (strcmp(command, "doctor") == 0 && argc == 0) {
        *status = doctor_main(c, p->is_json);
        return 0;
    }
    if (strcmp(command, "dev-cert") == 0 && argc <= 1)
        return dev_cert_main(c, argc ? argv[0] : "", err);
    if (argc > 0)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "unexpected word: %s", argv[0]);
    if (strcmp(command, "env") == 0)
        return client_env_print(c->state_dir, err);
    if (strcmp(command, "purge") == 0)
        return purge_main(c, err);
    if (command[0])
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "unknown command: %s", command);
    adit_conf_log(&broker_conf_spec, c);
    return serve(p, err);
}

/* The one flag that is no option of the broker's. Return: how many words are left. */
static int take_json(struct program *p, int argc, char **argv)
{
    int left = 0;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            p->is_json = true;
        else
            argv[left++] = argv[i];
    }
    return left;
}

int main(int argc, char **argv)
{
    static struct program program; /* large, and zeroed */
    struct adit_err err = ADIT_ERR_INIT;
    const char *command = "";
    int rest = 0, info = 0, status = 0;
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc > 1 && argv[1][0] != '-') {
        command = argv[1];
        argc--;
        argv++;
    }
    if (strcmp(command, "doctor") == 0)
        argc = take_json(&program, argc, argv);
    int rc = broker_conf_load(argc, argv, &program.broker.conf, &rest, &info, &err);
    if (rc == 0 && info) {
        adit_conf_inform(&broker_conf_spec, info, ADIT_VERSION);
        return 0;
    }
    if (rc == 0 && !command[0] && rest < argc)
        command = argv[rest++];
    if (rc == 0)
        rc = run(&program, command, argc - rest, argv + rest, &status, &err);
    if (rc)
        (void)fprintf(stderr, "broker: %s\n", err.msg);
    return rc ? rpc_status_exit(rc) : status;
}
