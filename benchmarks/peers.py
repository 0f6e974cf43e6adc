"""The peers' environment, .venv-peers: open_clip_train and clip_benchmark beside the old packages that they need.

open_clip_train 3.3.0 dies with webdataset 1.x ("KeyError: 'fname'"), and clip_benchmark 1.6.2 with NumPy 2.4 ("only
0-dimensional arrays can be converted to Python scalars"), which our own environment has. PyTorch is of our own
version on both sides, so that a ratio compares programs and not kernels.
"""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.machine import PACKAGES, ROOT

FOLDER = ROOT / ".venv-peers"


class PeersMissingError(RuntimeError):
    """The peers' environment cannot be made or is not one."""


def requirements() -> list[str]:
    """For pip: the peers, and our versions of what both sides share."""
    shared = [f"{package}=={version(package)}" for package in ("torch", "torchvision", "timm", "pillow")]
    peers = ["open_clip_torch==3.3.0", "clip-benchmark==1.6.2", "webdataset==0.2.86", "requests", "pandas", "numpy<2.4"]
    return [*shared, *peers]


def peers_python(given: Path | None) -> Path:
    """The interpreter that has the peers; made on the first call (about 6 GB), reused while requirements stay.

    Raises PeersMissingError where pip fails, or where the interpreter given does not exist.
    """
    if given is not None:
        if not given.is_file():
            raise PeersMissingError(f"--peers-python {given}: no such file")
        return given
    python, stamp = FOLDER / "bin" / "python", FOLDER / ".installed"
    wanted = "\n".join(requirements()) + "\n"
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    print("Installing the peers into .venv-peers (about 6 GB, once) ...", file=sys.stderr, flush=True)
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements()]
    done = subprocess.run(install, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        raise PeersMissingError("pip could not install the peers:\n" + "\n".join(errors[-8:]))
    stamp.write_text(wanted)
    return python


def peer_versions(python: Path) -> dict[str, str]:
    """Of python and of PACKAGES in the peers' environment."""
    code = (
        "import json, platform, sys; from importlib.metadata import distributions; "
        "names = {d.name.lower().replace('-', '_'): d.version for d in reversed(list(distributions()))}; "
        "found = {p: names[p] for p in sys.argv[1:] if p in names}; "
        "print(json.dumps({'python': platform.python_version(), **found}))"
    )
    done = subprocess.run([str(python), "-c", code, *PACKAGES], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found
