from pathlib import Path

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


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    assert metrics.read(tmp_path / "none") == []
    metrics.rewind(tmp_path / "none", 0)
    assert not (tmp_path / "none").exists()
