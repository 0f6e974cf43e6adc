"""The import rules of the design: which package may import which, and which never load torch."""

import subprocess
import sys

import grimp
import pytest

ALLOWED: dict[str, set[str]] = {
    "config": set(),
    "models": {"config"},
    "distributed": {"config"},
    "cost": {"config"},
    "runs": {"config"},
    "losses": {"distributed", "config"},
    "data": {"distributed", "config"},
    "train": {"models", "losses", "data", "distributed", "cost", "runs", "config"},
    "evals": {"models", "data", "distributed", "cost", "runs", "config"},
    "slurm": {"runs", "config"},
    "sweep": {"slurm", "cost", "runs", "config"},
    "fit": {"runs", "cost", "config"},
    "report": {"fit", "runs", "config"},
}
TORCH_FREE = ("config", "cost", "runs", "sweep", "slurm", "fit", "report")
HEAVY = ("torch", "torchvision", "open_clip", "timm", "transformers", "webdataset")
GRAPH = grimp.build_graph("mammut_clip", include_external_packages=True)


def package_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "mammut_clip" else ""


def test_every_package_of_the_design_exists() -> None:
    packages = {package_of(module) for module in GRAPH.modules} & set(ALLOWED)
    assert packages == set(ALLOWED)


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_the_design_allows(package: str) -> None:
    wiring = "mammut_clip.train.__main__"  # wires training and evaluation together
    bad = [
        f"{importer} -> {imported}"
        for importer in GRAPH.modules
        if package_of(importer) == package and importer != wiring
        for imported in GRAPH.find_modules_directly_imported_by(importer)
        if imported.startswith("mammut_clip.") and package_of(imported) not in ALLOWED[package] | {package}
    ]
    assert not bad


@pytest.mark.parametrize("package", TORCH_FREE)
def test_planning_packages_never_reach_torch(package: str) -> None:
    bad = [
        f"{module} -> {heavy}"
        for module in GRAPH.modules
        if package_of(module) == package
        for heavy in HEAVY
        if heavy in GRAPH.find_modules_directly_imported_by(module)
    ]
    assert not bad


@pytest.mark.parametrize(
    "statement",
    [
        "import mammut_clip.fit",
        "import mammut_clip.report",
        "import mammut_clip.cli",
        "from mammut_clip.cli import app; app(['sweep', 'plan', 'quickstart', '--json'], standalone_mode=False)",
        "from mammut_clip.cli import app; app(['models', '--json'], standalone_mode=False)",
    ],
)
def test_planning_and_fitting_load_no_torch(statement: str) -> None:
    check = f"{statement}\nimport sys\nloaded = [m for m in {HEAVY!r} if m in sys.modules]\nassert not loaded, loaded"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
