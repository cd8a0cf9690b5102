#!/usr/bin/env python3
"""A Hugging Face hub for tests: its API routes, its redirects to another host, its headers, and any misbehaviour.

As a module: `hub = Hub()`, `repo = hub.repo("org/name", {"config.json": b"{}"})`, and `repo.hook = function(request, answer)`
to change answers before they are sent. Every request is in `hub.log`.
As a program: fake_hub.py FOLDER serves FOLDER/ORG/NAME/… as repositories; it prints its address and serves until killed.

The files of a repository that are kept as LFS (by their endings) are served by a second listener under another host name, as
the real hub does, behind signed addresses. Only Python's own library is used.
"""
import hashlib
import http.server
import json
import os
import pathlib
import random
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
import urllib.parse

LFS_ENDINGS = (".safetensors", ".gguf", ".bin", ".pth", ".model", ".onnx")
PIECE_BYTES = 256 << 10
SEND_BUFFER_BYTES = 128 << 10
PAGE = 1000
REASONS = {200: "OK", 206: "Partial Content", 301: "Moved Permanently", 302: "Found", 307: "Temporary Redirect",
           308: "Permanent Redirect", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
           416: "Range Not Satisfiable", 429: "Too Many Requests", 500: "Internal Server Error"}


def noise(seed, size):
    """Bytes that compress badly and are the same every time."""
    return random.Random(seed).randbytes(size)


class Bytes:
    def __init__(self, data):
        self.data = memoryview(data)
        self.size = len(data)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.git_sha1 = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        self.md5 = hashlib.md5(data).hexdigest()

    def read(self, start, n):
        return self.data[start:start + n]


class Disk:
    """A file on the disk, for what is larger than memory."""

    def __init__(self, path):
        self.path = path
        self.size = os.path.getsize(path)
        sha256, sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % self.size)
        with open(path, "rb") as f:
            while data := f.read(1 << 20):
                sha256.update(data)
                sha1.update(data)
        self.sha256, self.git_sha1, self.md5 = sha256.hexdigest(), sha1.hexdigest(), sha256.hexdigest()[:32]

    def read(self, start, n):
        with open(self.path, "rb") as f:
            f.seek(start)
            return f.read(n)


class Zeros:
    """Zeros and at the end a few bytes of data; its checksum is given, since nobody wants to wait for it."""

    def __init__(self, size, tail, sha256):
        self.size, self.tail, self.sha256 = size, tail, sha256
        self.git_sha1, self.md5 = "0" * 40, "0" * 32

    def read(self, start, n):
        n = min(n, self.size - start)
        at = self.size - len(self.tail)
        if start + n <= at:
            return bytes(n)
        head = max(0, at - start)
        return bytes(head) + self.tail[start + head - at:start + n - at]


class File:
    def __init__(self, path, content, lfs=None):
        self.path = path
        self.content = Bytes(content) if isinstance(content, (bytes, bytearray)) else content
        self.size = self.content.size
        self.lfs = path.endswith(LFS_ENDINGS) if lfs is None else lfs
        self.etag = self.content.sha256 if self.lfs else self.content.git_sha1
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.content.sha256}\nsize {self.size}\n"
        self.pointer_size = len(pointer)
        self.oid = self.content.git_sha1
        if self.lfs:
            self.oid = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer.encode()).hexdigest()

    def entry(self):
        """Its line in the tree route."""
        doc = {"type": "file", "oid": self.oid, "size": self.size, "path": self.path}
        if self.lfs:
            doc["lfs"] = {"oid": self.content.sha256, "size": self.size, "pointerSize": self.pointer_size}
        return doc

    def sibling(self, blobs):
        doc = {"rfilename": self.path}
        if blobs:
            doc.update(size=self.size, blobId=self.oid)
            if self.lfs:
                doc["lfs"] = {"sha256": self.content.sha256, "size": self.size, "pointerSize": self.pointer_size}
        return doc


