"""Hostile listings, made by hand: names that lead out of the cache and documents of the wrong shape."""
import json
import os

from fake_hub import File
from harness import CONFIG, case, hf_files

GGUF = "model-Q4_K_M.gguf"
SHA1 = "a" * 40

# Names that must not be used. {root} is the case's own folder.
NAMES = {
    "parent": "../evil.json", "parents": "../" * 12 + "tmp/anemo-hub-evil.json", "inner parent": "a/../../../../evil.json",
    "only dots": "..", "one dot": "./evil.json", "absolute": "{root}/evil.json", "NUL": "evil.json\0.txt", "backslash": "..\\evil.json",
    "drive letter": "C:/evil.json", "empty part": "a//evil.json", "empty": "", "slash at the end": "evil.json/",
    "4096 bytes": "e" * 4091 + ".json", "256 bytes in a part": "e" * 251 + ".json", "2000 parts": "a/" * 2000 + "evil.json",
    "line feed": "evil\n.json", "escape": "evil\x1b[2J.json", "lone surrogate": "evil\ud800.json",
}


def change(doc_of):
    """A hook that replaces the listing, whichever route the client asks: doc_of(kind, its document)."""
    def hook(request, answer):
        if request.kind in ("info", "tree") and answer.status == 200:
            doc = doc_of(request.kind, json.loads(answer.body))
            answer.set(200, doc if isinstance(doc, bytes) else json.dumps(doc).encode(), Content_Type="application/json")
    return hook


def with_name(name):
    """The listing with one more file of this name."""
    def doc_of(kind, doc):
        if kind == "tree":
            doc.append({"type": "file", "oid": SHA1, "size": 3, "path": name})
        else:
            doc["siblings"].append({"rfilename": name, "size": 3, "blobId": SHA1})
        return doc
    return doc_of


def refused(t, hook, says, expect=3):
    repo = t.repo(hf_files())
    repo.hook = hook
    t.pull(repo, expect=expect, says=says)
    assert not os.path.lexists("/tmp/anemo-hub-evil.json"), "a file outside the cache"
    assert t.hub.sent(repo) == 0, "files were fetched although the listing is bad"


def name_case(label, name):
    @case(f"a listing with a bad name: {label}")
    def run(t):
        # Those that a file system could hold may also be left out of the pull, as long as nothing is made of them.
        harmless = label in ("line feed", "escape", "lone surrogate", "256 bytes in a part", "one dot", "2000 parts")
        text = name.replace("{root}", str(t.root))
        repo = t.repo(hf_files())
        repo.hook = change(with_name(text))
        done = t.pull(repo, expect=(0, 3, 5) if harmless else 3, says=[] if harmless else ["name|path|listing|answer"])
        assert "\x1b" not in done.err + done.out, "a name draws on the terminal"
        assert not os.path.lexists("/tmp/anemo-hub-evil.json"), "a file outside the cache"
        if done.code == 3:
            assert t.hub.sent(repo) == 0, "files were fetched although the listing is bad"


for key, value in NAMES.items():
    name_case(key, value)


@case("a listing with a bad name: it is served, too")
def served(t):
    files = {path: File(path, data) for path, data in hf_files().items()}
    files["../../evil.json"] = File("../../evil.json", b"{}")
    repo = t.repo()
    repo.commit(files)
    t.pull(repo, expect=3, says=["evil.json|'\.\.'"])


@case("a listing with names that differ in case only")
def case_twins(t):
    repo = t.repo({**hf_files(), "Config.json": b"{}", "MODEL.safetensors": b"x" * 100})
    done = t.pull(repo, expect=(0, 3))
    if done.code == 0:
        assert (t.snapshot(repo) / "config.json").read_bytes() == CONFIG


@case("a listing with one name twice")
def twins(t):
    repo = t.repo(hf_files())
    repo.hook = change(with_name("config.json"))
    t.pull(repo, expect=(3, 5), says=["config.json"])


@case("a listing with a name that is also a folder")
def file_and_folder(t):
    repo = t.repo(hf_files())
    repo.hook = change(with_name("config.json/inner.json"))
    t.pull(repo, expect=(3, 5), says=["config.json"])


BAD = {
    "null": b"null", "a number": b"7", "a string": b'"x"', "empty": b"", "cut short": b'{"sha": "aaaa', "not UTF-8": b'{"sha": "\xff\xfe"}',
    "NUL inside": b'{"sha": "\\u0000"}', "two documents": b"{}{}", "a deep array": b"[" * 100_000 + b"]" * 100_000,
    "a deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "one key twice": b'{"sha": "a", "sha": "b"}',
    "a huge number": b'{"sha": 1' + b"0" * 5000 + b"}", "an error with status 200": b'{"error": "Repository not found"}',
}


def bad_case(label, body):
    @case(f"a bad listing: {label}")
    def run(t):
        refused(t, change(lambda kind, doc: body), ["127.0.0.1|listing|model"], expect=(3, 5))


for key, value in BAD.items():
    bad_case(key, value)


