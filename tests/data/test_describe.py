"""`data describe`: which samples are looked at, that figures are those of the samples, and what counts as bad."""

import io
import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from mammut_clip.cli_describe import describe as command
from mammut_clip.config.data import DataConfig, DatasetConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.bad_samples import Bad
from mammut_clip.data.contact_sheet import Tile
from mammut_clip.data.describe import LEAST_SHARDS, describe, draw
from mammut_clip.data.description import Description, Quantiles
from mammut_clip.data.shards.index import ShardIndex
from mammut_clip.data.shards.shard_writer import ShardSetWriter, train_shard_name
from mammut_clip.data.shards.storage import ShardStorage
from mammut_clip.data.stream import open_train_stream
from mammut_clip.data.tokenizer import Tokenizer

Members = dict[str, bytes]


def picture(width: int, height: int, kind: str = "PNG", colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, kind)
    return file.getvalue()


def giant() -> bytes:
    """A PNG that says it has 10^10 pixels."""
    data = bytearray(picture(8, 8))
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def good(number: int) -> Members:
    """A PNG of (10 + number) x 20 pixels."""
    return {"png": picture(10 + number, 20), "txt": f"picture number {number}".encode()}


def write(folder: Path, samples: list[Members], per_shard: int = 4) -> Path:
    with ShardSetWriter(folder, per_shard, train_shard_name) as writer:
        for number, members in enumerate(samples):
            writer.add(f"k{number:04d}", members)
    return folder


def look(*sources: str | Path, samples: int = 1000, seed: int = 0, tiles: int = 0) -> tuple[Description, list[Tile]]:
    storage = ShardStorage()
    index = ShardIndex.open([DatasetConfig(name="train", sources=[str(source) for source in sources])], storage)
    return describe(index, storage, samples=samples, seed=seed, tiles=tiles)


counts_of_shards = st.lists(st.integers(0, 40), min_size=1, max_size=200).filter(any)


@settings(max_examples=60, deadline=None)
@given(counts_of_shards, st.integers(1, 600), st.integers(0, 5))
def test_draws_different_samples_as_many_as_wanted_from_few_shards(counts: list[int], samples: int, seed: int) -> None:
    found = draw(np.array(counts), samples, seed)
    assert len(found) == min(samples, sum(counts))
    assert found == sorted(set(found)), "the same sample twice, or not in the order of shards"
    assert all(sample < counts[shard] for shard, sample in found)
    assert found == draw(np.array(counts), samples, seed)
    shards = {shard for shard, _ in found}
    if len(shards) > LEAST_SHARDS:  # then only because without one of them there were too few
        assert sum(counts[shard] for shard in shards) - max(counts[shard] for shard in shards) < samples


def test_every_sample_is_as_likely_as_any_other() -> None:
    counts = np.array([1, 7, 2, 30, 10])
    times = np.zeros((5, 30))
    for seed in range(2000):
        for shard, sample in draw(counts, 10, seed):
            times[shard, sample] += 1
    drawn = times[np.arange(30) < counts[:, None]]
    assert drawn.sum() == 2000 * 10
    assert np.abs(drawn - 400).max() < 5 * 20  # standard deviation 18


