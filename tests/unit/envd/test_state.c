/* SPDX-License-Identifier: Apache-2.0 */
/* /init documents and what they change. */
#include <sched.h>

#include "tests/unit/suite.h"
#include "scratch.h"

#include "base/clock.h"
#include "envd/ca_store.h"
#include "envd/state.h"

#define BUNDLE "/etc/ssl/certs/ca-certificates.crt"
#define CA "\"caBundle\":\"-----BEGIN CERTIFICATE-----\\nbmV3\\n-----END CERTIFICATE-----\\n\""

static struct envd e;
static struct adit_err err;

static void setup_envd(void)
{
    memset(&e, 0, sizeof e);
    e.run_dir = e.root = scratch_dir;
    ck_assert_int_eq(unsetenv("E2B_SANDBOX_ID") | setenv("E2B_TEMPLATE_ID", "base", 1), 0);
    ck_assert_int_eq(state_setup(&e, &err), 0);
}

static void teardown_envd(void)
{
    state_fini(&e);
}

/* With the token of the request's header. */
static int apply_shown(const char *json, const char *shown)
{
    return state_apply(&e, adit_view_str(json), adit_view_str(shown), &err);
}

static int apply(const char *json)
{
    return apply_shown(json, "");
}

static const char *var(const char *name)
{
    const struct envd_env_var *v = adit_map_get(&e.env, adit_view_str(name));
    return v ? v->value : "(none)";
}

START_TEST(state_begins_open_as_root_and_marked)
{
    ck_assert_str_eq(e.default_user, "root");
    ck_assert_str_eq(e.access_token, "");
    ck_assert_str_eq(var("E2B_SANDBOX"), "true");
    ck_assert_str_eq(var("E2B_TEMPLATE_ID"), "base");
    ck_assert(scratch_is(".E2B_SANDBOX", "true", 4));
    ck_assert(scratch_is(".E2B_TEMPLATE_ID", "base", 4));
}
END_TEST

START_TEST(state_replaces_variables_but_not_its_own)
{
    ck_assert_int_eq(apply("{\"envVars\":{\"A\":\"1\",\"B\":\"2\",\"E2B_SANDBOX\":\"no\"}}"), 0);
    ck_assert_str_eq(var("A"), "1");
    ck_assert_str_eq(var("E2B_SANDBOX"), "true");
    ck_assert_int_eq(apply("{\"envVars\":{\"A\":\"3\"}}"), 0);
    ck_assert_str_eq(var("A"), "3");
    ck_assert_str_eq(var("B"), "(none)");
    ck_assert_int_eq(apply("{}"), 0);
    ck_assert_int_eq(apply("{\"envVars\":null}"), 0);
    ck_assert_str_eq(var("A"), "3"); /* absent: unchanged */
    ck_assert_int_eq(apply("{\"envVars\":{}}"), 0);
    ck_assert_str_eq(var("A"), "(none)");
    ck_assert_str_eq(var("E2B_SANDBOX"), "true");
}
END_TEST

START_TEST(state_takes_identity_and_defaults)
{
    ck_assert_int_eq(
        apply("{\"sandboxID\":\"i1\",\"defaultUser\":\"user\",\"defaultWorkdir\":\"/w\","
              "\"envVars\":{\"E2B_SANDBOX_ID\":\"forged\"},\"unknown\":[1]}"),
        0);
    ck_assert_str_eq(var("E2B_SANDBOX_ID"), "i1");
    ck_assert(scratch_is(".E2B_SANDBOX_ID", "i1", 2));
    ck_assert_str_eq(e.default_user, "user");
    ck_assert_str_eq(e.default_workdir, "/w");
    ck_assert_int_eq(apply("{\"defaultUser\":\"\",\"defaultWorkdir\":null}"), 0);
    ck_assert_str_eq(e.default_user, "user");
    ck_assert_str_eq(e.default_workdir, "/w");
    ck_assert_int_eq(apply("{\"sandboxID\":\"i1\"}"), 0);
    ck_assert_str_eq(var("E2B_SANDBOX_ID"), "i1");
    ck_assert_int_eq(apply("{\"sandboxID\":\"i2\"}"), 0);
    ck_assert_str_eq(var("E2B_SANDBOX_ID"), "i2");
    ck_assert(scratch_is(".E2B_SANDBOX_ID", "i2", 2));
}
END_TEST

