"""A /dev/shm of a test's own, which makes "nothing is left there" exact beside other programs."""
import os
import shutil
import subprocess
import sys

PRIVATE = "ONECOPY_FAULT_PRIVATE_SHM"


def take():
    """Starts this program again in one, once. Where that is not allowed (not root), all that is new there counts."""
    if PRIVATE not in os.environ:
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                   'mount -t tmpfs shm /dev/shm && exec "$@"', "sh", sys.executable, *sys.argv]
        probe = subprocess.run([*command[:6], "mount -t tmpfs shm /dev/shm", "sh"], capture_output=True, check=False) \
            if shutil.which("unshare") else None
        if probe is not None and probe.returncode == 0:
            os.execvpe(command[0], command, dict(os.environ, **{PRIVATE: "1"}))
        print("no private /dev/shm here: what other programs put there meanwhile will be taken for left behind")
