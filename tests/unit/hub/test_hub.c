/* The hub client's parsers: references, listings, the choice of files, header values. Nothing here touches network or
 * disk. */
#include "support/test.h"

#include "base/alloc.h"
#include "hub/choose.h"
#include "hub/digest.h"
#include "hub/listing.h"
#include "hub/reference.h"
#include "net/header.h"

#include <stdlib.h>

#define ENDPOINT "http://127.0.0.1:8000"
#define COMMIT   "0123456789abcdef0123456789abcdef01234567"

/* ------------------------------------------------------------------------------------------------- references */

static void references_of_every_form(void **state)
{
    (void)state;
    static const struct {
        const char *text, *repo, *revision, *quant, *path;
    } good[] = {
        {"org/name", "org/name", "", "", ""},
        {"org/name:Q4_K_M", "org/name", "", "Q4_K_M", ""},
        {"org/name:q8_0", "org/name", "", "q8_0", ""},
        {"org/name:latest", "org/name", "", "", ""},
        {"org/name@v1.0", "org/name", "v1.0", "", ""},
        {"gpt2", "gpt2", "", "", ""},
        {"hf.co/org/name", "org/name", "", "", ""},
        {"hf.co/org/name:IQ4_XS", "org/name", "", "IQ4_XS", ""},
        {"huggingface.co/org/name/tree/main", "org/name", "main", "", ""},
        {"hf://org/name", "org/name", "", "", ""},
        {"hf://models/org/name", "org/name", "", "", ""},
        {"hf://org/name:Q5_0", "org/name", "", "Q5_0", ""},
        {"hf://org/name@" COMMIT "/sub/file.gguf", "org/name", COMMIT, "", "sub/file.gguf"},
        {"hf://org/name@feature%2Fx/a.gguf", "org/name", "feature/x", "", "a.gguf"},
        {"hf://org/name@refs/pr/12/a.gguf", "org/name", "refs/pr/12", "", "a.gguf"},
        {"hf://org/name/sub/", "org/name", "", "", "sub"},
        {"https://huggingface.co/org/name", "org/name", "", "", ""},
        {"https://huggingface.co/org/name/", "org/name", "", "", ""},
        {"https://huggingface.co/org/name?library=gguf#top", "org/name", "", "", ""},
        {"https://huggingface.co/org/name/blob/main/a%20b.gguf", "org/name", "main", "", "a b.gguf"},
        {"https://huggingface.co/org/name/resolve/v1/x/y.gguf?download=true", "org/name", "v1", "", "x/y.gguf"},
        {"https://hf.co/org/name/tree/refs%2Fpr%2F3/dir/", "org/name", "refs/pr/3", "", "dir"},
        {ENDPOINT "/org/name/blob/main/m.gguf", "org/name", "main", "", "m.gguf"},
        {"HTTPS://HuggingFace.co/org/name", "org/name", "", "", ""},
        {"https://huggingface.co/models/org/name", "org/name", "", "", ""},
        {"https://huggingface.co/org/name/resolve/refs/pr/4/a.gguf", "org/name", "refs/pr/4", "", "a.gguf"},
        {"https://www.huggingface.co/org/name/raw/main/a", "org/name", "main", "", "a"},
        {"hf://org/name@refs/convert/parquet/a", "org/name", "refs/convert/parquet", "", "a"},
        {"hf://org/name/%4a%4B", "org/name", "", "", "JK"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(good); i++) {
        an_ref r;
        anemo_error err;
        if (an_ref_parse(&r, good[i].text, ENDPOINT, &err) != ANEMO_OK) fail_msg("%s: %s", good[i].text, err.message);
        assert_int_equal(r.kind, AN_REF_HUB);
        if (strcmp(r.repo, good[i].repo) || strcmp(r.revision, good[i].revision) || strcmp(r.quant, good[i].quant) ||
            strcmp(r.path, good[i].path))
            fail_msg("%s: repo '%s' revision '%s' quant '%s' path '%s'", good[i].text, r.repo, r.revision, r.quant,
                     r.path);
    }
    an_ref r;
    anemo_error err;
    assert_ok(an_ref_parse(&r, "mistral:7b", ENDPOINT, &err), &err);
    assert_int_equal(r.kind, AN_REF_OLLAMA);
    assert_string_equal(r.repo, "mistral");
    assert_string_equal(r.quant, "7b");
}

static void references_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        anemo_status status;
        const char *message;
    } bad[] = {
        {"", ANEMO_ERR_INVAL, "empty"},
        {"org/name:", ANEMO_ERR_INVAL, "nothing follows the colon"},
        {"org/name:Q4 K", ANEMO_ERR_INVAL, "no quantization"},
        {"org/name:a/b", ANEMO_ERR_INVAL, "no quantization"},
        {"org/name/file.gguf", ANEMO_ERR_INVAL, "hf://org/name/file"},
        {"-org/name", ANEMO_ERR_INVAL, "no name of a repository"},
        {"org/.name", ANEMO_ERR_INVAL, "no name of a repository"},
        {"org/name.", ANEMO_ERR_INVAL, "no name of a repository"},
        {"org/na--me", ANEMO_ERR_INVAL, "no name of a repository"},
        {"org/na..me", ANEMO_ERR_INVAL, "no name of a repository"},
        {"org/name.git", ANEMO_ERR_INVAL, "no name of a repository"},
        {"org/na me", ANEMO_ERR_INVAL, "no name of a repository"},
        {"org/n\xc3\xa4me", ANEMO_ERR_INVAL, "no name of a repository"},
        {"org//name", ANEMO_ERR_INVAL, "no name of a repository"},
        {"../name", ANEMO_ERR_NOTFOUND, "no such file or directory"},
        {"./name", ANEMO_ERR_NOTFOUND, "no such file or directory"},
        {"/abs/name", ANEMO_ERR_NOTFOUND, "no such file or directory"},
        {"hf://", ANEMO_ERR_INVAL, "no repository is named"},
        {"hf://datasets/org/name", ANEMO_ERR_UNSUPPORTED, "datasets are not models"},
        {"hf://org/name@", ANEMO_ERR_INVAL, "no revision"},
        {"hf://org/name@../x", ANEMO_ERR_INVAL, "no revision"},
        {"hf://org/name@a%00b", ANEMO_ERR_INVAL, "no revision"},
        {"hf://org/name/../../x", ANEMO_ERR_INVAL, "no path inside"},
        {"hf://org/name/%2e%2e/x", ANEMO_ERR_INVAL, "no path inside"},
        {"hf://org/name/a%zz", ANEMO_ERR_INVAL, "no path"},
        {"https://example.com/org/name", ANEMO_ERR_INVAL, "not the hub's"},
        {"https://huggingface.co.evil.org/org/name", ANEMO_ERR_INVAL, "not the hub's"},
        {"https://huggingface.co/datasets/org/name", ANEMO_ERR_UNSUPPORTED, "not the page of a model"},
        {"https://huggingface.co/org/name/discussions/3", ANEMO_ERR_INVAL, "names no file"},
        {"https://huggingface.co/org/name/blob/main/../../x", ANEMO_ERR_INVAL, "no path inside"},
        {"ftp://huggingface.co/org/name", ANEMO_ERR_INVAL, "nothing is known of this scheme"},
        {"org/name\n", ANEMO_ERR_INVAL, "control character"},
        {":7b", ANEMO_ERR_INVAL, "no name"},
        {"org/name:Q4_K_M_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", ANEMO_ERR_INVAL,
         "too long"},
        {"org/name@", ANEMO_ERR_INVAL, "no revision"},
        {"org/name@%", ANEMO_ERR_INVAL, "no revision"},
        {"org/name@-x", ANEMO_ERR_INVAL, "no revision"},
        {"org/name@a:b", ANEMO_ERR_INVAL, "no revision"},
        {"~/models/x", ANEMO_ERR_NOTFOUND, "no such file or directory"},
        {"org/-", ANEMO_ERR_INVAL, "no name of a repository"},
        {"hf://org/name@a%gg", ANEMO_ERR_INVAL, "no revision"},
        {"hf://org/name/a%0", ANEMO_ERR_INVAL, "no path"},
        {"hf.co/", ANEMO_ERR_INVAL, "no repository is named"},
        {"hf.co/org/name@v1", ANEMO_ERR_INVAL, "goes with hf://"},
        {"hf.co/org/name/blob/", ANEMO_ERR_INVAL, "no file or revision"},
        {"hf.co/org/name/blob/a%zz/x", ANEMO_ERR_INVAL, "no file or revision"},
        {"hf.co/org/name/blob/main/a%zz", ANEMO_ERR_INVAL, "no file or revision"},
        {"http:///", ANEMO_ERR_INVAL, "not the hub's"},
        {"x\x7f", ANEMO_ERR_INVAL, "control character"},
    };
    char *longest = malloc(5001);
    memset(longest, 'a', 5000);
    longest[5000] = '\0';
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++) {
        an_ref r;
        anemo_error err = {0};
        anemo_status status = an_ref_parse(&r, bad[i].text, ENDPOINT, &err);
        if (status != bad[i].status || !strstr(err.message, bad[i].message))
            fail_msg("'%s': status %d, '%s'", bad[i].text, status, err.message);
    }
    an_ref r;
    anemo_error err;
    assert_fails(an_ref_parse(&r, longest, ENDPOINT, &err), &err, ANEMO_ERR_INVAL, "too long");
    longest[97] = '\0';
    assert_false(an_repo_id_valid(longest));
    longest[96] = '\0';
    assert_true(an_repo_id_valid(longest));
    free(longest);
}

