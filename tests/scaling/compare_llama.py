#!/usr/bin/env python3
"""Measure onecopy and llama.cpp side by side, in turn (A B A B …), on the same cores, and print medians and ratios.

    pip install llama-cpp-python
    tests/support/make_synthetic_moe.py /tmp/moe.gguf --layers 10
    tests/scaling/compare_llama_cpp.py /tmp/moe.gguf --threads 2

Prefill: PROMPT random tokens in one batch. Decode: single random tokens from an empty context. As llama-bench does.
On a CPU with AMX, g++ 12 miscompiles llama.cpp's native build (it crashes at the first prompt): install it with
CMAKE_ARGS that turn GGML_NATIVE off and name the instruction sets.
"""

import argparse
import ctypes
import json
import os
import random
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def llama_worker(a):
    import llama_cpp as ll

    quiet = ll.llama_log_callback(lambda level, text, data: None)
    ll.llama_log_set(quiet, ctypes.c_void_p(0))
    ll.llama_backend_init()
    model = ll.llama_model_load_from_file(a.model.encode(), ll.llama_model_default_params())
    if not model:
        sys.exit("llama.cpp cannot load the model")
    params = ll.llama_context_default_params()
    params.n_ctx = max(a.prompt, a.decode) + 64
    params.n_batch = params.n_ubatch = max(a.prompt, 1)
    params.n_threads = params.n_threads_batch = a.threads
    context = ll.llama_init_from_model(model, params)
    memory = ll.llama_get_memory(context)
    n_vocab = ll.llama_vocab_n_tokens(ll.llama_model_get_vocab(model))
    rng = random.Random(1)

    def run(n, one_batch):
        tokens = (ll.llama_token * n)(*[rng.randrange(n_vocab) for _ in range(n)])
        ll.llama_memory_clear(memory, True)
        start = time.perf_counter()
        step = n if one_batch else 1
        for i in range(0, n, step):
            part = (ll.llama_token * step)(*tokens[i:i + step])
            if ll.llama_decode(context, ll.llama_batch_get_one(part, step)) != 0:
                sys.exit("llama.cpp cannot decode")
            ll.llama_synchronize(context)
        return n / (time.perf_counter() - start)

    run(min(a.prompt, 64), True), run(8, False)  # warm-up
    print(json.dumps({"prefill": run(a.prompt, True), "decode": run(a.decode, False)}))


def onecopy(a):
    command = [a.onecopy, "bench", "-m", a.model, "-p", str(a.prompt), "-n", str(a.decode), "-r", "1", "--json"]
    environment = dict(os.environ, ONECOPY_THREADS=str(a.threads))
    out = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    return {"prefill": out["prefill"][0]["tokens_per_second"]["median"],
            "decode": out["decode"][0]["tokens_per_second"]["median"],
            "share": out["decode"][0]["bandwidth_share"]}


def llama(a):
    command = [sys.executable, os.path.abspath(__file__), a.model, "--worker", "--threads", str(a.threads),
               "--prompt", str(a.prompt), "--decode", str(a.decode)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--prompt", type=int, default=512)
    p.add_argument("--decode", type=int, default=64)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--onecopy", default=os.path.join(ROOT, "build/release/onecopy"))
    p.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.worker:
        return llama_worker(a)
    ours, theirs = [], []
    for _ in range(a.rounds):
        ours.append(onecopy(a))
        theirs.append(llama(a))
    spread = lambda rows, key: "{:8.1f} ({:.1f} - {:.1f})".format(
        statistics.median(r[key] for r in rows), min(r[key] for r in rows), max(r[key] for r in rows))
    for key in ("prefill", "decode"):
        ratios = [o[key] / t[key] for o, t in zip(ours, theirs)]
        print(f"{key:8} tokens/s: onecopy {spread(ours, key)}  llama.cpp {spread(theirs, key)}  "
              f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})")
    print(f"onecopy decode: {100 * statistics.median(o['share'] for o in ours):.0f} % of the measured read bandwidth")


if __name__ == "__main__":
    main()
