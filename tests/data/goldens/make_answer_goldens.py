#!/usr/bin/env python3
"""Writes what answers look like in the formats of published chat templates, and what they mean:

    make_answer_goldens.py TEMPLATES OUTPUT.json      (the *.jinja of chat.tar.xz)

Each template renders conversations that end with an answer, as transformers' apply_chat_template does; the answer is what
follows the prompt for it. What a template leaves out of an answer cannot be read back and is no case. Needs transformers and
jinja2; answers.json was made with transformers 5.24.0 and jinja2 3.1.6. Kimi-K2's templates append to lists, which the sandbox
of transformers refuses; they are rendered without that restriction."""

import json
import sys
from pathlib import Path

import jinja2
import jinja2.sandbox
import transformers
from tokenizers import Tokenizer, models
from transformers.utils import chat_template_utils


def parameter(kind, **more):
    return {"type": kind, **more}


TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": {
        "type": "object", "properties": {
            "place": parameter("string"), "days": parameter("integer"), "exact": parameter("boolean"),
            "scale": parameter("number"), "more": parameter("array"), "options": parameter("object"),
            "units": parameter(["string", "null"])}, "required": ["place"]}}},
    {"type": "function", "function": {"name": "clock", "description": "Time", "parameters": {
        "type": "object", "properties": {}}}},
    {"type": "function", "function": {"name": "write-file", "description": "Writes", "parameters": {
        "type": "object", "properties": {"path": {"$ref": "#/$defs/path"}, "text": parameter("string")},
        "$defs": {"path": parameter("string")}}}}]

ALL = {"place": "Zürich", "days": 2, "exact": True, "scale": 1.5, "more": [None, {"a": "b"}, False, "it's"],
       "options": {"deep": {"er": [1, -2e3]}}, "units": None}
CODE = "if a < b && \"c\":\n    print('é 🤖')  # </parameter> </arg_value> <tool_call> \\ </think>\n\n\treturn {}\n"
CALLS = {
    "call": [("get_weather", ALL)],
    "call without arguments": [("clock", {})],
    "two calls": [("get_weather", {"place": "Bern"}), ("clock", {})],
    "awkward values": [("write-file", {"path": "42", "text": CODE}), ("get_weather", {"place": "true", "days": -1})],
    "one awkward value": [("write-file", {"path": "null", "text": CODE})],
}
SAID = "Let me look:\n\n- \"a\" < b é 🤖"
THOUGHT = "First, the place.\n\nThen <b>the</b> day."
ENDS = ["<｜end▁of▁sentence｜><｜Assistant｜><｜end▁of▁sentence｜>", "<|im_end|>\n", "<|im_end|>", " <EOS>", "<EOS>", "<EOS>\n", "<|call|>", "<|return|>", "<|end|>", "[e~[\n", "<seed:eos>",
        "<|end_of_text|>\n", "<｜end▁of▁sentence｜>", "<|end|>\n"]
# Templates that say something else than they were given, in ways that the text does not show.
LESS = {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": {"said, call", "said, two calls"},
        "openai-gpt-oss-120b": {"two calls", "awkward values", "said, call", "thought, said, call"}}


def cases():
    yield "said", {"content": SAID}
    yield "thought, said", {"content": SAID, "reasoning_content": THOUGHT}
    for name, calls in CALLS.items():
        tool_calls = [{"id": f"callid{i:03}", "type": "function", "function": {"name": function, "arguments": arguments}}
                      for i, (function, arguments) in enumerate(calls)]
        yield name, {"content": "", "tool_calls": tool_calls}
        if name in ("call", "two calls"):
            yield f"said, {name}", {"content": SAID, "tool_calls": tool_calls}
            yield f"thought, {name}", {"content": "", "reasoning_content": THOUGHT, "tool_calls": tool_calls}
            yield f"thought, said, {name}", {
                "content": SAID, "reasoning_content": THOUGHT, "tool_calls": tool_calls}


def renderer(name, template):
    tokens = {"bos_token": "<BOS>", "eos_token": "<EOS>"}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens.values())}, merges=[])), **tokens)
    chat_template_utils.ImmutableSandboxedEnvironment = (
        jinja2.sandbox.SandboxedEnvironment if "ids.append" in template else jinja2.sandbox.ImmutableSandboxedEnvironment)

    def render(messages, generation, **variables):
        message = [dict(m) for m in messages]
        for m in message:
            if "reasoning_content" in m:
                m["thinking"] = m["reasoning_content"]
        return tokenizer.apply_chat_template(message, tools=TOOLS, chat_template=template, tokenize=False,
                                             add_generation_prompt=generation, **variables)
    return render


def answer(render, message):
    """What follows the prompt, and whether the prompt opens a thought."""
    user = [{"role": "user", "content": "Hello"}]
    whole = render(user + [{"role": "assistant", **message}], False, enable_thinking=True, thinking=True)
    prompts = [render(user, True, enable_thinking=on, thinking=on) for on in (True, False)]
    # Without a thought the template may not write the mark that its prompt has.
    prompts += [p[:p.rindex("<think>")] for p in prompts if "<think>" in p[-30:]]
    for prompt in prompts:
        if whole.startswith(prompt):
            text = whole[len(prompt):]
            for end in ENDS:
                text = text.removesuffix(end)
            if text == " " + message["content"]:  # the space is the first word's, which is not trimmed
                text = text[1:]
            return text, prompt.rstrip().endswith("<think>")
    return None, False


def main():
    folder, output = Path(sys.argv[1]), Path(sys.argv[2])
    answers, none = {}, {}
    for path in sorted(folder.glob("*.jinja")):
        render, found = renderer(path.stem, path.read_text()), {}
        for name, message in cases():
            try:
                text, inside = answer(render, message)
            except Exception as error:  # a template that has no tools
                none[f"{path.stem}: {name}"] = f"{type(error).__name__}: {error}"
                continue
            functions = [c["function"]["name"] for c in message.get("tool_calls", [])]
            complete = text is not None and name not in LESS.get(path.stem, ()) and \
                message["content"] in text and message.get("reasoning_content", "") in text and \
                all(text.count(f) >= functions.count(f) for f in functions)
            if not complete:
                none[f"{path.stem}: {name}"] = "not complete" if text is not None else "no prompt fits"
                continue
            found[name] = {"text": text, **({"in_thought": True} if inside else {})}
        answers[path.stem] = found
    for name, why in none.items():
        print(f"{name}: {why}"[:150], file=sys.stderr)
    json.dump({"versions": {"transformers": transformers.__version__, "jinja2": jinja2.__version__}, "tools": TOOLS, "messages": dict(cases()),
               "answers": answers}, output.open("w"), ensure_ascii=False, indent=0)


if __name__ == "__main__":
    main()
