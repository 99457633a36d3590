#!/usr/bin/env python3
"""launch/mpijob.yaml against the operator's types, launch/Containerfile against the tree and Debian, launch/onecopy.service
against systemd. Neither a cluster nor a container engine takes part: what those would refuse is looked for by hand."""

import copy
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

try:
    import yaml
except ImportError:
    yaml = None

TREE = os.path.realpath(f"{__file__}/../../..")
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


def faults(schema, value, path="", definitions=None):
    """What in value is not as schema says: one text a fault. A field the schema does not name is one."""
    definitions = definitions or schema["definitions"]
    if "$ref" in schema:
        schema = definitions[schema["$ref"]]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{path}: {value!r} is not one of {schema['enum']}"]
    kind = schema["type"]
    if not isinstance(value, TYPES[kind]) or (kind == "integer" and isinstance(value, bool)):
        return [f"{path}: expected {kind}, found {value!r}"]
    found = []
    if kind == "object":
        found += [f"{path}: {name} is missing" for name in schema.get("required", []) if name not in value]
        for name, item in value.items():
            inner = schema.get("values") or schema.get("properties", {}).get(name)
            found += faults(inner, item, f"{path}.{name}", definitions) if inner else [f"{path}.{name}: no such field"]
    elif kind == "array":
        for i, item in enumerate(value):
            found += faults(schema["items"], item, f"{path}[{i}]", definitions)
    elif "minimum" in schema and value < schema["minimum"]:
        found.append(f"{path}: {value} is less than {schema['minimum']}")
    elif "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{path}: {value!r} does not match {schema['pattern']}")
    return found


