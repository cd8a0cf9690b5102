"""What goes wrong on the way: bytes, redirects, refusals, servers that are slow or gone."""
import contextlib
import email.utils
import gzip
import pathlib
import random
import re
import shutil
import subprocess
import time

from fake_hub import Bytes, Hub
from harness import Skip, case, gguf, hf_files

GGUF = "model-Q4_K_M.gguf"
IMPATIENT = {"HF_HUB_DOWNLOAD_TIMEOUT": 2, "HF_HUB_ETAG_TIMEOUT": 2}
BIG = 40_000_000  # large enough for several ranges at once


def first(kind, change, n=1):
    """A hook that changes the first n answers of a kind that would carry bytes."""
    def hook(request, answer):
        if request.kind == kind and request.method == "GET" and request.count <= n:
            change(answer)
    return hook


def always(kind, change):
    return first(kind, change, 1 << 30)


def put(**fields):
    def change(answer):
        for name, value in fields.items():
            setattr(answer, name, value)
    return change


def say(status, body=b"", **headers):
    return lambda answer: answer.set(status, body, **headers)


def healed(t, repo):
    """After the trouble the same command succeeds."""
    repo.hook = None
    t.pull(repo)
    t.whole(repo)


@case("a plain pull, and a second one that transfers nothing")
def plain(t):
    repo = t.repo(hf_files())
    done = t.pull(repo)
    assert done.path() == t.snapshot(repo), f"the last line is {done.path()}"
    sent = t.hub.sent(repo)
    t.pull(repo)
    assert t.hub.sent(repo) == sent, "the second pull fetched something again"
    assert (t.folder(repo) / "refs/main").read_text() == repo.head


@case("a large file in ranges")
def ranges(t):
    repo = t.gguf_repo(BIG)
    t.pull(repo)
    t.whole(repo)
    assert t.hub.sent(repo) < BIG * 1.01, "more bytes than the file has"


@case("an empty file")
def empty(t):
    repo = t.repo({**hf_files(), "special_tokens_map.json": b""})
    t.pull(repo)
    assert (t.snapshot(repo) / "special_tokens_map.json").read_bytes() == b""


def other_size(size):
    def change(answer):
        if answer.content:
            answer.content = Bytes(bytes(answer.content.read(0, answer.content.size))[:size].ljust(size, b"x"))
            answer.start, answer.end = min(answer.start, size), min(answer.end, size) if size < 2_000_000 else size
            if answer.status == 206:
                answer.label(answer.start)
    return change


@case("wrong length: shorter than the listing says")
def shorter(t):
    repo = t.gguf_repo()
    repo.hook = always("cdn", other_size(1_000_000))
    t.pull(repo, expect=5, says=[GGUF])
    healed(t, repo)


@case("wrong length: longer than the listing says")
def longer(t):
    repo = t.gguf_repo()
    repo.hook = always("cdn", other_size(3_000_000))
    t.pull(repo, expect=5, says=[GGUF])
    healed(t, repo)


@case("wrong sha256")
def sha256(t):
    repo = t.gguf_repo()
    repo.hook = always("cdn", put(corrupt=1_234_567))
    t.pull(repo, expect=5, says=[GGUF, "sha-?256|checksum"])
    assert repo.file(GGUF).etag not in t.blobs(repo)
    healed(t, repo)


@case("wrong sha256 in one range of a large file")
def sha256_range(t):
    repo = t.gguf_repo(BIG)
    repo.hook = always("cdn", put(corrupt=BIG - 5))
    t.pull(repo, expect=5, says=[GGUF, "sha-?256|checksum"])
    healed(t, repo)


@case("wrong sha256 once: the next try is right")
def sha256_once(t):
    repo = t.gguf_repo()
    repo.hook = first("cdn", put(corrupt=1_000))
    t.pull(repo, expect=(0, 5))
    healed(t, repo)


