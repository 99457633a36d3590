#!/usr/bin/env python3
"""Plays onecopy's server for its web page: OpenAI's streaming format, slow answers, failures, a machine of any size.

    tests/serve/web/mock_server.py [--port 8080] [--ranks 24] [--hosts 2]      then open http://127.0.0.1:8080/

What the last message says chooses the answer: "mock: NAME" with a name of ANSWERS or FAILURES below, or "mock: echo TEXT";
anything else gets a few words. What was asked is kept in Mock.requests. Formats: developers.openai.com/api/reference (chat
completions, chunk object, error object) and the HTML standard's server-sent events.
"""

import argparse
import contextlib
import http.server
import json
import math
import os
import socket
import threading
import time

WEB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../runtime/serve/web")
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'")
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".svg": "image/svg+xml"}

ATTACK = """<script>window.hit=1</script> <img src=x onerror="window.hit=2"> <svg onload="window.hit=3">

[one](javascript:window.hit=4) [two](JaVaScRiPt:window.hit=5) [three](data:text/html,<script>window.hit=6</script>)
[four](java&#115;cript:window.hit=7) <javascript:window.hit=8> ![five](https://attacker.example/pixel.png)
[six](https://attacker.example/" onmouseover="window.hit=9) [seven](//attacker.example) [eight](\\x01javascript:window.hit=10)

```"><img src=x onerror=window.hit=11>
</code></pre><script>window.hit=12</script>
```

| <img src=x onerror=window.hit=13> | b |
|---|---|
| <iframe srcdoc="<script>parent.hit=14</script>"> | <style>*{display:none}</style> |
"""
RICH = """# NUMA in short

A server of two sockets may show **24 nodes**; each has its *own* memory, and `move_pages` says where a page lies.

1. Cut every tensor:
   - experts by 32 columns
   - attention by heads
2. Bind each rank, then ~~hope~~ check.

| model | one copy | copies on 24 nodes |
|:--|--:|--:|
| DeepSeek-V3 | 414 GB | 9.9 TB |
| gpt-oss-120b | 63 GB | 1.5 TB |

> Remote memory is memory, too. See [the kernel's page](https://docs.kernel.org/mm/numa.html).

```cpp
for (int rank = 0; rank < num_ranks; ++rank) {
  partial[rank] = Dot(shard[rank], x);  // each from its own node's memory
}
```

So the sum of all ranks' bytes is **one** model."""

# name: (pieces of reasoning, pieces of content, seconds between pieces)
ANSWERS = {
    "rich": ([], [RICH[i:i + 7] for i in range(0, len(RICH), 7)], 0.004),
    "slow": ([], [f"word{i} " for i in range(400)], 0.05),
    "steady": ([], ["A ", "word ", "at ", "a ", "time."], 0.5),
    "think": (["First ", "I weigh ", "the matter."], ["The answer ", "is 42."], 0.05),
    "attack": ([], [ATTACK[i:i + 5] for i in range(0, len(ATTACK), 5)], 0.0),
    "long": ([], ["A paragraph that is somewhat longer than a line of the page, so that it wraps. " * 4 + "\n\n"] * 30, 0.0),
}
# name: (status, message, headers); answered in place of a stream.
FAILURES = {
    "429": (429, "16 requests wait already, as many as this server takes.", {"Retry-After": "2"}),
    "503": (503, "The model is being loaded.", {"Retry-After": "2"}),
    "503 late": (503, "The server is draining.", {"Retry-After": "3600"}),
    "500": (500, "Rank 3 on host epyc2 has died.", {}),
    "400": (400, "this model's maximum context length is 4096 tokens, and the prompt has 5000; shorten it", {}),
}


