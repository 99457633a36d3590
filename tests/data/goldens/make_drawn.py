#!/usr/bin/env python3
"""Write goldens of tiny models whose weights are not stored: every element is drawn by a counter.

    make_drawn.py OUT [--only NAME ...]

For each model of drawn_models.py, OUT/NAME gets config.json, golden.json and golden.safetensors as make_goldens.py writes them
(without router_*), drawn.json, which says how to draw each tensor of the Hugging Face directory, and, for most, gguf.json,
which says how llama.cpp's converter would make a GGUF file of them: metadata, and the tensors by name, type and parts.
Both hold the same values, so one golden serves for both. tests/support/drawn_model.h makes the files.

The integer k of element i of a tensor is drawn from splitmix64(fnv1a64(key) + (i + 1) * 0x9e3779b97f4a7c15): the sum of the
low 6 bits of its four lowest bytes, less 126. The element is k * 2^exponent; in a norm, 1 + (k >> 2) * 2^-7. BF16 and F16
hold these exactly. Needs torch, transformers, safetensors, gguf.
"""
import argparse
import json
import math
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

import make_goldens
from drawn_gguf import gguf_tensors, metadata
from drawn_models import MODELS, less_one

TIED_GAIN = 4.0  # of what writes to the residual stream, or a model with tied embeddings repeats its input

# ------------------------------------------------------------------------------------------------ drawing


def draw(name, n):
    """The integers k of a tensor's first n elements."""
    h = 0xcbf29ce484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001b3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9e3779b97f4a7c15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xbf58476d1ce4e5b9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94d049bb133111eb)
        z = z ^ (z >> np.uint64(31))
    return sum(((z >> np.uint64(8 * b)) & np.uint64(63)).astype(np.int64) for b in range(4)) - 126


def spread(name, shape, tied):
    """Standard deviation that keeps activations near unit variance, routers decided and logits well spread."""
    root = math.sqrt(shape[-1])
    if "correction_bias" in name:
        return 0.05
    if name.endswith("A_log"):
        return 2.0  # some heads forget at once, some hardly
    if name.endswith(("dt_bias", "sink_bias")):
        return 1.0
    if name.endswith("bias"):
        return 0.2
    if "embed_tokens" in name and not tied:
        return 1.0
    if "embed_tokens" in name or "lm_head" in name:
        return 2.5 / root
    if re.search(r"feed_forward\.experts\.(gate_up|down)_proj$", name):  # Llama 4: [experts, inputs, outputs]
        return 1.0 / math.sqrt(shape[-2])
    if re.search(r"\.(gate|router|router\.layer)\.weight$", name) or re.search(r"q(_b)?_proj", name):
        return 2.0 / root
    if tied and re.search(r"(o_proj|out_proj|down_proj|output_linear)", name):
        return TIED_GAIN / root
    return 1.0 / root


def recipe(name, tensor, seed, tied, model_type):
    shape = list(tensor.shape)
    f32 = "correction_bias" in name or (name.endswith("A_log") and model_type != "qwen3_next")
    entry = dict(name=name, shape=shape, dtype="F32" if f32 else "BF16", key=f"{seed}:{name}")
    if less_one(name, model_type):
        entry["exponent"] = -8
    elif "norm" not in name:
        entry["exponent"] = round(math.log2(spread(name, shape, tied) / 36.9))
    return entry


def values(entry):
    k = draw(entry["key"], math.prod(entry["shape"]))
    v = k * 2.0 ** entry["exponent"] if "exponent" in entry else 1 + (k >> 2) * 2.0**-7
    return torch.from_numpy(v.astype(np.float32)).reshape(entry["shape"])


def published_tensors(config_dir):
    """Names and shapes of the checkpoint as the model is published."""
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(config_dir), dtype=torch.float32)
    with tempfile.TemporaryDirectory() as tmp:
        model.save_pretrained(tmp, max_shard_size="10GB")
        from safetensors.torch import load_file
        return load_file(Path(tmp) / "model.safetensors")


