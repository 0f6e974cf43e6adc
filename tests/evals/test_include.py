"""Suites that take tasks and averages from other suites."""

from pathlib import Path

import pytest

from mammut_clip.config.errors import ConfigError
from mammut_clip.evals.suite import load_suite

BASE = """
name: base
tasks:
  - {name: a, kind: classification}
  - {name: b, kind: classification, dataset: vtab/b, metric: mean_per_class_recall}
  - {name: c, kind: retrieval}
averages:
  - {name: both, tasks: [a, b]}
  - {name: all, tasks: [c, b, a]}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(BASE)
    return tmp_path


def suite(text: str, name: str = "mine") -> str:
    Path(f"{name}.yaml").write_text(f"name: {name}\n{text}")
    return f"{name}.yaml"


@pytest.mark.parametrize(
    ("include", "tasks", "averages"),
    [
        ("{suite: base.yaml}", ["a", "b", "c"], ["both", "all"]),
        ("{suite: base.yaml, tasks: [c, a]}", ["a", "c"], []),
        ("{suite: base.yaml, averages: [both]}", ["a", "b"], ["both"]),
        ("{suite: base.yaml, tasks: [c], averages: [both]}", ["a", "b", "c"], ["both"]),
        ("{suite: base.yaml, tasks: [c]}, {suite: base.yaml, averages: [all]}", ["c", "a", "b"], ["all"]),
    ],
)
def test_what_is_taken(include: str, tasks: list[str], averages: list[str]) -> None:
    base, mine = load_suite("base.yaml"), load_suite(suite(f"include: [{include}]"))
    assert [task.name for task in mine.tasks] == tasks
    assert [average.name for average in mine.averages] == averages
    assert all(task in base.tasks for task in mine.tasks)
    assert all(average in base.averages for average in mine.averages)


def test_own_tasks_and_averages_stand_beside_them() -> None:
    text = (
        "data_root: elsewhere\ninclude: [{suite: base.yaml, averages: [both]}]\n"
        "tasks: [{name: d, kind: retrieval}]\naverages: [{name: mixed, tasks: [a, d]}]"
    )
    mine = load_suite(suite(text))
    assert [task.name for task in mine.tasks] == ["a", "b", "d"]
    assert {average.name for average in mine.averages} == {"both", "mixed"}
    assert mine.data_root == Path("elsewhere")


def test_a_suite_that_includes_others_can_be_included() -> None:
    middle = suite("include: [{suite: base.yaml, tasks: [b]}]\ntasks: [{name: d, kind: retrieval}]", "middle")
    mine = load_suite(suite(f"include: [{{suite: {middle}}}, {{suite: base.yaml, tasks: [a, b]}}]"))
    assert [task.name for task in mine.tasks] == ["b", "d", "a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "include: [{suite: base.yaml, tasks: [aa]}]",
            r"mine.yaml\n  include.0.tasks = 'aa': suite base has no such task",
        ),
        ("include: [{suite: base.yaml}, {suite: base.yaml, averages: [bot]}]", r"include.1.averages = 'bot': .*both"),
        ("include: [{suite: bass.yaml}]", r"mine.yaml\n  include.0.suite = 'bass.yaml': no such file"),
        ("include: [{suite: toyy}]", r"include.0.suite = 'toyy': no file of this name in evals/; did you mean toy"),
        ("include: [{sweet: toy}]", r"include.0.sweet: unknown key"),
        ("include: base.yaml", r"  include = 'base.yaml'"),
        ("include: []", r"tasks: this key is required"),
        ("include: [{suite: base.yaml}]\ntasks: [{name: a, kind: retrieval}]", r"have the same name: a"),
        ("include: [{suite: base.yaml}]\ntasks: [{name: d, kind: retrieval, splt: x}]", r"  tasks.0.splt: unknown key"),
        ("include: [{suite: base.yaml}]\ntasks: 7", r"  tasks = 7"),
        ("include: [{suite: base.yaml}]\naverages: [{name: x, tasks: [cc]}]", r"the average x names the task 'cc'"),
        (
            "include: [{suite: mine.yaml}]",
            r"mine.yaml\n  include.0.suite = 'mine.yaml': .*include itself \(mine -> mine\)",
        ),
    ],
)
def test_mistakes_are_named_by_file_and_key(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_suite(suite(text))


def test_a_file_is_found_beside_the_suite_that_includes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("below").mkdir()
    suite("include: [{suite: base.yaml, tasks: [c]}]")
    monkeypatch.chdir("below")
    assert [task.name for task in load_suite("../mine.yaml").tasks] == ["c"]
    assert load_suite(str(tmp_path / "mine.yaml")).tasks == load_suite("../mine.yaml").tasks


def test_a_circle_of_suites_is_named() -> None:
    suite("include: [{suite: two.yaml}]", "one")
    suite("include: [{suite: sub/../one.yaml}]", "two")
    Path("sub").mkdir()
    with pytest.raises(ConfigError, match=r"two.yaml\n  include.0.suite = .*\(one -> two -> one\)"):
        load_suite("one.yaml")


def test_mistakes_in_an_included_suite_are_that_files() -> None:
    suite("tasks: [{name: a, kind: clasification}]", "broken")
    with pytest.raises(ConfigError, match=r"broken.yaml\n  tasks.0.kind = 'clasification'"):
        load_suite(suite("include: [{suite: broken.yaml}]"))
