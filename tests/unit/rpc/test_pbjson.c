/* SPDX-License-Identifier: Apache-2.0 */
/* The proto3 JSON codec: what it takes, what it writes, what it refuses. */
#include "tests/unit/suite.h"

#include <stdio.h>

#include "filesystem.pb-c.h"
#include "process.pb-c.h"
#include "rpc/pbjson.h"
#include "tests/proto/every_type.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define TEXT_CAP (8u * 1024 * 1024)

static struct adit_buf written;

/* Read @json and write it again into @written. */
static int pass(const ProtobufCMessageDescriptor *type, struct adit_view json, struct adit_err *err)
{
    ProtobufCMessage *msg;
    adit_buf_fini(&written);
    adit_buf_init(&written, TEXT_CAP);
    int rc = pbjson_decode(type, json, &msg, err);
    if (rc)
        return rc;
    rc = pbjson_encode(msg, &written);
    protobuf_c_message_free_unpacked(msg, NULL);
    return rc;
}

static void expect_as(const ProtobufCMessageDescriptor *type, const char *json, const char *out)
{
    struct adit_err err = ADIT_ERR_INIT;
    int rc = pass(type, adit_view_str(json), &err);
    ck_assert_msg(rc == 0, "%s: %d %s", json, rc, err.msg);
    ck_assert_msg(adit_view_eq_str(adit_buf_view(&written), out), "%s\n became %.*s\n wanted %s",
                  json, ADIT_VIEW_ARG(adit_buf_view(&written)), out);
    adit_buf_fini(&written);
}

static void expect(const char *json, const char *out)
{
    expect_as(&every__every__descriptor, json, out);
}

static void expect_same(const char *json)
{
    expect(json, json);
}

static void expect_refusal(struct adit_view json, int code)
{
    struct adit_err err = ADIT_ERR_INIT;
    int rc = pass(&every__every__descriptor, json, &err);
    ck_assert_msg(rc == code, "%.*s: %d, wanted %d; became %.*s", ADIT_VIEW_ARG(json), rc, code,
                  ADIT_VIEW_ARG(adit_buf_view(&written)));
    ck_assert_int_eq(err.code, code);
    ck_assert_ptr_nonnull(strstr(err.msg, "unmarshal message: "));
    adit_buf_fini(&written);
}

START_TEST(pbjson_writes_defaults_as_nothing)
{
    expect("{}", "{}");
    expect(" \t\r\n{ \n} \r", "{}");
    expect("{\"anInt32\":0,\"aUint64\":\"0\",\"aFloat\":0,\"aDouble\":-0.0,\"aBool\":false,"
           "\"aColor\":\"COLOR_UNSPECIFIED\",\"aString\":\"\",\"someBytes\":\"\",\"strings\":[],"
           "\"stringMap\":{}}",
           "{}");
}
END_TEST

START_TEST(pbjson_takes_both_forms_of_a_name)
{
    expect("{\"an_int32\":1}", "{\"anInt32\":1}");
    expect("{\"anInt32\":1}", "{\"anInt32\":1}");
    expect("{\"an\\u0049nt32\":1}", "{\"anInt32\":1}");
    expect("{\"odd__name_2x\":1}", "{\"oddName2x\":1}");
    expect("{\"oddName2x\":1}", "{\"oddName2x\":1}");
    expect("{\"anInt_32\":1,\"AnInt32\":1,\"an_int3\":1,\"anInt322\":1,\"\":1}", "{}");
}
END_TEST

START_TEST(pbjson_takes_integers_in_every_spelling)
{
    expect_same("{\"anInt32\":-2147483648,\"aSint32\":2147483647,\"aSfixed32\":-1}");
    expect_same("{\"anInt64\":\"-9223372036854775808\",\"aSint64\":\"9223372036854775807\"}");
    expect_same("{\"aUint32\":4294967295,\"aFixed32\":1,\"aUint64\":\"18446744073709551615\"}");
    expect("{\"anInt64\":9007199254740993}", "{\"anInt64\":\"9007199254740993\"}");
    expect("{\"aUint64\":18446744073709551615}", "{\"aUint64\":\"18446744073709551615\"}");
    expect("{\"anInt32\":\"12\"}", "{\"anInt32\":12}");
    expect("{\"anInt32\":\"\\u0031\\u0032\"}", "{\"anInt32\":12}");
    expect("{\"anInt32\":1.0}", "{\"anInt32\":1}");
    expect("{\"anInt32\":-1.20e1}", "{\"anInt32\":-12}");
    expect("{\"anInt32\":1200E-2}", "{\"anInt32\":12}");
    expect("{\"anInt32\":\"1e9\"}", "{\"anInt32\":1000000000}");
    expect("{\"anInt32\":0.00001e+5}", "{\"anInt32\":1}");
    expect("{\"anInt32\":0e99999999999999999999}", "{}");
    expect("{\"aUint32\":-0}", "{}");
    expect("{\"aUint32\":-0.0e1}", "{}");
}
END_TEST

