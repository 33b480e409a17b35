"""The command line of selections: options, errors, the summary and the file."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("torch")  # of the other commands
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from made_scores import made_scores, save_file, save_folder  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import vl4pose  # noqa: E402
from vl4pose._sentences import reason  # noqa: E402
from vl4pose.cli.app import app  # noqa: E402
from vl4pose.pool.manifest import MANIFEST, Manifest  # noqa: E402
from vl4pose.score_table import ScoreTable, read_scores  # noqa: E402

POOL = made_scores(40, failed=(3, 17))


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    return save_file(POOL, tmp_path / "scores.parquet")


def invoke(*args: object) -> Any:
    runner = CliRunner(env={"COLUMNS": "100", "TERM": "dumb"})
    return runner.invoke(app, ["select", *map(str, args)])


def run(*args: object) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def error(*args: object) -> str:
    result = invoke(*args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr.partition("\n")[0].removeprefix("Error: ")


def test_the_file_is_that_of_the_python_call(scores: Path, tmp_path: Path) -> None:
    out = tmp_path / "selection.parquet"
    output = run(scores, "--budget", 7, "--out", out)
    written = read_scores(out)
    assert written.rows.equals(vl4pose.select(POOL, 7).to_table().rows)
    assert written.metadata == vl4pose.select(POOL, 7).to_table().metadata
    assert "rows selectable selected 40 38 7" in output
    assert "2 have no score to rank by: they failed, or were not finite" in output
    first = written.rows.slice(0, 1).to_pylist()[0]
    assert f"1 {first['image']} {first['reasons']}" in output
    assert "Percentages are of the pool itself" in output
    assert output.endswith(f"written to {out}")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "scores.parquet",
        "selection.parquet",
    ]


def test_all_options_at_once(scores: Path, tmp_path: Path) -> None:
    labelled = save_file(POOL.take([0, 11]), tmp_path / "labelled.parquet")
    validation = made_scores(30, seed=5)
    reference = save_file(validation, tmp_path / "validation.parquet")
    out = tmp_path / "selection.parquet"
    output = run(
        *(scores, "--budget", 6, "--out", out, "--strategy", "likelihood+entropy"),
        *("--random-share", 0.34, "--seed", 5, "--diversity", "k-center", "--shortlist", 20),
        *("--labelled", labelled, "--min-separation", 0.5, "--min-gap", 2),
        *("--group-by", "name", "--order-by", "name", "--reference", reference),
        *("--num-threads", 1),
    )
    expected = vl4pose.select(
        POOL,
        6,
        strategy="likelihood+entropy",
        random_share=0.34,
        seed=5,
        diversity="k-centre",
        shortlist=20,
        labelled=POOL.take([0, 11]),
        min_separation=0.5,
        min_gap=2,
        groups="name",
        order="name",
        reference=validation,
    )
    written = read_scores(out)
    assert written.rows.equals(expected.to_table().rows)
    assert written.metadata["selection"]["reference"] == {
        "kind": "reference",
        "file": str(reference),
        "rows": 30,
    }
    assert "4 that differ most, of the 20 first" in output
    assert "2 at random from all that are selectable" in output
    assert "2 are labelled already" in output
    assert "Percentages are of the pool" not in output


def test_frames_are_grouped_by_folder_and_ordered_by_name(scores: Path, tmp_path: Path) -> None:
    out = tmp_path / "selection.parquet"
    output = run(scores, "--budget", 10, "--out", out, "--min-gap", 3)
    expected = vl4pose.select(POOL, 10, groups="folder", order="name", min_gap=3)
    assert read_scores(out).rows.equals(expected.to_table().rows)
    number = expected.counts["gap"]
    assert f"{number} closer than --min-gap 3 to a chosen or labelled frame" in output


def test_too_few_rows_are_said_and_written(scores: Path, tmp_path: Path) -> None:
    out = tmp_path / "selection.parquet"
    output = run(scores, "--budget", 38, "--out", out, "--min-gap", 4)
    number = len(read_scores(out))
    assert 8 <= number <= 12
    assert f"only {number} of 38 rows could be chosen: --min-gap leaves {38 - number} too few" in (
        output
    )


def test_embeddings_of_what_is_labelled_as_npy(scores: Path, tmp_path: Path) -> None:
    known = np.random.default_rng(0).normal(size=(9, 6))
    np.save(tmp_path / "known.npy", known)
    out = tmp_path / "selection.parquet"
    options = ["--budget", 5, "--out", out, "--diversity", "k-centre"]
    run(scores, *options, "--labelled", tmp_path / "known.npy")
    expected = vl4pose.select(POOL, 5, diversity="k-centre", labelled=known)
    assert read_scores(out).rows["image"].equals(expected.to_table().rows["image"])


def test_labels_of_other_images_are_said_to_be_of_others(scores: Path, tmp_path: Path) -> None:
    elsewhere = made_scores(40, source={"kind": "folder", "root": "/moved/photos"})
    options = ("--budget", 3, "--out", tmp_path / "selection.parquet", "--labelled")
    output = run(scores, *options, save_file(elsewhere.take([0, 11]), tmp_path / "other.parquet"))
    assert (
        "0 of the 2 people of --labelled: their images are in /moved/photos, those of SCORES in "
        "/photos"
    ) in output
    unknown = made_scores(1, images=["x.jpg"])
    output = run(scores, *options, save_file(unknown, tmp_path / "unknown.parquet"))
    assert "0 of the 1 people of --labelled to annotate first" in output
    output = run(scores, *options, save_file(POOL.take([0, 11]), tmp_path / "known.parquet"))
    assert "people of --labelled" not in output
    assert "2 are labelled already" in output


def test_a_column_from_its_lowest_value(scores: Path, tmp_path: Path) -> None:
    out = tmp_path / "selection.parquet"
    output = run(
        *(scores, "--budget", 5, "--out", out, "--strategy", "column:log_prob", "--lowest-first")
    )
    values = read_scores(out).numbers("log_prob")
    assert values.tolist() == np.sort(POOL.numbers("log_prob"))[:5].tolist()
    assert "chosen, by log_prob, lowest first" in output


def test_names_of_images_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    hostile = made_scores(2, images=["\x1b[2Ja.jpg", "[red]b[/red].jpg"])
    scores = save_file(hostile, tmp_path / "scores.parquet")
    output = run(scores, "--budget", 2, "--out", tmp_path / "selection.parquet")
    assert "\x1b" not in output
    assert "\\x1b[2Ja.jpg" in output
    assert "[red]b[/red].jpg" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget", "39"], "--budget must be between 0 and the selectable rows (38), got 39"),
        (["--budget", "-1"], "--budget must be between 0 and the selectable rows (38), got -1"),
        (["--budget", "many"], "--budget must be a whole number, got 'many'"),
        (["--out", "selection.csv"], "--out must end in .parquet, got 'selection.csv'"),
        (["--strategy", "entropi"], "(did you mean 'entropy'?), got 'entropi'"),
        (["--strategy", "column:scor"], "SCORES must have the column 'scor' of numbers, got"),
        (["--lowest-first"], "--lowest-first must be left out with strategy 'likelihood'"),
        (["--diversity", "kcentr"], "--diversity must be one of none, k-centre (did you mean"),
        (["--shortlist", "9"], "--shortlist must go with --diversity 'k-centre', got 9"),
        (["--group-by", "folder"], "--min-gap must be given with --group-by, got 'folder' without"),
        (["--order-by", "name"], "--min-gap must be given with --order-by, got 'name' without it"),
        (["--min-gap", "2", "--group-by", "foldr"], "--group-by must be one of folder, name, "),
        (["--min-gap", "2", "--order-by", "nam"], "--order-by must be one of name, width, "),
        (["--min-gap", "-2"], "--min-gap must be at least 0 and finite, got -2"),
        (["--min-gap", "inf"], "--min-gap must be finite, got inf"),
        (["--random-share", "10"], "--random-share must be between 0 and 1, got 10"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
        (["--reference", "nothere.parquet"], "--reference must exist, got 'nothere.parquet'"),
        (["--labelled", "known.npy"], "--labelled must exist, got 'known.npy'"),
        (["--divrsity", "k-centre"], "No such option: --divrsity (did you mean --diversity?)"),
    ],
)
def test_errors_name_the_option(
    scores: Path, tmp_path: Path, options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = error(scores, "--budget", 3, "--out", "selection.parquet", *options)
    assert message in given
    assert not Path("selection.parquet").exists()


def test_files_that_are_no_tables(scores: Path, tmp_path: Path) -> None:
    out = tmp_path / "selection.parquet"
    options = ["--budget", 3, "--out", out]
    assert "(did you mean 'scores.parquet'?)" in error(tmp_path / "score.parquet", *options)
    text = tmp_path / "text.parquet"
    text.write_text("no table")
    assert error(text, *options).startswith("SCORES must be a table of vl4pose score: ")
    assert error(scores, *options, "--reference", text).startswith("--reference must be a table")
    bare = tmp_path / "bare.parquet"
    pq.write_table(pa.table({"score": [1.0]}), bare)
    assert error(bare, *options) == (
        "SCORES must be a table of vl4pose score, got a Parquet file without its settings"
    )
    (tmp_path / "known.npy").write_bytes(b"no array")
    message = error(scores, *options, "--labelled", tmp_path / "known.npy")
    assert message.startswith("--labelled: cannot read ")
    assert error(scores, "--budget", 3, "--out", scores) == (
        f"--out must be another file than SCORES, got '{scores}'"
    )
    known = save_file(POOL.take([0, 11]), tmp_path / "known.parquet")
    for option in ("--labelled", "--reference"):
        assert error(scores, "--budget", 3, "--out", known, option, known) == (
            f"--out must be another file than {option}, got '{known}'"
        )
    assert len(read_scores(scores)) == 40
    assert len(read_scores(known)) == 2


def test_without_embeddings_there_is_no_diversity(tmp_path: Path) -> None:
    scores = save_file(made_scores(5, embedding_size=None), tmp_path / "scores.parquet")
    out = tmp_path / "selection.parquet"
    message = error(scores, "--budget", 3, "--out", out, "--diversity", "k-centre")
    assert "--embeddings" in message


def test_a_full_disk_is_said_to_be_where_the_file_should_be(
    scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    result = invoke(scores, "--budget", 3, "--out", tmp_path / "selection.parquet")
    assert result.exit_code == 1
    assert result.stderr == f"Error: '{tmp_path}/selection.parquet': No space left on device\n"


def test_what_pyarrow_says_of_files_is_told_in_the_words_of_the_system() -> None:
    with pytest.raises(OSError, match="Detail") as caught:
        pq.ParquetWriter("nowhere/scores.parquet", pa.schema([]))
    assert reason(caught.value) == "No such file or directory"


@pytest.mark.parametrize("command", ["select", "report", "export", "import"])
def test_tables_that_lack_something_are_refused_by_every_command(
    command: str, tmp_path: Path
) -> None:
    few = tmp_path / "few.parquet"
    (tmp_path / "annotated.csv").write_text("image\n")
    args = {
        "select": [few, "--budget", 3, "--out", tmp_path / "out.parquet"],
        "report": [few, "--out", tmp_path / "out.html"],
        "export": [few, "--format", "coco", "--out", tmp_path / "out.json"],
        "import": [tmp_path / "annotated.csv", "--selection", few, "--out", tmp_path / "out.json"],
    }

    def message(table: ScoreTable) -> str:
        save_file(table, few)
        result = CliRunner().invoke(app, [command, *map(str, args[command])])
        assert result.exit_code == 2, result.output
        return str(result.stderr.partition("\n")[0])

    assert "image" in message(ScoreTable(POOL.rows.select(["score", "person_id"]), POOL.metadata))
    other = message(ScoreTable(POOL.rows, [1]))  # type: ignore[arg-type]
    assert other.endswith(
        "must be a table of vl4pose score, got a Parquet file with other settings"
    )
    if command != "select":
        for name in ("skeleton", "source"):
            told = {key: value for key, value in POOL.metadata.items() if key != name}
            assert f" must say its {name} as " in message(ScoreTable(POOL.rows, told))
    assert not list(tmp_path.glob("out.*"))


def test_a_folder_that_is_not_finished_is_to_be_resumed(tmp_path: Path) -> None:
    folder = save_folder(POOL, tmp_path / "scores", shard_rows=7)
    manifest = Manifest.from_bytes((folder / MANIFEST).read_bytes())
    del manifest.entries[2]
    (folder / MANIFEST).write_bytes(manifest.to_bytes())
    sentence = "must be complete, got 33 of 40 rows: finish it with vl4pose score --resume"
    assert error(folder, "--budget", 3, "--out", tmp_path / "x.parquet") == f"SCORES {sentence}"
    with pytest.raises(ValueError, match=f"{sentence}, or read it with partial=True$"):
        read_scores(folder)