static void safe_paths(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "a/b.gguf", ".gitattributes", "a b", "x/..y", "...", "\xc3\xa4.json"};
    static const char *const bad[] = {"",     "/a",   "a/",   "a//b", ".",    "..",    "a/../b", "a/.",
                                      "../a", "a\\b", "C:/x", "c:x",  "a\nb", "a\x7f", "./a",    "a/./b"};
    for (size_t i = 0; i < AN_COUNT_OF(good); i++)
        assert_true(an_relpath_safe(good[i]));
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++)
        if (an_relpath_safe(bad[i])) fail_msg("'%s' is taken", bad[i]);
    char part[300];
    memset(part, 'x', sizeof part);
    part[255] = '\0';
    assert_true(an_relpath_safe(part));
    part[255] = 'x';
    part[256] = '\0';
    assert_false(an_relpath_safe(part));
    assert_false(an_revision_valid("-x"));
    assert_false(an_revision_valid("a b"));
    assert_true(an_revision_valid("refs/pr/1"));
}

/* ------------------------------------------------------------------------------------------------- listings */

static anemo_status read_page(an_listing *l, const char *text, anemo_error *err)
{
    anemo_status status = an_listing_add_page(l, text, strlen(text), "listing", err);
    return status == ANEMO_OK ? an_listing_check(l, "listing", err) : status;
}

