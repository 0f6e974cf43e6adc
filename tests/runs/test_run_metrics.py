"""metrics.jsonl: appended while a run trains, cut off where a resumed one goes on; read past what a crash left."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.runs import metrics


def test_a_cut_off_line_is_passed_over_and_removed_on_rewind(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for samples in (128, 256, 384):
        metrics.append(path, {"samples_seen": samples, "loss": 1.0})
    with path.open("a") as file:
        file.write('{"samples_seen": 512, "lo')
    assert [row["samples_seen"] for row in metrics.read(path)] == [128, 256, 384]
    metrics.rewind(path, 256)
    metrics.append(path, {"samples_seen": 384, "loss": 0.5})
    rows = metrics.read(path)
    assert [(row["samples_seen"], row["loss"]) for row in rows] == [(128, 1.0), (256, 1.0), (384, 0.5)]


@given(
    points=st.lists(st.integers(1, 1000), unique=True, max_size=20).map(sorted),
    clock=st.integers(0, 1000),
    crash=st.floats(0, 1),
)
def test_a_rewind_keeps_the_bytes_of_the_rows_up_to_the_clock(points: list[int], clock: int, crash: float) -> None:
    """Wherever a crash cut the file off."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        path.touch()
        for point in points:
            metrics.append(path, {"samples_seen": point, "loss": 1 / point})
        written = path.read_bytes()[: round(crash * path.stat().st_size)]
        path.write_bytes(written)
        metrics.rewind(path, clock)
        left = path.read_bytes()
        assert written.startswith(left)
        whole = [json.loads(line)["samples_seen"] for line in written[: written.rfind(b"\n") + 1].splitlines()]
        assert [row["samples_seen"] for row in metrics.read(path)] == [point for point in whole if point <= clock]
        assert left == b"" or left.endswith(b"\n")
        metrics.rewind(path, clock)
        assert path.read_bytes() == left


def test_a_damaged_line_hides_no_other(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics.append(path, {"samples_seen": 128})
    with path.open("ab") as file:
        file.write(b"\0\0\xff\n[3]\n")
    for samples in (256, 384):
        metrics.append(path, {"samples_seen": samples})
    assert [row["samples_seen"] for row in metrics.read(path)] == [128, 256, 384]
    metrics.rewind(path, 256)
    assert [row["samples_seen"] for row in metrics.read(path)] == [128, 256]


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    assert metrics.read(tmp_path / "none") == []
    metrics.rewind(tmp_path / "none", 0)
    metrics.flush_to_disk(tmp_path / "none")
    assert not (tmp_path / "none").exists()
