#!/usr/bin/env python3
"""onecopy on machines of many NUMA nodes, in QEMU guests: where its memory lies, what it says when it has too little.

    tests/scaling/guest_test.py                    every guest
    tests/scaling/guest_test.py --set ci           those of two and of eight nodes
    tests/scaling/guest_test.py guest_4_nodes -k cpuset
    tests/scaling/guest_test.py --list

One guest is booted for all claims of a topology. Each claim is printed with what it was judged by. Placement is read
by residency.py from the kernel, beside what onecopy reports. Exit status: 0 all hold, 1 some do not, 77 no guest can
run here (QEMU, a kernel or its modules are missing).
"""

import argparse
import json
import os
import re
import sys
import time
import traceback
import unittest

from guest_case import BINARY, EverywhereClaims, GuestCase, synthetic_model

CGROUP = "mkdir -p /sys/fs/cgroup/test; echo +cpuset +memory >/sys/fs/cgroup/cgroup.subtree_control\n"
BIG = 4  # layers of a model of 200 MB
ENTER = "echo $$ >/sys/fs/cgroup/test/cgroup.procs"
POOL = 'for n in /sys/devices/system/node/node[0-9]*; do echo %d >$n/hugepages/hugepages-2048kB/nr_hugepages; done'


def single(count):
    return [[node] for node in range(count)]


class FewNodes(EverywhereClaims):
    """On few nodes the shipped model is too small beside MPI's own memory to tell one copy from two."""

    weighed = "big"

    @classmethod
    def steps(cls):
        return [cls.generate("main"), cls.generate("big", model=synthetic_model(2), tokens=8)]


class Guest1Node(FewNodes, GuestCase):
    name, topology, homes = "guest_1_node", ["--nodes", "1"], single(1)


class Guest2Nodes(FewNodes, GuestCase):
    """The step "main" runs with NUMA balancing on, here alone."""

    name, topology, homes = "guest_2_nodes", ["--nodes", "2"], single(2)
    in_ci = True

    @classmethod
    def steps(cls):
        balancing = "echo %d >/proc/sys/kernel/numa_balancing"
        limited = f"{CGROUP}echo 160M >/sys/fs/cgroup/test/memory.max; {ENTER}"
        main, big = super().steps()
        return [
            {**main, "before": balancing % 1},
            {"name": "doctor", "onecopy": ["doctor", "--json"]},
            {"name": "balancing off", "shell": balancing % 0},
            big,
            cls.generate("no pool", "--hugepages", "2m", watch=False),
            cls.generate("pool", "--hugepages", "2m", before=POOL % 32),
            {"name": "pool off", "shell": POOL % 0},
            cls.generate("memory.max", model=synthetic_model(BIG), before=limited, watch=False),
            cls.generate("small shm", before="mount -o remount,size=9M /dev/shm", watch=False),
            cls.generate("tiny shm", before="mount -o remount,size=3M /dev/shm", watch=False),
        ]

    def test_doctor_warns_of_numa_balancing(self):
        # doctor exits with an error status where something is wrong; what else it finds in a guest is no matter here.
        self.assertIn("doctor", self.results, self.guest_error)
        findings = {f["topic"]: f for f in json.loads(self.results["doctor"].stdout)["findings"]}
        found = findings["numa_balancing"]
        self.assertEqual(found["level"], "warn")
        self.assertIn("numa_balancing", found["advice"])
        self.measured(f"{found['found']}: {found['advice']}")

    def test_pages_stay_with_numa_balancing_on(self):
        self.assert_arenas_on(self.watched("main"), self.homes)

    def test_pages_of_a_pool_lie_on_their_ranks_nodes(self):
        step = self.watched("pool")
        self.assert_arenas_on(step, self.homes)
        for process, rank in zip(step.processes(), step.report["ranks"]):
            self.assertGreaterEqual(process["pool_bytes"], rank["weight_bytes"], process)
            self.assertGreaterEqual(rank["huge_page_bytes"], rank["weight_bytes"], rank)
        self.measured(f"{step.processes()[1]['pool_bytes'] / 1e6:.1f} MB of rank 1 in pages of 2 MiB")

    def test_missing_pool_is_refused_and_says_how_to_fill_it(self):
        self.assert_says(self.step("no pool", 4), "node[ s]*[01]", "nr_hugepages")

    def test_memory_limit_of_a_control_group_is_refused_before_loading(self):
        step = self.step("memory.max", 4)
        self.assert_says(step, "memory.max|cgroup|control group", "[0-9.]+ [MG]B")

    def test_small_dev_shm_is_refused_and_says_how_to_enlarge_it(self):
        self.assert_says(self.step("small shm", 4), "/dev/shm", "remount,size=")

    def test_dev_shm_too_small_for_mpi_itself_is_refused_too(self):
        self.assert_says(self.step("tiny shm", 4), "/dev/shm", "remount,size=")


