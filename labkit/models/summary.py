"""The layer table that people know from Keras, and what a network costs."""

from __future__ import annotations

import html
from dataclasses import dataclass

import torch
from torch import nn

__all__ = ["Line", "Summary", "summary"]


@dataclass(frozen=True)
class Line:
    """One layer: where it stands, what it is, what it gives out, what it holds."""

    name: str
    kind: str
    output: tuple[int, ...]  # without the batch
    parameters: int
    multiply_adds: int  # of one image; convolutions and dense layers only


@dataclass(frozen=True)
class Summary:
    """What `summary` counts; printing it gives the table."""

    lines: tuple[Line, ...]
    trainable: int
    non_trainable: int  # the running mean and variance of batch normalisation

    @property
    def parameters(self) -> int:
        """Trainable ones and running statistics together, as Keras counts."""
        return self.trainable + self.non_trainable

    @property
    def multiply_adds(self) -> int:
        """Of one image, forward; training costs about three times as many."""
        return sum(line.multiply_adds for line in self.lines)

    @property
    def megabytes(self) -> float:
        """The parameters in fp32, in units of a million bytes."""
        return 4 * self.parameters / 1e6

    @property
    def report_unit(self) -> float:
        """The trainable parameters in fp32 in report 000's unit, a thousand KiB."""
        return 4 * self.trainable / 1024 / 1000

    def __str__(self) -> str:
        rows = self._cells()
        a, b, c, d = (max(map(len, column)) for column in zip(*rows, strict=True))
        head, *text = [f"{w:<{a}}  {x:<{b}}  {y:>{c}}  {z:>{d}}" for w, x, y, z in rows]
        rule = "-" * len(head)
        return "\n".join([head, rule, *text, rule, *self._totals()])

    def _repr_html_(self) -> str:
        def row(cells: tuple[str, ...], tag: str) -> str:
            return f"<tr>{''.join(f'<{tag}>{html.escape(c)}</{tag}>' for c in cells)}</tr>"

        head, *rows = self._cells()
        body = "".join(row(cells, "td") for cells in rows)
        table = f"<thead>{row(head, 'th')}</thead><tbody>{body}</tbody>"
        foot = "<br>".join(map(html.escape, self._totals()))
        return f'<table class="dataframe">{table}</table><p>{foot}</p>'

    def _cells(self) -> list[tuple[str, str, str, str]]:
        """The table as text: its head, then a row for each line."""
        head = ("layer", "kind", "output", "parameters")
        return [head] + [
            (line.name, line.kind, " x ".join(map(str, line.output)), f"{line.parameters:,}")
            for line in self.lines
        ]

    def _totals(self) -> list[str]:
        return [
            f"parameters {self.parameters:,}: {self.trainable:,} trainable,"
            f" {self.non_trainable:,} running statistics",
            f"{self.multiply_adds / 1e6:,.1f} million multiply-adds an image,"
            f" {self.megabytes:,.1f} MB ({self.report_unit:,.1f} in report 000's unit)",
        ]


def summary(net: nn.Module, shape: tuple[int, int, int], *, depth: int = 0) -> Summary:
    """Follow one image of `shape` (channels, height, width) through the net, layer by layer.

    With `depth` a line is not a layer but a part: depth=1 gives the net's own children, depth=2
    theirs as well, and so on; the counts of a part are those of its layers.
    """
    lines: list[Line] = []
    names = {module: name for name, module in net.named_modules() if not list(module.children())}

    def note(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        parameters = sum(p.numel() for p in module.parameters()) + _statistics(module)
        kind, shape = type(module).__name__, tuple(output.shape[1:])
        adds = _multiply_adds(module, output)
        lines.append(Line(names[module], kind, shape, parameters, adds))

    hooks = [module.register_forward_hook(note) for module in names]
    training = {module for module in net.modules() if module.training}
    parameter = next(net.parameters())
    try:
        with torch.inference_mode():
            net.eval()(torch.zeros(1, *shape, device=parameter.device, dtype=parameter.dtype))
    finally:
        for module in net.modules():
            module.training = module in training
        for hook in hooks:
            hook.remove()
    trainable = sum(p.numel() for p in net.parameters() if p.requires_grad)
    parts = _parts(lines, net, depth) if depth else lines
    return Summary(tuple(parts), trainable, _statistics(net))


def _parts(lines: list[Line], net: nn.Module, depth: int) -> list[Line]:
    """One line for each part of the net at `depth`, in the order in which they begin."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(".".join(line.name.split(".")[:depth]), []).append(line)
    modules = dict(net.named_modules())
    return [
        Line(name, type(modules[name]).__name__, group[-1].output,
             sum(line.parameters for line in group), sum(line.multiply_adds for line in group))
        for name, group in groups.items()
    ]  # fmt: skip


def _multiply_adds(module: nn.Module, output: torch.Tensor) -> int:
    if not isinstance(module, (nn.Conv2d, nn.Linear)):
        return 0
    return output[0].numel() * module.weight[0].numel()  # weight[0] holds one group's channels


def _statistics(module: nn.Module) -> int:
    named = module.named_buffers()
    return sum(b.numel() for name, b in named if name.endswith(("running_mean", "running_var")))
