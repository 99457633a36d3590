#!/usr/bin/env python3
"""One MoE layer of kt-kernel (KTransformers' CPU kernels), to hold against moe_bench: milliseconds a layer,
as one line of JSON among the lines that the extension prints of itself.

    python -m venv kt && kt/bin/pip install numpy && kt/bin/pip install --no-deps kt-kernel==0.7.2
    kt/bin/python tests/scaling/kt_worker.py '{"method": "AMXInt4", "threads": 1, "tokens": [1, 8, 64, 512]}'

The shape is moe_bench's: hidden 2048, 128 experts of 768, top 8; random experts for each token, the layers in turn.
Goes to the wheel's compiled extension itself, with numpy's buffers: its Python classes need torch.
"""

import glob
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time

import numpy as np

HIDDEN, INTER, EXPERTS, TOP_K = 2048, 768, 128, 8


def extension():
    """The build that the wheel itself would choose, by the flags of the CPU; and its name."""
    with open("/proc/cpuinfo") as f:
        flags = next(line for line in f if line.startswith("flags")).split()
    builds = [("amx", "amx_int8"), ("avx512_bf16", "avx512_bf16"), ("avx512_vbmi", "avx512vbmi"), ("avx512_vnni", "avx512_vnni"),
              ("avx512_base", "avx512bw"), ("avx2", "avx2")]
    folder = os.path.dirname(importlib.util.find_spec("kt_kernel").origin)
    for name, flag in builds:
        found = glob.glob(os.path.join(folder, f"_kt_kernel_ext_{name}.*.so"))
        if flag in flags and found:
            spec = importlib.util.spec_from_file_location("kt_kernel_ext", found[0])
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module, name
    sys.exit("kt-kernel's wheel has no build for this CPU")


def bf16(values):
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def main():
    settings = json.loads(sys.argv[1])
    kt, build = extension()
    kt_moe = getattr(kt.moe, settings["method"] + "_MOE")
    rng = np.random.default_rng(1)
    most = max(settings["tokens"])

    pool = kt.WorkerPoolConfig()
    pool.subpool_count, pool.subpool_numa_map, pool.subpool_thread_count = 1, [0], [settings["threads"]]
    engine = kt.CPUInfer(pool)
    on_gpu = np.zeros(EXPERTS, np.uint8)
    numbers = np.arange(EXPERTS, dtype=np.int64)
    # The same values for all: they cost the same as any.
    gate = np.tile(bf16(rng.normal(0, HIDDEN ** -0.5, (1, INTER, HIDDEN))), (EXPERTS, 1, 1))
    down = np.tile(bf16(rng.normal(0, INTER ** -0.5, (1, HIDDEN, INTER))), (EXPERTS, 1, 1))
    layers = []
    with tempfile.TemporaryDirectory() as folder:
        for layer in range(settings.get("layers", 3)):
            config = kt.moe.MOEConfig(EXPERTS, TOP_K, HIDDEN, INTER, on_gpu.ctypes.data)
            config.layer_idx, config.pool, config.max_len = layer, engine.backend_, most
            config.save, config.load, config.path = False, False, folder
            config.gate_proj, config.up_proj, config.down_proj = gate.ctypes.data, gate.ctypes.data, down.ctypes.data
            moe = kt_moe(config)
            engine.submit(moe.load_weights_task(numbers.ctypes.data))
            engine.sync()
            layers.append(moe)

    x = bf16(rng.normal(0, 1, (most, HIDDEN)))
    out = np.zeros((most, HIDDEN), np.uint16)
    milliseconds = {}
    for n in settings["tokens"]:
        size = np.array([n], np.int32)
        draws = [np.stack([rng.permutation(EXPERTS)[:TOP_K] for _ in range(n)]).astype(np.int64) for _ in range(16)]
        weights = np.full((n, TOP_K), 1 / TOP_K, np.float32)

        def run(i):
            engine.submit(layers[i % len(layers)].forward_task(size.ctypes.data, TOP_K, draws[i % 16].ctypes.data,
                                                               weights.ctypes.data, x.ctypes.data, out.ctypes.data, False))
            engine.sync()

        for i in range(3):
            run(i)
        if not out[:n].any():
            sys.exit("kt-kernel computed nothing")
        samples = []
        end = time.perf_counter() + settings.get("seconds", 2)
        while time.perf_counter() < end or len(samples) < 5:
            start = time.perf_counter()
            run(len(samples))
            samples.append(1000 * (time.perf_counter() - start))
        milliseconds[n] = statistics.median(samples)
    print(json.dumps({"method": settings["method"], "build": build, "threads": settings["threads"], "ms": milliseconds}))


if __name__ == "__main__":
    main()
