"""A real Slurm on this machine, started and stopped within seconds, to test on.

It needs root and the Debian packages `slurm-wlm slurmdbd munge mariadb-server` (installed with
`--no-install-recommends`; none of their services need to run). By hand::

    python tests/integration/slurm/cluster.py start /tmp/lab
    python tests/integration/slurm/cluster.py stop /tmp/lab

Four virtual nodes, each a `slurmd -N`: cpu1 and cpu2, and gpu1 and gpu2 with two fake GPUs each.
Slurm's job steps find their configuration at /etc/slurm alone, so it is linked there; a machine
that has a configuration of its own is refused.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ETC = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf", "slurmdbd.conf")
NODES = ("cpu1", "cpu2", "gpu1", "gpu2")
NEEDED = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "mariadb-install-db", "sacct")
# Times are those of an idle machine; one that runs other tests beside these may take longer.
PATIENCE = 3
SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def missing() -> str:
    """Why no cluster can be started here; empty where one can."""
    absent = [name for name in NEEDED if shutil.which(name, path=SEARCH) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (slurm-wlm slurmdbd munge mariadb-server)"
    if os.geteuid() != 0:
        return "Slurm's daemons start jobs as their users, which only root can"
    for name in FILES:
        file = ETC / name
        if file.exists() and not file.is_symlink():
            return f"{file} is this machine's own"
    return ""


def call(*command: str | Path, check: bool = True, timeout: float = 60) -> str:
    """What a command prints."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=PATIENCE * timeout,
        env={**os.environ, "PATH": SEARCH},
    )
    if check and done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Ask until something is so.

    Raises
    ------
    TimeoutError
        If it is not within the time, with patience.
    """
    end = time.monotonic() + PATIENCE * seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {PATIENCE * seconds:g} s")
        time.sleep(0.1)


def wait_for(*command: str | Path, seconds: float = 60) -> None:
    """Call a command until it ends well.

    Raises
    ------
    RuntimeError
        If it does not within the time, with patience: what it printed last.
    """
    end = time.monotonic() + PATIENCE * seconds
    while True:
        try:
            call(*command, timeout=5)
        except (RuntimeError, subprocess.TimeoutExpired):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits for its parent to notice its end does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def _parents() -> dict[int, int]:
    """The parent of each process of this machine."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                found[int(folder.name)] = int(stat[1])
    return found


