"""Names of a VAE's tensors in Wan's repository, and diffusers'."""

import re

from registry.folders.expected.vae import Layout

# Wan-Video/Wan2.1, wan/modules/vae.py; Wan-Video/Wan2.2, wan/modules/vae2_2.py
MODULES = (
    (re.compile(r"conv1\.(.*)"), r"quant_conv.\1"),
    (re.compile(r"conv2\.(.*)"), r"post_quant_conv.\1"),
    (re.compile(r"(encoder|decoder)\.conv1\.(.*)"), r"\1.conv_in.\2"),
    (re.compile(r"(encoder|decoder)\.head\.0\.(.*)"), r"\1.norm_out.\2"),
    (re.compile(r"(encoder|decoder)\.head\.2\.(.*)"), r"\1.conv_out.\2"),
    (re.compile(r"(encoder|decoder)\.middle\.0\.(.*)"), r"\1.mid_block.resnets.0.\2"),
    (re.compile(r"(encoder|decoder)\.middle\.1\.(.*)"), r"\1.mid_block.attentions.0.\2"),
    (re.compile(r"(encoder|decoder)\.middle\.2\.(.*)"), r"\1.mid_block.resnets.1.\2"),
)
RESNET = {"residual.0": "norm1", "residual.2": "conv1", "residual.3": "norm2", "residual.6": "conv2"}
RESNET |= {"shortcut": "conv_shortcut"}
_RESNET = re.compile(rf"(.*)\.({'|'.join(map(re.escape, RESNET))})\.(\w+)")
# numbers of more digits would cost much to read, and are no block's
_SIDE = r"(?:encoder\.(?=down)|decoder\.(?=up))(down|up)samples"
_FLAT = re.compile(rf"{_SIDE}\.(\d{{1,6}})\.(?!\1samples\.)(.*)")
_LEVELS = re.compile(rf"{_SIDE}\.(\d{{1,6}})\.\1samples\.(\d{{1,6}})\.(.*)")


def name(original: str, layout: Layout) -> str:
    """Return diffusers' name of a VAE's tensor; other names stay."""
    placed = _placed(original, layout)
    if placed != original and (match := _RESNET.fullmatch(placed)):
        return f"{match[1]}.{RESNET[match[2]]}.{match[3]}"
    return placed


def _placed(original: str, layout: Layout) -> str:
    for pattern, ours in MODULES:
        if pattern.fullmatch(original):
            return pattern.sub(ours, original)
    if layout.residual:
        if match := _LEVELS.fullmatch(original):
            return _block(match[1], int(match[2]), int(match[3]), match[4], layout)
    elif match := _FLAT.fullmatch(original):
        if match[1] == "down":  # diffusers keeps the order, too
            return f"encoder.down_blocks.{int(match[2])}.{match[3]}"
        level, number = divmod(int(match[2]), layout.blocks + 2)
        return _block("up", level, number, match[3], layout)
    return original


def _block(way: str, level: int, number: int, inner: str, layout: Layout) -> str:
    side, resnets = ("encoder", layout.blocks) if way == "down" else ("decoder", layout.blocks + 1)
    sampler = f"{way}sampler" if layout.residual else f"{way}samplers.0"
    module = sampler if number == resnets else f"resnets.{number}"
    return f"{side}.{way}_blocks.{level}.{module}.{inner}"
