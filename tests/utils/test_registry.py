"""Names lead to components, wrong names to the list of right ones."""

from __future__ import annotations

import pytest

from unreid.utils.errors import UserError
from unreid.utils.registry import Registry


def registry() -> Registry[type]:
    table: Registry[type] = Registry("method")
    table.register("ClusterContrast", "CC")(int)
    table.register("SpCL")(str)
    return table


@pytest.mark.parametrize("name", ["ClusterContrast", "cluster-contrast", "CLUSTER_CONTRAST", "cc"])
def test_lookup_ignores_case_and_hyphens(name: str) -> None:
    assert name in registry()
    assert registry().get(name) is int


def test_the_error_lists_what_there_is() -> None:
    with pytest.raises(UserError, match=r"no method named 'SPLC'\. Did you mean 'SpCL'\?.*ClusterContrast, SpCL\."):
        registry().get("SPLC")
    with pytest.raises(UserError, match=r"named 'xyz'\. Available: ClusterContrast, SpCL\."):
        registry().get("xyz")


def test_a_name_is_given_once() -> None:
    with pytest.raises(KeyError, match="registered twice"):
        registry().register("cc")(float)
    table = registry()
    table.register("MARS", "mars")(float)  # an alias that folds to the name itself is no second one
    assert list(table) == ["ClusterContrast", "MARS", "SpCL"]
    assert list(registry()) == ["ClusterContrast", "SpCL"]
