"""Shards and evaluation sets from what users have: picture files, and a table of captions or labels.

Rows -> candidates (a picture file and the members that go with it) -> checked pictures -> shards in a
temporary folder, which is renamed when all are written. Bad rows stop the whole, all of them counted, unless
they are to be skipped; then they are listed in `quarantine.csv` beside the shards.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.data.packing import Candidate, Layout, PackReport, pack
from mammut_clip.data.pictures import BadRowError, PictureOptions
from mammut_clip.data.shards.index import ShardIndex
from mammut_clip.data.shards.rows import IMAGE_EXTENSIONS
from mammut_clip.data.shards.shard_writer import (
    eval_key,
    eval_shard_name,
    train_shard_name,
    write_eval_description,
)
from mammut_clip.data.tables import Row, Table

PROMPTS = ("a photo of a {c}.",)
"""Zero-shot templates where the user names none."""
_MAX_KEY = 80  # bytes; a tar header has room for 100 with the extension
Progress = Callable[[int, int], None]


def pack_train(
    table: Path,
    images: Path,
    out: Path,
    *,
    image_column: str = "image",
    caption_columns: tuple[str, ...] = ("caption",),
    key_column: str | None = None,
    samples_per_shard: int = 10_000,
    pictures: PictureOptions = PictureOptions(),  # noqa: B008 (frozen)
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> PackReport:
    """Training shards `00000.tar`, ... and their index: one sample per picture and caption.

    `image_column` holds paths relative to `images`. A row with several captions, in several columns or as a
    list in one, makes as many samples. Raises InputError for a table without these columns or rows, and for
    bad rows.
    """
    columns = [image_column, *caption_columns, *([key_column] if key_column else [])]
    rows = Table(table, columns)
    taken: dict[str, int] = {}

    def candidates() -> Iterator[Candidate]:
        for row in rows:
            file = images / row.text(image_column)
            captions = [text for column in caption_columns for text in row.texts(column)]
            problem = _caption_problem(row, image_column, captions)
            key = None
            if key_column is not None and problem is None:
                key = row.text(key_column)
                problem = _key_problem(key, taken, row.number)
            yield Candidate(row.number, file, key, [{"txt": text.encode()} for text in captions], problem)

    layout = Layout("", train_shard_name, lambda number: f"{number:09d}", samples_per_shard)
    report = pack(candidates(), len(rows), str(table), out, layout, pictures, skip_bad, progress)
    ShardIndex.of_sources([str(out)])
    return report


def pack_retrieval(
    table: Path,
    images: Path,
    out: Path,
    *,
    image_column: str = "image",
    caption_columns: tuple[str, ...] = ("caption",),
    split: str = "test",
    samples_per_shard: int = 10_000,
    pictures: PictureOptions = PictureOptions(),  # noqa: B008
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> PackReport:
    """A retrieval set in CLIP_benchmark's layout; rows with the same picture are put together, captions and
    all."""
    rows = Table(table, [image_column, *caption_columns])
    first: dict[str, Row] = {}
    captions: dict[str, list[str]] = {}
    for row in rows:
        name = row.text(image_column) or f"(row {row.number})"
        first.setdefault(name, row)
        texts = [" ".join(text.split()) for column in caption_columns for text in row.texts(column)]
        captions.setdefault(name, []).extend(texts)

    def candidates() -> Iterator[Candidate]:
        for name, row in first.items():
            problem = _caption_problem(row, image_column, captions[name])
            yield Candidate(row.number, images / name, None, [{"txt": "\n".join(captions[name]).encode()}], problem)

    layout = Layout(split, eval_shard_name, eval_key, samples_per_shard)

    def describe(folder: Path, shards: int) -> None:
        write_eval_description(folder, split, shards, dataset_type="retrieval")

    return pack(candidates(), len(first), str(table), out, layout, pictures, skip_bad, progress, describe)


def pack_classification(
    images: Path,
    out: Path,
    *,
    table: Path | None = None,
    image_column: str = "image",
    label_column: str = "label",
    classnames: list[str] | None = None,
    templates: list[str] | None = None,
    split: str = "test",
    samples_per_shard: int = 10_000,
    pictures: PictureOptions = PictureOptions(),  # noqa: B008
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> PackReport:
    """A zero-shot classification set in CLIP_benchmark's layout.

    Without a table, `images` has one folder per class, and `classnames` renames them in sorted order
    (default: the folders' names, `_` read as a space). With a table, `label_column` holds class names, or
    numbers of `classnames`.
    """
    rows = _labelled_folders(images) if table is None else _labelled_table(table, images, image_column, label_column)
    labels = sorted({label for _, _, label in rows if label})
    if table is None:
        names = classnames or [label.replace("_", " ") for label in labels]
        if len(names) != len(labels):
            raise InputError(f"{len(names)} class names for the {len(labels)} folders in {images}: expected one each")
        number = {label: place for place, label in enumerate(labels)}
    else:
        names = classnames or labels
        number = {name: place for place, name in enumerate(names)}
        if labels and all(label.isdecimal() for label in labels):
            if classnames is None:
                raise InputError(
                    f"{table}: column {label_column!r} holds numbers; expected class names to go with them"
                )
            number = {str(place): place for place in range(len(names))}

    def candidates() -> Iterator[Candidate]:
        for row, file, label in rows:
            problem = None
            if label not in number:
                reason = nearest(label, list(number)) if label else "no label"
                problem = BadRowError("unknown label", f"label {label!r}: {reason}")
            yield Candidate(row, file, None, [{"cls": str(number.get(label, -1)).encode()}], problem)

    layout = Layout(split, eval_shard_name, eval_key, samples_per_shard)

    def describe(folder: Path, shards: int) -> None:
        prompts = list(templates or PROMPTS)
        write_eval_description(folder, split, shards, classnames=names, templates=prompts)

    source = str(table or images)
    return pack(candidates(), len(rows), source, out, layout, pictures, skip_bad, progress, describe)


_Labelled = list[tuple[int, Path, str]]
"""Row, file and label."""


def _labelled_folders(images: Path) -> _Labelled:
    if not images.is_dir():
        raise InputError(f"{images}: no such folder; expected one folder of pictures per class in it")
    extensions = {f".{extension}" for extension in (*IMAGE_EXTENSIONS, "bmp", "gif", "tif", "tiff")}
    files = sorted(p for p in images.glob("*/*") if p.suffix.lower() in extensions and not p.name.startswith("."))
    if not files:
        raise InputError(f"{images}: no pictures in folders below it; expected one folder of pictures per class")
    return [(number, file, file.parent.name) for number, file in enumerate(files, start=1)]


def _labelled_table(table: Path, images: Path, image_column: str, label_column: str) -> _Labelled:
    rows = Table(table, [image_column, label_column])
    return [(row.number, images / row.text(image_column), row.text(label_column)) for row in rows]


def _caption_problem(row: Row, image_column: str, captions: list[str]) -> BadRowError | None:
    if not row.text(image_column):
        return BadRowError("missing file", f"column {image_column!r} names no picture")
    return None if captions else BadRowError("empty caption", "no caption in this row")


def _key_problem(key: str, taken: dict[str, int], row: int) -> BadRowError | None:
    if not key or "." in key or key.startswith("/") or len(key.encode()) > _MAX_KEY:
        return BadRowError("unusable key", f"key {key!r}: expected 1 to {_MAX_KEY} bytes without a dot")
    if key in taken:
        return BadRowError("duplicate key", f"key {key!r} stands in row {taken[key]} already")
    taken[key] = row
    return None
