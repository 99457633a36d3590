"""What inject_test.py runs its cases in: jobs of launch/onecopy into whose ranks inject.cc is preloaded, and what holds of each
of them whatever went wrong. The command line is that of inject_test.py."""
import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

import private_shm
from kill_test import make_tree, read

SOURCE, BINARY, LIBRARY = (os.path.abspath(arg) for arg in sys.argv[1:4])
SHIPPED = os.path.join(SOURCE, "models/tiny-moe-q8_0.gguf")
ONE, TWO = 1, 2
TEXT = ["-p", "The road to the city of", "-n", "6", "--temp", "0"]
NEVER = re.compile(r"terminate called|bug in onecopy|Traceback|core dumped|panic")
LIMIT = 40  # seconds, for one job on a busy machine


class Outcome:
    """One job of launch/onecopy. `extra`: what it left behind, beside what it should."""

    def __init__(self, code, out, err, seconds, struck, extra):
        self.code, self.out, self.err, self.seconds, self.struck, self.extra = code, out, err, seconds, struck, extra

    def __str__(self):
        return (f"exit {self.code} after {self.seconds:.1f} s, struck {self.struck[:3]}, left {self.extra}\n"
                f"stdout: {self.out[-300:]!r}\nstderr: {self.err[-2000:]}")


def in_namespace(script, after=":"):
    """A prefix: the command after `script` in a mount namespace of its own, and another script after it."""
    shell = f'{script} && "$@"; code=$?; {after}; exit $code'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", shell, "sh"]


def limited(limits):
    return ["bash", "-c", f'ulimit {limits} && exec "$@"', "bash"]


class Bed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="onecopy-inject-")
        cls.tree = os.path.join(cls.dir, "tree")
        os.mkdir(cls.tree)
        make_tree(SOURCE, BINARY, cls.tree)
        cls.expected = cls.run_job(ONE, ["generate", *TEXT]).out
        assert cls.expected.startswith(TEXT[1]), cls.expected

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    @classmethod
    def run_job(cls, ranks, command, rules="", prefix=(), clock="", stdout=None, threads=1):
        """rules: of inject.cc, for the ranks only."""
        folder = tempfile.mkdtemp(dir=cls.dir)
        tmp, log = os.path.join(folder, "tmp"), os.path.join(folder, "log")
        os.mkdir(tmp)
        tag = uuid.uuid4().hex
        env = dict(os.environ, TMPDIR=tmp, ONECOPY_FAULT_TAG=tag, LD_PRELOAD=LIBRARY, ONECOPY_INJECT_LOG=log,
                   ONECOPY_INJECT=";".join(f"program={os.path.realpath(BINARY)},{rule}" for rule in rules.split(";") if rule),
                   ONECOPY_INJECT_CLOCK=clock)
        start = time.monotonic()
        job = subprocess.Popen([*prefix, f"{cls.tree}/launch/onecopy", "-n", str(ranks), "--threads", str(threads), *command],
                               env=env, stdin=subprocess.DEVNULL, stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = job.communicate(timeout=LIMIT)
            code = job.returncode
        except subprocess.TimeoutExpired:
            code = "none, it hangs"
        seconds = time.monotonic() - start
        extra = cls.members(tag)
        if isinstance(code, str):
            for pid in extra:
                os.kill(int(pid), signal.SIGKILL)
            out, err = job.communicate()
        extra = [f"process {pid}" for pid in extra] + [f"$TMPDIR/{name}" for name in os.listdir(tmp)]
        struck = read(log).splitlines()
        shutil.rmtree(folder)
        return Outcome(code, (out or b"").decode(errors="replace"), err.decode(errors="replace"), seconds, struck, extra)

    @staticmethod
    def members(tag):
        """Every process of the job, after a moment to end in."""
        end = time.monotonic() + 1
        while True:
            found = [pid for pid in os.listdir("/proc") if pid.isdigit() and
                     f"ONECOPY_FAULT_TAG={tag}".encode() in read(f"/proc/{pid}/environ", "rb").split(b"\0")]
            if not found or time.monotonic() > end:
                return found
            time.sleep(0.02)

    def check_all(self, cases, workers=4):
        """cases: name -> (run, codes, pattern); run() gives an Outcome. pattern: in stderr, or None."""
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            jobs = {name: pool.submit(run) for name, (run, _, _) in cases.items()}
        for name, (_, codes, pattern) in cases.items():
            with self.subTest(name):
                self.check(name, jobs[name].result(), codes, pattern)
        if os.environ.get(private_shm.PRIVATE):
            self.assertEqual(os.listdir("/dev/shm"), [])

    def check(self, name, outcome, codes, pattern):
        print(f"  {name}: exit {outcome.code}, {outcome.seconds:.1f} s", flush=True)
        self.assertIn(outcome.code, codes if isinstance(codes, tuple) else (codes,), str(outcome))
        self.assertIsNone(NEVER.search(outcome.err), str(outcome))
        self.assertEqual(outcome.extra, [], str(outcome))
        if pattern is not None:
            self.assertRegex(outcome.err, pattern, str(outcome))
        said = [line for line in outcome.err.splitlines() if line.startswith("onecopy: ")]
        self.assertEqual(len(said), len(set(said)), f"said twice: {outcome}")

    def struck(self, *args, **kwargs):
        """Runs a job and demands that the fault was met."""
        outcome = self.run_job(*args, **kwargs)
        self.assertTrue(outcome.struck, f"{args} {kwargs}: the fault was not met: {outcome}")
        return outcome

    def right(self, outcome):
        self.assertEqual(outcome.out, self.expected, str(outcome))
        return outcome

    def copy(self, name="model.gguf"):
        """A model of a case's own."""
        folder = tempfile.mkdtemp(dir=self.dir)
        return shutil.copy(SHIPPED, os.path.join(folder, name))
