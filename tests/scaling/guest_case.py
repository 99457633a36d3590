"""What guest_test.py's claims stand on: a test case that boots one guest for all its claims, the reference that this
host computes, and the claims that hold on every topology.
"""

import atexit
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BINARY = f"{ROOT}/build/release/onecopy"
MIB = 1 << 20
ON_NODE = 0.999
PROMPT = ["--tokens", "1,2,3"]
GENERATE = ["generate", *PROMPT, "--temp", "0", "--ignore-eos", "--json", "-n"]
TOKENS = 16


@functools.cache
def scratch():
    path = tempfile.mkdtemp(prefix="guest_test.")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def synthetic_model(layers):
    """45 MB a layer and 17 MB more, in Q8_0: weights that outweigh everything else that a rank holds."""
    path = f"{scratch()}/{layers}-layers.gguf"
    subprocess.run([sys.executable, f"{ROOT}/tests/support/make_synthetic_moe.py", path, "--type", "Q8_0", "--layers",
                    str(layers), "--hidden", "1024", "--heads", "16", "--experts", "16", "--inter", "768", "--vocab",
                    "8192"], check=True)
    return path


@functools.cache
def host_tokens(kernels):
    """What one rank on this host, outside any guest, generates with the same kernel table as in the guest."""
    run = subprocess.run([BINARY, *GENERATE, str(TOKENS)], capture_output=True, text=True,
                         env=dict(os.environ, ONECOPY_KERNELS=kernels))
    if run.returncode != 0:
        raise AssertionError(f"the reference run on the host failed ({run.returncode}): {run.stderr}")
    return json.loads(run.stdout)["tokens"]


@functools.cache
def why_no_guest():
    """Empty: a guest can run here."""
    check = subprocess.run([f"{HERE}/numa_guest", "--check"], capture_output=True, text=True)
    if check.returncode == 0:
        return ""
    return check.stderr.strip().removeprefix("numa_guest: ")


class Step:
    """What one step of guest_probe.py showed; attributes as there."""

    def __init__(self, fields):
        self.residency = self.report = None
        vars(self).update(fields)

    def processes(self):
        return self.residency["processes"]

    def __str__(self):
        return f"step {self.name}: exit status {self.status}\n{self.stdout[-300:]}\n{self.stderr[-1500:]}"


