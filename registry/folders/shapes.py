"""Checks that a part's tensors have the names and shapes of its configuration."""

import re
from collections.abc import Mapping
from pathlib import Path

from registry.errors import FolderError
from registry.folders.expected import Blocks, blocks_of, expected
from registry.folders.expected.image_encoder import PREFIX
from registry.folders.expected.numbers import Shape
from registry.folders.expected.text_encoder import SHARED, TIED
from registry.folders.family import PATCHES, alike
from registry.folders.model import Part

Shapes = Mapping[str, Shape]

# of a folder, these decide how much its classes allocate, before they read a tensor; they report the others' lack
_TRANSFORMER = r"""(patch_embedding|proj_out|condition_embedder\.((time|text)_embedder\.linear_1|image_embedder\.norm1)
    |blocks\.\d+\.(attn1\.to_q|ffn\.net\.0\.proj|attn2\.add_k_proj))\.weight|.*\.pos_embed"""
SIZING: Mapping[str, str] = {
    "transformer": _TRANSFORMER,
    "transformer_2": _TRANSFORMER,
    "text_encoder": r"shared\.weight|.*\.(q|relative_attention_bias|wi(_0)?)\.weight",
    "image_encoder": r".*(embedding|visual_projection|q_proj|fc1)\.weight",
    "vae": r"(post_)?quant_conv\.weight|.*\.conv_(in|out)\.weight|decoder\.up_blocks\..*\.conv2\.weight",
}
CLASSES: Mapping[str, str] = {"text_encoder": "umT5 encoder", "vae": "Wan VAE"}


def require_shapes(part: Part, tensors: Shapes) -> None:
    """Raise `FolderError` if a folder's tensors do not fit its configuration.

    Tensors of other names may be there.
    """
    config, sizing = part.folder / "config.json", re.compile(SIZING[part.name], re.VERBOSE)
    named = _named(part, tensors)
    blocks: Blocks | None = None
    for name, needed in expected(part.name, part.settings, part.class_name, config):
        if not sizing.fullmatch(name):
            continue
        if blocks is None:
            blocks = blocks_of(part.name, part.settings, config)
            found = _numbered(blocks.prefix, named)
            counted = found == set(map(str, range(blocks.total)))
        if not counted and name.startswith(blocks.prefix):
            counts = f"{_miscounted(len(found), blocks)}, its config.json needs {blocks.total}"
            raise part.refusal(f"{part.name} {counts}")
        if (got := named.get(name)) is None:
            raise part.refusal(f"{part.name} lacks the tensor {name}, which its config.json needs")
        if got != needed:
            raise part.refusal(f"{name} of {part.name} is {_by(got)}, its config.json needs {_by(needed)}")


def require_whole(part: Part, tensors: Shapes, file: Path) -> None:
    """Raise `FolderError` unless a single file has its base's tensors, and no others."""
    config = part.folder / "config.json"
    named, what = _named(part, tensors), f"{file.name} of {part.name}"
    needed = dict(expected(part.name, part.settings, part.class_name, config))
    blocks = blocks_of(part.name, part.settings, config)
    found = _numbered(blocks.prefix, named)
    if found and len(found) != blocks.total:
        counts = f"{_miscounted(len(found), blocks)}, its base's config.json needs {blocks.total}"
        raise FolderError(f"{what} {counts}{_likeness(named, needed)}", file)
    for name, shape in needed.items():
        if (got := named.get(name, shape)) != shape:
            sides = f"is {_by(got)} in {what}, its base's config.json needs {_by(shape)}"
            raise FolderError(f"{name} {sides}{_likeness(named, needed)}", file)
    for name in named:
        if name not in needed:
            kind = CLASSES.get(part.name, "Wan transformer")
            lacks = f"which no {kind} of its base's config.json has: it may be of another model"
            raise FolderError(f"{what} holds {name[:100]!r}, {lacks}", file)
    for name in needed:
        if name not in named:
            raise FolderError(f"{what} lacks the tensor {name}, which its base's config.json needs", file)


def _named(part: Part, tensors: Shapes) -> Shapes:
    """Return the tensors by the names of `expected`."""
    match part.name:
        case "image_encoder":  # some versions of transformers write CLIP's names with a prefix
            return {name.removeprefix(PREFIX): shape for name, shape in tensors.items()}
        case "text_encoder" if TIED in tensors and tensors.get(SHARED, tensors[TIED]) == tensors[TIED]:
            others = {name: shape for name, shape in tensors.items() if name != TIED}
            return {SHARED: tensors[TIED], **others}
    return tensors


def _likeness(named: Shapes, needed: Shapes) -> str:
    """Name the published families whose transformer a file resembles more than its base's."""
    if named.get(PATCHES) == needed.get(PATCHES):
        return ""
    names = " or ".join(family.name for family in alike(named))
    return f": the file looks like {names}" if names else ""


def _miscounted(found: int, blocks: Blocks) -> str:
    return f"has weights of {found} {blocks.word}"


def _numbered(prefix: str, tensors: Shapes) -> set[str]:
    return {name.removeprefix(prefix).partition(".")[0] for name in tensors if name.startswith(prefix)}


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a number"
