"""Pages from executed notebooks, and the site from pages."""

import copy
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from forged import forged

from labkit import files, parameters, records
from labkit.book import benchmarks, builder, keys, models_page, page, site, stale, tables
from labkit.errors import InputError
from labkit.records import Record
from labkit.reports import REPORTS
from labkit.runner import document, run

ROOT = Path(__file__).parents[2]
CARD = {
    "name": "synthetic_cifar100",
    "source": "drawn | by code",
    "sha256": "ab" * 32,
    "synthetic": True,
    "train": 10_000,
    "test": 2000,
    "published_train": 50_000,
    "published_test": 10_000,
    "complete": True,
}
DEVICE = {"type": "cpu", "name": "some CPU", "threads": 2, "precision": "fp32"}
ALT = "A line that rises from one to two over one step."
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
TELL = f"""
told = {{"data": {CARD}, "device": {DEVICE}}}
display({{"text/plain": "report"}}, raw=True, metadata={{"labkit": told}})
"""
DRAW = f"""
figure = {{"image/png": "{PIXEL}", "text/plain": "a line"}}
display(figure, raw=True, metadata={{"image/png": {{"alt": "{ALT}"}}}})
"""


def code(source, number, **metadata):
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": f"code{number}",
        "metadata": metadata,
        "outputs": [],
        "source": source,
    }


def prose(source, number):
    return {"cell_type": "markdown", "id": f"text{number}", "metadata": {}, "source": source}


def notebook(*sources):
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
        "cells": [
            prose("# The question\n\nFirst words {cite}`he2016deep`.", 0),
            code('preset: str = "smoke"', 0, tags=["parameters"]),
            *(code(source, n) for n, source in enumerate(sources, start=1)),
            prose("## The answer\n\nLast words.", 1),
        ],
    }


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": [text]}


def image(alt):
    metadata = {"image/png": {"alt": alt}} if alt else {}
    data = {"image/png": PIXEL, "text/plain": ["a"]}
    return {"output_type": "display_data", "data": data, "metadata": metadata}


def executed(source, *outputs):
    """As the runner leaves it: with the injected cell, counts and provenance."""
    made = copy.deepcopy(source)
    document.inject(made, {"preset": "smoke"})
    cells = [cell for cell in made["cells"] if cell["cell_type"] == "code"]
    for count, cell in enumerate(cells, start=1):
        cell["execution_count"] = count
    for cell, given in zip(cells[2:], outputs, strict=False):
        cell["outputs"] = given
    made["metadata"]["labkit"] = {
        "notebook": "n.ipynb",
        "parameters": {"preset": "smoke"},
        "versions": {"python": "3.11.7", "torch": "2.15.0"},
        "commit": "0123abcd",
        "dirty": True,
        "executed": "2026-01-02T03:04:05Z",
        "status": "ok",
        "seconds": 1.5,
        "peak_memory_mb": 1234,
    }
    return made


def test_a_page_is_todays_prose_around_the_executed_outputs():
    source = notebook("1", "2")
    ran = executed(source, [stream("one")], [image(ALT)])
    source["cells"][0]["source"] = "# Another title\n\nOther words."
    made = page.page(source, ran)
    assert [cell["id"] for cell in made["cells"]] == [cell["id"] for cell in source["cells"]]
    assert made["cells"][2]["outputs"] == [stream("one")]
    assert made["cells"][3]["metadata"]["mystnb"]["image"]["alt"] == ALT
    assert made["cells"][0]["source"].startswith("# Another title\n\n:::{admonition}")
    assert made["cells"][0]["source"].endswith("Other words.")


def test_the_box_says_where_the_results_come_from():
    told = {"output_type": "display_data", "data": {}, "metadata": {"labkit": {"data": CARD}}}
    box = page.provenance_box(executed(notebook("1"), [told]))
    for words in ("preset smoke, SYNTHETIC data, 2026-01-02", "`0123abcd` with uncommitted changes",
                  "torch 2.15.0", "1,234 MB", "10,000 training and 2,000 test images",
                  "published: 50,000", "drawn \\| by code", "`preset='smoke'`"):  # fmt: skip
        assert words in box


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ([image("")], "without an alternative text"),
        ([image("too short")], "without an alternative text"),
        ([image(ALT), image(ALT)], "shows 2 figures"),
        ([stream("UserWarning", "stderr")], "wrote to stderr"),
        ([image(ALT), stream("x")], ""),
    ],
)
def test_what_is_not_fit_for_a_page_is_named(outputs, words):
    said = page.complaint(executed(notebook("draw()"), outputs))
    assert (words in said) if words else not said


