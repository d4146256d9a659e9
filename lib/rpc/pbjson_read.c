/* SPDX-License-Identifier: Apache-2.0 */
/* proto3 JSON into protobuf-c messages. */
/*
 * Theory of operation
 *
 * What     One pass over the text, straight into the message: no tree in between. Reading recurses
 *          once per nested message, list or map, at most PBJSON_DEPTH_MAX times.
 * Rules    null is "not set" and clears what an earlier member of that name said; of equal names
 *          (and equal map keys) the last wins; a name of an enum value that nobody knows is passed
 *          like an unknown field. Inside lists and maps null is refused. A string with U+0000 is
 *          refused, because protobuf-c's strings end there: a path must not read shorter than it
 *          was written.
 * Ownership All is malloc'ed as protobuf_c_message_free_unpacked(…, NULL) expects. A value is put
 * in its place only when it is whole, so a message can be freed at any moment. Limits
 * PBJSON_DEPTH_MAX, PBJSON_ITEMS_MAX (an item of two bytes may cost a hundred in memory),
 *          PBJSON_NUMBER_CAP. Work is linear in the text; map keys are found by hash.
 * Trust    The text is hostile.
 * Failure  Everything is freed; the error says what and where, and quotes nothing of the text.
 */
#include "rpc/pbjson_int.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/map.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "rpc/jsontext.h"

/* Longer names are nobody's. */
#define NAME_CAP 256

/* What read_value() answers for a name of an enum that is unknown: there is no value. */
#define NO_VALUE 1

struct reader {
    struct jsontext text;
    size_t item_cnt;
};

static int read_message(struct reader *r, const ProtobufCMessageDescriptor *type, unsigned depth,
                        ProtobufCMessage **out);

static int refuse(const struct reader *r, const char *what)
{
    return jsontext_fail(&r->text, ADIT_ERR_BAD_INPUT, what);
}

static int no_memory(const struct reader *r)
{
    return jsontext_fail(&r->text, ADIT_ERR_NO_MEMORY, "no memory");
}

/* A short text with a NUL behind it: a number in quotes, the name of an enum value, a time. */
struct word {
    char text[PBJSON_NUMBER_CAP];
    size_t len;
};

static int read_word(struct reader *r, struct word *w)
{
    struct jsontext_string s;
    int rc = jsontext_string(&r->text, &s);
    if (rc)
        return rc;
    if (s.raw.len >= sizeof(w->text))
        return refuse(r, "text is too long for the field");
    w->len = jsontext_unescape(s, w->text);
    w->text[w->len] = '\0';
    return 0;
}

/* ---- numbers ---- */

static bool is_number(const struct word *w)
{
    struct jsontext t;
    struct adit_view number;
    jsontext_init(&t, adit_view_mem(w->text, w->len), NULL);
    return !jsontext_number(&t, &number) && number.len == w->len;
}

/* A number with or without quotes. In quotes it need not be one yet. */
static int read_number(struct reader *r, struct word *w)
{
    struct adit_view number;
    if (jsontext_peek(&r->text) == '"')
        return read_word(r, w);
    int rc = jsontext_number(&r->text, &number);
    if (rc)
        return rc;
    if (number.len >= sizeof(w->text))
        return refuse(r, "number is too long");
    memcpy(w->text, number.ptr, number.len);
    w->text[number.len] = '\0';
    w->len = number.len;
    return 0;
}

/*
 * The magnitude of the integer that the number @w is, exactly; 1.0 and 10e-1 are integers too.
 * Return: false if it has a fraction or does not fit.
 */
static bool magnitude_of(const struct word *w, uint64_t *out)
{
    char digits[PBJSON_NUMBER_CAP];
    long cnt = 0, point = -1, exponent = 0;
    const char *p = w->text + (w->text[0] == '-');

    for (; *p && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.')
            point = cnt;
        else
            digits[cnt++] = *p;
    }
    if (*p)
        exponent = strtol(p + 1, NULL, 10); /* saturates */
    if (point < 0)
        point = cnt;
    while (cnt && digits[cnt - 1] == '0')
        cnt--;
    *out = 0;
    if (cnt == 0)
        return true;
    if (exponent > PBJSON_NUMBER_CAP || exponent < -PBJSON_NUMBER_CAP || point + exponent < cnt)
        return false;
    for (long i = 0; i < point + exponent; i++) {
        uint64_t digit = i < cnt ? (uint64_t)(digits[i] - '0') : 0;
        if (__builtin_mul_overflow(*out, (uint64_t)10, out) ||
            __builtin_add_overflow(*out, digit, out))
            return false;
    }
    return true;
}

