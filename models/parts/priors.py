"""Priors over the latent space and the divergences of posteriors from them."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional


def gaussian_divergence(
    mean: torch.Tensor,
    variance: torch.Tensor,
    other_mean: torch.Tensor | float = 0.0,
    other_variance: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """KL(N(mean, variance) || N(other)) summed over the dimensions: n_rows. The default is the standard prior."""
    other_variance = torch.as_tensor(other_variance, dtype=mean.dtype, device=mean.device)
    ratio = variance / other_variance
    # A variance that underflows to zero has an infinite divergence; keep it finite and large.
    log_ratio = torch.log(variance.clamp_min(1e-30)) - torch.log(other_variance)
    return 0.5 * (ratio + (mean - other_mean).square() / other_variance - 1 - log_ratio).sum(1)


def laplace_divergence(
    location: torch.Tensor, scale: torch.Tensor, prior_location: torch.Tensor, prior_scale: torch.Tensor
) -> torch.Tensor:
    """KL(Laplace(location, scale) || Laplace(prior)) summed over the dimensions: n_rows (closed form).

    ``log(s0 / s) + |d| / s0 + (s / s0) exp(-|d| / s) - 1`` with d the distance of the locations.
    """
    distance = (location - prior_location).abs()
    terms = (
        torch.log(prior_scale / scale) + distance / prior_scale + scale / prior_scale * torch.exp(-distance / scale) - 1
    )
    return terms.sum(1)


def dirichlet_by_laplace(n_latent: int, concentration: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance, each n_latent, of the Gaussian whose softmax approximates Dirichlet(concentration).

    Laplace's approximation in the softmax basis (MacKay 1998; Srivastava and Sutton 2017, used by Cobolt).
    """
    alpha = torch.full((n_latent,), float(concentration))
    mean = torch.log(alpha) - torch.log(alpha).mean()
    variance = (1 - 2 / n_latent) / alpha + (1 / alpha).sum() / n_latent**2
    return mean, variance


class GaussianMixturePrior(nn.Module):
    """Mixture of diagonal Gaussians with learned weights, means and variances (scMVP, after VaDE and SCALE).

    Parameters
    ----------
    n_components, n_latent
        Sizes.
    """

    def __init__(self, n_components: int, n_latent: int) -> None:
        super().__init__()
        self.weight_logits = nn.Parameter(torch.zeros(n_components))
        self.means = nn.Parameter(torch.randn(n_components, n_latent) * 0.1)
        self.log_variances = nn.Parameter(torch.zeros(n_components, n_latent))

    def component_log_density(self, z: torch.Tensor) -> torch.Tensor:
        """log pi_k + log N(z | mu_k, sigma_k): n_rows x n_components."""
        difference = z[:, None, :] - self.means
        log_density = -0.5 * (
            difference.square() / self.log_variances.exp() + self.log_variances + math.log(2 * math.pi)
        )
        return functional.log_softmax(self.weight_logits, dim=0) + log_density.sum(2)

    def responsibilities(self, z: torch.Tensor) -> torch.Tensor:
        """q(c | z) = p(c | z): n_rows x n_components."""
        return torch.softmax(self.component_log_density(z), dim=1)

    def divergence(self, mean: torch.Tensor, variance: torch.Tensor, responsibilities: torch.Tensor) -> torch.Tensor:
        """E_q(z) KL of N(mean, variance) and q(c) from the mixture, for given responsibilities: n_rows.

        ``sum_k q_k KL(q(z) || N_k) + KL(q(c) || pi)``, the VaDE bound.
        """
        difference = mean[:, None, :] - self.means
        prior_variance = self.log_variances.exp()
        log_ratio = torch.log(variance.clamp_min(1e-30))[:, None, :] - self.log_variances
        divergences = 0.5 * (
            variance[:, None, :] / prior_variance + difference.square() / prior_variance - 1 - log_ratio
        )
        log_weights = functional.log_softmax(self.weight_logits, dim=0)
        categorical = responsibilities * (torch.log(responsibilities + 1e-12) - log_weights)
        return (responsibilities * divergences.sum(2)).sum(1) + categorical.sum(1)

    @torch.no_grad()
    def initialise(self, z, seed: int) -> None:
        """Fit by expectation maximisation (scikit-learn) to `z`, NumPy array, n_rows x n_latent."""
        from sklearn.mixture import GaussianMixture

        n_components = min(len(self.means), len(z))
        mixture = GaussianMixture(n_components, covariance_type="diag", random_state=seed, reg_covar=1e-4).fit(z)
        target = self.means
        target[:n_components] = torch.from_numpy(mixture.means_).to(target)
        self.log_variances[:n_components] = torch.from_numpy(mixture.covariances_).log().to(target)
        self.weight_logits[:n_components] = torch.from_numpy(mixture.weights_).log().to(target)


