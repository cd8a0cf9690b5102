/* Opening and closing the database: whose file it is, its settings, where its memory comes from. */
#include "store/store_internal.h"

#include "base/alloc.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/mount.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

/* ---- memory: SQLite's blocks come from base/alloc.h, so that a test can refuse them. Their size stands in front. */

enum { SIZE_BYTES = 16 /* keeps the block aligned */ };

static void *sqlite_malloc(int n)
{
    unsigned char *block = an_malloc((size_t)n + SIZE_BYTES);
    if (!block) return NULL;
    memcpy(block, &n, sizeof n);
    return block + SIZE_BYTES;
}

static void sqlite_free(void *p)
{
    if (p) an_free((unsigned char *)p - SIZE_BYTES);
}

static void *sqlite_realloc(void *p, int n)
{
    if (!p) return sqlite_malloc(n);
    unsigned char *block = an_realloc((unsigned char *)p - SIZE_BYTES, (size_t)n + SIZE_BYTES);
    if (!block) return NULL;
    memcpy(block, &n, sizeof n);
    return block + SIZE_BYTES;
}

static int sqlite_size(void *p)
{
    int n = 0;
    if (p) memcpy(&n, (unsigned char *)p - SIZE_BYTES, sizeof n);
    return n;
}

static int sqlite_roundup(int n)
{
    return n > INT32_MAX - 7 ? n : (n + 7) & ~7;
}

static int sqlite_init(void *unused)
{
    (void)unused;
    return SQLITE_OK;
}

static void sqlite_shutdown(void *unused)
{
    (void)unused;
}

/* Once, before SQLite's first use. In a program that used it already it keeps its own allocator: nothing but tests miss ours. */
static void configure_sqlite(void)
{
    static atomic_bool done;
    static const sqlite3_mem_methods memory = {sqlite_malloc, sqlite_free, sqlite_realloc, sqlite_size,
                                               sqlite_roundup, sqlite_init, sqlite_shutdown, NULL};
    if (atomic_exchange(&done, true)) return;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &memory);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

/* ---- the path */

static anemo_status choose_path(const char *given, char **out, anemo_error *err)
{
    const char *env = an_env("ANEMO_DB");
    char *path = NULL;
    if (given || env) {
        /* "file:x" and ":memory:" mean something else to SQLite. */
        path = an_path_join(".", given ? given : env);
    } else {
        char *data = an_dir_data();
        if (!data)
            return an_fail_no_dir(err, ANEMO_ERR_NOTFOUND,
                                  "HOME is not set, so there is no place for results: name a database with --db or ANEMO_DB");
        path = an_path_join(data, "results.db");
        an_free(data);
    }
    *out = path;
    return path ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
}

/* Its folder is there, and not on another machine. */
static anemo_status prepare_folder(const char *path, anemo_error *err)
{
    char *dir = an_path_dir(path);
    anemo_status status = dir ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    if (status == ANEMO_OK && an_path_probe(dir) == AN_PATH_ABSENT) status = an_dir_make(dir, err);
    const char *network = status == ANEMO_OK ? an_mount_network(dir) : NULL;
    if (network)
        status = an_fail(err, ANEMO_ERR_UNSUPPORTED,
                         "%s lies on a network file system (%s), where a database that several machines open gets lost: "
                         "name one on a local disk with --db or ANEMO_DB, and bring results together with 'anemo results "
                         "merge'",
                         path, network);
    an_free(dir);
    return status;
}

/* ---- opening */

static anemo_status open_file(an_store *s, an_store_mode mode, anemo_error *err)
{
    an_path_kind kind = an_path_probe(s->path);
    if (kind == AN_PATH_DIR) return an_fail(err, ANEMO_ERR_INVAL, "%s: is a folder, not a database", s->path);
    if (mode == AN_STORE_READ && kind == AN_PATH_ABSENT)
        return an_fail(err, ANEMO_ERR_NOTFOUND, "%s: there are no results yet; 'anemo compare' and 'anemo bench' make them",
                       s->path);
    /* A reader opens for writing too where it may: the last one to close then leaves one whole file behind. */
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    if (mode == AN_STORE_WRITE) flags |= SQLITE_OPEN_CREATE;
    int rc = sqlite3_open_v2(s->path, &s->db, flags, NULL);
    if (rc != SQLITE_OK) return an_sql_fail(s, rc, err);
    return ANEMO_OK;
}

static anemo_status configure(an_store *s, anemo_error *err)
{
    sqlite3_busy_timeout(s->db, AN_STORE_BUSY_MS);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    return an_sql_exec(s,
                       "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;"
                       "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL",
                       err);
}

/* A file that nobody can write to, on a medium or in a folder that is read-only, is read as it is. */
static anemo_status reopen_unchanging(an_store *s, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str uri = {0}, wal = {0};
    an_str_appendf(&wal, "%s-wal", s->path);
    an_str_append(&uri, "file:");
    for (const unsigned char *c = (const unsigned char *)s->path; *c; c++) {
        if (*c == '?' || *c == '#' || *c == '%') an_str_appendf(&uri, "%%%02X", *c);
        else an_str_append_char(&uri, (char)*c);
    }
    an_str_append(&uri, "?immutable=1");
    AN_TRY(an_str_check(&wal, err));
    AN_TRY(an_str_check(&uri, err));
    if (an_path_size(an_str_text(&wal)) > 0) {
        status = an_fail(err, ANEMO_ERR_IO, "%s: its last changes are in %s and cannot be read without writing: copy both "
                         "to a folder that can be written", s->path, an_str_text(&wal));
        goto cleanup;
    }
    sqlite3_close(s->db);
    s->db = NULL;
    int rc = sqlite3_open_v2(an_str_text(&uri), &s->db,
                             SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc != SQLITE_OK) status = an_sql_fail(s, rc, err);
cleanup:
    an_str_free(&uri);
    an_str_free(&wal);
    return status;
}

