"""scMM: the release (kodaim1115/scMM) beside our model, on the same cells.

    python tests/performance/fidelity/scmm.py CHECKOUT [--data bmmc_cite --modalities rna protein]
    python tests/performance/fidelity/scmm.py CHECKOUT --divergence --data pbmc10k_cite --modalities rna protein --real-cells 5000

Networks and objective are the release's; its ``main.py`` reads folders and parses the command line, so the loop over
mini-batches stands here (AMSGrad, four fifths of the cells for training, last incomplete mini-batch left out). Of
the packages that it imports and does not use in training, torchvision and torchnet are stood in for.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import types
from functools import partial

import numpy as np
import side_by_side
import torch

from models.scmm import ScMM


class Together(torch.utils.data.Dataset):
    """Stands in for torchnet's ``TensorDataset``: rows of several data sets side by side."""

    def __init__(self, parts: list) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, index: int) -> list:
        return [part[index] for part in self.parts]


def load_release(checkout) -> types.SimpleNamespace:
    """Their models and objectives. Their packages are called as ours are, so they are taken out again."""
    for name in ("torchnet", "torchnet.dataset", "torchvision", "torchvision.utils"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["torchnet.dataset"].TensorDataset = Together
    sys.modules["torchnet.dataset"].ResampleDataset = object
    sys.modules["torchvision"].datasets = sys.modules["torchvision"].transforms = None
    sys.modules["torchvision.utils"].save_image = sys.modules["torchvision.utils"].make_grid = None
    if not hasattr(np, "Inf"):
        np.Inf = np.inf
    theirs = ("models", "objectives", "utils", "vis", "datasets")

    def taken_out() -> dict:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in theirs}

    kept = taken_out()
    sys.path.insert(0, str(checkout / "src"))
    found = types.SimpleNamespace(
        models=importlib.import_module("models"), objectives=importlib.import_module("objectives")
    )
    taken_out()
    sys.path.pop(0)
    sys.modules.update(kept)
    return found


class Trained:
    """Their model on a design, ready to train.

    Parameters
    ----------
    release
        From :func:`load_release`.
    visible
        A design of paired cells.
    seed
        Of split, weights and noise.
    hyperparameters
        Ours, where the release has them.
    """

    def __init__(self, release, visible, seed: int, hyperparameters: dict) -> None:
        torch.manual_seed(seed)
        np.random.seed(seed)
        self.objective, self.warmup = release.objectives.m_elbo_naive_warmup, hyperparameters["kl_warmup_epochs"]
        self.counts = [torch.from_numpy(visible.padded(name).toarray()).float() for name in visible.modalities]
        second = visible.modalities[1]
        settings = argparse.Namespace(
            latent_dim=hyperparameters["n_latent"],
            num_hidden_layers=hyperparameters["n_layers"],
            r_hidden_dim=hyperparameters["width_rna"],
            p_hidden_dim=hyperparameters[f"width_{second}"],
            r_dim=self.counts[0].shape[1],
            p_dim=self.counts[1].shape[1],
            learn_prior=False,
            llik_scaling=1.0,
        )
        self.model = getattr(release.models, f"VAE_rna_{second}")(settings)
        size = hyperparameters["batch_size"]
        order = torch.from_numpy(np.random.permutation(visible.n_obs))
        n_training = round(0.8 * visible.n_obs)
        self.training, self.held_out = (
            self.model.getDataLoaders(
                [torch.utils.data.Subset(part, cells) for part in self.counts], size, shuffle, shuffle, device="cpu"
            )
            for cells, shuffle in ((order[:n_training], True), (order[n_training:], False))
        )
        self.optimiser = torch.optim.Adam(
            [value for value in self.model.parameters() if value.requires_grad],
            lr=hyperparameters["learning_rate"],
            amsgrad=True,
        )
        self.epoch = 0

    def train(self, n_epochs: int) -> None:
        """So many more epochs, each with a pass over the held-out cells as the release makes it."""
        for _ in range(n_epochs):
            self.epoch += 1
            weight = min(1.0, (self.epoch - 1) / self.warmup)
            self.model.train()
            for batch in self.training:
                self.optimiser.zero_grad()
                loss = -self.objective(self.model, batch, weight)
                loss.backward()
                self.optimiser.step()
                if not torch.isfinite(loss):
                    raise FloatingPointError(f"theirs diverged in epoch {self.epoch}")
            self.model.eval()
            with torch.no_grad():
                for batch in self.held_out:
                    self.objective(self.model, batch, weight)

    def embedding(self) -> np.ndarray:
        """Mean of the two locations of every cell."""
        return (sum(self.model.latents(self.counts)) / 2).numpy()


def divergence(release, made, settings: dict, n_seeds: int) -> None:
    """Print in which epoch, if in any, each of both diverges."""
    for name, (visible, _) in made.items():
        for seed in range(n_seeds):
            model, found = ScMM(**settings), {}
            other = Trained(release, visible, seed, model.hyperparameters)
            for way, run, arguments in (
                ("ours", model.fit, (visible, seed, "cpu")),
                ("theirs", other.train, (settings["epochs"],)),
            ):
                try:
                    side_by_side.quietly(run, *arguments)
                    found[way] = "finite to the end"
                except (ValueError, RuntimeError, FloatingPointError) as error:
                    found[way] = f"{type(error).__name__}: {str(error).splitlines()[0][:90]}"
            losses = model.loss_history["validation_reconstruction"]
            print(
                f"{name}, {visible.n_obs} cells, seed {seed}: {found}; our held-out loss {losses[0]:.4g}, "
                f"lowest {min(losses):.4g}, last {losses[-1]:.4g}",
                flush=True,
            )


def main() -> None:
    """Compare, then time."""
    options = side_by_side.training_parser(__doc__, epochs=100)
    options.add_argument("--modalities", nargs=2, default=["rna", "atac"])
    options.add_argument("--cells", type=int, default=1000, help="simulated cells")
    options.add_argument("--real-cells", type=int, help="cells to draw from each file; all without it")
    options.add_argument("--divergence", action="store_true", help="only say where training diverges")
    options = options.parse_args()
    release = load_release(options.checkout)
    torch.set_num_threads(1)
    made = side_by_side.designs(
        options.data or ["simulated", "bmmc_multiome"],
        0.0,
        tuple(options.modalities),
        options.cells,
        options.real_cells,
    )
    settings = {"epochs": options.epochs, "patience": options.epochs, **options.ours}
    if options.divergence:
        divergence(release, made, settings, options.seeds)
        return

    def theirs(visible, seed: int) -> np.ndarray:
        model = Trained(release, visible, seed, ScMM(**settings).hyperparameters)
        model.train(options.epochs)
        return model.embedding()

    ways = {"ours": side_by_side.fitted(ScMM, settings), "theirs": theirs}
    if options.only != "times":
        side_by_side.compare(ways, made, options.seeds, f", {options.epochs} epochs")
    if options.only != "scores":
        side_by_side.time_epochs(
            made, partial(ScMM, epochs=12, patience=12), partial(their_epoch, release), options.repeats
        )


def their_epoch(release, visible, n_epochs: int = 5) -> float:
    """CPU seconds of one of their epochs, after a first one."""
    model = Trained(release, visible, 0, ScMM().hyperparameters)
    model.train(1)
    start = time.process_time()
    model.train(n_epochs)
    return (time.process_time() - start) / n_epochs


if __name__ == "__main__":
    main()
