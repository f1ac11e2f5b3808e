"""The loop, followed by hand on scripts: order, counters, learning rates, stops, and what a checkpoint must restore."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.engine.scripted import LABELS, Log, N, Script, Scripted
from unreid.engine.hooks import Hook
from unreid.engine.trainer import Trainer
from unreid.structures import Clustering, Position, RoundPlan
from unreid.utils.errors import UserError

WARM = [list(range(N))]


def test_everything_happens_in_the_documented_order() -> None:
    log = Log()
    script = Script(Scripted(epochs=2, iters=2), hooks=[log])
    script.trainer.train()
    assert log.seen == [  # call, round, epoch, step, global step: what is finished
        ("before_train", 0, 0, 0, 0),
        ("after_label", 0, 0, 0, 0),
        ("before_epoch", 0, 0, 0, 0),
        ("after_step", 0, 0, 1, 1),
        ("after_step", 0, 0, 2, 2),
        ("after_epoch", 1, 1, 0, 2),
        ("after_label", 1, 1, 0, 2),
        ("before_epoch", 1, 1, 0, 2),
        ("after_step", 1, 1, 1, 3),
        ("after_step", 1, 1, 2, 4),
        ("after_epoch", 2, 2, 0, 4),
        ("after_train", 2, 2, 0, 4),
    ]
    one = ["label {0}", "plan {0}", "train_mode", "after_step {1}", "after_step {2}"]
    assert script.method.calls == [call.format(r, 2 * r, 2 * r + 1) for r in (0, 1) for call in one]  # type: ignore[attr-defined]
    assert script.extractions == [("embedding", 0), ("embedding", 1)]
    assert [loader.closed for loader in script.loaders] == [1, 1]
    assert script.trainer.storage.step == 4


def test_a_step_knows_where_it_stands() -> None:
    method = Scripted(epochs=2, iters=2)
    Script(method).trainer.train()
    assert method.positions == [Position(e, e, 2, s, 2, 2 * e + s) for e in (0, 1) for s in (0, 1)]


def test_the_sum_of_the_losses_moves_the_weight_at_the_groups_rate() -> None:
    """Gradient 1 + 2, rate 0.1, the group's factor 0.5, four steps; the second starts from no gradient."""
    script = Script(Scripted(epochs=2, iters=2))
    script.trainer.train()
    assert script.weight == pytest.approx(1 - 4 * 0.1 * 0.5 * 3)


def test_the_schedule_is_asked_with_parts_of_an_epoch() -> None:
    asked: list[float] = []
    Script(Scripted(epochs=2, iters=4), learning_rate=lambda at: asked.append(at) or 0.1).trainer.train()  # type: ignore[func-returns-value]
    assert asked == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]


def test_the_rate_of_a_plan_drops_at_its_milestones_and_starts_anew_in_every_round() -> None:
    class Rates(Hook):
        def __init__(self) -> None:
            self.rates: list[float] = []

        def after_step(self, output: Any) -> None:
            self.rates.append(self.trainer.optimizer.param_groups[0]["lr"])

    rates = Rates()
    script = Script(Scripted(epochs=6, iters=1), hooks=[rates])
    script.method.plan_options = {"epochs": 3, "lr": 1.0, "lr_milestones": (1, 2)}  # type: ignore[attr-defined]
    script.trainer.train()
    assert rates.rates == pytest.approx([0.5, 0.05, 0.005] * 2)


# ---------------------------------------------------------------------------------------------------- rounds


def test_a_round_of_several_epochs_is_labelled_once() -> None:
    log = Log()
    method = Scripted(epochs=4, iters=1)
    method.plan_options["epochs"] = 2
    script = Script(method, hooks=[log])
    script.trainer.train()
    assert [seen[2] for seen in log.seen if seen[0] == "after_label"] == [0, 2]
    assert [loader.starts for loader in script.loaders] == [[(0, 0), (1, 0)], [(2, 0), (3, 0)]]


def test_the_warm_up_takes_the_first_round_and_is_labelled_with_instances() -> None:
    warmup = Scripted(WARM, iters=3)
    warmup.plan_options["epochs"] = 2
    log = Log()
    script = Script(Scripted(epochs=4, iters=1), warmup=warmup, hooks=[log], relabel_every=2, unreadable=[0])
    script.trainer.train()
    assert [(loader.is_warmup, loader.starts) for loader in script.loaders] == [
        (True, [(0, 0), (1, 0)]),
        (False, [(2, 0), (3, 0)]),
    ]
    assert [seen[1] for seen in log.seen if seen[0] == "after_label"] == [-1, 0], "round -1 is the warm-up"
    assert warmup.calls[:2] == ["label 0", "plan 0"], "a warm-up knows no rounds below 0"
    assert script.extractions == [("embedding", -1), ("embedding", 0)]
    assert warmup.planned[0].num_clusters == N, "unreadable samples are an affair of the clustering"
    assert script.method.planned[0].labels.tolist() == [-1, 0, 0, 1, 1, 1]  # type: ignore[attr-defined]


def test_instance_labels_are_shuffled_and_others_go_to_the_configured_sampler() -> None:
    script = Script(Scripted([WARM[0], LABELS], epochs=2))
    script.trainer.train()
    assert [loader.plan.sampler for loader in script.loaders] == ["shuffle", None]