class Repo:
    """hook(request, answer) may change an answer. gated and private want `hub.token`; moved names another repository."""

    def __init__(self, name):
        self.name = name
        self.commits, self.refs = {}, {}
        self.gated = self.private = False
        self.refuses = ()  # tokens that are known but have no access
        self.moved = None
        self.page = PAGE
        self.hook = None
        self.counts, self.requests = {}, []

    def commit(self, files, ref="main"):
        """A new commit of these files, by path: bytes, a content or a File. Returns its name."""
        made = {path: f if isinstance(f, File) else File(path, f) for path, f in files.items()}
        text = self.name + "".join(f"{path} {f.etag}\n" for path, f in sorted(made.items()))
        name = hashlib.sha1(text.encode(errors="surrogateescape")).hexdigest()
        self.commits[name] = made
        self.refs[ref] = name
        return name

    @property
    def head(self):
        return self.refs["main"]

    def file(self, path):
        return self.commits[self.head][path]

    def find(self, rev):
        return rev if rev in self.commits else self.refs.get(rev)


class Request:
    """One request as the log keeps it. kind: info, tree, refs, resolve, file (a small one), cdn (a large one), other."""

    def __init__(self, host, method, target, headers):
        self.host, self.method, self.target, self.headers = host, method, target, headers
        self.kind, self.repo, self.path, self.count = "other", None, None, 0
        self.status, self.first, self.sent = 0, 0, 0  # first: offset in the file of the first byte sent
        self.time = time.monotonic()

    def range(self):
        """(first, last or None) of its Range header, or None."""
        text = self.headers.get("range", "")
        if not text.startswith("bytes=") or "," in text:
            return None
        first, _, last = text[6:].partition("-")
        return (int(first), int(last) if last else None) if first.isdigit() else None


class Answer:
    """What is sent. The faults: cut_after, reset_after, stall_after (bytes of the body), rate (bytes a second), corrupt (an
    offset in the file whose byte is wrong), no_answer (the connection ends at once)."""

    def __init__(self, status=200, headers=None, body=b""):
        self.status, self.headers, self.body = status, dict(headers or {}), body
        self.content, self.start, self.end = None, 0, 0
        self.cut_after = self.reset_after = self.stall_after = self.rate = self.corrupt = None
        self.no_answer = self.chunked = False
        self.stall_s = 30.0

    def set(self, status, body=b"", **headers):
        """Another answer altogether."""
        self.status, self.content = status, None
        self.body = body if isinstance(body, bytes) else str(body).encode()
        self.headers = {name.replace("_", "-"): str(value) for name, value in headers.items()}

    def json(self, doc, status=200):
        self.set(status, json.dumps(doc), Content_Type="application/json; charset=utf-8")

    def serve(self, content, wanted, ranges=True):
        """The bytes of a content, or those that the request wants."""
        self.content, self.body = content, b""
        self.status, self.start, self.end = 200, 0, content.size
        if ranges:
            self.headers["Accept-Ranges"] = "bytes"
        if not ranges or wanted is None:
            return
        first, last = wanted
        if first >= content.size:
            self.set(416, Content_Range=f"bytes */{content.size}")
            return
        self.status = 206
        self.start, self.end = first, content.size if last is None else min(last + 1, content.size)
        self.label(first)

    def label(self, first):
        """Content-Range, as if the bytes began at `first`."""
        self.headers["Content-Range"] = f"bytes {first}-{first + self.end - self.start - 1}/{self.content.size}"

    def whole(self):
        """All of the file, though a range was asked for."""
        self.headers.pop("Content-Range", None)
        self.headers.pop("Accept-Ranges", None)
        self.status, self.start, self.end = 200, 0, self.content.size

    def length(self):
        return self.end - self.start if self.content else len(self.body)

    def pieces(self, limit):
        """The body, at most `limit` bytes of it."""
        step = PIECE_BYTES if self.rate is None else max(1, min(PIECE_BYTES, self.rate // 20))
        at, end = self.start, min(self.end, self.start + limit)
        if not self.content:
            at, end = 0, min(len(self.body), limit)
        while at < end:
            n = min(step, end - at)
            data = self.content.read(at, n) if self.content else self.body[at:at + n]
            if self.corrupt is not None and at <= self.corrupt < at + n:
                data = bytearray(data)
                data[self.corrupt - at] ^= 0x40
            yield data
            at += n


class Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, hub, host):
        self.hub, self.host = hub, host
        super().__init__(("127.0.0.1", 0), Handler)
        # What is sent and not yet received counts as sent in the log: little of it.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def do_GET(self):
        hub = self.server.hub
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.server.host, self.command, self.path, headers)
        request.body = self.rfile.read(int(headers.get("content-length", 0)))
        with hub.lock:
            hub.log.append(request)
        self.send(request, hub.answer(request))

    do_HEAD = do_POST = do_GET

    def end(self, reset):
        """Close the connection: politely, or with a reset."""
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            self.connection.shutdown(socket.SHUT_RDWR) if not reset else self.connection.close()
        except OSError:
            pass

    def send(self, request, answer):
        if answer.no_answer:
            self.end(reset=answer.reset_after is not None)
            return
        request.status, request.first = answer.status, answer.start
        headers = dict(answer.headers)
        if answer.chunked:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers.setdefault("Content-Length", str(answer.length()))
        lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Something')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if request.method != "HEAD":
            self.send_body(request, answer)
        if headers.get("Content-Length", "") != str(answer.length()) and not answer.chunked:
            self.end(reset=False)

    def send_body(self, request, answer):
        stops = [n for n in (answer.cut_after, answer.reset_after, answer.stall_after) if n is not None]
        for data in answer.pieces(min(stops, default=answer.length())):
            if answer.chunked:
                data = b"%x\r\n" % len(data) + bytes(data) + b"\r\n"
            # Counted first: the client may be done with them before this thread goes on.
            request.sent += len(data)
            try:
                self.connection.sendall(data)
            except OSError:
                request.sent -= len(data)
                raise
            if answer.rate:
                if self.server.hub.ended.wait(len(data) / answer.rate):
                    break
        if answer.stall_after is not None:
            self.server.hub.ended.wait(answer.stall_s)
        if stops:
            self.end(reset=answer.reset_after is not None)
        elif answer.chunked:
            self.connection.sendall(b"0\r\n\r\n")