/* An integer from -@lowest to @highest, in two's complement. */
static int integer_of(struct reader *r, const struct word *w, uint64_t lowest, uint64_t highest,
                      uint64_t *out)
{
    uint64_t magnitude;
    if (!is_number(w))
        return refuse(r, "not a number");
    bool negative = w->text[0] == '-';
    if (!magnitude_of(w, &magnitude) || magnitude > (negative ? lowest : highest))
        return refuse(r, "number is out of range or has a fraction");
    *out = negative ? 0 - magnitude : magnitude;
    return 0;
}

/* The words that JSON numbers lack. */
static bool special_of(const struct word *w, double *out)
{
    bool known = true;
    if (strcmp(w->text, "NaN") == 0)
        *out = (double)NAN;
    else if (strcmp(w->text, "Infinity") == 0)
        *out = (double)INFINITY;
    else if (strcmp(w->text, "-Infinity") == 0)
        *out = -(double)INFINITY;
    else
        known = false;
    return known;
}

static int read_real(struct reader *r, ProtobufCType type, void *slot)
{
    struct word w;
    double d;
    float f;
    int rc = read_number(r, &w);
    if (rc)
        return rc;
    bool special = special_of(&w, &d);
    if (!special && !is_number(&w))
        return refuse(r, "not a number");
    if (!special)
        d = strtod(w.text, NULL);
    f = special ? (float)d : strtof(w.text, NULL); /* from the text: rounded once */
    if (!special && (type == PROTOBUF_C_TYPE_FLOAT ? isinf(f) : isinf(d)))
        return refuse(r, "number is out of range");
    if (type == PROTOBUF_C_TYPE_FLOAT)
        memcpy(slot, &f, sizeof(f));
    else
        memcpy(slot, &d, sizeof(d));
    return 0;
}

static int store_integer(struct reader *r, ProtobufCType type, const struct word *w, void *slot)
{
    uint64_t highest, lowest = 0, value = 0;
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        highest = INT64_MAX;
        lowest = (uint64_t)INT64_MAX + 1;
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        highest = UINT64_MAX;
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        highest = UINT32_MAX;
        break;
    default:
        highest = INT32_MAX;
        lowest = (uint64_t)INT32_MAX + 1;
    }
    int rc = integer_of(r, w, lowest, highest, &value);
    if (rc)
        return rc;
    uint32_t narrow = (uint32_t)value;
    if (pbjson_size_of(type) == sizeof(value))
        memcpy(slot, &value, sizeof(value));
    else
        memcpy(slot, &narrow, sizeof(narrow));
    return 0;
}

static int read_integer(struct reader *r, ProtobufCType type, void *slot)
{
    struct word w;
    int rc = read_number(r, &w);
    return rc ? rc : store_integer(r, type, &w, slot);
}

/* ---- other scalars ---- */

static int read_bool(struct reader *r, void *slot)
{
    protobuf_c_boolean value = jsontext_peek(&r->text) == 't';
    int rc = jsontext_word(&r->text, value ? "true" : "false");
    if (!rc)
        memcpy(slot, &value, sizeof(value));
    return rc;
}

static int read_enum(struct reader *r, const ProtobufCFieldDescriptor *f, void *slot)
{
    struct word w;
    if (jsontext_peek(&r->text) != '"')
        return read_integer(r, f->type, slot);
    int rc = read_word(r, &w);
    if (rc)
        return rc;
    if (is_number(&w))
        return store_integer(r, f->type, &w, slot);
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value_by_name(f->descriptor, w.text);
    if (!v)
        return NO_VALUE;
    memcpy(slot, &v->value, sizeof(v->value));
    return 0;
}

