"""How captions are written: the likeliest token each time, tokens drawn at random, or a search with several beams."""

from typing import Annotated, Any, get_args

from pydantic import Field

from mammut_clip.config.base import Config, nearest
from mammut_clip.config.errors import InputError
from mammut_clip.config.load import validate


class Greedy(Config):
    """Always the likeliest next token."""


class Nucleus(Config):
    """The next token is drawn from the likeliest ones (Holtzman et al. 2020, "The Curious Case of Neural Text
    Degeneration")."""

    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Tokens are drawn from the fewest likeliest ones that together have this probability."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """What logits are divided by before: below 1 likely tokens become likelier."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Where random numbers start; a picture's numbers depend on this and on its place in the list."""


class Beam(Config):
    """The best caption that a beam search finds."""

    beams: Annotated[int, Field(ge=1)] = 5
    """How many beginnings of captions are followed at a time; 1 is greedy."""
    length_penalty: Annotated[float, Field(ge=0, le=10)] = 1.0
    """Captions are compared by log-probability / tokens ** this, as in transformers; 0 favours short ones."""


Method = Greedy | Nucleus | Beam
METHODS: dict[str, type[Method]] = {schema.__name__.lower(): schema for schema in get_args(Method)}
"""The methods by the names that the command line has for them."""


def choose_method(name: str, options: dict[str, Any]) -> Method:
    """The method of this name with the options that were given (None: not given).

    Raises InputError for an unknown name, an option that belongs to another method, and a value out of range.
    """
    if name not in METHODS:
        raise InputError(f"--method {name}: expected one of {', '.join(METHODS)}; {nearest(name, list(METHODS))}")
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        owners = [owner for owner, schema in METHODS.items() if key in schema.model_fields]
        if name not in owners:
            flag = "--" + key.replace("_", "-")
            raise InputError(f"{flag} belongs to --method {' or '.join(owners)}, the method here is {name}")
    return validate(METHODS[name], given, f"the options of --method {name}")