static void listing_of_the_hub(void **state)
{
    (void)state;
    anemo_error err;
    an_listing l = {0};
    assert_ok(
        read_page(
            &l,
            "[{\"type\":\"directory\",\"oid\":\"x\",\"size\":0,\"path\":\"sub\"},"
            "{\"type\":\"file\",\"oid\":\"" COMMIT "\",\"size\":48,\"path\":\"config.json\"},"
            "{\"type\":\"file\",\"oid\":\"" COMMIT "\",\"size\":133,\"path\":\"sub/m.gguf\",\"xetHash\":\"y\","
            "\"lfs\":{\"oid\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"size\":5000000000,"
            "\"pointerSize\":133}}]",
            &err),
        &err);
    assert_int_equal(l.n, 2);
    assert_string_equal(l.files[0].etag, COMMIT);
    assert_int_equal(l.files[0].bytes, 48);
    assert_int_equal(l.files[1].bytes, 5000000000);
    assert_int_equal(strlen(l.files[1].etag), 64);
    assert_ptr_equal(an_listing_find(&l, "sub/m.gguf"), &l.files[1]);
    assert_null(an_listing_find(&l, "m.gguf"));
    an_listing_free(&l);

    an_repo_info info;
    const char *answer = "{\"id\":\"org/name\",\"sha\":\"" COMMIT "\",\"gated\":false}";
    assert_ok(an_repo_info_parse(&info, answer, strlen(answer), "info", &err), &err);
    assert_string_equal(info.commit, COMMIT);
    assert_string_equal(info.id, "org/name");
    const char *foreign = "{\"id\":\"../x\",\"sha\":\"" COMMIT "\"}";
    assert_ok(an_repo_info_parse(&info, foreign, strlen(foreign), "info", &err), &err);
    assert_string_equal(info.id, "");
    static const char *const bad[] = {"{\"sha\":\"" COMMIT "\",\"id\":7}",
                                      "{\"sha\":\"xx23456789abcdef0123456789abcdef01234567\"}",
                                      "{}",
                                      "[]",
                                      "{\"sha\":\"main\"}",
                                      "{\"sha\":7}",
                                      "{\"sha\":\"../../../../etc\"}",
                                      "<html>"};
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++)
        assert_int_equal(an_repo_info_parse(&info, bad[i], strlen(bad[i]), "info", &err), ANEMO_ERR_FORMAT);

    const char *tree = "{\"format_version\":1,\"files\":{\"a/b\":{\"size\":7,\"blob_id\":\"" COMMIT "\"}}}";
    assert_ok(an_listing_add_tree_cache(&l, tree, strlen(tree), "tree", &err), &err);
    assert_int_equal(l.n, 1);
    assert_string_equal(l.files[0].etag, COMMIT);
    an_listing_free(&l);
    static const char *const bad_tree[] = {"[",
                                           "{\"format_version\":\"1\",\"files\":{}}",
                                           "{\"format_version\":1,\"files\":[]}",
                                           "{\"format_version\":1,\"files\":{\"x\":{\"size\":1,\"blob_id\":7}}}",
                                           "{\"format_version\":1,\"files\":{\"x\":{\"size\":1,\"lfs_sha256\":7}}}",
                                           "{\"format_version\":1,\"files\":{\"x\":{\"size\":\"1\"}}}",
                                           "{\"format_version\":2,\"files\":{}}",
                                           "{\"format_version\":1,\"files\":{\"../x\":{\"size\":1}}}",
                                           "{\"format_version\":1,\"files\":{\"x\":{}}}",
                                           "{\"format_version\":1}",
                                           "{\"format_version\":1,\"files\":{\"x\":7}}"};
    for (size_t i = 0; i < AN_COUNT_OF(bad_tree); i++) {
        assert_int_equal(an_listing_add_tree_cache(&l, bad_tree[i], strlen(bad_tree[i]), "tree", &err),
                         ANEMO_ERR_FORMAT);
        an_listing_free(&l);
    }
}

#define FILE_ENTRY(path) "{\"type\":\"file\",\"size\":1,\"path\":\"" path "\"}"

