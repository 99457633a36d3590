#!/usr/bin/env python3
"""Write the Hugging Face golden gpt_oss as a GGUF file (architecture gpt-oss) with the very same weights.

    make_gpt_oss_gguf.py goldens/gpt_oss out.gguf

So golden.json and golden.safetensors hold for both. Needs nothing but Python. Blocks of MXFP4 have neighbours in a byte
there and columns c and 16 + c here; gate and up rows are interleaved there and two tensors here.
"""
import json
import struct
import sys
from pathlib import Path

F32, BF16, MXFP4 = 0, 30, 39


def text(s):
    raw = s.encode()
    return struct.pack("<Q", len(raw)) + raw


def repack(blocks, scales):
    """Rows of 16-byte blocks and of scales, as GGUF's 17-byte blocks."""
    out = bytearray()
    for b, scale in enumerate(scales):
        block = blocks[16 * b:16 * b + 16]
        values = [v for byte in block for v in (byte & 15, byte >> 4)]
        out.append(scale)
        out += bytes(values[c] | values[16 + c] << 4 for c in range(16))
    return bytes(out)


def main():
    folder, out = Path(sys.argv[1]), sys.argv[2]
    config = json.loads((folder / "config.json").read_text())
    raw = (folder / "model.safetensors").read_bytes()
    header_bytes = struct.unpack_from("<Q", raw)[0]
    index = json.loads(raw[8:8 + header_bytes])

    def load(name):
        begin, end = index[name]["data_offsets"]
        return index[name]["shape"], raw[8 + header_bytes + begin:8 + header_bytes + end]

    tensors = []

    def plain(to, name):
        shape, data = load(name)
        if len(shape) == 1:  # vectors are float32 in GGUF files
            data = b"".join(b"\0\0" + data[i:i + 2] for i in range(0, len(data), 2))
        tensors.append((to, shape, F32 if len(shape) == 1 else BF16, data))

    def experts(to, name, first, step):
        """Rows first, first + step, ... of each expert."""
        (n, rows, blocks, _), data = load(name + "_blocks")
        _, scales = load(name + "_scales")
        bias_shape, bias = load(name + "_bias")
        picked = b"".join(
            repack(data[(e * rows + r) * blocks * 16:(e * rows + r + 1) * blocks * 16],
                   scales[(e * rows + r) * blocks:(e * rows + r + 1) * blocks])
            for e in range(n) for r in range(first, rows, step))
        tensors.append((to + ".weight", [n, rows // step, blocks * 32], MXFP4, picked))
        rows_of_bias = [(e * rows + r) * 2 for e in range(n) for r in range(first, bias_shape[1], step)]
        tensors.append((to + ".bias", [n, rows // step], F32, b"".join(b"\0\0" + bias[i:i + 2] for i in rows_of_bias)))

    plain("token_embd.weight", "model.embed_tokens.weight")
    plain("output.weight", "lm_head.weight")
    plain("output_norm.weight", "model.norm.weight")
    for layer in range(config["num_hidden_layers"]):
        a, b = f"model.layers.{layer}.", f"blk.{layer}."
        plain(b + "attn_norm.weight", a + "input_layernorm.weight")
        plain(b + "post_attention_norm.weight", a + "post_attention_layernorm.weight")
        for ours, theirs in (("attn_q", "q_proj"), ("attn_k", "k_proj"), ("attn_v", "v_proj"),
                             ("attn_output", "o_proj")):
            plain(b + ours + ".weight", a + f"self_attn.{theirs}.weight")
            plain(b + ours + ".bias", a + f"self_attn.{theirs}.bias")
        plain(b + "attn_sinks.weight", a + "self_attn.sinks")
        plain(b + "ffn_gate_inp.weight", a + "mlp.router.weight")
        plain(b + "ffn_gate_inp.bias", a + "mlp.router.bias")
        experts(b + "ffn_gate_exps", a + "mlp.experts.gate_up_proj", 0, 2)
        experts(b + "ffn_up_exps", a + "mlp.experts.gate_up_proj", 1, 2)
        experts(b + "ffn_down_exps", a + "mlp.experts.down_proj", 0, 1)

    keys = [text("general.architecture") + struct.pack("<I", 8) + text("gpt-oss"),
            text("gpt-oss.rope.scaling.type") + struct.pack("<I", 8) + text("yarn")]
    rope = config["rope_scaling"]
    for name, value in (("block_count", config["num_hidden_layers"]),
                        ("context_length", config["max_position_embeddings"]),
                        ("embedding_length", config["hidden_size"]),
                        ("attention.head_count", config["num_attention_heads"]),
                        ("attention.head_count_kv", config["num_key_value_heads"]),
                        ("attention.key_length", config["head_dim"]),
                        ("attention.value_length", config["head_dim"]),
                        ("attention.sliding_window", config["sliding_window"]),
                        ("expert_count", config["num_local_experts"]),
                        ("expert_used_count", config["num_experts_per_tok"]),
                        ("expert_feed_forward_length", config["intermediate_size"]),
                        ("vocab_size", config["vocab_size"]),
                        ("rope.scaling.original_context_length", rope["original_max_position_embeddings"])):
        keys.append(text("gpt-oss." + name) + struct.pack("<II", 4, value))
    for name, value in (("attention.layer_norm_rms_epsilon", config["rms_norm_eps"]),
                        ("rope.freq_base", config["rope_theta"]), ("rope.scaling.factor", rope["factor"])):
        keys.append(text("gpt-oss." + name) + struct.pack("<If", 6, value))

    infos, data = b"", b""
    for name, shape, kind, content in tensors:
        infos += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", d) for d in shape[::-1])
        infos += struct.pack("<IQ", kind, len(data))
        data += content + b"\0" * (-len(content) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys) + infos
    Path(out).write_bytes(head + b"\0" * (-len(head) % 32) + data)


if __name__ == "__main__":
    main()
