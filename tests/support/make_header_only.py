#!/usr/bin/env python3
"""Write the headers of a published model without its weights: a GGUF file, or a directory as Hugging Face has it.

    make_header_only.py MODEL OUT [--type Q4_K] [--data none|sparse] [--kv-b split|whole] [--nextn N] [--hf]

MODEL is a name in model-shapes.json (Qwen3-MoE, Mixtral, DeepSeek-V2/V3, Kimi-K2, gpt-oss). Tensor names, metadata and
types are those of published files: like Q4_K_M for --type Q4_K (Q6_K for half of ffn_down and attn_v, and for the output;
F32 for norms, router and biases), MXFP4 experts and Q8_0 otherwise for gpt-oss, BF16 for --hf. There is no vocabulary.
"""
import argparse
import json
import struct
import sys
from pathlib import Path

SHAPES = Path(__file__).resolve().parent.parent / "data" / "model-shapes.json"
# number in GGUF, columns and bytes of a block (ggml.h, ggml-common.h)
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144),
         "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "BF16": (30, 1, 2), "MXFP4": (39, 32, 17)}
ALIGNMENT = 32
TENSORS_A_FILE = 1000   # of a Hugging Face directory

# What the shapes leave out, from the published config.json files.
CONTEXT = {"qwen3_moe": 40960, "mixtral": 32768, "deepseek_v2": 163840, "deepseek_v3": 163840, "kimi_k2": 131072,
           "gpt_oss": 131072}
ROPE_THETA = {"qwen3_moe": 1e6, "mixtral": 1e6, "deepseek_v2": 1e4, "deepseek_v3": 1e4, "kimi_k2": 5e4, "gpt_oss": 15e4}
EPSILON = {"mixtral": 1e-5, "gpt_oss": 1e-5}
YARN = {"deepseek_v2": dict(factor=40, original=4096, fast=32, slow=1, mscale=0.707),
        "deepseek_v3": dict(factor=40, original=4096, fast=32, slow=1, mscale=1.0),
        "kimi_k2": dict(factor=32, original=4096, fast=1, slow=1, mscale=1.0),
        "gpt_oss": dict(factor=32, original=4096, fast=32, slow=1)}
ARCHITECTURE = {"qwen3_moe": "qwen3moe", "mixtral": "llama", "deepseek_v2": "deepseek2", "deepseek_v3": "deepseek2",
                "kimi_k2": "deepseek2", "gpt_oss": "gpt-oss"}
SIGMOID = ("deepseek_v3", "kimi_k2")


