#!/usr/bin/env python3
"""Writes pre_names.json: token ids by llama.cpp (llama-cpp-python) for names of pre-tokenizers whose vocabularies are not
here. The vocabulary is GPT-2's, with another name in tokenizer.ggml.pre: ids show how a text is cut.

    make_pre_names.py ggml-vocab-gpt-2.gguf pre_names.json
"""
import ctypes
import json
import struct
import sys
import tempfile

import llama_cpp as ll

NAMES = ["afmoe", "chameleon", "cohere2moe", "exaone-moe", "jais-2", "jina-v5-nano", "modern-bert", "superbpe", "tiny_aya",
         "ufakzeka", "youtu"]
TEXTS = [
    "It's WE'LL I'd they'Ve  don'tSayHTMLCode aB XMLHttpRequest ÉCOLE élève",
    "1 12 123 1234 12345 123456 1234567 3.14 1,000,000 -5",
    "a1b22c333d4444 x1234567y 12th",
    "x=y+z; (foo)[bar]{baz} \"q\" 'r' `s` $t <u> ^v ~w |x| #y @z %a &b *c -d _e \\f //g/h?\n./!!\r\n\r\n",
    "\n\n \n  \tif x:\n\t\treturn  \r\n\r\n   end   .\n\n\n" + " " * 37 + "x" + " " * 5 + "\n" + " " * 9,
    "中文字12字 ひらがな カタカナー 한글 ㄱㄴ ㄅㄆ a中b 。，！ ไทย ລາວ ខ្មែរ မြန်မာ",
    "Привет مرحبا नमस्ते e\u0301t\u0301 é €5 ²½ ٢٣ 😀👍🏽 \u00a0x “q” — ‘s’ … ok   ",
    "one two three  four\tfive six, seven eight. Nine ten",
    "an iPhone and an eBook",
    "<sentinel:12> IMGIMGABZ word    word  word <|endoftext|>",
]
# Texts that llama.cpp cuts otherwise than the published patterns say: those end a number by threes only where no letter
# follows it, and a word after small letters where a capital follows them.
NOT_AS_PUBLISHED = {"tiny_aya": [2, 5, 8], "cohere2moe": [2, 5, 8], "youtu": [8]}


def with_name(vocabulary, name):
    key = b"tokenizer.ggml.pre"
    at = vocabulary.index(key) + len(key)
    assert struct.unpack_from("<I", vocabulary, at)[0] == 8  # a string
    size = struct.unpack_from("<Q", vocabulary, at + 4)[0]
    return vocabulary[:at + 4] + struct.pack("<Q", len(name)) + name.encode() + vocabulary[at + 12 + size:]


def ids(path):
    params = ll.llama_model_default_params()
    params.vocab_only = True
    model = ll.llama_model_load_from_file(path.encode(), params)
    if not model:
        sys.exit(f"llama.cpp does not load {path}")
    vocabulary, out = ll.llama_model_get_vocab(model), []
    for text in TEXTS:
        data = text.encode()
        buffer = (ll.llama_token * (len(data) + 8))()
        n = ll.llama_tokenize(vocabulary, data, len(data), buffer, len(buffer), False, False)
        out.append(list(buffer[:n]))
    ll.llama_model_free(model)
    return out


def main():
    quiet = ll.llama_log_callback(lambda level, text, data: None)
    ll.llama_log_set(quiet, ctypes.c_void_p(0))
    ll.llama_backend_init()
    with open(sys.argv[1], "rb") as f:
        vocabulary = f.read()
    names = {}
    for name in NAMES:
        with tempfile.NamedTemporaryFile(suffix=".gguf") as f:
            f.write(with_name(vocabulary, name))
            f.flush()
            found = ids(f.name)
        names[name] = [None if i in NOT_AS_PUBLISHED.get(name, []) else row for i, row in enumerate(found)]
    with open(sys.argv[2], "w") as f:
        json.dump({"llama_cpp_python": __import__("llama_cpp").__version__, "texts": TEXTS, "ids": names}, f,
                  separators=(",", ":"))
        f.write("\n")


main()