/* What the file says of itself. */
typedef struct identity {
    int64_t application, version, n_object;
} identity;

static anemo_status identify(an_store *s, identity *id, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    /* One moment for all three: another first user may be making the tables just now. */
    AN_TRY(an_sql_exec(s, "BEGIN", err));
    AN_TRY(an_sql_number(s, "PRAGMA application_id", NULL, 0, &id->application, err));
    AN_TRY(an_sql_number(s, "PRAGMA user_version", NULL, 0, &id->version, err));
    AN_TRY(an_sql_number(s, "SELECT count(*) FROM sqlite_master", NULL, 0, &id->n_object, err));
    if (id->n_object == 0 && id->version == 0 && (id->application == 0 || id->application == AN_STORE_APPLICATION_ID))
        goto cleanup;
    if (id->application != AN_STORE_APPLICATION_ID)
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: a SQLite database of another program; anemo leaves it alone", s->path);
    else if (id->version > AN_STORE_VERSION)
        status = an_fail(err, ANEMO_ERR_FORMAT,
                         "%s: made by a newer anemo (its schema is %" PRId64 ", this one knows %d): use that one, or export "
                         "the runs there and import them here",
                         s->path, id->version, AN_STORE_VERSION);
    else if (id->version < 0)
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: not as anemo makes it (schema %" PRId64 ")", s->path, id->version);
cleanup:
    if (!sqlite3_get_autocommit(s->db)) {
        /* A transaction that stays open would be in the way of every later one. */
        anemo_status ended = an_sql_exec(s, "ROLLBACK", status == ANEMO_OK ? err : NULL);
        if (status == ANEMO_OK) status = ended;
    }
    return status;
}

/*
 * WAL, once and for all: it is a property of the file. Where it cannot be had SQLite stays with its rollback journal, which is as
 * safe and only makes readers wait. Several first writers may meet here; the change has no busy handler of its own.
 */
static anemo_status use_wal(an_store *s, anemo_error *err)
{
    uint64_t until = an_clock_ns() + (uint64_t)AN_STORE_BUSY_MS * 1000000;
    for (;;) {
        int rc = sqlite3_exec(s->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
        if (rc == SQLITE_OK) return ANEMO_OK;
        if ((rc & 0xff) != SQLITE_BUSY || an_clock_ns() > until) return an_sql_fail(s, rc, err);
        an_clock_sleep_ns(5000000);
    }
}

static bool cannot_write_beside(int rc)
{
    return rc == SQLITE_CANTOPEN || (rc & 0xff) == SQLITE_READONLY;
}

static anemo_status open_store(an_store *s, an_store_mode mode, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    identity id;
    AN_TRY(open_file(s, mode, err));
    if (mode == AN_STORE_WRITE && sqlite3_db_readonly(s->db, "main") == 1) {
        status = an_fail(err, ANEMO_ERR_IO, "%s: cannot be written: it or its folder is read-only", s->path);
        goto cleanup;
    }
    status = configure(s, err);
    if (status == ANEMO_OK) status = identify(s, &id, err);
    if (status == ANEMO_ERR_IO && mode == AN_STORE_READ && cannot_write_beside(sqlite3_extended_errcode(s->db))) {
        AN_TRY(reopen_unchanging(s, err));
        AN_TRY(configure(s, err));
        status = identify(s, &id, err);
    }
    AN_TRY(status);
    if (mode == AN_STORE_WRITE) {
        AN_TRY(use_wal(s, err));
        AN_TRY(an_schema_migrate(s, err));
    } else {
        /* An empty file is what a writer leaves that was killed at once. */
        if (id.n_object == 0)
            status = an_fail(err, ANEMO_ERR_NOTFOUND,
                             "%s: there are no results yet; 'anemo compare' and 'anemo bench' make them", s->path);
        else if (id.version < AN_STORE_VERSION)
            AN_TRY(an_schema_migrate(s, err));
        AN_TRY(status);
        AN_TRY(an_sql_exec(s, "PRAGMA query_only = ON", err));
        AN_TRY(an_schema_read_fields(s, err));
    }
cleanup:
    return status;
}

anemo_status an_store_open(an_store **out, const char *path, an_store_mode mode, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_store *s = an_calloc(1, sizeof *s);
    if (!s) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    configure_sqlite();
    AN_TRY(choose_path(path, &s->path, err));
    if (mode == AN_STORE_WRITE) AN_TRY(prepare_folder(s->path, err));
    AN_TRY(open_store(s, mode, err));
    *out = s;
cleanup:
    if (status != ANEMO_OK) an_store_close(s);
    return status;
}

void an_store_close(an_store *s)
{
    if (!s) return;
    sqlite3_close(s->db);
    an_free(s->path);
    an_free(s);
}

const char *an_store_path(const an_store *s)
{
    return s->path;
}
