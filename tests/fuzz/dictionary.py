#!/usr/bin/env python3
"""Writes libFuzzer's dictionary of a target: the texts that the code compares its input with, taken from that code.

Usage: dictionary.py TARGET FILE"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = {
    "gguf": ["runtime/model/gguf*.cc", "runtime/model/families/*.cc", "runtime/text/tokenizer_gguf.cc"],
    "safetensors": ["runtime/model/safetensors.cc"],
    "hugging_face": ["runtime/model/*.cc", "runtime/model/families/*.cc", "runtime/text/tokenizer_hf*.cc"],
    "tokenizer_json": ["runtime/text/tokenizer_hf*.cc", "runtime/text/json_field.h"],
    "vocabulary": ["runtime/text/*_file.cc", "runtime/text/vocabulary_configs.cc"],
    "text": [],
    "messages": ["runtime/text/chat_messages.cc", "runtime/text/answer/answer_format.cc", "runtime/text/answer/tool_set.cc"],
    "answer": ["runtime/text/answer/*.cc"],
    "gbnf": [],
    "json_schema": ["runtime/grammar/schema*.cc", "runtime/grammar/json_schema.cc", "runtime/grammar/format.cc"],
    "api": ["runtime/serve/*.cc", "runtime/grammar/schema_reader.cc", "runtime/text/chat_messages.cc"],
    "http": [],
    "control": [],
}
OF_FORMATS = {
    "json": ["{", "}", "[", "]", '":', ",", "null", "true", "false", "1e400", "-0", "18446744073709551616", "\\u0000",
             "\\ud800", "0.5", "\\\\"],
    "gbnf": ["root ::= ", "\n", " | ", "( ", " )*", "+", "?", "{2,3}", "{0,}", '"a"', "[^a-z]", ".", "# ", "\\x41", "\\u00e9",
             "\\U0001F600", "[\\]]", "a ::= "],
    "http": ["GET / HTTP/1.1\r\n", "POST /stream HTTP/1.1\r\n", "HTTP/1.0\r\n", "\r\n\r\n", "Content-Length: ", "Transfer-Encoding: chunked\r\n",
             "Connection: close\r\n", "Connection: keep-alive\r\n", "Expect: 100-continue\r\n", "X-Request-Id: ", "0\r\n\r\n", "5\r\nhello\r\n",
             "HEAD ", "OPTIONS * ", "Host: a\r\n", "Upgrade: h2c\r\n", "; ext=1", "\n%%\n"],
    "text": ["<|im_start|>", "'s", "'LL", " don't", "\u00e9", "e\u0301", "\u2581", "\u200d", "\U0001F9D9", "\u4f60", "\u0e01", "\u00a0", "\r\n", "\t",
             "1234", "...", "\u2028"],
}
USES = {"safetensors": ["json"], "hugging_face": ["json"], "tokenizer_json": ["json"], "messages": ["json"], "json_schema": ["json"],
        "api": ["json", "gbnf"], "answer": ["json"], "gbnf": ["gbnf"], "http": ["http"], "text": ["text"]}


def words(target):
    found = {"\n%%\n"}
    for pattern in SOURCES[target]:
        for path in ROOT.glob(pattern):
            code = re.sub(r"//.*|#include.*", "", path.read_text())
            for literal in re.findall(r'"((?:[^"\\\n]|\\.)*)"', code):
                text = literal.replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")
                if 1 < len(text.encode()) <= 40 and "{}" not in text and text.count(" ") < 2:
                    found.add(text)
    for name in USES.get(target, []):
        found.update(OF_FORMATS[name])
    return sorted(found)


def main():
    target, out = sys.argv[1:]
    lines = []
    for word in words(target):
        escaped = "".join(chr(b) if 32 <= b < 127 and b not in (34, 92) else f"\\x{b:02x}" for b in word.encode())
        lines.append(f'"{escaped}"\n')
    pathlib.Path(out).write_text("".join(lines))


main()
