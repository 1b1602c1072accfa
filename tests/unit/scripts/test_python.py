"""scripts/python chooses among what the PATH has: interpreters whose answers are known stand there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "python"
FAST, UNFIT, SLOW = 0, 1, 3


def run(folders: list[Path], **more: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": ":".join(str(folder) for folder in folders), **more}
    return subprocess.run(["/bin/bash", str(SCRIPT)], env=environ, capture_output=True, text=True, timeout=30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # Nothing else of the machine's may be found, but what the script itself calls.
    (tmp_path / "cat").symlink_to("/bin/cat")
    return tmp_path


def interpreter(folder: Path, name: str, answer: int) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\nexit {answer}\n")
    path.chmod(0o755)
    return path


def test_takes_the_newest_of_the_fast_ones(folder: Path) -> None:
    interpreter(folder, "python3.13", SLOW)
    fast = interpreter(folder, "python3.12", FAST)
    interpreter(folder, "python3.11", FAST)
    done = run([folder])
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(fast), "")


def test_looks_behind_a_slow_one_of_the_same_name(folder: Path) -> None:
    interpreter(folder / "shims", "python3.11", SLOW)
    fast = interpreter(folder / "usr", "python3.11", FAST)
    assert run([folder / "shims", folder / "usr"]).stdout.strip() == str(fast)


def test_takes_a_slow_one_where_there_is_no_other_and_says_so(folder: Path) -> None:
    interpreter(folder, "python3.12", UNFIT)
    slow = interpreter(folder, "python3.11", SLOW)
    done = run([folder])
    assert (done.returncode, done.stdout.strip()) == (0, str(slow))
    assert f"{slow} was built without --enable-optimizations" in done.stderr


def test_names_the_packages_where_there_is_none(folder: Path) -> None:
    interpreter(folder, "python3", UNFIT)
    done = run([folder])
    assert (done.returncode, done.stdout) == (2, "")
    assert "apt-get install -y python3 python3-venv" in done.stderr


def test_takes_the_one_that_is_asked_for(folder: Path) -> None:
    interpreter(folder, "python3.13", FAST)
    slow = interpreter(folder / "own", "python3.11", SLOW)
    assert run([folder], PYTHON=str(slow)).stdout.strip() == str(slow)


def test_names_the_asked_one_that_will_not_do(folder: Path) -> None:
    interpreter(folder, "python3.13", FAST)
    done = run([folder], PYTHON="python3.9")
    assert done.returncode == 2
    assert "PYTHON=python3.9: is no Python 3.11 or newer with venv" in done.stderr


def test_the_question_is_understood_by_a_real_interpreter(folder: Path) -> None:
    done = run([folder], PYTHON=os.path.realpath(sys.executable))
    assert done.returncode == 0, done.stderr


def test_prerequisites_install_nothing_for_an_asked_one_that_will_not_do(tmp_path: Path) -> None:
    apt = interpreter(tmp_path, "apt-get", 1)
    apt.write_text(f"#!/bin/sh\necho called >>{tmp_path}/installed\nexit 1\n")
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": "python3.9"}
    command = ["/bin/bash", str(SCRIPT.with_name("prerequisites"))]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "PYTHON=python3.9: is no Python 3.11 or newer with venv" in done.stderr
    assert not (tmp_path / "installed").exists()
