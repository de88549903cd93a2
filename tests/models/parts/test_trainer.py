"""The trainer: warm-up, early stopping, divergence, clipping, second player, checkpoint and resume."""

import numpy as np
import pytest
import torch

from models.base import DivergedError
from models.checkpoint import Checkpoint
from models.parts.dense import DenseRows
from models.parts.trainer import Trainer, TrainingPlan


class Regression(torch.nn.Module):
    """y = w x with dropout noise, so that resuming has to restore the random state."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def losses(self, batch, kl_weight):
        noise = torch.randn_like(batch.x[:, :1]) * 0.01
        error = (self.layer(batch.x) - batch.x[:, :1] * 2 + noise).square().mean()
        return {"loss": error, "reconstruction": error, "weight": torch.tensor(kl_weight)}


def data(n=64):
    generator = torch.Generator().manual_seed(0)
    return DenseRows(torch.randn(n, 3, generator=generator), torch.zeros(n, dtype=torch.long), 1)


def train(plan, checkpoint=None, seed=0, module=None, stop_at=None, **options):
    torch.manual_seed(1)
    module = module or Regression()
    history = []

    def progress(epoch, total, **losses):
        history.append(losses)
        if not all(np.isfinite(value) for value in losses.values()):
            raise DivergedError(f"epoch {epoch}")
        if stop_at is not None and epoch == stop_at:
            raise KeyboardInterrupt

    trainer = Trainer(module, data(), plan, seed, progress, checkpoint, **options)
    trainer.fit()
    return module, history, trainer


PLAN = TrainingPlan(
    epochs=12, batch_size=16, learning_rate=0.05, kl_warmup_epochs=4, validation_fraction=0.25, patience=None
)


def test_training_lowers_the_loss_and_warms_up():
    _, history, _ = train(PLAN)
    assert history[-1]["loss"] < history[0]["loss"] / 5
    assert [entry["weight"] for entry in history[:6]] == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1])
    assert "validation_reconstruction" in history[0]


def test_the_global_generator_is_left_alone_and_seeds_decide():
    state = torch.get_rng_state()
    first, _, _ = train(PLAN)
    torch.manual_seed(1)
    Regression()
    torch.set_rng_state(state)
    weights = [train(PLAN, seed=seed)[0].layer.weight.detach().numpy() for seed in (0, 0, 1)]
    assert np.array_equal(weights[0], weights[1]) and np.array_equal(weights[0], first.layer.weight.detach().numpy())
    assert not np.array_equal(weights[0], weights[2])


def test_resuming_gives_the_same_bytes_as_an_undisturbed_run(tmp_path):
    whole, history, _ = train(PLAN)
    path, ticks = tmp_path / "state", iter(range(1000))
    with pytest.raises(KeyboardInterrupt):
        # Of eight epochs the last ones are lost: by this clock, not each of them leaves a checkpoint.
        train(PLAN, Checkpoint(path, "x", 2.5, clock=lambda: next(ticks)), stop_at=8)
    assert path.exists()
    kept = Checkpoint(path, "x")
    assert 0 < kept.load("cpu")["epoch"] < 7
    resumed, later, trainer = train(PLAN, kept)
    assert np.array_equal(whole.layer.weight.detach().numpy(), resumed.layer.weight.detach().numpy())
    assert later == history and trainer.epoch == 12
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_of_another_training_is_ignored(tmp_path):
    whole, history, _ = train(PLAN)
    with pytest.raises(KeyboardInterrupt):
        train(PLAN, Checkpoint(tmp_path / "state", "another", 0.0), stop_at=8)
    anew, later, _ = train(PLAN, Checkpoint(tmp_path / "state", "mine"))
    assert torch.equal(whole.layer.weight, anew.layer.weight) and later == history


def test_the_log_of_a_resumed_training_has_its_own_epochs(tmp_path, capsys):
    from models import registry

    model = registry.model_class("davae")()
    with pytest.raises(KeyboardInterrupt):
        # By a clock that stands still one is due after each epoch.
        train(PLAN, Checkpoint(tmp_path / "state", "x", 0.0, clock=lambda: 0.0), stop_at=8)
    kept = Checkpoint(tmp_path / "state", "x")
    model.checkpoint = kept
    torch.manual_seed(1)
    Trainer(Regression(), data(), PLAN, 0, model.progress, kept).fit()
    log = capsys.readouterr().err.splitlines()
    assert log[0] == "resumed after epoch 7 of 12" and log[1].startswith("epoch 8/12") and len(log) == 6
    assert model.epochs == 12 and len(model.loss_history["loss"]) == 12


def test_early_stopping_waits_for_patience_and_first_stop():
    plan = TrainingPlan(epochs=50, batch_size=16, learning_rate=0.0, patience=3, first_stop=9, kl_warmup_epochs=0)

    class Constant(Regression):
        def losses(self, batch, kl_weight):
            loss = self.layer(batch.x).sum() * 0 + 1.0
            return {"loss": loss, "reconstruction": loss}

    _, history, trainer = train(plan, module=Constant())
    assert trainer.epoch == 9 + 1 + 3
    _, _, trainer = train(TrainingPlan(epochs=50, batch_size=16, learning_rate=0.0, patience=3), module=Constant())
    assert trainer.epoch == 4


def test_early_stopping_does_not_compare_with_losses_of_the_warm_up():
    """While the weight of the KL term rises, the loss rises with it, and what counts goes on falling."""

    class Falls(Regression):
        def losses(self, batch, kl_weight):
            zero = self.layer(batch.x).sum() * 0
            reconstruction = zero + 100 - 0.05 * trainer_epoch()
            return {"loss": reconstruction + 10 * kl_weight, "reconstruction": reconstruction}

    epochs = []

    def trainer_epoch():
        epochs.append(None)
        return len(epochs)

    plan = TrainingPlan(
        epochs=30, batch_size=64, learning_rate=0.0, patience=3, first_stop=15, kl_warmup_epochs=15, monitor="loss"
    )
    _, _, trainer = train(plan, module=Falls())
    assert trainer.epoch == 30


def test_a_loss_that_is_not_finite_is_a_divergence():
    class Explodes(Regression):
        def losses(self, batch, kl_weight):
            loss = self.layer(batch.x).mean() * float("nan")
            return {"loss": loss, "reconstruction": loss}

    with pytest.raises(DivergedError):
        train(PLAN, module=Explodes())


def test_restore_best_returns_to_the_lowest_validation_loss():
    plan = TrainingPlan(
        epochs=20, batch_size=16, learning_rate=2.0, patience=None, restore_best=True, kl_warmup_epochs=0
    )
    module, history, trainer = train(plan)
    losses = [entry["validation_reconstruction"] for entry in history]
    assert trainer.best_loss == min(losses)
    for name, value in trainer.best_state.items():
        assert torch.equal(value, module.state_dict()[name])


def test_clipping_bounds_the_step_of_the_gradient():
    plan = TrainingPlan(epochs=1, batch_size=64, validation_fraction=0.0, gradient_clip=1e-3, kl_warmup_epochs=0)
    module, _, trainer = train(plan)
    norm = torch.sqrt(sum(value.grad.square().sum() for value in module.parameters()))
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)


def test_the_second_player_has_parameters_and_an_optimiser_of_its_own():
    class Game(Regression):
        second_options = {"lr": 0.01}

        def __init__(self):
            super().__init__()
            self.judge = torch.nn.Linear(1, 1)

        def second_parameters(self):
            return list(self.judge.parameters())

        def second_loss(self, batch):
            return (self.judge(batch.x[:, :1]) - 1).square().mean()

    module = Game()
    before = module.judge.weight.detach().clone()
    _, _, trainer = train(PLAN, module=module)
    assert not torch.equal(before, module.judge.weight)
    assert all(value is not parameter for value in trainer.parameters for parameter in module.second_parameters())
    assert [group["lr"] for group in trainer.second.param_groups] == [0.01]


def test_only_eligible_observations_are_used():
    _, _, trainer = train(PLAN, eligible=np.arange(10, 30))
    used = np.concatenate((trainer.training, trainer.validation))
    assert sorted(used.tolist()) == list(range(10, 30)) and len(trainer.validation) == 5
