"""A SLURM of one node, started as root for a test: own key, sockets, ports and folders; only what it started is stopped.

Its configuration has to lie at ``/etc/slurm/slurm.conf``, since the executor removes ``SLURM_CONF`` from the
environment of its jobs. What lay there is set aside before and put back after.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

CONFIGURATION = Path("/etc/slurm/slurm.conf")
GRES = Path("/etc/slurm/gres.conf")
SET_ASIDE = ".before-mosaicbench-test"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
NODE_TIMEOUT_SECONDS = 20
"""How long the node daemon may be silent before the controller declares the node down (SLURM's default is 300)."""

WAIT_SECONDS = 1800
"""How long to wait for what a job does: a machine with other work may be slow."""

PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def reason_to_skip() -> str | None:
    """Why no SLURM can be started here, or ``None`` if one can."""
    if os.environ.get("MOSAICBENCH_TEST_SLURM") != "1":
        return "starts a SLURM on this machine: run by make test-slurm (MOSAICBENCH_TEST_SLURM=1)"
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        return f"no {missing[0]} here: apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "SLURM's daemons are started as root"
    for process in Path("/proc").glob("[0-9]*/comm"):
        name = program_of(int(process.parent.name))
        if name in ("slurmctld", "slurmd"):
            return f"a {name} runs on this machine already (process {process.parent.name})"
    return None


def program_of(process: int) -> str | None:
    """Name of the program that a process runs; ``None`` if there is no such process or it has ended."""
    try:
        name, rest = Path(f"/proc/{process}/stat").read_text().split("(", 1)[1].rsplit(")", 1)
    except (OSError, IndexError, ValueError):
        return None
    return None if rest.split()[0] in "ZX" else name


def free_ports(number: int) -> list[int]:
    """So many ports that nobody listens on."""
    held = [socket.socket() for _ in range(number)]
    try:
        for one in held:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


class Cluster:
    """One node with all cores of this machine, one partition, one GPU in name (``/dev/null``), no accounting."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"mosaicbench{os.getpid()}"
        self.cores = os.cpu_count() or 1
        self.memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20 * 9 // 10
        self.host = socket.gethostname().split(".")[0]
        self._set_aside: list[tuple[Path, bool]] = []

    # ---- Start and stop --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Write the configuration and start all three daemons; return when the node is idle."""
        for name in ("state", "spool", "munge"):
            (self.folder / name).mkdir(parents=True, mode=0o755)
        key = self.folder / "munge" / "munge.key"
        key.touch(mode=0o400)
        key.write_bytes(secrets.token_bytes(1024))
        self._write_configuration()
        munge = self.folder / "munge"
        self._call(
            "munged", "--force", f"--key-file={key}", f"--socket={munge / 'socket'}", f"--pid-file={munge / 'pid'}",
            f"--log-file={munge / 'log'}", f"--seed-file={munge / 'seed'}",
        )  # fmt: skip
        self.start_controller()
        self.start_node()
        self.wait_for_node("idle")

    def stop(self) -> None:
        """Cancel this cluster's jobs, end its daemons by their pid files, and put the old configuration back."""
        try:
            if self._pid("slurmctld") and self._pid("slurmd"):
                subprocess.run(["scancel", "--user=root"], capture_output=True, timeout=30, check=False)
                self._wait(lambda: not self.jobs(), 15, complain=False)
        finally:
            self._end("slurmd")
            self._wait(lambda: not self._kill_work(), 20, complain=False)
            self._end("slurmctld")
            self._end("munge/pid")
            for file, existed in self._set_aside:
                file.unlink(missing_ok=True)
                if existed:
                    os.replace(f"{file}{SET_ASIDE}", file)

    def start_controller(self) -> None:
        """Start slurmctld; what it knew before is in its state folder."""
        self._call("slurmctld", "-L", str(self.folder / "slurmctld.log"))
        self._wait(lambda: self._quiet("scontrol", "ping") == 0, 30)

    def start_node(self) -> None:
        """Start slurmd."""
        self._call("slurmd", "-L", str(self.folder / "slurmd.log"))

    def kill_controller(self) -> None:
        """SIGKILL to slurmctld."""
        self._end("slurmctld", signal.SIGKILL)

    def kill_node_daemon(self) -> None:
        """SIGKILL to slurmd; its jobs go on."""
        self._end("slurmd", signal.SIGKILL)

    def kill_node(self) -> None:
        """SIGKILL to slurmd, the steps that it supervises and all processes of jobs: what a power failure ends."""
        self.kill_node_daemon()
        self._wait(lambda: not self._kill_work(), 20)

    # ---- Look ------------------------------------------------------------------------------------------------

    def jobs(self, state: str = "all") -> list[dict[str, str]]:
        """The jobs that the controller knows and that are in `state`: id, state, comment (rule and wildcards)."""
        states = "PENDING,CONFIGURING,RUNNING,COMPLETING" if state == "all" else state
        done = subprocess.run(
            ["squeue", "--noheader", f"--states={states}", "--format=%i|%T|%k"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return [dict(zip(("id", "state", "comment"), line.split("|"))) for line in done.stdout.splitlines()]

    def wait_for_job(self, text: str, alive: Callable[[], bool]) -> dict[str, str]:
        """A running job whose comment has `text` in it, waited for as long as what submits jobs is alive."""
        found: list[dict[str, str]] = []

        def look() -> bool:
            assert alive(), f"Snakemake ended before a job of {text} ran"
            found[:] = [job for job in self.jobs("RUNNING") if text in job["comment"]]
            return bool(found)

        self._wait(look, WAIT_SECONDS)
        return found[0]

    def wait_for_no_job(self) -> None:
        """Return when no job waits, runs or is being ended."""
        self._wait(lambda: not self.jobs(), 60)

    def requests(self) -> dict[str, dict[str, str]]:
        """Job id -> what it asked of SLURM, as scontrol says it."""
        done = subprocess.run(
            ["scontrol", "--oneliner", "show", "job"], capture_output=True, text=True, timeout=60, check=True
        )
        jobs = [dict(item.split("=", 1) for item in line.split() if "=" in item) for line in done.stdout.splitlines()]
        return {job["JobId"]: job for job in jobs if "JobId" in job}

    def wait_for_node(self, state: str, seconds: float = WAIT_SECONDS) -> None:
        """Return when the node is in `state` (idle, mixed, allocated, down)."""

        def look() -> bool:
            done = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, timeout=60, check=False)
            return done.stdout.strip().rstrip("*") in state.split("|")

        self._wait(look, seconds)

    # ---- Inside ----------------------------------------------------------------------------------------------

    def _write_configuration(self) -> None:
        controller, node = free_ports(2)
        folder = self.folder
        text = f"""# Written by MosaicBench's tests; removed when they end.
ClusterName={self.name}
SlurmctldHost={self.host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=1000
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
MpiDefault=none
PlugStackConfig={folder}/plugstack.conf
ReturnToService=2
SlurmdTimeout={NODE_TIMEOUT_SECONDS}
MessageTimeout=5
KillWait=5
MinJobAge=7200
SchedulerParameters=sched_interval=5
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={self.host} NodeAddr=127.0.0.1 CPUs={self.cores} RealMemory={self.memory_mb} Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
        (folder / "plugstack.conf").touch()
        CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
        for file, content in ((CONFIGURATION, text), (GRES, f"NodeName={self.host} Name=gpu File=/dev/null\n")):
            existed = file.exists()
            if existed:
                os.replace(file, f"{file}{SET_ASIDE}")
            self._set_aside.append((file, existed))
            file.write_text(content)

    def _call(self, *command: str) -> None:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env={**os.environ, "PATH": PATH}, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"

    @staticmethod
    def _quiet(*command: str) -> int:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode

    def _pid(self, name: str) -> int | None:
        """The process of a daemon of ours, if it lives: its pid file, checked against what the process is."""
        file = self.folder / (name if "/" in name else f"{name}.pid")
        try:
            pid = int(file.read_text())
        except (OSError, ValueError):
            return None
        return pid if program_of(pid) == ("munged" if "/" in name else name) else None

    def _end(self, name: str, how: int = signal.SIGTERM) -> None:
        pid = self._pid(name)
        if pid is None:
            return
        os.kill(pid, how)
        if not self._wait(lambda: self._pid(name) is None, 20, complain=False):
            os.kill(pid, signal.SIGKILL)

    def _kill_work(self) -> int:
        """SIGKILL to the steps and jobs of this cluster; how many there were."""
        found = [process for process in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_work(process)]
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return len(found)

    def _is_work(self, process: int) -> bool:
        """Whether a process is a step of this cluster (it writes to our log) or runs in one of its jobs."""
        name = program_of(process)
        try:
            if name == "slurmstepd":
                files = [os.readlink(file) for file in Path(f"/proc/{process}/fd").iterdir()]
                return str(self.folder / "slurmd.log") in files
            environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        except OSError:
            return False
        return name is not None and f"SLURM_CLUSTER_NAME={self.name}".encode() in environment

    @staticmethod
    def _wait(condition, seconds: float, complain: bool = True) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                assert not complain, f"not within {seconds} s"
                return False
            time.sleep(0.2)
        return True


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A SLURM that is this session's own."""
    if reason := reason_to_skip():
        pytest.skip(reason)
    one = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        one.start()
        yield one
    finally:
        one.stop()
