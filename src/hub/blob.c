/*
 * One blob over the network: parts of a file on several connections, into a partial file whose progress is on disk
 * beside it, with the checksum taken on the way. The blob gets its name only when the checksum is right.
 */
#include "hub/hub_internal.h"

#include "base/alloc.h"
#include "hub/digest.h"
#include "net/header.h"
#include "os/clock.h"
#include "os/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    PART_BYTES = 8 << 20,
    CONNECTIONS = 6,
    SAVE_BYTES = 512 << 10,  /* of one connection that a kill can lose; times CONNECTIONS below 8 MiB */
    CREDIT_BYTES = 16 << 10, /* that must come before earlier failures are forgotten */
    CHUNK_BYTES = 1 << 20,
    CATCH_UP_BYTES = 8 << 20, /* that are read back between two looks at the network */
    REFUSAL_MAX_BYTES = 1 << 20,
    NAME_MAX_BYTES = 512
};

/* The state file: this, then one u64 of done bytes for each part. */
typedef struct state_head {
    char magic[16];
    uint64_t bytes, part_bytes;
} state_head;

static const char state_magic[16] = "anemo-parts-1";

struct job;

/* A connection and what it brings. */
typedef struct slot {
    struct job *job;
    an_call *call;
    char *url;
    uint64_t first, at, end; /* bytes of the file: asked from, next, one past the last asked */
    uint64_t unsaved;
    uint64_t swallowed; /* of a refusal's body */
    int redirects;
    bool whole; /* without Range */
} slot;

typedef struct job {
    an_hub *h;
    const an_hub_cache *cache;
    const char *file, *url;
    const an_hub_meta *meta;
    char data_name[NAME_MAX_BYTES], state_name[NAME_MAX_BYTES];
    char *location;
    int fd, state_fd;
    uint64_t bytes, n_part;
    uint64_t *done; /* [n_part] bytes from the part's beginning */
    uint64_t total_done;
    an_digest *digest; /* NULL when the etag is no checksum */
    uint64_t digested;
    char *chunk;
    slot slots[CONNECTIONS];
    bool ranges_work, no_ranges, resolve_again;
    int failures, resolves;
    uint64_t credit;    /* bytes since the last failure */
    uint64_t begin_ns;  /* no new request before */
    uint64_t base_done; /* of the pull's progress before this file */
    anemo_error last;   /* the failure that was last retried */
} job;

static uint64_t part_length(const job *j, uint64_t part)
{
    uint64_t begin = part * PART_BYTES;
    return j->bytes - begin < PART_BYTES ? j->bytes - begin : PART_BYTES;
}

/* ------------------------------------------------------------------------------------------------- progress on disk */

static anemo_status save_part(job *j, uint64_t part, anemo_error *err)
{
    if (j->state_fd < 0) return ANEMO_OK;
    /* What no checksum will find out must not be lost by a crash of the machine. */
    if (!j->digest) {
        anemo_status status = an_fd_sync(j->fd, j->data_name, err);
        if (status != ANEMO_OK) return status;
    }
    return an_fd_write_at(j->state_fd, &j->done[part], sizeof j->done[part],
                          sizeof(state_head) + part * sizeof j->done[part], j->state_name, err);
}

static anemo_status save_all(job *j, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    state_head head = {.bytes = j->bytes, .part_bytes = PART_BYTES};
    if (j->state_fd < 0) return ANEMO_OK;
    memcpy(head.magic, state_magic, sizeof head.magic);
    AN_TRY(an_fd_write_at(j->state_fd, j->done, j->n_part * sizeof *j->done, sizeof head, j->state_name, err));
    AN_TRY(an_fd_write_at(j->state_fd, &head, sizeof head, 0, j->state_name, err));
    AN_TRY(an_fd_set_size(j->state_fd, sizeof head + j->n_part * sizeof *j->done, j->state_name, err));
cleanup:
    return status;
}

/* Bytes 0..n are there. */
static void set_prefix(job *j, uint64_t n)
{
    j->total_done = n;
    for (uint64_t p = 0; p < j->n_part; p++) {
        uint64_t begin = p * PART_BYTES, length = part_length(j, p);
        j->done[p] = n <= begin ? 0 : n - begin < length ? n - begin : length;
    }
}

