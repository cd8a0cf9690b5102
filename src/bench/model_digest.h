/* Which weights a model is: the checksum that an_run_model's sha256 holds. */
#ifndef AN_BENCH_MODEL_DIGEST_H
#define AN_BENCH_MODEL_DIGEST_H

#include "arch/model_file.h"

/*
 * sha256 of the one weight file; of several, sha256 of their digests' hex digits one after the other, in the order of their names. ""
 * when a file cannot be read. Reads all of them (about a second a gigabyte).
 */
void an_model_digest(const char *path, an_container container, char out[65]);

#endif