class Hub:
    """url is the endpoint, other_url the host of the large files. token is the one that is let in. certificate (a PEM file with
    its key) makes both speak TLS."""

    def __init__(self, token="hf_canary0123456789abcdefghijklmnop", certificate=None):
        self.token = token
        self.repos, self.log = {}, []
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.listeners = [Listener(self, "hub"), Listener(self, "cdn")]
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self.listeners[0].server_address[1]}"
        self.other_url = f"{scheme}://localhost:{self.listeners[1].server_address[1]}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            for listener in self.listeners:
                # The handshake comes with the first read, in the connection's own thread.
                listener.socket = context.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
        self.n_signed = 0
        for listener in self.listeners:
            threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.ended.set()
        for listener in self.listeners:
            listener.shutdown()
            listener.server_close()

    def repo(self, name, files=None):
        repo = Repo(name)
        if files is not None:
            repo.commit(files)
        self.repos[name] = repo
        return repo

    def requests(self, repo, kind=None, method=None):
        """The log's requests of a repository."""
        with self.lock:
            return [r for r in repo.requests if kind in (None, r.kind) and method in (None, r.method)]

    def sent(self, repo):
        """Bytes of files that were sent."""
        return sum(r.sent for r in self.requests(repo) if r.kind in ("file", "cdn"))

    def answer(self, request):
        """Route, answer, and let the repository's hook change it."""
        answer = Answer()
        target = urllib.parse.urlsplit(request.target)
        parts = target.path.strip("/").split("/")
        query = dict(urllib.parse.parse_qsl(target.query, keep_blank_values=True))
        if request.host == "cdn":
            self.cdn(request, answer, parts)
        elif parts == ["api", "whoami-v2"]:
            if self.authorized(request):
                answer.json({"type": "user", "id": "1", "name": "tester", "auth": {"type": "access_token"}, "orgs": []})
            else:
                answer.json({"error": "Invalid credentials in Authorization header"}, 401)
        elif parts[:3] == ["api", "resolve-cache", "models"]:
            self.small_file(request, answer, parts[3:])
        elif parts[:2] == ["api", "models"]:
            self.api(request, answer, parts[2:], query)
        else:
            self.resolve(request, answer, parts)
        with self.lock:
            if request.repo:
                key = (request.kind, request.path)
                request.repo.requests.append(request)
                request.count = request.repo.counts[key] = request.repo.counts.get(key, 0) + 1
        if request.repo and request.repo.hook:
            request.repo.hook(request, answer)
        return answer

    def authorized(self, request):
        return request.headers.get("authorization") == f"Bearer {self.token}"

    def error(self, answer, status, code, message):
        answer.json({"error": message}, status)
        answer.headers.update({"X-Error-Code": code, "X-Error-Message": message} if code else {})

    def find_repo(self, request, answer, parts):
        """The repository that the parts begin with and the parts behind it; answers itself when there is none for this client."""
        for n in (2, 1):
            repo = self.repos.get("/".join(urllib.parse.unquote(p) for p in parts[:n]))
            if repo and len(parts) >= n:
                request.repo = repo
                break
        else:
            repo = None
        if repo is None or (repo.private and not self.authorized(request)):
            # Whether it exists is nobody's business.
            if self.authorized(request):
                self.error(answer, 404, "RepoNotFound", "Repository not found")
            else:
                self.error(answer, 401, "RepoNotFound", "Invalid username or password.")
            return None, []
        return repo, parts[n:]

    def find_commit(self, repo, answer, rev):
        commit = repo.find(urllib.parse.unquote(rev))
        if commit is None:
            self.error(answer, 404, "RevisionNotFound", f"Invalid rev id: {urllib.parse.unquote(rev)}")
        return commit

    def redirected(self, repo, answer, request):
        """Renamed repositories send to the new name."""
        if not repo.moved:
            return False
        old, new = urllib.parse.quote(repo.name), urllib.parse.quote(repo.moved)
        answer.set(307, Location=request.target.replace(old, new, 1))
        return True

    def api(self, request, answer, parts, query):
        repo, rest = self.find_repo(request, answer, parts)
        if repo is None:
            return
        request.kind = {"tree": "tree", "refs": "refs", "paths-info": "tree"}.get(rest[0] if rest else "", "info")
        if self.redirected(repo, answer, request):
            return
        if rest[:1] == ["refs"]:
            branches = [{"name": r, "ref": f"refs/heads/{r}", "targetCommit": c} for r, c in repo.refs.items()]
            answer.json({"branches": branches, "tags": [], "converts": [], "pullRequests": []})
            return
        if rest and rest[0] not in ("revision", "tree", "paths-info"):
            self.error(answer, 404, None, "Sorry, we can't find the page you are looking for.")
            return
        commit = self.find_commit(repo, answer, rest[1] if len(rest) > 1 else "main")
        if commit is None:
            return
        files = repo.commits[commit]
        if request.kind == "tree":
            self.tree(request, answer, repo, commit, "/".join(map(urllib.parse.unquote, rest[2:])), query)
            return
        answer.json({"_id": "1", "id": repo.name, "modelId": repo.name, "sha": commit, "private": repo.private,
                     "gated": repo.gated, "disabled": False, "downloads": 1, "likes": 1, "tags": [],
                     "lastModified": "2026-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z",
                     "siblings": [f.sibling("blobs" in query) for f in files.values()]})

    def tree(self, request, answer, repo, commit, folder, query):
        """The listing, a page at a time."""
        files = [f for f in repo.commits[commit].values() if not folder or f.path.startswith(folder + "/")]
        if request.method == "POST":
            fields = urllib.parse.parse_qs(request.body.decode())
            paths = fields.get("paths") or json.loads(request.body).get("paths", [])
            answer.json([f.entry() for f in files if f.path in paths])
            return
        entries, folders = [], set()
        for f in files:
            inner = f.path[len(folder) + 1 if folder else 0:]
            for i in [i for i, c in enumerate(inner) if c == "/"]:
                path = f.path[:len(f.path) - len(inner) + i]
                if path not in folders and (query.get("recursive", "").lower() == "true" or i == inner.index("/")):
                    folders.add(path)
                    entries.append({"type": "directory", "oid": "0" * 40, "size": 0, "path": path})
            if query.get("recursive", "").lower() == "true" or "/" not in inner:
                entries.append(f.entry())
        at, limit = int(query.get("cursor", 0)), min(int(query.get("limit", repo.page)), repo.page)
        answer.json(entries[at:at + limit])
        if at + limit < len(entries):
            query["cursor"] = str(at + limit)
            address = self.url + request.target.split("?")[0] + "?" + urllib.parse.urlencode(query)
            answer.headers["Link"] = f'<{address}>; rel="next"'

    def find_file(self, request, answer, repo, rev, path):
        commit = self.find_commit(repo, answer, rev)
        if commit is None:
            return None, None
        answer.headers["X-Repo-Commit"] = commit
        if repo.gated and (not self.authorized(request) or self.token in repo.refuses):
            status = 403 if "authorization" in request.headers else 401
            self.error(answer, status, "GatedRepo",
                       f"Access to model {repo.name} is restricted and you are not in the authorized list. "
                       f"Visit {self.url}/{repo.name} to ask for access.")
            return None, None
        file = repo.commits[commit].get(path)
        if file is None:
            self.error(answer, 404, "EntryNotFound", "Entry not found")
            answer.headers["X-Repo-Commit"] = commit
        return commit, file

    def resolve(self, request, answer, parts):
        repo, rest = self.find_repo(request, answer, parts)
        if repo is None:
            return
        if len(rest) < 3 or rest[0] not in ("resolve", "raw"):
            answer.set(200, "<!doctype html><html>A page</html>", Content_Type="text/html")
            return
        request.kind, request.path = "resolve", "/".join(map(urllib.parse.unquote, rest[2:]))
        if self.redirected(repo, answer, request):
            return
        commit, file = self.find_file(request, answer, repo, rest[1], request.path)
        if file is None:
            return
        answer.headers.update({"X-Linked-Size": str(file.size), "X-Linked-ETag": f'"{file.etag}"', "ETag": f'"{file.etag}"'})
        if file.lfs:
            with self.lock:
                self.n_signed += 1
                signed = self.n_signed
            name = urllib.parse.quote(file.path, safe="")
            answer.status = 302
            answer.headers["Location"] = (f"{self.other_url}/{repo.name}/{commit}/{name}"
                                          f"?X-Amz-Expires=3600&X-Amz-Signature={signed:08x}")
            answer.body = b"Found. Redirecting"
        else:
            answer.status = 307
            answer.headers["Location"] = f"/api/resolve-cache/models/{repo.name}/{commit}/" + "/".join(rest[2:])
            answer.body = b"Temporary Redirect"

    def small_file(self, request, answer, parts):
        repo, rest = self.find_repo(request, answer, parts)
        if repo is None:
            return
        request.kind, request.path = "file", "/".join(map(urllib.parse.unquote, rest[1:]))
        _, file = self.find_file(request, answer, repo, rest[0], request.path)
        if file:
            answer.headers.update({"ETag": f'"{file.etag}"', "Content-Type": "text/plain; charset=utf-8"})
            answer.serve(file.content, request.range())

    def cdn(self, request, answer, parts):
        """The other host: it knows no tokens, only signed addresses."""
        for n in (2, 1):
            repo = self.repos.get("/".join(parts[:n]))
            if repo and len(parts) == n + 2:
                break
        else:
            answer.set(404, "no such blob")
            return
        request.repo, request.kind, request.path = repo, "cdn", urllib.parse.unquote(parts[-1])
        file = repo.commits.get(parts[-2], {}).get(request.path)
        if "authorization" in request.headers:
            answer.set(400, "<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>")
        elif file is None or "X-Amz-Signature" not in request.target:
            answer.set(403, "<Error><Code>AccessDenied</Code></Error>")
        else:
            answer.headers.update({"ETag": f'"{file.content.md5}-12"', "Content-Type": "application/octet-stream"})
            answer.serve(file.content, request.range())


def main():
    folder, hub = pathlib.Path(sys.argv[1]), Hub()
    for path in sorted(p for p in folder.glob("*/*") if p.is_dir()):
        files = {str(f.relative_to(path)): Disk(f) for f in sorted(path.rglob("*")) if f.is_file()}
        hub.repo(f"{path.parent.name}/{path.name}", files)
    print(hub.url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
