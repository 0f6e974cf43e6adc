"""Captioning: what the model writes under pictures, against what people wrote."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from mammut_clip.config.captioning import Beam, Greedy, Method, Nucleus
from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import TaskConfig
from mammut_clip.data.evalsets import EvalSet, open_eval_set
from mammut_clip.data.text import ClipLayoutTokenizer
from mammut_clip.evals.metrics.captions import caption_metrics
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.task import Kind, Metrics
from mammut_clip.models.generate import Captioner


class CaptioningConfig(TaskConfig):
    """Pictures with one caption or several each. Captions are greedy unless nucleus or beam says otherwise."""

    kind: Literal["captioning"]
    """Captioning: Bleu_1 to Bleu_4, ROUGE_L and CIDEr, as pycocoevalcap counts them; METEOR and SPICE need Java and
    are not offered."""
    nucleus: Nucleus | None = None
    """Draw tokens at random, in this way; a picture's random numbers depend on its place in the set alone."""
    beam: Beam | None = None
    """Search with several beams, in this way."""
    prompt: str = ""
    """What every caption begins with; it counts as part of the caption."""
    max_length: int | None = Field(None, ge=2)
    """The largest number of tokens, start and end of text included; null for the model's context length."""

    @model_validator(mode="after")
    def _one_way(self) -> "CaptioningConfig":
        if self.nucleus and self.beam:
            raise ValueError("nucleus and beam are two ways to write; expected one of them")
        return self

    @property
    def method(self) -> Method:
        """How the next token is chosen."""
        return self.nucleus or self.beam or Greedy()


@dataclass(frozen=True)
class Captioned:
    """A picture's captions."""

    written: str
    """By the model."""
    references: list[str]
    """By people; at least one."""


@dataclass(frozen=True)
class Captioning:
    """Pictures with their captions."""

    config: CaptioningConfig
    dataset: EvalSet
    benchmark_name: str = "captioning"
    metric: str = "CIDEr"

    def __len__(self) -> int:
        return len(self.dataset)

    def unfit(self, subject: Subject) -> str | None:
        """As Task."""
        return None if subject.writes_captions else "writes captions, and this model has no decoder"

    def definition(self) -> dict[str, Any]:
        """As Task."""
        return {}

    def collect(self, subject: Subject) -> list[Captioned]:
        """As Task: one for each picture, in order."""
        model, tokenizer = subject.model, subject.tokenizer
        assert isinstance(model, Captioner)
        assert isinstance(tokenizer, ClipLayoutTokenizer)  # what writes captions has a text tower of ours
        prompt = tokenizer.content(self.config.prompt)

        def load(number: int) -> tuple[int, Tensor, list[str]]:
            sample = self.dataset[number]
            assert isinstance(sample.target, list)
            return number, subject.pixels(sample.image, self.dataset.where(number)), sample.target

        def compute(batch: list[tuple[int, Tensor, list[str]]]) -> list[Captioned]:
            numbers, pixels, references = zip(*batch, strict=True)
            with subject.computing():
                ids = model.generate(
                    subject.batch(pixels),
                    method=self.config.method,
                    max_length=self.config.max_length,
                    prompt=prompt,
                    first_row=numbers[0],
                )
            return [Captioned(*pair) for pair in zip(tokenizer.decode(ids), references, strict=True)]

        return subject.shared.objects(len(self.dataset), self.config.batch_size, load, compute)

    def score(self, collected: list[Captioned], device: torch.device) -> Metrics:
        """As Task."""
        return caption_metrics([one.written for one in collected], [one.references for one in collected])


def _open(config: CaptioningConfig, folder: Path) -> Captioning:
    dataset = open_eval_set(config, folder)
    if dataset.type != "retrieval":
        raise InputError(f"{folder}: a {dataset.type} dataset, and task {config.name} asks for pictures with captions")
    return Captioning(config, dataset)


KIND = Kind(CaptioningConfig, _open)
