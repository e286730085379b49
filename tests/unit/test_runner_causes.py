"""Where in an entry's own code a failure came from, from exceptions and from a log."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from velodrome.errors import ConfigurationError
from velodrome_runner import causes
from velodrome_runner.reporting import Failure

SOURCE = """
import json

def deep():
    return {}["missing"]

def in_a_library():
    return json.loads("{")

def wrapped():
    try:
        deep()
    except KeyError as error:
        raise ValueError("no such thing") from error

def long():
    raise RuntimeError("x" * 100_000)
"""


def loaded(folder: Path, name: str, source: str = SOURCE) -> ModuleType:
    path = folder / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    module = ModuleType(name)
    module.__file__ = str(path)
    exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 - imports the file without leaving it imported
    return module


def raised(function: Any) -> BaseException:
    """What it raises, as if this test's file were Velodrome's: its own frame is taken off."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is
        function()
    assert caught.value.__traceback__
    return caught.value.with_traceback(caught.value.__traceback__.tb_next)


def wrapped_by_velodrome(cause: BaseException) -> BaseException:
    error = ConfigurationError("own:make does not do", "ModelForwardFailed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(("function", "line"), [("deep", 5), ("in_a_library", 8), ("wrapped", 14), ("long", 17)])
def test_the_place_is_the_innermost_line_of_own_code(tmp_path: Path, function: str, line: int) -> None:
    error = raised(getattr(loaded(tmp_path, "own"), function))
    assert causes.place(error) == f"{tmp_path}/own.py:{line}"
    assert causes.record(wrapped_by_velodrome(error), "own") == f" (at {tmp_path}/own.py:{line})"


def test_a_file_is_written_as_it_lies_below_its_folder_of_sys_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = raised(loaded(tmp_path, "own/models").deep)
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", *sys.path])
    assert causes.place(error) == "own/models.py:5"


def test_an_installed_package_is_own_code_where_the_entry_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "lib" / "python3.11" / "site-packages"
    error = raised(loaded(folder, "timm").deep)
    assert causes.place(error, "own.models") == ""
    assert causes.place(error, "timm.models") == f"{folder}/timm.py:5"


def test_a_syntax_error_is_where_it_is_written(tmp_path: Path) -> None:
    error = raised(lambda: compile("def make(:\n", tmp_path / "own.py", "exec"))
    assert causes.place(error) == f"{tmp_path}/own.py:1"


def test_the_log_has_the_cause_with_its_frames_and_not_all_of_a_long_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = loaded(tmp_path, "own")
    causes.record(wrapped_by_velodrome(raised(own.wrapped)), "own")
    log = capsys.readouterr().err
    assert 'own.py", line 5, in deep' in log
    assert log.endswith("ValueError: no such thing\n")
    causes.record(raised(own.long), "own")
    log = capsys.readouterr().err
    assert 'own.py", line 17, in long' in log
    assert len(log) < 4000


def test_an_error_on_purpose_without_own_code_leaves_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    cause = raised(lambda: json.loads("{"))
    assert cause.__traceback__
    error = wrapped_by_velodrome(cause.with_traceback(cause.__traceback__.tb_next))
    assert causes.record(error) == ""
    assert capsys.readouterr().err == ""


def test_a_place_is_kept_where_the_message_is_cut() -> None:
    assert Failure("X", "y" * 100_000).at(" (at own.py:5)").message.endswith("y (at own.py:5)")
    assert len(Failure("X", "y" * 100_000).at(" (at own.py:5)").message) == 4096


def test_the_place_is_read_from_what_a_command_printed(tmp_path: Path) -> None:
    """A callback that a program hands to `velodrome.report` fails inside of Velodrome's frames."""
    program = tmp_path / "train.py"
    program.write_text(
        "from velodrome import report\n"
        "def classify(size):\n"
        "    return {}['missing']\n"
        "trial = report.trial()\n"
        "trial.time_inference(classify)\n"
    )
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert causes.printed_place(f"epoch 1\n{ran.stderr}") == f"{program}:3"


@pytest.mark.parametrize(
    "log",
    [
        "",
        "no such data",
        'File "own.py", line 3',
        'Traceback (most recent call last):\n  File "<string>", line 1\nX: y',
    ],
)
def test_a_log_without_own_lines_has_no_place(log: str) -> None:
    assert causes.printed_place(log) == ""


def test_a_compiler_that_the_image_lacks_is_named_with_the_fix() -> None:
    from torch._inductor.exc import InvalidCxxCompiler, TritonMissing

    wrapped = RuntimeError("the backend failed")
    wrapped.__cause__ = InvalidCxxCompiler()
    assert causes.record(wrapped) == (
        " (torch.compile needs a C++ compiler: install it, or build the runner's image with TORCH_COMPILE=yes)"
    )
    assert "torch.compile needs Triton: install it" in causes.record(TritonMissing(None))
    assert causes.record(RuntimeError("another")) == ""


WITHOUT_TRITON = """
import sys

sys.modules["triton"] = None  # as where it is not installed
import torch
from torch import nn
from velodrome_runner.footprint import flops

model = nn.Linear(4, 2)
before = model(torch.ones(1, 4)).sum()
before.backward()
torch.optim.SGD(model.parameters(), 0.1).step()
assert model(torch.ones(1, 4)).sum() < before
print(flops(model, torch.ones(1, 4)))
"""


def test_training_and_counting_need_no_triton_and_say_nothing_of_it() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_TRITON], check=False, text=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert float(done.stdout) == 16
