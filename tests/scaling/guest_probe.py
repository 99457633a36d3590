#!/usr/bin/env python3
"""Inside a guest: carries out steps and prints one JSON line of what each showed. Judges nothing.

    guest_probe.py STEPS.json

STEPS: [{"name", "shell"} | {"name", "onecopy": [arguments of launch/onecopy], "watch": true, "before": shell}, ...].
A watched run is frozen (SIGSTOP) as soon as it has loaded the model and put its report down, read, and let go on; so
what is read is one moment of all ranks, however short the run.
"""

import json
import os
import signal
import subprocess
import sys
import time

import residency

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORK = "/run/guest_probe"
LOAD_LIMIT = 1200  # seconds; for an emulated guest on a busy host


def read_json(path):
    try:
        with open(path) as f:
            return json.load(f)
    except (OSError, ValueError):  # not there yet, or not yet whole
        return None


def freeze_and_read(job, report):
    limit = time.monotonic() + LOAD_LIMIT
    while job.poll() is None and time.monotonic() < limit:
        if read_json(report):
            pids = residency.pids_of("onecopy")
            try:
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)
                return residency.read_all()
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)
    return None


def run(step):
    out = {}
    report, files = f"{WORK}/report.json", [f"{WORK}/stdout", f"{WORK}/stderr"]
    if os.path.exists(report):
        os.remove(report)
    if "shell" in step:
        command = ["bash", "-c", step["shell"]]
    else:
        command = [f"{ROOT}/launch/onecopy", *step["onecopy"]]
        if step.get("watch"):
            command += ["--report", report]
        if "before" in step:
            command = ["bash", "-c", step["before"] + '\nexec "$@"', "bash", *command]
    with open(files[0], "w") as stdout, open(files[1], "w") as stderr:
        job = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        if step.get("watch"):
            out["residency"] = freeze_and_read(job, report)
        out["status"] = job.wait()
    for name, path in zip(("stdout", "stderr"), files):
        with open(path, errors="replace") as f:
            out[name] = f.read()
    out["report"] = read_json(report)
    return out


def main():
    os.makedirs(WORK, exist_ok=True)
    # Guest CPUs that wait take the host's few cores from those that work.
    os.environ.update(OMP_WAIT_POLICY="passive", OMPI_MCA_mpi_yield_when_idle="1")
    for step in read_json(sys.argv[1]):
        start = time.monotonic()
        result = run(step)
        print(json.dumps({"name": step["name"], "seconds": round(time.monotonic() - start, 2), **result}), flush=True)


if __name__ == "__main__":
    main()
