"""What follows a run's ends: caps hold, progress is rewarded, the user's word counts."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config.sweep import SweepPolicy
from mammut_clip.runs.ends import ENDED_BY_OTHERS, End, EndKind
from mammut_clip.slurm.policy import LONGEST_BACKOFF_SECONDS, decide

ERRORS: tuple[EndKind, ...] = ("crash", "out_of_memory", "disk_full", "hung", "never_began")
OTHERS: tuple[EndKind, ...] = tuple(sorted(ENDED_BY_OTHERS))
POLICIES = st.builds(
    SweepPolicy,
    crashes=st.integers(1, 6),
    stalls=st.integers(1, 6),
    backoff_seconds=st.floats(0, 1000),
    smaller_micro_batch=st.booleans(),
)


@dataclass
class Clock:
    """Ends, one after the other, of a run that moves on or not."""

    now: float = 1e9
    samples: int = 0

    def end(self, kind: EndKind, advances: bool = False) -> End:
        self.now += 60
        before = self.samples
        self.samples += 100 * advances
        return End(kind=kind, samples_before=before, samples_after=self.samples, ended=self.now)


def ends_of(kinds: list[tuple[EndKind, bool]]) -> list[End]:
    clock = Clock()
    return [clock.end(*kind) for kind in kinds]


SOME_ENDS = st.lists(st.tuples(st.sampled_from([*ERRORS, *OTHERS, "paused"]), st.booleans()), max_size=12).map(ends_of)


@given(st.lists(st.sampled_from([*ERRORS, *OTHERS, "paused"]), min_size=40, max_size=40), POLICIES)
def test_no_run_is_started_for_ever_without_progress(kinds: list[EndKind], policy: SweepPolicy) -> None:
    clock, errors = Clock(), 0
    ends: list[End] = []
    for kind in kinds:
        if decide(ends, policy).action != "start":
            break
        ends.append(clock.end(kind))
        errors += kind in ERRORS
    assert errors <= policy.crashes
    assert sum(kind in OTHERS for kind in kinds[: len(ends)]) <= policy.stalls


@given(st.lists(st.sampled_from(OTHERS), max_size=30), POLICIES)
def test_what_others_end_goes_on_for_ever_while_it_moves(kinds: list[EndKind], policy: SweepPolicy) -> None:
    decision = decide(ends_of([(kind, True) for kind in kinds]), policy)
    assert (decision.action, decision.not_before, decision.smaller_micro_batch) == ("start", 0.0, False)


@given(SOME_ENDS, POLICIES)
def test_progress_makes_what_was_before_count_for_nothing(ends: list[End], policy: SweepPolicy) -> None:
    clock = Clock(2e9, 10**6)
    assert decide([*ends, clock.end("time_limit", advances=True)], policy).action == "start"
    after = [clock.end("time_limit", advances=True), clock.end("crash")]
    assert decide([*ends, *after], policy) == decide(after, policy)


@given(SOME_ENDS, POLICIES)
def test_a_retry_makes_a_new_beginning(ends: list[End], policy: SweepPolicy) -> None:
    before = [*ends, End(kind="bad_input"), End(kind="cancelled"), End(kind="retry")]
    assert decide(before, policy).action == "start"
    assert decide(before, policy).not_before == 0
    later = [Clock(3e9).end("crash")]
    assert decide([*before, *later], policy) == decide(later, policy)


@given(SOME_ENDS, SOME_ENDS, POLICIES)
def test_what_the_user_cancelled_is_left_alone(before: list[End], after: list[End], policy: SweepPolicy) -> None:
    assert decide([*before, End(kind="cancelled"), *after], policy).action == "leave"


@given(SOME_ENDS, POLICIES)
def test_what_is_done_is_left_alone(ends: list[End], policy: SweepPolicy) -> None:
    assert decide([*ends, End(kind="done")], policy).action == "leave"


@given(SOME_ENDS, POLICIES)
def test_bad_input_is_not_tried_again(ends: list[End], policy: SweepPolicy) -> None:
    decision = decide([*ends, End(kind="bad_input", error="no such folder")], policy)
    assert decision.action == "give_up"
    assert "no such folder" in decision.why


@given(SOME_ENDS, POLICIES)
def test_paused_counts_for_nothing(ends: list[End], policy: SweepPolicy) -> None:
    assert decide([*ends, End(kind="paused")], policy).action == decide(ends, policy).action


@given(st.floats(1, 500), st.sampled_from(ERRORS))
def test_the_wait_doubles_up_to_ten_minutes(seconds: float, kind: EndKind) -> None:
    policy = SweepPolicy(crashes=100, backoff_seconds=seconds)
    clock, waits = Clock(), []
    ends: list[End] = []
    for _ in range(90):
        ends.append(clock.end(kind))
        waits.append(decide(ends, policy).not_before - ends[-1].ended)
    expected = [min(LONGEST_BACKOFF_SECONDS, seconds * 2.0**number) for number in range(90)]
    assert waits == pytest.approx(expected)


@pytest.mark.parametrize(
    ("allowed", "kind", "smaller"), [(1, "out_of_memory", 1), (0, "out_of_memory", 0), (1, "crash", 0)]
)
def test_only_a_run_that_was_out_of_memory_gets_a_smaller_micro_batch(
    allowed: int, kind: EndKind, smaller: int
) -> None:
    decision = decide(ends_of([("out_of_memory", True), (kind, True)]), SweepPolicy(smaller_micro_batch=bool(allowed)))
    assert (decision.action, decision.smaller_micro_batch) == ("start", bool(smaller))


@given(st.integers(1, 2**14), st.integers(1, 2**14), st.lists(st.sampled_from(["crash", "time_limit"]), max_size=8))
def test_halvings_of_the_micro_batch_are_progress_and_come_to_an_end(
    size: int, fits: int, between: list[EndKind]
) -> None:
    policy, clock = SweepPolicy(crashes=3, stalls=3), Clock()
    ends: list[End] = []
    while size > fits and size > 1:
        ends.append(clock.end("out_of_memory").model_copy(update={"micro_batch": size}))
        decision = decide(ends, policy)
        assert (decision.action, decision.not_before, decision.smaller_micro_batch) == ("start", 0.0, True)
        size //= 2
    alone: list[End] = []
    for kind in between:  # what happens at the size that is left is judged as if it had never been larger
        ends.append(clock.end(kind))
        alone.append(ends[-1])
        assert decide(ends, policy) == decide(alone, policy)


def test_out_of_memory_that_cannot_be_helped_counts_or_ends_it() -> None:
    clock, policy = Clock(), SweepPolicy(crashes=3)

    def ends(*sizes: int | None) -> list[End]:
        return [clock.end("out_of_memory").model_copy(update={"micro_batch": size}) for size in sizes]

    assert decide(ends(8, 8, 8), policy).action == "start"
    assert decide(ends(8, 8, 8, 8), policy).action == "give_up", "the smaller one could not be written down"
    assert decide(ends(None, None, None), policy).action == "give_up"
    assert decide(ends(8, 4, 2, 1), policy).action == "give_up"
    assert decide(ends(8, 4, 2), SweepPolicy(crashes=3, smaller_micro_batch=False)).action == "give_up"


def test_an_error_after_progress_is_the_first_of_its_kind() -> None:
    policy = SweepPolicy(crashes=2)
    assert decide(ends_of([("crash", False), ("crash", True)]), policy).action == "start"
    assert decide(ends_of([("crash", True), ("crash", False)]), policy).action == "give_up"


def test_results_of_an_evaluation_are_progress() -> None:
    stopped = [End(kind="time_limit", work="evaluate", results=1) for _ in range(9)]
    assert decide(stopped, SweepPolicy(stalls=1)).action == "start"
    assert decide([*stopped, End(kind="time_limit", work="evaluate")], SweepPolicy(stalls=1)).action == "give_up"
