/* SPDX-License-Identifier: Apache-2.0 */
/* The body of POST /files. */
/*
 * Theory of operation
 *
 *   bytes → [gunzip] → [multipart] → place (one per file) → commit of all at the end
 *
 * Files are put in place when the whole body was received and found correct (closing boundary, gzip
 * trailer), so a body that breaks off, even in its last byte, changes nothing. The one exception is
 * the contract's: a second file for a path that was given already refuses the request, but the
 * files before it are put in place.
 *
 * Limits: MULTIPART_PARTS_MAX files; UPLOAD_HELD_MAX bytes in memory, then files wait on disk; one
 * descriptor for each that does.
 *
 * Trust: every byte comes from a client. Paths are taken as they are after the path rules; a client
 * may write every file of its sandbox.
 *
 * Failure: the first error is final. Its code is the HTTP status in the contract's table.
 */
#include "envd/filesystem/upload.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "envd/paths.h"
#include "net/gzip.h"
#include "net/multipart.h"

struct upload_file {
    char *path; /* as it is answered */
    struct place place;
};

/*
 * @gzip, @inflated: NULL unless the body is compressed
 * @multipart:       NULL: the body is the file
 * @is_open:         the last of @files takes bytes
 * @gzip_done:       the trailer was right
 */
struct upload {
    struct user_entry user;
    struct tree_owner owner;
    char *workdir, *path;
    struct metadata metadata;
    bool fsync, is_open, gzip_done;
    struct gzip *gzip;
    char *inflated;
    struct multipart *multipart;
    struct upload_file files[MULTIPART_PARTS_MAX];
    size_t file_cnt;
};

static int no_memory(struct adit_err *err)
{
    return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
}

/* ---- beginning ---- */

static int choose_decoding(struct upload *u, struct adit_view encoding, struct adit_err *err)
{
    if (encoding.len == 0 || adit_view_ieq_str(encoding, "identity"))
        return 0;
    if (!adit_view_ieq_str(encoding, "gzip"))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "error decompressing request body: unsupported Content-Encoding: %.*s",
                            ADIT_VIEW_ARG(encoding));
    u->inflated = malloc(UPLOAD_INFLATE_CAP);
    return u->inflated ? gzip_decoder_new(UINT64_MAX, &u->gzip, err) : no_memory(err);
}

static int start_multipart(struct upload *u, struct adit_view type, struct adit_err *err)
{
    int rc = multipart_new(type, &u->multipart, err);
    if (rc != ADIT_ERR_BAD_INPUT)
        return rc;
    adit_err_wrap(err, "error parsing multipart form");
    return err->code = ADIT_ERR_IO;
}

static int choose_form(struct upload *u, struct adit_view type, struct adit_err *err)
{
    struct adit_view media, parameters;
    (void)adit_view_split(type, ';', &media, &parameters); /* without one all of it is the type */
    media = adit_view_trim(media);
    struct adit_view start = {media.ptr, sizeof "multipart/" - 1};
    if (media.len > start.len && adit_view_ieq_str(start, "multipart/"))
        return start_multipart(u, type, err);
    if (!adit_view_ieq_str(media, "application/octet-stream"))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "unsupported content type: %.*s, expected multipart/form-data or "
                            "application/octet-stream",
                            ADIT_VIEW_ARG(type));
    if (!u->path)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "path query parameter is required for raw body upload");
    return 0;
}

static int configure(struct upload *u, const struct upload_conf *conf, struct adit_err *err)
{
    u->user = *conf->user;
    u->owner = (struct tree_owner){conf->user->uid, conf->user->gid};
    u->fsync = conf->fsync;
    u->workdir = strdup(conf->workdir);
    u->path = conf->path[0] ? strdup(conf->path) : NULL;
    if (!u->workdir || (conf->path[0] && !u->path))
        return no_memory(err);
    int rc = choose_form(u, conf->content_type, err);
    return rc ? rc : choose_decoding(u, conf->content_encoding, err);
}

int upload_new(const struct upload_conf *conf, struct metadata *take_metadata, struct upload **out,
               struct adit_err *err)
{
    struct upload *u = calloc(1, sizeof *u);
    if (!u)
        return no_memory(err);
    u->metadata = *take_metadata;
    memset(take_metadata, 0, sizeof *take_metadata);
    int rc = configure(u, conf, err);
    if (rc) {
        upload_free(u);
        return rc;
    }
    *out = u;
    return 0;
}

