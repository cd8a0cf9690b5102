/* The table of classes. */
#include "convert/weight_class.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

anemo_status an_weight_classes_add(an_weight_classes *c, const char *kind, const char *type, uint64_t n_weight,
                                   uint64_t bytes, size_t *idx, anemo_error *err)
{
    size_t i = 0;
    while (i < c->n && (strcmp(c->items[i].kind, kind) != 0 || strcmp(c->items[i].type, type) != 0)) i++;
    if (i == c->n) {
        an_weight_class *grown = an_realloc(c->items, (c->n + 1) * sizeof *grown);
        if (!grown) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        c->items = grown;
        grown[i] = (an_weight_class){0};
        snprintf(grown[i].kind, sizeof grown[i].kind, "%s", kind);
        snprintf(grown[i].type, sizeof grown[i].type, "%s", type);
        c->n++;
    }
    c->items[i].n_tensor++;
    c->items[i].n_weight += n_weight;
    c->items[i].bytes += bytes;
    *idx = i;
    return ANEMO_OK;
}

void an_weight_classes_error(an_weight_classes *c, size_t idx, const char *tensor, double sum_sq, double sum_sq_error)
{
    an_weight_class *k = &c->items[idx];
    double relative = sum_sq > 0 ? sqrt(sum_sq_error / sum_sq) : 0;
    k->sum_sq += sum_sq;
    k->sum_sq_error += sum_sq_error;
    if (relative > k->worst) {
        k->worst = relative;
        snprintf(k->worst_name, sizeof k->worst_name, "%s", tensor);
    }
}

void an_weight_classes_free(an_weight_classes *c)
{
    an_free(c->items);
    *c = (an_weight_classes){0};
}

void an_weight_kind(an_field field, int n_dim, char kind[AN_CLASS_KIND_MAX])
{
    const char *name = an_tensor_rules()[field].gguf;
    if (n_dim < 2) snprintf(kind, AN_CLASS_KIND_MAX, "norms and vectors");
    else snprintf(kind, AN_CLASS_KIND_MAX, "%.*s", (int)strcspn(name, "."), name);
}
