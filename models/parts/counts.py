"""Sparse counts of a design, held in memory on the training device and served as mini-batches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
import torch

from benchmarks.formats import Multimodal


class FeatureOrder:
    """The entries of some rows, sorted by feature.

    Attributes
    ----------
    rows
        int64, one an entry: its row.
    values
        float32, one an entry.
    offsets
        int64, n_features + 1: feature ``j`` holds the entries ``offsets[j]`` to ``offsets[j + 1]``.
    n_rows
        Number of rows.
    """

    def __init__(self, rows: torch.Tensor, values: torch.Tensor, offsets: torch.Tensor, n_rows: int) -> None:
        self.rows, self.values, self.offsets, self.n_rows = rows, values, offsets, n_rows

    @cached_property
    def columns(self) -> torch.Tensor:
        """int64, one an entry: its feature."""
        lengths = self.offsets.diff()
        if lengths.device.type == "cpu":  # three times as fast as torch's
            return torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths.numpy()))
        features = torch.arange(len(lengths), device=lengths.device)
        return torch.repeat_interleave(features, lengths, output_size=len(self.rows))

    @cached_property
    def flat(self) -> torch.Tensor:
        """int64, one an entry: its position in the flattened dense matrix of n_features x n_rows."""
        return torch.add(self.rows, self.columns, alpha=self.n_rows)


class SparseRows:
    """Some rows of a count matrix in compressed-row form on one device.

    Attributes
    ----------
    offsets
        int64, n_rows + 1: row ``i`` holds the entries ``offsets[i]`` to ``offsets[i + 1]``.
    columns
        int64, one an entry: feature of the entry; increasing within a row.
    values
        float32, one an entry: the counts, all positive.
    n_features
        Number of columns.
    totals
        float32, n_rows: sum of each row.
    log_factorials
        float32, n_rows: sum over each row of log(x!), the part of count likelihoods without parameters.
    csr
        The same rows as scipy has them, where they come from there; spares a conversion.
    """

    def __init__(
        self,
        offsets: torch.Tensor,
        columns: torch.Tensor,
        values: torch.Tensor,
        n_features: int,
        totals: torch.Tensor,
        log_factorials: torch.Tensor,
        csr: sp.csr_matrix | None = None,
    ) -> None:
        self._csr = csr
        self.offsets, self.columns, self.values = offsets, columns, values
        self.n_features, self.totals, self.log_factorials = n_features, totals, log_factorials

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.offsets) - 1

    @cached_property
    def row_of(self) -> torch.Tensor:
        """int64, one an entry: its row."""
        lengths = self.offsets[1:] - self.offsets[:-1]
        rows = torch.arange(self.n_rows, device=lengths.device)
        return torch.repeat_interleave(rows, lengths, output_size=len(self.values))

    @cached_property
    def flat(self) -> torch.Tensor:
        """int64, one an entry: its position in the flattened dense matrix."""
        return self.row_of * self.n_features + self.columns

    @cached_property
    def by_feature(self) -> "FeatureOrder":
        """The entries sorted by feature."""
        if self.columns.device.type == "cpu":
            # scipy's counting sort is several times faster here than torch.sort and a gather.
            csr = self._csr
            if csr is None:
                arrays = (self.values.numpy(), self.columns.numpy(), self.offsets.numpy())
                csr = sp.csr_matrix(arrays, shape=(self.n_rows, self.n_features))
            csc = csr.tocsc()
            rows, offsets = torch.from_numpy(csc.indices).long(), torch.from_numpy(csc.indptr).long()
            values = torch.from_numpy(csc.data)
        else:
            counts = torch.bincount(self.columns, minlength=self.n_features)
            offsets = torch.nn.functional.pad(torch.cumsum(counts, 0), (1, 0))
            order = torch.sort(self.columns, stable=True).indices
            rows, values = self.row_of[order], self.values[order]
        return FeatureOrder(rows, values, offsets, self.n_rows)

    def with_values(self, values: torch.Tensor) -> "SparseRows":
        """The same pattern with other `values`; used for normalised encoder inputs."""
        other = SparseRows(self.offsets, self.columns, values, self.n_features, self.totals, self.log_factorials)
        for name in ("row_of", "flat"):
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other

    def per_entry(self, of_rows: torch.Tensor) -> torch.Tensor:
        """Spread one number a row (n_rows) to the entries."""
        return of_rows[self.row_of]

    def log1p(self) -> "SparseRows":
        """log(1 + x)."""
        return self.with_values(torch.log1p(self.values))

    def scaled(self, target: float) -> "SparseRows":
        """Rows scaled to sum to `target`; empty rows stay empty."""
        return self.with_values(self.values / self.per_entry(self.totals) * target)

    def binary(self) -> "SparseRows":
        """Ones at the entries."""
        return self.with_values(torch.ones_like(self.values))

    def dense(self) -> torch.Tensor:
        """Dense float32 matrix, n_rows x n_features."""
        dense = torch.zeros(self.n_rows * self.n_features, device=self.values.device)
        dense[self.flat] = self.values
        return dense.view(self.n_rows, self.n_features)

    def sum_rows(self, of_entries: torch.Tensor) -> torch.Tensor:
        """Sum one number an entry over each row: n_rows."""
        return torch.zeros(self.n_rows, device=of_entries.device, dtype=of_entries.dtype).index_add(
            0, self.row_of, of_entries
        )


class CountMatrix:
    """A whole count matrix on one device, from which :meth:`rows` cuts mini-batches without leaving the device.

    Parameters
    ----------
    matrix
        CSR, non-negative; stored zeros are dropped.
    device
        ``cpu`` or ``cuda``.
    """

    def __init__(self, matrix: sp.csr_matrix, device: str) -> None:
        matrix = sp.csr_matrix(matrix, dtype=np.float32, copy=True)
        matrix.eliminate_zeros()
        matrix.sort_indices()
        self.shape, self.device = matrix.shape, torch.device(device)
        self._csr = matrix
        totals = np.asarray(matrix.sum(axis=1), dtype=np.float32).ravel()
        log_factorials = torch.lgamma(torch.from_numpy(matrix.data.astype(np.float64)) + 1).numpy()
        log_factorials = sp.csr_matrix((log_factorials, matrix.indices, matrix.indptr), shape=matrix.shape).sum(axis=1)
        self.totals = torch.from_numpy(totals).to(self.device)
        self.log_factorials = torch.from_numpy(np.asarray(log_factorials, dtype=np.float32).ravel()).to(self.device)
        if self.device.type != "cpu":
            self._offsets = torch.from_numpy(matrix.indptr.astype(np.int64)).to(self.device)
            self._columns = torch.from_numpy(matrix.indices.astype(np.int64)).to(self.device)
            self._values = torch.from_numpy(matrix.data).to(self.device)

    def rows(self, positions: torch.Tensor) -> SparseRows:
        """Rows at `positions` (int64), in this order."""
        part = None
        if self.device.type == "cpu":
            part = self._csr[positions.numpy()]
            offsets, columns = torch.from_numpy(part.indptr).long(), torch.from_numpy(part.indices).long()
            values = torch.from_numpy(part.data)
        else:
            starts = self._offsets[positions]
            lengths = self._offsets[positions + 1] - starts
            offsets = torch.nn.functional.pad(torch.cumsum(lengths, 0), (1, 0))
            entries = torch.arange(int(offsets[-1]), device=self.device)
            entries += torch.repeat_interleave(starts - offsets[:-1], lengths, output_size=len(entries))
            columns, values = self._columns[entries], self._values[entries]
        return SparseRows(
            offsets, columns, values, self.shape[1], self.totals[positions], self.log_factorials[positions], part
        )


@dataclass
class Minibatch:
    """Some observations of a design.

    Attributes
    ----------
    positions
        int64, size: positions of the observations in the design.
    counts
        Modality -> counts of those observations that have it.
    where
        Modality -> int64 positions, within the mini-batch, of the rows of ``counts[modality]``.
    batch
        int64, size: batch (0 to n_batches - 1) of each observation.
    batch_one_hot
        float32, size x n_batches; size x 0 where there is a single batch.
    """

    positions: torch.Tensor
    counts: dict[str, SparseRows]
    where: dict[str, torch.Tensor]
    batch: torch.Tensor
    batch_one_hot: torch.Tensor

    @property
    def size(self) -> int:
        """Number of observations."""
        return len(self.positions)

    def mask(self, modality: str) -> torch.Tensor:
        """Boolean, size: which observations have `modality`."""
        mask = torch.zeros(self.size, dtype=torch.bool, device=self.positions.device)
        mask[self.where[modality]] = True
        return mask

    def spread(self, modality: str, of_rows: torch.Tensor) -> torch.Tensor:
        """Spread rows of `modality` (first axis) over the whole mini-batch, zeros where it is missing."""
        if len(of_rows) == self.size:
            return of_rows
        spread = torch.zeros((self.size, *of_rows.shape[1:]), dtype=of_rows.dtype, device=of_rows.device)
        return spread.index_copy(0, self.where[modality], of_rows)


class DesignCounts:
    """The counts of a design on one device.

    Parameters
    ----------
    design
        Visible design; ``obs["batch"]`` gives the batches.
    modalities
        The modalities to use.
    device
        ``cpu`` or ``cuda``.
    """

    def __init__(self, design: Multimodal, modalities: tuple[str, ...], device: str) -> None:
        self.modalities = tuple(modalities)
        self.device = torch.device(device)
        self.n_observations = design.n_obs
        self.matrices = {name: CountMatrix(design.counts[name], device) for name in self.modalities}
        self.n_features = {name: self.matrices[name].shape[1] for name in self.modalities}
        self._row = {}
        for name in self.modalities:
            row = np.full(design.n_obs, -1, dtype=np.int64)
            row[design.rows[name]] = np.arange(len(design.rows[name]))
            self._row[name] = torch.from_numpy(row).to(self.device)
        batches, codes = np.unique(design.obs["batch"].astype(str).to_numpy(), return_inverse=True)
        self.batch_names = batches
        self.batch = torch.from_numpy(codes.astype(np.int64)).to(self.device)

    @property
    def n_batches(self) -> int:
        """Number of batches."""
        return len(self.batch_names)

    def has(self, modality: str) -> torch.Tensor:
        """Boolean, n_observations: which have `modality`."""
        return self._row[modality] >= 0

    def minibatch(self, positions: torch.Tensor) -> Minibatch:
        """The observations at `positions` (int64, on the device)."""
        counts, where = {}, {}
        for name in self.modalities:
            rows = self._row[name][positions]
            where[name] = torch.nonzero(rows >= 0).ravel()
            counts[name] = self.matrices[name].rows(rows[where[name]])
        batch = self.batch[positions]
        width = self.n_batches if self.n_batches > 1 else 0
        one_hot = torch.zeros(len(positions), width, device=self.device)
        if width:
            one_hot[torch.arange(len(positions), device=self.device), batch] = 1.0
        return Minibatch(positions, counts, where, batch, one_hot)

    def in_order(self, size: int = 1024):
        """Iterate over all observations in their order, `size` at a time."""
        for positions in torch.arange(self.n_observations, device=self.device).split(size):
            yield self.minibatch(positions)
