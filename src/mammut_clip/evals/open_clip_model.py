"""A model that open_clip itself builds, for the architectures and pretrained tags that only it knows."""

from torch import Tensor, nn

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.evals.sharing import Shared
from mammut_clip.evals.subject import Precision, Subject


class OpenClipModel(nn.Module):
    """Images and texts to features, as models of ours give them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @property
    def logit_scale(self) -> Tensor:
        """[], the logarithm of the factor on similarities."""
        return self.model.logit_scale  # type: ignore[return-value]

    @property
    def logit_bias(self) -> Tensor | None:
        """[], what SigLIP adds to them."""
        return getattr(self.model, "logit_bias", None)

    def encode_image(self, images: Tensor, normalize: bool = True) -> Tensor:
        """[B, 3, height, width] -> [B, E] float32."""
        return self.model.encode_image(images, normalize=normalize).float()  # type: ignore[operator]

    def encode_text(self, ids: Tensor, normalize: bool = True) -> Tensor:
        """[B, T] -> [B, E] float32."""
        return self.model.encode_text(ids, normalize=normalize).float()  # type: ignore[operator]


def open_clip_subject(name: str, pretrained: str, shared: Shared, precision: Precision) -> Subject:
    """A model of open_clip with its own preprocessing and tokenizer.

    `pretrained`: one of its tags for this name, or a file of weights. Raises InputError where open_clip knows no such
    model or tag, or cannot get the weights.
    """
    import open_clip

    known = open_clip.list_models()
    if name not in known:
        raise InputError(f"open_clip:{name}/{pretrained}: open_clip has no model {name}; {nearest(name, known)}")
    try:
        model, _, transform = open_clip.create_model_and_transforms(name, pretrained=pretrained)
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # a missing tag, no network, a file of another model: each raises its own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"open_clip:{name}/{pretrained}: open_clip cannot build it ({reason})") from error
    size = model.visual.image_size
    return Subject(
        OpenClipModel(model).to(shared.process.device).eval(),
        transform,
        tokenizer,
        shared,
        size[0] if isinstance(size, tuple) else size,
        precision=precision,
        preprocessing=" ".join(str(transform).split()),
    )
