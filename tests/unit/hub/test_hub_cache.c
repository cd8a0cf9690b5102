/* The hub's cache on disk, its variables, and files below a folder: what is planted there is not followed. */
#include "support/test.h"

#include "base/alloc.h"
#include "hub/cache.h"
#include "hub/hub.h"
#include "hub/settings.h"
#include "os/beneath.h"
#include "os/file.h"
#include "os/process.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/inotify.h>
#endif

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define ETAG   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static char base[64]; /* a folder of this test */

static char *in_base(const char *name)
{
    char *path = an_path_join(base, name);
    assert_non_null(path);
    return path;
}

static void put(const char *name, const char *text)
{
    anemo_error err;
    char *path = in_base(name), *dir = an_path_dir(path);
    assert_ok(an_dir_make(dir, &err), &err);
    assert_ok(an_file_write(path, text, strlen(text), &err), &err);
    an_free(dir);
    an_free(path);
}

static void link_to(const char *text, const char *name)
{
    char *path = in_base(name);
    (void)unlink(path);
    assert_int_equal(symlink(text, path), 0);
    an_free(path);
}

static int make_base(void **state)
{
    (void)state;
    snprintf(base, sizeof base, "/tmp/anemo-test-hub-XXXXXX");
    if (!mkdtemp(base)) return -1;
    char *home = in_base("home"), *data = in_base("data");
    static const char *const clear[] = {
        "HF_HUB_CACHE",           "HUGGINGFACE_HUB_CACHE",   "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH",           "HF_ENDPOINT",
        "HF_HUB_OFFLINE",         "TRANSFORMERS_OFFLINE",    "HF_HUB_DISABLE_IMPLICIT_TOKEN",
        "HF_HUB_ETAG_TIMEOUT",    "HF_HUB_DOWNLOAD_TIMEOUT", "ANEMO_HUB_RETRY_MS",
        "OLLAMA_MODELS"};
    for (size_t i = 0; i < AN_COUNT_OF(clear); i++)
        unsetenv(clear[i]);
    setenv("HF_HOME", home, 1);
    setenv("XDG_DATA_HOME", data, 1);
    an_free(home);
    an_free(data);
    return 0;
}

static int drop_base(void **state)
{
    (void)state;
    anemo_error err;
    an_beneath tmp;
    uint64_t freed = 0;
    if (an_beneath_open(&tmp, "/tmp", false, &err) != ANEMO_OK) return -1;
    anemo_status status = an_beneath_remove_tree(&tmp, an_path_base(base), &freed, &err);
    an_beneath_close(&tmp);
    return status == ANEMO_OK ? 0 : -1;
}

/* ------------------------------------------------------------------------------------------------- below a folder */

static void nothing_outside_a_folder(void **state)
{
    (void)state;
    anemo_error err;
    an_beneath b;
    char *root = in_base("root"), *text = NULL;
    size_t n;
    int fd = -1;
    put("outside/secret", "secret");
    assert_ok(an_beneath_open(&b, root, true, &err), &err);
    link_to("../outside", "root/out");
    link_to("../outside/secret", "root/file");
    static const char *const bad[] = {"out/secret", "file", "../outside/secret", "a/../../outside/secret", "./x",
                                      "",           "a//b"};
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++) {
        if (an_beneath_read(&b, bad[i], 100, &text, &n, &err) == ANEMO_OK) fail_msg("%s was read", bad[i]);
        if (an_beneath_edit(&b, bad[i], &fd, &err) == ANEMO_OK) fail_msg("%s was opened", bad[i]);
        if (an_beneath_try_lock(&b, bad[i], &fd, &err) == ANEMO_OK) fail_msg("%s was locked", bad[i]);
        if (i == 1) continue; /* replacing the link itself is fine */
        if (an_beneath_write(&b, bad[i], "x", 1, &err) == ANEMO_OK) fail_msg("%s was written", bad[i]);
        if (an_beneath_symlink(&b, "x", bad[i], &err) == ANEMO_OK) fail_msg("%s was linked", bad[i]);
    }
    assert_fails(an_beneath_read(&b, "out/secret", 100, &text, &n, &err), &err, ANEMO_ERR_IO, "symbolic link");
    uint64_t freed = 0;
    assert_ok(an_beneath_remove_tree(&b, "out", &freed, &err), &err);
    assert_ok(an_beneath_write(&b, "file", "mine", 4, &err), &err);
    char *secret = in_base("outside/secret"), *content;
    assert_ok(an_file_read(secret, 100, &content, &n, &err), &err);
    assert_string_equal(content, "secret");
    an_free(content);
    an_free(secret);

    /* A second name of a file elsewhere is not written to. */
    char *from = in_base("outside/secret"), *to = in_base("root/hard");
    assert_int_equal(link(from, to), 0);
    assert_fails(an_beneath_edit(&b, "hard", &fd, &err), &err, ANEMO_ERR_IO, "one name");
    an_free(from);
    an_free(to);
    an_beneath_close(&b);
    an_free(root);
}

