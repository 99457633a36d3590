#!/usr/bin/env python3
"""How the web page looks and is reached, in headless Chromium: the machine, colours, a phone, the keyboard alone, axe.

The accessibility checks take axe-core from npm, and are skipped by name where it cannot be had; ONECOPY_AXE names an axe.min.js
that is here already.
ONECOPY_SHOTS names a folder for pictures of the page, to be looked at."""

import os
import sys
import unittest

sys.path.insert(1, os.path.realpath(f"{__file__}/../.."))
import browser
import packages
from browser import Keys, PageTest

SHOTS = os.environ.get("ONECOPY_SHOTS", "")

# Every element that shows text of its own, with its contrast by WCAG 2's formula.
CONTRAST = """
const parse = (c) => c.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] === 1) return c; } };
const low = [];
for (const e of document.querySelectorAll("body *")) {
  if (!e.checkVisibility({ visibilityProperty: true }) || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
  if (e.closest(".unseen, .skip, option, :disabled")) continue;
  const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) low.push([e.className || e.tagName, e.textContent.slice(0, 30), ratio.toFixed(2)]);
}
return low;
"""


class View(PageTest):
    def media(self, **features):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": n.replace("_", "-"), "value": v} for n, v in features.items()]})

    def phone(self, width=360, height=740):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": True})
        self.addCleanup(self.driver.execute_cdp_cmd, "Emulation.clearDeviceMetricsOverride", {})

    def tearDown(self):
        self.media()
        super().tearDown()

    def shot(self, name):
        if SHOTS:
            self.driver.save_screenshot(f"{SHOTS}/{name}.png")

    def ground(self):
        return self.js("return getComputedStyle(document.body).backgroundColor")

    def press(self, *keys):
        browser.webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def press_back(self):
        browser.webdriver.ActionChains(self.driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()

    def focused(self):
        return self.js("const e = document.activeElement; return e.id === 'transcript' ? 'Messages' : e.id || e.getAttribute('aria-label') || e.textContent")


class Machine(View):
    mock_options = {"ranks": 24, "hosts": 2}

    def test_every_node_has_a_card_under_its_host(self):
        self.wait(lambda: len(self.all(".node")) == 24, "not 24 cards")
        self.assertEqual([t[:5] for t in self.texts(".host h3")], ["epyc1", "epyc2"])
        self.assertEqual([len(self.js("return [...arguments[0].querySelectorAll('.node')]", h)) for h in self.all(".host")], [12, 12])
        self.assertEqual(self.text(".copies strong"), "1.00")
        self.assertEqual(self.text(".copies .soft"), "414 GB on 24 nodes of 2 hosts")
        self.assertRegex(self.texts(".node")[0], r"^node 018\.6 GB[\d.]+ GB/swaits \d+ %rank 0, 8 threads: 4.2 % of the weights, 1.21 GB KV cache; 99.99 % of its pages")

    def test_slices_of_all_nodes_make_one_model(self):
        self.wait(lambda: len(self.all(".node")) == 24, "not 24 cards")
        slices = self.js("return [...document.querySelectorAll('.slice i')].map((e) => [parseFloat(e.style.left), parseFloat(e.style.width)])")
        end = 0
        for left, width in slices:
            self.assertAlmostEqual(left, end, 2)
            end = left + width
        self.assertAlmostEqual(end, 100, 2)

    def test_24_cards_are_whole_and_beside_each_other(self):
        self.wait(lambda: len(self.all(".node")) == 24, "not 24 cards")
        cards = self.js("return [...document.querySelectorAll('.node')].map((e) => [e.getBoundingClientRect().toJSON(), e.scrollWidth - e.clientWidth])")
        self.assertTrue(all(over <= 0 for _, over in cards), "text is wider than its card")
        self.assertGreaterEqual(sum(c["top"] == cards[0][0]["top"] for c, _ in cards), 3)

    def test_figures_move_each_second_and_rest_in_a_hidden_tab(self):
        self.wait(lambda: self.mock.machine_polls >= 3, "it is not asked again")
        first = self.text(".speed strong")
        self.wait(lambda: self.text(".speed strong") != first, "the figure stands still")
        self.driver.switch_to.new_window("tab")
        self.addCleanup(self.driver.switch_to.window, self.driver.window_handles[0])
        self.addCleanup(self.driver.close)
        browser.time.sleep(1)  # for an answer that is under way
        polls = self.mock.machine_polls
        browser.time.sleep(3)
        self.assertEqual(self.mock.machine_polls, polls)

    def test_a_closed_picture_asks_nothing_and_stays_closed(self):
        self.one("#close-machine").click()
        browser.time.sleep(1)
        polls = self.mock.machine_polls
        browser.time.sleep(2)
        self.assertEqual(self.mock.machine_polls, polls)
        self.open()
        self.assertFalse(self.one("#machine").is_displayed())
        self.one("#open-machine").click()
        self.wait(lambda: self.mock.machine_polls > polls + 1, "it is not asked again")

    def test_a_second_copy_is_not_shown_as_well(self):
        self.mock.machine_extra = {"copies_in_memory": 24.0, "state": "draining"}
        self.wait(lambda: self.text(".copies strong") == "24.00", "not shown")
        self.assertTrue(self.all(".copies strong.wrong"))
        self.assertEqual(self.text("#state"), "draining")

    def test_a_machine_without_figures_has_dashes(self):
        self.mock.machine_extra = {"state": "loading", "ranks": [], "tokens_per_second": None, "copies_in_memory": None, "weight_bytes": None}
        self.wait(lambda: self.text("#state") == "loading", "not shown")
        self.assertEqual((self.text(".copies strong"), self.text(".speed strong")), ("–", "–"))

    def test_the_table_has_all_figures(self):
        self.wait(lambda: self.all(".all summary"), "no table")
        self.one(".all summary").click()
        self.wait(lambda: len(self.all(".all tbody tr")) == 24, "not 24 rows")
        self.assertEqual(len(self.all(".all th")), len(self.js("return [...document.querySelector('.all tbody tr').children]")))


class Colours(View):
    def test_colours_follow_the_system_and_the_switch(self):
        self.media(prefers_color_scheme="light")
        light = self.ground()
        self.media(prefers_color_scheme="dark")
        dark = self.ground()
        self.assertNotEqual(light, dark)
        self.type("light", "#theme")
        self.assertEqual(self.ground(), light)
        self.open()
        self.assertEqual(self.ground(), light)
        self.type("dark", "#theme")
        self.media(prefers_color_scheme="light")
        self.assertEqual(self.ground(), dark)

    def test_text_can_be_read_in_both(self):
        self.ask("mock: rich")
        self.mock.failures_left = None
        self.expected_log = ["status of 500"]
        self.send("mock: 500")
        self.wait(lambda: self.one(".failure:not([hidden])").is_displayed(), "no error")
        for scheme in ("light", "dark"):
            self.media(prefers_color_scheme=scheme)
            browser.time.sleep(0.5)
            self.assertEqual(self.js(CONTRAST), [], scheme)

    def test_nothing_moves_where_that_is_not_wanted(self):
        self.media(prefers_reduced_motion="reduce")
        moving = self.js("return [...document.querySelectorAll('*')].filter((e) => getComputedStyle(e).transitionDuration !== '0s' || getComputedStyle(e).animationName !== 'none').length")
        self.assertEqual(moving, 0)


class Phone(View):
    mock_options = {"ranks": 24, "hosts": 2}

    def setUp(self):
        super().setUp()
        self.phone()
        self.open()

    def test_nothing_is_wider_than_the_phone(self):
        self.ask("mock: rich")
        self.ask("mock: echo " + "unbroken" * 40)
        self.assertEqual(self.js("return [innerWidth, document.documentElement.scrollWidth]"), [360, 360])
        wide = self.js("""return [...document.querySelectorAll('main *')].filter((e) => !e.closest('pre, .table, .unseen') &&
            e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.className || e.tagName)""")
        self.assertEqual(wide, [])
        self.assertGreater(self.js("return document.getElementById('transcript').clientHeight"), 400)

    def test_panels_are_drawers(self):
        self.ask("alpha")
        for name in ("rail", "machine"):
            self.assertFalse(self.one(f"#{name}").is_displayed())
            self.one(f"#open-{name}").click()
            self.assertTrue(self.one(f"#{name}").is_displayed())
            self.assertEqual(self.focused(), f"close-{name}")
            self.assertTrue(self.js("return document.getElementById('main').inert"))
            self.press(Keys.ESCAPE)
            self.assertFalse(self.one(f"#{name}").is_displayed())
            self.assertEqual(self.focused(), f"open-{name}")
        self.one("#open-machine").click()
        self.wait(lambda: len(self.all(".node")) == 24, "not 24 cards")
        self.assertTrue(self.js("return [...document.querySelectorAll('.node')].every((e) => e.getBoundingClientRect().right <= innerWidth)"))

    def test_an_open_drawer_makes_the_rest_inert(self):
        self.phone(1000, 800)
        self.open()
        inert = "return ['rail', 'main', 'machine'].filter((id) => document.getElementById(id).inert)"
        self.assertEqual(self.js(inert), [])
        self.one("#open-machine").click()
        self.assertEqual(self.js(inert), ["rail", "main"])
        self.one("#close-machine").click()
        self.assertEqual(self.js(inert), [])

    def test_choosing_a_conversation_closes_the_drawer(self):
        self.ask("alpha")
        self.one("#open-rail").click()
        self.one("#new").click()
        self.assertFalse(self.one("#rail").is_displayed())
        self.assertEqual(self.texts(".prompt"), [])

    def test_the_keyboard_of_a_phone_comes_only_when_asked_for(self):
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
        self.addCleanup(self.driver.execute_cdp_cmd, "Emulation.setTouchEmulationEnabled", {"enabled": False})
        self.open()
        self.assertNotEqual(self.focused(), "prompt")
        self.ask("alpha")
        self.assertEqual(self.focused(), "Messages")

    def test_buttons_are_large_enough_to_touch(self):
        self.ask("mock: rich")
        small = self.js("""return [...document.querySelectorAll('button, summary')].filter((e) => e.checkVisibility()).map((e) => [e.id || e.getAttribute('aria-label'), e.getBoundingClientRect()])
            .filter(([, r]) => r.width < 24 || r.height < 24).map(([name]) => name)""")
        self.assertEqual(small, [])


class Keyboard(View):
    def test_a_conversation_by_keyboard_alone(self):
        self.js("document.querySelector('.skip').focus()")
        self.press(Keys.ENTER)
        self.press("hello", Keys.ENTER)
        self.wait(lambda: self.text(".answer-text") == "These are a few words." and self.idle(), "no answer")
        self.assertEqual(self.focused(), "prompt")
        self.press_back()
        self.assertEqual(self.focused(), "Answer again")
        self.press(Keys.ENTER)
        self.wait(lambda: len(self.mock.requests) == 2 and self.idle(), "not asked again")
        self.press("mock: slow", Keys.ENTER)
        self.wait(lambda: "word3" in self.texts(".answer-text")[-1], "no answer")
        self.press(Keys.ESCAPE)
        self.wait(self.idle, "it goes on")

    def test_every_control_is_reached_by_tab_and_shows_its_focus(self):
        self.ask("mock: rich")
        self.js("document.querySelector('.skip').focus()")
        wanted = self.js("""return [...document.querySelectorAll('button, select, textarea, summary, a[href], [tabindex="0"]')]
            .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.disabled && !e.closest('[inert]')).length""")
        seen = [self.focused()]
        for _ in range(wanted + 5):
            self.press(Keys.TAB)
            state = self.js("""const e = document.activeElement, s = getComputedStyle(e);
                const shadow = getComputedStyle(e.closest('form') ?? e).boxShadow;
                return [e.id || e.getAttribute('aria-label') || e.textContent, s.outlineStyle !== 'none' || shadow !== 'none', e === document.body]""")
            if state[2]:
                break
            self.assertTrue(state[1], f"{state[0]} shows no focus")
            seen.append(state[0])
        self.assertGreaterEqual(len(seen), wanted, seen)

    def test_answers_are_read_out_politely_block_by_block(self):
        self.assertEqual(self.one("#announcer").get_attribute("aria-live"), "polite")
        self.ask("mock: rich")
        said = self.texts("#announcer p")
        self.assertEqual(said[0], "The answer begins.")
        self.assertEqual(" ".join(" ".join(said[1:]).split()), " ".join(" ".join(self.texts(".answer-text > *")).split()))

    def test_every_control_has_a_name(self):
        self.ask("mock: rich")
        nameless = self.js("""return [...document.querySelectorAll('button, input, select, textarea, summary')].filter((e) =>
            !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.[0]?.textContent.trim()) && !e.closest('dialog:not([open])')).map((e) => e.outerHTML)""")
        self.assertEqual(nameless, [])


class Axe(View):
    mock_options = {"ranks": 24, "hosts": 2}

    @classmethod
    def setUpClass(cls):
        # Pinned: another version may find something else.
        file = os.environ.get("ONECOPY_AXE") or packages.node("axe-core@4.14.1") + "/node_modules/axe-core/axe.min.js"
        with open(file) as f:
            cls.axe = f.read()
        super().setUpClass()

    def judge(self, name):
        browser.time.sleep(0.5)
        self.shot(name)
        # By DevTools, since the page's policy lets no other script in.
        self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": self.axe})
        result = self.driver.execute_async_script("axe.run(document, {resultTypes: ['violations', 'passes']}).then(arguments[0])")
        self.assertGreater(len(result["passes"]), 20)
        self.assertEqual([(v["id"], [n["html"][:200] for n in v["nodes"]][:4]) for v in result["violations"]], [], name)

    def test_axe_finds_nothing(self):
        self.expected_log = ["status of 500"]
        for scheme in ("light", "dark"):
            self.media(prefers_color_scheme=scheme)
            self.one("#new").click()
            self.judge(f"{scheme}-empty")
            self.ask("mock: think")
            self.ask("mock: rich")
            self.judge(f"{scheme}-chat")
            self.js("document.querySelectorAll('details:not(.menu)').forEach((d) => { d.open = true; })")
            self.judge(f"{scheme}-unfolded")
            self.send("mock: 500")
            self.wait(lambda: self.all(".failure:not([hidden])"), "no error")
            self.judge(f"{scheme}-error")
            self.one("#more summary").click()
            self.judge(f"{scheme}-menu")
            self.all("[aria-label='Edit and send again']")[-1].click()
            self.judge(f"{scheme}-edit")
            self.one("#open-settings").click()
            self.judge(f"{scheme}-settings")
            self.one("#settings [data-close]").click()

    def test_axe_finds_nothing_on_a_phone(self):
        self.phone()
        self.open()
        self.ask("mock: rich")
        for scheme in ("light", "dark"):
            self.media(prefers_color_scheme=scheme)
            self.judge(f"phone-{scheme}-chat")
            for name in ("rail", "machine"):
                self.one(f"#open-{name}").click()
                self.judge(f"phone-{scheme}-{name}")
                self.press(Keys.ESCAPE)


if __name__ == "__main__":
    browser.main()