START_TEST(pbjson_takes_floats_and_their_words)
{
    expect_same("{\"aFloat\":0.1,\"aDouble\":0.1}");
    expect_same("{\"aFloat\":3.4028235e+38,\"aDouble\":1.7976931348623157e+308}");
    expect("{\"aDouble\":5e-324}", "{\"aDouble\":4.94065645841247e-324}");
    expect_same("{\"aFloat\":\"NaN\",\"aDouble\":\"Infinity\"}");
    expect_same("{\"aFloat\":\"-Infinity\",\"aDouble\":\"NaN\"}");
    expect("{\"aDouble\":\"1.5\"}", "{\"aDouble\":1.5}");
    expect("{\"aDouble\":1e-400}", "{}");
    expect("{\"aFloat\":1}", "{\"aFloat\":1}");
}
END_TEST

START_TEST(pbjson_takes_enums_by_name_and_number)
{
    expect("{\"aColor\":\"COLOR_RED\"}", "{\"aColor\":\"COLOR_RED\"}");
    expect("{\"aColor\":-2}", "{\"aColor\":\"COLOR_BLUE\"}");
    expect("{\"aColor\":\"1\"}", "{\"aColor\":\"COLOR_RED\"}");
    expect("{\"aColor\":1.0}", "{\"aColor\":\"COLOR_RED\"}");
    expect("{\"aColor\":77}", "{\"aColor\":77}");
}
END_TEST

START_TEST(pbjson_passes_unknown_names_of_enum_values)
{
    expect("{\"aColor\":\"COLOR_PUCE\"}", "{}");
    expect("{\"colors\":[\"COLOR_RED\",\"x\",2]}", "{\"colors\":[\"COLOR_RED\",2]}");
    expect("{\"colorMap\":{\"a\":\"x\",\"b\":1}}", "{\"colorMap\":{\"b\":\"COLOR_RED\"}}");
    expect("{\"pickColor\":\"x\",\"pickNumber\":1}", "{\"pickNumber\":1}");
}
END_TEST

START_TEST(pbjson_takes_bytes_in_both_alphabets)
{
    expect_same("{\"someBytes\":\"aGVsbG8=\"}");
    expect("{\"someBytes\":\"aGVsbG8\"}", "{\"someBytes\":\"aGVsbG8=\"}");
    expect("{\"someBytes\":\"-_8\"}", "{\"someBytes\":\"+/8=\"}");
    expect("{\"someBytes\":\"+\\/8\\u003d\"}", "{\"someBytes\":\"+/8=\"}");
    expect("{\"byteses\":[\"\",\"AA==\"]}", "{\"byteses\":[\"\",\"AA==\"]}");
}
END_TEST

START_TEST(pbjson_takes_text_with_every_escape)
{
    expect("{\"aString\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}",
           "{\"aString\":\"\\\"\\\\/\\b\\f\\n\\r\\t\"}");
    expect("{\"aString\":\"\\u00e4\\u20AC\\ud83d\\uDE00\"}",
           "{\"aString\":\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\"}");
    expect_same("{\"aString\":\"\xC3\xA4 and more than eight plain bytes \xF0\x9F\x98\x80\"}");
    expect("{\"aString\":\"\\u001f\"}", "{\"aString\":\"\\u001f\"}");
}
END_TEST

START_TEST(pbjson_takes_lists_and_nested_messages)
{
    expect_same("{\"aLeaf\":{}}");
    expect_same(
        "{\"aLeaf\":{\"name\":\"a\",\"tree\":{\"left\":{\"children\":[{},{\"left\":{}}]}}}}");
    expect_same("{\"int32s\":[0,-1,2,3,4,5,6,7,8],\"uint64s\":[\"0\",\"1\"],\"floats\":[0,1.5],"
                "\"doubles\":[0,\"NaN\"],\"bools\":[true,false],\"colors\":[\"COLOR_UNSPECIFIED\"],"
                "\"strings\":[\"\",\"a\"],\"leaves\":[{},{\"name\":\"x\"}],"
                "\"times\":[\"1970-01-01T00:00:00Z\"]}");
}
END_TEST