static void files_below_a_folder(void **state)
{
    (void)state;
    anemo_error err;
    an_beneath b;
    char *root = in_base("files"), *text, **names;
    size_t n;
    int fd, second;
    assert_ok(an_beneath_open(&b, root, true, &err), &err);
    assert_ok(an_beneath_write(&b, "a/b/c", "one", 3, &err), &err);
    assert_ok(an_beneath_append(&b, "a/b/c", "two", 3, &err), &err);
    assert_ok(an_beneath_read(&b, "a/b/c", 6, &text, &n, &err), &err);
    assert_string_equal(text, "onetwo");
    an_free(text);
    assert_fails(an_beneath_read(&b, "a/b/c", 5, &text, &n, &err), &err, ANEMO_ERR_FORMAT, "at most 5 bytes");
    assert_fails(an_beneath_read(&b, "a/none", 5, &text, &n, &err), &err, ANEMO_ERR_NOTFOUND, "a/none");
    assert_ok(an_beneath_symlink(&b, "b/c", "a/l", &err), &err);
    assert_ok(an_beneath_symlink(&b, "b/d", "a/l", &err), &err);
    char target[100];
    assert_true(an_beneath_link_text(&b, "a/l", target, sizeof target));
    assert_string_equal(target, "b/d");
    assert_false(an_beneath_link_text(&b, "a/l", target, 3));
    assert_false(an_beneath_link_text(&b, "a/b/c", target, sizeof target));
    assert_ok(an_beneath_rename(&b, "a/b/c", "x/y", &err), &err);
    assert_ok(an_beneath_duplicate(&b, "x/y", "x/z", &err), &err);
    assert_int_equal(an_beneath_probe(&b, "x/z").kind, AN_NODE_FILE);
    assert_int_equal(an_beneath_probe(&b, "x/z").bytes, 6);
    assert_int_equal(an_beneath_probe(&b, "a/l").kind, AN_NODE_LINK);
    assert_int_equal(an_beneath_probe(&b, "a/b").kind, AN_NODE_DIR);
    assert_ok(an_beneath_walk(&b, "", 100, &names, &n, &err), &err);
    assert_int_equal(n, 3);
    an_names_free(names);
    assert_fails(an_beneath_walk(&b, "", 2, &names, &n, &err), &err, ANEMO_ERR_FORMAT, "more than 2 files");
    assert_fails(an_beneath_list(&b, "none", &names, &n, &err), &err, ANEMO_ERR_NOTFOUND, "no such directory");
    assert_fails(an_beneath_make_dir(&b, "x/y", &err), &err, ANEMO_ERR_IO, "in the way");
    assert_ok(an_beneath_make_dir(&b, "x/dir", &err), &err);

    assert_ok(an_beneath_try_lock(&b, "locks/l", &fd, &err), &err);
    assert_true(fd >= 0);
    assert_ok(an_beneath_try_lock(&b, "locks/l", &second, &err), &err);
    assert_int_equal(second, -1);
    an_fd_close(&fd);
    assert_ok(an_beneath_try_lock(&b, "locks/l", &fd, &err), &err);
    assert_true(fd >= 0);
    an_fd_close(&fd);

    assert_ok(an_beneath_edit(&b, "e", &fd, &err), &err);
    assert_ok(an_fd_write_at(fd, "abc", 3, 5, "e", &err), &err);
    char back[3];
    assert_ok(an_fd_read_at(fd, back, 3, 5, "e", &err), &err);
    assert_memory_equal(back, "abc", 3);
    assert_fails(an_fd_read_at(fd, back, 3, 6, "e", &err), &err, ANEMO_ERR_IO, "ends at byte");
    assert_ok(an_fd_set_size(fd, 2, "e", &err), &err);
    assert_int_equal(an_fd_size(fd), 2);
    an_fd_close(&fd);
    assert_true(an_beneath_free_bytes(&b) > 0);
    uint64_t freed = 0;
    assert_ok(an_beneath_remove_tree(&b, "x", &freed, &err), &err);
    assert_true(freed > 0);
    assert_ok(an_beneath_remove(&b, "none/at/all", &err), &err);
    an_beneath_close(&b);
    assert_fails(an_beneath_open(&b, "/nonexistent/folder", false, &err), &err, ANEMO_ERR_NOTFOUND,
                 "/nonexistent/folder");
    an_free(root);
}

