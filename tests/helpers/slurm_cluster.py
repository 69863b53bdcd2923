"""A real SLURM cluster of two small nodes on this machine, for tests: started, used and stopped by them.

Daemons of Debian's packages slurm-wlm, munge, slurmdbd and mariadb-server, on ports and in a folder of their own,
without systemd and cgroups. Each node claims two CPUs and two GPUs, which are copies of /dev/null.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from helpers.command_line import processes_with

NODES = ("ltnode1", "ltnode2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmdbd", "mariadbd", "mariadb-install-db", "sbatch", "sacct")
PACKAGES = "slurm-wlm munge slurmdbd mariadb-server"

SLURM_CONF = """
ClusterName=lttest
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# cred_expire is also the pause before a requeued job may start again
AuthInfo=socket={folder}/munge.socket,cred_expire=6
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounts_port}
AccountingStoragePass={folder}/munge.socket
ReturnToService=2
MessageTimeout=60
KillWait=5
MinJobAge=600
JobRequeue=1
MaxArraySize=9
FirstJobId={first_job}
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2
# jobs of "high" push jobs of "low" out, which are signalled at once and requeued after a period of grace
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
{nodes}
PartitionName=main Nodes=ALL Default=YES State=UP MaxTime=60 PriorityTier=5 PreemptMode=OFF
PartitionName=low Nodes=ALL State=UP MaxTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
PartitionName=high Nodes=ALL State=UP MaxTime=60 PriorityTier=10 PreemptMode=OFF
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=8192 Gres=gpu:2"
SLURMDBD_CONF = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={accounts_port}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""
DATABASE = """
create database slurm_acct_db; create user slurm@'127.0.0.1' identified by 'slurm';
create user slurm@localhost identified by 'slurm'; grant all on slurm_acct_db.* to slurm@'127.0.0.1';
grant all on slurm_acct_db.* to slurm@localhost;
"""