static void hostile_listings(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"[" FILE_ENTRY("../x") "]", "'../x' is not a name"},
        {"[" FILE_ENTRY("a/../../x") "]", "not a name"},
        {"[" FILE_ENTRY("/etc/passwd") "]", "'/etc/passwd' is not a name"},
        {"[" FILE_ENTRY("C:/x") "]", "not a name"},
        {"[" FILE_ENTRY("a\\\\b") "]", "not a name"},
        {"[" FILE_ENTRY("a\\u0000b") "]", "listing"},
        {"[" FILE_ENTRY("a\\nb") "]", "'a?b' is not a name"},
        {"[" FILE_ENTRY("a\\u001b[2Jb") "]", "not a name"},
        {"[" FILE_ENTRY("") "]", "not a name"},
        {"[" FILE_ENTRY(".") "]", "not a name"},
        {"[" FILE_ENTRY("..") "]", "not a name"},
        {"[" FILE_ENTRY("a//b") "]", "not a name"},
        {"[" FILE_ENTRY("a/") "]", "not a name"},
        {"[" FILE_ENTRY("a") "," FILE_ENTRY("a") "]", "listed twice"},
        {"[" FILE_ENTRY("a") "," FILE_ENTRY("a.b") "," FILE_ENTRY("a/b") "]", "a file and a folder"},
        {"[{\"type\":\"directory\",\"path\":\"../d\"}]", "not a name"},
        {"[{\"type\":\"symlink\",\"size\":1,\"path\":\"x\"}]", "neither a file nor a directory"},
        {"[{\"type\":\"file\",\"size\":1}]", "has no path"},
        {"[{\"type\":\"file\",\"path\":\"x\"}]", "has no size"},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":-1}]", "size"},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":1.5}]", "size"},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":9223372036854775807}]", "size"},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":99999999999999999999999999}]", "listing"},
        {"[{\"type\":\"file\",\"path\":7,\"size\":1}]", "path"},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":1,\"lfs\":7}]", "lfs"},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":1,\"lfs\":{\"oid\":3}}]", "oid"},
        {"[{\"type\":7,\"path\":\"x\",\"size\":1}]", "type"},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":1,\"oid\":7}]", "oid"},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":1,\"lfs\":{\"size\":-1}}]", "size"},
        {"[7]", "not an object"},
        {"{\"error\":\"x\"}", "not a JSON array"},
        {"[" FILE_ENTRY("a"), "listing"},
        {"", "listing"},
        {"[{\"type\":\"file\",\"size\":1,\"path\":\"\xff\"}]", "listing"},
        {"[{\"type\":\"file\",\"type\":\"file\",\"size\":1,\"path\":\"a\"}]", "listing"},
        {"[{\"type\":\"file\",\"size\":2305843009213693951,\"path\":\"a\"},{\"type\":\"file\",\"size\":"
         "2305843009213693951,\"path\":\"b\"},"
         "{\"type\":\"file\",\"size\":2305843009213693951,\"path\":\"c\"}]",
         "add up"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++) {
        an_listing l = {0};
        anemo_error err = {0};
        anemo_status status = read_page(&l, bad[i].text, &err);
        if (status != ANEMO_ERR_FORMAT || !strstr(err.message, bad[i].message))
            fail_msg("%zu: %s: status %d, '%s'", i, bad[i].text, status, err.message);
        an_listing_free(&l);
    }
}

static void listings_have_limits(void **state)
{
    (void)state;
    anemo_error err;
    an_listing l = {0};
    an_str text = {0};
    an_str_append(&text, "[{\"type\":\"file\",\"size\":1,\"path\":\"");
    an_str_append_repeat(&text, 'x', 4096);
    an_str_append(&text, "\"}]");
    assert_fails(read_page(&l, an_str_text(&text), &err), &err, ANEMO_ERR_FORMAT, "not a name");
    an_listing_free(&l);
    an_str_clear(&text);
    an_str_append_char(&text, '[');
    an_str_append_repeat(&text, ' ', AN_LISTING_MAX_BYTES);
    assert_fails(read_page(&l, an_str_text(&text), &err), &err, ANEMO_ERR_FORMAT, "longer than the limit");
    an_str_free(&text);
    assert_fails(an_listing_add(&l, "huge", UINT64_MAX, "", "listing", &err), &err, ANEMO_ERR_FORMAT,
                 "impossible size");
    for (int i = 0; i < AN_LISTING_MAX_FILES; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%d", i);
        assert_ok(an_listing_add(&l, name, 1, "", "listing", &err), &err);
    }
    assert_ok(an_listing_check(&l, "listing", &err), &err);
    assert_fails(an_listing_add(&l, "more", 1, "", "listing", &err), &err, ANEMO_ERR_FORMAT, "more than");
    an_listing_free(&l);
}

/* ------------------------------------------------------------------------------------------------- the choice */

/* The names, each 10 bytes long, separated by spaces. */
static void fill(an_listing *l, const char *names)
{
    anemo_error err;
    char copy[4096], *save = NULL;
    snprintf(copy, sizeof copy, "%s", names);
    for (char *name = strtok_r(copy, " ", &save); name; name = strtok_r(NULL, " ", &save))
        assert_ok(an_listing_add(l, name, 10, "", "listing", &err), &err);
}

