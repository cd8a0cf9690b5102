/* Which weights a model is: the checksum that an_run_model's sha256 holds. */
#ifndef AN_BENCH_MODEL_DIGEST_H
#define AN_BENCH_MODEL_DIGEST_H

#include "base/error.h"

/*
 * SHA-256 of the bytes of a model's weight files, in order of their names: of a GGUF file what sha256sum says of it, of a split one all
 * its shards, of a folder its *.safetensors. Reads all of them (about a second a gigabyte). The errors of opening; ERR_NOTFOUND
 * for a folder without weights.
 */
ANEMO_MUST_CHECK anemo_status an_model_digest(const char *path, char sha256[65], anemo_error *err);

#endif