/* The state as it was left; false when there is none that fits. */
static bool load_state(job *j)
{
    state_head head;
    uint64_t size = an_fd_size(j->fd);
    if (an_fd_size(j->state_fd) != sizeof head + j->n_part * sizeof *j->done ||
        an_fd_read_at(j->state_fd, &head, sizeof head, 0, "", NULL) != ANEMO_OK ||
        memcmp(head.magic, state_magic, sizeof head.magic) != 0 || head.bytes != j->bytes ||
        head.part_bytes != PART_BYTES ||
        an_fd_read_at(j->state_fd, j->done, j->n_part * sizeof *j->done, sizeof head, "", NULL) != ANEMO_OK)
        return false;
    j->total_done = 0;
    for (uint64_t p = 0; p < j->n_part; p++) {
        if (j->done[p] > part_length(j, p) || (j->done[p] > 0 && p * PART_BYTES + j->done[p] > size)) j->done[p] = 0;
        j->total_done += j->done[p];
    }
    return true;
}

/* Take over the partial file of an older Python client, which is always a beginning of the file. */
static anemo_status adopt(job *j, anemo_error *err)
{
    char theirs[NAME_MAX_BYTES];
    snprintf(theirs, sizeof theirs, "%s/blobs/%s.incomplete", j->cache->folder, j->meta->etag);
    an_node node = an_beneath_probe(&j->cache->root, theirs);
    if (node.kind != AN_NODE_FILE || node.bytes == 0 || node.bytes > j->bytes ||
        an_beneath_probe(&j->cache->root, j->data_name).kind != AN_NODE_ABSENT)
        return ANEMO_OK;
    return an_beneath_rename(&j->cache->root, theirs, j->data_name, err);
}

static anemo_status open_files(job *j, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool multi = j->n_part > 1, known = false;
    bool had_state = an_beneath_probe(&j->cache->root, j->state_name).kind == AN_NODE_FILE;
    AN_TRY(adopt(j, err));
    AN_TRY(an_beneath_edit(&j->cache->root, j->data_name, &j->fd, err));
    if (multi) {
        AN_TRY(an_beneath_edit(&j->cache->root, j->state_name, &j->state_fd, err));
        known = had_state && load_state(j);
    }
    if (!known) {
        uint64_t size = an_fd_size(j->fd);
        /* Without a state a partial file is a beginning: one part, or the one that was taken over just now. */
        set_prefix(j, size <= j->bytes && !had_state ? size : 0);
        AN_TRY(save_all(j, err));
    }
    if (an_fd_size(j->fd) > j->bytes) AN_TRY(an_fd_set_size(j->fd, j->bytes, j->data_name, err));
cleanup:
    return status;
}

static anemo_status restart(job *j, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    set_prefix(j, 0);
    AN_TRY(save_all(j, err));
    AN_TRY(an_fd_set_size(j->fd, 0, j->data_name, err));
    an_digest_close(j->digest);
    j->digest = NULL;
    j->digested = 0;
    status = an_digest_open(&j->digest, j->meta->etag, j->bytes, err);
cleanup:
    return status;
}

/* ------------------------------------------------------------------------------------------------- bytes */

static void drop_calls(job *j)
{
    for (int i = 0; i < CONNECTIONS; i++) {
        slot *s = &j->slots[i];
        an_call_end(s->call);
        an_free(s->url);
        *s = (slot){.job = j};
    }
}

