#!/usr/bin/env python3
"""Write a synthetic mixture-of-experts GGUF (architecture qwen3moe, random weights) for speed and memory tests.

    make_synthetic_moe.py out.gguf --layers 10                Q4_K, hidden 2048, 128 experts of 768, top 8
    make_synthetic_moe.py out.gguf --type Q8_0 --layers 6

Blocks are drawn in their packed form from a tile of random blocks, so a gigabyte takes seconds and needs nothing but
Python. Values have mean zero and standard deviation 1/sqrt(columns): activations stay finite, and the router, which is
F32, spreads tokens over all experts. The model says nothing sensible.
"""

import argparse
import array
import random
import struct

F32, F16, BF16, Q4_0, Q8_0, Q4_K, Q5_K, Q6_K = 0, 1, 30, 2, 8, 12, 13, 14
TYPES = {"F16": F16, "BF16": BF16, "Q4_0": Q4_0, "Q8_0": Q8_0, "Q4_K": Q4_K, "Q5_K": Q5_K, "Q6_K": Q6_K}
BLOCK = {F32: (1, 4), F16: (1, 2), BF16: (1, 2), Q4_0: (32, 18), Q8_0: (32, 34), Q4_K: (256, 144), Q5_K: (256, 176),
         Q6_K: (256, 210)}  # columns, bytes
TILE_BYTES = 1 << 20


def f16(x):
    return struct.pack("<e", x)


def block(rng, kind, std):
    """One random block; layouts as in ggml-common.h."""
    jitter = rng.uniform(0.8, 1.2)
    if kind == Q8_0:
        return f16(std / 73.3 * jitter) + bytes(b if b != 128 else 127 for b in rng.randbytes(32))
    if kind == Q4_0:
        return f16(std / 4.63 * jitter) + rng.randbytes(16)
    if kind in (Q4_K, Q5_K):
        levels = 4.61 if kind == Q4_K else 9.23
        d = std / (levels * 48.0) * jitter
        scales = [rng.randrange(32, 64) for _ in range(8)]  # the mins are the same: the mean is zero
        packed = bytes((scales[i] & 63) | ((scales[i + 4] >> 4) << 6) for i in range(4)) * 2
        packed += bytes((scales[i + 4] & 15) | ((scales[i + 4] & 15) << 4) for i in range(4))
        middle = 7.5 if kind == Q4_K else 15.5
        return f16(d) + f16(middle * d) + packed + rng.randbytes(128 if kind == Q4_K else 160)
    if kind == Q6_K:
        return rng.randbytes(192) + bytes(rng.randrange(32, 64) for _ in range(16)) + f16(std / (18.5 * 48.0) * jitter)
    value = rng.gauss(0.0, std)
    return f16(value) if kind == F16 else struct.pack("<f", value)[2:] if kind == BF16 else struct.pack("<f", value)


