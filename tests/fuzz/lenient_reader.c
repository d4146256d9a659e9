/* SPDX-License-Identifier: Apache-2.0 */
/* llhttp in its default mode, told nothing and asked for everything. */
#include "tests/fuzz/lenient_reader.h"

#include <llhttp.h>

/* @spaces: seen in a value; they belong to it only when more follows. Tabs count as spaces. */
struct reading {
    llhttp_t parser;
    struct lenient_reader *out;
    struct lenient_message now;
    size_t spaces;
    bool in_body;
};

static struct reading *reading_of(llhttp_t *p)
{
    return p->data;
}

static int on_begin(llhttp_t *p)
{
    reading_of(p)->now = (struct lenient_message){0};
    reading_of(p)->in_body = false;
    return 0;
}

static int on_text(llhttp_t *p, const char *at, size_t len)
{
    struct reading *r = reading_of(p);
    if (!r->in_body) /* trailers are no fields of the head */
        r->now.digest = lenient_digest(r->now.digest, at, len);
    return 0;
}

static int on_text_end(llhttp_t *p)
{
    struct reading *r = reading_of(p);
    if (!r->in_body)
        r->now.digest = lenient_digest_end(r->now.digest);
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t len)
{
    struct reading *r = reading_of(p);
    if (r->in_body)
        return 0;
    for (; len > 0; at++, len--) {
        if (*at == ' ' || *at == '\t') {
            r->spaces++;
            continue;
        }
        for (; r->spaces > 0; r->spaces--)
            r->now.digest = lenient_digest(r->now.digest, " ", 1);
        r->now.digest = lenient_digest(r->now.digest, at, 1);
    }
    return 0;
}

static int on_value_end(llhttp_t *p)
{
    reading_of(p)->spaces = 0;
    return on_text_end(p);
}

static int on_head_end(llhttp_t *p)
{
    reading_of(p)->in_body = true;
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t len)
{
    struct reading *r = reading_of(p);
    r->now.digest = lenient_digest(r->now.digest, at, len);
    r->now.body_len += len;
    return 0;
}

static int on_end(llhttp_t *p)
{
    struct reading *r = reading_of(p);
    if (r->out->message_cnt == LENIENT_MESSAGES_MAX)
        return HPE_USER;
    r->out->messages[r->out->message_cnt++] = r->now;
    return 0;
}

void lenient_reader_run(const void *bytes, size_t len, struct lenient_reader *out)
{
    struct reading r = {.out = out};
    llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    settings.on_message_begin = on_begin;
    settings.on_method = on_text;
    settings.on_method_complete = on_text_end;
    settings.on_url = on_text;
    settings.on_url_complete = on_text_end;
    settings.on_header_field = on_text;
    settings.on_header_field_complete = on_text_end;
    settings.on_header_value = on_value;
    settings.on_header_value_complete = on_value_end;
    settings.on_headers_complete = on_head_end;
    settings.on_body = on_body;
    settings.on_message_complete = on_end;
    llhttp_init(&r.parser, HTTP_REQUEST, &settings);
    r.parser.data = &r;
    out->message_cnt = 0;
    llhttp_errno_t rc = llhttp_execute(&r.parser, bytes, len);
    out->is_upgrade = rc == HPE_PAUSED_UPGRADE;
    out->is_refused = rc != HPE_OK && !out->is_upgrade;
}