static anemo_status on_head(void *ctx, an_call *call, anemo_error *err)
{
    slot *s = ctx;
    job *j = s->job;
    char value[256];
    long code = an_call_code(call);
    uint64_t first, last, total;
    if (code != 200 && code != 206) return ANEMO_OK;
    if (an_call_header(call, "Content-Encoding", value, sizeof value) && strcasecmp(value, "identity") != 0)
        return an_fail(err, ANEMO_ERR_NET, "the server compressed the file (%.40s), which was not asked for", value);
    /* On the hub itself the ETag is the file's; what stores are behind it have their own. */
    if (an_url_same_origin(an_call_url(call), j->h->settings.endpoint) &&
        an_call_header(call, "ETag", value, sizeof value)) {
        char etag[160];
        if (!an_call_header(call, "X-Linked-Etag", value, sizeof value))
            an_call_header(call, "ETag", value, sizeof value);
        if (an_etag_parse(value, etag, sizeof etag) && strcmp(etag, j->meta->etag) != 0) {
            j->resolve_again = true;
            return an_fail(err, ANEMO_ERR_NET, "the file changed on the server while it was fetched");
        }
    }
    if (code == 206) {
        if (!an_call_header(call, "Content-Range", value, sizeof value) ||
            !an_content_range_parse(value, &first, &last, &total))
            return an_fail(err, ANEMO_ERR_NET, "a part of the file came without a usable Content-Range");
        if (s->whole || first != s->at || last >= s->end)
            return an_fail(err, ANEMO_ERR_NET, "bytes %" PRIu64 "-%" PRIu64 " were asked for and '%.80s' came", s->at,
                           s->end - 1, value);
        if (total != UINT64_MAX && total != j->bytes) {
            j->resolve_again = true;
            return an_fail(err, ANEMO_ERR_NET, "the file has %" PRIu64 " bytes now and had %" PRIu64, total, j->bytes);
        }
        j->ranges_work = true;
        return ANEMO_OK;
    }
    if (!s->whole) {
        /* A server without ranges sends everything. Taken when nothing is there yet, else asked for again from the
         * beginning. */
        j->no_ranges = true;
        if (s->at != 0 || j->total_done != 0)
            return an_fail(err, ANEMO_ERR_NET, "the server does not send parts of files");
        s->whole = true;
        s->end = j->bytes;
    }
    int64_t length = an_call_length(call);
    if (length >= 0 && (uint64_t)length != j->bytes) {
        j->resolve_again = true;
        return an_fail(err, ANEMO_ERR_NET, "the server sends %" PRId64 " bytes where %" PRIu64 " were announced",
                       length, j->bytes);
    }
    return ANEMO_OK;
}

static anemo_status on_bytes(void *ctx, an_call *call, const char *bytes, size_t n, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    slot *s = ctx;
    job *j = s->job;
    long code = an_call_code(call);
    if (code != 200 && code != 206) {
        s->swallowed += n;
        return s->swallowed <= REFUSAL_MAX_BYTES ? ANEMO_OK
                                                 : an_fail(err, ANEMO_ERR_NET, "an endless answer of code %ld", code);
    }
    if (n > s->end - s->at) return an_fail(err, ANEMO_ERR_NET, "more bytes came than the file has");
    AN_TRY(an_fd_write_at(j->fd, bytes, n, s->at, j->data_name, err));
    if (j->digest && j->digested == s->at) {
        AN_TRY(an_digest_add(j->digest, bytes, n, err));
        j->digested += n;
    }
    j->credit += n;
    j->total_done += n;
    s->unsaved += n;
    j->h->progress.fetched_bytes += n;
    for (size_t left = n; left > 0;) {
        uint64_t part = s->at / PART_BYTES, room = (part + 1) * PART_BYTES - s->at;
        uint64_t take = left < room ? left : room;
        s->at += take;
        left -= (size_t)take;
        j->done[part] += take;
        if (s->unsaved < SAVE_BYTES && j->done[part] < part_length(j, part)) continue;
        AN_TRY(save_part(j, part, err));
        s->unsaved = 0;
    }
cleanup:
    return status;
}

/* Bytes that came out of order are read back for the checksum. *more: there is more to read. */
static anemo_status catch_up(job *j, bool *more, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint64_t budget = CATCH_UP_BYTES;
    *more = false;
    while (j->digest && j->digested < j->bytes) {
        uint64_t part = j->digested / PART_BYTES, in_part = j->digested % PART_BYTES;
        uint64_t there = j->done[part] - in_part;
        if (there == 0) break;
        *more = budget == 0;
        if (*more) break;
        size_t n = there < CHUNK_BYTES ? (size_t)there : CHUNK_BYTES;
        AN_TRY(an_fd_read_at(j->fd, j->chunk, n, j->digested, j->data_name, err));
        AN_TRY(an_digest_add(j->digest, j->chunk, n, err));
        j->digested += n;
        budget -= n < budget ? n : budget;
    }
cleanup:
    return status;
}

/* ------------------------------------------------------------------------------------------------- requests */

static anemo_status begin_call(job *j, slot *s, anemo_error *err)
{
    const an_call_request r = {.url = s->url,
                               .bearer = an_hub_token_for(j->h, s->url),
                               .ranged = !s->whole,
                               .first = s->at,
                               .last = s->end - 1,
                               .connect_timeout_s = j->h->settings.download_timeout_s,
                               .idle_timeout_s = j->h->settings.download_timeout_s,
                               .on_head = on_head,
                               .on_bytes = on_bytes,
                               .ctx = s};
    s->first = s->at;
    return an_call_begin(&s->call, j->h->net, &r, err);
}

