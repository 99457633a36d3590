#!/usr/bin/env python3
"""launch/onecopy over several hosts of a bed: the tokens are those of one host; a host that is cut off ends the job within
10 s, by name, and leaves nothing. The bed itself: delays, hidden files, no remains. Prints what it measured."""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
import bed  # noqa: E402

TREE = os.path.realpath(f"{__file__}/../../..")
LAUNCHER = f"{TREE}/launch/onecopy"
PROMPT = "Once upon a time"
# As many as the shipped model's context allows, with all hosts in every layer and not one behind the other: with a delay
# that takes a minute.
LONG = ["generate", "--pipeline", "1", "--ignore-eos", "--temp", "0", "-n", "2000", "-p", PROMPT]
LIMIT = 10.0  # seconds from the cut to the end of everything

PING = """
import socket, sys, time
if sys.argv[1] == "serve":
    listener = socket.create_server(("", 9)); print("up", flush=True)
    peer, _ = listener.accept(); peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := peer.recv(1): peer.send(data)
else:
    peer = socket.create_connection((sys.argv[1], 9)); peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(200):
        start = time.perf_counter(); peer.send(b"x"); peer.recv(1); print(time.perf_counter() - start)
"""


def measured(text):
    print(f"measured: {text}", file=sys.stderr)


def generated(result):
    if result.returncode != 0:
        raise AssertionError(f"exit code {result.returncode}: {result.stderr}")
    return json.loads(result.stdout)["tokens"]


class SeveralHosts(unittest.TestCase):
    def test_tokens_are_those_of_one_host(self):
        command = ["generate", "--temp", "0", "-n", "32", "-p", PROMPT, "--json"]
        with bed.Bed(hosts=3) as hosts:
            expected = generated(hosts.run("host1", [LAUNCHER, "-n", "1", *command]))
            self.assertEqual(32, len(expected))
            for where in ["host1:2,host2:2", "host1:1,host2:1,host3:1", "host2:1,host3:2"]:
                start = time.monotonic()
                result = hosts.run("host1", [LAUNCHER, "--hosts", where, "--threads", "1", *command])
                self.assertEqual(expected, generated(result), where)
                for host in re.findall(r"host\d", where):
                    self.assertRegex(result.stderr, rf"(?m)^ +\d+  {host} ", "the table of ranks names the host")
                self.assertEqual([], hosts.await_empty(2))
                measured(f"{where}: 32 tokens, {time.monotonic() - start:.1f} s with start and load")

    def test_exit_codes_are_those_of_the_ranks(self):
        with bed.Bed(hosts=2, hide=[(f"{TREE}/models", "host2")]) as hosts:
            launch = [LAUNCHER, "--hosts", "host1:1,host2:1", "--threads", "1"]
            unknown = hosts.run("host1", [*launch, "generate", "--frobnicate"])
            self.assertEqual(2, unknown.returncode, unknown.stderr)
            unreadable = hosts.run("host1", [*launch, "generate", "-m", f"{TREE}/LICENSE", "-p", "x"])
            self.assertEqual(3, unreadable.returncode, unreadable.stderr)

    def test_host_that_is_not_reached_is_named(self):
        with bed.Bed(hosts=2) as hosts:
            hosts.cut("host2")
            result = hosts.run("host1", [LAUNCHER, "--hosts", "host1:1,host2:1", *LONG])
            self.assertEqual(5, result.returncode)
            self.assertIn("host2: no route to host", result.stderr)
            self.assertIn("onecopy: Open MPI could not start its daemon on another host", result.stderr)


