"""The records that the rooms exchange say what they take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unreid.structures import Clustering

FORMS = {
    "list": list,
    "tuple": tuple,
    "int16 array": lambda labels: np.array(labels, dtype=np.int16),
    "float32 array": lambda labels: np.array(labels, dtype=np.float32),
    "big-endian array": lambda labels: np.array(labels, dtype=">i8"),
    "strided array": lambda labels: np.repeat(np.array(labels, dtype=np.int64), 2)[::2],
    "int32 tensor": lambda labels: torch.tensor(labels, dtype=torch.int32),
    "bfloat16 tensor": lambda labels: torch.tensor(labels, dtype=torch.bfloat16),
    "float64 tensor": lambda labels: torch.tensor(labels, dtype=torch.float64),
}


@pytest.mark.parametrize("form", FORMS)
@given(labels=st.lists(st.integers(-1, 40), max_size=30))
def test_labels_are_renumbered_whatever_holds_them(form: str, labels: list[int]) -> None:
    found = Clustering.from_labels(FORMS[form](labels))
    numbers = sorted(set(labels) - {-1})
    assert found.labels.dtype == torch.int64 and found.num_clusters == len(numbers)
    assert found.labels.tolist() == [numbers.index(label) if label >= 0 else -1 for label in labels]
    assert found.num_outliers == labels.count(-1)


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ([-2, -1, 3], "not -2"),
        (np.array([0, -7]), "not -7"),
        (torch.tensor([3, -(2**62)]), str(-(2**62))),
        ([0.5, 1.0], "not 0.5"),
        ([0.0, float("nan")], "not nan"),
        (torch.tensor([1.0, float("inf")]), "not inf"),
        ([True, False], "bool"),
        (torch.tensor([True]), "bool"),
        (["a", "b"], "whole numbers"),
        ([[0, 1], [1, 0]], r"\(2, 2\)"),
        (torch.tensor(3), r"\(\)"),
        (np.array([2**64 - 1], dtype=np.uint64), str(2**64 - 1)),
        ([2**70], "whole numbers"),
        ([1e300], "1e"),
        ([None, 1], "whole numbers"),
    ],
)
def test_what_is_no_labelling_is_refused_in_one_sentence(labels: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named) as refused:
        Clustering.from_labels(labels)
    assert "\n" not in str(refused.value)