class Guest4Nodes(FewNodes, GuestCase):
    name, topology, homes = "guest_4_nodes", ["--nodes", "4", "--sockets", "2", "--mem-per-node", "256M"], single(4)

    @classmethod
    def steps(cls):
        cpuset = f"{CGROUP}for kind in cpus mems; do echo 1,3 >/sys/fs/cgroup/test/cpuset.$kind; done; {ENTER}"
        return super().steps() + [
            cls.generate("nodes 1,3", launch=["--nodes", "1,3"]),
            cls.generate("socket", launch=["--ranks-per", "socket"]),
            cls.generate("cpuset", before=cpuset)]

    def test_nodes_option_starts_ranks_on_those_nodes(self):
        step = self.watched("nodes 1,3")
        self.assert_bound(step, [[1], [3]])
        self.assert_arenas_on(step, [[1], [3]])
        self.assert_host_tokens(step)

    def test_one_rank_a_socket_uses_both_nodes_of_each(self):
        step = self.watched("socket")
        self.assert_bound(step, [[0, 1], [2, 3]])
        self.assert_arenas_on(step, [[0, 1], [2, 3]])
        self.assert_windows_at_home(step)
        self.assert_host_tokens(step)

    def test_cpuset_of_two_nodes_is_kept_to(self):
        step = self.watched("cpuset")
        self.assert_bound(step, [[1], [3]])
        self.assert_arenas_on(step, [[1], [3]])
        self.assert_host_tokens(step)


class Guest8Nodes(EverywhereClaims, GuestCase):
    name, topology, homes = "guest_8_nodes", ["--nodes", "8", "--mem-per-node", "256M"], single(8)
    in_ci = True


class Guest24Nodes(EverywhereClaims, GuestCase):
    """Not in CI: where processors are emulated, starting 24 ranks takes five minutes of the host's."""

    name, topology, homes = "guest_24_nodes", ["--nodes", "24", "--mem-per-node", "256M"], single(24)


class Guest24NodesIn2Sockets(Guest24Nodes):
    name, topology = "guest_24_nodes_in_2_sockets", [*Guest24Nodes.topology, "--sockets", "2"]


class GuestMemoryWithoutCpus(FewNodes, GuestCase):
    """Two nodes with CPUs, two with memory alone of which the firmware says nothing."""

    name, topology, homes = "guest_memory_without_cpus", ["--cpus", "1,1,0,0", "--mem-per-node", "384M"], single(2)


class GuestFastMemory(FewNodes, GuestCase):
    """The same, but the firmware states twice the bandwidth for the two: high-bandwidth memory."""

    name, homes = "guest_fast_memory", [[0], [1]]
    topology = [*GuestMemoryWithoutCpus.topology, "--hmat", "fast"]

    @classmethod
    def steps(cls):
        return super().steps() + [cls.generate("none", launch=["--memory-nodes", "none"])]

    def test_every_rank_is_bound_to_its_own_node(self):
        step = self.watched("main")
        self.assertEqual([p["nodes"] for p in step.processes()], [[0], [1]])
        self.assertEqual([r["node"] for r in step.report["ranks"]], [0, 1])

    def test_arenas_lie_on_their_ranks_nodes(self):
        """Here: in the fast memory next to them; what a rank has beside arenas stays on its node."""
        step = self.watched("main")
        self.assert_arenas_on(step, [[0, 2], [1, 3]])
        for process, rank, fast in zip(step.processes(), step.report["ranks"], "23", strict=True):
            self.assertEqual(list(rank["node_bytes"]), [fast])
            self.assertGreaterEqual(process["arenas"].get(fast, 0), rank["weight_bytes"], process["arenas"])

    def test_fast_memory_is_left_alone_on_request(self):
        self.assert_arenas_on(self.watched("none"), [[0], [1]])