class Writer:
    def __init__(self):
        self.keys, self.tensors = [], []

    def text(self, s):
        raw = s.encode()
        return struct.pack("<Q", len(raw)) + raw

    def key(self, name, kind, value):
        self.keys.append(self.text(name) + struct.pack("<I", kind) + value)

    def u32(self, name, value):
        self.key("qwen3moe." + name, 4, struct.pack("<I", value))

    def f32(self, name, value):
        self.key("qwen3moe." + name, 6, struct.pack("<f", value))

    def write(self, path, rng):
        infos, at = b"", 0
        for name, dims, kind, _ in self.tensors:
            infos += self.text(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
            infos += struct.pack("<IQ", kind, at)
            at += (nbytes(dims, kind) + 31) // 32 * 32
        header = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.keys)) + b"".join(self.keys) + infos
        tiles = {}
        with open(path, "wb") as file:
            file.write(header + b"\0" * (-len(header) % 32))
            for name, dims, kind, std in self.tensors:
                left = nbytes(dims, kind)
                padding = -left % 32
                if std is None:  # a norm
                    file.write(array.array("f", [1.0] * dims[0]).tobytes())
                    left = 0
                elif kind == F32:  # the router: truly random, or some experts would be twins
                    file.write(array.array("f", [rng.gauss(0.0, std) for _ in range(left // 4)]).tobytes())
                    left = 0
                elif (kind, std) not in tiles:
                    n = TILE_BYTES // BLOCK[kind][1]
                    tiles[kind, std] = b"".join(block(rng, kind, std) for _ in range(n))
                while left > 0:
                    tile = tiles[kind, std]
                    begin = rng.randrange(len(tile) // BLOCK[kind][1]) * BLOCK[kind][1]
                    file.write(tile[begin:begin + left])
                    left -= min(left, len(tile) - begin)
                file.write(b"\0" * padding)


def nbytes(dims, kind):
    n = 1
    for d in dims:
        n *= d
    return n // BLOCK[kind][0] * BLOCK[kind][1]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--type", default="Q4_K", choices=sorted(TYPES))
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--hidden", type=int, default=2048)
    p.add_argument("--heads", type=int, default=32)
    p.add_argument("--kv-heads", type=int, default=4)
    p.add_argument("--head-dim", type=int, default=128)
    p.add_argument("--experts", type=int, default=128)
    p.add_argument("--top-k", type=int, default=8)
    p.add_argument("--inter", type=int, default=768)
    p.add_argument("--vocab", type=int, default=32000)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()

    kind, w = TYPES[a.type], Writer()
    w.key("general.architecture", 8, w.text("qwen3moe"))
    w.key("general.name", 8, w.text(f"synthetic {a.type}"))
    for name, value in (("block_count", a.layers), ("context_length", 32768), ("embedding_length", a.hidden),
                        ("feed_forward_length", a.inter * a.top_k), ("attention.head_count", a.heads),
                        ("attention.head_count_kv", a.kv_heads), ("attention.key_length", a.head_dim),
                        ("attention.value_length", a.head_dim), ("expert_count", a.experts),
                        ("expert_used_count", a.top_k), ("expert_feed_forward_length", a.inter),
                        ("vocab_size", a.vocab)):
        w.u32(name, value)
    w.f32("rope.freq_base", 1e6)
    w.f32("attention.layer_norm_rms_epsilon", 1e-6)
    # A vocabulary that other programs load too: bytes as tokens of the gpt2 kind.
    tokens = b"".join(w.text(f"t{i}") for i in range(a.vocab))
    w.key("tokenizer.ggml.model", 8, w.text("gpt2"))
    w.key("tokenizer.ggml.pre", 8, w.text("qwen2"))
    w.key("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, a.vocab) + tokens)
    w.key("tokenizer.ggml.token_type", 9, struct.pack("<IQ", 5, a.vocab) + struct.pack("<i", 1) * a.vocab)
    w.key("tokenizer.ggml.merges", 9, struct.pack("<IQ", 8, 1) + w.text("t 1"))
    w.key("tokenizer.ggml.eos_token_id", 4, struct.pack("<I", 0))

    q, kv = a.heads * a.head_dim, a.kv_heads * a.head_dim
    add = lambda name, dims, t, fan: w.tensors.append((name, dims, t, None if fan is None else fan ** -0.5))
    add("token_embd.weight", [a.hidden, a.vocab], kind, 1)
    for i in range(a.layers):
        b = f"blk.{i}."
        add(b + "attn_norm.weight", [a.hidden], F32, None)
        add(b + "attn_q.weight", [a.hidden, q], kind, a.hidden)
        add(b + "attn_k.weight", [a.hidden, kv], kind, a.hidden)
        add(b + "attn_v.weight", [a.hidden, kv], kind, a.hidden)
        add(b + "attn_output.weight", [q, a.hidden], kind, q)
        add(b + "attn_q_norm.weight", [a.head_dim], F32, None)
        add(b + "attn_k_norm.weight", [a.head_dim], F32, None)
        add(b + "ffn_norm.weight", [a.hidden], F32, None)
        add(b + "ffn_gate_inp.weight", [a.hidden, a.experts], F32, a.hidden)
        add(b + "ffn_gate_exps.weight", [a.hidden, a.inter, a.experts], kind, a.hidden)
        add(b + "ffn_up_exps.weight", [a.hidden, a.inter, a.experts], kind, a.hidden)
        add(b + "ffn_down_exps.weight", [a.inter, a.hidden, a.experts], kind, a.inter)
    add("output_norm.weight", [a.hidden], F32, None)
    add("output.weight", [a.hidden, a.vocab], kind, a.hidden)
    w.write(a.out, random.Random(a.seed))


if __name__ == "__main__":
    main()