/* ------------------------------------------------------------------------------------------------- settings */

static void settings_of_the_environment(void **state)
{
    (void)state;
    anemo_error err;
    an_hub_settings s;
    put("home/token", " hf_file \n");
    assert_ok(an_hub_settings_read(&s, NULL, &err), &err);
    assert_string_equal(s.endpoint, "https://huggingface.co");
    assert_string_equal(s.token, "hf_file");
    assert_true(an_str_ends_with(s.cache, "home/hub"));
    assert_false(s.offline);
    assert_int_equal(s.etag_timeout_s, 10);
    an_hub_settings_free(&s);

    setenv("HF_TOKEN", "hf_env", 1);
    setenv("HF_ENDPOINT", "https://mirror.example//", 1);
    setenv("HF_HUB_CACHE", "$HF_HOME/other", 1);
    setenv("TRANSFORMERS_OFFLINE", "Yes", 1);
    setenv("HF_HUB_DOWNLOAD_TIMEOUT", "3", 1);
    assert_ok(an_hub_settings_read(&s, NULL, &err), &err);
    assert_string_equal(s.endpoint, "https://mirror.example");
    assert_string_equal(s.token, "hf_env");
    assert_true(an_str_ends_with(s.cache, "home/other"));
    assert_true(s.offline);
    assert_int_equal(s.download_timeout_s, 3);
    an_hub_settings_free(&s);
    setenv("HF_HUB_OFFLINE", "0", 1);
    setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1", 1);
    assert_ok(an_hub_settings_read(&s, NULL, &err), &err);
    assert_false(s.offline);
    assert_null(s.token);
    an_hub_settings_free(&s);
    char *token = in_base("home/token");
    assert_ok(an_hub_settings_read(&s, token, &err), &err);
    assert_string_equal(s.token, "hf_file");
    an_hub_settings_free(&s);
    an_free(token);
    unsetenv("HF_HUB_DISABLE_IMPLICIT_TOKEN");

    static const char *const bad[][3] = {{"HF_TOKEN", "hf_a\nb", "spaces or control"},
                                         {"HF_ENDPOINT", "file:///x", "HF_ENDPOINT"},
                                         {"HF_ENDPOINT", "https://u:secret@h", "user name"},
                                         {"HF_HUB_ETAG_TIMEOUT", "x", "seconds"},
                                         {"ANEMO_HUB_RETRY_MS", "-1", "milliseconds"}};
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++) {
        const char *old = getenv(bad[i][0]);
        char *kept = an_strdup(old);
        setenv(bad[i][0], bad[i][1], 1);
        assert_fails(an_hub_settings_read(&s, NULL, &err), &err, ANEMO_ERR_INVAL, bad[i][2]);
        assert_null(strstr(err.message, "secret"));
        if (kept)
            setenv(bad[i][0], kept, 1);
        else
            unsetenv(bad[i][0]);
        an_free(kept);
    }
}

