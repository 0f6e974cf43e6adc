"""An installed wheel finds the shipped YAML files by name, away from any checkout."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_wheel_carries_what_users_name(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    wheel = next(tmp_path.glob("*.whl"))
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    command = [sys.executable, "-m", "mammut_clip.cli", "sweep", "plan", "quickstart", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(site), "PATH": ""}, check=True
    )
    assert json.loads(done.stdout)["totals"]["runs"] == 32
    where = [sys.executable, "-c", "import mammut_clip; print(mammut_clip.__file__)"]
    found = subprocess.run(
        where, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(site)}, check=True
    )
    assert found.stdout.startswith(str(site))
