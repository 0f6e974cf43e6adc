"""What a rank can see of its node without PyTorch: interfaces, connections, folders."""

import fcntl
import os
import shutil
import socket
import struct
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from mammut_clip.slurm.doctor.reports import FolderReport

_SIOCGIFADDR = 0x8915
_ESTABLISHED = "01"
_SIGHT_SECONDS = 30.0
"""How long a file of another node's is looked for; NFS may hold back what is new for some seconds."""


def interfaces() -> dict[str, str]:
    """Interface -> its IPv4 address, of those that have one."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asked, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            found[name] = socket.inet_ntoa(answer[20:24])
    return found


def connections_by_interface(addresses: dict[str, str], meeting_port: int) -> dict[str, int]:
    """Interface -> TCP connections over it that this process holds to others, but for those to where all meet."""
    by_address = {address: name for name, address in addresses.items()}
    own = _own_sockets()
    counts: Counter[str] = Counter()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _ESTABLISHED and fields[9] in own:
                (local, port), (remote, remote_port) = _address(fields[1]), _address(fields[2])
                if not remote.startswith("127.") and meeting_port not in (port, remote_port):
                    counts[by_address.get(local, local)] += 1
    return dict(counts)


def _own_sockets() -> set[str]:
    """Inodes of this process's sockets."""
    found = set()
    for entry in os.scandir("/proc/self/fd"):
        try:
            target = str(Path(entry.path).readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def _address(text: str) -> tuple[str, int]:
    """Address and port in /proc/net/tcp's `0100007F:1F90`, IPv4 inside IPv6 too; other IPv6 ones as they stand."""
    address, _, port = text.partition(":")
    if len(address) == 32 and not address.startswith("0000000000000000FFFF0000"):
        return address, int(port, 16)
    return socket.inet_ntoa(bytes.fromhex(address[-8:])[::-1]), int(port, 16)


def look_at_folder(path: str) -> FolderReport:
    """Whether files can be written there, and how much space is left."""
    report = FolderReport(path=path)
    trial = Path(path) / f".mammut-clip-doctor-{socket.gethostname()}-{os.getpid()}"
    try:
        trial.write_bytes(b"x")
        trial.unlink()
        report.free_gb = shutil.disk_usage(path).free / 1e9
    except OSError as error:
        report.error = f"{error.strerror or error}"
    return report


def leave_mark(path: str, job: str, node: str) -> None:
    """Write this node's file, which the others look for; look_at_folder says why where that fails."""
    try:
        mark_file(path, job, node).write_text(node)
    except OSError:
        return


def find_marks(report: FolderReport, job: str, nodes: Collection[str]) -> None:
    """Wait until the files of all nodes can be read here, and note how long that took."""
    if report.error is not None:
        return
    began, missing = time.monotonic(), set(nodes)
    while missing and time.monotonic() - began < _SIGHT_SECONDS:
        for node in sorted(missing):
            try:
                if mark_file(report.path, job, node).read_text() == node:
                    missing.discard(node)
                    report.seen_after = time.monotonic() - began
            except OSError:
                continue
        if missing:
            time.sleep(0.02)
    report.unseen = sorted(missing)


def mark_file(path: str, job: str, node: str) -> Path:
    return Path(path) / f".mammut-clip-doctor-{job}-{node}"
