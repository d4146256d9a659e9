/* SPDX-License-Identifier: Apache-2.0 */
/* Headers set in TLS: who is shown which certificate, who gets the headers, and what fails. */
#include "egress_tls.h"

#include "broker/egress/egress_dial.h"
#include "envd/ca_store.h"

#define GET(host) "GET / HTTP/1.1\r\nHost: " host "\r\n"
#define REPLY "HTTP/1.1 204 No Content\r\n\r\n"

static struct guest g;
static struct cert_pair root, stranger;
static char authority[EGRESS_AUTHORITY_CAP];
static int server;
static uint16_t port;

static void setup(void)
{
    root = tls_pair(NULL, "");
    stranger = tls_pair(NULL, "");
    ck_assert_int_eq(egress_authority_make(authority, NULL), ADIT_OK);
    server = server_open(&port);
    g = (struct guest){.take_trust = tls_trust(&root), .authority = authority};
    guest_start(&g, "127.0.0.1", TLS_RULES, false);
    guest_open(&g);
}

static void teardown(void)
{
    guest_stop(&g);
    (void)close(server);
    cert_pair_fini(&root);
    cert_pair_fini(&stranger);
}

static int open_dial(uint32_t id, int *destination)
{
    guest_dial(&g, id, "127.0.0.1", port);
    *destination = server_accept(server);
    return guest_accept(&g, id);
}

/* A connection for "api.test", both handshakes done. */
static SSL *open_secured(SSL **at_server)
{
    struct cert_pair pair = tls_pair(&root, "api.test");
    int destination, program = open_dial(1, &destination);
    SSL *ssl = tls_program(program, "api.test", authority);
    *at_server = tls_server(destination, &pair);
    cert_pair_fini(&pair);
    ck_assert_int_eq(SSL_accept(*at_server), 1);
    ck_assert_int_eq(SSL_connect(ssl), 1);
    return ssl;
}

START_TEST(tls_requests_get_the_headers_of_their_rule)
{
    SSL *at_server, *program = open_secured(&at_server);
    ck_assert_str_eq(SSL_get_servername(at_server, TLSEXT_NAMETYPE_host_name), "api.test");
    for (int i = 0; i < 2; i++) {
        tls_send(program, GET("api.test") "X-Key: mine\r\n\r\n");
        tls_expect(at_server, GET("api.test") "X-Key: s3cret\r\n\r\n");
        tls_send(at_server, REPLY);
        tls_expect(program, REPLY);
    }
    tls_close(program);
    tls_close(at_server);
}
END_TEST

/* By way of a server that has a rule, no other server's secret gets out. */
START_TEST(tls_requests_for_other_hosts_get_none)
{
    SSL *at_server, *program = open_secured(&at_server);
    tls_send(program, GET("www.test") "\r\n" GET("API.test") "\r\n");
    tls_expect(at_server, GET("www.test") "\r\n" GET("API.test") "X-Key: s3cret\r\n\r\n");
    tls_close(program);
    tls_close(at_server);
}
END_TEST

START_TEST(tls_end_is_passed_on_as_the_end_it_was)
{
    char c;
    bool is_clean = _i == 0;
    SSL *at_server, *program = open_secured(&at_server);
    tls_send(program, GET("api.test") "\r\n");
    tls_expect(at_server, GET("api.test") "X-Key: s3cret\r\n\r\n");
    tls_send(at_server, "HTTP/1.1 200 OK\r\n\r\nto the end");
    if (is_clean)
        ck_assert_int_eq(SSL_shutdown(at_server), 0);
    (void)shutdown(SSL_get_fd(at_server), SHUT_WR);
    guest_expect_end(&g, 1, false);
    tls_expect(program, "HTTP/1.1 200 OK\r\n\r\nto the end");
    ck_assert_int_eq(SSL_read(program, &c, 1), 0);
    ck_assert_int_eq(SSL_get_error(program, 0), is_clean ? SSL_ERROR_ZERO_RETURN : SSL_ERROR_SSL);
    tls_close(program);
    tls_close(at_server);
}
END_TEST

START_TEST(tls_server_that_nobody_vouches_for_is_refused)
{
    const struct {
        const struct cert_pair *issuer;
        const char *name;
    } wrong[] = {{&stranger, "api.test"}, {&root, "www.test"}};
    struct cert_pair pair = tls_pair(wrong[_i].issuer, wrong[_i].name);
    int destination, program = open_dial(1, &destination);
    SSL *ssl = tls_program(program, "api.test", authority);
    SSL *at_server = tls_server(destination, &pair);
    (void)SSL_accept(at_server); /* TLS 1.3: it hears of it later */
    guest_expect_end(&g, 1, false);
    tls_expect_failure(ssl, SSL_R_SSLV3_ALERT_BAD_CERTIFICATE);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_INSECURE), 1);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_DIALS), 0);
    tls_close(ssl);
    tls_close(at_server);
    cert_pair_fini(&pair);
}
END_TEST

