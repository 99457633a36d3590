#!/usr/bin/env python3
"""Answers of a given form: JSON schemas, grammars, calls of tools, in each API. The model that ships is too small to want any
of it, so what it says in these forms is by the masks alone."""

import json
import re
import sys
import unittest

from server import TOOLS_TEMPLATE, Server

try:
    import jsonschema
except ImportError:
    jsonschema = None

SCHEMAS = [
    {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 130}},
     "required": ["name", "age"], "additionalProperties": False},
    {"type": "array", "items": {"enum": ["fox", "hare", "wolf"]}, "minItems": 1, "maxItems": 4},
    {"anyOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "number", "minimum": -1, "maximum": 1}},
                "required": ["kind", "x"], "additionalProperties": False}, {"type": "boolean"}]},
    {"type": "object", "properties": {"date": {"type": "string", "format": "date"}, "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}},
     "required": ["date", "code"], "additionalProperties": False},
]
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "The weather of a place.", "parameters": {
        "type": "object", "properties": {"place": {"type": "string", "maxLength": 12}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["place", "days"], "additionalProperties": False}}},
    {"type": "function", "function": {"name": "roll_dice", "parameters": {
        "type": "object", "properties": {"sides": {"enum": [6, 20]}}, "required": ["sides"], "additionalProperties": False}}},
]
HELLO = [{"role": "user", "content": "What is the weather in Bremen?"}]


