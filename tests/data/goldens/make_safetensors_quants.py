#!/usr/bin/env python3
"""Write random blocks of the weight types that come from safetensors (kernels/types/f8_e4m3.cc, int4.cc, int8.cc), with their
float32 values and products, beside those of make_quants.py, whose x.f32 it takes.

    make_safetensors_quants.py quants

E4M3 is decoded after its definition (arXiv 2209.05433, table 1), and by torch where that is installed.
"""
import sys
from pathlib import Path

import numpy as np

ROWS, COLS = 8, 512


def e4m3(code):
    code = code.astype(np.int64)
    exponent, mantissa = code >> 3 & 15, code & 7
    value = np.where(exponent == 0, mantissa * 2.0**-9, (8 + mantissa) * 2.0**(exponent - 10))
    return np.where(code & 128, -value, value).astype(np.float32)


def check_with_torch():
    try:
        import torch
    except ImportError:
        return
    codes = np.array([c for c in range(256) if c & 127 != 127], np.uint8)
    theirs = torch.from_numpy(codes).view(torch.float8_e4m3fn).float().numpy()
    assert (theirs == e4m3(codes)).all()


def scales(rng, n):
    d = (rng.uniform(0.002, 0.1, n) * rng.choice([-1, 1], n)).astype(np.float32)
    d[n // 3] = 0
    return d


def to_bf16(values):
    return (values.view(np.uint32) >> 16 << 16).view(np.float32)


def nibbles(codes):
    """[n, 32 k] codes -> [n, 16 k] bytes: of each 32 columns c in the low and 16 + c in the high nibble of byte c."""
    units = codes.reshape(len(codes), -1, 2, 16)
    return (units[:, :, 0] | units[:, :, 1] << 4).astype(np.uint8).reshape(len(codes), -1)


def f8(rng):
    n = ROWS * COLS // 128
    codes = rng.integers(0, 256, (n, 128), dtype=np.uint8)
    codes[codes & 127 == 127] = 0x7e
    codes[0, :16] = np.arange(16) + 0x80 * (np.arange(16) % 2)      # subnormals
    d = scales(rng, n)
    return np.concatenate([d.view(np.uint8).reshape(n, 4), codes], 1), e4m3(codes) * d[:, None]


def int4_bf16(rng):
    n = ROWS * COLS // 32
    codes, d = rng.integers(0, 16, (n, 32)), to_bf16(scales(rng, n))
    upper = (d.view(np.uint32) >> 16).astype("<u2").view(np.uint8).reshape(n, 2)
    return np.concatenate([upper, nibbles(codes)], 1), (codes - 8).astype(np.float32) * d[:, None]


def int4(rng, group):
    n = ROWS * COLS // group
    codes, zeros, d = rng.integers(0, 16, (n, group)), rng.integers(0, 17, n), scales(rng, n)
    d[::2] = to_bf16(d[::2].copy())
    d[1::2] = d[1::2].astype(np.float16)
    d[n // 2 | 1] = np.float16(3e-6)                                # subnormal as a half
    bits = d.view(np.uint32)
    header = np.stack([bits >> 16 & 255, bits >> 24, (bits >> 8 & 0xe0) | zeros.astype(np.uint32)], 1).astype(np.uint8)
    return (np.concatenate([header, nibbles(codes)], 1),
            (codes - zeros[:, None]).astype(np.float32) * d[:, None])


def int8_bf16(rng):
    n = ROWS * COLS // 32
    codes, d = rng.integers(-128, 128, (n, 32)), to_bf16(scales(rng, n))
    d[n // 2] = to_bf16(np.array([1e-9], np.float32))[0]              # too small for a half
    upper = (d.view(np.uint32) >> 16).astype("<u2").view(np.uint8).reshape(n, 2)
    return np.concatenate([upper, codes.astype(np.int8).view(np.uint8)], 1), codes.astype(np.float32) * d[:, None]


def main():
    out = Path(sys.argv[1])
    rng = np.random.default_rng(2)
    x = np.fromfile(out / "x.f32", "<f4")
    check_with_torch()
    for name, (blocks, values) in dict(F8_E4M3=f8(rng), INT4_BF16=int4_bf16(rng), INT4_32=int4(rng, 32),
                                       INT4_64=int4(rng, 64), INT4_128=int4(rng, 128), INT8_BF16=int8_bf16(rng)).items():
        values = values.astype("<f4").reshape(ROWS, COLS)
        blocks.tofile(out / f"{name}.bin")
        values.tofile(out / f"{name}.f32")
        (values.astype(np.float64) @ x).astype("<f4").tofile(out / f"{name}.product.f32")


if __name__ == "__main__":
    main()
