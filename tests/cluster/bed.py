"""Several hosts on one machine, for tests: as many network, UTS, IPC, mount and PID namespaces as asked for.

    with Bed(hosts=2, delay="2ms", hide=[("/path/of/model.gguf", "host2")]) as bed:
        result = bed.run("host1", ["launch/onecopy", "--hosts", "host1:2,host2:2", "generate", "-p", "Once"])
        bed.cut("host2")

Hosts are called host1, host2, ... (10.99.0.1, ...); each has its own host name, /dev/shm, TMPDIR, processes and network
interface eth0, and sees the files of this machine except what is hidden from it. Open MPI in a host reaches the others
through an `ssh` of the bed's own (agent.py). Needs root; CannotRun says what is missing. Everything lives in namespaces whose first
processes die with this one, so that even SIGKILL leaves nothing but one folder, which the next bed removes.
Not thread-safe, except cut and join.
"""

import glob
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import agent
import relay

ADMIN_PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
PREFIX = "onecopy-hosts-"
TOOLS = {"ip": "iproute2", "tc": "iproute2", "unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux"}
INIT = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=1777 shm /dev/shm
mount --bind "$1/hosts" /etc/hosts
hostname "$2"
name=$1 host=$2; shift 2
while [ $# -gt 0 ]; do mount --bind "$1" "$2"; shift 2; done
ip link set lo up
: > "$name/$host.up"
# The first process of a PID namespace inherits orphans; ignoring SIGCHLD lets the kernel reap them.
exec env --ignore-signal=CHLD sleep infinity
"""


class CannotRun(Exception):
    """This machine does not allow or does not have what a bed needs; the text says what."""


def seconds(delay):
    """'50us', '2ms', '1s' or None in seconds."""
    for unit, scale in (("us", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if delay and delay.endswith(unit):
            return float(delay[:-len(unit)]) * scale
    if delay:
        raise ValueError(f"delay {delay}: expected a number with us, ms or s")
    return 0.0


def child_of(pid):
    """The only child of a process, or None."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            children = file.read().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def check_machine():
    if os.geteuid() != 0:
        raise CannotRun("hosts are namespaces, which only root may make")
    for tool, package in TOOLS.items():
        if not shutil.which(tool, path=ADMIN_PATH):
            raise CannotRun(f"{tool} is missing: apt-get install {package}")
    kinds = ["--net", "--uts", "--ipc", "--mount", "--pid", "--fork"]
    tried = subprocess.run(["unshare", *kinds, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        raise CannotRun(f"namespaces are not allowed here: {tried.stderr.strip()}")


def run_tests(also=lambda: None):
    """The tests of the main program; skipped by name (exit 77) where this machine, or `also`, cannot."""
    try:
        check_machine()
        also()
    except CannotRun as error:
        print(f"SKIPPED: {error}", file=sys.stderr)
        raise SystemExit(77) from error
    unittest.main(verbosity=2, warnings="ignore")  # of pipes that the bed closes


class Bed:
    def __init__(self, hosts=2, ranks_per_host=2, delay=None, hide=(), netem=None):
        """delay: of each frame from one host to another, so a round trip takes twice that. hide: (path, host) pairs.
        netem: whether the kernel's netem delays, or a relay in user space; by default netem where the kernel has it."""
        self.hosts = [f"host{i + 1}" for i in range(hosts)]
        self.ranks_per_host = ranks_per_host
        self.delay = seconds(delay)
        self.how = "without delay"  # how frames are delayed, for reports
        self._hide, self._netem = list(hide), netem
        self._holders, self._inits, self._jobs = {}, {}, []
        self._relay = self.agent = None
        self._cut = set()

    # --- Making and removing ------------------------------------------------------------------------------------------

    def __enter__(self):
        check_machine()
        for path, host in self._hide:
            if host not in self.hosts:
                raise ValueError(f"--hide {path}@{host}: there are {', '.join(self.hosts)}")
        self._sweep()
        self.folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends every process of the hosts, which ends the namespaces and with them interfaces and mounts."""
        for process in self._holders.values():
            process.kill()  # --kill-child: the first process of the namespace goes along, and with it all of them
        for process in list(self._holders.values()) + self._jobs:
            process.wait()
        if self._relay:
            self._relay.kill()
            self._relay.wait()
        if self.agent:
            self.agent.close()
        self._holders, self._inits, self._jobs, self._relay = {}, {}, [], None
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _sweep():
        for folder in glob.glob(os.path.join(tempfile.gettempdir(), PREFIX + "*")):
            owner = os.path.basename(folder)[len(PREFIX):].split("-")[0]
            if owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
                shutil.rmtree(folder, ignore_errors=True)

    def _make(self):
        with open(f"{self.folder}/hosts", "w") as file:
            file.write("127.0.0.1 localhost\n")
            file.writelines(f"10.99.0.{i} {host}\n" for i, host in enumerate(self.hosts, 1))
        with open(f"{self.folder}/hostfile", "w") as file:
            file.writelines(f"{host} slots={self.ranks_per_host}\n" for host in self.hosts)
        for host in self.hosts:
            os.makedirs(f"{self.folder}/tmp-{host}")
        for host in ["switch"] + self.hosts:
            self._start_namespace(host)
        os.mkdir(f"{self.folder}/bin")
        with open(f"{self.folder}/bin/ssh", "w") as file:
            file.write(f'#!/bin/sh\nexec {sys.executable} -BS {os.path.dirname(os.path.abspath(__file__))}/agent.py "$@"\n')
        os.chmod(f"{self.folder}/bin/ssh", 0o755)
        self.agent = agent.Server(f"{self.folder}/agent.socket", self._enter, self._reaches)
        if self.delay and self._netem is None:
            self._netem = self._has_netem()
        if self.delay and not self._netem:
            self._connect_by_relay()
        else:
            self._connect_by_bridge()
        for i, host in enumerate(self.hosts, 1):
            self._in_net(host, f"ip addr add 10.99.0.{i}/24 dev eth0", "ip link set eth0 up")

    def _start_namespace(self, host):
        binds = []
        for number, (path, of) in enumerate(self._hide):
            if of != host:
                continue
            empty = f"{self.folder}/hidden-{number}"
            if os.path.isdir(path):
                os.makedirs(empty)
            else:
                open(empty, "w").close()
            binds += [empty, os.path.realpath(path)]
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--uts", "--ipc", "--mount", "--pid", "--fork",
                   "--kill-child", "--mount-proc", "sh", "-c", INIT, "init", self.folder, host, *binds]
        holder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  env={**os.environ, "PATH": ADMIN_PATH}, start_new_session=True)
        self._holders[host] = holder
        deadline = time.monotonic() + 10
        while not os.path.exists(f"{self.folder}/{host}.up"):
            if holder.poll() is not None or time.monotonic() > deadline:
                holder.kill()
                raise CannotRun(f"a namespace for {host} could not be made: {holder.stderr.read().decode().strip()}")
            time.sleep(0.005)
        self._inits[host] = child_of(holder.pid)

    # --- The network --------------------------------------------------------------------------------------------------

    def _in_net(self, host, *commands):
        """Runs commands in the network of a host (or the switch), as this machine's root."""
        for command in commands:
            subprocess.run(["nsenter", "--target", str(self._inits[host]), "--net", *shlex.split(command)], check=True,
                           env={**os.environ, "PATH": ADMIN_PATH}, stdout=subprocess.DEVNULL)

    def _has_netem(self):
        tried = subprocess.run(["nsenter", "--target", str(self._inits["switch"]), "--net", "tc", "qdisc", "add", "dev",
                                "lo", "root", "netem", "delay", "1us"], env={**os.environ, "PATH": ADMIN_PATH},
                               capture_output=True)
        return tried.returncode == 0

    def _connect_by_bridge(self):
        self._in_net("switch", "ip link add switch type bridge", "ip link set switch up")
        for i, host in enumerate(self.hosts, 1):
            self._in_net("switch", f"ip link add port{i} type veth peer name eth0 netns {self._inits[host]}",
                         f"ip link set port{i} master switch up")
            if self.delay:
                self._in_net("switch", f"tc qdisc add dev port{i} root netem delay {self.delay * 1e6:g}us limit 100000")
        if self.delay:
            self.how = f"netem, {self.delay * 1e6:g} us at the switch's port to the receiver"

    def _connect_by_relay(self):
        """The switch is a program that holds each frame back: where the kernel lacks netem."""
        self._relay = relay.start([self._inits[host] for host in self.hosts], self.delay)
        self.how = f"a relay in user space, {self.delay * 1e6:g} us a frame; this kernel has no netem"

    def cut(self, host):
        """Frames from and to a host are lost from now on, as if its switch had lost power: its interface stays up and no
        connection is reset, so only time-outs can tell. To be called while a job runs."""
        self._connected(host, False)

    def join(self, host):
        """Undoes cut."""
        self._connected(host, True)

    def _connected(self, host, connected):
        number = self.hosts.index(host) + 1
        if self._relay:
            relay.tell(self._relay, f"{'join' if connected else 'cut'} {number}")
        else:
            self._in_net("switch", f"ip link set port{number} {'master switch' if connected else 'nomaster'}")
        (self._cut.discard if connected else self._cut.add)(host)

    def _reaches(self, source, host):
        return source == host or not self._cut & {source, host}

    def _enter(self, source, host, words, streams):
        """Starts what one host asks of another through the agent: a process, or a text that says why not."""
        if host not in self.hosts:
            return f"{host}: no such host"
        if not self._reaches(source, host):
            time.sleep(2)
            return f"{host}: no route to host"
        bare = {"HOME": os.environ.get("HOME", "/"), "PATH": self._path(), "USER": "root", "LOGNAME": "root",
                "TMPDIR": f"{self.folder}/tmp-{host}", "BED_HOST": host, "BED_AGENT": self.agent.path}
        return subprocess.Popen(self._words(host, ["sh", "-c", "cd; " + " ".join(words)]), env=bare, stdin=streams[0],
                                stdout=streams[1], stderr=streams[2], start_new_session=True)

    # --- Commands on hosts --------------------------------------------------------------------------------------------

    def environment(self, host):
        """Of commands on a host: this process's own, with an ssh that leads to the other hosts."""
        return {**os.environ, "TMPDIR": f"{self.folder}/tmp-{host}", "PATH": self._path(),
                "OMPI_MCA_orte_default_hostfile": f"{self.folder}/hostfile", "OMPI_ALLOW_RUN_AS_ROOT": "1",
                "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "BED_HOST": host, "BED_AGENT": self.agent.path}

    def _path(self):
        return f"{self.folder}/bin:" + os.environ.get("PATH", "/usr/bin:/bin")

    def _words(self, host, command):
        # Entering a mount namespace leads to its root folder: back to where we are.
        return ["nsenter", "--target", str(self._inits[host]), "--net", "--uts", "--ipc", "--mount", "--pid", "sh", "-c",
                'cd "$0" && exec "$@"', os.getcwd(), *command]

    def start(self, host, command, **options):
        """subprocess.Popen of a command on a host. The process is nsenter, which waits for the command's own: send
        signals with signal(); its exit code is the command's."""
        options.setdefault("env", self.environment(host))
        job = subprocess.Popen(self._words(host, command), **options)
        self._jobs.append(job)
        return job

    def run(self, host, command, timeout=120, **options):
        """subprocess.run of a command on a host, with its output as text; subprocess.TimeoutExpired is a failure."""
        options.setdefault("env", self.environment(host))
        return subprocess.run(self._words(host, command), timeout=timeout, capture_output=True, text=True, **options)

    @staticmethod
    def signal(job, number):
        """Sends a signal to the command of start()."""
        pid = child_of(job.pid)
        if pid and job.poll() is None:
            os.kill(pid, number)

    def processes(self, host):
        """(pid, command line) of every process on a host but its first: what a job has left behind, or still runs."""
        namespace = os.stat(f"/proc/{self._inits[host]}/ns/pid").st_ino
        found = []
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and int(entry) != self._inits[host] and \
                        os.stat(f"/proc/{entry}/ns/pid").st_ino == namespace:
                    with open(f"/proc/{entry}/cmdline", "rb") as file:
                        words = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
                    if words:  # a zombie has none
                        found.append((int(entry), words))
            except OSError:
                pass  # it ended while we looked
        return found

    def files(self, host):
        """What lies in a host's /dev/shm and TMPDIR."""
        places = [f"/proc/{self._inits[host]}/root/dev/shm", f"{self.folder}/tmp-{host}"]
        return [os.path.join(place, name) for place in places for name in sorted(os.listdir(place))]

    def await_empty(self, limit):
        """What processes and files are on the hosts, [] as soon as there are none; watchers look once a second."""
        deadline = time.monotonic() + limit
        while True:
            found = [entry for host in self.hosts for entry in self.processes(host) + self.files(host)]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.1)