def test_what_is_of_synthetic_images_stands_folded():
    text = "Learning curves, synthetic images, which prove the code and nothing else. MBN: 1.0 %"
    for output in (
        {"data": {"text/plain": text, "image/png": ""}},
        {"name": "stdout", "text": text},
    ):
        made = executed(notebook("draw()"), [output])
        assert "results of synthetic images; fold it" in page.complaint(made)
        for cell in made["cells"]:
            cell["metadata"]["tags"] = ["hide-output"]
        assert "synthetic" not in page.complaint(made)


def test_the_parameter_table_is_the_contract():
    table = tables.parameter_table()
    assert len(table.splitlines()) == 2 + len(parameters.PARAMETERS)
    assert "| `seeds` | int | `1` | a whole number from 1 to 100 |" in table


def test_the_readme_shows_todays_records(tmp_path):
    """Fails when a record was added: `labkit check --readme` writes the table anew."""
    shutil.copytree(site.ROOT / "book" / "records", tmp_path / "book" / "records")
    readme = (site.ROOT / "README.md").read_text(encoding="utf-8")
    head, _, rest = readme.partition(tables.MARKS[0])
    empty = head + "".join(tables.MARKS) + rest.partition(tables.MARKS[1])[2]
    (tmp_path / "README.md").write_text(empty, encoding="utf-8")
    tables.update_readme(records.recorded(folder=tmp_path / "book" / "records"), tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == readme
    assert "002-M1" in readme


def test_the_benchmarks_are_shown_as_measured(tmp_path):
    assert benchmarks.measurements(tmp_path) == "Nothing has been measured yet."
    case = {
        "model": "mbn", "batch": 64, "median": {"student": 10.0, "labkit": 60.0, "bare": 61.0},
        "ratios": {"student": 6.0, "bare": 60 / 61}, "targets": {"student": 3.0, "bare": 0.99},
        "flops": 6.5e11, "share_of_peak": 0.5,
    }  # fmt: skip
    measured = {
        "device": {"type": "cpu", "name": "Some CPU", "threads": 2, "precision": "bf16"},
        "versions": {"torch": "2.15.0"}, "created": "2026-11-21T10:00:00Z", "rounds": 3,
        "peak_flops": 1.3e12, "cases": [case],
    }  # fmt: skip
    (tmp_path / "cpu.json").write_text(json.dumps(measured), encoding="utf-8")
    text = benchmarks.measurements(tmp_path)
    assert "## Some CPU, 2 threads, bf16" in text
    assert "| `mbn` | 64 | 10 | 60 | 61 | 0.65 | 50 % |" in text
    assert "| `mbn` | student | 6.00 | 3.00 | met | 6.10 |" in text
    assert "| `mbn` | bare | 0.98 | 0.99 | **missed** | 1.00 |" in text


def test_a_race_stands_beside_the_published_ones_and_says_what_it_missed():
    text = tables.races([])
    assert "| 70 % | ResNet-18, labkit | 12 |  | not run |  | row 000-T70 |" in text
    assert "| 75 % | the record of October 2026 |  | one A100 80GB" in text
    assert "[CerovazS/Cifar100Speedrun](https://github.com/CerovazS/Cifar100Speedrun) |" in text
    template = records.recorded("hierarchical_cifar100", preset="lesson")[0]
    device = {"type": "cpu", "name": "Some CPU", "threads": 1, "together": 2}
    for top1, seen in ((0.7012, "70.12 %"), (0.6988, "69.88 %, **below**")):
        test = template["test"] | {"top1": top1}
        record = Record(
            {**template, "row": "000-T70", "preset": "full", "seconds": 5400, "device": device,
             "rows": [{}] * 12, "test": test}
        )  # fmt: skip
        text = tables.races([record])
        assert f"| 12 | Some CPU, 1 thread, beside 1 other training | 90 min | {seen} |" in text
    assert "not run" not in text.partition("75 %")[0]
    assert "stale" not in text
    assert "| row 000-T70, **stale** |" in tables.races([record], {str(record.path): "changed"})


def test_results_of_no_records_says_so():
    text = tables.results([], {})
    for report in REPORTS.values():
        assert f"## Report {report.id}: {report.title}" in text
        assert report.notebook not in text
        assert f"../notebooks/{report.notebook}.ipynb" in tables.results([], {}, [report.notebook])
    assert "There are none yet." in text


def checkout(folder, source):
    """A small checkout: the book's own pages, and a notebook in the place of each report's."""
    shutil.copytree(ROOT / "book", folder / "book", ignore=shutil.ignore_patterns("_build"))
    shutil.rmtree(folder / "book" / "records", ignore_errors=True)
    (folder / "labkit").mkdir()
    (folder / "labkit" / "models.py").write_text("depth = 1\n", encoding="utf-8")
    for report in REPORTS.values():
        document.write(folder / "notebooks" / f"{report.notebook}.ipynb", source)
    return folder


def run_already(root, first=1):
    """All notebooks from this one on, as if an earlier build had run them."""
    shared = keys.environment_key(root)
    for path in sorted((root / "notebooks").glob("*.ipynb"))[first:]:
        content = document.read_notebook(path)
        done = root / "book" / "_build" / "executed" / path.name
        document.write(done, executed(content))
        note = {"seconds": 1.0, "peak_memory_mb": 1.0}
        note["key"] = keys.notebook_key(path, {"preset": "smoke"}, shared)
        files_write(done.with_suffix(".json"), json.dumps(note))


def first_notebook(root):
    return sorted((root / "notebooks").glob("*.ipynb"))[0]


def key(root):
    return keys.notebook_key(first_notebook(root), {"preset": "smoke"},
                                keys.environment_key(root))  # fmt: skip


CHANGES = {
    "prose": (lambda root: edit(root, 0, "# Other\n"), False),
    "code": (lambda root: edit(root, 2, "2"), True),
    "library": (lambda root: (root / "labkit" / "models.py").write_text("depth = 2\n"), True),
    "published numbers": (
        lambda root: files_write(root / "labkit/compare/published.csv", ""),
        True,
    ),
    "book text": (lambda root: (root / "book" / "intro.md").write_text("# Book\n"), False),
    "record": (lambda root: files_write(root / "book" / "records" / "a.json", "{}"), True),
    "data": (lambda root: files_write(files.data_home() / "x", "1"), True),
    "drawing": (lambda root: files_write(root / "labkit" / "figures" / "a.svg", "<svg/>"), True),
}


def files_write(path, text):
    files.write_atomic(path, text)


def edit(root, number, source):
    path = first_notebook(root)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["cells"][number]["source"] = source
    content["cells"][number]["metadata"]["tags"] = ["hide-input"]
    document.write(path, content)


@pytest.mark.faults(28)
@pytest.mark.parametrize("name", CHANGES)
def test_what_makes_a_notebook_run_again(tmp_path, name):
    change, again = CHANGES[name]
    root = checkout(tmp_path / "a b{c}#\u00e9", notebook("1"))
    before = key(root)
    assert key(root) == before
    change(root)
    assert (key(root) != before) == again


def test_versions_and_parameters_are_in_the_key(tmp_path, monkeypatch):
    root = checkout(tmp_path / "root", notebook("1"))
    before = key(root)
    path = first_notebook(root)
    shared = keys.environment_key(root)
    assert keys.notebook_key(path, {"preset": "lesson"}, shared) != before
    monkeypatch.setattr(keys, "_versions", lambda names: ["torch 9"])
    assert key(root) != before


def test_links_only_where_the_checkout_has_a_public_home(tmp_path, monkeypatch):
    for url, home in (
        ("https://github.com/some/book.git", "https://github.com/some/book"),
        ("git@github.com:some/book.git", "https://github.com/some/book"),
        ("/somewhere/else", ""),
        (None, ""),
    ):
        monkeypatch.setattr(document, "git", lambda *_, url=url: url)
        assert builder.repository(tmp_path) == home
    assert builder._links("") == {}
    assert builder._links("https://github.com/some/book")["use_edit_page_button"]


@pytest.mark.parametrize(
    ("html", "asks"),
    [
        ('<script async src="https://x.org/a.js"></script>', True),
        ('<img alt="" src="//x.org/a.png">', True),
        ('<link rel="stylesheet" href="https://x.org/a.css">', True),
        ('<link rel="author" href="https://x.org/">', False),
        ('<a href="https://x.org/">x</a>', False),
        ('<script src="../_static/a.js"></script>', False),
    ],
)
def test_outside_requests_are_found(tmp_path, html, asks):
    (tmp_path / "a.html").write_text(html, encoding="utf-8")
    assert bool(list(builder.outside_requests(tmp_path))) == asks


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(InputError, match="preset='smok' is refused"):
        site.book("smok")
    with pytest.raises(InputError, match="there is no notebook"):
        site.book(root=tmp_path)


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.ids = [], set()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids |= {attributes["id"]} if attributes.get("id") else set()
        for name in ("href", "src"):
            if attributes.get(name):
                self.found.append(attributes[name])


def dead_links(html):
    """Links of the site's pages to files or anchors that are not there."""
    paths = [path for path in sorted(html.rglob("*.html")) if "_static" not in path.parts]
    pages_ = {path: Links() for path in paths}
    for path, links in pages_.items():
        links.feed(path.read_text(encoding="utf-8"))
    for path, links in pages_.items():
        for link in links.found:
            if re.match(r"[a-z]+:|//|#$", link):
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / name.partition("?")[0]).resolve() if name else path
            known = target not in pages_ or not anchor or anchor in pages_[target].ids
            if not target.exists() or not known:
                yield f"{path.name}: {link}"