/* ------------------------------------------------------------------------------------------------- the layout */

static void layout_of_the_cache(void **state)
{
    (void)state;
    anemo_error err;
    an_hub_cache c;
    char commit[41], repo[128];
    char *root = in_base("cache");
    assert_ok(an_hub_cache_open(&c, root, "org/some-name", true, &err), &err);
    assert_string_equal(c.folder, "models--org--some-name");
    assert_true(an_hub_folder_repo(c.folder, repo));
    assert_string_equal(repo, "org/some-name");
    assert_false(an_hub_folder_repo("datasets--org--x", repo));
    assert_false(an_hub_folder_repo("models--..--x", repo));
    assert_int_equal(an_beneath_probe(&c.root, "CACHEDIR.TAG").kind, AN_NODE_FILE);

    put("cache/models--org--some-name/blobs/" ETAG, "abc");
    assert_true(an_hub_cache_has_blob(&c, ETAG, 3));
    assert_false(an_hub_cache_has_blob(&c, ETAG, 4));
    assert_ok(an_hub_cache_link(&c, COMMIT, "sub/a.gguf", ETAG, false, false, &err), &err);
    char text[200];
    assert_true(
        an_beneath_link_text(&c.root, "models--org--some-name/snapshots/" COMMIT "/sub/a.gguf", text, sizeof text));
    assert_string_equal(text, "../../../blobs/" ETAG);
    assert_true(an_hub_cache_has_file(&c, COMMIT, "sub/a.gguf", ETAG, 3));
    assert_true(an_hub_cache_has_file(&c, COMMIT, "sub/a.gguf", "", 3));
    assert_false(an_hub_cache_has_file(&c, COMMIT, "sub/a.gguf", COMMIT, 3));
    assert_false(an_hub_cache_has_file(&c, COMMIT, "a.gguf", ETAG, 3));
    assert_ok(an_hub_cache_link(&c, COMMIT, "copy", ETAG, true, false, &err), &err);
    assert_int_equal(an_beneath_probe(&c.root, "models--org--some-name/snapshots/" COMMIT "/copy").kind, AN_NODE_FILE);

    assert_ok(an_hub_cache_set_ref(&c, "refs/pr/1", COMMIT, &err), &err);
    assert_ok(an_hub_cache_ref(&c, "refs/pr/1", commit, &err), &err);
    assert_string_equal(commit, COMMIT);
    assert_fails(an_hub_cache_ref(&c, "main", commit, &err), &err, ANEMO_ERR_NOTFOUND, "not in the cache");
    assert_fails(an_hub_cache_ref(&c, "../x", commit, &err), &err, ANEMO_ERR_NOTFOUND, "not in the cache");

    /* Planted: a link that leads elsewhere is neither a whole file nor part of the listing, and is replaced. */
    put("elsewhere", "abc");
    link_to("../../../../elsewhere", "cache/models--org--some-name/snapshots/" COMMIT "/planted");
    assert_false(an_hub_cache_has_file(&c, COMMIT, "planted", "", 3));
    link_to("../../../elsewhere", "cache/models--org--some-name/blobs/" COMMIT);
    assert_false(an_hub_cache_has_blob(&c, COMMIT, 3));
    an_listing l = {0};
    assert_ok(an_hub_cache_snapshot(&c, COMMIT, &l, &err), &err);
    assert_int_equal(l.n, 2);
    assert_ok(an_hub_cache_set_tree(&c, COMMIT, &l, &err), &err);
    an_listing_free(&l);
    assert_ok(an_hub_cache_tree(&c, COMMIT, &l, &err), &err);
    assert_int_equal(l.n, 2);
    assert_string_equal(an_listing_find(&l, "sub/a.gguf")->etag, ETAG);
    an_listing_free(&l);
    assert_ok(an_hub_cache_link(&c, COMMIT, "planted", ETAG, false, false, &err), &err);
    assert_true(an_hub_cache_has_file(&c, COMMIT, "planted", ETAG, 3));

    an_hub_mark_blob(&c, ETAG);
    char *marks;
    assert_ok(an_hub_marks(&c, &marks, &err), &err);
    assert_true(an_hub_is_marked(marks, ETAG));
    assert_false(an_hub_is_marked(marks, COMMIT));
    assert_false(an_hub_is_marked(marks, "ba78"));
    an_free(marks);
    an_hub_forget_marks(&c);
    assert_ok(an_hub_marks(&c, &marks, &err), &err);
    assert_string_equal(marks, "");
    an_free(marks);
    an_hub_cache_close(&c);
    an_free(root);
}

