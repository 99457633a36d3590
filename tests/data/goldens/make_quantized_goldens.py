#!/usr/bin/env python3
"""Write the reference outputs of make_quantized.py's models: transformers, on the dequantised weights in float32.

    make_quantized_goldens.py OUT [NAME ...]

Each format is read here by itself, after its definition, into one dense float32 checkpoint. Needs what make_goldens.py
needs.
"""
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import make_goldens
import make_quantized

# Assembling is tested by element; of these a short prompt tells enough.
PROMPTS = {name: [9] for name in ("qwen3_moe_gptq_act_order", "qwen3_moe_gptq_8", "qwen3_moe_int8_32")}


def words(t, bits=4):
    """[..., n] int32 -> [..., n, 32 / bits] codes, the lowest first."""
    return (t.numpy().view(np.uint32)[..., None] >> np.arange(0, 32, bits, dtype=np.uint32)) & (1 << bits) - 1


def float32(codes, zeros, scales, group):
    """codes [rows, cols]; zeros, scales [rows, groups]; group [cols], or how many columns of each follow each other."""
    if isinstance(group, int):
        group = np.arange(codes.shape[1]) // group
    return torch.from_numpy((codes.astype(np.float32) - zeros[:, group].astype(np.float32)) * scales[:, group])


def fp8(t, stem, config):
    codes = t[stem + ".weight"].float()
    rows, cols = codes.shape
    if stem + ".weight_scale_inv" in t:
        r, c = config["weight_block_size"]
        scales = t[stem + ".weight_scale_inv"].repeat_interleave(r, 0)[:rows].repeat_interleave(c, 1)[:, :cols]
    else:
        scales = t[stem + ".weight_scale"].float()
    return codes * scales


def packed(t, stem, config):
    weights = config["config_groups"]["group_0"]["weights"]
    rows, cols = t[stem + ".weight_shape"].tolist()
    bits = weights["num_bits"]
    codes = words(t[stem + ".weight_packed"], bits).reshape(rows, cols)
    scales = t[stem + ".weight_scale"].float().numpy()
    zeros = np.full(scales.shape, 1 << bits - 1)
    if not weights["symmetric"]:        # [rows / 8, groups, 8] -> [rows, groups]
        zeros = words(t[stem + ".weight_zero_point"], bits).transpose(0, 2, 1).reshape(rows, -1)
    group = weights["group_size"] if weights["actorder"] is None else t[stem + ".weight_g_idx"].numpy()
    return float32(codes, zeros, scales, group)


AWQ_ORDER = [0, 4, 1, 5, 2, 6, 3, 7]    # row i of eight is nibble AWQ_ORDER[i] of its word


def awq(t, stem, config):
    codes = words(t[stem + ".qweight"])[..., AWQ_ORDER].reshape(t[stem + ".qweight"].shape[0], -1).T
    zeros = words(t[stem + ".qzeros"])[..., AWQ_ORDER].reshape(t[stem + ".qzeros"].shape[0], -1).T
    return float32(codes, zeros, t[stem + ".scales"].float().numpy().T, config["group_size"])


def gptq(t, stem, config):
    bits, rows = config["bits"], t[stem + ".qweight"].shape[1]
    codes = words(t[stem + ".qweight"], bits).transpose(1, 0, 2).reshape(rows, -1)  # [words of cols, rows, n]
    zeros = words(t[stem + ".qzeros"], bits).reshape(t[stem + ".qzeros"].shape[0], -1).T + 1
    return float32(codes, zeros, t[stem + ".scales"].float().numpy().T, t[stem + ".g_idx"].numpy())


def dequantise(folder):
    config = json.loads((folder / "config.json").read_text())
    q = config.pop("quantization_config")
    t = load_file(folder / "model.safetensors")
    form = {"fp8": fp8, "awq": awq, "gptq": gptq}.get(q["quant_method"])
    if form is None:
        form = fp8 if q["format"] == "float-quantized" else packed
    dense = {}
    for end in (".weight_scale_inv", ".weight_scale", ".qweight"):
        for name in [n for n in t if n.endswith(end)]:
            dense[name[:-len(end)] + ".weight"] = form(t, name[:-len(end)], q).contiguous()
    for name, tensor in t.items():
        if tensor.dtype in (torch.bfloat16, torch.float32) and "scale" not in name and name not in dense:
            dense[name] = tensor.float()
    return dict(config, torch_dtype="float32"), dense


def main():
    out = Path(sys.argv[1])
    for name in sys.argv[2:] or make_quantized.MODELS:
        with tempfile.TemporaryDirectory() as tmp:
            folder, dense_folder = Path(tmp) / "quantized", Path(tmp) / "dense"
            dense_folder.mkdir()
            make_quantized.write(name, folder)
            config, dense = dequantise(folder)
            (dense_folder / "config.json").write_text(json.dumps(config))
            save_file(dense, dense_folder / "model.safetensors", metadata=dict(format="pt"))
            spec = dict(seed=make_quantized.MODELS[name]["seed"], config=config, prompts=PROMPTS.get(name, [1, 9, 40]))
            facts, tensors = make_goldens.run(dense_folder, spec)
        (out / name).mkdir(parents=True, exist_ok=True)
        (out / name / "golden.json").write_text(json.dumps(dict(model=name, seed=spec["seed"], **facts)) + "\n")
        save_file({k: v.contiguous() for k, v in tensors.items()}, out / name / "golden.safetensors")
        print(name, dict(routing=facts["routing"], gap=facts["min_greedy_gap"], **facts["tolerance"]), flush=True)


if __name__ == "__main__":
    main()
