"""Batches as open_clip_train or a plain webdataset pipeline loads them: `python -m benchmarks.peer_data JOB`.

open_clip_train's runs in the peers' environment, so this imports nothing of ours. Both decode with PIL, crop with
torchvision's RandomResizedCrop, normalise, and tokenize with CLIP's BPE. Prints one JSON line, a `Loading`.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import open_clip
import torch

from benchmarks.loading import Job, Loading, clocked


def open_clip_train(job: Job) -> Iterable[tuple[Any, Any]]:
    """open_clip_train's own data set for training with its own transform."""
    from open_clip.transform import AugmentationCfg, image_transform
    from open_clip_train.data import get_wds_dataset

    arguments = Namespace(
        train_data=_shards(job),
        train_num_samples=job.batches * job.batch,
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        seed=0,
        batch_size=job.batch,
        workers=job.workers,
        world_size=1,
    )
    preprocess = image_transform(job.image_size, is_train=True, aug_cfg=AugmentationCfg(scale=job.crop_scale))
    tokenizer = open_clip.SimpleTokenizer()
    return get_wds_dataset(arguments, preprocess, is_train=True, tokenizer=tokenizer).dataloader


def webdataset(job: Job) -> Iterable[tuple[Any, Any]]:
    """What webdataset's documentation shows, with the same transform and tokenizer."""
    import webdataset as wds
    from torchvision import transforms

    crop = transforms.RandomResizedCrop(
        job.image_size, scale=job.crop_scale, interpolation=transforms.InterpolationMode.BICUBIC
    )
    normalise = transforms.Normalize(open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    preprocess = transforms.Compose([crop, transforms.ToTensor(), normalise])
    tokenizer = open_clip.SimpleTokenizer()
    dataset = (
        wds.WebDataset(_shards(job), shardshuffle=job.shards)
        .shuffle(1000)
        .decode("pilrgb")
        .to_tuple("jpg", "txt")
        .map_tuple(preprocess, lambda caption: tokenizer(caption)[0])
        .batched(job.batch, partial=False)
        .with_epoch(job.batches // max(1, job.workers))  # of each worker
    )
    return wds.WebLoader(dataset, batch_size=None, num_workers=job.workers)


_LOADERS = {"open_clip_train": open_clip_train, "webdataset": webdataset}


def measure(job: Job) -> Loading:
    """Load one batch in this process, then those that count."""
    load = _LOADERS[job.side]
    clocked(lambda: load(replace(job, workers=0, batches=1)), 1, job.batch)
    found = clocked(lambda: load(job), job.batches, job.batch)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))
    pixels, tokens = found.images * std + mean, (found.ids != 0).sum(dim=1)
    return Loading(found.seconds, found.cpu_seconds, pixels.mean().item(), tokens.double().mean().item(), {})


def _shards(job: Job) -> str:
    return f"{job.folder}/{{00000..{job.shards - 1:05d}}}.tar"


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(asdict(measure(Job(**json.loads(sys.argv[1]))))))
