#!/usr/bin/env python3
"""The clients that people have: the openai packages of Python and Node, anthropic's, LangChain's. They are fetched once into
the build's folder; without a network, and without them, their tests are skipped by name."""

import os
import shutil
import subprocess
import sys
import time
import unittest

from server import TOOLS_TEMPLATE, TREE, Server

FOLDER = os.environ.get("ONECOPY_TEST_CLIENTS", f"{TREE}/build/clients")
SCRIPTS = f"{TREE}/tests/serve/clients"
PACKAGES = ["openai", "anthropic", "langchain-openai"]


def run(*command, timeout=240):
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.python = f"{FOLDER}/bin/python3"
        cls.missing = ""
        if run("python3", "-m", "venv", FOLDER).returncode != 0:
            cls.missing = "python3-venv is not here"
        elif (done := run(f"{FOLDER}/bin/pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES)).returncode != 0:
            cls.missing = "the packages cannot be fetched: " + done.stderr.strip().splitlines()[-1]
        cls.server = Server(2, "--no-access-log", "--chat-template", TOOLS_TEMPLATE).__enter__()
        cls.model = cls.server.ask("GET", "/v1/models")[2]["data"][0]["id"]

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def run_client(self, *command):
        done = run(*command, self.server.url, self.model)
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

    def test_openai_of_node(self):
        if not shutil.which("npm"):
            self.skipTest("npm is not here")
        folder = f"{FOLDER}/node"
        os.makedirs(folder, exist_ok=True)
        done = subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "openai"], cwd=folder, capture_output=True,
                              text=True, timeout=240)
        if done.returncode != 0:
            self.skipTest("the openai package of Node cannot be fetched")
        shutil.copy(f"{SCRIPTS}/openai_client.mjs", folder)  # Node looks for packages beside the script
        self.run_client("node", f"{folder}/openai_client.mjs")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"] + sys.argv[1:])