class GuestSlowMemory(GuestCase):
    """Nodes of memory alone that the firmware calls slower (CXL): for what does not fit elsewhere, on request."""

    name = "guest_slow_memory"
    topology = ["--cpus", "1,1,0,0", "--mem-per-node", "256M,256M,512M,512M", "--hmat", "slow"]

    @classmethod
    def steps(cls):
        return [cls.generate("default"), cls.generate("refused", model=synthetic_model(BIG), watch=False),
                cls.generate("all", model=synthetic_model(BIG), launch=["--memory-nodes", "all"], tokens=8)]

    def test_slow_memory_is_left_alone_by_default(self):
        self.assert_arenas_on(self.watched("default"), [[0], [1]])
        self.assert_host_tokens(self.watched("default"))

    def test_what_does_not_fit_without_it_is_refused_and_it_is_offered(self):
        self.assert_says(self.step("refused", 4), "--memory-nodes")

    def test_slow_memory_takes_what_does_not_fit_elsewhere(self):
        step = self.watched("all")
        self.assert_arenas_on(step, [[0, 2], [1, 3]])
        for process, near, far in zip(step.processes(), "01", "23"):
            self.assertGreater(process["arenas"].get(near, 0), 16e6, process["arenas"])
            self.assertGreater(process["arenas"].get(far, 0), 0, process["arenas"])
            self.measured(f"rank {process['rank']}: MB by node {megabytes(process['arenas'])}")


class GuestCpusWithoutMemory(FewNodes, GuestCase):
    name, topology = "guest_cpus_without_memory", ["--cpus", "1,1,1", "--mem-per-node", "384M,384M,0"]
    homes = single(2)

    def test_their_cpus_work_for_the_nearest_node(self):
        step = self.watched("main")
        self.assertEqual([p["cpus"] for p in step.processes()], [[0, 2], [1]])
        self.assertEqual([r["threads"] for r in step.report["ranks"]], [2, 1])
        self.measured("rank 0 runs on CPUs 0 and 2, rank 1 on CPU 1")


class GuestUnevenMemory(GuestCase):
    """A model of which half does not fit onto the smaller node."""

    name, topology = "guest_uneven_memory", ["--mem-per-node", "768M,256M"]

    @classmethod
    def steps(cls):
        return [cls.generate("even", "--balance", "even", model=synthetic_model(BIG), watch=False),
                {"name": "oom", "shell": "dmesg | grep -ciE 'out of memory|oom-kill' || true"},
                cls.generate("memory", "--balance", "memory", model=synthetic_model(BIG), tokens=8),
                cls.generate("tiny", "--balance", "memory")]

    def test_node_too_small_for_its_shard_is_refused_before_loading(self):
        step = self.step("even", 4)
        self.assert_says(step, "node 1", "needs? [0-9.]+ [MG]B", "ha(s|ve) [0-9.]+ [MG]B", "fit: .*--balance memory")
        self.assertEqual(self.step("oom").stdout.strip(), "0", "the kernel killed a process for want of memory")

    def test_balance_by_memory_gives_the_bigger_node_the_bigger_shard(self):
        step = self.watched("memory")
        self.assert_arenas_on(step, single(2))
        self.assert_one_copy(step)
        bigger, smaller = (r["weight_bytes"] for r in step.report["ranks"])
        seen = [sum(p["arenas"].values()) for p in step.processes()]
        self.assertGreater(bigger, 1.5 * smaller)
        self.assertGreater(seen[0], 1.5 * seen[1], "arenas by numa_maps")
        self.measured(f"weights {bigger / 1e6:.1f} and {smaller / 1e6:.1f} MB; arenas {seen[0] / 1e6:.1f} and "
                      f"{seen[1] / 1e6:.1f} MB")

    def test_tokens_do_not_depend_on_the_balance(self):
        self.assert_host_tokens(self.watched("tiny"))