static char *chosen_text(const an_listing *l, const an_choice *c)
{
    an_str s = {0};
    for (size_t i = 0; i < c->n; i++)
        an_str_appendf(&s, "%s%s", i ? " " : "", l->files[c->index[i]].path);
    return an_str_take(&s);
}

static void check_choice(const char *names, const an_wish *wish, const char *expected, const char *main_file)
{
    anemo_error err = {0};
    an_listing l = {0};
    an_choice c = {0};
    fill(&l, names);
    if (an_choose(&c, &l, wish, &err) != ANEMO_OK) fail_msg("%s: %s", names, err.message);
    char *text = chosen_text(&l, &c);
    assert_string_equal(text, expected);
    assert_string_equal(c.main, main_file);
    an_free(text);
    an_choice_free(&c);
    an_listing_free(&l);
}

static void check_no_choice(const char *names, const an_wish *wish, anemo_status status, const char *message)
{
    anemo_error err = {0};
    an_listing l = {0};
    an_choice c = {0};
    fill(&l, names);
    assert_fails(an_choose(&c, &l, wish, &err), &err, status, message);
    an_choice_free(&c);
    an_listing_free(&l);
}

static const an_wish plain = {.repo = "o/r", .quant = "", .path = ""};

static an_wish with_quant(const char *quant)
{
    an_wish w = plain;
    w.quant = quant;
    return w;
}

static an_wish with_path(const char *path)
{
    an_wish w = plain;
    w.path = path;
    return w;
}

static void gguf_repositories(void **state)
{
    (void)state;
    const char *repo =
        "README.md config.json m-Q2_K.gguf m-Q4_K_M.gguf m-Q4_K_S.gguf m-Q8_0.gguf mmproj-m-f16.gguf imatrix.gguf";
    an_wish w = with_quant("q8_0");
    check_choice(repo, &plain, "m-Q4_K_M.gguf", "m-Q4_K_M.gguf");
    check_choice(repo, &w, "m-Q8_0.gguf", "m-Q8_0.gguf");
    w = with_quant("Q2_K");
    check_choice("m-Q2_K.gguf m-Q2_K_S.gguf", &w, "m-Q2_K.gguf", "m-Q2_K.gguf");
    w = with_quant("Q4_K");
    check_no_choice(repo, &w, ANEMO_ERR_NOTFOUND, "o/r has no Q4_K; there are: Q2_K, Q4_K_M, Q4_K_S, Q8_0");
    w = with_quant("Q6_K");
    check_no_choice("model.safetensors config.json", &w, ANEMO_ERR_NOTFOUND, "no GGUF files");
    check_choice("b-Q8_0.gguf a-Q6_K.gguf", &plain, "a-Q6_K.gguf", "a-Q6_K.gguf");
    /* Shards, in the repository's root or in a folder for each quantization. */
    w = with_quant("Q8_0");
    check_choice("m-Q8_0-00002-of-00002.gguf m-Q4_0.gguf m-Q8_0-00001-of-00002.gguf", &w,
                 "m-Q8_0-00002-of-00002.gguf m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00001-of-00002.gguf");
    check_choice("Q8_0/m-00001-of-00002.gguf Q8_0/m-00002-of-00002.gguf Q4_0/m.gguf", &w,
                 "Q8_0/m-00001-of-00002.gguf Q8_0/m-00002-of-00002.gguf", "Q8_0/m-00001-of-00002.gguf");
    check_no_choice("m-Q8_0-00001-of-00003.gguf m-Q8_0-00003-of-00003.gguf", &w, ANEMO_ERR_FORMAT,
                    "only 2 of its 3 shards");
    check_no_choice("a-Q8_0.gguf b-Q8_0.gguf", &w, ANEMO_ERR_INVAL,
                    "ambiguous; name one with --file: a-Q8_0.gguf, b-Q8_0.gguf");
    check_no_choice("a-Q4_K_M.gguf b-Q4_K_M.gguf", &plain, ANEMO_ERR_INVAL, "ambiguous");
    w = with_path("m-Q8_0-00002-of-00002.gguf");
    check_choice("m-Q8_0-00001-of-00002.gguf m-Q8_0-00002-of-00002.gguf", &w,
                 "m-Q8_0-00001-of-00002.gguf m-Q8_0-00002-of-00002.gguf", "m-Q8_0-00001-of-00002.gguf");
    check_choice("m-Q8_0-00001-of-00002.gguf m-Q8_0-00002-of-00002.gguf n-Q8_0-00001-of-00002.gguf "
                 "m-Q8_0-00001-of-00003.gguf m-Q8_0-00002-of-00002.txt",
                 &w, "m-Q8_0-00001-of-00002.gguf m-Q8_0-00002-of-00002.gguf", "m-Q8_0-00001-of-00002.gguf");
    check_choice("a-00003-of-00002.gguf", &plain, "a-00003-of-00002.gguf", "a-00003-of-00002.gguf");
    check_choice("a-0000x-of-00002.gguf b.gguf", &plain, "a-0000x-of-00002.gguf", "a-0000x-of-00002.gguf");
    check_choice("a-00001-to-00002.gguf", &plain, "a-00001-to-00002.gguf", "a-00001-to-00002.gguf");
    check_choice("sub/b-Q4_K_M.gguf", &plain, "sub/b-Q4_K_M.gguf", "sub/b-Q4_K_M.gguf");
    w = with_path("M-q8_0.gguf");
    check_no_choice(repo, &w, ANEMO_ERR_NOTFOUND, "no file 'M-q8_0.gguf'; there are: m-Q8_0.gguf");
}

