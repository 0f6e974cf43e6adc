"""WinoGAViL (Bitton et al. 2022): which of 5 to 12 pictures go with a cue, scored as DataComp does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mammut_clip.config.evals import Layout, TaskConfig
from mammut_clip.data.evalsets import WinogavilSet, open_winogavil_set
from mammut_clip.evals.metrics.jaccard import jaccard_index, jaccard_metrics
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.task import Kind, Metrics


class WinogavilConfig(TaskConfig):
    """The pictures nearest to a cue, as many as go with it, are the model's choice."""

    kind: Literal["winogavil"]
    """WinoGAViL: jaccard_score_10-12 and others."""
    layout: Layout = "winogavil"
    """How the files lie in the folder (docs/evaluation-data.md)."""


@dataclass(frozen=True)
class Associations:
    """Features of candidates and cues; on ranks other than 0 without rows."""

    images: Tensor
    """[candidates, E], unit length, each different candidate once."""
    cues: Tensor
    """[samples, E], unit length."""


@dataclass(frozen=True)
class Winogavil:
    """Cues, and candidate pictures for each."""

    config: WinogavilConfig
    dataset: WinogavilSet
    benchmark_name: str = "image_association"
    metric: str = "jaccard_score_10-12"

    def __len__(self) -> int:
        return len(self.dataset)

    def unfit(self, subject: Subject) -> str | None:
        """As Task."""
        return subject.lacks_features()

    def definition(self) -> dict[str, Any]:
        """As Task."""
        return {"templates": ["A {cue}", "An {cue}"]}

    def collect(self, subject: Subject) -> Associations:
        """As Task."""
        candidates = self.dataset.candidates

        def load(number: int) -> Tensor:
            candidate = candidates[number]
            return subject.pixels(self.dataset.picture(candidate), f"{self.dataset.folder}: picture of {candidate!r}")

        def compute(batch: list[Tensor]) -> dict[str, Tensor]:
            return {"images": subject.encode_images(batch)}

        prompts = [prompt(self.dataset.question(number).cue) for number in range(len(self.dataset))]
        images = subject.shared.rows(len(candidates), self.config.batch_size, load, compute)["images"]
        return Associations(images, subject.text_features(prompts, self.config.batch_size))

    def score(self, collected: Associations, device: torch.device) -> Metrics:
        """As Task."""
        row = {candidate: number for number, candidate in enumerate(self.dataset.candidates)}
        indices, sizes = [], []
        for number, cue in enumerate(collected.cues):
            question = self.dataset.question(number)
            shown = collected.images[[row[candidate] for candidate in question.candidates]]
            truth = torch.zeros(len(shown), dtype=torch.bool)
            truth[list(question.associations)] = True
            indices.append(jaccard_index(shown @ cue, truth))
            sizes.append(len(shown))
        return jaccard_metrics(indices, sizes)


def prompt(cue: str) -> str:
    """DataComp's: `A flea`, `An ear`, in lower case but for the article."""
    cue = cue.lower()
    return f"{'An' if cue[0] in 'aeiou' else 'A'} {cue}"


def _open(config: WinogavilConfig, folder: Path) -> Winogavil:
    return Winogavil(config, open_winogavil_set(config, folder))


KIND = Kind(WinogavilConfig, _open)
