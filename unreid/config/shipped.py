"""The configs that come with the package, found by bare name from any current directory."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from unreid.config.wording import shown

FOLDER = "configs"
SUFFIXES = (".yml", ".yaml")
_LONGEST = 100  # characters of a name that is worth comparing with others
_NEAR = 0.7  # likeness of two names, of at most 1, from which one may be meant by the other


def shipped_folder() -> Path:
    """Where the shipped configs lie: inside an installed package, beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / FOLDER
    return inside if inside.is_dir() else package.parent / FOLDER


def locate(named: str, beside: Path = Path()) -> Path:
    """The config file that a name means.

    A file relative to ``beside`` wins; then a shipped config of that name is taken, with or without a leading
    ``configs/``. The suffix may be left out. Absolute names and those with ``..`` or
    ``~`` mean no shipped config.

    Args:
        named: the name as a user wrote it, on the command line or in ``_BASE_``.
        beside: folder that relative names start from; the current directory by default.

    Returns:
        The file. If there is none, the path under which it was looked for first.

    Raises:
        RuntimeError: the name begins with ``~`` and there is no such user.
    """
    here = beside / Path(named).expanduser()
    if not named or (os.path.exists(here) and not os.path.isdir(here)):
        return here
    places = [here]
    parts = Path(named).parts
    if not named.startswith(("~", "/")) and ".." not in parts:
        inside = parts[1:] if parts[:1] == (FOLDER,) else parts
        places.append(shipped_folder().joinpath(*inside))
    spelled = (spelling for place in places for spelling in _spellings(place))
    return next((spelling for spelling in spelled if os.path.isfile(spelling)), here)


def suggestion(missing: Path) -> str:
    """What to say after "there is no config file ...": the names most like it, or where all shipped ones are."""
    near = _nearest(missing)
    if near:
        *most, last = near
        return f"; did you mean {', '.join(most)} or {last}?" if most else f"; did you mean {last}?"
    return f"; the shipped ones are in {shown(str(shipped_folder()))}."


def _spellings(path: Path) -> Iterator[Path]:
    yield path
    if path.name and path.suffix not in SUFFIXES:
        yield from (path.parent / f"{path.name}{suffix}" for suffix in SUFFIXES)


def _nearest(missing: Path, count: int = 3) -> list[str]:
    """The best names first: files beside the missing one, then shipped ones."""
    if len(missing.name) > _LONGEST:
        return []
    found: dict[str, tuple[float, str]] = {}
    shipped = shipped_folder()
    sources = [(missing.parent, missing.parent), (shipped, Path())]
    if missing.parent.name == "base":
        sources.append((shipped / "base", Path("base")))
    for folder, prefix in sources:
        for name in _configs(folder):
            likeness = _likeness(_stem(missing.name), _stem(name))
            if likeness >= _NEAR and name not in found:
                found[name] = likeness, shown(str(prefix / name))
    best = sorted(found.values(), key=lambda pair: (-pair[0], pair[1]))[:count]
    return [name for likeness, name in best if likeness > best[0][0] - 0.1]


def _configs(folder: Path) -> list[str]:
    try:
        names = os.listdir(folder)
    except (OSError, ValueError):
        return []
    return sorted(name for name in names if name.endswith(SUFFIXES) and os.path.isfile(folder / name))


def _stem(name: str) -> str:
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name.lower().replace("-", "_")


def _likeness(wrong: str, known: str) -> float:
    """Between 0 and 1: as a whole, with the words in any order, or as its beginning."""
    if wrong and known.startswith(f"{wrong}_"):
        return 0.8
    a, b = ("_".join(sorted(name.split("_"))) for name in (wrong, known))
    return max(difflib.SequenceMatcher(None, wrong, known).ratio(), difflib.SequenceMatcher(None, a, b).ratio())
