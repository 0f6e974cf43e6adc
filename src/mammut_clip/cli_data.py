"""The `data` verbs: make, pack and index shards, evaluation sets and tokenizers."""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from mammut_clip.cli_describe import describe
from mammut_clip.config.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Make, pack and index WebDataset shards and evaluation sets.")
pack = typer.Typer(no_args_is_help=True, help="Shards and evaluation sets from your own pictures.")
app.add_typer(pack, name="pack")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else, on standard output.")]
Sources = Annotated[list[str], typer.Argument(help="Folders, tar files, brace patterns, URLs or pipe: commands.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that read shards at the same time.")]
IndexFolder = Annotated[
    Path | None,
    typer.Option(
        "--folder", help="Folder of the index, as data.index; default: beside the shards, or the user's cache."
    ),
]
Out = Annotated[Path, typer.Argument(help="Folder to write; it must not hold another data set.")]
Images = Annotated[Path, typer.Option(help="Folder that the table's picture paths are relative to.")]
ImageColumn = Annotated[str, typer.Option(help="Column with the path of the picture.")]
CaptionColumns = Annotated[list[str], typer.Option("--caption-column", help="Column of captions (may be repeated).")]
PerShard = Annotated[int, typer.Option(help="Samples in each shard.")]
MaxSide = Annotated[int | None, typer.Option(help="Shrink pictures whose shorter side is longer than this.")]
Background = Annotated[str | None, typer.Option(help="Lay transparent pictures on this colour, such as white.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out and list them in quarantine.csv.")]

_LISTED = 50


def _finish(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary, indent=2, ensure_ascii=False))
        return
    rows = [row for value in summary.values() if isinstance(value, list) for row in value if isinstance(row, dict)]
    # What is empty, such as rows that were skipped where none was, is left out; problems go below.
    shown = {k: v for k, v in summary.items() if v not in (None, {}, []) and not (isinstance(v, list) and v[0] in rows)}
    print(", ".join(f"{key} {_shown(value)}" for key, value in shown.items()))
    for row in rows[:_LISTED]:
        print("  " + ": ".join(map(str, row.values())))
    if len(rows) > _LISTED:
        print(f"  and {len(rows) - _LISTED:,} more, which --json lists")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{count:,} {kind}" for kind, count in value.items()) + ")"
    return f"{value:,}" if isinstance(value, int) else str(value)


@app.command()
def toy(
    folder: Annotated[Path, typer.Argument(help="Where to write train/ and evals/.")],
    samples: Annotated[str, typer.Option(help="Training samples, such as 64K.")] = "64K",
    seed: Annotated[int, typer.Option(help="Another seed is another data set of the same world.")] = 0,
    image_size: Annotated[int, typer.Option(help="Pixels a side, 32 to 64.")] = 32,
    as_json: Json = False,
) -> None:
    """Write the toy world: training shards and evaluation sets. What exists is kept."""
    from mammut_clip.tables import progress_bar
    from mammut_clip.toy import make_toy_data

    with progress_bar("writing pictures") as advance:
        summary = make_toy_data(folder, samples, seed, image_size, progress=advance)
    _finish(summary, as_json)


@app.command()
def index(
    sources: Sources,
    counts_only: Annotated[
        bool, typer.Option("--counts-only", help="Take counts from *_stats.json or sizes.json; open no shard.")
    ] = False,
    no_checksum: Annotated[
        bool, typer.Option("--no-checksum", help="Walk headers only; do not read whole shards.")
    ] = False,
    workers: Workers = 1,
    folder: IndexFolder = None,
    as_json: Json = False,
) -> None:
    """Count and locate the samples of shards; stopped, the same command continues. Exit code 3: some are damaged."""
    from mammut_clip.data.shards.build import known_shards
    from mammut_clip.data.shards.index import Shard, summary_of
    from mammut_clip.data.shards.index_files import Depth
    from mammut_clip.data.shards.sources import expand_sources
    from mammut_clip.data.shards.storage import ShardStorage
    from mammut_clip.tables import progress_bar

    if counts_only and no_checksum:
        raise InputError("--counts-only --no-checksum: expected one of them; counting opens no shard anyway")
    depth = Depth.COUNTED if counts_only else Depth.WALKED if no_checksum else Depth.CHECKSUMMED
    with progress_bar("indexing shards") as advance:
        known = known_shards(
            expand_sources(sources),
            ShardStorage(),
            folder=None if folder is None else str(folder),
            enough=depth,
            wanted=depth,
            workers=workers,
            progress=advance,
        )
    for file in sorted({located.file.path for located in known.values()}):
        print(f"index: {file}", file=sys.stderr)
    _finish(summary_of(Shard.of(url, located.entry) for url, located in known.items()), as_json)
    raise typer.Exit(3 if any(located.entry.problem is not None for located in known.values()) else 0)


@app.command()
def check(
    sources: Sources,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every picture and caption, too.")] = False,
    workers: Workers = 1,
    folder: IndexFolder = None,
    as_json: Json = False,
) -> None:
    """Compare shards with their index: there, of the same size, samples and bytes? Exit code 3: not all of them."""
    from mammut_clip.data.shards.check import check_sources
    from mammut_clip.data.shards.storage import ShardStorage
    from mammut_clip.tables import progress_bar

    with progress_bar("checking shards") as advance:
        report = check_sources(
            sources,
            ShardStorage(),
            folder=None if folder is None else str(folder),
            decode=decode,
            workers=workers,
            progress=advance,
        )
    _finish(report.as_dict(), as_json)
    raise typer.Exit(0 if report.is_clean else 3)


