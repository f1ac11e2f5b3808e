"""Pages that are made while the site is built: commands, API, and the files beside ``docs/`` that pages link to.

A hook of MkDocs, see ``mkdocs.yml``; ``make site`` runs it.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "unreid"
BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md")
CARD = re.compile(r"\]\(\.\./unreid/weights/(\w+)\.md\)")
EXAMPLE = re.compile(r"\]\(\.\./examples/(\w+)\.(?:py|ipynb)\)")


def on_config(config: Any) -> Any:
    """Lists the rooms and the examples where ``nav`` says so."""
    listed = {
        "api/": ["api/index.md", *({f"unreid.{room}": f"api/{room}.md"} for room in _rooms())],
        "weights/": ["weights.md", *({path.stem: f"weights/{path.stem}.md"} for path in _cards())],
        "examples/": [f"examples/{path.stem}.md" for path in (*_examples("*.ipynb"), *_examples("*.py"))],
    }
    for section in config.nav:
        for entry in next(iter(section.values())):
            if isinstance(entry, dict):
                for title, target in entry.items():
                    entry[title] = listed.get(target, target)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that no file in ``docs/`` holds."""
    for name, content in _pages():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turns links to the examples and to the cards of networks into links to their pages."""
    return CARD.sub(r"](weights/\1.md)", EXAMPLE.sub(r"](examples/\1.md)", markdown))


def _pages() -> Iterator[tuple[str, str]]:
    yield "commands.md", commands()
    for room in _rooms():
        yield f"api/{room}.md", api(room)
    links = "".join(f"- [`unreid.{room}`]({room}.md): {_summary(_source(PACKAGE / room))}\n" for room in _rooms())
    yield "api/index.md", f"# API\n\nThe names people need most are on [As a library](../library.md).\n\n{links}"
    for name in BESIDE:
        text = (ROOT / name).read_text(encoding="utf-8")
        yield name.lower(), text.replace("](docs/", "](")
    for card in _cards():
        yield f"weights/{card.stem}.md", with_facts(card.read_text(encoding="utf-8"))
    for script in _examples("*.py"):
        yield f"examples/{script.stem}.md", f"# {script.name}\n\n```python\n{script.read_text(encoding='utf-8')}```\n"
    for path in _examples("*.ipynb"):
        yield f"examples/{path.stem}.md", notebook(json.loads(path.read_text(encoding="utf-8")))


def _rooms() -> list[str]:
    return sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file())


def _cards() -> list[Path]:
    return sorted((PACKAGE / "weights").glob("*.md"))


def _examples(pattern: str) -> list[Path]:
    return sorted((ROOT / "examples").glob(pattern))


def with_facts(card: str) -> str:
    """A card whose head, which pages do not show, is a table at its end."""
    head, body = card.removeprefix("---\n").split("\n---\n", 1)
    facts = (line.partition(": ") for line in head.splitlines())
    table = "".join(f"| {key} | {value} |\n" for key, _, value in facts)
    return f"{body}\n## Facts\n| | |\n| --- | --- |\n{table}"


def notebook(content: dict[str, Any]) -> str:
    """A notebook with its stored outputs, as Markdown."""
    parts = []
    for cell in content["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        for output in cell.get("outputs", ()):
            parts.append(_shown(output))
    return "\n\n".join(parts).replace("](../docs/", "](../").replace(".ipynb)", ".md)")


def _shown(output: dict[str, Any]) -> str:
    for kind in ("image/png", "image/jpeg"):
        if kind in output.get("data", {}):
            picture = "".join(output["data"][kind]).replace("\n", "")
            return f'<img alt="what the cell shows" src="data:{kind};base64,{picture}">'
    return "```text\n" + "".join(output.get("text", ())).rstrip("\n") + "\n```"


def commands() -> str:
    """Every command with what its ``--help`` says, as Markdown."""
    from unreid.engine.cli import command_line

    os.environ["COLUMNS"] = "100"
    _, choices = command_line()
    text = "# Commands\n\nWhat `unreid COMMAND --help` says. `tools/` holds the same as scripts of a checkout.\n"
    for name, command in choices.items():
        text += f"\n## unreid {name}\n\n```text\n{command.format_help()}```\n"
    return text


def api(room: str) -> str:
    """A page of the public names of ``unreid.ROOM``, or of its modules where the room itself offers none."""
    source = _source(PACKAGE / room)
    names = _offered(source)
    if not names:
        modules = sorted(path.stem for path in (PACKAGE / room).glob("[!_]*.py"))
        names = [f"{module}.{name}" for module in modules for name in _defined(_source(PACKAGE / room / module))]
    text = f"# unreid.{room}\n\n{_summary(source)}\n\n"
    return text + "".join(f"::: unreid.{room}.{name}\n\n" for name in names)


def _source(place: Path) -> ast.Module:
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def _offered(source: ast.Module) -> list[str]:
    for node in source.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return sorted(ast.literal_eval(node.value), key=str.lower)
    return []


def _defined(source: ast.Module) -> list[str]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node.name for node in source.body if isinstance(node, kinds) and not node.name.startswith("_")]


def _summary(source: ast.Module) -> str:
    return (ast.get_docstring(source) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")
