#!/usr/bin/env python3
"""A server at its limit for a long time: more clients than it takes at once, a KV cache too small for them, ranks that are
stopped for a while, clients that vanish. Every answer has to be the one that its request had alone. Prints counts; exit code 1
where an answer was wrong, a request failed, memory grew, or the job left something behind.

    tests/serve/soak.py                       30 minutes, 48 clients, the model that ships, 2 ranks
    tests/serve/soak.py --seconds 10          what ctest runs

Requests are drawn from a list of different ones: chat and text, streamed or not, greedy and sampled by a seed, several answers,
stop words, JSON by a schema, log probabilities. Refusals for want of room (429, 503) are tried again, and counted.
"""

import argparse
import collections
import json
import os
import random
import signal
import statistics
import sys
import threading
import time

sys.dont_write_bytecode = True
from server import Server, pss_bytes

WORDS = ("the miller had three sons and a cat that could speak when nobody listened so they went over the hills to find a king whose "
         "daughter never laughed because a fox had stolen her golden ball").split()
SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
          "required": ["name", "age"], "additionalProperties": False}
RETRY = (429, 503)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", help="default: the one that ships with onecopy")
    parser.add_argument("--seconds", type=float, default=1800, help="default: %(default)s")
    parser.add_argument("--clients", type=int, default=48, help="default: %(default)s")
    parser.add_argument("--ranks", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--requests", type=int, default=150, help="different ones; default: %(default)s")
    parser.add_argument("--growth", type=float, default=0.05,
                        help="of memory that still counts as flat: the most that requests need at once is met ever more rarely; default: %(default)s")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def draw_request(draw):
    """Path and body of a request whose answer is the same each time."""
    text = " ".join(draw.choice(WORDS) for _ in range(draw.choice((2, 8, 40, 120))))
    if draw.random() < 0.3:
        text = " ".join(WORDS * 3) + " " + text  # a beginning in common: pages of the prefix cache
    body = {"max_tokens": draw.choice((1, 8, 40, 150)), "temperature": draw.choice((0, 0, 0.8, 1.5)), "seed": draw.randrange(1000),
            "stream": draw.random() < 0.5}
    kind = draw.randrange(6)
    if kind == 0:
        body["n"] = 3
    elif kind == 1:
        body["stop"] = [" the", "."]
    elif kind == 2:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
    elif kind == 3:
        body["ignore_eos"] = True
    if draw.random() < 0.5:
        if kind == 4:
            body.update(logprobs=True, top_logprobs=3)
        return "/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **body}
    if kind == 4:
        body["logprobs"] = 3
    return "/v1/completions", {"prompt": text, **body}


class Vanished(Exception):
    """The client left on purpose."""


def ask(server, path, body, leave_after=None):
    """Status and what was answered, put together from a stream's parts. leave_after: bytes of the answer after which the client
    goes away; 0: right after asking."""
    connection = server.connect(600)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        if leave_after == 0:
            raise Vanished
        answer = connection.getresponse()
        raw = answer.read(leave_after) if leave_after else answer.read()
        if leave_after:
            raise Vanished
    finally:
        connection.close()
    if answer.status != 200:
        return answer.status, raw.decode()
    if not body["stream"]:
        return 200, [essence(choice) for choice in json.loads(raw)["choices"]]
    choices = collections.defaultdict(lambda: {"text": "", "finish_reason": None, "logprobs": []})
    events = raw.decode().split("\n\n")
    if events[-2:] != ["data: [DONE]", ""]:
        return 0, raw.decode()[-300:]
    for event in events[:-2]:
        part = json.loads(event.removeprefix("data: "))
        if "error" in part:
            return 0, event
        for choice in part["choices"]:
            merge(choices[choice["index"]], choice)
    return 200, [choices[index] for index in sorted(choices)]


def essence(choice):
    """What does not differ between a stream and a whole answer, nor from one time to the next."""
    whole = {"text": "", "finish_reason": None, "logprobs": []}
    merge(whole, choice)
    return whole


def merge(whole, choice):
    part = choice.get("delta", choice.get("message", choice))
    whole["text"] += part.get("content") or part.get("text") or ""
    whole["finish_reason"] = choice.get("finish_reason") or whole["finish_reason"]
    logprobs = choice.get("logprobs") or {}
    whole["logprobs"] += [entry["logprob"] for entry in logprobs.get("content") or []] + (logprobs.get("token_logprobs") or [])


class Soak:
    def __init__(self, server, options):
        self.server, self.options = server, options
        self.counts, self.wrong, self.lock = collections.Counter(), [], threading.Lock()
        self.end, self.pids = 0.0, server.rank_pids()
        draw = random.Random(options.seed)
        self.requests = [draw_request(draw) for _ in range(options.requests)]

    def ask_alone(self):
        self.alone = []
        for path, body in self.requests:
            status, answer = ask(self.server, path, body)
            if status != 200:
                raise RuntimeError(f"{path} {json.dumps(body)} alone: {status} {answer}")
            self.alone.append(answer)

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def fail(self, what):
        with self.lock:
            self.counts["wrong"] += 1
            self.wrong.append(what)

    def stop(self, why):
        self.fail(why)
        self.end = 0.0

    def client(self, number):
        draw = random.Random(1000 * self.options.seed + number)
        while time.monotonic() < self.end:
            index = draw.randrange(len(self.requests))
            path, body = self.requests[index]
            leave_after = draw.choice((0, 1, 100, 2000)) if draw.random() < 0.15 else None
            try:
                status, answer = ask(self.server, path, body, leave_after)
            except Vanished:
                self.count("vanished")
                continue
            except OSError as error:
                self.fail(f"{path} {json.dumps(body)}: {error!r}")
                continue
            if status in RETRY:
                self.count("refused for want of room")
                time.sleep(draw.uniform(0.1, 0.5))
            elif status != 200:
                self.fail(f"{path} {json.dumps(body)}: {status} {answer}")
            elif answer != self.alone[index]:
                self.fail(f"{path} {json.dumps(body)}: {answer}, but alone {self.alone[index]}")
            else:
                self.count("answers as alone")

    def pause_ranks(self):
        """Stops a rank for a time that is no failure yet, every few seconds."""
        draw = random.Random(self.options.seed)
        while time.monotonic() < self.end:
            time.sleep(draw.uniform(1, 6))
            pid = draw.choice(self.pids)
            try:
                os.kill(pid, signal.SIGSTOP)
                time.sleep(draw.choice((0.05, 0.3, 1.5)))
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                return self.stop(f"rank {self.pids.index(pid)} ended")
            self.count("ranks stopped")

    def watch_memory(self):
        self.memory = []
        while time.monotonic() < self.end:
            try:
                self.memory.append(pss_bytes(self.pids))
            except OSError as error:
                return self.stop(f"a rank ended: {error}")
            time.sleep(1)

    def run(self):
        self.ask_alone()
        self.end = time.monotonic() + self.options.seconds
        threads = [threading.Thread(target=self.client, args=(i,)) for i in range(self.options.clients)]
        threads += [threading.Thread(target=self.pause_ranks), threading.Thread(target=self.watch_memory)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def growth(self):
        n = len(self.memory) // 4
        return statistics.median(self.memory[3 * n:]) / statistics.median(self.memory[n:2 * n]) - 1 if n else 0.0


def main():
    options = parse_options()
    model = ["-m", options.model] if options.model else []
    # Positions for about a third of what runs at once, and no room for all clients to wait.
    with Server(options.ranks, *model, "--no-access-log", "--context", "2048", "--parallel", "16", "--queue", "24") as server:
        soak = Soak(server, options)
        soak.run()
        metrics = server.ask("GET", "/metrics")[2] if server.process.poll() is None else ""
    preempted = [line for line in metrics.splitlines() if "preempt" in line and not line.startswith("#")]
    left = [pid for pid in soak.pids if os.path.exists(f"/proc/{pid}")]
    print(f"{options.seconds:.0f} s, {options.clients} clients, {options.ranks} ranks, {options.requests} different requests")
    for what, n in sorted(soak.counts.items()):
        print(f"{n:8} {what}")
    for line in preempted:
        print(line)
    print(f"memory {min(soak.memory) / 1e6:.1f} to {max(soak.memory) / 1e6:.1f} MB, {100 * soak.growth():+.2f} % from the second quarter to the last")
    problems = soak.wrong[:5]
    if not soak.counts["answers as alone"]:
        problems.append("no request was answered")
    if soak.growth() > options.growth:
        problems.append(f"memory grew by {100 * soak.growth():.2f} %")
    if server.process.returncode != 0:
        problems.append(f"the server ended with {server.process.returncode}:\n" + "".join(server.log[-20:]))
    if left:
        problems.append(f"ranks that did not end: {left}")
    for line in problems:
        print(f"soak: {line}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
