/*
 * What the hub and the user say: listings in their three forms with the choice of files from them, references, header
 * values. The first byte picks one.
 */
#include "fuzz/fuzz.h"

#include "base/alloc.h"
#include "hub/choose.h"
#include "hub/listing.h"
#include "hub/reference.h"
#include "net/header.h"

#include <string.h>

static volatile unsigned sink;

static void use_listing(const an_listing *l, const char *text)
{
    static const char *const quants[] = {"", "Q4_K_M", "Q8_0"};
    static const char *const include[] = {"*.json", "[!a]*", "sub/", NULL};
    anemo_error err = {0};
    for (size_t i = 0; i < l->n; i++) {
        char quant[32];
        if (!an_relpath_safe(l->files[i].path)) abort();
        sink += (unsigned)strlen(an_quant_of_path(l->files[i].path, quant));
    }
    for (size_t i = 0; i < 5; i++) {
        an_choice c;
        const an_wish wish = {.repo = "o/r",
                              .quant = i < 3 ? quants[i] : "",
                              .path = i == 3 && l->n ? l->files[0].path : "",
                              .include = i == 4 ? include : NULL};
        if (an_choose(&c, l, &wish, &err) == ANEMO_OK) {
            for (size_t k = 0; k < c.n; k++)
                if (c.index[k] >= l->n || (k && c.index[k] <= c.index[k - 1])) abort();
            an_choice_free(&c);
        } else if (!err.message[0])
            abort();
    }
    sink += an_glob_match(text, l->n ? l->files[0].path : "");
}

static void use_text(const char *text)
{
    uint64_t a, b, n;
    an_ref ref;
    anemo_error err = {0};
    char etag[80];
    an_str s = {0};
    if (an_ref_parse(&ref, text, "http://hub:1", &err) == ANEMO_OK) {
        if (!an_repo_id_valid(ref.repo) || (ref.path[0] && !an_relpath_safe(ref.path)) ||
            (ref.revision[0] && !an_revision_valid(ref.revision)))
            abort();
    } else if (!err.message[0])
        abort();
    if (an_content_range_parse(text, &a, &b, &n) && (a > b || b >= n)) abort();
    if (an_retry_after_parse(text, 1000) < -1 || an_rate_limit_parse(text) < -1) abort();
    if (an_etag_parse(text, etag, sizeof etag) && strpbrk(etag, "/\\ ")) abort();
    char *next = an_link_next_parse(text), *joined = an_url_join("https://h/a/b", text),
         *shown = an_url_for_message(text);
    if (joined && strncmp(joined, "http", 4) != 0) abort();
    sink += an_url_same_origin(text, "https://h/") + an_url_unescape(&s, text, strlen(text));
    an_url_escape(&s, text, true);
    an_str_free(&s);
    an_free(next);
    an_free(joined);
    an_free(shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    an_listing l = {0};
    an_repo_info info;
    if (size == 0) return 0;
    char *text = malloc(size);
    if (!text) abort();
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    anemo_status status = ANEMO_OK;
    switch (data[0] % 4) {
    case 0:
        status = an_listing_add_page(&l, text, size - 1, "fuzz", &err);
        break;
    case 1:
        status = an_listing_add_tree_cache(&l, text, size - 1, "fuzz", &err);
        break;
    case 2:
        status = an_repo_info_parse(&info, text, size - 1, "fuzz", &err);
        break;
    default:
        use_text(text);
        break;
    }
    if (status == ANEMO_OK) status = an_listing_check(&l, "fuzz", &err);
    if (status == ANEMO_OK)
        use_listing(&l, text);
    else if (!err.message[0])
        abort();
    an_listing_free(&l);
    free(text);
    return 0;
}
