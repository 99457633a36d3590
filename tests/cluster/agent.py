#!/usr/bin/env python3
"""What stands for ssh between the hosts of a bed: AGENT HOST WORDS... runs WORDS in a shell on HOST.

The client (this file as a program, started by Open MPI inside one host) hands its standard streams to the server, a
thread of the bed outside of all hosts, over a Unix socket; a sibling PID namespace cannot be entered from inside.
As with ssh, the command has a bare environment and its exit code comes back; 255 where the host is not reached.
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
        self.command = f"{sys.executable} -BS {os.path.abspath(__file__)}"
        self.path = path  # BED_AGENT of every command on a host
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(path)
        self._listener.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
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
            source, host, words = json.loads(data)
            try:
                started = self._enter(source, host, words, streams)
            finally:
                for stream in streams:
                    os.close(stream)
            try:
                answer = {"error": started} if isinstance(started, str) else {"status": started.wait()}
                while "status" in answer and not self._reaches(source, host):
                    time.sleep(0.2)  # news of the end does not get through either
                connection.send(json.dumps(answer).encode())
            except OSError:
                pass  # the client has gone, as an ssh may


def main():
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(os.environ["BED_AGENT"])
    request = json.dumps([os.environ["BED_HOST"], sys.argv[1], sys.argv[2:]]).encode()
    client.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    answer = json.loads(client.recv(1 << 16) or b'{"error": "the bed has gone"}')
    if "error" in answer:
        print(answer["error"], file=sys.stderr)
        raise SystemExit(255)
    raise SystemExit(answer["status"] if answer["status"] >= 0 else 128 - answer["status"])


if __name__ == "__main__":
    main()