class CutOff(unittest.TestCase):
    def cut(self, where, victim, named, hosts=2):
        """Cuts a host off in mid-generation; the job, launched on host1, ends in time and names what was lost."""
        with bed.Bed(hosts=hosts, delay="1ms") as beds:
            job = beds.start("host1", [LAUNCHER, "--hosts", where, "--threads", "1", *LONG], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
            while os.read(job.stdout.fileno(), 1 << 16).count(b" ") < 1 and job.poll() is None:
                pass  # until text comes
            time.sleep(1)
            if job.poll() is not None:
                self.fail(f"ended before the cut: exit code {job.returncode}\n{job.communicate()[1].decode()}")
            beds.cut(victim)
            start, ended = time.monotonic(), {}
            while len(ended) <= hosts and time.monotonic() < start + 3 * LIMIT:
                if job.poll() is not None:
                    ended.setdefault("job", time.monotonic() - start)
                for host in beds.hosts:
                    if not beds.processes(host):
                        ended.setdefault(host, time.monotonic() - start)
                time.sleep(0.05)
            if job.poll() is None:
                beds.signal(job, signal.SIGKILL)
            errors = job.communicate(timeout=20)[1].decode()
            measured(f"{victim} of {where} cut off: " + ", ".join(f"{name} ended after {after:.1f} s"
                                                                  for name, after in sorted(ended.items())))
            self.assertEqual(sorted(["job", *beds.hosts]), sorted(ended), errors)
            self.assertLess(max(ended.values()), LIMIT)
            self.assertEqual(5, job.returncode, errors)
            self.assertRegex(errors, rf"(?m)^onecopy: host {named} was lost")
            self.assertEqual([], beds.await_empty(2))

    def test_other_host(self):
        self.cut("host1:1,host2:1", "host2", "host2")

    def test_launching_host(self):
        self.cut("host1:1,host2:1", "host1", "host2")

    def test_leader_that_streams_to_a_launcher_elsewhere(self):
        # Text is on its way from host2 when it is cut off, so the kernel retransmits where it would have probed.
        self.cut("host2:1,host3:1", "host2", "host2", hosts=3)

    def test_launcher_without_ranks(self):
        self.cut("host2:1,host3:1", "host1", "host[23]", hosts=3)

    def test_any_moment_of_the_start(self):
        moments = (0.2, 0.3, 0.4, 0.5, 0.7, 1.0) if os.environ.get("ONECOPY_TEST_ALL_MOMENTS") else (0.5,)
        for victim, after in [(host, delay) for host in ("host1", "host2") for delay in moments]:
            with self.subTest(victim=victim, after=after), bed.Bed(hosts=2, delay="1ms") as beds:
                job = beds.start("host1", [LAUNCHER, "--hosts", "host1:1,host2:1", "--threads", "1", *LONG],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                time.sleep(after)
                beds.cut(victim)
                start = time.monotonic()
                left = beds.await_empty(3 * LIMIT)
                elapsed = time.monotonic() - start
                measured(f"{victim} cut off {after} s after the start: all has ended after {elapsed:.1f} s")
                self.assertEqual([], left)
                self.assertLess(elapsed, LIMIT)
                self.assertEqual(5, job.wait(timeout=5))
                self.assertRegex(job.stderr.read().decode(), "host2")

    def test_bytes_on_their_way_do_not_hide_the_loss(self):
        # Output that never pauses: no connection is idle, so that only the count of retransmissions can tell.
        program = f"{TREE}/tests/cluster/chatter"
        with bed.Bed(hosts=2) as beds:
            job = beds.start("host1", ["bash", "-c", f'source {TREE}/launch/onecopy; trap - EXIT; read_machine; command=(x)\n'
                                       'hosts=host2:1 hostfile="" ranks=1 num_hosts=2 bind=none threads="" only_nodes=""\n'
                                       'ranks_per=node memory_nodes="" launcher=mpirun restarts=0 takes_part=""\n'
                                       f'binary={program}; compose; supervise "" "${{job[@]}}"; exit "$status"'],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            time.sleep(3)
            self.assertIsNone(job.poll())
            self.assertTrue(any("chatter" in entry[1] for entry in beds.processes("host2")), beds.processes("host2"))
            beds.cut("host2")
            start = time.monotonic()
            while beds.processes("host2") and time.monotonic() < start + 3 * LIMIT:
                time.sleep(0.05)
            elapsed = time.monotonic() - start
            measured(f"host2 cut off with bytes on their way to host1: its processes ended after {elapsed:.1f} s")
            self.assertLess(elapsed, LIMIT)
            self.assertIn("host host2 was lost", job.communicate(timeout=20)[1].decode())


class TheBed(unittest.TestCase):
    def round_trips(self, **options):
        with bed.Bed(hosts=2, **options) as hosts:
            server = hosts.start("host2", [sys.executable, "-c", PING, "serve"], stdout=subprocess.PIPE)
            server.stdout.readline()
            text = hosts.run("host1", [sys.executable, "-c", PING, "host2"]).stdout
            times = [float(line) for line in text.split()]
            self.assertEqual(200, len(times))
            measured(f"round trip {options}: median {statistics.median(times) * 1e6:.0f} us, "
                     f"90th percentile {sorted(times)[180] * 1e6:.0f} us; {hosts.how}")
            return statistics.median(times)

    def test_delay_is_what_was_asked_for(self):
        plain = self.round_trips()
        for text, delay in (("50us", 50e-6), ("2ms", 2e-3)):
            # The relay and two wake-ups of busy cores come on top; more, where the machine does other things meanwhile.
            for _ in range(3):
                found = self.round_trips(delay=text)
                self.assertGreaterEqual(found, 2 * delay, "a frame never comes early")
                if found < 2 * delay + plain + 1e-3:
                    break
            self.assertLess(found, 2 * delay + plain + 1e-3)

    def test_hosts_differ_where_hosts_do(self):
        with bed.Bed(hosts=2, hide=[(f"{TREE}/models", "host2"), (f"{TREE}/LICENSE", "host2")]) as hosts:
            look = f"hostname; ls {TREE}/models | wc -l; wc -c <{TREE}/LICENSE; touch /dev/shm/x; ls /proc | grep -c '^[0-9]'"
            one = hosts.run("host1", ["sh", "-c", look]).stdout.split()
            two = hosts.run("host2", ["sh", "-c", look]).stdout.split()
            self.assertEqual(("host1", "host2"), (one[0], two[0]))
            self.assertEqual(("0", "0"), (two[1], two[2]), "hidden")
            self.assertNotIn("0", one[1:3])
            self.assertLess(int(one[3]), 10, "it sees its own processes only")
            self.assertEqual(2, len(hosts.files("host1")) + len(hosts.files("host2")))

    def test_nothing_is_left(self):
        def remains(pid):  # of the hosts of that process; other tests have theirs meanwhile
            prefix = f"{bed.PREFIX}{pid}-"
            mounts = open("/proc/self/mounts").read().count(prefix)
            folders = [name for name in os.listdir(tempfile.gettempdir()) if name.startswith(prefix)]
            links = subprocess.run(["ip", "link"], env={"PATH": bed.ADMIN_PATH}, capture_output=True, text=True).stdout
            sleepers = subprocess.run(["pgrep", "-f", "sleep 62.25"], capture_output=True, text=True).stdout
            return mounts, sorted(folders), links, sleepers

        before = remains(os.getpid())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
            script = subprocess.Popen([f"{TREE}/tests/cluster/hosts", "--exec", "--", "sh", "-c",
                                       "echo up; sleep 62.25 & setsid sleep 62.25 & sleep 62.25"], stdout=subprocess.PIPE)
            script.stdout.readline()
            self.assertEqual(1, len(remains(script.pid)[1]), "there is something to leave")
            script.send_signal(number)
            script.wait(timeout=30)
            time.sleep(0.5)
            if number == signal.SIGKILL:  # leaves its folder to the next one, and nothing else
                with bed.Bed(hosts=1):
                    pass
            self.assertEqual(before, remains(script.pid), signal.Signals(number).name)

    def test_control_cuts_and_joins(self):
        with subprocess.Popen([f"{TREE}/tests/cluster/hosts", "--exec", "--", "bash", "-c",
                               'reach() { timeout 2 bash -c "</dev/tcp/host2/9" 2>&1 | grep -q refused && echo yes || echo no; }\n'
                               'reach; echo cut host2 >"$BED_CONTROL"; sleep 0.5; reach\n'
                               'echo join host2 >"$BED_CONTROL"; sleep 0.5; reach'], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True) as script:
            self.assertEqual("yes no yes", " ".join(script.communicate(timeout=30)[0].split()))


if __name__ == "__main__":
    bed.run_tests()
