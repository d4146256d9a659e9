/* SPDX-License-Identifier: Apache-2.0 */
/*
 * multipart/form-data as a stream.
 *
 * Theory of operation
 *
 * What:    finds the delimiter (CRLF, "--", boundary) in a stream cut anywhere, reads the few
 * fields of a part's head, and passes bodies on where they lie. Only '\r' can begin a delimiter and
 * it comes in it once, so a failed match never has to look back: the bytes held are data, and the
 * search goes on with the byte that did not fit. States: PREAMBLE ──delimiter──> AFTER ──CRLF──>
 * HEAD ──> BODY ─┐ ^  │                           │ delimiter │  └─"--"──> EPILOGUE          │
 *                                    └──────────────────────────────┘
 *          PREAMBLE and BODY begin as if CRLF had been read: the first delimiter may be the first
 * line, and that of an empty body may follow the head's empty line at once. These two bytes are
 *          @imagined and never given out as data.
 * Limits:  in the header. A part's head goes through http_guard, so its lines are as strict as
 * HTTP's. Trust:   all bytes are hostile. A delimiter followed by anything but "--" or the end of
 * its line is refused; guessing either way would be another parser's disagreement. Failure: the
 * first error is kept and repeated.
 */
#include "net/multipart.h"

#include "net/http_guard.h"

#include <stdlib.h>

enum state {
    STATE_PREAMBLE,
    STATE_AFTER,
    STATE_HEAD,
    STATE_BODY,
    STATE_EPILOGUE,
    STATE_FAILED,
};

/*
 * @delim:      CRLF "--" boundary
 * @matched:    bytes of @delim seen at the end of the input so far, @imagined of them not really
 * @after:      in STATE_AFTER the last byte seen, 0 at first
 * @padding:    white space behind a delimiter
 * @head:       of the part; the views of the last part event point into it
 */
struct multipart {
    enum state state;
    int error;
    char delim[4 + MULTIPART_BOUNDARY_CAP];
    size_t delim_len, matched, imagined, padding;
    char after;
    unsigned part_cnt;
    struct http_guard guard;
    struct adit_buf head;
};

static int bad(struct adit_err *err, const char *message)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s", message);
}

static void consume(struct adit_view *v, size_t n)
{
    v->ptr += n;
    v->len -= n;
}

/* ---- parameters: *( ";" name "=" ( token / quoted-string ) ) ---- */

struct param {
    struct adit_view name, value;
    bool is_quoted; /* value is the inside of the quotes, still escaped */
};

static size_t token_len(struct adit_view v)
{
    size_t n = 0;
    while (n < v.len && http_guard_is_token(adit_view_mem(v.ptr + n, 1)))
        n++;
    return n;
}

/* @v begins behind the opening quote. Return: where the closing one is, or v.len. */
static size_t quoted_len(struct adit_view v)
{
    size_t n = 0;
    while (n < v.len && v.ptr[n] != '"')
        n += v.ptr[n] == '\\' && n + 1 < v.len && (v.ptr[n + 1] == '"' || v.ptr[n + 1] == '\\') ? 2
                                                                                                : 1;
    return n;
}

static int take_param_value(struct adit_view *rest, struct param *p)
{
    p->is_quoted = rest->len > 0 && rest->ptr[0] == '"';
    if (p->is_quoted)
        consume(rest, 1);
    size_t len = p->is_quoted ? quoted_len(*rest) : token_len(*rest);
    p->value = adit_view_mem(rest->ptr, len);
    consume(rest, len);
    if (!p->is_quoted)
        return len > 0 ? ADIT_OK : ADIT_ERR_BAD_INPUT;
    if (rest->len == 0)
        return ADIT_ERR_BAD_INPUT;
    consume(rest, 1);
    return ADIT_OK;
}

