#!/usr/bin/env python3
"""The clients that people have: the openai packages of Python and Node, anthropic's, LangChain's, LiteLLM. Without a network
their tests are skipped by name."""

import shutil
import sys
import time
import unittest

import packages
from server import TOOLS_TEMPLATE, TREE, Server

SCRIPTS = f"{TREE}/tests/serve/clients"
PACKAGES = ["openai", "anthropic", "langchain-openai", "litellm"]


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.missing = ""
        try:
            cls.python = packages.python(*PACKAGES)
        except unittest.SkipTest as skip:
            cls.missing = str(skip)
        cls.server = Server(2, "--no-access-log", "--chat-template", TOOLS_TEMPLATE).__enter__()
        cls.model = cls.server.ask("GET", "/v1/models")[2]["data"][0]["id"]

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def run_client(self, *command):
        done = packages.run(*command, self.server.url, self.model)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def run_python(self, script):
        if self.missing:
            self.skipTest(self.missing)
        self.run_client(self.python, "-B", f"{SCRIPTS}/{script}")

    def test_openai(self):
        self.run_python("openai_client.py")
        # The stream that was let go ends here too.
        deadline = time.monotonic() + 20
        while self.server.ask("GET", "/api/machine")[2]["running"] > 0:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_anthropic(self):
        self.run_python("anthropic_client.py")

    def test_langchain(self):
        self.run_python("langchain_client.py")

    def test_litellm(self):
        self.run_python("litellm_client.py")

    def test_openai_of_node(self):
        folder = packages.node("openai")
        shutil.copy(f"{SCRIPTS}/openai_client.mjs", folder)  # Node looks for packages beside the script
        self.run_client("node", f"{folder}/openai_client.mjs")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"] + sys.argv[1:])
