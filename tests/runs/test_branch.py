"""Branches: from which checkpoint, to which budget, with which config; linked whole, found again, refused."""

import errno
import itertools
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config.errors import ConfigError, InputError
from mammut_clip.config.load import validate
from mammut_clip.config.quantity import format_quantity
from mammut_clip.config.run import RunConfig
from mammut_clip.runs import branch as branches
from mammut_clip.runs.branch import create_branch, parse_point
from mammut_clip.runs.layout import Checkpoint, RunDir
from mammut_clip.runs.lease import RunIsLockedError, hold_lease
from mammut_clip.runs.marker import COMPLETE_MARKER, Marker
from mammut_clip.runs.records import Lineage, Manifest

BATCH = 100
FILES = {"__0_0.distcp": b"weights" * 50, "__1_0.distcp": b"moments" * 70, "nested/.metadata": b"index"}


def make_parent(root: Path, name: str = "long", points: tuple[int, ...] = (300, 1000, 2000), **changes: Any) -> RunDir:
    """A run of 2,000 samples in batches of 100, warm-up until 250, with checkpoints."""
    values = {
        "name": name,
        "sweep": "s",
        "model": "toy-XS",
        "samples_seen": 2000,
        "global_batch_size": BATCH,
        "seed": 7,
        "data": {"train": ["data/toy/train"]},
        "optimizer": {"lr": 1e-3},
        "schedule": {"kind": "const", "warmup": 250},
        "checkpoint": {"every": 500, "keep_last": 3},
        "parallel": {"precision": "bf16"},
    }
    run = RunDir.create(root, validate(RunConfig, values | changes, "test"))
    manifest = {"mammut_clip": "0", "python": "3", "packages": {}, "host": "h", "device": "cpu", "world_size": 1}
    costs = {"parameters": 1, "gflops_per_sample_paper": 1.0, "gflops_per_sample_exact": 3.0}
    Manifest(**manifest, **costs, tokenizer_sha256="t0", samples_sha256="s0").write(run.manifest_file)
    for point in points:
        write_checkpoint(run, point)
    return run


def write_checkpoint(run: RunDir, point: int) -> Path:
    folder = run.checkpoint(point).path
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data + str(point).encode())
    sizes = {name: (folder / name).stat().st_size for name in FILES}
    Marker(samples_seen=point, world_size=2, files=sizes).write(folder / COMPLETE_MARKER)
    return folder


def branch(parent: RunDir, samples: int | str, cooldown: str, *overrides: str, root: Path | None = None) -> RunDir:
    return create_branch(f"{parent.path}@{samples}", cooldown, overrides, root or parent.path.parents[1])


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_branch_is_its_parent_but_for_the_end(tmp_path: Path) -> None:
    parent = make_parent(tmp_path)
    run = branch(parent, "1K", "20%")
    config = run.config
    assert run.path == tmp_path / "s" / "long-cooldown-1.2K"
    assert (config.samples_seen, config.total_samples) == (1200, 1200)  # 1000 / (1 - 0.2) is 1250; whole batches
    assert config.schedule.model_dump() == {"kind": "const_cooldown", "warmup": 250, "cooldown": 200}
    assert config.branched_from is not None
    assert config.branched_from.model_dump() == {"run": str(parent.path), "name": "s/long", "samples_seen": 1000}
    own = {"name", "samples_seen", "schedule", "branched_from"}
    assert config.model_dump(exclude=own) == parent.config.model_dump(exclude=own)
    assert run.status.state == "pending"
    assert [checkpoint.samples_seen for checkpoint in run.checkpoints] == [1000]
    assert run.checkpoints[0].damage() is None


@given(
    steps=st.integers(1, 10**7),
    batch=st.sampled_from([2, 100, 4096, 90_112]),
    percent=st.decimals("0.1", "99", places=1),
    amount=st.integers(1, 10**9),
)
def test_budgets_are_whole_batches_nearest_to_what_was_asked_for(
    steps: int, batch: int, percent: Any, amount: int
) -> None:
    point = steps * batch
    for cooldown, whole in (
        (f"{percent}%", point / (1 - float(percent) / 100)),
        (format_quantity(amount), point + amount),
    ):
        try:
            budget = branches._budget(point, cooldown, batch)
        except InputError as error:
            assert "less than one batch" in str(error)
            assert whole - point <= batch / 2 * (1 + 1e-9)
            continue
        assert budget % batch == 0
        assert budget > point
        assert abs(budget - whole) <= batch / 2 + 1e-9 * whole


