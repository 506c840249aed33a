"""SGLang's diffusion benchmark: its own module and arguments, without the engine's imports."""

import logging
import runpy
import sys

from stubs import bare, stub


def line(name: str, value: object) -> None:
    print(f"{name:<40} {value}")


stub(
    "sglang.srt",
    sglang__multimodal_gen__runtime__utils__logging_utils={
        "init_logger": logging.getLogger,
        "configure_logger": lambda arguments: logging.basicConfig(level=arguments.log_level),
    },
    sglang__multimodal_gen__test__test_utils={
        "print_divider": lambda length: print("-" * length),
        "print_value_formatted": line,
    },
)
bare("sglang", "sglang", "sglang.multimodal_gen")
sys.argv[0] = "bench_serving"
runpy.run_module("sglang.multimodal_gen.benchmarks.bench_serving", run_name="__main__")
