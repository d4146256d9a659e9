/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading templates: lists, one with its builds, whether an alias is taken.
 *
 * Theory of operation
 *
 * Templates belong to the operator and are there for every team; what is told is what this host's
 * directory holds. One folder is one build. Nobody counts how often a template was used, so these
 * members say 0.
 */
#include "base/clock.h"
#include "base/version.h"
#include "broker/api/api.h"
#include "net/url.h"

#define REF_CAP 256

static json_t *aliases_of(const struct template_info *info)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < info->alias_cnt; i++) {
        if (json_array_append_new(list, json_string(info->aliases[i]))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *template_document(const struct template_info *t)
{
    char created[ADIT_CLOCK_RFC3339_CAP];
    adit_clock_format_rfc3339(t->created_ns, created);
    return json_pack("{s:s, s:s, s:i, s:I, s:I, s:b, s:o, s:o, s:s, s:s, s:n, s:n, s:i, s:i, s:s, "
                     "s:s}",
                     "templateID", t->template_id, "buildID", t->build_id, "cpuCount",
                     (int)t->cpu_count, "memoryMB", (json_int_t)t->memory_mb, "diskSizeMB",
                     (json_int_t)t->disk_mb, "public", 1, "aliases", aliases_of(t), "names",
                     aliases_of(t), "createdAt", created, "updatedAt", created, "createdBy",
                     "lastSpawnedAt", "spawnCount", 0, "buildCount", 1, "envdVersion",
                     ADIT_ENVD_VERSION, "buildStatus", "ready");
}

void api_templates_list(struct api_request *rq)
{
    const struct template_dir *dir = rq->broker->templates;
    json_t *list = json_array();
    for (size_t i = template_dir_cnt(dir); list && i > 0; i--) { /* newest first */
        if (json_array_append_new(list, template_document(&template_dir_at(dir, i - 1)->info))) {
            json_decref(list);
            list = NULL;
        }
    }
    api_reply_json(rq, 200, list);
}

/* What the path names as "{name}", or NULL. */
static const struct template_info *find(const struct api_request *rq, const char *name)
{
    const struct template_dir_entry *t = NULL;
    struct adit_buf ref;
    adit_buf_init(&ref, REF_CAP);
    if (url_decode(api_routes_param(rq->route, edge_api_path(rq->edge), name), false, &ref) == 0)
        t = template_dir_resolve(rq->broker->templates, adit_buf_view(&ref));
    adit_buf_fini(&ref);
    return t ? &t->info : NULL;
}

static void reply_none(struct api_request *rq)
{
    api_reply_error(rq, 404, NULL, "template not found");
}

static json_t *build_document(const struct template_info *t)
{
    char created[ADIT_CLOCK_RFC3339_CAP];
    adit_clock_format_rfc3339(t->created_ns, created);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:s}", "buildID", t->build_id,
                     "status", "ready", "createdAt", created, "updatedAt", created, "finishedAt",
                     created, "cpuCount", (int)t->cpu_count, "memoryMB", (json_int_t)t->memory_mb,
                     "diskSizeMB", (json_int_t)t->disk_mb, "envdVersion", ADIT_ENVD_VERSION);
}

/* As in a list, and its builds. */
void api_templates_get(struct api_request *rq)
{
    const struct template_info *t = find(rq, "{templateID}");
    if (!t) {
        reply_none(rq);
        return;
    }
    json_t *doc = template_document(t);
    if (json_object_set_new(doc, "builds", json_pack("[o]", build_document(t)))) {
        json_decref(doc);
        doc = NULL;
    }
    api_reply_json(rq, 200, doc);
}

void api_templates_alias(struct api_request *rq)
{
    const struct template_info *t = find(rq, "{alias}");
    if (t)
        api_reply_json(rq, 200, json_pack("{s:s, s:b}", "templateID", t->template_id, "public", 1));
    else
        reply_none(rq);
}
