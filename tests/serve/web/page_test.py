#!/usr/bin/env python3
"""The web page in headless Chromium, with a mock of the server: what a user does with a conversation."""

import glob
import gzip
import json
import os
import unittest

import browser
from browser import Keys, PageTest
from mock_server import TYPES, WEB


class Chat(PageTest):
    def test_a_message_is_sent_and_its_answer_streams(self):
        self.send("mock: slow")
        self.wait(lambda: "word3" in self.text(".answer-text"), "no answer")
        early = self.text(".answer-text")
        self.wait(lambda: len(self.text(".answer-text")) > len(early), "it does not grow")
        self.assertNotIn("word399", self.text(".answer-text"))
        request = self.mock.requests[0]
        self.assertEqual((request["model"], request["stream"], request["stream_options"]), ("DeepSeek-V3-Q4_K_M", True, {"include_usage": True}))
        self.assertEqual(self.asked(), [("user", "mock: slow")])

    def test_a_follow_up_sends_the_whole_conversation_and_no_settings_that_nobody_made(self):
        self.assertEqual(self.ask("first"), "These are a few words.")
        self.ask("second")
        self.assertEqual(self.asked(), [("user", "first"), ("assistant", "These are a few words."), ("user", "second")])
        self.assertEqual(set(self.mock.requests[-1]), {"model", "messages", "stream", "stream_options"})

    def test_shift_enter_starts_a_line_and_a_blank_message_is_not_sent(self):
        self.type("   " + Keys.ENTER)
        self.one("#prompt").clear()
        self.type("one" + Keys.SHIFT + Keys.ENTER + Keys.NULL + "two" + Keys.ENTER)
        self.wait(self.idle, "no answer")
        self.assertEqual([self.asked(i) for i in range(len(self.mock.requests))], [[("user", "one\ntwo")]])

    def test_the_enter_of_an_input_method_sends_nothing(self):
        self.type("にほん")
        for composing in (True, False):
            self.js("document.getElementById('prompt').dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: arguments[0], bubbles: true}))", composing)
            self.assertEqual(self.one("#prompt").get_property("value"), "にほん" if composing else "")

    def test_stop_ends_the_request_and_keeps_what_came(self):
        for stop in (lambda: self.one("#stop").click(), lambda: self.type(Keys.ESCAPE)):
            self.send("mock: slow")
            self.wait(lambda: "word3" in self.texts(".answer-text")[-1], "no answer")
            cancelled = self.mock.cancelled
            stop()
            self.wait(self.idle, "it goes on")
            self.wait(lambda: self.mock.cancelled > cancelled, "the server still sends")
            self.assertIn("stopped", self.texts(".stats")[-1])
            self.assertIn("word3", self.texts(".answer-text")[-1])

    def test_answering_again_replaces_the_answer(self):
        self.ask("mock: think")
        self.one("[aria-label='Answer again']").click()
        self.wait(lambda: len(self.mock.requests) == 2 and self.idle(), "not asked again")
        self.assertEqual(self.asked(), [("user", "mock: think")])
        self.assertEqual(self.texts(".answer-text"), ["The answer is 42."])

    def test_an_edited_message_replaces_what_followed(self):
        for text in ("first", "second", "third"):
            self.ask(text)
        self.all("[aria-label='Edit and send again']")[1].click()
        self.one(".edit textarea").clear()
        self.type("other" + Keys.ENTER, ".edit textarea")
        self.wait(lambda: len(self.mock.requests) == 4 and self.idle(), "not sent")
        self.assertEqual(self.asked(), [("user", "first"), ("assistant", "These are a few words."), ("user", "other")])
        self.assertEqual(self.texts(".prompt .text"), ["first", "other"])

    def test_an_edit_during_an_answer_ends_that_answer_only(self):
        self.send("mock: slow")
        self.wait(lambda: "word3" in self.text(".answer-text"), "no answer")
        self.one("[aria-label='Edit and send again']").click()
        self.type(" " + Keys.ENTER, ".edit textarea")
        self.wait(lambda: self.mock.cancelled == 1, "the first goes on")
        self.wait(lambda: "word3" in self.text(".answer-text"), "no answer")
        self.assertFalse(self.idle())
        self.one("#stop").click()
        self.wait(self.idle, "it goes on")
        self.assertEqual(len(self.texts(".answer")), 1)

    def test_an_edit_can_be_left_with_escape(self):
        self.ask("first")
        self.one("[aria-label='Edit and send again']").click()
        self.type("more" + Keys.ESCAPE, ".edit textarea")
        self.assertEqual(self.texts(".prompt .text"), ["first"])
        self.assertEqual(len(self.mock.requests), 1)

    def test_reasoning_is_folded_and_not_sent_back(self):
        self.ask("mock: think")
        self.assertEqual(self.text(".reasoning .text"), "First I weigh the matter.")
        self.assertFalse(self.one(".reasoning .text").is_displayed())
        self.one(".reasoning summary").click()
        self.assertTrue(self.one(".reasoning .text").is_displayed())
        self.ask("go on")
        self.assertEqual(self.asked()[1], ("assistant", "The answer is 42."))

    def test_token_counts_and_speed_stand_under_an_answer(self):
        self.ask("mock: think")
        self.assertRegex(self.text(".stats"), r"^5 tokens · [\d.]+ tokens/s · first after \d+ ms · prompt 1,024, 960 from cache$")
        self.ask("mock: steady")
        # Five pieces 0.5 s apart: four intervals, so 2 a second, or some more where a busy browser is late for the first.
        self.assertLess(float(self.texts(".stats")[-1].split(" · ")[1].split()[0]), 10)

    def test_settings_are_sent_and_new_conversations_start_with_them(self):
        self.one("#open-settings").click()
        wanted = {"temperature": "0.5", "top_p": "0.9", "top_k": "40", "min_p": "0.05", "max_tokens": "2", "seed": "7"}
        for name, value in wanted.items():
            self.type(value, f"#settings [name={name}]")
        self.type("Be brief.", "#settings [name=system]")
        self.type("off", "#settings [name=reasoning]")
        self.one("#settings [type=submit]").click()
        for _ in range(2):
            self.ask("hello")
            request = self.mock.requests[-1]
            self.assertEqual({name: request[name] for name in wanted}, {name: json.loads(v) for name, v in wanted.items()})
            self.assertEqual(request["chat_template_kwargs"], {"enable_thinking": False})
            self.assertEqual(self.asked()[0], ("system", "Be brief."))
            self.assertIn("cut off", self.text(".stats"))
            self.one("#new").click()

    def test_a_setting_out_of_range_is_refused_by_name(self):
        self.one("#open-settings").click()
        self.type("3", "#settings [name=temperature]")
        self.one("#settings [type=submit]").click()
        self.assertIn("Temperature", self.text("#settings .error"))
        self.type(Keys.ESCAPE, "#settings [name=temperature]")
        self.ask("hello")
        self.assertNotIn("temperature", self.mock.requests[0])

    def test_a_long_answer_is_followed_until_the_reader_scrolls_away(self):
        self.ask("mock: long")
        at_end = "const t = document.getElementById('transcript'); return t.scrollHeight - t.scrollTop - t.clientHeight < 61"
        self.assertTrue(self.js(at_end))
        self.js("document.getElementById('transcript').scrollTop = 0")
        self.wait(lambda: self.one("#latest").is_displayed(), "no way back")
        self.one("#latest").click()
        self.assertTrue(self.js(at_end))