static bool is_taken(const job *j, uint64_t part)
{
    for (int i = 0; i < CONNECTIONS; i++)
        if (j->slots[i].call && j->slots[i].at < j->slots[i].end && j->slots[i].at / PART_BYTES == part) return true;
    return false;
}

/* Give idle connections something to fetch. */
static anemo_status launch(job *j, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int limit = j->ranges_work && !j->no_ranges ? CONNECTIONS : 1;
    uint64_t part = 0;
    if (an_clock_ns() < j->begin_ns) return ANEMO_OK;
    for (int i = 0; i < limit; i++) {
        slot *s = &j->slots[i];
        if (s->call) continue;
        while (part < j->n_part && (j->done[part] == part_length(j, part) || is_taken(j, part)))
            part++;
        if (part == j->n_part) break;
        s->at = part * PART_BYTES + j->done[part];
        s->end = part * PART_BYTES + part_length(j, part);
        s->whole = j->no_ranges || (s->at == 0 && s->end == j->bytes);
        if (s->whole) s->end = j->bytes;
        s->url = an_strdup(j->location);
        if (!s->url) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        AN_TRY(begin_call(j, s, err));
    }
cleanup:
    return status;
}

/* A failure that may pass: wait, and give up after too many without bytes in between. `why` is kept for the last
 * message. */
static anemo_status failed(job *j, const an_call *call, const anemo_error *why, anemo_error *err)
{
    uint64_t ms;
    j->last = *why;
    /* Connections that break together are one failure. */
    if (an_clock_ns() < j->begin_ns && !call) return ANEMO_OK;
    if (j->credit >= CREDIT_BYTES) j->failures = 0;
    j->credit = 0;
    j->failures++;
    if (j->failures > AN_HUB_RETRIES) {
        j->h->down = true;
        return an_fail(err, ANEMO_ERR_NET,
                       "%s: '%s': gave up after %d attempts: %s; the same command goes on from here", j->h->repo,
                       j->file, j->failures, why->message);
    }
    anemo_status status = an_hub_delay(j->h, j->failures, call, &ms, err);
    if (status != ANEMO_OK) return status;
    uint64_t begin = an_clock_ns() + ms * 1000000u;
    if (begin > j->begin_ns) j->begin_ns = begin;
    return ANEMO_OK;
}

/* A complete answer that brought no bytes of the file. */
static anemo_status answered(job *j, slot *s, bool *again, anemo_error *err)
{
    long code = an_call_code(s->call);
    anemo_error why = {0};
    bool foreign = strcmp(s->url, j->url) != 0;
    if (code >= 300 && code < 400 && code != 304) {
        char *to = an_hub_redirect(s->call, s->url, err);
        if (!to) return err ? err->status : ANEMO_ERR_NET;
        if (++s->redirects > AN_HUB_REDIRECTS) {
            an_free(to);
            return an_fail(err, ANEMO_ERR_NET, "%s: '%s': redirected too often", j->h->repo, j->file);
        }
        an_free(s->url);
        s->url = to;
        *again = true;
        return ANEMO_OK;
    }
    if ((code == 401 || code == 403 || code == 404 || code == 410) && foreign) {
        /* A signed URL that has expired: the hub gives a new one. */
        j->resolve_again = true;
        an_fail(&why, ANEMO_ERR_NET, "the store behind the hub answered %ld", code);
        return failed(j, NULL, &why, err);
    }
    if (code == 416) {
        anemo_status status = restart(j, err);
        if (status != ANEMO_OK) return status;
        j->resolve_again = true;
        an_fail(&why, ANEMO_ERR_NET, "the server has no such range (416)");
        return failed(j, NULL, &why, err);
    }
    if (code < 400 || an_hub_code_is_passing(code)) {
        char *shown = an_url_for_message(s->url);
        an_fail(&why, ANEMO_ERR_NET, "%s answered %ld", shown ? shown : "the server", code);
        an_free(shown);
        return failed(j, s->call, &why, err);
    }
    return an_hub_refused(j->h, s->call, j->file, err);
}

