#!/usr/bin/env python3
"""Write the Hugging Face golden gpt_oss from the GGUF file that make_gpt_oss_gguf.py made of it: the same bytes again.

    make_gpt_oss_hf.py gguf/gpt_oss/model.gguf OUT

So the tree holds these weights once. Needs nothing but Python. Fails unless model.safetensors is the very file that
make_goldens.py wrote and golden.safetensors was computed from.
"""
import hashlib
import json
import struct
import sys
from pathlib import Path

SHA256 = "a2902ee2365d9fd9ec6240a7da4ecc8c13f250e069ec9c055bc387c2761384f5"
SIZES = {0: (1, 4), 30: (1, 2), 39: (32, 17)}     # GGML type: columns and bytes of a block
SCALARS = {4: "<I", 6: "<f"}


class Reader:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, form):
        value, = struct.unpack_from(form, self.raw, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self):
        n = self.take("<Q")
        self.at += n
        return self.raw[self.at - n:self.at].decode()


def read_gguf(path):
    """Tensor name -> shape, GGML type, bytes."""
    r = Reader(path.read_bytes())
    assert r.raw[:4] == b"GGUF"
    r.at = 8
    n_tensors, n_keys = r.take("<Q"), r.take("<Q")
    for _ in range(n_keys):
        r.text()
        kind = r.take("<I")
        r.text() if kind == 8 else r.take(SCALARS[kind])
    infos = []
    for _ in range(n_tensors):
        name, dims = r.text(), r.take("<I")
        shape = [r.take("<Q") for _ in range(dims)][::-1]
        infos.append((name, shape, r.take("<I"), r.take("<Q")))
    data = -(-r.at // 32) * 32
    tensors = {}
    for name, shape, kind, offset in infos:
        n = 1
        for d in shape:
            n *= d
        cols, size = SIZES[kind]
        tensors[name] = shape, kind, r.raw[data + offset:data + offset + n // cols * size]
    return tensors


def to_bf16(kind, data):
    return data if kind == 30 else b"".join(data[i + 2:i + 4] for i in range(0, len(data), 4))


def unpack_block(block):
    """GGUF's columns c and 16 + c in byte c -> neighbours in a byte."""
    values = [b & 15 for b in block] + [b >> 4 for b in block]
    return bytes(values[2 * i] | values[2 * i + 1] << 4 for i in range(16))


def main():
    gguf, out = read_gguf(Path(sys.argv[1])), Path(sys.argv[2])
    tensors = {}

    def plain(to, name):
        shape, kind, data = gguf[name]
        tensors[to] = "BF16", shape, to_bf16(kind, data)

    def experts(to, names):
        """Rows of the named matrices in turn."""
        parts = [gguf[n + ".weight"] for n in names]
        (n, rows, cols), blocks = parts[0][0], parts[0][0][2] // 32
        codes, scales = bytearray(), bytearray()
        for r in range(n * rows):
            for _, _, data in parts:
                for b in range(r * blocks, (r + 1) * blocks):
                    scales.append(data[17 * b])
                    codes += unpack_block(data[17 * b + 1:17 * b + 17])
        tensors[to + "_blocks"] = "U8", [n, rows * len(names), blocks, 16], bytes(codes)
        tensors[to + "_scales"] = "U8", [n, rows * len(names), blocks], bytes(scales)
        biases = [to_bf16(0, gguf[n + ".bias"][2]) for n in names]
        tensors[to + "_bias"] = "BF16", [n, rows * len(names)], b"".join(
            bias[2 * i:2 * i + 2] for i in range(n * rows) for bias in biases)

    for to, name in (("model.embed_tokens.weight", "token_embd.weight"), ("lm_head.weight", "output.weight"),
                     ("model.norm.weight", "output_norm.weight")):
        plain(to, name)
    layers = 1 + max(int(name.split(".")[1]) for name in gguf if name.startswith("blk."))
    for layer in range(layers):
        a, b = f"model.layers.{layer}.", f"blk.{layer}."
        for to, name in (("input_layernorm.weight", "attn_norm.weight"),
                         ("post_attention_layernorm.weight", "post_attention_norm.weight"),
                         ("self_attn.sinks", "attn_sinks.weight"), ("mlp.router.weight", "ffn_gate_inp.weight"),
                         ("mlp.router.bias", "ffn_gate_inp.bias")):
            plain(a + to, b + name)
        for to, name in (("q_proj", "attn_q"), ("k_proj", "attn_k"), ("v_proj", "attn_v"), ("o_proj", "attn_output")):
            plain(a + f"self_attn.{to}.weight", b + name + ".weight")
            plain(a + f"self_attn.{to}.bias", b + name + ".bias")
        experts(a + "mlp.experts.gate_up_proj", [b + "ffn_gate_exps", b + "ffn_up_exps"])
        experts(a + "mlp.experts.down_proj", [b + "ffn_down_exps"])

    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, shape, content) in sorted(tensors.items(), key=lambda t: (t[1][0] == "U8", t[0])):
        header[name] = dict(dtype=dtype, shape=shape, data_offsets=[len(data), len(data) + len(content)])
        data += content
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    raw = struct.pack("<Q", len(text)) + text + data
    assert hashlib.sha256(raw).hexdigest() == SHA256, "not the golden's weights"
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.safetensors").write_bytes(raw)


if __name__ == "__main__":
    main()
