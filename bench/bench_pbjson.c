/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What JSON costs: process output as 32 KiB data events (MB of output a second, beside memcpy of
 * the same bytes), 64 KiB of input read, and small messages both ways. Medians of rounds.
 */
#include <time.h>

#include "bench/figure.h"
#include "process.pb-c.h"
#include "rpc/message.h"
#include "rpc/pbjson.h"

#define ROUNDS 21
#define OUTPUT_LEN (32u * 1024)
#define INPUT_LEN (64u * 1024)

static uint8_t noise[INPUT_LEN];
static struct adit_buf buf;

static void must(int rc)
{
    if (rc)
        abort();
}

static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Nanoseconds of one @run, median of rounds of @times. */
static double measure(void (*run)(void), unsigned times)
{
    double ns[ROUNDS];
    for (size_t i = 0; i < ROUNDS; i++) {
        double start = now_ns();
        for (unsigned n = 0; n < times; n++)
            run();
        ns[i] = (now_ns() - start) / times;
    }
    qsort(ns, ROUNDS, sizeof(*ns), by_value);
    return ns[ROUNDS / 2];
}

/* As the server sends it: an envelope of its own storage. */
static void append_output(enum rpc_codec codec)
{
    Process__ProcessEvent__DataEvent data;
    Process__ProcessEvent event;
    Process__StartResponse response;
    process__process_event__data_event__init(&data);
    process__process_event__init(&event);
    process__start_response__init(&response);
    data.output_case = PROCESS__PROCESS_EVENT__DATA_EVENT__OUTPUT_STDOUT;
    data.stdout = (ProtobufCBinaryData){OUTPUT_LEN, noise};
    event.event_case = PROCESS__PROCESS_EVENT__EVENT_DATA;
    event.data = &data;
    response.event = &event;
    must(message_append_envelope(0, codec, &response.base, &buf));
    adit_buf_consume(&buf, buf.len);
}

static void output_json(void)
{
    append_output(RPC_JSON);
}

static void output_proto(void)
{
    append_output(RPC_PROTO);
}

static void output_memcpy(void)
{
    must(adit_buf_append(&buf, noise, OUTPUT_LEN));
    adit_buf_consume(&buf, buf.len);
}

static struct adit_buf input_text;

static void make_input(void)
{
    Process__ProcessInput input;
    Process__SendInputRequest request;
    process__process_input__init(&input);
    process__send_input_request__init(&request);
    input.input_case = PROCESS__PROCESS_INPUT__INPUT_STDIN;
    input.stdin = (ProtobufCBinaryData){INPUT_LEN, noise};
    request.input = &input;
    adit_buf_init(&input_text, 1u << 20);
    must(pbjson_encode(&request.base, &input_text));
}

static void decode(const ProtobufCMessageDescriptor *type, struct adit_view json)
{
    ProtobufCMessage *msg;
    must(pbjson_decode(type, json, &msg, NULL));
    protobuf_c_message_free_unpacked(msg, NULL);
}

static void input_json(void)
{
    decode(&process__send_input_request__descriptor, adit_buf_view(&input_text));
}

static void start_json(void)
{
    static const struct adit_view json =
        ADIT_VIEW("{\"process\":{\"cmd\":\"/bin/bash\",\"args\":[\"-l\",\"-c\",\"echo hello\"],"
                  "\"envs\":{\"LANG\":\"C.UTF-8\"},\"cwd\":\"/home/user\"},\"stdin\":false}");
    decode(&process__start_request__descriptor, json);
}

static void list_json(void)
{
    static const struct adit_view json = ADIT_VIEW("{}");
    decode(&process__list_request__descriptor, json);
}

static void end_json(void)
{
    static char status[] = "exit status 0";
    Process__ProcessEvent__EndEvent end;
    Process__ProcessEvent event;
    Process__StartResponse response;
    process__process_event__end_event__init(&end);
    process__process_event__init(&event);
    process__start_response__init(&response);
    end.exited = 1;
    end.status = status;
    event.event_case = PROCESS__PROCESS_EVENT__EVENT_END;
    event.end = &end;
    response.event = &event;
    must(message_append_envelope(0, RPC_JSON, &response.base, &buf));
    adit_buf_consume(&buf, buf.len);
}

static void print_rate(const char *what, double len, double ns)
{
    figure_print(FIGURE_NO_AIM, what, "-", "%.0f MB/s", len * 1e3 / ns);
}

static void print_time(const char *what, double ns)
{
    figure_print(FIGURE_NO_AIM, what, "-", "%.0f ns", ns);
}

int main(void)
{
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)(i * 2654435761u >> 7);
    adit_buf_init(&buf, 1u << 20);
    make_input();
    print_rate("output events of 32 KiB, JSON", OUTPUT_LEN, measure(output_json, 500));
    print_rate("  protobuf", OUTPUT_LEN, measure(output_proto, 500));
    print_rate("  only copied", OUTPUT_LEN, measure(output_memcpy, 500));
    print_rate("input of 64 KiB, JSON", INPUT_LEN, measure(input_json, 200));
    print_time("reading a Start request, JSON, 136 bytes", measure(start_json, 20000));
    print_time("  an empty request", measure(list_json, 50000));
    print_time("writing an end event, JSON", measure(end_json, 50000));
    adit_buf_fini(&input_text);
    adit_buf_fini(&buf);
    return 0;
}
