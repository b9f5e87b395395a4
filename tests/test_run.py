"""run.py's decisions, without installing anything: commands are recorded instead of run."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

import run

VENV_PYTHON = "Scripts/python.exe" if os.name == "nt" else "bin/python"
uses_exec = pytest.mark.skipif(os.name == "nt", reason="Windows has no exec")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A project folder to set up, on a machine whose programs all succeed; returns the list of what was run."""
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text(name)
    ran = []

    def record(*command):
        ran.append(command := " ".join(map(str, command)).replace(str(tmp_path) + os.sep, ""))
        if " venv " in command:
            python = tmp_path / ".venv" / VENV_PYTHON
            python.parent.mkdir(parents=True)
            python.touch()

    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "run", record)
    monkeypatch.setattr(run, "succeeds", lambda *command: True)
    monkeypatch.setattr(run.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "")  # put back after the test
    return ran


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 14, 0), (2, 7, 18)])
def test_other_pythons_are_refused_with_a_sentence(version):
    with pytest.raises(SystemExit, match=rf"needs Python 3.11, 3.12 or 3.13, and this is {version[0]}.{version[1]} "):
        run.check_python(version)


def test_help_needs_no_installation(machine, capsys):
    run.main([])
    assert "run.py TASK" in capsys.readouterr().out and machine == []


def test_unknown_task_shows_the_help():
    with pytest.raises(SystemExit, match=r"no task 'dmeo'(.|\n)*demo"):
        run.main(["dmeo"])


def installed(commands):
    """What the commands install: the pinned packages, and then the project itself."""
    return [" -e . " in f"{command} " for command in commands if " pip install " in command]


def test_second_start_installs_nothing(machine, capsys):
    run.ready(".venv", run.LOCKED)
    assert installed(machine) == [False, True] and any("requirements.lock" in command for command in machine)
    assert "first time" in capsys.readouterr().out and os.environ["UV_PYTHON_DOWNLOADS"] == "never"
    machine.clear()
    run.ready(".venv", run.LOCKED)
    assert machine == [] and capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_changed_requirements_are_installed_into_the_same_environment(machine, name):
    run.ready(".venv", run.LOCKED)
    (run.ROOT / name).write_text("changed")
    machine.clear()
    run.ready(".venv", run.LOCKED)
    assert installed(machine) == [False, True] and not any(" venv " in command for command in machine)


def test_failed_installation_is_tried_again(machine, monkeypatch):
    def fail(*command):
        raise OSError("no network")

    run.ready(".venv", run.LOCKED)
    (run.ROOT / "requirements.lock").write_text("changed")
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="no network"):
        patch.setattr(run, "run", fail)
        run.ready(".venv", run.LOCKED)
    (run.ROOT / "requirements.lock").write_text("requirements.lock")  # as in the environment's first stamp
    machine.clear()
    run.ready(".venv", run.LOCKED)
    assert installed(machine) == [False, True]


def test_environment_of_another_python_is_made_anew(machine, monkeypatch, capsys):
    run.ready(".venv", run.LOCKED)
    leftover = run.ROOT / ".venv" / "leftover"
    leftover.touch()
    monkeypatch.setattr(run, "succeeds", lambda *command: "-c" not in command)  # "are you my version?"
    monkeypatch.setattr(run, "fingerprint", lambda: "of another Python")
    run.ready(".venv", run.LOCKED)
    assert not leftover.exists() and "made by another Python" in capsys.readouterr().out
    assert sum(" venv " in command for command in machine) == 2


def test_without_uv_pip_fetches_it_into_the_environment(machine, monkeypatch):
    monkeypatch.setattr(run, "succeeds", lambda *command: "uv" not in command)
    run.ready(".venv", run.LOCKED)
    assert machine[0] == f"{sys.executable} -m venv .venv"
    assert machine[1].endswith("pip install --quiet --disable-pip-version-check uv")
    assert Path(machine[2].split()[0]).parent == Path(".venv", VENV_PYTHON).parent


def test_environment_without_pip_gets_it_first(machine, monkeypatch):
    monkeypatch.setattr(run, "succeeds", lambda *command: not {"uv", "pip"} & set(command))
    run.ready(".venv", run.LOCKED)
    assert [command.split(" -m ")[1].split()[0] for command in machine[:3]] == ["venv", "ensurepip", "pip"]


def test_debian_without_venv_is_told_what_to_install(machine, monkeypatch):
    monkeypatch.setattr(run, "succeeds", lambda *command: False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=rf"sudo apt install python3.{sys.version_info[1]}-venv"):
        run.ready(".venv", run.LOCKED)
    assert machine == []


@uses_exec
@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        (["test", "-k", "gan"], ".venv", "-m pytest --nbmake --nbmake-timeout=300 --nbmake-kernel=python3 -k gan"),
        (
            ["test", "--floor", "-x"],
            ".venv-floor",
            f"-m pytest --disable-warnings {' '.join(f'--ignore=tests/{n}' for n in run.TOOL_TESTS)} -x",
        ),
        (["test", "--browser"], ".venv-browser", "-m pytest tests/browser.py"),
        (["demo"], ".venv", "tools/notebooks.py demo"),
        (["publish", "nb.ipynb"], ".venv", f"tools/notebooks.py publish {os.path.abspath('nb.ipynb')}"),
        (["bench", "dcgan"], ".venv", "benchmarks/bench.py dcgan"),
    ],
)
def test_tasks(words, environment, expected, monkeypatch):
    started = []
    monkeypatch.setattr(run, "ready", lambda name, installs: Path("venv", name, "python"))
    monkeypatch.setattr(run.os, "execv", lambda python, command: started.append(command))
    monkeypatch.setattr(run.os, "chdir", lambda folder: None)
    monkeypatch.setenv("KERAS_GEN_QUICK", "1")  # put back after the test
    run.main(words)
    assert started == [[str(Path("venv", environment, "python")), *expected.split()]]


def test_run_py_starts_on_a_bare_python():
    """Imported, it needs the standard library alone."""
    source = Path(run.__file__).read_text(encoding="utf-8")
    modules = [line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert set(modules) <= sys.stdlib_module_names
