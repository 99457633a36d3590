#!/usr/bin/env python3
"""The web page in headless Chromium when the server refuses, breaks off or goes away: a sentence, and a way on."""

import browser
from browser import Keys, PageTest
from mock_server import Mock


class Failures(PageTest):
    def refuse(self, name, sentence):
        """Sends a prompt that fails; its sentence is shown, with a button to try again."""
        self.expected_log = ["the server responded with a status of", "net::ERR_"]
        self.send(f"mock: {name}")
        self.wait(lambda: sentence in self.text(".failure"), f"no sentence; found {self.texts('.failure')}")
        self.assertTrue(self.one(".failure").is_displayed())

    def try_again(self):
        self.wait(lambda: self.one(".failure button").is_displayed(), "no button")
        self.one(".failure button").click()

    def test_an_error_says_what_the_server_said_and_can_be_tried_again(self):
        for name, sentence in (("500", "Rank 3 on host epyc2 has died."), ("400", "This model's maximum context length is 4096 tokens, and the prompt has 5000; shorten it.")):
            self.one("#new").click()
            self.mock.failures_left = 1
            self.refuse(name, sentence)
            self.try_again()
            self.wait(lambda: self.text(".answer-text") == "These are a few words.", "no answer")
            self.assertFalse(self.one(".failure").is_displayed())
            self.assertEqual(self.asked(), [("user", f"mock: {name}")])

    def test_a_question_without_an_answer_goes_with_the_next(self):
        self.refuse("500", "has died")
        self.ask("go on")
        self.assertEqual(self.asked(), [("user", "mock: 500\n\ngo on")])

    def test_429_and_503_are_asked_again_when_the_server_said_so(self):
        for name in ("429", "503"):
            self.one("#new").click()
            self.mock.failures_left = 2
            asked = len(self.mock.requests)
            self.refuse(name, "Trying again in")
            self.wait(lambda: self.text(".answer-text") == "These are a few words.", "no answer")
            self.assertEqual(len(self.mock.requests) - asked, 3)

    def test_after_four_refusals_the_page_leaves_it_to_the_user(self):
        self.refuse("429", "16 requests wait already")
        self.wait(self.idle, "it still tries")
        self.assertEqual(len(self.mock.requests), 4)
        self.assertTrue(self.one(".failure button").is_displayed())

    def test_an_hour_is_not_waited_for(self):
        self.refuse("503 late", "The server is draining.")
        self.assertTrue(self.idle())

    def test_waiting_can_be_stopped(self):
        self.refuse("429", "Trying again in")
        self.type(Keys.ESCAPE)
        self.wait(self.idle, "it still waits")
        self.assertLess(len(self.mock.requests), 4)

    def test_what_came_before_a_break_is_kept(self):
        for name, sentence in (("break", "broke off"), ("break quietly", "broke off before its end"), ("break frame", "Rank 3 on host epyc2 has died.")):
            self.one("#new").click()
            self.refuse(name, sentence)
            self.assertEqual(self.text(".answer-text"), "It begins well,")
            self.assertTrue(self.idle())
            self.open()
            self.wait(lambda: sentence in self.text(".failure"), "it is forgotten")

    def test_a_server_that_is_gone_is_said_and_a_new_one_found(self):
        self.ask("first")
        port = self.mock.server.server_address[1]
        self.mock.__exit__()
        self.expected_log = ["net::ERR_"]
        self.type("second" + Keys.ENTER)
        self.wait(lambda: "cannot be reached" in self.text(".failure:not([hidden])"), "no sentence")
        self.wait(lambda: self.text("#state") == "no answer", "the machine's picture looks alive")
        self.mock = Mock(port)
        self.addCleanup(self.mock.__exit__)
        self.one(".failure:not([hidden]) button").click()
        self.wait(lambda: self.texts(".answer-text") == ["These are a few words."] * 2, "no answer")
        self.wait(lambda: self.text("#state") == "ready", "the machine's picture stays away")

    def test_events_that_are_no_json_end_the_answer_with_a_sentence(self):
        def garbage(handler, body, name):
            handler.send_response(200)
            handler.send_header("Content-Type", "text/event-stream")
            handler.send_header("Connection", "close")
            handler.end_headers()
            handler.wfile.write(b"data: {\n\n")
            handler.close_connection = True
        self.mock.server.RequestHandlerClass.stream = garbage
        self.refuse("x", "not JSON")


class Events(PageTest):
    """The reader of server-sent events against the HTML standard's rules, cut at every byte."""

    def test_events_are_read_however_they_are_cut(self):
        text = ': hello\r\n\r\ndata: {"a":"ü€😀"}\r\n\r\nevent: x\nid: 3\ndata:one\ndata: two\n\n\n\ndata\nretry: 5\n\ndata: [DONE]\n\ndata: cut off'
        found = self.module("""
            const { serverEvents } = await load("api.js");
            const bytes = new TextEncoder().encode(args[0]);
            const all = new Set();
            for (let width = 1; width <= bytes.length; ++width) {
              const stream = new ReadableStream({ start(c) {
                for (let at = 0; at < bytes.length; at += width) c.enqueue(bytes.slice(at, at + width));
                c.close(); } });
              const events = [];
              for await (const data of serverEvents(stream)) events.push(data);
              all.add(JSON.stringify(events));
            }
            return [...all];""", text)
        self.assertEqual(found, ['["{\\"a\\":\\"ü€😀\\"}","one\\ntwo","[DONE]"]'])

    def test_an_event_without_an_end_is_refused(self):
        found = self.module("""
            const { serverEvents } = await load("api.js");
            const piece = new Uint8Array(1 << 20).fill(97);
            let given = 0;
            const stream = new ReadableStream({ pull(c) { ++given; c.enqueue(piece); } });
            try { for await (const _ of serverEvents(stream)); } catch (e) { return [e.message, given]; }""")
        self.assertIn("without an end", found[0])
        self.assertLess(found[1], 20)


class Key(PageTest):
    mock_options = {"key": "secret"}

    def setUp(self):
        super().setUp()
        self.expected_log = ["status of 401"]

    def enter(self, key):
        self.wait(lambda: self.one("#ask").is_displayed(), "no question")
        self.type(key + Keys.ENTER, "#ask-input")

    def test_the_key_is_asked_for_once_and_kept_for_the_tab(self):
        self.enter("wrong ключ")
        self.wait(lambda: "did not accept" in self.text("#ask-note"), "a wrong key is not said")
        self.enter("secret")
        self.wait(lambda: self.text("#model"), "the page names no model")
        self.assertEqual(self.ask("hello"), "These are a few words.")
        self.wait(lambda: self.text("#state") == "ready", "no machine")
        self.open()
        self.wait(lambda: self.text("#model"), "the key is forgotten")
        self.assertNotIn("secret", self.js("return JSON.stringify(localStorage)"))

    def test_a_message_sent_without_a_key_is_sent_once_there_is_one(self):
        self.wait(lambda: self.one("#ask").is_displayed(), "no question")
        self.one("#ask [data-close]").click()
        self.type("hello" + Keys.ENTER)
        self.enter("secret")
        self.wait(lambda: self.text(".answer-text") == "These are a few words.", "no answer")
        self.assertEqual(self.mock.requests[0]["messages"], [{"role": "user", "content": "hello"}])


if __name__ == "__main__":
    browser.main()
