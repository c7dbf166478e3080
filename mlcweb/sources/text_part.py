"""Takes the text model out of a checkpoint that wraps it beside towers for pictures and sound.

The text model's keys lie in ``text_config``, and its tensors' names have a prefix. What is left is the checkpoint that
the text model alone would have. The tower's tensors are left out, or, of those that mlcweb compiles, kept by their
names, with the config's keys that say what the tower is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mlcweb.errors import CheckpointError, UnsupportedError

T = TypeVar("T")
Fault = Callable[[str], CheckpointError]

_TOWERS = (
    "vision_tower.",
    "multi_modal_projector.",
    "visual.",
    "model.vision_tower.",
    "model.multi_modal_projector.",
    "model.visual.",
    "model.audio_tower.",
    "model.embed_vision.",
    "model.embed_audio.",
    "model.vision_model.",
    "model.connector.",
)
# as they are saved, and as transformers has them since 4.52
_PREFIXES = {
    "language_model.model.": "model.",
    "language_model.lm_head.": "lm_head.",
    "model.language_model.": "model.",
    "model.text_model.": "model.",
}
# of a tower that is compiled
_TOWER_PREFIXES = {
    "vision_tower.vision_model.": "vision_tower.",
    "model.vision_tower.vision_model.": "vision_tower.",
    "model.vision_tower.": "vision_tower.",
    "visual.": "model.visual.",
    "model.multi_modal_projector.": "multi_modal_projector.",
}
_HEAD = "lm_head.weight"
# what a wrapper's config.json says of the tokenizer and the head, for the text model too
_SHARED = ("bos_token_id", "eos_token_id", "pad_token_id", "torch_dtype", "dtype")
# what a wrapper's config.json says of its tower
TOWER_KEYS = ("vision_config", "scale_factor", "mm_tokens_per_image", "image_token_id", "image_token_index")
_IMAGE_TOKENS = ("image_token_id", "image_token_index")


@dataclass(frozen=True)
class Wrapper:
    """``texts``: the text model's architecture by its model_type. ``defaults``: what keys that the published
    ``text_config`` lacks mean. ``flat``: the text model's keys may lie beside ``vision_config``. ``sees``: mlcweb
    compiles the tower too, and the architecture is the wrapper's then.
    """

    texts: Mapping[str, str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    flat: bool = False
    sees: bool = False


WRAPPERS = {
    "Gemma3ForConditionalGeneration": Wrapper(
        {"gemma3_text": "Gemma3ForCausalLM"},
        {
            "vocab_size": 262208,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "max_position_embeddings": 131072,
        },
        sees=True,
    ),
    "Gemma4ForConditionalGeneration": Wrapper({"gemma4_text": "Gemma4ForCausalLM"}),
    "Idefics3ForConditionalGeneration": Wrapper({"llama": "LlamaForCausalLM"}, sees=True),
    "Mistral3ForConditionalGeneration": Wrapper(
        {"mistral": "MistralForCausalLM", "ministral3": "Ministral3ForCausalLM"}
    ),
    "Qwen2VLForConditionalGeneration": Wrapper(
        {"qwen2_vl": "Qwen2ForCausalLM", "qwen2_vl_text": "Qwen2ForCausalLM"}, flat=True
    ),
    "Qwen2_5_VLForConditionalGeneration": Wrapper(
        {"qwen2_5_vl": "Qwen2ForCausalLM", "qwen2_5_vl_text": "Qwen2ForCausalLM"}, flat=True, sees=True
    ),
    "Qwen3_5ForConditionalGeneration": Wrapper({"qwen3_5_text": "Qwen3_5ForCausalLM"}, sees=True),
    "Qwen3VLForConditionalGeneration": Wrapper({"qwen3_vl_text": "Qwen3ForCausalLM"}, sees=True),
    "SmolVLMForConditionalGeneration": Wrapper({"llama": "LlamaForCausalLM"}, sees=True),
}


def wrapper_of(config: Mapping[str, Any]) -> Wrapper | None:
    """The wrapper that a config.json describes, if it does."""
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    return WRAPPERS.get(name) if isinstance(name, str) else None


def text_tensors(where: str, tensors: Mapping[str, T], *, sees: bool = False) -> dict[str, T]:
    """The text model's tensors of a wrapper, by its own names; and the tower's if it ``sees``.

    Raises CheckpointError where two would have one name, and where the tower has no tensors.
    """
    found: dict[str, T] = {}
    tower = {name for name in tensors if name.startswith(_TOWERS)}
    for name, tensor in tensors.items():
        if name in tower and not sees:
            continue
        prefixes = _TOWER_PREFIXES if name in tower else _PREFIXES
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        short = prefixes.get(prefix, "") + name.removeprefix(prefix)
        if short in found:
            raise CheckpointError(
                f"{where}: holds {short} twice, once as {name}", hint="Save the model itself, once."
            )
        found[short] = tensor
    if not tower:
        raise CheckpointError(
            f"{where}: config.json has a vision_config, but the checkpoint holds no tensor of its tower",
            hint="Is the download complete? For a text model alone, config.json is what text_config has, with its "
            "own architectures.",
        )
    return found


def text_config(
    where: str, config: Mapping[str, Any], names: Iterable[str], *, sees: bool = False
) -> dict[str, Any]:
    """The config.json that the text model alone would have; ``names`` are its tensors. Of one that ``sees`` it is the
    wrapper's architecture, with what the tower is.

    Raises CheckpointError where the wrapper's contradicts itself, UnsupportedError for an unknown text model.
    """
    wrapper = wrapper_of(config)
    assert wrapper is not None
    outer = str(config["architectures"][0])

    def fault(what: str) -> CheckpointError:
        return CheckpointError(
            f"{where}/config.json: {what}",
            hint=f"Is it the config.json that was published with these weights of {outer}?",
        )

    def part(key: str) -> dict[str, Any]:
        value = config.get(key)
        if not isinstance(value, dict):
            raise fault(f"{outer} needs a {key}, and {'has none' if value is None else 'it is no object'}")
        return value

    vision = part("vision_config")
    if wrapper.flat and config.get("text_config") is None:
        text = {key: value for key, value in config.items() if key not in ("vision_config", "architectures")}
    else:
        text = part("text_config")
    kind = text.get("model_type", next(iter(wrapper.texts)))
    architecture = wrapper.texts.get(kind) if isinstance(kind, str) else None
    if architecture is None:
        raise UnsupportedError(
            f"{where}/config.json: the text model {kind!r} of {outer} is not supported; "
            f"known: {', '.join(wrapper.texts)}"
        )
    shared = {key: config[key] for key in _SHARED if config.get(key) is not None}
    result = {**text, "architectures": [outer if sees else architecture]}
    if sees:
        result |= {key: config[key] for key in TOWER_KEYS if config.get(key) is not None}
    for key, value in {**wrapper.defaults, **shared}.items():
        if result.get(key) is None:
            result[key] = value
    said = [place["tie_word_embeddings"] for place in (text, config) if "tie_word_embeddings" in place]
    agreed = bool(said) and said[0] == said[-1]
    # where they say nothing or two things, the head's tensor decides
    result["tie_word_embeddings"] = said[0] if agreed else _HEAD not in set(names)
    _check_sizes(config, result, vision, fault)
    return result


def _check_sizes(
    config: Mapping[str, Any], text: Mapping[str, Any], vision: Mapping[str, Any], fault: Fault
) -> None:
    """Raise CheckpointError where the tower's sizes do not fit the text model's."""
    width, hidden = vision.get("out_hidden_size"), text.get("hidden_size")
    if width is not None and hidden is not None and width != hidden:
        raise fault(f"the tower's out_hidden_size is {width}, and the text model's hidden_size {hidden}")
    vocab = text.get("vocab_size")
    for key in _IMAGE_TOKENS:
        token = config.get(key)
        if isinstance(token, int) and isinstance(vocab, int) and not 0 <= token < vocab:
            raise fault(f"{key} is {token}, and the vocabulary has {vocab} tokens")
