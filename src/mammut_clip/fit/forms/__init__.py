"""The forms a law can have, each with its derivatives."""

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.fit.forms.base import TINY, Array, Candidates, Form
from mammut_clip.fit.forms.bounded import Bounded, BoundedNoFloor
from mammut_clip.fit.forms.broken import BrokenPower
from mammut_clip.fit.forms.power import Line, Power
from mammut_clip.fit.forms.saturation import Saturation, SaturationNoFloor

__all__ = ["FORMS", "TINY", "Array", "Bounded", "BoundedNoFloor", "Candidates", "Form", "get_form"]

FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Power(),
        SaturationNoFloor(),
        Saturation(),
        BoundedNoFloor(),
        Bounded(),
        BrokenPower(),
        Line(),
    )
}
"""The bounded forms here start at an error of 1; `get_form` gives them another."""


def get_form(name: str, error_at_zero: float = 1.0) -> Form:
    """The form of this name; InputError, with the nearest names, where there is none.

    error_at_zero: the value at x = 0 of the bounded forms (the error of guessing, such as 0.999 for 1,000 classes).
    """
    if name not in FORMS:
        raise InputError(f"form = {name!r}: no such form; {nearest(name, list(FORMS))}")
    form = FORMS[name]
    return type(form)(error_at_zero) if isinstance(form, BoundedNoFloor) else form
