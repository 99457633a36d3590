#!/usr/bin/env python3
"""Bad conditions, made at the seams of a job (inject.cc, small file systems, limits): the job gives the right answer or ends
in time with the right code and one sentence that says what is wrong, and leaves no process, shared memory or file behind.

usage: inject_test.py SOURCE_DIR ONECOPY INJECT_LIBRARY [--allocations N] [unittest arguments]
  --allocations N   points at which memory is refused, of one rank (default 24) and of the second of two (a third of it)
"""
import errno
import json
import os
import shutil
import signal
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
import private_shm  # noqa: E402
from inject_bed import ONE, SHIPPED, TEXT, TWO, Bed, in_namespace, limited  # noqa: E402
from kill_test import read  # noqa: E402

ALLOCATIONS = int(sys.argv[sys.argv.index("--allocations") + 1]) if "--allocations" in sys.argv else 24


class FileTest(Bed):
    def case(self, ranks, rules, right=False, model=None):
        model = model or self.copy()
        rules = f"path={model},{rules}"

        def run():
            outcome = self.struck(ranks, ["generate", "-m", model, *TEXT], rules)
            return self.right(outcome) if right else outcome
        return run

    def test_reads_that_fall_short_or_are_interrupted_change_nothing(self):
        self.check_all({
            "short, 1 rank": (self.case(ONE, "call=pread,count=0,short", True), 0, None),
            "short, 2 ranks": (self.case(TWO, "call=pread,count=0,short", True), 0, None),
            "interrupted": (self.case(ONE, f"call=pread,count=40,fail={errno.EINTR}", True), 0, None),
            "interrupted, rank 1": (self.case(TWO, f"rank=1,call=pread,count=40,fail={errno.EINTR}", True), 0, None)})

    def test_reads_that_fail_name_file_byte_and_rank(self):
        fail = f"fail={errno.EIO}"
        self.check_all({
            "headers": (self.case(ONE, f"call=pread,{fail}"), 3,
                        r"rank 0 \(\S+\): \S+/model.gguf: cannot be read at byte 0: Input"),
            "weights": (self.case(ONE, f"call=pread,least=500000,nth=5,{fail}"), 3,
                        r"rank 0 \(\S+\): cannot read \S+/model.gguf at byte \d+: Input"),
            "weights of rank 1": (self.case(TWO, f"rank=1,call=pread,nth=2,{fail}"), 3,
                                  r"rank 1 \(\S+\): cannot read \S+/model.gguf at byte \d+: Input"),
            "no descriptor for headers": (self.case(ONE, f"call=open,fail={errno.EMFILE}"), 3,
                                          r"model.gguf: cannot be opened: Too many open files"),
            "no descriptor for weights": (self.case(TWO, f"rank=1,call=open,fail={errno.EMFILE}"), 3,
                                          r"rank 1 \(\S+\): cannot open \S+/model.gguf: Too many open files")})

    def test_a_file_that_changes_while_it_is_loaded_is_never_computed_with(self):
        shorter, changed = r"model.gguf at byte \d+: the file became shorter", r"model.gguf was written to or replaced while"
        late = "call=pread,least=500000,nth=4"
        cases = {"cut during headers": (self.case(ONE, "call=pread,nth=2,truncate=1000000"), 3, shorter),
                 "cut during load": (self.case(ONE, f"{late},truncate=9000000"), 3, shorter),
                 "written to during headers": (self.case(ONE, "call=pread,nth=2,touch=12000000"), 3, changed),
                 "written to during load": (self.case(ONE, f"{late},touch=12000000"), 3, changed),
                 "written to during load, by rank 1": (self.case(TWO, "rank=1,call=pread,nth=3,touch=12000000"), 3, changed)}
        for ranks in (ONE, TWO):
            model = self.copy()
            other = os.path.join(os.path.dirname(model), "other.gguf")
            shutil.copy(model, other)
            with open(other, "r+b") as file:
                file.seek(10_000_000)
                file.write(bytes(100_000))
            rules = f"{'rank=0,' if ranks == TWO else ''}call=open,nth=2,replace={other}"
            cases[f"replaced after headers, {ranks}"] = (self.case(ranks, rules, model=model), 3, changed)
        self.check_all(cases)

    def test_a_rank_that_is_slow_to_read_is_waited_for(self):
        command = ["generate", "--step-deadline", "1", *TEXT]
        self.check_all({"3 s": (lambda: self.right(self.struck(TWO, command, f"path={SHIPPED},rank=1,call=pread,delay=3000")),
                                0, None)})


