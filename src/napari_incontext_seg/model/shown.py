"""`ShownExamples`: what a SegGPT has taken in of its examples before it sees a query."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True, eq=False)
class FrozenExamples:
    """Examples that look at queries no more: an approximation, see `SegGpt.freeze`.

    Parameters
    ----------
    keys_and_values
        For every block: keys and values of the examples, in the form of `lean.keys_and_values`.
    edges
        For every block that the decoder reads: (rows, 1, grid X, width), the first example's last row of patches.
    """

    keys_and_values: tuple[tuple[Tensor, Tensor], ...]
    edges: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class ShownExamples:
    """Made by `SegGpt.show`. A row is a query, or, where examples are shown apart, a query with one of them.

    Parameters
    ----------
    images
        (rows, K, grid Y, grid X, width) tokens of the examples' images.
    targets
        (rows, K + 1, grid Y, grid X, width) the target stream where it is merged; its last panel is the query's.
    query_places
        (rows or 1, 1, grid Y, grid X, width) what is added to the patches of a query.
    apart
        Rows that a query takes: the examples if each is shown alone, else 1.
    frozen
        Where examples do not see the query: an approximation.
    """

    images: Tensor
    targets: Tensor
    query_places: Tensor
    apart: int
    frozen: FrozenExamples | None = None

    @property
    def num_queries(self) -> int:
        """Queries that these examples are for; those for one serve any number."""
        return self.images.shape[0] // self.apart

    def for_queries(self, batch: int) -> ShownExamples:
        """The same with rows for ``batch`` queries."""
        if self.num_queries == batch:
            return self

        def rows(tensor: Tensor) -> Tensor:
            return tensor[None].expand(batch, *[-1] * tensor.ndim).flatten(0, 1)

        frozen = self.frozen and FrozenExamples(
            tuple((rows(keys), rows(values)) for keys, values in self.frozen.keys_and_values),
            tuple(rows(edge) for edge in self.frozen.edges),
        )
        places = self.query_places if self.query_places.shape[0] == 1 else rows(self.query_places)
        return replace(self, images=rows(self.images), targets=rows(self.targets), query_places=places, frozen=frozen)
