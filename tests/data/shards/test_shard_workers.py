"""Work in several processes that are told to stop at the worst moment."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = '''
import array, fcntl, os, signal, sys, termios, threading, time
from pathlib import Path
from mammut_clip.data.shards.parallel import each_done

folder = Path(sys.argv[1])

def until(condition):
    while not condition():
        time.sleep(0.01)

def unpickled():
    """In the parent, which meanwhile takes nothing else from its workers."""
    (folder / "taking").touch()
    until((folder / "go").exists)

class Slow:
    def __reduce__(self):
        return unpickled, ()

def work(number):
    if number == 0:
        return Slow()
    until((folder / "taking").exists)
    return bytes(2**20)  # more than a pipe holds

def waiting(descriptor):
    held = array.array("i", [0])
    try:
        fcntl.ioctl(descriptor, termios.FIONREAD, held)
    except OSError:
        return 0
    return held[0]

def interrupt():
    """When a part of the second result is in the pipe, and the other worker has nothing to do."""
    until(lambda: max(map(waiting, map(int, os.listdir("/proc/self/fd")))) >= 2**15)
    os.killpg(0, signal.SIGINT)
    (folder / "go").touch()

if __name__ == "__main__":
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        for _ in each_done(work, [0, 1], 2):
            pass
    except KeyboardInterrupt:
        sys.exit(130)
'''


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into pipes by Linux's /proc")
def test_ctrl_c_while_a_worker_sends_its_result_ends_all(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    program = subprocess.Popen([sys.executable, script, tmp_path], start_new_session=True)
    try:
        assert program.wait(timeout=300) in (0, 130)  # 0: everything came before the parent heard of it
    finally:
        program.kill()