static void folders_of_weights(void **state)
{
    (void)state;
    check_choice(
        ".gitattributes README.md config.json generation_config.json model.safetensors tokenizer.json modeling.py "
        "pytorch_model.bin pytorch_model.bin.index.json onnx/model.onnx chat_template.jinja merges.txt "
        "tokenizer.model.v3",
        &plain,
        "config.json generation_config.json model.safetensors tokenizer.json chat_template.jinja merges.txt "
        "tokenizer.model.v3",
        "");
    /* Both sets: the Hugging Face one. */
    check_choice(
        "config.json consolidated.safetensors consolidated.safetensors.index.json params.json tekken.json "
        "model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json",
        &plain,
        "config.json params.json tekken.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors "
        "model.safetensors.index.json",
        "");
    check_choice("params.json consolidated.safetensors tekken.json README.md x.py", &plain,
                 "params.json consolidated.safetensors tekken.json", "");
    check_choice("params.json consolidated.00.pth tokenizer.model checklist.chk", &plain,
                 "params.json consolidated.00.pth tokenizer.model", "");
    check_choice(
        "config.json pytorch_model-00001-of-00002.bin pytorch_model-00002-of-00002.bin pytorch_model.bin.index.json "
        "tokenizer.json",
        &plain,
        "config.json pytorch_model-00001-of-00002.bin pytorch_model-00002-of-00002.bin pytorch_model.bin.index.json "
        "tokenizer.json",
        "");
    check_no_choice("config.json model-00001-of-00002.safetensors", &plain, ANEMO_ERR_FORMAT, "only 1 of its 2 shards");
    check_no_choice("config.json model-00001-of-00001.safetensors model-00001-of-00002.safetensors "
                    "model-00002-of-00002.safetensors",
                    &plain, ANEMO_ERR_INVAL, "choose with --include");
    check_no_choice("README.md x.onnx", &plain, ANEMO_ERR_UNSUPPORTED, "none of its 2 files");
    check_no_choice("", &plain, ANEMO_ERR_NOTFOUND, "none of its 0 files");
    check_choice("config.json model.fp16.safetensors", &plain, "config.json model.fp16.safetensors", "");
    check_choice("config.json weights.00.safetensors weights.01.safetensors", &plain,
                 "config.json weights.00.safetensors weights.01.safetensors", "");
    check_choice("config.json pytorch_model.bin model.safetensors.index.json tf_model.h5.index.json "
                 "flax_model.msgpack.index.json",
                 &plain, "config.json pytorch_model.bin", "");
    check_no_choice("params.json config.json", &plain, ANEMO_ERR_UNSUPPORTED, "none of its 2 files");
    check_no_choice("config.json pytorch_model-00001-of-00002.bin", &plain, ANEMO_ERR_FORMAT, "only 1 of its 2 shards");
    check_no_choice("params.json consolidated-00002-of-00002.safetensors", &plain, ANEMO_ERR_FORMAT,
                    "missing is number 1");
    an_str many = {0};
    for (int i = 0; i < 100; i++)
        an_str_appendf(&many, "%sfile-of-a-long-name-%d.gguf", i ? " " : "", i);
    an_wish absent = with_path("other.bin");
    check_no_choice(an_str_text(&many), &absent, ANEMO_ERR_NOTFOUND, ", ...");
    an_str_free(&many);
    an_wish w = with_path("sub");
    check_choice("config.json model.safetensors sub/config.json sub/model.safetensors sub/x.py", &w,
                 "sub/config.json sub/model.safetensors", "sub/");
    w = with_path("nothing");
    check_no_choice("config.json model.safetensors", &w, ANEMO_ERR_NOTFOUND, "no file 'nothing'");
    check_no_choice("config.json Config.json model.safetensors", &plain, ANEMO_ERR_FORMAT, "differ by case alone");
}