static int read_string(struct reader *r, char **out)
{
    struct jsontext_string s;
    int rc = jsontext_string(&r->text, &s);
    if (rc)
        return rc;
    char *text = malloc(s.raw.len + 1);
    if (!text)
        return no_memory(r);
    size_t len = s.raw.len;
    if (s.escaped)
        len = jsontext_unescape(s, text);
    else
        memcpy(text, s.raw.ptr, len);
    if (memchr(text, '\0', len)) {
        free(text);
        return refuse(r, "U+0000 in a string");
    }
    text[len] = '\0';
    *out = text;
    return 0;
}

static int read_bytes(struct reader *r, ProtobufCBinaryData *out)
{
    struct jsontext_string s;
    int rc = jsontext_string(&r->text, &s);
    if (rc)
        return rc;
    /* Room for the text itself, so that an escaped one can be decoded in place. */
    uint8_t *data = malloc(s.raw.len + 3);
    if (!data)
        return no_memory(r);
    struct adit_view digits = s.raw;
    if (s.escaped)
        digits = adit_view_mem(data, jsontext_unescape(s, (char *)data));
    if (adit_base64_decode(digits, data, &out->len)) {
        free(data);
        return refuse(r, "not base64");
    }
    out->data = data;
    return 0;
}

static int read_value(struct reader *r, const ProtobufCFieldDescriptor *f, void *slot,
                      unsigned depth)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return read_real(r, f->type, slot);
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(r, slot);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(r, f, slot);
    case PROTOBUF_C_TYPE_STRING:
        return read_string(r, slot);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(r, slot);
    case PROTOBUF_C_TYPE_MESSAGE:
        return read_message(r, f->descriptor, depth, slot);
    default:
        return read_integer(r, f->type, slot);
    }
}

/* ---- what fields hold ---- */

static void *member(ProtobufCMessage *msg, unsigned offset)
{
    return (char *)msg + offset;
}

static void free_value(const ProtobufCFieldDescriptor *f, void *slot)
{
    if (f->type == PROTOBUF_C_TYPE_STRING && *(void **)slot != f->default_value)
        free(*(void **)slot);
    if (f->type == PROTOBUF_C_TYPE_BYTES)
        free(((ProtobufCBinaryData *)slot)->data);
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        protobuf_c_message_free_unpacked(*(ProtobufCMessage **)slot, NULL);
}

static void clear_list(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
    size_t *cnt = member(msg, f->quantifier_offset);
    char **items = member(msg, f->offset);
    for (size_t i = 0; i < *cnt; i++)
        free_value(f, *items + i * pbjson_size_of(f->type));
    free(*items);
    *items = NULL;
    *cnt = 0;
}

static uint32_t *oneof_case(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
    return member(msg, f->quantifier_offset);
}

/* Back to "not set". */
static void clear_field(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
    void *slot = member(msg, f->offset);
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        clear_list(msg, f);
        return;
    }
    if (pbjson_is_oneof(f)) {
        if (*oneof_case(msg, f) != f->id)
            return;
        *oneof_case(msg, f) = 0;
    }
    free_value(f, slot);
    memset(slot, 0, pbjson_size_of(f->type));
    if (f->type == PROTOBUF_C_TYPE_STRING && !pbjson_is_oneof(f))
        memcpy(slot, &f->default_value, sizeof(f->default_value));
}

/* Room for one more item behind the *@cnt that there are; it doubles at each power of two. */
static int grow(struct reader *r, void **items, size_t cnt, size_t size)
{
    if (++r->item_cnt > PBJSON_ITEMS_MAX)
        return jsontext_fail(&r->text, ADIT_ERR_LIMIT, "too many items");
    if (cnt & (cnt - 1))
        return 0;
    void *grown = realloc(*items, (cnt ? 2 * cnt : 1) * size);
    if (!grown)
        return no_memory(r);
    *items = grown;
    return 0;
}

static int read_item(struct reader *r, ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
                     unsigned depth)
{
    size_t *cnt = member(msg, f->quantifier_offset), size = pbjson_size_of(f->type);
    void **items = member(msg, f->offset);

    int rc = grow(r, items, *cnt, size);
    if (!rc)
        rc = read_value(r, f, (char *)*items + *cnt * size, depth);
    if (!rc)
        ++*cnt;
    return rc == NO_VALUE ? 0 : rc;
}

