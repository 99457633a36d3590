#!/usr/bin/env python3
"""Whole MPI jobs, seen from outside: do they end, how, with what message, and what do they leave behind?

usage: job_test.py MPIRUN MPI_CHECK [unittest arguments]
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

MPIRUN, CHECK = sys.argv[1:3]


class Job:
    """mpirun of the check program in a temporary directory of its own, so that what it leaves there is its own."""

    def __init__(self, ranks, *args):
        self.dir = tempfile.mkdtemp(prefix="onecopy-job-")
        env = dict(os.environ, TMPDIR=self.dir)
        self.process = subprocess.Popen(
            [MPIRUN, "--oversubscribe", "-n", str(ranks), CHECK, *args],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.ranks = ranks
        self.lines = []
        self.pids = {}
        self.shm_files = set()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            for rank, pid in re.findall(r"^rank (\d+) pid (\d+)$", line):
                self.pids[int(rank)] = int(pid)

    def wait_until_running(self):
        end = time.monotonic() + 30
        while len(self.pids) < self.ranks:
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError("the job does not run:\n" + "".join(self.lines))
            time.sleep(0.01)
        for pid in self.pids.values():
            with open(f"/proc/{pid}/maps") as maps:
                self.shm_files.update(re.findall(r"/dev/shm/\S+", maps.read()))

    def close(self):
        """Ends whatever still runs. For a test that has failed half-way."""
        for pid in [*self.pids.values(), self.process.pid]:
            if self.process.poll() is None:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def finish(self, timeout):
        """The exit code, stdout, stderr and the seconds it took."""
        start = time.monotonic()
        try:
            out = self.process.stdout.read() if self.process.wait(timeout) is not None else ""
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the job has not ended within {timeout} s:\n" + "".join(self.lines)) from None
        seconds = time.monotonic() - start
        self.reader.join()
        self.left = [name for name in self.shm_files if os.path.exists(name)]
        for folder, _, files in os.walk(self.dir):
            self.left += [os.path.join(folder, name) for name in files]
        return self.process.returncode, out, "".join(self.lines), seconds


class JobTest(unittest.TestCase):
    def start(self, *args):
        job = Job(*args)
        self.addCleanup(job.close)
        return job

    def assert_gone(self, job):
        self.assertEqual(job.left, [])
        for rank, pid in job.pids.items():
            end = time.monotonic() + 2
            while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
                time.sleep(0.01)
            self.assertFalse(os.path.exists(f"/proc/{pid}"), f"rank {rank} still runs")

    def test_ten_runs_give_the_same_bits(self):
        digests = set()
        for _ in range(10):
            code, out, err, _ = self.start(3, "collectives").finish(30)
            self.assertEqual(code, 0, err)
            digests.add(re.fullmatch(r"digest ([0-9a-f]{16})\n", out)[1])
        self.assertEqual(len(digests), 1)

    def test_killed_rank_ends_the_job_by_name(self):
        job = self.start(4, "loop")
        job.wait_until_running()
        self.assertTrue(any("osc_sm" in name or "vader" in name for name in job.shm_files),
                        "the job maps no shared memory, so this test would see nothing left behind")
        os.kill(job.pids[2], signal.SIGKILL)
        code, _, err, seconds = job.finish(10)
        self.assertNotEqual(code, 0)
        self.assertLess(seconds, 5)
        self.assertRegex(err, r"rank 2 (with PID|\(pid) %d" % job.pids[2])
        self.assert_gone(job)

    def test_stopped_rank_ends_the_job_at_the_deadline_by_name_and_stage(self):
        # mpirun sees nothing wrong with a stopped process: this is the communicator's own doing.
        job = self.start(3, "loop", "--deadline", "1")
        job.wait_until_running()
        os.kill(job.pids[1], signal.SIGSTOP)
        code, _, err, seconds = job.finish(10)
        self.assertEqual(code, 5)
        self.assertLess(seconds, 5)
        self.assertRegex(err, r"error: rank 1 \(pid %d on \S+\) has not arrived within 1 s" % job.pids[1])
        self.assertRegex(err, r"last stage 'step \d+'")
        self.assert_gone(job)

    def test_stopped_rank_on_another_host_ends_the_job_at_the_deadline(self):
        job = self.start(4, "loop", "--deadline", "1", "--pretend-host", "2")
        job.wait_until_running()
        os.kill(job.pids[3], signal.SIGSTOP)
        code, _, err, seconds = job.finish(12)
        self.assertEqual(code, 5)
        self.assertLess(seconds, 6)
        self.assertRegex(err, r"rank 3 \(pid %d on|no answer from \S+ \(ranks from \d\) within 1 s" % job.pids[3])
        self.assert_gone(job)

    def test_killed_sender_ends_the_job_by_name(self):
        job = self.start(3, "receive")
        job.wait_until_running()
        os.kill(job.pids[2], signal.SIGKILL)
        code, _, err, seconds = job.finish(10)
        self.assertNotEqual(code, 0)
        self.assertLess(seconds, 5)
        self.assertRegex(err, r"rank 2 (with PID|\(pid) (0|%d)" % job.pids[2])
        self.assert_gone(job)

    def test_silent_sender_ends_the_job_at_the_deadline_by_name(self):
        job = self.start(3, "receive", "--deadline", "1")
        job.wait_until_running()
        code, _, err, seconds = job.finish(10)
        self.assertEqual(code, 5)
        self.assertLess(seconds, 5)
        self.assertRegex(err, r"no answer from rank 2 within 1 s \(MPI_Irecv\)")
        self.assert_gone(job)

    def test_rank_killed_while_splitting_ends_the_job_by_name(self):
        job = self.start(4, "split")
        job.wait_until_running()
        os.kill(job.pids[1], signal.SIGKILL)
        code, _, err, seconds = job.finish(10)
        self.assertNotEqual(code, 0)
        self.assertLess(seconds, 5)
        # mpirun says PID 0 where it has not asked the kernel yet.
        self.assertRegex(err, r"rank 1 (with PID|\(pid) (0|%d)" % job.pids[1])
        self.assert_gone(job)

    def test_rank_that_fails_ends_the_job_with_its_reason(self):
        job = self.start(3, "abandon")
        code, _, err, seconds = job.finish(20)
        self.assertIn(code, (1, 5))  # of whichever rank aborts first
        self.assertLess(seconds, 10)
        self.assertIn("the test wants rank 1 to fail", err)
        self.assert_gone(job)

    def test_agreed_failure_ends_every_rank_with_the_code_of_the_failing_one(self):
        job = self.start(4, "agree")
        code, _, err, _ = job.finish(20)
        self.assertEqual(code, 3)
        self.assertIn("set-up failed: rank 1 (", err)
        self.assert_gone(job)

    def test_window_that_does_not_fit_is_refused_with_what_to_do(self):
        # A million gigabytes: without the check, the first touch would be a bus error.
        job = self.start(2, "collectives", "--window", str(10**15))
        code, _, err, _ = job.finish(20)
        self.assertEqual(code, 4)
        self.assertRegex(err, r"/dev/shm has [\d.]+ MB free, but the 2 ranks of this host need")
        self.assertIn("--shm-size", err)
        self.assert_gone(job)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