START_TEST(pbjson_takes_maps)
{
    expect_same("{\"stringMap\":{\"\":\"\",\"a b\":\"c\",\"\xC3\xA4\":\"\\n\"}}");
    expect_same("{\"int32Map\":{\"-1\":{\"name\":\"x\"},\"2\":{}}}");
    expect_same("{\"uint64Map\":{\"18446744073709551615\":\"AA==\"}}");
    expect_same("{\"boolMap\":{\"true\":\"1\",\"false\":\"-5\"}}");
    expect_same("{\"fakes\":[{\"key\":\"a\",\"value\":\"b\"}]}");
    expect("{\"int32Map\":{\"1\":{\"name\":\"x\"},\"1.0\":{}}}", "{\"int32Map\":{\"1\":{}}}");
    expect("{\"stringMap\":{\"a\":\"1\",\"b\":\"2\",\"\\u0061\":\"3\"}}",
           "{\"stringMap\":{\"a\":\"3\",\"b\":\"2\"}}");
}
END_TEST

START_TEST(pbjson_writes_a_set_oneof_member_even_if_empty)
{
    expect_same("{\"pickNumber\":0}");
    expect_same("{\"pickString\":\"\"}");
    expect_same("{\"pickBytes\":\"\"}");
    expect_same("{\"pickLeaf\":{}}");
    expect_same("{\"pickColor\":\"COLOR_UNSPECIFIED\"}");
    expect_same("{\"pickBool\":false}");
    expect_same("{\"pickTime\":\"1970-01-01T00:00:00Z\"}");
}
END_TEST

START_TEST(pbjson_takes_null_as_not_set)
{
    expect("{\"anInt32\":null,\"aString\":null,\"someBytes\":null,\"aLeaf\":null,\"strings\":null,"
           "\"stringMap\":null,\"pickNumber\":null,\"aTime\":null,\"aBool\":null,\"x\":null}",
           "{}");
    expect("{\"pickNumber\":null,\"pickString\":\"a\"}", "{\"pickString\":\"a\"}");
    expect("{\"pickString\":\"a\",\"pickNumber\":null}", "{\"pickString\":\"a\"}");
    expect("{\"pickString\":\"a\",\"pickString\":null,\"pickNumber\":1}", "{\"pickNumber\":1}");
}
END_TEST

START_TEST(pbjson_lets_the_last_duplicate_win)
{
    expect("{\"anInt32\":1,\"an_int32\":2}", "{\"anInt32\":2}");
    expect("{\"aString\":\"a\",\"aString\":\"b\"}", "{\"aString\":\"b\"}");
    expect("{\"aString\":\"a\",\"aString\":null}", "{}");
    expect("{\"someBytes\":\"AAAA\",\"someBytes\":\"AA==\"}", "{\"someBytes\":\"AA==\"}");
    expect("{\"aLeaf\":{\"name\":\"a\",\"tree\":{}},\"aLeaf\":{}}", "{\"aLeaf\":{}}");
    expect("{\"strings\":[\"a\",\"b\"],\"strings\":[\"c\"]}", "{\"strings\":[\"c\"]}");
    expect("{\"byteses\":[\"AA==\"],\"byteses\":[]}", "{}");
    expect("{\"leaves\":[{},{}],\"leaves\":[{}]}", "{\"leaves\":[{}]}");
    expect("{\"stringMap\":{\"a\":\"b\"},\"stringMap\":{\"c\":\"d\"}}",
           "{\"stringMap\":{\"c\":\"d\"}}");
    expect("{\"pickLeaf\":{\"name\":\"a\"},\"pickLeaf\":{}}", "{\"pickLeaf\":{}}");
}
END_TEST

START_TEST(pbjson_skips_unknown_fields)
{
    expect("{\"x\":1,\"y\":[1,{\"a\":[]},\"\\ud83d\\ude00\",null,true,false,-1.5e-9],\"anInt32\":1,"
           "\"z\":{\"anInt32\":2,\"b\":{}}}",
           "{\"anInt32\":1}");
}
END_TEST

START_TEST(pbjson_takes_timestamps)
{
    expect_same("{\"aTime\":\"0001-01-01T00:00:00Z\"}");
    expect_same("{\"aTime\":\"1677-09-21T00:12:43.145224193Z\"}");
    expect_same("{\"aTime\":\"1969-12-31T23:59:59.999999999Z\"}");
    expect_same("{\"aTime\":\"2000-02-29T12:00:00.100Z\"}");
    expect_same("{\"aTime\":\"2400-02-29T12:00:00.000100Z\"}");
    expect_same("{\"aTime\":\"9999-12-31T23:59:59.999999999Z\"}");
    expect("{\"aTime\":\"2026-11-21T07:08:09.5+02:00\"}",
           "{\"aTime\":\"2026-11-21T05:08:09.500Z\"}");
    expect("{\"aTime\":\"1970-01-01T00:00:00Z\"}", "{\"aTime\":\"1970-01-01T00:00:00Z\"}");
}
END_TEST

