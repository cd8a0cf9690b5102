/* net and the http driver's reading of streams: events cut anywhere, and every odd chunk that servers send. */
#include "support/test.h"

#include "base/alloc.h"
#include "drivers/http/completion.h"
#include "net/http.h"
#include "net/sse.h"

static anemo_status collect(void *ctx, const char *data, size_t n, anemo_error *err)
{
    an_str *out = ctx;
    (void)err;
    an_str_append_char(out, '[');
    an_str_append_bytes(out, data, n);
    an_str_append_char(out, ']');
    return ANEMO_OK;
}

/* Feed in pieces of `step` bytes. */
static void feed(const char *text, size_t step, const char *expected)
{
    anemo_error err;
    an_sse s = {0};
    an_str out = {0};
    for (size_t i = 0, n = strlen(text); i < n; i += step)
        assert_ok(an_sse_feed(&s, text + i, n - i < step ? n - i : step, collect, &out, &err), &err);
    assert_string_equal(an_str_text(&out), expected);
    an_str_free(&out);
    an_sse_free(&s);
}

static void events_cut_anywhere(void **state)
{
    (void)state;
    const char *lf = ": comment\ndata: a\n\ndata:b\ndata:  c\nid: 7\n\nevent: x\n\ndata\n\ndata: lost";
    const char *crlf = "\xEF\xBB\xBF" "data: a\r\n\r\ndata:b\r\ndata:  c\r\nid: 7\r\n\r\nevent: x\r\n\r\ndata\r\n\r\n";
    const char *cr = "data: a\r\rdata:b\rdata:  c\r\rdata\r\r";
    for (size_t step = 1; step < 80; step++) {
        feed(lf, step, "[a][b\n c][]");
        feed(crlf, step, "[a][b\n c][]");
        feed(cr, step, "[a][b\n c][]");
    }
}

static void an_endless_line_is_refused(void **state)
{
    (void)state;
    anemo_error err;
    an_sse s = {0};
    an_str out = {0};
    char *chunk = an_malloc(1 << 20);
    anemo_status status = ANEMO_OK;
    memset(chunk, 'x', 1 << 20);
    for (int i = 0; i < 20 && status == ANEMO_OK; i++) status = an_sse_feed(&s, chunk, 1 << 20, collect, &out, &err);
    assert_int_equal(status, ANEMO_ERR_FORMAT);
    an_sse_free(&s);
    an_str_free(&out);
    an_free(chunk);
}

static void event(an_completion *c, const char *data, uint64_t t)
{
    anemo_error err;
    assert_ok(an_completion_event(c, data, strlen(data), t, &err), &err);
}

static void odd_chunks_are_read_right(void **state)
{
    (void)state;
    anemo_error err;
    an_completion c;
    an_completion_init(&c);
    event(&c, "{\"choices\":[{\"text\":\"\"}]}", 10); /* an empty first chunk is no token */
    assert_int_equal(an_completion_n_token(&c), 0);
    event(&c, "{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}", 20);
    event(&c, "{\"choices\":[{\"text\":\"Tho\",\"finish_reason\":null}]}", 100);
    event(&c, "{\"choices\":[{\"delta\":{\"content\":\"mas\"}}]}", 200);
    event(&c, "{\"choices\":[{\"text\":\" Edison.\",\"finish_reason\":\"length\"}],\"usage\":null}", 400);
    event(&c, "{\"choices\":[],\"usage\":{\"prompt_tokens\":6,\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":2}}}",
          500);
    event(&c, "{\"choices\":null}", 500);
    event(&c, "{}", 500);
    event(&c, "[DONE]", 600);
    assert_string_equal(c.text.data, "Thomas Edison.");
    assert_string_equal(c.finish, "length");
    assert_true(c.done);
    assert_int_equal(c.n_chunk, 3);
    assert_int_equal(c.n_cached, 2);
    assert_int_equal(an_completion_n_token(&c), 5); /* two tokens came in one chunk, twice */
    assert_int_equal(an_completion_token_ns(&c, 0, 5), 100);
    assert_int_equal(an_completion_token_ns(&c, 2, 5), 200);
    assert_int_equal(an_completion_token_ns(&c, 4, 5), 400);
    assert_fails(an_completion_event(&c, "{\"error\":{\"message\":\"no slot\"}}", 31, 0, &err), &err, ANEMO_ERR_ENGINE,
                 "no slot");
    assert_fails(an_completion_event(&c, "{\"error\":\"plain\"}", 17, 0, &err), &err, ANEMO_ERR_ENGINE, "plain");
    assert_fails(an_completion_event(&c, "<html>", 6, 0, &err), &err, ANEMO_ERR_FORMAT, "JSON");
    assert_fails(an_completion_event(&c, "[1]", 3, 0, &err), &err, ANEMO_ERR_FORMAT, "not a JSON object");
    an_completion_free(&c);
}

static void refused_addresses(void **state)
{
    (void)state;
    anemo_error err;
    an_http *h;
    an_http_response r;
    assert_ok(an_http_open(&h, NULL, &err), &err);
    an_http_request request = {.url = "file:///etc/passwd"};
    assert_fails(an_http_perform(h, &request, &r, &err), &err, ANEMO_ERR_INVAL, "not an http");
    request.url = "http://127.0.0.1:1/";
    assert_fails(an_http_perform(h, &request, &r, &err), &err, ANEMO_ERR_NET, "is the server running");
    an_http_close(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_cut_anywhere),
        cmocka_unit_test(an_endless_line_is_refused),
        cmocka_unit_test(odd_chunks_are_read_right),
        cmocka_unit_test(refused_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
