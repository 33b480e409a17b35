"""Folders of files, on this machine or at URLs that fsspec knows: of images, and of results."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from vl4pose._atomic_file import write_atomically
from vl4pose._sentences import did_you_mean

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["BusyError", "Folder", "LocalFolder", "RemoteFolder", "is_url", "open_folder", "remote"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*(://|::)")
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]+\.tmp")
# What is put there appears at once and complete, under its own name; elsewhere it is moved there.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "memory"}
_TRIES = 3
_SECONDS_BETWEEN_TRIES = 0.5


class BusyError(OSError):
    """Another process has the folder to itself."""


class Folder(Protocol):
    """Files by their names, which have forward slashes where they are in folders below.

    Attributes
    ----------
    url : str
        An absolute path, or the URL. `open_folder` takes it, in another process too.
    """

    url: str

    def exists(self) -> bool:
        """Return whether there is anything."""

    def make(self) -> None:
        """Make the folder, where folders need that."""

    def names(self) -> list[str]:
        """Return the names of all that is directly in the folder, sorted."""

    def has(self, name: str) -> bool:
        """Return whether there is a file."""

    def open(self, name: str) -> Path | BinaryIO:
        """Return what Pillow and pyarrow read a file from."""

    def read(self, name: str) -> bytes:
        """Return what is in a file."""

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, completely or not at all, and for good when this returns."""

    def remove(self, name: str) -> None:
        """Remove a file; it need not be there."""

    def lock(self) -> contextlib.AbstractContextManager[bool]:
        """Keep other processes that ask for it from the folder; False where there is no lock.

        Raises
        ------
        BusyError
            If one of them has it.
        """


def is_url(location: str | os.PathLike[str]) -> bool:
    """Return whether this is no path, but the URL of something that fsspec opens."""
    return isinstance(location, str) and _URL.match(location) is not None


def open_folder(location: str | os.PathLike[str]) -> LocalFolder | RemoteFolder:
    """Return the folder of a path or a URL, whether it is there or not.

    Raises
    ------
    ModuleNotFoundError
        ``fsspec is not installed, ...: pip install 'vl4pose[remote]'``.
    ValueError
        ``URL must be of a protocol that fsspec knows, ...``, or if the protocol needs a package
        that is not installed.
    """
    if not is_url(location):
        return LocalFolder(Path(location))
    url = str(location)
    filesystem, path = remote(url)
    protocols = filesystem.protocol
    protocols = {protocols} if isinstance(protocols, str) else set(protocols)
    if protocols == {"file", "local"}:  # its files can be flushed to the disk
        return LocalFolder(Path(path))
    return RemoteFolder(url if url.endswith("://") else url.rstrip("/"), filesystem, path)


