"""The project's own rules: layers, pins, clean notebooks, no number typed into prose."""

import ast
import functools
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from labkit.parameters import PARAMETERS
from labkit.runner.contract import declared

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "labkit"

# The floors of the house, the lowest first: a room imports from the floors below, and on its own
# floor from the rooms before it.
FLOORS = """
    errors files
    parameters recipe
    data models
    records
    train compare runner
    reports figures
    session
    sweep book classroom
    cli
""".split("\n")[1:-1]
ROOMS = [room for floor in FLOORS for room in floor.split()]
WITHOUT_TORCH = [*"errors files parameters recipe records".split(), "compare", "reports", "figures",
                 "runner", "book.site", "book.builder", "book.page", "book.tables"]  # fmt: skip
RUNTIME = {"torch", "torchvision", "numpy", "pandas", "tqdm", "safetensors", "PIL"}
EXTRA = {"figures", "runner", "book", "classroom"}  # the rooms that need labkit[book]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROSE = [ROOT / "README.md", *sorted((ROOT / "book").glob("*.md"))]


def module(path):
    """labkit/data/cifar.py -> data.cifar; labkit/data/__init__.py -> data."""
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module(path): path for path in sorted(LIBRARY.rglob("*.py"))}


@functools.cache
def imports(name):
    """Everything a module imports, at its top or inside a function, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively; write labkit.{node.module}"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {node.module} if node.module != "labkit" else whole
    return found


def own(name):
    """The part of labkit that a dotted name belongs to, or nothing."""
    return name.removeprefix("labkit.") if name.startswith("labkit.") else ""


@pytest.mark.parametrize("name", [n for n in MODULES if n not in ("", "__main__")])
def test_a_room_imports_from_the_floors_below_it(name):
    room = name.partition(".")[0]
    used = {own(other).partition(".")[0] for other in imports(name) if own(other)}
    assert used - {room} <= set(ROOMS[: ROOMS.index(room)])


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("models.")])
def test_a_model_file_can_be_pasted_into_an_empty_project(name):
    used = {own(other) for other in imports(name) if own(other)}
    assert used <= {"models.layers", "models.fast_cpu", "models"}


def test_pictures_tables_and_pages_need_no_torch():
    code = "import sys\nsys.modules['torch'] = None\n" + "".join(
        f"import labkit.{name}\n" for name in WITHOUT_TORCH
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [n for n in MODULES if n and n.partition(".")[0] not in EXTRA])
def test_training_needs_the_six_packages_only(name):
    outside = {other.partition(".")[0] for other in imports(name)}
    # there already where a notebook runs
    kernel = {"IPython"} if name == "train.progress" else set()
    assert outside - set(sys.stdlib_module_names) - {"labkit"} <= RUNTIME | kernel


@functools.cache
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@functools.cache
def pins():
    """Name -> pinned versions; some packages have one for each of several Python versions."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (pin,) = requirement.specifier
            assert pin.operator == "==", line
            found.setdefault(canonicalize_name(requirement.name), []).append(pin.version)
    return found


def requirements():
    extras = project()["optional-dependencies"]
    lines = [*project()["dependencies"], *(line for extra in extras.values() for line in extra)]
    return [r for r in map(Requirement, lines) if r.name != "labkit"]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_requirement_has_a_pin_that_it_allows(requirement):
    versions = pins()[canonicalize_name(requirement.name)]
    assert all(requirement.specifier.contains(version) for version in versions)


def test_labkit_itself_needs_few_packages():
    names = {Requirement(line).name for line in project()["dependencies"]}
    assert names == RUNTIME - {"PIL"}
    assert {"book", "grade", "cluster", "dev"} <= set(project()["optional-dependencies"])


def test_conda_gives_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *plain, pip = environment["dependencies"]
    assert plain == ["python=3.11", "pip"]
    assert pip["pip"] == ["--constraint constraints.txt", "--editable .[book,dev]"]
    assert project()["requires-python"] == ">=3.11"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "-c constraints.txt -e '.[book,dev]'" in makefile


def test_the_tested_versions_are_pinned():
    for name, version in {"jupyter-book": "1.0.4.post1", "sphinx-book-theme": "1.3.0",
                          "papermill": "2.7.0", "nbgrader": "0.9.6"}.items():  # fmt: skip
        assert pins()[name] == [version]
    assert pins()["torch"] != ["2.13.0"]