@case("wrong git checksum of a small file")
def git_sha1(t):
    repo = t.repo(hf_files())
    repo.hook = lambda request, answer: put(corrupt=3)(answer) if request.path == "tokenizer.json" else None
    t.pull(repo, expect=5, says=["tokenizer.json"])
    assert repo.file("tokenizer.json").etag not in t.blobs(repo)


@case("200 to a range request")
def no_206(t):
    repo = t.gguf_repo(BIG)

    def hook(request, answer):
        if request.kind == "cdn":
            answer.whole()
            answer.cut_after = 10_000_000 if request.count == 1 else None
    repo.hook = hook
    t.pull(repo)
    t.whole(repo)


@case("a server without ranges sends a file once")
def no_ranges(t):
    repo = t.gguf_repo(BIG)
    repo.hook = lambda request, answer: answer.whole() if request.kind in ("cdn", "file") else None
    t.pull(repo)
    t.whole(repo)


def other_range(honest):
    """206 with the bytes of another place; `honest` says so."""
    def hook(request, answer):
        if request.kind == "cdn" and answer.status == 206 and request.method == "GET":
            n = min(answer.end - answer.start, answer.content.size - 4096)
            first_byte = answer.start
            answer.start = 4096 if answer.start == 0 else 0
            answer.end = answer.start + n
            answer.label(answer.start if honest else first_byte)
        elif request.kind == "cdn" and answer.status == 200 and request.count == 1:
            answer.cut_after = answer.content.size // 2
    return hook


@case("206 with another range")
def wrong_206(t):
    repo = t.gguf_repo(BIG)
    repo.hook = other_range(honest=True)
    t.pull(repo, expect=(0, 5))
    healed(t, repo)


@case("206 that lies about its range")
def lying_206(t):
    repo = t.gguf_repo(BIG)
    repo.hook = other_range(honest=False)
    t.pull(repo, expect=(0, 5))
    healed(t, repo)


@case("206 without Content-Range")
def bare_206(t):
    repo = t.gguf_repo(BIG)
    repo.hook = lambda request, answer: answer.headers.pop("Content-Range", None) if request.kind == "cdn" else None
    t.pull(repo, expect=(0, 5))
    healed(t, repo)


@case("Content-Range full of nonsense")
def nonsense_206(t):
    repo = t.gguf_repo(BIG)

    def hook(request, answer):
        if request.kind == "cdn" and "Content-Range" in answer.headers:
            answer.headers["Content-Range"] = random.Random(request.count).choice(
                ["bytes 18446744073709551615-18446744073709551616/1", "bytes -1--5/*", "lines 1-2/3", "bytes 5-2/9", "bytes */*"])
    repo.hook = hook
    t.pull(repo, expect=(0, 5))
    healed(t, repo)


@case("the etag changes between two pulls")
def etag_change(t):
    repo = t.gguf_repo(BIG)
    repo.hook = lambda request, answer: say(503)(answer) if request.kind == "cdn" and request.count > 2 else (
        put(cut_after=3_000_000)(answer) if request.kind == "cdn" else None)
    t.pull(repo, expect=5)
    t.planted = [t.folder(repo) / "blobs" / name for name in t.blobs(repo)]  # of the old file: it may come back
    repo.commit({GGUF: gguf(BIG - 77, "another")})
    repo.hook = None
    t.pull(repo)
    t.whole(repo)


@case("the file changes midway")
def changed(t):
    repo = t.gguf_repo(BIG)
    old = repo.head

    def hook(request, answer):
        if request.kind == "cdn" and request.count == 1 and request.method == "GET":
            answer.cut_after = answer.length() // 3
            repo.commit({GGUF: gguf(BIG, "another")})
    repo.hook = hook
    t.pull(repo)
    present = [c for c in (old, repo.head) if t.snapshot(repo, c).is_dir()]
    assert present, "no snapshot"
    for commit in present:
        t.whole(repo, commit)


@case("the bytes change midway under the same address")
def swapped(t):
    repo = t.gguf_repo(BIG)
    other = gguf(BIG, "another")

    def hook(request, answer):
        if request.kind == "cdn" and request.method == "GET" and answer.content:
            if request.count == 1:
                answer.cut_after = answer.length() // 3
            else:
                answer.content = other
                answer.headers["ETag"] = f'"{other.md5}-12"'
    repo.hook = hook
    t.pull(repo, expect=5, says=[GGUF])
    healed(t, repo)