def nextn_tensors(tensors, layers):
    """A further layer like the last one, with the tensors that join it to the model."""
    last, new = f"model.layers.{layers - 1}.", f"model.layers.{layers}."
    more = {new + n[len(last):]: t for n, t in tensors.items() if n.startswith(last)}
    hidden = tensors["model.norm.weight"].shape[0]
    more.update({new + "enorm.weight": torch.empty(hidden), new + "hnorm.weight": torch.empty(hidden),
                 new + "eh_proj.weight": torch.empty(hidden, 2 * hidden),
                 new + "shared_head.norm.weight": torch.empty(hidden)})
    return more


def mtp_tensors(hidden):
    """Some of the tensors for multi-token prediction as Qwen publishes them."""
    return {"mtp.fc.weight": torch.empty(hidden, 2 * hidden), "mtp.norm.weight": torch.empty(hidden),
            "mtp.pre_fc_norm_hidden.weight": torch.empty(hidden),
            "mtp.layers.0.input_layernorm.weight": torch.empty(hidden)}


def as_vision_model(tensors):
    """Names as in the directory of a vision model, an expert's matrices put together, and a few of the encoder's tensors."""
    out, experts = {}, {}
    for name, t in tensors.items():
        new = name.replace("model.", "model.language_model.", 1) if name.startswith("model.") else name
        one = re.match(r"(.*mlp\.experts)\.\d+\.(gate|down)_proj", new)
        if one:
            experts.setdefault((one[1], one[2]), []).append(t)
        elif not re.search(r"experts\.\d+\.up_proj", new):
            out[new] = t
    for (stem, which), parts in experts.items():
        shape = [len(parts), parts[0].shape[0] * (2 if which == "gate" else 1), parts[0].shape[1]]
        out[f"{stem}.{'gate_up' if which == 'gate' else 'down'}_proj"] = torch.empty(shape)
    out["model.visual.merger.norm.weight"] = torch.empty(32)
    out["model.visual.blocks.0.attn.qkv.bias"] = torch.empty(96)
    return out

# ------------------------------------------------------------------------------------------------ making


def make(name, spec, root):
    out = root / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    c = spec["config"]
    config = dict(spec["vision"], text_config=c) if "vision" in spec else c
    (out / "config.json").write_text(json.dumps(config) + "\n")
    published = published_tensors(out)
    if "nextn" in spec:
        published.update(nextn_tensors(published, c["num_hidden_layers"]))
    if "mtp_num_hidden_layers" in c or c["model_type"] == "qwen3_next":
        published.update(mtp_tensors(c["hidden_size"]))
    if "vision" in spec:
        published = as_vision_model(published)
    recipes = [recipe(n, t, spec["seed"], c["tie_word_embeddings"], c["model_type"]) for n, t in sorted(published.items())]
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        (tmp / "config.json").write_text(json.dumps(config))
        save_file({e["name"]: values(e).to(torch.float32 if e["dtype"] == "F32" else torch.bfloat16) for e in recipes},
                  tmp / "model.safetensors", metadata=dict(format="pt"))
        facts, tensors = make_goldens.run(tmp, spec)
    (out / "golden.json").write_text(json.dumps(dict(model=name, seed=spec["seed"], **facts)) + "\n")
    save_file({k: t[-2:].contiguous() if k.startswith("logits") else t.contiguous() for k, t in tensors.items()
               if not k.startswith("router")}, out / "golden.safetensors")
    (out / "golden.safetensors").chmod(0o644)
    (out / "drawn.json").write_text(json.dumps(recipes) + "\n")
    if "gguf" in spec:
        nextn = spec.get("nextn", 0)
        (out / "gguf.json").write_text(json.dumps(dict(
            metadata=metadata(c, spec["gguf"], nextn), tensors=gguf_tensors(c, spec["gguf"], recipes, nextn))) + "\n")
    return facts


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("out", type=Path)
    args.add_argument("--only", nargs="+")
    args = args.parse_args()
    for name, spec in MODELS.items():
        if args.only and name not in args.only:
            continue
        facts = make(name, spec, args.out)
        routing = facts["routing"] or {}
        print(name, dict(margin=routing.get("min_margin"), gap=facts["min_greedy_gap"], **facts["tolerance"]), flush=True)


if __name__ == "__main__":
    main()
