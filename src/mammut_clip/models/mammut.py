"""MaMMUT (Kuo et al. 2023, as LAION released it): contrastive like CLIP, and a captioner in one text tower.

Images and ids come in, a ModelOutput goes out. The images are encoded once for both passes. The captioning
loss is computed inside the forward pass, where the vocabulary head is whole under FSDP, by a function that
the caller hands in. Shapes: B batch, T text positions, N image tokens, D width, E embedding, V vocabulary.
"""

import torch
from torch import Tensor, nn

from mammut_clip.config.model import ModelConfig
from mammut_clip.models.mammut_text import TextDecoder
from mammut_clip.models.output import PAD_ID, CaptionLoss, ModelOutput, exponentiated, finish
from mammut_clip.models.vision import VisionTower


class MaMMUT(nn.Module):
    """A contrastive and captioning model; parameters are left uninitialised (see build_model)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = VisionTower(config.vision_cfg, config.embed_dim)
        self.text = TextDecoder(config.text_cfg)
        self.map_viz2txt_kv = nn.Parameter(torch.empty(config.vision_cfg.width, config.text_cfg.width))
        self.logit_scale = nn.Parameter(torch.empty(1))  # FSDP2 refuses 0-dim parameters

    def forward(self, images: Tensor, ids: Tensor, caption_loss: CaptionLoss | None = None) -> ModelOutput:
        """Images [B, 3, height, width], ids [B, T] -> ModelOutput; captions only with a `caption_loss`."""
        features, tokens = self.visual(images)
        loss_sum, count = None, None
        if caption_loss is not None:
            hidden = self.text.caption(ids[:, :-1], tokens @ self.map_viz2txt_kv)
            loss_sum, count = caption_loss(hidden, self.text.text_projection, ids[:, 1:])
        return ModelOutput(
            finish(features, normalize=True),
            self.encode_text(ids),
            exponentiated(self.logit_scale),
            loss_sum,
            count,
        )

    def encode_image(self, images: Tensor, normalize: bool = True) -> Tensor:
        """[B, 3, height, width] -> [B, E] float32."""
        features, _ = self.visual(images)
        return finish(features, normalize)

    def encode_text(self, ids: Tensor, normalize: bool = True) -> Tensor:
        """[B, T] -> [B, E] float32; T is the model's context length, since padding counts in the mean."""
        return finish(self.text.encode(ids), normalize)

    def caption_logits(self, images: Tensor, ids: Tensor) -> Tensor:
        """[B, 3, height, width], ids [B, T] -> [B, T-1, V] float32, to look at; training never holds it."""
        _, tokens = self.visual(images)
        hidden = self.text.caption(ids[:, :-1], tokens @ self.map_viz2txt_kv)
        return (hidden @ self.text.text_projection).float()

    @torch.no_grad()
    def generate(self, images: Tensor, max_length: int | None = None) -> Tensor:
        """Captions of images [B, 3, height, width], always the likeliest next id -> ids [B, L] long.

        Each row is start of text, the caption, end of text, padding. L is at most `max_length` (None: the
        context length) and a row that reaches it may lack its end of text. Padding and start of text are
        never written: as labels they were not trained.
        """
        text = self.config.text_cfg
        longest = min(max_length or text.context_length, text.context_length)
        _, tokens = self.visual(images)
        context = tokens @ self.map_viz2txt_kv
        ids = torch.full((len(images), 1), text.start_id, dtype=torch.long, device=images.device)
        ended = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        while ids.shape[1] < longest and not bool(ended.all()):
            logits = self.text.caption(ids, context)[:, -1] @ self.text.text_projection  # [B, V]
            logits[:, [PAD_ID, text.start_id]] = -torch.inf
            following = logits.argmax(dim=-1).masked_fill(ended, PAD_ID)
            ids = torch.cat([ids, following[:, None]], dim=1)
            ended |= following == text.end_id
        return ids

    def blocks(self) -> list[nn.Module]:
        """The transformer blocks: the units for sharding, compiling and recomputing."""
        return [*self.visual.transformer.resblocks, *self.text.resblocks, *self.text.cross_attn]
