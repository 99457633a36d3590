"""LiteLLM, as its proxy and the programs built on it call a server: URL MODEL as arguments."""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no look at the network when it is imported
import litellm

url, model = sys.argv[1:3]
litellm.suppress_debug_info = True
hello = [{"role": "user", "content": "Tell me of a fox."}]
# The two names by which people reach such a server.
for provider in ("openai", "hosted_vllm"):
    there = {"model": f"{provider}/{model}", "api_base": f"{url}/v1", "api_key": "none", "num_retries": 0}
    whole = litellm.completion(messages=hello, max_tokens=20, temperature=0, **there)
    assert whole.choices[0].message.content and 0 < whole.usage.completion_tokens <= 20, whole
    chunks = list(litellm.completion(messages=hello, max_tokens=20, temperature=0, stream=True,
                                     stream_options={"include_usage": True}, **there))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens, chunks[-1]

    tools = [{"type": "function", "function": {"name": "roll_dice", "parameters": {
        "type": "object", "properties": {"sides": {"enum": [6, 20]}}, "required": ["sides"], "additionalProperties": False}}}]
    called = litellm.completion(messages=hello, tools=tools, tool_choice="required", max_tokens=100, **there)
    assert called.choices[0].finish_reason == "tool_calls", called
    call = called.choices[0].message.tool_calls[0]
    assert call.function.name == "roll_dice" and json.loads(call.function.arguments)["sides"] in (6, 20), call
    after = litellm.completion(messages=hello + [called.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "5"}],
                               tools=tools, max_tokens=5, **there)
    assert after.choices[0].message.role == "assistant"
    pieces = litellm.completion(messages=hello, tools=tools, tool_choice="required", max_tokens=100, stream=True, **there)
    arguments = "".join(c.choices[0].delta.tool_calls[0].function.arguments or "" for c in pieces if c.choices[0].delta.tool_calls)
    assert json.loads(arguments)["sides"] in (6, 20), arguments

    for wrong, kind in (({"messages": hello, "temperature": -1}, litellm.BadRequestError),
                        ({"messages": [{"role": "user", "content": "word " * 9000}]}, litellm.ContextWindowExceededError)):
        try:
            litellm.completion(**wrong, **there)
            raise AssertionError(wrong)
        except kind as error:
            assert error.status_code == 400, error

text = litellm.text_completion(model=f"text-completion-openai/{model}", prompt="Once upon a time", max_tokens=8, temperature=0,
                               api_base=f"{url}/v1", api_key="none", logprobs=1)
assert text.choices[0].text and len(text.choices[0].logprobs.token_logprobs) == 8, text
print("litellm")
