"""Single modules of open_clip, without its package.

`import open_clip` takes about four seconds, for models and training code that a tokenizer does not need: every process
of a training or an evaluation would wait for them. These modules stand alone; a test compares them with the package's.
"""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal


@cache
def open_clip_module(name: Literal["tokenizer", "zero_shot_metadata"]) -> ModuleType:
    """A module of the installed open_clip; that of the package where it has been imported already."""
    loaded = sys.modules.get(f"open_clip.{name}")
    if loaded is not None:
        return loaded
    package = importlib.util.find_spec("open_clip")  # looks for it, and runs nothing of it
    assert package is not None and package.origin is not None
    spec = importlib.util.spec_from_file_location(f"_open_clip_{name}", Path(package.origin).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