/* ---- files ---- */

static size_t held(const struct upload *u)
{
    size_t sum = 0;
    for (size_t i = 0; i < u->file_cnt; i++)
        sum += place_held(&u->files[i].place);
    return sum;
}

static int commit_all(struct upload *u, struct adit_err *err)
{
    for (size_t i = 0; i < u->file_cnt; i++) {
        int rc = place_commit(&u->files[i].place, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* The files before the second one for @path are put in place, as the contract has it. */
static int refuse_twice(struct upload *u, const char *path, struct adit_err *err)
{
    int rc = commit_all(u, err);
    if (rc)
        return rc;
    struct adit_buf others;
    adit_buf_init(&others, sizeof err->msg);
    for (size_t i = 0; i < u->file_cnt; i++) {
        if (strcmp(u->files[i].path, path) != 0 &&
            adit_buf_appendf(&others, "%s%s", others.len ? ", " : "", u->files[i].path))
            break; /* the message has no room for more */
    }
    (void)adit_err_set(err, ADIT_ERR_BAD_INPUT,
                       "you cannot upload multiple files to the same path '%s' in one upload "
                       "request, only the first specified file was uploaded%s%.*s",
                       path, others.len ? ", also the following files were uploaded: " : "",
                       ADIT_VIEW_ARG(adit_buf_view(&others)));
    adit_buf_fini(&others);
    return ADIT_ERR_BAD_INPUT;
}

static int resolve(const struct upload *u, struct adit_view name, char **out, struct adit_err *err)
{
    struct paths_base base = {u->user.name, u->user.home, u->workdir};
    struct adit_buf path;
    adit_buf_init(&path, ENVD_PATH_CAP);
    int rc = paths_resolve(&base, name, &path, err);
    if (rc == ADIT_ERR_BAD_INPUT)
        (void)adit_err_wrap(err, "error resolving path"); /* the code is the same */
    if (!rc && !(*out = adit_buf_steal_str(&path)))
        rc = no_memory(err);
    adit_buf_fini(&path);
    return rc;
}

/* Begin the file called @name. */
static int open_file(struct upload *u, struct adit_view name, struct adit_err *err)
{
    ADIT_CLEANUP_FREE char *path = NULL;
    struct place_conf conf = {u->owner, &u->metadata, u->fsync, held(u) > UPLOAD_HELD_MAX};

    int rc = resolve(u, name, &path, err);
    for (size_t i = 0; !rc && i < u->file_cnt; i++) {
        if (strcmp(u->files[i].path, path) == 0)
            return refuse_twice(u, path, err);
    }
    if (rc)
        return rc;
    struct upload_file *file = &u->files[u->file_cnt++]; /* multipart counts the parts */
    rc = place_init(&file->place, &conf, path, err);
    file->path = adit_steal(&path);
    u->is_open = true;
    return rc;
}

static int write_file(struct upload *u, struct adit_view bytes, struct adit_err *err)
{
    return place_write(&u->files[u->file_cnt - 1].place, bytes, err);
}

/* ---- the body ---- */

static int take_raw(struct upload *u, struct adit_view bytes, struct adit_err *err)
{
    int rc = u->is_open ? 0 : open_file(u, adit_view_str(u->path), err);
    return rc || bytes.len == 0 ? rc : write_file(u, bytes, err);
}

static int take_part(struct upload *u, const struct multipart_part *part, struct adit_err *err)
{
    u->is_open = false;
    if (!adit_view_eq_str(part->name, "file"))
        return 0;
    return open_file(u, u->path ? adit_view_str(u->path) : part->filename, err);
}

static int form_failure(int rc, const char *what, struct adit_err *err)
{
    (void)adit_err_wrap(err, "%s", what);
    return err->code = rc == ADIT_ERR_NO_MEMORY ? rc : ADIT_ERR_IO;
}

static int take_form(struct upload *u, struct adit_view bytes, struct adit_err *err)
{
    while (bytes.len) {
        struct multipart_part part;
        struct adit_view data;
        enum multipart_event event;
        int rc = multipart_next(u->multipart, &bytes, &part, &data, &event, err);
        if (rc)
            return form_failure(rc, "error reading form", err);
        if (event == MULTIPART_EV_PART)
            rc = take_part(u, &part, err);
        else if (event == MULTIPART_EV_DATA && u->is_open)
            rc = write_file(u, data, err);
        else if (event == MULTIPART_EV_PART_END)
            u->is_open = false;
        if (rc)
            return rc;
    }
    return 0;
}

static int take_plain(struct upload *u, struct adit_view bytes, struct adit_err *err)
{
    return u->multipart ? take_form(u, bytes, err) : take_raw(u, bytes, err);
}

static int gzip_failure(int rc, struct adit_err *err)
{
    (void)adit_err_wrap(err, "error decompressing request body");
    return err->code = rc == ADIT_ERR_NO_MEMORY ? rc : ADIT_ERR_BAD_INPUT;
}

static int take_gzip(struct upload *u, struct adit_view bytes, bool finish, struct adit_err *err)
{
    size_t len;
    do {
        int rc = gzip_step(u->gzip, &bytes, finish, u->inflated, UPLOAD_INFLATE_CAP, &len,
                           &u->gzip_done, err);
        if (rc)
            return gzip_failure(rc, err);
        rc = take_plain(u, adit_view_mem(u->inflated, len), err);
        if (rc)
            return rc;
    } while (bytes.len || len == UPLOAD_INFLATE_CAP);
    return 0;
}

int upload_feed(struct upload *u, struct adit_view bytes, struct adit_err *err)
{
    return u->gzip ? take_gzip(u, bytes, false, err) : take_plain(u, bytes, err);
}

static int check_end(struct upload *u, struct adit_err *err)
{
    int rc = u->gzip ? take_gzip(u, (struct adit_view){NULL, 0}, true, err) : 0;
    if (rc)
        return rc;
    if (u->gzip && !u->gzip_done)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "error decompressing request body: unexpected EOF");
    if (!u->multipart)
        return take_raw(u, (struct adit_view){NULL, 0}, err);
    rc = multipart_finish(u->multipart, err);
    return rc ? form_failure(rc, "error reading form", err) : 0;
}

/* ---- the answer ---- */

static int append_member(struct adit_buf *b, const char *before, const char *text)
{
    int rc = adit_buf_append_str(b, before);
    if (!rc)
        rc = adit_buf_append_json_text(b, adit_view_str(text));
    return rc ? rc : adit_buf_append_char(b, '"');
}

static int append_metadata(const struct metadata *m, struct adit_buf *b)
{
    int rc = adit_buf_append_str(b, ",\"metadata\":{");
    for (size_t i = 0; !rc && i < m->cnt; i++) {
        rc = append_member(b, i ? ",\"" : "\"", m->pairs[i].key);
        if (!rc)
            rc = append_member(b, ":\"", m->pairs[i].value);
    }
    return rc ? rc : adit_buf_append_char(b, '}');
}

int upload_append_entry(const char *path, const struct metadata *metadata, struct adit_buf *answer)
{
    ADIT_CLEANUP_FREE char *name = adit_view_dup(paths_base_name(adit_view_str(path)));
    int rc = name ? append_member(answer, "{\"path\":\"", path) : ADIT_ERR_NO_MEMORY;
    if (!rc)
        rc = append_member(answer, ",\"name\":\"", name);
    if (!rc)
        rc = adit_buf_append_str(answer, ",\"type\":\"file\"");
    if (!rc && metadata->cnt)
        rc = append_metadata(metadata, answer);
    return rc ? rc : adit_buf_append_char(answer, '}');
}

int upload_finish(struct upload *u, struct adit_buf *answer, struct adit_err *err)
{
    static const struct metadata none;

    int rc = check_end(u, err);
    if (!rc)
        rc = commit_all(u, err);
    if (rc)
        return rc;
    rc = adit_buf_append_char(answer, '[');
    for (size_t i = 0; !rc && i < u->file_cnt; i++) {
        const struct upload_file *file = &u->files[i];
        rc = i ? adit_buf_append_char(answer, ',') : 0;
        if (!rc)
            rc = upload_append_entry(file->path, file->place.metadata_stored ? &u->metadata : &none,
                                     answer);
    }
    if (!rc)
        rc = adit_buf_append_char(answer, ']');
    return rc ? no_memory(err) : 0;
}

void upload_free(struct upload *u)
{
    if (!u)
        return;
    for (size_t i = 0; i < u->file_cnt; i++) {
        place_fini(&u->files[i].place);
        free(u->files[i].path);
    }
    multipart_free(u->multipart);
    gzip_free(u->gzip);
    free(u->inflated);
    metadata_fini(&u->metadata);
    free(u->workdir);
    free(u->path);
    free(u);
}
