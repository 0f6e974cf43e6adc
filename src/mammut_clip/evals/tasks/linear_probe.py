"""Linear probe: a linear classifier trained on the features of a frozen model, as CLIP_benchmark trains it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import TaskConfig
from mammut_clip.data.evalsets import EvalSample, EvalSet, open_eval_set
from mammut_clip.distributed.collectives import from_main
from mammut_clip.evals.metrics.classification import classification_metrics
from mammut_clip.evals.probe import LabelledFeatures, Recipe, best_weight_decay, few_shot, train_probes
from mammut_clip.evals.subject import Subject
from mammut_clip.evals.task import Kind, Metrics


class LinearProbeConfig(TaskConfig):
    """A linear classifier learns the classes of `train_split` and is measured on `split`.

    With a validation set its weight decay is the best of a search there, and it is then trained on both sets; without
    one it is 0.
    """

    kind: Literal["linear_probe"]
    """Linear probe: lp_acc1, lp_acc5, lp_mean_per_class_recall, weight_decay."""
    train_split: str = "train"
    """Split that the probe learns from."""
    val_split: str | None = None
    """Split on which the weight decay is chosen."""
    val_proportion: float | None = Field(None, gt=0, lt=1)
    """In place of val_split: the share of the train split that is taken out of it for validation."""
    fewshot_k: int | None = Field(None, ge=1)
    """Pictures of each class that the probe learns from, and from no validation set; null takes all."""
    lr: float = Field(0.1, gt=0)
    """Learning rate at the start; a cosine takes it to 0."""
    epochs: int = Field(10, ge=1)
    """Passes over the train split."""
    probe_batch_size: int = Field(64, ge=1)
    """Features per step of training."""
    seed: int = Field(0, ge=0)
    """Of initial weights, order of samples, and which are taken for validation or few shots."""
    normalize: bool = True
    """Features of unit length, as CLIP compares them."""

    @model_validator(mode="after")
    def _one_validation_set(self) -> "LinearProbeConfig":
        if self.val_split is not None and self.val_proportion is not None:
            raise ValueError("both val_split and val_proportion; expected one of them, or neither")
        return self

    @property
    def recipe(self) -> Recipe:
        """How probes are trained."""
        return Recipe(self.lr, self.epochs, self.probe_batch_size, self.seed)


@dataclass(frozen=True)
class Splits:
    """Features of all that a probe needs; on ranks other than 0 without rows."""

    train: LabelledFeatures
    """In random order."""
    validation: LabelledFeatures | None
    test: LabelledFeatures


@dataclass(frozen=True)
class LinearProbe:
    """Pictures to learn from, perhaps some to choose the weight decay on, and others to measure on."""

    config: LinearProbeConfig
    train: EvalSet
    validation: EvalSet | None
    """None also where it is taken out of the train split."""
    test: EvalSet
    benchmark_name: str = "linear_probe"
    metric: str = "lp_acc1"

    def __len__(self) -> int:
        return len(self.test)

    def unfit(self, subject: Subject) -> str | None:
        """As Task."""
        return None if subject.has_features else "a probe learns from features, and this model has none"

    def definition(self) -> dict[str, Any]:
        """As Task."""
        return {
            "train_samples": len(self.train),
            "validation_samples": None if self.validation is None else len(self.validation),
        }

    def collect(self, subject: Subject) -> Splits:
        """As Task. Raises InputError where a class has fewer pictures than fewshot_k."""
        generator = torch.Generator().manual_seed(self.config.seed)
        train, held_out = _divide(len(self.train), self.config.val_proportion, generator)
        train = train[from_main(self._chosen(subject, train, generator))]
        validation = None
        if self.validation is not None:
            validation = self._features(subject, self.validation, torch.arange(len(self.validation)))
        elif len(held_out):
            validation = self._features(subject, self.train, held_out)
        test = self._features(subject, self.test, torch.arange(len(self.test)))
        return Splits(self._features(subject, self.train, train), validation, test)

    def score(self, collected: Splits, device: torch.device) -> Metrics:
        """As Task."""
        train, test = collected.train.to(device), collected.test.to(device)
        validation = None if collected.validation is None else collected.validation.to(device)
        there = [train, test] if validation is None else [train, validation, test]
        classes = 1 + max(int(samples.labels.max()) for samples in there)
        weight_decay = 0.0
        if validation is not None:
            weight_decay = best_weight_decay(train, validation, classes, self.config.recipe)
            if self.config.fewshot_k is None:  # few shots and a validation set would be more than few shots
                train = train + validation
        probe = train_probes(train, classes, [weight_decay], self.config.recipe)
        metrics = classification_metrics(probe.logits(test.features)[0].cpu(), collected.test.labels)
        return {f"lp_{name}": value for name, value in metrics.items()} | {"weight_decay": weight_decay}

    def _chosen(self, subject: Subject, numbers: Tensor, generator: torch.Generator) -> Tensor | None:
        """Which of `numbers` of the train split to learn from, in random order; on ranks other than 0 None.

        Labels are read alone, so that few shots of a large set need few passes through the model.
        """
        shots, main = self.config.fewshot_k, subject.shared.process.is_main
        if shots is None:
            return torch.randperm(len(numbers), generator=generator) if main else None
        labels = subject.shared.rows(
            len(numbers),
            self.config.batch_size,
            lambda position: _label(self.train[int(numbers[position])]),
            lambda batch: {"labels": torch.tensor(batch)},
        )["labels"]
        lacking = from_main(_lacking(labels, shots) if main else None)
        if lacking:
            label, there = lacking
            raise InputError(
                f"{self.train.folder}: class {self.train.classnames[label]!r} has {there} pictures to learn from in "
                f"split {self.train.split!r}; fewshot_k: {shots} of task {self.config.name} needs as many of each"
            )
        return few_shot(labels, shots, generator) if main else None

    def _features(self, subject: Subject, dataset: EvalSet, numbers: Tensor) -> LabelledFeatures:
        """Samples `numbers` of a set, in their order; read in the set's own order, as disks like it."""
        ordered, places = numbers.sort()

        def load(position: int) -> tuple[Tensor, int]:
            number = int(ordered[position])
            sample = dataset[number]
            return subject.pixels(sample.image, dataset.where(number)), _label(sample)

        def compute(batch: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
            features = self._encode(subject, [pixels for pixels, _ in batch])
            return {"features": features, "labels": torch.tensor([label for _, label in batch])}

        rows = subject.shared.rows(len(numbers), self.config.batch_size, load, compute)
        if subject.shared.process.is_main:
            back = places.argsort()
            rows = {key: values[back] for key, values in rows.items()}
        return LabelledFeatures(rows["features"], rows["labels"])

    def _encode(self, subject: Subject, pixels: list[Tensor]) -> Tensor:
        """[B, E], of unit length where the config says so."""
        if self.config.normalize:
            return subject.encode_images(pixels)
        with subject.computing():
            features: Tensor = subject.model.encode_image(subject.batch(pixels), normalize=False)  # type: ignore[operator]
        return features.float()


def _label(sample: EvalSample) -> int:
    assert isinstance(sample.target, int)
    return sample.target


def _divide(count: int, proportion: float | None, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers of samples to learn from and to validate on."""
    if proportion is None:
        return torch.arange(count), torch.arange(0)
    order, held_out = torch.randperm(count, generator=generator), int(count * proportion)
    return order[: count - held_out], order[count - held_out :]


def _lacking(labels: Tensor, shots: int) -> tuple[int, int] | tuple[()]:
    """(class, how many of it there are) of the first class that occurs fewer than `shots` times, if any."""
    classes, counts = labels.unique(return_counts=True)
    few = (counts < shots).nonzero()
    return (int(classes[few[0]]), int(counts[few[0]])) if len(few) else ()


def _open(config: LinearProbeConfig, folder: Path) -> LinearProbe:
    train = _open_split(config, config.train_split, folder)
    if config.val_proportion is not None and int(len(train) * config.val_proportion) < 1:
        raise InputError(
            f"{folder}: val_proportion: {config.val_proportion} of task {config.name} is less than one of the "
            f"{len(train)} samples of split {config.train_split!r}; expected a share that is one or more"
        )
    validation = None if config.val_split is None else _open_split(config, config.val_split, folder)
    return LinearProbe(config, train, validation, _open_split(config, config.split, folder))


def _open_split(config: LinearProbeConfig, split: str, folder: Path) -> EvalSet:
    dataset = open_eval_set(config.model_copy(update={"split": split}), folder)
    if dataset.type != "classification":
        raise InputError(f"{folder}: a {dataset.type} dataset, and task {config.name} asks for one label per picture")
    # Read now: a missing list of classes must not come to light after hours of training.
    if len(dataset.classnames) < 2:
        raise InputError(f"{folder}: one class; a linear probe needs two or more")
    if not len(dataset):
        raise InputError(f"{folder}: no samples in split {split!r}, which task {config.name} needs")
    return dataset


KIND = Kind(LinearProbeConfig, _open)
