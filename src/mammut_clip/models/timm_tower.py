"""An image tower of timm with a linear head, under open_clip's state-dict keys (its TimmModel): `trunk.*` is timm's
own, `head.proj.weight` ours. Pixels come in, one feature per image goes out. Shapes: B batch, E embedding.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.towers import TimmConfig
from mammut_clip.models.outside import OutsideTower, first_line, try_out


class TimmTower(OutsideTower):
    """Images to features, pooled as the architecture does by itself."""

    def __init__(self, config: TimmConfig, embed_dim: int) -> None:
        """Raises ConfigError for a name that timm does not know, a size that the architecture cannot take, and
        architectures that give no single feature per image."""
        super().__init__()
        self.config = config
        self._check_name()
        self.trunk = self._create(pretrained=False)
        self.head = nn.Sequential(OrderedDict(proj=nn.Linear(self._width(), embed_dim, bias=False)))

    def forward(self, images: Tensor, kept_patches: Tensor | None = None) -> tuple[Tensor, None]:
        """Images [B, 3, height, width] -> (features [B, E], None); raises ValueError for dropped patches."""
        if kept_patches is not None:
            raise ValueError("towers of timm look at whole images; expected no kept_patches")
        size = self.config.image_size
        if images.shape[-2:] != (size, size):
            raise ValueError(f"images are {tuple(images.shape[-2:])} pixels, this model was built for {(size, size)}")
        return self.head(self.trunk(images)), None

    @property
    def outside(self) -> nn.Module:
        """timm's module."""
        return self.trunk

    def fresh(self) -> nn.Module:
        """timm's module anew."""
        return self._create(pretrained=self.config.timm_model_pretrained)

    def projections(self) -> list[nn.Linear]:
        """The head."""
        return [layer for layer in self.head if isinstance(layer, nn.Linear)]

    def one_sample(self) -> Tensor:
        """An image of the right size, [1, 3, height, width]."""
        return torch.empty(1, 3, self.config.image_size, self.config.image_size)

    def _check_name(self) -> None:
        import timm

        name = self.config.timm_model_name
        if not timm.is_model(name.partition(".")[0]):
            raise self._error("timm_model_name", f"timm has no such model; {nearest(name, timm.list_models())}")
        try:
            timm.get_pretrained_cfg(name)
        except RuntimeError as error:  # what stands behind a dot in the name
            raise self._error("timm_model_name", f"timm has no such weights ({first_line(error)})") from error

    def _create(self, *, pretrained: bool) -> nn.Module:
        import timm

        name = self.config.timm_model_name
        # others take images of any size, and know no such argument
        fixed = getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False)
        size = {"img_size": self.config.image_size} if fixed else {}
        try:
            trunk: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0, **size)
        except Exception as error:  # the architectures raise whatever they like
            if pretrained:
                raise self._error(
                    "timm_model_name", f"its published weights cannot be read ({first_line(error)})"
                ) from error
            key = "image_size" if fixed else "timm_model_name"
            raise self._error(key, f"{name} cannot be built so ({first_line(error)})") from error
        return trunk

    def _width(self) -> int:
        """How wide the trunk's feature is; timm has no attribute that says so for every architecture."""
        name = self.config.timm_model_name
        try:
            trial = try_out(self.trunk, self.one_sample)
        except Exception as error:
            raise self._error("image_size", f"{name} cannot take images of this size ({first_line(error)})") from error
        if len(trial.shape) != 2:
            raise self._error("timm_model_name", f"gives {trial.shape} per image; expected one feature vector")
        if trial.unused:
            raise self._error("timm_model_name", f"its feature does not depend on its parameters {trial.unused[:4]}")
        return trial.shape[1]

    def _error(self, key: str, expected: str) -> ConfigError:
        return ConfigError("the model", [Problem(f"vision_cfg.{key}", expected, getattr(self.config, key))])
