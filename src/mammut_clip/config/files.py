"""Where the YAML files that users write are found: by path, or by name among those that come with the program.

`configs/models/ViT-B-32.yaml` is found by the name `ViT-B-32`, in a checkout and in an installed wheel alike.
"""

from functools import cache
from pathlib import Path

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import ConfigError, InputError, Problem

KINDS = ("configs/models", "configs/train", "configs/tokenizers", "sweeps", "slurm", "evals", "fit")


@cache
def shipped_root() -> Path:
    """The folder that holds configs/, sweeps/, slurm/, evals/ and fit/."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_shipped"
    return installed if installed.is_dir() else package.parents[1]


def shipped(kind: str) -> dict[str, Path]:
    """Name -> path of the files of one kind (one of KINDS) that come with the program."""
    folder = shipped_root() / kind
    return {path.stem: path for path in sorted(folder.glob("*.yaml")) + sorted(folder.glob("*.json"))}


def is_path(path: Path) -> bool:
    """Whether a file is meant by its path, and not by its name among those that come with the program."""
    return path.suffix in {".yaml", ".yml", ".json"} or len(path.parts) > 1


def find_file(kind: str, name: str | Path, *, source: str = "command line", key: str = "") -> Path:
    """The file meant by `name`: a path that exists, or the name of a shipped file of this kind.

    Raises ConfigError, with the nearest names, where there is no such file.
    """
    path = Path(name)
    if is_path(path):
        if path.is_file():
            return path
        if path.is_dir():
            raise ConfigError(source, [Problem(key, "this is a folder, expected a file", str(name))])
        raise ConfigError(source, [Problem(key, "no such file", str(name))])
    known = shipped(kind)
    if path.name in known:
        return known[path.name]
    hint = nearest(str(name), list(known))
    raise ConfigError(source, [Problem(key, f"no file of this name in {kind}/; {hint}", str(name))])


def read_text(path: Path) -> str:
    """The text of a config file; InputError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
