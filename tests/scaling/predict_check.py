#!/usr/bin/env python3
"""Compare what `plan` predicts with what `bench` measures, on this machine, for three synthetic models.

    tests/scaling/predict_check.py                     build/release/onecopy, 1 and 2 ranks
    tests/scaling/predict_check.py --rounds 5 --binary build/debug/onecopy

Each round runs plan and bench one after the other, so that both meet the same machine; the table shows medians over
the rounds. Exits with 1 where a prediction is off by more than --limit. Other programs on the same cores make both
figures worthless: run it on a machine at rest. Models are at most 1 GB each, in a temporary folder.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Many small experts; few large ones, as in Mixtral; a large vocabulary, whose head is a third of a token's bytes.
MODELS = {
    "128 x 768, Q4_K": "--type Q4_K --layers 2 --experts 128 --top-k 8 --inter 768",
    "8 x 3584, Q8_0": "--type Q8_0 --layers 4 --experts 8 --top-k 2 --inter 3584 --kv-heads 8",
    "64 x 1024, vocabulary 152k": "--type Q4_K --layers 3 --experts 64 --top-k 8 --inter 1024 --vocab 151936",
}
PROMPT, DECODE = 512, 64


def run(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def launch(binary, ranks, threads, command):
    """The command line that launch/onecopy composes, with this binary in it."""
    line = run([os.path.join(ROOT, "launch", "onecopy"), "-n", str(ranks), "--threads", str(threads), "--dry-run", *command])
    words = shlex.split(line)
    at = next(i for i, word in enumerate(words) if word.endswith("/onecopy"))
    return words[:at] + [binary] + words[at + 1:]


def measure(binary, model, ranks, threads, rounds):
    """{"decode": (predicted, measured), "prefill": …}: medians over the rounds."""
    plan = [binary, "plan", "-m", model, "--nodes", str(ranks), "--depth", str(DECODE // 2), "--json"]
    bench = launch(binary, ranks, threads, ["bench", "-m", model, "-p", str(PROMPT), "-n", str(DECODE), "-r", "3", "--json"])
    samples = {"decode": [], "prefill": []}
    for _ in range(rounds):
        predicted = json.loads(run(plan))["predicted"]
        measured = json.loads(run(bench))
        for kind, values in samples.items():
            values.append((predicted[kind + "_tokens_per_second"], measured[kind][0]["tokens_per_second"]["median"]))
    return {kind: tuple(statistics.median(v[i] for v in values) for i in (0, 1)) for kind, values in samples.items()}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", default=os.path.join(ROOT, "build", "release", "onecopy"))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--limit", type=float, default=0.25, help="largest deviation allowed, as a share")
    p.add_argument("--ranks", default="1,2", help="rank counts, each with its share of the cores")
    a = p.parse_args()
    cores = len(os.sched_getaffinity(0))
    busy = os.getloadavg()[0]
    if busy > 0.3 * cores:
        print(f"predict_check: warning: the load of this machine is {busy:.1f}", file=sys.stderr)
    worst = 0.0
    print(f"{'model':<28}  {'ranks':>5}  {'':<8}{'predicted':>10}  {'measured':>10}  {'off by':>7}")
    with tempfile.TemporaryDirectory(prefix="onecopy-predict-") as folder:
        for name, options in MODELS.items():
            model = os.path.join(folder, "model.gguf")
            run([sys.executable, os.path.join(ROOT, "tests", "support", "make_synthetic_moe.py"), model, *options.split()])
            for ranks in (int(r) for r in a.ranks.split(",")):
                results = measure(a.binary, model, ranks, max(1, cores // ranks), a.rounds)
                for kind, (predicted, measured) in results.items():
                    off = predicted / measured - 1
                    worst = max(worst, abs(off))
                    print(f"{name:<28}  {ranks:>5}  {kind:<8}{predicted:>10.1f}  {measured:>10.1f}  {off:>+7.0%}", flush=True)
    print(f"worst {worst:.0%}, allowed {a.limit:.0%}")
    return 1 if worst > a.limit else 0


if __name__ == "__main__":
    sys.exit(main())
