#!/usr/bin/env python3
"""The routes of `serve`: tokens against `generate`'s, formats, parameters, errors."""

import array
import ast
import gzip
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

from claims import assert_answers, assert_kept
from server import LAUNCHER, TREE, Server

PROMPT = "Once upon a time"
# More than a page of the KV cache.
LONG = ("There was once a miller who had three sons, and when he came to die he had nothing to leave them but his mill, "
        "his ass and his cat. The eldest son took the mill, the second son took the ass, and as for the youngest, all that "
        "remained for him was the cat. ") * 3


def onecopy(*words):
    """The JSON of a command of the same build, at one rank."""
    out = subprocess.run([LAUNCHER, "-n", "1", *words, "--json"], capture_output=True, text=True, check=True).stdout
    return json.loads(out)


def generate(prompt, n, *options):
    """Greedy tokens of the same build's generate."""
    return onecopy("generate", "-p", prompt, "-n", str(n), "--temp", "0", *options)


def logprobs_after(ids):
    """Of the whole vocabulary after each token, from the same build's logits."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([LAUNCHER, "-n", "1", "logits", "--tokens", ",".join(map(str, ids)), "--last", str(len(ids)), "-o", f"{folder}/logits.npy"],
                       capture_output=True, check=True)
        with open(f"{folder}/logits.npy", "rb") as file:
            data = file.read()
    # NumPy's format 1.0: magic, version, length of the header, header, values.
    start = 10 + int.from_bytes(data[8:10], "little")
    rows, columns = ast.literal_eval(data[10:start].decode())["shape"]
    values = array.array("f", data[start:])
    assert len(ids) == rows and len(values) == rows * columns
    result = []
    for row in range(rows):
        logits = values[row * columns:(row + 1) * columns]
        greatest = max(logits)
        total = greatest + math.log(sum(math.exp(v - greatest) for v in logits))
        result.append([v - total for v in logits])
    return result


class Api(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(1, "--no-access-log").__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def refused(self, path, body, status=400, param=None):
        got, _, answer = self.server.ask("POST", path, body)
        self.assertEqual(got, status, answer)
        self.assertEqual(set(answer["error"]), {"message", "type", "param", "code"})
        if param:
            self.assertEqual(answer["error"]["param"], param, answer)
        return answer["error"]

    def test_completion_is_what_generate_says(self):
        want = generate(PROMPT, 40)
        got = self.server.post("/v1/completions", prompt=PROMPT, max_tokens=40, temperature=0)
        self.assertEqual(got["choices"][0]["text"], want["text"])
        self.assertEqual(got["choices"][0]["finish_reason"], want["finish_reason"])
        self.assertEqual(got["object"], "text_completion")
        self.assertEqual(got["usage"]["prompt_tokens"], want["prompt_tokens"])
        self.assertEqual(got["usage"]["completion_tokens"], 40)
        self.assertEqual(got["usage"]["total_tokens"], 40 + want["prompt_tokens"])

    def test_a_stream_says_the_same_in_pieces(self):
        whole = self.server.post("/v1/completions", prompt=LONG, max_tokens=50, temperature=0)
        events = self.server.stream("/v1/completions", prompt=LONG, max_tokens=50, temperature=0,
                                    stream_options={"include_usage": True})
        self.assertEqual("".join(e["choices"][0]["text"] for e in events[:-1]), whole["choices"][0]["text"])
        self.assertEqual(events[-2]["choices"][0]["finish_reason"], "length")
        self.assertEqual(events[-1]["choices"], [])
        self.assertEqual(events[-1]["usage"]["completion_tokens"], 50)
        assert_kept(self, self.server, events[-1]["usage"])  # read a moment ago
        self.assertGreater(len(events), 20)

    def test_chat(self):
        messages = [{"role": "system", "content": "Tell stories."}, {"role": "user", "content": "Tell me of a fox."}]
        whole = self.server.post("/v1/chat/completions", messages=messages, max_tokens=30, temperature=0)
        self.assertEqual(whole["object"], "chat.completion")
        choice = whole["choices"][0]
        self.assertEqual(choice["message"]["role"], "assistant")
        self.assertTrue(choice["message"]["content"])
        events = self.server.stream("/v1/chat/completions", messages=messages, max_tokens=30, temperature=0)
        self.assertEqual(events[0]["choices"][0]["delta"]["role"], "assistant")
        said = "".join(e["choices"][0]["delta"].get("content", "") for e in events)
        self.assertEqual(said, choice["message"]["content"])
        self.assertEqual(events[-1]["choices"][0]["finish_reason"], choice["finish_reason"])
        # Content in parts is the same text.
        parts = [messages[0], {"role": "user", "content": [{"type": "text", "text": "Tell me "}, {"type": "text", "text": "of a fox."}]}]
        self.assertEqual(self.server.post("/v1/chat/completions", messages=parts, max_tokens=30, temperature=0)["choices"][0]["message"],
                         choice["message"])
        limit = self.server.post("/v1/chat/completions", messages=messages, max_completion_tokens=3, temperature=0)
        self.assertEqual(limit["usage"]["completion_tokens"], 3)

    def test_choices_prompts_and_seeds(self):
        one = self.server.post("/v1/completions", prompt=[PROMPT, LONG], n=3, max_tokens=12, seed=7, temperature=1.0)
        again = self.server.post("/v1/completions", prompt=[PROMPT, LONG], n=3, max_tokens=12, seed=7, temperature=1.0)
        self.assertEqual([c["text"] for c in one["choices"]], [c["text"] for c in again["choices"]])
        self.assertEqual([c["index"] for c in one["choices"]], list(range(6)))
        self.assertEqual(len({c["text"] for c in one["choices"][:3]}), 3)
        other = self.server.post("/v1/completions", prompt=PROMPT, max_tokens=12, temperature=1.0)
        another = self.server.post("/v1/completions", prompt=PROMPT, max_tokens=12, temperature=1.0)
        self.assertNotEqual(other["choices"][0]["text"], another["choices"][0]["text"])  # a seed of its own each

    def test_stop_strings(self):
        text = self.server.post("/v1/completions", prompt=PROMPT, max_tokens=40, temperature=0)["choices"][0]["text"]
        stop = text[20:26]
        for body in ({"stop": stop}, {"stop": ["never to be found", stop]}):
            got = self.server.post("/v1/completions", prompt=PROMPT, max_tokens=40, temperature=0, **body)
            self.assertEqual(got["choices"][0]["text"], text[:text.index(stop)])
            self.assertEqual(got["choices"][0]["finish_reason"], "stop")
            events = self.server.stream("/v1/completions", prompt=PROMPT, max_tokens=40, temperature=0, **body)
            self.assertEqual("".join(e["choices"][0]["text"] for e in events), text[:text.index(stop)])

    def test_logprobs_are_those_of_the_model(self):
        got = self.server.post("/v1/completions", prompt=PROMPT, max_tokens=5, temperature=0, logprobs=3)["choices"][0]
        logprobs = got["logprobs"]
        self.assertEqual("".join(logprobs["tokens"]), got["text"])
        for token, logprob, top in zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"]):
            self.assertEqual(len(top), 3)
            self.assertAlmostEqual(max(top.values()), logprob)  # greedy
            self.assertAlmostEqual(top[token], logprob)
            self.assertLess(sum(math.exp(p) for p in top.values()), 1.0001)
        # Against the logits that another command writes.
        ids = self.server.post("/tokenize", prompt=PROMPT)["tokens"]
        self.assertAlmostEqual(logprobs["token_logprobs"][0], max(logprobs_after(ids)[-1]), places=4)
        chat = self.server.post("/v1/chat/completions", messages=[{"role": "user", "content": "Hello"}], max_tokens=4, temperature=0,
                                logprobs=True, top_logprobs=2)["choices"][0]
        self.assertEqual("".join(t["token"] for t in chat["logprobs"]["content"]).strip(), chat["message"]["content"].strip())
        for token in chat["logprobs"]["content"]:
            self.assertEqual(len(token["top_logprobs"]), 2)
            self.assertEqual(bytes(token["bytes"]).decode(), token["token"])

    def test_logprobs_of_prompts(self):
        """As lm-evaluation-harness asks for them: the prompt scored, and one token or none behind it."""
        ids = self.server.post("/tokenize", prompt=LONG)["tokens"]
        for _ in range(2):  # the second time the prompt is known
            whole = self.server.post("/v1/completions", prompt=LONG, max_tokens=4, temperature=0, echo=True, logprobs=2)
            choice, logprobs = whole["choices"][0], whole["choices"][0]["logprobs"]
            self.assertEqual(len(logprobs["tokens"]), len(ids) + 4)
            for values in logprobs.values():
                self.assertEqual(len(values), len(ids) + 4)
            self.assertEqual((logprobs["token_logprobs"][0], logprobs["top_logprobs"][0]), (None, None))
            for token, offset in zip(logprobs["tokens"], logprobs["text_offset"]):
                if token.isascii() and offset > 0:
                    self.assertEqual(choice["text"][offset:offset + len(token)], token)
            for token, logprob, top in zip(*(logprobs[name][1:] for name in ("tokens", "token_logprobs", "top_logprobs"))):
                self.assertIn(len(top), (2, 3))  # the token itself, where it is none of the two
                self.assertEqual(top[token], logprob)
        self.assertEqual(choice["text"], LONG + self.server.post("/v1/completions", prompt=LONG, max_tokens=4, temperature=0)["choices"][0]["text"])
        scored = self.server.post("/v1/completions", prompt=[LONG, PROMPT], max_tokens=0, echo=True, logprobs=2)
        self.assertEqual(scored["choices"][0]["logprobs"]["token_logprobs"], logprobs["token_logprobs"][:-4])
        self.assertEqual([c["text"] for c in scored["choices"]], [LONG, PROMPT])
        self.assertEqual((scored["choices"][0]["finish_reason"], scored["usage"]["completion_tokens"]), ("length", 0))
        streamed = self.server.stream("/v1/completions", prompt=LONG, max_tokens=4, temperature=0, echo=True, logprobs=2)
        pieces = [e["choices"][0]["logprobs"] for e in streamed if e["choices"][0]["logprobs"]]
        self.assertEqual({name: [v for piece in pieces for v in piece[name]] for name in logprobs}, logprobs)
        self.refused("/v1/completions", {"prompt": [1] * 20000, "echo": True, "logprobs": 20}, 400, "logprobs")
        # Against the logits that another command writes.
        for i, want in enumerate(logprobs_after(ids)[:-1], 1):
            self.assertAlmostEqual(logprobs["token_logprobs"][i], want[ids[i]], places=3)

    def test_the_token_that_ends_an_answer_has_its_logprob(self):
        """So that there are as many as tokens were computed."""
        end = json.loads(subprocess.run([LAUNCHER, "-n", "1", "inspect", "--json"], capture_output=True, check=True).stdout)
        end = end["metadata"]["tokenizer.ggml.eos_token_id"]
        got = self.server.post("/v1/completions", prompt=PROMPT, max_tokens=8, temperature=0, logit_bias={str(end): 100}, logprobs=0, echo=True)
        ids = self.server.post("/tokenize", prompt=PROMPT)["tokens"]
        self.assertEqual((got["choices"][0]["finish_reason"], got["choices"][0]["text"]), ("stop", PROMPT))
        self.assertEqual(len(got["choices"][0]["logprobs"]["tokens"]), len(ids) + 1)
        self.assertEqual(got["usage"]["completion_tokens"], 1)

    def test_biases_and_penalties(self):
        plain = self.server.post("/v1/completions", prompt=PROMPT, max_tokens=1, temperature=0, logprobs=0)["choices"][0]
        first = self.server.post("/tokenize", prompt=PROMPT + plain["text"])["tokens"][-1]
        biased = self.server.post("/v1/completions", prompt=PROMPT, max_tokens=1, temperature=0, logit_bias={str(first): -100})
        self.assertNotEqual(biased["choices"][0]["text"], plain["text"])
        forced = self.server.post("/v1/completions", prompt=PROMPT, max_tokens=4, temperature=0, logit_bias={"300": 100})
        self.assertEqual(forced["choices"][0]["text"], self.server.post("/detokenize", tokens=[300] * 4)["prompt"])
        penal = self.server.post("/v1/completions", prompt=PROMPT, max_tokens=60, temperature=0, frequency_penalty=2)
        self.assertNotEqual(penal["choices"][0]["text"],
                            self.server.post("/v1/completions", prompt=PROMPT, max_tokens=60, temperature=0)["choices"][0]["text"])

    def test_echo_and_token_prompts(self):
        ids = self.server.post("/tokenize", prompt=PROMPT)
        self.assertEqual(ids["count"], len(ids["tokens"]))
        by_ids = self.server.post("/v1/completions", prompt=ids["tokens"], max_tokens=8, temperature=0)
        by_text = self.server.post("/v1/completions", prompt=PROMPT, max_tokens=8, temperature=0, echo=True)
        self.assertEqual(by_text["choices"][0]["text"], PROMPT + by_ids["choices"][0]["text"])
        self.assertEqual(self.server.post("/detokenize", tokens=ids["tokens"])["prompt"].strip(), PROMPT)

    def test_company_and_kept_prompts_change_no_token(self):
        prompts = [f"{LONG[i:i + 60 * (i % 5) + 20]}" for i in range(16)]
        alone = [self.server.post("/v1/completions", prompt=p, max_tokens=24, temperature=0)["choices"][0]["text"] for p in prompts]
        for _ in range(2):  # the second time every prompt is known
            with ThreadPoolExecutor(16) as pool:
                together = list(pool.map(
                    lambda p: self.server.post("/v1/completions", prompt=p, max_tokens=24, temperature=0)["choices"][0]["text"], prompts))
            self.assertEqual(together, alone)

    def test_errors_say_what_is_wrong(self):
        chat, text = "/v1/chat/completions", "/v1/completions"
        hello = [{"role": "user", "content": "Hello"}]
        for path, body, param in (
                (text, {}, "prompt"), (text, {"prompt": ""}, None), (text, {"prompt": 3}, "prompt"),
                (text, {"prompt": [-1]}, "prompt"), (text, {"prompt": [10**9]}, "prompt"), (text, {"prompt": [[]]}, "prompt"),
                (text, {"prompt": "a", "max_tokens": 0}, "max_tokens"), (text, {"prompt": "a", "max_tokens": "9"}, "max_tokens"),
                (text, {"prompt": "a", "max_tokens": 1.5}, "max_tokens"), (text, {"prompt": "a", "n": 10**9}, "n"),
                (text, {"prompt": "a", "n": 0}, "n"), (text, {"prompt": "a", "temperature": -1}, "temperature"),
                (text, {"prompt": "a", "temperature": "hot"}, "temperature"), (text, {"prompt": "a", "top_p": 2}, "top_p"),
                (text, {"prompt": "a", "logit_bias": {"x": 1}}, "logit_bias"),
                (text, {"prompt": "a", "logit_bias": {str(i): 1 for i in range(2000)}}, "logit_bias"),
                (text, {"prompt": "a", "logit_bias": {"1": 10**9}}, "logit_bias"),
                (text, {"prompt": "a", "stop": ["a"] * 17}, "stop"), (text, {"prompt": "a", "stop": [""]}, "stop"),
                (text, {"prompt": "a", "stop": "x" * 2000}, "stop"), (text, {"prompt": "a", "stop": {}}, "stop"),
                (text, {"prompt": "a", "seed": "x"}, "seed"), (text, {"prompt": "a", "logprobs": 100}, "logprobs"),
                (text, {"prompt": "a", "stream": "yes"}, "stream"), (text, {"prompt": "a", "best_of": 4}, "best_of"),
                (chat, {}, "messages"), (chat, {"messages": []}, "messages"), (chat, {"messages": "hello"}, "messages"),
                (chat, {"messages": [3]}, "messages"), (chat, {"messages": [{"content": "a"}]}, "messages"),
                (chat, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
                (chat, {"messages": [{"role": "user", "content": 5}]}, "messages"),
                (chat, {"messages": hello, "top_logprobs": 3}, "top_logprobs"),
                (chat, {"messages": hello, "logprobs": True, "top_logprobs": 99}, "top_logprobs"),
                ("/detokenize", {"tokens": ["a"]}, "tokens"), ("/tokenize", {"prompt": []}, "prompt"),
                ("/v1/embeddings", {"input": "a"}, "model")):
            with self.subTest(path=path, body=str(body)[:80]):
                self.assertEqual(self.refused(path, body, 400, param)["type"], "invalid_request_error")
        error = self.refused(text, {"prompt": "word " * 5000}, 400)
        self.assertEqual(error["code"], "context_length_exceeded")

    def test_bodies_that_are_no_json(self):
        for body in (b"", b"{", b"[1]", b"nul", b'{"prompt": "\xff\xfe"}', b'{"prompt": "a"} x', b"[" * 100000,
                     b'{"a":' * 5000 + b"1" + b"}" * 5000):
            with self.subTest(body=body[:20]):
                self.refused("/v1/completions", body)

    def test_routes(self):
        self.assertEqual(self.server.ask("GET", "/v1/nothing")[0], 404)
        status, headers, _ = self.server.ask("GET", "/v1/completions")
        self.assertEqual((status, headers["Allow"]), (405, "POST"))
        models = self.server.ask("GET", "/v1/models")[2]
        name = models["data"][0]["id"]
        self.assertEqual(self.server.ask("GET", f"/v1/models/{name}")[2]["id"], name)
        self.assertEqual(self.server.ask("GET", "/v1/models/other")[2]["error"]["code"], "model_not_found")
        self.assertEqual(self.server.ask("GET", "/health")[2], {"status": "ready"})
        self.assertEqual(self.server.ask("GET", "/health", headers={"X-Request-Id": "abc-1"})[1]["X-Request-Id"], "abc-1")
        for path, status in (("/v1/models", 403), ("/", 200)):  # another site may link to the page
            for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example:8080"}, {"Origin": "http://evil.example"}):
                got, answered, _ = self.server.ask("GET", path, headers=headers)
                self.assertEqual(got, status, headers)
                self.assertEqual([name for name in answered if name.lower().startswith("access-control")], [])
        self.assertEqual(self.server.ask("POST", "/v1/completions", {"prompt": "a", "max_tokens": 1}, {"Host": "evil.example"})[0], 403)
        self.assertEqual(self.server.ask("GET", "/v1/models", headers={"Host": f"localhost:{self.server.port}"})[0], 200)

    def test_the_page_is_sent_compressed_to_those_that_take_it(self):
        def get(path, **headers):
            connection = self.server.connect()
            connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            body = answer.read()
            # What a browser that keeps connections sees next.
            connection.request("GET", "/health")
            self.assertEqual(connection.getresponse().status, 200)
            connection.close()
            return answer, body

        names = os.listdir(f"{TREE}/runtime/serve/web")
        names.remove("README.md")
        on_the_wire = 0
        for name in names:
            path = "/openapi.json" if name == "openapi.json" else f"/web/{name}"
            plain, whole = get(path)
            self.assertIsNone(plain.getheader("Content-Encoding"))
            answer, body = get(path, Accept_Encoding="br, gzip;q=0.8")
            if answer.getheader("Content-Encoding") is not None:
                self.assertEqual(answer.getheader("Content-Encoding"), "gzip")
                self.assertEqual(gzip.decompress(body), whole)
                self.assertNotEqual(answer.getheader("ETag"), plain.getheader("ETag"))
                on_the_wire += len(body)
            self.assertEqual((answer.getheader("Vary"), plain.getheader("Vary")), ("Accept-Encoding",) * 2)
            same, nothing = get(path, Accept_Encoding="gzip", If_None_Match=answer.getheader("ETag"))
            self.assertEqual((same.status, nothing, same.getheader("ETag")), (304, b"", answer.getheader("ETag")))
            self.assertIsNone(get(path, Accept_Encoding="gzip;q=0, identity")[0].getheader("Content-Encoding"))
        self.assertLess(on_the_wire, 80_000)
        self.assertGreater(on_the_wire, 10_000)

    def test_the_machine_and_metrics(self):
        self.server.post("/v1/completions", prompt=PROMPT, max_tokens=5)
        machine = self.server.ask("GET", "/api/machine")[2]
        self.assertEqual(machine["state"], "ready")
        self.assertEqual(machine["copies_in_memory"], 1.0)
        self.assertEqual(sum(r["weight_bytes"] for r in machine["ranks"]), machine["weight_bytes"])
        text = self.server.ask("GET", "/metrics")[2]
        values = {}
        for line in text.splitlines():
            if line and line[0] != "#":
                name, _, value = line.rpartition(" ")
                values[name] = float(value)
        self.assertGreater(values['onecopy_tokens_total{kind="generated"}'], 4)
        self.assertEqual(values["onecopy_copies_in_memory"], 1)
        self.assertGreater(values["onecopy_time_to_first_token_seconds_count"], 0)


class Dashboard(unittest.TestCase):
    """launch/grafana.json asks for metrics that the server has."""

    def test_metrics(self):
        with open(f"{TREE}/launch/grafana.json") as file:
            panels = json.load(file)["panels"]
        asked = set()
        for panel in panels:
            for target in panel["targets"]:
                asked |= set(re.findall(r"onecopy_[a-z_]+", target["expr"]))
        self.assertGreater(len(asked), 8)
        with Server(1) as server:
            server.post("/v1/completions", prompt="a", max_tokens=3)
            text = server.ask("GET", "/metrics")[2]
        for name in asked:
            self.assertRegex(text, rf"(?m)^{name}[{{ ]", name)


class Ranks(unittest.TestCase):
    """The same tokens at any number of ranks, alone, together, and where sequences make way for each other."""

    def test_tokens(self):
        prompts = [LONG[:40 + 23 * i] for i in range(8)]
        want = [generate(p, 60)["text"] for p in prompts]

        for ranks in (1, 2, 4):
            for options in (["--context", "256"], ["--no-prefix-cache"]):
                with self.subTest(ranks=ranks, options=options), Server(ranks, "--no-access-log", *options) as server:
                    assert_answers(self, server, prompts, want, make_way="--context" in options)


class CacheOfEightBits(unittest.TestCase):
    """--kv-type q8_0: generate's tokens, in company, where sequences make way and from kept prompts, in the bytes of the plan."""

    def test_tokens_and_bytes(self):
        q8 = ("--kv-type", "q8_0")
        prompts = [LONG[:40 + 120 * i] for i in range(4)]
        want = [generate(p, 60, *q8)["text"] for p in prompts]
        plan = onecopy("plan", "--nodes", "2", "--context", "256", *q8)
        self.assertEqual(plan["kv_type"], "q8_0")

        with Server(2, "--no-access-log", "--context", "256", *q8) as server:
            assert_answers(self, server, prompts, want, make_way=True)
            again = server.post("/v1/completions", prompt=prompts[-1], max_tokens=1, temperature=0)
            assert_kept(self, server, again["usage"])
            machine = server.ask("GET", "/api/machine")[2]
        self.assertEqual(machine["kv_type"], "q8_0")
        for rank, planned in zip(machine["ranks"], plan["ranks"], strict=True):  # arenas are of 2 MiB
            self.assertEqual(rank["kv_bytes"], -(-planned["kv_bytes"] // 2**21) * 2**21)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"] + sys.argv[1:])