class GuestCase(unittest.TestCase):
    name = None       # as ctest and messages call it
    topology = ()     # options of numa_guest
    in_ci = False
    limit = 1500      # seconds

    @classmethod
    def steps(cls):
        return [cls.generate("main")]

    @staticmethod
    def generate(name, *options, launch=(), model=None, before=None, watch=True, tokens=TOKENS):
        """A step: greedy tokens of the shipped model, or of `model`."""
        command = [*launch, *GENERATE, str(tokens), *options] + (["-m", model] if model else [])
        return {"name": name, "onecopy": command, "watch": watch, **({"before": before} if before else {})}

    @classmethod
    def setUpClass(cls):
        if why_no_guest():
            raise unittest.SkipTest(why_no_guest())
        plan = f"{scratch()}/{cls.name}.json"
        with open(plan, "w") as f:
            json.dump(cls.steps(), f)
        run = subprocess.run([f"{HERE}/numa_guest", *cls.topology, "--timeout", str(cls.limit), "--", "python3",
                              f"{HERE}/guest_probe.py", plan], capture_output=True, text=True, cwd=ROOT)
        cls.results = {}
        for line in run.stdout.splitlines():
            fields = json.loads(line)
            cls.results[fields["name"]] = Step(fields)
        cls.guest_error = f"the guest ended with status {run.returncode}: {run.stderr[-4000:]}"

    def step(self, name, status=0):
        self.assertIn(name, self.results, self.guest_error)
        found = self.results[name]
        self.assertEqual(found.status, status, str(found))
        return found

    def watched(self, name):
        found = self.step(name)
        self.assertTrue(found.residency and found.residency["processes"], f"no rank was seen alive: {found}")
        self.assertIsNotNone(found.report, f"no report was written: {found}")
        return found

    def measured(self, text):
        """What the claim was judged by; printed behind it."""
        self.evidence = f"{self.evidence}; {text}" if getattr(self, "evidence", "") else text

    # --- Claims about a watched step ----------------------------------------------------------------------------------

    def assert_host_tokens(self, step):
        expected = host_tokens(step.report["kernels"])
        self.assertEqual(json.loads(step.stdout)["tokens"], expected)
        self.measured(f"{len(expected)} tokens: {' '.join(map(str, expected[:6]))} ...")

    def assert_bound(self, step, nodes):
        """nodes: a list for each rank."""
        self.assertEqual([p["nodes"] for p in step.processes()], nodes, "nodes of the CPUs that ranks are pinned to")
        self.assertEqual([r["nodes"] for r in step.report["ranks"]], nodes, "nodes in the report")
        self.assertEqual([sorted(p["cpus"]) for p in step.processes()],
                         [ids(r["cpus"]) for r in step.report["ranks"]], "CPUs: the kernel's and the report's")
        self.measured(f"{len(nodes)} ranks on nodes {' '.join(','.join(map(str, n)) for n in nodes)}")

    def assert_arenas_on(self, step, nodes):
        """At least 99.9 % of each rank's arenas on its nodes, by the kernel and by the report, and no page unseen."""
        shares = []
        for process, rank, home in zip(step.processes(), step.report["ranks"], nodes, strict=True):
            who = f"rank {rank['rank']}"
            here = sum(n for node, n in process["arenas"].items() if int(node) in home)
            total = sum(process["arenas"].values())
            self.assertGreaterEqual(total, rank["weight_bytes"], f"{who}: resident by numa_maps, stated weights")
            shares.append(here / total)
            self.assertGreaterEqual(shares[-1], ON_NODE, f"{who}, home {home}, numa_maps: {process['arenas']}")
            self.assertGreaterEqual(rank["pages_on_node"], ON_NODE, f"{who}, report: {rank}")
            stated = rank["node_bytes"]
            self.assertGreaterEqual(sum(stated.values()), rank["weight_bytes"], f"{who}: node_bytes, stated weights")
            for node, count in stated.items():
                # Of all private memory: a small arena need not be told from other memory by its size.
                self.assertLessEqual(count, process["private"].get(node, 0), f"{who}: node {node}, report and kernel")
        self.measured(f"least share of a rank's arenas by numa_maps {min(shares):.3%}")

    def assert_one_copy(self, step):
        """The constants must stay small beside another copy of the model, or this could not fail."""
        ranks, report = step.report["ranks"], step.report
        seen = sum(sum(p["arenas"].values()) for p in step.processes())
        # MPI and the rounding of three arenas to 2 MiB; the buffer through which a single rank loads.
        rest = sum(r["kv_bytes"] + 6 * MIB for r in ranks) + 16 * MIB
        allowed = 1.05 * report["file_bytes"] + rest
        self.assertTrue(len(ranks) == 1 or allowed < len(ranks) * report["file_bytes"], "too small a model")
        self.assertLessEqual(sum(r["weight_bytes"] for r in ranks), 1.05 * report["file_bytes"])
        self.assertAlmostEqual(report["copies_in_memory"], 1.0, delta=0.005)
        self.assertLessEqual(seen, allowed, "arenas of all ranks by numa_maps")
        self.measured(f"arenas of all {len(ranks)} ranks {seen / 1e6:.1f} MB by numa_maps, of them weights "
                      f"{sum(r['weight_bytes'] for r in ranks) / 1e6:.1f} MB, file {report['file_bytes'] / 1e6:.1f} MB")

    def assert_windows_at_home(self, step):
        if len(step.processes()) == 1:
            return self.measured("one rank needs no window")
        for process, rank in zip(step.processes(), step.report["ranks"], strict=True):
            self.assertGreater(process["window_bytes"], 0, process)
            self.assertGreaterEqual(process["window_on_node"], 0.99, f"rank {rank['rank']}, numa_maps: {process}")
            self.assertGreaterEqual(rank["window_on_node"], 0.99, f"rank {rank['rank']}, report")
        self.measured(f"least share {min(p['window_on_node'] for p in step.processes()):.2%} of "
                      f"{step.processes()[0]['window_bytes'] / 1e3:.0f} kB that rank 0 touched of its part")

    def assert_says(self, step, *patterns):
        """What was printed holds all of these."""
        for pattern in patterns:
            self.assertRegex(step.stderr, pattern)
        line = next(line for line in step.stderr.splitlines() if re.search(patterns[-1], line))
        self.measured(f"'{line[:500]}'")


class EverywhereClaims:
    """Of the step "main" of a guest whose ranks, by default, live on `homes`."""

    homes = ()
    weighed = "main"  # the step by which one copy is judged

    def test_tokens_equal_those_of_one_rank_on_the_host(self):
        self.assert_host_tokens(self.watched("main"))

    def test_every_rank_is_bound_to_its_own_node(self):
        self.assert_bound(self.watched("main"), self.homes)

    def test_arenas_lie_on_their_ranks_nodes(self):
        self.assert_arenas_on(self.watched("main"), self.homes)

    def test_all_nodes_together_hold_one_copy(self):
        self.assert_one_copy(self.watched(self.weighed))

    def test_window_parts_lie_on_their_owners_nodes(self):
        self.assert_windows_at_home(self.watched("main"))


def ids(text):
    """"0-2,5" -> [0, 1, 2, 5]"""
    found = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
