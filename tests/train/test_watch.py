"""What the watch concludes from what ranks report, and its wires; several real processes: tests/distributed."""

import json
import multiprocessing
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.distributed import Process
from mammut_clip.train.watch import Limits, Watch
from mammut_clip.train.watch.hub import Hub
from mammut_clip.train.watch.judge import Judge
from mammut_clip.train.watch.link import Link
from mammut_clip.train.watch.report import Order, Report, Reports, describe_ended, describe_hang, name_ranks
from mammut_clip.train.watch.wire import ENDED, encode

LIMITS = Limits()
HANG_AFTER = 600.0
WORLD = 8


def report(rank: int, samples_seen: int = 12_800, what: str = "computing") -> Report:
    return Report(rank, f"n{rank // 4}", 100 + rank, samples_seen, what)


def reports(*given: Report) -> Reports:
    """Eight ranks on two hosts, all alike but for the given ones."""
    return {rank: report(rank) for rank in range(WORLD)} | {one.rank: one for one in given}


# --- sentences


def test_a_rank_is_named_with_its_host_and_process() -> None:
    assert name_ranks([5], reports()) == "rank 5 on host n1 (pid 105)"
    assert name_ranks([4, 5, 6, 7], reports()) == "ranks 4 to 7 on host n1"
    assert name_ranks([0, 1, 3, 5, 6, 7], reports()) == "ranks 0, 1, 3 and 5 to 7 on hosts n0 and n1"
    assert name_ranks([5], {}) == "rank 5"


@given(st.sets(st.integers(0, 300), min_size=1))
def test_no_rank_is_left_out_or_added_where_they_are_listed(ranks: set[int]) -> None:
    text = name_ranks(sorted(ranks), {}).replace(" and ", ", ")
    named: set[int] = set()
    more = 0
    for part in text.split(" ", 1)[1].split(", "):
        if part.endswith(" more"):
            more = int(part.split()[0])
            continue
        first, _, last = part.partition(" to ")
        named |= set(range(int(first), int(last or first) + 1))
    assert named <= ranks
    assert (named == ranks) == (more == 0)


def test_the_rank_that_is_behind_is_named() -> None:
    late = report(5, 12_736, "waiting for data")
    assert describe_hang(600, reports(late)) == (
        "nothing has moved for 600 s: rank 5 on host n1 (pid 105) is still waiting for data at 12,736 samples; "
        "all others are computing at 12,800 samples"
    )


def test_the_rank_that_does_something_else_is_named() -> None:
    other = report(2, what="writing a checkpoint")
    assert describe_hang(600, reports(other)) == (
        "nothing has moved for 600 s: rank 2 on host n0 (pid 102) is still writing a checkpoint at 12,800 samples; "
        "all others are computing at 12,800 samples"
    )


def test_where_all_do_the_same_nobody_is_blamed() -> None:
    assert describe_hang(60, reports()) == "nothing has moved for 60 s: all 8 ranks are computing at 12,800 samples"
    assert describe_hang(60, {0: report(0)}).endswith("rank 0 on host n0 (pid 100) is computing at 12,800 samples")


def test_of_two_ranks_at_different_work_both_are_named() -> None:
    both = {0: report(0), 1: report(1, what="agreeing")}
    assert describe_hang(60, both) == (
        "nothing has moved for 60 s: rank 1 on host n0 (pid 101) is still agreeing at 12,800 samples; "
        "rank 0 on host n0 (pid 100) is still computing at 12,800 samples"
    )


places = st.tuples(st.integers(0, 3), st.sampled_from(["waiting for data", "computing", "agreeing"]))


@given(st.lists(places, min_size=2, max_size=6))
def test_whoever_has_seen_the_least_samples_comes_first(given_places: list[tuple[int, str]]) -> None:
    found = {rank: Report(rank, "n0", rank, *place) for rank, place in enumerate(given_places)}
    first = describe_hang(60, found).removeprefix("nothing has moved for 60 s: ").split(";")[0]
    least = min(samples for samples, _ in given_places)
    assert f" at {least} samples" in first
    if len({samples for samples, _ in given_places}) > 1:
        assert "still" in first


# --- the judge