@functools.cache
def tracked():
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_registry_or_a_place_on_one_machine():
    words = ["pypi" + ".org", "python" + "hosted", "download." + "pytorch", "extra-" + "index",
             "/ro" + "ot/", "/wo" + "rk/", "/ho" + "me/"]  # fmt: skip
    for path in tracked():
        if path.suffix in (".png", ".gz"):
            continue
        text = path.read_text(encoding="utf-8")
        assert not [word for word in words if word in text], path


def test_ci_runs_the_tests_then_the_book():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = script.read_text(encoding="utf-8")
    assert lines.index("make test") < lines.index("make book")


def test_the_readme_begins_with_the_two_commands_and_a_picture():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.index("make book") < text.index("make test") < text.index("![") < text.index("## ")
    for picture in re.findall(r"!\[[^\]]{30,}\]\(([^)]+)\)", text):
        assert (ROOT / picture).is_file()


def test_the_readme_names_every_notebook():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.stem for path in NOTEBOOKS if f"`{path.stem}`" not in text] == []


def contents():
    return yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))


def test_the_contents_list_every_page_once():
    toc = contents()
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    assert chapters[0] == {"glob": "notebooks/*"}
    pages = [f"book/{path.stem}" for path in (ROOT / "book").glob("*.md")]
    assert sorted([toc["root"], *(c["file"] for c in chapters[1:])]) == sorted(pages)


def cells(path, kind):
    content = json.loads(path.read_text(encoding="utf-8"))
    return [(c, "".join(c["source"])) for c in content["cells"] if c["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_clean_and_keeps_the_house_rules(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    kernel = content["metadata"]["kernelspec"]
    assert (kernel["name"], kernel["language"]) == ("python3", "python")  # plain papermill asks
    assert path.stat().st_size < 200_000
    ids = [cell["id"] for cell in content["cells"]]
    assert len(ids) == len(set(ids))
    assert content["cells"][0]["cell_type"] == "markdown"
    assert "".join(content["cells"][0]["source"]).startswith("# ")
    assert {name: p.default for name, p in declared(path).items()} == {
        name: p.default for name, p in PARAMETERS.items()
    }
    for cell, source in cells(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        assert set(cell["metadata"]) <= {"tags", "mystnb", "jupyter", "editable"}
        assert len(source.splitlines()) <= 15, source
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("labkit"), source
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.startswith("labkit")]
                assert names in ([], ["labkit"]), source


# A share, a percentage, or a fraction as exact as a score: it belongs in a table made from data.
METRIC = re.compile(r"[0-9] ?%|[0-9] percent|[0-9] (percentage )?points|\b0\.[0-9]{3,}")


def test_what_counts_as_a_typed_metric():
    for text in ("reached 43.2 %", "43%", "gained 3 points", "a score of 0.4287"):
        assert METRIC.search(text)
    for text in ("lr 0.01", "batch 256", "a 3x3 kernel", "dropout 0.25"):
        assert not METRIC.search(text)


@pytest.mark.parametrize("path", [*PROSE, *NOTEBOOKS], ids=lambda p: p.name)
def test_prose_contains_no_typed_metric(path):
    if path.suffix == ".ipynb":
        text = "\n".join(source for _, source in cells(path, "markdown"))
    else:
        text = path.read_text(encoding="utf-8")
    # what stands between marks is made from records, and tests/book/test_site.py holds it to them
    text = re.sub(r"<!-- made by .*?-->.*?<!-- end -->", "", text, flags=re.DOTALL)
    assert not METRIC.findall(text)


def surface(tree):
    """The names in a module's `__all__`, or None where it has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [element.value for element in node.value.elts]
    return None


@pytest.mark.parametrize("name", [n for n in MODULES if n not in ("", "__main__")])
def test_a_module_says_what_it_gives_and_its_functions_what_they_return(name):
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    defined = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    if not defined and MODULES[name].name == "__init__.py":
        return  # nothing but a docstring
    names = surface(tree)
    assert names is not None
    for node in defined:
        if isinstance(node, ast.FunctionDef) and node.name in names:
            assert node.returns is not None, node.name


def test_no_test_file_imports_another():
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith(("test_", "tests.test_")), path