def test_figures_are_those_of_the_samples(tmp_path: Path) -> None:
    samples = [good(number) for number in range(10)]
    samples += [{"jpg": picture(64, 16, "JPEG"), "txt": b"  picture number 3\n"}]
    samples += [{"webp": picture(16, 64, "WEBP"), "txt": "zwei \u00fc".encode()}]
    found, _ = look(write(tmp_path, samples))
    assert (found.shards, found.samples, found.drawn, found.drawn_shards) == (3, 12, 12, 3)
    assert found.bytes == sum(path.stat().st_size for path in tmp_path.glob("*.tar"))
    assert found.pictures is not None and found.captions is not None
    assert (found.pictures.count, found.pictures.formats) == (12, {"png": 10, "jpg": 1, "webp": 1})
    widths, heights = [*range(10, 20), 64, 16], [20] * 10 + [16, 64]
    assert found.pictures.width == Quantiles(10, *np.quantile(widths, [0.05, 0.5, 0.95]), 64)
    assert (found.pictures.height.least, found.pictures.height.most) == (16, 64)
    assert (found.pictures.shorter_side.least, found.pictures.shorter_side.most) == (10, 19)
    assert found.pictures.aspect.most == 4.0
    assert found.pictures.aspect.least == pytest.approx(20 / 19)
    assert found.pictures.megapixels.most == max(w * h for w, h in zip(widths, heights, strict=True)) / 1e6
    sizes = [len(data) for sample in samples for name, data in sample.items() if name != "txt"]
    assert (found.pictures.bytes.least, found.pictures.bytes.most) == (min(sizes), max(sizes))
    assert (found.captions.count, found.captions.empty, found.captions.duplicate) == (12, 0.0, 1 / 12)
    assert (found.captions.characters.least, found.captions.characters.most) == (6, 16)
    assert (found.captions.words.least, found.captions.words.median) == (2, 3)
    assert (found.fields, found.bad, found.damaged_shards) == ([], [], [])


def test_json_fields_with_how_often_they_hold_text(tmp_path: Path) -> None:
    records = [
        {"caption": "four", "url": None, "meta": {"alt": "ab"}, "all": ["a", "bcd"]},
        {"caption": "sixsix", "width": 3, "meta": {"alt": ""}, "all": []},
        {"caption": "  "},
        ["no object"],
    ]
    found, _ = look(write(tmp_path, [good(n) | {"json": json.dumps(r).encode()} for n, r in enumerate(records)]))
    fields = {field.name: (field.share, field.texts, field.characters) for field in found.fields}
    assert found.fields[0].name == "json.caption"
    assert fields == {
        "json.caption": (0.75, 0.5, 5.0),
        "json.url": (0.25, 0.0, None),
        "json.meta.alt": (0.5, 0.25, 2.0),
        "json.all": (0.5, 0.25, 2.0),
        "json.width": (0.25, 0.0, None),
    }
    DataConfig(train=[str(tmp_path)], captions=dict.fromkeys(fields, 1.0))  # names as the config takes them


class NoWords(Tokenizer):
    """Every caption is one 0."""

    def __init__(self) -> None:
        super().__init__(1)

    def __call__(self, texts: str | list[str], context_length: int | None = None) -> torch.Tensor:
        return torch.zeros((len(texts), 1), dtype=torch.int64)

    def decode(self, ids: torch.Tensor | list[list[int]]) -> list[str]:
        return [""] * len(ids)


DAMAGE: dict[Bad, Members] = {
    Bad.NO_PICTURE: {"txt": b"a"},
    Bad.EMPTY_PICTURE: {"jpg": b"", "txt": b"a"},
    Bad.BROKEN_PICTURE: {"jpg": picture(64, 64, "JPEG")[:-40], "txt": b"a"},
    Bad.GIANT_PICTURE: {"png": giant(), "txt": b"a"},
    Bad.NO_CAPTION: {"png": picture(8, 8)},
    Bad.EMPTY_CAPTION: {"png": picture(8, 8), "txt": b" \n\t "},
    Bad.CAPTION_NOT_UTF8: {"png": picture(8, 8), "txt": b"\xff\xfe\xfd"},
}


def test_bad_samples_are_those_that_training_replaces(tmp_path: Path) -> None:
    samples = [good(number) for number in range(25)] + list(DAMAGE.values())
    write(tmp_path, samples, per_shard=8)
    found, _ = look(tmp_path)
    stream = open_train_stream(
        DataConfig(train=[str(tmp_path)], workers=0), NoWords(), image_size=8, seed=0, global_batch_size=32
    )
    replaced = next(iter(stream.batches(0, 32))).bad
    ours = {(bad.kind, example.shard, example.key) for bad in found.bad for example in bad.examples}
    assert ours == {(bad.kind, bad.shard, bad.key) for bad in replaced}
    assert {bad.kind for bad in found.bad} == set(DAMAGE)
    assert all((bad.count, bad.share) == (1, 1 / 32) and bad.examples[0].reason for bad in found.bad)
    assert found.captions is not None and found.captions.empty == 1 / found.captions.count


