"""Prometheus' text, parsed by its own client."""

from prometheus_client.parser import text_string_to_metric_families


class Scraped:
    """The samples of one scrape of `/metrics`."""

    def __init__(self, text: str) -> None:
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def of(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """Return the samples with a name and at least these labels."""
        found = [sample for sample in self._samples if sample.name == name and labels.items() <= sample.labels.items()]
        return [(sample.labels, sample.value) for sample in found]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of these samples, 0 without any."""
        return sum(value for _, value in self.of(name, **labels))

    def totals(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return every series that may only grow."""
        endings = ("_total", "_count", "_sum", "_bucket")
        growing = [sample for sample in self._samples if sample.name.endswith(endings)]
        return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in growing}
