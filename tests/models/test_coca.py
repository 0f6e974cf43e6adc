"""CoCa against open_clip's, weight for weight, in both directions."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mammut_clip.config.model import load_model_config
from mammut_clip.models import build_model, from_published, to_published
from mammut_clip.models.build import build_empty
from mammut_clip.models.coca import CoCa
from mammut_clip.models.output import make_captions

EMBED, LENGTH, VOCABULARY = 48, 20, 512
VISION = {
    "image_size": 32,
    "patch_size": 8,
    "width": 64,
    "layers": 2,
    "head_width": 32,
    "attentional_pool": True,
    "attn_pooler_queries": 9,
    "attn_pooler_heads": 4,
    "output_tokens": True,
}
TEXT = {
    "context_length": LENGTH,
    "vocab_size": VOCABULARY,
    "width": EMBED,
    "heads": 3,
    "layers": 3,
    "embed_cls": True,
    "output_tokens": True,
}
DECODER = {"context_length": LENGTH, "vocab_size": VOCABULARY, "width": EMBED, "heads": 3, "layers": 2}
CASES: dict[str, dict[str, Any]] = {
    "as coca_ViT-B-32": {},
    "one width": {"vision_cfg": {"width": EMBED, "head_width": 16}},
    "quick gelu": {"quick_gelu": True},
    "correct mask": {"text_cfg": {"correct_cls_mask": True}},
    "other blocks": {
        "vision_cfg": {"ls_init_value": 0.1, "mlp_ratio": 2.5, "attn_pooler_queries": 2},
        "text_cfg": {"mlp_ratio": 3.0},
    },
}


def values(case: str) -> dict[str, Any]:
    """The keys of open_clip's JSON for one case, and `correct_cls_mask`, which open_clip does not read from it."""
    changes = CASES[case]
    nested = {"vision_cfg": VISION, "text_cfg": TEXT, "multimodal_cfg": DECODER}
    configs = {key: plain | changes.get(key, {}) for key, plain in nested.items()}
    return {"embed_dim": EMBED, **configs, "quick_gelu": changes.get("quick_gelu", False)}


def open_clips(written: dict[str, Any]) -> Any:
    from open_clip.coca_model import CoCa as Theirs

    text = dict(written["text_cfg"])
    correct = text.pop("correct_cls_mask", False)
    model = Theirs(**(written | {"text_cfg": text})).eval()
    model.text.correct_cls_mask = correct
    return model


@pytest.fixture(params=list(CASES))
def pair(request: pytest.FixtureRequest) -> tuple[CoCa, Any]:
    """Our CoCa and open_clip's, built from one config."""
    written = values(request.param)
    torch.manual_seed(0)
    ours, theirs = build_model(load_model_config({"family": "coca", **written})), open_clips(written)
    with torch.no_grad():
        theirs.text_decoder.text_projection.normal_(std=0.1)  # open_clip leaves it as the memory was
        ours.text_decoder.text_projection.normal_(std=0.1)  # zero at the start
        for model in (ours, theirs):  # so that zero biases and unit scales are tested too
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.03)
    assert isinstance(ours, CoCa)
    return ours, theirs


