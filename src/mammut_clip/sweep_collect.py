"""Results and laws of a sweep, made anew from its run directories; what has not changed is left as it is."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from mammut_clip.config.atomic import read_json, write_json
from mammut_clip.config.errors import InputError
from mammut_clip.config.files import find_file
from mammut_clip.config.fit_kinds import load_fit_spec
from mammut_clip.fit.output import write_outputs
from mammut_clip.fit.specs import run_any
from mammut_clip.fit.table import ROW, select
from mammut_clip.runs import table
from mammut_clip.runs.layout import SweepDir
from mammut_clip.sweep.stored import StoredSweep, stored_file

_MADE_OF = "made_of.json"


@dataclass
class Collected:
    """What a collection did."""

    results: str
    """Path of the results table."""
    rows: int
    """In it."""
    fitted: list[str] = field(default_factory=list)
    """Laws that were fitted anew."""
    unchanged: list[str] = field(default_factory=list)
    """Laws whose points are those that they were fitted to before."""
    not_fitted: dict[str, str] = field(default_factory=dict)
    """Law -> why it cannot be fitted, or not yet."""

    def to_json_dict(self) -> dict[str, Any]:
        """What `sweep collect --json` prints."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.results}: {self.rows} rows"]
        lines += [f"{law}: fitted" for law in self.fitted]
        lines += [f"{law}: as it was" for law in self.unchanged]
        lines += [f"{law}: not fitted: {why}" for law, why in self.not_fitted.items()]
        return "\n".join(lines)


def collect(folder: Path, laws: Sequence[str] | None = None) -> Collected:
    """Write results.parquet of a sweep's folder, and fit into <folder>/fit/<spec>/ each of its laws, or of `laws`.

    A law that cannot be fitted, perhaps because too few runs have results, is noted. Raises InputError where the folder
    holds no runs or cannot be written.
    """
    sweep = SweepDir(folder)
    stored = StoredSweep.read(stored_file(sweep))
    if stored is None and next(sweep.runs(), None) is None:
        raise InputError(f"{folder}: no sweep here (nothing was launched, and no folder holds a config.yaml)")
    frame = table.write(sweep)
    done = Collected(str(sweep.results_file), len(frame))
    for name in (stored.laws if stored is not None else []) if laws is None else laws:
        try:
            again = _fit(name, frame, sweep)
        except InputError as error:
            done.not_fitted[name] = str(error)
        else:
            (done.fitted if again else done.unchanged).append(name)
    return done


def _fit(name: str, frame: pd.DataFrame, sweep: SweepDir) -> bool:
    """Fit one law, unless it was fitted to the same points before; whether it was fitted now."""
    file = find_file("fit", name, source=str(stored_file(sweep)), key="laws")
    spec = load_fit_spec(file)
    out = sweep.path / "fit" / file.stem
    points = select(frame, spec, str(sweep.results_file)).points.drop(columns=ROW, errors="ignore")
    text = "\n".join([version("mammut-clip"), spec.model_dump_json(), points.to_csv(index=False)])
    made_of = {"sha256": hashlib.sha256(text.encode()).hexdigest()}
    if read_json(out / _MADE_OF) == made_of:
        return False
    write_outputs(run_any(spec, frame), out)
    write_json(out / _MADE_OF, made_of)  # last: a collection that was cut off before is repeated
    return True
