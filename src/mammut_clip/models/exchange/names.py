"""Names and shapes of tensors, published and ours.

published                                           here
module. or _orig_mod. anywhere in a key             neither (left behind by DDP and torch.compile)
logit_scale, logit_bias of shape []                 of shape [1] (FSDP2 refuses 0-dim parameters)
text.lm_head [D, V] (open_clip 4),                  text.text_projection [D, V] (LAION's MaMMUT, and what is
  text.lm_head.weight [V, D] (as a linear layer)      written); for CoCa under text_decoder.
text.transformer.* and its neighbours, where the    transformer.* (OpenAI's CLIP, and what is written)
  text tower is CLIP's (open_clip's custom_text)
"""

from collections.abc import Mapping

from torch import Tensor

_WRAPPERS = ("module", "_orig_mod")
_SCALARS = ("logit_scale", "logit_bias")
_DECODERS = ("text", "text_decoder")
_COCA_ONLY = "text.cls_emb"


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of ours as open_clip (CLIP, SigLIP, CoCa) or LAION's code (MaMMUT) names and shapes it."""
    plain = {_bare(key): tensor for key, tensor in state.items()}
    return {key: tensor.reshape(()) if key in _SCALARS else tensor for key, tensor in plain.items()}


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict as our models name and shape it. Raises ValueError where two names become one."""
    plain = {_bare(key): tensor for key, tensor in state.items()}
    if len(plain) != len(state):
        twice = next(key for key in state if _bare(key) != key and _bare(key) in state)
        raise ValueError(f"{twice} and {_bare(twice)} name the same tensor; expected one of them")
    plain = _text_tower_at_top(plain)
    for decoder in _DECODERS:
        _rename_head(plain, decoder)
    return {key: tensor.reshape(1) if key in _SCALARS else tensor for key, tensor in plain.items()}


def _bare(key: str) -> str:
    """The key without what wrappers put into it, in whatever order they were stacked."""
    return ".".join(part for part in key.split(".") if part not in _WRAPPERS)


def _rename_head(state: dict[str, Tensor], decoder: str) -> None:
    """Give the vocabulary head its older name; a file that has both names holds another architecture."""
    name, newer = f"{decoder}.text_projection", f"{decoder}.lm_head"
    if name in state:
        return
    if newer in state:
        state[name] = state.pop(newer)
    elif f"{newer}.weight" in state:
        state[name] = state.pop(f"{newer}.weight").T


def _text_tower_at_top(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo what open_clip's convert_to_custom_text_state_dict does. Only CLIP's own text tower has these names."""
    if _COCA_ONLY in state or not any(key.startswith("text.transformer.resblocks.") for key in state):
        return state
    return {key.removeprefix("text."): tensor for key, tensor in state.items()}