def inputs(ends: tuple[int, ...] = (1, 6, 7, 8, 18, 19)) -> tuple[Tensor, Tensor]:
    """Images, and texts that end at these positions; `!`, which has the id of padding, occurs inside of texts."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(len(ends), 3, 32, 32, generator=generator)
    ids = torch.randint(1, 510, (len(ends), LENGTH), generator=generator)
    ids[:, 0], ids[-2:, 4] = 510, 0
    for row, end in enumerate(ends):
        ids[row, end], ids[row, end + 1 :] = 511, 0
    return images, ids


def summed(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(hidden @ head, labels, reduction="sum")


def assert_near(actual: Tensor, expected: Tensor, name: str = "") -> None:
    """Equal to 1e-5 of the largest element."""
    error, size = (actual - expected).abs().max(), expected.abs().max()
    assert error <= 1e-5 * size, f"{name}: {error:.2e} of {size:.2e}"


def test_equal_features_losses_and_gradients_with_open_clips_weights(pair: tuple[CoCa, Any]) -> None:
    from open_clip.loss import CoCaLoss

    ours, theirs = pair
    ours.load_state_dict(from_published(theirs.state_dict()))
    images, ids = inputs()
    captions = make_captions(ids)
    output = ours(images, ids, captions, summed)
    expected = theirs(images, ids)
    for field in ("image_features", "text_features", "logit_scale"):
        assert_near(getattr(output, field), expected[field], field)
    contrastive, caption = CoCaLoss(caption_loss_weight=2.0, clip_loss_weight=1.0)(**expected)
    logits = output.logit_scale * output.image_features @ output.text_features.T
    matches = torch.arange(len(ids))
    our_contrastive = (F.cross_entropy(logits, matches) + F.cross_entropy(logits.T, matches)) / 2
    our_caption = 2.0 * output.caption_loss_sum / len(captions.labels)
    assert_near(our_contrastive, contrastive)
    assert_near(our_caption, caption)

    (our_contrastive + our_caption).backward()
    (contrastive + caption).backward()
    named = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        gradient = named[name].grad.reshape_as(parameter)
        # keys' biases cancel in the softmax: their gradients are rounding, and measured against the others'
        size = gradient.abs().max() + 1e-3
        assert (parameter.grad - gradient).abs().max() <= 1e-5 * size, name


def test_open_clip_loads_our_weights(pair: tuple[CoCa, Any]) -> None:
    ours, theirs = pair
    theirs.load_state_dict(to_published(ours.state_dict()), strict=True)
    images, ids = inputs()
    with torch.no_grad():
        assert_near(ours.encode_image(images, normalize=False), theirs.encode_image(images, normalize=False))
        assert_near(ours.encode_text(ids, normalize=False), theirs.encode_text(ids, normalize=False))
        assert_near(ours.caption_logits(images, ids), theirs(images, ids)["logits"])


@pytest.mark.parametrize("ends", [(3, 5), (3, 7), (3, 8), (18, 19)])
def test_features_and_captions_are_the_same_apart_and_of_texts_without_their_padding(
    pair: tuple[CoCa, Any], ends: tuple[int, int]
) -> None:
    ours, _ = pair
    images, ids = inputs(ends)
    short, captions = ids[:, : ends[-1] + 1], make_captions(ids[:, : ends[-1] + 1])
    with torch.no_grad():
        whole = ours(images, ids, make_captions(ids), summed)
        assert_near(ours(images, None, make_captions(ids), summed).caption_loss_sum, whole.caption_loss_sum)
        assert ours(images, None, captions, summed).text_features is None
        for output in (ours(images, short), ours(images, short, captions, summed)):
            assert_near(output.image_features, whole.image_features)
            assert_near(output.text_features, whole.text_features)
        assert_near(output.caption_loss_sum, whole.caption_loss_sum)


def test_what_does_not_fit_is_refused() -> None:
    model = build_model(load_model_config("coca_toy-XS"))
    images, ids = torch.zeros(1, 3, 32, 32), torch.ones(1, 20, dtype=torch.long)
    with pytest.raises(ValueError, match="texts have 21 positions, this model has 20"):
        model.encode_text(torch.ones(1, 21, dtype=torch.long))
    with pytest.raises(ValueError, match="captions have 19 positions, their texts 8"):
        model(images, ids[:, :8], make_captions(ids), summed)
    with pytest.raises(ValueError, match="no patch dropout"):
        model(images, ids, kept_patches=torch.zeros(1, 1, dtype=torch.long))


@pytest.mark.parametrize("case", ["as coca_ViT-B-32", "one width"])
def test_initial_weights_are_spread_as_open_clips(case: str) -> None:
    """Same standard deviation and mean per parameter, up to sampling noise."""
    written = values(case)
    ours = build_model(load_model_config({"family": "coca", **written}))
    torch.manual_seed(1)
    expected = open_clips(written).state_dict()
    weights = to_published(ours.state_dict())
    assert weights.keys() == expected.keys()
    # torch.empty in open_clip: zero where memory is fresh, as it is at published sizes
    assert not weights.pop("text_decoder.text_projection").any()
    for name, value in weights.items():
        other = expected[name]
        assert value.shape == other.shape
        if value.numel() < 2 or other.std() == 0:
            torch.testing.assert_close(value, other, msg=name)
            continue
        noise = 5 / value.numel() ** 0.5
        assert abs(value.std() / other.std() - 1) < noise, name
        assert abs(value.mean() - other.mean()) < 2 * noise * other.std(), name


def test_published_sizes(shared_dir: Path) -> None:
    table = pd.read_csv(shared_dir / "data/paper/model_profile.csv")
    rows = table[table.namespace == "coca"]
    assert len(rows) == 15
    for row in rows.itertuples():
        model = build_empty(load_model_config(row.model))
        assert isinstance(model, CoCa)
        sizes = [sum(p.numel() for p in part.parameters()) for part in (model, model.visual, model.text)]
        published = [row.mparams, row.image_mparams, row.text_mparams]
        assert [round(size / 1e6, 2) for size in sizes] == pytest.approx(published, abs=1e-9), row.model
