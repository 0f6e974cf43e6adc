"""How much damage ends a run, and what is said then."""

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mammut_clip.data.bad_samples import Bad, BadSample
from mammut_clip.runs import quarantine
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.quarantine import Replaced
from mammut_clip.train.bad_sample_limit import TooManyBadSamplesError, check_damage, damaged

MakeRun = Callable[..., RunDir]


def ends(run: RunDir, kinds: dict[Bad, int], samples: int) -> bool:
    try:
        check_damage(run, Counter(kinds), 1000, 1000 + samples, name_shards=False)
    except TooManyBadSamplesError:
        return True
    return False


def run_with(make_run: MakeRun, max_rate: float) -> RunDir:
    return make_run(name=f"rate-{max_rate}", data={"train": ["x"], "bad_samples": {"max_rate": max_rate}})


@given(
    samples=st.integers(1, 5000),
    count=st.integers(0, 5000),
    rate=st.sampled_from([0.0, 0.01, 0.05, 0.5, 1.0]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_share_of_damage_decides(make_run: MakeRun, samples: int, count: int, rate: float) -> None:
    run = run_with(make_run, rate)
    count = min(count, samples)
    kinds = {Bad.TRUNCATED: count // 2, Bad.BROKEN_PICTURE: count - count // 2}
    assert ends(run, kinds, samples) == (count > rate * samples and (count >= 50 or rate == 0))


def test_what_was_tried_in_the_place_of_a_sample_is_not_counted() -> None:
    kinds = [
        (3, Bad.TRUNCATED),
        (3, Bad.TRUNCATED),
        (4, Bad.TRUNCATED),
        (7, Bad.LONG_CAPTION),  # left out on purpose, whatever came then
        (7, Bad.BROKEN_PICTURE),
        (9, Bad.BROKEN_PICTURE),
        (9, Bad.LONG_CAPTION),
    ]
    bad = [BadSample(position, kind, "train", "s.tar", "k", "why") for position, kind in kinds]
    assert [(one.position, one.kind) for one in damaged(bad)] == [kinds[0], kinds[2], kinds[5]]


def test_half_of_the_first_hundred_samples_decides_nothing(make_run: MakeRun) -> None:
    run = run_with(make_run, 0.05)
    assert not ends(run, {Bad.MISSING: 49}, 100)
    assert ends(run, {Bad.MISSING: 50}, 100)


def test_the_message_says_how_many_where_and_what_to_do(make_run: MakeRun) -> None:
    run = run_with(make_run, 0.05)
    for shard, count in {"a.tar": 10, "b.tar": 40, "c.tar": 30, "d.tar": 20}.items():
        kind = "truncated" if shard == "a.tar" else "broken_picture"
        for number in range(count):
            own = Replaced(1000 + number, kind, "train", shard, str(number), "why")
            in_its_place = Replaced(own.position, kind, "train", "a.tar", "99", "why")
            quarantine.append(run.quarantine_folder, count, [own, in_its_place])
    earlier = [Replaced(n, "truncated", "train", "earlier.tar", str(n), "why") for n in range(100)]
    left_out = [Replaced(2000 + n, "long_caption", "train", "long.tar", str(n), "why") for n in range(100)]
    quarantine.append(run.quarantine_folder, 0, earlier + left_out)
    kinds = Counter({Bad.TRUNCATED: 10, Bad.BROKEN_PICTURE: 90})
    with pytest.raises(TooManyBadSamplesError) as caught:
        check_damage(run, kinds, 1000, 2000, name_shards=True)
    message = str(caught.value)
    assert "100 of 1,000 samples were damaged (10.00%; data.bad_samples.max_rate is 0.05)" in message
    assert "90 broken_picture, 10 truncated" in message
    assert str(run.quarantine_folder) in message
    assert "\n  40 in b.tar\n  30 in c.tar\n  20 in d.tar\n" in message
    assert "a.tar" not in message and "earlier.tar" not in message
    assert "run the same command again" in message
