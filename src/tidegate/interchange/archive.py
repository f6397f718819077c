"""Members of a zip archive within bounds: nothing is unpacked to the disk."""

from __future__ import annotations

import io
import zipfile
from os import PathLike

import numpy as np

from tidegate.data.files.npy import array_of_npy
from tidegate.data.files.reading import check_unpacked
from tidegate.errors import InputError, shown

MOST_MEMBERS = 1000


class Archive:
    """The members of a zip file that are asked for, each at most as large as it says.

    Raises InputError for a file that is none, for more members than ``MOST_MEMBERS``, two of one
    name, and members that unpack to so much that they must be a trap.
    """

    def __init__(self, data: bytes, path: str | PathLike[str], remedy: str) -> None:
        self._path, self._remedy = path, remedy
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            members = self._zip.infolist()
        except Exception as error:  # zipfile raises whatever a damaged file leads to
            raise self._unreadable(error) from None
        self.names = [member.filename for member in members]
        if len(members) > MOST_MEMBERS or len(set(self.names)) < len(members):
            raise InputError(
                f"expected at most {MOST_MEMBERS} members of different names, got {len(members)}; "
                f"{remedy}",
                file=path,
            )
        unpacked = sum(member.file_size for member in members)
        check_unpacked(unpacked, len(data), path, remedy)

    def read(self, name: str) -> bytes:
        """The bytes of a member.  Raises InputError where it is missing or damaged."""
        if name not in self.names:
            listed = ", ".join(map(shown, self.names[:6]))
            raise InputError(
                f"expected {name} in it, got {listed or 'nothing'}; {self._remedy}",
                file=self._path,
            )
        try:
            member = self._zip.getinfo(name)
            with self._zip.open(member) as file:
                return file.read(member.file_size + 1)
        except Exception as error:  # as above
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> InputError:
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        return InputError(
            f"expected a zip archive, got one that cannot be read ({reason}); {self._remedy}",
            file=self._path,
        )


def numbers(content: bytes) -> np.ndarray:
    """The array of numbers in a ``.npy`` file.  Raises ValueError; nothing is unpickled."""
    array = array_of_npy(content)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{shown(str(array.dtype), 40)}, not numbers")
    return array