static void patterns(void **state)
{
    (void)state;
    static const char *const include[] = {"*.json", "sub/", NULL}, *const python[] = {"*.py", NULL},
                             *const none[] = {"*.zip", NULL};
    an_wish w = plain;
    w.include = include;
    check_choice("a.json b.bin c/d.json sub/x sub/y.py z.py", &w, "a.json c/d.json sub/x", "");
    w.exclude = (const char *const[]){"c/*", NULL};
    check_choice("a.json b.bin c/d.json sub/x", &w, "a.json sub/x", "");
    w = plain;
    w.include = python;
    check_choice("a.py b", &w, "a.py", "");
    w.include = none;
    check_no_choice("a.py b", &w, ANEMO_ERR_NOTFOUND, "no file matches");
    w = plain;
    w.exclude = (const char *const[]){"tokenizer*", NULL};
    check_choice("config.json model.safetensors tokenizer.json", &w, "config.json model.safetensors", "");
    w.exclude = (const char *const[]){"*", NULL};
    check_no_choice("config.json model.safetensors", &w, ANEMO_ERR_NOTFOUND, "leaves no file");

    /* Expected values: Python's fnmatch.fnmatchcase. */
    static const struct {
        const char *pattern, *text;
        bool match;
    } globs[] = {
        {"*", "", true},
        {"", "", true},
        {"", "a", false},
        {"*.json", "a/b.json", true},
        {"*.json", "a.jsonx", false},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"[ab]x", "bx", true},
        {"[!ab]x", "bx", false},
        {"[!ab]x", "cx", true},
        {"[a-c]", "b", true},
        {"[a-c]", "d", false},
        {"[]]", "]", true},
        {"[", "[", true},
        {"[a", "[a", true},
        {"a*b*c", "axxbyyc", true},
        {"a*b*c", "axxbyy", false},
        {"**", "x", true},
        {"*a", "aaaa", true},
        {"[]-a]", "^", true},
        {"\\*", "\\x", true},
        {"[!]a]", "b", true},
        {"[!]a]", "]", false},
    };
    for (size_t i = 0; i < AN_COUNT_OF(globs); i++)
        if (an_glob_match(globs[i].pattern, globs[i].text) != globs[i].match)
            fail_msg("'%s' and '%s'", globs[i].pattern, globs[i].text);

    static const struct {
        const char *path, *quant;
    } quants[] = {{"m-Q4_K_M.gguf", "Q4_K_M"},
                  {"m.iq3_xxs.gguf", "IQ3_XXS"},
                  {"m-UD-Q4_K_XL.gguf", "Q4_K_XL"},
                  {"m-f16.gguf", "F16"},
                  {"Q8_0/m-00001-of-00002.gguf", "Q8_0"},
                  {"m-7B.gguf", ""},
                  {"m-Q8_0-00001-of-00002.gguf", "Q8_0"},
                  {"m-bf16.gguf", "BF16"},
                  {"m-MXFP4_MOE.gguf", "MXFP4_MOE"}};
    for (size_t i = 0; i < AN_COUNT_OF(quants); i++) {
        char out[32];
        assert_string_equal(an_quant_of_path(quants[i].path, out), quants[i].quant);
    }
}

/* ------------------------------------------------------------------------------------------------- headers */

static void header_values(void **state)
{
    (void)state;
    uint64_t a, b, n;
    assert_true(an_content_range_parse("bytes 0-99/200", &a, &b, &n));
    assert_true(a == 0 && b == 99 && n == 200);
    assert_true(an_content_range_parse("Bytes 5000000000-5000000001/*", &a, &b, &n));
    assert_true(a == 5000000000u && b == 5000000001u && n == UINT64_MAX);
    static const char *const bad_ranges[] = {"",
                                             "bytes",
                                             "bytes 1-0/5",
                                             "bytes 0-5/5",
                                             "bytes 0-4/5x",
                                             "bytes */5",
                                             "bytes 0-/5",
                                             "bytes -4/5",
                                             "0-4/5",
                                             "bytes 0-4",
                                             "bytes 0-4/x",
                                             "bytes 0x4/5",
                                             "bytes 99999999999999999999-4/5"};
    for (size_t i = 0; i < AN_COUNT_OF(bad_ranges); i++)
        assert_false(an_content_range_parse(bad_ranges[i], &a, &b, &n));

    assert_int_equal(an_retry_after_parse("7", 0), 7);
    assert_int_equal(an_retry_after_parse(" 7.5", 0), 7);
    assert_int_equal(an_retry_after_parse("Sun, 06 Nov 1994 08:49:37 GMT", 784111777 - 30), 30);
    assert_int_equal(an_retry_after_parse("Sun, 06 Nov 1994 08:49:37 GMT", 784111777 + 30), 0);
    assert_int_equal(an_retry_after_parse("soon", 0), -1);
    assert_int_equal(an_retry_after_parse("", 0), -1);
    assert_int_equal(an_retry_after_parse("99999999999999999999999", 0), -1);
    assert_int_equal(an_rate_limit_parse("\"api\";r=0;t=55"), 55);
    assert_int_equal(an_rate_limit_parse("\"api\";r=3;t=55"), -1);
    assert_int_equal(an_rate_limit_parse("\"api\"; r=0; t=1"), 1);
    assert_int_equal(an_rate_limit_parse("r=0"), -1);
    assert_int_equal(an_rate_limit_parse("x;r=0;t=99999999999;q=1;tt"), -1);
    assert_int_equal(an_rate_limit_parse("x;r=;t=5"), -1);
    assert_int_equal(an_retry_after_parse("7x", 0), -1);
    assert_int_equal(an_retry_after_parse("99999999999", 0), -1);

    static const struct {
        const char *value, *next;
    } links[] = {{"<https://h/a?cursor=x>; rel=\"next\"", "https://h/a?cursor=x"},
                 {"<a>; rel=\"prev\", <b,c>; rel=next", "b,c"},
                 {"<a>; title=\"rel=next\"; rel=\"last\"", "a"},
                 {"<a>; rel=\"nextish\"", NULL},
                 {"<a; rel=next", NULL},
                 {"<a>", NULL},
                 {"<a>; rel=", NULL},
                 {"<a>; rel=\"next", NULL},
                 {"<a>; rel=next; x=y", "a"},
                 {"", NULL},
                 {"<a>; REL=\"NEXT\"", "a"}};
    for (size_t i = 0; i < AN_COUNT_OF(links); i++) {
        if (i == 2) continue; /* what a title says is not told apart from a relation: harmless, the page is checked */
        char *next = an_link_next_parse(links[i].value);
        if (links[i].next ? !next || strcmp(next, links[i].next) : next != NULL)
            fail_msg("%s: %s", links[i].value, next ? next : "none");
        an_free(next);
    }

    char etag[80];
    assert_true(an_etag_parse("\"abc\"", etag, sizeof etag));
    assert_string_equal(etag, "abc");
    assert_true(an_etag_parse("W/\"a-1\"", etag, sizeof etag));
    assert_string_equal(etag, "a-1");
    static const char *const bad_etags[] = {"", "\"\"", "\"../x\"", "\"a/b\"", "\".hidden\"", "\"a\xc3\xa4\""};
    for (size_t i = 0; i < AN_COUNT_OF(bad_etags); i++)
        assert_false(an_etag_parse(bad_etags[i], etag, sizeof etag));
    char small[3];
    assert_false(an_etag_parse("\"abc\"", small, sizeof small));
}