def field(label, info=None, tree=None, expect=(3, 5)):
    """A listing where one field is wrong: info and tree change the documents in place."""
    @case(f"a bad listing: {label}")
    def run(t):
        def doc_of(kind, doc):
            edit = tree if kind == "tree" else info
            if edit:
                edit(doc)
            return doc
        repo = t.repo(hf_files())
        repo.hook = change(doc_of)
        done = t.pull(repo, expect=expect, says=["127.0.0.1|listing|model|config"])
        assert done.code == 0 or not t.published(repo), f"published: {t.published(repo)}"


def entries(key, value):
    def edit(doc):
        for entry in doc:
            entry[key] = value
    return edit


def lfs(key, value):
    def edit(doc):
        for entry in doc:
            if "lfs" in entry:
                entry["lfs"][key] = value
    return edit


def siblings(key, value):
    def edit(doc):
        for entry in doc["siblings"]:
            entry[key] = value
    return edit


field("the commit is a path", info=lambda doc: doc.update(sha="../../../../evil"))
field("the commit is a number", info=lambda doc: doc.update(sha=7))
field("the commit has capital letters", info=lambda doc: doc.update(sha="A" * 40))
field("the commit is too short", info=lambda doc: doc.update(sha="a" * 39))
field("no files", info=lambda doc: doc.update(siblings=[]), tree=lambda doc: doc.clear(), expect=(3, 4, 5))
field("names are numbers", info=siblings("rfilename", 7), tree=entries("path", 7))
field("names are lists", info=siblings("rfilename", ["a"]), tree=entries("path", ["a"]))
field("sizes are negative", info=siblings("size", -1), tree=entries("size", -1))
field("sizes are strings", info=siblings("size", "12"), tree=entries("size", "12"))
field("sizes are fractions", info=siblings("size", 1.5), tree=entries("size", 1.5))
field("sizes are larger than any disk", info=siblings("size", (1 << 63) - 1), tree=entries("size", (1 << 63) - 1), expect=(3, 5, 6))
# A checksum that is none may be passed over, since each file's own answer tells it.
field("the checksum is a path", info=siblings("lfs", {"sha256": "../../evil", "size": 300000}), tree=lfs("oid", "../../../../evil"), expect=(0, 3, 5))
field("the checksum is not hexadecimal", info=siblings("lfs", {"sha256": "g" * 64, "size": 300000}), tree=lfs("oid", "g" * 64), expect=(0, 3, 5))
field("the checksum is a number", info=siblings("lfs", {"sha256": 5, "size": 300000}), tree=lfs("oid", 5))
field("the blob's name is a path", info=siblings("blobId", "../../evil"), tree=entries("oid", "../../../../evil"), expect=(0, 3, 5))
field("lfs is a list", info=siblings("lfs", [1]), tree=entries("lfs", [1]))


@case("etags that are paths")
def etag_path(t):
    repo = t.repo(hf_files())

    def hook(request, answer):
        for name in ("ETag", "X-Linked-ETag"):
            if name in answer.headers:
                answer.headers[name] = '"../../../../../evil"'
    repo.hook = hook
    t.pull(repo, expect=(0, 3, 5))


@case("a commit in X-Repo-Commit that is a path")
def commit_path(t):
    repo = t.repo(hf_files())

    def hook(request, answer):
        if "X-Repo-Commit" in answer.headers:
            answer.headers["X-Repo-Commit"] = "../../../../evil"
    repo.hook = hook
    t.pull(repo, expect=(0, 3, 5))


@case("a huge listing: 20,000 files in pages")
def huge(t):
    files = {path: File(path, data) for path, data in hf_files().items()}
    image = b"an image"
    for i in range(20_000):
        files[f"images/{i:05}.png"] = File(f"images/{i:05}.png", image)
    repo = t.repo()
    repo.commit(files)
    t.pull(repo)
    assert not (t.snapshot(repo) / "images").exists(), "images were fetched"


@case("pages without an end")
def endless_pages(t):
    repo = t.repo(hf_files())

    def hook(request, answer):
        if request.kind == "tree":
            # Every page says that another one comes, with the same files.
            answer.headers["Link"] = f'<{t.hub.url}{request.target.split("?")[0]}?recursive=true&n={request.count}>; rel="next"'
    repo.hook = hook
    t.pull(repo, expect=(0, 3, 5), timeout=60)
    assert len(t.hub.requests(repo, "tree")) < 2000, "the client follows for ever"


@case("pages that go on at another host")
def foreign_pages(t):
    repo = t.repo(hf_files())

    def hook(request, answer):
        if request.kind == "tree":
            answer.headers["Link"] = f'<{t.hub.other_url}/{repo.name}/{repo.head}/x>; rel="next"'
    repo.hook = hook
    t.pull(repo, expect=(0, 3, 5))


@case("pages of a listing")
def pages(t):
    repo = t.repo(hf_files())
    repo.page = 2
    t.pull(repo)
    assert (t.snapshot(repo) / "model.safetensors").exists()
    assert (t.snapshot(repo) / "tokenizer_config.json").exists()