@pytest.mark.faults(29)
@pytest.mark.slow
def test_the_book_from_notebooks_to_site_and_what_keeps_it(tmp_path, capfd, monkeypatch):
    root = checkout(tmp_path / "a b{c}#\u00e9", notebook("print('seen')", TELL, DRAW))
    run_already(root)
    html = root / "book" / "_build" / "html"
    assert site.book(root=root) == 0, capfd.readouterr()
    printed = capfd.readouterr().out
    name = first_notebook(root).stem
    assert re.search(rf"{name} +ok +[0-9.]+ +[0-9,]+ MB", printed)
    assert printed.rstrip().endswith(f"open {html / 'index.html'}")
    page = (html / "notebooks" / f"{name}.html").read_text(encoding="utf-8")
    for words in ("seen", f'alt="{ALT}"', "How this page was run", "10,000 training"):
        assert words in page
    assert "injected" not in page
    assert (html / "book" / "intro.html").is_file()
    assert not list(builder.outside_requests(html))
    assert not list(dead_links(html))
    assert "mathjax" not in page.lower()

    # nothing changed: nothing runs, nothing is built
    monkeypatch.setattr(site, "run", lambda *_, **__: pytest.fail("it ran again"))
    monkeypatch.setattr(site, "build_site", lambda build: pytest.fail("it was built again"))
    assert site.book(root=root) == 0
    assert re.search(rf"{name} +unchanged", capfd.readouterr().out)
    monkeypatch.undo()

    # a cell that raises: the build is red and the site stays as it was
    edit(root, 2, "1 / 0")
    before = {path: path.read_bytes() for path in sorted(html.rglob("*.html"))}
    assert site.book(root=root) == 1
    said = capfd.readouterr()
    assert "ZeroDivisionError" in said.err
    assert "the site was not replaced" in said.err
    assert f"{name} " in said.out
    assert {path: path.read_bytes() for path in sorted(html.rglob("*.html"))} == before

    # a page that links to nowhere: the same
    edit(root, 2, "print('seen')")
    (root / "book" / "data.md").write_text("# Data\n\n[no](nowhere.md)\n", encoding="utf-8")
    unchanged = run.RunResult("unchanged", 0, "unchanged", 1.0, 1.0, html)
    monkeypatch.setattr(site, "_execute", lambda *_: [(name, unchanged)])
    assert site.book(root=root) == 1
    assert "nowhere.md" in capfd.readouterr().err
    assert {path: path.read_bytes() for path in sorted(html.rglob("*.html"))} == before


