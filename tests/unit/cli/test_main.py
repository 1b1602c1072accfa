"""The ``millrace`` command as a person meets it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.environment import find_home, joined


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "millrace", *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **environ},
        check=False,
    )


def test_help_lists_every_command_without_importing_a_tier() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from millrace.main import cli;"
        "out = CliRunner().invoke(cli, ['--help']).output; print(out);"
        "assert not [m for m in sys.modules if m.startswith('millrace_') and m.split('.')[0] not in ('millrace_contracts',)], sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in ("stack", "demo", "relay", "replay", "bookmark", "connect", "process", "api", "token"):
        assert f"  {name} " in done.stdout


def test_an_unknown_command_is_a_usage_error() -> None:
    done = run("nonsense")
    assert done.returncode == 2
    assert "No such command 'nonsense'" in done.stderr


def test_a_broken_endpoints_file_is_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text("{")
    done = run("stack", "status", MILLRACE_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "endpoints.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_environment_wins_over_secrets_and_secrets_over_endpoints(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text(json.dumps({"settings": {"MILLRACE_A": "e", "MILLRACE_B": "e", "MILLRACE_C": "e"}}))
    (tmp_path / "secrets.json").write_text(json.dumps({"settings": {"MILLRACE_B": "s", "MILLRACE_C": "s"}}))
    merged = joined({"MILLRACE_C": "env"}, tmp_path)
    assert merged == {"MILLRACE_A": "e", "MILLRACE_B": "s", "MILLRACE_C": "env", "MILLRACE_HOME": str(tmp_path)}


def test_home_is_the_nearest_millrace_folder_above(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / ".millrace").mkdir()
    assert find_home({}, below) == tmp_path / ".millrace"
    assert find_home({"MILLRACE_HOME": str(below)}, tmp_path) == below


@pytest.mark.parametrize("content", ["[]", '{"settings": 3}'])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "secrets.json").write_text(content)
    with pytest.raises(ValueError, match=r"secrets\.json"):
        joined({}, tmp_path)
