#!/usr/bin/env python3
"""Writes the inputs that a corpus begins with: from the goldens, the malformed files and published examples in tests/data.

Usage: seeds.py TARGET FOLDER [MORE...]   (MORE: folders of models as in tests/data/goldens, where there are others)"""

import base64
import json
import pathlib
import re
import struct
import sys

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
GOLDENS = DATA / "goldens"
MARK = b"\n%%\n"


def gguf_header(content):
    """The file up to its data: those that read headers only need no more."""
    at = 24
    n_tensors, n_pairs = struct.unpack_from("<QQ", content, 8)
    if max(n_tensors, n_pairs) > len(content):
        raise KeyError
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

    def text():
        nonlocal at
        at += 8 + struct.unpack_from("<Q", content, at)[0]

    def value(kind):
        nonlocal at
        if kind == 8:
            text()
        elif kind == 9:
            element, count = struct.unpack_from("<IQ", content, at)
            at += 12
            if count > len(content):
                raise KeyError
            for _ in range(count):
                value(element)
        else:
            at += sizes[kind]

    for _ in range(n_pairs):
        text()
        at += 4
        value(struct.unpack_from("<I", content, at - 4)[0])
    for _ in range(n_tensors):
        text()
        at += 4 + 8 * struct.unpack_from("<I", content, at)[0] + 12
    return content[:at]


def gguf(models):
    for path in sorted(GOLDENS.rglob("*.gguf")) + [p for m in models for p in sorted(m.rglob("*.gguf"))]:
        content = path.read_bytes()
        try:
            yield gguf_header(content)
        except (struct.error, KeyError, OverflowError, RecursionError):
            yield content[:4000]


def header_of(path):
    content = path.read_bytes()
    return content[8:8 + min(struct.unpack_from("<Q", content)[0], 30000)]


def safetensors(models):
    for path in sorted(GOLDENS.rglob("*.safetensors")) + [p for m in models for p in sorted(m.rglob("*.safetensors"))]:
        header = header_of(path)
        yield path.read_bytes()[:8] + header[:3000]
    header = b'{"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"I8","shape":[],"data_offsets":[8,9]}}'
    yield struct.pack("<Q", len(header)) + header + bytes(9)


def directories(models):
    for root in [GOLDENS, *models]:
        yield from sorted(path.parent for path in root.rglob("config.json"))


def hugging_face(models):
    for folder in directories(models):
        def read(name):
            path = folder / name
            return path.read_bytes() if path.exists() else b""
        single, index = folder / "model.safetensors", read("model.safetensors.index.json")
        first = folder / "model-00001-of-00002.safetensors"
        yield MARK.join([read("config.json"), header_of(single) if single.exists() else b"", index,
                         header_of(first) if first.exists() else b"", read("tokenizer_config.json")[:2000],
                         read("generation_config.json")[:1000]])


def tokenizer_json(models):
    for folder in directories(models):
        path = folder / "tokenizer.json"
        if path.exists():
            config = folder / "tokenizer_config.json"
            yield MARK.join([path.read_bytes(), config.read_bytes() if config.exists() else b"", "Hello  wörld 123".encode()])
    small = {"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<s>": 3}, "merges": ["a b"]},
             "added_tokens": [{"id": 3, "content": "<s>", "special": True, "single_word": False, "lstrip": True, "rstrip": False,
                               "normalized": False}],
             "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
                                                                {"type": "Prepend", "prepend": "\u2581"}]},
             "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                 {"type": "Split", "pattern": {"Regex": "(?i:'s)|\\p{L}+|\\s+"}, "behavior": "Isolated", "invert": False},
                 {"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]},
             "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                                "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}}},
             "decoder": {"type": "ByteLevel"}}
    yield MARK.join([json.dumps(small).encode(), b'{"bos_token": "<s>", "add_bos_token": true, "chat_template": "x"}', b"ab <s> ab"])


def vocabulary(_):
    published = json.loads((DATA / "text/vocabulary_files.json").read_text())
    yield b"\0" + base64.b64decode(published["sentencepiece"]["model"])
    yield b"\0" + base64.b64decode(published["unigram"])
    tokens = b"".join(base64.b64encode(bytes([b])) + b" %d\n" % b for b in range(256)) + base64.b64encode(b"ab") + b" 256\n"
    config = {"tokenizer_class": "TikTokenTokenizer", "added_tokens_decoder": {"257": {"content": "[BOS]", "special": True}}, "bos_token": "[BOS]",
              "auto_map": {"AutoTokenizer": ["tokenization_kimi.TikTokenTokenizer", None]}}
    yield b"\1" + tokens + MARK + json.dumps(config).encode()


