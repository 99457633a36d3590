#!/usr/bin/env python3
"""A server under load: many clients with mixed prompts for minutes, before and after one client alone. Prints Markdown; exit code
1 where a request failed or memory grew.

    tests/scaling/serve_load.py                          makes a synthetic model in build/compare, then 64 clients for 3 minutes
    tests/scaling/serve_load.py -m model.gguf --clients 64 --seconds 180 --ranks 2

Prompts and answers have about 200 tokens each, as conversations in ShareGPT do. The ratio to one stream is that of all clients'
new tokens a second to the mean of the two runs alone. Memory is the ranks' PSS, read each second; it is flat where the last quarter's median is at most --growth above that of the second: the first quarter
fills buffers and the cache of prompts. Last, how long a few streams wait between tokens with and without long prompts beside.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, f"{ROOT}/tests/serve")
sys.dont_write_bytecode = True
import compare_llama
from server import Server, pss_bytes


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", help="default: a synthetic one, as --synthetic says")
    parser.add_argument("--synthetic", default="--layers 10", help="options of make_synthetic_moe.py; default: %(default)s")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=180, help="of the load; default: %(default)s")
    parser.add_argument("--alone-seconds", type=float, default=30, help="of one client, before and after; default: %(default)s")
    parser.add_argument("--growth", type=float, default=0.02, help="of memory that still counts as flat; default: %(default)s")
    parser.add_argument("--json", help="a file for the figures")
    parser.add_argument("--prompt-tokens", default="16,400", metavar="LEAST,MOST", help="default: %(default)s")
    parser.add_argument("--max-tokens", default="16,400", metavar="LEAST,MOST", help="new ones; default: %(default)s")
    parser.add_argument("--long-prompt", type=int, default=2000, metavar="TOKENS", help="default: %(default)s; 0: none")
    parser.add_argument("--streams", type=int, default=4, help="beside the long prompt; default: %(default)s")
    parser.add_argument("--ranks", type=int, default=1, help="default: %(default)s")
    return parser.parse_args()


class MemoryWatch:
    """The ranks' memory, each second of a `with`."""

    def __init__(self, server):
        self.pids, self.samples, self.ended = server.rank_pids(), [], threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self):
        while not self.ended.wait(1):
            self.samples.append(pss_bytes(self.pids))

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def growth(self):
        n = len(self.samples) // 4
        early, late = self.samples[n:2 * n], self.samples[3 * n:]
        return statistics.median(late) / statistics.median(early) - 1 if n else 0.0


def load(server, options, clients, seconds, *more):
    done = subprocess.run([f"{ROOT}/launch/bench_serve", "--url", server.url, "--concurrency", str(clients), "--seconds", str(seconds),
                           "--prompt-tokens", options.prompt_tokens, "--max-tokens", options.max_tokens, "--json", *more],
                          stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)["levels"][0]


def row(name, level):
    def ms(values, key):
        return "-" if values[key] is None else f"{1000 * values[key]:.0f}"

    first, gap = level["first_token_seconds"], level["between_tokens_seconds"]
    return (f"| {name} | {level['requests']} | {level['errors']} | {level['prompt_tokens']:.0f} | {level['tokens_per_second']:.1f} | {ms(first, 'median')} / {ms(first, 'p95')} | "
            f"{ms(gap, 'median')} / {ms(gap, 'p95')} / {ms(gap, 'p99')} |")


def main():
    options = parse_options()
    model = options.model
    if not model:
        os.makedirs(f"{ROOT}/build/compare", exist_ok=True)
        model = compare_llama.make_model(f"{ROOT}/build/compare", options.synthetic)
    with Server(options.ranks, "-m", model, "--no-access-log", "--parallel", str(options.clients), "--queue", str(options.clients)) as server:
        before = load(server, options, 1, options.alone_seconds)
        with MemoryWatch(server) as memory:
            loaded = load(server, options, options.clients, options.seconds)
        after = load(server, options, 1, options.alone_seconds)
        levels = [("1, before", before), (options.clients, loaded), ("1, after", after)]
        if options.long_prompt:
            levels.append((options.streams, load(server, options, options.streams, options.alone_seconds)))
            levels.append((f"{options.streams}, and prompts of {options.long_prompt}",
                           load(server, options, options.streams, options.alone_seconds, "--long-prompt", str(options.long_prompt))))
    alone = (before["tokens_per_second"] + after["tokens_per_second"]) / 2
    figures = {"levels": dict(levels), "ratio": loaded["tokens_per_second"] / alone if alone else None,
               "memory_bytes": memory.samples, "memory_growth": memory.growth()}
    print("| clients | requests | errors | tokens a prompt | tokens/s | first token ms, median / p95 | between tokens ms, median / p95 / p99 |\n|---|---|---|---|---|---|---|")
    for name, level in levels:
        print(row(name, level))
    print(f"\n{options.clients} clients make {figures['ratio'] or 0:.2f} times one client's tokens; memory {min(memory.samples) / 1e6:.0f} to "
          f"{max(memory.samples) / 1e6:.0f} MB, {100 * figures['memory_growth']:+.2f} % from the second quarter to the last")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=1)
    wrong = [f"{name}: {level['errors']} requests failed, the first: {level['first_error']}"
             for name, level in levels if level["errors"]]
    if figures["memory_growth"] > options.growth:
        wrong.append(f"memory grew by {100 * figures['memory_growth']:.2f} %")
    for line in wrong:
        print(f"serve_load: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
