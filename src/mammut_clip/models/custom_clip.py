"""CLIP and SigLIP with a text tower of transformers, under the keys of open_clip's CustomTextCLIP."""

from torch import Tensor, nn

from mammut_clip.config.model import ClipConfig
from mammut_clip.config.towers import HfTextConfig
from mammut_clip.models.clip import DualEncoder
from mammut_clip.models.hf_text import HfTextTower
from mammut_clip.models.output import check_length, finish


class CustomTextCLIP(DualEncoder):
    """An image tower of any kind beside `text`, a tower of transformers."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__(config)
        assert isinstance(config.text_cfg, HfTextConfig)
        self.context_length = config.text_cfg.context_length
        self.text = HfTextTower(config.text_cfg, config.embed_dim)

    def encode_text(self, ids: Tensor, normalize: bool = True) -> Tensor:
        """[B, T] -> [B, E] float32."""
        check_length(ids, self.context_length)
        return finish(self.text(ids), normalize)

    def blocks(self) -> list[nn.Module]:
        """The repeated blocks of both towers: the units for sharding and compiling."""
        return [*super().blocks(), *self.text.blocks()]

    def parts(self) -> list[list[nn.Module]]:
        """What is sharded together besides the blocks; parameters in none of these stay in float32."""
        return [*super().parts(), [self.text]]
