"""The anthropic package against a server: URL MODEL as arguments."""

import sys

import anthropic

url, model = sys.argv[1:3]
client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)
hello = [{"role": "user", "content": "Tell me of a fox."}]

whole = client.messages.create(model=model, max_tokens=30, messages=hello, system="Tell stories.", extra_body={"temperature": 0})
assert whole.role == "assistant" and whole.content[0].type == "text" and whole.content[0].text, whole
assert whole.stop_reason in ("end_turn", "max_tokens") and whole.usage.output_tokens <= 30
with client.messages.stream(model=model, max_tokens=30, messages=hello, system="Tell stories.", extra_body={"temperature": 0}) as stream:
    said = "".join(stream.text_stream)
    final = stream.get_final_message()
assert said == whole.content[0].text, (said, whole)
assert final.stop_reason == whole.stop_reason and final.usage.output_tokens == whole.usage.output_tokens
blocks = [{"role": "user", "content": [{"type": "text", "text": "Tell me "}, {"type": "text", "text": "of a fox."}]}]
again = client.messages.create(model=model, max_tokens=30, messages=blocks, system=[{"type": "text", "text": "Tell stories."}],
                               extra_body={"temperature": 0})
assert again.content[0].text == whole.content[0].text
stop = whole.content[0].text[10:14]
ended = client.messages.create(model=model, max_tokens=30, messages=hello, system="Tell stories.", stop_sequences=[stop],
                               extra_body={"temperature": 0})
assert (ended.stop_reason, ended.stop_sequence) == ("stop_sequence", stop), ended
assert client.messages.count_tokens(model=model, messages=hello, system="Tell stories.").input_tokens > 5
tools = [{"name": "roll_dice", "input_schema": {"type": "object", "properties": {"sides": {"enum": [6, 20]}}, "required": ["sides"],
                                                "additionalProperties": False}}]
called = client.messages.create(model=model, max_tokens=100, messages=hello, tools=tools, tool_choice={"type": "any"})
use = next(block for block in called.content if block.type == "tool_use")
assert called.stop_reason == "tool_use" and use.name == "roll_dice" and use.input["sides"] in (6, 20), called
try:
    client.messages.create(model=model, max_tokens=0, messages=hello)
    raise AssertionError("max_tokens 0")
except anthropic.BadRequestError as error:
    assert error.body["error"]["type"] == "invalid_request_error", error.body
print("anthropic", anthropic.__version__)
