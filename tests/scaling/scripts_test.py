#!/usr/bin/env python3
"""The parts of these scripts that measure nothing: reading numa_maps, comparing results, drawing, refusing."""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom

import residency
import svg

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE, MIB = 4096, 1 << 20


def load(name):
    """A script without a suffix, as a module."""
    loader = importlib.machinery.SourceFileLoader(name, f"{HERE}/{name}")
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


scale = load("scale")


@unittest.skipUnless(residency.PAGE == PAGE, "the captured text is of a kernel with 4 KiB pages")
class NumaMaps(unittest.TestCase):
    def setUp(self):
        with open(f"{HERE}/data/numa_maps.txt") as f:
            self.mappings = residency.parse_numa_maps(f.read())
            self.summary = residency.summary(self.mappings)

    def test_arenas_are_big_anonymous_mappings_and_pages_of_a_pool(self):
        # 512 and 2304 pages, and 3 pages of 2 MiB; not the heap, nor malloc's 26 pages, nor anything with a file.
        self.assertEqual(self.summary["arenas"], {1: (512 + 2300) * PAGE + 6 * MIB, 3: 4 * PAGE})

    def test_pages_of_a_pool_count_at_their_own_size(self):
        self.assertEqual(self.summary["pool_bytes"], 6 * MIB)

    def test_private_memory_adds_heap_stack_and_written_library_data(self):
        arenas, private = self.summary["arenas"], self.summary["private"]
        self.assertEqual(private[1] - arenas[1], (720 + 15) * PAGE)
        self.assertEqual((private[0], private[2]), ((1 + 24) * PAGE, (7 + 2) * PAGE))

    def test_windows_are_mpi_windows_and_not_libraries_or_messages(self):
        self.assertEqual(self.summary["window"], {0: 36 * PAGE, 1: 516 * PAGE, 2: 25 * PAGE, 3: 35 * PAGE})

    def test_share_counts_only_the_nodes_asked_for(self):
        self.assertEqual(residency.share({0: 1, 1: 3, 2: 4}, {1, 2}), 7 / 8)
        self.assertEqual(residency.share({}, {0}), 1.0)

    def test_id_lists_are_read_as_the_kernel_writes_them(self):
        self.assertEqual(residency.parse_ids("0-2,5,8-8\n"), {0, 1, 2, 5, 8})
        self.assertEqual(residency.parse_ids("\n"), set())


def run(ranks, speed):
    rate = {"median": speed, "min": speed, "max": speed}
    return {"ranks": ranks, "decode": dict(rate), "prefill": dict(rate), "threads": [1] * ranks, "pages_on_node": 1.0,
            "weight_bytes_by_node": {"h:0": 10}, "copies_in_memory": 1.0, "collective_seconds_per_token": None}