@unittest.skipIf(yaml is None, "python3-yaml is not installed")
class MpiJob(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(f"{TREE}/launch/mpijob.yaml") as file:
            cls.job = yaml.safe_load(file)
        with open(f"{TREE}/tests/launch/mpijob_schema.json") as file:
            cls.schema = json.load(file)
        replicas = cls.job["spec"]["mpiReplicaSpecs"]
        cls.launcher = replicas["Launcher"]["template"]["spec"]["containers"][0]
        cls.worker_pod = replicas["Worker"]["template"]["spec"]
        cls.worker = cls.worker_pod["containers"][0]

    def test_is_an_mpijob(self):
        self.assertEqual([], faults(self.schema, self.job))

    def test_mistakes_are_found(self):
        def edited(edit):
            job = copy.deepcopy(self.job)
            edit(job["spec"])
            return "\n".join(faults(self.schema, job))

        for part, edit in [
            (".spec.slotsPerWorkers: no such field", lambda spec: spec.update(slotsPerWorkers=2)),
            (".spec.slotsPerWorker: expected integer", lambda spec: spec.update(slotsPerWorker="2")),
            (".spec.slotsPerWorker: 0 is less", lambda spec: spec.update(slotsPerWorker=0)),
            (".spec.cleanPodPolicy: no such field", lambda spec: spec.update(cleanPodPolicy="All")),  # as in v1
            ("'openmpi' is not one of", lambda spec: spec.update(mpiImplementation="openmpi")),
            (": Worker is missing", lambda spec: spec["mpiReplicaSpecs"].pop("Worker")),
            ("containers[0].resources.limits.cpu: expected string",
             lambda spec: spec["mpiReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["resources"]["limits"].update(cpu=64)),
            ("containers[0]: image is missing",
             lambda spec: spec["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0].pop("image")),
        ]:
            self.assertIn(part, edited(edit))

    def test_worker_gets_cpus_of_its_own(self):
        resources = self.worker["resources"]
        self.assertEqual(resources["requests"], resources["limits"], "else the pod is not of class Guaranteed")
        self.assertRegex(resources["limits"]["cpu"], "^[0-9]+$", "the static CPU manager gives whole CPUs only")

    def test_worker_has_shared_memory(self):
        mounts = {mount["mountPath"]: mount["name"] for mount in self.worker["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in self.worker_pod["volumes"]}
        self.assertEqual("Memory", volumes[mounts["/dev/shm"]]["emptyDir"]["medium"])
        self.assertEqual(set(mounts.values()), set(volumes))

    def test_worker_is_alone_on_its_server(self):
        rule = self.worker_pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
        labels = self.job["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["metadata"]["labels"]
        self.assertEqual(labels, rule["labelSelector"]["matchLabels"])

    def test_launcher_composes_a_job_over_all_workers(self):
        slots, workers = self.job["spec"]["slotsPerWorker"], self.job["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"]
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/hostfile", "w") as file:  # as the operator writes it
                file.writelines(f"onecopy-worker-{i}.onecopy.default.svc slots={slots}\n" for i in range(workers))
            words = [f"{folder}/hostfile" if word == "/etc/mpi/hostfile" else word for word in self.launcher["args"]]
            shown = subprocess.run([f"{TREE}/launch/onecopy", "--dry-run", *words], capture_output=True, text=True)
        self.assertEqual("", shown.stderr, "the launcher's few cores are not the workers'")
        self.assertIn(f"mpirun -n {slots * workers} ", shown.stdout)
        self.assertIn(f"ppr:{slots}:node", shown.stdout)


class Containerfile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(f"{TREE}/launch/Containerfile") as file:
            cls.text = file.read().replace("\\\n", " ")

    def test_copies_what_is_there(self):
        copied = [words.split()[:-1] for words in re.findall(r"^COPY (?!--from)(.*)$", self.text, re.MULTILINE)]
        for path in sum(copied, []):
            self.assertTrue(os.path.exists(f"{TREE}/{path}"), path)

    def test_copies_all_that_the_build_reads(self):
        with open(f"{TREE}/CMakeLists.txt") as file:
            folders = re.findall(r"add_subdirectory\((\w+)\)", file.read())
        for folder in folders + ["cmake", "launch"]:
            self.assertRegex(self.text, rf"(?m)^COPY {folder} {folder}$")

    def test_image_has_what_the_binary_links_to(self):
        binary = f"{TREE}/build/release/onecopy"
        if not os.path.exists(binary) or not shutil.which("dpkg-query"):
            self.skipTest("no binary of this tree, or no Debian")
        installed = re.search(r"install -y --no-install-recommends(.*?)&&", self.text).group(1).split()
        libraries = re.findall(r"NEEDED.*\[(.*)\]", subprocess.run(["readelf", "-d", binary], capture_output=True,
                                                                   text=True).stdout)
        self.assertGreater(len(libraries), 5)
        base = {"libc6", "libgcc-s1", "libstdc++6"}  # of every Debian, or of libopenmpi3
        for library in libraries:
            owners = subprocess.run(["dpkg-query", "-S", f"*/{library}"], capture_output=True, text=True).stdout
            names = {line.split(":")[0] for line in owners.splitlines()}
            self.assertTrue(names & (base | set(installed)), f"{library} is of {names}")


class Service(unittest.TestCase):
    PATH = f"{TREE}/launch/onecopy.service"

    def test_systemd_accepts_it(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not installed")
        with tempfile.TemporaryDirectory() as folder, open(self.PATH) as file:
            unit = f"{folder}/onecopy.service"
            with open(unit, "w") as copy_of_it:  # the program it names is to exist
                copy_of_it.write(file.read().replace("=onecopy ", f"={TREE}/launch/onecopy "))
            checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
            said = [line for line in checked.stderr.splitlines() if "onecopy.service" in line]
            self.assertEqual([], said)
            with open(unit, "a") as copy_of_it:
                copy_of_it.write("[Service]\nKillModus=mixed\n")
            checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
            self.assertIn("KillModus", checked.stderr, "systemd-analyze finds what is wrong")

    def test_launcher_accepts_its_command(self):
        with open(self.PATH) as file:
            text = file.read()
        command = re.search(r'ONECOPY_COMMAND=(.*)"', text).group(1)
        start = re.search(r"ExecStart=onecopy (.*) \$ONECOPY_COMMAND", text).group(1)
        shown = subprocess.run([f"{TREE}/launch/onecopy", *start.split(), "--dry-run", *command.split()], capture_output=True,
                               text=True)
        self.assertEqual(0, shown.returncode, shown.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
