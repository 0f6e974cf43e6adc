"""`mammut-clip caption`: the captions of a model's own `generate`, whatever the model is given as, and refusals."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from mammut_clip import captions, cli
from mammut_clip.api import create_model_and_transforms, get_tokenizer
from mammut_clip.config.captioning import Beam, Method, Nucleus
from mammut_clip.config.model import load_model_config
from mammut_clip.models import build_model
from mammut_clip.models.exchange import save_weights

MODEL = "mammut_toy-XS"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the toy MaMMUT under which captions differ: an untrained head says nothing."""
    model = build_model(load_model_config(MODEL), seed=2)
    torch.nn.init.normal_(model.text.text_projection, generator=torch.Generator().manual_seed(1))  # type: ignore[union-attr, arg-type]
    torch.nn.init.normal_(model.map_viz2txt_kv, std=3, generator=torch.Generator().manual_seed(2))  # type: ignore[arg-type]
    path = tmp_path_factory.mktemp("weights") / "toy.safetensors"
    save_weights(model, path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six pictures in plain colours, of several formats and sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    found = []
    for number, colour in enumerate(("red", "lime", "blue", "white", "black", "orange")):
        path = folder / f"{colour}.{('png', 'jpg', 'webp')[number % 3]}"
        Image.new("RGB", (40 + number, 33), colour).save(path)
        found.append(path)
    return found


class Verb:
    """`mammut-clip caption`, run in this process, which has torch loaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def run(self, *arguments: object) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        self._monkeypatch.setattr(sys, "argv", ["mammut-clip", "caption", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    def captions(self, *arguments: object) -> list[str]:
        code, out, err = self.run(*arguments, "--json")
        assert code == 0, err
        return [entry["caption"] for entry in json.loads(out)]

    def refused(self, *arguments: object) -> str:
        code, out, err = self.run(*arguments)
        assert (code, out) == (2, ""), err
        return err


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verb:
    return Verb(monkeypatch, capsys)


def expected(files: list[Path], weights: Path, **options: Any) -> list[str]:
    model, _, transform = create_model_and_transforms(MODEL, weights)
    images = torch.stack([transform(Image.open(file)) for file in files])
    return get_tokenizer(MODEL).decode(model.generate(images, **options))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ([], None),
        (
            ["--method", "nucleus", "--top-p", "0.8", "--temperature", "1.5", "--seed", "3"],
            Nucleus(top_p=0.8, temperature=1.5, seed=3),
        ),
        (["--method", "beam", "--beams", "3", "--length-penalty", "0.5"], Beam(beams=3, length_penalty=0.5)),
    ],
)
def test_captions_are_those_of_the_model(
    options: list[str], method: Method | None, verb: Verb, files: list[Path], weights: Path
) -> None:
    written = verb.captions(*files, "--model", MODEL, "--weights", weights, *options, "--max-length", 12)
    assert written == expected(files, weights, method=method, max_length=12)
    assert len(set(written)) > 2


def test_without_json_each_line_is_a_picture(verb: Verb, files: list[Path], weights: Path) -> None:
    code, out, err = verb.run(*files, "--model", MODEL, "--weights", weights)
    texts = expected(files, weights)
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"{file}: {text}" for file, text in zip(files, texts, strict=True)]


@pytest.mark.parametrize("method", ["greedy", "nucleus"])
def test_many_pictures_go_in_batches_and_show_progress(
    method: str, verb: Verb, files: list[Path], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (*files, "--model", MODEL, "--weights", weights, "--method", method, "--json")
    _, whole, silent = verb.run(*arguments)
    monkeypatch.setattr(captions, "BATCH_SIZE", 4)
    _, parts, shown = verb.run(*arguments)
    assert parts == whole
    assert silent == ""
    assert "6/6" in shown


def test_a_prompt_begins_every_caption(verb: Verb, files: list[Path], weights: Path) -> None:
    arguments = (*files, "--model", MODEL, "--weights", weights)
    prompt = "a red circle"
    ids = get_tokenizer(MODEL)(prompt)[0]
    written = verb.captions(*arguments, "--prompt", prompt)
    assert written == expected(files, weights, prompt=ids[1 : int(ids.argmax())])
    assert all(text.startswith(prompt) for text in written)
    assert "the prompt take" in verb.refused(*arguments, "--prompt", "red " * 30)


def test_a_converted_folder_is_a_model(verb: Verb, files: list[Path], weights: Path, tmp_path: Path) -> None:
    from mammut_clip.convert import convert

    convert(weights, tmp_path / "model", MODEL)
    assert verb.captions(*files, "--model", tmp_path / "model") == expected(files, weights)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", MODEL], ["architecture without weights", "--weights"]),
        (["--model", "toy-XS"], ["toy-XS", "a clip model has no decoder", "mammut, coca or cap"]),
        (["--model", "ViT-B-32-SigLIP"], ["a siglip model has no decoder"]),
        (["--model", "mammut_toy-XXS"], ["did you mean"]),
        (["--model", MODEL, "--weights", "nowhere.pt"], ["nowhere.pt", "no such file"]),
        (["--model", MODEL, "--beams", "3"], ["--beams belongs to --method beam"]),
        (["--model", MODEL, "--method", "beam", "--beams", "0"], ["beams = 0"]),
    ],
)
def test_models_and_options_that_do_not_fit(
    options: list[str], words: list[str], verb: Verb, files: list[Path]
) -> None:
    message = verb.refused(files[0], *options)
    assert all(word in message for word in words), message


def test_a_length_that_the_model_has_not(verb: Verb, files: list[Path], weights: Path) -> None:
    message = verb.refused(files[0], "--model", MODEL, "--weights", weights, "--max-length", 21)
    assert "max_length = 21: expected 2 to 20" in message


def test_a_file_that_is_no_picture_is_named(verb: Verb, files: list[Path], weights: Path, tmp_path: Path) -> None:
    words, cut = tmp_path / "words.jpg", tmp_path / "cut.jpg"
    words.write_text("hello")
    picture = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(picture, "jpeg")
    cut.write_bytes(picture.getvalue()[:600])
    arguments = ("--model", MODEL, "--weights", weights)
    assert "words.jpg: not in any known format" in verb.refused(files[0], words, *arguments)
    assert "cut.jpg: cannot be decoded" in verb.refused(files[0], cut, *arguments)
    assert "none.jpg: No such file" in verb.refused(files[0], tmp_path / "none.jpg", *arguments)
    # known before the weights are read
    assert "words.jpg" in verb.refused(words, "--model", MODEL, "--weights", "nowhere.pt")