/* The next parameter of @rest; *found is false at the end. */
static int next_param(struct adit_view *rest, struct param *p, bool *found)
{
    *found = false;
    *rest = adit_view_trim(*rest);
    if (rest->len == 0)
        return ADIT_OK;
    if (rest->ptr[0] != ';')
        return ADIT_ERR_BAD_INPUT;
    consume(rest, 1);
    *rest = adit_view_trim(*rest);
    if (rest->len == 0)
        return ADIT_OK; /* some clients end the list with a semicolon */
    size_t len = token_len(*rest);
    p->name = adit_view_mem(rest->ptr, len);
    consume(rest, len);
    if (len == 0 || rest->len == 0 || rest->ptr[0] != '=')
        return ADIT_ERR_BAD_INPUT;
    consume(rest, 1);
    *found = true;
    return take_param_value(rest, p);
}

/* ---- the boundary ---- */

static bool is_boundary(struct adit_view v)
{
    static const char others[] = "'()+_,-./:=? ";
    if (v.len == 0 || v.len > MULTIPART_BOUNDARY_CAP || v.ptr[v.len - 1] == ' ')
        return false;
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_alnum && (c == '\0' || !strchr(others, c)))
            return false;
    }
    return true;
}

static int find_boundary(struct adit_view content_type, struct adit_view *boundary)
{
    static const char type[] = "multipart/";
    const size_t type_len = sizeof(type) - 1;
    struct param p;
    bool found;
    content_type = adit_view_trim(content_type);
    if (content_type.len < type_len ||
        !adit_view_ieq_str(adit_view_mem(content_type.ptr, type_len), type))
        return ADIT_ERR_BAD_INPUT;
    consume(&content_type, type_len);
    size_t subtype_len = token_len(content_type);
    consume(&content_type, subtype_len);
    *boundary = adit_view_mem(NULL, 0);
    int rc = subtype_len > 0 ? next_param(&content_type, &p, &found) : ADIT_ERR_BAD_INPUT;
    for (; rc == ADIT_OK && found; rc = next_param(&content_type, &p, &found)) {
        if (!adit_view_ieq_str(p.name, "boundary"))
            continue;
        if (boundary->ptr)
            return ADIT_ERR_BAD_INPUT;
        *boundary = p.value;
    }
    return rc;
}

