#!/usr/bin/env python3
"""What clients do to a server by mistake or on purpose: the right status, bounded memory, and others undisturbed."""

import json
import random
import resource
import socket
import sys
import threading
import time
import unittest

from server import Server

COMPLETION = {"prompt": "Once upon a time", "max_tokens": 24, "temperature": 0}


def raw(server, data, timeout=20):
    """What the server says to these bytes before it closes the connection, or "" where it says nothing."""
    with socket.create_connection(("127.0.0.1", server.port), timeout) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer.decode(errors="replace")


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(1, "--no-access-log", "--header-timeout", "2", "--body-timeout", "2").__enter__()
        cls.want = cls.server.post("/v1/completions", **COMPLETION)["choices"][0]["text"]

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def undisturbed(self):
        got = self.server.post("/v1/completions", **COMPLETION)
        self.assertEqual(got["choices"][0]["text"], self.want)

    def idle(self):
        """Waits until nothing runs any more: whoever asked has gone."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            machine = self.server.ask("GET", "/api/machine")[2]
            if machine["running"] == machine["waiting"] == 0:
                return
            time.sleep(0.05)
        self.fail(f"still at work: {machine}")

    def test_requests_that_are_no_http(self):
        for data in (b"hello\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
                     b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
                     b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"):
            with self.subTest(data=data):
                answer = raw(self.server, data)
                self.assertTrue(answer == "" or answer.startswith("HTTP/1.1 4"), answer)
        self.undisturbed()

    def test_large_headers_and_bodies(self):
        answer = raw(self.server, b"GET / HTTP/1.1\r\nX: " + b"a" * 100000 + b"\r\n\r\n")
        self.assertTrue(answer.startswith("HTTP/1.1 431"), answer)
        before = self.server.resident_bytes()
        answer = raw(self.server, b"POST /v1/completions HTTP/1.1\r\nContent-Length: 104857600\r\n\r\n")
        self.assertTrue(answer.startswith("HTTP/1.1 413"), answer)
        # A hundred megabytes in chunks, without a length.
        with socket.create_connection(("127.0.0.1", self.server.port), 20) as connection:
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
            try:
                for _ in range(100):
                    connection.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
                answer = connection.recv(4096)
            except (ConnectionResetError, BrokenPipeError):
                answer = b"HTTP/1.1 413"
        self.assertTrue(answer.startswith(b"HTTP/1.1 413"), answer)
        self.assertLess(self.server.resident_bytes() - before, 100 << 20)
        self.undisturbed()

    def test_slow_headers_and_bodies_end(self):
        for data in (b"GET /health HTTP/1.1\r\n", b"POST /v1/completions HTTP/1.1\r\nContent-Length: 50\r\n\r\n{"):
            with socket.create_connection(("127.0.0.1", self.server.port), 20) as connection:
                start = time.monotonic()
                connection.sendall(data)
                answer = b""
                try:
                    while piece := connection.recv(4096):
                        answer += piece
                except ConnectionResetError:
                    pass
                self.assertLess(time.monotonic() - start, 6)
                self.assertTrue(answer.startswith(b"HTTP/1.1 408"), answer)
        # A byte now and then does not prolong it.
        with socket.create_connection(("127.0.0.1", self.server.port), 20) as connection:
            start = time.monotonic()
            with self.assertRaises(OSError):
                connection.sendall(b"GET /health HTTP/1.1\r\nX: ")
                while time.monotonic() - start < 10:
                    connection.sendall(b"a")
                    time.sleep(0.2)
                    if time.monotonic() - start > 8:
                        break
                else:
                    raise OSError
            self.assertLess(time.monotonic() - start, 8)
        self.undisturbed()

    def test_two_thousand_idle_connections(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 2100:
            self.skipTest(f"this process may open {hard} files only")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2100), hard))
        before = self.server.resident_bytes()
        connections = []
        try:
            for _ in range(2000):
                connections.append(socket.create_connection(("127.0.0.1", self.server.port), 20))
            start = time.monotonic()
            self.undisturbed()
            self.assertLess(time.monotonic() - start, 5)
            self.assertLess(self.server.resident_bytes() - before, 100 << 20)
        finally:
            for connection in connections:
                connection.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.undisturbed()

    def test_clients_that_leave(self):
        """At any moment: in the header, the body, the queue, the prompt, the stream."""
        randoms = random.Random(5)
        body = json.dumps({"prompt": "word " * 400, "max_tokens": 1500, "temperature": 1, "ignore_eos": True, "stream": True}).encode()
        request = b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        for i in range(60):
            connection = socket.create_connection(("127.0.0.1", self.server.port), 20)
            connection.sendall(request[:randoms.randrange(len(request) + 1)] if i % 3 == 0 else request)
            if i % 3 == 2:
                connection.recv(1000)
            time.sleep(randoms.random() * 0.05)
            if i % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
            connection.close()
        self.undisturbed()
        self.idle()

    def test_a_client_that_does_not_read_makes_nobody_wait(self):
        """Its stream waits in its connection, up to a limit."""
        slow = []
        for _ in range(8):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", self.server.port))
            body = json.dumps({"prompt": "a", "max_tokens": 400, "ignore_eos": True, "stream": True, "logprobs": 20}).encode()
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            slow.append(connection)
        start = time.monotonic()
        self.undisturbed()
        self.assertLess(time.monotonic() - start, 10)
        self.idle()
        for connection in slow:
            connection.close()

    def test_several_requests_in_one_packet(self):
        request = b"GET /health HTTP/1.1\r\n\r\n"
        answer = raw(self.server, request * 5 + b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
        self.assertEqual(answer.count("HTTP/1.1 200"), 6)
        self.assertEqual(answer.count('{"status":"ready"}'), 6)

    def test_expect_continue_and_http_1_0(self):
        body = json.dumps(COMPLETION).encode()
        answer = raw(self.server, b"POST /v1/completions HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                     % len(body) + body)
        self.assertTrue(answer.startswith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"), answer)
        body = json.dumps({**COMPLETION, "stream": True}).encode()
        answer = raw(self.server, b"POST /v1/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.assertNotIn("chunked", answer)
        self.assertTrue(answer.endswith("data: [DONE]\n\n"), answer[-100:])

    def test_many_at_once(self):
        """More than the queue takes: each is answered or told to come back."""
        with Server(1, "--no-access-log", "--parallel", "2", "--queue", "4") as small:
            statuses = []

            def ask():
                status, headers, _ = small.ask("POST", "/v1/completions", {**COMPLETION, "max_tokens": 300, "ignore_eos": True})
                statuses.append((status, headers.get("Retry-After")))

            threads = [threading.Thread(target=ask) for _ in range(24)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertGreaterEqual(statuses.count((200, None)), 6)
            self.assertEqual(statuses.count((200, None)) + sum(s == 429 and int(after) > 0 for s, after in statuses), 24, statuses)
            self.assertGreater(len(statuses) - statuses.count((200, None)), 0)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"] + sys.argv[1:])
