"""ImageFolder's layout: numbered and ordered as torchvision does it; names from folders or from a list."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torchvision.datasets import ImageFolder

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import TaskConfig
from mammut_clip.data.evalsets import open_eval_set

CONFIG = TaskConfig(name="pets", kind="classification", layout="image_folder")
FILES = (
    "b/2.jpg",
    "b/10.JPEG",
    "b/1.png",
    "A_c/x.webp",
    "A_c/deeper/y.bmp",
    "A_c/deeper.ppm",
    "n01/z.tif",
    "n01/a.TIFF",
)


def write(base: Path, files: tuple[str, ...] | list[str]) -> None:
    for file in files:
        (base / file).parent.mkdir(parents=True, exist_ok=True)
        (base / file).write_bytes(file.encode())


def assert_same(base: Path, root: Path) -> None:
    reference = ImageFolder(str(base))
    found = open_eval_set(CONFIG, root)
    ours = [(str(base / sample.key), sample.target) for sample in found]
    assert [(str(Path(path)), label) for path, label in reference.samples] == [(str(Path(p)), n) for p, n in ours]
    assert [name.replace("_", " ") for name in reference.classes] == found.classnames


@pytest.mark.parametrize("level", ["test", "."])
def test_classes_and_order_are_torchvisions(tmp_path: Path, level: str) -> None:
    write(tmp_path / level, FILES)
    write(tmp_path / level, ["b/notes.txt", "b/list.json"])
    assert_same(tmp_path / level, tmp_path)
    found = open_eval_set(CONFIG, tmp_path)
    assert (found.type, len(found), found.classnames) == ("classification", len(FILES), ["A c", "b", "n01"])
    assert all(found[n].image.decode() == str(Path(found[n].key)) for n in range(len(found)))
    assert Path(found.where(3)) == tmp_path / level / found[3].key


names = st.text(st.sampled_from("aB1-_ é"), min_size=1, max_size=4).map(lambda text: "x" + text)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    files=st.sets(
        st.tuples(names, st.lists(names, max_size=2).map(tuple), names, st.sampled_from([".jpg", ".PNG"])), min_size=1
    )
)
def test_any_names_are_ordered_as_torchvision_orders_them(
    tmp_path_factory: pytest.TempPathFactory, files: set[tuple[str, tuple[str, ...], str, str]]
) -> None:
    root = tmp_path_factory.mktemp("set")
    write(root / "test", ["/".join([name, *deeper, file + ending]) for name, deeper, file, ending in files])
    assert_same(root / "test", root)


def test_names_and_templates_stand_beside_the_splits(tmp_path: Path) -> None:
    write(tmp_path / "val", ["n01/a.jpg", "n02/b.jpg"])
    (tmp_path / "classnames.txt").write_text("tench\ngoldfish\n")
    (tmp_path / "zeroshot_classification_templates.txt").write_text("a {c}\n")
    found = open_eval_set(CONFIG.model_copy(update={"split": "val"}), tmp_path)
    assert (found.classnames, found.templates) == (["tench", "goldfish"], ["a {c}"])
    assert [sample.target for sample in found] == [0, 1]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "test", ["a/1.jpg", "a/._1.jpg", "b/2.jpg", ".ipynb_checkpoints/3.jpg"])
    found = open_eval_set(CONFIG, tmp_path)
    assert [(sample.key, sample.target) for sample in found] == [("a/1.jpg", 0), ("b/2.jpg", 1)]


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone: no such folder"):
        open_eval_set(CONFIG, tmp_path / "gone")
    with pytest.raises(InputError, match="no folders in it; expected one folder of pictures per class"):
        open_eval_set(CONFIG, tmp_path)
    write(tmp_path / "val", ["a/1.jpg", "b/2.jpg"])
    with pytest.raises(InputError, match="test: no such folder; splits that are there: val"):
        open_eval_set(CONFIG, tmp_path)
    found = open_eval_set(CONFIG.model_copy(update={"split": "val"}), tmp_path)
    with pytest.raises(InputError, match=r"zeroshot_classification_templates\.txt: no such file"):
        _ = found.templates
    (tmp_path / "val" / "b" / "2.jpg").unlink()
    with pytest.raises(InputError, match=r"val/b/2\.jpg: cannot be read: No such file"):
        found[1]
    with pytest.raises(InputError, match="val/b: a class without pictures"):
        open_eval_set(CONFIG.model_copy(update={"split": "val"}), tmp_path)
    (tmp_path / "classnames.txt").write_text("one\n")
    with pytest.raises(InputError, match=r"classnames\.txt: 1 names for the 2 folders in .*val; expected one for each"):
        open_eval_set(CONFIG.model_copy(update={"split": "val"}), tmp_path)