@app.command()
def tokenizer(
    sources: Annotated[list[str], typer.Argument(help="Shards whose captions it is learnt from.")],
    out: Annotated[Path, typer.Option(help="The tokenizer's JSON file.")],
    vocab_size: Annotated[int, typer.Option(help="Number of ids, padding, start and end included.")] = 4096,
    as_json: Json = False,
) -> None:
    """Learn a small lower-casing BPE from captions, for models too small for CLIP's 49,408 ids."""
    from mammut_clip.data.shards.captions_in_order import CaptionsInOrder
    from mammut_clip.data.shards.index import ShardIndex
    from mammut_clip.data.shards.storage import ShardStorage
    from mammut_clip.data.tokenizer_files import train_tokenizer

    if out.exists():
        raise InputError(f"{out}: exists already, and runs may depend on its ids; expected the name of a new file")
    captions = CaptionsInOrder(ShardIndex.of_sources(sources), ShardStorage())
    train_tokenizer(captions, vocab_size, out)
    skipped = {"skipped": captions.skipped} if captions.skipped else {}
    _finish({"tokenizer": str(out), "vocab_size": vocab_size, "captions": captions.read} | skipped, as_json)


def _packed(work: Callable[..., Any], max_side: int | None, background: str | None, as_json: bool) -> None:
    """Call a packing function with what all of them take, under a progress bar."""
    from mammut_clip.data.pictures import PictureOptions
    from mammut_clip.tables import progress_bar

    pictures = PictureOptions(max_side, background)
    with progress_bar("packing pictures") as advance:
        report = work(pictures=pictures, progress=advance)
    _finish(report.as_dict(), as_json)


@pack.command("train")
def pack_train(
    table: Annotated[Path, typer.Argument(help="CSV, TSV, Parquet or JSONL with a row per picture.")],
    out: Out,
    images: Images = Path(),
    image_column: ImageColumn = "image",
    caption_column: CaptionColumns = ["caption"],  # noqa: B006 (Typer reads it)
    key_column: Annotated[str | None, typer.Option(help="Column of unique keys; numbers where not given.")] = None,
    samples_per_shard: PerShard = 10_000,
    max_side: MaxSide = None,
    background: Background = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Training shards from pictures and a table of captions."""
    from mammut_clip.data import pack as packing

    _packed(
        partial(
            packing.pack_train,
            table,
            images,
            out,
            image_column=image_column,
            caption_columns=tuple(caption_column),
            key_column=key_column,
            samples_per_shard=samples_per_shard,
            skip_bad=skip_bad,
        ),
        max_side,
        background,
        as_json,
    )


@pack.command("retrieval")
def pack_retrieval(
    table: Annotated[Path, typer.Argument(help="CSV, TSV, Parquet or JSONL with a row per picture.")],
    out: Out,
    images: Images = Path(),
    image_column: ImageColumn = "image",
    caption_column: CaptionColumns = ["caption"],  # noqa: B006 (Typer reads it)
    max_side: MaxSide = None,
    background: Background = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """A retrieval set in CLIP_benchmark's layout from pictures and a table of captions."""
    from mammut_clip.data import pack as packing

    _packed(
        partial(
            packing.pack_retrieval,
            table,
            images,
            out,
            image_column=image_column,
            caption_columns=tuple(caption_column),
            skip_bad=skip_bad,
        ),
        max_side,
        background,
        as_json,
    )


@pack.command("classification")
def pack_classification(
    images: Annotated[Path, typer.Argument(help="One folder per class, or the folder that --table refers to.")],
    out: Out,
    table: Annotated[Path | None, typer.Option(help="CSV, TSV, Parquet or JSONL with a label per picture.")] = None,
    image_column: ImageColumn = "image",
    label_column: Annotated[str, typer.Option(help="Column of class names or numbers.")] = "label",
    classnames: Annotated[Path | None, typer.Option(help="Text file of class names, one a line.")] = None,
    templates: Annotated[Path | None, typer.Option(help="Text file of prompts with {c}, one a line.")] = None,
    max_side: MaxSide = None,
    background: Background = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """A zero-shot classification set in CLIP_benchmark's layout."""
    from mammut_clip.data import pack as packing

    names, prompts = _lines(classnames), _lines(templates)
    if prompts and (without := [prompt for prompt in prompts if "{c}" not in prompt]):
        raise InputError(f"{templates}: expected {{c}} where the class name goes, found {without[0]!r}")
    _packed(
        partial(
            packing.pack_classification,
            images,
            out,
            table=table,
            image_column=image_column,
            label_column=label_column,
            classnames=names,
            templates=prompts,
            skip_bad=skip_bad,
        ),
        max_side,
        background,
        as_json,
    )


def _lines(path: Path | None) -> list[str] | None:
    from mammut_clip.config.files import read_text

    if path is None:
        return None
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path}: expected one entry a line, found none")
    return lines


app.command()(describe)