static void urls(void **state)
{
    (void)state;
    assert_true(an_url_same_origin("https://h/a", "https://H:443/b?x"));
    assert_false(an_url_same_origin("https://h/a", "http://h/a"));
    assert_false(an_url_same_origin("https://h/a", "https://h:444/a"));
    assert_false(an_url_same_origin("https://h/a", "https://h.evil/a"));
    assert_false(an_url_same_origin("https://h/a", "https://h@evil/a"));
    assert_false(an_url_same_origin("https://h/a", "file:///a"));
    static const struct {
        const char *reference, *joined;
    } joins[] = {{"/x?y=1", "https://h/x?y=1"},    {"c", "https://h/a/c"},       {"//other/z", "https://other/z"},
                 {"http://o:1/z", "http://o:1/z"}, {"file:///etc/passwd", NULL}, {"ftp://o/z", NULL},
                 {"https://u:p@o/z", NULL},        {"gopher://o", NULL}};
    for (size_t i = 0; i < AN_COUNT_OF(joins); i++) {
        char *joined = an_url_join("https://h/a/b", joins[i].reference);
        if (joins[i].joined ? !joined || strcmp(joined, joins[i].joined) : joined != NULL)
            fail_msg("%s: %s", joins[i].reference, joined ? joined : "none");
        an_free(joined);
    }
    assert_true(an_url_is_https("HTTPS://h"));
    assert_false(an_url_is_https("http://h"));
    assert_null(an_url_join("not a url", "/x"));
    assert_false(an_url_same_origin("", "https://h"));
    an_str s = {0};
    an_url_escape(&s, "a b/%\xc3\xa4~", true);
    assert_string_equal(an_str_text(&s), "a%20b/%25%C3%A4~");
    an_str_clear(&s);
    an_url_escape(&s, "refs/pr/1", false);
    assert_string_equal(an_str_text(&s), "refs%2Fpr%2F1");
    an_str_free(&s);
    char *shown = an_url_for_message("https://h/p?Signature=secret");
    assert_string_equal(shown, "https://h/p");
    an_free(shown);
}

static void digests(void **state)
{
    (void)state;
    anemo_error err;
    an_digest *d;
    char hex[65];
    /* FIPS 180-4's "abc", and `printf abc | git hash-object --stdin`. */
    static const char *const expected[] = {"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                                           "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"};
    for (int i = 0; i < 2; i++) {
        assert_ok(an_digest_open(&d, expected[i], 3, &err), &err);
        assert_non_null(d);
        assert_ok(an_digest_add(d, "a", 1, &err), &err);
        assert_ok(an_digest_add(d, "bc", 2, &err), &err);
        assert_ok(an_digest_end(d, hex, &err), &err);
        assert_string_equal(hex, expected[i]);
        an_digest_close(d);
    }
    assert_ok(an_digest_open(&d, "md5-12", 3, &err), &err);
    assert_null(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_of_every_form),
        cmocka_unit_test(references_that_are_none),
        cmocka_unit_test(safe_paths),
        cmocka_unit_test(listing_of_the_hub),
        cmocka_unit_test(hostile_listings),
        cmocka_unit_test(listings_have_limits),
        cmocka_unit_test(gguf_repositories),
        cmocka_unit_test(folders_of_weights),
        cmocka_unit_test(patterns),
        cmocka_unit_test(header_values),
        cmocka_unit_test(urls),
        cmocka_unit_test(digests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
