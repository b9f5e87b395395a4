"""run.py's decisions, without installing anything: commands are recorded instead of run."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

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
        folder = command[-1]
        ran.append(command := " ".join(map(str, command)).replace(f"{run.ROOT}{os.sep}", ""))
        if " venv " in command:
            python = Path(folder, VENV_PYTHON)
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()

    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "run", record)
    monkeypatch.setattr(run, "succeeds", lambda *command: True)
    monkeypatch.setattr(run, "uv_in_path", lambda: "/usr/bin/uv")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "")  # put back after the test
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
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
    assert "first time" in capsys.readouterr().out and (run.ROOT / ".venv/keras_gen.stamp").is_file()
    assert os.environ["UV_PYTHON_DOWNLOADS"] == "never"
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


def test_torch_comes_by_uv_where_its_build_is_named(machine, monkeypatch):
    """uv knows the builds by name; pip would need an address."""
    monkeypatch.setenv("UV_TORCH_BACKEND", "cpu")
    run.ready(".venv", run.TORCH)
    (command,) = (command for command in machine if "torch" in command)
    assert command.startswith("/usr/bin/uv pip install --python ")


def test_the_module_asks_for_no_backend_and_the_notebooks_for_tensorflow():
    project = tomllib.loads((Path(run.__file__).parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert not any(re.match("tensorflow|jax|torch", line) for line in project["dependencies"])
    assert "keras-gen[tensorflow]" in project["optional-dependencies"]["notebooks"]


def test_a_student_installs_less_than_a_developer_and_a_developer_has_all(machine):
    run.ready(".venv", run.LOCKED)
    (packages,) = (command for command in machine if "pyproject.toml" in command)
    assert "-c requirements.lock" in packages and re.findall(r"--extra (\S+)", packages) == ["notebooks"]
    machine.clear()
    run.ready(".venv", run.DEVELOPER)
    assert installed(machine) == [False, True] and not any(" venv " in command for command in machine)
    machine.clear()
    run.ready(".venv", run.LOCKED)
    run.ready(".venv", run.DEVELOPER)
    assert machine == []


def test_named_tests_are_there():
    words = [word.removeprefix("--ignore=") for _, _, command, _ in run.OTHER_TESTS.values() for word in command]
    files = [word for word in words if word.endswith(".py")]
    assert files and [name for name in files if not (Path(__file__).parent.parent / name).is_file()] == []


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_changed_requirements_are_installed_into_the_same_environment(machine, name):
    run.ready(".venv", run.LOCKED)
    (run.ROOT / name).write_text("changed")
    machine.clear()
    run.ready(".venv", run.LOCKED)
    assert installed(machine) == [False, True] and not any(" venv " in command for command in machine)


def test_other_pins_are_installed_into_the_same_environment(machine):
    run.ready(".venv", run.COLAB)
    machine.clear()
    run.ready(".venv", [["keras==3.14.0", *run.COLAB[0][1:]]])
    (command,) = machine
    assert "keras==3.14.0" in command


@pytest.mark.parametrize(
    ("at", "ends", "before"),
    [
        (" venv ", OSError("disk full"), "nothing"),
        ("requirements.lock", subprocess.CalledProcessError(2, "uv"), "nothing"),
        (" -e . ", KeyboardInterrupt(), "an older one"),
    ],
)
def test_what_was_cut_short_is_made_anew(machine, monkeypatch, capsys, at, ends, before):
    """uv takes a package for installed as soon as its name lies there; so nothing that is there is trusted."""
    folder = run.ROOT / ".venv"
    if before != "nothing":
        run.ready(".venv", run.LOCKED)
        (run.ROOT / "requirements.lock").write_text("changed")
    record = run.run

    def cut(*command):
        record(*command)
        if at in f"{' '.join(map(str, command))} ":
            folder.mkdir(exist_ok=True)
            (folder / "half").mkdir()
            (folder / "half" / "package").touch()
            if os.name != "nt":
                (folder / "link").symlink_to(run.ROOT)
            raise ends

    monkeypatch.setattr(run, "run", cut)
    said = "disk full" if isinstance(ends, OSError) else None
    with pytest.raises(KeyboardInterrupt if isinstance(ends, KeyboardInterrupt) else SystemExit, match=said):
        run.ready(".venv", run.LOCKED)
    assert not (folder / "keras_gen.stamp").exists()
    (run.ROOT / "requirements.lock").write_text("requirements.lock")  # as in the environment's first stamp
    monkeypatch.setattr(run, "run", record)
    machine.clear()
    capsys.readouterr()
    run.ready(".venv", run.LOCKED)
    assert installed(machine) == [False, True] and " venv " in machine[0]
    assert not (folder / "half").exists() and not (folder / "link").exists()
    assert "making it anew" in capsys.readouterr().out
    assert (run.ROOT / "pyproject.toml").is_file(), "what a link leads to stays"


def test_a_checkout_in_another_place_gets_an_environment_of_its_own(machine, monkeypatch, tmp_path, capsys):
    """The old one's scripts, and its keras_gen, are those over there."""
    run.ready(".venv", run.LOCKED)
    here = tmp_path / "here"
    shutil.copytree(tmp_path, here)
    (here / ".venv" / "leftover").touch()
    monkeypatch.setattr(run, "ROOT", here)
    machine.clear()
    run.ready(".venv", run.LOCKED)
    assert not (here / ".venv" / "leftover").exists() and installed(machine) == [False, True]
    assert "another place" in capsys.readouterr().out
    machine.clear()
    run.ready(".venv", run.LOCKED)
    assert machine == []


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_an_environment_on_another_disk_stays_there(machine, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "half").touch()
    (tmp_path / ".venv").symlink_to(tmp_path / "disk")
    run.ready(".venv", run.LOCKED)
    assert not (tmp_path / "disk" / "half").exists() and (tmp_path / "disk" / "keras_gen.stamp").is_file()


