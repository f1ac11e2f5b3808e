from __future__ import annotations

import sys
from pathlib import Path

import pytest

from unreid.utils.errors import UserError
from unreid.utils.plugins import import_plugins


def test_a_file_is_imported_once_and_may_import_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("import unreid\nruns = []\nruns.append(unreid.__version__)\n")
    monkeypatch.chdir(tmp_path)
    (first,) = import_plugins(["mine.py"])
    (second,) = import_plugins([str(tmp_path / "mine.py")])
    assert first is second and len(first.runs) == 1


def test_files_of_one_name_stay_apart(tmp_path: Path) -> None:
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "plugin.py"
        path.write_text(f"name = {folder!r}\n")
        paths.append(str(path))
    assert [module.name for module in import_plugins(paths)] == ["a", "b"]


def test_a_module_is_found_on_the_python_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "own_parts"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "memory.py").write_text("value = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert import_plugins(["own_parts.memory"])[0].value == 3


@pytest.mark.parametrize(
    "name",
    ["nowhere.py", "no_such_module", "no_such_package.memory", "unreid.no_such_room", ".inf", ".a", "a..b", "a-b"],
)
def test_what_does_not_exist_is_one_sentence(name: str) -> None:
    with pytest.raises(UserError, match=r"PLUGINS names.*no"):
        import_plugins([name])


def test_errors_of_a_plugin_keep_their_traceback_and_are_met_again(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("import no_such_dependency\n")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
            import_plugins([str(path)])
    assert not any("plugin_broken" in name for name in sys.modules)
