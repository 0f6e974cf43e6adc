"""Towers of timm and transformers: what they cost stands in the model's config, since only torch could count it."""

from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.model import ModelConfig
from mammut_clip.config.towers import HfTextConfig, TimmConfig, TowerCost

_EXPECTED = (
    "this key is required to know what {name} costs; `mammut-clip models FILE` measures it and prints the lines to add "
    "to the model's file"
)


class UnmeasuredTowerError(ConfigError):
    """A config leaves out what a tower of another package costs."""

    def __init__(self, keys: dict[str, str]) -> None:
        super().__init__("the model", [Problem(key, _EXPECTED.format(name=name)) for key, name in keys.items()])


def outside_towers(config: ModelConfig) -> dict[str, TimmConfig | HfTextConfig]:
    """The towers that are not ours, by the key under which they stand."""
    towers = {"vision_cfg": config.vision_cfg, "text_cfg": config.text_cfg}
    return {key: tower for key, tower in towers.items() if isinstance(tower, TimmConfig | HfTextConfig)}


def name_of(tower: TimmConfig | HfTextConfig) -> str:
    """What the tower's package calls it."""
    return tower.timm_model_name if isinstance(tower, TimmConfig) else tower.hf_model_name


def unmeasured(config: ModelConfig) -> dict[str, str]:
    """The keys of costs that are missing, each with the name of its tower."""
    return {f"{key}.cost": name_of(tower) for key, tower in outside_towers(config).items() if tower.cost is None}


def outside_costs(config: ModelConfig) -> dict[str, TowerCost]:
    """The costs of the towers that are not ours, by key. Raises UnmeasuredTowerError where one is missing."""
    missing = unmeasured(config)
    if missing:
        raise UnmeasuredTowerError(missing)
    return {key: tower.cost for key, tower in outside_towers(config).items() if tower.cost is not None}
