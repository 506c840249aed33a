"""Configurations of a model folder with one absurd value each."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

NESTED: Any = []
for _ in range(60):
    NESTED = [NESTED]

VALUES: dict[str, Any] = {
    "minus one": -1,
    "zero": 0,
    "one": 1,
    "two": 2,
    "thousands": 4_000,
    "ten million": 10**7,
    "2**31": 2**31,
    "2**63": 2**63,
    "400 digits": 10**400,
    "half": 0.5,
    "nan": float("nan"),
    "infinity": float("-inf"),
    "1e308": 1e308,
    "true": True,
    "null": None,
    "text": "9999999",
    "long text": "x" * 100_000,
    "empty list": [],
    "list": [10**6] * 3,
    "long list": [1] * 100_001,
    "negative list": [-1, -1, -1],
    "object": {"a": 10**6},
    "nested": NESTED,
}
# what libraries take besides: other names of the same numbers, other files, counts of their own
ADDED: dict[str, Any] = {
    "hidden_size": 10**5,
    "num_hidden_layers": 10**5,
    "num_attention_heads": 10**5,
    "head_dim": 10**5,
    "num_labels": 10**6,
    "configuration_files": ["config.1.0.0.json"],
    "attn_implementation": "somebody/kernel",
    "_attn_implementation": "somebody/kernel",
    "output_hidden_states": True,
    "return_dict": False,
    "vision_config": {"num_hidden_layers": 10**5},
    "extra_ids": 10**6,
    "auto_map": {"AutoModel": "evil.Model"},
    "pruned_heads": {"0": list(range(1000))},
    "decoder_base_dim": 10**5,
    "max_length": 10**6,
}


class Case(NamedTuple):
    """One change of a value in a configuration file."""

    file: str
    keys: tuple[str | int, ...]
    by: str
    value: Any

    @property
    def name(self) -> str:
        return f"{self.file}:{'.'.join(map(str, self.keys))}:{self.by}"

    def apply(self, folder: Path) -> None:
        path = folder / self.file
        settings = json.loads(path.read_text())
        inside = settings
        for key in self.keys[:-1]:
            inside = inside[key]
        inside[self.keys[-1]] = self.value
        path.write_text(json.dumps(settings))


def cases(folder: Path) -> Iterator[Case]:
    """Yield every change of the configurations in `folder`."""
    for path in sorted(folder.rglob("*.json")):
        file = path.relative_to(folder).as_posix()
        if file in ("tokenizer/tokenizer.json", "vae/latent_rgb.json") or file.endswith("index.json"):
            continue
        settings = json.loads(path.read_text())
        for keys in _leaves(settings):
            yield from (Case(file, keys, by, value) for by, value in VALUES.items())
        yield from (Case(file, (key,), "added", value) for key, value in ADDED.items() if key not in settings)


def _leaves(value: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the keys of each value, of lists those of the first only."""
    if keys:
        yield keys
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, (*keys, key))
    elif isinstance(value, list) and value:
        yield from _leaves(value[0], (*keys, 0))
