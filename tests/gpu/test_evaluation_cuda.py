"""Every kind of task that the toy world has data for, on a CUDA device beside the CPU."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from subjects import random_subject

from mammut_clip.data.toy_shards import write_toy_evals
from mammut_clip.distributed import Process
from mammut_clip.evals.metrics.retrieval import retrieval_metrics
from mammut_clip.evals.points import Point
from mammut_clip.evals.run import Outcome, evaluate
from mammut_clip.evals.sharing import Shared
from mammut_clip.evals.subject import Precision, Subject
from mammut_clip.evals.suite import load_suite, open_suite

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


@pytest.fixture(scope="module")
def evals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evals")
    write_toy_evals(folder, pairs_per_class=2, retrieval=128, segmentation=6)
    return folder


def on_cuda(model: str, precision: Precision = "fp32") -> Subject:
    subject = random_subject(model)
    process = Process(rank=0, world_size=1, local_rank=0, device=torch.device("cuda"))
    return replace(subject, model=subject.model.cuda(), shared=Shared(process, 2), precision=precision)


@pytest.mark.parametrize("model", ["toy-XS", "mammut_toy-XS", "coca_toy-XS", "cap_toy-XS"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_kind_of_task_runs(model: str, precision: Precision, evals: Path, tmp_path: Path) -> None:
    suite = load_suite("toy-full")
    outcome = Outcome(Point(model, "weights", "identity", tmp_path))
    subject = on_cuda(model, precision)
    evaluate(subject, open_suite(suite, evals), outcome)
    assert not outcome.failed
    assert set(outcome.records) | set(outcome.unfit) == {task.name for task in suite.tasks}
    assert {record.precision for record in outcome.records.values()} == {precision}


def test_features_and_scores_are_those_of_the_cpu(evals: Path) -> None:
    for name, model in (("toy_pairs", "toy-XS"), ("toy_pairs_likelihood", "mammut_toy-XS")):
        (entry,) = open_suite(load_suite("toy-full"), evals, [name])
        assert entry.task is not None
        found = [vars(entry.task.collect(subject)) for subject in (random_subject(model), on_cuda(model))]
        for key, value in found[0].items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(found[1][key], value, atol=2e-4, rtol=2e-4)


def test_retrieval_is_counted_on_the_device_as_on_the_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.nn.functional.normalize(torch.randn(700, 64, generator=generator), dim=1)
    owners = torch.arange(2100) // 3
    texts = torch.nn.functional.normalize(images[owners] + 0.3 * torch.randn(2100, 64, generator=generator), dim=1)
    cpu, cuda = (retrieval_metrics(images, texts, owners, torch.device(kind)) for kind in ("cpu", "cuda"))
    assert cuda == pytest.approx(cpu, abs=0.01)
