"""One measurement: the answer is checked, then timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.answers import IMAGES_OF_REFERENCE, check, parts
from bench.cases import Case
from bench.competitors import COMPETITORS, Array, tied


class Measure:
    """Checks the answer of one contestant, then times it."""

    def __init__(self, benchmark: BenchmarkFixture, num_threads: int) -> None:
        self.benchmark = benchmark
        self.num_threads = num_threads

    def __call__(
        self,
        operation: str,
        case: Case,
        name: str,
        arrays: Sequence[np.ndarray],
        *,
        ours: Callable[..., Any],
        reference: Callable[..., Any],
        theirs: Callable[..., Any],
        label: str | None = None,
    ) -> None:
        """Time one contestant.

        Parameters
        ----------
        operation : str
            Title of the table.
        case : Case
            Row group of the table.
        name : str
            ``"vl4pose"`` (on tensors), ``"vl4pose on numpy"``, or a competitor's.
        arrays : sequence of ndarray
            Input; the first axis of each is the image.
        ours, reference : callable
            Called with ``arrays``.
        theirs : callable
            Called with the competitor's ``find_peaks`` and ``arrays``.
        label : str, optional
            Name in the table, where it is not ``name``.
        """
        if name.startswith("vl4pose"):
            takes_tensors = name == "vl4pose"
            given = [torch.from_numpy(array) for array in arrays] if takes_tensors else arrays
            images = len(arrays[0])
            first = [array[:IMAGES_OF_REFERENCE] for array in arrays]
            answer = [part[:IMAGES_OF_REFERENCE] for part in parts(ours(*given))]
            check(answer, parts(reference(*first)))

            def call() -> Any:
                return ours(*given)
        else:
            competitor = COMPETITORS[name]
            find = competitor.find_peaks

            def function(*given: Array) -> Any:
                return theirs(find, *given)

            call, images = competitor.prepare(function, arrays)
            comparable = np.ones(images, np.bool_)
            if find is not None and not name.startswith("scikit-image"):
                comparable = ~tied(arrays[0][:images], case.min_distance, case.num_peaks)
                assert comparable.mean() > 0.1
            expected = parts(ours(*(array[:images] for array in arrays)))
            check(
                [part[comparable] for part in parts(call())],
                [part[comparable] for part in expected],
            )
        self.benchmark.group = f"{operation}; {case}"
        self.benchmark.extra_info.update(
            operation=operation, case=str(case), contestant=label or name, images=images
        )
        self.benchmark(call)
