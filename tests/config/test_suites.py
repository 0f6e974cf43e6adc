"""What a sweep knows of its suite, beside what the evaluation itself makes of it."""

from pathlib import Path

import pytest

from mammut_clip.config.errors import ConfigError
from mammut_clip.config.suites import resolve_evaluation
from mammut_clip.config.sweep import SweepEvaluation
from mammut_clip.evals.suite import load_suite


@pytest.mark.parametrize("name", [file.stem for file in (Path(__file__).parents[2] / "evals").glob("*.yaml")])
def test_every_shipped_suite_has_the_tasks_that_the_evaluation_finds_in_it(name: str) -> None:
    resolved, tasks = resolve_evaluation(SweepEvaluation(suite=name), source="s.yaml")
    suite = load_suite(name)
    assert tasks == [task.name for task in suite.tasks]
    assert resolved.suite == name
    assert resolved.data_root == str(suite.data_root.absolute())


def test_paths_hold_in_any_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("name: mine\ninclude: [{suite: toy}]\ntasks: [{name: a, kind: retrieval}]\n")
    resolved, tasks = resolve_evaluation(SweepEvaluation(suite="mine.yaml", data_root="sets"), source="s.yaml")
    assert tasks == ["toy_pairs", "toy_retrieval", "a"]
    assert (resolved.suite, resolved.data_root) == (str(tmp_path / "mine.yaml"), str(tmp_path / "sets"))


def test_a_suite_that_is_not_there_or_includes_itself_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"s.yaml[\s\S]*evaluation.suite"):
        resolve_evaluation(SweepEvaluation(suite="tpy"), source="s.yaml")
    loop = tmp_path / "loop.yaml"
    loop.write_text(f"name: loop\ninclude: [{{suite: {loop}}}]\n")
    with pytest.raises(ConfigError, match="cannot include itself"):
        resolve_evaluation(SweepEvaluation(suite=str(loop)), source="s.yaml")
