"""The openai package against a server: URL MODEL as arguments."""

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
