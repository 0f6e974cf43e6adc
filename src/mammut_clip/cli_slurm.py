"""`mammut-clip slurm`: what a cluster is asked, and whether it does what its file says."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Look at what is submitted to Slurm, and try a cluster out.")

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")
]


@app.command()
def doctor(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Overrides of the cluster's file.")
    ] = None,
    cluster: Annotated[str, typer.Option("--cluster", help="Name in slurm/ or a YAML file.")] = "generic",
    runs: Annotated[Path, typer.Option("--runs", help="Folder on all nodes' file system, where runs will lie.")] = Path(
        "runs"
    ),
    probe: Annotated[bool, typer.Option("--probe/--no-probe", help="Submit a job on two nodes, not only ask.")] = True,
    as_json: Json = False,
) -> None:
    """Look whether a cluster does what its file says: limits, network, shared folders, signals, requeue."""
    from mammut_clip.config.cluster import load_cluster
    from mammut_clip.slurm.doctor import examine

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    findings = []
    for finding in examine(load_cluster(cluster, overrides or []), runs, probe=probe, say=say):
        findings.append(finding)
        if not as_json:
            print(finding, flush=True)
    sick = any(finding.verdict == "problem" for finding in findings)
    if as_json:
        told = {"cluster": cluster, "ok": not sick, "findings": [finding.to_json_dict() for finding in findings]}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    raise typer.Exit(3 if sick else 0)


@app.command()
def render(
    target: Annotated[str, typer.Argument(metavar="RUN", help="A run directory, a config file or a recipe's name.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Overrides; cluster.KEY=VALUE of the cluster's file."),
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="Name in slurm/ or a YAML file; default: the sweep's.")] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="GPUs, one process each.")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Whole nodes, in place of --gpus.")] = None,
    runs: Annotated[Path, typer.Option("--runs", help="Folder that holds runs/<sweep>/<run>.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """The batch script that would be submitted for a run; nothing is written."""
    from mammut_clip.slurm_render import Room, render_run

    rendered = render_run(target, overrides or [], Room(cluster, gpus, nodes), runs)
    if as_json:
        print(json.dumps(rendered.to_json_dict(), indent=2, ensure_ascii=False))
        return
    print(rendered.script, end="", flush=True)
    for note in rendered.notes:
        print(f"# would not be submitted: {note}", file=sys.stderr)
    print(f"# the job then starts: {shlex.join(rendered.step)}", file=sys.stderr)
