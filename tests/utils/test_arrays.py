"""Arrays of users: everything that holds numbers in the right shape is taken, everything else is one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unreid.utils.arrays import as_batch, as_codes, as_features, as_integers, as_rows, as_vector
from unreid.utils.errors import InputError, UserError

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
DTYPES = st.sampled_from(["f2", "f4", "f8", ">f8", "i1", "i8", ">i4", "u1", "u2", "u8", "?", "c8", "U3", "O", "M8[s]"])


@pytest.mark.filterwarnings("ignore:overflow")
@given(hnp.arrays(DTYPES, SHAPES), st.booleans())
def test_an_array_is_taken_or_refused_in_one_sentence(array: np.ndarray, listed: bool) -> None:
    value: Any = array.tolist() if listed else array
    try:
        rows = as_features(value, "x")
    except InputError as error:
        assert str(error).startswith("x must be") and "\n" not in str(error)
        if "beyond 2**63" in str(error):
            return
        real = array.dtype.kind in "iuf" or (listed and array.dtype.kind == "O")
        finite = real and array.dtype.kind != "O" and bool(np.isfinite(array.astype(np.float32)).all())
        assert array.ndim != 2 or array.size == 0 or not finite
    else:
        assert rows.dtype == torch.float32 and rows.ndim == 2 and rows.isfinite().all()
        assert np.array_equal(rows.numpy(), array.astype(np.float32))


@given(hnp.arrays(DTYPES, SHAPES))
def test_integers_are_taken_or_refused_in_one_sentence(array: np.ndarray) -> None:
    try:
        values = as_integers(array, "labels")
    except InputError as error:
        assert str(error).startswith("labels must be integers of shape (N,)") and "\n" not in str(error)
    else:
        assert values.dtype == torch.int64 and values.tolist() == [int(value) for value in array.tolist()]


def test_a_tensor_of_floats_keeps_gradient_precision_and_identity() -> None:
    for dtype in (torch.float16, torch.float32, torch.float64):
        x = torch.zeros(2, 3, dtype=dtype, requires_grad=True)
        assert as_rows(x) is x
    assert as_rows(torch.zeros(2, 3, dtype=torch.int64)).dtype == torch.float32
    assert not as_features(torch.zeros(2, 3, requires_grad=True)).requires_grad


def test_views_and_read_only_arrays() -> None:
    array = np.arange(6.0).reshape(2, 3)
    array.flags.writeable = False
    for view in (array, array[::-1], array[:, ::-1], array.T):
        assert np.array_equal(as_features(view).numpy(), view)


def test_sizes_are_named() -> None:
    with pytest.raises(InputError, match=r"x must be numbers of shape \(N, 4\), not float64 \(2, 3\)"):
        as_rows(np.zeros((2, 3)), "x", 4)
    with pytest.raises(InputError, match=r"weights must be numbers of shape \(3,\), not float32 \(2,\)"):
        as_vector([1, 2.5], "weights", 3)
    with pytest.raises(InputError, match=r"targets must be integers of shape \(2,\), not int64 \(3,\)"):
        as_batch(np.zeros((2, 3)), [1, 2, 3])
    assert issubclass(InputError, UserError) and issubclass(InputError, ValueError)


def test_whole_floats_are_integers_and_fractions_are_not() -> None:
    assert as_integers([1.0, -1.0]).tolist() == [1, -1] and len(as_integers([])) == 0
    for bad in ([0.5], [float("nan")], [float("inf")]):
        with pytest.raises(InputError, match="fractions, NaN or infinite"):
            as_integers(bad)


def test_strings_are_numbered_alike_on_both_sides() -> None:
    first, second = as_codes(["b", "a", "c"], np.array(["c", "b"]))
    assert (first[:, None] == second).tolist() == [[False, True], [False, False], [True, False]]
    first, second = as_codes([7, 3], torch.tensor([3]))
    assert first.tolist() == [7, 3] and second.tolist() == [3]
    assert as_codes(np.array(["x"], dtype=object), ["x"])[0].tolist() == [0]
    for one, other in ((["a"], [1]), ([1], ["a"]), (["a", 1], ["a"]), ([None], [None])):
        with pytest.raises(InputError, match="ids must be"):
            as_codes(one, other)
