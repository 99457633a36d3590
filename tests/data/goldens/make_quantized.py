#!/usr/bin/env python3
"""Write tiny random models as Hugging Face directories in the quantised formats of published checkpoints.

    make_quantized.py OUT [NAME ...]

Codes and scales are drawn, so the same bytes come out wherever this runs, and nothing but Python is needed; the outputs
of their dequantised weights are in quantized/NAME (make_quantized_goldens.py). Formats after their definitions:
fine-grained FP8 as DeepSeek-V3 is published, compressed-tensors' float-quantized and pack-quantized, AutoAWQ's GEMM,
AutoGPTQ's.
"""
import json
import math
import random
import struct
import sys
from pathlib import Path
from statistics import NormalDist

BASE = dict(num_hidden_layers=2, vocab_size=256, max_position_embeddings=1024, hidden_act="silu", rms_norm_eps=1e-6,
            tie_word_embeddings=False, torch_dtype="bfloat16")

# Blocks of 128 x 128 end inside most matrices, and begin inside heads of kv_b (96 rows each).
DEEPSEEK = dict(
    BASE, model_type="deepseek_v3", architectures=["DeepseekV3ForCausalLM"], hidden_size=192, intermediate_size=320,
    moe_intermediate_size=160, num_attention_heads=4, num_key_value_heads=4, q_lora_rank=96, kv_lora_rank=128,
    qk_nope_head_dim=32, qk_rope_head_dim=32, v_head_dim=64, n_routed_experts=8, n_shared_experts=1,
    num_experts_per_tok=3, n_group=2, topk_group=1, topk_method="noaux_tc", scoring_func="sigmoid",
    norm_topk_prob=True, routed_scaling_factor=2.5, first_k_dense_replace=1, moe_layer_freq=1,
    num_nextn_predict_layers=0, attention_bias=False, rope_theta=10000.0, rope_scaling=None)

QWEN3 = dict(
    BASE, model_type="qwen3_moe", architectures=["Qwen3MoeForCausalLM"], hidden_size=128, intermediate_size=256,
    moe_intermediate_size=256, num_attention_heads=8, num_key_value_heads=2, head_dim=32, num_experts=4,
    num_experts_per_tok=2, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[], attention_bias=False,
    use_sliding_window=False, sliding_window=None, rope_theta=1000000.0, rope_scaling=None)


def compressed(format_, weights):
    return dict(quant_method="compressed-tensors", format=format_, ignore=["lm_head", "re:.*mlp.gate$"],
                config_groups=dict(group_0=dict(targets=["Linear"], input_activations=None, weights=weights)))


def integers(group, symmetric, bits=4, actorder=None):
    return dict(type="int", num_bits=bits, strategy="group", group_size=group, symmetric=symmetric, actorder=actorder)


def gptq(bits, group, desc_act, sym):
    return dict(quant_method="gptq", bits=bits, group_size=group, desc_act=desc_act, sym=sym, checkpoint_format="gptq")


MODELS = {
    "deepseek_v3_fp8": dict(seed=1, config=DEEPSEEK, quantization=dict(
        quant_method="fp8", fmt="e4m3", activation_scheme="dynamic", weight_block_size=[128, 128])),
    "qwen3_moe_fp8_channel": dict(seed=2, config=QWEN3, quantization=compressed(
        "float-quantized", dict(type="float", num_bits=8, strategy="channel", symmetric=True))),
    "qwen3_moe_int4_32": dict(seed=3, config=QWEN3, quantization=compressed("pack-quantized", integers(32, True))),
    "qwen3_moe_int4_128": dict(seed=4, config=QWEN3, quantization=compressed("pack-quantized", integers(128, False))),
    "qwen3_moe_awq": dict(seed=5, config=QWEN3, quantization=dict(
        quant_method="awq", bits=4, group_size=64, zero_point=True, version="gemm", modules_to_not_convert=None)),
    "qwen3_moe_gptq": dict(seed=6, config=QWEN3, quantization=gptq(4, 128, False, False)),
    "qwen3_moe_gptq_act_order": dict(seed=7, config=QWEN3, quantization=gptq(4, 32, True, False)),
    "qwen3_moe_gptq_8": dict(seed=8, config=QWEN3, quantization=gptq(8, 128, False, True)),
    "qwen3_moe_gptq_8_zeros": dict(seed=9, config=QWEN3, quantization=gptq(8, 64, False, False)),
    "qwen3_moe_int8_32": dict(seed=10, config=QWEN3, quantization=compressed(
        "pack-quantized", integers(32, True, bits=8))),
    "qwen3_moe_int4_act_order": dict(seed=11, config=QWEN3, quantization=compressed(
        "pack-quantized", integers(64, False, actorder="group"))),
}