def test_the_optimiser_is_rebuilt_where_a_plan_says_so() -> None:
    kept, rebuilt = Script(Scripted(epochs=3)), Script(Scripted(epochs=3, optimizer="rebuild"))
    for script in (kept, rebuilt):
        script.trainer.train()
    assert (len(kept.optimizers), len(rebuilt.optimizers)) == (1, 4)
    assert rebuilt.trainer.optimizer is rebuilt.optimizers[-1]


def test_a_poor_round_trains_on_the_previous_labels_and_too_many_end_the_run() -> None:
    poor = [-1] * N
    method = Scripted([LABELS, poor, poor, LABELS, poor, poor], epochs=6)
    Script(method, max_empty_rounds=3).trainer.train()
    assert all(clustering.labels.tolist() == list(LABELS) for clustering in method.planned)
    with pytest.raises(UserError, match="in 3 rounds in a row"):
        Script(Scripted([LABELS, poor], epochs=9), max_empty_rounds=3).trainer.train()


def test_features_of_a_clustering_are_forgotten_after_all_have_seen_them() -> None:
    class Features(Hook):
        def after_label(self, clustering: Clustering, plan: RoundPlan) -> None:
            assert clustering.features is not None

    script = Script(hooks=[Features()])
    script.trainer.train()
    assert script.trainer.clustering is not None and script.trainer.clustering.features is None


# ----------------------------------------------------------------------------------------------------- stops


def stop_in(call: str, step: int) -> Log:
    def act(trainer: Trainer, now: str) -> None:
        if now == call and trainer.state.global_step == step:
            trainer.request_stop("enough")

    return Log(act)


@pytest.mark.parametrize(
    ("step", "end"),
    [(1, (0, 0, 1, 1)), (2, (1, 1, 0, 2)), (3, (1, 1, 1, 3))],
    ids=["in an epoch", "at its last step", "in the next epoch"],
)
def test_a_stop_ends_after_the_step_and_an_epoch_that_is_done_is_counted(step: int, end: tuple[int, ...]) -> None:
    log = stop_in("after_step", step)
    script = Script(Scripted(epochs=3, iters=2), hooks=[log])
    script.trainer.train()
    assert script.trainer.stop_reason == "enough"
    assert log.seen[-1] == ("after_train", *end)
    assert all(loader.closed == 1 for loader in script.loaders)


def test_every_hook_may_close_also_after_an_error_and_when_another_fails(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Hook):
        def after_train(self) -> None:
            raise RuntimeError("closing failed")

        def after_step(self, output: Any) -> None:
            raise KeyError("first error")

    log = Log()
    script = Script(hooks=[Failing(), log])
    with pytest.raises(KeyError, match="first error"):
        script.trainer.train()
    assert log.seen[-1][0] == "after_train" and script.loaders[0].closed == 1
    assert "Failing failed while the run was closing" in caplog.text


# ----------------------------------------------------------------------------------------------------- state


class Counter(Hook):
    def __init__(self) -> None:
        self.steps = 0

    def after_step(self, output: Any) -> None:
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 7, 10, 13])
def test_a_restored_trainer_goes_on_where_the_other_stopped(step: int) -> None:
    """Poor rounds, plans with milestones, momentum: whatever a run has on the way is the same at its end."""
    poor = [-1] * N

    def make(*hooks: Hook) -> Script:
        method = Scripted([LABELS, poor, poor, LABELS], epochs=8, iters=2)
        method.plan_options = {"epochs": 2, "lr": 0.2, "lr_milestones": (1,)}
        return Script(method, hooks=hooks, momentum=0.9)

    whole_counter, counter, other = Counter(), Counter(), Counter()
    whole = make(whole_counter)
    whole.trainer.train()
    cut = make(stop_in("after_step", step), counter)
    cut.trainer.train()
    state = cut.trainer.state_dict()
    resumed = make(other)
    resumed.trainer.load_state_dict(state)
    assert resumed.trainer.storage.step == step
    if cut.trainer.state.round in (1, 2):
        assert resumed.trainer.guard.empty_rounds == cut.trainer.guard.empty_rounds
    resumed.trainer.train()
    assert resumed.weight == whole.weight
    assert resumed.trainer.state == whole.trainer.state
    assert other.steps == whole_counter.steps
    buffers = [list(script.trainer.optimizer.state.values())[0]["momentum_buffer"] for script in (whole, resumed)]
    assert torch.equal(*buffers)


def test_what_is_drawn_from_global_generators_goes_on_as_well() -> None:
    cut = Script(hooks=[stop_in("after_step", 1)])
    cut.trainer.train()
    state = cut.trainer.state_dict()
    expected = torch.rand(3)
    torch.manual_seed(99)
    Script().trainer.load_state_dict(state)
    assert torch.equal(torch.rand(3), expected)


def test_poor_rounds_before_a_stop_still_count_after_it() -> None:
    poor = [-1] * N
    cut = Script(Scripted([poor], epochs=9, iters=2), hooks=[stop_in("after_step", 3)], max_empty_rounds=3)
    cut.trainer.train()
    resumed = Script(Scripted([poor], epochs=9, iters=2), max_empty_rounds=3)
    resumed.trainer.load_state_dict(cut.trainer.state_dict())
    with pytest.raises(UserError, match="in 3 rounds in a row"):
        resumed.trainer.train()
    assert resumed.trainer.state.epoch == 2
