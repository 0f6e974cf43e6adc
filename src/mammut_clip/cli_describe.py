"""`mammut-clip data describe`: what a data set holds, as tables, one JSON document, and a sheet of its pictures."""

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mammut_clip.data.contact_sheet import Tile
    from mammut_clip.data.description import Description, Quantiles

_FIELDS_SHOWN = 30

Row = dict[str, Any]


def describe(
    sources: Annotated[
        list[str], typer.Argument(help="Folders, tar files, brace patterns, http(s):// and s3:// URLs, pipe: commands.")
    ],
    samples: Annotated[int, typer.Option(help="Samples to look at, drawn at random.")] = 1000,
    sheet: Annotated[
        Path | None, typer.Option(help="Draw 48 of the pictures with their captions into this PNG file.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other samples.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, and nothing else, on standard output.")
    ] = False,
) -> None:
    """Look into training shards: pictures, captions, JSON fields, and what is damaged."""
    from mammut_clip.config.data import DataConfig
    from mammut_clip.config.load import validate
    from mammut_clip.data import contact_sheet
    from mammut_clip.data.describe import describe as look_at
    from mammut_clip.data.stream import open_index
    from mammut_clip.tables import progress_bar

    with progress_bar("indexing shards") as advance:
        index = open_index(validate(DataConfig, {"train": sources}, "the command line"), advance)
    tiles = contact_sheet.COLUMNS * contact_sheet.ROWS if sheet is not None else 0
    with progress_bar("reading samples") as advance:
        found, drawn = look_at(index, index.storage, samples=samples, seed=seed, tiles=tiles, progress=advance)
    if sheet is not None:
        _write_sheet(drawn, sheet)
    if as_json:
        print(json.dumps(asdict(found), indent=2, ensure_ascii=False))
    else:
        print_description(found)


def _write_sheet(tiles: "list[Tile]", path: Path) -> None:
    from mammut_clip.config.atomic import write_bytes
    from mammut_clip.data.contact_sheet import contact_sheet

    file = io.BytesIO()
    contact_sheet(tiles).save(file, "PNG")
    write_bytes(path, file.getvalue())


def print_description(found: "Description") -> None:
    """Tables on standard output; those that would be empty are left out."""
    from mammut_clip.tables import print_rows

    size = None if found.bytes is None else f"{found.bytes:,}"
    counts = {"shards": f"{found.shards:,}", "samples": f"{found.samples:,}", "bytes": size}
    drawn = {"drawn": f"{found.drawn:,}", "of shards": found.drawn_shards}
    tables: list[tuple[str, list[Row]]] = [
        ("data set", [counts | drawn]),
        ("pictures", _formats(found)),
        ("quantities", _quantities(found)),
        ("captions (.txt)", _captions(found)),
        ("fields of .json", _fields(found)),
        ("bad samples", _bad(found)),
        ("damaged shards", [{"shard": shard.shard, "problem": shard.problem} for shard in found.damaged_shards]),
    ]
    for title, rows in tables:
        if rows:
            print_rows(rows, title)


def _formats(found: "Description") -> list[Row]:
    if found.pictures is None:
        return []
    formats = found.pictures.formats
    return [
        {"format": name, "pictures": f"{count:,}", "share": _percent(count / found.pictures.count)}
        for name, count in formats.items()
    ]


def _quantities(found: "Description") -> list[Row]:
    rows: list[Row] = []
    if (pictures := found.pictures) is not None:
        rows += [
            _quantiles("width, pixels", pictures.width),
            _quantiles("height, pixels", pictures.height),
            _quantiles("shorter side, pixels", pictures.shorter_side),
            _quantiles("longer side / shorter side", pictures.aspect),
            _quantiles("megapixels", pictures.megapixels),
            _quantiles("bytes of a picture", pictures.bytes),
        ]
    if (captions := found.captions) is not None:
        rows += [
            _quantiles("characters of a caption", captions.characters),
            _quantiles("words of a caption", captions.words),
        ]
    return rows


def _quantiles(quantity: str, found: "Quantiles") -> Row:
    return {
        "quantity": quantity,
        "least": found.least,
        "5%": found.q05,
        "median": found.median,
        "95%": found.q95,
        "most": found.most,
    }


def _captions(found: "Description") -> list[Row]:
    if found.captions is None:
        return []
    captions = found.captions
    row = {"captions": f"{captions.count:,}", "share": _percent(captions.count / found.drawn)}
    return [row | {"empty": _percent(captions.empty), "duplicate": _percent(captions.duplicate)}]


def _fields(found: "Description") -> list[Row]:
    rows: list[Row] = [
        {
            "field": field.name,
            "share": _percent(field.share),
            "with text": _percent(field.texts),
            "characters (median)": "" if field.characters is None else f"{field.characters:g}",
        }
        for field in found.fields[:_FIELDS_SHOWN]
    ]
    if len(found.fields) > _FIELDS_SHOWN:
        rows.append(dict.fromkeys(rows[0], "") | {"field": f"and {len(found.fields) - _FIELDS_SHOWN} more, see --json"})
    return rows


def _bad(found: "Description") -> list[Row]:
    """The examples of a kind below each other, with the count beside the first."""
    return [
        {
            "kind": str(bad.kind) if first else "",
            "samples": f"{bad.count:,}" if first else "",
            "share": _percent(bad.share) if first else "",
            "shard": example.shard,
            "key": example.key,
            "reason": example.reason,
        }
        for bad in found.bad
        for first, example in zip([True] + [False] * len(bad.examples), bad.examples, strict=False)
    ]


def _percent(share: float) -> str:
    return f"{share:.1%}"