def text(_):
    samples = ["Hello world, it's 12345 o'clock!\n\n\tthe end ", "don't WON'T I'll\u00a0é e\u0301 \u1e9b\u0323", "你好，世界。こんにちは ไทย العربية हिन्दी",
               "🧙‍♀️👨‍👩‍👧 <|im_start|>user\n<|im_end|>", "x" * 300, "   \n  \r\n\t ", "\0\x7f\xff\xfe\xc3(", "aaaaaaaa" * 20, "a1b2 3c4... !!??--==++", "'s'S'lL''"]
    for i, sample in enumerate(samples):
        for row in range(i, 24, 5):
            yield bytes([row]) + sample.encode("latin-1" if "\xff" in sample else "utf-8")


def golden_answers():
    return json.loads((GOLDENS / "answers.json").read_text())


def answer(_):
    names = ["harmony", "minimax", "dsml", "seed-xml", "kimi", "deepseek", "glm", "qwen-xml", "mistral", "granite", "hermes", "llama", "plain"]
    signs = [("<|channel|>", 0), ("minimax:", 1), ("DSML", 2), ("seed:", 3), ("tool_calls_section", 4), ("calls▁begin", 5), ("arg_key", 6),
             ("<function=", 7), ("[TOOL_CALLS]", 8), ("<|tool_call|>", 9), ("<tool_call>", 10), ("python_tag", 11)]
    for kinds in golden_answers()["answers"].values():
        for one in kinds.values():
            said = one["text"].replace("get_weather", "f").replace("place", "a").replace("days", "b")
            row = next((row for sign, row in signs if sign in said), len(names) - 1)
            for flags in (0, 2):
                yield bytes([row, flags]) + said.encode()


def messages(_):
    golden = golden_answers()
    tools = json.dumps(golden["tools"]).encode()
    templates = ["", "tool_call.arguments is string", "message.content is string", "developer", "<tool_call><function=<parameter=", "[TOOL_CALLS]", "<|channel|><|message|>",
                 "<arg_key><arg_value>", "<|tool_call|>", "<minimax:tool_call>"]
    for i, one in enumerate(golden["messages"].values()):
        conversation = [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "x"}]}, {"role": "assistant", **one},
                        {"role": "tool", "tool_call_id": "callid000", "content": "12"}]
        yield MARK.join([templates[i % len(templates)].encode(), json.dumps(conversation).encode(), tools])


def gbnf(_):
    sources = ['root ::= "yes" | "no"', 'root ::= item+\nitem ::= "- " [^\\n]+ "\\n"', 'root ::= ("a" | "b"){2,5} # comment\n',
               'root ::= expr\nexpr ::= term ([-+*/] term)*\nterm ::= num | "(" expr ")"\nnum ::= [0-9]{1,9}',
               'root ::= a\na ::= b "x" | ""\nb ::= a "y" | .', 'root ::= [\\x41-\\x5A\\u00e9\\U0001F600]{0,3}', 'root ::= object\nobject ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}"\n'
               'string ::= "\\"" ([^"\\\\] | "\\\\" ["\\\\bfnrt])* "\\""\nvalue ::= object | string | "true" | "null"\nws ::= [ \\t\\n]*', 'root ::= "a"? "b"* ("c" | ("d" "e")+)', 'root ::=']
    for pattern in ("tests/unit/grammar/gbnf_test.cc",):
        code = (DATA.parents[1] / pattern).read_text()
        for literal in re.findall(r'R"\w*\((.*?)\)\w*"', code, re.S):
            sources.append(literal)
        sources += [json.loads(f'"{s}"') for s in re.findall(r'"(root ::= (?:[^"\\\n]|\\["\\nt/])*)"', code)]
    for i, source in enumerate(sources):
        yield bytes([i, 1, 0, 0]) + source.encode()


def json_schema(_):
    for i, one in enumerate(json.loads((DATA / "json_schemas.json").read_text())):
        yield bytes([i % 256, 2, 0, 0]) + json.dumps(one["schema"]).encode()


