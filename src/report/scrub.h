/* Text that goes to others without what is only ours: passwords and keys always, folders on request. */
#ifndef AN_REPORT_SCRUB_H
#define AN_REPORT_SCRUB_H

#include "base/str.h"

#include <stdbool.h>

/*
 * Append `text` (plain or the text of a JSON document, which stays one) to out, leaving out: user and password of a URL, values of
 * its parameters with names as key, token, password; words that begin as the keys of usual services do (hf_, sk-, ghp_, Bearer); values
 * of --api-key, --token and the like. With `paths` a path becomes its last part, too.
 */
void an_scrub(const char *text, bool paths, an_str *out);

#endif