# ------------------------------------------------------------------------------------------------ numbers

NORMAL = [NormalDist().inv_cdf((b + 0.5) / 256) for b in range(256)]    # a normal variate for each byte


def bf16(value):
    bits, = struct.unpack("<I", struct.pack("<f", value))
    return struct.pack("<H", (bits + 0x7fff + (bits >> 16 & 1)) >> 16)


def f16(value):
    return struct.pack("<e", value)


def e4m3(code):
    exponent, mantissa = code >> 3 & 15, code & 7
    value = math.ldexp(mantissa, -9) if exponent == 0 else math.ldexp(8 + mantissa, exponent - 10)
    return -value if code & 128 else value


CODES = sorted((c for c in range(256) if c & 127 != 127), key=e4m3)
F8_STD = 100.0      # codes reach 289 of at most 448
F8 = bytes(min(CODES, key=lambda c: abs(e4m3(c) - F8_STD * z)) for z in NORMAL)
INT_STD = {4: 2.6, 8: 40.0}

# ------------------------------------------------------------------------------------------------ tensors


class Writer:
    def __init__(self, seed):
        self.random, self.tensors = random.Random(seed), {}

    def add(self, name, dtype, shape, data):
        self.tensors[name] = dtype, shape, data

    def plain(self, name, shape, std, mean=0.0, to=bf16, dtype="BF16"):
        table = [to(mean + std * z) for z in NORMAL]
        self.add(name, dtype, shape, b"".join(table[b] for b in self.random.randbytes(math.prod(shape))))

    def scale(self, std):
        return std * self.random.uniform(0.7, 1.4)

    def fp8(self, stem, rows, cols, std, block):
        self.add(stem + ".weight", "F8_E4M3", [rows, cols], self.random.randbytes(rows * cols).translate(F8))
        shape = [-(-rows // block[0]), -(-cols // block[1])]
        scales = [struct.pack("<f", self.scale(std / F8_STD)) for _ in range(math.prod(shape))]
        self.add(stem + ".weight_scale_inv", "F32", shape, b"".join(scales))

    def fp8_channel(self, stem, rows, cols, std):
        self.add(stem + ".weight", "F8_E4M3", [rows, cols], self.random.randbytes(rows * cols).translate(F8))
        self.add(stem + ".weight_scale", "BF16", [rows, 1],
                 b"".join(bf16(self.scale(std / F8_STD)) for _ in range(rows)))

    def draw_int(self, rows, cols, group, symmetric, bits=4):
        """Codes by row, and zeros by row and group: of each `group` columns in turn."""
        groups, half, std = cols // group, 1 << bits - 1, INT_STD[bits]
        spread = 5 * half // 8
        zeros = [[half if symmetric else self.random.randrange(half - spread, half + spread) for _ in range(groups)]
                 for _ in range(rows)]
        tables = {zero: bytes(max(0, min(2 * half - 1, round(std * z) + zero)) for z in NORMAL)
                  for zero in range(2 * half + 1)}
        codes = [b"".join(self.random.randbytes(group).translate(tables[zero]) for zero in row) for row in zeros]
        return codes, zeros

    def in_any_order(self, codes, group):
        """The columns' groups when columns were quantised in an order of their own, and the codes put back."""
        order = list(range(len(codes[0])))
        self.random.shuffle(order)          # column i of the codes is column order[i] of the matrix
        back = sorted(range(len(order)), key=order.__getitem__)
        return [i // group for i in back], [bytes(row[i] for i in back) for row in codes]

    def packed(self, stem, rows, cols, std, weights):
        """compressed-tensors: neighbours of a row in a word, zeros of so many rows in a word."""
        group, symmetric, bits = weights["group_size"], weights["symmetric"], weights["num_bits"]
        codes, zeros = self.draw_int(rows, cols, group, symmetric, bits)
        if weights["actorder"] is not None:
            g_idx, codes = self.in_any_order(codes, group)
            self.add(stem + ".weight_g_idx", "I32", [cols], struct.pack(f"<{cols}i", *g_idx))
        data = b"".join(bytes(row[i] | row[i + 1] << 4 for i in range(0, cols, 2)) if bits == 4 else row
                        for row in codes)
        self.add(stem + ".weight_packed", "I32", [rows, cols * bits // 32], data)
        groups = cols // group
        self.add(stem + ".weight_scale", "BF16", [rows, groups],
                 b"".join(bf16(self.scale(std / INT_STD[bits])) for _ in range(rows * groups)))
        if not symmetric:
            n = 32 // bits
            words = [sum(zeros[n * r + i][g] << bits * i for i in range(n))
                     for r in range(rows // n) for g in range(groups)]
            self.add(stem + ".weight_zero_point", "I32", [rows // n, groups], struct.pack(f"<{len(words)}I", *words))
        self.add(stem + ".weight_shape", "I64", [2], struct.pack("<2q", rows, cols))

    def transposed(self, stem, rows, cols, std, q):
        """AWQ: eight rows of a column in a word, in an order of its own; GPTQ: as many columns of a row as fit. Zeros of
        so many rows in a word, those of GPTQ less one."""
        group, awq, bits = q["group_size"], q["quant_method"] == "awq", q["bits"]
        n = 32 // bits
        codes, zeros = self.draw_int(rows, cols, group, q.get("sym", False), bits)
        g_idx = [c // group for c in range(cols)]
        if q.get("desc_act"):
            g_idx, codes = self.in_any_order(codes, group)
        order = [0, 2, 4, 6, 1, 3, 5, 7] if awq else range(n)
        less = 0 if awq else 1
        if awq:
            words = [sum(codes[8 * r + order[i]][c] << 4 * i for i in range(8))
                     for c in range(cols) for r in range(rows // 8)]
            shape = [cols, rows // 8]
        else:
            words = [sum(codes[r][n * c + i] << bits * i for i in range(n)) for c in range(cols // n) for r in range(rows)]
            shape = [cols // n, rows]
        self.add(stem + ".qweight", "I32", shape, struct.pack(f"<{len(words)}I", *words))
        groups = cols // group
        words = [sum(zeros[n * r + order[i]][g] - less << bits * i for i in range(n))
                 for g in range(groups) for r in range(rows // n)]
        self.add(stem + ".qzeros", "I32", [groups, rows // n], struct.pack(f"<{len(words)}I", *words))
        self.add(stem + ".scales", "F16", [groups, rows],
                 b"".join(f16(self.scale(std / INT_STD[bits])) for _ in range(groups * rows)))
        if not awq:
            self.add(stem + ".g_idx", "I32", [cols], struct.pack(f"<{cols}i", *g_idx))

    def linear(self, stem, rows, cols, std, q):
        method = q["quant_method"]
        if method == "fp8":
            return self.fp8(stem, rows, cols, std, q["weight_block_size"])
        if method != "compressed-tensors":
            return self.transposed(stem, rows, cols, std, q)
        weights = q["config_groups"]["group_0"]["weights"]
        if weights["type"] == "float":
            return self.fp8_channel(stem, rows, cols, std)
        return self.packed(stem, rows, cols, std, weights)

    def bytes(self):
        header, data = {"__metadata__": {"format": "pt"}}, b""
        size = dict(I64=8, F32=4, I32=4, BF16=2, F16=2, F8_E4M3=1)      # wide ones first, as safetensors orders them
        for name, (dtype, shape, content) in sorted(self.tensors.items(), key=lambda t: (-size[t[1][0]], t[0])):
            header[name] = dict(dtype=dtype, shape=shape, data_offsets=[len(data), len(data) + len(content)])
            data += content
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + data


def attention(config):
    """Name, rows, columns, gain of each projection, and names and lengths of the norms."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    if config["model_type"] == "deepseek_v3":
        q_dim = config["qk_nope_head_dim"] + config["qk_rope_head_dim"]
        lora, kv_lora, v = config["q_lora_rank"], config["kv_lora_rank"], config["v_head_dim"]
        return ([("q_a_proj", lora, hidden, 1), ("q_b_proj", heads * q_dim, lora, 2),
                 ("kv_a_proj_with_mqa", kv_lora + config["qk_rope_head_dim"], hidden, 1),
                 ("kv_b_proj", heads * (config["qk_nope_head_dim"] + v), kv_lora, 1),
                 ("o_proj", hidden, heads * v, 1)], [("q_a_layernorm", lora), ("kv_a_layernorm", kv_lora)])
    dim = config["head_dim"]
    kv = config["num_key_value_heads"] * dim
    return ([("q_proj", heads * dim, hidden, 2), ("k_proj", kv, hidden, 1), ("v_proj", kv, hidden, 1),
             ("o_proj", hidden, heads * dim, 1)], [("q_norm", dim), ("k_norm", dim)])


def write(name, out):
    spec = MODELS[name]
    config, q, w = spec["config"], spec["quantization"], Writer(spec["seed"])
    hidden, vocab = config["hidden_size"], config["vocab_size"]
    deepseek = config["model_type"] == "deepseek_v3"
    w.plain("model.embed_tokens.weight", [vocab, hidden], 1)
    w.plain("lm_head.weight", [vocab, hidden], 2.5 / math.sqrt(hidden))
    w.plain("model.norm.weight", [hidden], 0.15, 1)

    def linear(stem, rows, cols, gain=1):
        w.linear(stem, rows, cols, gain / math.sqrt(cols), q)

    def ffn(stem, width):
        linear(stem + "gate_proj", width, hidden)
        linear(stem + "up_proj", width, hidden)
        linear(stem + "down_proj", hidden, width)

    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            w.plain(at + norm + ".weight", [hidden], 0.15, 1)
        projections, norms = attention(config)
        for projection, rows, cols, gain in projections:
            linear(at + "self_attn." + projection, rows, cols, gain)
        for norm, n in norms:
            w.plain(at + f"self_attn.{norm}.weight", [n], 0.15, 1)
        if deepseek and layer < config["first_k_dense_replace"]:
            ffn(at + "mlp.", config["intermediate_size"])
            continue
        experts = config["n_routed_experts" if deepseek else "num_experts"]
        w.plain(at + "mlp.gate.weight", [experts, hidden], 2 / math.sqrt(hidden))
        for e in range(experts):
            ffn(at + f"mlp.experts.{e}.", config["moe_intermediate_size"])
        if deepseek:
            w.plain(at + "mlp.gate.e_score_correction_bias", [experts], 0.05, to=lambda v: struct.pack("<f", v),
                    dtype="F32")
            ffn(at + "mlp.shared_experts.", config["moe_intermediate_size"])
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(dict(config, quantization_config=q), indent=1) + "\n")
    (out / "model.safetensors").write_bytes(w.bytes())


def main():
    for name in sys.argv[2:] or MODELS:
        write(name, Path(sys.argv[1]) / name)


if __name__ == "__main__":
    main()
