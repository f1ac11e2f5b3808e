"""Camera proxies: a row for every cluster in every camera (CAP, Wang et al., AAAI 2021; O2CAP, TIP 2022)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.losses.proxies import (
    camera_balanced_weights,
    hardest_others,
    intra_camera_loss,
    offline_positives,
    online_positives,
    proxy_loss,
)
from unreid.memory.base import MEMORIES, Memory
from unreid.memory.camera_proxies import camera_proxies
from unreid.memory.update_rules import UPDATE_RULES, write_by_rule
from unreid.structures import Clustering
from unreid.utils.errors import UserError
from unreid.utils.means import segment_means
from unreid.utils.products import distinct, known_products, picked_products, products
from unreid.utils.settings import settings
from unreid.utils.state import StateError, entries


@MEMORIES.register("ProxyMemory")
class ProxyMemory(Memory):
    """One unit row for the images of one cluster in one camera, and up to three losses against the rows.

    Targets are clusters, as everywhere; with the camera they name the *own* proxy of a sample. The losses, with
    similarities ``s`` to all proxies and softmaxes of ``s / temp``:

    - "offline" (O2CAP, associations of the clustering): the proxies of the sample's cluster are its positives, equally;
      against them the ``hard_negatives`` most similar proxies of other clusters; with ``negatives`` "seen" only those
      of cameras that the sample's cluster has: in another camera one of them may be the same person, and a cluster of
      one camera is no evidence against it.
    - "online" (O2CAP, associations of the moment): of every camera's best proxy by a mixed similarity (``balance`` of
      the sample's own, the rest its own proxy's), the ``online_positives`` best.
    - "intra" (CAP): cross-entropy against the proxies of the sample's own camera.

    A loss is the mean over the samples of a camera, summed over cameras; the active losses add up. Every sample moves
    its own proxy, by the update rules of the other memories.

    Args:
        dim: D.
        intra, offline, online: which losses.
        inter_after: labellings before the offline and online losses begin (CAP: 5).
        hard_negatives: proxies that a positive competes with; fewer where there are fewer.
        negatives: "all" or "seen", see above.
        online_positives: proxies of the online loss.
        balance: share of the sample's own similarity in the online choice.
        temp: softmax temperature.
        update: rule in ``UPDATE_RULES``; the samples of a proxy share a camera.
        momentum: weight of the old row.
        normalize_inputs: whether inputs and features are L2-normalised here.
        seed: unused; every memory takes one.
        device: where the rows live.

    Raises:
        UserError: no loss at all.

    Example:
        >>> memory = ProxyMemory(2, online=False)
        >>> clustering = Clustering.from_labels(torch.tensor([0, 0, 1]))
        >>> memory.reset(torch.eye(3, 2), clustering, camids=torch.tensor([0, 1, 0]))
        >>> len(memory.bank)
        3
    """

    needs = ("camids",)
    by_camera = True
    cluster: Tensor
    camera: Tensor
    own: Tensor

    def __init__(
        self,
        dim: int,
        *,
        intra: bool = False,
        offline: bool = True,
        online: bool = True,
        inter_after: int = 0,
        hard_negatives: int = 50,
        negatives: str = "all",
        online_positives: int = 3,
        balance: float = 0.15,
        temp: float = 0.07,
        update: str = "all",
        momentum: float = 0.2,
        normalize_inputs: bool = True,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(dim, normalize_inputs=normalize_inputs, seed=seed, device=device)
        if not (intra or offline or online) or (inter_after and not intra):
            raise UserError(
                "ProxyMemory needs a loss in every round: set one of MEMORY.PROXY.INTRA, OFFLINE and ONLINE, and INTRA "
                "where INTER_AFTER holds the others back."
            )
        self.intra, self.offline, self.online = intra, offline, online
        self.inter_after = inter_after
        self.hard_negatives = hard_negatives
        self.only_seen = negatives == "seen"
        self.online_positives = online_positives
        self.balance = balance
        self.temp = temp
        self.rule = UPDATE_RULES.get(update)
        self.momentum = momentum
        self.camera_sizes: list[int] = []
        for name in ("cluster", "camera", "own"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64, device=device))

    @classmethod
    def from_config(cls, cfg: Any, dim: int, device: torch.device | str | None = None) -> ProxyMemory:
        """Reads ``MEMORY.{PROXY.*,TEMP,UPDATE,MOMENTUM}`` and ``SEED``; refuses what this memory does not have."""
        cls.refuse(cfg, "NEGATIVES", "SMOOTH")
        losses = ("INTRA", "OFFLINE", "ONLINE", "INTER_AFTER")
        choices = ("HARD_NEGATIVES", "NEGATIVES", "ONLINE_POSITIVES", "BALANCE")
        own = settings(cfg.MEMORY.PROXY, *losses, *choices)
        return cls(dim, **own, **settings(cfg.MEMORY, "TEMP", "UPDATE", "MOMENTUM"), seed=cfg.SEED, device=device)

    @property
    def num_clusters(self) -> int:
        """C."""
        return len(self.table)

    @property
    def table(self) -> Tensor:
        """int64 (C, cameras): the proxy of a cluster in a camera; its largest one where it has no image there."""
        return self.own.view(-1, max(1, len(self.camera_sizes)))

    @property
    def seen(self) -> Tensor:
        """bool (C, cameras): which cameras have an image of a cluster."""
        seen = torch.zeros(self.num_clusters, max(1, len(self.camera_sizes)), dtype=torch.bool, device=self.own.device)
        seen[self.cluster, self.camera] = True
        return seen

    @property
    def rows(self) -> Tensor:
        """(C, D) normalised means of the proxies of every cluster."""
        return F.normalize(segment_means(self.bank, self.cluster, self.num_clusters)[0], dim=1)

    def _rebuild(self, features: Tensor, clustering: Clustering, camids: Tensor | None) -> None:
        if camids is None or len(camids) != len(features):
            raise ValueError(f"ProxyMemory needs camids ({len(features)},), the cameras of the training list")
        proxies = camera_proxies(clustering.labels.to(features.device), camids.to(features.device))
        self.cluster, self.camera, self.own = proxies.cluster, proxies.camera, proxies.table.flatten()
        self.camera_sizes = torch.bincount(proxies.camera, minlength=proxies.table.shape[1]).tolist()
        self.bank = proxies.rows(features)

    def own_proxies(self, targets: Tensor, camids: Tensor | None) -> Tensor:
        """int64 (B,): the proxy of each sample's cluster and camera.

        A made sample may lie in a cluster that its camera does not see: it counts to the cluster's largest proxy.
        """
        if camids is None:
            raise ValueError("ProxyMemory needs camids")
        return self.table[targets, camids]

    def _loss(
        self,
        inputs: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        camids: Tensor | None = None,
        **fields: Any,
    ) -> Tensor:
        own = self.own_proxies(targets, camids)
        camera = self.camera[own]
        if inputs.device.type == "cpu" and not self._between_cameras:
            return self._balanced(self._within_cameras(inputs, own, camera), camera, weights)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._whole(inputs)):
            similarity = products(inputs, self.bank.detach())
        losses = inputs.new_zeros(len(inputs))
        if self._whole(inputs):
            losses = losses + intra_camera_loss(similarity / self.temp, own, self.camera, camera)
        elif self.intra:
            losses = losses + self._within_cameras(inputs, own, camera, similarity)
        if self._between_cameras:
            losses = losses + self._proxy_losses(inputs, targets, own, similarity.detach())
        return self._balanced(losses, camera, weights)

    def _whole(self, inputs: Tensor) -> bool:
        """Whether the products with all proxies are differentiated, and not those with the chosen ones alone.

        CAP's loss within cameras needs all of a camera; for the number of its samples a GPU would be waited for.
        """
        return self.intra and inputs.device.type != "cpu"

    def _proxy_losses(self, inputs: Tensor, targets: Tensor, own: Tensor, similarity: Tensor) -> Tensor:
        """(B,): the losses that look at other cameras, from the products (B, P) with all proxies, without gradient."""
        terms = []
        if self.offline:
            positives = offline_positives(targets, self.table, self.camera)
            allowed = similarity
            if self.only_seen:
                allowed = similarity.masked_fill(~self.seen[targets][:, self.camera], -torch.inf)
            terms.append((positives, hardest_others(allowed, positives.proxies, self.hard_negatives)))
        if self.online:
            mixed = self._mixed(similarity, own)
            positives = online_positives(mixed, self.camera_sizes, self.online_positives)
            terms.append((positives, hardest_others(mixed, positives.proxies, self.hard_negatives)))
        indices = [positives.beside(negatives) for positives, negatives in terms]
        logits = picked_products(inputs, self.bank, similarity, torch.cat(indices, dim=1)) / self.temp
        parts = logits.split([index.shape[1] for index in indices], dim=1)
        return torch.stack([proxy_loss(part, *term) for part, term in zip(parts, terms)]).sum(0)

    @property
    def _between_cameras(self) -> bool:
        """Whether losses that look at other cameras are on in this round."""
        return self.resets > self.inter_after and (self.offline or self.online)

    def _within_cameras(self, inputs: Tensor, own: Tensor, camera: Tensor, similarity: Tensor | None = None) -> Tensor:
        """(B,): the intra-camera loss alone, from the products with the proxies of each sample's camera only.

        ``similarity``: (B, P), the products with all proxies, where they are known.
        """
        found, order, first = [], [], 0
        for number, size in enumerate(self.camera_sizes):
            here = (camera == number).nonzero().flatten()
            if len(here):
                rows = self.bank[first : first + size].detach()
                if similarity is None:
                    logits = products(inputs[here], rows)
                else:
                    logits = known_products(inputs[here], rows, similarity[here, first : first + size])
                found.append(F.cross_entropy(logits / self.temp, own[here] - first, reduction="none"))
                order.append(here)
            first += size
        return torch.cat(found)[torch.argsort(torch.cat(order))]

    @staticmethod
    def _balanced(losses: Tensor, camera: Tensor, weights: Tensor | None) -> Tensor:
        if weights is not None:
            losses = weights.to(losses.dtype) * losses
        return (camera_balanced_weights(camera) * losses).sum()

    def _mixed(self, similarity: Tensor, own: Tensor) -> Tensor:
        """(B, P): ``balance * s + (1 - balance) *`` the similarity of the own proxy."""
        proxies, place = distinct(own)
        between = products(self.bank[proxies], self.bank)
        between = between if place is None else between[place]
        return self.balance * similarity + (1.0 - self.balance) * between

    def _write(
        self,
        features: Tensor,
        targets: Tensor,
        num_instances: int | None,
        camids: Tensor | None = None,
        **fields: Any,
    ) -> None:
        own = self.own_proxies(targets, camids)
        write_by_rule(
            *(self.rule, self.bank, features, own, self.camera[own]),
            momentum=self.momentum,
            num_instances=num_instances,
        )

    def get_extra_state(self) -> dict[str, Any]:
        """See :class:`Memory`."""
        return {**super().get_extra_state(), "camera_sizes": self.camera_sizes}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """See :class:`Memory`."""
        entries(state, "the counters of the memory", {"resets": int, "updates": int, "camera_sizes": list})
        if not all(type(size) is int and size >= 0 for size in state["camera_sizes"]):
            raise StateError("'camera_sizes' of the memory are no counts")
        super().set_extra_state({name: state[name] for name in ("resets", "updates")})
        self.camera_sizes = list(state["camera_sizes"])

    def check_targets(self, targets: Tensor) -> None:
        """See :class:`Memory`."""
        count, cameras = len(self.bank), max(1, len(self.camera_sizes))
        if len(self.own) % cameras or not len(self.cluster) == len(self.camera) == count == sum(self.camera_sizes):
            raise StateError("'bank', 'cluster', 'camera' and 'own' of the memory have contradicting lengths")
        super().check_targets(targets)
        for name, values, bound in (
            ("cluster", self.cluster, self.num_clusters),
            ("camera", self.camera, cameras),
            ("own", self.own, count),
        ):
            if len(values) and not 0 <= int(values.min()) <= int(values.max()) < bound:
                raise StateError(f"{name!r} of the memory names what is not there")