START_TEST(pbjson_knows_the_seconds_of_a_timestamp)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } rows[] = {
        {"0001-01-01T00:00:00Z", INT64_C(-62135596800)},
        {"1600-01-01T00:00:00Z", INT64_C(-11676096000)},
        {"1700-01-01T00:00:00Z", INT64_C(-8520336000)},
        {"1969-12-31T23:59:59Z", -1},
        {"2100-03-01T00:00:00Z", INT64_C(4107542400)},
        {"9999-12-31T23:59:59Z", INT64_C(253402300799)},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char json[80];
        ProtobufCMessage *msg;
        (void)snprintf(json, sizeof(json), "{\"aTime\":\"%s\"}", rows[i].text); /* fits */
        ck_assert_int_eq(pbjson_decode(&every__every__descriptor, adit_view_str(json), &msg, NULL),
                         0);
        ck_assert_int_eq(((Every__Every *)msg)->a_time->seconds, rows[i].seconds);
        protobuf_c_message_free_unpacked(msg, NULL);
    }
}
END_TEST

START_TEST(pbjson_refuses_to_write_a_time_out_of_range)
{
    static const struct {
        int64_t seconds;
        int32_t nanos;
    } rows[] = {
        {INT64_C(-62135596801), 0},
        {INT64_C(253402300800), 0},
        {INT64_MIN, 0},
        {INT64_MAX, 0},
        {0, -1},
        {0, 1000000000},
    };
    Every__Every every;
    every__every__init(&every);
    Google__Protobuf__Timestamp time;
    google__protobuf__timestamp__init(&time);
    every.a_time = &time;
    for (size_t i = 0; i < COUNT(rows); i++) {
        time.seconds = rows[i].seconds;
        time.nanos = rows[i].nanos;
        adit_buf_init(&written, TEXT_CAP);
        ck_assert_int_eq(pbjson_encode(&every.base, &written), ADIT_ERR_BAD_INPUT);
        adit_buf_fini(&written);
    }
}
END_TEST