static void models_are_found_listed_and_removed(void **state)
{
    (void)state;
    anemo_error err;
    char *cache = in_base("inventory"), *path = NULL;
    an_hub_cache c;
    setenv("HF_HUB_CACHE", cache, 1);
    assert_fails(an_hub_find_cached("o/n:Q8_0", &path, &err), &err, ANEMO_ERR_NOTFOUND, "anemo pull o/n:Q8_0");
    put("inventory/models--o--n/blobs/" ETAG, "abc");
    put("inventory/models--o--n/blobs/" COMMIT, "{\"quantization\":{\"bits\":4,\"group_size\":64}}");
    assert_ok(an_hub_cache_open(&c, cache, "o/n", true, &err), &err);
    assert_ok(an_hub_cache_link(&c, COMMIT, "m-Q8_0.gguf", ETAG, false, false, &err), &err);
    /* Without a ref the newest snapshot that has it. */
    assert_ok(an_hub_find_cached("o/n:q8_0", &path, &err), &err);
    assert_true(an_str_ends_with(path, "/models--o--n/snapshots/" COMMIT "/m-Q8_0.gguf"));
    an_free(path);
    assert_fails(an_hub_find_cached("o/n:Q4_0", &path, &err), &err, ANEMO_ERR_NOTFOUND, "not in the cache");
    assert_fails(an_hub_find_cached("o/n@v1", &path, &err), &err, ANEMO_ERR_NOTFOUND, "not in the cache");
    assert_fails(an_hub_find_cached("o/n:", &path, &err), &err, ANEMO_ERR_INVAL, "colon");

    an_hub_model *models;
    size_t n;
    uint64_t incomplete;
    put("inventory/models--o--n/blobs/x.anemo.incomplete", "part");
    assert_ok(an_hub_inventory(&models, &n, &incomplete, NULL, &err), &err);
    assert_int_equal(n, 1);
    assert_string_equal(models[0].repo, "o/n");
    assert_string_equal(models[0].format, "gguf");
    assert_string_equal(models[0].contents, "Q8_0");
    assert_int_equal(models[0].bytes, 3);
    assert_false(models[0].ours);
    assert_true(incomplete > 0);
    an_hub_inventory_free(models, n);

    an_hub_removal r;
    assert_fails(an_hub_remove("o/other", false, false, &r, &err), &err, ANEMO_ERR_NOTFOUND, "not in the cache");
    assert_fails(an_hub_remove("o/n:Q2_K", true, false, &r, &err), &err, ANEMO_ERR_NOTFOUND, "nothing like that");
    assert_ok(an_hub_remove("o/n", false, false, &r, &err), &err);
    assert_int_equal(r.n_kept, 1);
    assert_int_equal(r.n_removed, 0);
    assert_true(an_hub_cache_has_file(&c, COMMIT, "m-Q8_0.gguf", ETAG, 3));
    an_hub_mark_blob(&c, ETAG);
    assert_ok(an_hub_remove("o/n:Q8_0", false, true, &r, &err), &err);
    assert_int_equal(r.n_removed, 1);
    assert_true(an_hub_cache_has_file(&c, COMMIT, "m-Q8_0.gguf", ETAG, 3));
    assert_ok(an_hub_cache_link(&c, COMMIT, "m/config.json", COMMIT, false, false, &err), &err);
    assert_ok(an_hub_remove("o/n:Q8_0", false, false, &r, &err), &err);
    assert_int_equal(an_beneath_probe(&c.root, "models--o--n/blobs/" ETAG).kind, AN_NODE_ABSENT);
    assert_ok(an_hub_cache_set_ref(&c, "main", COMMIT, &err), &err);
    assert_ok(an_hub_remove("o/n", true, false, &r, &err), &err);
    assert_int_equal(an_beneath_probe(&c.root, "models--o--n").kind, AN_NODE_ABSENT);
    an_hub_cache_close(&c);
    unsetenv("HF_HUB_CACHE");
    an_free(cache);
}

