/* anemo show for directories that no engine runs as they are. */
#ifndef AN_CLI_SHOW_SOURCE_H
#define AN_CLI_SHOW_SOURCE_H

#include "base/error.h"

#include <stdbool.h>

/*
 * Print what the converter knows of the directory. `refusal` says why it is not run: it is what
 * comes back (also when the converter cannot read the directory either; then nothing is printed),
 * unless printing fails.
 */
ANEMO_MUST_CHECK anemo_status an_cli_show_source(const char *path, bool json,
                                                 const anemo_error *refusal, anemo_error *err);

#endif
