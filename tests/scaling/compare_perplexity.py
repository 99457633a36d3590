#!/usr/bin/env python3
"""Perplexity of a model in each type that `quantize` writes: onecopy beside llama.cpp on the same file, and onecopy's best
kernels beside its `ref` kernels, which keep activations in float.

    tests/scaling/compare_perplexity.py                                  the shipped model and models/eval.txt
    tests/scaling/compare_perplexity.py -m model-f16.gguf -f text.txt --types q8_0,q4_k_m --json figures.json

Windows of --context tokens lie side by side, each begins with BOS where the model's texts do, and the second half of each is
scored (llama.cpp's convention). The token ids are onecopy's, for both. Ends with 1 where a difference is above --llama-percent
or --ref-percent. Needs build/release/onecopy, and in --venv llama-cpp-python (compare_llama.py makes such a one).
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def score(request):
    """In the environment that has llama-cpp-python: the perplexity of each file of the request, through its C API."""
    import ctypes
    import math

    import llama_cpp as ll
    import numpy as np

    quiet = ll.llama_log_callback(lambda level, text, data: None)
    ll.llama_log_set(quiet, ctypes.c_void_p(0))
    ll.llama_backend_init()
    size, ids, out = request["context"], request["tokens"], []
    for path in request["files"]:
        model = ll.llama_model_load_from_file(path.encode(), ll.llama_model_default_params())
        if not model:
            sys.exit(f"llama.cpp cannot load {path}")
        vocab = ll.llama_model_get_vocab(model)
        n_vocab, bos = ll.llama_vocab_n_tokens(vocab), ll.llama_vocab_bos(vocab)
        params = ll.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = -(-size // 256) * 256
        params.n_threads = params.n_threads_batch = request["threads"]
        context = ll.llama_init_from_model(model, params)
        batch = ll.llama_batch_init(size, 0, 1)
        total, count = 0.0, 0
        for begin in range(0, len(ids) - size + 1, size):
            window = ids[begin:begin + size]
            if ids[0] == bos:
                window[0] = bos
            batch.n_tokens = size
            for i, token in enumerate(window):
                batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, i, 1, 0
                batch.logits[i] = i >= size // 2
            ll.llama_memory_clear(ll.llama_get_memory(context), True)
            if ll.llama_decode(context, batch) != 0:
                sys.exit("llama.cpp cannot decode")
            for i in range(size // 2, size - 1):
                logits = np.ctypeslib.as_array(ll.llama_get_logits_ith(context, i), shape=(n_vocab,)).astype(np.float64)
                top = logits.max()
                total += math.log(np.exp(logits - top).sum()) + top - logits[window[i + 1]]
                count += 1
        out.append({"perplexity": math.exp(total / count), "tokens": count})
        ll.llama_batch_free(batch)
        ll.llama_free(context)
        ll.llama_model_free(model)
    return out


def run(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def types_of(onecopy):
    """The names that quantize takes, as its help lists them."""
    listed = re.search(r"--type TEXT.*?one of ([a-z0-9_, \n]+)", run([onecopy, "quantize", "--help"]))
    return [name.strip() for name in listed[1].split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default=os.path.join(ROOT, "models", "tiny-moe-q8_0.gguf"))
    parser.add_argument("-f", "--file", default=os.path.join(ROOT, "models", "eval.txt"))
    parser.add_argument("--types", help="comma-separated; all that quantize writes")
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--onecopy", default=os.path.join(ROOT, "build", "release", "onecopy"))
    parser.add_argument("--venv", default=os.path.join(ROOT, "build", "compare", "venv"))
    parser.add_argument("--llama-percent", type=float, default=0.5)
    parser.add_argument("--ref-percent", type=float, default=0.3)
    parser.add_argument("--json")
    args = parser.parse_args()
    text = ["-f", args.file]
    ids = json.loads(run([args.onecopy, "tokenize", "-m", args.model, *text, "--json"]))["tokens"]
    types = args.types.split(",") if args.types else types_of(args.onecopy)

    def perplexity(path, kernels):
        environment = {k: v for k, v in os.environ.items() if k != "ONECOPY_KERNELS"}
        if kernels:
            environment["ONECOPY_KERNELS"] = kernels
        return json.loads(run([args.onecopy, "perplexity", "-m", path, *text, "--context", str(args.context), "--json"],
                              env=environment))

    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name in types:
            files.append(os.path.join(folder, name + ".gguf"))
            run([args.onecopy, "quantize", "-m", args.model, "-o", files[-1], "--type", name])
        request = {"files": files, "tokens": ids, "context": args.context, "threads": args.threads}
        theirs = json.loads(run([os.path.join(args.venv, "bin", "python"), __file__, "--worker"], input=json.dumps(request)))
        rows, bad = [], False
        print("| type | onecopy | onecopy `ref` | llama.cpp | best / ref | onecopy / llama.cpp |\n|---|---|---|---|---|---|")
        for name, path, other in zip(types, files, theirs):
            best, ref = perplexity(path, None), perplexity(path, "ref")
            if best["tokens"] != other["tokens"]:
                sys.exit(f"{name}: onecopy scored {best['tokens']} tokens, llama.cpp {other['tokens']}")
            row = {"type": name, "best": best["perplexity"], "ref": ref["perplexity"], "llama.cpp": other["perplexity"],
                   "tokens": best["tokens"]}
            to_ref, to_llama = 100 * (row["best"] / row["ref"] - 1), 100 * (row["best"] / row["llama.cpp"] - 1)
            wrong = abs(to_ref) > args.ref_percent or abs(to_llama) > args.llama_percent
            bad |= wrong
            rows.append(row)
            print(f"| {name} | {row['best']:.4f} | {row['ref']:.4f} | {row['llama.cpp']:.4f} | {to_ref:+.3f} % | "
                  f"{to_llama:+.3f} %{' **above the bound**' if wrong else ''} |", flush=True)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"model": os.path.basename(args.model), "context": args.context, "rows": rows}, f, indent=2)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        print(json.dumps(score(json.load(sys.stdin))))
    else:
        main()
