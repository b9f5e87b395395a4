"""run.py's decisions, without installing anything: commands are recorded instead of run."""

import importlib.util
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

import run

VENV_PYTHON = "Scripts/python.exe" if os.name == "nt" else "bin/python"
UNITS = f"-m pytest --disable-warnings {' '.join(f'--ignore=tests/{name}' for name in run.TOOL_TESTS)}"
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


def test_what_is_installed_is_compiled_at_once(machine):
    run.ready(".venv", run.LOCKED)
    assert all("--compile-bytecode" in command for command in machine if " pip install " in command)


def test_torch_comes_by_pip_with_the_users_own_settings(machine):
    run.ready(".venv", run.TORCH)
    (command,) = (command for command in machine if "torch" in command)
    assert command.startswith(f".venv{os.sep}") and " -m pip install --quiet torch==" in command


def test_other_backends_do_without_tensorflow_and_nothing_else():
    project = tomllib.loads((Path(run.__file__).parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    assert needed - {"tensorflow"} == set(run.ANY_BACKEND) - {"pytest", "nbclient"}


def test_named_tool_tests_are_there():
    assert [name for name in run.TOOL_TESTS if not (Path(__file__).parent / name).is_file()] == []


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
        (["test", "-k", "gan"], ".venv", "-m pytest -k gan"),
        (["test", "--floor", "-x"], ".venv-floor", f"{UNITS} -x"),
        (["test", "--jax"], ".venv-jax", f"{UNITS} -m every_backend"),
        (["test", "--torch"], ".venv-torch", f"{UNITS} -m every_backend"),
        (["test", "--colab", "-k", "03"], ".venv-colab", "-m pytest tests/on_colab.py -k 03"),
        (["test", "--browser"], ".venv-browser", "-m pytest tests/browser.py"),
        (["colab"], ".venv", "tools/colab.py"),
        (["demo", "03"], ".venv", "tools/notebooks.py demo 03"),
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
    for name in ("KERAS_GEN_QUICK", "KERAS_BACKEND"):
        monkeypatch.setenv(name, "as before")  # put back after the test
    run.main(words)
    assert os.environ["KERAS_GEN_QUICK"] == ("1" if words[0] == "test" else "as before")
    assert os.environ["KERAS_BACKEND"] == {".venv-jax": "jax", ".venv-torch": "torch"}.get(environment, "as before")
    assert started == [[str(Path("venv", environment, "python")), *expected.split()]]


def test_run_py_starts_on_a_bare_python():
    """Imported, it needs the standard library alone."""
    source = Path(run.__file__).read_text(encoding="utf-8")
    modules = [line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert set(modules) <= sys.stdlib_module_names
