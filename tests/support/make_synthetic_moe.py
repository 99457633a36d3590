#!/usr/bin/env python3
"""Write a synthetic mixture-of-experts GGUF (random weights) for speed and memory tests.

    make_synthetic_moe.py out.gguf --layers 10                qwen3moe, Q4_K, hidden 2048, 128 experts of 768, top 8
    make_synthetic_moe.py out.gguf --type Q8_0 --layers 6
    make_synthetic_moe.py out.gguf --arch deepseek2 --layers 8   MLA, 64 experts of 1408, top 6, 2 shared
    make_synthetic_moe.py out.gguf --arch gpt-oss --layers 6     every other layer over a window of 128, 32 experts of 2880, top 4

Rows that Q4_K's blocks of 256 do not divide are Q5_0, as llama-quantize makes them; of the other types, Q8_0.

Blocks are drawn in their packed form from a tile of random blocks, so a gigabyte takes seconds and needs nothing but
Python. Values have mean zero and standard deviation 1/sqrt(columns): activations stay finite, and the router, which is
F32, spreads tokens over all experts. The model says nothing sensible.
"""

import argparse
import array
import random
import struct

F32, F16, BF16, Q4_0, Q5_0, Q8_0, Q4_K, Q5_K, Q6_K = 0, 1, 30, 2, 6, 8, 12, 13, 14
TYPES = {"F16": F16, "BF16": BF16, "Q4_0": Q4_0, "Q8_0": Q8_0, "Q4_K": Q4_K, "Q5_K": Q5_K, "Q6_K": Q6_K}
BLOCK = {F32: (1, 4), F16: (1, 2), BF16: (1, 2), Q4_0: (32, 18), Q5_0: (32, 22), Q8_0: (32, 34), Q4_K: (256, 144),
         Q5_K: (256, 176), Q6_K: (256, 210)}  # columns, bytes
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
    if kind == Q5_0:
        return f16(std / 9.23 * jitter) + rng.randbytes(20)
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
    def __init__(self, arch, kind):
        self.arch, self.kind = arch, kind
        self.keys, self.tensors = [], []

    def text(self, s):
        raw = s.encode()
        return struct.pack("<Q", len(raw)) + raw

    def key(self, name, kind, value):
        self.keys.append(self.text(name) + struct.pack("<I", kind) + value)

    def u32(self, name, value):
        self.key(f"{self.arch}.{name}", 4, struct.pack("<I", value))

    def f32(self, name, value):
        self.key(f"{self.arch}.{name}", 6, struct.pack("<f", value))

    def norm(self, name, columns):
        self.tensors.append((name, [columns], F32, None))

    def zeros(self, name, *dims):
        self.tensors.append((name, list(dims), F32, 0.0))

    def weight(self, name, columns, *rows, std=None, kind=None):
        kind = self.kind if kind is None else kind
        if columns % BLOCK[kind][0]:
            kind = Q5_0 if kind == Q4_K else Q8_0
        self.tensors.append((name, [columns, *rows], kind, columns ** -0.5 if std is None else std))

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