int multipart_new(struct adit_view content_type, struct multipart **out, struct adit_err *err)
{
    struct adit_view boundary;
    if (find_boundary(content_type, &boundary) != ADIT_OK)
        return bad(err, "malformed multipart content type");
    if (!is_boundary(boundary))
        return bad(err, "no multipart boundary, or a malformed one");
    struct multipart *m = calloc(1, sizeof(*m));
    if (!m)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a multipart body");
    memcpy(m->delim, "\r\n--", 4);
    /* is_boundary() refuses an empty one.
     * NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
    memcpy(m->delim + 4, boundary.ptr, boundary.len);
    m->delim_len = 4 + boundary.len;
    m->matched = m->imagined = 2;
    adit_buf_init(&m->head, MULTIPART_PART_HEAD_CAP);
    *out = m;
    return ADIT_OK;
}

void multipart_free(struct multipart *m)
{
    if (!m)
        return;
    adit_buf_fini(&m->head);
    free(m);
}

/* ---- a part's head ---- */

static bool is_escape(const char *p, const char *end, const char *escape)
{
    return end - p >= 3 && p[0] == '%' && p[1] == escape[0] && (p[2] | 0x20) == escape[1];
}

/* Undo the escapes of a quoted value, in place: @value lies in @head. */
static struct adit_view unquote(struct adit_buf *head, struct adit_view value)
{
    char *start = head->data + (value.ptr - head->data), *to = start;
    const char *end = start + value.len;
    for (const char *p = start; p < end;) {
        if (is_escape(p, end, "22") || is_escape(p, end, "0d") || is_escape(p, end, "0a")) {
            *to++ = p[1] == '2' ? '"' : (p[2] | 0x20) == 'd' ? '\r' : '\n';
            p += 3;
            continue;
        }
        if (*p == '\\' && p + 1 < end && (p[1] == '"' || p[1] == '\\'))
            p++;
        *to++ = *p++;
    }
    return adit_view_mem(start, (size_t)(to - start));
}

/* "form-data; name=…; filename=…". Another disposition has neither name. */
static int read_disposition(struct multipart *m, struct adit_view value,
                            struct multipart_part *part)
{
    static const char type[] = "form-data";
    struct param p;
    bool found;
    size_t type_len = token_len(value);
    if (!adit_view_ieq_str(adit_view_mem(value.ptr, type_len), type))
        return ADIT_OK;
    consume(&value, type_len);
    int rc = next_param(&value, &p, &found);
    for (; rc == ADIT_OK && found; rc = next_param(&value, &p, &found)) {
        bool is_name = adit_view_ieq_str(p.name, "name");
        bool is_filename = adit_view_ieq_str(p.name, "filename");
        if ((is_name && part->has_name) || (is_filename && part->has_filename))
            return ADIT_ERR_BAD_INPUT;
        if (!is_name && !is_filename)
            continue;
        *(is_name ? &part->name : &part->filename) =
            p.is_quoted ? unquote(&m->head, p.value) : p.value;
        *(is_name ? &part->has_name : &part->has_filename) = true;
    }
    return rc;
}

static int read_part(struct multipart *m, struct adit_view lines, struct multipart_part *part)
{
    struct adit_view line, name, value;
    unsigned disposition_cnt = 0;
    *part = (struct multipart_part){0};
    while (adit_view_split(lines, '\n', &line, &lines)) {
        line.len--; /* http_guard saw to the '\r' */
        adit_view_split(line, ':', &name, &value);
        value = adit_view_trim(value);
        if (adit_view_ieq_str(name, "content-type"))
            part->content_type = value;
        if (!adit_view_ieq_str(name, "content-disposition"))
            continue;
        if (disposition_cnt++ > 0 || read_disposition(m, value, part) != ADIT_OK)
            return ADIT_ERR_BAD_INPUT;
    }
    return ADIT_OK;
}

/* ---- steps ---- */

static int step_after(struct multipart *m, struct adit_view *in, enum multipart_event *event,
                      struct adit_err *err)
{
    char before = m->after, c = in->ptr[0];
    consume(in, 1);
    m->after = c;
    if (before == '-' && c == '-') {
        m->state = STATE_EPILOGUE;
        *event = MULTIPART_EV_END;
        return ADIT_OK;
    }
    if (before == '\r' && c == '\n') {
        if (m->part_cnt++ == MULTIPART_PARTS_MAX)
            return adit_err_set(err, ADIT_ERR_LIMIT, "more than %d parts", MULTIPART_PARTS_MAX);
        m->state = STATE_HEAD;
        adit_buf_clear(&m->head);
        http_guard_init_fields(&m->guard);
        return ADIT_OK;
    }
    bool is_blank = c == ' ' || c == '\t';
    if (before == '\r' || before == '-' || (!is_blank && c != '\r' && (c != '-' || before != 0)))
        return bad(err, "malformed multipart boundary line");
    if (is_blank && ++m->padding > MULTIPART_PART_HEAD_CAP)
        return adit_err_set(err, ADIT_ERR_LIMIT, "multipart boundary line is too long");
    return ADIT_OK;
}

static int step_head(struct multipart *m, struct adit_view *in, struct multipart_part *part,
                     enum multipart_event *event, struct adit_err *err)
{
    size_t before = m->head.len, room = MULTIPART_PART_HEAD_CAP - before, len;
    size_t taken = in->len < room ? in->len : room;
    if (adit_buf_append(&m->head, in->ptr, taken) != ADIT_OK)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a part's head");
    struct adit_view lines = adit_buf_view(&m->head);
    int rc = http_guard_feed(&m->guard, HTTP_REQUEST, lines, &len, err);
    if (rc != ADIT_OK)
        return rc;
    if (len == 0) {
        consume(in, taken);
        if (m->head.len == MULTIPART_PART_HEAD_CAP)
            return adit_err_set(err, ADIT_ERR_LIMIT, "part head longer than %u bytes",
                                MULTIPART_PART_HEAD_CAP);
        return ADIT_OK;
    }
    consume(in, len - before);
    lines.len = len - 2; /* without the empty line */
    if (read_part(m, lines, part) != ADIT_OK)
        return bad(err, "malformed Content-Disposition");
    m->state = STATE_BODY;
    m->matched = m->imagined = 2;
    *event = MULTIPART_EV_PART;
    return ADIT_OK;
}

/* Go on with a delimiter that began. Return: bytes that turned out to be data. */
static struct adit_view match_on(struct multipart *m, struct adit_view *in)
{
    while (m->matched < m->delim_len && in->len > 0 && in->ptr[0] == m->delim[m->matched]) {
        m->matched++;
        consume(in, 1);
    }
    struct adit_view held = {m->delim + m->imagined, m->matched - m->imagined};
    if (m->matched == m->delim_len || in->len == 0)
        return adit_view_mem(NULL, 0);
    m->matched = m->imagined = 0;
    return held;
}

/* Everything up to what may be a delimiter. */
static struct adit_view skip_data(struct multipart *m, struct adit_view *in)
{
    struct adit_view rest = *in;
    const char *cr;
    while (rest.len > 0 && (cr = memchr(rest.ptr, '\r', rest.len))) {
        consume(&rest, (size_t)(cr - rest.ptr));
        size_t seen = rest.len < m->delim_len ? rest.len : m->delim_len;
        if (memcmp(rest.ptr, m->delim, seen) == 0) {
            m->matched = 1;
            break;
        }
        consume(&rest, 1);
    }
    struct adit_view data = *in;
    if (m->matched == 1)
        data.len = (size_t)(rest.ptr - in->ptr);
    consume(in, data.len + m->matched);
    return data;
}

static void step_data(struct multipart *m, struct adit_view *in, struct adit_view *data,
                      enum multipart_event *event)
{
    bool is_body = m->state == STATE_BODY;
    struct adit_view bytes = m->matched > 0 ? match_on(m, in) : skip_data(m, in);
    if (m->matched == m->delim_len) {
        m->state = STATE_AFTER;
        m->matched = m->imagined = m->padding = 0;
        m->after = 0;
        *event = is_body ? MULTIPART_EV_PART_END : MULTIPART_EV_MORE;
    } else if (is_body && bytes.len > 0) {
        *data = bytes;
        *event = MULTIPART_EV_DATA;
    }
}

int multipart_next(struct multipart *m, struct adit_view *in, struct multipart_part *part,
                   struct adit_view *data, enum multipart_event *event, struct adit_err *err)
{
    int rc = ADIT_OK;
    *event = MULTIPART_EV_MORE;
    while (rc == ADIT_OK && *event == MULTIPART_EV_MORE && in->len > 0) {
        switch (m->state) {
        case STATE_PREAMBLE:
        case STATE_BODY:
            step_data(m, in, data, event);
            break;
        case STATE_AFTER:
            rc = step_after(m, in, event, err);
            break;
        case STATE_HEAD:
            rc = step_head(m, in, part, event, err);
            break;
        case STATE_EPILOGUE:
            consume(in, in->len);
            break;
        case STATE_FAILED:
            return adit_err_set(err, m->error, "the multipart body was refused before");
        }
    }
    if (rc != ADIT_OK) {
        m->error = rc;
        m->state = STATE_FAILED;
    }
    return rc;
}

int multipart_finish(struct multipart *m, struct adit_err *err)
{
    if (m->state == STATE_EPILOGUE)
        return ADIT_OK;
    return bad(err, "unexpected EOF");
}