class OutputTest(Bed):
    """What is to be written is there whole, as it was before, or not at all."""

    def written(self, ranks, command, rules, new=None):
        """A run that must leave the file @OUT@ as it was, or as the file `new` is."""
        folder = tempfile.mkdtemp(dir=self.dir)
        path = os.path.join(folder, "output")
        with open(path, "wb") as file:
            file.write(b"old")

        def run():
            outcome = self.struck(ranks, [arg.replace("@OUT@", path) for arg in command], f"path={path},{rules}")
            good = read(new, "rb") if new else b"old"
            self.assertTrue(read(path, "rb") == good, f"the output of {command} {rules}: {outcome}")
            outcome.extra += [name for name in os.listdir(folder) if name != "output"]
            return outcome
        return run

    def test_files_are_whole_or_as_before(self):
        quantize = ["quantize", "--type", "q4_0", "-o", "@OUT@"]
        good = os.path.join(self.dir, "good.gguf")
        self.assertEqual(self.run_job(ONE, [arg.replace("@OUT@", good) for arg in quantize]).code, 0)
        full, io = f"fail={errno.ENOSPC}", f"fail={errno.EIO}"
        logits, report = ["logits", "--tokens", "1,2,3", "-o", "@OUT@"], ["generate", *TEXT, "--report", "@OUT@"]
        no_space = r"/output: cannot be written at byte \d+: No space left"
        cases = {
            "quantize, full disk": (self.written(ONE, quantize, f"call=write,nth=20,{full}"), 3, no_space),
            "quantize, full disk, 2 ranks": (self.written(TWO, quantize, f"call=write,nth=20,{full}"), 3, no_space),
            "quantize, fsync fails": (self.written(ONE, quantize, f"call=fsync,{io}"), 3,
                                      r"/output: cannot be written .*Input/output"),
            "quantize, rename fails": (self.written(ONE, quantize, f"call=rename,{full}"), 3, r"cannot be put in place of"),
            "quantize, short writes": (self.written(ONE, quantize, "call=write,count=0,short", good), 0, None),
            "quantize, interrupted writes": (self.written(ONE, quantize, f"call=write,count=40,fail={errno.EINTR}", good), 0,
                                             None),
            "logits, full disk": (self.written(ONE, logits, f"call=write,{full}"), 3, no_space),
            "logits, full disk, 2 ranks": (self.written(TWO, logits, f"call=write,{full}"), 3, no_space),
            "report, full disk": (self.written(ONE, report, f"call=write,{full}"), 3, no_space),
            "report, full disk, 2 ranks": (self.written(TWO, report, f"call=write,{full}"), 3, no_space)}
        for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            rules = f"call=write,nth=20,signal={int(which)}"
            cases[f"quantize, {which.name}"] = (self.written(ONE, quantize, rules), (-which, 128 + which), None)
        cases["quantize, SIGTERM, 2 ranks"] = (self.written(TWO, quantize, "call=write,nth=20,signal=15"), 5, r"rank 0 .* died")
        # A source that is written to meanwhile: what was made of it must not be taken for the model.
        model = self.copy()
        cases["quantize, source changes"] = (
            self.changing_source(model, [*quantize, "-m", model]), 3, r"model.gguf was written to or replaced while")
        self.check_all(cases)

    def changing_source(self, model, command):
        path = os.path.join(tempfile.mkdtemp(dir=self.dir), "output")

        def run():
            outcome = self.struck(ONE, [arg.replace("@OUT@", path) for arg in command],
                                  f"path={model},call=pread,least=100000,nth=3,touch=16000000")
            outcome.extra += os.listdir(os.path.dirname(path))
            return outcome
        return run

    def test_a_full_disk_under_stdout_is_said(self):
        def run(ranks, command):
            with open("/dev/full", "w", encoding="ascii") as full:
                return self.run_job(ranks, command, stdout=full)
        said = "standard output cannot be written"
        self.check_all({"generate": (lambda: run(ONE, ["generate", *TEXT]), 2, said),
                        "generate, 2 ranks": (lambda: run(TWO, ["generate", *TEXT]), 2, said),
                        "inspect": (lambda: run(ONE, ["inspect", "--json"]), 2, said),
                        "tokenize": (lambda: run(ONE, ["tokenize", "-p", "a"]), 2, said)})

    def test_a_disk_that_is_full_from_the_start_is_named(self):
        if not private_shm.may_mount():
            self.skipTest("no mount namespaces here (unshare): small file systems cannot be made")
        folder = os.path.join(self.dir, "small")
        os.mkdir(folder)

        def run(size, command):
            mount = in_namespace(f"mount -t tmpfs -o size={size} small {folder}", f"ls -A {folder} >&2")
            outcome = self.run_job(ONE, command, prefix=mount)
            self.assertNotRegex(outcome.err, r"(?m)^output")
            return outcome
        out = os.path.join(folder, "output")
        self.check_all({
            "quantize": (lambda: run("4m", ["quantize", "--type", "q4_0", "-o", out]), 3,
                         r"/output: \d+ bytes are needed, but its file system has only \d+ free"),
            "logits": (lambda: run("4k", ["logits", "--tokens", "1,2,3", "--last", "3", "-o", out]), 3,
                       r"/output: \d+ bytes are needed, but its file system has only \d+ free")})