def test_broken_json_and_what_else_is_wrong_with_a_sample(tmp_path: Path) -> None:
    found, _ = look(write(tmp_path, [{"jpg": b"", "txt": b"", "json": b"{"}, good(1)]))
    assert {bad.kind for bad in found.bad} == {Bad.EMPTY_PICTURE, Bad.EMPTY_CAPTION, Bad.BROKEN_JSON}


def test_only_the_first_examples_are_named(tmp_path: Path) -> None:
    found, _ = look(write(tmp_path, [{"png": b"", "txt": b"a"}] * 12))
    assert (found.pictures, found.bad[0].count, found.bad[0].share) == (None, 12, 1.0)
    assert [example.key for example in found.bad[0].examples] == [f"k{number:04d}" for number in range(5)]


def test_a_truncated_shard_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, [good(number) for number in range(8)]) / "00001.tar"
    os.truncate(path, 2500)
    found, _ = look(tmp_path)
    assert [(shard.shard, "truncated" in shard.problem) for shard in found.damaged_shards] == [(str(path), True)]
    assert found.drawn == found.samples < 8


def test_the_seed_decides_what_is_drawn_wherever_the_shards_are(tmp_path: Path) -> None:
    folder = write(tmp_path / "shards", [good(number) for number in range(40)])
    local, _ = look(folder, samples=8, tiles=8)
    piped, tiles = look(f"pipe:cat {folder}/{{00000..00009}}.tar", samples=8, tiles=8)
    assert (piped.pictures, piped.captions, piped.bytes) == (local.pictures, local.captions, None)
    again, same = look(folder, samples=8, tiles=8)
    assert again == local
    assert [tile.key for tile in same] == [tile.key for tile in tiles]
    other, others = look(folder, samples=8, tiles=8, seed=1)
    assert {tile.key for tile in others} != {tile.key for tile in same}
    assert other.drawn == 8


def test_tiles_show_different_good_samples_with_their_captions(tmp_path: Path) -> None:
    samples = [good(number) for number in range(20)] + [{"png": b"", "txt": b"a"}] * 20
    _, tiles = look(write(tmp_path, samples), tiles=12)
    assert len({tile.key for tile in tiles}) == len(tiles) == 12
    for tile in tiles:
        number = int(tile.key[1:])
        assert tile.caption == f"picture number {number}"
        times, rest = divmod(tile.picture.height, 20)  # tiny pictures are enlarged by a whole factor
        assert rest == 0 and tile.picture.width == times * (10 + number)
    assert [tile.key for tile in tiles] != sorted(tile.key for tile in tiles)


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="samples = 0: expected 1 or more"):
        look(write(tmp_path, [good(0)]), samples=0)


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command)
    return app


def test_json_is_alone_on_standard_output_and_the_sheet_is_a_picture(app: typer.Typer, tmp_path: Path) -> None:
    folder = write(tmp_path / "shards", [*(good(number) for number in range(12)), *DAMAGE.values()])
    sheet = tmp_path / "new" / "sheet.png"
    done = CliRunner().invoke(app, [str(folder), "--json", "--samples", "19", "--sheet", str(sheet)])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["samples"], found["drawn"]) == (19, 19)
    assert {bad["kind"] for bad in found["bad"]} == {str(kind) for kind in DAMAGE}
    assert "reading samples" in done.stderr
    with Image.open(sheet) as picture:
        assert picture.format == "PNG" and picture.width > 8 * 224


def test_tables_show_what_there_is(app: typer.Typer, tmp_path: Path) -> None:
    samples = [good(n) | {"json": json.dumps({f"f{n}": "text"}).encode()} for n in range(32)]
    done = CliRunner().invoke(app, [str(write(tmp_path, [*samples, {"png": b"", "txt": b"a"}]))])
    assert done.exit_code == 0, done.output
    shown = " ".join(done.stdout.split())
    for text in ("png │ 32 │ 100.0%", "json.f0 │ 3.0%", "and 2 more", "empty_picture │ 1 │ 3.0%", "k0032", "0 bytes"):
        assert text in shown, text
    assert "damaged shards" not in shown
