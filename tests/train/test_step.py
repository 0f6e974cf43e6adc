import math

from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import OptimizerConfig
from mammut_clip.models import build_model
from mammut_clip.train.optimizer import make_optimizer


def test_weight_decay_is_for_matrices_only() -> None:
    model = build_model(load_model_config("mammut_toy-XS"))
    config = OptimizerConfig(lr=1e-3, weight_decay=0.2)
    decayed, spared = make_optimizer(model, config).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.2, 0.0)
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim < 2 for p in spared["params"])
    assert any(p is model.logit_scale for p in spared["params"])
    assert len(decayed["params"]) + len(spared["params"]) == len(list(model.parameters()))
    assert math.isclose(spared["lr"], 1e-3)