@dataclass(frozen=True)
class Cluster:
    """A cluster whose files lie below `base`.

    Attributes
    ----------
    base : Path
        A folder with a short path (sockets lie in it).
    memory : int
        MB that each node says it has.
    """

    base: Path
    memory: int = 20_000

    def start(self) -> None:
        """Start all daemons and wait until every node is idle."""
        if reason := missing():
            raise RuntimeError(reason)
        with socket.socket() as taken:
            if taken.connect_ex(("127.0.0.1", 26817)) == 0:
                raise RuntimeError("another such cluster runs on this machine")
        for name in ("etc", "run", "log", "state", "mysql", *(f"spool/{n}" for n in NODES)):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        ETC.mkdir(exist_ok=True)
        values = {"BASE": str(self.base), "HOST": socket.gethostname().split(".")[0]}
        for name in FILES:
            text = (HERE / "templates" / name).read_text()
            for key, value in {**values, "MEMORY": str(self.memory)}.items():
                text = text.replace(f"@{key}@", value)
            file = self.base / "etc" / name
            file.write_text(text)
            file.chmod(0o600 if name == "slurmdbd.conf" else 0o644)
            (ETC / name).unlink(missing_ok=True)
            (ETC / name).symlink_to(file)
        self._start_munge()
        self._start_database()
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self.wait_idle()

    def _start_munge(self) -> None:
        key = self.base / "etc" / "munge.key"
        if not key.exists():
            key.write_bytes(os.urandom(1024))
            key.chmod(0o400)
        run, log = self.base / "run", self.base / "log"
        call(
            "munged",
            "--force",
            f"--key-file={key}",
            f"--socket={run}/munge.socket",
            f"--pid-file={run}/munged.pid",
            f"--log-file={log}/munged.log",
            f"--seed-file={run}/munged.seed",
        )
        wait_for("munge", "-S", run / "munge.socket", "-n")

    def _start_database(self) -> None:
        data, log = self.base / "mysql", self.base / "log"
        plain = ("--no-defaults", "--user=root", f"--datadir={data}")
        if not (data / "mysql").exists():
            install = ("--auth-root-authentication-method=normal", "--skip-test-db")
            call("mariadb-install-db", *plain, *install)
        client = ("--no-defaults", "-uroot", "-S", str(data / "s.sock"))
        subprocess.Popen(
            [
                shutil.which("mariadbd", path=SEARCH) or "mariadbd",
                *plain,
                "--bind-address=127.0.0.1",
                "--port=26806",
                f"--socket={data}/s.sock",
                f"--pid-file={self.base}/run/mariadbd.pid",
                "--innodb-buffer-pool-size=64M",
                "--innodb-lock-wait-timeout=900",
                f"--log-error={log}/mariadb.log",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for("mariadb-admin", *client, "ping")
        sql = "CREATE DATABASE IF NOT EXISTS slurm_acct_db;"
        for host in ("127.0.0.1", "localhost"):
            sql += f"CREATE USER IF NOT EXISTS 'slurm'@'{host}' IDENTIFIED BY 'slurm';"
            sql += f"GRANT ALL ON slurm_acct_db.* TO 'slurm'@'{host}';"
        call("mariadb", *client, "-e", sql)
        self.start_accounting()
        for what in (
            ("cluster", "lab"),
            ("account", "neurons", "Cluster=lab"),
            ("user", "root", "Account=neurons", "Cluster=lab"),
        ):
            call("sacctmgr", "-i", "add", *what, check=False)

    def start_accounting(self) -> None:
        """Start slurmdbd, which sacct asks."""
        call("slurmdbd")
        wait_for("sacctmgr", "-n", "show", "cluster")

    def start_controller(self) -> None:
        """Start slurmctld, which squeue and sbatch ask."""
        call("slurmctld")
        wait_until(lambda: "UP" in call("scontrol", "ping", check=False), "slurmctld answers")

    def start_node(self, node: str) -> None:
        """Start the daemon of one node."""
        call("slurmd", "-N", node)

    def wait_idle(self) -> None:
        """Start nodes that were lost, and wait until every one is there and has nothing to do.

        That takes a while after the controller was away: messages of ends are sent again.

        Raises
        ------
        TimeoutError
            With the states of the nodes and what is in the queue.
        """
        for node, state in self.states().items():
            if state.startswith("down"):
                self.start_node(node)
        try:
            wait_until(lambda: set(self.states().values()) == {"idle"}, "all nodes idle", 240)
        except TimeoutError as error:
            told = call("squeue", "-h", "-o", "%i %j %T %N %r", check=False)
            reasons = call("sinfo", "-h", "-R", "-N", "-o", "%N %E", check=False)
            raise TimeoutError(f"{error}: {self.states()}\n{told}{reasons}") from None

    def states(self) -> dict[str, str]:
        """The state of each node, in the words of sinfo."""
        lines = call("sinfo", "-h", "-N", "-o", "%N %T", check=False).split("\n")
        return dict(line.split() for line in lines if line)

    def kill(self, daemon: str) -> None:
        """End a daemon (`slurmctld`, `slurmdbd`, `slurmd.cpu1`) at once, as a crash would."""
        file = self.base / "run" / f"{daemon}.pid"
        pid = int(file.read_text())
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), f"{daemon} ended")
        file.unlink(missing_ok=True)

    def crash_node(self, node: str) -> None:
        """Lose a node: its daemon and everything that it runs, at once."""
        self.kill(f"slurmd.{node}")
        parents = _parents()
        doomed = {pid for pid in parents if self._keeps_step_of(node, pid)}
        while more := {pid for pid, parent in parents.items() if parent in doomed} - doomed:
            doomed |= more
        for pid in doomed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _keeps_step_of(self, node: str, pid: int) -> bool:
        """Whether a process is the keeper of a step, which has files of its node open."""
        own = (f"{self.base}/log/slurmd.{node}.log", f"{self.base}/spool/{node}/")
        try:
            if not Path(f"/proc/{pid}/comm").read_text().startswith("slurmstepd"):
                return False
            return any(os.readlink(fd).startswith(own) for fd in Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            return False

    def stop(self) -> None:
        """End every daemon that `start` started, and take the links away."""
        run = self.base / "run"
        order = (*(f"slurmd.{n}" for n in NODES), "slurmctld", "slurmdbd", "mariadbd", "munged")
        if run.exists():
            call("scancel", "-u", "root", check=False)
        for name in order:
            try:
                pid = int((run / f"{name}.pid").read_text())
                os.kill(pid, signal.SIGTERM)
            except (OSError, ValueError):
                continue
            wait_until(lambda pid=pid: not alive(pid), f"{name} ended")
        for name in FILES:
            link = ETC / name
            if link.is_symlink() and Path(os.readlink(link)).is_relative_to(self.base):
                link.unlink()


def main() -> None:
    """Start or stop a cluster by hand."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("what", choices=("start", "stop"))
    parser.add_argument("base", type=Path)
    arguments = parser.parse_args()
    cluster = Cluster(arguments.base.resolve())
    if arguments.what == "stop":
        cluster.stop()
    else:
        cluster.start()
        sys.stdout.write(call("sinfo", "-N", "-o", "%N %P %T %c %m %G"))


if __name__ == "__main__":
    main()
