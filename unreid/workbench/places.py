"""Where a vector store can be, and what reaching it takes; asked before LanceDB is there."""

from __future__ import annotations

import os
from pathlib import Path

from unreid.utils.errors import UserError
from unreid.utils.packages import require_packages

_ACCESS = {
    "s3": (
        "bucket, network, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_DEFAULT_REGION (AWS_ENDPOINT for a server "
        "other than Amazon's, with AWS_ALLOW_HTTP=true where it has no TLS)"
    ),
    "gs": "bucket, network and GOOGLE_SERVICE_ACCOUNT, the file of a service account",
    "az": "container, network, AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "db": "network, LANCEDB_HOST, the address of the server, and LANCEDB_API_KEY",
}


def is_remote(uri: str) -> bool:
    """Whether a URI names something other than a folder of this machine."""
    return "://" in uri and not uri.startswith("file://")


def folder_of(uri: str) -> Path:
    """The folder of a URI that is not remote."""
    return Path(uri.removeprefix("file://"))


def set_aside(folder: Path) -> Path:
    """Where the store of before lies while a new one takes its place."""
    return folder.with_name(f".{folder.name}.old")


def is_there(uri: str) -> bool:
    """Whether there is such a folder; one that was set aside as its writer was killed comes back."""
    folder = folder_of(uri)
    if not os.path.lexists(folder) and os.path.isdir(set_aside(folder)):
        os.rename(set_aside(folder), folder)
    return os.path.isdir(folder)


def access(uri: str) -> str:
    """What must be right for a place to be reached."""
    return _ACCESS[uri.partition("://")[0]]


def require_store(uri: str) -> None:
    """Raises :class:`UserError` unless the packages of a vector store are there."""
    way_out = "install unreid[store], or search the feature table itself"
    require_packages(f"The index {uri}", "lancedb", "pyarrow", way_out=way_out)


def check_uri(uri: str) -> None:
    """Raises :class:`UserError` for a kind of place that there is not, or a key that is not set."""
    if not is_remote(uri):
        return
    kind, _, name = uri.partition("://")
    if kind not in _ACCESS or not name:
        known = ", ".join(f"{kind}://NAME" for kind in _ACCESS)
        raise UserError(f"{uri} is no place of an index: name a folder, or one of {known}.")
    needed = {"db": "LANCEDB_API_KEY", "az": "AZURE_STORAGE_ACCOUNT_NAME"}.get(kind, "")
    if needed and not os.environ.get(needed):
        raise UserError(f"{uri} needs {needed}, which is not set: check {access(uri)}.")
