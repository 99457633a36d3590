"""A headless Chromium on the page of a mock server, and what tests do with it. Skips by name where Chromium is missing."""

import json
import os
import shutil
import sys
import tempfile
import time
import unittest

from mock_server import Mock

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
except ImportError:
    webdriver = None
    By = Keys = None

SKIPPED = 77  # ctest's SKIP_RETURN_CODE of these tests


def missing():
    """Why no test can run here, or None."""
    if webdriver is None:
        return "python3-selenium is not installed"
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            return f"{program} is not installed"
    return None


class PageTest(unittest.TestCase):
    """One browser a class; every test has a server of its own, another port, so another storage."""

    width, height = 1280, 900
    mock_options = {}

    @classmethod
    def setUpClass(cls):
        why = missing()
        if why:
            raise unittest.SkipTest(why)
        cls.profile = tempfile.TemporaryDirectory()
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        # No sandbox: a test in a container is often root. /dev/shm is small there, too.
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
                         f"--window-size={cls.width},{cls.height}", f"--user-data-dir={cls.profile.name}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.add_experimental_option("prefs", {"download.default_directory": cls.profile.name})
        cls.driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
        cls.driver.set_script_timeout(120)

    @classmethod
    def tearDownClass(cls):
        cls.driver.quit()
        cls.profile.cleanup()

    def start(self):
        """The server of a test: something with url and key."""
        mock = Mock(**self.mock_options)
        self.addCleanup(mock.__exit__)
        return mock

    def setUp(self):
        self.mock = self.start()
        self.driver.set_window_size(self.width, self.height)
        self.expected_log = []  # parts of messages that the browser may log as errors, as it does for statuses of 400 on
        self.driver.get_log("browser")
        self.open()

    def tearDown(self):
        log = [e["message"] for e in self.driver.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]
        self.driver.get("about:blank")
        unexpected = [m for m in log if not any(part in m for part in self.expected_log)]
        self.assertEqual(unexpected, [], "the browser's console")

    def open(self):
        self.driver.get(self.mock.url)
        self.wait(lambda: self.text("#model") or self.mock.key, "the page names no model")

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        """The text as in the document, whether it is seen or not."""
        return self.js("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def texts(self, selector):
        return self.js("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector)

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def module(self, script, *arguments):
        """Runs `script`, in which imports work: `const {x} = await load("markdown.js")`; returns what it returns."""
        result = self.driver.execute_async_script(
            "const [args, done] = [[...arguments].slice(0, -1), arguments[arguments.length - 1]];"
            "const load = (name) => import(new URL('web/' + name, document.baseURI));"
            f"(async () => {{ {script} }})().then((value) => done({{ value }}), (e) => done({{ error: String(e.stack) }}));", *arguments)
        self.assertNotIn("error", result)
        return result.get("value")

    def wait(self, condition, what, seconds=120):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.03)

    def type(self, text, selector="#prompt"):
        self.one(selector).send_keys(text)

    def send(self, text):
        """Types a message, sends it with Enter, and waits until its answer is asked for."""
        before = len(self.mock.requests)
        self.type(text + Keys.ENTER)
        self.wait(lambda: len(self.mock.requests) > before, "no request came")

    def idle(self):
        return not self.all("[aria-busy=true]") and self.js("return document.getElementById('stop').hidden")

    def ask(self, text):
        """Sends a message and waits for the end of its answer, which it returns."""
        self.send(text)
        self.wait(self.idle, f"no end of the answer to {text}")
        return self.texts(".answer-text")[-1]

    def asked(self, index=-1):
        """(role, content) of the messages of a request."""
        return [(m["role"], m["content"]) for m in self.mock.requests[index]["messages"]]

    def kept(self):
        """The conversations in the browser's storage, by title."""
        chats = self.js("return Object.entries(localStorage).filter(([k]) => k.startsWith('onecopy.chat.')).map(([, v]) => v)")
        return {c["title"]: c for c in map(json.loads, chats)}


def main():
    """Runs the tests of the main program; exit code 77, and the names, where they were skipped."""
    result = unittest.main(exit=False, verbosity=1 if os.environ.get("CI") else 2).result
    for case, why in result.skipped:
        print(f"SKIPPED {case}: {why}")
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if missing() else 0)
