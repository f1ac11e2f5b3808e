"""What a camera does to all of its features is taken out, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from unreid.neighbors import camera_centered
from unreid.utils.errors import InputError

N, CAMERAS = 60, 3


def world(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N, 8, generator=generator), torch.arange(N) % CAMERAS


def test_rows_less_their_cameras_mean_of_unit_length() -> None:
    features, camids = world()
    expected = torch.cat([features[camids == camera] - features[camids == camera].mean(0) for camera in range(CAMERAS)])
    order = camids.argsort(stable=True)
    torch.testing.assert_close(camera_centered(features, camids)[order], normalize(expected, dim=1))


def test_what_a_camera_adds_to_all_of_its_rows_is_gone() -> None:
    features, camids = world()
    shifted = features + 5 * torch.randn(CAMERAS, 8, generator=torch.Generator().manual_seed(1))[camids]
    torch.testing.assert_close(camera_centered(shifted, camids), camera_centered(features, camids), rtol=0, atol=1e-5)


def test_names_and_order_of_cameras_do_not_matter() -> None:
    features, camids = world()
    centered = camera_centered(features, camids)
    names = [f"camera {'xyz'[camera]}" for camera in camids.tolist()]
    torch.testing.assert_close(camera_centered(features, 9 - 2 * camids), centered)
    torch.testing.assert_close(camera_centered(features.numpy(), names), centered)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(camera_centered(features[order], camids[order]), centered[order])


def test_a_sample_that_could_not_be_read_counts_for_nothing() -> None:
    features, camids = world()
    with_gap = torch.cat((features, torch.zeros(2, 8)))
    cameras = torch.cat((camids, torch.tensor([0, 7])))
    centered = camera_centered(with_gap, cameras)
    torch.testing.assert_close(centered[:N], camera_centered(features, camids))
    assert not centered[N:].any()
    assert not camera_centered(torch.zeros(3, 8), [0, 0, 1]).any()


def test_the_only_row_of_a_camera_keeps_its_own_direction() -> None:
    features, camids = world()
    alone = torch.cat((features, features.mean(0, keepdim=True) + torch.eye(8)[:1] * 4))
    centered = camera_centered(alone, torch.cat((camids, torch.tensor([7]))))
    assert float(centered[N, 0]) > 0.99


def test_in_blocks_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    features, camids = world()
    at_once = camera_centered(features, camids)
    monkeypatch.setattr("unreid.neighbors.camera_centering._ROWS", 7)
    assert torch.equal(camera_centered(features, camids), at_once)


def test_missing_cameras_are_one_sentence() -> None:
    features, camids = world()
    with pytest.raises(InputError, match="need the camera of every sample"):
        camera_centered(features, None)
    with pytest.raises(InputError, match=r"camids must be integers or strings of shape \(60,\), not \(59,\)"):
        camera_centered(features, camids[1:])
