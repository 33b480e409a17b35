"""Files of networks: the same network comes back, and nothing but one is ever accepted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vl4pose.nn import AuxiliaryNet, DeepPrior, StackedHourglass, load, load_metadata, save

safetensors_torch = pytest.importorskip(
    "safetensors.torch", reason="needs safetensors: pip install 'vl4pose[torch]'"
)


def auxiliary() -> AuxiliaryNet:
    params = [[float(link), 1.0] for link in range(3)]
    return AuxiliaryNet([4, 6], 3, strides=[2, 4], width=5, params=params)


NETWORKS: list[Callable[[], nn.Module]] = [
    auxiliary,
    lambda: AuxiliaryNet(4, 2, num_scales=2, extractor="pool", variant="paper"),
    lambda: AuxiliaryNet(4, 2, num_scales=1, head="offset", dimensions=3),
    lambda: DeepPrior(3, num_blocks=1, hidden_size=8),
    lambda: StackedHourglass(3, 1, 4),
]


def randomized(network: nn.Module) -> nn.Module:
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5)
        else:
            tensor.fill_(7)
    return network


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_same_network_comes_back(
    make: Callable[[], nn.Module], dtype: torch.dtype, tmp_path: Path
) -> None:
    network = randomized(make()).to(dtype)
    save(network, tmp_path / "network.safetensors")
    loaded = load(str(tmp_path / "network.safetensors"))
    assert type(loaded) is type(network)
    assert loaded.arguments == network.arguments
    assert not any(module.training for module in loaded.modules())
    assert all(p.requires_grad for p in loaded.parameters())
    expected, got = network.state_dict(), loaded.state_dict()
    assert list(got) == list(expected)
    for name, tensor in expected.items():
        assert got[name].dtype == tensor.dtype, name
        assert torch.equal(got[name], tensor), name


def test_a_loaded_network_computes_and_trains(tmp_path: Path) -> None:
    network = randomized(auxiliary()).eval()
    path = tmp_path / "aux.safetensors"
    save(network, path)
    loaded = load(path)
    os.truncate(path, 100)  # which a mapped file would not survive
    features = [torch.rand(2, 4, 8, 8), torch.rand(2, 6, 4, 4)]
    torch.testing.assert_close(loaded(features), network(features), rtol=0, atol=0)
    loaded.train()(features).square().mean().backward()
    torch.optim.SGD(loaded.parameters(), 0.1).step()


def test_metadata(tmp_path: Path) -> None:
    path = tmp_path / "aux.safetensors"
    metadata = {"skeleton": "lsp", "epochs": 3, "training": {"images": ["é", None, True, 0.5]}}
    save(auxiliary(), path, metadata)
    assert load_metadata(path) == metadata
    save(auxiliary(), path)
    assert load_metadata(path) == {}


def test_a_file_is_the_same_each_time(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = auxiliary()
    for name in ("a", "b"):
        save(network, tmp_path / name, {"seed": 0})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_other_readers_see_plain_weights(tmp_path: Path) -> None:
    network = auxiliary()
    save(network, tmp_path / "aux.safetensors")
    weights = safetensors_torch.load_file(tmp_path / "aux.safetensors")
    assert weights.keys() == network.state_dict().keys()


def test_no_second_copy_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "aux.safetensors"
    save(auxiliary(), path, {"first": True})

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as context:
        context.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            save(auxiliary(), path)
    assert [p.name for p in tmp_path.iterdir()] == ["aux.safetensors"]
    assert load_metadata(path) == {"first": True}


def test_a_killed_process_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "aux.safetensors"
    program = (
        "import itertools, sys, torch\n"
        "from vl4pose.nn import AuxiliaryNet, save\n"
        "network = AuxiliaryNet(64)\n"
        "for i in itertools.count():\n"
        "    save(network, sys.argv[1], {'i': i})\n"
        "    print(i, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert isinstance(load(path), AuxiliaryNet)
    assert load_metadata(path)["i"] >= 2


def test_symbolic_links_are_followed(tmp_path: Path) -> None:
    link = tmp_path / "link.safetensors"
    link.symlink_to("target.safetensors")
    save(auxiliary(), link)
    assert link.is_symlink()
    assert isinstance(load(tmp_path / "target.safetensors"), AuxiliaryNet)


# What cannot be saved


class Child(AuxiliaryNet):
    """Its name is not in the table."""


@pytest.mark.parametrize(
    ("network", "got"),
    [
        (nn.Linear(1, 1), "Linear"),
        (Child(4, 2), "Child"),
        (nn.DataParallel(AuxiliaryNet(4, 2)), "DataParallel: pass its .module"),
        (
            torch.compile(AuxiliaryNet(4, 2), backend="eager"),
            "OptimizedModule: pass its ._orig_mod",
        ),
    ],
)
def test_other_modules(network: Any, got: str, tmp_path: Path) -> None:
    message = f"network must be one of AuxiliaryNet, DeepPrior, StackedHourglass, got {got}"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        save(network, tmp_path / "network.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("metadata", [{"a": {1, 2}}, {"a": float("nan")}, {(1, 2): 3}, [1]])
def test_metadata_that_is_none(metadata: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^metadata must be a mapping that JSON can hold, got "):
        save(auxiliary(), tmp_path / "network.safetensors", metadata)
    assert not list(tmp_path.iterdir())


# What cannot be loaded


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    save(auxiliary(), tmp_path / "good.safetensors", {"skeleton": "lsp"})
    return (tmp_path / "good.safetensors").read_bytes()


def rejection(content: bytes, folder: Path) -> str:
    """Return what is said of a file, by both functions that read it if both refuse it."""
    path = folder / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} must be ") as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "Traceback" not in message
    return message.removeprefix(f"{path} must be ")


@pytest.mark.parametrize("of", [0, 1, 7, 8, 100, 0.5, -1])
def test_truncated_files(content: bytes, of: float, tmp_path: Path) -> None:
    end = int(of * len(content)) if isinstance(of, float) else of
    assert rejection(content[:end], tmp_path).startswith("an intact safetensors file: ")


def test_longer_files(content: bytes, tmp_path: Path) -> None:
    assert rejection(content + b"\0", tmp_path).startswith("an intact safetensors file: ")


def test_files_of_another_kind(tmp_path: Path) -> None:
    intact = "an intact safetensors file: "
    assert rejection(b"no network at all", tmp_path).startswith(intact)
    torch.save(auxiliary().state_dict(), tmp_path / "weights.pt")
    assert rejection((tmp_path / "weights.pt").read_bytes(), tmp_path).startswith(intact)
    plain = safetensors_torch.save(auxiliary().state_dict())
    assert rejection(plain, tmp_path) == (
        "a network that vl4pose.nn.save wrote: the header's metadata must have the key 'vl4pose'"
    )


def test_missing_files(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        for function in (load, load_metadata):
            message = f"path must be an existing file, got '{path}'"
            with pytest.raises(FileNotFoundError, match=f"^{re.escape(message)}$"):
                function(path)


def rewritten(
    content: bytes, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], Any]
) -> bytes:
    """Return a file with its description or its weights changed."""
    size = int.from_bytes(content[:8], "little")
    description = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["vl4pose"])
    weights = safetensors_torch.load(content)
    text = change(description, weights)
    if not isinstance(text, str):
        text = json.dumps(description)
    return safetensors_torch.save(weights, {"vl4pose": text})


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, w: "", "Expecting value: line 1"),
        (lambda d, w: "[]", "'vl4pose' must be an object, got list"),
        (lambda d, w: nested(100_000), "maximum recursion depth"),
        (lambda d, w: '{"format": NaN}', "numbers must be finite, got NaN"),
        (lambda d, w: '{"format": 1, "format": 1}', "keys must be there once each, got 'format'"),
        (lambda d, w: d.pop("class") and None, "'class' must be of type str, got None"),
        (lambda d, w: d.update(format=2), "'format' must be 1, got 2"),
        (lambda d, w: d.update(format=True), "'format' must be of type int, got True"),
        (lambda d, w: d.update(metadata=[]), "'metadata' must be of type dict, got []"),
        (
            lambda d, w: d.update({"class": "os.system"}),
            "'class' must be one of AuxiliaryNet, DeepPrior, StackedHourglass, got 'os.system'",
        ),
        (
            lambda d, w: d.update({"class": "AuxilaryNet"}),
            "'class' must be one of AuxiliaryNet, DeepPrior, StackedHourglass (did you mean "
            "'AuxiliaryNet'?), got 'AuxilaryNet'",
        ),
        (
            lambda d, w: d.update({"class": "StackedHourglass"}),
            "argument must be one of num_joints, num_stacks, channels (did you mean "
            "'num_joints'?), got 'num_links'",
        ),
        (lambda d, w: d["arguments"].update(shell="ls"), "argument must be one of channels, "),
        (lambda d, w: d["arguments"].update(params=[[1, 1]] * 3), "argument must be one of cha"),
        (lambda d, w: d["arguments"].update(channels=10**9), "channels must be between 1 and 65"),
        (lambda d, w: d["arguments"].update(channels=[4] * 65), "channels must be one per scale"),
        (lambda d, w: d["arguments"].update(channels="44"), "channels must be an integer, got '44"),
        (lambda d, w: d["arguments"].update(num_links=0), "num_links must be between 1 and"),
        (lambda d, w: d["arguments"].update(num_links=3.0), "num_links must be an integer, got"),
        (lambda d, w: d["arguments"].update(strides=[2]), "weights must be those of the network, "),
        (lambda d, w: d["arguments"].update(head="max"), "head must be one of distance, offset, "),
        (lambda d, w: d["arguments"].update(width=7), "must be of shape (7,"),
        (lambda d, w: d["arguments"].update(width=2**16), "must be of shape (65536,"),
        (lambda d, w: w.pop("head.params"), "got 'head.params' missing"),
        (lambda d, w: w.update(extra=torch.zeros(1)), "got 'extra' unknown"),
        (
            lambda d, w: w.update({"head.params": torch.zeros(3, 3)}),
            "'head.params' must be of shape (3, 2), got (3, 3)",
        ),
        (
            lambda d, w: w.update({"head.params": torch.zeros(3, 2, dtype=torch.int64)}),
            "'head.params' must be one of BF16, F16, F32, F64, got I64",
        ),
        (
            lambda d, w: w.update({"entry.0.num_batches_tracked": torch.tensor(0.0)}),
            "'entry.0.num_batches_tracked' must be one of I64, got F32",
        ),
    ],
)
def test_changed_files(
    content: bytes, change: Callable[..., Any], message: str, tmp_path: Path
) -> None:
    said = rejection(rewritten(content, change), tmp_path)
    assert said.startswith("a network that vl4pose.nn.save wrote: ")
    assert message in said


def test_arguments_left_out_have_their_defaults(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "older.safetensors"
    path.write_bytes(rewritten(content, lambda d, w: d["arguments"].pop("extractor") and None))
    assert load(path).arguments == auxiliary().arguments


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bits(content: bytes, seed: int, tmp_path: Path) -> None:
    """In the header: either the file is refused in one sentence, or a network comes out."""
    generator = torch.Generator().manual_seed(seed)
    size = 8 + int.from_bytes(content[:8], "little")
    at = int(torch.randint(size, (1,), generator=generator))
    bit = 1 << int(torch.randint(8, (1,), generator=generator))
    damaged = bytearray(content)
    damaged[at] ^= bit
    path = tmp_path / "flipped.safetensors"
    path.write_bytes(damaged)
    try:
        network = load(path)
    except ValueError as error:
        said = str(error)
    else:
        said = f"{path} must be " * isinstance(network, AuxiliaryNet)
    assert said.startswith(f"{path} must be ")


def test_without_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(auxiliary(), tmp_path / "network.safetensors")
    for name in ("safetensors", "safetensors.torch"):
        monkeypatch.setitem(sys.modules, name, None)
    for function, arguments in ((save, (auxiliary(),)), (load, ()), (load_metadata, ())):
        message = f"vl4pose.nn.{function.__name__} needs safetensors: pip install 'vl4pose[torch]'"
        with pytest.raises(ImportError, match=f"^{re.escape(message)}$"):
            function(*arguments, tmp_path / "network.safetensors")
