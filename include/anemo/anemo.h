/*
 * libanemo: run quantized Mistral and Llama models from GGUF files and MLX directories.
 *
 *     anemo_model *model;
 *     anemo_session *session;
 *     anemo_error err;
 *     if (anemo_model_open(&model, "model.gguf", &err) != ANEMO_OK) …            err.message says what and where
 *     if (anemo_session_open(&session, model, NULL, &err) != ANEMO_OK) …
 *     if (anemo_session_eval(session, ids, n, &err) != ANEMO_OK) …
 *     int32_t next = anemo_session_sample(session);
 *
 * Whatever is opened is closed by the function of the same family; a call that fails owes nothing.
 */
#ifndef ANEMO_ANEMO_H
#define ANEMO_ANEMO_H

#include <anemo/model.h>
#include <anemo/session.h>
#include <anemo/status.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* "0.1.0" */
const char *anemo_version(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
