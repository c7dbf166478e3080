"""One file an architecture: its config, its module in ``tvm.relax.frontend.nn``, and its map from checkpoint names.

``architecture(config)`` finds the file for a Hugging Face config.
"""

from mlcweb.errors import UnsupportedError
from mlcweb.models.llama import Llama, LlamaConfig

ARCHITECTURES = {"LlamaForCausalLM": (LlamaConfig, Llama)}


def architecture(config: dict[str, object]) -> tuple[type[LlamaConfig], type[Llama]]:
    """The (config class, model class) for ``config["architectures"][0]``. Raises UnsupportedError."""
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else config.get("model_type", "unnamed")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise UnsupportedError(
            f"architecture {name!r} is not supported; known: {', '.join(ARCHITECTURES)}",
            hint="Only models of a known architecture can be compiled.",
        )
    return ARCHITECTURES[name]


__all__ = ["ARCHITECTURES", "Llama", "LlamaConfig", "architecture"]
