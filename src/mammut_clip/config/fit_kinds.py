"""The file of a spec in fit/ -> a typed spec, by its `kind`; and which files a name or a folder means.

spec = load_fit_spec(find_file("fit", "paper-figure1"), ["form=saturation_no_floor"])
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import ConfigError, InputError, Problem
from mammut_clip.config.files import find_file
from mammut_clip.config.fit import LawSpec
from mammut_clip.config.fit_joint import JointSpec
from mammut_clip.config.fit_optimal import OptimalSpec
from mammut_clip.config.load import apply_overrides, read_mapping, validate

FitSpec: TypeAlias = LawSpec | OptimalSpec | JointSpec

SCHEMAS: dict[str, type[LawSpec] | type[OptimalSpec] | type[JointSpec]] = {
    "law": LawSpec,
    "optimal": OptimalSpec,
    "joint": JointSpec,
}
"""`kind` of a spec -> its schema; a spec that names no kind is a law."""


def load_fit_spec(path: Path, overrides: Sequence[str] = ()) -> FitSpec:
    """Read one spec, set each `a.b=c` of the overrides, and check it. Raises ConfigError."""
    values = apply_overrides(read_mapping(path), list(overrides))
    source = str(path) + (f" with {' '.join(overrides)}" if overrides else "")
    kind = values.get("kind", "law")
    if not isinstance(kind, str) or kind not in SCHEMAS:
        raise ConfigError(source, [Problem("kind", f"no such kind; {nearest(str(kind), list(SCHEMAS))}", kind)])
    return validate(SCHEMAS[kind], values, source)


def load_law_spec(path: Path, overrides: Sequence[str] = ()) -> LawSpec:
    """The same for what works with laws of one variable alone. Raises ConfigError for a spec of another kind."""
    spec = load_fit_spec(path, overrides)
    if not isinstance(spec, LawSpec):
        raise ConfigError(
            str(path), [Problem("kind", "expected 'law': this works with laws of one variable", spec.kind)]
        )
    return spec


def spec_files(targets: Sequence[str]) -> list[Path]:
    """The files that names in fit/, paths of YAML files and folders mean, in this order; a folder's by name.

    Raises ConfigError for what does not exist, InputError for a folder without specs and for two files of one name,
    whose results would be written to one place.
    """
    files: list[Path] = []
    for target in targets:
        folder = Path(target)
        found = sorted(folder.glob("*.yaml")) if folder.is_dir() else [find_file("fit", target)]
        if not found:
            raise InputError(f"{target}: no spec here; expected files named *.yaml")
        files += [file for file in found if file not in files]
    for file in files:
        if len(alike := [str(other) for other in files if other.stem == file.stem]) > 1:
            raise InputError(f"{' and '.join(alike)} have one name: give one of them at a time")
    return files
