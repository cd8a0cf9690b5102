/* Values of HTTP headers and parts of URLs, as they come from servers that may be wrong or hostile. */
#ifndef AN_NET_HEADER_H
#define AN_NET_HEADER_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "bytes 0-99/200": false unless first <= last < total; *total is UINT64_MAX for "*". */
bool an_content_range_parse(const char *value, uint64_t *first, uint64_t *last, uint64_t *total);

/* Seconds to wait by Retry-After (a number or an HTTP date, seen from `now_s` since the Unix epoch); -1 when it is
 * neither. */
int64_t an_retry_after_parse(const char *value, int64_t now_s);

/* Seconds to wait by a RateLimit header ("\"api\";r=0;t=55"); -1 while something remains or when it says nothing. */
int64_t an_rate_limit_parse(const char *value);

/* The target of rel="next" in a Link header; NULL when there is none. an_free. */
char *an_link_next_parse(const char *value);

/* An ETag without W/ and quotes. false (and "") when it is empty, too long for cap or holds a character beyond
 * [A-Za-z0-9._-]. */
bool an_etag_parse(const char *value, char *out, size_t cap);

/* Scheme, host and port are the same (default ports filled in). false when one is no http(s) URL. */
bool an_url_same_origin(const char *a, const char *b);

/* `reference` (absolute or relative) seen from `base`; NULL unless the result is an http or https URL without a
 * password. */
char *an_url_join(const char *base, const char *reference);

bool an_url_is_https(const char *url);

/* scheme://host/path, without what may be a secret: for messages. Gives; NULL when out of memory. */
char *an_url_for_message(const char *url);

/* Percent-encode all but [A-Za-z0-9._~-] (and "/" when keep_slash). */
void an_url_escape(an_str *out, const char *text, bool keep_slash);

/* Percent-decode n bytes; false for a broken escape or one of NUL. */
bool an_url_unescape(an_str *out, const char *text, size_t n);

#endif
