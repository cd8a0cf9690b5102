/* One line a class: count, size, bits a weight, error. */
#include "cli/print_classes.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static double bits(uint64_t bytes, uint64_t n)
{
    return n ? 8.0 * (double)bytes / (double)n : 0;
}

void an_cli_print_classes(const an_weight_classes *classes, bool dry_run)
{
    uint64_t n_weight = 0, bytes = 0;
    printf("%-18s %-10s %7s %13s %13s %7s", "tensors", "type", "count", "weights", "bytes", "bits/w");
    printf(dry_run ? "\n" : "  rel. RMSE  worst\n");
    for (size_t i = 0; i < classes->n; i++) {
        const an_weight_class *c = &classes->items[i];
        printf("%-18s %-10s %7zu %13" PRIu64 " %13" PRIu64 " %7.3f", c->kind, c->type, c->n_tensor, c->n_weight, c->bytes,
               bits(c->bytes, c->n_weight));
        if (dry_run) putchar('\n');
        else if (c->sum_sq_error > 0)
            printf("  %9.6f  %.6f %s\n", sqrt(c->sum_sq_error / c->sum_sq), c->worst, c->worst_name);
        else printf("  exact\n");
        n_weight += c->n_weight;
        bytes += c->bytes;
    }
    printf("%-18s %-10s %7s %13" PRIu64 " %13" PRIu64 " %7.3f\n", "all", "", "", n_weight, bytes, bits(bytes, n_weight));
}

json_t *an_cli_json_classes(const an_weight_classes *classes, bool dry_run)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < classes->n; i++) {
        const an_weight_class *c = &classes->items[i];
        json_t *o = json_pack("{s:s,s:s,s:I,s:I,s:I,s:f}", "tensors", c->kind, "type", c->type, "count", (json_int_t)c->n_tensor,
                              "weights", (json_int_t)c->n_weight, "bytes", (json_int_t)c->bytes, "bits_per_weight",
                              bits(c->bytes, c->n_weight));
        if (!dry_run) json_object_set_new(o, "relative_rmse", an_json_real(c->sum_sq > 0 ? sqrt(c->sum_sq_error / c->sum_sq) : 0));
        if (!dry_run && c->sum_sq_error > 0) {
            json_object_set_new(o, "worst", an_json_real(c->worst));
            json_object_set_new(o, "worst_tensor", json_string(c->worst_name));
        }
        if (json_array_append_new(list, o) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}
