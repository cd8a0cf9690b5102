/* The table of what became of a model's weights, on stdout. */
#ifndef AN_CLI_PRINT_CLASSES_H
#define AN_CLI_PRINT_CLASSES_H

#include "base/json.h"
#include "convert/weight_class.h"

#include <stdbool.h>

/* One line a class and a sum. The errors are known only when something was written: a dry run has none. */
void an_cli_print_classes(const an_weight_classes *c, bool dry_run);
/* The same as a JSON array, without errors for a dry run. NULL when out of memory; gives a reference. */
json_t *an_cli_json_classes(const an_weight_classes *c, bool dry_run);

#endif
