"""The choice of a way to write captions."""

import math

import pytest

from mammut_clip.config.captioning import Beam, Greedy, Nucleus, choose_method
from mammut_clip.config.errors import InputError


def test_options_go_to_their_method() -> None:
    nothing = {"top_p": None, "beams": None}
    assert choose_method("greedy", nothing) == Greedy()
    assert choose_method("nucleus", nothing) == Nucleus(top_p=0.9, temperature=1.0, seed=0)
    assert choose_method("nucleus", {"top_p": 0.5, "seed": 3, "beams": None}) == Nucleus(top_p=0.5, seed=3)
    assert choose_method("beam", {"beams": 2, "length_penalty": 0.0}) == Beam(beams=2, length_penalty=0)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("gredy", {}, "--method gredy: expected one of greedy, nucleus, beam; did you mean greedy"),
        ("greedy", {"top_p": 0.5}, "--top-p belongs to --method nucleus, the method here is greedy"),
        ("nucleus", {"length_penalty": 1.0}, "--length-penalty belongs to --method beam, the method here is nucleus"),
        ("beam", {"seed": 0}, "--seed belongs to --method nucleus, the method here is beam"),
        ("nucleus", {"top_p": 0.0}, "top_p = 0.0: the value should be greater than 0"),
        ("nucleus", {"top_p": 1.5}, "top_p = 1.5: the value should be less than or equal to 1"),
        ("nucleus", {"temperature": 0.0}, "temperature = 0.0: the value should be greater than 0"),
        ("nucleus", {"temperature": math.nan}, "temperature = nan"),
        ("nucleus", {"top_p": math.nan}, "top_p = nan"),
        ("beam", {"beams": 0}, "beams = 0: the value should be greater than or equal to 1"),
        ("beam", {"length_penalty": math.inf}, "length_penalty = inf"),
    ],
)
def test_what_does_not_belong_or_is_out_of_range_is_refused(
    method: str, options: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError) as refused:
        choose_method(method, options)
    assert message in str(refused.value)
