"""A law of two columns of a table, without a spec: for a quick look, and for other programs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_rows import UnitName
from mammut_clip.fit.asked import answers
from mammut_clip.fit.json_values import finite
from mammut_clip.fit.procedure import Fitted, Procedure
from mammut_clip.fit.table import ROW, numbers, read_table, require_columns, to_error
from mammut_clip.fit.warn import law_warnings


def law_of_columns(path: Path, x: str, y: str, procedure: Procedure, unit: UnitName = "error") -> Fitted:
    """The law of column y (of a stated unit) in column x (compute or samples) of a CSV or Parquet file. InputError
    names bad lines, and a pair that stands twice: a pair has no run, so it would be one measurement counted twice."""
    frame = read_table(path)
    require_columns(frame, [x, y], str(path))
    with _named(path):
        xs, ys = numbers(frame, x, str(path)), numbers(frame, y, str(path))
        pairs = pd.DataFrame({"x": xs, "y": ys})
        if pairs.duplicated().any():
            again = frame[ROW][pairs.duplicated(keep=False)]
            raise InputError(f"the same {x} and {y} stand twice: {', '.join(again.iloc[:8])}")
        errors = to_error(ys, unit, frame[ROW], str(path))
        return procedure.fit(xs.to_numpy(), errors.to_numpy(), rows=frame[ROW].tolist())


def fit_law_csv(
    path: Path,
    x: str,
    y: str,
    procedure: Procedure,
    at: Sequence[float] = (),
    level: float = 0.95,
    unit: UnitName = "error",
) -> dict[str, Any]:
    """The law of two columns as plain JSON values: {procedure, form, params, se, n, rmse, ..., record, warnings}.

    `form` and its `params` are the law that is shown: the chosen one of `auto`, the one of largest weight of `average`.
    `predictions`, at each x of `at` where there are any, are the procedure's. Raises InputError that names the file.
    """
    fitted = law_of_columns(path, x, y, procedure, unit)
    with _named(path):
        predicted = [a.to_json_dict() for a in answers(fitted.estimate, at, level)]
    law = {"procedure": fitted.procedure} | fitted.law.to_json_dict()
    error = y if unit == "error" else f"the error of {y}"
    law |= {"record": fitted.record_json(), "warnings": law_warnings(fitted, x, error)}
    found: dict[str, Any] = finite(law | ({"predictions": predicted} if predicted else {}))
    return found


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name before the message of an InputError that does not say it."""
    try:
        yield
    except InputError as error:
        message = str(error)
        raise InputError(message if message.startswith(str(path)) else f"{path}: {message}") from error
