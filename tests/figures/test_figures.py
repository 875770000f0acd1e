"""Figures: drawn from forged records, legible, described by their own numbers, leaving no trace."""

import io
import json
import subprocess
import sys
import types

import IPython.display
import matplotlib
import numpy as np
import pytest
from forged import SYNTHETIC, forged
from legible import overlaps
from PIL import Image

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from labkit import compare, figures

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
GROUPS = {"vehicles": ["airplane", "automobile", "ship", "truck"],
          "animals": ["bird", "cat", "deer", "dog", "frog", "horse"]}  # fmt: skip
SMALL, LARGE = forged("002-M1", 0.381), forged("002-M2", 0.61, seconds=2400.0)
ROUTED = {"soft_top1": 0.62, "oracle_top1": 0.7, "coarse_top1": 0.8}
SYSTEM = {**LARGE, "details": {**LARGE["details"], **ROUTED}}
PIXELS = np.random.default_rng(0).integers(0, 256, (8, 3, 16, 16)).astype(np.uint8)
LABELS = np.arange(8)
GUESSES = np.array([0, 1, 2, 3, 5, 6, 7, 8])

LONG = [f"{name}, European fire salamander" for name in CLASSES]
MASKS = {"stage 1": np.full((8, 4, 4), 0.5), "2": PIXELS[:, 0] / 255}


def fake_data(synthetic=True):
    train = types.SimpleNamespace(images=PIXELS, labels=LABELS)
    return types.SimpleNamespace(train=train, classes=CLASSES, name="toy", synthetic=synthetic)


def stepped(row, *, drop=True):
    """A run whose test accuracy is best before the rate drops, or never drops."""
    record = forged(row, epochs=4)
    for epoch, score in zip(record["rows"], (0.3, 0.4, 0.35, 0.3), strict=True):
        epoch |= {"test_top1": score, "lr": 1e-4 if drop and epoch["epoch"] > 2 else 1e-3}
    return record


def comparison(runs):
    titles = {"002-M1": "MNIST net", "002-M2": "MBN", "002-C1": "control"}
    records = {"002-M2": [LARGE], **runs}
    return compare.table(titles, records, compare.published(report="002"))


# each with what its alternative text must say
DRAWN = {
    "curves": (
        lambda: figures.curves([SMALL, LARGE]),
        ["38.1 %", "61.0 %", "MBN", "epoch 6", "n = 1"],
    ),
    "curves of one": (lambda: figures.curves(SMALL), ["38.1 %", "test loss 2.40", "report's own"]),
    "curves of seeds": (
        lambda: figures.curves([SMALL, forged("002-M1", 0.39, seed=1)]),
        ["MNIST net: 2 seeds", "final test accuracy 38.1 % to 39.0 %", "n = 2"],
    ),
    "bars": (
        lambda: figures.bars(comparison({"002-M1": [SMALL, forged("002-M1", 0.39, seed=1)]})),
        ["published 38.1 %", "n = 2", "at full 61.0 %"],
    ),
    "cost": (lambda: figures.accuracy_against_cost([SMALL, LARGE]), ["40 min", "61.0 %"]),
    "memory": (lambda: figures.accuracy_against_cost(SMALL, "memory"), ["6.4"]),
    "drops": (
        lambda: figures.drops([stepped("001-E1"), stepped("001-E8", drop=False)]),
        ["before epoch 3;", "no drop;", "best 40.0 % at epoch 2", "30.0 % at epoch 4"],
    ),
    "read off": (
        lambda: figures.read_off(compare.published(report="001"), [stepped("001-E1")]),
        [
            "20.5 % at epoch 8, 21.6 % at epoch 20; training 26.0 % at epoch 20; ours end at 30.0",
            "M4, sets 1+2, rate 1e-3: the report's test 35.4 % at epoch 8, 35.6 % at epoch 20;",
        ],
    ),
    "coarse to fine": (
        lambda: figures.coarse_to_fine(GROUPS),
        ["router to vehicles", "fine model 2 to one of 6 classes"],
    ),
    "origins": (lambda: figures.origins(LARGE, CLASSES, GROUPS), ["all: 61.0 % right,"]),
    "routing": (
        lambda: figures.routing([SYSTEM, LARGE]),
        ["hard 61.0 %, soft 62.0 %, oracle 70.0 %, router alone 80.0 %."],
    ),
    "ablation": (
        lambda: figures.ablation({"log": {1560: 0.5157, 50000: 0.9192}, "ours": {1560: 0.5}}),
        ["51.6 % at 1,560", "91.9 % at 50,000", "ours: 50.0 %"],
    ),
    "schedule": (
        lambda: figures.schedule([0.0, 5e-4, 1e-3, 5e-4, 0.0], 2),
        ["highest 0.001 at epoch 1", "5 steps"],
    ),
    "confusion": (lambda: figures.confusion(LARGE, CLASSES), ["61.0 %", "2,000", "mistaken"]),
    "confusion of groups": (lambda: figures.confusion(LARGE, CLASSES, GROUPS), ["vehicles", "%"]),
    "agreement": (lambda: figures.agreement([SMALL, LARGE]), ["both right 38.1 %", "2,000"]),
    "partition": (lambda: figures.partition(GROUPS), ["vehicles with 4", "10 classes"]),
    "gallery": (
        lambda: figures.gallery(PIXELS, LABELS, GUESSES, CLASSES, "MBN's answers"),
        ["4 of 8", "deer taken for dog", "airplane right"],
    ),
    "gallery of long names": (
        lambda: figures.gallery(PIXELS, LABELS, GUESSES, LONG),
        ["deer, European fire salamander taken for"],
    ),
    "samples": (lambda: figures.samples(fake_data(), 4), ["synthetic", "airplane", "16 × 16"]),
    "augment": (
        lambda: figures.augment_grid(PIXELS, {"set1": 1 - PIXELS / 255.0}),
        ["set1 changes a pixel by", "6 images"],
    ),
    "attention": (
        lambda: figures.attention(
            PIXELS, {"stage 1": np.full((8, 4, 4), 0.5), "2": PIXELS[:, 0] / 255}
        ),
        ["stage 1 4 × 4, mean 0.50", "2 16 × 16"],
    ),
}


