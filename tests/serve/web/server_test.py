#!/usr/bin/env python3
"""The web page in headless Chromium on a real server with the model that ships here: what the mock takes for granted."""

import glob
import os
import sys
import tempfile

import browser
from browser import Keys, PageTest
from mock_server import POLICY, TYPES, WEB, Mock

sys.path.append(f"{os.path.dirname(os.path.abspath(__file__))}/..")
from server import Server  # noqa: E402


class Real(PageTest):
    num_ranks = 2

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.keys = tempfile.NamedTemporaryFile("w")
        cls.addClassCleanup(cls.keys.close)
        cls.server = Server(cls.num_ranks, *cls.options())
        cls.server.key = None
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__)

    @classmethod
    def options(cls):
        return ()

    def start(self):
        return self.server

    def setUp(self):
        super().setUp()
        self.js("localStorage.clear(); sessionStorage.clear()")
        self.open()

    def enter(self, text):
        """Sends a message, and waits for the end of its answer."""
        before = len(self.texts(".answer"))
        self.js("document.getElementById('prompt').value = arguments[0]", text)
        self.type(Keys.ENTER)
        self.wait(lambda: len(self.texts(".answer")) > before and self.idle(), "no end of the answer")


class Page(Real):
    def set(self, **values):
        self.one("#open-settings").click()
        for name, value in values.items():
            self.type(value, f"#settings [name={name}]")
        self.one("#settings [type=submit]").click()

    def test_an_answer_streams_and_its_figures_are_the_servers(self):
        self.set(max_tokens="24", seed="7", temperature="0.8", top_p="0.95", top_k="40", min_p="0.01")
        self.enter("Once upon a time")
        self.assertEqual(self.texts(".failure:not([hidden])"), [])
        self.assertRegex(self.text(".stats"), r"^(cut off at max_tokens · )?\d+ tokens · [\d.,]+ tokens/s · first after .* · prompt \d+")
        first = self.text(".answer-text")
        self.one("[aria-label='Answer again']").click()
        self.wait(lambda: self.idle() and "tokens/s" in self.text(".stats"), "not again")
        self.assertEqual(self.text(".answer-text"), first, "the seed was not sent")
        self.enter("And then?")
        self.assertEqual(len(self.texts(".answer")), 2)

    def test_stop_frees_the_server(self):
        for _ in range(20):  # the model may end a text at any time
            self.one("#new").click()
            self.type("Tell me a very long story" + Keys.ENTER)
            self.wait(lambda: self.text(".answer-text") or self.idle(), "no answer")
            self.type(Keys.ESCAPE)
            self.wait(self.idle, "it goes on")
            if "stopped" in self.text(".stats"):
                break
        self.assertIn("stopped", self.text(".stats"))
        self.wait(lambda: self.server.ask("GET", "/api/machine")[2]["running"] == 0, "the server still computes")

    def test_a_prompt_longer_than_the_context_is_said_in_a_sentence(self):
        self.expected_log = ["status of 400"]
        self.enter("word " * 5000)
        self.assertRegex(self.text(".failure:not([hidden])"), r"^This model's maximum context length is \d+ tokens, and the prompt has \d+; .*\.Try again$")

    def test_the_machine_is_the_servers(self):
        self.wait(lambda: len(self.all(".node")) == self.num_ranks, "no cards")
        machine = self.server.ask("GET", "/api/machine")[2]
        self.assertEqual(self.text(".copies strong"), "1.00")
        self.assertEqual(self.text("#state"), "ready")
        self.assertEqual(self.text("#model"), machine["model"])
        self.assertIn(machine["kernels"], self.texts(".facts dd"))
        self.one(".all summary").click()
        self.wait(lambda: len(self.all(".all tbody tr")) == self.num_ranks, "no table")
        undrawn = [cell for cell in self.texts(".all td") if cell in ("–", "", "undefined", "NaN")]
        self.assertEqual(undrawn, [])

    def test_a_link_from_another_site_leads_to_the_page_and_to_nothing_else(self):
        with Mock() as elsewhere:
            for path, leads in (("/", True), ("/v1/models", False), ("/api/machine", False)):
                self.driver.get(elsewhere.url.replace("127.0.0.1", "localhost"))
                self.js("const a = document.createElement('a'); a.href = arguments[0]; document.body.append(a); a.click();", self.server.url + path)
                self.wait(lambda: self.driver.current_url.startswith(self.server.url) and self.js("return document.readyState") == "complete", "no page")
                self.assertEqual(bool(self.all("#composer")), leads, path)
                self.assertEqual("other sites are refused" in self.text("body"), not leads, path)
        self.expected_log = ["status of 403", "favicon.ico", "net::ERR_"]

    def test_every_file_is_served_with_its_type_and_the_policy(self):
        with open(f"{WEB}/README.md") as f:
            self.assertIn(POLICY, f.read())
        names = [os.path.basename(path) for end in TYPES for path in glob.glob(f"{WEB}/*{end}")]
        for path in ["/", *(f"/web/{name}" for name in names)]:
            status, headers, body = self.server.ask("GET", path)
            with open(f"{WEB}/{path[5:] or 'index.html'}") as f:
                self.assertEqual((status, body), (200, f.read()), path)
            self.assertEqual(headers["Content-Type"], TYPES[os.path.splitext(path)[1] or ".html"])
            self.assertEqual(headers["Content-Security-Policy"], POLICY)
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
        for path in ("/web/README.md", "/web/", "/web/../README.md", "/web/%2e%2e/README.md", "/web"):
            self.assertEqual(self.server.ask("GET", path)[0], 404, path)


class WithKey(Real):
    num_ranks = 1

    @classmethod
    def options(cls):
        cls.keys.write("sesame\n")
        cls.keys.flush()
        return "--api-key-file", cls.keys.name

    def open(self):
        self.driver.get(self.mock.url)

    def test_the_page_asks_for_the_key(self):
        self.expected_log = ["status of 401"]
        self.wait(lambda: self.one("#ask").is_displayed(), "no question")
        self.type("sesame" + Keys.ENTER, "#ask-input")
        self.wait(lambda: self.text("#model"), "the page names no model")
        self.enter("Once upon a time")
        self.assertTrue(self.text(".answer-text"))
        self.wait(lambda: self.text("#state") == "ready", "no machine")


if __name__ == "__main__":
    browser.main()
