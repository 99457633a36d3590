#!/usr/bin/env python3
"""schema_test.py SCHEMA_CHECK MODEL SCHEMAS.json: the grammars of JSON schemas against Python's jsonschema.

Every text that a random walk over the shipped model's tokens makes must parse and validate. Documents that are valid
or not by jsonschema are accepted or not, in three layouts; so are documents changed at random, and numbers and strings
drawn from the outside, up to the form that runtime/grammar/README.md describes. GBNF is held against Python's re."""

import datetime
import json
import os
import random
import re
import subprocess
import sys
import unittest

try:
    import jsonschema
except ImportError:
    # Debian's package is for Debian's interpreter.
    if sys.executable != "/usr/bin/python3" and os.access("/usr/bin/python3", os.X_OK):
        os.execv("/usr/bin/python3", ["/usr/bin/python3", "-B", *sys.argv])
    print("skipped: python3-jsonschema is not installed (launch/setup --tests)")
    sys.exit(77)

FORMATS = jsonschema.FormatChecker(formats=["date", "email", "ipv4", "ipv6", "uuid"])
RFC3339_TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"


@FORMATS.checks("time")
def is_time(value):
    return not isinstance(value, str) or re.fullmatch(RFC3339_TIME, value, re.ASCII) is not None


@FORMATS.checks("date-time")
def is_date_time(value):
    if not isinstance(value, str):
        return True
    day, _, time = value.partition("T")
    try:
        datetime.date.fromisoformat(day)
    except ValueError:
        return False
    return len(day) == 10 and is_time(time)


@FORMATS.checks("hostname")
def is_hostname(value):
    name = r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?"
    return not isinstance(value, str) or re.fullmatch(name, value) is not None


def validator_of(schema):
    default = jsonschema.Draft202012Validator
    known = schema if isinstance(schema, dict) and "$schema" in schema else {}
    return jsonschema.validators.validator_for(known, default)(schema, format_checker=FORMATS)


def layouts(document):
    """The document as different programs write it."""
    return [json.dumps(document, ensure_ascii=False, separators=(",", ":")), json.dumps(document, ensure_ascii=False),
            json.dumps(document, ensure_ascii=False, indent=2)]


def changed(document, rng):
    """A copy with one value somewhere replaced, removed or doubled."""
    others = [None, True, 0, 1, -1, 7, 100, 2.5, "", "a", "abc", "abcdefghijkl", [], {}, [1], {"a": 1}]
    if isinstance(document, dict) and document and rng.random() < 0.8:
        key = rng.choice(list(document))
        out = dict(document)
        if rng.random() < 0.3:
            del out[key]
        else:
            out[key] = changed(document[key], rng)
        return out
    if isinstance(document, list) and document and rng.random() < 0.8:
        i = rng.randrange(len(document))
        pick = rng.random()
        if pick < 0.25:
            return document[:i] + document[i + 1:]
        if pick < 0.5:
            return document[:i] + [document[i]] + document[i:]
        return document[:i] + [changed(document[i], rng)] + document[i + 1:]
    if isinstance(document, (int, float)) and not isinstance(document, bool) and rng.random() < 0.7:
        return document + rng.choice([-1, 1, -10, 10, 0.5])
    if isinstance(document, str) and rng.random() < 0.7:
        i = rng.randrange(len(document) + 1)
        return document[:i] + rng.choice("a0-Z \"\\é.") + document[i + rng.randrange(2):]
    return rng.choice(others)


# Patterns and lengths that no string has.
IMPOSSIBLE = [("^(a|b)*a(a|b){3}$", 0, 3), ("^$", 2, None), ("^$", 2, 4)]


