/*
 * Status codes and the error record of every fallible call.
 *
 * One row of ANEMO_STATUS_MAP gives the enum value, the exit status of the command-line program, the HTTP
 * code of the server and the default sentence. Codes are never reused (docs/exit-codes.md).
 */
#ifndef ANEMO_STATUS_H
#define ANEMO_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/*        name             value  exit  http  default sentence */
#define ANEMO_STATUS_MAP(X)                                                                        \
    X(OK, 0, 0, 200, "success")                                                                    \
    X(ERR_INVAL, 1, 2, 400, "invalid argument")                                                    \
    X(ERR_FORMAT, 2, 3, 422, "malformed file")                                                     \
    X(ERR_UNSUPPORTED, 3, 3, 422, "unsupported file")                                              \
    X(ERR_NOTFOUND, 4, 4, 404, "not found")                                                        \
    X(ERR_NET, 5, 5, 502, "network error")                                                         \
    X(ERR_NOMEM, 6, 6, 503, "out of memory")                                                       \
    X(ERR_NOSPACE, 7, 6, 507, "no space left")                                                     \
    X(ERR_IO, 8, 1, 500, "input/output error")                                                     \
    X(ERR_BUSY, 9, 1, 409, "in use")                                                               \
    X(ERR_ENGINE, 10, 1, 502, "engine failed")                                                     \
    X(ERR_INTERNAL, 11, 1, 500, "internal error")                                                  \
    X(ERR_TIMEOUT, 12, 124, 504, "time limit reached")                                             \
    X(ERR_INTERRUPTED, 13, 130, 499, "interrupted")

typedef enum anemo_status {
#define X(name, value, exit_code, http_code, text) ANEMO_##name = value,
    ANEMO_STATUS_MAP(X)
#undef X
} anemo_status;

#if defined(__GNUC__)
#define ANEMO_MUST_CHECK __attribute__((warn_unused_result))
#else
#define ANEMO_MUST_CHECK
#endif

/* Filled by a failing call; caller-owned, 1024 bytes, no allocation. May be NULL wherever it is a parameter. */
typedef struct anemo_error {
    anemo_status status;
    char message[1020]; /* where, what, expected, found, what to do next */
} anemo_error;

/* Stable lower-case name without prefix: "ok", "err_format". Static string. */
const char *anemo_status_name(anemo_status status);

/* Default sentence of a status. Static string. */
const char *anemo_status_text(anemo_status status);

/* Exit status of the program for a status: decision A4, docs/exit-codes.md. */
int anemo_status_exit_code(anemo_status status);

/* HTTP code for a status. */
int anemo_status_http_code(anemo_status status);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
