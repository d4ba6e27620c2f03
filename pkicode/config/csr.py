"""CSR files of a project: found inside the root, hashed, read within a limit.  Parsing is x509/request.py's."""

import hashlib
import os
from pathlib import Path

from pkicode.config.check_paths import escapes
from pkicode.config.files import contained, resolved
from pkicode.model.problem import PkicodeError

LARGEST = 64 * 1024


class CsrError(PkicodeError):
    """A CSR that may not (E0112) or cannot be read (W0424)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, help="a CSR is a small file inside the project, and no link")
        self.code = code


class CsrFiles:
    """CSRs below one root; folders are resolved once, because 100,000 files stand in a few: keep it for a run."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[str, str] = {}

    def read(self, folder: str, file: str) -> bytes | None:
        """The bytes of a CSR, None where there is no file.

        Raises:
            CsrError: it leads out of the root, is too large or cannot be read.
        """
        path = f"{folder}/{file}"
        if escapes(folder) or escapes(file) or not path.isprintable():
            raise CsrError("E0112", f"the CSR path `{path}` leaves the project's root")
        parent, _, name = path.rpartition("/")
        if parent not in self._folders:
            self._folders[parent] = self._folder(parent)
        return self._bytes(f"{self._folders[parent]}/{name}", path)

    def digest(self, folder: str, file: str) -> str:
        """sha256 hex of a CSR, "" where there is no file.

        Raises:
            CsrError: as `read`.
        """
        data = self.read(folder, file)
        return "" if data is None else hashlib.sha256(data).hexdigest()

    def _folder(self, parent: str) -> str:
        folder = resolved(self._root / parent)
        if not contained(self._root, folder):
            raise CsrError("E0112", f"the CSR folder `{parent}` leads out of the project's root")
        return str(folder)

    def _bytes(self, file: str, shown: str) -> bytes | None:
        # No link is followed: the folder was resolved above, and a name that is a link could point anywhere.
        # A FIFO would block for ever, so it is opened without waiting and then read as what it is: empty or refused.
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CsrError("W0424", f"the CSR `{shown}` is a link or cannot be read") from error
        try:
            data = os.read(descriptor, LARGEST + 1)
        except OSError as error:
            raise CsrError("W0424", f"the CSR `{shown}` cannot be read") from error
        finally:
            os.close(descriptor)
        if len(data) > LARGEST:
            raise CsrError("W0424", f"the CSR `{shown}` is larger than {LARGEST:,} bytes")
        return data
