#!/usr/bin/env python3
"""Writes vocabulary_files.json: a small tokenizer.model by sentencepiece and a small tiktoken.model, with the ids that
sentencepiece and tiktoken give for texts.

    pip install sentencepiece tiktoken && ./make_vocabulary_files.py
"""
import base64
import io
import json
import pathlib
import random

import sentencepiece
import tiktoken

HERE = pathlib.Path(__file__).parent
CORPUS = (HERE / "../../../models/eval.txt").read_text()[:60000]
POOLS = ["abcdefghijklmnopqrstuvwxyzABC", "0123456789", "   \t\n\r\n", "!\"#'()*+,-./", "éàüñçß", "中文分词日本語の한국어", "🙂🦙"]
# Kimi-K2 tokenization_kimi.py.
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
KIMI = "|".join([r"[\p{Han}]+", rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SUFFIX}", rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SUFFIX}",
                 r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])


def texts(seed):
    rng = random.Random(seed)
    yield from ["", " ", "Hello world", "  two  spaces ", "I'LL don't", "1234567", "日本語と English 混ぜる"]
    for _ in range(40):
        parts = [CORPUS[at:at + rng.randrange(1, 30)] if rng.random() < 0.5 else
                 "".join(rng.choices(rng.choice(POOLS), k=rng.randrange(1, 6)))
                 for at in rng.sample(range(50000), rng.randrange(1, 6))]
        yield "".join(parts)


def spm(**options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS.splitlines()), model_writer=model, vocab_size=600, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2, **options)
    return model.getvalue()


def ranks(n):
    """Byte pair encoding learnt from the corpus by counting pairs."""
    words = [[bytes([b]) for b in word.encode()] for word in CORPUS[:20000].replace("\n", " ").split(" ")]
    words = [[b" ", *word] for word in words] + [[bytes([b]) for b in w.encode()] for w in ["中文", "日本語"]] * 20
    tokens = [bytes([b]) for b in range(256)]
    while len(tokens) < n:
        counts = {}
        for word in words:
            for pair in zip(word, word[1:]):
                counts[pair] = counts.get(pair, 0) + 1
        a, b = max(counts, key=lambda pair: (counts[pair], pair))
        tokens.append(a + b)
        for word in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == (a, b):
                    word[i:i + 2] = [a + b]
                i += 1
    return {token: i for i, token in enumerate(tokens)}


def main():
    bpe = spm(model_type="bpe", user_defined_symbols=["<sep>"])
    processor = sentencepiece.SentencePieceProcessor(model_proto=bpe)
    encoder_ranks = ranks(500)
    config = {"auto_map": {"AutoTokenizer": ["tokenization_kimi.TikTokenTokenizer", None]}, "bos_token": "[BOS]",
              "eos_token": "[EOS]", "added_tokens_decoder": {
                  "500": {"content": "[BOS]", "special": True}, "501": {"content": "[EOS]", "special": True},
                  "503": {"content": "<|im_end|>", "special": True}, "510": {"content": "<think>", "special": False}}}
    encoder = tiktoken.Encoding("kimi", pat_str=KIMI, mergeable_ranks=encoder_ranks, special_tokens={
        entry["content"]: int(id) for id, entry in config["added_tokens_decoder"].items()})
    lines = "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in encoder_ranks.items())
    json.dump({
        "sentencepiece": {"model": base64.b64encode(bpe).decode(),
                          "cases": [[text, processor.encode(text)] for text in texts(1)]},
        "unigram": base64.b64encode(spm(model_type="unigram")).decode(),
        "tiktoken": {"model": lines, "tokenizer_config": config,
                     "cases": [[text, encoder.encode(text, allowed_special="all")]
                               for text in [*texts(2), "a<think>b<|im_end|>"]]},
    }, (HERE / "vocabulary_files.json").open("w"), ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    main()
