#!/usr/bin/env python3
"""cmake --install, and what is installed at work: install_test.py BUILD_FOLDER. Nothing of the tree is used but to install and
to compare with."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

TREE = os.path.realpath(f"{__file__}/../../..")
BUILD = os.path.join(TREE, "build/release")
PROMPT = "Once upon a time"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("ONECOPY_", "OMP", "SLURM_"))}


def run(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, env=ENVIRONMENT, **options)
    assert done.returncode == 0, f"{' '.join(words)}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="onecopy-install-")
        cls.prefix = f"{cls.folder}/a prefix"
        cls.installed = run("cmake", "--install", BUILD, "--prefix", cls.prefix, "--strip")
        cls.onecopy = f"{cls.prefix}/bin/onecopy"
        # Nothing of the user's: the folder of the work is elsewhere, too.
        ENVIRONMENT["PATH"] = f"{cls.prefix}/bin:{os.environ['PATH']}"
        tokens = json.loads(run("onecopy", "-n", "1", "tokenize", "-p", PROMPT, "--json", cwd="/").stdout)["tokens"]
        cls.words = ["generate", "--tokens", ",".join(map(str, tokens)), "-n", "24", "--temp", "0", "--json"]
        cls.tokens = json.loads(run(f"{BUILD}/onecopy", *cls.words).stdout)["tokens"]

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def test_says_what_it_is(self):
        text = run("onecopy", "--version", cwd="/").stdout
        self.assertRegex(text, r"\Aonecopy \d+\.\d+\.\d+ \([0-9a-z.-]+( of [0-9-]+)?\)\n")
        self.assertRegex(text, r"\nMPI: +Open MPI v\d")
        self.assertRegex(text, r"\nkernels: amx, avx512, avx2, ref; here: \w+\n")
        if os.path.exists(f"{TREE}/.git") and shutil.which("git"):
            commit = re.search(r"\((?:.*-g)?([0-9a-f]{12})(-dirty)?\)", text)
            self.assertTrue(commit, text)
            run("git", "-c", "safe.directory=*", "-C", TREE, "cat-file", "-e", commit[1])

    def test_knows_its_commit_also_in_an_archive(self):
        if not os.path.exists(f"{TREE}/.git") or not shutil.which("git"):
            self.skipTest("not a git tree")

        def commit(folder):
            out = f"{folder}/commit.cc"
            run("cmake", f"-DSOURCE={folder}", f"-DOUT={out}", "-P", f"{folder}/cmake/commit.cmake")
            with open(out) as file:
                return re.search(r'"([^"]*)";', file.read())[1]

        git = ["git", "-c", "safe.directory=*", "-C", TREE]
        archive = f"{self.folder}/archive"
        os.mkdir(archive)
        run("sh", "-c", f"{shlex.join(git)} archive HEAD cmake | tar x -C '{archive}'")
        head = run(*git, "rev-parse", "HEAD").stdout.strip()
        found = re.fullmatch(r"([0-9a-f]{7,}) of \d{4}-\d\d-\d\d", commit(archive))
        self.assertTrue(found and head.startswith(found[1]))
        # Copied, in somebody else's repository: that one's commit would be wrong.
        copied = f"{self.folder}/copied"
        shutil.copytree(f"{TREE}/cmake", f"{copied}/cmake")
        run("git", "init", "-q", self.folder)
        self.assertEqual("unknown", commit(copied))

    def test_generates_over_ranks_with_the_model_that_ships(self):
        for ranks in ("1", "2"):
            found = run("onecopy", "-n", ranks, "--threads", "1", *self.words, cwd="/")
            self.assertEqual(self.tokens, json.loads(found.stdout)["tokens"], f"{ranks} ranks")

    def test_knows_nothing_of_the_tree(self):
        for name in ("onecopy", "onecopy-jinja"):
            path = f"{self.prefix}/lib/onecopy/{name}"
            if os.path.exists(path):
                with open(path, "rb") as file:
                    self.assertNotIn(f"{TREE}/models".encode(), file.read(), name)
        plan = run("onecopy", "plan", "--machine", "2x-epyc-9655-24-nodes", "--json", cwd="/")
        self.assertTrue(json.loads(plan.stdout)["fits"])

    def test_doctor_and_chat_templates(self):
        self.assertIn("kernels", json.loads(run("onecopy", "doctor", "--no-measure", "--json", cwd="/").stdout))
        if not os.path.exists(f"{self.prefix}/lib/onecopy/onecopy-jinja"):
            self.skipTest("built without chat templates")
        with open(f"{self.folder}/chat.json", "w") as file:
            json.dump({"messages": [{"role": "user", "content": "Hello"}]}, file)
        self.assertIn("<|im_start|>user\nHello<|im_end|>", run("onecopy", "template", "-f", f"{self.folder}/chat.json").stdout)

    def test_submits_and_starts_on_other_hosts_from_its_place(self):
        job = shlex.split(run("onecopy", "submit", "--dry-run", "--nodes", "2", "bench", cwd="/").stdout)
        script, tree = job[job.index("--tree") - 1], job[job.index("--tree") + 1]
        self.assertTrue(os.path.exists(script), script)
        self.assertTrue(os.access(f"{tree}/launch/onecopy", os.X_OK), tree)
        self.assertTrue(os.access(f"{self.prefix}/lib/onecopy/launch/host_daemon", os.X_OK))

    def await_ready(self, url):
        """The address is told before the model is loaded."""
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=60):
                    return
            except urllib.error.HTTPError as e:
                self.assertEqual(e.code, 503)
            time.sleep(0.1)
        self.fail("the server does not become ready")

    def test_serves(self):
        with open(f"{self.folder}/serve.log", "w+") as log:
            server = subprocess.Popen(["onecopy", "-n", "2", "--threads", "1", "serve", "--port", "0"], stderr=log, env=ENVIRONMENT)
            try:
                url = None
                for _ in range(600):
                    log.seek(0)
                    found = re.search(r"http://[0-9.:]+", log.read())
                    if found:
                        url = found[0]
                        break
                    self.assertIsNone(server.poll())
                    try:
                        server.wait(0.1)
                    except subprocess.TimeoutExpired:
                        pass
                self.assertIsNotNone(url)
                self.await_ready(url)
                request = urllib.request.Request(f"{url}/v1/completions", headers={"Content-Type": "application/json"},
                                                 data=json.dumps({"prompt": PROMPT, "max_tokens": 8, "temperature": 0}).encode())
                with urllib.request.urlopen(request, timeout=60) as response:
                    self.assertTrue(json.load(response)["choices"][0]["text"])
                with urllib.request.urlopen(f"{url}/", timeout=60) as response:
                    self.assertIn(b"<html", response.read())
            finally:
                server.terminate()
                self.assertEqual(0, server.wait(60))

    def test_manual(self):
        if not shutil.which("man") or not shutil.which("groff"):
            self.skipTest("man-db or groff is not installed")
        shown = run("man", "--warnings", "-l", f"{self.prefix}/share/man/man1/onecopy.1.gz")
        self.assertEqual("", shown.stderr)
        page = re.sub(r"\s+|.\x08", " ", shown.stdout)
        for word in ("--hugepages", "bench-collectives", "--api-key-file"):
            self.assertIn(word, page)

    def test_a_program_builds_against_it_and_gives_the_same_tokens(self):
        build = f"{self.folder}/build"
        source = f"{self.prefix}/share/doc/onecopy/examples/generate"
        run("cmake", "-G", "Ninja", "-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}", "-DCMAKE_BUILD_TYPE=Release")
        run("cmake", "--build", build)
        model = f"{self.prefix}/share/onecopy/models/tiny-moe-q8_0.gguf"
        root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
        mpirun = ["mpirun", "-n", "2", "--map-by", "slot:OVERSUBSCRIBE", "--bind-to", "none", "-x", "ONECOPY_BIND=numa",
                  "-x", "ONECOPY_THREADS=1", "-x", "OMP_WAIT_POLICY=passive", *root]
        for before in ([], mpirun):
            found = run(*before, f"{build}/generate", model, PROMPT, "24", cwd="/")
            self.assertEqual(self.tokens, [int(word) for word in found.stderr.strip().splitlines()[-1].split()])
            self.assertTrue(found.stdout.startswith(PROMPT))
        wrong = subprocess.run([f"{build}/generate", "/nonexistent.gguf", PROMPT, "4"], capture_output=True, text=True, timeout=60)
        self.assertEqual(3, wrong.returncode, wrong.stderr)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        BUILD = sys.argv.pop(1)
    unittest.main(verbosity=2)
