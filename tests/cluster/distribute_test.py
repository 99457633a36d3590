#!/usr/bin/env python3
"""Hosts of a bed that cannot see the model: with --distribute they get their part through MPI and the tokens are those of
one host; without it they are named. Prints what it measured."""

import json
import os
import re
import shutil
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
import bed  # noqa: E402

TREE = os.path.realpath(f"{__file__}/../../..")
LAUNCHER = f"{TREE}/launch/onecopy"
SHIPPED = f"{TREE}/models/tiny-moe-q8_0.gguf"


class Distribute(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="onecopy-distribute-")
        self.addCleanup(shutil.rmtree, self.folder)
        os.mkdir(f"{self.folder}/model")
        self.model = shutil.copy(SHIPPED, f"{self.folder}/model")
        self.report = f"{self.folder}/report.json"
        self.command = ["generate", "-m", self.model, "--temp", "0", "-n", "32", "-p", "Once upon a time", "--json"]

    def launch(self, hosts, where, *options):
        return hosts.run("host1", [LAUNCHER, "--hosts", where, "--threads", "1", *self.command, *options])

    def test_hosts_without_the_model_give_the_tokens_of_one_host(self):
        size = os.path.getsize(self.model)
        with bed.Bed(hosts=3, hide=[(f"{self.folder}/model", "host2"), (f"{self.folder}/model", "host3")]) as hosts:
            alone = hosts.run("host1", [LAUNCHER, "-n", "1", *self.command])
            expected = json.loads(alone.stdout)["tokens"]
            self.assertEqual(32, len(expected))
            for where in ("host1:2,host2:2", "host1:1,host2:1,host3:1"):
                for stages in ("1", "2") if where.count(":") == 2 else ("1", "3"):
                    result = self.launch(hosts, where, "--distribute", "--pipeline", stages, "--report", self.report)
                    self.assertEqual(0, result.returncode, result.stderr)
                    self.assertEqual(expected, json.loads(result.stdout)["tokens"], where)
                    with open(self.report) as file:
                        ranks = json.load(file)["ranks"]
                    for rank in ranks:
                        self.assertEqual(rank["host"] == "host1", rank["bytes_read"] > 0, rank)
                        self.assertEqual(rank["host"] == "host1", rank["bytes_received"] == 0, rank)
                    received = sum(rank["bytes_received"] for rank in ranks)
                    others = sum(rank["host"] != "host1" for rank in ranks) / len(ranks)
                    self.assertAlmostEqual(others, received / size, delta=0.05)
                    print(f"{where}, {stages} stage(s): the others received {received} of {size} bytes", file=sys.stderr)
            self.assertEqual([], hosts.await_empty(2))

    def test_without_the_option_host_path_and_option_are_named(self):
        with bed.Bed(hosts=2, hide=[(f"{self.folder}/model", "host2")]) as hosts:
            result = self.launch(hosts, "host1:1,host2:1")
            self.assertEqual(3, result.returncode, result.stderr)
            self.assertRegex(result.stderr, rf"rank 1 \(host2\): {re.escape(self.model)} does not exist on this host; "
                                            ".* --distribute")

    def test_the_host_of_rank_0_needs_the_model_itself(self):
        with bed.Bed(hosts=2, hide=[(f"{self.folder}/model", "host1")]) as hosts:
            result = self.launch(hosts, "host1:1,host2:1", "--distribute")
            self.assertEqual(3, result.returncode, result.stderr)
            self.assertRegex(result.stderr, rf"{re.escape(self.model)} does not exist on host host1, where rank 0 runs")


if __name__ == "__main__":
    bed.run_tests()
