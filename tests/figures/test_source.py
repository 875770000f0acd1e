"""The source of a network is shown as it is, without its card."""

import pytest

from labkit import figures
from labkit.models import MODELS, simplenet
from labkit.models.attention import Attention


def test_the_source_of_a_family_is_its_own_without_the_docstring():
    shown = figures.source(MODELS["mnist_net"].family)
    assert shown.code.startswith("def mnist_net(classes: int")
    assert '"""' not in shown.code
    assert "nn.Conv2d(channels, 32, 3)," in shown.code
    assert shown._repr_markdown_() == f"```python\n{shown.code}\n```"
    compile(shown.code, "mnist_net", "exec")


def test_what_belongs_to_it_is_shown_after_it():
    shown = figures.source(MODELS["mbn"].family, "cnn", "_cnn_stage").code
    assert shown.index("def mbn(") < shown.index("def cnn(") < shown.index("def _cnn_stage(")
    with pytest.raises(ValueError, match=r"labkit\.models\.plain, where mbn is from, has no 'cmn'"):
        figures.source(MODELS["mbn"].family, "cmn")


def test_a_constant_is_shown_with_its_value():
    shown = figures.source(MODELS["simplenet"].family, "GROUPS").code
    text = shown[shown.index("\nGROUPS = (") :]
    assert eval(text.partition("=")[2]) == simplenet.GROUPS


def test_a_class_is_shown_with_its_methods():
    shown = figures.source(Attention).code
    assert '"""' not in shown
    assert "def forward(" in shown
    compile(shown, "Attention", "exec")
