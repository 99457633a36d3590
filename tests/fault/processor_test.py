#!/usr/bin/env python3
"""A processor without AVX, in an emulated guest: doctor says so, and the reference kernels give a text, while the guest's clock
is set to another century. Exits with 77 where no guest can run.

usage: processor_test.py SOURCE_DIR
"""
import os
import subprocess
import sys

SOURCE = os.path.abspath(sys.argv[1])
GUEST = os.path.join(SOURCE, "tests/scaling/numa_guest")
TEXT = ["generate", "-p", "Once", "-n", "4", "--temp", "0"]
SCRIPT = r"""
launch/onecopy doctor || exit 10
(for year in 1990 2090 1970; do sleep 1; date -s "$year-01-02" >/dev/null; done) &
launch/onecopy generate -p Once -n 4 --temp 0 || exit 11
wait
echo "it is $(date +%Y)"
"""


def demand(what, text, output):
    if text not in output:
        sys.exit(f"{what}: expected '{text}', found:\n{output}")


def main():
    if subprocess.run([GUEST, "--check"], check=False).returncode != 0:
        return 77
    here = subprocess.run([os.path.join(SOURCE, "build/release/onecopy"), *TEXT], capture_output=True, text=True, check=True,
                          env=dict(os.environ, ONECOPY_KERNELS="ref"))
    guest = subprocess.run([GUEST, "--nodes", "1", "--mem-per-node", "1G", "--cpu", "qemu64", "--timeout", "280", "--",
                            "bash", "-c", SCRIPT], cwd=SOURCE, capture_output=True, text=True, check=False)
    said = guest.stdout + guest.stderr
    if guest.returncode != 0:
        sys.exit(f"the guest ended with {guest.returncode}:\n{said}")
    demand("doctor", "this CPU lacks AVX2, FMA, F16C", guest.stdout)
    demand("doctor", "ref: right on any CPU, and slow", guest.stdout)
    demand("generate", here.stdout, guest.stdout)
    demand("the clock", "it is 1970", guest.stdout)
    print(f"without AVX: {here.stdout!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
