#!/usr/bin/env python3
"""onecopy and llama.cpp side by side: in turn (A B A B …), on the same file, cores and threads; medians and ratios.

    tests/scaling/compare_llama.py                               makes what it needs in build/compare, then measures
    tests/scaling/compare_llama.py q4.gguf q8.gguf --threads 8 --json figures.json      a table for each
    tests/scaling/compare_llama.py --ik '/opt/ik_llama.cpp/build/bin/llama-bench -fmoe 1 -rtr 1'

Without a model it makes a synthetic mixture of experts (make_synthetic_moe.py, --synthetic says how; 3.6 GB), and
without --venv a Python environment with llama-cpp-python, compiled for this CPU's instruction sets. Run it on a machine
at rest, after `cmake --preset release && cmake --build --preset release`.

Prefill: random tokens in one prompt. Decode: steps of one random token for each of some sequences, from empty contexts.
A ratio is that of the medians; in brackets the least and the greatest of single rounds.
"""

import argparse
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# cpuinfo flag: option of llama.cpp's build. Not GGML_NATIVE, which leaves AMX to the compiler: what g++ 12 makes of that
# crashes at the first prompt.
ISA_OPTIONS = {"avx2": "AVX2", "fma": "FMA", "f16c": "F16C", "bmi2": "BMI2", "avx_vnni": "AVX_VNNI", "avx512f": "AVX512",
               "avx512vbmi": "AVX512_VBMI", "avx512_vnni": "AVX512_VNNI", "avx512_bf16": "AVX512_BF16"}
AMX_OPTIONS = {"amx_tile": "AMX_TILE", "amx_int8": "AMX_INT8", "amx_bf16": "AMX_BF16"}
LEAST_COMPILER_FOR_AMX = 13
UNUSED_PARTS = ["LLAVA_BUILD", "MTMD_BUILD", "LLAMA_CURL", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_TOOLS", "LLAMA_BUILD_TESTS",
                "LLAMA_BUILD_SERVER"]