class Mock:
    """A running server; also a context manager. `key`: the API key asked for, or None. `failures_left`: how often a
    prompt that fails does so before it gets an answer (None: always)."""

    def __init__(self, port=0, ranks=2, hosts=1, key=None):
        self.num_ranks, self.num_hosts, self.key = ranks, hosts, key
        self.state, self.failures_left, self.requests, self.running, self.cancelled = "ready", None, [], 0, 0
        self.machine_polls, self.machine_extra, self.start = 0, {}, time.monotonic()
        self.connections = set()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (Handler,), {"mock": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def machine(self):
        t = time.monotonic() - self.start
        beat = 0.5 + 0.5 * math.sin(t / 3)
        ranks = []
        for i in range(self.num_ranks):
            host = i * self.num_hosts // self.num_ranks
            first = min(r for r in range(self.num_ranks) if r * self.num_hosts // self.num_ranks == host)
            shard = round(414e9 / self.num_ranks) + (-1) ** i * 150_000_000
            ranks.append({"rank": i, "host": f"epyc{host + 1}", "node": i - first, "threads": 8, "weight_bytes": shard,
                          "replicated_bytes": 3_400_000, "kv_bytes": 1_210_000_000, "state_bytes": 0, "pages_on_node": 0.99996,
                          "wait_share": 0.03 + 0.04 * ((i * 7) % 5) / 5 + 0.02 * beat,
                          "bytes_per_second": (33 + 4 * math.sin(i * 2.4 + t / 2)) * 1e9 * (0.6 + 0.4 * beat)})
        return {"model": "DeepSeek-V3-Q4_K_M", "kernels": "avx512", "state": self.state, "copies_in_memory": 1.0,
                "weight_bytes": 414_000_000_000, "uptime_seconds": 93_784 + t, "tokens_per_second": 24 + 9 * beat + 2 * math.sin(t * 2.1),
                "prompt_tokens_per_second": 118.0, "running": 3, "waiting": 1, "kv_tokens": 131_072, "kv_tokens_used": 53_740,
                "cached_tokens": 20_480, "ranks": ranks, **self.machine_extra}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    mock = None

    def setup(self):
        super().setup()
        self.mock.connections.add(self.connection)

    def finish(self):
        self.mock.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/" or path.startswith("/web/"):
            self.send_file("index.html" if path == "/" else path[5:])
        elif not self.allowed():
            return
        elif path == "/v1/models":
            self.send_json(200, {"object": "list", "data": [{"id": "DeepSeek-V3-Q4_K_M", "object": "model", "created": 0, "owned_by": "onecopy"}]})
        elif path == "/api/machine":
            self.mock.machine_polls += 1
            self.send_json(200, self.mock.machine())
        else:
            self.send_error_object(404, f"There is no {path} here.", {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        if self.path != "/v1/chat/completions":
            self.send_error_object(404, f"There is no {self.path} here.", {})
            return
        self.mock.requests.append(body)
        said = body["messages"][-1]["content"]
        name = said[6:].strip() if said.startswith("mock: ") else ""
        if name in FAILURES and self.mock.failures_left != 0:
            if self.mock.failures_left:
                self.mock.failures_left -= 1
            self.send_error_object(*FAILURES[name])
            return
        self.mock.running += 1
        try:
            self.stream(body, name)
        except (BrokenPipeError, ConnectionResetError):
            self.mock.cancelled += 1
            self.close_connection = True
        finally:
            self.mock.running -= 1

    def stream(self, body, name):
        if name.startswith("echo "):
            reasoning, content, pause = [], [name[5:]], 0.0
        else:
            reasoning, content, pause = ANSWERS.get(name, ([], ["These ", "are ", "a few ", "words."], 0.02))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": int(time.time()), "model": body["model"]}

        def choice(delta, finish=None):
            self.event({**common, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]})

        choice({"role": "assistant", "content": ""})
        time.sleep(0.05)
        if name.startswith("break"):
            choice({"content": "It begins well, "})
            if name == "break":
                self.close_connection = True  # without the last chunk: the client sees a connection cut off
                self.connection.close()
                return
            if name == "break frame":
                self.event({"error": {"message": "Rank 3 on host epyc2 has died.", "type": "server_error", "param": None, "code": "rank_lost"}})
            self.chunk(b"")  # "break quietly": an end without a finish reason
            return
        self.chunk(b": keep-alive\n\n")
        for field, pieces in (("reasoning_content", reasoning), ("content", content)):
            for piece in pieces:
                choice({field: piece})
                time.sleep(pause)
        limit = body.get("max_tokens")
        choice({}, "length" if limit and limit < len(content) else "stop")
        if body.get("stream_options", {}).get("include_usage"):
            count = len(reasoning) + len(content)
            self.event({**common, "choices": [], "usage": {
                "prompt_tokens": 1024, "completion_tokens": count, "total_tokens": 1024 + count,
                "prompt_tokens_details": {"cached_tokens": 960}}})
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def event(self, value):
        data = b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"
        middle = len(data) // 2  # events do not keep to packets, nor characters
        self.chunk(data[:middle])
        self.chunk(data[middle:])

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def allowed(self):
        if self.mock.key is None or self.headers.get("Authorization") == f"Bearer {self.mock.key}":
            return True
        self.send_error_object(401, "Incorrect API key provided.", {"WWW-Authenticate": "Bearer"})
        return False

    def send_error_object(self, status, message, headers):
        kind = "server_error" if status >= 500 else "invalid_request_error"
        self.send_json(status, {"error": {"message": message, "type": kind, "param": None, "code": None}}, headers)

    def send_json(self, status, value, headers=None):
        self.send_bytes(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send_file(self, name):
        kind = TYPES.get(os.path.splitext(name)[1])
        if kind is None or os.path.basename(name) != name or not os.path.exists(f"{WEB}/{name}"):
            self.send_error_object(404, f"There is no {name} here.", {})
            return
        with open(f"{WEB}/{name}", "rb") as f:
            self.send_bytes(200, f.read(), {"Content-Type": kind, "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})

    def send_bytes(self, status, data, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--key")
    options = parser.parse_args()
    with Mock(options.port, options.ranks, options.hosts, options.key) as mock:
        print(mock.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
