"""A /dev/shm of a test's own, which makes "nothing is left there" exact beside other programs."""
import os
import shutil
import subprocess
import sys

PRIVATE = "ONECOPY_FAULT_PRIVATE_SHM"


def may_mount():
    """Whether a mount namespace can be had, for file systems of a test's own."""
    command = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "shm", "/dev/shm"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


def take():
    """Starts this program again in one, once. Where that is not allowed (not root), all that is new there counts."""
    if PRIVATE not in os.environ:
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                   'mount -t tmpfs shm /dev/shm && exec "$@"', "sh", sys.executable, *sys.argv]
        if may_mount():
            os.execvpe(command[0], command, dict(os.environ, **{PRIVATE: "1"}))
        print("no private /dev/shm here: what other programs put there meanwhile will be taken for left behind")
