#!/usr/bin/env python3
"""Writes what transformers' apply_chat_template makes of conversations with published chat templates:

    make_chat_goldens.py TEMPLATES OUTPUT.json      (a folder of *.jinja files)

Needs transformers and jinja2. expected.json of chat.tar.xz was made with transformers 5.23.0 and jinja2 3.1.6."""

import datetime
import json
import os
import sys
import time
from pathlib import Path

os.environ["TZ"] = "UTC"
time.tzset()

import jinja2
import transformers
from tokenizers import Tokenizer, models
from transformers.utils import chat_template_utils

NOW = 1767323045  # 2026-01-02 03:04:05 UTC

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a place, now <b>or later</b>; it's \"free\"",
    "parameters": {"type": "object", "properties": {
        "place": {"type": "string", "description": "Town & country", "enum": ["Zürich", "東京"]},
        "days": {"type": "integer", "default": 1}, "units": {"type": ["string", "null"]}},
        "required": ["place"]}}}
CLOCK = {"type": "function", "function": {
    "name": "clock", "description": "", "parameters": {"type": "object", "properties": {}}}}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def call(arguments, name="get_weather", id="abcdefghi"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(text, id="abcdefghi"):
    return {"role": "tool", "tool_call_id": id, "name": "get_weather", "content": text}


TURNS = [user("Hello"), assistant("Hi! How can I help?"), user("Count: 1 < 2 & 3 > \"2\"\n\n  indented ")]
ARGUMENTS = {"place": "Zürich", "days": 2, "exact": True, "scale": 1.5, "more": [None, {"a": "b"}]}
ASKED = [user("Weather in Zürich?"), assistant("", tool_calls=[call(ARGUMENTS)])]
CASES = {
    "one": {"messages": [user("Hi there")]},
    "one, no generation prompt": {"messages": [user("Hi there")], "add_generation_prompt": False},
    "turns": {"messages": TURNS},
    "turns, no generation prompt": {"messages": TURNS + [assistant("1, 2")], "add_generation_prompt": False},
    "system": {"messages": [system("You are terse."), *TURNS]},
    "unicode": {"messages": [system("Réponds en français…"), user("日本語 🤖 \u200d e\u0301 \u00a0|")]},
    "empty": {"messages": [user(""), assistant(""), user("  ")]},
    "white space": {"messages": [system(" \n "), user("\n\ta\n"), assistant(" b \n\n"), user("c")]},
    "tools": {"messages": [user("Weather in Zürich?")], "tools": [WEATHER, CLOCK]},
    "tools, system": {"messages": [system("Be kind."), user("Weather in Zürich?")], "tools": [WEATHER]},
    "tool call": {"messages": ASKED, "tools": [WEATHER], "add_generation_prompt": False},
    "tool result": {"messages": [*ASKED, tool('{"sky": "grey ☁"}')], "tools": [WEATHER, CLOCK]},
    "tool answer": {"messages": [*ASKED, tool("rain"), assistant("It rains."), user("Thanks")], "tools": [WEATHER]},
    "two calls": {"messages": [user("Both?"), assistant("Looking.", tool_calls=[
        call({"place": "Bern"}, id="aaaaaaaaa"), call({"place": "Genf"}, id="bbbbbbbbb")]),
        tool("sun", "aaaaaaaaa"), tool("fog", "bbbbbbbbb")], "tools": [WEATHER]},
    "arguments as text": {"messages": [user("?"), assistant(None, tool_calls=[call('{"place": "Bern"}')]), tool("1")],
                          "tools": [WEATHER]},
    "thinking on": {"messages": TURNS, "variables": {"enable_thinking": True, "thinking": True}},
    "thinking off": {"messages": TURNS, "variables": {"enable_thinking": False, "thinking": False}},
    "thought": {"messages": [user("2+2?"), assistant("4", reasoning_content="Two and two.\n"), user("Sure?")]},
    "thought by another name": {"messages": [user("2+2?"), assistant("4", thinking="Hm."), user("Sure?")],
                                "add_generation_prompt": False},
    "thought in the text": {"messages": [user("2+2?"), assistant("<think>\nHm.\n</think>\n\n4"), user("Sure?")]},
    "thought before a call": {"messages": [user("?"), assistant("", reasoning_content="Ask.", tool_calls=[
        call({"place": "Bern"})]), tool("sun")], "tools": [WEATHER]},
    "reasoning effort": {"messages": [user("Why?")], "variables": {"reasoning_effort": "high"}},
    "identity": {"messages": [system("S"), user("Who?")], "variables": {
        "model_identity": "You are a test.", "builtin_tools": ["python"], "custom": 1}},
    "parts": {"messages": [user([{"type": "text", "text": "One "}, {"type": "text", "text": "two"}])]},
    "developer": {"messages": [{"role": "developer", "content": "Short."}, user("Go")]},
    "twice user": {"messages": [user("a"), user("b")]},
    "unknown role": {"messages": [{"role": "narrator", "content": "x"}]},
    "nothing": {"messages": []},
}


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW, tz)


def main():
    folder, output = Path(sys.argv[1]), Path(sys.argv[2])
    chat_template_utils.datetime = Clock
    tokens = {"bos_token": "<BOS>", "eos_token": "<EOS>", "unk_token": "<UNK>", "pad_token": "<PAD>"}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens.values())}, merges=[])), **tokens)
    expected = {}
    for path in sorted(folder.glob("*.jinja")):
        template, texts = path.read_text(), {}
        for name, case in CASES.items():
            try:
                texts[name] = tokenizer.apply_chat_template(
                    case["messages"], tools=case.get("tools"), chat_template=template, tokenize=False,
                    add_generation_prompt=case.get("add_generation_prompt", True), **case.get("variables", {}))
            except Exception as error:  # what a template cannot do, it cannot do here either
                texts[name] = None
                print(f"{path.stem}: {name}: {type(error).__name__}: {error}"[:150], file=sys.stderr)
        expected[path.stem] = texts
    json.dump({"versions": {"transformers": transformers.__version__, "jinja2": jinja2.__version__}, "now": NOW,
               "tokens": tokens, "cases": CASES, "texts": expected}, output.open("w"), ensure_ascii=False, indent=0)


if __name__ == "__main__":
    main()