START_TEST(state_token_once_set_must_be_shown)
{
    ck_assert_int_eq(apply("{\"accessToken\":\"secret\"}"), 0);
    ck_assert_str_eq(e.access_token, "secret");
    static const char *const wrong[] = {
        "{}",
        "",
        "{\"accessToken\":\"\"}",
        "{\"accessToken\":null}",
        "{\"accessToken\":\"secre\"}",
        "{\"accessToken\":\"secret2\",\"envVars\":{\"A\":\"1\"}}",
        "{\"timestamp\":\"2000-01-01T00:00:00Z\"}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_int_eq(apply(wrong[i]), ADIT_ERR_UNAUTHENTICATED);
    ck_assert_str_eq(var("A"), "(none)");
    ck_assert_int_eq(apply("{\"accessToken\":\"secret\",\"envVars\":{\"A\":\"1\"}}"), 0);
    ck_assert_str_eq(var("A"), "1");
}
END_TEST

START_TEST(state_old_documents_change_nothing)
{
    char json[256], now[ADIT_CLOCK_RFC3339_CAP];
    int64_t wall = adit_clock_wall_ns(); /* within the tolerance: the clock stays */
    adit_clock_format_rfc3339(wall, now);
    (void)snprintf(json, sizeof json, "{\"timestamp\":\"%s\",\"envVars\":{\"A\":\"1\"}}", now);
    ck_assert_int_eq(apply(json), 0);
    ck_assert_str_eq(var("A"), "1");
    ck_assert_int_eq(e.init_wall_ns, wall);
    (void)snprintf(json, sizeof json, "{\"timestamp\":\"%s\",\"envVars\":{\"A\":\"2\"}}", now);
    ck_assert_int_eq(apply(json), 0); /* not newer */
    ck_assert_str_eq(var("A"), "1");
    ck_assert_int_eq(apply("{\"timestamp\":\"1999-01-01T00:00:00+01:00\",\"envVars\":{}}"), 0);
    ck_assert_str_eq(var("A"), "1");
}
END_TEST

START_TEST(state_refuses_bad_documents_whole)
{
    static const char *const bad[] = {
        "[]",
        "{",
        "null",
        "{\"accessToken\":1}",
        "{\"envVars\":[]}",
        "{\"envVars\":{\"A\":1}}",
        "{\"envVars\":{\"A=B\":\"1\"}}",
        "{\"envVars\":{\"\":\"1\"}}",
        "{\"envVars\":{\"\":\"1\"},\"sandboxID\":\"i1\",\"templateID\":\"t1\"}",
        "{\"timestamp\":\"soon\"}",
        "{\"defaultUser\":\"u\",\"defaultUser\":\"v\"}",
        "{\"envVars\":{\"A\":\"x\\u0000y\"}}",
        "{\"volumeMounts\":[{\"path\":\"/x\"}]}",
        "{\"caBundle\":\"PEM\"}",
        "{\"hyperloopIP\":\"10.0.0.1\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(apply(bad[i]) == ADIT_ERR_BAD_INPUT, "%s", bad[i]);
    ck_assert_str_eq(e.default_user, "root");
    ck_assert_str_eq(var("E2B_SANDBOX_ID"), "(none)");
    ck_assert_str_eq(var("E2B_TEMPLATE_ID"), "base");
    char *json = malloc(4096);
    (void)snprintf(json, 4096, "{\"accessToken\":\"%0300d\"}", 1);
    ck_assert_int_eq(apply(json), ADIT_ERR_BAD_INPUT);
    free(json);
    ck_assert_str_eq(e.access_token, "");
}
END_TEST

START_TEST(state_tells_programs_of_an_authority)
{
    ck_assert_int_eq(apply("{" CA "}"), 0);
    ck_assert_str_eq(var("NODE_EXTRA_CA_CERTS"), CA_STORE_FILE);
    ck_assert_str_eq(var("SSL_CERT_FILE"), "(none)"); /* it would be all that they trust */
    ck_assert_int_eq(adit_file_mkdirs(scratch("etc/ssl/certs"), 0755, &err), 0);
    scratch_write(&BUNDLE[1], "", 0);
    ck_assert_int_eq(apply("{" CA ",\"envVars\":{\"SSL_CERT_FILE\":\"/mine\",\"A\":\"1\"}}"), 0);
    ck_assert_str_eq(var("SSL_CERT_FILE"), "/mine");
    ck_assert_str_eq(var("REQUESTS_CA_BUNDLE"), BUNDLE);
    ck_assert_str_eq(var("A"), "1");
    ck_assert_int_eq(apply("{\"envVars\":{}}"), 0);
    ck_assert_str_eq(var("REQUESTS_CA_BUNDLE"), BUNDLE);
}
END_TEST

START_TEST(state_bounds_the_variables)
{
    struct adit_buf b;
    adit_buf_init(&b, STATE_INIT_MAX);
    ck_assert_int_eq(adit_buf_append_str(&b, "{\"envVars\":{"), 0);
    for (int i = 0; i <= ENVD_ENV_VARS_MAX; i++)
        ck_assert_int_eq(adit_buf_appendf(&b, "%s\"V%d\":\"\"", i ? "," : "", i), 0);
    ck_assert_int_eq(adit_buf_append_str(&b, "}}"), 0);
    ck_assert_int_eq(state_apply(&e, adit_buf_view(&b), adit_view_str(""), &err),
                     ADIT_ERR_BAD_INPUT);
    ck_assert_str_eq(var("V0"), "(none)");
    adit_buf_clear(&b);
    ck_assert_int_eq(
        adit_buf_appendf(&b, "{\"envVars\":{\"A\":\"%0*d\"}}", (int)ENVD_ENV_BYTES_MAX, 1), 0);
    ck_assert_int_eq(state_apply(&e, adit_buf_view(&b), adit_view_str(""), &err),
                     ADIT_ERR_BAD_INPUT);
    adit_buf_fini(&b);
}
END_TEST

START_TEST(state_metrics_are_figures_of_this_machine)
{
    struct adit_buf b;
    unsigned long long ts, cpus, total_mib, used_mib, total, used, cache, disk_used, disk_total;
    double pct;
    adit_buf_init(&b, 4096);
    ck_assert_int_eq(state_append_metrics(&e, &b), 0);
    ck_assert_int_eq(adit_buf_append_char(&b, '\0'), 0);
    ck_assert_int_eq(
        sscanf(b.data + b.off,
               "{\"ts\":%llu,\"cpu_count\":%llu,\"cpu_used_pct\":%lf,\"mem_total_mib\":%llu,"
               "\"mem_used_mib\":%llu,\"mem_total\":%llu,\"mem_used\":%llu,\"mem_cache\":%llu,"
               "\"disk_used\":%llu,\"disk_total\":%llu}",
               &ts, &cpus, &pct, &total_mib, &used_mib, &total, &used, &cache, &disk_used,
               &disk_total),
        10);
    ck_assert_uint_ge(cpus, 1);
    ck_assert(pct >= 0 && pct <= 100);
    ck_assert_uint_eq(total / (1024 * 1024), total_mib);
    ck_assert(used > 0 && used < total);
    ck_assert(disk_used > 0 && disk_used <= disk_total);
    adit_buf_fini(&b);
}
END_TEST

/* In a name space of its own, so that it is not this machine's. */
START_TEST(state_names_the_machine)
{
    char name[256] = "";
    if (unshare(CLONE_NEWUTS) != 0) {
        printf("# not root: nothing can be named\n");
        return;
    }
    ck_assert_int_eq(apply("{\"hostname\":\"sandbox-1.local\"}"), 0);
    ck_assert_int_eq(gethostname(name, sizeof name), 0);
    ck_assert_str_eq(name, "sandbox-1.local");
}
END_TEST

START_TEST(state_refuses_names_and_entropy_that_are_none)
{
    static const char *const documents[] = {
        "{\"hostname\":\"\"}",         "{\"hostname\":\"a b\"}", "{\"hostname\":\"a/b\"}",
        "{\"hostname\":\"a\\nb\"}",    "{\"hostname\":7}",       "{\"entropy\":\"?\"}",
        "{\"entropy\":\"AAAA AAAA\"}", "{\"entropy\":[]}"};
    char before[256] = "", after[256] = "", longest[1024];
    ck_assert_int_eq(gethostname(before, sizeof before), 0);
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++)
        ck_assert_msg(apply(documents[i]) == ADIT_ERR_BAD_INPUT, "%s", documents[i]);
    (void)snprintf(longest, sizeof longest, "{\"hostname\":\"%065d\"}", 0);
    ck_assert_int_eq(apply(longest), ADIT_ERR_BAD_INPUT);
    (void)snprintf(longest, sizeof longest, "{\"entropy\":\"%0689d\"}", 0);
    ck_assert_int_eq(apply(longest), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(gethostname(after, sizeof after), 0);
    ck_assert_str_eq(before, after);
}
END_TEST

START_TEST(state_token_is_changed_by_whoever_shows_it)
{
    static const char other[] = "{\"accessToken\":\"other\"}";
    ck_assert_int_eq(apply_shown("{\"accessToken\":\"secret\"}", "anything"), 0);
    ck_assert_int_eq(apply_shown(other, ""), ADIT_ERR_UNAUTHENTICATED);
    ck_assert_int_eq(apply_shown(other, "secre"), ADIT_ERR_UNAUTHENTICATED);
    ck_assert_int_eq(apply_shown(other, "secret2"), ADIT_ERR_UNAUTHENTICATED);
    ck_assert_str_eq(e.access_token, "secret");
    ck_assert_int_eq(apply_shown(other, "secret"), 0);
    ck_assert_str_eq(e.access_token, "other");
    ck_assert_int_eq(apply_shown(other, "secret"), 0); /* told twice: it is the token now */
    ck_assert_int_eq(apply_shown("{\"accessToken\":\"third\"}", "secret"),
                     ADIT_ERR_UNAUTHENTICATED);
    ck_assert_str_eq(e.access_token, "other");
}
END_TEST

SUITE_MAIN_WITH(
    "state", .fixtures = {{scratch_setup, scratch_teardown}, {setup_envd, teardown_envd}},
    TESTS(state_begins_open_as_root_and_marked, state_replaces_variables_but_not_its_own,
          state_takes_identity_and_defaults, state_token_once_set_must_be_shown,
          state_names_the_machine, state_refuses_names_and_entropy_that_are_none,
          state_token_is_changed_by_whoever_shows_it, state_old_documents_change_nothing,
          state_refuses_bad_documents_whole, state_tells_programs_of_an_authority,
          state_bounds_the_variables, state_metrics_are_figures_of_this_machine))
