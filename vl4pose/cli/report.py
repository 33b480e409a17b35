"""``vl4pose report``: a table of scores as one page for a person who decides what to label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from vl4pose._file_identity import file_identity
from vl4pose.cli.checks import (
    check_file,
    check_images,
    check_out,
    check_trust,
    parse_device,
)
from vl4pose.cli.errors import (
    RunError,
    UsageError,
    naming_options,
    needing_extras,
    network_reason,
    printable,
)
from vl4pose.cli.options import report as opt
from vl4pose.cli.options import shared
from vl4pose.cli.score_files import read_table
from vl4pose.pool.errors import NetworkError

if TYPE_CHECKING:
    from vl4pose.score_table import ScoreTable
    from vl4pose.scorer import Scorer

__all__ = ["report"]

_SHOWN = 5
_NAMES = ("image", "person_id")
_WORK = ("making pictures", "making pictures and heatmaps")


def report(
    scores: opt.Scores,
    out: opt.Out,
    selection: opt.Selection = None,
    images: opt.ImagesDir = None,
    num_pictures: opt.NumPictures = 24,
    num_selected: opt.NumSelected = 100,
    max_image_size: opt.MaxImageSize = 512,
    num_rows: opt.NumRows = 10_000,
    pose: opt.Pose = None,
    trust: shared.Trust = False,
    device: shared.Device = "cpu",
) -> None:
    """Check the command line, read the tables, write the page and say what is in it."""
    check_out(out, ".html")
    if images is not None:
        images = check_images(images)
    if pose is not None:
        check_file("--pose", pose)
        check_trust(trust)
    with needing_extras():
        from vl4pose.report import write_report
        from vl4pose.score_table import SCHEMA
    table = read_table("SCORES", scores, [name for name in SCHEMA.names if name != "embedding"])
    chosen = None if selection is None else read_table("--selection", selection, _NAMES)
    scorer = None if pose is None else _scorer(pose, table, device)
    try:
        with naming_options("selection"), Console(stderr=True).status(_WORK[pose is not None]):
            summary = write_report(
                out,
                table,
                chosen,
                name=Path(scores).name,
                images=images,
                scorer=scorer,
                num_pictures=num_pictures,
                num_selected=num_selected,
                max_image_size=max_image_size,
                num_rows=num_rows,
            )
    except OSError as error:
        raise RunError(f"cannot write '{out}': {error.strerror or error}") from error
    except NetworkError as error:
        raise RunError(str(error)) from error
    console = Console()

    def say(text: str) -> None:
        console.print(Text(printable(text)), soft_wrap=True)

    say(
        f"{summary.num_rows:,} of {len(table):,} rows, {summary.num_pictures:,} pictures, "
        f"heatmaps of {summary.num_heatmaps:,} people"
    )
    for why, names in _by_reason(summary.missing).items():
        say(f"{len(names):,} without a picture: {why}")
        for name in names[:_SHOWN]:
            say(f"  {name}")
        if len(names) > _SHOWN:
            say("  ...")
    if summary.changed:
        first = ", ".join(summary.changed[:_SHOWN])
        say(f"heatmaps that are not those that were scored: {len(summary.changed):,}, of {first}")
    if images is None and summary.missing and summary.num_pictures == 0:
        say("say where the images are with --images")
    say(f"written to {out} ({summary.num_bytes / 1e6:.1f} MB)")


def _by_reason(missing: list[tuple[str, str]]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for name, why in missing:
        reasons.setdefault(why, []).append(name)
    return reasons


def _scorer(pose: Path, table: ScoreTable, device: str) -> Scorer:
    """Return a scorer with the network that the table was scored with; its bones do not matter."""
    import numpy as np

    recorded = table.metadata.get("models", {}).get("pose")
    if recorded is not None and recorded["sha256"] != file_identity(pose)["sha256"]:
        raise UsageError(
            f"--pose must be the network that SCORES come from, '{recorded['file']}' "
            f"(SHA-256 {recorded['sha256'][:12]}...), got another: '{pose}'"
        )
    with needing_extras():
        from vl4pose.scorer import Scorer
    with naming_options("pose"):
        try:
            return Scorer(
                pose,
                None,
                table.skeleton,
                params=np.zeros((table.skeleton.num_links, 2)),
                trust=True,
                device=parse_device(device),
            )
        except RuntimeError as error:  # of what this torch cannot do
            raise RunError(network_reason(error)) from error
