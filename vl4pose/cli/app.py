"""The commands, and how their errors are shown."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from vl4pose import __version__
from vl4pose.cli.demo import demo
from vl4pose.cli.doctor import doctor
from vl4pose.cli.errors import RunError, Stopped, printable, stoppable
from vl4pose.cli.export import export
from vl4pose.cli.fit import fit
from vl4pose.cli.import_annotations import import_annotations
from vl4pose.cli.report import report
from vl4pose.cli.score import score
from vl4pose.cli.select import select
from vl4pose.cli.simulate import simulate

__all__ = ["app"]

# typer brings its own copy of click or uses the one installed, depending on its version; this is
# its base of all errors about the command line in either case.
_ClickUsageError: Any = typer.BadParameter.__base__


class _PlainHelp:
    """Help without the type of a flag and, around names, without braces."""

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)  # type: ignore[misc]
        option.metavar = ""
        return option

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        pieces = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return [piece.replace("{", "").replace("}", "") for piece in pieces]


class _Command(_PlainHelp, TyperCommand):
    pass


class _Commands(_PlainHelp, TyperGroup):
    """A group that shows every error as one sentence on stderr, without a frame around it."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # file names hold anything
        try:
            with stoppable():
                options = {**extra, "standalone_mode": False}
                code = super().main(given or ["--help"], *rest, **options)
        except Stopped as stop:
            typer.echo(f"{_with_notes(stop)}.", err=True)
            sys.exit(stop.exit_code)
        except RunError as error:
            _show(_with_notes(error))
            sys.exit(1)
        except OSError as error:
            where = "" if error.filename is None else f"'{error.filename}': "
            _show(f"{where}{error.strerror or error}")
            sys.exit(1)
        except _ClickUsageError as error:
            path = error.ctx.command_path if error.ctx else "vl4pose"
            _show(_sentence(error), f"Try '{path} --help'.")
            sys.exit(2)
        sys.exit(code or 0)


def _with_notes(error: BaseException) -> str:
    return ": ".join([str(error), *getattr(error, "__notes__", ())])


def _sentence(error: Any) -> str:
    near = getattr(error, "possibilities", None)  # options, the nearest first
    if near:
        return f"{error.message} (did you mean {near[0]}?)"
    return str(error.format_message())


def _show(message: str, hint: str | None = None) -> None:
    lines = "\n".join(printable(line) for line in message.splitlines())
    typer.echo(typer.style("Error: ", fg="red", bold=True) + lines, err=True)
    if hint:
        typer.echo(hint, err=True)


