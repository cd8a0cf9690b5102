"""The worker's side of the driver protocol (docs/driver-protocol.md) for drivers written in Python.

A driver subclasses Engine and calls serve(). stdout belongs to the protocol: before anything else is imported by the
driver, file descriptor 1 is pointed at stderr, so that a library that prints cannot break it.
"""
import json
import os
import random
import sys
import threading
import time

PROTOCOL = "anemo.driver/1"
VERSION = "0.1.0"

_out = os.fdopen(os.dup(1), "wb", buffering=0)
os.dup2(2, 1)


class DriverError(Exception):
    """A request that cannot be served; `status` is one of the protocol's words."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Engine:
    """What a driver supplies. `load` returns (effective settings, model); `generate` yields ids."""

    driver = ""
    engine = ""
    engine_version = ""
    library = None
    formats = []
    capabilities = {}
    devices = None

    def load(self, path, settings):
        raise NotImplementedError

    def generate(self, prompt_ids, n_predict, sampling):
        raise NotImplementedError

    def forward(self, ids, more):
        """One forward pass that appends ids, a batch at most. Without `more` it returns when its logits are there."""
        raise DriverError("unsupported", "step: this engine has no step measurement")

    def rewind(self, n):
        """Shorten the sequence to its first n positions; False when that is not possible. 0 always is."""
        raise DriverError("unsupported", "step: this engine has no step measurement")

    def tokenize(self, text, special):
        raise DriverError("unsupported", "tokenize: this engine has no tokenizer of its own")

    def logits(self, ids):
        """Rows of float32, one per id."""
        raise DriverError("unsupported", "logits: this engine gives none")


def send(message):
    data = (json.dumps(message, separators=(",", ":")) + "\n").encode()
    while data:
        data = data[_out.write(data):]


class _Input:
    """Requests from stdin. A thread reads them, so that a cancel is seen while a request runs."""

    def __init__(self):
        self._lines = []
        self._more = threading.Condition()
        self._ended = False
        self._cancelled = set()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in sys.stdin.buffer:
            if b'"cancel"' in line or b'"quit"' in line:
                try:
                    message = json.loads(line)
                except ValueError:
                    message = {}
                if isinstance(message, dict) and message.get("type") == "cancel":
                    self._cancelled.add(message.get("id"))
                    continue
                if isinstance(message, dict) and message.get("type") == "quit":
                    break
            with self._more:
                self._lines.append(line)
                self._more.notify()
        with self._more:
            self._ended = True
            self._more.notify()

    def next(self):
        """The next request line, or None at the end."""
        with self._more:
            while not self._lines and not self._ended:
                self._more.wait()
            return self._lines.pop(0) if self._lines else None

    def cancelled(self, request_id):
        return self._ended or request_id in self._cancelled


def _number(message, key, kind, low, high):
    value = message.get(key)
    if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
        raise DriverError("inval", f'"{key}" must be a number from {low} to {high}')
    return value


def _ids(message, key):
    ids = message.get(key)
    if not isinstance(ids, list) or not all(type(i) is int and i >= 0 for i in ids):
        raise DriverError("inval", f'"{key}" must be an array of ids')
    if not ids:
        raise DriverError("inval", f'"{key}" is empty')
    return ids


def _load(engine, message):
    path, settings = message.get("model"), message.get("settings") or {}
    if not isinstance(path, str) or not isinstance(settings, dict):
        raise DriverError("inval", 'load: "model" must be a path and "settings" an object')
    if not os.path.exists(path):
        raise DriverError("notfound", f"{path}: no such file or directory")
    begin = time.monotonic()
    effective, model = engine.load(path, settings)
    load_s = time.monotonic() - begin
    engine.n_vocab, engine.step_batch, engine.n_ctx = model["n_vocab"], effective.get("n_batch"), effective.get("n_ctx")
    engine.depth = 0
    return {"type": "loaded", "load_s": load_s, "effective": effective, "model": model}


def _generate(engine, message, source):
    ids = _ids(message, "prompt_ids")
    n_predict = _number(message, "n_predict", int, 1, 2**31)
    stop_ids = set() if message.get("fixed_length", True) else set(message.get("stop_ids") or [])
    stream = bool(message.get("stream"))
    sampling = message.get("sampling") or {}
    tokens, times, reason = [], [], "length"
    start = time.monotonic_ns()
    engine.depth = 0
    steps = engine.generate(ids, n_predict, sampling)
    try:
        for token in steps:
            now = time.monotonic_ns()
            tokens.append(int(token))
            times.append(now)
            if stream:
                send({"type": "token", "id": message["id"], "token": int(token), "t_ns": now})
            if token in stop_ids:
                reason = "eos"
                break
            if len(tokens) >= n_predict:
                break
            if source.cancelled(message["id"]):
                reason = "cancelled"
                break
    finally:
        steps.close()
    return {"type": "generated", "token_ids": tokens, "t_start_ns": start, "t_tokens_ns": times, "stop_reason": reason}


class _Steps:
    """Forward passes of one step request; a beat at most once a second, because they may take long."""

    def __init__(self, engine, request_id, source):
        self._engine, self._id, self._source = engine, request_id, source
        self._beat = time.monotonic()
        self.cancelled = False

    def between(self):
        now = time.monotonic()
        if now - self._beat > 1:
            self._beat = now
            send({"type": "heartbeat", "id": self._id})
        self.cancelled = self._source.cancelled(self._id)
        return self.cancelled

    def passes(self, ids):
        batch = self._engine.step_batch or len(ids)
        for at in range(0, len(ids), batch):
            if at and self.between():
                return
            self._engine.forward(ids[at:at + batch], at + batch < len(ids))


def _step(engine, message, source):
    n_prompt, n_gen, n_depth = (_number(message, key, int, 0, 2**28) if key in message else 0
                                for key in ("n_prompt", "n_gen", "n_depth"))
    if n_prompt + n_gen < 1:
        raise DriverError("inval", 'step: "n_prompt" and "n_gen" are both 0; there is nothing to time')
    if engine.n_ctx and n_depth + n_prompt + n_gen > engine.n_ctx:
        raise DriverError(
            "inval", f"step: {n_depth} + {n_prompt} + {n_gen} tokens do not fit in the context of {engine.n_ctx}")
    if not engine.n_vocab:
        raise DriverError("unsupported", "step: the model does not say how many ids it has")
    draw = random.Random(message.get("seed") or 0)
    steps = _Steps(engine, message["id"], source)
    kept, engine.depth = engine.depth, 0
    if not (n_depth and kept >= n_depth and engine.rewind(n_depth)):
        engine.rewind(0)
        steps.passes([draw.randrange(engine.n_vocab) for _ in range(n_depth)])
    ids = [draw.randrange(engine.n_vocab) for _ in range(n_prompt + n_gen)]
    times = []
    start = time.monotonic_ns()
    if n_prompt and not steps.cancelled:
        steps.passes(ids[:n_prompt])
    prompt = end = time.monotonic_ns()
    for i in range(n_prompt, n_prompt + n_gen):
        if steps.cancelled:
            break
        engine.forward(ids[i:i + 1], False)
        end = time.monotonic_ns()
        times.append(end)
        if len(times) < n_gen:
            steps.between()
    if not steps.cancelled:
        engine.depth = n_depth
    return {"type": "stepped", "t_start_ns": start, "t_prompt_ns": prompt, "t_steps_ns": times, "t_end_ns": end,
            "stop_reason": "cancelled" if steps.cancelled else "length"}


def _logits(engine, message):
    import numpy as np

    engine.depth = 0
    ids, n_vocab = _ids(message, "ids"), _number(message, "n_vocab", int, 1, 2**31)
    rows = np.ascontiguousarray(engine.logits(ids), dtype=np.float32)
    if rows.shape != (len(ids), n_vocab):
        raise DriverError("inval", f"logits: the model has {rows.shape[-1]} columns, {n_vocab} were asked for")
    try:
        with open(message.get("file"), "r+b") as out:
            out.write(rows.tobytes())
    except (OSError, TypeError) as e:
        raise DriverError("io", f"logits: {e}") from e
    return {"type": "logits", "n_tok": len(ids), "n_vocab": n_vocab}


def _answer(engine, message, state, source):
    kind = message.get("type")
    if type(message.get("id")) is not int:
        raise DriverError("inval", '"id" is missing or not an integer')
    if kind == "load":
        if state["loaded"]:
            raise DriverError("inval", "load: this worker holds a model already; start another one")
        answer = _load(engine, message)
        state["loaded"] = True
        return answer
    if kind in ("generate", "step", "tokenize", "logits") and not state["loaded"]:
        raise DriverError("inval", f"{kind}: no model is loaded")
    if kind == "generate":
        return _generate(engine, message, source)
    if kind == "step":
        if not engine.capabilities.get("step"):
            raise DriverError("unsupported", f"{engine.engine} has no step measurement")
        return _step(engine, message, source)
    if kind == "tokenize":
        if not isinstance(message.get("text"), str):
            raise DriverError("inval", 'tokenize: "text" must be a string')
        return {"type": "tokens", "token_ids": engine.tokenize(message["text"], bool(message.get("special")))}
    if kind == "logits":
        return _logits(engine, message)
    raise DriverError("inval", f'request: unknown type "{kind}"')


def serve(engine):
    """Serve stdin and stdout until quit or the end of stdin."""
    source = _Input()
    state = {"loaded": False}
    send({"type": "hello", "protocol": PROTOCOL, "driver": engine.driver, "driver_version": VERSION,
          "engine": engine.engine, "engine_version": engine.engine_version, "library": engine.library,
          "formats": engine.formats, "clock": {"kind": "monotonic", "resolution_ns": 1},
          "capabilities": engine.capabilities,
          "devices": engine.devices or [{"name": "cpu", "kind": "cpu", "description": ""}]})
    while (line := source.next()) is not None:
        request_id = None
        try:
            message = json.loads(line)
            if not isinstance(message, dict):
                raise DriverError("inval", "request: not a JSON object")
            request_id = message.get("id") if type(message.get("id")) is int else None
            answer = _answer(engine, message, state, source)
            answer["id"] = request_id
            send(answer)
        except DriverError as e:
            send({"type": "error", "id": request_id, "status": e.status, "message": str(e)})
        except MemoryError as e:
            send({"type": "error", "id": request_id, "status": "nomem", "message": f"out of memory: {e}"})
        except ValueError as e:
            status = "inval" if isinstance(e, json.JSONDecodeError) else "engine"
            send({"type": "error", "id": request_id, "status": status, "message": str(e)})
        except Exception as e:  # whatever the engine raises is its failure, not ours
            send({"type": "error", "id": request_id, "status": "engine", "message": f"{type(e).__name__}: {e}"})
    # Engines' threads may hang in their own clean-up; nothing of ours is left to do.
    os._exit(0)