@pytest.fixture(scope="module")
def drawn():
    return {name: draw() for name, (draw, _) in DRAWN.items()}


@pytest.mark.parametrize("name", DRAWN)
def test_the_alternative_text_holds_the_numbers(drawn, name):
    text = figures.alt(drawn[name])
    assert len(text) >= 30
    for part in DRAWN[name][1]:
        assert part in text


@pytest.mark.parametrize("name", DRAWN)
def test_the_picture_is_opaque_white_and_not_empty(drawn, name):
    image = Image.open(io.BytesIO(figures.png(drawn[name])))
    pixels = np.asarray(image.convert("RGBA"))
    assert (pixels[..., 3] == 255).all()
    assert (pixels[[0, 0, -1, -1], [0, -1, 0, -1], :3] == 255).all()
    assert 300 < image.width < 1500
    assert (pixels[..., :3] < 128).any()


@pytest.mark.parametrize("name", DRAWN)
def test_no_words_run_into_others(drawn, name, monkeypatch):
    written, pairs = overlaps(drawn[name], monkeypatch)
    assert written
    assert not pairs


def test_no_figure_stays_open_and_no_setting_stays_changed(drawn):
    before = dict(matplotlib.rcParams)
    figures.curves(SMALL)
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


SEEN = forged("002-T2", 0.43, preset="lesson", epochs=100)
OF_RECORDS = {
    "curves": figures.curves,
    "drops": figures.drops,
    "over time": figures.over_time,
    "cost": figures.accuracy_against_cost,
    "routing": lambda r: figures.routing([{**one, "details": ROUTED} for one in r]),
    "origins": lambda r: figures.origins(r, CLASSES, GROUPS),
    "confusion": lambda r: figures.confusion(r, CLASSES),
    "answers": lambda r: figures.answers(r, None, CLASSES, right=True),
    "agreement": lambda r: figures.agreement([*r, {**r[0], "row": "002-M2"}]),
}


def written(figure):
    titles = [axes.get_title(loc) for axes in figure.axes for loc in ("left", "center")]
    return " ".join(" ".join([figure.get_suptitle(), *titles]).split())


