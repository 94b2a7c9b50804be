"""Users' own functions: found wherever they lie, and their mistakes told in one line."""

import functools
import subprocess
import sys

import pytest

from paramdiff.errors import UserError
from paramdiff.user_code import call, import_function, import_object

MODULE = """
import helper_of_judge

def score(state_dict):
    return helper_of_judge.VALUE

class Judge:
    @staticmethod
    def score(state_dict):
        return 2
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, out of which nothing is imported by itself."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder, name="judge.py", text=MODULE, value=1):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    (folder / "helper_of_judge.py").write_text(f"VALUE = {value}\n")
    return folder / name


def refusal(name):
    with pytest.raises(UserError) as raised:
        import_function(name, "--score-fn")
    told = str(raised.value)
    assert told.startswith("--score-fn: ") and len(told.splitlines()) == 1
    return told


def test_a_module_of_the_current_folder(folder):
    write(folder)
    assert import_function("judge:score", "--score-fn")({}) == 1
    assert import_function("judge:Judge.score", "--score-fn")({}) == 2


def test_a_module_in_a_package_of_the_current_folder(folder):
    write(folder / "mine", text="from .helper_of_judge import VALUE\ndef score(_): return VALUE\n")
    assert import_function("mine.judge:score", "--score-fn")({}) == 1


@pytest.mark.parametrize("name", ["code", "json", "paramdiff", "pytest"])
def test_the_users_own_is_meant_where_a_library_has_the_name(folder, name):
    """Whether or not that one is loaded already; it stays what it is for everybody else."""
    there = sys.modules.get(name)
    write(folder, f"{name}.py")
    assert import_function(f"{name}:score", "--score-fn")({}) == 1
    assert there is None or sys.modules[name] is there


@pytest.mark.parametrize("place", ["judge.py", "./judge.py", "a folder/my judge.py", "up/../x.py"])
def test_a_file_by_its_path(folder, place):
    (folder / "up").mkdir()
    path = write((folder / place).parent, (folder / place).name)
    assert import_function(f"{place}:score", "--score-fn")({}) == 1
    assert import_function(f"{path.resolve()}:score", "--score-fn")({}) == 1


def test_a_file_is_loaded_once_and_two_of_one_name_are_two(folder):
    for number, place in enumerate("ab"):
        text = f"def score(_): return {number}\n"
        write(folder / place, text=text)
    first, second = (import_function(f"{place}/judge.py:score", "--score-fn") for place in "ab")
    assert (first({}), second({})) == (0, 1)
    assert import_function("a/judge.py:score", "--score-fn") is first


def test_what_is_no_name_is_told_the_form(folder):
    write(folder)
    for name in ("bad", "judge", "judge:", ":score", ".judge:score", ""):
        assert "expected module:function or path/to/file.py:function" in refusal(name)
    assert refusal("judge.score").endswith("is it judge:score?")
    assert refusal("a.judge.score").endswith("is it a.judge:score?")
    assert refusal("judge.py").endswith("which function of judge.py?")


def test_what_is_not_there_is_told_the_nearest(folder):
    write(folder)
    assert "judge has no 'scores'; the nearest is 'score'" in refusal("judge:scores")
    assert "judge.py has no 'scores'; the nearest is 'score'" in refusal("judge.py:scores")
    assert "no module 'judgee', neither in" in refusal("judgee:score")
    assert "the nearest is 'judge'" in refusal("judgee:score")
    assert "no file judgee.py; the nearest is 'judge.py'" in refusal("judgee.py:score")
    write(folder / "sub")
    assert "the nearest is 'sub/judge.py'" in refusal("sub/judge:score")
    assert "found int" in refusal("helper_of_judge:VALUE")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x = 1\nimport not_there_at_all\n", "No module named 'not_there_at_all' (judge.py:2)"),
        ("x = (\n", "SyntaxError: "),
        ("def f():\n    raise OSError('gone')\nf()\n", "OSError: gone (judge.py:2)"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 (judge.py:2)"),
    ],
)
@pytest.mark.parametrize("name", ["judge:score", "judge.py:score"])
def test_what_a_module_raises_is_told_with_its_line(folder, text, found, name):
    write(folder, text=text)
    assert found in refusal(name)
    write(folder)
    assert (
        import_function("judge.py:score", "--score-fn")({}) == 1
    )  # nothing of the failure is kept


def test_what_a_function_raises_is_told_with_the_users_line(folder):
    text = "import json\n\ndef score(state_dict):\n    return json.loads('{')\n"
    function = import_function(f"{write(folder, text=text)}:score", "--score-fn")
    with pytest.raises(UserError, match=r"JSONDecodeError: .*\(judge\.py:4\); a state dict$"):
        call("--score-fn", "judge:score", "a state dict", function, {})


def test_any_object_is_found(folder):
    text = "import functools\nf = functools.partial(max, 3)\ng = lambda x: x\n"
    write(folder, text=text)
    assert isinstance(import_object("judge:f", "x"), functools.partial)
    assert import_function("judge:f", "x")(2) == 3 and import_function("judge:g", "x")(2) == 2


def test_the_current_folder_does_not_hide_installed_libraries(tmp_path):
    """As ``datasets/`` or ``queue.py`` would, which others import later."""
    (tmp_path / "judge.py").write_text("def score(_): return 1\n")
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('not me')\n")
    code = (
        "from paramdiff.user_code import import_function\n"
        "assert import_function('judge:score', '--score-fn')({}) == 1\n"
        "import colorsys; colorsys.rgb_to_hsv\n"
    )
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(code)
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, check=True, timeout=60)
