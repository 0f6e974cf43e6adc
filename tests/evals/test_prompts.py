"""Class names and prompts: the dataset's own, or those that a suite gives instead."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from subjects import random_subject

from mammut_clip.config.errors import InputError
from mammut_clip.data.evalsets import EvalSet, TarEvalSet
from mammut_clip.data.shards.shard_writer import ShardSetWriter, eval_key, eval_shard_name, write_eval_description
from mammut_clip.data.toy_shards import write_toy_evals
from mammut_clip.evals.prompts import Prompts, class_embeddings, find_prompts, imagenet_classnames, imagenet_templates
from mammut_clip.evals.suite import load_suite, parse_suite


def write_set(folder: Path, labels: list[int], names: list[str] | None, templates: list[str] | None) -> EvalSet:
    """Two classes, unless there are other names."""
    with ShardSetWriter(folder / "test", 100, eval_shard_name) as writer:
        for number, label in enumerate(labels):
            writer.add(eval_key(number), {"png": b"-", "cls": str(label).encode()})
    write_eval_description(folder, "test", writer.shards, classnames=names, templates=templates)
    return TarEvalSet.open(folder)


@pytest.fixture
def dataset(tmp_path: Path) -> EvalSet:
    return write_set(tmp_path / "wds_own", [0, 1], ["cat", "dog"], ["a {c}"])


def entry(**keys: Any) -> Any:
    values = {"name": "s", "tasks": [{"name": "own", "kind": "classification", **keys}]}
    return parse_suite(values, "test").tasks[0]


def test_without_a_word_of_the_suite_they_are_the_datasets(dataset: EvalSet) -> None:
    assert find_prompts(entry(), dataset) == Prompts(("cat", "dog"), ("a {c}",))


def test_each_of_both_is_replaced_by_itself(dataset: EvalSet) -> None:
    assert find_prompts(entry(classnames=["tabby", "hound"]), dataset) == Prompts(("tabby", "hound"), ("a {c}",))
    assert find_prompts(entry(templates=["{c}", "{c}, a {c}"]), dataset).texts() == [
        "cat",
        "cat, a cat",
        "dog",
        "dog, a dog",
    ]


def test_files_are_found_beside_the_suite_wherever_one_stands(
    dataset: EvalSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "suites" / "words").mkdir(parents=True)
    (tmp_path / "suites" / "words" / "names.txt").write_text("Katze\nHund\n\n", encoding="utf-8")
    (tmp_path / "suites" / "words" / "prompts.txt").write_text("ein Bild: {c}\n", encoding="utf-8")
    suite = tmp_path / "suites" / "mine.yaml"
    suite.write_text(
        "name: mine\ntasks:\n"
        "  - {name: own, kind: classification, classnames: words/names.txt, templates: words/prompts.txt}\n"
    )
    expected = Prompts(("Katze", "Hund"), ("ein Bild: {c}",))
    assert find_prompts(load_suite(str(suite)).tasks[0], dataset) == expected
    monkeypatch.chdir(tmp_path / "suites" / "words")
    assert find_prompts(load_suite("../mine.yaml").tasks[0], dataset) == expected


def test_imagenets_words_are_those_of_open_clip(tmp_path: Path) -> None:
    from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES

    names = [f"class {number}" for number in range(1000)]
    dataset = write_set(tmp_path / "wds_imagenet", [999], names, ["{c}"])
    prompts = find_prompts(entry(classnames="imagenet", templates="imagenet"), dataset)
    assert prompts.classnames == tuple(IMAGENET_CLASSNAMES) == tuple(imagenet_classnames())
    assert len(imagenet_templates()) == 80
    some = (0, 134, 517, 999)  # crane stands twice: a bird and a machine
    wanted = [template(IMAGENET_CLASSNAMES[number]) for number in some for template in OPENAI_IMAGENET_TEMPLATES]
    texts = prompts.texts()
    assert [text for number in some for text in texts[80 * number : 80 * number + 80]] == wanted


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"classnames": ["cat"]}, r"task own: classnames: 1 names; expected 2, as many as .*wds_own has classes"),
        ({"classnames": "imagenet"}, r"classnames: 1000 names; expected 2"),
        ({"classnames": []}, r"task own: classnames: an empty list"),
        ({"classnames": ["cat", " "]}, r"task own: classnames: number 1 is empty"),
        ({"templates": []}, r"task own: templates: an empty list"),
        ({"templates": ["a {c}", "a dog"]}, r"task own: templates: 'a dog' has no \{c\}"),
        ({"templates": ["a {c}", ""]}, r"task own: templates: '' has no \{c\}"),
        ({"templates": "nowhere/prompts.txt"}, r"task own: templates: nowhere/prompts.txt: no such file"),
    ],
)
def test_what_cannot_be_used_is_named(dataset: EvalSet, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_prompts(entry(**keys), dataset)


def test_where_neither_names_classes_the_missing_file_is_named(tmp_path: Path) -> None:
    dataset = write_set(tmp_path / "wds_bare", [0], None, None)
    with pytest.raises(InputError, match=r"wds_bare/classnames.txt: no such file"):
        find_prompts(entry(templates=["{c}"]), dataset)
    with pytest.raises(InputError, match=r"wds_bare/zeroshot_classification_templates.txt: no such file"):
        find_prompts(entry(classnames=["cat"]), dataset)


def test_labels_of_a_set_without_names_are_checked_against_those_of_the_suite(tmp_path: Path) -> None:
    dataset = write_set(tmp_path / "wds_bare", [0, 1, 2], None, None)
    assert dataset[2].target == 2
    find_prompts(entry(classnames=["cat", "dog"], templates=["{c}"]), dataset)
    assert dataset.classnames == ["cat", "dog"]
    assert dataset[1].target == 1
    with pytest.raises(InputError, match=r"'s0000002': label '2'; expected a class number from 0 to 1"):
        dataset[2]


def test_what_decides_the_result_is_plain_values(dataset: EvalSet) -> None:
    values = find_prompts(entry(templates="imagenet"), dataset).to_json_dict()
    assert json.loads(json.dumps(values)) == values == {"classnames": ["cat", "dog"], "templates": imagenet_templates()}


def test_a_class_is_the_unit_mean_of_its_unit_prompts(tmp_path: Path) -> None:
    folder = write_toy_evals(tmp_path, pairs_per_class=1, retrieval=1, segmentation=1)[0]
    subject = random_subject()
    prompts = find_prompts(entry(templates=["{c}", "a {c}", "{c} on grey"]), TarEvalSet.open(folder))
    with torch.no_grad():
        expected = []
        for name in prompts.classnames:
            some = [template.replace("{c}", name) for template in prompts.templates]
            features = subject.model.encode_text(subject.tokenizer(some), normalize=False)
            mean = (features / features.norm(dim=-1, keepdim=True)).mean(0)
            expected.append(mean / mean.norm())
    assert torch.allclose(class_embeddings(subject, prompts, 7), torch.stack(expected), atol=1e-6)