class GuestSmt(FewNodes, GuestCase):
    name, topology, homes = "guest_smt", ["--nodes", "2", "--cpus", "4", "--smt"], single(2)

    def test_a_rank_has_one_thread_a_core(self):
        step = self.watched("main")
        self.assertEqual([r["threads"] for r in step.report["ranks"]], [2, 2])
        self.assertEqual([p["cpus"] for p in step.processes()], [[0, 2], [4, 6]])
        self.measured("CPUs 0,2 and 4,6; their siblings 1,3,5,7 idle")


# --- Running them -----------------------------------------------------------------------------------------------------

CASES = [Guest1Node, Guest2Nodes, Guest4Nodes, Guest8Nodes, Guest24Nodes, Guest24NodesIn2Sockets,
         GuestMemoryWithoutCpus, GuestFastMemory, GuestSlowMemory, GuestCpusWithoutMemory, GuestUnevenMemory, GuestSmt]


def claim(test):
    return test._testMethodName.removeprefix("test_").replace("_", " ")


def megabytes(node_bytes):
    return " ".join(f"{node}:{n / 1e6:.1f}" for node, n in sorted(node_bytes.items()))


class Printer(unittest.TestResult):
    """A line a claim, as soon as it is judged."""

    def line(self, verdict, test, detail=""):
        print(f"{verdict:6} {test.name}: {claim(test)}" + (f"  [{detail}]" if detail else ""), flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.line("ok", test, getattr(test, "evidence", ""))

    def failed(self, test, error):
        if not isinstance(test, GuestCase):  # the guest, not a claim
            return print(f"FAIL   {test}\n{error[1]}", flush=True)
        frames = [f for f in traceback.extract_tb(error[2]) if "guest_" in os.path.basename(f.filename)]
        self.line("FAIL", test, getattr(test, "evidence", ""))
        kind = "" if isinstance(error[1], AssertionError) else f"{error[0].__name__}: "
        frames = " ".join(f"{os.path.basename(f.filename)}:{f.lineno}" for f in frames)
        print(f"{kind}{error[1]}\n  ({frames})", flush=True)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.failed(test, error)

    def addError(self, test, error):
        super().addError(test, error)
        self.failed(test, error)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("guests", nargs="*", metavar="GUEST", help="names as --list shows them (default: those of the set)")
    p.add_argument("--set", choices=["ci", "all"], default="all")
    p.add_argument("-k", metavar="PATTERN", default="", help="only claims that match, a regular expression")
    p.add_argument("--list", action="store_true", help="print guests and claims, run nothing")
    a = p.parse_args()
    unknown = set(a.guests) - {c.name for c in CASES}
    if unknown:
        p.error(f"no guest is called {', '.join(sorted(unknown))}; see --list")
    result, loader = Printer(), unittest.TestLoader()
    for case in (c for c in CASES if (c.name in a.guests if a.guests else a.set == "all" or c.in_ci)):
        tests = [t for t in loader.loadTestsFromTestCase(case) if re.search(a.k.replace("_", " "), claim(t))]
        if a.list:
            print(f"{case.name}  ({' '.join(case.topology)})", *("  " + claim(t) for t in tests), sep="\n")
        elif tests:
            skipped, start = len(result.skipped), time.monotonic()
            unittest.TestSuite(tests).run(result)
            if len(result.skipped) > skipped:
                print(f"SKIPPED {case.name}: {result.skipped[-1][1]}", flush=True)
            else:
                steps = ", ".join(f"{step.name} {step.seconds:.0f}" for step in case.results.values())
                print(f"       {case.name}: {time.monotonic() - start:.0f} s ({steps})", flush=True)
    if a.list:
        return 0
    broken = len(result.failures) + len(result.errors)
    print(f"{result.testsRun} claims judged, {broken} do not hold, {len(result.skipped)} guests skipped")
    return 1 if broken else 77 if result.skipped or not result.testsRun else 0


if __name__ == "__main__":
    if not os.access(BINARY, os.X_OK):
        sys.exit(f"{BINARY} is not built: launch/setup")
    sys.exit(main())
