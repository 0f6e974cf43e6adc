"""Groups: each must score as it would in a set of its own."""

from pathlib import Path

import pytest
import torch

from evals.small_clip import small_clip
from evals.tasks.zero_shot_sets import REGIONS, open_task, region, write_regions
from mammut_clip.config.errors import InputError
from mammut_clip.evals.subject import Subject
from real_pictures import write_digits

CPU = torch.device("cpu")
KIND = "grouped_classification"


@pytest.fixture(scope="module")
def subject() -> Subject:
    return small_clip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_regions(tmp_path_factory.mktemp("regions"))


def metrics(folder: Path, subject: Subject, kind: str = KIND, **values: object) -> dict[str, float]:
    task = open_task(folder, kind, **values)
    return task.score(task.collect(subject), CPU)


def test_each_group_scores_as_a_set_of_its_own(subject: Subject, folder: Path, tmp_path: Path) -> None:
    found = metrics(folder, subject, group_field="region", group_name="region")
    apart: dict[str, dict[str, float]] = {}
    for number, name in enumerate(REGIONS):
        own = write_regions(tmp_path / name, keep=lambda n, g=number: region(n) == g)  # type: ignore[misc]
        apart[name] = metrics(own, subject, "classification")
        assert found[f"acc_region:{name}"] == pytest.approx(apart[name]["acc1"])
        assert found[f"acc_top5_region:{name}"] == pytest.approx(apart[name]["acc5"])
        assert found[f"count_region:{name}"] == sum(region(n) == number for n in range(300))
    assert found["acc_wg"] == found["acc_worst_region"] == pytest.approx(min(m["acc1"] for m in apart.values()))
    assert found["acc_top5_wg"] == pytest.approx(min(m["acc5"] for m in apart.values()))
    whole = metrics(folder, subject, "classification")
    assert {key: found[key] for key in whole} == whole
    assert (found["acc_avg"], found["recall-macro_all"]) == pytest.approx(
        (whole["acc1"], whole["mean_per_class_recall"])
    )


def test_groups_by_number_are_those_by_name(subject: Subject, folder: Path) -> None:
    """The .npy has 7 first in every sample, and the region second."""
    by_name = metrics(folder, subject, group_field="region", group_name="region", groups_left_out=["west"])
    by_number = metrics(folder, subject, group_field=1, group_name="region", groups_left_out=[2])
    for number, name in enumerate(REGIONS):
        by_name = {key.replace(f":{name}", f":{number}"): value for key, value in by_name.items()}
    assert by_number == by_name
    first = metrics(folder, subject, group_field=0)
    assert first["count_group:7"] == 300
    assert first["acc_wg"] == first["acc_avg"]


def test_without_groups_there_are_averages(subject: Subject, folder: Path) -> None:
    task = open_task(folder, KIND)
    found = task.score(task.collect(subject), CPU)
    assert task.metric == "F1-macro_all"
    assert 0 < found["F1-macro_all"] < 1
    assert "acc_wg" not in found
    assert open_task(folder, KIND, group_field=1).metric == "acc_wg"


def test_a_set_without_groups_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"0\.tar: sample 's0000000' has no \.npy"):
        open_task(write_digits(tmp_path, 8), KIND, group_field=0)