def test_an_amount_is_added_and_a_share_is_one_of_the_whole(tmp_path: Path) -> None:
    parent = make_parent(tmp_path)
    assert branch(parent, 2000, "500").config.total_samples == 2500
    assert branch(parent, 2000, "50%").config.schedule.cooldown == 2000
    assert branch(parent, 1000, "0.5K").config.total_samples == 1500


@pytest.mark.parametrize("cooldown", ["0%", "100%", "-5%", "nan%", "inf%", "%", "", "ten", "1.5", "-3", "0", "20"])
def test_cooldowns_that_are_none_are_refused(tmp_path: Path, cooldown: str) -> None:
    parent = make_parent(tmp_path)
    with pytest.raises(InputError, match=r"--cooldown .*(expected a share|less than one batch)"):
        branch(parent, 1000, cooldown)
    assert [run.name for run in (tmp_path / "s").iterdir()] == ["long"]


def test_the_checkpoint_is_the_first_within_one_batch_of_the_point(tmp_path: Path) -> None:
    parent = make_parent(tmp_path, points=(300, 900, 1000))
    for asked, found in ((901, 1000), (950, 1000), (1000, 1000), (900, 900), (201, 300), ("0.3K", 300)):
        assert branch(parent, asked, "50%").config.branched_from.samples_seen == found  # type: ignore[union-attr]
    for asked in (0, 200, 301, 1001, 2000):
        with pytest.raises(InputError, match=r"no complete checkpoint at .* it has 300, 900, 1K$"):
            branch(parent, asked, "50%")


def test_damaged_and_unfinished_checkpoints_are_no_beginning(tmp_path: Path) -> None:
    parent = make_parent(tmp_path)
    folder = parent.checkpoint(1000).path
    (folder / "__0_0.distcp").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"1000: this checkpoint cannot be used: __0_0\.distcp has 3 bytes"):
        branch(parent, 1000, "10%")
    (folder / COMPLETE_MARKER).unlink()
    with pytest.raises(InputError, match="it has 300, 2K"):
        branch(parent, 1000, "10%")
    with pytest.raises(InputError, match="it has none yet"):
        branch(make_parent(tmp_path, "young", points=()), 1000, "10%")


def test_points_without_a_constant_rate_are_refused(tmp_path: Path) -> None:
    cosine = make_parent(tmp_path, "cosine", schedule={"kind": "cosine", "warmup": 250})
    with pytest.raises(InputError, match=r"its schedule is cosine.*schedule\.kind=const"):
        branch(cosine, 1000, "10%")
    warm = make_parent(tmp_path, "warm", schedule={"kind": "const", "warmup": 1001})
    with pytest.raises(InputError, match=r"warms up until 1\.001K"):
        branch(warm, 1000, "10%")
    cooling = make_parent(
        tmp_path, "cooling", points=(1400, 1500), schedule={"kind": "const_cooldown", "warmup": 250, "cooldown": 600}
    )
    with pytest.raises(InputError, match=r"its own cooldown began at 1\.4K"):
        branch(cooling, 1500, "10%")
    assert branch(cooling, 1400, "30%").config.total_samples == 2000
    edge = make_parent(tmp_path, "edge", schedule={"kind": "const", "warmup": 1000})
    assert branch(edge, 1000, "50%").config.schedule.warmup == 1000


def test_a_branch_may_have_its_own_name_place_and_ways_of_running(tmp_path: Path) -> None:
    parent = make_parent(tmp_path)
    allowed = ("name=mine", "sweep=t", "checkpoint.every=200", "parallel.precision=fp32", "logging={every: 64}")
    run = branch(parent, 1000, "20%", *allowed, "evaluation.every=300", "non_finite.then=stop")
    assert run.path == tmp_path / "t" / "mine"
    assert run.config.checkpoint.model_dump() == parent.config.checkpoint.model_dump() | {"every": 200}
    assert (run.config.parallel.precision, run.config.logging.every) == ("fp32", 64)
    for key in (
        "seed=8",
        "optimizer.lr=1",
        "schedule.cooldown=1",
        "samples_seen=9",
        "data.train=x",
        "branched_from=null",
    ):
        with pytest.raises(ConfigError, match=rf"{key.split('=')[0]} = .*a branch takes this from its parent"):
            branch(parent, 1000, "20%", "name=other", key)
    with pytest.raises(ConfigError, match=r"checkpoint\.evry: unknown key"):
        branch(parent, 1000, "20%", "name=other", "checkpoint.evry=3")
    with pytest.raises(ConfigError, match="expected a name"):
        branch(parent, 1000, "20%", "name=../other")
    assert not (tmp_path / "s" / "other").exists()


