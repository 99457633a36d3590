#!/usr/bin/env python3
"""Tools: what a request may ask for, a call that the answer is made to begin with, and conversations with calls in them."""

import json
import sys
import unittest

from server import TOOLS_TEMPLATE, Server

FUNCTION = {"name": "get_weather", "description": "Weather", "parameters": {
    "type": "object", "properties": {"place": {"type": "string"}}}}
TOOLS = [{"type": "function", "function": FUNCTION}]
ASK = [{"role": "user", "content": "Weather in Bern?"}]
NAMED = {"type": "function", "function": {"name": "get_weather"}}


class Tools(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(1, "--no-access-log", "--chat-template", TOOLS_TEMPLATE).__enter__()
        # The model was not trained to call: what it writes after the beginning is chosen for it.
        tokens = cls.server.post("/tokenize", prompt=" {", add_special_tokens=False)["tokens"]
        cls.brace = {str(tokens[-1]): 100}

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def chat(self, **body):
        return self.server.post("/v1/chat/completions", **{"messages": ASK, "tools": TOOLS, "temperature": 0, **body})

    def test_a_forced_call(self):
        for choice in (NAMED, "required"):
            got = self.chat(tool_choice=choice, max_tokens=1, logit_bias=self.brace)["choices"][0]
            self.assertIsNone(got["message"]["content"])
            call = got["message"]["tool_calls"][0]
            self.assertEqual(call["type"], "function")
            self.assertTrue(call["id"])
            self.assertEqual(call["function"], {"name": "get_weather", "arguments": "{"})
            self.assertEqual(got["finish_reason"], "length")

    def test_a_forced_call_in_a_stream(self):
        events = self.server.stream("/v1/chat/completions", messages=ASK, tools=TOOLS, temperature=0, tool_choice=NAMED,
                                    max_tokens=1, logit_bias=self.brace)
        changes = [call for e in events for call in e["choices"][0]["delta"].get("tool_calls", [])]
        self.assertEqual(changes[0]["function"], {"name": "get_weather", "arguments": ""})
        self.assertEqual(changes[0]["index"], 0)
        self.assertTrue(changes[0]["id"])
        self.assertEqual("".join(change["function"]["arguments"] for change in changes), "{")

    def test_a_forced_call_by_anthropics_messages(self):
        tools = [{"name": "get_weather", "input_schema": FUNCTION["parameters"]}]
        body = {"messages": ASK, "tools": tools, "max_tokens": 1, "temperature": 0, "logit_bias": self.brace,
                "tool_choice": {"type": "tool", "name": "get_weather"}}
        block = self.server.post("/v1/messages", **body)["content"][0]
        self.assertEqual((block["type"], block["name"]), ("tool_use", "get_weather"))
        self.assertEqual(block["input"], {"arguments": "{"})  # cut short
        self.assertTrue(block["id"])

    def test_choices_of_tools(self):
        tokens = {choice: self.chat(tool_choice=choice, max_tokens=1)["usage"]["prompt_tokens"] for choice in ("auto", "none")}
        self.assertGreater(tokens["auto"], tokens["none"] + 20)  # tools that may not be called are not shown
        for body, param in (({"tool_choice": "always"}, "tool_choice"), ({"tool_choice": {"type": "function"}}, "tool_choice"),
                            ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
                            ({"tools": [{"type": "web_search"}]}, "tools"), ({"tools": "x"}, "tools"),
                            ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools"),
                            ({"tools": [], "tool_choice": "required"}, "tool_choice")):
            status, _, answer = self.server.ask("POST", "/v1/chat/completions", {"messages": ASK, "tools": TOOLS, **body})
            self.assertEqual((status, answer["error"]["param"]), (400, param), answer)

    def test_conversations_with_calls(self):
        call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"place": "Bern"}'}}
        messages = [*ASK, {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "sun"}]}]
        self.chat(messages=messages, max_tokens=1)
        # Arguments that are no JSON, as models write them and clients send back, do not end the conversation.
        call["function"]["arguments"] = '{"place": '
        self.chat(messages=messages, max_tokens=1)


class OwnTemplate(unittest.TestCase):
    def test_a_model_without_a_form_for_calls_says_so(self):
        with Server(1, "--no-access-log") as server:
            status, _, answer = server.ask("POST", "/v1/chat/completions", {
                "messages": ASK, "tools": TOOLS, "tool_choice": "required"})
            self.assertEqual((status, answer["error"]["param"]), (400, "tool_choice"), answer)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"] + sys.argv[1:])
