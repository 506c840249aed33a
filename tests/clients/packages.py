"""The releases of foreign clients, each of an environment of its own."""

from importlib.metadata import version
from pathlib import Path

from support.environments import Node, node_with, python_with

OPENAI = version("openai")  # that of constraints.txt, in the environment of the tests
PYTHON = {
    "openai 3": (f"openai=={OPENAI}",),
    "openai 2": ("openai==2.54.0",),
    "litellm": ("litellm==1.110.2", "mcp==2.3.0"),  # its responses calls import mcp and its package does not say so
    "langchain": ("langchain-openai==1.7.4",),
    "openai-agents": ("openai-agents==0.24.0",),
    "pydantic-ai": ("pydantic-ai-slim[openai]==2.68.0",),
    "max": ("max[benchmark]==26.7.0",),  # 1.1 GB, half of it a compiler's libraries; no torch
    # --no-deps, and what the client alone imports: the rest of each wants torch or vllm
    "sglang": ("sglang==0.5.23",),
    "vllm-omni": ("vllm-omni==0.30.0",),
    "open-webui": ("open-webui==0.12.4",),
}
BESIDE = {
    "sglang": ("aiohttp", "huggingface-hub", "numpy", "pillow", "requests", "tqdm"),
    "vllm-omni": ("aiohttp", "numpy", "pillow", "prettytable", "pybase64", "tqdm"),
    "open-webui": ("aiofiles", "aiohttp", "fastapi", "pillow"),
}
NODE = {
    "openai 6": ("openai@6.49.0",),  # the newest for Node 20
    "openai 7": ("openai@7.59.0", "node@22.23.3"),
    "ai": ("ai@7.0.173", "@ai-sdk/openai@4.0.118", "@ai-sdk/openai-compatible@3.0.92", "node@22.23.3"),
}


def python(client: str) -> Path:
    if client in BESIDE:
        return python_with(*BESIDE[client], bare=PYTHON[client])
    return python_with(*PYTHON[client])


def node(client: str) -> Node:
    return node_with(*NODE[client])


def release(client: str) -> str:
    """Return the version of a client's first package."""
    first = (PYTHON.get(client) or NODE[client])[0]
    return first.replace("@", "==").rpartition("==")[2]
