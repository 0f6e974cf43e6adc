"""Running a suite over a model, a checkpoint or a run, and writing the results where they belong."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from mammut_clip.config.errors import InputError
from mammut_clip.config.model import ModelConfig
from mammut_clip.config.run import RunConfig
from mammut_clip.data.images import EvalTransform
from mammut_clip.data.text import load_tokenizer, tokenizer_digest
from mammut_clip.distributed import Process
from mammut_clip.evals.encode import Encoder
from mammut_clip.evals.suite import OpenTask, load_suite, open_suite
from mammut_clip.models import build_model
from mammut_clip.models.sharded import read_sharded
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.records import EvalRecord

Report = Callable[[str], None]


def make_encoder(model: nn.Module, config: ModelConfig, process: Process) -> Encoder:
    """The model with its own evaluation transform and tokenizer."""
    return Encoder(model, EvalTransform(config.vision_cfg.image_size), load_tokenizer(config.text_cfg), process)


def evaluate_model(
    encoder: Encoder,
    tasks: Sequence[OpenTask],
    model_name: str,
    pretrained: str,
    report: Report = lambda _: None,
) -> list[tuple[str, EvalRecord]]:
    """(task name, result) for each task. Collective over ranks."""
    results = []
    for entry in tasks:
        report(f"{model_name} {pretrained}: {entry.config.name}")
        with torch.no_grad():
            features = entry.task.collect(replace(encoder, batch_size=entry.config.batch_size))
        metrics = entry.task.score(features)
        record = EvalRecord(
            dataset=entry.config.folder.removeprefix("wds_"),
            model=model_name,
            pretrained=pretrained,
            task=entry.task.benchmark_name,
            metrics=metrics,
        )
        results.append((entry.config.name, record))
    return results


def evaluation_callback(config: RunConfig) -> Callable[[RunDir, nn.Module, int, Process], None] | None:
    """What the trainer calls at the end of a run; None where its config asks for no suite.

    The datasets are opened here, so that a missing one is found before training begins.
    """
    if config.evaluation.suite is None:
        return None
    suite = load_suite(config.evaluation.suite, source=f"run {config.name}", key="evaluation.suite")
    root = config.evaluation.data_root
    tasks = open_suite(suite, Path(root) if root else None)

    def evaluate(run: RunDir, model: nn.Module, samples_seen: int, process: Process) -> None:
        encoder = make_encoder(model, config.model.architecture, process)
        records = evaluate_model(encoder, tasks, config.model.name, str(run.checkpoint(samples_seen).path))
        if process.is_main:
            for name, record in records:
                record.write(run.eval_file(samples_seen, name))

    return evaluate


def evaluate_run(
    run: RunDir,
    tasks: Sequence[OpenTask],
    process: Process,
    *,
    all_checkpoints: bool,
    report: Report = lambda _: None,
) -> list[EvalRecord]:
    """Evaluate a run's last checkpoint, or all; results that exist and are readable are kept, not repeated."""
    config, done = run.config, run.evals
    family = config.model.architecture.family
    if not config.model.architecture.has_features:
        raise InputError(f"{run.path}: zero-shot tasks compare features, and a {family} model has none")
    run.check_tokenizer(tokenizer_digest(config.model.architecture.text_cfg))
    chosen = run.checkpoints if all_checkpoints else run.checkpoints[-1:]
    records: list[EvalRecord] = []
    encoder: Encoder | None = None
    for checkpoint in chosen:
        missing = [entry for entry in tasks if (checkpoint.samples_seen, entry.config.name) not in done]
        if missing:
            if encoder is None:  # built once: checkpoints differ in their weights alone
                model = build_model(config.model.architecture.without_pretraining()).to(process.device).eval()
                encoder = make_encoder(model, config.model.architecture, process)
            read_sharded(encoder.model, checkpoint.path)
            for name, record in evaluate_model(encoder, missing, config.model.name, str(checkpoint.path), report):
                done[checkpoint.samples_seen, name] = record
                if process.is_main:
                    record.write(run.eval_file(checkpoint.samples_seen, name))
        records += [done[checkpoint.samples_seen, entry.config.name] for entry in tasks]
    return records