class Structure(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(2, "--no-access-log", "--chat-template", TOOLS_TEMPLATE).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def valid(self, text, schema):
        value = json.loads(text)
        if jsonschema is not None:
            jsonschema.validate(value, schema, format_checker=jsonschema.FormatChecker())
        return value

    def test_json_schemas(self):
        for number, schema in enumerate(SCHEMAS):
            for seed in range(4):
                with self.subTest(schema=number, seed=seed):
                    form = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema, "strict": True}}
                    body = {"messages": HELLO, "max_tokens": 400, "temperature": 1.2, "seed": seed, "response_format": form}
                    choice = self.server.post("/v1/chat/completions", **body)["choices"][0]
                    self.assertEqual(choice["finish_reason"], "stop")
                    self.valid(choice["message"]["content"], schema)
                    events = self.server.stream("/v1/chat/completions", **body)
                    self.assertEqual("".join(e["choices"][0]["delta"].get("content", "") for e in events), choice["message"]["content"])
                    answer = self.server.post("/v1/responses", input="Hello", temperature=1.2, seed=seed, max_output_tokens=400,
                                              text={"format": {"type": "json_schema", "name": "it", "schema": schema}})
                    self.valid(answer["output"][0]["content"][0]["text"], schema)

    def test_json_objects_and_grammars(self):
        for seed in range(5):
            got = self.server.post("/v1/chat/completions", messages=HELLO, max_tokens=60, temperature=1.5, seed=seed,
                                   response_format={"type": "json_object"})["choices"][0]
            self.assertEqual(got["message"]["content"][:1], "{")
            if got["finish_reason"] == "stop":
                self.assertIsInstance(json.loads(got["message"]["content"]), dict)
            got = self.server.post("/v1/completions", prompt="The answer is", max_tokens=40, temperature=1.5, seed=seed,
                                   grammar='root ::= " " word ("-" word){2} "."\nword ::= [a-f]{1,3} | "fox"')["choices"][0]
            self.assertRegex(got["text"], r"^ ([a-f]{1,3}|fox)(-([a-f]{1,3}|fox)){2}\.$")
            self.assertEqual(got["finish_reason"], "stop")

    def metric(self, name):
        found = re.search(rf"(?m)^{re.escape(name)} (.*)$", self.server.ask("GET", "/metrics")[2])
        return float(found[1]) if found else 0

    def test_a_form_is_compiled_once(self):
        form = {"type": "json_schema", "json_schema": {"schema": {"type": "array", "items": {"enum": [f"only here {i}" for i in range(300)]}, "maxItems": 2}}}
        before = [self.metric(f'onecopy_grammars_total{{from="{source}"}}') for source in ("cache", "compiler")]
        masks, steps = self.metric("onecopy_mask_seconds_total"), self.metric('onecopy_step_seconds_total{kind="decode"}')
        got = [self.server.post("/v1/chat/completions", messages=HELLO, max_tokens=60, seed=3, response_format=form)["choices"][0]["message"]
               for _ in range(3)]
        self.assertEqual(got, got[:1] * 3)
        self.assertEqual([self.metric(f'onecopy_grammars_total{{from="{source}"}}') for source in ("cache", "compiler")], [before[0] + 2, before[1] + 1])
        self.assertGreater(self.metric("onecopy_grammar_cache_bytes"), 10000)
        self.assertGreater(self.metric("onecopy_mask_seconds_total"), masks)
        self.assertGreater(self.metric('onecopy_step_seconds_total{kind="decode"}') - steps, self.metric("onecopy_mask_seconds_total") - masks)

    def test_many_at_once(self):
        form = {"type": "json_schema", "json_schema": {"schema": SCHEMAS[0]}}
        choices = self.server.post("/v1/chat/completions", messages=HELLO, n=12, max_tokens=200, temperature=1, response_format=form)["choices"]
        self.assertGreater(len({self.valid(c["message"]["content"], SCHEMAS[0])["name"] for c in choices}), 4)

    def test_forms_that_cannot_be(self):
        for form in ("json", {"type": "xml"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}},
                     {"type": "json_schema", "json_schema": {"schema": {"not": {}}}}, {"type": "json_schema", "json_schema": {"schema": {"$ref": "#/x"}}}):
            status, _, answer = self.server.ask("POST", "/v1/chat/completions", {"messages": HELLO, "response_format": form})
            self.assertEqual((status, answer["error"]["param"]), (400, "response_format"), answer)
        for grammar in ("root ::= root", "root = x", 'root ::= "a"{99999999}', "x" * 300000):
            status, _, answer = self.server.ask("POST", "/v1/completions", {"prompt": "a", "grammar": grammar})
            self.assertEqual((status, answer["error"]["param"]), (400, "grammar"), answer)

    def check_call(self, name, arguments):
        schema = next(t["function"]["parameters"] for t in TOOLS if t["function"]["name"] == name)
        return self.valid(arguments, schema)

    def test_tools_of_chat_completions(self):
        chosen = set()
        for seed in range(6):
            body = {"messages": HELLO, "tools": TOOLS, "tool_choice": "required", "max_tokens": 300, "temperature": 1, "seed": seed}
            choice = self.server.post("/v1/chat/completions", **body)["choices"][0]
            self.assertEqual(choice["finish_reason"], "tool_calls")
            call = choice["message"]["tool_calls"][0]
            self.assertEqual(call["type"], "function")
            self.check_call(call["function"]["name"], call["function"]["arguments"])
            chosen.add(call["function"]["name"])
            # The same in pieces.
            events = self.server.stream("/v1/chat/completions", **body)
            pieces = [c for e in events for c in e["choices"][0]["delta"].get("tool_calls", [])]
            self.assertTrue(pieces[0]["id"])
            self.assertEqual({p["index"] for p in pieces}, {0})
            self.assertEqual(pieces[0]["function"]["name"], call["function"]["name"])
            self.assertEqual("".join(p["function"].get("arguments", "") for p in pieces), call["function"]["arguments"])
            self.assertEqual(events[-1]["choices"][0]["finish_reason"], "tool_calls")
            # What the tool said goes back with the call.
            more = HELLO + [choice["message"], {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}]
            self.assertTrue(self.server.post("/v1/chat/completions", messages=more, tools=TOOLS, max_tokens=5)["choices"])
        self.assertEqual(chosen, {"get_weather", "roll_dice"})
        named = self.server.post("/v1/chat/completions", messages=HELLO, tools=TOOLS, max_tokens=300,
                                 tool_choice={"type": "function", "function": {"name": "roll_dice"}})["choices"][0]
        self.assertEqual(named["message"]["tool_calls"][0]["function"]["name"], "roll_dice")
        none = self.server.post("/v1/chat/completions", messages=HELLO, tools=TOOLS, tool_choice="none", max_tokens=5)["choices"][0]
        self.assertNotIn("tool_calls", none["message"])
        for choice in ("perhaps", {"type": "function"}, {"type": "function", "function": {"name": "other"}}):
            status, _, answer = self.server.ask("POST", "/v1/chat/completions", {"messages": HELLO, "tools": TOOLS, "tool_choice": choice})
            self.assertEqual((status, answer["error"]["param"]), (400, "tool_choice"), answer)

    def test_tools_of_messages(self):
        tools = [{"name": t["function"]["name"], "input_schema": t["function"]["parameters"]} for t in TOOLS]
        answer = self.server.post("/v1/messages", messages=HELLO, tools=tools, tool_choice={"type": "any"}, max_tokens=300)
        self.assertEqual(answer["stop_reason"], "tool_use")
        use = next(b for b in answer["content"] if b["type"] == "tool_use")
        self.check_call(use["name"], json.dumps(use["input"]))
        more = HELLO + [{"role": "assistant", "content": answer["content"]},
                        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use["id"], "content": "sunny"}]}]
        self.assertEqual(self.server.post("/v1/messages", messages=more, tools=tools, max_tokens=5)["type"], "message")

    def test_responses(self):
        tools = [{"type": "function", **t["function"]} for t in TOOLS]
        body = {"input": "What is the weather?", "tools": tools, "tool_choice": "required", "max_output_tokens": 300, "seed": 3}
        answer = self.server.post("/v1/responses", **body)
        self.assertEqual((answer["object"], answer["status"]), ("response", "completed"))
        call = next(item for item in answer["output"] if item["type"] == "function_call")
        self.check_call(call["name"], call["arguments"])
        more = [{"role": "user", "content": [{"type": "input_text", "text": "What is the weather?"}]}, call,
                {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}]
        after = self.server.post("/v1/responses", input=more, tools=tools, max_output_tokens=6, temperature=0)
        self.assertEqual(after["status"], "incomplete")
        self.assertEqual(after["incomplete_details"], {"reason": "max_output_tokens"})
        self.assertEqual(after["usage"]["output_tokens"], 6)
        status, _, error = self.server.ask("POST", "/v1/responses", {"input": "a", "previous_response_id": "resp_1"})
        self.assertEqual((status, error["error"]["param"]), (400, "previous_response_id"))

    def test_a_stream_of_responses(self):
        connection = self.server.connect()
        body = {"input": "Hello", "max_output_tokens": 12, "temperature": 0, "stream": True}
        connection.request("POST", "/v1/responses", json.dumps(body), {"Content-Type": "application/json"})
        text = connection.getresponse().read().decode()
        connection.close()
        events = [(m[1], json.loads(m[2])) for m in re.finditer(r"event: (\S+)\ndata: (.*)\n\n", text)]
        self.assertEqual([e["type"] for _, e in events], [name for name, _ in events])
        self.assertEqual([e["sequence_number"] for _, e in events], list(range(len(events))))
        names = [name for name, _ in events]
        self.assertEqual(names[:4], ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"])
        self.assertEqual(names[-4:], ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.incomplete"])
        whole = self.server.post("/v1/responses", **{**body, "stream": False})["output"][0]["content"][0]["text"]
        self.assertEqual("".join(e["delta"] for name, e in events if name == "response.output_text.delta"), whole)
        self.assertEqual(events[-1][1]["response"]["output"][0]["content"][0]["text"], whole)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"] + sys.argv[1:])
