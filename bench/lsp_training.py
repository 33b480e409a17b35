"""``python -m bench.lsp_training``: what a trained auxiliary network is worth on real photographs.

The network of `bench.lsp` is frozen, and ``vl4pose fit`` trains an auxiliary network for it on the
images 1 to 1000 of Leeds Sports Pose, a tenth of which it validates on; once for each seed. On the
images 1001 to 2000 the tables then say how likely the true bones are, how accurate refined poses
are, and how well various scores tell how wrong the argmax pose is. Takes about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

try:
    import numpy as np
    import numpy.typing as npt
    import torch
    from PIL import Image
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from scipy.stats import rankdata
    from torch import Tensor

    import vl4pose
    from bench import lsp
    from vl4pose.image_transform import ImageTransform
    from vl4pose.losses import nll_loss
    from vl4pose.nn import AuxiliaryNet, StackedHourglass, fit_peak_variance, load
except ModuleNotFoundError as error:
    if __name__ != "__main__":
        raise
    package = str(error.name).partition(".")[0]
    sys.exit(f"bench.lsp_training: {package} is not installed: pip install -e '.[bench]'")

FloatArray = npt.NDArray[np.float64]

TEMPERATURES = (0.5, 1.0, 2.0, 5.0)
THRESHOLDS = (0.2, 0.5)  # of the torso
METHODS = ("expected", "max", "marginal")
CONSTANT, LEARNED = "constant bones", "auxiliary network"
ARGMAX = "argmax"
ENTROPY, CONFIDENCE = "Multi-Peak Entropy", "1 - mean confidence"
BOTH = "max at T = 1 + entropy"  # the sum of their ranks
BATCH_SIZE = 4
RESULTS = Path(__file__).parent / "results" / "lsp_training.json"


def main() -> None:
    """Train, evaluate, print the tables and save the figures."""
    arguments = parse()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            figures = measure(arguments, folder)
        except subprocess.CalledProcessError as error:
            sys.exit(error.returncode)  # the command line has said what is wrong
    console = Console()
    for table in tables(figures):
        console.print(table)
    for sentence in conclusions(figures):
        console.print(sentence, soft_wrap=True, highlight=False)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    console.print(f"all figures are in {arguments.json}", soft_wrap=True, highlight=False)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = lsp.Parser(
        prog="python -m bench.lsp_training",
        description="Train auxiliary networks for real photographs and say what they are worth.",
        allow_abbrev=False,
    )
    lsp.add_data_argument(parser)
    parser.add_argument("--seeds", type=positive, default=3, metavar="N", help="how many runs")
    parser.add_argument(
        "--num-peaks", type=positive, default=5, metavar="K", help="peaks kept of a joint"
    )
    parser.add_argument(
        "--limit",
        type=lsp.image_count,
        default=len(lsp.TEST),
        metavar="N",
        help="the first N images of the training and of the test set only",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="keep the networks there, and use those that an earlier run has left",
    )
    parser.add_argument(
        "--json", type=Path, default=RESULTS, metavar="FILE", help="where the figures go"
    )
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a positive whole number, got {text!r}")
    return int(text)


class Bones(NamedTuple):
    """Params (N, L, 2) of the test images, and the temperature and peak variance that fit them."""

    params: Tensor
    temperature: float
    variance: float

    def widened(self) -> Tensor:
        """Return params with the variance of peaks in them."""
        length, log_variance = self.params.unbind(-1)
        variance = torch.tensor(self.variance)
        return torch.stack([length, torch.logaddexp(log_variance, variance.log())], dim=-1)


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return all figures, each as a list over the seeds."""
    data, limit = arguments.data, arguments.limit
    pose = folder / "pose.pt"
    if not pose.exists():
        lsp.convert(data / "lsp_hourglass32.pth", pose)
    networks = [
        trained(data, folder, seed, limit, arguments.num_peaks) for seed in range(arguments.seeds)
    ]
    hourglass = StackedHourglass.from_released(data / "lsp_hourglass32.pth").eval()
    test = Poses(data, lsp.TEST[:limit], hourglass, [load_aux(path) for path in networks])
    learned = [
        Bones(params, **peaks_of(path)) for params, path in zip(test.params, networks, strict=True)
    ]
    training = Poses(data, lsp.TRAINING[:limit:5], hourglass, [])
    constant_params = torch.from_numpy(lsp.fit_bones(data)).float()
    fit = fit_peak_variance(
        training.heatmaps,
        constant_params,
        training.truth,
        skeleton="lsp",
        num_peaks=arguments.num_peaks,
    )
    constant = Bones(constant_params.expand(limit, -1, -1), fit.temperature, fit.variance)
    all_bones = {CONSTANT: [constant], LEARNED: learned}
    return {
        "seeds": arguments.seeds,
        "images": limit,
        "num_peaks": arguments.num_peaks,
        "peaks": {
            name: [{"temperature": b.temperature, "variance": b.variance} for b in bones]
            for name, bones in all_bones.items()
        },
        "nll": {
            name: [nll_loss(b.params, test.truth, skeleton="lsp").item() for b in bones]
            for name, bones in all_bones.items()
        },
        **evaluate(test, all_bones, arguments.num_peaks),
    }


