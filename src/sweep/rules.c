/* Rules of a plan: "engine=mlx threads<=2 model=*instruct*". */
#include "sweep/plan.h"

#include "sweep/ini.h"
#include "sweep/sweep_internal.h"

#include "base/alloc.h"
#include "os/file.h"

#include <stdio.h>
#include <string.h>

/* The operator at text: its length, 0 for none. */
static size_t take_op(const char *text, an_rule_op *op)
{
    static const struct {
        const char *sign;
        an_rule_op op;
    } ops[] = {{"!=", AN_RULE_IS_NOT}, {"<=", AN_RULE_AT_MOST}, {">=", AN_RULE_AT_LEAST},
               {"<", AN_RULE_BELOW},   {">", AN_RULE_ABOVE},    {"=", AN_RULE_IS}};
    for (size_t i = 0; i < AN_COUNT_OF(ops); i++)
        if (!strncmp(text, ops[i].sign, strlen(ops[i].sign))) {
            *op = ops[i].op;
            return strlen(ops[i].sign);
        }
    return 0;
}

static anemo_status read_condition(an_condition *c, const char *text, const char *place, anemo_error *err)
{
    size_t len = strcspn(text, "=!<>"), op_len = take_op(text + len, &c->op);
    if (op_len == 0 || text[len + op_len] == '\0')
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: '%.100s' is no condition; write for example engine=mlx or threads<=2", place, text);
    if (!an_axis_find(text, len, &c->axis)) {
        char list[400] = "";
        for (an_axis a = 0; a < AN_AXIS_N; a++)
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", a ? ", " : "", an_axis_name(a));
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: the grid has no key '%.*s'; there are: %s", place,
                       len < 64 ? (int)len : 64, text, list);
    }
    if (c->op > AN_RULE_IS_NOT && !an_axis_is_number(c->axis))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: '%s' has no order; compare it with = or !=", place,
                       an_axis_name(c->axis));
    anemo_status status = an_axis_read(c->axis, text + len + op_len, place, true, &c->values, err);
    if (status == ANEMO_OK && c->op > AN_RULE_IS_NOT && c->values.n != 1)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: '%.100s' compares with several values; give one", place, text);
    return status;
}

anemo_status an_rule_read(an_plan *plan, const char *text, const char *place, bool exclude, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char **items = NULL;
    size_t n = 0;
    if (plan->n_rule == AN_PLAN_RULES_MAX)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: more than %d rules", place, AN_PLAN_RULES_MAX);
    AN_TRY(an_ini_split(text, ' ', place, &items, &n, err));
    an_rule *bigger = an_realloc(plan->rules, (plan->n_rule + 1) * sizeof *bigger);
    if (!bigger) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    plan->rules = bigger;
    an_rule *rule = &plan->rules[plan->n_rule];
    *rule = (an_rule){.exclude = exclude, .conditions = an_calloc(n, sizeof *rule->conditions)};
    if (!rule->conditions) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    plan->n_rule++;
    for (size_t i = 0; i < n; i++) {
        rule->n = i + 1; /* what a failing one leaves is freed with the plan */
        AN_TRY(read_condition(&rule->conditions[i], items[i], place, err));
    }
cleanup:
    an_names_free(items);
    return status;
}

/* Does text match a pattern in which * stands for any characters and ? for one? */
static bool matches(const char *pattern, const char *text)
{
    const char *star = NULL, *from = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            from = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++from;
        } else
            return false;
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

static bool holds(const an_condition *c, const an_grid_point *point)
{
    int64_t number = point->numbers[c->axis];
    bool equal = false;
    switch (c->op) {
    case AN_RULE_BELOW: return number < c->values.numbers[0];
    case AN_RULE_AT_MOST: return number <= c->values.numbers[0];
    case AN_RULE_ABOVE: return number > c->values.numbers[0];
    case AN_RULE_AT_LEAST: return number >= c->values.numbers[0];
    case AN_RULE_IS:
    case AN_RULE_IS_NOT: break;
    }
    for (size_t i = 0; i < c->values.n && !equal; i++)
        equal = an_axis_is_number(c->axis) ? c->values.numbers[i] == number
                                           : matches(c->values.texts[i], point->texts[c->axis]);
    return equal == (c->op == AN_RULE_IS);
}

bool an_plan_admits(const an_plan *plan, const an_grid_point *point)
{
    bool any_include = false, included = false;
    for (size_t i = 0; i < plan->n_rule; i++) {
        const an_rule *rule = &plan->rules[i];
        bool all = true;
        for (size_t k = 0; k < rule->n && all; k++)
            all = holds(&rule->conditions[k], point);
        if (rule->exclude && all) return false;
        any_include |= !rule->exclude;
        included |= !rule->exclude && all;
    }
    return included || !any_include;
}
