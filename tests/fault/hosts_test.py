#!/usr/bin/env python3
"""Several hosts load one model: each reads its part, a host without the file gets it from the others, and what is
missing or differs is named. Hosts are pretended: parts of one MPI job, each in a folder of its own.

usage: hosts_test.py MPIRUN HOSTS_CHECK ONECOPY SYNTHESIZER [unittest arguments]
"""
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

MPIRUN, CHECK, ONECOPY, SYNTHESIZER = sys.argv[1:5]
MODEL = "model.gguf"


class HostsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="onecopy-hosts-")
        cls.folders = [os.path.join(cls.dir, name) for name in ("a", "b", "c")]
        for folder in cls.folders:
            os.mkdir(folder)
        # Experts of 96 groups of columns: every rank owns some of each. Large enough for many rounds of blocks.
        subprocess.run([sys.executable, SYNTHESIZER, os.path.join(cls.dir, MODEL), "--type", "Q8_0", "--layers", "3",
                        "--hidden", "512", "--heads", "8", "--head-dim", "64", "--experts", "16", "--top-k", "2",
                        "--inter", "3072", "--vocab", "2048"], check=True)
        cls.bytes = os.path.getsize(os.path.join(cls.dir, MODEL))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    def tearDown(self):
        for folder in self.folders:
            if os.path.exists(os.path.join(folder, MODEL)):
                os.remove(os.path.join(folder, MODEL))

    def give(self, *folders):
        for index in folders:
            shutil.copy(os.path.join(self.dir, MODEL), os.path.join(self.folders[index], MODEL))

    def run_check(self, ranks, per_host, *args, hosts=3):
        command = [MPIRUN, "--oversubscribe", "--bind-to", "none", "-n", str(ranks), CHECK, str(per_host), MODEL,
                   *self.folders[:hosts], *args]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120,
                              env=dict(os.environ, OMP_NUM_THREADS="2", OMP_WAIT_POLICY="passive"))

    def load(self, ranks, per_host, *args):
        """What each rank read and received, by host; every shard is what the file says."""
        result = self.run_check(ranks, per_host, *args)
        self.assertEqual(result.returncode, 0, result.stderr)
        said = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual([rank["rank"] for rank in said], list(range(ranks)))
        self.assertEqual([rank["differs"] for rank in said], [""] * ranks)
        hosts = [said[i:i + per_host] for i in range(0, ranks, per_host)]
        return [tuple(sum(rank[key] for rank in host) for key in ("read", "received")) for host in hosts]

    def test_one_host_reads_the_whole_file_once(self):
        self.give(0)
        (read, received), = self.load(3, 3)
        print(f"one host of 3 ranks: read {read} of {self.bytes} bytes")
        self.assertLessEqual(read, self.bytes)
        self.assertGreater(read, 0.98 * self.bytes)  # the rest is the header
        self.assertEqual(received, 0)

    def test_each_of_several_hosts_reads_its_part_only(self):
        self.give(0, 1, 2)
        for ranks, per_host in ((4, 2), (6, 2)):
            hosts = self.load(ranks, per_host)
            shares = [read / self.bytes for read, _ in hosts]
            print(f"{ranks} ranks, {per_host} a host: shares read " + ", ".join(f"{share:.3f}" for share in shares))
            # Two thirds of an expert are cut by rows; of the third that is cut by columns all is read, as rows are
            # short.
            for share in shares:
                self.assertAlmostEqual(share, 2 / 3 / len(hosts) + 1 / 3, delta=0.06)
            self.assertGreater(sum(shares), 0.98)
            self.assertEqual([received for _, received in hosts], [0] * len(hosts))

    def test_hosts_without_the_file_get_their_part_from_those_that_have_it(self):
        for having, ranks, per_host in (((0,), 4, 2), ((0,), 2, 1), ((0,), 6, 2), ((0, 1), 6, 2), ((0, 2), 3, 1),
                                        ((0,), 5, 3)):
            for folder in self.folders:
                shutil.rmtree(folder)
                os.mkdir(folder)
            self.give(*having)
            hosts = self.load(ranks, per_host, "--distribute")
            print(f"hosts {having} of {len(hosts)} have the file, {ranks} ranks: read and received {hosts}")
            sent = 0
            for index, (read, received) in enumerate(hosts):
                if index in having:
                    self.assertEqual(received, 0)
                else:
                    self.assertEqual(read, 0)
                    share = min(per_host, ranks - index * per_host) / ranks
                    self.assertAlmostEqual(received / self.bytes, share, delta=0.04)
                    sent += received
            # Those that have it read their own part, with whole rows, and what they sent.
            own = sum(read for index, (read, _) in enumerate(hosts) if index in having) - sent
            self.assertAlmostEqual(own / self.bytes, (2 / 3 / len(hosts) + 1 / 3) * len(having), delta=0.15)
            if len(having) > 1 and per_host > 1:
                shares = [hosts[index][0] for index in having]
                self.assertLess(max(shares), 1.6 * min(shares))  # all of them send

    def test_a_missing_file_is_named_with_the_option_that_helps(self):
        self.give(0)
        result = self.run_check(4, 2)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertRegex(result.stderr, rf"rank 2 \(\S+\): {MODEL} does not exist on this host; .*--distribute")
        self.assertEqual(result.stderr.count("does not exist"), 1)

    def test_a_file_of_another_size_is_named_even_with_distribute(self):
        self.give(0, 1)
        os.truncate(os.path.join(self.folders[1], MODEL), self.bytes - 1000)
        for args in ((), ("--distribute",)):
            result = self.run_check(4, 2, *args, hosts=2)
            self.assertEqual(result.returncode, 3, result.stderr)
            self.assertRegex(result.stderr, rf"ranks differ in the model's files: rank 0 \(\S+\): {MODEL}: "
                                            rf"{self.bytes} bytes.*rank 2 \(\S+\): {MODEL}: {self.bytes - 1000} bytes")

    def test_a_file_with_another_header_or_other_weights_is_named(self):
        self.give(0, 1)
        path = os.path.join(self.folders[1], MODEL)
        for offset in (200, self.bytes // 4096 * 4096 // 64 * 40 // 4096 * 4096 + 7):
            with open(path, "r+b") as file:
                file.seek(offset)
                byte = file.read(1)
                file.seek(offset)
                file.write(bytes([byte[0] ^ 1]))
            result = self.run_check(2, 1, hosts=2)
            self.assertEqual(result.returncode, 3, result.stderr)
            self.assertEqual(len(set(re.findall(r"digest ([0-9a-f]{16})", result.stderr))), 2, result.stderr)
            self.give(1)

    def test_a_server_whose_file_shrinks_ends_the_job_by_name(self):
        # While it loads its own part, or while it sends.
        self.give(0)
        result = self.run_check(4, 2, "--distribute", "--shrink-to", str(self.bytes // 50))
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertRegex(result.stderr, rf"reading the weights failed: rank.* \(\S+\): cannot read {MODEL} at byte \d+: "
                                        "the file became shorter")


class SameStartTest(unittest.TestCase):
    """Ranks of one job that were started differently."""

    def run_ranks(self, *commands):
        words = [MPIRUN, "--oversubscribe", "--bind-to", "none"]
        for index, command in enumerate(commands):
            words += ([":"] if index > 0 else []) + ["-n", "1", *command]
        return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)

    def test_ranks_with_other_options_are_named_with_theirs(self):
        generate = [ONECOPY, "generate", "-p", "Once", "-n", "3"]
        result = self.run_ranks(generate, generate, [*generate, "--temp", "0"])
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertRegex(result.stderr, r"ranks differ in the command line: ranks 0-1 \(\S+\): generate -p Once -n 3 ; "
                                        r"rank 2 \(\S+\): generate -p Once -n 3 --temp 0 ; start all")
        self.assertEqual(result.stderr.count("ranks differ"), 1)
        self.assertEqual(result.stdout, "")

    def test_a_rank_of_another_build_is_named(self):
        with tempfile.TemporaryDirectory(prefix="onecopy-build-") as folder:
            other = shutil.copy(ONECOPY, os.path.join(folder, "onecopy"))
            with open(other, "r+b") as file:
                note = file.read().index(struct.pack("<III", 4, 20, 3) + b"GNU\0") + 16  # NT_GNU_BUILD_ID of 20 bytes
                file.seek(note)
                first = file.read(1)[0]
                file.seek(note)
                file.write(bytes([first ^ 1]))
            arguments = ["generate", "-p", "Once", "-n", "3"]
            result = self.run_ranks([ONECOPY, *arguments], [other, *arguments])
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertRegex(result.stderr, rf"ranks differ in the build of onecopy: rank 0 \(\S+\): build id [0-9a-f]{{40}}; "
                                        rf"rank 1 \(\S+\): build id {first ^ 1:02x}[0-9a-f]{{38}}; every host needs")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]], verbosity=2)