def remote(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path in it.

    Raises
    ------
    ModuleNotFoundError, ValueError
        As `open_folder`.
    """
    try:
        fsspec = importlib.import_module("fsspec")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"fsspec is not installed, and '{url}' needs it: pip install 'vl4pose[remote]'",
            name="fsspec",
        ) from error
    protocol = re.split("::|://", url)[0].lower()
    if protocol not in fsspec.available_protocols():
        near = did_you_mean(protocol, fsspec.available_protocols())
        raise ValueError(
            f"URL must be of a protocol that fsspec knows, such as s3, gs or az, got '{url}'{near}"
        )
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except Exception as error:  # of what the protocol's own package finds wrong, or its absence
        raise ValueError(f"URL must be one that can be opened, got '{url}': {error}") from error
    return filesystem, path


def final_name(temporary: str) -> str | None:
    """Return what a temporary file of `Folder.write` was to become, or None for any other file."""
    match = _TEMPORARY.fullmatch(temporary)
    return match["name"] if match else None


class LocalFolder:
    """A folder of this machine, or one that is mounted."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 # resolve() would follow links
        self.url = str(self.path)

    def exists(self) -> bool:
        """Return whether there is anything, be it a file."""
        return os.path.lexists(self.path)

    def make(self) -> None:
        """Make the folder, for good."""
        self.path.mkdir(exist_ok=True)
        parent = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    def names(self) -> list[str]:
        """Return the names of all that is directly in the folder, sorted."""
        return sorted(path.name for path in self.path.iterdir())

    def has(self, name: str) -> bool:
        """Return whether there is a file."""
        return (self.path / name).is_file()

    def open(self, name: str) -> Path | BinaryIO:
        """Return the path."""
        return self.path / name

    def read(self, name: str) -> bytes:
        """Return what is in a file."""
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Write beside the place, flush to the disk, and only then move there."""
        write_atomically(self.path / name, content)

    def remove(self, name: str) -> None:
        """Remove a file; it need not be there."""
        (self.path / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[bool]:
        """Lock the folder itself, so that no file is left; the lock of a dead process is gone."""
        descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            yield self._lock(descriptor)
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> bool:
        if fcntl is None:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(errno.EBUSY, "another run is writing there", self.url) from error
        except OSError:
            return False  # network file systems may have no lock for folders
        return True


class RemoteFolder:
    """A folder of a file system of fsspec.

    Parameters
    ----------
    url : str
    filesystem : fsspec.AbstractFileSystem
    path : str
        In the file system.
    """

    def __init__(self, url: str, filesystem: Any, path: str) -> None:
        self.url = url
        self.filesystem = filesystem
        self.path = path.rstrip("/")
        protocols = filesystem.protocol
        protocols = {protocols} if isinstance(protocols, str) else set(protocols)
        self._appears_at_once = bool(protocols & _OBJECT_STORES)

    def exists(self) -> bool:
        """Return whether there is anything."""
        self.filesystem.invalidate_cache()
        return bool(self.filesystem.exists(self.path))

    def make(self) -> None:
        """Make the folder; where there are none, nothing happens."""
        self.filesystem.makedirs(self.path, exist_ok=True)

    def names(self) -> list[str]:
        """Return the names of all that is directly in the folder, sorted."""
        self.filesystem.invalidate_cache()
        try:
            found = self.filesystem.ls(self.path, detail=False)
        except FileNotFoundError:
            return []  # of nothing, where folders are but the names of files
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found)

    def has(self, name: str) -> bool:
        """Return whether there is a file."""
        return bool(self.filesystem.isfile(self._place(name)))

    def open(self, name: str) -> Path | BinaryIO:
        """Return the content, read at once: decoders go to and fro."""
        return io.BytesIO(self.read(name))

    def read(self, name: str) -> bytes:
        """Return what is in a file, after several tries where the storage is at fault."""
        for attempt in range(1, _TRIES + 1):
            try:
                content: bytes = self.filesystem.cat_file(self._place(name))
                return content
            except FileNotFoundError:
                # fsspec puts no more than the path into it.
                raise FileNotFoundError(
                    errno.ENOENT, os.strerror(errno.ENOENT), self._place(name)
                ) from None
            except (PermissionError, IsADirectoryError):
                raise
            except Exception:  # the file systems of fsspec raise what their clients do
                if attempt == _TRIES:
                    raise
                time.sleep(_SECONDS_BETWEEN_TRIES * attempt)
        raise AssertionError

    def write(self, name: str, content: bytes) -> None:
        """Put a file there; by moving it where it would appear before it is complete."""
        place = self._place(name)
        if self._appears_at_once:
            self._put(place, content)
        else:
            folder, _, last = place.rpartition("/")
            temporary = f"{folder}/.{last}.{secrets.token_hex(8)}.tmp"
            try:
                self._put(temporary, content)
                self.filesystem.mv(temporary, place)
            except BaseException:
                with contextlib.suppress(Exception):
                    self.filesystem.rm_file(temporary)
                raise
        self.filesystem.invalidate_cache()

    def remove(self, name: str) -> None:
        """Remove a file; it need not be there."""
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.rm_file(self._place(name))
        self.filesystem.invalidate_cache()

    @contextlib.contextmanager
    def lock(self) -> Iterator[bool]:
        """Lock nothing: object stores have no locks."""
        yield False

    def _place(self, name: str) -> str:
        return f"{self.path}/{name}"

    def _put(self, place: str, content: bytes) -> None:
        try:
            self.filesystem.pipe_file(place, content)
        except OSError:
            raise
        except Exception as error:
            raise OSError(errno.EIO, f"{type(error).__name__}: {error}", place) from error
