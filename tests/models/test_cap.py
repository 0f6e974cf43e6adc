"""Cap is MaMMUT's captioning half: same names, and with the same weights the same captions."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mammut_clip.config.model import load_model_config
from mammut_clip.models import MaMMUT, build_model
from mammut_clip.models.cap import Cap
from mammut_clip.models.output import make_captions

ONLY_MAMMUTS = {"visual.ln_post.weight", "visual.ln_post.bias", "visual.proj", "logit_scale"}


@pytest.fixture(params=["toy-XS", "toy-M"])
def pair(request: pytest.FixtureRequest) -> tuple[Cap, MaMMUT]:
    """A Cap with the weights of a MaMMUT whose vocabulary head is not zero."""
    cap = build_model(load_model_config(f"cap_{request.param}"))
    mammut = build_model(load_model_config(f"mammut_{request.param}"), seed=1)
    assert isinstance(cap, Cap)
    assert isinstance(mammut, MaMMUT)
    torch.nn.init.normal_(mammut.text.text_projection, generator=torch.Generator().manual_seed(0))
    cap.load_state_dict({key: value for key, value in mammut.state_dict().items() if key not in ONLY_MAMMUTS})
    return cap, mammut


def inputs() -> tuple[Tensor, Tensor]:
    """Images, and texts of different lengths that end in the largest id."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 90, (3, 20), generator=generator)
    for row, end in enumerate((3, 7, 12)):
        ids[row, end], ids[row, end + 1 :] = 95, 0
    return torch.randn(3, 3, 32, 32, generator=generator), ids


def summed(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(hidden @ head, labels, reduction="sum")


@pytest.mark.parametrize("dropped", [False, True], ids=["all patches", "some patches"])
def test_caption_loss_and_gradients_are_mammuts(pair: tuple[Cap, MaMMUT], dropped: bool) -> None:
    cap, mammut = pair
    images, ids = inputs()
    kept = torch.tensor([[0, 3, 9], [1, 2, 15], [4, 5, 6]]) if dropped else None
    ours = cap(images, captions=make_captions(ids), caption_loss=summed, kept_patches=kept)
    expected = mammut(images, None, make_captions(ids), summed, kept)
    torch.testing.assert_close(ours.caption_loss_sum, expected.caption_loss_sum, rtol=1e-6, atol=0)
    assert all(value is None for key, value in ours._asdict().items() if key != "caption_loss_sum")
    ours.caption_loss_sum.backward()
    expected.caption_loss_sum.backward()
    named = dict(mammut.named_parameters())
    for name, parameter in cap.named_parameters():
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad, named[name].grad, msg=name)


def test_logits_are_mammuts(pair: tuple[Cap, MaMMUT]) -> None:
    cap, mammut = pair
    images, ids = inputs()
    with torch.no_grad():
        logits = cap.caption_logits(images, ids)
        torch.testing.assert_close(logits, mammut.caption_logits(images, ids))
    assert (logits.shape, logits.dtype) == ((3, 19, 96), torch.float32)


def test_cap_has_no_features() -> None:
    cap = build_model(load_model_config("cap_toy-XS"))
    images, ids = inputs()
    assert not hasattr(cap, "encode_image")
    assert not hasattr(cap, "encode_text")
    with pytest.raises(ValueError, match="a cap model has no text features"):
        cap(images, ids, make_captions(ids), summed)


def test_an_untrained_cap_finds_every_id_equally_likely() -> None:
    cap = build_model(load_model_config("cap_toy-XS"))
    images, ids = inputs()
    captions = make_captions(ids)
    loss = cap(images, captions=captions, caption_loss=summed).caption_loss_sum
    torch.testing.assert_close(loss / len(captions.labels), torch.tensor(96.0).log())
    assert cap.map_viz2txt_kv.std().item() == pytest.approx(1.0, abs=0.1)
