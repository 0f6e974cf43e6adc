"""The tasks, one module each. Every module here that has a KIND is one that a suite can name."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import get_args

from mammut_clip.evals.task import Kind


@cache
def kinds() -> dict[str, Kind]:
    """Name -> kind of task."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    found = [module.KIND for module in modules if hasattr(module, "KIND")]
    return {get_args(kind.config.model_fields["kind"].annotation)[0]: kind for kind in found}
