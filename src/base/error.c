/* The status map and the error record. */
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *anemo_status_name(anemo_status status)
{
    switch (status) {
    case ANEMO_OK: return "ok";
    case ANEMO_ERR_INVAL: return "err_inval";
    case ANEMO_ERR_FORMAT: return "err_format";
    case ANEMO_ERR_UNSUPPORTED: return "err_unsupported";
    case ANEMO_ERR_NOTFOUND: return "err_notfound";
    case ANEMO_ERR_NET: return "err_net";
    case ANEMO_ERR_NOMEM: return "err_nomem";
    case ANEMO_ERR_NOSPACE: return "err_nospace";
    case ANEMO_ERR_IO: return "err_io";
    case ANEMO_ERR_BUSY: return "err_busy";
    case ANEMO_ERR_ENGINE: return "err_engine";
    case ANEMO_ERR_INTERNAL: return "err_internal";
    case ANEMO_ERR_TIMEOUT: return "err_timeout";
    case ANEMO_ERR_INTERRUPTED: return "err_interrupted";
    }
    return "err_unknown";
}

const char *anemo_status_text(anemo_status status)
{
    switch (status) {
#define X(name, value, exit_code, http_code, text)                                                 \
    case ANEMO_##name: return text;
        ANEMO_STATUS_MAP(X)
#undef X
    }
    return "unknown error";
}

int anemo_status_exit_code(anemo_status status)
{
    switch (status) {
#define X(name, value, exit_code, http_code, text)                                                 \
    case ANEMO_##name: return exit_code;
        ANEMO_STATUS_MAP(X)
#undef X
    }
    return 1;
}

int anemo_status_http_code(anemo_status status)
{
    switch (status) {
#define X(name, value, exit_code, http_code, text)                                                 \
    case ANEMO_##name: return http_code;
        ANEMO_STATUS_MAP(X)
#undef X
    }
    return 500;
}

anemo_status an_fail(anemo_error *err, anemo_status status, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->message, sizeof err->message, fmt, ap);
        va_end(ap);
        err->status = status;
    }
    return status;
}

anemo_status an_fail_prefix(anemo_error *err, anemo_status status, const char *fmt, ...)
{
    if (err) {
        char old[sizeof err->message];
        va_list ap;
        memcpy(old, err->message, sizeof old);
        va_start(ap, fmt);
        int n = vsnprintf(err->message, sizeof err->message, fmt, ap);
        va_end(ap);
        if (n >= 0 && (size_t)n < sizeof err->message)
            snprintf(err->message + n, sizeof err->message - (size_t)n, ": %s", old);
        err->status = status;
    }
    return status;
}

_Noreturn void an_assert_failed(const char *file, int line, const char *expr)
{
    fprintf(stderr, "anemo: internal error at %s:%d: %s\n", file, line, expr);
    abort();
}
