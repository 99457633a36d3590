"""LangChain's ChatOpenAI against a server: URL MODEL as arguments."""

import sys
from typing import Literal

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

url, model = sys.argv[1:3]
chat = ChatOpenAI(base_url=f"{url}/v1", api_key="none", model=model, temperature=0, max_tokens=20, max_retries=0)
messages = [SystemMessage("Tell stories."), HumanMessage("Tell me of a fox.")]
whole = chat.invoke(messages)
assert whole.content and whole.usage_metadata["output_tokens"] <= 20, whole
assert "".join(chunk.content for chunk in chat.stream(messages)) == whole.content
assert [m.content for m in chat.batch([messages] * 4)] == [whole.content] * 4


class Animal(BaseModel):
    """An animal of a story."""

    animal: Literal["fox", "hare"]
    legs: Literal[2, 4]


longer = ChatOpenAI(base_url=f"{url}/v1", api_key="none", model=model, max_tokens=100, max_retries=0)
animal = longer.with_structured_output(Animal, method="json_schema").invoke(messages)
assert isinstance(animal, Animal), animal
print("langchain-openai")
