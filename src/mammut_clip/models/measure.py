"""What towers of timm and transformers cost, measured where ours are counted in closed form (cost/)."""

from mammut_clip.config.model import ModelConfig
from mammut_clip.config.towers import HfTextConfig, TimmConfig, TowerCost
from mammut_clip.models.build import build_empty
from mammut_clip.models.outside import OutsideTower, try_out

_OUTSIDE = (TimmConfig, HfTextConfig)


def measured_cost(config: ModelConfig) -> dict[str, TowerCost]:
    """The costs of a model's towers that are not ours, by the key under which they stand; no weights are made.

    FLOPs are those of torch's FlopCounterMode on one image, or one text of full length: matrix products and
    convolutions, attention as plain products without recomputation. `gflops_paper` leaves out every batched matrix
    product, which is where attention's scores and mixed values are counted, whether an architecture calls torch's
    fused attention or multiplies them itself. Raises ConfigError as `build_empty` does.
    """
    model = build_empty(config)
    towers = {"vision_cfg": getattr(model, "visual", None), "text_cfg": getattr(model, "text", None)}
    return {key: _cost(tower) for key, tower in towers.items() if isinstance(tower, OutsideTower)}


def with_costs(config: ModelConfig) -> ModelConfig:
    """The config with the costs of its towers that are not ours, measured where it leaves them out."""
    towers = {key: tower for key in ("vision_cfg", "text_cfg") if isinstance(tower := getattr(config, key), _OUTSIDE)}
    if all(tower.cost is not None for tower in towers.values()):
        return config
    costs = measured_cost(config)
    known = {key: tower.model_copy(update={"cost": tower.cost or costs[key]}) for key, tower in towers.items()}
    return config.model_copy(update=known)


def _cost(tower: OutsideTower) -> TowerCost:
    trial = try_out(tower, tower.one_sample)
    return TowerCost(
        params=sum(parameter.numel() for parameter in tower.parameters()),
        gflops_paper=(trial.forward_flops - trial.attention_flops) / 1e9,
        gflops_exact_forward=trial.forward_flops / 1e9,
        gflops_exact_step=trial.step_flops / 1e9,
    )
