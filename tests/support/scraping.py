"""Prometheus' text, read as Prometheus would."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families


class Scraped:
    """The samples of one look at `/metrics`."""

    def __init__(self, text: str) -> None:
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def of(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """The samples of this name that have these labels, among others perhaps."""
        found = [sample for sample in self._samples if sample.name == name and labels.items() <= sample.labels.items()]
        return [(sample.labels, sample.value) for sample in found]

    def value(self, name: str, **labels: str) -> float:
        """The sum of these, 0 where there are none."""
        return sum(value for _, value in self.of(name, **labels))

    def totals(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Whatever must never go back."""
        endings = ("_total", "_count", "_sum", "_bucket")
        growing = [sample for sample in self._samples if sample.name.endswith(endings)]
        return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in growing}
