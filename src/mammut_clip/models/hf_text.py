"""A text tower of transformers with a pooler and a projection, under open_clip's state-dict keys (its HFTextEncoder):
`transformer.*` is transformers' own, `proj.*` ours. Ids come in, one feature per text goes out. Shapes: B batch, T text
positions, D width, E embedding.

Of an encoder-decoder (T5 and its like) only the encoder is built. Code that lies beside weights is never run, and
weights are read from safetensors only.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.towers import HfTextConfig
from mammut_clip.models.outside import OutsideTower, first_line, try_out


class HfTextTower(OutsideTower):
    """Texts to features. Padding is whatever has the id that the architecture's config calls padding, and dropout while
    training is what that config says."""

    def __init__(self, config: HfTextConfig, embed_dim: int) -> None:
        """Raises ConfigError where there is no such model, it is no text encoder, or it is too short for the texts."""
        super().__init__()
        self.config = config
        self.architecture = self._read_architecture()
        self.transformer = self._from_architecture()
        self._check_positions()
        self.proj = _projection(config.hf_proj_type, self.architecture.hidden_size, embed_dim)
        self._check_forward()

    def forward(self, ids: Tensor) -> Tensor:
        """Ids [B, T] -> features [B, E]. A text without any token is read as padding alone, not as nothing at all:
        the mean over no position, and attention to none, would be no numbers."""
        mask = ids != self.architecture.pad_token_id
        mask = mask | ~mask.any(dim=1, keepdim=True)
        hidden = self.transformer(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return self.proj(self._pool(hidden, mask[..., None]))

    def _pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Hidden [B, T, D] and mask [B, T, 1] -> [B, D]. open_clip 3.3 has the same mean and first token; its maximum
        fails on a mask of integers, and would be over padding."""
        if self.config.hf_pooler_type == "mean_pooler":
            return (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        if self.config.hf_pooler_type == "max_pooler":
            return hidden.masked_fill(~mask, -torch.inf).amax(dim=1)
        return hidden[:, 0]

    @property
    def outside(self) -> nn.Module:
        """transformers' module."""
        return self.transformer

    def fresh(self) -> nn.Module:
        """transformers' module anew."""
        return self._from_weights() if self.config.hf_model_pretrained else self._from_architecture()

    def projections(self) -> list[nn.Linear]:
        """The one or two layers of the projection."""
        return [layer for layer in self.proj.modules() if isinstance(layer, nn.Linear)]

    def one_sample(self) -> Tensor:
        """A text of full length, [1, T] int64."""
        return torch.ones(1, self.config.context_length, dtype=torch.int64)

    def _read_architecture(self) -> Any:
        """The architecture's config, transformers' own kind."""
        from transformers import MODEL_MAPPING, AutoConfig

        try:
            architecture = AutoConfig.from_pretrained(self.config.hf_model_name, trust_remote_code=False)
        except (OSError, ValueError) as error:
            expected = f"expected a folder with a model of transformers, or its name on the hub ({first_line(error)})"
            raise self._error("hf_model_name", expected) from error
        if type(architecture) not in MODEL_MAPPING or not hasattr(architecture, "hidden_size"):
            raise self._error("hf_model_name", f"a {architecture.model_type} is no text encoder of transformers")
        if getattr(architecture, "pad_token_id", None) is None:
            raise self._error("hf_model_name", "its config has no pad_token_id; expected one, to tell padding by")
        architecture.use_cache = False  # decoders would keep every block's keys and values for nothing
        return architecture

    def _options(self) -> dict[str, Any]:
        """float32; and without a pooler of its own, whose parameters no feature would depend on."""
        from transformers import MODEL_MAPPING

        model = MODEL_MAPPING[type(self.architecture)]
        model = model[0] if isinstance(model, tuple) else model
        has_pooler = "add_pooling_layer" in inspect.signature(model.__init__).parameters
        return {"dtype": torch.float32} | ({"add_pooling_layer": False} if has_pooler else {})

    def _from_architecture(self) -> nn.Module:
        from transformers import AutoModel

        model = AutoModel.from_config(self.architecture, trust_remote_code=False, **self._options())
        return self._encoder(model).train()

    def _from_weights(self) -> nn.Module:
        from transformers import AutoModel

        try:
            model, report = AutoModel.from_pretrained(
                self.config.hf_model_name,
                config=self.architecture,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                **self._options(),
            )
        except (OSError, ValueError, RuntimeError) as error:
            expected = f"its weights cannot be read; expected safetensors ({first_line(error)})"
            raise self._error("hf_model_name", expected) from error
        needed = "encoder." if self.architecture.is_encoder_decoder else ""
        missing = sorted(key for key in report["missing_keys"] if key.startswith(needed))
        if missing:
            raise self._error("hf_model_name", f"its weights lack {len(missing)} tensors of the model: {missing[:4]}")
        return self._encoder(model).train()

    def _encoder(self, model: Any) -> nn.Module:
        return model.encoder if self.architecture.is_encoder_decoder else model

    def _check_positions(self) -> None:
        """A position that was not built is an index out of range, and on a GPU takes the process down."""
        longest = getattr(self.architecture, "max_position_embeddings", None) or self.config.context_length
        for name, module in self.transformer.named_modules():
            if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
                # RoBERTa's kind counts positions from behind the padding id
                unused = 0 if module.padding_idx is None else module.padding_idx + 1
                longest = min(longest, module.num_embeddings - unused)
        if self.config.context_length > longest:
            expected = f"expected at most {longest}, the positions of {self.config.hf_model_name}"
            raise self._error("context_length", expected)

    def _check_forward(self) -> None:
        try:
            trial = try_out(self, self.one_sample)
        except Exception as error:  # the architectures raise whatever they like
            kind = self.architecture.model_type
            raise self._error(
                "hf_model_name", f"a {kind} does not turn ids into hidden states ({first_line(error)})"
            ) from error
        if trial.unused:
            raise self._error("hf_model_name", f"its feature does not depend on its parameters {trial.unused[:4]}")

    def _error(self, key: str, expected: str) -> ConfigError:
        return ConfigError("the model", [Problem(f"text_cfg.{key}", expected, getattr(self.config, key))])


def _projection(kind: str, width: int, embed_dim: int) -> nn.Module:
    """[B, D] -> [B, E], without biases."""
    if kind == "linear":
        return nn.Linear(width, embed_dim, bias=False)
    hidden = (width + embed_dim) // 2
    return nn.Sequential(
        nn.Linear(width, hidden, bias=False),
        nn.GELU(),
        nn.Linear(hidden, embed_dim, bias=False),
    )
