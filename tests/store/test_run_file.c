/* store: files of runs, whole, many, cut, and hand-made bad ones with the text that their refusal must hold. */
#include "support/test.h"

#include "base/alloc.h"
#include "base/json.h"
#include "store/made_run.h"
#include "store/same_run.h"
#include "store/run_file.h"

#include <math.h>

static anemo_error err;

static void files_of_runs(void **state)
{
    (void)state;
    an_run run, *list;
    size_t n;
    an_str text = {0}, two = {0};
    made_run(&run, "one", 2, 1, 1);
    char *one = text_of(&run);
    an_str_appendf(&two, "%s\n%s\n\n", one, one);
    assert_true(an_run_file_is(two.data, two.len));
    assert_ok(an_run_file_parse(two.data, two.len, "f", &list, &n, &err), &err);
    assert_int_equal(n, 2);
    assert_same(&list[1], &run);
    an_run_list_free(list, n);
    assert_fails(an_run_file_parse(two.data, two.len - 10, "f", &list, &n, &err), &err, ANEMO_ERR_FORMAT, "document 2: f");
    an_str_appendf(&text, "[%s, %s]", one, one);
    assert_ok(an_run_file_parse(text.data, text.len, "f", &list, &n, &err), &err);
    assert_int_equal(n, 2);
    an_run_list_free(list, n);
    assert_ok(an_run_file_parse(one, strlen(one), "f", &list, &n, &err), &err);
    an_run_list_free(list, n);
    an_str_clear(&text);
    assert_ok(an_json_write(an_run_json(&run), JSON_INDENT(1), &text, &err), &err);
    assert_ok(an_run_file_parse(text.data, text.len, "f", &list, &n, &err), &err);
    assert_same(&list[0], &run);
    an_run_list_free(list, n);
    for (size_t cut = 0; cut < text.len; cut += 97)
        assert_fails(an_run_file_parse(text.data, cut, "f", &list, &n, &err), &err, ANEMO_ERR_FORMAT, "f");
    run.tags = json_pack("[s]", "not a tag");
    an_str_clear(&text);
    assert_ok(an_json_write(an_run_json(&run), JSON_COMPACT, &text, &err), &err);
    assert_fails(an_run_file_parse(text.data, text.len, "f", &list, &n, &err), &err, ANEMO_ERR_FORMAT, "f: run one: tag 'not a tag'");
    assert_fails(an_run_file_parse("[]", 2, "f", &list, &n, &err), &err, ANEMO_ERR_FORMAT, "no run");
    assert_fails(an_run_file_parse("{}", 2, "f", &list, &n, &err), &err, ANEMO_ERR_FORMAT, "schema");
    assert_false(an_run_file_is("{}", 2));
    an_str_free(&text);
    an_str_free(&two);
    an_free(one);
    an_run_free(&run);
}


#define RUN(members) "{\"schema\":\"anemo.run/1\",\"id\":\"a\",\"environment\":{}" members "}"
#define MODEL(members) RUN(",\"models\":[{\"name\":\"m\"" members "}]")
#define CELL(members) RUN(",\"models\":[{}],\"cells\":[{\"engine\":\"e\"" members "}]")
#define REP(members) CELL(",\"reps\":[{" members "}]")
#define AGREE(members) RUN(",\"cells\":[{},{}],\"agreements\":[{" members "}]")

