"""The lease of a run, with real processes: killed, suspended, racing for it, on one machine and as if on several."""

import errno
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.runs import holder as holders
from mammut_clip.runs import lease as leases
from mammut_clip.runs.holder import Holder, is_gone, is_running_here, this_process
from mammut_clip.runs.lease import LeaseLostError, RunIsLockedError, _Newcomer, hold_lease, is_leased
from mammut_clip.runs.lease_files import numbers

HOLDER = """
import sys
from pathlib import Path
from mammut_clip.runs import holder
if sys.argv[3]:
    holder.this_machine = lambda: sys.argv[3]
from mammut_clip.runs.lease import LeaseLostError, RunIsLockedError, hold_lease
try:
    with hold_lease(Path(sys.argv[1]), float(sys.argv[2])) as lease:
        print("held", flush=True)
        for line in sys.stdin:
            lease.check(force=True)
            print("checked", flush=True)
except (LeaseLostError, RunIsLockedError) as error:
    print(type(error).__name__, error, flush=True)
"""


class Process:
    """A process that holds the lease until its input ends, and checks it for each line; as if on `machine`."""

    def __init__(self, path: Path, lease_seconds: float, machine: str = "", **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path), str(lease_seconds), machine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.pid = self._process.pid

    def says(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def check(self) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.says()

    def send(self, number: int) -> None:
        self._process.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def end(self, number: int = 0) -> str:
        """Let it end, or end it; what it wrote to standard error."""
        if number:
            self._process.send_signal(number)
        return self._process.communicate(timeout=300)[1]


def record(path: Path, number: int = 1, **changes: Any) -> Holder:
    """A record as another host would have left it."""
    elsewhere = {"host": "n7", "machine": "elsewhere", "pid": 4711, "started": 1, "renewals": 9}
    written = this_process(60).model_copy(update=elsewhere | changes)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.{number}").write_bytes(written.encode())
    return written


def newest_record(path: Path) -> Holder:
    found = Holder.decode(path.with_name(f"{path.name}.{numbers(path)[-1]}").read_bytes())
    assert found is not None
    return found


def age(path: Path, seconds: float) -> None:
    for file in path.parent.glob("lock.*"):
        os.utime(file, (time.time() - seconds, time.time() - seconds))


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "s" / "a-run" / "lock"


def test_it_is_held_inside_the_block_and_free_after_it(lock: Path) -> None:
    assert not is_leased(lock)
    for _ in range(3):
        with hold_lease(lock) as lease:
            assert is_leased(lock)
            lease.check(force=True)
            with pytest.raises(RunIsLockedError, match=rf"a-run: process {os.getpid()} on .* is training this run now"):
                hold_lease(lock).__enter__()
        assert not is_leased(lock)
    assert numbers(lock) == [3]
    assert not list(lock.parent.glob(".*"))


def test_an_error_inside_the_block_passes_through_and_gives_it_back(lock: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold_lease(lock):
        raise ZeroDivisionError
    assert not is_leased(lock)


def test_a_killed_process_of_this_machine_is_followed_at_once(lock: Path) -> None:
    other = Process(lock, 3600)
    assert other.says() == "held"
    assert is_leased(lock)
    with pytest.raises(RunIsLockedError, match=f"process {other.pid} on"):
        hold_lease(lock).__enter__()
    other.send(signal.SIGKILL)
    while is_leased(lock):  # dead, though its parent has not waited for it yet
        time.sleep(0.01)
    with hold_lease(lock):
        pass
    other.end()


def test_the_number_of_a_dead_process_may_belong_to_another_by_now(lock: Path) -> None:
    mine = this_process(3600)
    assert mine.started is not None
    record(lock, host=mine.host, machine=mine.machine, pid=os.getpid(), started=mine.started - 1)
    assert not is_leased(lock)
    with hold_lease(lock):
        pass


def test_a_process_that_lives_elsewhere_is_known_by_its_next_sign_of_life(lock: Path) -> None:
    other = Process(lock, 20, machine="elsewhere")
    assert other.says() == "held"
    assert is_leased(lock)
    with pytest.raises(RunIsLockedError, match=f"process {other.pid} on"):
        hold_lease(lock).__enter__()
    assert other.check() == "checked"
    other.end()
    assert not is_leased(lock)
    with hold_lease(lock):
        pass


def test_a_process_that_died_elsewhere_is_waited_for_and_then_followed(
    lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(lock, 5, lease_seconds=1.5, slurm_job="77")
    began = time.monotonic()
    with hold_lease(lock) as lease:
        assert time.monotonic() - began >= 1.5
        lease.check(force=True)
    told = capsys.readouterr().err
    assert "process 4711 on n7 (Slurm job 77)" in told and "at most 1.5 s" in told
    assert numbers(lock) == [6]


def test_a_newcomer_that_is_suspended_after_a_look_does_not_follow_a_living_holder(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    living, now, looks = record(lock, lease_seconds=60), [0.0], []
    real = leases.newest

    def newest(path: Path) -> Any:
        found = real(path)
        looks.append(found)
        if len(looks) == 2:  # an hour passes before it thinks about what it saw; the holder goes on
            now[0] += 3600
            record(lock, **living.model_dump() | {"renewals": living.renewals + 360})
        return found

    def sleep(seconds: float) -> None:
        now[0] += seconds

    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep, clock_gettime=time.clock_gettime)
    monkeypatch.setattr(leases, "newest", newest)
    monkeypatch.setattr(leases, "time", clock)
    with pytest.raises(RunIsLockedError, match="process 4711 on n7"), hold_lease(lock):
        pass
    assert len(looks) == 3
    assert numbers(lock) == [1]


def test_what_is_left_of_a_process_that_gave_the_lease_back_may_write_no_more(lock: Path) -> None:
    with hold_lease(lock) as lease:
        lease.check()
    with pytest.raises(LeaseLostError, match="given it back"):
        lease.check()


def test_a_process_may_have_any_name() -> None:
    own = Path("/proc/self/comm")
    before = own.read_bytes()
    own.write_bytes(b"\xff")
    try:
        assert is_running_here(this_process(60))
    finally:
        own.write_bytes(before.rstrip(b"\n"))


def test_a_suspended_process_loses_the_lease_and_does_not_take_it_back(lock: Path) -> None:
    other = Process(lock, 4)
    assert other.says() == "held"
    assert other.check() == "checked"
    other.send(signal.SIGSTOP)
    with hold_lease(lock, 3600) as lease:
        other.send(signal.SIGCONT)
        said = other.check()
        assert said.startswith("LeaseLostError")
        assert f"process {os.getpid()} on" in said and "has taken it over" in said
        other.end()
        lease.check(force=True)
        assert newest_record(lock).pid == os.getpid()
        assert numbers(lock) == [2]


def test_a_suspension_that_nobody_noticed_does_no_harm(lock: Path) -> None:
    other = Process(lock, 4)
    assert other.says() == "held"
    other.send(signal.SIGSTOP)
    before = newest_record(lock).renewals
    time.sleep(5)
    other.send(signal.SIGCONT)
    assert other.check() == "checked"
    assert newest_record(lock).renewals > before
    other.end()


def test_a_requeued_job_follows_its_own_earlier_start_at_once(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "c")
    earlier = record(lock, lease_seconds=3600, slurm_job="77", slurm_cluster="c", slurm_restarts=0)
    assert not is_gone(earlier, this_process(60))  # the same start of the job: a second one trains the run
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert is_gone(earlier, this_process(60))
    assert not is_gone(earlier.model_copy(update={"slurm_cluster": "d"}), this_process(60))
    assert not is_gone(earlier.model_copy(update={"slurm_job": "78"}), this_process(60))
    with hold_lease(lock):
        pass


def test_launchers_judge_others_by_their_last_sign_of_life_or_by_the_end_of_their_job(lock: Path) -> None:
    record(lock, lease_seconds=60, slurm_job="77")
    assert is_leased(lock)
    assert is_leased(lock, ended_job="78")
    assert not is_leased(lock, ended_job="77")
    age(lock, 61)
    assert not is_leased(lock)
    record(lock, 2, state="free")
    assert not is_leased(lock)


def test_a_record_that_is_cut_off_counts_for_one_lease(lock: Path) -> None:
    lock.parent.mkdir(parents=True)
    lock.with_name("lock.1").write_bytes(b'{"id": "00')
    assert is_leased(lock)
    age(lock, 61)
    assert not is_leased(lock)


def test_one_that_removes_the_files_by_hand_ends_the_lease(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_CHECK_SECONDS", 3600.0)
    with hold_lease(lock) as lease:
        lock.with_name("lock.1").unlink()
        lease.check()  # has looked a moment ago
        with pytest.raises(LeaseLostError, match=r"lock\.1 was removed"):
            lease.check(force=True)
        with hold_lease(lock) as second:  # its file has the name that ours had
            with pytest.raises(LeaseLostError):
                lease.check()
            lease._renew()
            second.check(force=True)
    assert not is_leased(lock)


def make_unreadable(file: Path) -> None:
    """Put something in its place, at once, whose opening fails with an error that is not "not there"."""
    loop = file.with_name("loop")
    loop.symlink_to(file.name)
    loop.rename(file)


def test_trouble_with_the_file_system_is_put_up_with_for_one_lease(lock: Path) -> None:
    own, away = lock.with_name("lock.1"), lock.with_name("away")
    with hold_lease(lock) as lease:
        os.link(own, away)
        make_unreadable(own)
        lease._renew()
        lease.check(force=True)
        away.rename(own)
        before = newest_record(lock).renewals
        lease._renew()
        assert newest_record(lock).renewals == before + 1
    assert not is_leased(lock)


def test_a_lease_that_cannot_be_renewed_runs_out(lock: Path) -> None:
    own = lock.with_name("lock.1")
    with hold_lease(lock, lease_seconds=4) as lease:
        make_unreadable(own)
        deadline = time.monotonic() + 300
        with pytest.raises(LeaseLostError, match=r"could not be renewed for 4 s .*symbolic links"):
            while time.monotonic() < deadline:
                lease.check(force=True)
                time.sleep(0.05)
    with pytest.raises(InputError, match="the lease cannot be read or written"):
        is_leased(lock)


def test_where_the_folder_cannot_be_made_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/run/lock: the lease cannot be read or written"):
        hold_lease(tmp_path / "file" / "run" / "lock").__enter__()


def test_a_newcomer_that_slept_over_its_decision_takes_its_file_back(lock: Path) -> None:
    """It found 1 dead; since then others took 2, removed 1, ended, and took 3, and removed 2."""
    for _ in range(2):
        with hold_lease(lock):
            pass
    with hold_lease(lock) as lease:
        late = _Newcomer(lock, this_process(60))
        assert late._follow(1) is None
        assert late._follow(2) is None
        assert numbers(lock) == [3]
        lease.check(force=True)


def test_without_hard_links_files_are_made_exclusively(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    for _ in range(2):
        with hold_lease(lock) as lease:
            lease.check(force=True)
            with pytest.raises(RunIsLockedError):
                hold_lease(lock).__enter__()
    assert numbers(lock) == [2]


RACERS = 10
ROUNDS = 18
FORK = multiprocessing.get_context("fork")  # the children need no more than what is loaded
HERE = holders.this_machine()


def race(number: int, folder: Path, meet: Barrier, results: Any) -> None:
    """In turn: all on one machine as the dead holder; all on another; each on a machine of its own."""
    for turn in range(ROUNDS):
        machine = f"machine {number}" if turn % 3 == 2 else HERE
        holders.this_machine = lambda machine=machine: machine
        meet.wait()
        try:
            with hold_lease(folder / str(turn) / "lock", 30) as lease:
                results.put((turn, "won"))
                meet.wait()
                lease.check(force=True)
        except RunIsLockedError:
            results.put((turn, "locked"))
            meet.wait()


def test_of_ten_newcomers_one_gets_a_lease_whose_holder_died(tmp_path: Path) -> None:
    meet, results = FORK.Barrier(RACERS), FORK.Queue()
    for turn in range(ROUNDS):
        dead = {"machine": HERE, "started": 0} if turn % 3 == 0 else {}
        record(tmp_path / str(turn) / "lock", lease_seconds=0.2, **dead)
    racers = [FORK.Process(target=race, args=(n, tmp_path, meet, results), daemon=True) for n in range(RACERS)]
    for racer in racers:
        racer.start()
    found = [results.get(timeout=300) for _ in range(RACERS * ROUNDS)]
    for racer in racers:
        racer.join(timeout=300)
    assert [racer.exitcode for racer in racers] == [0] * RACERS
    for turn in range(ROUNDS):
        assert sorted(result for t, result in found if t == turn) == ["locked"] * (RACERS - 1) + ["won"]


def work(folder: Path) -> None:
    """Take the lease again and again; alone inside, unless another's mark stands there whose process lives."""
    while not (folder / "enough").exists():
        try:
            with hold_lease(folder / "lock", 3600) as lease:
                inside = [int(mark.name) for mark in (folder / "inside").iterdir()]
                alive = [pid for pid in inside if Path(f"/proc/{pid}/stat").exists() and not is_zombie(pid)]
                if alive:
                    (folder / "broken").write_text(f"{os.getpid()} beside {alive}")
                mark = folder / "inside" / str(os.getpid())
                mark.write_text("")
                time.sleep(random.random() * 0.005)
                lease.check(force=True)
                mark.unlink()
            with (folder / "turns").open("a") as file:
                file.write("one\n")
        except RunIsLockedError:
            time.sleep(random.random() * 0.01)


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_however_often_holders_are_killed_nobody_is_inside_beside_another(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "turns").write_text("")
    draw = random.Random(0)

    def start() -> Any:
        process = FORK.Process(target=work, args=(tmp_path,), daemon=True)
        process.start()
        return process

    workers = [start() for _ in range(3)]
    for kill in range(30):
        turns = len((tmp_path / "turns").read_text().splitlines())
        deadline = time.monotonic() + 300
        while len((tmp_path / "turns").read_text().splitlines()) < turns + draw.randrange(1, 12):
            assert time.monotonic() < deadline, "nobody gets the lease any more"
            time.sleep(0.001)
        victim = kill % 3
        workers[victim].kill()
        workers[victim].join()
        workers[victim] = start()
    (tmp_path / "enough").touch()
    for worker in workers:
        worker.join(timeout=300)
    assert not (tmp_path / "broken").exists(), (tmp_path / "broken").read_text()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]


def test_renewals_go_on_in_the_background_and_end_with_the_block(lock: Path) -> None:
    with hold_lease(lock, lease_seconds=3):
        first = newest_record(lock).renewals
        deadline = time.monotonic() + 300
        while newest_record(lock).renewals < first + 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert newest_record(lock).state == "free"
    assert "lease" not in {thread.name for thread in threading.enumerate()}