class Court:
    """A judge and his clock; ranks report every beat unless they are told not to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.judge = Judge(WORLD, HANG_AFTER, LIMITS)
        self.mute: set[int] = set()
        self.reports = dict(reports())
        self.orders: list[Order] = []
        self.say(*range(WORLD))

    def say(self, *ranks: int, **changes: object) -> None:
        for rank in ranks:
            self.reports[rank] = replace(self.reports[rank], **changes)  # type: ignore[arg-type]
            self.judge.hear(self.reports[rank], self.now)

    def lose(self, *ranks: int) -> None:
        for rank in ranks:
            self.mute.add(rank)
            self.judge.lose(rank, ENDED)

    def wait(self, seconds: float) -> str | None:
        """Let time pass, as the hub does."""
        end = self.now + seconds
        while self.now < end:
            self.now += 0.25
            if self.now % LIMITS.beat < 0.25:
                self.say(*(rank for rank in range(WORLD) if rank not in self.mute))
            order = self.judge.decide(self.now)
            if order is not None:
                self.orders.append(order)
                self.say(*(rank for rank in range(WORLD) if rank not in self.mute))  # all are asked
        return self.judge.verdict


@pytest.fixture
def court() -> Court:
    return Court()


def test_there_is_no_verdict_while_nothing_is_wrong(court: Court) -> None:
    assert court.wait(3600) is None
    assert court.orders == []


def test_the_first_error_reported_counts_and_all_hear_of_it_once(court: Court) -> None:
    court.say(3, failure="rank 3 on host n0: ValueError: x")
    court.wait(1)
    court.say(1, failure="rank 1 on host n0: RuntimeError: Connection closed by peer")
    assert court.wait(60) == "rank 3 on host n0: ValueError: x"
    assert [order.verdict for order in court.orders] == [None, "rank 3 on host n0: ValueError: x"]
    assert court.orders[0].answer


def test_a_death_counts_more_than_the_errors_that_it_causes_though_they_are_heard_first(court: Court) -> None:
    court.say(1, failure="rank 1 on host n0: RuntimeError: Connection closed by peer")
    court.wait(1)
    court.lose(5)
    assert court.wait(60) == describe_ended([5], ENDED, court.reports)


def test_a_host_that_goes_down_is_one_sentence(court: Court) -> None:
    court.lose(4, 6)
    court.wait(1)
    court.lose(5, 7)
    assert court.wait(60) == f"ranks 4 to 7 on host n1 {ENDED}; rank 4 last reported computing at 12,800 samples"


def test_who_has_said_what_is_wrong_or_goodbye_may_end(court: Court) -> None:
    court.say(2, leaving=True)
    court.lose(2)
    assert court.wait(60) is None
    court.say(3, failure="rank 3 on host n0: ValueError: x")
    court.lose(3)
    assert court.wait(60) == "rank 3 on host n0: ValueError: x"


def test_silence_is_noticed_within_a_minute_less_the_grace(court: Court) -> None:
    court.mute = {4}
    assert court.wait(LIMITS.silence - LIMITS.beat) is None
    verdict = court.wait(60 - LIMITS.grace - 2 * LIMITS.turn - (LIMITS.silence - LIMITS.beat))
    assert verdict is not None
    assert re.fullmatch(
        r"rank 4 on host n1 \(pid 104\) gave no sign of life for 3\d s; it last reported computing at 12,800 samples",
        verdict,
    )


def test_one_that_speaks_up_again_in_time_is_forgiven(court: Court) -> None:
    court.mute = {4}
    court.wait(LIMITS.silence + 1)
    assert court.orders == [Order(answer=True)]
    court.mute = set()
    court.say(4)
    assert court.wait(600) is None


def test_a_paused_rank_may_be_silent_for_longer(court: Court) -> None:
    court.say(4, paused=True)
    court.mute = {4}
    assert court.wait(HANG_AFTER - LIMITS.beat) is None
    assert court.wait(60) is not None


def test_a_rank_that_never_came_is_missed() -> None:
    judge = Judge(2, HANG_AFTER, LIMITS)
    judge.hear(report(0), 29.0)
    assert judge.decide(31.0) == Order(answer=True)
    judge.hear(report(0), 31.5)
    assert judge.decide(40.0) == Order(verdict="rank 1 gave no sign of life for 40 s")


def test_an_error_that_may_come_from_a_silent_host_says_who_does_not_answer(court: Court) -> None:
    court.mute = {4, 5, 6, 7}
    court.wait(10)
    court.say(1, failure="rank 1 on host n0: DistBackendError: x")
    assert court.wait(10) == "rank 1 on host n0: DistBackendError: x; no answer from ranks 4 to 7 on host n1"


def test_a_hang_of_one_rank_asks_all_for_stacks_and_compares(court: Court) -> None:
    court.say(0, hung=True)
    court.reports[5] = report(5, 12_736, "waiting for data")
    assert court.wait(LIMITS.collect + 1) == describe_hang(HANG_AFTER, reports(report(5, 12_736, "waiting for data")))
    assert court.orders[0] == Order(answer=True, stacks=True)


def test_a_hang_that_dissolves_is_no_hang(court: Court) -> None:
    court.say(0, hung=True)
    court.wait(2)
    court.say(0, hung=False, samples_seen=12_864)
    assert court.wait(60) is None


def test_an_error_at_the_end_of_a_hang_stands_beside_it(court: Court) -> None:
    court.say(0, hung=True)
    court.wait(2)
    court.say(1, failure="rank 1 on host n0: RuntimeError: timed out")
    assert court.wait(60) == "rank 1 on host n0: RuntimeError: timed out; " + describe_hang(HANG_AFTER, reports())


def test_where_rank_0_leaves_the_verdict_comes_at_once(court: Court) -> None:
    court.say(0, failure="rank 0 on host n0: OSError: x")
    assert court.judge.decide(court.now) is not None
    assert court.judge.decide_at_once() == Order(verdict="rank 0 on host n0: OSError: x")


# --- the wires, and one process alone


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub(2, HANG_AFTER, replace(LIMITS, settle=0.3, goodbye=1.0))
    yield hub
    hub.close()


def verdict_of(link: Link, own: Report) -> str:
    """What rank 0 announces to a rank that answers it; fails where nothing comes for long."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for order in link.receive():
            if order.verdict is not None:
                link.leave(replace(own, leaving=True), 5.0)
                return order.verdict
            if order.answer:
                link.send(lambda: own)
        time.sleep(0.01)
    raise AssertionError("no verdict")


