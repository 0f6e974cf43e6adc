"""Last words: stacks of all threads, and the message that a process ends with.

No signal is taken for this: a running process is looked into from outside with `py-spy dump --pid PID`. What may wait
for a file system that hangs, or for a lock that the hanging thread holds, is given a few seconds and then left alone.
"""

import faulthandler
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_STDERR = 2
"""The descriptor itself: the stream's lock may be held by the thread that hangs."""
_PATIENCE_SECONDS = 5.0


def write_stacks(headline: str, log: Path | None) -> None:
    """The headline and the Python stacks of all threads, on standard error and at the end of `log`."""

    def to_stderr() -> None:
        _say(headline)
        faulthandler.dump_traceback(_STDERR, all_threads=True)

    def to_log(path: Path) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{headline}\n")
            file.flush()
            faulthandler.dump_traceback(file, all_threads=True)

    within_patience(to_stderr)
    if log is not None:
        within_patience(lambda: to_log(log))


def end_process(message: str) -> None:
    """End this process now, with exit code 1 and `message` as the last thing on standard error."""
    within_patience(_flush)
    within_patience(lambda: _say(f"error: {message}"))
    os._exit(1)


def within_patience(work: Callable[[], object]) -> None:
    """Do the work, or what can be done of it in a few seconds; its errors are told on standard error."""

    def guarded() -> None:
        try:
            work()
        except Exception as error:
            _say(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=guarded, name="watch-dump", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no more threads are allowed
        guarded()
    else:
        thread.join(_PATIENCE_SECONDS)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or its reader is gone
            stream.flush()


def _say(line: str) -> None:
    with suppress(OSError):
        os.write(_STDERR, f"{line}\n".encode(errors="backslashreplace"))
