"""What the options of `mammut-clip train` and of `python -m mammut_clip.train` say of themselves."""

HELP = {
    "runs": "Folder that holds runs/<sweep>/<run>.",
    "print_config": "Print the complete config and stop.",
    "json": "Print one JSON document on standard output, and nothing else there.",
    "device": "cpu or cuda; a GPU where there is one.",
    "from": "Begin a run with a checkpoint of another, with --cooldown; the same command again continues it.",
    "cooldown": "With --from: in how much of the new run's budget (10%), or samples (12.8M), the rate falls to 0.",
    "profile": "Record a few steps with PyTorch's profiler, into the run's folder.",
    "dry_run": "Print what the run would be and cost, and stop.",
    "gpus": "With --dry-run: how many GPUs.",
    "cluster": "With --dry-run: a name in slurm/ or a YAML file, whose speed is counted with.",
}
