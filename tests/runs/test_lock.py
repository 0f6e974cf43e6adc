import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mammut_clip.runs import lock
from mammut_clip.runs.lock import RunIsLockedError, hold, is_held

HOLDER = """
import sys, time
from pathlib import Path
from mammut_clip.runs.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_holder_is_refused_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock"
    assert not is_held(path)
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert is_held(path)
        with pytest.raises(RunIsLockedError, match="another process"), hold(path):
            pass
        holder.kill()
        holder.wait()
    assert not is_held(path)
    with hold(path):
        pass


def test_two_that_look_at_the_same_instant_do_not_see_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    path.touch()
    real, seen = lock._try, []

    def both_look(*arguments: Any) -> bool:
        taken = real(*arguments)
        if not seen:
            seen.append(None)
            seen.append(is_held(path))
        return taken

    monkeypatch.setattr(lock, "_try", both_look)
    assert is_held(path) is False
    assert seen == [None, False]


def test_one_that_is_stopped_while_it_looks_is_no_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Suspended, or on a machine with much to do: for as long as 10 s of a clock that the test turns."""
    path, looks, go_on = tmp_path / "lock", threading.Event(), threading.Event()
    path.touch()
    real, now = lock._try, [0.0]

    def held_up(*arguments: Any) -> bool:
        taken = real(*arguments)
        if threading.current_thread() is looking:
            looks.set()
            go_on.wait(300)
        return taken

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] > 10:
            go_on.set()
            looking.join()

    looking = threading.Thread(target=is_held, args=(path,))
    monkeypatch.setattr(lock, "_try", held_up)
    monkeypatch.setattr(lock, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: now[0]))
    looking.start()
    assert looks.wait(300)
    try:
        with hold(path):
            assert is_held(path)
    finally:
        go_on.set()
    assert not is_held(path)