@pytest.mark.faults(28)
def test_a_stale_record_stops_the_build_unless_it_is_marked(tmp_path, capfd, monkeypatch):
    root = checkout(tmp_path / "root", notebook("1"))
    staged, reasons = [], {"x/002.json": "fingerprint differs"}
    monkeypatch.setattr(site, "recorded", lambda **_: ["a record"])
    monkeypatch.setattr(site.tables, "results", lambda records, stale, pages: f"{stale}")
    monkeypatch.setattr(site.tables, "summary", lambda records, stale: f"{stale}")
    monkeypatch.setattr(site.tables, "races", lambda records, stale: "")
    monkeypatch.setattr(site, "_stale", lambda records, build: reasons)
    monkeypatch.setattr(site, "stage", lambda *arguments: staged.append(arguments[-1]))
    monkeypatch.setattr(site, "build_site", lambda build: None)
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        files_write(root / "book" / "_build" / "executed" / f"{path.stem}.json", "{}")
    arguments = (sorted((root / "notebooks").glob("*.ipynb")), root / "book" / "_build", root)
    assert site._publish(*arguments, allow_stale=False) == 1
    assert "stale record 002.json: fingerprint differs" in capfd.readouterr().err
    assert not staged
    site._publish(*arguments, allow_stale=True)
    assert "fingerprint differs" in staged[0]["results"]