def trained(data: Path, folder: Path, seed: int, limit: int, num_peaks: int) -> Path:
    """Return the file of an auxiliary network, which ``vl4pose fit`` makes if it is not there."""
    out = folder / f"aux{seed}.safetensors"
    if not out.exists():
        program = Path(sysconfig.get_path("scripts")) / "vl4pose"
        annotations = ["fit", str(data / "lsp" / "joints.mat"), "--limit", str(limit)]
        images = ["--images", str(data / "lsp" / "images"), "--skeleton", "lsp"]
        pose = ["--pose", str(folder / "pose.pt"), "--trust", "--num-peaks", str(num_peaks)]
        output = ["--seed", str(seed), "--out", str(out)]
        subprocess.run([str(program), *annotations, *images, *pose, *output], check=True)
    return out


def load_aux(path: Path) -> AuxiliaryNet:
    aux = load(path)
    assert isinstance(aux, AuxiliaryNet)
    return aux.eval()


def peaks_of(path: Path) -> dict[str, float]:
    """Return temperature and variance of the peaks, from the report beside the network."""
    peaks = json.loads(path.with_suffix(".report.json").read_text())["peaks"]
    if peaks is None:  # of very few images
        return {"temperature": 1.0, "variance": 0.0}
    return {name: peaks[name] for name in ("temperature", "variance")}


class Poses:
    """Images through the pose network: heatmaps, params of auxiliary networks, and the truth."""

    def __init__(
        self,
        data: Path,
        numbers: Sequence[int],
        hourglass: StackedHourglass,
        networks: Sequence[AuxiliaryNet],
    ) -> None:
        transform = ImageTransform()
        inputs, truth = [], []
        annotations = lsp.load_annotations(data)
        for number in numbers:
            with Image.open(lsp.image_path(data, number)) as image:
                pixels, placement = transform.apply(image.convert("RGB"))
            inputs.append(torch.from_numpy(pixels))
            joints = annotations[number - 1]
            truth.append(transform.image_to_heatmap(joints, lsp.HEATMAP_SIZE, placement))
        self.truth = torch.from_numpy(np.stack(truth)).float()
        heatmaps: list[Tensor] = []
        params: list[list[Tensor]] = [[] for _ in networks]
        with torch.inference_mode():
            for batch in torch.split(torch.stack(inputs), BATCH_SIZE):
                maps, features = hourglass(batch)
                heatmaps.append(maps[:, -1])
                for rows, network in zip(params, networks, strict=True):
                    rows.append(network(features))
        self.heatmaps = torch.cat(heatmaps)
        self.params = [torch.cat(rows) for rows in params]

    @cached_property
    def argmax_errors(self) -> FloatArray:
        """Of the highest peaks: (N, 14)."""
        return self.errors(vl4pose.decode(self.heatmaps).keypoints)

    def errors(self, keypoints: Tensor) -> FloatArray:
        """Return (N, 14): distances from the truth in torsos."""
        return lsp.joint_errors(keypoints.double().numpy(), self.truth.double().numpy())


def evaluate(
    test: Poses, all_bones: dict[str, list[Bones]], num_peaks: int
) -> dict[str, dict[str, Any]]:
    """Return PCK and the worth of the rankings: by row, by temperature, a list over the seeds."""
    tables: dict[str, dict[str, Any]] = {}

    def add(table: str, row: str, column: str, figure: float) -> None:
        tables.setdefault(table, {}).setdefault(row, {}).setdefault(column, []).append(figure)

    for row, column, errors in refinements(test, all_bones, num_peaks):
        for threshold in THRESHOLDS:
            add(f"PCK@{threshold:g}", row, column, lsp.pck(errors, threshold))
    for row, column, suspicion in rankings(test, all_bones, num_peaks):
        add("Spearman", row, column, lsp.spearman(suspicion, test.argmax_errors))
        add("AUROC", row, column, lsp.auroc(suspicion, test.argmax_errors))
    return tables


Columns = Iterator[tuple[str, str, FloatArray]]