def more_bits(layer, layers):
    """llama-quantize's choice of the layers that get Q6_K: the first and last eighth, and every third between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


class Tensors:
    """Tensors of a model, in order: GGUF name, Hugging Face name, shape (rows first), kind (decides the type)."""

    def __init__(self, shape, family, kv_b, nextn, hf):
        self.s, self.family, self.kv_b, self.hf, self.list = shape, family, kv_b, hf, []
        hidden, vocab = shape["hidden_size"], shape["vocab_size"]
        self.add("token_embd.weight", "model.embed_tokens.weight", [vocab, hidden], "embedding")
        for layer in range(shape["num_hidden_layers"] + nextn):
            self.layer = layer
            self.attention()
            self.ffn()
            if layer >= shape["num_hidden_layers"]:
                for ours, theirs, dims, kind in (
                        ("eh_proj.weight", "eh_proj.weight", [hidden, 2 * hidden], "matrix"),
                        ("enorm.weight", "enorm.weight", [hidden], "vector"),
                        ("hnorm.weight", "hnorm.weight", [hidden], "vector"),
                        ("shared_head_norm.weight", "shared_head.norm.weight", [hidden], "vector")):
                    self.add_layer("nextn." + ours, theirs, dims, kind)
        self.add("output_norm.weight", "model.norm.weight", [hidden], "vector")
        self.add("output.weight", "lm_head.weight", [vocab, hidden], "output")

    def add(self, gguf, hf, dims, kind, layer=None):
        self.list.append((gguf, hf, dims, kind, layer))

    def add_layer(self, gguf, hf, dims, kind):
        self.add(f"blk.{self.layer}.{gguf}", f"model.layers.{self.layer}.{hf}", dims, kind, self.layer)

    def attention(self):
        s, hidden, heads = self.s, self.s["hidden_size"], self.s["num_attention_heads"]
        self.add_layer("attn_norm.weight", "input_layernorm.weight", [hidden], "vector")
        second = "post_attention_norm.weight" if self.family == "gpt_oss" else "ffn_norm.weight"
        self.add_layer(second, "post_attention_layernorm.weight", [hidden], "vector")
        if "kv_lora_rank" in s:
            return self.latent_attention()
        head, kv_heads = s["head_dim"], s["num_key_value_heads"]
        for name, rows in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
            kind = "attn_v" if name == "v" else "matrix"
            self.add_layer(f"attn_{name}.weight", f"self_attn.{name}_proj.weight", [rows * head, hidden], kind)
            if self.family == "gpt_oss":
                self.add_layer(f"attn_{name}.bias", f"self_attn.{name}_proj.bias", [rows * head], "vector")
        self.add_layer("attn_output.weight", "self_attn.o_proj.weight", [hidden, heads * head], "matrix")
        if self.family == "gpt_oss":
            self.add_layer("attn_output.bias", "self_attn.o_proj.bias", [hidden], "vector")
            self.add_layer("attn_sinks.weight", "self_attn.sinks", [heads], "vector")
        if self.family == "qwen3_moe":
            self.add_layer("attn_q_norm.weight", "self_attn.q_norm.weight", [head], "vector")
            self.add_layer("attn_k_norm.weight", "self_attn.k_norm.weight", [head], "vector")

    def latent_attention(self):
        s, hidden, heads = self.s, self.s["hidden_size"], self.s["num_attention_heads"]
        rank, nope, rope, v_dim = s["kv_lora_rank"], s["qk_nope_head_dim"], s["qk_rope_head_dim"], s["v_head_dim"]
        q_rank = s.get("q_lora_rank")
        if q_rank:
            self.add_layer("attn_q_a.weight", "self_attn.q_a_proj.weight", [q_rank, hidden], "matrix")
            self.add_layer("attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight", [q_rank], "vector")
            self.add_layer("attn_q_b.weight", "self_attn.q_b_proj.weight", [heads * (nope + rope), q_rank], "matrix")
        else:
            self.add_layer("attn_q.weight", "self_attn.q_proj.weight", [heads * (nope + rope), hidden], "matrix")
        self.add_layer("attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight", [rank + rope, hidden], "matrix")
        self.add_layer("attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight", [rank], "vector")
        if self.hf or self.kv_b == "whole":
            self.add_layer("attn_kv_b.weight", "self_attn.kv_b_proj.weight", [heads * (nope + v_dim), rank], "matrix")
        else:
            self.add_layer("attn_k_b.weight", "", [heads, rank, nope], "attn_k_b")
            self.add_layer("attn_v_b.weight", "", [heads, v_dim, rank], "matrix")
        self.add_layer("attn_output.weight", "self_attn.o_proj.weight", [hidden, heads * v_dim], "matrix")

    def ffn(self):
        s, hidden = self.s, self.s["hidden_size"]
        experts = s.get("num_experts") or s.get("num_local_experts") or s["n_routed_experts"]
        inter = s.get("moe_intermediate_size", s["intermediate_size"])
        if self.layer < s.get("first_k_dense_replace", 0):
            return self.one_ffn("", "mlp.{}_proj.weight", s["intermediate_size"], [])
        block = "block_sparse_moe" if self.family == "mixtral" else "mlp"
        gate = "router" if self.family == "gpt_oss" else "gate"
        self.add_layer("ffn_gate_inp.weight", f"{block}.{gate}.weight", [experts, hidden], "router")
        if self.family in SIGMOID:
            self.add_layer("exp_probs_b.bias", f"{block}.gate.e_score_correction_bias", [experts], "vector")
        if self.family == "gpt_oss":
            self.add_layer("ffn_gate_inp.bias", f"{block}.router.bias", [experts], "vector")
            for part, n in (("gate", inter), ("up", inter), ("down", hidden)):
                self.add_layer(f"ffn_{part}_exps.bias", "", [experts, n], "vector")
        if self.hf:
            name = "w{}.weight" if self.family == "mixtral" else "{}_proj.weight"
            for expert in range(experts):
                self.one_ffn("", f"{block}.experts.{expert}.{name}", inter, [])
        else:
            self.one_ffn("_exps", "", inter, [experts])
        if s.get("n_shared_experts"):
            self.one_ffn("_shexp", block + ".shared_experts.{}_proj.weight", inter * s["n_shared_experts"], [])

    def one_ffn(self, suffix, hf, inter, stack):
        hidden, numbers = self.s["hidden_size"], {"gate": "1", "up": "3", "down": "2"}
        for part in ("gate", "up", "down"):
            kind = ("expert_" if stack else "") + ("down" if part == "down" else "matrix")
            dims = stack + ([hidden, inter] if part == "down" else [inter, hidden])
            self.add_layer(f"ffn_{part}{suffix}.weight", hf.format(numbers[part] if "w{}" in hf else part), dims, kind)


def type_of(kind, layer, layers, base, family):
    if kind in ("vector", "router"):
        return "F32"
    if family == "gpt_oss":
        return "MXFP4" if kind.startswith("expert_") else "Q8_0"
    if kind == "attn_k_b":      # rows of 128 columns, which no K-quant can have
        return base if TYPES[base][1] <= 32 else "Q8_0"
    if base != "Q4_K":
        return base
    if kind == "output" or (kind.endswith(("down", "attn_v")) and more_bits(layer, layers)):
        return "Q6_K"
    return base


def gguf_keys(s, family, kv_b, nextn):
    """The metadata, as (key, value); int is uint32, float is float32."""
    arch = ARCHITECTURE[family]
    keys = [("general.architecture", arch), ("general.quantization_version", 2), ("general.alignment", ALIGNMENT)]

    def put(key, value):
        keys.append((f"{arch}.{key}", value))

    put("block_count", s["num_hidden_layers"] + nextn)
    put("context_length", CONTEXT[family])
    put("embedding_length", s["hidden_size"])
    put("feed_forward_length", s["intermediate_size"])
    put("attention.head_count", s["num_attention_heads"])
    put("attention.layer_norm_rms_epsilon", EPSILON.get(family, 1e-6))
    put("rope.freq_base", float(ROPE_THETA[family]))
    put("expert_count", s.get("num_experts") or s.get("num_local_experts") or s["n_routed_experts"])
    put("expert_used_count", s["num_experts_per_tok"])
    if family != "mixtral":
        put("expert_feed_forward_length", s.get("moe_intermediate_size", s["intermediate_size"]))
    if "kv_lora_rank" in s:
        put_latent(put, s, family, kv_b)
    else:
        put("attention.head_count_kv", s["num_key_value_heads"])
        put("attention.key_length", s["head_dim"])
        put("attention.value_length", s["head_dim"])
    if family == "mixtral":
        put("rope.dimension_count", s["head_dim"])
        put("vocab_size", s["vocab_size"])
    if family == "gpt_oss":
        put("attention.sliding_window", s["sliding_window"])
    if family in YARN:
        yarn = YARN[family]
        put("rope.scaling.type", "yarn")
        put("rope.scaling.factor", float(yarn["factor"]))
        put("rope.scaling.original_context_length", yarn["original"])
        if "mscale" in yarn:
            put("rope.scaling.yarn_log_multiplier", 0.1 * yarn["mscale"])
        if yarn["fast"] != 32:
            put("rope.scaling.yarn_beta_fast", float(yarn["fast"]))
    if nextn:
        put("nextn_predict_layers", nextn)
    return keys


def put_latent(put, s, family, kv_b):
    heads = {"key": s["qk_nope_head_dim"] + s["qk_rope_head_dim"], "value": s["v_head_dim"]}
    if kv_b == "split":
        put("attention.head_count_kv", 1)
        put("attention.key_length", s["kv_lora_rank"] + s["qk_rope_head_dim"])
        put("attention.value_length", s["kv_lora_rank"])
        put("attention.key_length_mla", heads["key"])
        put("attention.value_length_mla", heads["value"])
    else:
        put("attention.head_count_kv", s["num_key_value_heads"])
        put("attention.key_length", heads["key"])
        put("attention.value_length", heads["value"])
    if s.get("q_lora_rank"):
        put("attention.q_lora_rank", s["q_lora_rank"])
    put("attention.kv_lora_rank", s["kv_lora_rank"])
    put("rope.dimension_count", s["qk_rope_head_dim"])
    put("vocab_size", s["vocab_size"])
    put("leading_dense_block_count", s["first_k_dense_replace"])
    put("expert_shared_count", s["n_shared_experts"])
    put("expert_weights_scale", float(s["routed_scaling_factor"]))
    put("expert_weights_norm", family in SIGMOID)
    put("expert_gating_func", 2 if family in SIGMOID else 1)
    if s.get("n_group", 1) > 1:
        put("expert_group_count", s["n_group"])
        put("expert_group_used_count", s["topk_group"])


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key, value):
    """A key and its value; the numbers are GGUF's value types."""
    if isinstance(value, bool):
        return text(key) + struct.pack("<IB", 7, value)
    if isinstance(value, int):
        return text(key) + struct.pack("<II", 4, value)
    if isinstance(value, float):
        return text(key) + struct.pack("<If", 6, value)
    return text(key) + struct.pack("<I", 8) + text(value)


