"""A Slurm whose nodes have networks of their own: eth0, by the name n1, and ib0, by the name n1i, as at JSC.

Each node is a set of namespaces (network, host name, mounts) with an interface on each of two bridges and no way out.
Needs root. The namespaces end with their processes; the bridges are removed by `stop`.
"""

import os
import subprocess
from pathlib import Path

from cluster import NODES, SlurmCluster, find_program, missing_programs
from cluster_files import Addresses, NodeAddress, this_host

ETHERNET, INFINIBAND = "10.99", "10.98"
_NODE = """
read go                                       # until the interfaces are there
hostname {node}
mount --bind {hosts} /etc/hosts
exec {slurmd} -D -N {node} < /dev/null
"""


def why_no_network() -> str | None:
    """Why nodes cannot have networks of their own here; None where they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = missing_programs(("ip", "unshare", "nsenter"))
    if missing:
        return f"{', '.join(missing)} not found; apt-get install --no-install-recommends iproute2 util-linux"
    links = "ip link add mce type bridge && ip link add eth0 type veth peer name mce1"
    tried = subprocess.run(["unshare", "-n", "-m", "-u", "sh", "-c", links], capture_output=True, text=True)
    return None if tried.returncode == 0 else f"namespaces or bridges do not work here: {tried.stderr.strip()}"


def _ip(*arguments: str, inside: int | None = None) -> bool:
    """Whether the command succeeded, in the network namespace of a process or in ours."""
    entered = [] if inside is None else ["nsenter", "-t", str(inside), "-n"]
    return subprocess.run([*entered, "ip", *arguments], capture_output=True).returncode == 0


class NetworkedCluster(SlurmCluster):
    """Like SlurmCluster. A power cut also unplugs the node, so that its peers hear nothing, as they would."""

    def __init__(self) -> None:
        super().__init__()
        # The name of the bridge is the lock: several of these run side by side.
        self._number = next(number for number in range(1, 255) if _ip("link", "add", f"mce{number}", "type", "bridge"))
        for prefix, network in (("mce", ETHERNET), ("mci", INFINIBAND)):
            bridge = f"{prefix}{self._number}"
            _ip("link", "add", bridge, "type", "bridge")
            assert _ip("addr", "add", f"{network}.{self._number}.254/24", "dev", bridge)
            assert _ip("link", "set", bridge, "up")

    def stop(self) -> None:
        super().stop()
        for prefix in ("mci", "mce"):  # the lock last
            _ip("link", "del", f"{prefix}{self._number}")

    def address(self, node: str, network: str = ETHERNET) -> str:
        return f"{network}.{self._number}.{1 + NODES.index(node)}"

    def power_cut(self, node: str) -> None:
        for plug in self._plugs(node):
            _ip("link", "set", plug, "down")
        super().power_cut(node)

    def bytes_sent(self, node: str) -> dict[str, int]:
        """Of each of its interfaces, since the node began."""
        return {name: int(fields[9]) for name, fields in self._interfaces(node).items()}

    def connections(self, node: str) -> set[tuple[str, str, int]]:
        """Established TCP connections of a node: its own address, the other's, and the other's port."""
        tables = Path(f"/proc/{self._daemons[node].pid}/net").glob("tcp*")  # tcp6 is not there without IPv6
        fields = [line.split() for table in tables for line in table.read_text().splitlines()[1:]]
        return {(_address(own), _address(other), _port(other)) for _, own, other, state, *_ in fields if state == "01"}

    def _addresses(self) -> Addresses:
        controller, port = self.reserve_ports(2)
        nodes = tuple(NodeAddress(name, name, self.address(name), port) for name in NODES)
        own = f"{ETHERNET}.{self._number}.254"
        hosts = ["127.0.0.1 localhost", f"{own} {this_host()}"]
        for name in NODES:
            hosts += [f"{self.address(name)} {name}", f"{self.address(name, INFINIBAND)} {name}i"]
        (self.folder / "hosts").write_text("\n".join(hosts) + "\n")
        return Addresses(own, controller, nodes)

    def _start_node(self, node: str) -> None:
        script = _NODE.format(node=node, hosts=self.folder / "hosts", slurmd=find_program("slurmd"))
        daemon = self._daemon(node, "unshare", "-n", "-m", "-u", "sh", "-c", script)
        own, theirs = (Path(f"/proc/{process}/ns/net") for process in ("self", daemon.pid))
        self.wait_for(f"{node}'s namespace", lambda: theirs.readlink() != own.readlink())
        self._plug_in(node, daemon.pid)
        assert daemon.stdin is not None
        daemon.stdin.write(b"go\n")
        daemon.stdin.close()

    def _plug_in(self, node: str, pid: int) -> None:
        assert _ip("link", "set", "lo", "up", inside=pid)
        networks = ((ETHERNET, "mce", "eth0"), (INFINIBAND, "mci", "ib0"))
        for plug, (network, prefix, interface) in zip(self._plugs(node), networks, strict=True):
            _ip("link", "del", plug)  # where the node was cut off a moment ago
            peer = ("peer", "name", interface, "netns", str(pid))
            assert _ip("link", "add", plug, "type", "veth", *peer), f"no link to {node}"
            assert _ip("link", "set", plug, "master", f"{prefix}{self._number}", "up")
            assert _ip("addr", "add", f"{self.address(node, network)}/24", "dev", interface, inside=pid)
            assert _ip("link", "set", interface, "up", inside=pid)

    def _plugs(self, node: str) -> tuple[str, str]:
        """The bridges' ends of its interfaces."""
        return f"mce{self._number}{node}", f"mci{self._number}{node}"

    def _interfaces(self, node: str) -> dict[str, list[str]]:
        """Fields of /proc/net/dev by interface, its name being the first."""
        lines = Path(f"/proc/{self._daemons[node].pid}/net/dev").read_text().splitlines()[2:]
        fields = [line.replace(":", " ").split() for line in lines]
        return {line[0]: line for line in fields}


def _address(field: str) -> str:
    """Of `0100007F:1F90`, which the kernel writes with the last byte first; IPv6 ends in the IPv4 address it maps."""
    digits = field.split(":")[0][-8:]
    return ".".join(str(byte) for byte in reversed(bytes.fromhex(digits)))


def _port(field: str) -> int:
    return int(field.split(":")[1], 16)