def test_a_lost_connection_is_heard_of_though_a_forked_worker_lives_on(hub: Hub) -> None:
    staying, killed = (Link(hub.meeting, report(rank)) for rank in range(2))
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
    worker.start()
    killed._wire.close()  # as the kernel does for a process that is killed
    assert verdict_of(staying, report(0)) == describe_ended([1], ENDED, reports())
    assert worker.is_alive()
    worker.kill()


def test_strangers_are_sent_away_and_change_nothing(hub: Hub) -> None:
    failing, other = (Link(hub.meeting, report(rank)) for rank in range(2))
    for words in (b"GET / HTTP/1.1\r\n\r\n", b'{"secret": "guessed"}\n', b"[1]\n", b"x" * 200_000):
        with closing(socket.create_connection(("127.0.0.1", hub.meeting.port), timeout=120)) as stranger:
            try:
                stranger.sendall(words)
                assert stranger.recv(1) == b""  # rank 0 hangs up
            except (ConnectionResetError, BrokenPipeError):
                pass  # before it has read all
    failing.send(lambda: replace(report(0), failure="rank 0: ValueError: x"))
    failing.leave(replace(report(0), failure="rank 0: ValueError: x", leaving=True), 5.0)
    assert verdict_of(other, report(1)) == "rank 0: ValueError: x"


def test_a_goodbye_behind_other_words_is_heard_though_that_rank_has_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0 was held up for longer than one that leaves waits for it."""
    go_on, real = threading.Event(), Hub._turn
    monkeypatch.setattr(Hub, "_turn", lambda hub: go_on.wait(300) and real(hub))
    with closing(Hub(2, HANG_AFTER, replace(LIMITS, settle=0.3, goodbye=1.0))) as hub:
        with closing(socket.create_connection(("127.0.0.1", hub.meeting.port), timeout=120)) as leaving:
            words = [*[vars(report(1))] * 3, vars(replace(report(1), leaving=True))]
            leaving.sendall(b"".join(map(encode, [{"secret": hub.meeting.secret}, *words])))
        go_on.set()
        staying = Link(hub.meeting, report(0))
        failed = replace(report(0), failure="rank 0: ValueError: x")
        staying.send(lambda: failed)
        assert verdict_of(staying, failed) == "rank 0: ValueError: x"


def test_what_comes_after_a_goodbye_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watching thread parts while the main thread says something."""
    go_on, real = threading.Event(), Hub._turn
    monkeypatch.setattr(Hub, "_turn", lambda hub: go_on.wait(300) and real(hub))
    with closing(Hub(2, HANG_AFTER, replace(LIMITS, settle=0.3, goodbye=1.0))) as hub:
        with closing(socket.create_connection(("127.0.0.1", hub.meeting.port), timeout=120)) as leaving:
            words = [vars(report(1)), vars(replace(report(1), leaving=True)), vars(report(1))]
            leaving.sendall(b"".join(map(encode, [{"secret": hub.meeting.secret}, *words])))
        go_on.set()
        staying = Link(hub.meeting, report(0))
        failed = replace(report(0), failure="rank 0: ValueError: x")
        staying.send(lambda: failed)
        assert verdict_of(staying, failed) == "rank 0: ValueError: x"