def run(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def cpu():
    """(model name, set of flags)"""
    with open("/proc/cpuinfo") as f:
        text = f.read()
    name = re.search(r"^model name\s*:\s*(.*)", text, re.M)
    flags = re.search(r"^flags\s*:\s*(.*)", text, re.M)
    return name[1] if name else platform.machine(), set(flags[1].split()) if flags else set()


# --- What is needed ---------------------------------------------------------------------------------------------------


def make_model(folder, options):
    path = os.path.join(folder, "synthetic" + re.sub(r"[^A-Za-z0-9]+", "-", options) + ".gguf")
    if not os.path.exists(path):
        print(f"making {path}", file=sys.stderr)
        maker = os.path.join(ROOT, "tests", "support", "make_synthetic_moe.py")
        run([sys.executable, maker, path + ".part", *shlex.split(options)])
        os.rename(path + ".part", path)
    return path


def cmake_args(flags, compiler_version):
    options = {"GGML_NATIVE": "OFF"}
    isa = dict(ISA_OPTIONS, **(AMX_OPTIONS if compiler_version >= LEAST_COMPILER_FOR_AMX else {}))
    options.update({f"GGML_{name}": "ON" for flag, name in isa.items() if flag in flags})
    options.update({part: "OFF" for part in UNUSED_PARTS})
    return " ".join(f"-D{name}={value}" for name, value in options.items())


def make_venv(folder, requirement):
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        print(f"making {folder}: compiling {requirement} takes some minutes", file=sys.stderr)
        venv.create(folder, with_pip=True)
    if subprocess.run([python, "-c", "import llama_cpp"], capture_output=True).returncode != 0:
        compiler = int(run([os.environ.get("CXX", "c++"), "-dumpversion"]).split(".")[0])
        flags = cpu()[1]
        if "amx_tile" in flags and compiler < LEAST_COMPILER_FOR_AMX:
            print(f"compare_llama: warning: compiler {compiler} is too old for llama.cpp's AMX kernels; set CC and CXX to one "
                  f"from {LEAST_COMPILER_FOR_AMX} on to compare with them", file=sys.stderr)
        # No cache: a wheel that was built with other options is none of this CPU's.
        run([python, "-m", "pip", "install", "--no-cache-dir", requirement],
            env=dict(os.environ, CMAKE_ARGS=cmake_args(flags, compiler)))
    return python


# --- One round of each: {"rates": {case: tokens a second}, "version": text} --------------------------------------------


def cases(a):
    """(name, prompt or None, steps, sequences)"""
    out = [(f"prefill {n}", n, 0, 0) for n in a.prompt]
    out += [(f"decode {a.decode} x 1", None, a.decode, 1)] if a.decode else []
    return out + [(f"decode {a.batch_steps} x {b}", None, a.batch_steps, b) for b in a.batch]


def joined(values):
    return ",".join(map(str, values)) or "0"


def onecopy_bench(a, *options):
    out = run([a.onecopy, "bench", "-m", a.model, "-r", "1", "--json", *options, *shlex.split(a.options)],
              env=dict(os.environ, ONECOPY_THREADS=str(a.threads)))
    return json.loads(out)


def onecopy(a):
    results = []
    if a.prompt or a.decode:
        results.append(onecopy_bench(a, "-p", joined(a.prompt), "-n", str(a.decode)))
    if a.batch:
        results.append(onecopy_bench(a, "-p", "0", "-n", str(a.batch_steps), "--batch", joined(a.batch)))
    rates = {}
    for result in results:
        rates.update({f"prefill {r['tokens']}": r["tokens_per_second"]["median"] for r in result["prefill"]})
        rates.update({f"decode {r['tokens']} x {r['batch']}": r["tokens_per_second"]["median"] for r in result["decode"]})
    version = run([a.onecopy, "--version"]).splitlines()[0]
    built_for = ", ".join([f"kernels {results[0]['kernels']}"] + ([a.options] if a.options else []))
    return {"rates": rates, "version": version, "built_for": built_for, "bench": results}


def llama_cpp(a):
    settings = {"threads": a.threads, "prompts": a.prompt, "decode": a.decode, "batches": a.batch, "batch_steps": a.batch_steps}
    out = run([a.python, os.path.join(HERE, "llama_worker.py"), a.model, json.dumps(settings)])
    return json.loads(out.splitlines()[-1])


def llama_bench(command):
    """A program with llama-bench's options: llama.cpp's own, ik_llama.cpp's. It has no decode of several sequences."""
    def measure(a):
        out = run([*shlex.split(command), "-m", a.model, "-t", str(a.threads), "-p", joined(a.prompt), "-n", str(a.decode),
                   "-r", "1", "-o", "json"])
        rows = json.loads(out[out.index("["):])
        rates = {f"prefill {r['n_prompt']}" if r["n_prompt"] else f"decode {r['n_gen']} x 1": r["avg_ts"] for r in rows}
        return {"rates": rates, "version": "build " + str(rows[0].get("build_commit", "unknown")), "built_for": command}
    return measure


# --- All rounds -------------------------------------------------------------------------------------------------------


def summarise(case, ours, theirs):
    """Medians of both and their ratio; None where a peer does not run the case."""
    pairs = [(o["rates"][case], t["rates"][case]) for o, t in zip(ours, theirs) if case in o["rates"] and case in t["rates"]]
    if not pairs:
        return None
    medians = [statistics.median(p[i] for p in pairs) for i in (0, 1)]
    single = [o / t for o, t in pairs]
    return {"onecopy": medians[0], "peer": medians[1], "ratio": medians[0] / medians[1], "least": min(single),
            "greatest": max(single)}


def spread(rounds, case):
    values = [r["rates"][case] for r in rounds if case in r["rates"]]
    return f"{statistics.median(values):.1f} ({min(values):.1f} - {max(values):.1f})" if values else ""


def table(a, samples):
    peers = [name for name in samples if name != "onecopy"]
    rows = ["| tokens/s | onecopy | " + " | ".join(f"{p} | ratio" for p in peers) + " |",
            "|---|---:|" + "---:|---:|" * len(peers)]
    for case, *_ in cases(a):
        row = f"| {case} | {spread(samples['onecopy'], case)} |"
        for peer in peers:
            s = summarise(case, samples["onecopy"], samples[peer])
            ratio = f"**{s['ratio']:.2f}** ({s['least']:.2f} - {s['greatest']:.2f})" if s else ""
            row += f" {spread(samples[peer], case)} | {ratio} |"
        rows.append(row)
    return "\n".join(rows)


def numbers(text):
    return [int(n) for n in text.split(",") if n and int(n) > 0]


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="*", metavar="model", help="GGUF files, a table each; default: a synthetic one")
    p.add_argument("--synthetic", default="--type Q4_K --layers 10", help="options of make_synthetic_moe.py")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--prompt", type=numbers, default=[512, 4096], help="prompt lengths; 0: no prefill")
    p.add_argument("--decode", type=int, default=128, help="steps of one sequence; 0: none")
    p.add_argument("--batch", type=numbers, default=[8, 32], help="sequences at once; 0: none")
    p.add_argument("--batch-steps", type=int, default=32)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--onecopy", default=os.path.join(ROOT, "build/release/onecopy"))
    p.add_argument("--options", default="", help="of onecopy's bench, such as '--sums quick'")
    p.add_argument("--folder", default=os.path.join(ROOT, "build/compare"), help="where model and environment are made")
    p.add_argument("--venv", help="an environment that has llama-cpp-python")
    p.add_argument("--llama", default="llama-cpp-python==0.3.36", help="what pip installs; none: leave it out")
    p.add_argument("--ik", help="llama-bench of ik_llama.cpp, with options")
    p.add_argument("--llama-bench", help="llama-bench of another llama.cpp, with options")
    p.add_argument("--json", help="write all samples to this file")
    a = p.parse_args()
    a.batch = [b for b in a.batch if b > 1]
    if not cases(a):
        p.error("nothing to measure: --prompt, --decode and --batch are all 0")
    return a


