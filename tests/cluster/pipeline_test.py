#!/usr/bin/env python3
"""How two hosts share the layers follows the link: with 50 us between them both work on every layer, with 2 ms each has
layers of its own; both ways are measured, and the one that onecopy chooses by itself is the faster one. Prints what it
measured.

The model is of the shape that makes the difference: few layers, each of them large (four experts, all of them used)."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
import bed  # noqa: E402

TREE = os.path.realpath(f"{__file__}/../../..")
LAUNCHER = f"{TREE}/launch/onecopy"
# Some 50 MB a layer, which a core reads in 4 ms.
SHAPE = ["--type", "Q8_0", "--layers", "4", "--hidden", "2048", "--inter", "2048", "--experts", "4", "--top-k", "4",
         "--vocab", "2048"]
ATTEMPTS = 3


class Pipeline(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="onecopy-pipeline-")
        cls.model = f"{cls.folder}/model.gguf"
        subprocess.run([sys.executable, "-B", f"{TREE}/tests/support/make_synthetic_moe.py", cls.model, *SHAPE], check=True,
                       stdout=subprocess.DEVNULL)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def bench(self, hosts, *options):
        """Tokens a second, and the number of stages that onecopy says it chose."""
        # One thread a host, not pinned: the hosts of this test share a machine, and each would take its first CPU.
        result = hosts.run("host1", [LAUNCHER, "--hosts", "host1:1,host2:1", "--threads", "1", "--bind", "none", "bench",
                                     "-m", self.model, "-p", "16", "-n", "16", "-r", "3", "--json", *options])
        self.assertEqual(0, result.returncode, result.stderr)
        decode = json.loads(result.stdout)["decode"][0]["tokens_per_second"]["median"]
        said = re.search(r"2 hosts: (a pipeline of 2 stages|all hosts share every layer): .*", result.stderr)
        return decode, said

    def compare(self, delay):
        """(stages chosen, tokens a second by number of stages, what onecopy said) with this delay between the hosts."""
        with bed.Bed(hosts=2, delay=delay) as hosts:
            rates = {stages: self.bench(hosts, "--pipeline", str(stages))[0] for stages in (1, 2)}
            rate, said = self.bench(hosts)
            self.assertIsNotNone(said, "onecopy says what it chose, and why")
            print(f"{delay} ({hosts.how}): sharing every layer {rates[1]:.1f}, two stages {rates[2]:.1f} tokens/s; "
                  f"by itself {rate:.1f}: {said[0]}", file=sys.stderr)
            return 2 if "pipeline" in said[1] else 1, rates, said[0]

    def test_the_choice_follows_the_link_and_is_the_faster_one(self):
        for delay, expected in (("50us", 1), ("2ms", 2)):
            # What else the machine does may slow any one measurement down; a wrong choice is wrong every time.
            for _ in range(ATTEMPTS):
                chosen, rates, said = self.compare(delay)
                # Within the spread of a machine of two cores, of which the delays and other programs take a part. At 2 ms
                # the wrong choice has 0.4 of the right one's rate.
                right = chosen == expected and rates[chosen] > 0.7 * max(rates.values())
                if right:
                    break
            self.assertTrue(right, f"{delay}: measured {rates}; {said}")

    def test_link_can_be_given(self):
        with bed.Bed(hosts=2) as hosts:
            for link, stages in (("1us,100GB/s", 1), ("50ms,1GB/s", 2)):
                _, said = self.bench(hosts, "--link", link)
                self.assertEqual(stages, 2 if "pipeline" in said[1] else 1, said[0])


if __name__ == "__main__":
    bed.run_tests()