class Conversations(PageTest):
    def test_a_reload_keeps_conversations_and_the_one_shown(self):
        self.ask("alpha")
        self.one("#new").click()
        self.ask("mock: rich")
        before = self.one("#transcript").get_attribute("innerHTML")
        self.open()
        self.wait(lambda: self.one("#transcript").get_attribute("innerHTML") == before, "another transcript")
        self.assertEqual(self.texts("#conversations button"), ["mock: rich", "alpha"])
        self.all("#conversations button")[1].click()
        self.assertEqual(self.texts(".prompt .text"), ["alpha"])

    def test_an_answer_goes_on_while_another_conversation_is_shown(self):
        self.send("mock: slow")
        self.wait(lambda: "word3" in self.text(".answer-text"), "no answer")
        self.one("#new").click()
        self.assertEqual(self.ask("beta"), "These are a few words.")
        self.all("#conversations button")[1].click()
        words = len(self.text(".answer-text"))
        self.wait(lambda: len(self.text(".answer-text")) > words, "it stands still")
        self.one("#stop").click()
        self.wait(self.idle, "it goes on")

    def test_a_reload_during_an_answer_keeps_what_came(self):
        self.send("mock: slow")
        self.wait(lambda: "word9" in self.text(".answer-text"), "no answer")
        self.open()
        self.wait(lambda: "word9" in self.text(".answer-text"), "it is lost")
        self.assertTrue(self.idle())

    def menu(self, name):
        self.one("#more summary").click()
        self.one(f"#{name}").click()

    def test_rename_delete_and_undo(self):
        self.ask("alpha")
        self.menu("rename")
        self.one("#ask-input").clear()
        self.type("Ω <b>" + Keys.ENTER, "#ask-input")
        self.assertEqual((self.text("#title"), list(self.kept())), ("Ω <b>", ["Ω <b>"]))
        self.menu("delete")
        self.assertEqual((self.texts("#conversations button"), self.kept()), ([], {}))
        self.one("#toast button").click()
        self.assertEqual((self.texts("#conversations button"), list(self.kept())), (["Ω <b>"], ["Ω <b>"]))

    def test_a_conversation_deleted_during_its_answer_stays_deleted(self):
        self.send("mock: slow")
        self.wait(lambda: "word9" in self.text(".answer-text"), "no answer")
        self.menu("delete")
        self.wait(lambda: self.mock.cancelled == 1, "the answer goes on")
        self.ask("beta")
        self.assertEqual((self.texts("#conversations button"), list(self.kept())), (["beta"], ["beta"]))

    def test_export_writes_the_conversation(self):
        self.ask("mock: think")
        for name in ("export-text", "export-json"):
            self.menu(name)
        found = lambda end: glob.glob(f"{self.profile.name}/*.{end}")
        self.wait(lambda: found("md") and found("json"), "no files")
        with open(found("md")[0]) as f:
            self.assertEqual(f.read(), "# mock: think\n\n## You\n\nmock: think\n\n## Answer\n\nThe answer is 42.\n")
        with open(found("json")[0]) as f:
            self.assertEqual([m["role"] for m in json.load(f)["messages"]], ["user", "assistant"])

    def test_a_full_storage_is_said_and_nothing_is_lost_meanwhile(self):
        self.ask("kept")
        self.js("""let size = 1 << 22, i = 0;
                   while (size >= 1) try { localStorage.setItem("filler" + i++, "x".repeat(size)); } catch { size >>= 1; }""")
        self.one("#new").click()
        self.ask("too much " * 20)
        self.assertIn("storage for this page is full", self.text("#toast"))
        self.assertEqual(len(self.texts("#conversations button")), 2)
        self.assertEqual(list(self.kept()), ["kept"])

    def test_without_storage_all_works_and_is_said_to_be_lost(self):
        script = self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": """
            for (const name of ["localStorage", "sessionStorage"])
              Object.defineProperty(window, name, { get() { throw new DOMException("denied", "SecurityError"); } });"""})
        self.addCleanup(self.driver.execute_cdp_cmd, "Page.removeScriptToEvaluateOnNewDocument", script)
        self.mock.key = "secret"
        self.expected_log = ["status of 401"]
        self.driver.get(self.mock.url)
        self.wait(lambda: self.one("#ask").is_displayed(), "no question")
        self.type("secret" + Keys.ENTER, "#ask-input")
        self.wait(lambda: self.text("#model"), "the page names no model")
        self.assertEqual(self.ask("hello"), "These are a few words.")
        self.assertIn("does not let this page keep conversations", self.text("#toast"))

    def test_what_is_stored_may_be_anything(self):
        for i, value in enumerate(["", "{", "null", "[]", '{"messages": 3}', '{"messages": [null, 3, {"role": "x"}], "title": 5, "settings": []}',
                                   '{"messages": [{"role": "assistant", "content": {}, "stats": {"tokens": "<b>"}}], "updated": "x"}']):
            self.js("localStorage.setItem('onecopy.chat.' + arguments[0], arguments[1])", str(i), value)
        self.js("localStorage.setItem('onecopy.settings', '[')")
        self.open()
        self.assertEqual(self.texts("#conversations button"), ["Conversation"] * 2)
        for button in self.all("#conversations button"):
            self.js("arguments[0].click()", button)
        self.one("#new").click()
        self.assertEqual(self.ask("hello"), "These are a few words.")

    def test_another_tab_shows_what_this_one_writes(self):
        self.ask("alpha")
        first = self.driver.current_window_handle
        self.driver.switch_to.new_window("tab")
        self.open()
        self.one("#new").click()
        self.ask("beta")
        self.driver.close()
        self.driver.switch_to.window(first)
        self.wait(lambda: self.texts("#conversations button") == ["beta", "alpha"], "it is not shown")


class Attack(PageTest):
    def inert(self):
        self.assertIsNone(self.js("return window.hit ?? null"))
        self.assertEqual(self.all(".answer script, .answer img, .answer iframe, .answer style, .answer svg[onload], [onerror], [onmouseover]"), [])
        for link in self.js("return [...document.querySelectorAll('.answer a')].map((a) => [a.href, a.rel])"):
            self.assertRegex(link[0], "^https?://")
            self.assertIn("noopener", link[1])

    def test_hostile_model_output_stays_text(self):
        self.ask("mock: attack")
        self.inert()
        self.assertIn("<script>window.hit=1</script>", self.text(".answer-text"))
        self.assertTrue(self.one("#composer").is_displayed())
        self.open()
        self.inert()

    def test_hostile_names_and_messages_stay_text(self):
        self.ask("<img src=x onerror=window.hit=1>")
        self.ask("mock: echo <img src=x onerror=window.hit=2><script>window.hit=3</script>")
        self.inert()
        self.assertEqual(self.text("#title"), "<img src=x onerror=window.hit=1>")
        self.assertEqual(self.texts("#conversations button"), ["<img src=x onerror=window.hit=1>"])

    def test_a_hostile_machine_stays_text(self):
        evil = "<img src=x onerror=window.hit=1>"
        rank = {"rank": evil, "host": evil, "node": evil, "weight_bytes": evil, "bytes_per_second": "1;background:url(//x)", "wait_share": {}}
        self.mock.machine_extra = {"state": evil, "kernels": evil, "ranks": [rank, {}], "copies_in_memory": evil, "kv_tokens": "x"}
        self.wait(lambda: evil in self.text("#machine-body h3"), "not shown")
        self.inert()

    def test_the_policy_forbids_what_this_page_never_does(self):
        self.expected_log = ["Content Security Policy", "This document requires 'Trusted"]
        for script in ("const s = document.createElement('script'); s.src = 'data:text/javascript,window.hit=1'; document.body.append(s);",
                       "document.body.setAttribute('onclick', 'window.hit=2'); document.body.click();",
                       "const d = document.createElement('div'); d.innerHTML = '<img src=x onerror=window.hit=3>'; document.body.append(d);"):
            self.js(f"try {{ {script} }} catch {{ }}")
        browser.time.sleep(0.2)
        self.assertIsNone(self.js("return window.hit ?? null"))


class Files(unittest.TestCase):
    def test_files_are_small(self):
        packed = 0
        for name in [name for name in os.listdir(WEB) if os.path.splitext(name)[1] in TYPES]:
            with open(f"{WEB}/{name}", "rb") as f:
                data = f.read()
            self.assertLess(data.count(b"\n"), 400, name)
            packed += len(gzip.compress(data))
        self.assertLess(packed, 40_000)

    def test_nothing_parses_strings_as_code_or_asks_other_hosts(self):
        for path in glob.glob(f"{WEB}/*.js") + glob.glob(f"{WEB}/*.html") + glob.glob(f"{WEB}/*.css"):
            with open(path) as f:
                text = f.read()
            for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", " style=", " onclick=", "@import", "url("):
                self.assertNotIn(word, text, path)
            for url in [w for w in text.replace('"', " ").replace("`", " ").split() if w.startswith(("http:", "https:"))]:
                self.assertIn(url, ("http://www.w3.org/2000/svg", "https:", "http:"), path)


if __name__ == "__main__":
    browser.main()