@pytest.mark.parametrize("what", ["a file", "a link to nothing"])
def test_what_is_no_folder_is_named(machine, tmp_path, what):
    if what == "a file":
        (tmp_path / ".venv").touch()
    else:
        (tmp_path / ".venv").symlink_to(tmp_path / "nothing")
    with pytest.raises(SystemExit, match=r"[.]venv.*Delete it"):
        run.ready(".venv", run.LOCKED)
    assert machine == []


def test_a_checkout_that_cannot_be_written_to_says_so_and_runs_what_is_installed(machine, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(run.os, "access", lambda path, mode: False)
        with pytest.raises(SystemExit, match="copy the whole folder"):
            run.ready(".venv", run.LOCKED)
        assert machine == [] and not (tmp_path / ".venv").exists()
    python = run.ready(".venv", run.LOCKED)
    monkeypatch.setattr(run.os, "access", lambda path, mode: False)
    assert run.ready(".venv", run.LOCKED) == python


HOLDER = """
import sys, time
import run
with run.alone(sys.argv[1]):
    print("mine", flush=True)
    time.sleep(float(sys.argv[2]))
    open(sys.argv[1] + ".done", "w").close()
"""


@pytest.mark.parametrize("ends", ["by itself", "killed"])
def test_two_starts_install_one_after_the_other(tmp_path, ends):
    path, seconds = tmp_path / "lock", 1 if ends == "by itself" else 600
    command = [sys.executable, "-c", HOLDER, path, str(seconds)]
    with subprocess.Popen(command, cwd=Path(run.__file__).parent, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "mine\n"
        if ends == "killed":
            other.kill()
        with run.alone(path):
            assert Path(f"{path}.done").exists() == (ends == "by itself")


def test_what_another_start_has_installed_is_not_installed_again(machine, monkeypatch):
    """While this one waited."""
    alone = run.alone

    def after_another(path):
        monkeypatch.setattr(run, "alone", alone)
        run.ready(".venv", run.LOCKED)
        machine.clear()
        return alone(path)

    monkeypatch.setattr(run, "alone", after_another)
    run.ready(".venv", run.LOCKED)
    assert machine == []


def test_environment_of_another_python_is_made_anew(machine, monkeypatch, capsys):
    run.ready(".venv", run.LOCKED)
    leftover = run.ROOT / ".venv" / "leftover"
    leftover.touch()
    monkeypatch.setattr(run, "succeeds", lambda *command: "-c" not in command)  # "are you my version?"
    (run.ROOT / "requirements.lock").write_text("changed")
    run.ready(".venv", run.LOCKED)
    assert not leftover.exists() and "made by another Python" in capsys.readouterr().out
    assert sum(" venv " in command for command in machine) == 2


@pytest.mark.parametrize("has_pip", [True, False])
def test_without_uv_pip_fetches_it_into_the_environment(machine, monkeypatch, has_pip):
    there = {"pip"} if has_pip else set()
    monkeypatch.setattr(run, "uv_in_path", lambda: None)
    monkeypatch.setattr(run, "succeeds", lambda *command: not {"uv", "pip"} & set(command) - there)
    run.ready(".venv", run.LOCKED)
    assert machine[0].startswith(f"{run.PYTHON} -m venv ")
    first = [command.split(" -m ")[1].split()[0] for command in machine if " -m " in command]
    assert first == (["venv", "pip"] if has_pip else ["venv", "ensurepip", "pip"])
    installs = machine[len(first) :]
    assert len(installs) == 2 and all(
        Path(line.split()[0]).parent == Path(".venv", VENV_PYTHON).parent for line in installs
    )


def test_debian_without_venv_is_told_what_to_install(machine, monkeypatch):
    monkeypatch.setattr(run, "uv_in_path", lambda: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=rf"sudo apt install python3.{sys.version_info[1]}-venv"):
        run.ready(".venv", run.LOCKED)
    assert machine == []


@pytest.mark.parametrize(
    ("said", "usable"),
    [("uv 0.13.9 (x86_64-unknown-linux-gnu)", True), ("uv 0.5.0", True), ("uv 1.0.0", True), ("uv 0.4.30", False),
     ("", False), ("another program", False)],
)  # fmt: skip
def test_an_old_uv_makes_way(monkeypatch, said, usable):
    monkeypatch.setattr(run.subprocess, "run", lambda *args, **kwargs: SimpleNamespace(stdout=said))
    monkeypatch.setattr(run.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert run.uv_in_path() == ("/usr/bin/uv" if usable else None)


@pytest.mark.skipif(os.name == "nt", reason="no signals there")
def test_ctrl_c_while_installing_is_one_line(tmp_path):
    for name in ("run.py", "requirements.lock", "pyproject.toml"):
        shutil.copy(Path(run.__file__).parent / name, tmp_path)
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo uv 9.0.0; else echo begun; exec sleep 60; fi\n')
    uv.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "run.py", "demo"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    # Tests that run in the background of a shell inherit that Ctrl-C is ignored.
    options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **options) as started:
        while "begun" not in started.stdout.readline():
            pass
        os.killpg(started.pid, signal.SIGINT)
        assert started.stdout.read() == "\nStopped.\n" and started.wait() == 130


@uses_exec
@pytest.mark.parametrize(
    ("words", "environment", "rest"),
    [
        (["test", "-k", "gan"], ".venv", "-m pytest -k gan"),
        (["test", "--jax", "-x"], ".venv-jax", " every_backend -x"),
        (["test", "--torch-notebooks", "-x"], ".venv-torch", "tests/test_quick.py -x"),
        (["publish", "nb.ipynb"], ".venv", f" publish {os.path.abspath('nb.ipynb')}"),
    ],
)
def test_tasks(words, environment, rest, monkeypatch):
    ((python, *command),) = started_by(words, monkeypatch, KERAS_BACKEND="as before")
    assert python == str(Path("venv", environment, "python")) and " ".join(command).endswith(rest)
    assert os.environ["KERAS_GEN_QUICK"] == ("1" if words[0] == "test" else "as before")
    assert os.environ["KERAS_BACKEND"] == {".venv-jax": "jax", ".venv-torch": "torch"}.get(environment, "as before")


def test_other_versions_leave_the_tools_tests_alone():
    """The newest ones run the notebooks too; a backend that is not there is not asked for its tests."""
    for flag, (environment, _, command, variables) in run.OTHER_TESTS.items():
        if "--disable-warnings" in command:
            assert "--ignore=tests/test_run.py" in command
            assert ("--ignore=tests/test_quick.py" in command) == (flag != "--latest")
            assert ("every_backend" in command) == ("KERAS_BACKEND" in variables)
        assert variables.get("KERAS_BACKEND", "") in environment


def started_by(words, monkeypatch, **environment):
    """The commands that run.py would go over to, in this environment."""
    started = []
    monkeypatch.setattr(run, "ready", lambda name, installs: Path("venv", name, "python"))
    monkeypatch.setattr(run.os, "execv", lambda python, command: started.append(command))
    monkeypatch.setattr(run.os, "chdir", lambda folder: None)
    monkeypatch.setenv("KERAS_GEN_QUICK", "as before")
    for name in ("KERAS_BACKEND", "KERAS_GEN_XLA", *run.FOREIGN):
        monkeypatch.setenv(name, environment.get(name, ""))  # put back after the test
        if name not in environment:
            monkeypatch.delenv(name)
    run.main(words)
    return started


@uses_exec
def test_xla_runs_in_the_usual_environment_with_its_switch(monkeypatch):
    ((_, *command),) = started_by(["test", "--xla", "-k", "03"], monkeypatch)
    assert "every_backend or as_on_gpu" in command and command[-2:] == ["-k", "03"]
    assert os.environ["KERAS_GEN_XLA"] == "1" and os.environ["KERAS_GEN_QUICK"] == "1"


@uses_exec
@pytest.mark.parametrize("task", ["demo", "test"])
def test_a_task_sees_no_settings_for_other_projects(task, monkeypatch):
    foreign = dict.fromkeys(("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "PYTHONSTARTUP", "PYTHONOPTIMIZE"), "/there")
    assert started_by([task], monkeypatch, **foreign)
    assert not foreign.keys() & os.environ.keys() and os.environ["KERAS_BACKEND"] == "tensorflow"
    assert "KERAS_GEN_XLA" not in os.environ


def test_the_newest_versions_are_looked_for_each_time(machine, monkeypatch):
    monkeypatch.setattr(run.os, "execv", lambda python, command: None)
    monkeypatch.setattr(run.os, "chdir", lambda folder: None)
    monkeypatch.setattr(run.subprocess, "call", lambda command: sys.exit())
    for _ in range(2):
        machine.clear()
        run.main(["test", "--latest"])
        assert sum(" venv " in command for command in machine) == 1


def test_run_py_starts_on_a_bare_python():
    """Imported, it needs the standard library alone."""
    source = Path(run.__file__).read_text(encoding="utf-8")
    modules = [line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert set(modules) <= sys.stdlib_module_names


def test_an_environment_is_made_by_the_python_outside_of_it():
    """Where run.py is started by .venv's own, which may have to be made anew."""
    code = "import os, run; print(run.PYTHON); print(os.path.samefile(run.PYTHON, sys._base_executable))"
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}"], cwd=Path(run.__file__).parent, capture_output=True, text=True
    ).stdout.split()
    assert found[1] == "True" and (sys.prefix == sys.base_prefix or not Path(found[0]).is_relative_to(sys.prefix))