class Scale(unittest.TestCase):
    def append(self, change):
        """Appends to a result of this machine after `change`; (status, message, was onecopy started?)."""
        with tempfile.TemporaryDirectory() as d:
            earlier = {"hardware": scale.hardware(), "identity": {"model": "m", "file_bytes": 1, "kernels": "avx2"},
                       "settings": {"prompt": 8, "predict": 8, "repetitions": 1, "launch": ""}, "runs": [run(1, 10.0)]}
            change(earlier)
            with open(f"{d}/old.json", "w") as f:
                json.dump(earlier, f)
            bench = {"prefill": [{"tokens_per_second": run(2, 18.0)["prefill"]}],
                     "decode": [{"tokens_per_second": run(2, 18.0)["decode"]}]}
            report = {"model": "m", "file_bytes": 1, "kernels": "avx2", "copies_in_memory": 1.0, "ranks": [
                {"host": "h", "node": n, "weight_bytes": 5, "threads": 1, "pages_on_node": 1.0} for n in (0, 1)]}
            with open(f"{d}/onecopy", "w") as f:  # stands in for the launcher
                f.write(f"#!/bin/sh\ntouch {d}/started\nfor last; do :; done\necho '{json.dumps(report)}' >$last\n"
                        f"echo '{json.dumps(bench)}'\n")
            os.chmod(f"{d}/onecopy", 0o755)
            done = subprocess.run([f"{HERE}/scale", "--onecopy", f"{d}/onecopy", "--append", f"{d}/old.json", "-p", "8",
                                   "-n", "8", "-r", "1", "--ranks", "2"], capture_output=True, text=True)
            with open(f"{d}/old.json") as f:
                return done, json.load(f), os.path.exists(f"{d}/started")

    def test_a_run_on_the_same_machine_is_added(self):
        done, result, _ = self.append(lambda r: None)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([r["ranks"] for r in result["runs"]], [1, 2])
        self.assertEqual(result["runs"][1]["decode_efficiency"], 0.9)
        self.assertIn("| 2 | 1 | 18 (18 - 18) | 90% |", done.stdout)

    def test_other_hardware_is_refused_before_anything_runs(self):
        done, result, started = self.append(lambda r: r["hardware"].update(cpu="Another CPU"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("hardware: cpu was Another CPU, is ", done.stderr)
        self.assertFalse(started)
        self.assertEqual(len(result["runs"]), 1)

    def test_other_kernels_or_model_or_settings_are_refused_and_named(self):
        for change, message in (
                (lambda r: r["identity"].update(kernels="amx"), "identity: kernels was amx, is avx2"),
                (lambda r: r["identity"].update(file_bytes=2), "identity: file_bytes was 2, is 1"),
                (lambda r: r["settings"].update(prompt=512), "settings: prompt was 512, is 8")):
            done, result, _ = self.append(change)
            self.assertEqual(done.returncode, 2)
            self.assertIn(message, done.stderr)
            self.assertEqual(len(result["runs"]), 1, "the earlier result must stay as it was")

    def test_efficiency_is_against_the_fewest_ranks(self):
        runs = scale.with_efficiency([run(2, 30.0), run(6, 45.0)])
        self.assertEqual((runs[1]["decode_speedup"], runs[1]["decode_efficiency"]), (1.5, 0.5))

    def test_default_ranks_end_at_the_number_of_nodes(self):
        self.assertEqual(scale.default_ranks(3), [1, 2, 3])
        self.assertEqual(scale.default_ranks(24), [1, 2, 3, 4, 5, 6, 7, 8, 16, 24])


class CompareLlama(unittest.TestCase):
    def script(self, path, *outputs):
        """A program that prints one of the outputs each time, in turn, and notes that it ran."""
        lines = "".join(f"{i}) echo '{json.dumps(out)}';;\n" for i, out in enumerate(outputs))
        with open(path, "w") as f:
            f.write(f"#!/bin/sh\n[ \"$1\" = --version ] && echo 'onecopy 9' && exit\nn=$(cat {path}.n 2>/dev/null || echo 0)\n"
                    f"echo $((n + 1)) >{path}.n\necho {os.path.basename(path)} >>{os.path.dirname(path)}/order\n"
                    f"case $((n % {len(outputs)})) in\n{lines}esac\n")
        os.chmod(path, 0o755)

    def bench(self, prefill, decode, of_eight):
        def row(tokens, rate, **more):
            return {"tokens": tokens, "tokens_per_second": {"median": rate}, **more}
        return [{"kernels": "avx2", "prefill": [row(512, prefill)], "decode": [row(128, decode, batch=1)]},
                {"kernels": "avx2", "prefill": [], "decode": [row(32, of_eight, batch=8)]}]

    def test_medians_in_turn_and_their_ratios(self):
        with tempfile.TemporaryDirectory() as d:
            self.script(f"{d}/onecopy", *self.bench(300, 60, 90), *self.bench(100, 90, 90), *self.bench(200, 50, 90))
            theirs = [[{"n_prompt": 512, "n_gen": 0, "avg_ts": prefill, "build_commit": "abc"},
                       {"n_prompt": 0, "n_gen": 128, "avg_ts": 40, "build_commit": "abc"}] for prefill in (100, 110, 90)]
            self.script(f"{d}/llama-bench", *theirs)
            done = subprocess.run([f"{HERE}/compare_llama.py", f"{d}/m.gguf", "--llama", "none", "--onecopy", f"{d}/onecopy",
                                   "--ik", f"{d}/llama-bench -rtr 1", "--batch", "8", "--rounds", "3", "--folder", d,
                                   "--json", f"{d}/out.json"], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("| prefill 512 | 200.0 (100.0 - 300.0) | 100.0 (90.0 - 110.0) | **2.00** (0.91 - 3.00) |", done.stdout)
            self.assertIn("| decode 128 x 1 | 60.0 (50.0 - 90.0) | 40.0 (40.0 - 40.0) | **1.50** (1.25 - 2.25) |", done.stdout)
            self.assertIn("| decode 32 x 8 | 90.0 (90.0 - 90.0) |  |  |", done.stdout)  # llama-bench has no such case
            self.assertIn("build abc", done.stdout)
            with open(f"{d}/order") as f:
                self.assertEqual(f.read().split(), ["onecopy", "onecopy", "llama-bench"] * 3)
            with open(f"{d}/out.json") as f:
                self.assertEqual(json.load(f)["cases"]["prefill 512"]["ik_llama.cpp"]["ratio"], 2.0)

    def test_llama_cpp_is_built_for_what_the_cpu_has(self):
        compare = load("compare_llama.py")
        flags = {"avx2", "fma", "f16c", "amx_tile", "amx_int8"}
        for version, amx in ((12, False), (14, True)):
            arguments = compare.cmake_args(flags, version).split()
            self.assertIn("-DGGML_AVX2=ON", arguments)
            self.assertIn("-DGGML_NATIVE=OFF", arguments)
            self.assertNotIn("-DGGML_AVX512=ON", arguments)
            self.assertEqual("-DGGML_AMX_INT8=ON" in arguments, amx)
            self.assertNotIn("-DGGML_AMX_BF16=ON", arguments)

    def test_a_program_that_fails_ends_the_comparison_with_its_message(self):
        with tempfile.TemporaryDirectory() as d:
            with open(f"{d}/onecopy", "w") as f:
                f.write("#!/bin/sh\necho 'no such model' >&2\nexit 3\n")
            os.chmod(f"{d}/onecopy", 0o755)
            done = subprocess.run([f"{HERE}/compare_llama.py", f"{d}/m.gguf", "--llama", "none", "--folder", d,
                                   "--onecopy", f"{d}/onecopy"], capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn("ended with 3:\nno such model", done.stderr)


class Svg(unittest.TestCase):
    def test_charts_are_xml_with_every_value_and_escaped_text(self):
        bars = svg.bars("a < b", "s", "x", "MB", [0, 1], [("one", [1.0, 2.0]), ("two", [3.0, 4.0])], ("file", 3.5))
        lines = svg.lines("t", "s & s", "x", "y", [1, 2, 4], [("d", [1.0, 1.9, 3.4])], ("ideal", 1.0))
        for text in bars, lines:
            xml.dom.minidom.parseString(text)
        self.assertIn("a &lt; b", bars)
        self.assertEqual(bars.count('fill="#c2410c"'), 3)  # two bars and the legend's square
        self.assertIn(">3.40<", lines)

    def test_ticks_are_round_and_reach_the_top(self):
        for top in 0.7, 1.0, 23.0, 104.0, 2500.0:
            values = svg.ticks(top)
            self.assertGreaterEqual(values[-1], top)
            self.assertLessEqual(len(values), 7)
        self.assertEqual(svg.ticks(100), [0, 20, 40, 60, 80, 100])


class NumaGuest(unittest.TestCase):
    guest = load("numa_guest")

    def topology(self, *options):
        arguments = sys.argv
        try:
            sys.argv = ["numa_guest", *options, "--", "true"]
            return self.guest.arguments()
        finally:
            sys.argv = arguments

    def refused(self, *options):
        said = io.StringIO()
        with contextlib.redirect_stderr(said), self.assertRaises(SystemExit) as end:
            self.topology(*options)
        self.assertEqual(end.exception.code, 125)
        return said.getvalue()

    def test_memory_without_cpus_belongs_to_nodes_with_cpus_in_turn(self):
        a = self.topology("--cpus", "2,2,0,0", "--mem-per-node", "1G")
        self.assertEqual((a.nodes, a.sockets, a.mem), (4, 2, [1024] * 4))
        self.assertEqual([a.initiator[n] for n in range(4)], [0, 1, 0, 1])
        self.assertEqual(a.socket_of, [0, 1, 0, 1])
        self.assertEqual(self.guest.smp(a), "4,sockets=2,dies=1,cores=2,threads=1")

    def test_uneven_numbers_of_cpus_are_one_package(self):
        self.assertEqual(self.guest.smp(self.topology("--cpus", "3,1")), "4,sockets=1,dies=1,cores=4,threads=1")

    def test_impossible_topologies_are_refused_with_the_reason(self):
        self.assertIn("do not divide", self.refused("--nodes", "3", "--sockets", "2"))
        self.assertIn("must be even", self.refused("--smt", "--cpus", "3"))
        self.assertIn("names 2 values for 4 nodes", self.refused("--nodes", "4", "--cpus", "1,1"))
        self.assertIn("at least one node", self.refused("--cpus", "0"))

    def test_what_is_missing_is_named_with_its_package(self):
        said = subprocess.run([sys.executable, f"{HERE}/numa_guest", "--check"], capture_output=True, text=True,
                              env=dict(os.environ, PATH="/nonexistent"))
        # Programs of /usr/sbin are looked for in any case; QEMU is never there.
        self.assertEqual(said.returncode, 125)
        self.assertIn("qemu-system-x86", said.stderr)


if __name__ == "__main__":
    unittest.main()
