"""Captioning as a task: its captions are those of the command `caption`, on any number of processes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from subjects import ONE, random_subject

from gloo_processes import Results, run_processes
from mammut_clip.captions import CaptionWriter
from mammut_clip.config.errors import InputError
from mammut_clip.data.evalsets import TarEvalSet
from mammut_clip.data.images import EvalTransform, FloatTransform
from mammut_clip.data.text import ClipLayoutTokenizer
from mammut_clip.data.toy_shards import write_toy_evals
from mammut_clip.distributed import Process
from mammut_clip.evals.metrics.captions import caption_metrics
from mammut_clip.evals.sharing import Shared
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.tasks.captioning import KIND, Captioning, CaptioningConfig

PICTURES = 14
METRICS = ["Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr"]
NUCLEUS = {"top_p": 0.9, "seed": 3}


@pytest.fixture(scope="module")
def evals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evals")
    write_toy_evals(folder, pairs_per_class=1, retrieval=PICTURES, segmentation=1)
    return folder


def retrieval_folder(evals: Path) -> Path:
    return next(path.parent for path in sorted(evals.rglob("dataset_type.txt")) if "retrieval" in path.read_text())


def config(**keys: Any) -> CaptioningConfig:
    return CaptioningConfig.model_validate({"name": "captions", "kind": "captioning", "batch_size": 4} | keys)


def captioning(evals: Path, **keys: Any) -> Captioning:
    return KIND.open(config(**keys), retrieval_folder(evals))  # type: ignore[return-value]


def talkative(model: str = "mammut_toy-XS", shared: Shared | None = None) -> Subject:
    """A model whose decoder, which is zero when training begins, says something that depends on the picture."""
    subject = random_subject(model, shared=shared)
    torch.manual_seed(1)
    for parameter in subject.model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.2
    return subject


@pytest.mark.parametrize("keys", [{}, {"beam": {"beams": 3}}, {"nucleus": NUCLEUS, "prompt": "a red", "max_length": 9}])
def test_captions_are_those_that_the_command_writes(evals: Path, keys: dict[str, Any]) -> None:
    subject = talkative()
    task = captioning(evals, **keys)
    collected = task.collect(subject)
    tokenizer = subject.tokenizer
    assert isinstance(tokenizer, ClipLayoutTokenizer)
    transform = FloatTransform(EvalTransform(subject.image_size), subject.mean, subject.std)
    writer = CaptionWriter(
        subject.model, transform, tokenizer, task.config.method, task.config.max_length, task.config.prompt
    )  # type: ignore[arg-type]
    samples = list(TarEvalSet.open(retrieval_folder(evals)))
    expected = writer.write(((sample.key, sample.image) for sample in samples), len(samples))
    assert [one.written for one in collected] == expected
    assert len(set(expected)) > 1
    assert [one.references for one in collected] == [sample.target for sample in samples]
    assert task.score(collected, torch.device("cpu")) == caption_metrics(expected, [s.target for s in samples])
    assert all(one.written.startswith(task.config.prompt) for one in collected)


def everything(evals: Path, shared: Shared) -> Results:
    """Captions as bytes, and metrics where they stand, for two ways to write."""
    results: Results = {}
    for name, keys in {"greedy": {}, "nucleus": {"nucleus": NUCLEUS}}.items():
        task = captioning(evals, **keys, max_length=12)
        collected = task.collect(talkative(shared=shared))
        text = "\n".join(one.written for one in collected)
        results[name] = torch.tensor(list(text.encode()), dtype=torch.uint8)
        if shared.process.is_main:
            metrics = task.score(collected, torch.device("cpu"))
            results[f"{name} metrics"] = torch.tensor(list(metrics.values()), dtype=torch.float64)
    return results


class OnRank:
    """What each process does, with the folder of the sets."""

    def __init__(self, evals: Path) -> None:
        self.evals = evals

    def __call__(self, rank: int) -> Results:
        world = torch.distributed.get_world_size()
        return everything(self.evals, Shared(Process(rank, world, rank, torch.device("cpu"))))


@pytest.mark.distributed
@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_captions_do_not_depend_on_the_number_of_processes(evals: Path, tmp_path: Path, world: int) -> None:
    alone = everything(evals, Shared(ONE))
    main, *others = run_processes(OnRank(evals), world, tmp_path)
    assert all(torch.equal(main[name], alone[name]) for name in alone)
    assert all(len(value) == 0 for other in others for value in other.values())


def test_a_model_without_a_decoder_is_unfit(evals: Path) -> None:
    task = captioning(evals)
    assert task.unfit(random_subject("toy-XS")) == "writes captions, and this model has no decoder"
    assert task.unfit(random_subject("coca_toy-XS")) is None


def test_a_low_precision_writes_too(evals: Path) -> None:
    task = captioning(evals, max_length=8)
    collected = task.collect(replace(talkative(), precision="bf16"))
    assert list(task.score(collected, torch.device("cpu"))) == METRICS


def test_a_set_without_captions_and_keys_that_do_not_fit_are_refused(evals: Path) -> None:
    classes = next(path.parent for path in sorted(evals.rglob("classnames.txt")))
    with pytest.raises(InputError, match="task captions asks for pictures with captions"):
        KIND.open(config(), classes)
    with pytest.raises(ValidationError, match="two ways to write"):
        config(nucleus={}, beam={})
    with pytest.raises(ValidationError, match=r"beam\.beams"):
        config(beam={"beams": 0})
    with pytest.raises(InputError, match="max_length = 2"):
        captioning(evals, prompt="a red dog", max_length=2).collect(random_subject("mammut_toy-XS"))