def refinements(test: Poses, all_bones: dict[str, list[Bones]], num_peaks: int) -> Columns:
    """Yield (row, column, errors) of poses."""
    for name, runs in all_bones.items():
        for bones in runs:
            for column, temperature in temperatures(bones):
                if name == CONSTANT:  # once
                    yield ARGMAX, column, test.argmax_errors
                for row, params in allowances(name, bones):
                    refined = vl4pose.refine(
                        test.heatmaps,
                        params,
                        skeleton="lsp",
                        num_peaks=num_peaks,
                        temperature=temperature,
                    )
                    yield row, column, test.errors(refined.keypoints)


def rankings(test: Poses, all_bones: dict[str, list[Bones]], num_peaks: int) -> Columns:
    """Yield (row, column, suspicion): high where the argmax pose should be wrong."""
    confidence = array(vl4pose.decode(test.heatmaps).confidence).mean(axis=1)

    def suspicion(params: Tensor, method: str, temperature: float) -> FloatArray:
        score = vl4pose.score(
            test.heatmaps,
            params,
            skeleton="lsp",
            num_peaks=num_peaks,
            method=method,
            temperature=temperature,
        )
        return -array(score)

    for name, runs in all_bones.items():
        for bones in runs:
            likelihood = suspicion(bones.params, "max", 1.0)
            for column, temperature in temperatures(bones):
                for row, params in allowances(name, bones):
                    for method in METHODS:
                        yield f"{method}: {row}", column, suspicion(params, method, temperature)
                entropy = array(
                    vl4pose.multi_peak_entropy(
                        test.heatmaps, num_peaks=num_peaks, temperature=temperature
                    )
                )
                yield f"{BOTH}: {name}", column, rankdata(likelihood) + rankdata(entropy)
                if name == LEARNED:
                    yield ENTROPY, column, entropy
                    yield CONFIDENCE, column, 1 - confidence


def temperatures(bones: Bones) -> Iterator[tuple[str, float]]:
    """Yield the columns of the tables, and what they stand for."""
    for temperature in TEMPERATURES:
        yield f"T = {temperature:g}", temperature
    yield "T fitted", bones.temperature


def allowances(name: str, bones: Bones) -> Iterator[tuple[str, Tensor]]:
    """Yield the rows of the tables with and without a variance of peaks."""
    yield name, bones.params
    yield f"{name}, allowing for peaks", bones.widened()


def array(values: Tensor) -> FloatArray:
    return values.double().numpy()


def tables(figures: dict[str, Any]) -> Iterator[Table]:
    """Yield what is shown: mean over the seeds, and their standard deviation if it is seen."""
    table = figure_table("Negative log-likelihood of the true bones, nats per bone", "NLL")
    for row, values in figures["nll"].items():
        table.add_row(row, cell(values))
    yield table
    titles = {
        **{f"PCK@{threshold:g}": "Accuracy of poses" for threshold in THRESHOLDS},
        "Spearman": "Rank correlation with the mean error of the argmax pose",
        "AUROC": f"Telling poses with {lsp.MANY_WRONG} or more joints {lsp.WRONG:g} torso away",
    }
    for name, title in titles.items():
        rows = figures[name]
        table = figure_table(f"{name}: {title}", *next(iter(rows.values())))
        best = max(np.mean(values) for cells in rows.values() for values in cells.values())
        for row, cells in rows.items():
            table.add_row(
                row, *(cell(values, np.mean(values) == best) for values in cells.values())
            )
        yield table


def figure_table(title: str, *headings: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column()
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def cell(values: Sequence[float], is_best: bool = False) -> str:
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    text = f"{np.mean(values):.3f}"
    if deviation >= 5e-4:
        text += f" ±{deviation:.3f}".replace("±0.", "±.")
    return f"[bold]{text}[/bold]" if is_best else text


def conclusions(figures: dict[str, Any]) -> Iterator[str]:
    """Yield in words what is best, and whether refining ever does harm."""
    for name in ("Spearman", "AUROC"):
        row, column = max(
            ((row, column) for row, cells in figures[name].items() for column in cells),
            key=lambda key: np.mean(figures[name][key[0]][key[1]]),
        )
        yield f"Best by {name}: {row}, {column}."
    for row in figures["PCK@0.2"]:
        if row == ARGMAX:
            continue
        harmed = [
            f"{name} at {column}"
            for name in (f"PCK@{threshold:g}" for threshold in THRESHOLDS)
            for column, values in figures[name][row].items()
            if min(values) < figures[name][ARGMAX][column][0]
        ]
        yield f"Refining with {row} lowers {', '.join(harmed) or 'no PCK at any temperature'}."


if __name__ == "__main__":
    main()
