"""Files of specs: which kind each is, what a name or a folder means, and in which words bad ones are refused."""

from pathlib import Path
from typing import get_args

import pytest

from mammut_clip.config.errors import ConfigError, InputError
from mammut_clip.config.files import shipped
from mammut_clip.config.fit_kinds import SCHEMAS, load_fit_spec, load_law_spec, spec_files

LAW = "unit: error\ncolumns: {value: loss}\n"


def test_every_kind_is_named_by_its_schema() -> None:
    for kind, schema in SCHEMAS.items():
        assert get_args(schema.model_fields["kind"].annotation) == (kind,)


def test_kinds_are_told_by_the_key(tmp_path: Path) -> None:
    files = {
        "law": LAW,
        "named": LAW + "kind: law\n",
        "optimal": LAW + "kind: optimal\n",
        "joint": LAW + "kind: joint\n",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
        spec = load_fit_spec(tmp_path / f"{name}.yaml", ["title=here"])
        assert spec.kind == name.replace("named", "law") and spec.title == "here"
    assert load_law_spec(tmp_path / "law.yaml") == load_law_spec(tmp_path / "named.yaml")
    with pytest.raises(ConfigError, match=r"joint.yaml\n  kind = 'joint': expected 'law'"):
        load_law_spec(tmp_path / "joint.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAW + "kind: laws\n", "kind = 'laws': no such kind; did you mean law"),
        (LAW + "kind: [law]\n", "no such kind"),
        (LAW + "methods: [isoflop]\n", "methods: unknown key"),  # of another kind
        (LAW + "kind: optimal\nform: power\n", "form: unknown key"),
        ("kind: joint\n", "unit: this key is required"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_fit_spec(file)
    assert said in str(caught.value) and "mine.yaml" in str(caught.value)


def test_targets_are_names_files_and_folders(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.yaml").write_text(LAW)
    (tmp_path / "notes.txt").write_text("")
    a, b = tmp_path / "a.yaml", tmp_path / "b.yaml"
    assert spec_files([str(tmp_path)]) == [a, b]
    assert spec_files([str(b), str(tmp_path), "toy"]) == [b, a, shipped("fit")["toy"]]


def test_targets_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean toy"):
        spec_files(["toyy"])
    with pytest.raises(InputError, match="no spec here"):
        spec_files([str(tmp_path)])
    (tmp_path / "deep").mkdir()
    for folder in (tmp_path, tmp_path / "deep"):
        (folder / "a.yaml").write_text(LAW)
    with pytest.raises(InputError, match="have one name"):
        spec_files([str(tmp_path), str(tmp_path / "deep")])
