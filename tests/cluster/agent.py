#!/usr/bin/env python3
"""What stands for ssh between the hosts of a bed: ssh [-x] [-o NAME=VALUE]... HOST WORDS... runs WORDS in a shell on HOST.

The client (this file as a program, found as ssh by Open MPI inside one host) hands its standard streams to the server, a
thread of the bed outside of all hosts, over a Unix socket; a sibling PID namespace cannot be entered from inside.
As with ssh, the command has a bare environment and its exit code comes back; 255 where the host is not reached, or has been cut off for longer than the
options ServerAliveInterval and ServerAliveCountMax allow.
"""

import array
import json
import os
import socket
import sys
import threading
import time


class Server:
    def __init__(self, path, enter, reaches):
        """enter(source, host, words, streams) returns a Popen, or a text that says why there is none; reaches(source,
        host): whether frames get through."""
        self._enter, self._reaches = enter, reaches
        self.path = path  # BED_AGENT of every command on a host
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(path)
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self):
        # Ends an accept that another thread is in, which close alone does not: it would go on with whatever gets the number
        # of this descriptor next, such as the next bed's listener.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with connection:
            data, ancillary, _, _ = connection.recvmsg(1 << 18, socket.CMSG_LEN(3 * array.array("i").itemsize))
            if not ancillary:
                return
            streams = array.array("i", ancillary[0][2])
            source, host, words, patience = json.loads(data)
            try:
                started = self._enter(source, host, words, streams)
            finally:
                for stream in streams:
                    os.close(stream)
            answer = {"error": started} if isinstance(started, str) else self._end_of(started, source, host, patience)
            try:
                connection.send(json.dumps(answer).encode())
            except OSError:
                pass  # the client has gone, as an ssh may

    def _end_of(self, process, source, host, patience):
        reached = time.monotonic()
        while process.poll() is None or not self._reaches(source, host):  # else news of the end does not get through
            if self._reaches(source, host):
                reached = time.monotonic()
            if time.monotonic() - reached > patience:
                threading.Thread(target=process.wait, daemon=True).start()
                return {"error": f"Timeout, server {host} not responding."}
            time.sleep(0.05)
        return {"status": process.returncode}


def main():
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(os.environ["BED_AGENT"])
    words, options = sys.argv[1:], {}
    while words[0].startswith("-"):
        if words.pop(0) == "-o":
            name, value = words.pop(0).split("=", 1)
            options[name] = value
    # ssh asks after each interval of silence, and gives up when one more has passed than it may miss.
    interval = float(options.get("ServerAliveInterval", "0")) or 1e9
    patience = interval * (1 + float(options.get("ServerAliveCountMax", "3")))
    request = json.dumps([os.environ["BED_HOST"], words[0], words[1:], patience]).encode()
    client.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    answer = json.loads(client.recv(1 << 16) or b'{"error": "the bed has gone"}')
    if "error" in answer:
        print(answer["error"], file=sys.stderr)
        raise SystemExit(255)
    raise SystemExit(answer["status"] if answer["status"] >= 0 else 128 - answer["status"])


if __name__ == "__main__":
    main()
