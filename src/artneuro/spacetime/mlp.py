"""The nonlinear probe that linear ones are held against: one hidden layer of ReLU units.

Thesis, section 4.3.2 and table 4.2: W2 ReLU(W1 x + b1) + b2 with 256 neurons, trained by AdamW. The
weight decay is chosen on a validation part of the training rows; the probes of all weight decays
are trained at once, from the same initial weights on the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.base import BaseEstimator, RegressorMixin

from artneuro.core.errors import DataError
from artneuro.datasets.seeding import hash_of
from artneuro.datasets.splits import grouped_split

WEIGHT_DECAYS = (0.01, 0.03, 0.1, 0.3)


class MLPProbe(RegressorMixin, BaseEstimator):
    """Multi-output regression by an MLP with one hidden layer.

    The loss is the squared error of standardised targets, mean over targets. Inputs and targets
    are centred and scaled to unit variance by the rows trained on, validation rows excluded;
    constant ones are only centred. Initial weights and biases are uniform within 1/sqrt(inputs of
    the layer). After each epoch the validation rows are scored; the weights kept are those of the
    best epoch of the best weight decay.

    Parameters
    ----------
    hidden : int
        Neurons.
    learning_rate : float
        Of AdamW; its other settings are the usual ones (betas 0.9 and 0.999, eps 1e-8).
    weight_decays : sequence of float
        Decoupled weight decays to choose from, on all parameters.
    batch_size : int
        Rows of a step.
    max_epochs : int
        Passes over the rows at most: enough for tables of 40,000 rows, of 57 steps each.
    min_steps : int
        Where `max_epochs` passes are fewer steps than this, there are more passes: a table of 3,000
        rows has but 6 steps an epoch, and 20 epochs would end before the fit is done. About what
        20 epochs of 40,000 rows are.
    patience : int
        Epochs without a better validation error after which a weight decay is given up.
    patience_steps : int
        Steps that `patience` epochs are at least, for the same reason as `min_steps`.
    validation_fraction : float
        Share of the rows to validate on, in whole groups.
    seed : int
        Seed of the validation part, the initial weights and the order of the rows.

    Attributes
    ----------
    weight_decay_ : float
        The weight decay of the least validation error.
    validation_error_ : float
        Squared error of standardised targets on the validation rows, mean over targets, of the
        weights that were kept.
    validation_errors_ : ndarray, shape (n_weight_decays,)
        The same for the best epoch of each weight decay.
    best_epoch_ : int
        Epoch after which the kept weights stood, from 1.
    n_epochs_ : int
        Epochs until every weight decay was given up or the last had passed.
    in_weights_, in_bias_, out_weights_, out_bias_ : ndarray, float32
        (n_features, hidden), (hidden,), (hidden, n_targets), (n_targets,): of standardised inputs
        and targets.
    validation_ : ndarray of bool, shape (n_rows,)
        The rows validated on.
    """

    def __init__(
        self,
        hidden: int = 256,
        learning_rate: float = 1e-3,
        weight_decays: Sequence[float] = WEIGHT_DECAYS,
        batch_size: int = 512,
        max_epochs: int = 20,
        min_steps: int = 1000,
        patience: int = 3,
        patience_steps: int = 100,
        validation_fraction: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.learning_rate = learning_rate
        self.weight_decays = weight_decays
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.min_steps = min_steps
        self.patience = patience
        self.patience_steps = patience_steps
        self.validation_fraction = validation_fraction
        self.seed = seed

    def fit(
        self, X: np.ndarray, y: np.ndarray, groups: Sequence[str] | np.ndarray | None = None
    ) -> MLPProbe:
        """Train on rows, of which some are set aside to choose weight decay and epoch.

        Parameters
        ----------
        X : ndarray, shape (n_rows, n_features)
        y : ndarray, shape (n_rows,) or (n_rows, n_targets)
        groups : (n_rows,) array of str, optional
            Rows of one group are either all trained or all validated on. None: each row alone.

        Raises
        ------
        DataError
            If numbers of rows differ, there are not two groups, or values are not finite.
        """
        features, targets = np.asarray(X), np.asarray(y, dtype=np.float64)
        self._check(features, targets, groups)
        self._flat = targets.ndim == 1
        targets = targets[:, None] if self._flat else targets
        of = np.arange(len(features)).astype(str) if groups is None else groups
        self.validation_ = grouped_split(of, None, self.validation_fraction, self.seed)
        train = ~self.validation_
        self.x_mean_, self.x_scale_ = _moments(features[train])
        self.y_mean_, self.y_scale_ = _moments(targets[train])
        inputs = self._scaled(features)
        wanted = torch.from_numpy(((targets - self.y_mean_) / self.y_scale_).astype(np.float32))
        kept = torch.from_numpy(train)
        self._train(inputs[kept], wanted[kept], inputs[~kept], wanted[~kept])
        self.n_features_in_ = features.shape[1]
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predictions in the units of the targets.

        Parameters
        ----------
        X : ndarray, shape (n_rows, n_features)

        Returns
        -------
        ndarray of float64, shape (n_rows,) or (n_rows, n_targets), as the targets were
        """
        weights = [
            torch.from_numpy(w)
            for w in (self.in_weights_, self.in_bias_, self.out_weights_, self.out_bias_)
        ]
        with torch.no_grad():
            found = _forward(self._scaled(np.asarray(X)), *weights).numpy()
        predicted = found.astype(np.float64) * self.y_scale_ + self.y_mean_
        return predicted[:, 0] if self._flat else predicted

    def _check(self, X: np.ndarray, y: np.ndarray, groups: object) -> None:
        if X.ndim != 2 or y.ndim not in (1, 2) or len(X) != len(y):
            raise DataError(
                f"features of shape {X.shape} and targets of shape {y.shape}",
                where="MLP probe",
                fix="give features (n, d) and targets (n,) or (n, t) of the same rows",
            )
        if groups is None and len(X) < 2:
            raise DataError(f"{len(X)} rows to train and validate on", where="MLP probe")
        if not (np.isfinite(X).all() and np.isfinite(y).all()):
            raise DataError(
                "features or targets are not finite",
                where="MLP probe",
                fix="look for overflow where activations were computed or stored",
            )

    def _scaled(self, X: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(((X - self.x_mean_) / self.x_scale_).astype(np.float32))

    def _train(
        self, X: torch.Tensor, y: torch.Tensor, X_valid: torch.Tensor, y_valid: torch.Tensor
    ) -> None:
        """Train one probe for each weight decay; keep the best weights."""
        generator = torch.Generator().manual_seed(hash_of(self.seed, "mlp") % 2**63)
        decays = torch.tensor([float(decay) for decay in self.weight_decays])
        weights = self._initial(X.shape[1], y.shape[1], generator)
        # AdamW is Adam with the weights shrunk before each step: so each probe has its own decay.
        optimizer = torch.optim.Adam(weights, lr=self.learning_rate, foreach=True)
        shrink = [(1 - self.learning_rate * decays).view(-1, *[1] * (w.ndim - 1)) for w in weights]
        best = [w.detach().clone() for w in weights]
        errors = torch.full((len(decays),), torch.inf)
        at = torch.zeros(len(decays), dtype=torch.int64)
        active = torch.ones(len(decays), dtype=torch.bool)
        steps = -(-len(X) // self.batch_size)
        patience = max(self.patience, -(-self.patience_steps // steps))
        for epoch in range(1, max(self.max_epochs, -(-self.min_steps // steps)) + 1):
            for rows in torch.randperm(len(X), generator=generator).split(self.batch_size):
                optimizer.zero_grad()
                # Each probe's gradient is that of its own mean, so their losses are summed.
                miss = _forward(X[rows], *weights) - y[rows]
                (miss.square().mean(dim=(1, 2)).sum()).backward()
                with torch.no_grad():
                    torch._foreach_mul_(weights, shrink)
                optimizer.step()
            with torch.no_grad():
                miss = _forward(X_valid, *weights) - y_valid
                found = miss.square().mean(dim=(1, 2))
            for i in torch.nonzero(active & (found < errors)).flatten().tolist():
                errors[i], at[i] = found[i], epoch
                for held, w in zip(best, weights, strict=True):
                    held[i] = w[i].detach()
            active &= epoch - at < patience
            if not active.any():
                break
        chosen = int(errors.argmin())
        self.n_epochs_, self.best_epoch_ = epoch, int(at[chosen])
        self.weight_decay_ = float(self.weight_decays[chosen])
        self.validation_errors_ = errors.numpy().astype(np.float64)
        self.validation_error_ = float(errors[chosen])
        self.in_weights_, self.in_bias_, self.out_weights_, self.out_bias_ = (
            held[chosen].numpy() for held in best
        )

    def _initial(self, inputs: int, outputs: int, generator: torch.Generator) -> list[torch.Tensor]:
        """The same initial weights for every weight decay, stacked."""
        found = []
        for shape, fan_in in (
            ((inputs, self.hidden), inputs),
            ((self.hidden,), inputs),
            ((self.hidden, outputs), self.hidden),
            ((outputs,), self.hidden),
        ):
            drawn = (2 * torch.rand(shape, generator=generator) - 1) / fan_in**0.5
            stacked = drawn.expand(len(self.weight_decays), *shape).clone()
            found.append(stacked.requires_grad_(True))
        return found


def _forward(
    x: torch.Tensor,
    in_weights: torch.Tensor,
    in_bias: torch.Tensor,
    out_weights: torch.Tensor,
    out_bias: torch.Tensor,
) -> torch.Tensor:
    """W2 ReLU(W1 x + b1) + b2 of (row, feature): (..., row, target) of weights (..., in, out)."""
    hidden = (x @ in_weights + in_bias.unsqueeze(-2)).relu()
    return hidden @ out_weights + out_bias.unsqueeze(-2)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column, 1 where it is constant up to rounding."""
    mean = values.mean(axis=0, dtype=np.float64)
    scale = values.std(axis=0, dtype=np.float64)
    largest = np.abs(values).max(axis=0)
    return mean, np.where(scale <= 1e-6 * largest, 1.0, scale)
