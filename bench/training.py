"""``python -m bench.training``: what gradients and the auxiliary network cost a training loop.

Three tables, each of times from one run in which all contestants took turns:

- one image a call: the compiled core alone (its outputs allocated before), the public function,
  the same while a gradient is recorded, and the operation as torch.compile calls it;
- forward and backward over a batch, next to the same formula in torch, eager and compiled;
- a training step of a stacked hourglass with and without the auxiliary network and its loss.

Answers and gradients are compared first. ``--device cuda`` measures the last two on a GPU, where
``nll_loss`` is a torch formula; ``score`` has kernels for the CPU only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

import vl4pose
from bench.heatmaps import synthetic_heatmaps
from bench.machine import cpu_name
from bench.rounds import Call, Time, interleaved
from vl4pose import _core, _torch_formulas
from vl4pose._options import check_options, core_options
from vl4pose.losses import nll_loss
from vl4pose.nn import AuxiliaryNet, StackedHourglass

SKELETON = vl4pose.get_skeleton("mpii")
J, L = SKELETON.num_joints, SKELETON.num_links
LINKS = list(SKELETON._flat_links)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.training", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--device", default="cpu", help="of losses and training steps")
    parser.add_argument("--batch", type=int, default=256, help="images of the second table")
    parser.add_argument("--step-batch", type=int, default=8, help="images of a training step")
    parser.add_argument("--channels", type=int, default=64, help="of the hourglass")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each table")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    console = Console()
    console.print(f"{cpu_name()}, torch {torch.__version__}, {torch.get_num_threads()} threads")

    def show(title: str, calls: Mapping[str, Call], per: int) -> None:
        console.print(table(title, interleaved(calls, arguments.seconds), per))

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    show("One image a call: microseconds", calls_of_one_image(), 1)
    batch, device = arguments.batch, arguments.device
    show(f"Scores of {batch} images, one thread: microseconds an image", scores(batch), batch)
    show(f"Loss of {batch} poses on {device}: microseconds a pose", losses(batch, device), batch)
    torch.set_num_threads(threads)
    size, channels = arguments.step_batch, arguments.channels
    title = (
        f"Training step, {size} images of 256 x 256, hourglass of {channels} channels on {device}"
    )
    show(f"{title}: microseconds an image", training_steps(size, channels, device), size)


def table(title: str, times: Mapping[str, Time], per: int) -> Table:
    """Return times, and their ratios to the first."""
    result = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("", "median", "ratio", "spread"):
        result.add_column(name, justify="left" if not name else "right")
    first = next(iter(times.values())).median
    for name, time in times.items():
        median = f"{time.median / per * 1e6:,.2f}"
        result.add_row(name, median, f"{time.median / first:.2f}", f"{time.spread:.0%}")
    return result


def heatmaps_and_params(batch: int) -> tuple[Tensor, Tensor]:
    heatmaps = torch.from_numpy(synthetic_heatmaps(min(batch, 64), J, 64, 64))
    repeats = -(-batch // len(heatmaps))
    params = torch.stack([torch.rand(batch, L) * 20, torch.rand(batch, L) * 3], -1)
    return heatmaps.repeat(repeats, 1, 1, 1)[:batch].contiguous(), params


def calls_of_one_image() -> dict[str, Call]:
    """Return the ways to one score, from the least to the most that torch is told of it."""
    heatmaps, params = heatmaps_and_params(1)
    with_grad = params.clone().requires_grad_()
    options = core_options(check_options())
    outputs = [torch.empty(1)]
    names = ["score", "xy", "values", "count"]
    checked = check_options()

    def core() -> object:
        return _core.score(heatmaps, params, SKELETON._tree, options, ("score",), outputs, 1)

    def operation(given: Tensor) -> Callable[[], Tensor]:
        arguments = (heatmaps, given, LINKS, *checked, 1, names)
        return lambda: torch.ops.vl4pose.analyze.default(*arguments)[0]

    core()
    for found in (vl4pose.score(heatmaps, with_grad), operation(params)()):
        torch.testing.assert_close(found.detach(), outputs[0], rtol=0, atol=0)
    return {
        "core, outputs allocated": core,
        "vl4pose.score": lambda: vl4pose.score(heatmaps, params),
        "vl4pose.score, gradient recorded": lambda: vl4pose.score(heatmaps, with_grad),
        "and backward": lambda: vl4pose.score(heatmaps, with_grad).backward(torch.ones(1)),
        "torch.ops.vl4pose.analyze": operation(params),
    }


def scores(batch: int) -> dict[str, Call]:
    """Return score alone, and with its gradients."""
    heatmaps, params = heatmaps_and_params(batch)
    maps, links = heatmaps.clone().requires_grad_(), params.clone().requires_grad_()

    def backward(method: str, *wanted: Tensor) -> Call:
        given = [
            next((tensor for tensor in wanted if tensor.shape == plain.shape), plain)
            for plain in (heatmaps, params)
        ]
        return lambda: torch.autograd.grad(vl4pose.score(*given, method=method).sum(), wanted)

    calls: dict[str, Call] = {"score": lambda: vl4pose.score(heatmaps, params)}
    for method in ("expected", "marginal", "max"):
        calls[f"{method}: and gradient by params"] = backward(method, links)
    calls["expected: and gradient by heatmaps and params"] = backward("expected", maps, links)
    return calls


def losses(batch: int, device: str) -> dict[str, Call]:
    """Return forward and backward of nll_loss, as it is and as a formula."""
    _, params = heatmaps_and_params(batch)
    params = params.to(device).requires_grad_()
    keypoints = (torch.rand(batch, J, 2) * 64).to(device)
    visible = (torch.rand(batch, J) < 0.9).to(device)

    def formula() -> Tensor:
        ell = _torch_formulas.pose_log_likelihood(keypoints, params, visible, LINKS, True)
        counted = visible[:, LINKS[::2]] & visible[:, LINKS[1::2]]
        return -ell.sum() / counted.sum().clamp(min=1)

    def step(loss: Callable[[], Tensor]) -> Call:
        return lambda: torch.autograd.grad(loss(), params)

    def ours() -> Tensor:
        return nll_loss(params, keypoints, skeleton=SKELETON, visible=visible)

    calls = {
        "nll_loss": step(ours),
        "nll_loss under torch.compile": step(torch.compile(ours, fullgraph=True)),
        "torch formula": step(formula),
        "torch formula under torch.compile": step(torch.compile(formula, fullgraph=True)),
    }
    expected = calls["nll_loss"]()
    for call in calls.values():
        torch.testing.assert_close(call(), expected, rtol=1e-4, atol=1e-7)
    return calls


def training_steps(batch: int, channels: int, device: str) -> dict[str, Call]:
    """Return a step of a pose network alone, and with the auxiliary network beside it."""
    pose = StackedHourglass(J, 2, channels).to(device)
    aux = AuxiliaryNet(channels, L).to(device)
    images = torch.rand(batch, 3, 256, 256, device=device)
    targets = torch.rand(batch, 2, J, 64, 64, device=device)
    keypoints = torch.rand(batch, J, 2, device=device) * 64
    of_pose = torch.optim.Adam(pose.parameters())
    of_both = torch.optim.Adam([*pose.parameters(), *aux.parameters()])

    def alone() -> None:
        heatmaps, _ = pose(images)
        update(of_pose, functional.mse_loss(heatmaps, targets))

    def together() -> None:
        heatmaps, features = pose(images)
        loss = nll_loss(aux(features), keypoints, skeleton=SKELETON)
        update(of_both, functional.mse_loss(heatmaps, targets) + loss)

    def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()

    return {"pose network": alone, "with the auxiliary network": together}


if __name__ == "__main__":
    main()