def vocabulary(w, size):
    """One that other programs load too, of the gpt2 kind: each byte, the one that ends a text, and pairs of bytes, those of plain text
    first. Where there is no room for the bytes, names that no text is made of."""
    merges = ["t 1"]
    tokens = [f"t{i}" for i in range(size)]
    end = 0
    if size > 257:
        # GPT-2's characters for bytes: those that can be seen stand for themselves.
        seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
        letters = [*map(chr, seen), *(chr(256 + i) for i in range(256 - len(seen)))]
        space = chr(256 + 32)
        letters.sort(key=lambda c: (c != space, not c.isascii(), not c.islower(), c))
        pairs = ((a, b) for n in range(256) for a, b in [*((letters[i], letters[n]) for i in range(n + 1)), *((letters[n], letters[i]) for i in range(n))])
        merges = [f"{a} {b}" for (a, b), _ in zip(pairs, range(size - 257))]
        end = 256
        tokens = [*letters, "<|end|>", *(m.replace(" ", "") for m in merges)]
        tokens += [f"<|{i}|>" for i in range(len(tokens), size)]  # more than there are pairs
    w.u32("vocab_size", size)
    w.key("tokenizer.ggml.model", 8, w.text("gpt2"))
    w.key("tokenizer.ggml.pre", 8, w.text("qwen2"))
    w.key("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, size) + b"".join(map(w.text, tokens)))
    kinds = [3 if t.startswith("<|") and t.endswith("|>") else 1 for t in tokens]  # control or normal
    w.key("tokenizer.ggml.token_type", 9, struct.pack("<IQ", 5, size) + struct.pack(f"<{size}i", *kinds))
    w.key("tokenizer.ggml.merges", 9, struct.pack("<IQ", 8, len(merges)) + b"".join(map(w.text, merges)))
    w.key("tokenizer.ggml.eos_token_id", 4, struct.pack("<I", end))


def grouped_query_attention(w, b, a):
    q, kv = a.heads * a.head_dim, a.kv_heads * a.head_dim
    w.weight(b + "attn_q.weight", a.hidden, q)
    w.weight(b + "attn_k.weight", a.hidden, kv)
    w.weight(b + "attn_v.weight", a.hidden, kv)
    w.weight(b + "attn_output.weight", q, a.hidden)
    w.norm(b + "attn_q_norm.weight", a.head_dim)
    w.norm(b + "attn_k_norm.weight", a.head_dim)


# DeepSeek-V2-Lite's: elements of the latent, and of a head's part without rope, with rope, and value. That model has no
# latent of queries, but llama.cpp takes the lack of one for a model of its 27 layers only.
LATENT, NOPE, ROPE, VALUE = 512, 128, 64, 128
Q_LATENT = 768


def latent_attention(w, b, a):
    w.weight(b + "attn_q_a.weight", a.hidden, Q_LATENT)
    w.norm(b + "attn_q_a_norm.weight", Q_LATENT)
    w.weight(b + "attn_q_b.weight", Q_LATENT, a.heads * (NOPE + ROPE))
    w.weight(b + "attn_kv_a_mqa.weight", a.hidden, LATENT + ROPE)
    w.norm(b + "attn_kv_a_norm.weight", LATENT)
    w.weight(b + "attn_k_b.weight", NOPE, LATENT, a.heads)
    w.weight(b + "attn_v_b.weight", LATENT, VALUE, a.heads)
    w.weight(b + "attn_output.weight", a.heads * VALUE, a.hidden)


def ffn(w, b, a, suffix, width, *experts):
    w.weight(f"{b}ffn_gate{suffix}.weight", a.hidden, width, *experts)
    w.weight(f"{b}ffn_up{suffix}.weight", a.hidden, width, *experts)
    w.weight(f"{b}ffn_down{suffix}.weight", width, a.hidden, *experts)


def qwen3moe(w, a):
    for name, value in (("feed_forward_length", a.inter * a.top_k), ("attention.head_count_kv", a.kv_heads),
                        ("attention.key_length", a.head_dim), ("attention.value_length", a.head_dim)):
        w.u32(name, value)


def deepseek2(w, a):
    for name, value in (("feed_forward_length", a.dense_inter), ("attention.head_count_kv", 1),
                        ("attention.key_length", LATENT + ROPE), ("attention.value_length", LATENT),
                        ("attention.key_length_mla", NOPE + ROPE), ("attention.value_length_mla", VALUE),
                        ("attention.kv_lora_rank", LATENT), ("attention.q_lora_rank", Q_LATENT), ("rope.dimension_count", ROPE),
                        ("leading_dense_block_count", a.dense_layers), ("expert_shared_count", a.shared)):
        w.u32(name, value)
    w.f32("expert_weights_scale", 1.0)


def gpt_oss(w, a):
    for name, value in (("attention.head_count_kv", a.kv_heads), ("attention.key_length", a.head_dim),
                        ("attention.value_length", a.head_dim), ("attention.sliding_window", 128)):
        w.u32(name, value)


def biased_attention(w, b, a):
    q, kv = a.heads * a.head_dim, a.kv_heads * a.head_dim
    for name, columns, rows in (("attn_q", a.hidden, q), ("attn_k", a.hidden, kv), ("attn_v", a.hidden, kv),
                                ("attn_output", q, a.hidden)):
        w.weight(f"{b}{name}.weight", columns, rows)
        w.zeros(f"{b}{name}.bias", rows)
    w.zeros(b + "attn_sinks.weight", a.heads)
    w.zeros(b + "ffn_gate_inp.bias", a.experts)
    for name, rows in (("gate", a.inter), ("up", a.inter), ("down", a.hidden)):
        w.zeros(f"{b}ffn_{name}_exps.bias", rows, a.experts)


# Metadata, attention, and the defaults of a published model: Qwen3-30B-A3B, DeepSeek-V2-Lite, gpt-oss-20b.
ARCHS = {
    "qwen3moe": (qwen3moe, grouped_query_attention,
                 dict(heads=32, kv_heads=4, head_dim=128, experts=128, top_k=8, inter=768, shared=0, dense_layers=0,
                      dense_inter=0)),
    "deepseek2": (deepseek2, latent_attention,
                  dict(heads=16, experts=64, top_k=6, inter=1408, shared=2, dense_layers=1, dense_inter=10944)),
    "gpt-oss": (gpt_oss, biased_attention,
                dict(heads=64, kv_heads=8, head_dim=64, experts=32, top_k=4, inter=2880, shared=0, dense_layers=0,
                     dense_inter=0)),
}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--arch", default="qwen3moe", choices=sorted(ARCHS))
    p.add_argument("--type", default="Q4_K", choices=sorted(TYPES))
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--hidden", type=int, default=2048)
    for option in ("heads", "kv-heads", "head-dim", "experts", "top-k", "inter", "shared", "dense-layers", "dense-inter"):
        p.add_argument("--" + option, type=int, help="default: the architecture's")
    p.add_argument("--vocab", type=int, default=32000)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    metadata, attention, defaults = ARCHS[a.arch]
    for name, value in defaults.items():
        if getattr(a, name) is None:
            setattr(a, name, value)

    w = Writer(a.arch, TYPES[a.type])
    w.key("general.architecture", 8, w.text(a.arch))
    w.key("general.name", 8, w.text(f"synthetic {a.type}"))
    for name, value in (("block_count", a.layers), ("context_length", 32768), ("embedding_length", a.hidden),
                        ("attention.head_count", a.heads), ("expert_count", a.experts), ("expert_used_count", a.top_k),
                        ("expert_feed_forward_length", a.inter)):
        w.u32(name, value)
    w.f32("rope.freq_base", 1e6)
    w.f32("attention.layer_norm_rms_epsilon", 1e-6)
    metadata(w, a)
    vocabulary(w, a.vocab)

    w.weight("token_embd.weight", a.hidden, a.vocab, std=1)
    for i in range(a.layers):
        b = f"blk.{i}."
        w.norm(b + "attn_norm.weight", a.hidden)
        attention(w, b, a)
        w.norm(b + ("post_attention_norm" if a.arch == "gpt-oss" else "ffn_norm") + ".weight", a.hidden)
        if i < a.dense_layers:
            ffn(w, b, a, "", a.dense_inter)
            continue
        w.weight(b + "ffn_gate_inp.weight", a.hidden, a.experts, kind=F32)
        ffn(w, b, a, "_exps", a.inter, a.experts)
        if a.shared:
            ffn(w, b, a, "_shexp", a.inter * a.shared)
    w.norm("output_norm.weight", a.hidden)
    w.weight("output.weight", a.hidden, a.vocab)
    w.write(a.out, random.Random(a.seed))


if __name__ == "__main__":
    main()
