"""The suites that come with the program: what they hold, where it comes from, and the metrics that they name."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from subjects import random_subject

from mammut_clip.config.evals import TaskConfig
from mammut_clip.config.files import shipped
from mammut_clip.data.shards.shard_writer import ShardSetWriter, eval_key, eval_shard_name, write_eval_description
from mammut_clip.evals.suite import load_suite, open_task

# DataComp's main metrics where they are not acc1, by dataset.
DATACOMP_METRICS = {
    "vtab/caltech101": "mean_per_class_recall",
    "vtab/flowers": "mean_per_class_recall",
    "vtab/pets": "mean_per_class_recall",
    "fgvc_aircraft": "mean_per_class_recall",
    "wilds/iwildcam": "F1-macro_all",
    "wilds/fmow": "acc_worst_region",
    "fairness/dollar_street": "acc_top5_wg",
    "fairness/geode": "acc_wg",
    "flickr30k": "mean_recall@1",
    "mscoco_captions": "mean_recall@1",
    "winogavil": "jaccard_score_10-12",
}
SHIFTS = {"imagenetv2", "imagenet-r", "imagenet-a", "imagenet_sketch", "objectnet"}


def members(suite: str, average: str) -> list[str]:
    return next(found.tasks for found in load_suite(suite).averages if found.name == average)


@pytest.mark.parametrize("name", sorted(shipped("evals")))
def test_a_suite_can_be_read_and_says_where_its_data_come_from(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert all(task.source for task in suite.tasks) or name == "emoji"  # whose data its tutorial makes
    places = [(task.kind, task.folder_name, task.split) for task in suite.tasks]
    assert len(set(places)) == len(places)
    assert all(len(set(average.tasks)) == len(average.tasks) for average in suite.averages)


def test_datacomps_38() -> None:
    suite = load_suite("datacomp38")
    assert len(suite.tasks) == 38
    assert {task.dataset_name: task.metric for task in suite.tasks if task.metric} == DATACOMP_METRICS
    retrieval = {task.name for task in suite.tasks if task.kind in ("retrieval", "winogavil")}
    everything = {task.name for task in suite.tasks}
    assert set(members("datacomp38", "datacomp_average")) == everything
    assert set(members("datacomp38", "datacomp_retrieval")) == retrieval
    assert set(members("datacomp38", "classification_35")) == everything - retrieval
    assert (len(retrieval), len(members("datacomp38", "datacomp_vtab"))) == (3, 13)
    assert set(members("datacomp38", "datacomp_shifts")) == {*SHIFTS, "imagenet-o"}


def test_folders_and_repositories_are_those_of_datacomp() -> None:
    for task in load_suite("datacomp38").tasks:
        if task.kind in ("classification", "grouped_classification"):
            own = task.dataset_name.removeprefix("fairness/").replace("/", "-")
            assert (task.folder_name, task.source) == (f"wds_{own}", f"djghosh/wds_{own}_test")


def test_the_papers_tasks() -> None:
    suite = load_suite("paper")
    kinds = [task.kind for task in suite.tasks]
    assert (len(kinds), kinds.count("retrieval"), kinds.count("segmentation")) == (37, 1, 1)
    assert set(members("paper", "imagenet_shifts")) == SHIFTS
    assert len(members("paper", "classification_35")) == 35
    known = {task.name: task for task in load_suite("datacomp38").tasks}
    assert all(known[name] in suite.tasks for name in members("paper", "classification_35"))


def test_names_of_the_first_suites_stay() -> None:
    """Results in run directories carry them."""
    assert [task.name for task in load_suite("toy").tasks] == ["toy_pairs", "toy_retrieval"]
    assert [task.name for task in load_suite("emoji").tasks] == ["emoji_groups", "emoji_retrieval"]
    assert [task.folder_name for task in load_suite("toy").tasks] == ["wds_toy_pairs", "wds_toy_retrieval"]


def picture(number: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def npy(*values: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(values))
    return file.getvalue()


def write_shards(folder: Path, samples: list[dict[str, bytes]], **description: Any) -> None:
    with ShardSetWriter(folder / "test", 100, eval_shard_name) as writer:
        for number, sample in enumerate(samples):
            writer.add(eval_key(number), {"png": picture(number), **sample})
    write_eval_description(folder, "test", writer.shards, **description)


def write_small(folder: Path, task: TaskConfig) -> None:
    """A few samples of noise, in the form that the task's dataset has."""
    if task.kind == "winogavil":
        (folder / "images").mkdir(parents=True)
        words = [f"w{number}" for number in range(12)]
        for number, word in enumerate(words):
            (folder / "images" / f"{word}.jpg").write_bytes(picture(number))
        rows = [
            {"ID": str(size), "cue": "cue", "candidates": words[:size], "associations": words[:2]} for size in (5, 12)
        ]
        (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif task.kind == "retrieval":
        write_shards(folder, [{"txt": b"one\ntwo"}, {"txt": b"three"}], dataset_type="retrieval")
    else:
        names = [f"class {number}" for number in range(8)]
        samples = [{"cls": b"%d" % (number % 8), "npy": npy(number % 3, 7, 7)} for number in range(16)]
        write_shards(folder, samples, classnames=names, templates=["a {c}"])


def test_each_task_gives_the_metric_that_it_is_known_by(tmp_path: Path) -> None:
    """Of all suites, one task for each kind and metric, run by a small model."""
    tasks = [task for name in shipped("evals") for task in load_suite(name).tasks if task.metric is not None]
    different = {(task.kind, task.metric): task for task in tasks}
    assert len(different) >= 7
    subject = random_subject()
    for (_, metric), task in different.items():
        write_small(tmp_path / task.folder_name / task.name, task)
        entry = open_task(
            task.model_copy(update={"samples": None, "folder": f"{task.folder_name}/{task.name}"}), tmp_path
        )
        assert entry.task is not None, entry.problem
        metrics = entry.task.score(entry.task.collect(subject), torch.device("cpu"))
        assert metric in metrics
        assert 0.0 <= metrics[metric] <= 1.0