@pytest.mark.parametrize("name", OF_RECORDS)
def test_a_figure_says_what_its_records_are(name):
    figure = OF_RECORDS[name]([SEEN])
    assert "seen in class, real CIFAR-100, n = 1" in written(figure)
    assert "seen in class, real CIFAR-100, n = 1" in figures.alt(figure)
    fake = OF_RECORDS[name]([forged(data=SYNTHETIC)])
    assert "synthetic images" in written(fake)
    assert "synthetic images" in figures.alt(fake)


@pytest.mark.parametrize("name", [n for n in OF_RECORDS if n not in ("routing", "agreement")])
def test_a_figure_without_evidence_says_so_in_words(name):
    figure = OF_RECORDS[name](compare.Evidence({"002-M2": ()}))
    assert "No record yet of MBN" in figures.alt(figure)


def test_an_ablation_without_points_says_so_in_words():
    assert "nothing is drawn" in figures.alt(figures.ablation({}, "Ours, no record yet"))


def test_rows_of_several_budgets_are_told_apart():
    text = figures.alt(figures.curves([SMALL, SEEN]))
    assert "MNIST net: training" in text
    assert "(seen in class):" in text


def test_a_legend_has_titles_and_a_colour_for_each_row():
    figure = figures.curves([SMALL, forged("002-M1", 0.39, seed=1), LARGE])
    (legend,) = figure.legends
    texts = [" ".join(text.get_text().split()) for text in legend.texts]
    assert texts[0] == "MNIST net"
    assert not [text for text in texts if "002" in text]
    assert len({line.get_color() for line in figure.axes[0].lines if len(line.get_xdata())}) == 2


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.gallery(PIXELS, LABELS, GUESSES, CLASSES, synthetic=True),
        lambda: figures.augment_grid(PIXELS, {"flip": PIXELS}, synthetic=True),
        lambda: figures.attention(PIXELS, MASKS, synthetic=True),
        lambda: figures.ablation({"ours": {100: 0.5}}, synthetic=True),
    ],
)
def test_pictures_of_bare_arrays_are_marked_on_request(draw):
    assert "(synthetic data)" in figures.alt(draw())


def test_every_mask_is_drawn_in_one_scale():
    pale = {"stage 1": np.full((8, 4, 4), 0.5), "stage 2": np.full((8, 2, 2), 0.52)}
    figure = figures.attention(PIXELS, pale)
    scales = {image.get_clim() for axes in figure.axes[8:-1] for image in axes.images[1:]}
    assert scales == {(0, 1)}


def test_only_results_at_full_stand_beside_published_ones():
    runs = {"002-M1": [forged("002-M1", 0.99, data=SYNTHETIC), {**SEEN, "row": "002-M1"}]}
    figure = figures.bars(comparison(runs))
    assert "99" not in figures.alt(figure)
    assert "43" not in figures.alt(figure)
    assert max(patch.get_width() for patch in figure.axes[0].patches) == pytest.approx(61.0)


def test_no_lesson_is_drawn_beside_points_read_off_a_report():
    runs = [{**SEEN, "row": "001-E1"}, forged("001-E2", 0.99, data=SYNTHETIC)]
    figure = figures.read_off(compare.published(report="001"), runs)
    assert "no record yet" in figures.alt(figure)
    assert "ours end" not in figures.alt(figure)
    assert not [text for text in figure.legends[0].texts if "ours" in text.get_text()]


def test_a_report_without_curves_has_no_points():
    with pytest.raises(ValueError, match="has a point that was read off a curve"):
        figures.read_off(compare.published(report="003"))


def test_no_two_of_many_runs_look_alike():
    figure = figures.accuracy_against_cost([forged(f"003-W{i}", 0.4 + 0.01 * i) for i in range(20)])
    looks = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines}
    assert len(looks) == 20


def test_curves_cope_with_what_a_run_may_lack():
    bare = forged(epochs=1)
    del bare["rows"][0]["val_top1"], bare["rows"][0]["val_loss"]
    assert "validation" not in figures.alt(figures.curves(bare))
    watched = forged()
    for row in watched["rows"]:
        row["test_top1"], row["test_loss"] = row.pop("val_top1"), row.pop("val_loss")
    (legend,) = figures.curves(watched).legends
    assert "test, each epoch" in [text.get_text() for text in legend.texts]
    run = types.SimpleNamespace(record=SMALL)
    assert figures.alt(figures.curves(run)) == figures.alt(figures.curves([SMALL]))


