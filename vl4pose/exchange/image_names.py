"""Names of images, relative to a root: none leaves it, and tools may know them by others."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import PurePosixPath, PureWindowsPath

from vl4pose._sentences import did_you_mean

__all__ = ["ImageNames", "below_root"]


def below_root(name: str, root: str | None = None) -> str:
    """Return a name as it is relative to the root, with forward slashes and without dots.

    Parameters
    ----------
    name : str
        A relative path, or an absolute one below ``root``.
    root : str, optional
        An absolute path.

    Raises
    ------
    ValueError
        ``image must be below the root, got ...``.
    """
    windows = PureWindowsPath(name)
    path = windows.as_posix() if windows.drive else name
    if root is not None and posixpath.isabs(path):
        path = posixpath.relpath(posixpath.normpath(path), posixpath.normpath(root))
    path = posixpath.normpath(path) if path else ""
    outside = posixpath.isabs(path) or windows.drive or ".." in PureWindowsPath(path).parts
    if outside or path in ("", ".") or "\0" in path:
        where = "the root" if root is None else f"'{root}'"
        raise ValueError(f"image must be below {where}, got {name!r}")
    return path


class ImageNames:
    """The names that images are known by, to find the one that a tool means.

    Parameters
    ----------
    known : iterable of str
        Names relative to the root; with none, every name stands for itself.
    root : str, optional
        What absolute names are made relative to.
    """

    def __init__(self, known: Iterable[str] = (), root: str | None = None) -> None:
        self._known = set(known)
        self._root = root
        endings: Counter[str] = Counter()
        self._by_ending: dict[str, str] = {}
        for name in self._known:
            parts = PurePosixPath(name).parts
            for start in range(len(parts)):
                ending = "/".join(parts[start:])
                endings[ending] += 1
                self._by_ending[ending] = name
        self._shared = {ending for ending, count in endings.items() if count > 1}

    def find(self, name: str) -> str:
        """Return the known name: the same one, or the only one that has the same last parts.

        Raises
        ------
        ValueError
            If there is none, or several; or the name leaves the root.
        """
        if not self._known:
            return below_root(name, self._root)
        if name in self._known:
            return name
        if self._root is not None and posixpath.isabs(name):
            with suppress(ValueError):  # it may be elsewhere on the tool's machine
                if (below := below_root(name, self._root)) in self._known:
                    return below
        parts = [part for part in PureWindowsPath(name).parts if part not in ("/", "\\", ".", "..")]
        whole = "/".join(parts)
        if whole in self._shared:
            raise ValueError(f"image must name one image, got {name!r}, which fits several")
        if whole in self._by_ending:  # the tool knows it without its first folders
            return self._by_ending[whole]
        for start in range(1, len(parts)):  # or with more of them
            if "/".join(parts[start:]) in self._known:
                return "/".join(parts[start:])
        near = did_you_mean(PurePosixPath(name).name, (PurePosixPath(n).name for n in self._known))
        raise ValueError(f"image must be one of the {len(self._known):,} known, got {name!r}{near}")
