import subprocess
import sys
from pathlib import Path

import pytest

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
