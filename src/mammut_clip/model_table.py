"""The rows of `mammut-clip models`, for shipped models and for files of one's own.

Torch is loaded only for a file with a tower of timm or transformers that leaves out what the tower costs: it is
measured, and the lines to add to the file are reported, so that plans know it from then on.
"""

from collections.abc import Callable, Sequence
from typing import Any

import yaml

from mammut_clip.config.model import ModelConfig, list_model_names, load_model_config
from mammut_clip.cost import TrainingSetting, describe_model, unmeasured
from mammut_clip.cost.outside import outside_costs


def model_rows(names: Sequence[str], setting: TrainingSetting, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """One row for each name or file, for every shipped model where there are none.

    Raises ConfigError for what is unknown or cannot be built.
    """
    return [describe_model(name, _priced(name, report), setting) for name in names or list_model_names()]


def _priced(name: str, report: Callable[[str], None]) -> ModelConfig:
    """The config of a model, with the costs of towers of other packages."""
    config = load_model_config(name)
    missing = unmeasured(config)
    if not missing:
        return config
    from mammut_clip.models.measure import with_costs

    config = with_costs(config)
    lines = {
        key: {"cost": cost.model_dump()} for key, cost in outside_costs(config).items() if f"{key}.cost" in missing
    }
    report(f"measured; add to {name}, so that plans need not:\n{yaml.safe_dump(lines, sort_keys=False)}")
    return config
