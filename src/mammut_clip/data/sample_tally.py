"""What is seen of a data set, sample by sample, and what it comes to. Training's own code decides what is bad."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from mammut_clip.config.data import BadSampleConfig, FilterConfig
from mammut_clip.data.bad_samples import Bad, BadSampleError
from mammut_clip.data.captions import CaptionReader
from mammut_clip.data.contact_sheet import Tile, thumbnail
from mammut_clip.data.decode import TrainDecoder
from mammut_clip.data.description import (
    BadExample,
    BadKind,
    Captions,
    DamagedShard,
    Description,
    JsonField,
    Pictures,
    Quantiles,
)
from mammut_clip.data.images import open_header
from mammut_clip.data.shards.index import ShardIndex
from mammut_clip.data.shards.rows import IMAGE_EXTENSIONS
from mammut_clip.data.stream.batch import StageSeconds
from mammut_clip.data.stream.sample_reader import Place, RawSample

_EXAMPLES = 5
_FORMATS = {"JPEG": "jpg"}


class SampleTally:
    """Samples of one data set that were seen so far."""

    def __init__(self, tiles: int, draw: random.Random) -> None:
        self.seen = 0
        self._captions = CaptionReader({"txt": 1.0}, FilterConfig(), seed=0)
        # So small a picture costs next to nothing, and is refused as any other would be.
        self._decoder = TrainDecoder(8, (1.0, 1.0), "fast", FilterConfig(), BadSampleConfig())
        self._decoded = np.empty((8, 8, 3), dtype=np.uint8)
        self._formats: Counter[str] = Counter()
        self._sizes: list[tuple[int, int, int]] = []  # width, height, bytes
        self._texts: list[str] = []
        self._fields: Counter[str] = Counter()
        self._field_lengths: dict[str, list[float]] = {}
        self._bad: dict[Bad, list[tuple[Place, str]]] = {}
        self._tiles: list[tuple[Place, Image.Image, str]] = []
        self._most_tiles, self._draw = tiles, draw

    def see(self, place: Place, raw: RawSample) -> None:
        """Count one sample; each of its members is judged, whatever the others are like."""
        self.seen += 1
        if raw.problem is not None:
            self._bad.setdefault(raw.problem.kind, []).append((place, raw.problem.reason))
            return
        members = (
            partial(self._see_caption, raw.text),
            partial(self._see_record, raw.record),
            partial(self._see_picture, raw.image, place, raw.text),
        )
        for see_member in members:
            try:
                see_member()
            except BadSampleError as error:
                self._bad.setdefault(error.kind, []).append((place, error.reason))

    def _see_caption(self, text: bytes | None) -> None:
        try:
            self._texts.append(_stripped(self._captions.read(text, None, position=0)))
        except BadSampleError as error:
            if error.kind == Bad.EMPTY_CAPTION:
                self._texts.append("")
            raise

    def _see_record(self, data: bytes | None) -> None:
        if data is None:
            return
        for name, value in _fields(data):
            self._fields[name] += 1
            entries = value if isinstance(value, list) else [value]
            lengths = [len(entry.strip()) for entry in entries if isinstance(entry, str) and entry.strip()]
            if lengths:
                self._field_lengths.setdefault(name, []).append(sum(lengths) / len(lengths))

    def _see_picture(self, data: bytes | None, place: Place, text: bytes | None) -> None:
        if data is None:
            raise BadSampleError(Bad.NO_PICTURE, f"no member .{', .'.join(IMAGE_EXTENSIONS)}")
        self._decoder.into(data, 0, self._decoded, StageSeconds())
        picture = open_header(data)
        self._formats[_FORMATS.get(picture.format or "", str(picture.format).lower())] += 1
        self._sizes.append((*picture.size, len(data)))
        # Every picture so far has the same chance to be among the tiles.
        at = self._draw.randrange(len(self._sizes))
        if len(self._tiles) < self._most_tiles:
            self._tiles.append(_tile(place, picture, text))
        elif at < self._most_tiles:
            self._tiles[at] = _tile(place, picture, text)

    def tiles(self, index: ShardIndex) -> list[Tile]:
        """Pictures drawn at random, in random order."""
        shuffled = self._draw.sample(self._tiles, len(self._tiles))
        return [Tile(picture, caption, _key(index, place)) for place, picture, caption in shuffled]

    def description(self, index: ShardIndex, places: list[Place]) -> Description:
        """The result, of these samples of the data set."""
        sizes = [shard.size for shard in index.shards]
        problems = [(shard.url, shard.problem) for shard in index.shards if shard.problem is not None]
        return Description(
            shards=len(index.shards),
            samples=len(index),
            bytes=None if None in sizes else sum(size or 0 for size in sizes),
            drawn=self.seen,
            drawn_shards=len({place.shard for place in places}),
            pictures=self._pictures(),
            captions=self._caption_summary(),
            fields=[self._field(name, count) for name, count in self._fields.most_common()],
            bad=[self._bad_kind(index, kind) for kind in sorted(self._bad, key=lambda kind: -len(self._bad[kind]))],
            damaged_shards=[DamagedShard(url, problem) for url, problem in problems],
        )

    def _pictures(self) -> Pictures | None:
        if not self._sizes:
            return None
        width, height, size = np.array(self._sizes, dtype=np.float64).T
        shorter, longer = np.minimum(width, height), np.maximum(width, height)
        quantities = (width, height, shorter, longer / shorter, width * height / 1e6, size)
        return Pictures(len(width), dict(self._formats.most_common()), *map(Quantiles.of, quantities))

    def _caption_summary(self) -> Captions | None:
        if not self._texts:
            return None
        count, written = len(self._texts), [text for text in self._texts if text]
        characters = Quantiles.of([len(text) for text in self._texts])
        words = Quantiles.of([len(text.split()) for text in self._texts])
        empty, duplicate = count - len(written), len(written) - len(set(written))
        return Captions(count, empty / count, duplicate / count, characters, words)

    def _field(self, name: str, count: int) -> JsonField:
        lengths = self._field_lengths.get(name, [])
        characters = float(np.median(lengths)) if lengths else None
        shown = name.encode(errors="backslashreplace").decode()
        return JsonField(f"json.{shown}", count / self.seen, len(lengths) / self.seen, characters)

    def _bad_kind(self, index: ShardIndex, kind: Bad) -> BadKind:
        found = self._bad[kind]
        examples = [
            BadExample(index.url(place.shard), _key(index, place), reason) for place, reason in found[:_EXAMPLES]
        ]
        return BadKind(kind, len(found), len(found) / self.seen, examples)


def _stripped(text: str) -> str:
    return text.removeprefix("\ufeff").strip()


def _fields(data: bytes) -> Iterator[tuple[str, Any]]:
    """Names and values of a JSON object, those of objects inside it with dots: `meta.alt`."""
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadSampleError(Bad.BROKEN_JSON, f"{len(data)} bytes of .json: {error}") from error
    waiting = [("", record)] if isinstance(record, dict) else []
    while waiting:
        prefix, value = waiting.pop()
        for name, inner in value.items():
            if isinstance(inner, dict):
                waiting.append((f"{prefix}{name}.", inner))
            else:
                yield prefix + name, inner


def _tile(place: Place, picture: Image.Image, text: bytes | None) -> tuple[Place, Image.Image, str]:
    return place, thumbnail(picture), _stripped((text or b"").decode(errors="replace"))


def _key(index: ShardIndex, place: Place) -> str:
    """As it can be printed, whatever bytes it is made of."""
    return index.key(place.shard, place.sample).encode(errors="backslashreplace").decode()