def api(_):
    weather = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}}
    user = [{"role": "user", "content": "hi"}]
    bodies = [
        (0, {"messages": user, "max_tokens": 8}),
        (0, {"messages": [{"role": "system", "content": "s"}, *user], "stream": True, "stream_options": {"include_usage": True}, "logprobs": True, "top_logprobs": 3, "max_tokens": 4}),
        (0, {"messages": user, "tools": [weather], "tool_choice": "required", "max_tokens": 20}),
        (0, {"messages": user, "tools": [weather], "tool_choice": {"type": "function", "function": {"name": "f"}}, "n": 2, "max_completion_tokens": 9}),
        (0, {"messages": user, "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object", "properties": {"a": {"enum": [1, 2]}}}}}, "max_tokens": 30}),
        (0, {"messages": user, "grammar": 'root ::= "a"+', "stop": ["b", "\n"], "temperature": 0, "chat_template_kwargs": {"enable_thinking": False}}),
        (0, {"messages": [*user, {"role": "assistant", "content": None, "tool_calls": [{"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                          {"role": "tool", "tool_call_id": "x", "content": "1"}], "max_tokens": 3}),
        (1, {"prompt": "abc", "max_tokens": 5, "logprobs": 2, "echo": True}), (1, {"prompt": ["a", "b"], "n": 2, "stream": True, "max_tokens": 3, "seed": 5}),
        (1, {"prompt": [1, 2, 3], "max_tokens": 2, "logit_bias": {"5": -100}, "top_k": 5, "top_p": 0.5, "min_p": 0.1, "repetition_penalty": 1.1}),
        (1, {"prompt": [[1], [2]], "best_of": 1, "suffix": "", "stop": "x", "ignore_eos": True, "presence_penalty": 1, "frequency_penalty": -1, "max_tokens": 3}),
        (2, {"input": "hi", "max_output_tokens": 6, "instructions": "be"}),
        (2, {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}, {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                       {"type": "function_call_output", "call_id": "c", "output": "1"}, {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "t"}]}],
             "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}], "tool_choice": {"type": "function", "name": "f"}, "stream": True, "max_output_tokens": 12}),
        (2, {"input": "x", "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "integer"}}}, "max_output_tokens": 5}),
        (3, {"messages": user, "max_tokens": 6, "system": [{"type": "text", "text": "s"}], "stream": True, "stop_sequences": ["q"]}),
        (3, {"messages": [*user, {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": ""}, {"type": "tool_use", "id": "i", "name": "f", "input": {"a": 1}}]},
                          {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "i", "content": [{"type": "text", "text": "r"}], "is_error": True}]}],
             "tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any"}, "max_tokens": 6, "thinking": {"type": "disabled"}}),
        (4, {"messages": user, "tools": [{"name": "f", "input_schema": {"type": "object"}}]}), (5, {"input": "x"}),
        (6, {"prompt": "some <|im_end|> text", "add_special_tokens": False, "parse_special": True}), (6, {"content": "t"}), (7, {"tokens": [1, 2, 255, 259]})]
    for i, (route, body) in enumerate(bodies):
        yield bytes([route, i % 13]) + json.dumps(body).encode()
        yield bytes([route, (i + 6) % 13]) + json.dumps(body).encode()


def http(_):
    requests = [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST /x?a=b HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                b"GET /stream HTTP/1.0\r\n\r\n", b"HEAD / HTTP/1.1\r\nX-Request-Id: abc\r\nConnection: close\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
                b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n\n%%\nabc", b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                b"GET / HTTP/1.1\r\n\r\nGET /stream HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * 1200 + b"\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
                b"POST / HTTP/1.1\r\nContent-Length: 2500\r\n\r\n", b"GET /a%00b HTTP/1.1\r\nA: b\r\n c\r\n\r\n", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + b"x" * 2100]
    for i, request in enumerate(requests):
        yield bytes([i % 2]) + request
        yield bytes([(i + 1) % 2]) + request.replace(b"\r\n\r\n", b"\r\n\n%%\n\r\n", 1)


def control(_):
    step = bytes([0x0A, 2, 1, 2, 0x12, 2, 0, 0, 0x1A, 2, 0, 1, 0x22, 1, 1, 0x28, 1])
    for kind, message in [(0, bytes([0x0A, len(step)]) + step), (0, bytes([0x10, 3])), (0, bytes([0x22, 4, 8, 1, 16, 2])), (1, bytes([8, 100, 16, 4, 24, 5])), (2, bytes([9]) + bytes(8)),
                          (3, b"\x0a\x08qwen3moe\x12\x01m"), (4, bytes([8, 2, 0x12, 5, 10, 3, 0, 1, 2])), (5, b"\x0a\x01h\x10\x01"), (6, b"\x08\x01"), (7, struct.pack("<Q", 3) + b"abc" + struct.pack("<Q", 0))]:
        yield bytes([kind]) + message


def main():
    target, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for i, content in enumerate(globals()[target]([pathlib.Path(p) for p in sys.argv[3:]])):
        (folder / f"seed{i:03}").write_bytes(content)


main()
