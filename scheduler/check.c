/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of what brokers may send.
 *
 * Theory of operation
 *
 * What: every field of every request is checked here before anything is done with it, so that what
 * is in the store and in memory is bounded and well formed. Ids become file names at the broker:
 * they are plain words. Trust: brokers are ours, but they pass on what clients and images say.
 */
#include "scheduler/check.h"

#include "base/utf8.h"
#include "scheduler/template_ref.h"
#include "scheduler/templates.h"

static int refuse(struct adit_err *err, const char *field, const char *why)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s: %s", field, why);
}

static bool is_id_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_name_char(char c)
{
    return is_id_char(c) || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' || c == '-';
}

static bool is_word(const char *text, size_t max, bool (*is_char)(char))
{
    size_t len = strnlen(text, max + 1);
    for (size_t i = 0; i < len; i++) {
        if (!is_char(text[i]))
            return false;
    }
    return len > 0 && len <= max;
}

int check_id(const char *field, const char *text, struct adit_err *err)
{
    return is_word(text, CHECK_ID_MAX, is_id_char)
               ? 0
               : refuse(err, field, "not 1 to 64 lower-case letters and digits");
}

int check_name(const char *field, const char *text, struct adit_err *err)
{
    return is_word(text, CHECK_ID_MAX, is_name_char)
               ? 0
               : refuse(err, field, "not 1 to 64 letters, digits, '.', '_' and '-'");
}

int check_text(const char *field, const char *text, size_t max, struct adit_err *err)
{
    size_t len = strnlen(text, max + 1);
    if (len > max)
        return refuse(err, field, "too long");
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return refuse(err, field, "control character");
    }
    return adit_utf8_valid(adit_view_mem(text, len)) ? 0 : refuse(err, field, "not UTF-8");
}

/* Shell text: lines and tabs are fine. */
static int check_command(const char *field, const char *text, struct adit_err *err)
{
    size_t len = strnlen(text, CHECK_CMD_MAX + 1);
    if (len > CHECK_CMD_MAX)
        return refuse(err, field, "too long");
    return adit_utf8_valid(adit_view_mem(text, len)) ? 0 : refuse(err, field, "not UTF-8");
}

static int check_resources(const char *field, const Scheduler__Resources *r, struct adit_err *err)
{
    if (!r)
        return refuse(err, field, "missing");
    if (r->cpu_count > CHECK_CPUS_MAX || r->memory_mb > CHECK_MEBIBYTES_MAX ||
        r->disk_mb > CHECK_MEBIBYTES_MAX)
        return refuse(err, field, "out of range");
    return 0;
}

static int check_machine(const Scheduler__Machine *m, struct adit_err *err)
{
    int rc = check_text("cpu_family", m->cpu_family, CHECK_TEXT_MAX, err);
    if (rc == 0)
        rc = check_text("cpu_model", m->cpu_model, CHECK_TEXT_MAX, err);
    if (rc == 0)
        rc = check_text("cpu_model_name", m->cpu_model_name, CHECK_TEXT_MAX, err);
    return rc ? rc : check_text("cpu_architecture", m->cpu_architecture, CHECK_TEXT_MAX, err);
}

int check_node(const Scheduler__Node *n, struct adit_err *err)
{
    if (!n)
        return refuse(err, "node", "missing");
    int rc = check_name("node_id", n->node_id, err);
    if (rc == 0)
        rc = check_name("incarnation", n->incarnation, err);
    if (rc == 0)
        rc = check_text("address", n->address, CHECK_TEXT_MAX, err);
    if (rc == 0)
        rc = check_text("version", n->version, CHECK_ID_MAX, err);
    if (rc == 0)
        rc = check_resources("capacity", n->capacity, err);
    if (rc == 0 && n->allocated)
        rc = check_resources("allocated", n->allocated, err);
    if (rc == 0 && n->warm)
        rc = check_resources("warm", n->warm, err);
    if (rc == 0 && n->machine)
        rc = check_machine(n->machine, err);
    if (rc == 0 && (n->state != SCHEDULER__NODE_STATE__NODE_STATE_READY &&
                    n->state != SCHEDULER__NODE_STATE__NODE_STATE_DRAINING))
        rc = refuse(err, "state", "neither ready nor draining");
    if (rc == 0 &&
        (n->n_isolations > CHECK_ISOLATIONS_MAX || n->n_template_ids > CHECK_NODE_TEMPLATES_MAX))
        rc = refuse(err, "node", "too many isolations or templates");
    for (size_t i = 0; rc == 0 && i < n->n_isolations; i++)
        rc = check_name("isolations", n->isolations[i], err);
    for (size_t i = 0; rc == 0 && i < n->n_template_ids; i++)
        rc = check_id("template_ids", n->template_ids[i], err);
    return rc;
}

int check_running(const Scheduler__RunningSandbox *s, struct adit_err *err)
{
    int rc = check_id("sandbox_id", s->sandbox_id, err);
    if (rc == 0)
        rc = check_name("team_id", s->team_id, err);
    if (rc == 0)
        rc = check_id("template_id", s->template_id, err);
    if (rc == 0 && s->key_id[0])
        rc = check_name("key_id", s->key_id, err);
    return rc ? rc : check_resources("resources", s->resources, err);
}

/* As it is found again by a reference: the parser must give it back unchanged. */
static int check_alias(const char *alias, struct adit_err *err)
{
    struct template_ref r;
    if (template_ref_parse(adit_view_str(alias), &r, NULL) || strcmp(r.name, alias) != 0)
        return refuse(err, "aliases", "not a lower-case alias or namespace/alias");
    return 0;
}

int check_template(const Scheduler__Template *t, struct adit_err *err)
{
    if (!t)
        return refuse(err, "template", "missing");
    int rc = check_id("template_id", t->template_id, err);
    if (rc == 0)
        rc = check_name("build_id", t->build_id, err);
    if (rc == 0)
        rc = check_resources("resources", t->resources, err);
    if (rc == 0)
        rc = check_text("artifact", t->artifact, CHECK_TEXT_MAX, err);
    if (rc == 0)
        rc = check_command("start_cmd", t->start_cmd, err);
    if (rc == 0)
        rc = check_command("ready_cmd", t->ready_cmd, err);
    if (rc == 0)
        rc = check_text("default_user", t->default_user, CHECK_TEXT_MAX, err);
    if (rc == 0)
        rc = check_text("default_workdir", t->default_workdir, CHECK_PATH_MAX, err);
    if (rc == 0 && t->isolation[0])
        rc = check_name("isolation", t->isolation, err);
    if (rc == 0 && t->n_aliases > TEMPLATES_ALIASES_MAX)
        rc = refuse(err, "aliases", "too many");
    for (size_t i = 0; rc == 0 && i < t->n_aliases; i++)
        rc = check_alias(t->aliases[i], err);
    return rc;
}
