"""What the decoder refuses, and that both of its ways refuse the same, without a word on stderr."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_like import Way, decoded, encoded, photo
from PIL import Image

from mammut_clip.config.data import FilterConfig
from mammut_clip.data.bad_samples import Bad, BadSampleError
from mammut_clip.data.images import PictureError, open_picture, to_rgb

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # those of `open_picture`, to compare with
WAYS: tuple[Way, ...] = ("pil", "fast")
SMALL = photo(61, 48)
EXIF = Image.Exif()
EXIF[0x0112] = 3
SOURCES = [
    encoded(SMALL),
    encoded(SMALL, progressive=True),
    encoded(SMALL, subsampling="4:4:4", restart_marker_blocks=2),
    encoded(SMALL, exif=EXIF, dpi=(72, 72), comment=b"hello", icc_profile=bytes(300)),
    encoded(SMALL.convert("L")),
    encoded(SMALL.convert("CMYK")),
    encoded(SMALL, "MPO", save_all=True, append_images=[photo(61, 48, 1)]),
    encoded(SMALL, "PNG"),
    encoded(SMALL.quantize(32), "PNG", transparency=bytes(range(32))),
    encoded(SMALL, "WEBP"),
]


def refusal(data: bytes, way: Way, filters: FilterConfig | None = None, max_pixels: int = 10**8) -> Bad:
    with pytest.raises(BadSampleError) as caught:
        decoded(data, way, size=32, filters=filters, max_pixels=max_pixels)
    assert caught.value.reason
    return caught.value.kind


def is_refused_by_pil(data: bytes) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            to_rgb(open_picture(data))
        except PictureError:
            return True
    return False


def agree(data: bytes) -> None:
    """Either every way refuses the file, or none does and they show the same picture."""
    if not data:
        assert [refusal(data, way) for way in WAYS] == [Bad.EMPTY_PICTURE] * 2
    elif is_refused_by_pil(data):
        kinds = {refusal(data, way) for way in WAYS}
        assert len(kinds) == 1 and kinds <= {Bad.BROKEN_PICTURE, Bad.GIANT_PICTURE}
    else:
        pil, fast = (decoded(data, way, size=32).astype(int) for way in WAYS)
        assert np.abs(pil - fast).mean() < 1


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SOURCES), st.floats(0, 1))
def test_truncated_files(source: bytes, share: float) -> None:
    agree(source[: int(share * len(source))])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SOURCES), st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bits(source: bytes, flips: list[tuple[float, int]]) -> None:
    data = bytearray(source)
    for share, bits in flips:
        data[int(share * (len(data) - 1))] ^= bits
    agree(bytes(data))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SOURCES), st.integers(0, 700), st.integers(0, 20), st.binary(max_size=20))
def test_headers_with_bytes_missing_or_inserted(source: bytes, at: int, missing: int, inserted: bytes) -> None:
    agree(source[:at] + inserted + source[at + missing :])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source", range(len(SOURCES)))
def test_half_a_file_is_broken(source: int, way: Way) -> None:
    data = SOURCES[source] if source != 6 else encoded(SMALL)  # half of the MPO is its first picture
    assert refusal(data[: len(data) // 2], way) is Bad.BROKEN_PICTURE
    assert decoded(SOURCES[source], way, size=32).std() > 5


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_picture(way: Way) -> None:
    assert refusal(b"", way) is Bad.EMPTY_PICTURE
    assert refusal(b"\0" * 100, way) is Bad.BROKEN_PICTURE
    assert refusal(b"<html>404</html>", way) is Bad.BROKEN_PICTURE
    assert refusal(b"\xff\xd8\xff", way) is Bad.BROKEN_PICTURE


@pytest.mark.parametrize("way", WAYS)
def test_giants_are_refused_before_they_are_decoded(way: Way) -> None:
    # A header that claims 65,500 x 65,500 pixels, with nothing behind: decoding it would end in another error.
    jpeg = encoded(SMALL)
    sizes, pixels = jpeg.index(b"\xff\xc0") + 5, jpeg.index(b"\xff\xda") + 14
    giant = jpeg[:sizes] + (65500).to_bytes(2, "big") * 2 + jpeg[sizes + 4 : pixels]
    assert refusal(giant, way) is Bad.GIANT_PICTURE
    assert refusal(encoded(photo(100, 100)), way, max_pixels=9_999) is Bad.GIANT_PICTURE
    assert refusal(encoded(photo(100, 100), "PNG"), way, max_pixels=4_000) is Bad.GIANT_PICTURE
    assert decoded(encoded(photo(100, 100)), way, size=32, max_pixels=10_000).std() > 5


@pytest.mark.parametrize("way", WAYS)
def test_pils_own_bound_plays_no_part_and_stays(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decoded(encoded(photo(100, 100)), way, size=32, max_pixels=10_000).std() > 5
        assert refusal(encoded(photo(100, 100)), way, max_pixels=4_999) is Bad.GIANT_PICTURE
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_filters_look_at_sides_and_shape(kind: str, way: Way) -> None:
    data = encoded(photo(120, 40), kind)
    assert refusal(data, way, FilterConfig(min_side=41)) is Bad.SMALL_PICTURE
    assert refusal(data, way, FilterConfig(max_aspect=2.9)) is Bad.LONG_PICTURE
    assert decoded(data, way, size=32, filters=FilterConfig(min_side=40, max_aspect=3)).std() > 5
    # Filtered by its header: the damage behind it is not even seen.
    assert refusal(data[:700], way, FilterConfig(min_side=41)) is Bad.SMALL_PICTURE


SILENT = """
import sys
from pathlib import Path
from mammut_clip.config.data import BadSampleConfig, FilterConfig
from mammut_clip.data.decode import TrainDecoder
from mammut_clip.data.stream.batch import StageSeconds
import numpy as np
for way in ("pil", "fast"):
    decoder = TrainDecoder(32, (0.9, 1.0), way, FilterConfig(), BadSampleConfig())
    decoder.into(Path(sys.argv[1]).read_bytes(), 0, np.empty((32, 32, 3), np.uint8), StageSeconds())
"""


def test_warnings_of_pil_do_not_reach_stderr(tmp_path) -> None:
    file = tmp_path / "palette.png"
    file.write_bytes(SOURCES[8])
    with pytest.warns(UserWarning, match="Palette images"):
        open_picture(SOURCES[8]).convert("RGB")
    done = subprocess.run([sys.executable, "-c", SILENT, str(file)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
