"""A Slurm with accounting: MariaDB and slurmdbd beside it, so that sacct answers."""

import subprocess

from cluster import SlurmCluster, missing_programs
from cluster_files import this_host, this_user

PROGRAMS = ("mariadbd", "mariadb", "mariadb-install-db", "slurmdbd", "sacct", "sacctmgr")
PASSWORD = "throwaway"
ACCOUNT = "lab"


def missing_accounting() -> list[str]:
    return missing_programs(PROGRAMS)


class AccountedCluster(SlurmCluster):
    """Like SlurmCluster; takes some seconds more to start."""

    def __init__(self) -> None:
        super().__init__()
        self._slurmdbd_port, self._database_port = self.reserve_ports(2)

    def kill_accounting(self) -> None:
        """sacct fails at once; jobs do not notice."""
        self._daemons.pop("slurmdbd").kill()

    def start_slurmdbd(self) -> None:
        """Returns when it answers."""
        self._daemon("slurmdbd", "slurmdbd", "-D")
        self.wait_for("slurmdbd", lambda: self._answers("sacctmgr", "-n", "show", "cluster"))

    def _accounting(self) -> list[str]:
        # Clients of slurmdbd do not read AuthInfo; munge's socket is told them as a password.
        return [
            "AccountingStorageType=accounting_storage/slurmdbd",
            "AccountingStorageHost=127.0.0.1",
            f"AccountingStoragePort={self._slurmdbd_port}",
            f"AccountingStoragePass={self.folder / 'munge.sock'}",
            f"AccountingStorageUser={this_user()}",
            "AccountingStorageTRES=gres/gpu",
        ]

    def _start_accounting(self) -> None:
        self._start_database()
        settings = [
            f"DbdHost={this_host()}",  # what `hostname -s` says, or slurmdbd refuses
            "DbdAddr=127.0.0.1",
            f"DbdPort={self._slurmdbd_port}",
            f"SlurmUser={this_user()}",
            "AuthType=auth/munge",
            f"AuthInfo=socket={self.folder / 'munge.sock'}",
            f"LogFile={self.folder / 'slurmdbd.log'}",
            f"PidFile={self.folder / 'slurmdbd.pid'}",
            "StorageType=accounting_storage/mysql",
            "StorageHost=127.0.0.1",
            f"StoragePort={self._database_port}",
            "StorageUser=slurm",
            f"StoragePass={PASSWORD}",
            "StorageLoc=slurm_acct",
        ]
        file = self.folder / "slurmdbd.conf"
        file.write_text("\n".join(settings) + "\n")
        file.chmod(0o600)
        self.start_slurmdbd()
        for what in (
            ("cluster", "throwaway"),
            ("account", ACCOUNT),
            ("user", this_user(), f"account={ACCOUNT}", "adminlevel=admin"),
        ):
            self.ask("sacctmgr", "-i", "add", *what)

    def _start_database(self) -> None:
        data, user = self.folder / "database", this_user()
        install = ["mariadb-install-db", "--no-defaults", f"--user={user}", f"--datadir={data}"]
        install += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(install, check=True, capture_output=True)
        sock = self.folder / "database.sock"
        self._daemon(
            "mariadbd",
            "mariadbd",
            "--no-defaults",
            f"--user={user}",
            f"--datadir={data}",
            f"--socket={sock}",
            f"--pid-file={self.folder / 'database.pid'}",
            "--bind-address=127.0.0.1",
            f"--port={self._database_port}",
            "--innodb-buffer-pool-size=128M",
            "--innodb-lock-wait-timeout=900",
            "--innodb-flush-log-at-trx-commit=0",
            "--skip-name-resolve",
        )
        client = ["mariadb", "--no-defaults", "-uroot", "-S", str(sock), "-e"]
        self.wait_for("the database", lambda: self._answers(*client, "select 1"))
        make = (
            "create database slurm_acct; "
            f"create user slurm@'127.0.0.1' identified by '{PASSWORD}'; "
            "grant all on slurm_acct.* to slurm@'127.0.0.1';"
        )
        subprocess.run([*client, make], check=True, capture_output=True)

    def _answers(self, *command: str) -> bool:
        return subprocess.run(command, capture_output=True, env=self.environment).returncode == 0