def test_a_claim_is_judged_by_full_records_where_all_its_rows_have_them():
    printed = {
        "report": "keras_vs_mbn", "versions": {"torch": "2"}, "created": "2026-11-21",
        "details": {"train_images": 40_000},
    }  # fmt: skip
    found = [
        Record(forged(row, top1, preset=preset, epochs=40, **printed))
        for row, top1, preset in (
            ("002-M1", 0.38, "full"), ("002-M2", 0.61, "full"),
            ("002-M1", 0.30, "lesson"), ("002-T2", 0.40, "lesson"),
        )
    ]  # fmt: skip
    text = tables.results(found, {})
    (full,) = [line for line in text.splitlines() if line.startswith("| MBN has a higher")]
    assert "61.0 % against 002-M1 38.0 %" in full
    assert "Seen in class" not in full
    (lesson,) = [line for line in text.splitlines() if "even at a quarter" in line]
    assert "40.0 % against 002-M1 30.0 %" in lesson
    assert "Seen in class" in lesson
    assert "| 002-M1 | full | 0 | 38.00 % | 40,000 | 40 | a CPU | 2 |" in text
    stale = Record(dict(found[0]), Path("x.json"))  # is in the list, marked, and nowhere else
    text = tables.results([stale, *found[1:]], {"x.json": "its fingerprint differs"})
    assert text.count("38.0") == 1
    assert "| 2026-11-21 | its fingerprint differs |" in text


def test_the_summary_says_what_stands_and_takes_the_last_epoch_and_the_log():
    printed = {"report": "residual_attention"}
    sizes = {"parameters": {"total": 396_810, "trainable": 389_258}}
    ablation = forged("004-N1560", 0.5, **printed)
    large = {"parameters": {"total": 7_238_122, "trainable": 7_000_000}}
    watched = forged("004-M4", 0.93, best_test={"epoch": 1, "top1": 0.94}, **printed, **large)
    lesson = forged("004-M1", 0.55, preset="lesson", **printed, **sizes)
    findings, untested, rows = tables.summary(map(Record, (ablation, watched, lesson))).split(
        "\n\n"
    )
    assert "as Table 1 prints" in findings
    assert "| undecided |" in findings
    assert "exactly the parameters" not in findings
    assert "2 claims about the sizes of networks hold and 0 fail" in untested
    assert "claims are untested" in untested
    four, fewest = rows.splitlines()[2:]
    assert "51.57 % | log" in fewest
    assert "004-M4" in four
    assert "94.0 %" in four
    assert "55" not in rows.replace("94.56", "")  # no lesson beside a published number


