"""A law of two columns of a table, without a spec: for a quick look, and for other programs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mammut_clip.config.errors import InputError
from mammut_clip.fit.asked import answers
from mammut_clip.fit.json_values import finite
from mammut_clip.fit.procedure import Fitted, Procedure
from mammut_clip.fit.table import ROW, numbers, read_table, require_columns


def law_of_columns(path: Path, x: str, y: str, procedure: Procedure) -> Fitted:
    """The law of column y (errors) in column x (compute or samples) of a CSV or Parquet file. InputError names bad
    lines, and a pair that stands twice: a pair has no run, so it would be one measurement counted twice."""
    frame = read_table(path)
    require_columns(frame, [x, y], str(path))
    with _named(path):
        xs, ys = numbers(frame, x, str(path)), numbers(frame, y, str(path))
        pairs = pd.DataFrame({"x": xs, "y": ys})
        if pairs.duplicated().any():
            again = frame[ROW][pairs.duplicated(keep=False)]
            raise InputError(f"the same {x} and {y} stand twice: {', '.join(again.iloc[:8])}")
        return procedure.fit(xs.to_numpy(), ys.to_numpy(), rows=frame[ROW].tolist())


def fit_law_csv(
    path: Path, x: str, y: str, procedure: Procedure, at: Sequence[float] = (), level: float = 0.95
) -> dict[str, Any]:
    """The law of two columns as plain JSON values: {procedure, form, params, se, n, rmse, ..., record, warnings}.

    `form` and its `params` are the law that is shown: the chosen one of `auto`, the one of largest weight of `average`.
    `predictions`, at each x of `at` where there are any, are the procedure's. Raises InputError that names the file.
    """
    fitted = law_of_columns(path, x, y, procedure)
    with _named(path):
        predicted = [a.to_json_dict() for a in answers(fitted.estimate, at, level)]
    law = {"procedure": fitted.procedure} | fitted.law.to_json_dict()
    law |= {"record": fitted.record_json(), "warnings": _warnings(fitted, x, y)}
    found: dict[str, Any] = finite(law | ({"predictions": predicted} if predicted else {}))
    return found


def _warnings(fitted: Fitted, x: str, y: str) -> list[str]:
    """What a law can hide that parameters do not show."""
    law, said = fitted.law, list(fitted.left_out)
    log_x = np.log(law.fit.x)
    if law.form != "line" and float(np.sum((log_x - log_x.mean()) * law.fit.y)) > 0:
        said.append(f"{y} rises with {x}, and laws fall: they are fitted to errors, not to accuracies")
    if law.at_bound:
        said.append(f"{', '.join(law.at_bound)} of {law.form} at a bound: the points do not determine it")
    if not law.converged:
        said.append(f"{law.form}: the search did not end at an optimum (gradient {law.fit.gradient:.1g})")
    return said


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name before the message of an InputError that does not say it."""
    try:
        yield
    except InputError as error:
        message = str(error)
        raise InputError(message if message.startswith(str(path)) else f"{path}: {message}") from error
