"""Parity with clip_benchmark's definitions, written out here over every single item, and known answers."""

import pytest
import torch

from mammut_clip.evals.metrics import classification_metrics, retrieval_metrics


def test_classification_against_counting_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 12, generator=generator)
    labels = torch.randint(0, 12, (200,), generator=generator)
    ranks = [(logits[i] > logits[i, labels[i]]).sum().item() for i in range(200)]
    per_class = {
        int(c): [ranks[i] == 0 for i in range(200) if labels[i] == c] for c in labels.unique()
    }  # recall of a class: the share of its pictures that are found
    found = classification_metrics(logits, labels)
    assert found["acc1"] == pytest.approx(sum(r == 0 for r in ranks) / 200)
    assert found["acc5"] == pytest.approx(sum(r < 5 for r in ranks) / 200)
    assert found["mean_per_class_recall"] == pytest.approx(sum(sum(v) / len(v) for v in per_class.values()) / 12)


def test_few_classes_have_an_acc5_too() -> None:
    assert classification_metrics(torch.eye(3), torch.arange(3))["acc5"] == 1.0


def test_retrieval_with_several_captions_per_picture() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.nn.functional.normalize(torch.randn(40, 8, generator=generator), dim=-1)
    owners = torch.arange(40).repeat_interleave(torch.tensor([1, 2, 3, 2] * 10))
    texts = torch.nn.functional.normalize(
        images[owners] + 0.7 * torch.randn(len(owners), 8, generator=generator), dim=-1
    )
    scores = texts @ images.T
    found = retrieval_metrics(images, texts, owners)
    for k in (1, 5, 10):
        by_text = [owners[j].item() in scores[j].argsort(descending=True)[:k].tolist() for j in range(len(owners))]
        by_image = [any(owners[j] == i for j in scores[:, i].argsort(descending=True)[:k].tolist()) for i in range(40)]
        assert found[f"image_retrieval_recall@{k}"] == pytest.approx(sum(by_text) / len(by_text))
        assert found[f"text_retrieval_recall@{k}"] == pytest.approx(sum(by_image) / 40)
    assert 0.1 < found["image_retrieval_recall@1"] < 1.0