START_TEST(pbjson_refuses_what_is_not_json_or_not_the_message)
{
    static const char *const rows[] = {
        "",
        " ",
        "null",
        "[]",
        "1",
        "\"\"",
        "{",
        "}",
        "{}}",
        "{},",
        "{} {}",
        "{}x",
        "\xEF\xBB\xBF{}",
        "{,}",
        "{\"anInt32\"}",
        "{\"anInt32\":}",
        "{\"anInt32\":1,}",
        "{\"anInt32\" 1}",
        "{\"anInt32\":1 \"aBool\":true}",
        "{anInt32:1}",
        "{'anInt32':1}",
        "/**/{}",
        "{//\n}",
        /* numbers */
        "{\"anInt32\":01}",
        "{\"anInt32\":+1}",
        "{\"anInt32\":.5}",
        "{\"anInt32\":1.}",
        "{\"anInt32\":-}",
        "{\"anInt32\":1e}",
        "{\"anInt32\":0x1}",
        "{\"anInt32\":NaN}",
        "{\"anInt32\":\"\"}",
        "{\"anInt32\":\" 1\"}",
        "{\"anInt32\":\"1 \"}",
        "{\"anInt32\":\"1x\"}",
        "{\"anInt32\":\"1\\u0000\"}",
        "{\"anInt32\":1.5}",
        "{\"anInt32\":\"1e-1\"}",
        "{\"anInt32\":2147483648}",
        "{\"anInt32\":-2147483649}",
        "{\"aUint32\":-1}",
        "{\"aUint32\":4294967296}",
        "{\"anInt64\":9223372036854775808}",
        "{\"anInt64\":\"-9223372036854775809\"}",
        "{\"aUint64\":18446744073709551616}",
        "{\"aUint64\":1e20}",
        "{\"aUint64\":1e99999999999999999999}",
        "{\"aUint64\":1e-99999999999999999999}",
        "{\"anInt32\":true}",
        "{\"anInt32\":{}}",
        "{\"anInt32\":[1]}",
        "{\"anInt32\":\"NaN\"}",
        "{\"aFloat\":1e39}",
        "{\"aFloat\":NaN}",
        "{\"aDouble\":1e309}",
        "{\"aDouble\":\"-1e309\"}",
        "{\"aDouble\":\"nan\"}",
        "{\"aDouble\":\"inf\"}",
        "{\"aDouble\":\"+1\"}",
        "{\"aDouble\":\"0x1p3\"}",
        "{\"aDouble\":\"1,5\"}",
        /* booleans, enums */
        "{\"aBool\":1}",
        "{\"aBool\":\"true\"}",
        "{\"aBool\":tru}",
        "{\"aBool\":truex}",
        "{\"aBool\":True}",
        "{\"aColor\":true}",
        "{\"aColor\":1.5}",
        "{\"aColor\":2147483648}",
        "{\"aColor\":{}}",
        /* text and bytes */
        "{\"aString\":1}",
        "{\"aString\":\"a}",
        "{\"aString\":\"\\x\"}",
        "{\"aString\":\"\\u12\"}",
        "{\"aString\":\"\\u12g4\"}",
        "{\"aString\":\"\n\"}",
        "{\"aString\":\"\\u0000\"}",
        "{\"aString\":\"a\\\"}",
        "{\"aString\":\"\\ud83d\"}",
        "{\"aString\":\"\\ude00\"}",
        "{\"aString\":\"\\ud83d\\u0041\"}",
        "{\"aString\":\"\\ud83dx\"}",
        "{\"aString\":\"\\ud83d\\ud83d\"}",
        "{\"aString\":\"\x80\"}",
        "{\"aString\":\"\xC0\x80\"}",
        "{\"aString\":\"\xED\xA0\x80\"}",
        "{\"aString\":\"\xF4\x90\x80\x80\"}",
        "{\"aString\":\"\xC3\"}",
        "{\"x\":\"\xFF\"}",
        "{\"\xFF\":1}",
        "{\"\\ud800\":1}",
        "{\"someBytes\":\"a\"}",
        "{\"someBytes\":\"AA=\"}",
        "{\"someBytes\":\"AA===\"}",
        "{\"someBytes\":\"A A=\"}",
        "{\"someBytes\":\"AB==\"}",
        "{\"someBytes\":[1]}",
        /* messages, lists, maps, oneofs */
        "{\"aLeaf\":[]}",
        "{\"aLeaf\":\"\"}",
        "{\"strings\":{}}",
        "{\"strings\":\"a\"}",
        "{\"strings\":[\"a\",]}",
        "{\"strings\":[,\"a\"]}",
        "{\"strings\":[\"a\" \"b\"]}",
        "{\"strings\":[\"a\"",
        "{\"strings\":[null]}",
        "{\"leaves\":[null]}",
        "{\"leaves\":[{},1]}",
        "{\"stringMap\":[]}",
        "{\"stringMap\":{\"a\":null}}",
        "{\"stringMap\":{\"a\":1}}",
        "{\"stringMap\":{1:\"a\"}}",
        "{\"stringMap\":{\"a\"}}",
        "{\"int32Map\":{\"x\":{}}}",
        "{\"int32Map\":{\"\":{}}}",
        "{\"boolMap\":{\"1\":1}}",
        "{\"uint64Map\":{\"-1\":\"\"}}",
        "{\"pickNumber\":1,\"pickString\":\"a\"}",
        "{\"pickLeaf\":{},\"pickLeaf\":{},\"pickBool\":true}",
        "{\"pickBytes\":\"\",\"pick_leaf\":{}}",
        /* times */
        "{\"aTime\":0}",
        "{\"aTime\":\"\"}",
        "{\"aTime\":\"2026\"}",
        "{\"aTime\":{\"seconds\":1}}",
        "{\"aTime\":\"0000-01-01T00:00:00Z\"}",
        "{\"aTime\":\"2026-02-29T00:00:00Z\"}",
        "{\"aTime\":\"1900-02-29T00:00:00Z\"}",
        "{\"aTime\":\"2026-01-01T00:00:00\"}",
        "{\"aTime\":\"2026-01-01T00:00:00.1234567890Z\"}",
        "{\"aTime\":\"2026-01-01T00:00:60Z\"}",
        "{\"aTime\":\"9999-12-31T23:59:59-00:01\"}",
        "{\"aTime\":\"0001-01-01T00:00:00+00:01\"}",
        /* what is skipped is JSON too */
        "{\"x\":}",
        "{\"x\":[1}",
        "{\"x\":{1:2}}",
        "{\"x\":{\"a\":1,}}",
        "{\"x\":01}",
        "{\"x\":nul}",
        "{\"x\":\"\\u0\"}",
        "{\"x\":[1 2]}",
        "{\"x\":undefined}",
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        expect_refusal(adit_view_str(rows[i]), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(pbjson_refuses_a_nul_byte_anywhere)
{
    static const char json[] = "{\"aString\":\"a\"}";
    for (size_t i = 0; i < sizeof(json) - 1; i++) {
        char copy[sizeof(json)];
        memcpy(copy, json, sizeof(json));
        copy[i] = '\0';
        expect_refusal(adit_view_mem(copy, sizeof(json) - 1), ADIT_ERR_BAD_INPUT);
    }
}
END_TEST

START_TEST(pbjson_refuses_a_message_cut_anywhere)
{
    static const char json[] = "{\"aLeaf\":{\"name\":\"\\u00e4\"},\"int32s\":[1,2],\"stringMap\":{"
                               "\"a\":\"b\"},\"x\":[{}]}";
    for (size_t i = 0; i < sizeof(json) - 1; i++) {
        /* A copy of its own, so that a read behind the end is seen. */
        char *cut = malloc(i ? i : 1);
        ck_assert_ptr_nonnull(cut);
        memcpy(cut, json, i);
        expect_refusal(adit_view_mem(cut, i), ADIT_ERR_BAD_INPUT);
        free(cut);
    }
}
END_TEST

START_TEST(pbjson_says_what_a_zero_length_payload_is)
{
    struct adit_err err = ADIT_ERR_INIT;
    ProtobufCMessage *msg;
    ck_assert_int_eq(pbjson_decode(&every__every__descriptor, adit_view_mem(NULL, 0), &msg, &err),
                     ADIT_ERR_BAD_INPUT);
    ck_assert_str_eq(err.msg, "unmarshal message: zero-length payload is not a valid JSON object");
}
END_TEST

static void repeat(struct adit_buf *b, const char *text, size_t times)
{
    for (size_t i = 0; i < times; i++)
        ck_assert_int_eq(adit_buf_append_str(b, text), 0);
}

/* @levels of nesting, the outermost object counted. */
static void nest(struct adit_buf *b, const char *outer, const char *open, const char *close,
                 size_t levels)
{
    adit_buf_init(b, TEXT_CAP);
    repeat(b, outer, 1);
    repeat(b, open, levels - 1);
    repeat(b, close, levels - 1);
    repeat(b, "}", 1);
}

START_TEST(pbjson_bounds_the_depth)
{
    static const struct {
        const char *outer, *open, *close;
    } rows[] = {
        {"{\"x\":", "[", "]"},
        {"{\"x\":{\"a\":1},\"aLeaf\":{\"tree\":{}},\"y\":", "[", "]"},
    };
    struct adit_buf b;
    struct adit_err err = ADIT_ERR_INIT;
    for (size_t i = 0; i < COUNT(rows); i++) {
        nest(&b, rows[i].outer, rows[i].open, rows[i].close, PBJSON_DEPTH_MAX);
        ck_assert_int_eq(pass(&every__every__descriptor, adit_buf_view(&b), &err), 0);
        adit_buf_fini(&b);
        nest(&b, rows[i].outer, rows[i].open, rows[i].close, PBJSON_DEPTH_MAX + 1);
        expect_refusal(adit_buf_view(&b), ADIT_ERR_LIMIT);
        adit_buf_fini(&b);
    }
    /* every, leaf, 62 trees */
    adit_buf_init(&b, TEXT_CAP);
    repeat(&b, "{\"aLeaf\":{\"tree\":{", 1);
    repeat(&b, "\"left\":{", PBJSON_DEPTH_MAX - 3);
    repeat(&b, "}", PBJSON_DEPTH_MAX);
    ck_assert_int_eq(pass(&every__every__descriptor, adit_buf_view(&b), &err), 0);
    adit_buf_clear(&b);
    repeat(&b, "{\"aLeaf\":{\"tree\":{", 1);
    repeat(&b, "\"left\":{", PBJSON_DEPTH_MAX - 2);
    repeat(&b, "}", PBJSON_DEPTH_MAX + 1);
    expect_refusal(adit_buf_view(&b), ADIT_ERR_LIMIT);
    adit_buf_clear(&b);
    repeat(&b, "{\"aLeaf\":{\"tree\":{", 1);
    repeat(&b, "\"children\":[{", PBJSON_DEPTH_MAX);
    expect_refusal(adit_buf_view(&b), ADIT_ERR_LIMIT);
    adit_buf_clear(&b);
    repeat(&b, "{\"x\":", 100000);
    expect_refusal(adit_buf_view(&b), ADIT_ERR_LIMIT);
    adit_buf_fini(&b);
    adit_buf_fini(&written);
}
END_TEST

START_TEST(pbjson_bounds_the_items_of_lists_and_maps)
{
    struct adit_buf b;
    struct adit_err err = ADIT_ERR_INIT;
    adit_buf_init(&b, TEXT_CAP);
    repeat(&b, "{\"leaves\":[{}", 1);
    repeat(&b, ",{}", PBJSON_ITEMS_MAX - 1);
    repeat(&b, "]}", 1);
    ck_assert_int_eq(pass(&every__every__descriptor, adit_buf_view(&b), &err), 0);
    b.len -= 1;
    repeat(&b, ",\"stringMap\":{\"a\":\"\"}}", 1);
    expect_refusal(adit_buf_view(&b), ADIT_ERR_LIMIT);
    adit_buf_clear(&b);
    repeat(&b, "{\"strings\":[\"\"", 1);
    repeat(&b, ",\"\"", PBJSON_ITEMS_MAX);
    repeat(&b, "]}", 1);
    expect_refusal(adit_buf_view(&b), ADIT_ERR_LIMIT);
    adit_buf_fini(&b);
    adit_buf_fini(&written);
}
END_TEST

START_TEST(pbjson_refuses_endless_numbers_and_passes_endless_names)
{
    struct adit_buf b;
    struct adit_err err = ADIT_ERR_INIT;
    adit_buf_init(&b, TEXT_CAP);
    repeat(&b, "{\"anInt32\":1", 1);
    repeat(&b, "0", PBJSON_NUMBER_CAP);
    repeat(&b, "}", 1);
    expect_refusal(adit_buf_view(&b), ADIT_ERR_BAD_INPUT);
    adit_buf_clear(&b);
    repeat(&b, "{\"aColor\":\"", 1);
    repeat(&b, "x", PBJSON_NUMBER_CAP);
    repeat(&b, "\"}", 1);
    expect_refusal(adit_buf_view(&b), ADIT_ERR_BAD_INPUT);
    adit_buf_clear(&b);
    repeat(&b, "{\"\\u0061", 1);
    repeat(&b, "n_int32", 1000);
    repeat(&b, "\":[]}", 1);
    ck_assert_int_eq(pass(&every__every__descriptor, adit_buf_view(&b), &err), 0);
    adit_buf_fini(&b);
    adit_buf_fini(&written);
}
END_TEST

/* Work must be linear: each of these is a few MiB and would take minutes if it were not. */
START_TEST(pbjson_takes_hostile_repetition_in_linear_time)
{
    struct adit_buf b;
    struct adit_err err = ADIT_ERR_INIT;
    adit_buf_init(&b, TEXT_CAP);
    repeat(&b, "{\"aString\":\"a\"", 1);
    repeat(&b, ",\"aString\":\"a\",\"strings\":[\"a\",\"b\"]", 100000);
    repeat(&b, "}", 1);
    ck_assert_int_eq(pass(&every__every__descriptor, adit_buf_view(&b), &err), ADIT_ERR_LIMIT);
    adit_buf_clear(&b);
    repeat(&b, "{\"stringMap\":{\"a\":\"\"", 1);
    for (unsigned i = 0; i < PBJSON_ITEMS_MAX - 1; i++)
        ck_assert_int_eq(adit_buf_appendf(&b, ",\"k%u\":\"\",\"a\":\"%u\"", i, i), 0);
    repeat(&b, "}}", 1);
    ck_assert_int_eq(pass(&every__every__descriptor, adit_buf_view(&b), &err), 0);
    adit_buf_fini(&b);
    adit_buf_fini(&written);
}
END_TEST

START_TEST(pbjson_writes_events_as_the_contract_shows_them)
{
    expect_as(&process__start_response__descriptor, "{\"event\":{\"keepalive\":{}}}",
              "{\"event\":{\"keepalive\":{}}}");
    expect_as(&process__start_response__descriptor, "{\"event\":{\"start\":{\"pid\":0}}}",
              "{\"event\":{\"start\":{}}}");
    expect_as(
        &process__start_response__descriptor,
        "{\"event\":{\"end\":{\"exit_code\":0,\"exited\":true,\"status\":\"exit status 0\"}}}",
        "{\"event\":{\"end\":{\"exited\":true,\"status\":\"exit status 0\"}}}");
    expect_as(&process__start_response__descriptor,
              "{\"event\":{\"end\":{\"exitCode\":-1,\"status\":\"signal: killed\",\"error\":"
              "\"signal: killed\"}}}",
              "{\"event\":{\"end\":{\"exitCode\":-1,\"status\":\"signal: killed\",\"error\":"
              "\"signal: killed\"}}}");
    expect_as(
        &filesystem__stat_response__descriptor,
        "{\"entry\":{\"name\":\"a\",\"type\":\"FILE_TYPE_SYMLINK\",\"size\":\"12\",\"mode\":420,"
        "\"modifiedTime\":\"2026-11-21T07:08:09.123Z\",\"symlinkTarget\":\"\",\"metadata\":{"
        "\"k\":\"v\"}}}",
        "{\"entry\":{\"name\":\"a\",\"type\":\"FILE_TYPE_SYMLINK\",\"size\":\"12\",\"mode\":420,"
        "\"modifiedTime\":\"2026-11-21T07:08:09.123Z\",\"symlinkTarget\":\"\",\"metadata\":{"
        "\"k\":\"v\"}}}");
}
END_TEST

START_TEST(pbjson_replaces_what_is_not_utf8_when_it_writes)
{
    char name[] = "a\xFF/\xC3";
    Filesystem__EntryInfo entry;
    filesystem__entry_info__init(&entry);
    entry.name = name;
    adit_buf_init(&written, TEXT_CAP);
    ck_assert_int_eq(pbjson_encode(&entry.base, &written), 0);
    ck_assert(
        adit_view_eq_str(adit_buf_view(&written), "{\"name\":\"a\xEF\xBF\xBD/\xEF\xBF\xBD\"}"));
    adit_buf_fini(&written);
}
END_TEST

START_TEST(pbjson_writes_a_map_entry_that_came_without_a_value)
{
    static const uint8_t entry_without_value[] = {0xA2, 0x03, 0x02, 0x08, 0x05};
    ProtobufCMessage *msg = protobuf_c_message_unpack(
        &every__every__descriptor, NULL, sizeof(entry_without_value), entry_without_value);
    ck_assert_ptr_nonnull(msg);
    adit_buf_init(&written, TEXT_CAP);
    ck_assert_int_eq(pbjson_encode(msg, &written), 0);
    ck_assert(adit_view_eq_str(adit_buf_view(&written), "{\"int32Map\":{\"5\":{}}}"));
    adit_buf_fini(&written);
    protobuf_c_message_free_unpacked(msg, NULL);
}
END_TEST

START_TEST(pbjson_stops_at_the_maximum_of_the_buffer)
{
    uint8_t bytes[1000] = {0};
    Process__ProcessEvent__DataEvent data;
    process__process_event__data_event__init(&data);
    data.output_case = PROCESS__PROCESS_EVENT__DATA_EVENT__OUTPUT_STDOUT;
    data.stdout = (ProtobufCBinaryData){sizeof(bytes), bytes};
    const size_t whole = strlen("{\"stdout\":\"\"}") + 1336;
    for (size_t max = 0; max <= whole; max++) {
        adit_buf_init(&written, max);
        ck_assert_int_eq(pbjson_encode(&data.base, &written), max < whole ? ADIT_ERR_LIMIT : 0);
        adit_buf_fini(&written);
    }
}
END_TEST

SUITE_MAIN("pbjson", pbjson_writes_defaults_as_nothing, pbjson_takes_both_forms_of_a_name,
           pbjson_takes_integers_in_every_spelling, pbjson_takes_floats_and_their_words,
           pbjson_takes_enums_by_name_and_number, pbjson_passes_unknown_names_of_enum_values,
           pbjson_takes_bytes_in_both_alphabets, pbjson_takes_text_with_every_escape,
           pbjson_takes_lists_and_nested_messages, pbjson_takes_maps,
           pbjson_writes_a_set_oneof_member_even_if_empty, pbjson_takes_null_as_not_set,
           pbjson_lets_the_last_duplicate_win, pbjson_skips_unknown_fields, pbjson_takes_timestamps,
           pbjson_knows_the_seconds_of_a_timestamp, pbjson_refuses_to_write_a_time_out_of_range,
           pbjson_refuses_what_is_not_json_or_not_the_message, pbjson_refuses_a_nul_byte_anywhere,
           pbjson_refuses_a_message_cut_anywhere, pbjson_says_what_a_zero_length_payload_is,
           pbjson_bounds_the_depth, pbjson_bounds_the_items_of_lists_and_maps,
           pbjson_refuses_endless_numbers_and_passes_endless_names,
           pbjson_takes_hostile_repetition_in_linear_time,
           pbjson_writes_events_as_the_contract_shows_them,
           pbjson_replaces_what_is_not_utf8_when_it_writes,
           pbjson_writes_a_map_entry_that_came_without_a_value,
           pbjson_stops_at_the_maximum_of_the_buffer)
