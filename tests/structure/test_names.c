/* Every metric has its name of src/record/fields.def in the JSON of a repetition, in the CSV's header and in docs/metrics.md. */
#include "support/test.h"

#include "base/alloc.h"
#include "base/str.h"
#include "os/file.h"
#include "report/report.h"

static void test_json(void **state)
{
    (void)state;
    an_rep rep, again;
    anemo_error err;
    an_rep_init(&rep);
    for (int i = 0; i < AN_FIELD_N; i++) rep.values[i] = i + 1;
    json_t *obj = an_rep_json(&rep);
    for (int i = 0; i < AN_FIELD_N; i++) {
        const json_t *v = json_object_get(obj, an_field_get((an_field_id)i)->name);
        assert_true(json_is_number(v));
        assert_true(json_number_value(v) == i + 1);
    }
    assert_ok(an_rep_from_json(&again, obj, "rep", &err), &err);
    assert_memory_equal(again.values, rep.values, sizeof rep.values);
    an_rep_free(&again);
    an_rep_free(&rep);
    json_decref(obj);
}

/* `name` stands in the first line as one of its columns. */
static bool has_column(const char *csv, const char *name)
{
    size_t n = strlen(name), line = strcspn(csv, "\n");
    for (size_t i = 0; i + n <= line; i++)
        if (!memcmp(csv + i, name, n) && (i == 0 || csv[i - 1] == ',') && strchr(",\n", csv[i + n])) return true;
    return false;
}

static void test_csv(void **state)
{
    (void)state;
    an_run run;
    an_str out = {0};
    anemo_error err;
    an_run_init(&run);
    assert_ok(an_report_write(&run, AN_REPORT_CSV, (an_report_style){.width = 80}, &out, &err), &err);
    for (int i = 0; i < AN_FIELD_N; i++)
        if (!has_column(out.data, an_field_get((an_field_id)i)->name))
            fail_msg("the CSV has no column %s", an_field_get((an_field_id)i)->name);
    an_str_free(&out);
    an_run_free(&run);
}

/* A name is a metric once, a title too, and each is explained. */
static void test_table(void **state)
{
    (void)state;
    for (int i = 0; i < AN_FIELD_N; i++) {
        const an_field *f = an_field_get((an_field_id)i);
        an_field_id found;
        assert_true(an_field_find(f->name, &found));
        assert_int_equal(found, i);
        assert_true(f->unit[0] && f->title[0] && strlen(f->definition) > 5);
        static const char *const sources[] = {"worker", "kernel", "machine", "probe", "derived"};
        bool known = false;
        for (size_t k = 0; k < AN_COUNT_OF(sources); k++) known = known || !strcmp(sources[k], f->source);
        if (!known) fail_msg("%s comes from '%s'", f->name, f->source);
        for (int k = 0; k < i; k++) assert_string_not_equal(an_field_get((an_field_id)k)->title, f->title);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_json), cmocka_unit_test(test_csv), cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
