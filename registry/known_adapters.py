"""The published adapters by their names: files, steps, guidance and shift.

Sources, by repository on GitHub or the hub:
lightning: `README.md` and `wan/configs/wan_*_A14B.py` (sample_steps, sample_guide_scale, sample_shift) of
    ModelTC/Wan2.2-Lightning.
lightx2v: `configs/distill/wan21/wan_*_distill_lora_4step_cfg.json` and `configs/distill/wan22/wan_moe_*lora.json`
    (infer_steps, sample_shift, `enable_cfg: false`, lora_configs) of ModelTC/LightX2V.
causvid: `docs/LORAS.md` of deepbeepmeep/Wan2GP: guidance 1, shift 7, and 12 steps at strength 0.3. Kijai/WanVideo_comfy
    has the files, drawn from the weights of lightx2v/Wan2.1-T2V-14B-CausVid and tianweiy/CausVid.
fastwan: `scripts/inference/inference_wan_*DMD*.yaml` (3 steps) and `fastvideo/configs/pipelines/wan.py` (flow_shift) of
    hao-ai-lab/FastVideo. Kijai/WanVideo_comfy has the files, drawn from FastVideo's weights.
fast4, noir: `nano/README.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from registry.adapters import PerExpert
from registry.families import EMBEDDED
from registry.models import FlowShift

LIGHTNING = "lightx2v/Wan2.2-Lightning"
DISTILLED_2_1 = "lightx2v/Wan2.1-Distill-Loras"
DISTILLED_720P = "lightx2v/Wan2.1-I2V-14B-720P-StepDistill-CfgDistill-Lightx2v"
DISTILLED_2_2 = "lightx2v/Wan2.2-Distill-Loras"
KIJAI = "Kijai/WanVideo_comfy"


@dataclass(frozen=True)
class KnownAdapter:
    """A published adapter of one family; another family's may have the same name.

    A `*` in `file` stands for `high` and `low`: each expert has its own.
    """

    name: str
    family: str
    source: str
    file: str
    defaults: Mapping[str, object]
    strength: float = 1.0

    @property
    def files(self) -> PerExpert[str | None]:
        return PerExpert(self.file.replace("*", "high"), self.file.replace("*", "low"))


def _embedded_source(known: KnownAdapter) -> str | None:
    return known.source if known.source.startswith(EMBEDDED) else None


def _fast(steps: int, shift: float, **more: float) -> Mapping[str, object]:
    """Return the defaults of an adapter that needs few steps and no guidance."""
    return MappingProxyType({"steps": steps, "guidance_scale": 1.0, **more, "flow_shift": FlowShift(shift, shift)})


def _nano(name: str, family: str, experts: int, defaults: Mapping[str, object]) -> KnownAdapter:
    file = f"{name}-*.safetensors" if experts == 2 else f"{name}.safetensors"
    return KnownAdapter(name, family, f"{EMBEDDED}{family}/{name}", file, defaults)


FOUR, FOUR_OF_TWO = _fast(4, 5.0), _fast(4, 5.0, guidance_scale_2=1.0)
NANO_SHIFT = 3.0  # nano/train.py distils fast4 for it
NANO_FOUR, NANO_FOUR_OF_TWO = _fast(4, NANO_SHIFT), _fast(4, NANO_SHIFT, guidance_scale_2=1.0)
NOTHING: Mapping[str, object] = MappingProxyType({})

# fmt: off
KNOWN = (
    KnownAdapter("wan2.2-t2v-lightning", "wan2.2-t2v-a14b", LIGHTNING,
                 "Wan2.2-T2V-A14B-4steps-lora-rank64-Seko-V1.1/*_noise_model.safetensors", FOUR_OF_TWO),
    KnownAdapter("wan2.2-i2v-lightning", "wan2.2-i2v-a14b", LIGHTNING,
                 "Wan2.2-I2V-A14B-4steps-lora-rank64-Seko-V1/*_noise_model.safetensors", FOUR_OF_TWO),
    KnownAdapter("wan2.2-t2v-lightx2v", "wan2.2-t2v-a14b", DISTILLED_2_2,
                 "wan2.2_t2v_A14b_*_noise_lora_rank64_lightx2v_4step_1217.safetensors", FOUR_OF_TWO),
    KnownAdapter("wan2.2-i2v-lightx2v", "wan2.2-i2v-a14b", DISTILLED_2_2,
                 "wan2.2_i2v_A14b_*_noise_lora_rank64_lightx2v_4step_1022.safetensors", FOUR_OF_TWO),
    KnownAdapter("wan2.1-t2v-lightx2v", "wan2.1-t2v-14b", DISTILLED_2_1,
                 "wan2.1_t2v_14b_lora_rank64_lightx2v_4step.safetensors", FOUR),
    KnownAdapter("wan2.1-i2v-lightx2v", "wan2.1-i2v-14b-480p", DISTILLED_2_1,
                 "wan2.1_i2v_lora_rank64_lightx2v_4step.safetensors", FOUR),
    KnownAdapter("wan2.1-i2v-lightx2v", "wan2.1-i2v-14b-720p", DISTILLED_720P,
                 "loras/Wan21_I2V_14B_lightx2v_cfg_step_distill_lora_rank64.safetensors", FOUR),
    KnownAdapter("wan2.1-t2v-causvid", "wan2.1-t2v-14b", KIJAI,
                 "Wan21_CausVid_14B_T2V_lora_rank32.safetensors", _fast(12, 7.0), 0.3),
    KnownAdapter("wan2.1-t2v-causvid", "wan2.1-t2v-1.3b", KIJAI,
                 "Wan21_CausVid_bidirect2_T2V_1_3B_lora_rank32.safetensors", _fast(12, 7.0), 0.3),
    KnownAdapter("wan2.1-t2v-fastwan", "wan2.1-t2v-14b", KIJAI,
                 "FastWan/FastWan_T2V_14B_480p_lora_rank_64_bf16.safetensors", _fast(3, 8.0)),
    KnownAdapter("wan2.2-ti2v-fastwan", "wan2.2-ti2v-5b", KIJAI,
                 "FastWan/Wan2_2_5B_FastWanFullAttn_lora_rank_128_bf16.safetensors", _fast(3, 5.0)),
    _nano("fast4", "wan-nano-t2v", 2, NANO_FOUR_OF_TWO),
    _nano("fast4", "wan-nano-i2v", 2, NANO_FOUR_OF_TWO),
    _nano("fast4", "wan-nano-ti2v", 1, NANO_FOUR),
    _nano("noir", "wan-nano-t2v", 2, NOTHING),
)
# fmt: on
NAMES = tuple(dict.fromkeys(known.name for known in KNOWN))


def of_name(name: str) -> tuple[KnownAdapter, ...]:
    """Return the published adapters of this name or `embedded:FAMILY/NAME`, one for each family."""
    return tuple(known for known in KNOWN if name in (known.name, _embedded_source(known)))


def of_family(family: str) -> tuple[str, ...]:
    """Return the names of a family's published adapters."""
    return tuple(known.name for known in KNOWN if known.family == family)