def test_the_results_keep_lessons_away_from_published_numbers():
    found = [
        Record(forged(row, top1, preset=preset, epochs=100, details={"train_images": 40_000}) | {
            "created": "2026-11-21T00:00:00Z", "versions": {"torch": "2.12.1"}})
        for row, top1, preset in (("002-M1", 0.30, "lesson"), ("002-T2", 0.40, "lesson"),
                                  ("002-M2", 0.61, "full"))
    ]  # fmt: skip
    parts = tables.results(found, {}).split("## Report 002")[1].split("## Report 003")[0]
    table, claims, lessons, planned, _ = parts.split("\n### ")
    assert claims.startswith("Claims of report 002")
    assert "61.0 %" in table
    assert not {"30.0 %", "40.0 %"} & set(re.findall(r"[0-9.]+ %", table))
    assert "| +10.0 points |" in lessons
    assert "seen in class, real CIFAR-100, n = 1" in lessons
    assert "| 002-V1 | MNIST net on all training images | nothing yet |" in planned
    assert "| 002-M1 | MNIST net | seen in class |" in planned
    assert "002-M2" not in planned


def test_the_page_of_models_is_kept_until_a_source_or_the_shown_pages_change(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(models_page, "write", lambda folder, shown: (
        folder.mkdir(), written.append(shown)))  # fmt: skip
    for _ in range(2):
        folder = builder._models(tmp_path, ["01"])
    assert (folder, written) == (tmp_path / "models", [["01"]])
    builder._models(tmp_path, ["02"])
    assert written == [["01"], ["02"]]


def test_whether_records_are_stale_is_found_out_once(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    path.write_text("{}", encoding="utf-8")
    record, asked = Record({}, path), []
    monkeypatch.setattr(
        stale, "stale_records", lambda found: asked.append(found) or {str(path): "changed"}
    )
    for _ in range(2):
        assert site._stale([record], tmp_path) == {str(path): "changed"}
    assert asked == [[record]]
    path.write_text("{ }", encoding="utf-8")
    site._stale([record], tmp_path)
    assert len(asked) == 2


WITHOUT_TORCH = """
import sys
import threading
import time
from pathlib import Path
from labkit.book import site
root, build = Path(sys.argv[1]), Path(sys.argv[1]) / "book" / "_build"
def build_site(build):
    html = build / "site" / "html"
    html.mkdir(parents=True)
    return html
def publish():
    site.build_site = build_site
    return site._publish(sorted((root / "notebooks").glob("*.ipynb")), build, root, False)
assert publish() == 0
print("torch" in sys.modules)
"""


def test_a_site_of_unchanged_notebooks_is_built_without_torch(tmp_path):
    """What needs it, whether records are stale and the page of models, is kept from before."""
    root = checkout(tmp_path / "root", notebook("1"))
    run_already(root, first=0)
    shutil.copytree(ROOT / "book" / "records" / "keras_vs_mbn", root / "book" / "records" / "r")
    torch = []
    for words in ("before", "after"):
        (root / "book" / "data.md").write_text(f"# {words}\n", encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, str(root)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        torch.append(done.stdout.split()[-1])
    assert torch == ["True", "False"]


@pytest.mark.faults(49)
def test_html_of_a_record_is_shown_and_not_run():
    attack = "<img src=x onerror=alert(1)>"
    printed = {
        "report": "keras_vs_mbn", "versions": {"torch": attack}, "created": attack,
        "details": {"train_images": 40_000}, "device": forged()["device"] | {"name": attack},
    }  # fmt: skip
    text = tables.results([Record(forged("002-M1", 0.38, **printed))], {})
    assert "&lt;img src=x" in text
    assert "<img" not in text
    assert "<" not in tables.markdown(["a"], [[attack]])


@pytest.mark.faults(50)
def test_two_builds_wait_for_each_other(tmp_path, capfd):
    inside = []

    def build(name):
        with builder.alone(tmp_path / "_build"):
            inside.append(name)
            time.sleep(0.3)
            inside.append(name)

    threads = [threading.Thread(target=build, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside in (["a", "a", "b", "b"], ["b", "b", "a", "a"])
    assert "another build is at work" in capfd.readouterr().err


@pytest.mark.faults(50)
def test_a_site_that_a_killed_swap_left_comes_back(tmp_path):
    old, site, new = tmp_path / "html.old", tmp_path / "html", tmp_path / "new"
    old.mkdir()
    (old / "index.html").write_text("the last good one")
    builder.restore(site)
    assert (site / "index.html").read_text() == "the last good one"
    new.mkdir()
    builder.swap(new, site)
    assert not (site / "index.html").exists()
    assert not old.exists()