static void models_of_ollama(void **state)
{
    (void)state;
    anemo_error err;
    char *store = in_base("ollama"), *path;
    setenv("OLLAMA_MODELS", store, 1);
    assert_fails(an_hub_find_cached("mistral:7b", &path, &err), &err, ANEMO_ERR_NOTFOUND, "ollama pull mistral:7b");
    put("ollama/manifests/registry.ollama.ai/library/mistral/7b",
        "{\"layers\":[{\"mediaType\":\"application/vnd.ollama.image.template\",\"digest\":\"sha256:00\"},"
        "{\"mediaType\":\"application/vnd.ollama.image.model\",\"digest\":\"sha256:" ETAG "\"}]}");
    assert_fails(an_hub_find_cached("mistral:7b", &path, &err), &err, ANEMO_ERR_NOTFOUND, "is missing");
    put("ollama/blobs/sha256-" ETAG, "GGUF");
    assert_ok(an_hub_find_cached("mistral:7b", &path, &err), &err);
    assert_true(an_str_ends_with(path, "/ollama/blobs/sha256-" ETAG));
    an_free(path);
    /* A digest that is a path, as in CVE-2024-37032. */
    put("ollama/manifests/registry.ollama.ai/library/mistral/bad",
        "{\"layers\":[{\"mediaType\":\"application/vnd.ollama.image.model\",\"digest\":\"sha256:../../../../etc/"
        "passwd\"}]}");
    assert_fails(an_hub_find_cached("mistral:bad", &path, &err), &err, ANEMO_ERR_FORMAT, "64 hex digits");
    put("ollama/manifests/registry.ollama.ai/library/mistral/none", "{\"layers\":[]}");
    assert_fails(an_hub_find_cached("mistral:none", &path, &err), &err, ANEMO_ERR_FORMAT, "names no model");
    unsetenv("OLLAMA_MODELS");
    an_free(store);
}

#ifdef __linux__
/* A branch appears whole: nothing is made in its folder under another name, which a kill would leave as a branch of that name. */
static void branches_appear_whole(void **state)
{
    (void)state;
    anemo_error err;
    an_hub_cache c;
    char *hub = in_base("hub"), *refs = in_base("hub/models--org--name/refs");
    _Alignas(struct inotify_event) char events[4096];
    assert_ok(an_hub_cache_open(&c, hub, "org/name", true, &err), &err);
    assert_ok(an_dir_make(refs, &err), &err);
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    assert_true(watch >= 0 && inotify_add_watch(watch, refs, IN_CREATE | IN_MOVED_TO) >= 0);
    assert_ok(an_hub_cache_set_ref(&c, "main", COMMIT, &err), &err);
    ssize_t n = read(watch, events, sizeof events);
    const struct inotify_event *event = (const struct inotify_event *)events;
    assert_true(n > 0 && (size_t)n == sizeof *event + event->len);
    assert_true(event->mask & IN_MOVED_TO);
    assert_string_equal(event->name, "main");
    close(watch);
    an_hub_cache_close(&c);
    an_free(refs);
    an_free(hub);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_outside_a_folder, make_base, drop_base),
        cmocka_unit_test_setup_teardown(files_below_a_folder, make_base, drop_base),
        cmocka_unit_test_setup_teardown(settings_of_the_environment, make_base, drop_base),
        cmocka_unit_test_setup_teardown(layout_of_the_cache, make_base, drop_base),
        cmocka_unit_test_setup_teardown(models_are_found_listed_and_removed, make_base, drop_base),
        cmocka_unit_test_setup_teardown(models_of_ollama, make_base, drop_base),
#ifdef __linux__
        cmocka_unit_test_setup_teardown(branches_appear_whole, make_base, drop_base),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
