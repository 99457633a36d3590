"""Packages of PyPI and npm that tests need and nobody has to install: fetched once into the build's folder. Where that cannot be,
without a network above all, SkipTest says which is missing."""

import fcntl
import os
import shutil
import subprocess
import unittest

TREE = os.path.realpath(f"{__file__}/../../..")
FOLDER = os.environ.get("ONECOPY_TEST_CLIENTS", f"{TREE}/build/clients")


def run(*command, timeout=240, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)


class _Alone:
    """One test at a time fetches into a folder."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.file = open(f"{folder}/fetch.lock", "w")

    def __enter__(self):
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()


def python(*names, folder=FOLDER):
    """The Python of an environment that has these packages."""
    with _Alone(folder):
        if run("python3", "-m", "venv", folder).returncode != 0:
            raise unittest.SkipTest("python3-venv is not here")
        done = run(f"{folder}/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", *names)
        if done.returncode != 0:
            raise unittest.SkipTest(f"{', '.join(names)} cannot be fetched: " + done.stderr.strip().splitlines()[-1])
    return f"{folder}/bin/python3"


def node(name):
    """The folder in which Node finds the package."""
    if not shutil.which("npm"):
        raise unittest.SkipTest("npm is not here")
    folder = f"{FOLDER}/node"
    with _Alone(folder):
        if run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefer-offline", name, cwd=folder).returncode != 0:
            raise unittest.SkipTest(f"{name} cannot be fetched by npm")
    return folder
