"""docs/tutorial-real-data.md stays true: its commands run, in its order, on a handful of drawn pictures.

The packages of pictures are made here, in the layout of emoji-datasource, so nothing is downloaded; training is cut
short. Everything else is the page's own commands, and each must end as the page shows.
"""

import csv
import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from mammut_clip import cli
from mammut_clip.data.evalsets import TarEvalSet
from mammut_clip.data.images import open_picture
from mammut_clip.runs.layout import RunDir

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial-real-data.md"
DOWNLOADS = "/tmp/emoji"
"""Where the page keeps the packages; the test puts its own folder there."""
SHORT = ["samples_seen=256", "global_batch_size=32", "schedule.warmup=32", "logging.every=64", "data.workers=0"]
SET_UP = ("make", "source", "npm")
"""Commands that install; the test stands in what they leave behind."""
CATEGORIES = ("Flags", "Objects", "Food & Drink")
COLOURS = ("red", "green", "blue", "gold")
SHAPES = ("ellipse", "rectangle")
PICTURES = len(CATEGORIES) * len(COLOURS) * len(SHAPES)


@dataclass(frozen=True)
class Step:
    """A command of the page."""

    command: str
    shown: str
    """What the page shows that the block of this command prints."""
    refused: bool
    """Whether the page shows it as an example of bad input."""


def steps() -> list[Step]:
    """The commands in the page's ```bash blocks, each with the ```text block that follows, if one does."""
    blocks = re.findall(r"```bash\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found: list[Step] = []
    for commands, shown in blocks:
        lines = [line for line in commands.replace("\\\n", " ").splitlines() if line.strip()]
        found += [Step(line, shown, refused="error:" in shown and line is lines[-1]) for line in lines]
    return found


def without_numbers(text: str) -> list[str]:
    """Lines in which every number is N: the page's are of other pictures."""
    return [re.sub(r"\d[\d,]*", "N", line) for line in text.splitlines()]


def make_package(folder: Path, vendor: str) -> None:
    """A package of transparent pictures, one per category, colour and shape, and two entries that have no use."""
    pictures = folder / "img" / vendor / "64"
    pictures.mkdir(parents=True)
    emojis = []
    for number in range(PICTURES):
        colour, shape = COLOURS[number % 4], SHAPES[number // 4 % 2]
        picture = Image.new("RGBA", (64, 64))
        draw = ImageDraw.Draw(picture)
        getattr(draw, shape)((8, 8 + number, 56, 56), fill=colour)
        picture.save(pictures / f"{number}.png")
        name = f"{colour.upper()} {shape.upper()} {number}"
        category = CATEGORIES[number // 8]
        words = [f"{colour}_{shape}_{number}", f"{shape}-{colour}"]
        emojis.append({"name": name, "image": f"{number}.png", "short_names": words, "category": category})
    swatch = {"name": "TONE", "image": "0.png", "short_names": ["tone"], "category": "Component"}
    entries = [{**emoji, f"has_img_{vendor}": True} for emoji in [*emojis, swatch]]
    entries.append({**entries[0], f"has_img_{vendor}": False})
    (folder / "emoji.json").write_text(json.dumps(entries))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a checkout, with packages where `npm install` would have put them."""
    for name in ("configs", "docs", "evals"):
        (tmp_path / name).symlink_to(ROOT / name)
    for vendor in ("google", "twitter"):
        make_package(tmp_path / "emoji" / "node_modules" / f"emoji-datasource-{vendor}", vendor)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_step(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of one command; the program itself runs in this process, which has torch loaded."""
    words = shlex.split(command)
    match words[0]:
        case "mammut-clip":
            if words[1] == "train":
                words += SHORT
            monkeypatch.setattr(sys, "argv", words)
            with pytest.raises(SystemExit) as ended:
                cli.main()
            assert isinstance(ended.value.code, int)
            return ended.value.code
        case "python":
            return subprocess.run([sys.executable, *words[1:]], check=False).returncode
        case "echo" | "mkdir" | "tar" | "head":
            return subprocess.run(command, shell=True, check=False).returncode
    raise AssertionError(f"the page has a command that this test does not know: {command}")


def test_every_command_of_the_page_ends_as_shown(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    outputs: dict[str, str] = {}
    for step in steps():
        command = step.command.replace(DOWNLOADS, str(workplace / "emoji"))
        command = re.sub(r"\bs(\d{7})\b", lambda found: f"s{int(found[1]) % PICTURES:07d}", command)
        if command.split()[0] in SET_UP:
            continue
        code = run_step(command, monkeypatch)
        out, err = capfd.readouterr()
        assert code == (2 if step.refused else 0), f"{command}\n{out}\n{err}"
        outputs[command] = out + err
        if command.startswith("mammut-clip data "):
            errors = [line for line in err.splitlines() if line.startswith("error:")]
            printed = errors if step.refused else out.splitlines()
            assert printed and set(without_numbers("\n".join(printed))) <= set(without_numbers(step.shown)), command

    with (workplace / "data/emoji/google.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == PICTURES  # neither the swatch nor the picture that the vendor lacks
    assert rows[0]["name"] == "red ellipse 0" and rows[0]["keywords"] == "red ellipse 0 ellipse red"
    assert rows[0]["sentence"] == "flag emoji: red ellipse 0"

    groups = TarEvalSet.open("data/emoji/evals/wds_emoji_groups")
    assert groups.classnames == ["flag", "food or drink", "object"] and len(groups) == PICTURES
    corner = open_picture(groups[0].image).convert("RGB").getpixel((0, 0))
    assert corner == (255, 255, 255)

    run = RunDir.at(Path("runs/single/emoji"))
    assert run.status.state == "finished" and run.status.samples_seen == 256
    results = {task: record.metrics for (_, task), record in run.evals.items()}
    assert results.keys() == {"emoji_groups", "emoji_retrieval"}
    assert all(0.0 <= value <= 1.0 for metrics in results.values() for value in metrics.values())

    captioning = next(command for command in outputs if command.startswith("mammut-clip caption"))
    pictures = [word for word in shlex.split(captioning) if word.endswith(".png")]
    assert pictures and all(f"{picture}: " in outputs[captioning] for picture in pictures)


def test_the_page_shows_every_stage_and_an_error() -> None:
    commands = [step.command for step in steps()]
    for stage in ("npm install", "data pack train", "data pack retrieval", "data pack classification"):
        assert any(stage in command for command in commands), stage
    for verb in ("data tokenizer", "data index", "train configs/train/emoji.yaml", "eval ", "caption "):
        assert any(command.startswith(f"mammut-clip {verb}") for command in commands), verb
    assert any(step.refused for step in steps())