app = typer.Typer(
    name="vl4pose",
    cls=_Commands,
    help="Which images are worth annotating: likelihood scores and refined poses from a pose "
    "network's heatmaps.",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vl4pose {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            help="Print the version.",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    pass


app.command(
    cls=_Command,
    help="Score images by how likely each pose is, given what the networks know about bodies.\n\n"
    "Low scores are the images worth annotating. Every person becomes one row of a Parquet table: "
    "score, its terms per link, entropy, keypoints in image pixels before and after refinement, "
    "status. Bits of the status: 1 a map without a peak, 2 link parameters clamped, 4 link "
    "parameters not finite, 8 heatmaps not finite. Images are turned upright by their EXIF "
    "orientation, and one that cannot be read becomes a row with its error. The settings are "
    "stored with the scores: pyarrow.parquet.read_schema(FILE).metadata\\[b'vl4pose'].\n\n"
    "A folder as --out is for large pools: a run that is stopped at whatever moment goes on with "
    "--resume, and ends with the same bytes.",
    epilog="[bold]Examples[/bold]\n\n"
    "vl4pose score photos --pose pose.pt --params bones.json --skeleton lsp "
    "--out scores.parquet --trust\n\n"
    "vl4pose score 'photos/**/*.jpg' --pose pose.pt --aux aux.pt --skeleton mpii "
    "--out scores.parquet --trust\n\n"
    "vl4pose score s3://bucket/photos --pose pose.pt --aux aux.pt --skeleton mpii --out scores "
    "--resume --trust\n\n"
    "vl4pose score s3://bucket/photos --pose pose.pt --aux aux.pt --skeleton mpii --device cuda "
    "--engine ray --ray-address auto --ray-gpus 0.5 --out scores --resume --trust\n\n"
    "vl4pose score people.json --images photos --fit crop --input-size 192x256 --scale 255 "
    "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --heatmap-align centers "
    "--pose pose.pt2 --params bones.json --skeleton coco --out scores.parquet --trust",
)(score)
app.command(
    cls=_Command,
    help="Train the auxiliary network, which predicts the bones that an image lets one expect.\n\n"
    "It is trained on the features of a frozen pose network, or together with one "
    "(--train-pose), and compared with bones of constant length. A run that is stopped goes on "
    "where it was when the same command is given again.",
    epilog="[bold]Examples[/bold]\n\n"
    "vl4pose fit joints.mat --images photos --pose pose.pt --skeleton lsp "
    "--out aux.safetensors --trust\n\n"
    "vl4pose fit people.json --images photos --train-pose --skeleton coco "
    "--fit crop --input-size 192x256 --out aux.safetensors --device cuda --amp\n\n"
    "torchrun --nproc-per-node 2 -m vl4pose fit joints.mat --images photos --pose pose.pt "
    "--skeleton lsp --out aux.safetensors --trust",
)(fit)
app.command(
    cls=_Command,
    help="Choose the rows of a table of scores that are worth annotating, and say why.\n\n"
    "Every chosen row says where it ranks, how its score compares with those of a reference set, "
    "which bones, joints and left/right pairs stand out, and all of it in a sentence. Rows without "
    "a score are never chosen.",
    epilog="[bold]Examples[/bold]\n\n"
    "vl4pose select scores.parquet --budget 1000 --out selection.parquet\n\n"
    "vl4pose select scores.parquet --budget 1000 --strategy likelihood+entropy --diversity "
    "k-centre --random-share 0.1 --reference validation.parquet --out selection.parquet\n\n"
    "vl4pose select frames.parquet --budget 200 --min-gap 25 --group-by folder --order-by name "
    "--out selection.parquet",
)(select)
app.command(
    cls=_Command,
    help="Put a selection into an annotation tool, with the predicted poses to correct.\n\n"
    "People are written in order of priority, with their refined poses, the skeleton with its "
    "joints' names, and why they were chosen. Who has no pose is written as an image without one.",
    epilog="[bold]Examples[/bold]\n\n"
    "vl4pose export selection.parquet --format cvat --out to-cvat\n\n"
    "vl4pose export selection.parquet --format label-studio --url-prefix s3://bucket/photos/ "
    "--out to-label-studio\n\n"
    "vl4pose export selection.parquet --format deeplabcut --copy-images --out to-deeplabcut",
)(export)
app.command(
    "import",
    cls=_Command,
    help="Take what people annotated back, as training data for vl4pose fit.\n\n"
    "Joints and images go by name. A hidden joint stays one (flag 1), and a joint that nobody "
    "annotated is none (flag 0).",
    epilog="[bold]Examples[/bold]\n\n"
    "vl4pose import annotations.xml --selection selection.parquet --out training.json\n\n"
    "vl4pose import project-1.json --selection selection.parquet --merge earlier.json "
    "--out training.json\n\n"
    "vl4pose import labels.slp --skeleton mouse.json --images frames --out training.json",
)(import_annotations)
app.command(
    cls=_Command,
    help="Find out which strategy saves labels, on a dataset that has them all.\n\n"
    "Annotation is simulated: for each strategy and seed, a pose network is trained on the "
    "labelled images and measured, the strategy chooses the next ones, and their labels are "
    "revealed, cycle after cycle. All strategies of a seed share start set and training seed, so "
    "that their differences are paired. A run that is stopped, at whatever moment, goes on when "
    "the same command is given again; it may be given on several machines at the same time.",
    epilog="[bold]Examples[/bold]\n\n"
    "vl4pose simulate --example > simulation.toml\n\n"
    "vl4pose simulate simulation.toml --estimate\n\n"
    "vl4pose simulate simulation.toml --out simulation --time-limit 8min\n\n"
    "vl4pose simulate simulation.toml --device cuda --processes 4\n\n"
    "torchrun --nproc-per-node 4 -m vl4pose simulate simulation.toml --device cuda",
)(simulate)
app.command(
    cls=_Command,
    help="See all of it at work in about two minutes, without data.\n\n"
    "Draws people, trains a pose network and its auxiliary network on them, scores and refines "
    "pictures that it held out, says how well the scores tell those that are wrong or out of "
    "distribution, and makes a contact sheet of the least and the most likely poses.",
)(demo)
app.command(
    cls=_Command,
    help="Make one page about scores, for a person who decides what to label.\n\n"
    "The distribution of the scores with the selection in it, the least and the most likely poses "
    "as pictures with the bones' z-scores and expected lengths, and a table to sort and filter. "
    "The page is one file: it needs neither a server nor a network, and holds the pictures itself.",
    epilog="[bold]Examples[/bold]\n\n"
    "vl4pose report scores.parquet --out report.html\n\n"
    "vl4pose report scores.parquet --selection selection.parquet --pose pose.pt --trust "
    "--out report.html",
)(report)
app.command(cls=_Command)(doctor)