def test_what_a_rank_says_does_not_arrive_behind_what_it_says_later(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watching thread gives a sign of life while the main thread begins to load a library."""
    watch, sent, real = Watch(Process(1, 2, 1, torch.device("cpu")), HANG_AFTER), [], Watch._report

    def pause() -> None:
        watch._paused = True
        watch._say()

    def made(of: Watch) -> Report:
        found = real(of)
        if threading.current_thread() is beat:
            main.start()
            main.join(0.3)  # it has spoken, or waits for its turn
        return found

    watch._link = Link(hub.meeting, report(1))
    monkeypatch.setattr(watch._link._wire, "send", lambda line: sent.append(json.loads(line)["paused"]))
    monkeypatch.setattr(Watch, "_report", made)
    beat, main = threading.Thread(target=watch._say), threading.Thread(target=pause)
    beat.start()
    beat.join()
    main.join()
    assert sent == [False, True]


class Parting(Watch):
    """Its watching thread parts from rank 0 as soon as the main thread has looked whether there is a link."""

    @property
    def _link(self) -> Link | None:  # type: ignore[override]
        return self.__dict__.pop("link", None)

    @_link.setter
    def _link(self, link: Link | None) -> None:
        self.__dict__["link"] = link


def test_both_threads_may_part_from_rank_0_at_once(hub: Hub) -> None:
    watch = Parting(Process(1, 2, 1, torch.device("cpu")), HANG_AFTER, limits=replace(LIMITS, goodbye=1.0))
    watch._thread = threading.Thread()
    watch._thread.start()
    watch._link = Link(hub.meeting, report(1))
    watch.__exit__()
    assert watch._stop.is_set()


ALONE = """
import sys, time
from pathlib import Path
import torch
from mammut_clip.distributed import Process
from mammut_clip.train.watch import Limits, Watch

folder = Path(sys.argv[1])
limits = Limits(turn=0.1, grace=0.5)
with Watch(Process(0, 1, 0, torch.device("cpu")), 4.0, folder / "log", (folder / "status").write_text, limits) as watch:
    for step in range(20):
        watch.at(64 * step, "computing")
        time.sleep(0.1)
    with watch.paused("evaluating"):
        time.sleep(6)
    try:
        raise OSError("a passing error")
    except OSError as error:
        watch.failed(error)
        print(watch.first_failure(), flush=True)
with Watch(Process(0, 1, 0, torch.device("cpu")), 4.0, folder / "log", (folder / "status").write_text, limits) as watch:
    watch.at(1280, "waiting for data")
    time.sleep(600)
"""


def test_one_process_alone_has_the_limit_for_a_step_that_hangs(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ALONE, tmp_path], capture_output=True, text=True, timeout=300)
    host = socket.gethostname()
    assert done.returncode == 1
    assert done.stdout == f"rank 0 on host {host}: OSError: a passing error\n"
    sentence = rf"nothing has moved for 4 s: rank 0 on host {host} \(pid \d+\) is waiting for data at 1,280 samples"
    assert re.fullmatch(sentence, (tmp_path / "status").read_text())
    assert re.fullmatch(f"error: {sentence}", done.stderr.splitlines()[-1])
    for text in (done.stderr, (tmp_path / "log").read_text()):
        assert len(re.findall(r"has been waiting for data at 1,280 samples since \d\d:\d\d:\d\d", text)) == 1
        assert 'File "<string>"' in text  # where its main thread is