def test_a_system_has_a_line_for_each_of_its_models():
    rows = [row | {"part": part} for part in ("coarse", "fine0") for row in SMALL["rows"]]
    rows = [{k: v for k, v in row.items() if "val" not in k} for row in rows]
    system = {**SMALL, "rows": rows, "test": {**SMALL["test"], "loss": None}}
    figure = figures.curves(system)
    (legend,) = figure.legends
    titles = ["MNIST net: coarse", "MNIST net: fine0", "training", "test, at the end"]
    assert [text.get_text() for text in legend.texts] == titles
    assert "MNIST net as a whole: final test accuracy 38.1 %." in figures.alt(figure)
    assert compare.measure(system, "train_top1") is None
    assert compare.measure(system, "test_loss") is None


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures.curves([]), "no record"),
        (lambda: figures.gallery(PIXELS[:, :1], LABELS, GUESSES, CLASSES), "N, 3, H, W"),
        (lambda: figures.gallery(PIXELS[:0], [], [], CLASSES), "no image to draw"),
        (lambda: figures.accuracy_against_cost(SMALL, "multiply_adds"), "multiply_adds"),
        (lambda: figures.confusion(LARGE, CLASSES, {"some": CLASSES[:3]}), "'cat' is in none"),
        (lambda: figures.bars(comparison({}), "coarse_top1"), "coarse_top1"),
    ],
)
def test_errors_say_what_is_wrong(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
    assert plt.get_fignums() == []


def test_a_missing_seaborn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "seaborn", None)
    with pytest.raises(ImportError, match=r"labkit\[book\]"):
        figures.curves(SMALL)


def test_show_puts_the_text_into_the_output_metadata(monkeypatch):
    shown = {}
    monkeypatch.setattr(
        IPython.display, "display", lambda data, **rest: shown.update(rest, data=data)
    )
    figure = figures.curves(SMALL)
    figures.show(figure)
    assert shown["metadata"] == {"image/png": {"alt": figures.alt(figure)}}
    assert shown["data"]["image/png"].startswith(b"\x89PNG")
    assert shown["data"]["text/plain"] == figures.alt(figure)
    json.dumps(shown["metadata"])


def test_a_loss_that_dwarfs_the_others_gets_a_log_axis():
    def scales(height):
        record = forged("003-W4", 0.4)
        record["rows"][0]["val_loss"] = height
        figure = figures.curves(record)
        return [axes.get_yscale() for axes in figure.axes]

    assert scales(5.0) == ["linear", "linear"]
    assert scales(3410.0) == ["linear", "log"]


def test_importing_figures_imports_neither_torch_nor_seaborn():
    code = (
        "import sys, labkit.figures; print({'torch', 'seaborn', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("right", [True, False])
def test_a_run_without_such_answers_is_told_in_words(right):
    run = forged("002-M1", 0.0 if right else 1.0)
    split = types.SimpleNamespace(images=[], labels=compare.answers(run)[0])
    figure = figures.answers(run, split, CLASSES, right=right)
    assert "none of 2,000 test images" in figures.alt(figure)


def test_answers_are_shown_with_the_images_that_were_scored_only():
    run = forged("002-M1", 0.5)
    labels = compare.answers(run)[0]
    images = np.zeros((len(labels), 3, 8, 8), np.uint8)
    split = types.SimpleNamespace(images=images, labels=labels)
    assert "not at hand" not in figures.alt(figures.answers(run, split, CLASSES, right=True))
    split.labels = labels[::-1]
    for other in (split, None):
        text = figures.alt(figures.answers(run, other, CLASSES, right=True))
        assert "their images are not at hand" in text
        assert "airplane right" in text


def test_agreement_takes_the_first_seeds_that_saw_the_same_images():
    other = forged("002-M2", 0.6, images=1000)
    best = compare.Evidence({"002-M1": [SMALL], "002-M2": [other, LARGE]})
    assert "2,000 test images" in figures.alt(figures.agreement(best))
    apart = compare.Evidence({"002-M1": [SMALL], "002-M2": [other]})
    assert "no two records of the same" in figures.alt(figures.agreement(apart))
    with pytest.raises(ValueError, match="these are 1"):
        figures.agreement([SMALL])
