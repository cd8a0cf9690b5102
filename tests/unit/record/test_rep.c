/* record: the arithmetic of a repetition with known answers. */
#include "support/test.h"

#include "base/alloc.h"
#include "record/rep.h"

#include <math.h>

static void derived_values(void **state)
{
    (void)state;
    an_rep rep;
    an_rep_init(&rep);
    rep.n_token = 3;
    rep.token_times_s = an_calloc(3, sizeof *rep.token_times_s);
    rep.token_ids = an_calloc(3, sizeof *rep.token_ids);
    rep.token_times_s[0] = 0.5;
    rep.token_times_s[1] = 0.75;
    rep.token_times_s[2] = 1.0;
    rep.token_ids[2] = -1;
    rep.values[AN_FIELD_ID_n_prompt] = 10;
    rep.values[AN_FIELD_ID_cpu_s] = 1.5;
    an_rep_derive(&rep, 2);
    assert_true(rep.values[AN_FIELD_ID_ttft_s] == 0.5);
    assert_true(rep.values[AN_FIELD_ID_prefill_tps] == 20);
    assert_true(rep.values[AN_FIELD_ID_decode_tps] == 4); /* two steps in half a second, not three */
    assert_true(rep.values[AN_FIELD_ID_total_s] == 1);
    assert_true(rep.values[AN_FIELD_ID_cpu_percent] == 150);
    assert_true(rep.values[AN_FIELD_ID_cpu_percent_machine] == 75);
    rep.text = an_strdup("a\xFF");
    rep.text_bytes = 2;
    json_t *j = an_rep_json(&rep);
    assert_true(json_is_null(json_object_get(j, "eos_at")));
    assert_true(json_is_integer(json_object_get(j, "n_generated")));
    assert_true(json_is_null(json_array_get(json_object_get(j, "token_ids"), 2)));
    assert_string_equal(json_string_value(json_object_get(j, "text")), "a\xEF\xBF\xBD");
    json_decref(j);
    rep.n_token = 1;
    an_rep_derive(&rep, 2);
    rep.values[AN_FIELD_ID_decode_tps] = NAN;
    an_rep_derive(&rep, 2);
    assert_true(isnan(rep.values[AN_FIELD_ID_decode_tps])); /* one token has no decode speed */
    an_rep_free(&rep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(derived_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
