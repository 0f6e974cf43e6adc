"""Two real processes on gloo against one process with the whole batch; everything is checked in one spawn.

The model part also proves that MaMMUT's two passes and its captioning loss work under FSDP2.
"""

import gc
import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn
from torch.distributed.fsdp import fully_shard

from mammut_clip.config.model import load_model_config
from mammut_clip.distributed.collectives import all_gather_with_grad, all_reduce_sum, group_rank, group_size
from mammut_clip.losses import chunked_caption_loss, contrastive_loss
from mammut_clip.models import MaMMUT, build_model

WORLD = 2
ROWS = 6


def test_one_process_needs_no_group() -> None:
    tensor = torch.randn(3, 2, requires_grad=True)
    assert all_gather_with_grad(tensor) is tensor
    assert torch.equal(all_reduce_sum(tensor), tensor.detach())
    assert (group_rank(), group_size()) == (0, 1)


def features() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image features, text features [ROWS, 5] and a logarithmic scale, as leaves."""
    both = torch.randn(2, ROWS, 5, generator=torch.Generator().manual_seed(0))
    images, texts = (F.normalize(part, dim=-1).requires_grad_() for part in both)
    return images, texts, torch.tensor([2.0], requires_grad=True)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Images and captions of different lengths."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(ROWS, 3, 32, 32, generator=generator)
    ids = torch.randint(1, 90, (ROWS, 20), generator=generator)
    for row in range(ROWS):
        ids[row, 4 + 2 * row :] = 0
    return images, ids


def toy() -> MaMMUT:
    model = build_model(load_model_config("mammut_toy-XS"), seed=2)
    assert isinstance(model, MaMMUT)
    nn.init.normal_(model.text.text_projection, std=0.1, generator=torch.Generator().manual_seed(0))
    return model


def loss_of(model: nn.Module, images: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Both losses, so that their mean over ranks is that of the global batch."""
    output = model(images, ids, chunked_caption_loss)
    tokens = all_reduce_sum(output.caption_tokens)
    contrastive = contrastive_loss(output.image_features, output.text_features, output.logit_scale)
    return contrastive + output.caption_loss_sum * group_size() / tokens


def rank_main(rank: int, port: int, folder: str) -> None:
    """What each process computes; rank 0 writes it down."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    own = slice(rank * ROWS // WORLD, (rank + 1) * ROWS // WORLD)

    images, texts, scale = features()
    loss = contrastive_loss(images[own], texts[own], scale.exp().squeeze(0))
    loss.backward()
    results = {"loss": all_reduce_sum(loss) / WORLD, "rank sum": all_reduce_sum(torch.tensor(rank + 1))}
    for name, leaf in (("images", images), ("texts", texts), ("scale", scale)):
        results[name] = all_reduce_sum(leaf.grad) / WORLD

    model = toy()
    for block in model.blocks():
        fully_shard(block)
    fully_shard(model)
    pixels, ids = batch()
    total = loss_of(model, pixels[own], ids[own])
    total.backward()
    results["model loss"] = all_reduce_sum(total) / WORLD
    for name, parameter in model.named_parameters():
        results[f"gradient {name}"] = parameter.grad.full_tensor()
    if rank == 0:
        torch.save(results, Path(folder) / "results.pt")
    # FSDP2's state holds the group: it goes first, or its threads end with the process and abort it.
    del model, total, loss, parameter
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.distributed
def test_two_processes_equal_one_with_the_whole_batch(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(rank_main, (port, str(tmp_path)), nprocs=WORLD)
    results = torch.load(tmp_path / "results.pt", weights_only=True)

    images, texts, scale = features()
    loss = contrastive_loss(images, texts, scale.exp().squeeze(0))
    loss.backward()
    expected = {"loss": loss, "images": images.grad, "texts": texts.grad, "scale": scale.grad}
    model = toy()
    total = loss_of(model, *batch())
    total.backward()
    expected["model loss"] = total
    expected |= {f"gradient {name}": parameter.grad for name, parameter in model.named_parameters()}

    assert results.pop("rank sum") == 3
    assert results.keys() == expected.keys()
    for name, value in expected.items():
        assert value is not None
        torch.testing.assert_close(results[name], value, rtol=1e-5, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")
