"""A Slurm whose nodes can be made to fail at starting jobs, and which takes small arrays only."""

from pathlib import Path

from cluster import SlurmCluster


class PickyCluster(SlurmCluster):
    """Its nodes run a prolog before each job, which fails on those named in `broken`, one a line; then Slurm drains the
    node and holds the job. An array has 4 elements at most."""

    @property
    def broken(self) -> Path:
        return self.folder / "broken"

    def start(self) -> None:
        self.broken.touch()
        prolog = self.folder / "prolog"
        prolog.write_text(f'#!/bin/sh\n! grep -qx "$SLURMD_NODENAME" {self.broken}\n')
        prolog.chmod(0o755)
        super().start()

    def mend(self) -> None:
        """All nodes start jobs again; returns when they are idle."""
        self.broken.write_text("")
        self.ask("scontrol", "update", "NodeName=n[1-4]", "State=resume")
        self.wait_for("the nodes", lambda: len(self.idle_nodes()) == 4)

    def _accounting(self) -> list[str]:
        return [*super()._accounting(), f"Prolog={self.folder / 'prolog'}", "MaxArraySize=4"]