def test_the_same_call_gives_the_same_run_however_the_parent_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = make_parent(tmp_path)
    run = branch(parent, 1000, "20%")
    before = {file: file.stat().st_mtime_ns for file in run.path.rglob("*")}
    assert branch(parent, 1000, "20%") == run
    monkeypatch.chdir(tmp_path)
    assert create_branch("./s/long@1000", "200", [], Path()).path.resolve() == run.path
    assert {file: file.stat().st_mtime_ns for file in run.path.rglob("*")} == before
    with pytest.raises(ConfigError, match="another name"):
        branch(make_parent(tmp_path, "two"), 1000, "20%", "name=long-cooldown-1.2K")
    with pytest.raises(ConfigError, match=r"checkpoint\.every"):
        branch(parent, 1000, "20%", "checkpoint.every=100")


def test_a_branch_that_lost_its_checkpoint_gets_it_again(tmp_path: Path) -> None:
    parent = make_parent(tmp_path)
    run = branch(parent, 1000, "20%")
    with pytest.raises(InputError, match=r"begins with the checkpoint of s/long at 1K samples.*--from .*long@1K"):
        run.check_first_start()
    parent.check_first_start()
    (run.checkpoints[0].path / "__0_0.distcp").unlink()
    for _ in range(2):
        assert branch(parent, 1000, "20%") == run
        assert run.checkpoints[0].damage() is None
        run.remove_checkpoint(run.checkpoints[0])


def test_a_branch_never_takes_its_parents_place(tmp_path: Path) -> None:
    parent = make_parent(tmp_path)
    before = content(parent.path)
    with pytest.raises(ConfigError, match="another name"):
        branch(parent, 1000, "20%", "name=long")
    assert content(parent.path) == before


def test_it_lives_on_when_the_parent_prunes(tmp_path: Path) -> None:
    parent = make_parent(tmp_path)
    expected = content(parent.checkpoint(1000).path)
    run = branch(parent, 990, "20%")
    place = run.checkpoints[0].path
    assert all((place / name).stat().st_nlink == 2 for name in FILES)  # no second copy on the disk
    parent.remove_checkpoint(parent.checkpoint(1000))
    assert content(place) == expected
    assert branch(parent, 990, "20%") == run
    assert branch(parent, 990, "200") == run
    with pytest.raises(ConfigError, match=r"checkpoint\.every"):
        branch(parent, 990, "20%", "checkpoint.every=100")
    for other in ((990, "30%"), (890, "20%")):
        with pytest.raises(InputError, match="it has 300, 2K"):
            branch(parent, *other)