def padded(n):
    return (n + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def write_gguf(path, name, s, args):
    family, layers = s["model_type"], s["num_hidden_layers"]
    keys = [("general.name", name)] + gguf_keys(s, family, args.kv_b, args.nextn)
    tensors = Tensors(s, family, args.kv_b, args.nextn, hf=False).list
    header, at = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys)), 0
    header += b"".join(pair(key, value) for key, value in keys)
    for gguf, _, dims, kind, layer in tensors:
        number, cols, size = TYPES[type_of(kind, layer, layers, args.type, family)]
        if dims[-1] % cols:
            sys.exit(f"{gguf} has rows of {dims[-1]} columns, which --type {args.type} cannot have")
        header += text(gguf) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *reversed(dims))
        header += struct.pack("<IQ", number, at)
        elements = 1
        for dim in dims:
            elements *= dim
        at += padded(elements // cols * size)
    with open(path, "wb") as file:
        file.write(header.ljust(padded(len(header)), b"\0"))
        if args.data == "sparse":
            file.truncate(padded(len(header)) + at)


def hf_config(s, family, nextn):
    config = dict(s, max_position_embeddings=CONTEXT[family], rms_norm_eps=EPSILON.get(family, 1e-6),
                  rope_theta=ROPE_THETA[family], hidden_act="silu", tie_word_embeddings=False, torch_dtype="bfloat16")
    if family == "qwen3_moe":
        config.update(norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[], attention_bias=False)
    if family in YARN:
        yarn = YARN[family]
        config["rope_scaling"] = dict(type="yarn", factor=yarn["factor"], beta_fast=yarn["fast"], beta_slow=yarn["slow"],
                                      original_max_position_embeddings=yarn["original"], mscale=yarn["mscale"],
                                      mscale_all_dim=yarn["mscale"])
        config.update(num_nextn_predict_layers=nextn, moe_layer_freq=1, attention_bias=False)
    if family in SIGMOID:
        config.update(scoring_func="sigmoid", topk_method="noaux_tc", norm_topk_prob=True)
    return config


def write_hf(directory, s, args):
    family = s["model_type"]
    if family == "gpt_oss":
        sys.exit("gpt-oss has no directory form here: its experts are interleaved MXFP4 blocks and scales")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(hf_config(s, family, args.nextn), indent=1) + "\n")
    tensors = Tensors(s, family, args.kv_b, args.nextn, hf=True).list
    parts, weight_map = (len(tensors) + TENSORS_A_FILE - 1) // TENSORS_A_FILE, {}
    for part in range(parts):
        file, header, at = f"model-{part + 1:05}-of-{parts:05}.safetensors", {}, 0
        for _, name, dims, _, _ in tensors[part * TENSORS_A_FILE:(part + 1) * TENSORS_A_FILE]:
            wide = name.endswith("e_score_correction_bias")
            size = 4 if wide else 2
            for dim in dims:
                size *= dim
            header[name] = dict(dtype="F32" if wide else "BF16", shape=dims, data_offsets=[at, at + size])
            at += size
            weight_map[name] = file
        data = json.dumps(header, separators=(",", ":")).encode()
        data += b" " * (-len(data) % 8)
        with open(directory / file, "wb") as out:
            out.write(struct.pack("<Q", len(data)) + data)
            if args.data == "sparse":
                out.truncate(8 + len(data) + at)
    (directory / "model.safetensors.index.json").write_text(json.dumps(dict(metadata={}, weight_map=weight_map)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=[t for t in TYPES if t != "MXFP4"], default="Q4_K", help="of most matrices")
    parser.add_argument("--shapes", type=Path, default=SHAPES, metavar="FILE")
    parser.add_argument("--data", choices=["none", "sparse"], default="none",
                        help="sparse: full size, the weights a hole that reads as zeros")
    parser.add_argument("--kv-b", choices=["split", "whole"], default="split",
                        help="latent attention: the form of newer or of older GGUF files")
    parser.add_argument("--nextn", type=int, default=0, metavar="N", help="layers for multi-token prediction")
    parser.add_argument("--hf", action="store_true", help="OUT is a directory, with a tensor per expert")
    args = parser.parse_args()
    shapes = json.loads(args.shapes.read_text())
    if args.model not in shapes or args.model == "_":
        sys.exit(f"{args.model} is not in {args.shapes}: expected one of {', '.join(k for k in shapes if k != '_')}")
    s = shapes[args.model]
    if s["model_type"] not in ARCHITECTURE:
        sys.exit(f"{args.model}: family {s['model_type']} is not known here: expected one of {', '.join(ARCHITECTURE)}")
    if args.nextn and "kv_lora_rank" not in s:
        sys.exit(f"{args.model}: only DeepSeek's family has layers for multi-token prediction here")
    if args.hf:
        write_hf(args.out, s, args)
    else:
        write_gguf(args.out, args.model, s, args)


if __name__ == "__main__":
    main()