static const struct {
    const char *doc, *text;
} bad[] = {
    {"", "empty"},
    {" \n\t ", "empty"},
    {"{", "f"},
    {"null", "f"},
    {"{\"schema\":\"anemo.run/1\"", "f"},
    {RUN("") " {}", "f"},
    {RUN("") "\n" RUN("") "\nx", "document 3"},
    {RUN("") "\n{}", "document 2: f: its schema is ''"},
    {"{\"schema\":\"anemo.run/1\",\"schema\":\"anemo.run/1\"}", "duplicate"},
    {"{\"schema\":7}", "schema"},
    {"{\"schema\":\"anemo.run/2\"}", "'anemo.run/2', not anemo.run/1"},
    {"[1]", "a run is not an object"},
    {"[[]]", "a run is not an object"},
    {"{\"schema\":\"anemo.run/1\",\"id\":\"a\"}", "\"environment\" is not an object"},
    {"{\"schema\":\"anemo.run/1\",\"environment\":{}}", "'' is not the id of a run"},
    {"{\"schema\":\"anemo.run/1\",\"id\":\"../a\",\"environment\":{}}", "'../a' is not the id"},
    {"{\"schema\":\"anemo.run/1\",\"id\":5,\"environment\":{}}", "\"id\""},
    {RUN(",\"tags\":[1]"), "\"tags\" holds something that is not a string"},
    {RUN(",\"tags\":[\"a b\"]"), "tag 'a b'"},
    {RUN(",\"tags\":[\"last\"]"), "the newest run"},
    {RUN(",\"workload\":[]"), "\"workload\" is not an object"},
    {RUN(",\"extra\":1"), "\"extra\" is not an object"},
    {RUN(",\"n_block\":-1"), "n_block"},
    {RUN(",\"n_block\":4294967296"), "n_block"},
    {RUN(",\"precision\":\"1\""), "precision"},
    {RUN(",\"aa\":1"), "aa"},
    {RUN(",\"command\":\"\\u0000\""), "f"},
    {RUN(",\"models\":{}"), "\"models\" is not an array"},
    {RUN(",\"models\":[1]"), "a model is not an object"},
    {MODEL(",\"bytes\":-1"), "bytes"},
    {MODEL(",\"bytes\":1.5"), "bytes"},
    {MODEL(",\"sha256\":{}"), "sha256"},
    {RUN(",\"cells\":1"), "\"cells\" is not an array"},
    {RUN(",\"cells\":[1]"), "a cell is not an object"},
    {CELL(",\"model_index\":1"), "a cell names model 1 of 1"},
    {CELL(",\"model_index\":-2"), "model_index"},
    {CELL(",\"status\":\"good\""), "unknown status 'good'"},
    {CELL(",\"work\":3"), "\"work\" of a cell is not an object"},
    {CELL(",\"work\":{\"kind\":\"play\"}"), "unknown work 'play'"},
    {CELL(",\"work\":{\"n_gen\":-5}"), "n_gen"},
    {CELL(",\"settings\":[]"), "\"settings\" is not an object"},
    {CELL(",\"reps\":{}"), "\"reps\" is not an array"},
    {CELL(",\"reps\":[1]"), "a rep is not an object"},
    {CELL(",\"reps\":[{\"order\":1},{\"order\":1}]"), "cell 0 has the order 1 behind 1"},
    {CELL(",\"reps\":[{\"order\":2},{\"order\":1}]"), "cell 0 has the order 1 behind 2"},
    {REP("\"kind\":\"slow\""), "unknown kind 'slow'"},
    {REP("\"order\":-1"), "order"},
    {REP("\"block\":-2"), "block"},
    {REP("\"decode_tps\":\"fast\""), "decode_tps"},
    {REP("\"token_ids\":[1]"), "arrays of the same length"},
    {REP("\"token_ids\":[1],\"token_times_s\":5"), "arrays of the same length"},
    {REP("\"token_ids\":[2147483648],\"token_times_s\":[1]"), "token_ids[0] of a rep is out of range"},
    {REP("\"token_ids\":[-2],\"token_times_s\":[1]"), "token_ids[0] of a rep is out of range"},
    {REP("\"text\":\"ab\",\"text_bytes_before_eos\":3"), "text_bytes_before_eos"},
    {REP("\"curve\":[[1,2]]"), "curve[0] of a rep is not an array of 5"},
    {AGREE("\"a\":0,\"b\":2"), "names a cell that is not there"},
    {AGREE("\"a\":0"), "names a cell that is not there"},
    {AGREE("\"a\":0,\"b\":1,\"examined_by\":9"), "names a cell that is not there"},
    {AGREE("\"a\":0,\"b\":1,\"n\":-1"), "n"},
    {RUN(",\"agreements\":[1]"), "an agreement is not an object"},
};

static void bad_documents(void **state)
{
    (void)state;
    an_run *list;
    size_t n;
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++)
        assert_fails(an_run_file_parse(bad[i].doc, strlen(bad[i].doc), "f", &list, &n, &err), &err, ANEMO_ERR_FORMAT, bad[i].text);
}

/* What a newer anemo adds is read over; what is left out takes its default. */
static void odd_but_good(void **state)
{
    (void)state;
    static const char doc[] = RUN(",\"of_tomorrow\":{\"x\":[1]},\"cells\":[{\"new\":1,\"reps\":[{\"new_metric\":3}]}],\"note\":null");
    an_run *list;
    size_t n;
    assert_ok(an_run_file_parse(doc, sizeof doc - 1, "f", &list, &n, &err), &err);
    assert_int_equal(n, 1);
    assert_int_equal(list[0].cells[0].model, -1);
    assert_int_equal(list[0].cells[0].status, AN_CELL_OK);
    assert_int_equal(list[0].cells[0].reps[0].block, -1);
    assert_true(isnan(list[0].cells[0].reps[0].values[AN_FIELD_ID_decode_tps]));
    an_run_list_free(list, n);
}

/* Nesting is bounded, and a text that is too long for its place is cut between characters. */
static void deep_and_long(void **state)
{
    (void)state;
    an_run *list;
    size_t n;
    an_str text = {0};
    an_str_append(&text, "{\"schema\":\"anemo.run/1\",\"id\":\"a\",\"environment\":{},\"extra\":{\"x\":");
    an_str_append_repeat(&text, '[', 1000000);
    assert_fails(an_run_file_parse(text.data, text.len, "f", &list, &n, &err), &err, ANEMO_ERR_FORMAT, "depth");
    an_str_clear(&text);
    an_str_append(&text, "{\"schema\":\"anemo.run/1\",\"id\":\"a\",\"environment\":{\"host\":\"x");
    for (int i = 0; i < 100; i++) an_str_append(&text, "\xc3\xa9");
    an_str_append(&text, "\"}}");
    assert_ok(an_run_file_parse(text.data, text.len, "f", &list, &n, &err), &err);
    const char *host = list[0].environment.host;
    assert_int_equal(strlen(host), sizeof list[0].environment.host - 1);
    assert_string_equal(host + strlen(host) - 2, "\xc3\xa9");
    an_run_list_free(list, n);
    an_str_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_runs),
        cmocka_unit_test(bad_documents),
        cmocka_unit_test(odd_but_good),
        cmocka_unit_test(deep_and_long),
    };
    an_json_watch_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
