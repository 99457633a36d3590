#!/usr/bin/env python3
"""Writes hf_variants.json: what Hugging Face tokenizers make of texts under component settings that the models in
../goldens do not use. Each variant replaces top-level keys of ../goldens/qwen3_moe/tokenizer.json.

    pip install tokenizers==0.23.3 && ./make_hf_variants.py
"""
import copy
import json
import pathlib
import random

import tokenizers

HERE = pathlib.Path(__file__).parent
BASE = json.loads((HERE / "../goldens/qwen3_moe/tokenizer.json").read_text())
POOLS = ["abcdefghijklmnopqrstuvwxyzABC", "0123456789", "   \t\n\r\n  ", "!\"#'()*+,-./:;<=>?[]_|~", "éàüñçßÄÖÜ",
         "中文分词日本語のカタカナ한국어", "🙂🦙👩‍💻", "\u0301\u0308e", "\u00a0\u3000\u0085\u180e\u200b\ufeff", "ſKΩǅʰªⅧ½²٣"]
WORDS = ["the", " and", "'ll", "<|im_start|>", "<|im_end|>", "MASK", " MASK ", "  MASK\t", "xMASK", "WORD", " WORD ", "aWORD",
         "_WORD", "WORD9", "LST", "  LST  ", "RST  \n", "\u304b\u3099MARK", "\u304cMARK", "▁", "▁▁the", "<s>", "<0x41>", "1234567"]


def text(rng):
    parts = []
    for _ in range(rng.randrange(1, 9)):
        if rng.random() < 0.45:
            parts.append(rng.choice(WORDS))
        else:
            pool = rng.choice(POOLS)
            parts.append("".join(rng.choice(pool) for _ in range(rng.randrange(1, 6))))
    return "".join(parts)


def added(tokens):
    out = copy.deepcopy(BASE["added_tokens"])
    for i, (content, flags) in enumerate(tokens):
        out.append({"id": 512 + i, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
                    "normalized": False, "special": False, **flags})
    return {"added_tokens": out}


def split(behavior, pattern, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def byte_level(prefix=False, regex=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "use_regex": regex, "trim_offsets": False}


def pre(*steps):
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": list(steps)}}


def byte_fallback(**model):
    vocab = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)] if model.get("byte_fallback", True) else ["<unk>", "<s>", "</s>"]
    vocab += list("▁abcdehnrtsWORD123中é") + ["▁t", "▁th", "▁the", "an", "and", "▁and", "▁▁", "he"]
    merges = [["▁", "t"], ["▁t", "h"], ["h", "e"], ["▁th", "e"], ["▁t", "he"], ["a", "n"], ["an", "d"], ["▁", "and"], ["▁", "▁"]]
    special = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                "special": True} for i, t in enumerate(vocab[:3])]
    marks = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    return {"added_tokens": special, "post_processor": None,
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, marks]},
            "pre_tokenizer": None,
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                      "vocab": {t: i for i, t in enumerate(vocab)}, "merges": merges, **model}}


def metaspace(scheme, split_words):
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split_words}
    return {**byte_fallback(), "normalizer": None, "pre_tokenizer": space, "decoder": space}


KIMI = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
VARIANTS = {
    "added_token_flags": added([("MASK", {"lstrip": True, "rstrip": True, "special": True}), ("WORD", {"single_word": True}),
                                ("LST", {"lstrip": True, "normalized": True}), ("RST", {"rstrip": True}),
                                ("\u304b\u3099MARK", {"normalized": True})]),
    **{f"split_{b}": pre(split(b, {"Regex": r"[a-m]|\s+"}), {"type": "Digits", "individual_digits": False},
                         byte_level(True, True))
       for b in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext")},
    "split_matches_only": pre(split("Removed", {"Regex": r"\S+"}, True), byte_level()),
    "split_literal_and_empty_matches": pre(split("Isolated", {"String": "."}),
                                           split("Isolated", {"Regex": r"(?=(\d{3})+(?!\d))"}), byte_level()),
    "split_class_intersection": pre(split("Isolated", {"Regex": KIMI}), byte_level()),
    "single_digits": pre({"type": "Digits", "individual_digits": True}, byte_level(False, True)),
    **{f"normalizer_{form}": {"normalizer": {"type": form}} for form in ("NFD", "NFKC", "NFKD")},
    "byte_fallback": byte_fallback(),
    "unknown_fused": byte_fallback(byte_fallback=False),
    "unknown_single": byte_fallback(byte_fallback=False, fuse_unk=False),
    "ignore_merges": byte_fallback(ignore_merges=True),
    **{f"metaspace_{s}_{w}": metaspace(s, w == "split") for s in ("first", "always", "never") for w in ("split", "whole")},
}


def main():
    rng = random.Random(20240229)
    out = []
    for name, replace in VARIANTS.items():
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps({**BASE, **replace}))
        cases = []
        for _ in range(24):
            sample = text(rng)
            ids = tokenizer.encode(sample).ids
            cases.append({"text": sample, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
        out.append({"name": name, "replace": replace, "cases": cases})
    lines = ",\n".join(json.dumps(v, ensure_ascii=True, separators=(",", ":")) for v in out)
    (HERE / "hf_variants.json").write_text(f'{{"tokenizers":"{tokenizers.__version__}","variants":[\n{lines}\n]}}\n')


main()
