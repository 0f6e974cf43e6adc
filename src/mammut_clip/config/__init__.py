"""Typed schemas of everything users write, and how they are read, overridden and checked. Imports nothing of ours."""

from mammut_clip.config.errors import ConfigError, InputError, PartialFailureError, Problem
from mammut_clip.config.load import load_config, to_yaml, validate

__all__ = [
    "ConfigError",
    "InputError",
    "PartialFailureError",
    "Problem",
    "load_config",
    "to_yaml",
    "validate",
]
