#!/usr/bin/env python3
"""What /openapi.json promises, held against the server by schemathesis: requests made from the document, at its edges and beyond
them, and answers as it says. Without a network it is skipped by name."""

import os
import sys
import tempfile
import unittest

import packages
from server import TOOLS_TEMPLATE, Server

# Pinned: another version makes other requests.
PACKAGE = "schemathesis==4.32.5"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method"


class Contract(unittest.TestCase):
    def test_openapi(self):
        python = packages.python(PACKAGE, folder=f"{packages.FOLDER}/schemathesis")
        # Little room for keys and values, so that no answer is long.
        with tempfile.TemporaryDirectory() as folder, Server(1, "--no-access-log", "--chat-template", TOOLS_TEMPLATE,
                                                             "--context", "128") as server:
            done = packages.run(f"{os.path.dirname(python)}/schemathesis", "run", f"{server.url}/openapi.json", "--checks", CHECKS,
                                "--phases", "examples,coverage,fuzzing", "--max-examples", "5", "--generation-deterministic",
                                "--request-timeout", "60", "--no-color", "--continue-on-failure",
                                timeout=280, cwd=folder)  # where it keeps what it has found
            self.assertEqual(done.returncode, 0, done.stdout[-20000:] + done.stderr[-2000:])
            self.assertEqual(server.ask("GET", "/health")[2], {"status": "ready"})


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"] + sys.argv[1:])
