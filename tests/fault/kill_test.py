#!/usr/bin/env python3
"""Ranks that die or get stuck, and a launcher that is told to stop, at random moments of a job's life: the job must end
within its deadline, name the rank, and leave neither process nor shared memory nor file behind.

usage: kill_test.py SOURCE_DIR ONECOPY [options]
  --full           20 moments of each phase and signal instead of 2
  --moments N      so many
  --phase NAME     only this one, of: startup load prefill decode idle shutdown launcher
  --signal NAME    only this one, of: KILL STOP SUSPEND TERM INT
  --case I         only this one: repeats a failure
  --seed N         (default 1) of the moments

Phases of a rank, as seen from outside:
  startup   from the first rank's process to the opening of the model's files: MPI starts
  load      until the report on stderr
  prefill   until the first token on stdout
  decode    the seconds after it
  idle      rank 0 waits for a reader of --report, a FIFO, while the others wait for their first step
  shutdown  from the last line to the end; a job that is already through may end well
A stopped rank ends the job after --step-deadline. SUSPEND stops all of them for longer than that and continues them, as
schedulers suspend a job: it must go on and end well. In shutdown ranks are only killed: once the others have left, nobody
watches one that is stopped on its way out. The table counts the jobs that leave the killed rank unnamed: allowed in
startup only, where nobody but mpirun knows it.
"""
import argparse
import os
import random
import re
import selectors
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

sys.dont_write_bytecode = True
import private_shm  # noqa: E402

RANKS = 3
STEP_DEADLINE = 2.0
# What may pass after a death, or after the deadline of a stopped rank, until the launcher has ended. mpirun gives ranks
# a second or more between SIGTERM and SIGKILL.
SLACK = 10.0


def read(path, mode="r"):
    try:
        with open(path, mode) as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return "" if mode == "r" else b""


