"""A real Slurm over the hosts of a bed: slurmctld and munged on host1, a slurmd on every host. For tests; needs root.

    with bed.Bed(hosts=2) as hosts, Slurm(hosts) as slurm:
        slurm.run(["sbatch", "--wait", "job.sh"])

Nothing of an installed configuration is used, and no service; all ends with the bed. Accounting is a text file.
"""

import os
import shutil
import socket
import subprocess
import time

import bed

PROGRAMS = {"slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "sbatch": "slurm-wlm", "munged": "munge"}
CONFIGURATION = """\
ClusterName=test
SlurmctldHost=host1(10.99.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
TmpFS={folder}/tmp-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs
JobAcctGatherType=jobacct_gather/none
ProctrackType=proctrack/linuxproc
TaskPlugin={task_plugin}
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1
ReturnToService=2
MpiDefault=none
KillWait={kill_wait}
OverTimeLimit=0
SlurmdTimeout=10
MessageTimeout=10
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def check_machine():
    for program, package in PROGRAMS.items():
        if not shutil.which(program, path=bed.ADMIN_PATH):
            raise bed.CannotRun(f"{program} is missing: launch/setup --tests, or apt-get install {package}")


class Slurm:
    def __init__(self, hosts, cpus=None, kill_wait=5, task_plugin="task/affinity"):
        """cpus: of each host, by default those of this machine."""
        self.bed, self.cpus, self.kill_wait, self.task_plugin = hosts, cpus or os.cpu_count(), kill_wait, task_plugin

    def __enter__(self):
        check_machine()
        self.folder = f"{self.bed.folder}/slurm"
        os.makedirs(f"{self.folder}/state")
        claims = f"CPUs={self.cpus} RealMemory=512 State=UNKNOWN"
        nodes = [f"NodeName={host} NodeAddr=10.99.0.{i} {claims}" for i, host in enumerate(self.bed.hosts, 1)]
        with open(f"{self.folder}/slurm.conf", "w") as file:
            file.write(CONFIGURATION.format(folder=self.folder, nodes="\n".join(nodes), kill_wait=self.kill_wait,
                                            task_plugin=self.task_plugin))
        with open(os.open(f"{self.folder}/munge.key", os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
            file.write(os.urandom(1024))
        for host in self.bed.hosts:
            os.makedirs(f"{self.folder}/spool-{host}")
            os.makedirs(f"{self.folder}/tmp-{host}")  # PMIx keeps a folder of each step there
        f = self.folder
        # Unix sockets are found by path, so all hosts may ask one munged.
        self._daemon("munged", "host1", ["--foreground", "--force", f"--key-file={f}/munge.key", f"--socket={f}/munge.socket",
                                         f"--pid-file={f}/munged.pid", f"--log-file={f}/munged.log",
                                         f"--seed-file={f}/munged.seed"])
        self._await(lambda: os.path.exists(f"{f}/munge.socket"), 10, "munged")
        self._daemon("slurmctld", "host1", ["-D"])
        for host in self.bed.hosts:
            self._daemon("slurmd", host, ["-D", "-N", host])
        self._await(lambda: self.states() == {host: "idle" for host in self.bed.hosts}, 40, "slurmd on every host")
        return self

    def __exit__(self, *_):
        pass  # the bed ends all processes and removes the folder

    def environment(self, host="host1"):
        # Open MPI finds Slurm's srun; the bed's ssh is not to help.
        variables = self.bed.environment(host)
        variables = {name: value for name, value in variables.items() if not name.startswith("OMPI_MCA_")}
        return {**variables, "SLURM_CONF": f"{self.folder}/slurm.conf", "PATH": bed.ADMIN_PATH}

    def _daemon(self, name, host, options):
        log = open(f"{self.folder}/{name}-{host}.out", "w")
        # munged refuses sockets that others may reach through a folder that is not root's alone to write: it is.
        self.bed.start(host, [shutil.which(name, path=bed.ADMIN_PATH), *options], env=self.environment(host),
                       stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _await(self, condition, limit, what):
        deadline = time.monotonic() + limit
        while not condition():
            if time.monotonic() > deadline:
                logs = subprocess.run(f"tail -n 5 {self.folder}/*.log {self.folder}/*.out", shell=True,
                                      capture_output=True, text=True).stdout
                raise bed.CannotRun(f"{what} did not come up in {limit} s\n{logs}")
            time.sleep(0.1)

    def run(self, command, timeout=120, **options):
        options.setdefault("env", self.environment())
        return self.bed.run("host1", command, timeout=timeout, **options)

    def states(self):
        lines = self.run(["sinfo", "-h", "-N", "-o", "%N %T"]).stdout.split("\n")
        return dict(line.split() for line in lines if line.strip())

    def job(self, number):
        """What Slurm says of a job: {"JobState": "FAILED", "ExitCode": "5:0", ...}."""
        text = self.run(["scontrol", "-o", "show", "job", str(number)]).stdout
        return dict(word.split("=", 1) for word in text.split() if "=" in word)

    def await_state(self, number, states, limit=60):
        """The job once its state is one of those."""
        deadline = time.monotonic() + limit
        while True:
            job = self.job(number)
            if job.get("JobState") in states:
                return job
            if time.monotonic() > deadline:
                raise AssertionError(f"job {number} is {job.get('JobState')}, not one of {states}, after {limit} s")
            time.sleep(0.1)

    def ranks(self):
        """Processes of onecopy on all hosts."""
        return [entry for host in self.bed.hosts for entry in self.bed.processes(host)
                if entry[1].split()[0].endswith("release/onecopy")]
