"""The text files that describe a set: names of classes, and prompts."""

from pathlib import Path

from mammut_clip.config.errors import InputError, MissingError
from mammut_clip.data.shards.shard_writer import CLASSNAMES, TEMPLATES


def read_classnames(folder: Path) -> list[str]:
    """Class number -> name, from classnames.txt.

    Raises InputError where it is missing or empty, and for an empty line before the last name: to leave it out would
    give every class after it another number.
    """
    path = folder / CLASSNAMES
    names = read_lines(path, "one class name per line")
    if "" in names:
        raise InputError(f"{path}: line {names.index('') + 1} is empty; expected one class name per line")
    return names


def known_classnames(folder: Path) -> list[str] | None:
    """As `read_classnames`; None where there is no such file."""
    return read_classnames(folder) if (folder / CLASSNAMES).exists() else None


def read_templates(folder: Path) -> list[str]:
    """Prompts with `{c}` for the class name. Raises InputError where they are missing or have no {c}."""
    path = folder / TEMPLATES
    lines = [line for line in read_lines(path, "prompts such as 'a photo of a {c}', one per line") if line]
    broken = [line for line in lines if "{c}" not in line]
    if broken:
        raise InputError(f"{path}: the template {broken[0]!r} has no {{c}}; expected it where the class goes")
    return lines


def read_lines(path: Path, expected: str) -> list[str]:
    """Stripped lines, without the empty ones at the end. Raises InputError where there are none."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file; expected {expected}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; expected {expected}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text; expected {expected}") from error
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise InputError(f"{path}: empty; expected {expected}")
    return lines