def why_not() -> str:
    """Why a cluster cannot be had here; empty where it can."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        return f"no {', '.join(missing)}; apt-get install --no-install-recommends {PACKAGES}"
    if os.geteuid() != 0 or not os.access("/etc/hosts", os.W_OK):
        return "a cluster of one's own is started as root, with a writable /etc/hosts"
    return ""


class SlurmCluster:
    """Context: the cluster, and the environment in which its commands work.

    ``more`` are further lines of its files, which count last.
    """

    def __init__(self, more: Mapping[str, str] | None = None) -> None:
        self.more = more or {}
        self.folder = Path(tempfile.mkdtemp(prefix="lt_bench_slurm_", dir="/tmp"))  # short: sockets have short names
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": _path()}
        self.port = _free_ports(3 + len(NODES))  # of the controller; accounts, database and nodes follow
        self._hosts_line = f"127.0.0.1 {' '.join(NODES)} # {self.folder}\n"

    def __enter__(self) -> SlurmCluster:
        try:
            self._write_files()
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if "slurmctld" in self.daemons:
            jobs = self.run("squeue", "--noheader", "--format=%A").split()
            if jobs:
                self.run("scancel", *set(jobs))
                _until(lambda: not self.run("squeue", "--noheader").strip(), "the last job ends", check=False)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        hosts = Path("/etc/hosts")
        hosts.write_text(hosts.read_text().replace(self._hosts_line, ""))
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *words: str) -> str:
        """What a command of the cluster prints."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout

    def lose_power(self, name: str, job: str) -> None:
        """A node dies with the processes of a job: nobody is left to tell SLURM of it."""
        daemon = self.daemons[f"slurmd{name}"]
        daemon.kill()
        daemon.wait()
        for words in (("slurmstepd:", f"[{job}."), (f"/job{job.zfill(5)}/slurm_script",)):
            for pid in processes_with(*words):
                os.kill(pid, signal.SIGKILL)

    def start_node(self, name: str) -> None:
        """Start the daemon of a node, also of one that died."""
        self._daemon("slurmd", "-D", "-N", name)

    def accounts(self, *jobs: str) -> dict[str, str]:
        """States of jobs by id, from the accounts."""
        words = ["sacct", "-n", "-P", "-X", "-o", "JobID,State", "-j", ",".join(jobs)]
        lines = [line.split("|") for line in self.run(*words).splitlines()]
        return {job: state.split()[0] for job, state in lines}

    def _write_files(self) -> None:
        folder, host = self.folder, socket.gethostname().split(".")[0]
        folder.chmod(0o755)
        port = self.port
        names = {"folder": folder, "host": host, "port": port, "accounts_port": port + 1, "database_port": port + 2}
        names["first_job"] = int(time.time()) % 60000000 + 1
        names["nodes"] = "\n".join(
            NODE.format(name=name, host=host, port=port + 3 + number) for number, name in enumerate(NODES)
        )
        for file, text in (("slurm.conf", SLURM_CONF), ("slurmdbd.conf", SLURMDBD_CONF)):
            (folder / file).write_text(text.format(**names))
        for file, text in self.more.items():
            with (folder / file).open("a") as conf:
                conf.write(text)
        (folder / "slurmdbd.conf").chmod(0o600)
        gpus = []
        for name in NODES:
            for number in range(2):
                subprocess.run(["mknod", folder / f"{name}.gpu{number}", "c", "1", "3"], check=True)
            gpus.append(f"NodeName={name} Name=gpu File={folder}/{name}.gpu[0-1]")
        (folder / "gres.conf").write_text("\n".join(["AutoDetect=off", *gpus, ""]))
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o400)
        (folder / "state").mkdir()
        with Path("/etc/hosts").open("a") as hosts:
            hosts.write(self._hosts_line)

    def _start(self) -> None:
        folder = str(self.folder)
        self._daemon(
            "munged", "-F", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket",
            f"--log-file={folder}/munged.log", f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munge.seed",
        )  # fmt: skip
        database = ["--no-defaults", "--user=root", f"--datadir={folder}/database"]
        install = [_program("mariadb-install-db") or "", *database, "--skip-test-db"]
        subprocess.run([*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
        self._daemon(
            "mariadbd", *database, f"--socket={folder}/database.socket", "--bind-address=127.0.0.1",
            f"--port={self.port + 2}", f"--pid-file={folder}/mariadbd.pid", "--innodb-buffer-pool-size=64M",
            "--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=0",
        )  # fmt: skip
        client = ["mariadb", "--no-defaults", "-S", f"{folder}/database.socket", "-u", "root", "-e"]
        _until(lambda: self._works(*client, "select 1"), "the database starts")
        subprocess.run([*client, DATABASE], check=True)
        self._daemon("slurmdbd", "-D")
        _until(lambda: self._works("sacctmgr", "-n", "show", "cluster"), "the accounts start")
        self._daemon("slurmctld", "-D")
        _until(lambda: self._works("sinfo", "-h"), "the controller starts")
        for name in NODES:
            self.start_node(name)
        count = len(NODES)
        _until(
            lambda: self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%t").split() == ["idle"] * count, "idle nodes"
        )

    def _daemon(self, name: str, *words: str) -> None:
        log = (self.folder / f"{name}.{len(self.daemons)}.out").open("wb")
        self.daemons[f"{name}{words[-1] if name == 'slurmd' else ''}"] = subprocess.Popen(
            [_program(name) or name, *words],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()

    def _works(self, *words: str) -> bool:
        environment = {**os.environ, **self.environment}
        return subprocess.run(words, env=environment, capture_output=True, check=False).returncode == 0


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _program(name: str) -> str | None:
    return shutil.which(name, path=_path())


def _free_ports(count: int) -> int:
    """The first of some ports in a row that nobody uses; other clusters of this kind may be running."""
    start = 18200 + os.getpid() % 500 * 10
    for first in range(start, start + 5000, 10):
        try:
            for port in range(first, first + count):
                socket.create_server(("", port)).close()
        except OSError:
            continue
        return first
    raise OSError("no free ports for a cluster")


def _until(found: Callable[[], bool], what: str, seconds: float = 120, check: bool = True) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        if time.monotonic() > deadline:
            assert not check, f"waited in vain until: {what}"
            return
        time.sleep(0.2)