static int read_list(struct reader *r, ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
                     unsigned depth)
{
    bool more;
    if (depth > PBJSON_DEPTH_MAX)
        return jsontext_fail(&r->text, ADIT_ERR_LIMIT, "nested too deeply");
    int rc = jsontext_expect(&r->text, '[');
    for (bool first = true; !rc; first = false) {
        rc = jsontext_next(&r->text, ']', first, &more);
        if (rc || !more)
            return rc;
        rc = read_item(r, msg, f, depth + 1);
    }
    return rc;
}

/* ---- maps ---- */

/* The text of a key, as the key's type reads it. */
static int read_key(struct reader *r, const ProtobufCFieldDescriptor *f, void *slot)
{
    struct word w;
    if (f->type == PROTOBUF_C_TYPE_STRING)
        return read_string(r, slot);
    int rc = read_word(r, &w);
    if (rc)
        return rc;
    if (f->type != PROTOBUF_C_TYPE_BOOL)
        return store_integer(r, f->type, &w, slot);
    protobuf_c_boolean value = strcmp(w.text, "true") == 0;
    if (!value && strcmp(w.text, "false") != 0)
        return refuse(r, "not a boolean");
    memcpy(slot, &value, sizeof(value));
    return 0;
}

static struct adit_view key_of(ProtobufCMessage *entry)
{
    const ProtobufCFieldDescriptor *f = &entry->descriptor->fields[0];
    void *slot = member(entry, f->offset);
    if (f->type == PROTOBUF_C_TYPE_STRING)
        return adit_view_str(*(char **)slot);
    return adit_view_mem(slot, pbjson_size_of(f->type));
}

static int new_message(struct reader *r, const ProtobufCMessageDescriptor *type,
                       ProtobufCMessage **out)
{
    *out = malloc(type->sizeof_message);
    if (!*out)
        return no_memory(r);
    protobuf_c_message_init(type, *out);
    return 0;
}

static int read_entry(struct reader *r, const ProtobufCMessageDescriptor *type, unsigned depth,
                      ProtobufCMessage **out)
{
    const ProtobufCFieldDescriptor *f = type->fields;
    int rc = new_message(r, type, out);
    if (rc)
        return rc;
    rc = read_key(r, &f[0], member(*out, f[0].offset));
    if (!rc)
        rc = jsontext_expect(&r->text, ':');
    if (!rc)
        rc = read_value(r, &f[1], member(*out, f[1].offset), depth);
    if (rc) {
        protobuf_c_message_free_unpacked(*out, NULL);
        *out = NULL;
    }
    return rc;
}

/* Put the entry behind the others, or in the place of the one with its key. @index: key → place,
 * from
 * 1. Takes the entry in any case. */
static int put_entry(struct reader *r, ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
                     struct adit_map *index, ProtobufCMessage *take_entry)
{
    size_t *cnt = member(msg, f->quantifier_offset);
    void **items = member(msg, f->offset);
    struct adit_view key = key_of(take_entry);
    uintptr_t place = (uintptr_t)adit_map_get(index, key);
    int rc = 0;

    if (!place) {
        rc = grow(r, items, *cnt, sizeof(take_entry));
        if (!rc && adit_map_put(index, key, (void *)(*cnt + 1)))
            rc = no_memory(r);
    }
    if (rc) {
        protobuf_c_message_free_unpacked(take_entry, NULL);
        return rc;
    }
    ProtobufCMessage **entries = *items;
    if (place)
        protobuf_c_message_free_unpacked(entries[place - 1], NULL);
    else
        place = ++*cnt;
    entries[place - 1] = take_entry;
    return 0;
}

static int read_entries(struct reader *r, ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
                        unsigned depth, struct adit_map *index)
{
    ProtobufCMessage *entry;
    bool more;
    int rc = jsontext_expect(&r->text, '{');
    for (bool first = true; !rc; first = false) {
        rc = jsontext_next(&r->text, '}', first, &more);
        if (rc || !more)
            return rc;
        rc = read_entry(r, f->descriptor, depth + 1, &entry);
        if (!rc)
            rc = put_entry(r, msg, f, index, entry);
        else if (rc == NO_VALUE)
            rc = 0;
    }
    return rc;
}

static int read_map(struct reader *r, ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
                    unsigned depth)
{
    struct adit_map index;
    if (depth > PBJSON_DEPTH_MAX)
        return jsontext_fail(&r->text, ADIT_ERR_LIMIT, "nested too deeply");
    adit_map_init(&index);
    int rc = read_entries(r, msg, f, depth, &index);
    adit_map_fini(&index);
    return rc;
}

