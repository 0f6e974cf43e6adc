"""Every picture and caption of a shard, decoded: which samples training would replace by others.

What `data.filters` leaves out is not looked for. A caption may be in the .txt or, where there is none, in the .json,
of which only the run's config knows the field: there, JSON is enough.
"""

import json
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from mammut_clip.config.data import BadSampleConfig, FilterConfig
from mammut_clip.data.bad_samples import Bad, BadSampleError
from mammut_clip.data.captions import CaptionReader
from mammut_clip.data.images import GiantPictureError, PictureError, load_rgb, open_header
from mammut_clip.data.shards.byte_ranges import ByteReader
from mammut_clip.data.shards.rows import IMAGE_EXTENSIONS
from mammut_clip.data.shards.tar import BrokenTarError, Member, TarSample, samples

_MAX_PIXELS = BadSampleConfig().max_pixels
_CAPTIONS = CaptionReader({"txt": 1.0}, FilterConfig(), seed=0)


class BadMember(NamedTuple):
    """A picture or caption that cannot be used."""

    key: str
    kind: Bad
    reason: str


def bad_members(reader: ByteReader, name: str) -> Iterator[BadMember]:
    """What is bad in a shard's whole samples, in order. Raises InputError where it is no tar or cannot be read."""
    try:
        for sample in samples(reader, name):
            for judge in (_judge_picture, _judge_caption):
                try:
                    judge(reader, sample)
                except BadSampleError as error:
                    yield BadMember(sample.key, error.kind, error.reason)
    except BrokenTarError:
        return  # up to there; that the tar is broken, the walk of its headers says


def _judge_picture(reader: ByteReader, sample: TarSample) -> None:
    extension = next((extension for extension in IMAGE_EXTENSIONS if extension in sample.members), None)
    if extension is None:
        raise BadSampleError(Bad.NO_PICTURE, f"no member .{', .'.join(IMAGE_EXTENSIONS)}")
    data = _read(reader, sample.members[extension])
    if not data:
        raise BadSampleError(Bad.EMPTY_PICTURE, "0 bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL has one for every odd file
            picture = open_header(data)
            width, height = picture.size
            if width * height > _MAX_PIXELS:
                raise BadSampleError(Bad.GIANT_PICTURE, f"{width} x {height} pixels")
            load_rgb(picture, data)
    except GiantPictureError as error:
        raise BadSampleError(Bad.GIANT_PICTURE, str(error)) from error
    except PictureError as error:
        raise BadSampleError(Bad.BROKEN_PICTURE, str(error)) from error


def _judge_caption(reader: ByteReader, sample: TarSample) -> None:
    text, record = sample.members.get("txt"), sample.members.get("json")
    if text is not None:
        _CAPTIONS.read(_read(reader, text), None, position=0)
    elif record is None:
        raise BadSampleError(Bad.NO_CAPTION, "no member .txt, .json")
    else:
        try:
            json.loads(_read(reader, record))
        except (ValueError, RecursionError) as error:
            raise BadSampleError(Bad.BROKEN_JSON, f"{record.size} bytes of .json: {error}") from error


def _read(reader: ByteReader, member: Member) -> bytes:
    return reader.read_at(member.offset, member.size)