class MemoryTest(Bed):
    def case(self, rules, ranks=ONE, command=("generate", *TEXT), threads=1):
        return lambda: self.struck(ranks, list(command), rules, threads=threads)

    def test_memory_that_the_kernel_refuses_is_code_4(self):
        no = f"fail={errno.ENOMEM}"
        loaded = f"after={os.path.basename(SHIPPED)}"
        self.check_all({
            "a full node": (self.case(f"call=mbind,{no}"), 4,
                            r"weights: cannot bind \d+ bytes to node \d+: mbind: Cannot allocate"),
            "a full node, rank 1": (self.case(f"rank=1,call=mbind,{no}", TWO), 4,
                                    r"rank 1 \(\S+\): weights: cannot bind \d+ bytes to node \d+"),
            "mapping": (self.case(f"call=mprotect,least=8000000,{no}"), 4, r"weights: cannot map \d+ bytes for node"),
            "reserving": (self.case(f"{loaded},call=mmap,least=15000000,count=0,{no}"), 4,
                          r"weights: cannot map \d+ bytes for node"),
            "locking": (self.case(f"call=mlock2,{no}", command=("generate", "--mlock", *TEXT)), 4, r"weights: cannot lock"),
            "audit": (self.case(f"call=move_pages,{no}"), 4, r"move_pages: Cannot allocate memory; free memory on node"),
            "threads of the loader": (self.case(f"{loaded},call=pthread_create,fail={errno.EAGAIN}"), 4,
                                      r"no thread could be started while"),
            "some threads of the loader": (self.case(f"{loaded},call=pthread_create,nth=3,count=0,fail={errno.EAGAIN}"), 4,
                                           r"no thread could be started while"),
            "threads of a team": (self.case(f"{loaded},call=pthread_create,fail={errno.EAGAIN}", threads=3), 4,
                                  r"no thread could be started while starting threads")})

    def test_a_refused_allocation_ends_the_job_wherever_it_is(self):
        generate = ["generate", *TEXT, "--report", "@OUT@"]
        loaded = f"after={os.path.basename(SHIPPED)},call=new"
        # Headers and tokenizer make most allocations, one like the other; what follows is looked at more closely.
        self.sweep(ONE, generate, loaded, lambda total: self.moments(max(0, total - 1400), total, ALLOCATIONS) | {1, 50})
        self.sweep(TWO, generate, f"rank=1,{loaded}",
                   lambda total: self.moments(max(0, total - 1400), total, max(3, ALLOCATIONS // 3)) | {1, 50}, threads=2)

    def test_a_refused_allocation_ends_a_start_and_other_commands(self):
        few = max(3, ALLOCATIONS // 4)
        new = "main,call=new"
        before = len(self.run_job(ONE, ["--version"], f"{new},count=0").struck)
        self.assertGreater(before, 1000)  # the command line, with all of its options
        self.sweep(ONE, ["generate", *TEXT], new, lambda _: self.moments(0, before, few) | {1, 2, 3})
        # nlohmann::json throughout, whose destructor allocates.
        self.sweep(ONE, ["inspect", "--json"], new, lambda total: self.moments(before, total, few))
        self.sweep(ONE, ["tokenize", "-p", "The road", "--json"], new, lambda total: self.moments(before, total, few))

    @staticmethod
    def moments(begin, end, points):
        return {begin + (end - begin) * i // points for i in range(1, points)}

    def sweep(self, ranks, command, rules, moments_of, threads=1):
        """Refuses memory once, at each of moments_of(number of allocations), in a run of its own. "@OUT@": a file of it."""
        def job(rules):
            with tempfile.TemporaryDirectory(dir=self.dir) as folder:
                path = os.path.join(folder, "output")
                outcome = self.run_job(ranks, [arg.replace("@OUT@", path) for arg in command], rules, threads=threads)
                outcome.extra += [name for name in os.listdir(folder) if name != "output"]
                if os.path.exists(path):
                    json.loads(read(path))  # whole, or not there
                return outcome
        good = job(f"{rules},count=0")
        total = len(good.struck)
        self.assertEqual(good.code, 0, str(good))
        self.assertGreater(total, 300)

        def run(moment):
            outcome = job(f"{rules},nth={moment},fail={errno.ENOMEM}")
            self.assertTrue(outcome.struck, f"the fault was not met: {outcome}")
            if outcome.code == 4:
                self.assertRegex(outcome.err, r"(?m)^onecopy: .*out of memory", str(outcome))
            else:  # what asks for memory only to report or tidy up may do without
                self.assertEqual(outcome.out, good.out, str(outcome))
            return outcome
        self.check_all({f"{command[0]}, allocation {moment} of {total}, {ranks} rank(s)":
                        (lambda moment=moment: run(moment), (0, 4), None) for moment in sorted(moments_of(total))})


class MachineTest(Bed):
    def case(self, ranks, prefix, command=("generate", *TEXT), right=False):
        def run():
            outcome = self.run_job(ranks, list(command), prefix=prefix)
            return self.right(outcome) if right else outcome
        return run

    def test_limits_of_the_shell(self):
        unlocked = limited("-l 0")
        if os.geteuid() == 0:  # who has the capability anyway
            unlocked = ["setpriv", "--bounding-set", "-ipc_lock", "--inh-caps", "-ipc_lock", *unlocked]
        lock = ("generate", "--mlock", *TEXT)
        self.check_all({
            "few files": (self.case(ONE, limited("-n 24"), right=True), 0, None),
            "few files, 2 ranks": (self.case(TWO, limited("-n 16")), 5, r"open files are limited to 16 here"),
            "little address space": (self.case(ONE, limited("-v 100000")), 4,
                                     r"(no thread could be started|out of memory) while|cannot get \d+ bytes"),
            "little address space, 2 ranks": (self.case(TWO, limited("-v 200000")), (4, 5),
                                              r"address space is limited to 200000 kB here|out of memory while"),
            "no locked memory": (self.case(ONE, unlocked, lock), 4, r"weights: cannot lock .*ulimit -l unlimited")})

    def test_small_or_hidden_file_systems_of_the_kernel(self):
        if not private_shm.may_mount():
            self.skipTest("no mount namespaces here (unshare): /dev/shm and /sys cannot be hidden")
        read_only = in_namespace("mount -t tmpfs -o ro shm /dev/shm")
        no_sys = in_namespace("mount -t tmpfs none /sys")

        def doctor():
            outcome = self.run_job(ONE, ["doctor"], prefix=no_sys)
            self.assertIn("nodes ", outcome.out)
            return outcome
        self.check_all({
            "read-only /dev/shm": (self.case(TWO, read_only, right=True), 0, None),
            "/dev/shm of 64 kB": (self.case(TWO, in_namespace("mount -t tmpfs -o size=64k shm /dev/shm")), 4,
                                  r"/dev/shm has 0.1 MB free, but the 2 ranks of this host need"),
            "/dev/shm of 14 MB": (self.case(TWO, in_namespace("mount -t tmpfs -o size=14m shm /dev/shm")), 4,
                                  r"/dev/shm has 14.\d MB free, but the 2 ranks of this host need"),
            "no /sys": (self.case(ONE, no_sys, right=True), 0, None),
            "no /sys, 2 ranks": (self.case(TWO, no_sys, right=True), 0, None),
            "no /sys, doctor": (doctor, 0, None)})

    def test_clocks_that_jump_change_nothing(self):
        def run(ranks, jump):
            outcome = self.run_job(ranks, ["generate", "--step-deadline", "5", *TEXT], clock=f"{jump},20")
            # One rank asks for the time of day only when it says something; Open MPI does all the time.
            self.assertTrue(ranks == ONE or any(" clock " in line for line in outcome.struck), str(outcome))
            return self.right(outcome)
        self.check_all({f"{jump} s, {ranks} rank(s)": (lambda ranks=ranks, jump=jump: run(ranks, jump), 0, None)
                        for ranks in (ONE, TWO) for jump in (-1_000_000, 1_000_000)})

    def test_signals_at_any_stage_of_one_rank(self):
        model = self.copy()
        cases = {}
        for which in (signal.SIGINT, signal.SIGTERM):
            for stage, rules in {"headers": "call=pread,nth=1", "load": "call=pread,least=500000,nth=4",
                                 "open": "call=open,nth=2"}.items():
                rules = f"path={model},{rules},signal={int(which)}"
                cases[f"{which.name} in {stage}"] = (
                    lambda rules=rules: self.struck(ONE, ["generate", "-m", model, *TEXT], rules), (-which, 128 + which), None)
        self.check_all(cases)


if __name__ == "__main__":
    private_shm.take()
    for number in (signal.SIGINT, signal.SIGHUP):  # ignored in the background of a shell, and then by all jobs
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    rest = [arg for arg in sys.argv[4:] if arg not in ("--allocations", str(ALLOCATIONS))]
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