@case("a truncated body")
def truncated(t):
    repo = t.gguf_repo()
    repo.hook = first("cdn", put(cut_after=700_000))
    t.pull(repo)
    t.whole(repo)
    assert t.hub.sent(repo) < 2_900_000, "the bytes that had come were fetched again"


@case("a truncated body, again and again, with progress")
def truncated_often(t):
    repo = t.gguf_repo()
    repo.hook = always("cdn", put(cut_after=300_000))
    t.pull(repo)
    t.whole(repo)


@case("a truncated body without any progress")
def truncated_always(t):
    repo = t.gguf_repo()
    repo.hook = always("cdn", put(cut_after=0))
    t.pull(repo, expect=5, says=[GGUF])
    healed(t, repo)


@case("a truncated small file")
def truncated_small(t):
    repo = t.repo(hf_files())
    repo.hook = lambda request, answer: put(cut_after=5)(answer) if request.kind == "file" and request.count == 1 else None
    t.pull(repo)
    assert (t.snapshot(repo) / "tokenizer.json").read_bytes() == bytes(repo.file("tokenizer.json").content.data)


@case("connections reset at random bytes")
def resets(t):
    repo, rng = t.gguf_repo(BIG), random.Random(5)
    repo.hook = first("cdn", lambda answer: put(reset_after=rng.randrange(BIG // 4))(answer), 12)
    t.pull(repo)
    t.whole(repo)


@case("a connection that ends before an answer")
def no_answer(t):
    repo = t.repo(hf_files())
    repo.hook = lambda request, answer: put(no_answer=True)(answer) if request.count == 1 else None
    t.pull(repo)
    t.expect_files(repo, [p for p in repo.commits[repo.head] if (t.snapshot(repo) / p).exists()])


@case("no answer ever")
def never(t):
    repo = t.gguf_repo()
    repo.hook = lambda request, answer: put(no_answer=True, reset_after=0)(answer)
    t.pull(repo, expect=5, says=["127.0.0.1"])


@case("nobody listens")
def refused(t):
    t.pull("org/name", expect=5, says=["127.0.0.1"], HF_ENDPOINT="http://127.0.0.1:9")


@case("a host that does not exist")
def no_host(t):
    t.pull("org/name", expect=5, says=["nowhere.invalid"], HF_ENDPOINT="http://nowhere.invalid")


@case("a stall, then fine")
def stall(t):
    repo = t.gguf_repo()
    repo.hook = first("cdn", put(stall_after=500_000))
    done = t.pull(repo, **IMPATIENT)
    t.whole(repo)
    assert done.seconds < 20, f"took {done.seconds:.0f} s"


@case("a stall for ever")
def stall_always(t):
    repo = t.gguf_repo()
    repo.hook = always("cdn", put(stall_after=0))
    t.pull(repo, expect=5, says=[GGUF], **IMPATIENT)
    healed(t, repo)


@case("a listing that stalls")
def stall_listing(t):
    repo = t.gguf_repo()
    repo.hook = lambda request, answer: put(stall_after=5)(answer) if request.kind in ("info", "tree") else None
    t.pull(repo, expect=5, says=["127.0.0.1"], **IMPATIENT)


@case("one byte a second")
def drip(t):
    repo = t.gguf_repo()
    repo.hook = always("cdn", put(rate=1))
    t.pull(repo, expect=5, says=["slow|stall|time|idle"], **IMPATIENT)
    healed(t, repo)


@case("a file sent as chunks of unknown number")
def chunked(t):
    repo = t.gguf_repo()
    repo.hook = always("cdn", put(chunked=True))
    t.pull(repo)
    t.whole(repo)


@case("a gzip bomb as a listing")
def bomb_listing(t):
    repo = t.gguf_repo()
    bomb = gzip.compress(b"[" + b" " * (600 << 20) + b"]", 1)
    repo.hook = lambda request, answer: say(200, bomb, Content_Encoding="gzip", Content_Type="application/json")(answer) \
        if request.kind in ("info", "tree") else None
    t.pull(repo, expect=(3, 5), says=["127.0.0.1|listing|model"],
           before=("sh", "-c", 'ulimit -v 900000; exec "$@"', "sh") if not harness_sanitized() else ())


def harness_sanitized():
    import harness
    return harness.SANITIZED


@case("a file in gzip that nobody asked for")
def gzip_file(t):
    repo = t.repo(hf_files())
    packed = gzip.compress(CONFIG_BOMB)
    repo.hook = lambda request, answer: say(200, packed, Content_Encoding="gzip")(answer) if request.kind == "file" else None
    t.pull(repo, expect=5)


CONFIG_BOMB = b"{" + b" " * (64 << 20) + b"}"


@case("an endless header")
def endless_header(t):
    repo = t.gguf_repo()
    repo.hook = lambda request, answer: answer.headers.update({f"X-{i}": "y" * 4000 for i in range(500)})
    t.pull(repo, expect=5)


@case("an endless listing body")
def endless_body(t):
    repo = t.gguf_repo()
    # 64 MiB where a listing of a few hundred bytes belongs.
    repo.hook = lambda request, answer: say(200, b"[" * (64 << 20), Content_Type="application/json")(answer) \
        if request.kind in ("info", "tree") else None
    t.pull(repo, expect=(3, 5))


def redirect(kind, target, status=302):
    def hook(request, answer):
        if request.kind == kind:
            answer.set(status, Location=target(request) if callable(target) else target)
            answer.headers["X-Linked-Size"] = "2000000"
    return hook


@case("a redirect loop of a file")
def loop(t):
    repo = t.gguf_repo()
    repo.hook = redirect("resolve", lambda request: request.target)
    t.pull(repo, expect=5, says=["redirect"])


@case("a redirect loop of the listing")
def loop_listing(t):
    repo = t.gguf_repo()
    repo.hook = redirect("info", lambda request: request.target, 307)
    t.pull(repo, expect=5, says=["redirect"])


@case("a redirect to a file of this machine")
def to_file(t):
    (t.root / "cwd" / "secret.gguf").write_bytes(b"secret")
    repo = t.gguf_repo()
    repo.hook = redirect("resolve", f"file://{t.root}/cwd/secret.gguf")
    t.pull(repo, expect=5)


@case("a redirect to another protocol")
def to_ftp(t):
    repo = t.gguf_repo()
    repo.hook = redirect("resolve", "ftp://127.0.0.1/model.gguf")
    t.pull(repo, expect=5)


@case("a redirect of the listing to a file of this machine")
def listing_to_file(t):
    repo = t.gguf_repo()
    (t.root / "cwd" / "listing.json").write_text('{"sha": "' + repo.head + '", "siblings": []}')
    repo.hook = redirect("info", f"file://{t.root}/cwd/listing.json")
    t.pull(repo, expect=5)


@case("a redirect to nowhere: Location is missing, empty or rubbish")
def to_nowhere(t):
    for i, location in enumerate(("", "http://", "http://[::1", "http://127.0.0.1:99999/x", "http://user:pw@", "\\\\host\\x", None)):
        repo = t.gguf_repo(name=f"model{i}")

        def hook(request, answer, location=location):
            if request.kind == "resolve":
                answer.headers.pop("Location", None)
                if location is not None:
                    answer.headers["Location"] = location
        repo.hook = hook
        t.pull(repo, expect=5)


@case("the token stays on its host when a file is redirected")
def token_file(t):
    repo = t.gguf_repo()
    t.pull(repo)
    t.whole(repo)
    assert all("authorization" in r.headers for r in t.hub.requests(repo, "info")), "the hub did not get the token"
    assert t.hub.requests(repo, "cdn"), "nobody asked the other host"


@case("the token stays on its host when the listing is redirected")
def token_listing(t):
    repo = t.gguf_repo()
    other = t.hub.other_url

    def hook(request, answer):
        if request.kind in ("info", "tree"):
            answer.set(307, Location=other + "/" + repo.name + "/catch/" + "x" + request.target.replace("/", "_"))
    repo.hook = hook
    t.pull(repo, expect=(0, 5))
    # Place.check has looked at the headers that the other host got.


@case("the token stays on its host when a small file is redirected, also to another port")
def token_small(t):
    repo = t.repo(hf_files())
    port = t.hub.other_url.rsplit(":", 1)[1]

    def hook(request, answer):
        if request.kind == "resolve":
            answer.headers["Location"] = f"http://127.0.0.1:{port}/{repo.name}/{repo.head}/{request.path}?X-Amz-Signature=1"
    repo.hook = hook
    t.pull(repo)
    assert t.hub.requests(repo, "cdn")


@case("user names in the endpoint's address are not sent on")
def userinfo(t):
    repo = t.gguf_repo()
    t.secrets.append("s3cretpw")
    t.pull(repo, expect=(0, 2, 5), HF_ENDPOINT=t.hub.url.replace("//", "//someone:s3cretpw@"))


@contextlib.contextmanager
def secure_hub(t, names="IP:127.0.0.1,DNS:localhost"):
    """A hub that speaks TLS with a certificate of its own, in place of the other."""
    pem, old = t.root / "tmp" / "hub.pem", t.hub
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hub",
                           "-addext", f"subjectAltName={names}", "-keyout", pem, "-out", str(pem) + ".crt"],
                          capture_output=True) if shutil.which("openssl") else None
    if made is None or made.returncode:
        raise Skip("openssl cannot make a certificate here")
    with open(pem, "a") as f:
        f.write(pathlib.Path(str(pem) + ".crt").read_text())
    t.hub = Hub(certificate=pem)
    try:
        yield str(pem) + ".crt"
    finally:
        t.hub.close()
        t.hub = old


@case("TLS with a certificate that SSL_CERT_FILE vouches for")
def tls(t):
    with secure_hub(t) as certificate:
        repo = t.gguf_repo()
        t.pull(repo, SSL_CERT_FILE=certificate)
        t.whole(repo)


@case("TLS with a certificate that nobody vouches for")
def tls_unknown(t):
    with secure_hub(t):
        t.pull(t.gguf_repo(), expect=5, says=["certificate"])
        assert not t.hub.log


@case("TLS with the certificate of another host")
def tls_other(t):
    with secure_hub(t, "DNS:hub.example") as certificate:
        t.pull(t.gguf_repo(), expect=5, says=["certificate|subject name|host"], SSL_CERT_FILE=certificate)
        assert not t.hub.log


@case("a redirect from https to http: not followed")
def downgrade(t):
    plain = t.hub
    with secure_hub(t) as certificate:
        for kind in ("resolve", "info"):
            repo = t.gguf_repo(name=kind)
            repo.hook = redirect(kind, lambda request: plain.url + request.target, 307)
            n = len(plain.log)
            t.pull(repo, expect=5, says=["http"], SSL_CERT_FILE=certificate)
            assert not [r for r in plain.log[n:] if kind in r.target and t.org in r.target], "it went on in the clear"


@case("a signed address that expires midway")
def expired(t):
    repo, seen = t.gguf_repo(BIG), {}

    def hook(request, answer):
        if request.kind == "cdn" and request.method == "GET":
            signature = re.search("Signature=(.*)", request.target)[1]
            began = seen.setdefault(signature, time.monotonic())
            if answer.length() > 3_000_000:
                answer.cut_after = 3_000_000
            if time.monotonic() - began > 0.3 or len(seen) == 1 and seen.get("n", 0):
                answer.set(403, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
            if len(seen) == 1:
                seen["n"] = 1
    repo.hook = hook
    t.pull(repo)
    t.whole(repo)
    assert len(t.hub.requests(repo, "resolve")) > 1, "the address was not asked for again"


@case("403 from the other host for ever")
def expired_always(t):
    repo = t.gguf_repo()
    repo.hook = always("cdn", say(403, "<Error/>"))
    t.pull(repo, expect=5, says=["403"])


@case("a gated repository without a token")
def gated(t):
    repo = t.repo(hf_files())
    repo.gated = "manual"
    t.token = ""
    done = t.pull(repo, expect=5, says=["HF_TOKEN", re.escape(f"{t.hub.url}/{repo.name}"), "gated|licen[cs]e|terms|access"])
    assert done.seconds < 5, "a refusal was tried again"


@case("a gated repository that this token may not read")
def gated_refused(t):
    repo = t.repo(hf_files())
    repo.gated, repo.refuses = "manual", (t.hub.token,)
    t.pull(repo, expect=5, says=[re.escape(f"{t.hub.url}/{repo.name}"), "gated|licen[cs]e|terms|access"])


@case("a gated repository with access")
def gated_open(t):
    repo = t.repo(hf_files())
    repo.gated = "auto"
    t.pull(repo)


@case("a private repository without a token")
def private(t):
    repo = t.repo(hf_files())
    repo.private, t.token = True, ""
    t.pull(repo, expect=(4, 5), says=["HF_TOKEN", "private"])


@case("a private repository with a wrong token")
def private_wrong(t):
    repo = t.repo(hf_files())
    repo.private, t.token = True, "hf_wrong0123456789abcdef"
    t.secrets.append(t.token)
    t.pull(repo, expect=(4, 5), says=["token"])


@case("a private repository with the token")
def private_open(t):
    repo = t.gguf_repo()
    repo.private = True
    t.pull(repo)
    t.whole(repo)


@case("a renamed repository")
def renamed(t):
    repo = t.gguf_repo(name="new-name")
    old = t.repo({}, name="old-name")
    old.moved = repo.name
    t.pull(old)
    found = [r for r in (old, repo) if t.folder(r).is_dir()]
    assert found, "nothing in the cache"
    for r in found:
        assert (t.folder(r) / "snapshots" / repo.head / GGUF).exists(), t.folder(r)


@case("a repository that is missing")
def missing_repo(t):
    t.pull(f"{t.org}/nothing", expect=4, says=[f"{t.org}/nothing"])
    t.pull("nothing-at-all-here", expect=4, says=["nothing-at-all-here"])


@case("a repository that is missing, without a token")
def missing_repo_anonymous(t):
    t.token = ""
    t.pull(f"{t.org}/nothing", expect=(4, 5), says=[f"{t.org}/nothing", "HF_TOKEN"])


@case("a revision that is missing")
def missing_revision(t):
    repo = t.gguf_repo()
    t.pull(f"hf://{repo.name}@v99", expect=4, says=["v99"])


@case("a file that is missing")
def missing_file(t):
    repo = t.gguf_repo()
    t.pull(f"hf://{repo.name}/absent.gguf", expect=4, says=["absent.gguf"])


@case("a listed file that is not there")
def listed_missing(t):
    repo = t.repo(hf_files())

    def hook(request, answer):
        if request.kind == "resolve" and request.path == "tokenizer.json":
            answer.json({"error": "Entry not found"}, 404)
            answer.headers["X-Error-Code"] = "EntryNotFound"
    repo.hook = hook
    t.pull(repo, expect=(4, 5), says=["tokenizer.json"])


@case("416 once")
def range_416(t):
    repo = t.gguf_repo(BIG)

    def hook(request, answer):
        if request.kind == "cdn" and request.method == "GET":
            if request.count == 1:
                answer.cut_after = 1_000_000
            elif request.count == 2:
                answer.set(416, Content_Range=f"bytes */{BIG}")
    repo.hook = hook
    t.pull(repo)
    t.whole(repo)


@case("416 for ever")
def range_416_always(t):
    repo = t.gguf_repo(BIG)
    repo.hook = always("cdn", say(416))
    t.pull(repo, expect=5, says=[GGUF])
    healed(t, repo)


def limited(t, least_s, **headers):
    repo = t.gguf_repo()
    repo.hook = lambda request, answer: say(429, "slow down", **{n: v() if callable(v) else v for n, v in headers.items()})(answer) \
        if request.count == 1 and request.kind in ("info", "cdn") else None
    t.pull(repo)
    t.whole(repo)
    for kind in ("info", "cdn"):
        times = [r.time for r in t.hub.requests(repo, kind)][:2]
        assert times[1] - times[0] >= least_s, f"asked again after {times[1] - times[0]:.2f} s"


@case("429 with Retry-After in seconds")
def limited_seconds(t):
    limited(t, 2, Retry_After=2)


@case("429 with Retry-After as a date")
def limited_date(t):
    # The date has whole seconds: three seconds ahead are at least two.
    limited(t, 1, Retry_After=lambda: email.utils.formatdate(time.time() + 3, usegmt=True))


@case("429 with a RateLimit header")
def limited_header(t):
    limited(t, 2, RateLimit='"api";r=0;t=2')


@case("429 with a wait of a day")
def limited_day(t):
    repo = t.gguf_repo()
    repo.hook = lambda request, answer: say(429, "slow down", Retry_After=86400)(answer)
    done = t.pull(repo, expect=5, says=["429|rate|too many"])
    assert done.seconds < 60


@case("429 with a rubbish Retry-After")
def limited_rubbish(t):
    for i, text in enumerate(("-5", "99999999999999999999", "soon", "")):
        repo = t.gguf_repo(name=f"model{i}")
        repo.hook = lambda request, answer, text=text: say(429, Retry_After=text)(answer) \
            if request.kind == "info" and request.count == 1 else None
        t.pull(repo, expect=(0, 5))


def once(status):
    @case(f"{status} once, then fine")
    def run(t):
        repo = t.gguf_repo()
        repo.hook = lambda request, answer: say(status, "trouble")(answer) if request.count == 1 else None
        t.pull(repo)
        t.whole(repo)


for code in (408, 500, 502, 503, 504):
    once(code)


@case("500 for ever from the listing")
def broken_listing(t):
    repo = t.gguf_repo()
    repo.hook = lambda request, answer: say(500, "trouble")(answer)
    t.pull(repo, expect=5, says=["500"])


@case("503 for ever from the other host")
def broken_file(t):
    repo = t.gguf_repo()
    repo.hook = always("cdn", say(503, "trouble"))
    t.pull(repo, expect=5, says=["503", GGUF])
    healed(t, repo)


@case("a page instead of a listing")
def page(t):
    repo = t.gguf_repo()
    repo.hook = lambda request, answer: say(200, "<html>Please log in to this network</html>", Content_Type="text/html")(answer) \
        if request.kind in ("info", "tree") else None
    t.pull(repo, expect=5, says=["127.0.0.1"])


@case("a page instead of a file")
def page_file(t):
    repo = t.gguf_repo()
    repo.hook = always("cdn", say(200, "<html>Please log in to this network</html>", Content_Type="text/html"))
    t.pull(repo, expect=5, says=[GGUF])


@case("a page instead of everything")
def page_all(t):
    repo = t.repo(hf_files())
    repo.hook = lambda request, answer: say(200, "<html>Please log in</html>", Content_Type="text/html")(answer)
    t.pull(repo, expect=5)


@case("nonsense instead of HTTP")
def nonsense(t):
    repo = t.gguf_repo()

    def hook(request, answer):
        answer.status = 99999
        answer.headers["Content-Length"] = "-1"
    repo.hook = hook
    t.pull(repo, expect=5)


@case("error messages of the hub cannot draw on the terminal")
def escapes(t):
    repo = t.gguf_repo()
    repo.hook = lambda request, answer: (say(403, '{"error": "\\u001b[31mred\\u001b[0m"}')(answer),
                                         answer.headers.update({"X-Error-Message": "\x1b]0;title\x07 red \x1b[2J"}))
    done = t.pull(repo, expect=5)
    assert "\x1b" not in done.err and "\x07" not in done.err
