"""A server of this tree's build for a test: started on a free port, asked over HTTP, ended by a signal."""

import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time

TREE = os.path.realpath(f"{__file__}/../../..")
LAUNCHER = f"{TREE}/launch/onecopy"
# A chat template with tools, in the form that Qwen's document; the model that ships has none.
TOOLS_TEMPLATE = f"{TREE}/tests/serve/tools.jinja"


def pss_bytes(pids):
    """Memory of these processes, what they share counted once. Errors: OSError where one has ended."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += 1024 * sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total


class Server:
    """with Server(ranks, *options) as server: ..."""

    def __init__(self, ranks, *options, environment=None, scheme="http"):
        self.ranks, self.options, self.scheme = ranks, options, scheme
        self.environment = {**os.environ, **(environment or {})}
        self.log = []

    def __enter__(self):
        command = [LAUNCHER, "-n", str(self.ranks), "serve", "--port", "0", *self.options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, env=self.environment)
        self.port = None
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                self.reader.join(5)
                raise RuntimeError("the server ended:\n" + "".join(self.log))
            if self.port and any("ready: " in line for line in self.log):
                return self
            time.sleep(0.02)
        self.__exit__()
        raise RuntimeError("the server did not begin to listen:\n" + "".join(self.log))

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r"listening on \w+://.*:(\d+)", line)
            if found:
                self.port = int(found[1])

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(20)
        self.reader.join(5)
        self.process.stderr.close()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def rank_pids(self):
        """Of all ranks, rank 0 first."""
        pids = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
                with open(f"/proc/{pid}/environ", "rb") as file:
                    variables = dict(v.split(b"=", 1) for v in file.read().split(b"\0") if b"=" in v)
            except OSError:
                continue
            if words[0].endswith(b"/onecopy") and b"serve" in words and self._belongs(int(pid)):
                pids[int(variables.get(b"OMPI_COMM_WORLD_RANK", b"0"))] = int(pid)
        return [pids[rank] for rank in sorted(pids)]

    def _belongs(self, pid):
        while pid > 1:
            if pid == self.process.pid:
                return True
            try:
                with open(f"/proc/{pid}/stat") as file:
                    pid = int(file.read().rpartition(") ")[2].split()[1])
            except OSError:
                return False
        return False

    def connect(self, timeout=120):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, method, path, body=None, headers=None, timeout=120):
        """Status, headers and body, which is parsed where it is JSON."""
        connection = self.connect(timeout)
        try:
            data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            raw = answer.read()
            kind = answer.getheader("Content-Type", "")
            return answer.status, dict(answer.getheaders()), json.loads(raw) if "json" in kind and raw else raw.decode()
        finally:
            connection.close()

    def post(self, path, **body):
        """The JSON of an answer that has to be 200."""
        status, _, json_body = self.ask("POST", path, body)
        if status != 200:
            raise AssertionError(f"{path}: status {status}: {json_body}")
        return json_body

    def stream(self, path, **body):
        """The JSON of each event; the last one has to be [DONE]."""
        connection = self.connect()
        try:
            connection.request("POST", path, json.dumps({**body, "stream": True}), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise AssertionError(f"{path}: status {answer.status}: {answer.read()}")
            if answer.getheader("Content-Type") != "text/event-stream":
                raise AssertionError(answer.getheader("Content-Type"))
            events = answer.read().decode().split("\n\n")
            if events[-2:] != ["data: [DONE]", ""]:
                raise AssertionError(f"the stream ends with {events[-3:]}")
            return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
        finally:
            connection.close()

    def resident_bytes(self):
        """Of rank 0."""
        with open(f"/proc/{self.rank_pids()[0]}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