START_TEST(tls_server_that_breaks_off_is_told_to_the_program)
{
    int destination, program = open_dial(1, &destination);
    SSL *ssl = tls_program(program, "api.test", authority);
    if (_i == 0)
        send_text(destination, "SSH-2.0-x\r\n");
    else
        (void)shutdown(destination, SHUT_WR);
    guest_expect_end(&g, 1, false);
    tls_expect_failure(ssl, SSL_R_TLSV1_ALERT_INTERNAL_ERROR);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_INSECURE), 1);
    tls_close(ssl);
    (void)close(destination);
}
END_TEST

START_TEST(tls_program_that_trusts_nobody_breaks_off)
{
    struct cert_pair pair = tls_pair(&root, "api.test");
    char other[EGRESS_AUTHORITY_CAP];
    int destination, program = open_dial(1, &destination);
    ck_assert_int_eq(egress_authority_make(other, NULL), ADIT_OK);
    SSL *ssl = tls_program(program, "api.test", other);
    SSL *at_server = tls_server(destination, &pair);
    ck_assert_int_eq(SSL_accept(at_server), 1);
    tls_expect_failure(ssl, SSL_R_CERTIFICATE_VERIFY_FAILED);
    guest_expect_end(&g, 1, false);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_INSECURE), 1);
    tls_close(ssl);
    tls_close(at_server);
    cert_pair_fini(&pair);
}
END_TEST

/* Return: the certificate that a program sees of a server that has its own for @name. */
static X509 *seen_certificate(const char *name, const struct cert_pair *pair)
{
    int destination, program = open_dial(1, &destination);
    SSL *ssl = tls_program(program, name, NULL), *at_server = tls_server(destination, pair);
    tls_shake_hands(ssl, at_server);
    X509 *cert = SSL_get1_peer_certificate(ssl);
    tls_send(ssl, "no HTTP");
    tls_expect(at_server, "no HTTP");
    tls_close(ssl);
    tls_close(at_server);
    return cert;
}

/* What a program says first. Return: its length. */
static int client_hello(char *name, char *out, int cap)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    BIO *said = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), said); /* both are the connection's then */
    ck_assert_int_eq(SSL_set_tlsext_host_name(ssl, name), 1);
    ck_assert_int_eq(SSL_get_error(ssl, SSL_connect(ssl)), SSL_ERROR_WANT_READ);
    int len = BIO_read(said, out, cap);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return len;
}

/* Return: whether TLS with the server is begun; else it was reset. */
static bool is_secured(uint32_t id, const char *hello, int len)
{
    char c;
    int destination, program = open_dial(id, &destination);
    ck_assert_int_eq(send(program, hello, (size_t)len, MSG_NOSIGNAL), len);
    wait_readable(destination);
    bool is_begun = read(destination, &c, 1) == 1;
    guest_end(&g, id, true);
    (void)close(program);
    (void)close(destination);
    return is_begun;
}

/* It is work for a thread that all sandboxes share. */
START_TEST(tls_begins_no_more_often_than_it_may)
{
    char hello[4096];
    int len = client_hello((char[]){"api.test"}, hello, sizeof(hello));
    uint32_t id = 0;
    while (is_secured(id, hello, len))
        ck_assert_uint_lt(++id, 10 * EGRESS_DIALS_SECURED_BURST);
    ck_assert_uint_ge(id, EGRESS_DIALS_SECURED_BURST);
}
END_TEST

START_TEST(tls_to_names_without_a_rule_is_not_touched)
{
    struct cert_pair pair = tls_pair(&stranger, "www.test");
    X509 *cert = seen_certificate("www.test", &pair);
    ck_assert_int_eq(X509_cmp(cert, pair.cert), 0);
    X509_free(cert);
    cert_pair_fini(&pair);
}
END_TEST

START_TEST(tls_is_not_touched_once_the_rule_is_gone)
{
    struct cert_pair pair = tls_pair(&stranger, "api.test");
    ck_assert_int_eq(
        egress_update(g.sandbox, policy_of(&g, "{\"allowOut\":[\"127.0.0.1\"]}"), NULL), ADIT_OK);
    X509 *cert = seen_certificate("api.test", &pair);
    ck_assert_int_eq(X509_cmp(cert, pair.cert), 0);
    X509_free(cert);
    cert_pair_fini(&pair);
}
END_TEST

/* Its reset, or its policy's, ends a handshake with whoever it is under way. */
START_TEST(tls_handshake_ends_with_its_connection)
{
    int destination, program = open_dial(1, &destination);
    SSL *ssl = tls_program(program, "api.test", authority);
    wait_readable(destination); /* the host's ClientHello */
    if (_i == 0)
        guest_end(&g, 1, true);
    else
        ck_assert_int_eq(egress_update(g.sandbox, policy_of(&g, "{}"), NULL), ADIT_OK);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_DIALS), 0);
    tls_close(ssl);
    (void)close(destination);
}
END_TEST

