#!/usr/bin/env python3
"""A server's life: keys, TLS, loading, draining, ranks that die, what it leaves behind."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

from server import LAUNCHER, Server

LONG_ANSWER = {"prompt": "Once upon a time", "max_tokens": 1200, "ignore_eos": True, "temperature": 1}


class Operations(unittest.TestCase):
    def test_keys(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("# for the team\nsesame-1\n\nsesame-2\n")
            file.flush()
            with Server(1, "--api-key-file", file.name) as server:
                for headers, status in (({}, 401), ({"Authorization": "Bearer sesame"}, 401), ({"Authorization": "sesame-1"}, 401),
                                        ({"Authorization": "Bearer sesame-1"}, 200), ({"Authorization": "bearer sesame-2"}, 200),
                                        ({"X-API-Key": "sesame-2"}, 200), ({"Authorization": "Bearer # for the team"}, 401),
                                        ({"Authorization": "Bearer "}, 401)):
                    got, answer_headers, answer = server.ask("GET", "/v1/models", headers=headers)
                    self.assertEqual(got, status, (headers, answer))
                    if status == 401:
                        self.assertEqual(answer["error"]["code"], "invalid_api_key")
                        self.assertEqual(answer_headers["WWW-Authenticate"], "Bearer")
                self.assertEqual(server.ask("GET", "/health")[0], 200)
                self.assertEqual(server.ask("GET", "/metrics")[0], 401)
                server.ask("POST", "/v1/completions", {"prompt": "a secret prompt", "max_tokens": 3}, {"X-API-Key": "sesame-2"})
            log = "".join(server.log)
            self.assertRegex(log, r"127\.0\.0\.1 \w+ POST /v1/completions 200 ")
            self.assertNotIn("secret", log)
            self.assertNotIn("sesame", log)

    def test_names_that_it_may_be_called_by(self):
        # Beyond loopback, or with keys, any; where some are given, those.
        for options, host, status in ((("--host", "0.0.0.0"), "any.example", 200), (("--allow-host", "box.example,other"), "box.example:80", 200),
                                      (("--allow-host", "box.example"), "any.example", 403), (("--allow-host", "*"), "any.example", 200)):
            with self.subTest(options=options, host=host), Server(1, *options) as server:
                self.assertEqual(server.ask("GET", "/v1/models", headers={"Host": host})[0], status)

    def test_key_files_that_are_none(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("# nothing\n")
            file.flush()
            done = subprocess.run([LAUNCHER, "-n", "1", "serve", "--port", "0", "--api-key-file", file.name],
                                  capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("has no key", done.stderr)

    @unittest.skipUnless(shutil.which("openssl"), "openssl is not here")
    def test_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            cert, key = f"{folder}/cert.pem", f"{folder}/key.pem"
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
                           check=True, capture_output=True)
            with Server(1, "--tls-cert", cert, "--tls-key", key, scheme="https") as server:
                context = ssl.create_default_context(cafile=cert)
                body = json.dumps({"prompt": "a", "max_tokens": 20, "stream": True}).encode()
                request = urllib.request.Request(f"{server.url}/v1/completions", body, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, context=context, timeout=60) as answer:
                    self.assertTrue(answer.read().endswith(b"data: [DONE]\n\n"))
                # Without TLS there is no answer, and the server goes on.
                with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
                    connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
                    self.assertNotIn(b"HTTP", connection.recv(100))
                with urllib.request.urlopen(f"{server.url}/health", context=context, timeout=60) as answer:
                    self.assertEqual(answer.status, 200)
            done = subprocess.run([LAUNCHER, "-n", "1", "serve", "--port", "0", "--tls-cert", key, "--tls-key", key],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 2, done.stderr)

    def test_a_port_that_is_taken(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            done = subprocess.run([LAUNCHER, "-n", "2", "serve", "--port", port], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(f"port {port} cannot be listened on", done.stderr)

    def ask_in_threads(self, server, n, answers, **body):
        def ask():
            try:
                answers.append(server.ask("POST", "/v1/completions", {**LONG_ANSWER, **body}))
            except OSError as error:
                answers.append(error)

        threads = [threading.Thread(target=ask) for _ in range(n)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            machine = server.ask("GET", "/api/machine")[2]
            if machine["running"] + machine["waiting"] == n:
                return threads
            time.sleep(0.01)
        self.fail(machine)

    def test_sigterm_loses_no_request(self):
        for ranks in (1, 2):
            with self.subTest(ranks=ranks), Server(ranks, "--parallel", "4") as server:
                answers = []
                threads = self.ask_in_threads(server, 8, answers, max_tokens=400)
                server.process.send_signal(signal.SIGTERM)
                deadline = time.monotonic() + 20
                while server.ask("GET", "/health")[0] != 503 and time.monotonic() < deadline:
                    time.sleep(0.01)
                self.assertEqual(server.ask("GET", "/health")[2], {"status": "draining"})
                self.assertEqual(server.ask("POST", "/v1/completions", LONG_ANSWER)[0], 503)
                for thread in threads:
                    thread.join()
                self.assertEqual([a[0] for a in answers], [200] * 8)
                self.assertTrue(all(a[2]["usage"]["completion_tokens"] == 400 for a in answers))
                self.assertEqual(server.process.wait(30), 0, "".join(server.log))

    def test_a_second_signal_ends_at_once(self):
        with Server(2, "--parallel", "4", "--context", "16384") as server:
            answers = []
            threads = self.ask_in_threads(server, 4, answers)
            for _ in range(2):
                server.process.send_signal(signal.SIGINT)
                time.sleep(0.1)
            start = time.monotonic()
            server.process.wait(20)
            for thread in threads:
                thread.join()
            self.assertLess(time.monotonic() - start, 10)
            for answer in answers:
                self.assertTrue(isinstance(answer, OSError) or answer[0] in (200, 503), answer)

    def test_a_rank_that_dies_ends_requests_with_an_error(self):
        with Server(3, "--parallel", "8", "--context", "16384") as server:
            lines = []
            done = threading.Event()
            pids = server.rank_pids()  # looked for beforehand: the answers take less than a second

            def stream():
                connection = server.connect(60)
                connection.request("POST", "/v1/completions", json.dumps({**LONG_ANSWER, "n": 8, "stream": True}))
                answer = connection.getresponse()
                try:
                    for line in answer:
                        lines.append(line.decode())
                        if len(lines) > 4:
                            done.set()
                except OSError as error:
                    lines.append(f"broken: {error}")

            thread = threading.Thread(target=stream)
            thread.start()
            self.assertTrue(done.wait(30))
            os.kill(pids[1], signal.SIGKILL)
            thread.join(30)
            self.assertFalse(thread.is_alive())
            events = [line for line in lines if line.startswith("data: ")]
            self.assertEqual(events[-1], "data: [DONE]\n", lines[-4:])
            error = json.loads(events[-2].removeprefix("data: "))["error"]
            self.assertRegex(error["message"], r"rank 1\b")
            self.assertEqual(server.process.wait(30), 5, "".join(server.log))

    def test_a_rank_that_dies_while_requests_come_in_ends_the_job_in_order(self):
        with Server(2, "--parallel", "8", "--no-access-log") as server:
            pids, ended = server.rank_pids(), threading.Event()

            def ask():
                while not ended.is_set():
                    try:
                        server.ask("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "a " * 200}], "max_tokens": 4})
                    except OSError:
                        pass
                    except http.client.HTTPException:
                        pass

            threads = [threading.Thread(target=ask) for _ in range(24)]
            for thread in threads:
                thread.start()
            time.sleep(1)
            os.kill(pids[1], signal.SIGKILL)
            code = server.process.wait(30)
            ended.set()
            for thread in threads:
                thread.join()
            self.assertEqual(code, 5, "".join(server.log))
            self.assertNotRegex("".join(server.log), "signal 11|SEGV")

    def test_nothing_is_left_behind(self):
        before = set(os.listdir("/dev/shm"))
        with Server(3) as server:
            server.post("/v1/completions", prompt="a", max_tokens=3)
            pids = server.rank_pids()
            self.assertEqual(len(pids), 3)
        self.assertEqual(server.process.returncode, 0)
        left = {name for name in set(os.listdir("/dev/shm")) - before if re.search(r"onecopy|ompi|vader", name)}
        self.assertEqual({name for name in left if any(str(pid) in name for pid in pids)}, set())
        for pid in pids:
            self.assertFalse(os.path.exists(f"/proc/{pid}"))

    def test_idle_ranks_use_no_cpu(self):
        with Server(4) as server:
            server.post("/v1/completions", prompt="a", max_tokens=3)

            def ticks():
                total = 0
                for pid in server.rank_pids():
                    with open(f"/proc/{pid}/stat") as file:
                        fields = file.read().rpartition(") ")[2].split()
                    total += int(fields[11]) + int(fields[12])
                return total

            time.sleep(0.5)
            before = ticks()
            time.sleep(2)
            self.assertLess((ticks() - before) / os.sysconf("SC_CLK_TCK"), 0.2)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"] + sys.argv[1:])
