from pathlib import Path

import pytest

from mammut_clip.config.errors import ConfigError, InputError
from mammut_clip.config.files import KINDS, find_file, read_text, shipped


def test_shipped_files_are_found_by_name() -> None:
    assert find_file("configs/models", "ViT-B-32").name == "ViT-B-32.yaml"
    assert all(shipped(kind) for kind in KINDS)


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(ConfigError, match=r"did you mean .*ViT-B-32"):
        find_file("configs/models", "ViT-B32")


def test_a_path_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no such file"):
        find_file("configs/models", "some/where.yaml")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder"):
        find_file("configs/models", tmp_path)


def test_bytes_that_are_not_utf8_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: \xff")
    with pytest.raises(InputError, match=r"x\.yaml: not UTF-8"):
        read_text(path)
