"""kill -9 while a checkpoint is being written: what is found afterwards is whole, and as new as it can be."""

import random
import shutil
import signal
import time
from pathlib import Path

from checkpoint_case import ONE, Case, require_equal, run_with
from checkpoint_crashes import save_for_ever, save_once, start

from mammut_clip.runs.layout import RunDir
from mammut_clip.train.checkpoint import CheckpointWriter, restore


def restored_point(run: RunDir) -> int:
    """Where the run would go on; its state is checked against that of a run which was never stopped."""
    case = Case(run, steps=1, seed=9)
    restored = restore(run, case.model, case.optimizer, ONE)
    if restored is None:
        return 0
    require_equal(case.values(), Case(run, steps=restored.samples_seen // 64).values())
    return restored.samples_seen


def names(run: RunDir) -> list[str]:
    return sorted(path.name for path in run.checkpoints_folder.iterdir())


def save(run: RunDir, samples_seen: int) -> None:
    case = Case(run, steps=samples_seen // 64)
    with CheckpointWriter(run, case.model, case.optimizer, ONE) as writer:
        writer.save(samples_seen)


def found_after_each_crash(run: RunDir, *, replace: bool) -> list[int]:
    """Where copies of the run would go on that died before the first, second, ... change made by saving at 128."""
    found = []
    while True:
        copy = RunDir(run.path.with_name(f"copy-{len(found)}"))
        shutil.copytree(run.path, copy.path)
        process = start(save_once, copy.path, 128, len(found) + 1, replace=replace)
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        found.append(restored_point(copy))
        assert not [name for name in names(copy) if name.startswith(".")], "nothing is left over"
        shutil.rmtree(copy.path)
        if process.exitcode == 0:
            return found


def test_killed_while_a_damaged_one_is_replaced(tmp_path: Path) -> None:
    """Which is the most that there is to do: a leftover and an old one go, too."""
    run = run_with(tmp_path, checkpoint={"keep_last": 2, "permanent": []})
    save(run, 64)
    save(run, 128)
    (run.checkpoint(128).path / "__0_0.distcp").write_bytes(b"cut off")
    shutil.copytree(run.checkpoint(128).path, run.checkpoints_folder / ".192.unfinished")
    found = found_after_each_crash(run, replace=False)
    assert found.count(64) > 5
    assert found.count(128) > 5
    assert found == sorted(found), "once the new one counts, it counts whatever comes later"


def test_killed_while_the_only_one_is_replaced(tmp_path: Path) -> None:
    run = run_with(tmp_path, checkpoint={"keep_last": 1, "permanent": []})
    save(run, 128)
    found = found_after_each_crash(run, replace=True)
    assert len(found) > 10
    assert set(found) == {128}, "at no moment is there none"


def test_killed_at_random_moments(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    process = start(save_for_ever, run.path)
    while not run.checkpoints:
        time.sleep(0.01)
        assert process.is_alive()
    newest, draw = 0, random.Random(5)
    for _ in range(5):
        time.sleep(draw.uniform(0, 0.5))
        process.kill()
        process.join()
        point = restored_point(run)
        assert point >= newest
        assert point > 0
        newest = point
        process = start(save_for_ever, run.path)
    process.kill()
    process.join()