/* ---- messages ---- */

static int read_single(struct reader *r, ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
                       unsigned depth)
{
    if (pbjson_is_oneof(f) && *oneof_case(msg, f))
        return refuse(r, "two members of one oneof");
    int rc = read_value(r, f, member(msg, f->offset), depth);
    if (!rc && pbjson_is_oneof(f))
        *oneof_case(msg, f) = f->id;
    return rc == NO_VALUE ? 0 : rc;
}

static int read_field(struct reader *r, ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
                      unsigned depth)
{
    clear_field(msg, f);
    if (jsontext_peek(&r->text) == 'n')
        return jsontext_word(&r->text, "null");
    if (f->label != PROTOBUF_C_LABEL_REPEATED)
        return read_single(r, msg, f, depth);
    if (pbjson_is_map(msg->descriptor, f))
        return read_map(r, msg, f, depth);
    return read_list(r, msg, f, depth);
}

/* Read a member's name and the colon. *@f: its field, or NULL. */
static int read_name(struct reader *r, const ProtobufCMessageDescriptor *type,
                     const ProtobufCFieldDescriptor **f)
{
    struct jsontext_string s;
    char unescaped[NAME_CAP];
    int rc = jsontext_string(&r->text, &s);
    if (rc)
        return rc;
    *f = NULL;
    struct adit_view name = s.raw;
    if (s.escaped)
        name =
            adit_view_mem(unescaped, s.raw.len <= NAME_CAP ? jsontext_unescape(s, unescaped) : 0);
    for (unsigned i = 0; i < type->n_fields && !*f; i++) {
        if (pbjson_name_matches(type->fields[i].name, name))
            *f = &type->fields[i];
    }
    return jsontext_expect(&r->text, ':');
}

static int read_members(struct reader *r, ProtobufCMessage *msg, unsigned depth)
{
    const ProtobufCFieldDescriptor *f;
    bool more;
    int rc = jsontext_expect(&r->text, '{');
    for (bool first = true; !rc; first = false) {
        rc = jsontext_next(&r->text, '}', first, &more);
        if (rc || !more)
            return rc;
        rc = read_name(r, msg->descriptor, &f);
        if (!rc)
            rc = f ? read_field(r, msg, f, depth + 1) : jsontext_skip(&r->text, depth + 1);
    }
    return rc;
}

static int read_time(struct reader *r, ProtobufCMessage *msg)
{
    Google__Protobuf__Timestamp *t = (Google__Protobuf__Timestamp *)msg;
    struct word w;
    int rc = read_word(r, &w);
    if (!rc && pbjson_time_parse(adit_view_mem(w.text, w.len), &t->seconds, &t->nanos))
        rc = refuse(r, "not a timestamp");
    return rc;
}

/* @depth: that of the object itself. */
static int read_message(struct reader *r, const ProtobufCMessageDescriptor *type, unsigned depth,
                        ProtobufCMessage **out)
{
    ProtobufCMessage *msg;
    if (depth > PBJSON_DEPTH_MAX)
        return jsontext_fail(&r->text, ADIT_ERR_LIMIT, "nested too deeply");
    int rc = new_message(r, type, &msg);
    if (rc)
        return rc;
    rc = pbjson_is_timestamp(type) ? read_time(r, msg) : read_members(r, msg, depth);
    if (rc)
        protobuf_c_message_free_unpacked(msg, NULL);
    else
        *out = msg;
    return rc;
}

int pbjson_decode(const ProtobufCMessageDescriptor *type, struct adit_view json,
                  ProtobufCMessage **out, struct adit_err *err)
{
    struct reader r = {.item_cnt = 0};
    ProtobufCMessage *msg;

    if (json.len == 0)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "unmarshal message: zero-length payload is not a valid JSON object");
    jsontext_init(&r.text, json, err);
    int rc = read_message(&r, type, 1, &msg);
    if (rc)
        return rc;
    (void)jsontext_peek(&r.text); /* for the white space it passes */
    if (r.text.p != r.text.end) {
        protobuf_c_message_free_unpacked(msg, NULL);
        return refuse(&r, "unexpected token after the message");
    }
    *out = msg;
    return 0;
}
