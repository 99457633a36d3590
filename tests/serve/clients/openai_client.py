"""The openai package against a server: URL MODEL as arguments."""

import json
import sys

import openai

url, model = sys.argv[1:3]
client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
hello = [{"role": "user", "content": "Tell me of a fox."}]

assert [m.id for m in client.models.list()] == [model]

whole = client.chat.completions.create(model=model, messages=hello, max_tokens=30, temperature=0, seed=1)
assert whole.choices[0].message.content and whole.usage.completion_tokens <= 30, whole
stream = client.chat.completions.create(model=model, messages=hello, max_tokens=30, temperature=0, stream=True,
                                        stream_options={"include_usage": True})
chunks = list(stream)
said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
assert said == whole.choices[0].message.content, (said, whole)
assert chunks[-1].usage == whole.usage or chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
with client.chat.completions.stream(model=model, messages=hello, max_tokens=10, temperature=0) as events:
    kinds = {event.type for event in events}
    assert "content.delta" in kinds, kinds

logprobs = client.chat.completions.create(model=model, messages=hello, max_tokens=5, temperature=0, logprobs=True, top_logprobs=3)
assert len(logprobs.choices[0].logprobs.content) == 5
assert all(len(t.top_logprobs) == 3 and t.logprob <= 0 for t in logprobs.choices[0].logprobs.content)
several = client.chat.completions.create(model=model, messages=hello, max_tokens=5, n=3, temperature=1)
assert len(several.choices) == 3

# Calls of tools and JSON by a schema: what has to come is by the server, so that any model does.
tools = [{"type": "function", "function": {"name": "roll_dice", "parameters": {
    "type": "object", "properties": {"sides": {"enum": [6, 20]}}, "required": ["sides"], "additionalProperties": False}}}]
called = client.chat.completions.create(model=model, messages=hello, tools=tools, tool_choice="required", max_tokens=100)
assert called.choices[0].finish_reason == "tool_calls", called
call = called.choices[0].message.tool_calls[0]
assert call.function.name == "roll_dice" and json.loads(call.function.arguments)["sides"] in (6, 20), call
after = client.chat.completions.create(model=model, tools=tools, max_tokens=5, messages=hello + [
    called.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "5"}])
assert after.choices[0].message.role == "assistant"
schema = {"type": "object", "properties": {"animal": {"enum": ["fox", "hare"]}, "legs": {"type": "integer", "minimum": 1, "maximum": 8}},
          "required": ["animal", "legs"], "additionalProperties": False}
formed = client.chat.completions.create(model=model, messages=hello, max_tokens=100, response_format={
    "type": "json_schema", "json_schema": {"name": "animal", "schema": schema, "strict": True}})
value = json.loads(formed.choices[0].message.content)
assert value["animal"] in ("fox", "hare") and 1 <= value["legs"] <= 8, value

response = client.responses.create(model=model, input="Tell me of a fox.", max_output_tokens=20, temperature=0)
assert response.output_text and response.usage.output_tokens <= 20, response
pieces = [e.delta for e in client.responses.create(model=model, input="Tell me of a fox.", max_output_tokens=20, temperature=0, stream=True)
          if e.type == "response.output_text.delta"]
assert "".join(pieces) == response.output_text

text = client.completions.create(model=model, prompt="Once upon a time", max_tokens=12, temperature=0, logprobs=2, stop=["\n"])
assert text.choices[0].text and text.choices[0].logprobs.tokens
assert "".join(c.choices[0].text for c in client.completions.create(
    model=model, prompt="Once upon a time", max_tokens=12, temperature=0, stream=True, stop=["\n"])) == text.choices[0].text

for wrong, kind in (({"messages": []}, openai.BadRequestError), ({"messages": hello, "temperature": -1}, openai.BadRequestError)):
    try:
        client.chat.completions.create(model=model, **wrong)
        raise AssertionError(wrong)
    except kind as error:
        assert error.status_code == 400 and error.type == "invalid_request_error", error
try:
    client.embeddings.create(model=model, input="a")
    raise AssertionError("embeddings")
except openai.BadRequestError:
    pass
try:
    client.models.retrieve("other")
    raise AssertionError("a model that is not there")
except openai.NotFoundError as error:
    assert error.code == "model_not_found"

# A client that has heard enough.
stream = client.chat.completions.create(model=model, messages=hello, max_tokens=1500, stream=True, extra_body={"ignore_eos": True})
for _, _ in zip(stream, range(3)):
    pass
stream.close()
print("openai", openai.__version__)