def compare(a, model, measure):
    """Measures one model, prints its table, and returns what --json writes of it."""
    a.model = model
    samples = {name: [] for name in measure}
    for i in range(a.rounds):
        for name, of in measure.items():
            samples[name].append(of(a))
        print(f"round {i + 1} of {a.rounds}", file=sys.stderr)
    print(f"{cpu()[0]}, {a.threads} threads, {os.path.basename(model)}, {a.rounds} rounds in turn, medians\n")
    for name, rounds in samples.items():
        print(f"- {name}: {rounds[0]['version']}; {rounds[0]['built_for']}")
    print("\n" + table(a, samples) + "\n")
    return {"cpu": cpu()[0], "threads": a.threads, "model": os.path.basename(model), "rounds": a.rounds,
            "cases": {c: {peer: summarise(c, samples["onecopy"], samples[peer]) for peer in samples if peer != "onecopy"}
                      for c, *_ in cases(a)},
            "samples": samples}


def main():
    a = parse()
    os.makedirs(a.folder, exist_ok=True)
    measure = {"onecopy": onecopy}
    if a.llama != "none":
        a.python = os.path.join(a.venv, "bin", "python") if a.venv else make_venv(os.path.join(a.folder, "venv"), a.llama)
        measure["llama.cpp"] = llama_cpp
    if a.ik:
        measure["ik_llama.cpp"] = llama_bench(a.ik)
    if a.llama_bench:
        measure["llama-bench"] = llama_bench(a.llama_bench)
    busy = os.getloadavg()[0]
    if busy > 0.3 * a.threads:
        print(f"compare_llama: warning: other programs keep this machine busy (load {busy:.1f})", file=sys.stderr)
    a.models = a.models or [make_model(a.folder, a.synthetic)]
    results = [compare(a, model, measure) for model in a.models]
    if a.json:
        with open(a.json, "w") as f:
            json.dump(results[0] if len(results) == 1 else results, f, indent=2)
            f.write("\n")


if __name__ == "__main__":
    main()
