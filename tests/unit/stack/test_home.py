"""What a home publishes is merged, replaced at once and private where it must be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from millrace_stack.errors import StackError
from millrace_stack.home import Home, write_json


def test_published_settings_are_read_back_with_secrets_in_a_private_file(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.publish({"MILLRACE_KAFKA_BOOTSTRAP": "127.0.0.1:1"}, {"MILLRACE_MONGO_ADMIN_URI": "mongodb://a:b@c"})
    assert home.settings() == {"MILLRACE_KAFKA_BOOTSTRAP": "127.0.0.1:1", "MILLRACE_MONGO_ADMIN_URI": "mongodb://a:b@c"}
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert "mongodb" not in (tmp_path / "endpoints.json").read_text()


def test_only_its_owner_may_look_into_a_home_whatever_the_umask_and_its_age(tmp_path: Path) -> None:
    older = tmp_path / "older"
    older.mkdir(mode=0o755)
    older.chmod(0o755)
    before = os.umask(0)
    try:
        for path in (tmp_path / "new" / ".millrace", older):
            Home(path).folder("logs")
            assert path.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)


def test_a_folder_that_several_users_share_is_no_home(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(StackError, match="give another one with MILLRACE_HOME"):
        Home(shared).folder("logs")
    assert shared.stat().st_mode & 0o7777 == 0o1777


def test_what_others_published_stays(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text('{"settings": {"MILLRACE_API_URL": "http://a"}, "note": "kept"}')
    Home(tmp_path).publish({"MILLRACE_CONNECT_URL": "http://c"})
    assert json.loads((tmp_path / "endpoints.json").read_text()) == {
        "settings": {"MILLRACE_API_URL": "http://a", "MILLRACE_CONNECT_URL": "http://c"},
        "note": "kept",
    }


def test_many_publishers_at_once_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from millrace_stack.home import Home\n"
        "Home(Path(sys.argv[1])).publish({f'K{sys.argv[2]}': 'v'})"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(number)]) for number in range(6)]
    assert [child.wait(60) for child in children] == [0] * 6
    assert Home(tmp_path).settings() == {f"K{number}": "v" for number in range(6)}


def test_a_broken_file_is_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text("{")
    with pytest.raises(StackError, match=r"endpoints\.json: not JSON .* remove it"):
        Home(tmp_path).settings()


def test_a_failed_write_leaves_the_old_content_and_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"old": True})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert json.loads(path.read_text()) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_tells_who_holds_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    code = (
        "import sys; from pathlib import Path; from millrace_stack.home import Home\n"
        "with Home(Path(sys.argv[1])).lock('up'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    told: list[str] = []
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()

        def waiting(pid: str) -> None:
            told.append(pid)
            holder.stdin.close()  # type: ignore[union-attr]

        with home.lock("up", waiting):
            assert told == [str(holder.pid)]
        holder.stdin = None


def test_a_home_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="MILLRACE_HOME"):
        Home(tmp_path / "file").folder("data")
