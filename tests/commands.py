"""The program as a user starts it, in a process of its own, but with torch and the trainer loaded before: of a second's
command these take five."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

from gloo_processes import forking

_LONGEST = 600
"""Seconds."""


def run_command(
    *arguments: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> CompletedProcess[str]:
    """`mammut-clip` with these arguments, in this test's folder and environment if no others are named. Raises
    TimeoutError after ten minutes."""
    command = ["mammut-clip", *map(str, arguments)]
    with TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        given = (command, dict(os.environ if environment is None else environment), cwd or Path.cwd(), out, err)
        process = forking().Process(target=_main, args=given)
        process.start()
        process.join(_LONGEST)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{command} ran for more than {_LONGEST} s: {err.read_text()}")
        return CompletedProcess(command, process.exitcode, out.read_text(), err.read_text())


def _main(command: list[str], environment: dict[str, str], folder: Path, out: Path, err: Path) -> None:
    os.environ.clear()
    os.environ |= environment
    os.chdir(folder)
    for file, descriptor in ((out, 1), (err, 2)):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = command
    from mammut_clip.cli import main

    main()