def drawn_schema(rng, depth):
    """A schema with any of the supported keywords, also such as do not fit together."""
    pick = rng.random()
    if depth > 0 and pick < 0.3:
        parts = [drawn_schema(rng, depth - 1) for _ in range(rng.randint(1, 3))]
        schema = {rng.choice(["anyOf", "oneOf", "allOf"]): parts}
        if rng.random() < 0.4:
            other = drawn_schema(rng, 0)
            schema.update(other if isinstance(other, dict) else {})
        return schema
    if pick < 0.36:
        return rng.choice([True, {}, {"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b", "description": "x"},
                           {"$ref": "#/$defs/b", "maxLength": 3, "maximum": 4}])
    kind = rng.choice(["object", "array", "string", "integer", "number", "boolean", "null", "enum"] if depth else
                      ["string", "integer", "number", "boolean", "null", "enum"])
    if kind == "enum":
        values = [0, 1, 2.5, -3, "a", "ab", "", None, True, [], [1], {"a": 1}]
        return {"enum": rng.sample(values, rng.randint(1, 4))} if rng.random() < 0.7 else {
            "const": rng.choice(values)}
    schema = {"type": kind if rng.random() < 0.8 else [kind, "null"]}

    def maybe(keyword, value, chance=0.4):
        if rng.random() < chance:
            schema[keyword] = value
    if kind == "object":
        names = rng.sample(["a", "b", "c", "d"], rng.randint(0, 3))
        maybe("properties", {name: drawn_schema(rng, depth - 1) for name in names}, 0.9)
        maybe("required", rng.sample(["a", "b", "c"], rng.randint(0, 2)), 0.6)
        maybe("additionalProperties", rng.choice([False, False, True, drawn_schema(rng, depth - 1)]), 0.6)
        maybe("minProperties", rng.randint(0, 2), 0.2)
        maybe("maxProperties", rng.randint(1, 3), 0.2)
    elif kind == "array":
        maybe("items", drawn_schema(rng, depth - 1), 0.8)
        maybe("prefixItems", [drawn_schema(rng, depth - 1) for _ in range(rng.randint(1, 2))], 0.3)
        maybe("minItems", rng.randint(0, 2))
        maybe("maxItems", rng.randint(1, 4), 0.7)
    elif kind == "string":
        maybe("minLength", rng.randint(0, 3))
        maybe("maxLength", rng.randint(2, 6))
        maybe("pattern", rng.choice(["^[ab]*$", "a", "^a|b$", "^.{2,4}$"]), 0.3)
    elif kind in ("integer", "number"):
        maybe("minimum", rng.choice([-5, 0, 1, 2.5]))
        maybe("maximum", rng.choice([3, 7.5, 20]))
        maybe("exclusiveMinimum", rng.choice([-2, 0, 0.5]), 0.2)
        maybe("exclusiveMaximum", rng.choice([4, 9, 9.25]), 0.2)
        maybe("multipleOf", rng.choice([1, 2, 3]), 0.2)
    return schema


def drawn_expression(rng, depth):
    """The same set of strings as GBNF and as a regular expression of Python."""
    pick = rng.randrange(7 if depth else 3)
    if pick == 0:
        text = rng.choice(["a", "b", "ab", "é", "", '"'])
        return '"' + text.replace('"', '\\"') + '"', f"(?:{re.escape(text)})"
    if pick == 1:
        return rng.choice([("[ab]", "[ab]"), ("[^b]", "[^b]"), ("[a-ë]", "[a-ë]"), ("[^\\n\"a]", "[^\n\"a]")])
    if pick == 2:
        return ".", "[\\s\\S]"
    parts = [drawn_expression(rng, depth - 1) for _ in range(rng.randint(1, 3))]
    if pick in (3, 4):
        return "(" + " ".join(part[0] for part in parts) + ")", "(?:" + "".join(part[1] for part in parts) + ")"
    if pick == 5:
        return "(" + " | ".join(part[0] for part in parts) + ")", "(?:" + "|".join(part[1] for part in parts) + ")"
    times = rng.choice(["*", "+", "?", "{2}", "{1,3}", "{2,}", "{0,2}"])
    return f"({parts[0][0]}){times}", f"(?:{parts[0][1]}){times}"


def drawn_document(rng, depth):
    if depth > 0 and rng.random() < 0.6:
        if rng.random() < 0.5:
            return [drawn_document(rng, depth - 1) for _ in range(rng.randrange(4))]
        return {name: drawn_document(rng, depth - 1) for name in "abcd" if rng.random() < 0.5}
    return rng.choice([None, True, False, 0, 1, 2, 3, 6, -3, 2.5, 0.75, 7.5, 12, "", "a", "ab", "ba", "abab", "aaaaaaa",
                       "xyz"])


class SchemaTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.process = subprocess.Popen([PROGRAM, MODEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                       encoding="utf-8")
        with open(SCHEMAS, encoding="utf-8") as file:
            cls.cases = json.load(file)

    @classmethod
    def tearDownClass(cls):
        cls.process.stdin.close()
        cls.process.wait(10)
        cls.process.stdout.close()

    def ask(self, schema, texts=(), walks=0, tokens=0, seed=1, may_fail=False, kind="schema"):
        question = {kind: schema, "walks": walks, "tokens": tokens, "seed": seed, "texts": list(texts)}
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if not may_fail:
            self.assertNotIn("error", answer, schema)
        return answer

    def test_a_walk_over_tokens_is_always_valid(self):
        self.assertGreaterEqual(len(self.cases), 100)
        distinct = 0
        for i, case in enumerate(self.cases):
            validator = validator_of(case["schema"])
            texts = set()
            for walk in self.ask(case["schema"], walks=12, tokens=9, seed=i)["walks"]:
                self.assertEqual(walk["fault"], "", (case["name"], walk["text"][-200:]))
                document = json.loads(walk["text"])
                errors = [error.message for error in validator.iter_errors(document)]
                self.assertEqual(errors, [], (case["name"], walk["text"]))
                texts.add(walk["text"])
            distinct += len(texts)
        print(f"{distinct} different texts of {len(self.cases)} schemas")
        self.assertGreater(distinct, 5 * len(self.cases))

    def test_schemas_drawn_at_random(self):
        """What is written for them, and what is accepted of other documents, is valid."""
        rng = random.Random(6)
        compiled = checked = accepted = 0
        for i in range(600):
            schema = {"type": "object", "properties": {"x": drawn_schema(rng, 3)}, "required": ["x"],
                      "$defs": {"a": drawn_schema(rng, 2), "b": drawn_schema(rng, 1)}}
            texts = [json.dumps({"x": drawn_document(rng, 3)}) for _ in range(25)]
            answer = self.ask(schema, texts, walks=4, tokens=4, seed=i, may_fail=True)
            if "error" in answer:
                self.assertRegex(answer["error"], "no finite text|not supported|cannot be asked|may be valid for|"
                                 "left-recursive|deeper than|too much work")
                continue
            compiled += 1
            validator = validator_of(schema)
            for walk in answer["walks"]:
                self.assertEqual(walk["fault"], "", (schema, walk["text"][-200:]))
                errors = [error.message for error in validator.iter_errors(json.loads(walk["text"]))]
                self.assertEqual(errors, [], (schema, walk["text"]))
                checked += 1
            for text, yes in zip(texts, answer["accepted"]):
                accepted += yes
                if yes:
                    self.assertTrue(validator.is_valid(json.loads(text)), (schema, text))
        print(f"{compiled} of 600 schemas compiled, {checked} texts, {accepted} other documents accepted")
        self.assertGreater(compiled, 300)

    def test_documents_are_accepted_as_jsonschema_says(self):
        for case in self.cases:
            validator = validator_of(case["schema"])
            documents = [(document, True) for document in case["valid"]] + [(d, False) for d in case["invalid"]]
            texts, expected = [], []
            for document, valid in documents:
                self.assertEqual(validator.is_valid(document), valid, (case["name"], document))
                for text in layouts(document):
                    texts.append(text)
                    expected.append(valid)
            for text, valid, accepted in zip(texts, expected, self.ask(case["schema"], texts)["accepted"]):
                self.assertEqual(accepted, valid, (case["name"], text))

    def test_nothing_invalid_is_accepted(self):
        rng = random.Random(1)
        tried = accepted = 0
        for case in self.cases:
            validator = validator_of(case["schema"])
            documents = case["valid"] + case["invalid"]
            for _ in range(60):
                documents.append(changed(rng.choice(documents), rng))
            answer = self.ask(case["schema"], [json.dumps(document, ensure_ascii=False) for document in documents])
            for document, yes in zip(documents, answer["accepted"]):
                tried += 1
                accepted += yes
                if yes:
                    self.assertTrue(validator.is_valid(document), (case["name"], document))
        print(f"{accepted} of {tried} accepted")
        self.assertGreater(accepted, tried // 20)

    def test_integers_within_bounds(self):
        rng = random.Random(2)
        for _ in range(60):
            schema = {"type": "integer"}
            lo, hi = sorted(rng.randint(-size, size) for size in rng.choices([30, 2000, 10**6], k=2))
            if rng.random() < 0.8:
                schema[rng.choice(["minimum", "exclusiveMinimum"])] = lo + rng.choice([0, 0.5])
            if rng.random() < 0.8:
                schema[rng.choice(["maximum", "exclusiveMaximum"])] = hi + rng.choice([2, 2.5])
            if rng.random() < 0.3:
                schema["multipleOf"] = rng.choice([1, 2, 3, 10, 20])
                schema.pop("maximum", None), schema.pop("exclusiveMaximum", None)
            near = [n + d for n in (0, lo, hi, 10, 100, 1000, 10**5, 10**9) for d in range(-12, 13)]
            numbers = sorted(set(near + [rng.randint(-10**6, 10**6) for _ in range(50)]))
            validator = validator_of(schema)
            for number, yes in zip(numbers, self.ask(schema, map(str, numbers))["accepted"]):
                self.assertEqual(yes, validator.is_valid(number), (schema, number))

    def test_numbers_within_bounds(self):
        rng = random.Random(3)
        for _ in range(100):
            digits = rng.choice([0, 1, 2, 3])
            lo = round(rng.uniform(-30, 30), digits)
            hi = round(lo + rng.choice([0.001, 0.01, 0.5, 3, 40]) + 10**-digits, 3)
            schema = {"type": "number"}
            if rng.random() < 0.8:
                schema[rng.choice(["minimum", "exclusiveMinimum"])] = lo
            if rng.random() < 0.8 or len(schema) == 1:
                schema[rng.choice(["maximum", "exclusiveMaximum"])] = hi
            texts = {f"{n + d:.{places}f}" for n in (lo, hi, 0) for places in (1, 2, 4)
                     for d in (0, 0.1, -0.1, 0.01, -0.01, 0.0001, -0.0001, 1, -1, 7.3)}
            texts |= {str(n) for n in range(-35, 36)}
            texts = sorted(text for text in texts if not re.fullmatch(r"-0(\.0+)?", text))
            validator = validator_of(schema)
            for text, yes in zip(texts, self.ask(schema, texts)["accepted"]):
                self.assertEqual(yes, validator.is_valid(json.loads(text)), (schema, text))

    def test_strings_of_patterns_and_lengths(self):
        rng = random.Random(4)
        patterns = ["^[a-c]*$", "ab?a", "^a|b$", "^(ab|a)(c|bcd)?$", "^[^ab]{2,3}$", "c{2}", "^(a|b)*a(a|b){3}$",
                    "^\\w+ \\d$", "^.b", "\"", "\\\\", "^$", "", "^a{0,2}b{1,}$", "^(?:a(?:b(?:c)?)?)?$",
                    "[a-c\\d]\\.", "^\\S+$", "^a*b*c*1*$"]
        for pattern in patterns:
            for low, high in [(None, None), (0, 3), (2, None), (2, 4)]:
                schema = {"type": "string", "pattern": pattern}
                if low is not None:
                    schema["minLength"] = low
                if high is not None:
                    schema["maxLength"] = high
                strings = sorted({"".join(rng.choices("aaabbbc1. \"\\", k=rng.randrange(7))) for _ in range(250)})
                expected = [re.search(pattern, string) is not None and (low or 0) <= len(string) <= (high or 99)
                            for string in strings]
                if not any(expected) and (pattern, low, high) in IMPOSSIBLE:
                    continue  # no schema to compile
                answer = self.ask(schema, [json.dumps(string) for string in strings])
                self.assertEqual(answer["accepted"], expected, (schema, strings))

    def test_gbnf_as_regular_expressions(self):
        rng = random.Random(7)
        matched = 0
        for _ in range(400):
            gbnf, pattern = drawn_expression(rng, 4)
            # The same through rules: a rule for the whole, called once or twice.
            if rng.random() < 0.3:
                gbnf, pattern = f"x x?\nx ::= {gbnf}", f"(?:{pattern}){{1,2}}"
            texts = sorted({"".join(rng.choices('aabbé"c', k=rng.randrange(7))) for _ in range(60)})
            expected = [re.fullmatch(pattern, text) is not None for text in texts]
            answer = self.ask(f"root ::= {gbnf}\n", texts, kind="gbnf")
            self.assertEqual(answer["accepted"], expected, (gbnf, pattern, texts))
            matched += sum(expected)
        self.assertGreater(matched, 1000)

    def test_keys_other_than_the_declared(self):
        rng = random.Random(5)
        names = ["a", "ab", "abc", "b\"", "é", "日本", ""]
        schema = {"type": "object", "properties": {name: {"type": "integer"} for name in names},
                  "additionalProperties": {"type": "boolean"}}
        keys = sorted({"".join(rng.choices("abcé日本", k=rng.randrange(5))) for _ in range(200)})
        for value in (1, True):
            texts = [json.dumps({key: value}, ensure_ascii=False) for key in keys]
            for key, yes in zip(keys, self.ask(schema, texts)["accepted"]):
                self.assertEqual(yes, (key in names) == (value is not True), (key, value))


if __name__ == "__main__":
    PROGRAM, MODEL, SCHEMAS = sys.argv[1:4]
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
