#!/usr/bin/env python3
"""A switch with delay in user space, for kernels without netem: holds each frame back for a time, then delivers it.

    relay.py DELAY_SECONDS PID...     a TAP interface eth0 in the network of each PID; commands on stdin: cut N, join N

One thread, at real-time priority where allowed, since a relay that waits for a busy core adds to the delay. What it
adds on an idle machine is some 30 us a round trip; the tests print what they measure.
"""

import ctypes
import fcntl
import heapq
import os
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0002, 0x1000, 0x40000000
SPIN = 60e-6  # waking up takes about that long
MTU = 9000  # few frames: each costs Python some 10 us


def start(pids, delay):
    """The relay as a process that is ready."""
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", sys.executable, "-BS", os.path.abspath(__file__),
                                repr(delay), *map(str, pids)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if process.stdout.readline() != "ready\n":
        raise OSError("the relay between hosts did not start; is there /dev/net/tun?")
    return process


def tell(process, command):
    process.stdin.write(command + "\n")
    process.stdin.flush()
    process.stdout.readline()  # done


def open_tap(pid):
    """eth0 in the network namespace of a process; its hardware address ends in the host's number."""
    with open(f"/proc/{pid}/ns/net") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"eth0", IFF_TAP | IFF_NO_PI))
    return tap


def main():
    delay, pids = float(sys.argv[1]), sys.argv[2:]
    taps, number_of = [], {}
    for number, pid in enumerate(pids, 1):
        taps.append(open_tap(pid))
        address = f"02:00:00:00:00:{number:02x}"
        number_of[bytes.fromhex(address.replace(":", ""))] = number - 1
        subprocess.run(["ip", "link", "set", "eth0", "address", address, "mtu", str(MTU)], check=True)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        pass
    print("ready", flush=True)
    forward(taps, number_of, delay)


def forward(taps, number_of, delay):
    waiting, count, is_cut = [], 0, [False] * len(taps)
    while True:
        timeout = waiting[0][0] - time.monotonic() - SPIN if waiting else None
        if timeout is not None:
            timeout = max(0.0, timeout)  # the last of the delay is spent looking, not sleeping
        ready, _, _ = select.select(taps + [sys.stdin], [], [], timeout)
        now = time.monotonic()
        for tap in ready:
            if tap is sys.stdin:
                words = sys.stdin.readline().split()
                if not words:
                    return
                is_cut[int(words[1]) - 1] = words[0] == "cut"
                print("done", flush=True)
                continue
            source = taps.index(tap)
            try:
                frame = os.read(tap, 1 << 16)
            except OSError:
                continue  # the interface is down
            target = number_of.get(frame[:6])
            for to in range(len(taps)) if target is None else (target,):
                if to != source and not is_cut[source]:
                    heapq.heappush(waiting, (now + delay, count, to, frame))
                    count += 1
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, to, frame = heapq.heappop(waiting)
            if not is_cut[to]:
                try:
                    os.write(taps[to], frame)
                except OSError:
                    pass  # its queue is full or the interface down: frames get lost, as in networks


if __name__ == "__main__":
    main()
