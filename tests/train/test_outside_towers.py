"""A CLIP of timm's and transformers' towers, with dropout, trains and resumes as if it had never stopped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mammut_clip.data.toy_words import vocabulary
from mammut_clip.distributed import Process
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.trainer import Trainer

MakeRun = Callable[..., RunDir]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small BERT's config, dropout included, and a tokenizer that knows the toy world's words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *vocabulary()]
    pieces = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    pieces.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertConfig(vocab_size=len(names), hidden_dropout_prob=0.3, **sizes).save_pretrained(folder)
    return folder


def model(bert: Path) -> dict[str, Any]:
    text = {"transformers": str(bert), "context_length": 20}
    return {"family": "siglip", "embed_dim": 32, "vision": {"timm": "test_vit", "image_size": 32}, "text": text}


def train(run: RunDir) -> list[float]:
    Trainer(run, Process(0, 1, 0, torch.device("cpu"))).train()
    return [row["loss"] for row in run.metrics]


def test_training_and_resuming(make_run: MakeRun, bert: Path) -> None:
    whole = make_run(name="whole", model=model(bert))
    losses = train(whole)
    assert losses[-1] < losses[0]
    assert whole.manifest is not None
    assert whole.manifest.gflops_per_sample_exact > whole.manifest.gflops_per_sample_paper > 0

    stopped = make_run(name="stopped", model=model(bert))
    train(stopped)
    while stopped.checkpoints[-1].samples_seen > 384:
        stopped.remove_checkpoint(stopped.checkpoints[-1])
    stopped.status_file.unlink()
    torch.randn(7)  # whatever ran before, dropout comes out the same
    assert train(stopped) == losses
