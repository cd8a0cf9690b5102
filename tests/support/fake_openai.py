#!/usr/bin/env python3
"""A small OpenAI-compatible server with chosen faults, for tests of the http driver. Prints its port, then serves.

usage: fake_openai.py MODE
  ok        takes ids, one token a chunk, usage at the end
  text      refuses ids with 400, takes text
  plain     refuses ids and unknown fields, counts nothing
  pairs     two tokens a chunk
  short     stops after five tokens
  html      answers with a page
  error     an error object in mid-stream
  cut       drops the connection in mid-stream
  stall     sends one token, then nothing for a minute
  redirect  sends everyone elsewhere
"""
import http.server
import json
import sys
import time

MODE = sys.argv[1] if len(sys.argv) > 1 else "ok"
TOKEN_S = 0.02
PREFILL_S = 0.1


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, code, body, kind="application/json", location=None):
        data = body.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if MODE == "redirect":
            self.answer(307, "", location="http://elsewhere.example/v1/models")
        else:
            self.answer(200, json.dumps({"data": [{"id": "fake-model"}]}))

    def event(self, doc):
        self.wfile.write(b"data: " + json.dumps(doc).encode() + b"\n\n")
        self.wfile.flush()

    def refusal(self, request):
        if MODE in ("text", "plain") and not isinstance(request["prompt"], str):
            return "prompt must be a string"
        if MODE == "plain" and "cache_prompt" in request:
            return "unknown field cache_prompt"
        return None

    def stream(self, n):
        step = 2 if MODE == "pairs" else 1
        for i in range(0, n, step):
            time.sleep(TOKEN_S * step)
            if MODE == "error" and i == 3:
                self.event({"error": {"message": "the fake slot is gone"}})
                return
            if MODE == "cut" and i == 3:
                return
            text = "".join(" w%d" % k for k in range(i, min(i + step, n)))
            self.event({"choices": [{"text": text, "finish_reason": None}]})
            if MODE == "stall":
                time.sleep(60)
        self.event({"choices": [{"text": "", "finish_reason": "stop" if MODE == "short" else "length"}]})
        if MODE != "plain":
            self.event({"choices": [], "usage": {"prompt_tokens": 6, "completion_tokens": n}})
        self.wfile.write(b"data: [DONE]\n\n")

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        refusal = self.refusal(request)
        if refusal:
            self.answer(400, json.dumps({"error": {"message": refusal}}))
            return
        if MODE == "html":
            self.answer(200, "<html>Welcome</html>", "text/html")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.event({"choices": [{"text": ""}]})  # an empty first chunk, as several servers send
        time.sleep(PREFILL_S)
        self.stream(5 if MODE == "short" else request["max_tokens"])


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
