#!/usr/bin/env python3
"""launch/onecopy submit against a real Slurm of two hosts: results, exit codes and states, cancelling, draining before the
time limit, failed ranks, requeue, arrays, parts of a host. Prints what it measured."""

import json
import os
import re
import shlex
import signal
import sys
import time
import unittest

sys.dont_write_bytecode = True
import bed  # noqa: E402
import slurm_cluster  # noqa: E402

TREE = os.path.realpath(f"{__file__}/../../..")
LAUNCHER = f"{TREE}/launch/onecopy"
PROMPT = "Once upon a time"
TOKENS = ["generate", "--temp", "0", "-n", "32", "-p", PROMPT, "--json"]
# With two hosts in every layer, not one behind the other: more waiting.
LONG = ["generate", "--pipeline", "1", "--ignore-eos", "--temp", "0", "-n", "2000", "-p", PROMPT]
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}


def measured(text):
    print(f"measured: {text}", file=sys.stderr)


class Submit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # The delay makes jobs of two hosts long enough to be ended by others.
        cls.hosts = bed.Bed(hosts=2, delay="2ms").__enter__()
        cls.addClassCleanup(cls.hosts.close)
        start = time.monotonic()
        cls.slurm = slurm_cluster.Slurm(cls.hosts).__enter__()
        measured(f"Slurm is up after {time.monotonic() - start:.1f} s")
        cls.work = f"{cls.hosts.folder}/work"
        os.mkdir(cls.work)
        alone = cls.slurm.run([LAUNCHER, "-n", "1", *TOKENS])
        cls.expected = json.loads(alone.stdout)["tokens"]

    def tearDown(self):  # a test that failed must not keep the hosts from the next
        self.slurm.run(["scancel", "--user=root"])
        deadline = time.monotonic() + 20
        while set(self.slurm.states().values()) != {"idle"} and time.monotonic() < deadline:
            time.sleep(0.1)

    def submit(self, *words):
        """The number of the job."""
        command = shlex.join([LAUNCHER, "submit", *words])
        result = self.slurm.run(["sh", "-c", f"cd {self.work} && {command}"])
        self.assertEqual(0, result.returncode, result.stderr)
        return int(re.fullmatch(r"Submitted batch job (\d+)\n", result.stdout).group(1))

    def output(self, name):
        with open(f"{self.work}/onecopy-{name}") as file:
            return file.read()

    def await_ranks(self, job, count):
        """Until text of the job comes; the ranks are then in mid-generation."""
        ranks = self.ranks_at_first_text(job)
        self.assertEqual(count, len(ranks), ranks)
        return ranks

    def ranks_at_first_text(self, job):
        """None where the job ends before."""
        deadline = time.monotonic() + 180  # seconds on a free machine; beside tests and compilers, with few cores, a minute
        while not (os.path.exists(f"{self.work}/onecopy-{job}.out") and len(self.output(f"{job}.out")) > len(PROMPT) + 20):
            found = self.slurm.job(job)
            if found.get("JobState") in ENDED:
                return []
            if time.monotonic() > deadline:
                self.fail(f"no text after 180 s: {found}; {self.output(f'{job}.err')}")
            time.sleep(0.1)
        return self.slurm.ranks()

    def left(self):
        """Ranks, and files of theirs."""
        files = [path for host in self.hosts.hosts for path in self.hosts.files(host)]
        return self.slurm.ranks() + [path for path in files if "/shm/" in path or "onecopy" in os.path.basename(path)]

    def ended(self, job, limit=60):
        """What Slurm says of the job once it has ended; none of its processes and files are left then."""
        found = self.slurm.await_state(job, ENDED, limit)
        deadline = time.monotonic() + 5
        while self.left() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertEqual([], self.left())
        return found["JobState"], found["ExitCode"]

    def check_tokens(self, job):
        state = self.ended(job)
        self.assertEqual(("COMPLETED", "0:0"), state, self.output(f"{job}.err"))
        self.assertEqual(self.expected, json.loads(self.output(f"{job}.out"))["tokens"])

    def test_generate(self):
        self.check_tokens(self.submit(*TOKENS))

    def test_two_hosts(self):
        for launcher in ("srun", "mpirun"):
            job = self.submit("--nodes", "2", "-n", "4", "--threads", "1", "--launcher", launcher, *TOKENS)
            self.check_tokens(job)
            for host in ("host1", "host2"):
                self.assertEqual(2, len(re.findall(rf"(?m)^ +\d+  {host} ", self.output(f"{job}.err"))), launcher)

    def test_bench_array(self):
        job = self.submit("--array", "4,8,16%2", "--cpus-per-task", "1", "bench", "-p", "{}", "-n", "4", "-r", "1", "--json")
        for index, tokens in enumerate((4, 8, 16)):
            self.assertEqual(("COMPLETED", "0:0"), self.ended(f"{job}_{index}"))
            self.assertEqual(tokens, json.loads(self.output(f"{job}_{index}.out"))["prefill"][0]["tokens"])

    def test_exit_code_is_the_ranks(self):
        self.assertEqual(("FAILED", "3:0"), self.ended(self.submit("-n", "2", "generate", "-m", "/dev/null", "-p", "x")))
        self.assertEqual(("FAILED", "2:0"), self.ended(self.submit("-n", "2", "generate", "--frobnicate")))

    def test_wait_returns_the_jobs_exit_code(self):
        result = self.slurm.run([LAUNCHER, "submit", "--wait", f"--output={self.work}/wait.out", "generate", "-m", "/dev/null"])
        self.assertEqual(3, result.returncode, result.stderr)

    def test_part_of_a_host_is_kept_to(self):
        job = self.submit("--cpus-per-task", "1", *TOKENS)
        self.check_tokens(job)
        if self.slurm.cpus < 2:
            self.skipTest("this machine has one CPU")
        threads = re.search(r"(?m)^ +0  host\d +\d+ +(\d+) ", self.output(f"{job}.err")).group(1)
        self.assertEqual("1", threads, "one CPU, one thread")
        job = self.submit(*TOKENS)
        self.check_tokens(job)
        threads = re.search(r"(?m)^ +0  host\d +\d+ +(\d+) ", self.output(f"{job}.err")).group(1)
        self.assertGreater(int(threads), 1, "the whole host has more")

    def test_cancel(self):
        for launcher in ("srun", "mpirun"):
            job = self.submit("--nodes", "2", "-n", "4", "--threads", "1", "--launcher", launcher, *LONG)
            self.await_ranks(job, 4)
            start = time.monotonic()
            self.slurm.run(["scancel", str(job)])
            self.assertEqual("CANCELLED", self.ended(job)[0])
            elapsed = time.monotonic() - start
            measured(f"scancel, {launcher}: no rank left after {elapsed:.1f} s")
            self.assertLess(elapsed, 10)

    def test_time_limit_drains(self):
        # A limit of a minute is the least. Slurm looks every 30 s, so the signal comes 15 to 45 s after the start.
        # On a busy machine that can be before the first text.
        for _ in range(3):
            job = self.submit("--nodes", "2", "-n", "4", "--threads", "1", "--time", "1", "--drain", "15", *LONG)
            if len(self.ranks_at_first_text(job)) == 4:
                break
            self.ended(job)
        started = time.monotonic()
        while len(self.slurm.ranks()) == 4:
            self.assertLess(time.monotonic() - started, 55, "the signal did not come")
            time.sleep(0.1)
        signalled = time.monotonic()
        # generate has nothing to finish: SIGTERM ends it, and Slurm had no need to kill.
        self.assertEqual(("FAILED", "143:0"), self.ended(job))
        measured(f"time limit: signalled {signalled - started:.0f} s after the first text, ended "
                 f"{time.monotonic() - signalled:.1f} s later")
        self.assertLess(time.monotonic() - signalled, 10)
        self.assertNotIn("DUE TO TIME LIMIT", self.output(f"{job}.err"))

    def test_killed_rank_fails_the_job(self):
        for launcher in ("srun", "mpirun"):
            job = self.submit("--nodes", "2", "-n", "4", "--threads", "1", "--launcher", launcher, *LONG)
            ranks = self.await_ranks(job, 4)
            start = time.monotonic()
            os.kill(ranks[-1][0], signal.SIGKILL)
            self.assertEqual(("FAILED", "5:0"), self.ended(job), self.output(f"{job}.err"))
            measured(f"kill -9 of a rank, {launcher}: the job has ended after {time.monotonic() - start:.1f} s")
            self.assertLess(time.monotonic() - start, 10)

    def test_killed_rank_requeues_the_job_when_told(self):
        job = self.submit("--requeue", "--nodes", "2", "-n", "2", "--threads", "1", *LONG)
        os.kill(self.await_ranks(job, 2)[0][0], signal.SIGKILL)
        found = self.slurm.await_state(job, {"PENDING"})
        self.assertEqual("1", found["Restarts"])
        self.assertIn("back into the queue", self.output(f"{job}.err"))
        self.slurm.run(["scancel", str(job)])


if __name__ == "__main__":
    bed.run_tests(slurm_cluster.check_machine)
