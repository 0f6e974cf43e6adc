"""The data benchmarks at tiny sizes: that both sides load the same, and that rows say what was measured."""

import io
import multiprocessing
import os
import sys
import tarfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.loading import Job, Loading, clocked
from benchmarks.peers import FOLDER
from benchmarks.photos import write_photos
from benchmarks.result import Measurement, Settings
from benchmarks.toy_shards import write_repeated
from PIL import Image

from benchmarks import data, data_memory, data_memory_pass, data_start, data_start_once, our_data, peer_data


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of 32 pictures."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, (512, 384), 2, 32, processes=1)
    return folder


def load(folder: Path, side: str) -> Loading:
    """All of them, in one batch."""
    module = our_data if side in data.OURS else peer_data
    return module.measure(
        Job(side, str(folder), 2, batch=64, batches=1, workers=0, image_size=64, crop_scale=(0.9, 1.0))
    )


def members(folder: Path, extension: str) -> list[bytes]:
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found += [tar.extractfile(m).read() for m in tar if m.name.endswith(extension)]
    return found


def test_photos_are_all_different_and_as_heavy_as_photographs(photos: Path) -> None:
    pictures = members(photos, ".jpg")
    decoded = [Image.open(io.BytesIO(data)) for data in pictures]
    assert {picture.size for picture in decoded} == {(512, 384)}
    assert len({np.asarray(picture).tobytes() for picture in decoded}) == 64
    assert 45_000 < np.mean([len(data) for data in pictures]) < 65_000
    assert {picture.layer[0][1:3] for picture in decoded} == {(2, 2)}, "colour is not halved both ways, as in 4:2:0"
    words = [len(caption.split()) for caption in members(photos, ".txt")]
    assert len(words) == 64 and min(words) >= 10 and max(words) <= 25


def test_all_sides_load_the_same_pictures_and_captions(photos: Path) -> None:
    theirs = load(photos, "webdataset")
    for side in data.OURS:
        ours = load(photos, side)
        assert ours.mean_pixel == pytest.approx(theirs.mean_pixel, abs=0.005)
        assert ours.mean_tokens == theirs.mean_tokens
        assert set(ours.stages) == {"read", "decode", "resize", "tokenize", "other"}
    assert theirs.stages == {}
    assert 12 < theirs.mean_tokens < 40


def test_the_clock_counts_what_workers_do_and_waits_for_their_end() -> None:
    found = clocked(lambda: torch.utils.data.DataLoader(_Busy(), batch_size=2, num_workers=2), 3, 2)
    assert found.cpu_seconds > 0.1 * 6
    assert not multiprocessing.active_children()
    with pytest.raises(RuntimeError, match=r"expected 4 batches of 2 .*, found \[2, 2, 2\]"):
        clocked(lambda: torch.utils.data.DataLoader(_Busy(), batch_size=2), 4, 2)


class _Busy(torch.utils.data.Dataset):
    """Six rows that each take 0.1 seconds of CPU time."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        began = time.process_time()
        while time.process_time() - began < 0.1:
            pass
        return torch.zeros(3), torch.zeros(1)


def shrink(monkeypatch: pytest.MonkeyPatch, module: object, **constants: object) -> None:
    for name, value in constants.items():
        monkeypatch.setattr(module, name, value)


def check(found: Measurement, rows: int) -> None:
    assert len(found.rows) == rows and found.notes
    for row in found.rows:
        assert min(row.ours) > 0 and (not row.peer or len(row.theirs) == len(row.ours)), row


@pytest.mark.slow
def test_data_has_rows_beside_webdataset(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, data, SHARDS=2, PER_SHARD=16, BATCH=8, IMAGE_SIZE=32, PEERS=("webdataset",))
    shrink(monkeypatch, data, PICTURES=(data.Pictures(64, 48, 1.2, 2.0),))
    found = data.measure(Settings(repeats=1, peers_python=Path(sys.executable)))
    check(found, 2 * 4)
    assert any("64 x 48 JPEG, fast: the workers' time goes to " in note for note in found.notes)


@pytest.mark.slow
@pytest.mark.skipif(not (FOLDER / ".installed").is_file(), reason="the peers' environment is not there: make bench")
def test_data_has_targets_beside_open_clip_train(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, data, SHARDS=2, PER_SHARD=16, BATCH=8, IMAGE_SIZE=32)
    shrink(monkeypatch, data, PICTURES=(data.Pictures(64, 48, 1.2, 2.0),))
    found = data.measure(Settings(repeats=1))
    check(found, 2 * 6)
    targets = {row.setting: row.target for row in found.rows if row.target is not None}
    assert targets == {"64 x 48 JPEG, pil": 1.2, "64 x 48 JPEG, fast": 2.0}


def test_memory_is_measured_as_often_as_said(tmp_path: Path) -> None:
    write_repeated(tmp_path, 4, 32, distinct=16, image_size=32)
    found = data_memory_pass.measure(data_memory_pass.Job(str(tmp_path), 320, 64, 32, 1, "1MB", 64, 32))
    assert [point.samples for point in found] == [64, 128, 192, 256, 320]
    assert min(point.megabytes for point in found) > 50


def test_pages_that_processes_share_count_once() -> None:
    shared = bytearray(os.urandom(2**26))
    alone = data_memory_pass.megabytes(os.getpid())
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_hold, args=(theirs,), daemon=True)
    child.start()
    assert ours.recv() == "forked"
    forked = data_memory_pass.megabytes(os.getpid())
    ours.send("take memory of your own")
    assert ours.recv() == "taken"
    more = data_memory_pass.megabytes(os.getpid())
    ours.send("end")
    child.join(timeout=300)
    assert forked - alone < len(shared) / 1e6 / 2
    assert more - forked > 60
    assert child.pid is not None and data_memory_pass.megabytes(child.pid) == 0, "it has ended"


def _hold(pipe: Connection) -> None:
    pipe.send("forked")
    pipe.recv()
    own = os.urandom(2**26)
    pipe.send("taken")
    pipe.recv()
    del own


def test_the_figure_of_memory(tmp_path: Path) -> None:
    data_memory.draw([data_memory_pass.Point(n * 10_000, 500.0 + n) for n in range(1, 50)], tmp_path / "memory.png")
    assert Image.open(tmp_path / "memory.png").size > (400, 300)


@pytest.mark.slow
def test_data_memory_has_a_row_and_a_figure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shrink(monkeypatch, data_memory, DISTINCT=16, SHARDS=4, PER_SHARD=32, SAMPLES=640, EVERY=64, BATCH=32)
    check(data_memory.measure(Settings(results=tmp_path)), 1)
    assert (tmp_path / data_memory.FIGURE).is_file()


def test_a_start_far_inside_an_epoch(tmp_path: Path) -> None:
    write_repeated(tmp_path, 8, 16, distinct=16, image_size=32)
    for share in (0.0, 0.9):
        assert data_start_once.measure(data_start_once.Job(str(tmp_path), share, 128, 16, 0, 32)) > 0


@pytest.mark.slow
def test_data_start_has_a_row_for_each_place(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, data_start, SHARDS=4, PER_SHARD=32, DISTINCT=16, BATCH=32, LEAST_REPEATS=1)
    check(data_start.measure(Settings(repeats=1)), 2)