def test_on_another_file_system_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def other_device(source: Path, target: Path) -> None:
        if "checkpoints" not in str(source):
            return real(source, target)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    parent = make_parent(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", other_device)
        run = branch(parent, 1000, "20%")
    assert content(run.checkpoints[0].path) == content(parent.checkpoint(1000).path)


def test_a_checkpoint_that_goes_while_it_is_linked_leaves_nothing_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = make_parent(tmp_path)
    real, done = os.link, []

    def link(source: Path, target: Path) -> None:
        if "distcp" in str(source):
            done.append(source)
            if len(done) == 2:
                parent.remove_checkpoint(parent.checkpoint(1000))
        real(source, target)

    with monkeypatch.context() as patch, pytest.raises(InputError, match="was removed while it was read"):
        patch.setattr(os, "link", link)
        branch(parent, 1000, "20%")
    assert len(done) == 2
    left = RunDir(tmp_path / "s" / "long-cooldown-1.2K")
    assert not left.config_file.exists() and not left.all_checkpoints
    write_checkpoint(parent, 1000)
    assert branch(parent, 1000, "20%").checkpoints[0].damage() is None
    assert not list(left.checkpoints_folder.glob(".*"))


def branch_until_killed(parent: RunDir, steps: int) -> None:
    """Make the branch, and die before a step that changes the file system once `steps` of them are done."""
    left = itertools.count(steps, -1)

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(left) <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return call

    for owner, names in ((os, ("link", "rename", "unlink", "mkdir")), (Path, ("unlink", "rename", "replace", "mkdir"))):
        for name in names:
            setattr(owner, name, counted(getattr(owner, name)))
    branch(parent, 1000, "20%")


def test_killed_at_any_step_it_is_no_run_or_whole_and_the_next_call_makes_it(tmp_path: Path) -> None:
    parent = make_parent(tmp_path)
    expected = content(parent.checkpoint(1000).path)
    run = RunDir(tmp_path / "s" / "long-cooldown-1.2K")
    killed = 0
    for steps in itertools.count():
        process = multiprocessing.get_context("fork").Process(target=branch_until_killed, args=(parent, steps))
        process.start()
        process.join()
        assert not run.config_file.exists() or content(run.checkpoint(1000).path) == expected
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        killed += 1
        if steps % 2:  # half of the time the next one finds what this one left
            shutil.rmtree(run.path, ignore_errors=True)
    assert killed > 10
    assert branch(parent, 1000, "20%") == run
    assert content(run.checkpoint(1000).path) == expected
    assert content(parent.checkpoint(1000).path) == expected


def test_only_one_process_makes_a_branch(tmp_path: Path) -> None:
    parent = make_parent(tmp_path)
    run = RunDir(tmp_path / "s" / "long-cooldown-1.2K")
    with hold_lease(run.lock_file), pytest.raises(RunIsLockedError):
        branch(parent, 1000, "20%")
    assert branch(parent, 1000, "20%") == run


def test_of_two_branches_that_are_made_under_one_name_at_once_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = make_parent(tmp_path)

    def late(lock: Path) -> Any:
        monkeypatch.setattr(branches, "hold_lease", hold_lease)
        branch(parent, 1000, "20%", "name=x")
        return hold_lease(lock)

    monkeypatch.setattr(branches, "hold_lease", late)
    with pytest.raises(ConfigError, match="another name"):
        branch(parent, 300, "50%", "name=x")
    run = RunDir(tmp_path / "s" / "x")
    assert [one.samples_seen for one in run.checkpoints] == [1000]


def test_it_is_found_again_where_the_parent_prunes_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = make_parent(tmp_path)
    run = branch(parent, 1000, "20%")
    real = Checkpoint.damage

    def damage(checkpoint: Checkpoint) -> str | None:
        if checkpoint.path.is_relative_to(parent.path):
            parent.remove_checkpoint(checkpoint)
        return real(checkpoint)

    monkeypatch.setattr(Checkpoint, "damage", damage)
    assert branch(parent, 1000, "20%") == run
    assert not parent.checkpoint(1000).path.exists()


def test_it_goes_on_with_its_parents_samples_and_tokenizer(tmp_path: Path) -> None:
    parent = make_parent(tmp_path)
    run = branch(parent, 1000, "20%")
    assert run.manifest is None
    assert run.lineage == Lineage(tokenizer_sha256="t0", samples_sha256="s0")
    run.check_samples("s0")
    run.check_tokenizer("t0")
    with pytest.raises(InputError, match="other numbers of samples"):
        run.check_samples("s1")
    with pytest.raises(InputError, match="is not the one this run began with"):
        run.check_tokenizer(None)
    write_checkpoint(run, 1100)
    later = branch(run, 1000, "50%")  # a branch that has never started has no manifest to ask
    assert later.lineage == run.lineage
    parent.manifest_file.unlink()
    with pytest.raises(InputError, match=r"manifest\.json: cannot be read"):
        branch(parent, 2000, "20%")


@pytest.mark.parametrize("source", ["runs/s/r", "@1K", "runs/s/r@", "runs/s/r@many", "runs/s/r@-1", ""])
def test_points_that_are_none_are_refused(source: str) -> None:
    with pytest.raises(InputError, match="expected RUN@SAMPLES"):
        parse_point(source)


def test_points_are_read_from_the_last_at_sign(tmp_path: Path) -> None:
    assert parse_point("runs/s/r@1.28M") == (Path("runs/s/r"), 1_280_000)
    assert parse_point("a@b/r@3K") == (Path("a@b/r"), 3000)
    with pytest.raises(InputError, match="not a run directory"):
        create_branch(f"{tmp_path}@3K", "10%", [], tmp_path)