/* A call came to its end. */
static anemo_status finish(job *j, slot *s, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    anemo_error why = {0};
    bool again = false;
    long code = an_call_code(s->call);
    anemo_status result = an_call_result(s->call, NULL, &why);
    if (result != ANEMO_OK && result != ANEMO_ERR_NET) {
        if (err) *err = why;
        return result;
    }
    bool data = code == 200 || code == 206;
    if (s->unsaved && data) AN_TRY(save_part(j, (s->at - 1) / PART_BYTES, err));
    s->unsaved = 0;
    if (result == ANEMO_OK && data) {
        if (s->at < s->end && s->at == s->first)
            result = an_fail(&why, ANEMO_ERR_NET, "the answer was cut off before its first byte");
        else if (s->at < s->end && s->whole)
            result = an_fail(&why, ANEMO_ERR_NET, "the answer was cut off");
        else
            j->failures = s->at == s->end ? 0 : j->failures;
    }
    if (result != ANEMO_OK) {
        AN_TRY(failed(j, NULL, &why, err));
        /* What a server without ranges began is of no use. */
        if (j->no_ranges && j->total_done) AN_TRY(restart(j, err));
    } else if (!data) {
        AN_TRY(answered(j, s, &again, err));
    }
    an_call_end(s->call);
    s->call = NULL;
    s->swallowed = 0;
    if (again) {
        status = begin_call(j, s, err);
        goto cleanup;
    }
    an_free(s->url);
    *s = (slot){.job = j};
cleanup:
    return status;
}

/* Ask the hub where the file is now. *changed when it is another one. */
static anemo_status resolve(job *j, bool *changed, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_hub_meta fresh = {0};
    uint64_t now = an_clock_ns();
    drop_calls(j);
    j->resolve_again = false;
    if (++j->resolves > 4 * AN_HUB_RETRIES)
        return an_fail(err, ANEMO_ERR_NET, "%s: '%s': %s", j->h->repo, j->file, j->last.message);
    if (now < j->begin_ns) AN_TRY(an_hub_sleep(j->h, (j->begin_ns - now) / 1000000u, err));
    AN_TRY(an_hub_head(j->h, j->url, j->file, &fresh, err));
    *changed = strcmp(fresh.etag, j->meta->etag) != 0 || (fresh.has_bytes && fresh.bytes != j->bytes);
    an_free(j->location);
    j->location = fresh.location;
    fresh.location = NULL;
cleanup:
    an_free(fresh.location);
    return status;
}

static anemo_status transfer(job *j, bool *changed, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool more = false;
    while ((j->total_done < j->bytes || more || (j->digest && j->digested < j->bytes)) && !*changed) {
        if (an_hub_stopped(j->h)) {
            status = an_fail(err, ANEMO_ERR_INTERRUPTED, "interrupted; the same command goes on from here");
            goto cleanup;
        }
        if (j->resolve_again) AN_TRY(resolve(j, changed, err));
        if (*changed) break;
        AN_TRY(launch(j, err));
        bool idle = true;
        for (int i = 0; i < CONNECTIONS; i++)
            idle &= !j->slots[i].call;
        if (idle && !more && j->total_done < j->bytes) AN_TRY(an_hub_sleep(j->h, 10, err));
        if (!idle) AN_TRY(an_net_poll(j->h->net, more ? 0 : 100, err));
        for (int i = 0; i < CONNECTIONS; i++)
            if (j->slots[i].call && an_call_done(j->slots[i].call)) {
                AN_TRY(finish(j, &j->slots[i], err));
                /* All others would fail as this one did. */
                if (j->resolve_again) break;
            }
        AN_TRY(catch_up(j, &more, err));
        j->h->progress.done_bytes = j->base_done + j->total_done;
        an_hub_show(j->h, false);
    }
cleanup:
    for (int i = 0; i < CONNECTIONS; i++)
        if (j->slots[i].unsaved) (void)!save_part(j, (j->slots[i].at - 1) / PART_BYTES, NULL);
    drop_calls(j);
    return status;
}

/* ------------------------------------------------------------------------------------------------- publishing */

static anemo_status remove_partial(job *j, anemo_error *err)
{
    an_fd_close(&j->fd);
    an_fd_close(&j->state_fd);
    anemo_status status = an_beneath_remove(&j->cache->root, j->data_name, err);
    if (status == ANEMO_OK) status = an_beneath_remove(&j->cache->root, j->state_name, err);
    return status;
}

