"""Writing samples into tars of a given number of samples, and the files around them that make an evaluation
set."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from mammut_clip.config.atomic import atomic_file, write_text
from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.tar_writer import TarWriter

CLASSNAMES = "classnames.txt"
TEMPLATES = "zeroshot_classification_templates.txt"
DATASET_TYPE = "dataset_type.txt"
SHARD_COUNT = "nshards.txt"


class ShardSetWriter:
    """A context that starts a new tar every `samples_per_shard` samples; each appears when it is complete."""

    def __init__(self, folder: Path, samples_per_shard: int, name: Callable[[int], str]) -> None:
        if samples_per_shard < 1:
            raise InputError(f"samples per shard = {samples_per_shard}: expected 1 or more")
        self._folder = folder
        self._samples_per_shard = samples_per_shard
        self._name = name
        self._open = ExitStack()
        self._tar: TarWriter | None = None
        self.samples = 0
        self.shards = 0

    def add(self, key: str, members: dict[str, bytes]) -> None:
        """Append a sample: extension -> bytes."""
        if self.samples % self._samples_per_shard == 0:
            self._finish()
            file = self._open.enter_context(atomic_file(self._folder / self._name(self.shards)))
            self._tar = TarWriter(file)
            self.shards += 1
        assert self._tar is not None
        for extension, data in members.items():
            self._tar.add(f"{key}.{extension}", data)
        self.samples += 1

    def _finish(self) -> None:
        if self._tar is not None:
            self._tar.close()
            self._tar = None
        self._open.close()

    def __enter__(self) -> "ShardSetWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        else:
            self._open.__exit__(kind, error, trace)


def train_shard_name(number: int) -> str:
    """00000.tar, 00001.tar, ..."""
    return f"{number:05d}.tar"


def eval_shard_name(number: int) -> str:
    """0.tar, 1.tar, ... as CLIP_benchmark expects."""
    return f"{number}.tar"


def eval_key(number: int) -> str:
    """s0000000, s0000001, ... as CLIP_benchmark writes them."""
    return f"s{number:07d}"


def write_eval_description(
    folder: Path,
    split: str,
    shards: int,
    *,
    dataset_type: str | None = None,
    classnames: list[str] | None = None,
    templates: list[str] | None = None,
) -> None:
    """The text files of CLIP_benchmark's layout; the shard count comes last and marks the split as complete.

    `dataset_type` None is classification. Raises InputError for names or templates that would not read back.
    """
    for name, lines in ((CLASSNAMES, classnames), (TEMPLATES, templates)):
        if lines is None:
            continue
        broken = [line for line in lines if line != line.strip() or not line or "\n" in line]
        if broken:
            raise InputError(f"{folder / name}: {broken[0]!r} does not fit on a line of its own; expected plain words")
        write_text(folder / name, "".join(f"{line}\n" for line in lines))
    if templates is not None and any("{c}" not in template for template in templates):
        raise InputError(f"{folder / TEMPLATES}: a template without {{c}}; expected such as 'a photo of a {{c}}'")
    if dataset_type is not None:
        write_text(folder / DATASET_TYPE, dataset_type + "\n")
    write_text(folder / split / SHARD_COUNT, f"{shards}\n")