START_TEST(rules_leave_other_protocols_alone)
{
    int destination, program = open_dial(1, &destination);
    send_text(destination, "SSH-2.0-server\r\n"); /* it speaks first */
    expect_text(program, "SSH-2.0-server\r\n");
    send_text(program, "SSH-2.0-client\r\n");
    expect_text(destination, "SSH-2.0-client\r\n");
    guest_end(&g, 1, true);
    (void)close(program);
    (void)close(destination);
    program = open_dial(2, &destination);
    send_text(program, "\x16\x03"); /* nothing that is ever finished */
    (void)shutdown(program, SHUT_WR);
    guest_end(&g, 2, false);
    expect_text(destination, "\x16\x03");
    expect_eof(destination);
    send_text(destination, "answer");
    expect_text(program, "answer");
    (void)close(destination);
    guest_expect_end(&g, 2, false);
    (void)close(program);
    program = open_dial(3, &destination);
    (void)shutdown(destination, SHUT_WR); /* nobody says anything */
    guest_expect_end(&g, 3, false);
    expect_eof(program);
    (void)close(program);
    (void)close(destination);
}
END_TEST

/* The program says whose host it is, but the address is not one that the host found for it. */
START_TEST(plain_http_gets_no_headers_at_an_address_of_the_programs_choice)
{
    int destination, program = open_dial(1, &destination);
    send_text(program, GET("api.test") "\r\n");
    expect_text(destination, GET("api.test") "\r\n");
    (void)close(program);
    (void)close(destination);
}
END_TEST

/* ---- the authority ---- */

START_TEST(authority_is_found_where_the_guest_puts_it)
{
    char hash[16];
    X509 *cert = tls_bundle(authority);
    (void)snprintf(hash, sizeof(hash), "%08lx", X509_subject_name_hash(cert));
    ck_assert_str_eq(hash, CA_STORE_HASH);
    ck_assert_ptr_null(strstr(egress_authority_certificate(authority), "PRIVATE"));
    ck_assert_ptr_nonnull(strstr(authority, "PRIVATE"));
    X509_free(cert);
}
END_TEST

START_TEST(authority_keeps_certificates_and_not_too_many)
{
    struct egress_authority *a;
    struct tls_context *first, *again;
    char name[32];
    ck_assert_int_eq(egress_authority_open(authority, &a, NULL), ADIT_OK);
    ck_assert_int_eq(egress_authority_context(a, adit_view_str("a.test"), &first, NULL), ADIT_OK);
    ck_assert(tls_context_covers(first, "a.test") && !tls_context_covers(first, "b.a.test"));
    ck_assert_int_eq(egress_authority_context(a, adit_view_str("a.test"), &again, NULL), ADIT_OK);
    ck_assert_ptr_eq(first, again);
    tls_context_unref(again);
    for (int i = 0; i < EGRESS_AUTHORITY_LEAVES_MAX; i++) {
        (void)snprintf(name, sizeof(name), "n%d.test", i);
        ck_assert_int_eq(egress_authority_context(a, adit_view_str(name), &again, NULL), ADIT_OK);
        tls_context_unref(again);
    }
    ck_assert_int_eq(egress_authority_context(a, adit_view_str("a.test"), &again, NULL), ADIT_OK);
    ck_assert_ptr_ne(first, again);
    tls_context_unref(again);
    tls_context_unref(first);
    egress_authority_free(a);
}
END_TEST

START_TEST(authority_that_is_torn_is_refused)
{
    struct egress_authority *a;
    char *key_end = strstr(authority, "-----BEGIN CERTIFICATE-----");
    ck_assert_int_eq(egress_authority_open("", &a, NULL), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(egress_authority_open(key_end, &a, NULL), ADIT_ERR_BAD_INPUT);
    *key_end = '\0';
    ck_assert_int_eq(egress_authority_open(authority, &a, NULL), ADIT_ERR_BAD_INPUT);
}
END_TEST

SUITE_MAIN_WITH(
    "egress_tls", .fixtures = {{setup, teardown}},
    TESTS(tls_requests_get_the_headers_of_their_rule, tls_requests_for_other_hosts_get_none,
          tls_program_that_trusts_nobody_breaks_off, tls_begins_no_more_often_than_it_may,
          tls_to_names_without_a_rule_is_not_touched, tls_is_not_touched_once_the_rule_is_gone,
          rules_leave_other_protocols_alone,
          plain_http_gets_no_headers_at_an_address_of_the_programs_choice,
          authority_is_found_where_the_guest_puts_it, authority_keeps_certificates_and_not_too_many,
          authority_that_is_torn_is_refused),
    LOOPS({tls_end_is_passed_on_as_the_end_it_was, 2},
          {tls_server_that_nobody_vouches_for_is_refused, 2},
          {tls_server_that_breaks_off_is_told_to_the_program, 2},
          {tls_handshake_ends_with_its_connection, 2}))