class GaussianMixtureWithPriors(nn.Module):
    """multiDGD's latent distribution: a mixture of Gaussians whose own parameters have priors.

    Means follow a softball (a uniform ball with a logistic edge), weights a Dirichlet, negative log variances
    a Gaussian around ``-log`` of the squared standard deviation `deviation`.

    Parameters
    ----------
    n_components, n_latent
        Sizes.
    radius, sharpness
        Of the softball.
    deviation
        Standard deviation of a component at the start and in the prior's centre.
    concentration
        Dirichlet alpha of the weights.
    """

    def __init__(
        self,
        n_components: int,
        n_latent: int,
        radius: float = 2.0,
        sharpness: float = 5.0,
        deviation: float | None = None,
        concentration: float = 1.0,
    ) -> None:
        super().__init__()
        deviation = 0.2 * radius / n_components if deviation is None else deviation
        self.radius, self.sharpness, self.concentration = radius, sharpness, concentration
        self.centre = -2 * math.log(deviation)
        directions = torch.randn(n_components, n_latent)
        directions /= directions.norm(dim=1, keepdim=True)
        self.means = nn.Parameter(directions * radius * torch.rand(n_components, 1) ** (1 / n_latent))
        self.negative_log_variances = nn.Parameter(torch.full((n_components, n_latent), self.centre))
        self.weight_logits = nn.Parameter(torch.ones(n_components))

    def component_log_density(self, z: torch.Tensor) -> torch.Tensor:
        """log pi_k + log N(z | mu_k, Sigma_k): n_rows x n_components."""
        precision = self.negative_log_variances.exp()
        # |z - mu|^2 expanded, so that no n_rows x n_components x n_latent array is formed.
        square = (
            z.square() @ precision.t() - 2 * z @ (precision * self.means).t() + (precision * self.means.square()).sum(1)
        )
        constant = 0.5 * (self.negative_log_variances.sum(1) - z.shape[1] * math.log(2 * math.pi))
        return functional.log_softmax(self.weight_logits, dim=0) + constant - 0.5 * square

    def log_density(self, z: torch.Tensor) -> torch.Tensor:
        """log p(z): n_rows (Schuster and Krogh 2024, equation 4)."""
        return torch.logsumexp(self.component_log_density(z), dim=1)

    def label_log_density(self, z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """log N(z | mu_c, Sigma_c) of the component of each row's `label` (equation 10): n_rows."""
        log_density = self.component_log_density(z) - functional.log_softmax(self.weight_logits, dim=0)
        return log_density.gather(1, label[:, None])[:, 0]

    def log_prior(self) -> torch.Tensor:
        """log p(mu) + log p(w) + log p(-log Sigma), a scalar (equations 7 and 8)."""
        n_components, n_latent = self.means.shape
        volume = math.lgamma(1 + n_latent / 2) - n_latent * (math.log(self.radius) + 0.5 * math.log(math.pi))
        edge = functional.softplus(self.sharpness * (self.means.norm(dim=1) / self.radius - 1))
        dirichlet = math.lgamma(n_components * self.concentration) - n_components * math.lgamma(self.concentration)
        log_weights = functional.log_softmax(self.weight_logits, dim=0)
        variances = -0.5 * (self.negative_log_variances - self.centre).square() - 0.5 * math.log(2 * math.pi)
        return (volume - edge).sum() + dirichlet + (self.concentration - 1) * log_weights.sum() + variances.sum()
