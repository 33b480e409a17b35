"""``python -m bench.lsp_cycle``: from a folder of photographs to an annotation tool, and back.

The network of `bench.lsp` is frozen. An auxiliary network is trained on the first images of Leeds
Sports Pose, and the others of its training half are scored with it, together with pictures of fruit
flies. A selection goes to two annotation tools. A stand-in for a person corrects the poses there by
the published annotations, and finds nobody in the flies. The result is read back from either tool,
and the auxiliary network is trained again. All of it goes through the command line, whose commands
are printed. The table at the end says what was found and, on the images 1001 to 2000, what that was
worth, beside as many images that were drawn at random.

The data folder (``--data`` or VL4POSE_TEST_DATA) is that of `bench.lsp`, with ``fly/fly001.png ...
fly100.png`` beside it. Takes about five minutes.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

try:
    import numpy as np
    import numpy.typing as npt
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from bench import lsp
    from bench.lsp_training import Poses, load_aux, positive
    from vl4pose.demo.evaluation import auroc, joint_errors
    from vl4pose.losses import nll_loss
    from vl4pose.nn import StackedHourglass
    from vl4pose.score_table import ScoreTable, read_scores
    from vl4pose.skeleton import get_skeleton
except ModuleNotFoundError as error:
    if __name__ != "__main__":
        raise
    package = str(error.name).partition(".")[0]
    sys.exit(f"bench.lsp_cycle: {package} is not installed: pip install -e '.[bench]'")

FloatArray = npt.NDArray[np.float64]
Run = Callable[..., None]  # of a command of vl4pose, with its arguments

JOINTS = get_skeleton("lsp").joints
RESULTS = Path(__file__).parent / "results" / "lsp_cycle.json"


def main() -> None:
    """Go through the cycle, print what it found and save the figures."""
    arguments = parse()
    console = Console()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            figures = Cycle(arguments, folder, run_program).figures()
        except subprocess.CalledProcessError as error:
            sys.exit(error.returncode)  # the command line has said what is wrong
    console.print(table_of(figures))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    console.print(f"all figures are in {arguments.json}", soft_wrap=True, highlight=False)
    if arguments.keep:
        console.print(f"the report is {folder / 'report.html'}", soft_wrap=True, highlight=False)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = lsp.Parser(
        prog="python -m bench.lsp_cycle",
        description="Train, score, select, annotate in two tools, read back, and train again.",
        allow_abbrev=False,
    )
    lsp.add_data_argument(parser)
    parser.add_argument(
        "--training", type=positive, default=300, metavar="N", help="images to begin with"
    )
    parser.add_argument(
        "--pool", type=positive, default=700, metavar="N", help="photographs to choose from"
    )
    parser.add_argument(
        "--flies", type=positive, default=100, metavar="N", help="pictures of flies among them"
    )
    parser.add_argument("--budget", type=positive, default=100, metavar="N", help="how many")
    parser.add_argument(
        "--test", type=lsp.image_count, default=1000, metavar="N", help="images to evaluate on"
    )
    parser.add_argument(
        "--epochs", type=positive, default=30, metavar="N", help="of each training, at most"
    )
    parser.add_argument(
        "--strategy",
        default="likelihood",
        metavar="NAME",
        help="by what vl4pose select ranks (default: likelihood)",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep all files there")
    parser.add_argument(
        "--json", type=Path, default=RESULTS, metavar="FILE", help="where the figures go"
    )
    parsed = parser.parse_args(arguments)
    if parsed.training + parsed.pool > len(lsp.TRAINING):
        parser.error(f"--training and --pool must be {len(lsp.TRAINING)} together at most")
    if not (parsed.data / "fly").is_dir():
        parser.error(f"--data must hold fly, got '{parsed.data}' without it")
    return parsed


def run_program(*arguments: str | Path) -> None:
    """Run a command as a user would, and show it."""
    words = ["vl4pose", *map(str, arguments)]
    print(f"\n$ {shown(words)}", flush=True)
    program = Path(sysconfig.get_path("scripts")) / "vl4pose"
    subprocess.run([str(program), *words[1:]], check=True)


def shown(words: Sequence[str]) -> str:
    """Return a command line, of which many images are not all shown."""
    images = [word for word in words if word.endswith((".jpg", ".png"))]
    if len(images) > 2:
        first = words.index(images[0])
        words = [*words[: first + 1], "...", *words[first + len(images) - 1 :]]
    return shlex.join(words).replace("'...'", "...")


@dataclass
class Cycle:
    """One round, in a folder: every step leaves its files there."""

    arguments: argparse.Namespace
    folder: Path
    run: Run

    def figures(self) -> dict[str, Any]:
        """Go through all steps, and return what is worth telling."""
        self.lay_out_images()
        first, second, by_chance = (
            self.folder / "first",
            self.folder / "second",
            self.folder / "random",
        )
        self.fit(self.data / "lsp" / "joints.mat", first, "--limit", str(self.arguments.training))
        scores = self.score(first)
        selection = self.select()
        back = [self.annotate_in_cvat(), self.annotate_in_label_studio()]
        self.fit(back[0], second)
        self.run(
            *("report", self.folder / "scores", "--selection", self.folder / "selection.parquet"),
            *("--out", self.folder / "report.html"),
        )
        annotated = self.people_of(back[0])
        drawn = self.fit_random(len(annotated) - self.arguments.training, by_chance)
        return {
            "settings": {
                name: getattr(self.arguments, name)
                for name in ("training", "pool", "flies", "budget", "test", "epochs", "strategy")
            },
            "selection": self.found(scores, selection),
            "difference_of_tools_px": largest_difference(*map(self.people_of, back)),
            "training_people": {"second": len(annotated), "random": drawn},
            "nll": self.nll({"first": first, "second": second, "random": by_chance}),
        }

    def __post_init__(self) -> None:
        self.data: Path = self.arguments.data
        self.images = self.folder / "images"
        annotations = lsp.load_annotations(self.data)
        # The published joints (14, 2) in pixels, of every photograph.
        self.truth = {f"im{i:04d}.jpg": joints for i, joints in enumerate(annotations, start=1)}

    def pool(self) -> list[Path]:
        """Return the images to choose from: photographs, then flies."""
        first = self.arguments.training + 1
        photographs = [
            self.images / f"im{number:04d}.jpg"
            for number in range(first, first + self.arguments.pool)
        ]
        return photographs + sorted(self.images.glob("fly*.png"))

    def lay_out_images(self) -> None:
        """Put photographs and flies into one folder, as links, and the pose network beside it."""
        self.images.mkdir(exist_ok=True)
        photographs = [lsp.image_path(self.data, number) for number in lsp.TRAINING]
        flies = sorted((self.data / "fly").glob("fly*.png"))[: self.arguments.flies]
        for path in photographs + flies:
            (self.images / path.name).symlink_to(path.resolve())
        lsp.convert(self.data / "lsp_hourglass32.pth", self.folder / "pose.pt")

    def fit(self, annotations: Path, out: Path, *more: str) -> None:
        """Train an auxiliary network."""
        self.run(
            *("fit", annotations, "--images", self.images, "--pose", self.folder / "pose.pt"),
            *("--skeleton", "lsp", "--out", out.with_suffix(".safetensors")),
            *("--epochs", str(self.arguments.epochs), "--trust", *more),
        )

    def score(self, aux: Path) -> ScoreTable:
        """Score the pool into a folder of shards."""
        out = self.folder / "scores"
        self.run(
            *("score", *self.pool(), "--pose", self.folder / "pose.pt"),
            *("--aux", aux.with_suffix(".pt"), "--skeleton", "lsp", "--embeddings"),
            *("--out", out, "--shard-rows", "256", "--trust"),
        )
        return read_scores(out)

    def select(self) -> ScoreTable:
        """Choose what to annotate."""
        out = self.folder / "selection.parquet"
        self.run(
            *("select", self.folder / "scores", "--budget", str(self.arguments.budget)),
            *("--strategy", self.arguments.strategy, "--out", out),
        )
        return read_scores(out)

    def annotate_in_cvat(self) -> Path:
        """Export to CVAT, correct the poses in what CVAT would hold, and read its export back."""
        out = self.folder / "cvat"
        self.export("cvat", out)
        document = ElementTree.parse(out / "annotations.xml")
        for image in document.iter("image"):
            name = image.get("name", "")
            for skeleton in image.findall("skeleton"):
                if name.startswith("fly"):
                    image.remove(skeleton)
                    continue
                truth = dict(zip(JOINTS, self.truth[name], strict=True))
                for point in skeleton.findall("points"):
                    x, y = truth[point.get("label", "")] + 0.5  # counted from the corner
                    point.set("points", f"{x:.4f},{y:.4f}")
        document.write(self.folder / "cvat.xml", encoding="utf-8", xml_declaration=True)
        return self.take_back("cvat", self.folder / "cvat.xml")

    def annotate_in_label_studio(self) -> Path:
        """Do the same with Label Studio, where corrected predictions are submitted."""
        out = self.folder / "label-studio"
        self.export("label-studio", out)
        tasks = json.loads((out / "tasks.json").read_text())
        for number, task in enumerate(tasks, start=1):
            name = task["data"]["image_name"]
            results = [region for part in task["predictions"] for region in part["result"]]
            if name.startswith("fly"):
                results = []
            for region in results:
                joint = JOINTS.index(region["value"]["keypointlabels"][0])
                x, y = 100 * (self.truth[name][joint] + 0.5)
                region["value"]["x"] = x / region["original_width"]
                region["value"]["y"] = y / region["original_height"]
                region["origin"] = "prediction-changed"
            task["id"] = number
            task["annotations"] = [{"id": number, "was_cancelled": False, "result": results}]
        exported = self.folder / "label-studio.json"
        exported.write_text(json.dumps(tasks))
        return self.take_back("label-studio", exported)

    def export(self, tool: str, out: Path) -> None:
        """Write what goes into a tool."""
        selection = self.folder / "selection.parquet"
        self.run("export", selection, "--format", tool, "--out", out)

    def take_back(self, tool: str, exported: Path) -> Path:
        """Join what a tool exported with what was annotated before."""
        training = self.folder / f"training-{tool}.json"
        self.run(
            *("import", exported, "--selection", self.folder / "selection.parquet"),
            *("--merge", self.data / "lsp" / "joints.mat"),
            *("--merge-limit", str(self.arguments.training), "--out", training),
        )
        return training

    def fit_random(self, number: int, out: Path) -> int:
        """Train on the first images and as many others, drawn from the photographs of the pool."""
        photographs = [path.name for path in self.pool() if path.suffix == ".jpg"]
        drawn = np.random.default_rng(0).choice(photographs, number, replace=False).tolist()
        first = [f"im{number:04d}.jpg" for number in range(1, self.arguments.training + 1)]
        header = ["image", *(f"{joint}_{axis}" for joint in JOINTS for axis in "xy")]
        rows = [
            [name, *(f"{value:.4f}" for value in self.truth[name].ravel())]
            for name in [*first, *sorted(drawn)]
        ]
        annotations = out.with_suffix(".csv")
        annotations.write_text("".join(",".join(row) + "\n" for row in [header, *rows]))
        self.fit(annotations, out)
        return len(rows)

    def people_of(self, training: Path) -> dict[str, FloatArray]:
        """Return the joints (14, 2) of each image of COCO training data, by name."""
        data = json.loads(training.read_text())
        names = {image["id"]: image["file_name"] for image in data["images"]}
        order = [data["categories"][0]["keypoints"].index(joint) for joint in JOINTS]
        return {
            names[person["image_id"]]: np.reshape(person["keypoints"], (-1, 3))[order, :2]
            for person in data["annotations"]
        }

    def found(self, scores: ScoreTable, selection: ScoreTable) -> dict[str, float]:
        """Return of what kind the chosen images are, beside those of the pool."""

        def of_people(table: ScoreTable) -> tuple[list[str], FloatArray]:
            names = table.rows["image"].to_pylist()
            people = [i for i, name in enumerate(names) if name in self.truth]
            truth = [self.truth[names[i]] for i in people]
            errors = joint_errors(table.arrays("keypoints")[people], np.reshape(truth, (-1, 14, 2)))
            return names, errors

        names, pool_errors = of_people(scores)
        chosen, chosen_errors = of_people(selection)
        is_fly = np.array([name not in self.truth for name in names])
        return {
            "selected": len(chosen),
            "flies_selected": len(chosen) - len(chosen_errors),
            "flies": int(is_fly.sum()),
            "auroc_of_flies": auroc(-scores.numbers("score"), is_fly, ~is_fly),
            "error_selected": float(chosen_errors.mean()) if len(chosen_errors) else float("nan"),
            "error_pool": float(pool_errors.mean()),
        }

    def nll(self, networks: dict[str, Path]) -> dict[str, float]:
        """Return the negative log-likelihood of the true bones of the test images."""
        hourglass = StackedHourglass.from_released(self.data / "lsp_hourglass32.pth").eval()
        auxiliary = [load_aux(path.with_suffix(".safetensors")) for path in networks.values()]
        test = Poses(self.data, lsp.TEST[: self.arguments.test], hourglass, auxiliary)
        return {
            name: nll_loss(params, test.truth, skeleton="lsp").item()
            for name, params in zip(networks, test.params, strict=True)
        }


def largest_difference(one: dict[str, FloatArray], other: dict[str, FloatArray]) -> float:
    """Return by how many pixels a joint differs at most; the images must be the same."""
    if one.keys() != other.keys():
        raise ValueError(f"images must be the same, got {sorted(one.keys() ^ other.keys())}")
    return max(float(np.abs(joints - other[name]).max()) for name, joints in one.items())


def table_of(figures: dict[str, Any]) -> Table:
    found, nll, people = figures["selection"], figures["nll"], figures["training_people"]
    table = Table(title="What the cycle found", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    for row, value in (
        ("selected", f"{found['selected']}"),
        ("  of these flies, of those in the pool", f"{found['flies_selected']}/{found['flies']}"),
        ("AUROC: flies have lower scores than people", f"{found['auroc_of_flies']:.3f}"),
        ("error of selected people's joints, torsos", f"{found['error_selected']:.3f}"),
        ("  of all people's in the pool", f"{found['error_pool']:.3f}"),
        ("two tools differ by at most, pixels", f"{figures['difference_of_tools_px']:.1e}"),
        (f"NLL of test bones, {figures['settings']['training']} people", f"{nll['first']:.3f}"),
        (f"  with the annotated ones, {people['second']}", f"{nll['second']:.3f}"),
        (f"  with as many random ones, {people['random']}", f"{nll['random']:.3f}"),
    ):
        table.add_row(row, value)
    return table


if __name__ == "__main__":
    main()
