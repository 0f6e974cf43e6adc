"""A law of two columns of a table, without a spec: for a quick look, and for other programs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import FormName
from mammut_clip.fit.asked import answers
from mammut_clip.fit.procedure import Fitted, Procedure
from mammut_clip.fit.table import ROW, numbers, read_table, require_columns


def law_of_columns(path: Path, x: str, y: str, procedure: Procedure) -> Fitted:
    """The law of column y (errors) in column x (compute or samples) of a CSV or Parquet file. InputError names bad
    lines, and a pair that stands twice: a pair has no run, so it would be one measurement counted twice."""
    frame = read_table(path)
    require_columns(frame, [x, y], str(path))
    try:
        xs, ys = numbers(frame, x, str(path)), numbers(frame, y, str(path))
        pairs = pd.DataFrame({"x": xs, "y": ys})
        if pairs.duplicated().any():
            again = frame[ROW][pairs.duplicated(keep=False)]
            raise InputError(f"the same {x} and {y} stand twice: {', '.join(again.iloc[:8])}")
        return procedure.fit(xs.to_numpy(), ys.to_numpy(), rows=frame[ROW].tolist())
    except InputError as error:
        message = str(error)
        raise InputError(message if message.startswith(str(path)) else f"{path}: {message}") from error


def law_json(fitted: Fitted, at: Sequence[float] = (), level: float = 0.95) -> dict[str, Any]:
    """A fitted law as plain JSON values: {form, params, se, n, rmse, ..., record}, with predictions at `at`."""
    predicted = [a.to_json_dict() for a in answers(fitted.estimate, at, level)]
    law = fitted.law.to_json_dict() | {"record": fitted.record_json()}
    return law | ({"predictions": predicted} if predicted else {})


def fit_law_csv(path: Path, x: str, y: str, form: FormName = "saturation") -> dict[str, Any]:
    """The law of two columns as plain JSON values."""
    return law_json(law_of_columns(path, x, y, Procedure(form)))