class Job:
    """One run of launch/onecopy, in a temporary directory of its own. Its processes are known by a variable."""

    def __init__(self, tree, args):
        self.binary = os.path.realpath(os.path.join(tree, "build/release/onecopy"))
        self.dir = tempfile.mkdtemp(prefix="onecopy-kill-")
        self.tmp = os.path.join(self.dir, "tmp")
        os.mkdir(self.tmp)
        self.tag = f"ONECOPY_FAULT_TAG={uuid.uuid4().hex}".encode()
        key, value = self.tag.decode().split("=")
        env = dict(os.environ, TMPDIR=self.tmp, **{key: value})
        self.fifo = os.path.join(self.dir, "report")
        args = [arg.replace("@FIFO@", self.fifo) for arg in args]
        if self.fifo in args:
            os.mkfifo(self.fifo)
        self.shm_before = set(os.listdir("/dev/shm"))
        self.start = time.monotonic()
        self.process = subprocess.Popen([os.path.join(tree, "launch/onecopy"), *args], env=env, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        self.out, self.err = b"", b""
        self.ends = {}  # of the job, of stdout and stderr
        self.selector = selectors.DefaultSelector()
        for name in ("stdout", "stderr"):
            pipe = getattr(self.process, name)
            os.set_blocking(pipe.fileno(), False)
            self.selector.register(pipe, selectors.EVENT_READ, name)
        self.ranks = {}

    def pump(self, seconds):
        for key, _ in self.selector.select(seconds):
            data = key.fileobj.read()
            if not data:
                self.selector.unregister(key.fileobj)
            elif key.data == "stdout":
                self.out += data
            else:
                self.err += data
        if self.selector.get_map() is None or not self.selector.get_map():
            time.sleep(min(seconds, 0.01))

    def members(self):
        """Every process of the job that is not a zombie."""
        pids = []
        for name in os.listdir("/proc"):
            if name.isdigit() and self.tag in read(f"/proc/{name}/environ", "rb").split(b"\0"):
                pids.append(int(name))
        return pids

    def find_ranks(self):
        if len(self.ranks) < RANKS:
            for pid in self.members():
                match = re.search(rb"\0OMPI_COMM_WORLD_RANK=(\d+)\0", read(f"/proc/{pid}/environ", "rb"))
                if match and self.runs_binary(pid):
                    self.ranks[int(match[1])] = pid
        return self.ranks

    def runs_binary(self, pid):
        try:
            return os.readlink(f"/proc/{pid}/exe") == self.binary
        except OSError:
            return False

    def has_open(self, rank, path):
        try:
            return any(os.readlink(f"/proc/{self.ranks[rank]}/fd/{fd}") == path
                       for fd in os.listdir(f"/proc/{self.ranks[rank]}/fd"))
        except (OSError, KeyError):
            return False

    def ended(self):
        return self.process.poll() is not None

    def wait_for(self, condition, seconds=60.0, poll=0.005):
        """True once it holds; False where the job ended first."""
        end = time.monotonic() + seconds
        while not condition():
            if self.ended():
                return False
            if time.monotonic() > end:
                raise AssertionError(f"nothing happens for {seconds} s\n{self.text()}")
            self.pump(poll)
        return True

    def finish(self, seconds):
        """The exit code and how long it took from now."""
        start = time.monotonic()
        while not self.ended() and time.monotonic() < start + seconds:
            self.pump(0.01)
        took = time.monotonic() - start
        if not self.ended():
            raise AssertionError(f"the job has not ended within {seconds:.1f} s; processes left: {self.describe()}")
        for _ in range(20):
            if self.selector.get_map():
                self.pump(0.02)
        return self.process.returncode, took

    def describe(self):
        return [f"{pid} {read(f'/proc/{pid}/comm').strip()} {read(f'/proc/{pid}/stat').rsplit(')')[-1][1:2]} "
                f"{read(f'/proc/{pid}/wchan')}" for pid in self.members()]

    def text(self):
        return f"--- stdout ends with: {self.out[-200:]!r}\n--- stderr: {self.err.decode(errors='replace')}"

    def left(self):
        """What is still there a moment after the end."""
        end = time.monotonic() + 1.0
        while True:
            things = [f"process {thing}" for thing in self.describe()]
            things += [f"/dev/shm/{name}" for name in set(os.listdir("/dev/shm")) - self.shm_before]
            things += [f"$TMPDIR/{name}" for name in os.listdir(self.tmp)]
            if not things or time.monotonic() > end:
                return things
            time.sleep(0.02)

    def close(self):
        for pid in self.members():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Phase:
    """A command, and the events between which a moment is drawn."""

    def __init__(self, args, begin, over, most_seconds):
        self.args, self.begin, self.over, self.most_seconds = args, begin, over, most_seconds
        self.seconds = None  # how long it lasts, as measured

    def measure(self, tree):
        job = Job(tree, self.args)
        try:
            if not job.wait_for(lambda: self.begin(job)):
                raise AssertionError(f"the phase is not reached\n{job.text()}")
            start = time.monotonic()
            job.wait_for(lambda: self.over(job) or time.monotonic() > start + self.most_seconds)
            self.seconds = min(time.monotonic() - start, self.most_seconds)
            if job.fifo in " ".join(job.process.args):
                with open(job.fifo, "rb") as file:
                    file.read()
            code, _ = job.finish(300)
            if code != 0 or job.left():
                raise AssertionError(f"without any fault: exit {code}, left {job.left()}\n{job.text()}")
        finally:
            job.close()


def make_phases(source, big, big_prompt_tokens):
    small = os.path.join(source, "models/tiny-moe-q8_0.gguf")
    launcher = ["-n", str(RANKS), "--threads", "1"]
    common = ["--temp", "0", "--ignore-eos", "--step-deadline", str(STEP_DEADLINE)]
    prompt = ",".join(str(random.Random(i).randrange(1, 500)) for i in range(big_prompt_tokens))
    big_args = [*launcher, "generate", "-m", big, "--tokens", prompt, "-n", "3", *common]
    small_args = [*launcher, "generate", "-m", small, "-p", "The road to the city of", "-n", "2000", *common]
    end_args = [*launcher, "generate", "-m", small, "-p", "The road", "-n", "4", *common]
    idle_args = [*launcher, "generate", "-m", small, "-p", "The road", "-n", "4", "--report", "@FIFO@", *common]

    def started(job):
        return len(job.find_ranks()) > 0

    def loading(path):
        return lambda job: bool(job.find_ranks()) and job.has_open(RANKS - 1, path)

    def reported(job):
        return b"copies of the model in memory" in job.err

    def speaks(job):
        return len(job.out) > len("The road to the city of")

    def waits_for_reader(job):
        return job.find_ranks() and "wait_for_partner" in read(f"/proc/{job.ranks.get(0)}/wchan")

    def said_all(job):
        return b"tokens/s; seed" in job.err

    def never(_):
        return False

    return {
        "startup": Phase(small_args, started, loading(small), 10),
        "load": Phase(big_args, loading(big), reported, 30),
        "prefill": Phase(big_args, reported, lambda job: bool(job.out), 30),
        "decode": Phase(small_args, speaks, said_all, 2),
        "idle": Phase(idle_args, waits_for_reader, never, 1),
        "shutdown": Phase(end_args, said_all, never, 1),
        "launcher": Phase(small_args, lambda job: True, said_all, 20),
    }


class Missed(Exception):
    """The phase was over before its moment came."""


def suspend(job):
    job.wait_for(lambda: len(job.find_ranks()) == RANKS)
    for pid in job.ranks.values():
        os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + STEP_DEADLINE + 1
    while time.monotonic() < end:
        job.pump(0.05)
    for pid in job.ranks.values():
        os.kill(pid, signal.SIGCONT)


def strike(job, phase, name, which, rng):
    """Waits for the moment and sends the signal; returns the rank, or None for the launcher."""
    if not job.wait_for(lambda: phase.begin(job)):
        raise AssertionError(f"the job ended before the phase\n{job.text()}")
    moment = time.monotonic() + rng.random() * phase.seconds
    rank = None if name == "launcher" else rng.randrange(RANKS)
    if rank is not None and not job.wait_for(lambda: rank in job.find_ranks()):  # at start they appear in turn
        raise Missed
    while time.monotonic() < moment and not job.ended():
        job.pump(max(0.0005, min(0.005, moment - time.monotonic())))
    if job.ended() or (name in ("load", "prefill", "decode") and phase.over(job)):
        raise Missed
    job.struck = time.monotonic() - job.start
    if which == "SUSPEND":
        suspend(job)
        return None
    number = getattr(signal, "SIG" + which)
    if rank is None:
        os.kill(job.process.pid, number)
    else:
        try:
            os.kill(job.ranks[rank], number)
        except ProcessLookupError:
            raise Missed from None
    return rank


def check(job, name, which, rank):
    """How long the job took to end, and whether it left its rank unnamed."""
    code, took = job.finish(120 if which == "SUSPEND" else SLACK + (STEP_DEADLINE if which == "STOP" else 0))
    err = job.err.decode(errors="replace")
    unnamed = False
    if which == "SUSPEND":
        assert code == 0, f"exit {code} of a job that was suspended and continued"
    elif name == "launcher":
        want = {"TERM": (143, -signal.SIGTERM), "INT": (130, -signal.SIGINT)}[which]  # the latter before its traps stand
        assert code in want, f"exit {code}, expected {want[0]}"
    elif not (name == "shutdown" and code == 0):
        assert code == 5, f"exit {code}, expected 5"
        # Where mpirun is the first to notice, it gives no number of the process.
        named = rf"rank {rank} (with PID|\(pid) ({job.ranks[rank]}|0)\b"
        unnamed = re.search(named, err) is None
        # Before the ranks know each other only mpirun can name one, and at times it does not.
        assert not unnamed or (name == "startup" and "a rank was ended by signal 9" in err), \
            f"rank {rank} (pid {job.ranks[rank]}) is not named"
    left = job.left()
    assert not left, f"left behind: {left}"
    return took, unnamed


def run_case(tree, phase, name, which, seed, case):
    """What check() gives of the first job whose phase was hit."""
    for attempt in range(20):
        rng = random.Random(f"{seed} {name} {which} {case} {attempt}")
        job = Job(tree, phase.args)
        try:
            rank = strike(job, phase, name, which, rng)
            return check(job, name, which, rank)
        except Missed:
            job.finish(300)
        except AssertionError as e:
            struck = f"{job.struck:.3f} s after its start" if hasattr(job, "struck") else "not struck"
            raise AssertionError(f"{name} {which} case {case} (--phase {name} --signal {which} --case {case} --seed "
                                 f"{seed}), {struck}: {e}\n{job.text()}") from None
        finally:
            job.close()
    raise AssertionError(f"{name} {which} case {case}: the phase was missed twenty times")


def make_tree(source, binary, directory):
    """launch/ of the source beside the binary under test, where the launcher looks for it."""
    os.symlink(os.path.join(source, "launch"), os.path.join(directory, "launch"))
    os.makedirs(os.path.join(directory, "build/release"))
    os.symlink(binary, os.path.join(directory, "build/release/onecopy"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("binary")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--moments", type=int)
    parser.add_argument("--phase")
    parser.add_argument("--signal")
    parser.add_argument("--case", type=int)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    moments = options.moments or (20 if options.full else 2)
    source, binary = os.path.abspath(options.source), os.path.abspath(options.binary)

    private_shm.take()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what follows is cleaned up
    directory = tempfile.mkdtemp(prefix="onecopy-fault-")
    failures = []
    try:
        tree = os.path.join(directory, "tree")
        os.mkdir(tree)
        make_tree(source, binary, tree)
        big = os.path.join(directory, "big.gguf")
        shape = "--layers 6 --hidden 1024 --experts 64 --inter 768 --heads 16 --vocab 8000 --type Q8_0".split()
        subprocess.run([sys.executable, f"{source}/tests/support/make_synthetic_moe.py", big, *shape], check=True)
        phases = make_phases(source, big, 700)
        print(f"{RANKS} ranks, step deadline {STEP_DEADLINE} s, seed {options.seed}, {moments} moments each; model of "
              f"{os.path.getsize(big) / 1e6:.0f} MB for load and prefill")
        print(f"{'phase':9} {'signal':7} {'lasts s':>8} {'jobs':>5} {'failed':>6} {'unnamed':>7} {'median s':>9} {'most s':>7}")
        signals = {"startup": ["KILL", "STOP"], "idle": ["KILL", "STOP"], "shutdown": ["KILL"], "launcher": ["TERM", "INT"]}
        for name, phase in phases.items():
            for which in signals.get(name, ["KILL", "STOP", "SUSPEND"]):
                if (options.phase or name) != name or (options.signal or which) != which:
                    continue
                if phase.seconds is None:
                    phase.measure(tree)
                took, unnamed, failed = [], 0, 0
                for case in range(moments) if options.case is None else [options.case]:
                    try:
                        seconds, is_unnamed = run_case(tree, phase, name, which, options.seed, case)
                        took.append(seconds)
                        unnamed += is_unnamed
                    except AssertionError as e:
                        failed += 1
                        failures.append(str(e))
                        print(str(e), file=sys.stderr, flush=True)
                median = statistics.median(took) if took else float("nan")
                print(f"{name:9} {which:7} {phase.seconds:8.2f} {len(took) + failed:5} {failed:6} {unnamed:7} {median:9.2f} "
                      f"{max(took, default=float('nan')):7.2f}", flush=True)
    finally:
        shutil.rmtree(directory)
    print(f"{len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