/* Give the blob its name. *wrong when the checksum is another: the partial file is gone then. */
static anemo_status publish(job *j, bool *wrong, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char hex[65] = "", blob[NAME_MAX_BYTES];
    if (j->digest) {
        AN_TRY(an_digest_end(j->digest, hex, err));
        *wrong = strcmp(hex, j->meta->etag) != 0;
        if (*wrong) return remove_partial(j, err);
    }
    AN_TRY(an_fd_sync(j->fd, j->data_name, err));
    snprintf(blob, sizeof blob, "%s/blobs/%s", j->cache->folder, j->meta->etag);
    AN_TRY(an_beneath_rename(&j->cache->root, j->data_name, blob, err));
    status = an_beneath_remove(&j->cache->root, j->state_name, err);
cleanup:
    return status;
}

static void job_close(job *j)
{
    drop_calls(j);
    an_fd_close(&j->fd);
    an_fd_close(&j->state_fd);
    an_digest_close(j->digest);
    an_free(j->done);
    an_free(j->chunk);
    an_free(j->location);
}

/* One attempt at the whole file. */
static anemo_status fetch_once(job *j, bool *changed, bool *wrong, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    j->fd = j->state_fd = -1;
    for (int i = 0; i < CONNECTIONS; i++)
        j->slots[i].job = j;
    j->n_part = j->bytes / PART_BYTES + (j->bytes % PART_BYTES != 0);
    j->done = an_calloc((size_t)j->n_part + 1, sizeof *j->done);
    j->chunk = an_malloc(CHUNK_BYTES);
    j->location = an_strdup(j->meta->location);
    if (!j->done || !j->chunk || !j->location) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    AN_TRY(an_digest_open(&j->digest, j->meta->etag, j->bytes, err));
    AN_TRY(open_files(j, err));
    j->base_done = j->h->progress.done_bytes;
    AN_TRY(transfer(j, changed, err));
    if (!*changed)
        AN_TRY(publish(j, wrong, err));
    else
        AN_TRY(remove_partial(j, err));
    if (*changed || *wrong) j->h->progress.done_bytes = j->base_done;
cleanup:
    job_close(j);
    return status;
}

uint64_t an_hub_partial_bytes(const an_hub_cache *cache, const char *etag, uint64_t bytes)
{
    char name[NAME_MAX_BYTES], *state = NULL;
    uint64_t sum = 0, done, n_part = bytes / PART_BYTES + (bytes % PART_BYTES != 0);
    size_t n = 0;
    snprintf(name, sizeof name, "%s/blobs/%s.anemo.incomplete", cache->folder, etag);
    an_node node = an_beneath_probe(&cache->root, name);
    if (node.kind == AN_NODE_ABSENT) {
        snprintf(name, sizeof name, "%s/blobs/%s.incomplete", cache->folder, etag);
        node = an_beneath_probe(&cache->root, name);
        return node.kind == AN_NODE_FILE && node.bytes <= bytes ? node.bytes : 0;
    }
    if (n_part <= 1) return node.bytes <= bytes ? node.bytes : 0;
    snprintf(name, sizeof name, "%s/blobs/%s.anemo.incomplete.parts", cache->folder, etag);
    if (an_beneath_read(&cache->root, name, sizeof(state_head) + n_part * sizeof done, &state, &n, NULL) != ANEMO_OK)
        return 0;
    for (size_t at = sizeof(state_head); at + sizeof done <= n; at += sizeof done) {
        memcpy(&done, state + at, sizeof done);
        sum += done <= PART_BYTES ? done : 0;
    }
    an_free(state);
    return sum <= bytes ? sum : 0;
}

anemo_status an_hub_fetch_blob(an_hub *h, const an_hub_cache *cache, const char *url, const char *file,
                               const an_hub_meta *meta, bool *changed, anemo_error *err)
{
    *changed = false;
    for (int attempt = 0;; attempt++) {
        bool wrong = false;
        job j = {.h = h, .cache = cache, .file = file, .url = url, .meta = meta, .bytes = meta->bytes};
        snprintf(j.data_name, sizeof j.data_name, "%s/blobs/%s.anemo.incomplete", cache->folder, meta->etag);
        snprintf(j.state_name, sizeof j.state_name, "%s.parts", j.data_name);
        anemo_status status = fetch_once(&j, changed, &wrong, err);
        if (status != ANEMO_OK || !wrong) return status;
        if (attempt > 0)
            return an_fail(err, ANEMO_ERR_NET,
                           "%s: '%s': what came twice has another checksum than the hub promises (%s); nothing was "
                           "kept. Try later, "
                           "or without the proxy or mirror in between",
                           h->repo, file, meta->etag);
        an_hub_note(h, "'%s' has a wrong checksum; it is fetched again from the beginning", file);
    }
}
