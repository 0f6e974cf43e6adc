"""`mammut-clip slurm`: what a cluster is asked, and whether it does what its file says."""

import typer

app = typer.Typer(no_args_is_help=True, help="Look at what is submitted to Slurm, and try a cluster out.")
