"""What `mammut-clip eval` is asked to evaluate: runs, sweeps, checkpoints, and models from elsewhere.

runs/sweep                       every run in it; of each the last checkpoint, or all
runs/sweep/run                   the same of one run
runs/sweep/run@1.28M             one checkpoint; also its folder, checkpoints/1280000
FOLDER                           as `mammut-clip convert` and open_clip write them
FILE with --model NAME           weights: safetensors, or PyTorch tensors (open_clip's, the MaMMUT fork's)
hf-hub:OWNER/NAME                a repository in open_clip's layout, from the hub or its local cache
open_clip:NAME/PRETRAINED        a model of open_clip with one of its pretrained tags, or a file of weights
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from mammut_clip.api import DescribedModel, describe_model, described_model, resolve_point
from mammut_clip.config.errors import InputError
from mammut_clip.data.text import tokenizer_digest
from mammut_clip.distributed.collectives import on_main
from mammut_clip.evals.open_clip_model import open_clip_subject
from mammut_clip.evals.points import Point, file_identity, run_point
from mammut_clip.evals.sharing import Shared
from mammut_clip.evals.subject import Precision, Subject, make_subject
from mammut_clip.models.build import build_to_fill
from mammut_clip.models.exchange.files import weights_in
from mammut_clip.models.sharded import read_sharded
from mammut_clip.runs.layout import Checkpoint, RunDir, SweepDir

HUB, OPEN_CLIP = "hf-hub:", "open_clip:"
Make = Callable[[Shared, Precision], Subject]


@dataclass(frozen=True)
class RunTarget:
    """A run, whose checkpoints are evaluated with one model."""

    run: RunDir
    only: Checkpoint | None = None
    """The checkpoint that was asked for."""

    def checkpoints(self, *, every: bool) -> list[Checkpoint]:
        """Those to evaluate now, earliest first: the one asked for, the last complete one, or every one."""
        if self.only is not None:
            return [self.only]
        return self.run.checkpoints if every else self.run.checkpoints[-1:]

    def point(self, checkpoint: Checkpoint) -> Point:
        """Where a checkpoint's results stand."""
        return run_point(self.run, checkpoint.samples_seen)

    def make(self, shared: Shared, precision: Precision) -> Subject:
        """The run's model, without the weights of any checkpoint yet."""
        architecture = self.run.config.model.architecture
        self.run.check_tokenizer(tokenizer_digest(architecture.text_cfg))
        model = build_to_fill(architecture).to(shared.process.device).eval()
        return make_subject(model, architecture, shared, precision)

    def load(self, model: nn.Module, checkpoint: Checkpoint) -> None:
        """Read a checkpoint's weights. Raises InputError where it is damaged."""
        damage = checkpoint.damage()
        if damage is not None:
            raise InputError(f"{checkpoint.path}: {damage}")
        read_sharded(model, checkpoint.path)


@dataclass(frozen=True)
class ModelTarget:
    """A model from elsewhere: one set of weights."""

    point: Point
    make: Make
    """Builds it with its weights."""


Target = RunTarget | ModelTarget


def expand(names: Sequence[str]) -> list[str]:
    """The names, where a sweep's folder stands for the runs that are in it now. One look, for rank 0."""
    return [inner for name in names for inner in _runs_of(name)]


def _runs_of(name: str) -> list[str]:
    path = Path(name)
    if not path.is_dir() or (path / "config.yaml").is_file():
        return [name]
    return [str(run.path) for run in SweepDir(path).runs()] or [name]


def find_target(name: str, model: str | None, out: Path) -> Target:
    """What a name means, sweeps aside. Collective. Raises InputError for what is not there, before anything large is
    read.

    `model`: the architecture of files of weights, which do not say theirs. Results of models from elsewhere go to
    `out`.
    """
    if name.startswith(OPEN_CLIP):
        return _open_clip(name, out)
    if name.startswith(HUB):
        return _described(name, describe_model(_from_hub(name)), out)
    path = resolve_point(name)
    if path.is_file():
        return _file(path, model, out)
    if not path.is_dir():
        raise InputError(
            f"{name}: no such file or folder; expected a run, a sweep, a checkpoint, a folder or file of "
            f"weights, {HUB}OWNER/NAME or {OPEN_CLIP}NAME/PRETRAINED"
        )
    return _folder(path, out)


def _folder(path: Path, out: Path) -> Target:
    if (path / "config.yaml").is_file():
        return RunTarget(RunDir.at(path))
    run = path.absolute().parent.parent
    if path.absolute().parent.name == "checkpoints" and (run / "config.yaml").is_file():
        return RunTarget(RunDir.at(run), Checkpoint(int(path.name), path))
    return _described(str(path), describe_model(path), out)


def _file(path: Path, model: str | None, out: Path) -> ModelTarget:
    if model is None:
        raise InputError(f"{path}: a file of weights does not say which model it is of; name it with --model")
    described = describe_model(model)
    return _target(str(path), DescribedModel(described.config, described.name, path), path, out)


def _described(name: str, described: DescribedModel, out: Path) -> ModelTarget:
    folder = described.weights
    weights = None if folder is None else weights_in(folder)
    if weights is None:
        raise InputError(f"{name}: no weights in this folder")
    return _target(name, described, weights, out)


def _target(name: str, described: DescribedModel, weights: Path, out: Path) -> ModelTarget:
    def make(shared: Shared, precision: Precision) -> Subject:
        built = described_model(described).to(shared.process.device)
        pixels = described.preprocessing
        return make_subject(built, described.config, shared, precision, pixels.mean, pixels.std)

    return _of_file(weights, make, partial(Point, described.name, name, folder=out / _slug(name)))


def _open_clip(name: str, out: Path) -> ModelTarget:
    model, slash, pretrained = name.removeprefix(OPEN_CLIP).partition("/")
    if not slash or not model or not pretrained:
        raise InputError(f"{name}: expected {OPEN_CLIP}NAME/PRETRAINED, such as {OPEN_CLIP}ViT-B-32/laion2b_s34b_b79k")
    make = partial(open_clip_subject, model, pretrained)
    if on_main(lambda: Path(pretrained).is_file()):
        return _of_file(Path(pretrained), make, partial(Point, model, pretrained, folder=out / _slug(name)))
    return ModelTarget(Point(model, pretrained, name, out / _slug(name)), make)


def _of_file(weights: Path, make: Make, point: Callable[[str], Point]) -> ModelTarget:
    """A model with a file of weights, which is read when its turn comes; by then it may be another file."""
    state, identity = on_main(lambda: (_state_of(weights), file_identity(weights)))

    def make_if_same(shared: Shared, precision: Precision) -> Subject:
        subject = make(shared, precision)
        if _state_of(weights) != state:
            raise InputError(f"{weights}: was replaced meanwhile; the same command evaluates the new weights")
        return subject

    return ModelTarget(point(identity), make_if_same)


def _state_of(file: Path) -> tuple[int, int] | None:
    try:
        state = file.stat()
    except FileNotFoundError:
        return None
    return state.st_size, state.st_mtime_ns


def _from_hub(name: str) -> Path:
    """The repository's folder in the local cache, fetched where it is not there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = ["open_clip_config.json", "open_clip_model.safetensors", "*tokenizer*", "vocab*", "merges.txt"]
    try:
        return Path(snapshot_download(name.removeprefix(HUB), allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, ValueError, OSError) as error:
        raise InputError(f"{name}: not to be had from the hub or its cache ({str(error).splitlines()[0]})") from error


def _slug(name: str) -> str:
    return re.sub(r"[^\w.@+-]+", "_", name).strip("_")
