"""Architectures, in ``tvm.relax.frontend.nn``: ``families`` has a file for each, built of ``parts``.

``architecture(config)`` finds the file for a Hugging Face config.
"""

from typing import Any

from mlcweb.errors import UnsupportedError
from mlcweb.models.families.encoders.bert import Bert, BertConfig
from mlcweb.models.families.encoders.modernbert import ModernBert, ModernBertConfig
from mlcweb.models.families.gemma.gemma import Gemma, GemmaConfig
from mlcweb.models.families.gemma.gemma2 import Gemma2, Gemma2Config
from mlcweb.models.families.gemma.gemma3 import Gemma3, Gemma3Config
from mlcweb.models.families.gemma.gemma3_vision import Gemma3Vision, Gemma3VisionConfig
from mlcweb.models.families.gemma.gemma4 import Gemma4, Gemma4Config
from mlcweb.models.families.gpt.gpt2 import GPT2, GPT2Config
from mlcweb.models.families.gpt.gpt_neox import GPTNeoX, GPTNeoXConfig
from mlcweb.models.families.gpt.gpt_oss import GptOss, GptOssConfig
from mlcweb.models.families.gpt.phi import Phi, PhiConfig
from mlcweb.models.families.gpt.phi3 import Phi3, Phi3Config
from mlcweb.models.families.gpt.starcoder2 import Starcoder2, Starcoder2Config
from mlcweb.models.families.lfm.lfm2 import Lfm2, Lfm2Config
from mlcweb.models.families.lfm.lfm3 import Lfm3, Lfm3Config
from mlcweb.models.families.llama.ernie4_5 import Ernie4_5, Ernie4_5Config
from mlcweb.models.families.llama.exaone4 import Exaone4, Exaone4Config
from mlcweb.models.families.llama.granite import Granite, GraniteConfig
from mlcweb.models.families.llama.granite_hybrid import GraniteHybrid, GraniteHybridConfig
from mlcweb.models.families.llama.hunyuan import Hunyuan, HunyuanConfig
from mlcweb.models.families.llama.idefics3 import Idefics3, Idefics3Config
from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.models.families.llama.ministral3 import Ministral3, Ministral3Config
from mlcweb.models.families.llama.mistral import Mistral, MistralConfig
from mlcweb.models.families.llama.mixtral import Mixtral, MixtralConfig
from mlcweb.models.families.llama.smollm3 import SmolLM3, SmolLM3Config
from mlcweb.models.families.llama.stablelm import StableLm, StableLmConfig
from mlcweb.models.families.olmo.olmo2 import Olmo2, Olmo2Config
from mlcweb.models.families.olmo.olmo3 import Olmo3, Olmo3Config
from mlcweb.models.families.olmo.olmoe import Olmoe, OlmoeConfig
from mlcweb.models.families.qwen.qwen2 import Qwen2, Qwen2Config
from mlcweb.models.families.qwen.qwen2_5_vl import Qwen25VL, Qwen25VLConfig
from mlcweb.models.families.qwen.qwen2_moe import Qwen2Moe, Qwen2MoeConfig
from mlcweb.models.families.qwen.qwen3 import Qwen3, Qwen3Config
from mlcweb.models.families.qwen.qwen3_5 import Qwen35, Qwen35Config
from mlcweb.models.families.qwen.qwen3_5_vision import Qwen35Vision, Qwen35VisionConfig
from mlcweb.models.families.qwen.qwen3_moe import Qwen3Moe, Qwen3MoeConfig
from mlcweb.models.families.qwen.qwen3_vl import Qwen3VL, Qwen3VLConfig
from mlcweb.models.parts.decoder import Decoder, DecoderConfig, declare_model
from mlcweb.models.parts.text_head import TextTask

ARCHITECTURES: dict[str, tuple[Any, type[Decoder]]] = {
    "BertForSequenceClassification": (BertConfig, Bert),
    "BertModel": (BertConfig, Bert),
    "Ernie4_5ForCausalLM": (Ernie4_5Config, Ernie4_5),
    "Exaone4ForCausalLM": (Exaone4Config, Exaone4),
    "GPT2LMHeadModel": (GPT2Config, GPT2),
    "GPTNeoXForCausalLM": (GPTNeoXConfig, GPTNeoX),
    "Gemma2ForCausalLM": (Gemma2Config, Gemma2),
    "Gemma3ForCausalLM": (Gemma3Config, Gemma3),
    "Gemma3ForConditionalGeneration": (Gemma3VisionConfig, Gemma3Vision),
    "Gemma3TextModel": (Gemma3Config, Gemma3),
    "Gemma4ForCausalLM": (Gemma4Config, Gemma4),
    "GemmaForCausalLM": (GemmaConfig, Gemma),
    "GptOssForCausalLM": (GptOssConfig, GptOss),
    "GraniteForCausalLM": (GraniteConfig, Granite),
    "GraniteMoeHybridForCausalLM": (GraniteHybridConfig, GraniteHybrid),
    "HunYuanDenseV1ForCausalLM": (HunyuanConfig, Hunyuan),
    "Idefics3ForConditionalGeneration": (Idefics3Config, Idefics3),
    "Lfm2ForCausalLM": (Lfm2Config, Lfm2),
    "Lfm3ForCausalLM": (Lfm3Config, Lfm3),
    "LlamaForCausalLM": (LlamaConfig, Llama),
    "Ministral3ForCausalLM": (Ministral3Config, Ministral3),
    "MistralForCausalLM": (MistralConfig, Mistral),
    "MixtralForCausalLM": (MixtralConfig, Mixtral),
    "ModernBertForMaskedLM": (ModernBertConfig, ModernBert),
    "ModernBertForSequenceClassification": (ModernBertConfig, ModernBert),
    "ModernBertModel": (ModernBertConfig, ModernBert),
    "Olmo2ForCausalLM": (Olmo2Config, Olmo2),
    "Olmo3ForCausalLM": (Olmo3Config, Olmo3),
    "OlmoeForCausalLM": (OlmoeConfig, Olmoe),
    "Phi3ForCausalLM": (Phi3Config, Phi3),
    "PhiForCausalLM": (PhiConfig, Phi),
    "Qwen2ForCausalLM": (Qwen2Config, Qwen2),
    "Qwen2MoeForCausalLM": (Qwen2MoeConfig, Qwen2Moe),
    "Qwen2_5_VLForConditionalGeneration": (Qwen25VLConfig, Qwen25VL),
    "Qwen3ForCausalLM": (Qwen3Config, Qwen3),
    "Qwen3ForSequenceClassification": (Qwen3Config, Qwen3),
    "Qwen3Model": (Qwen3Config, Qwen3),
    "Qwen3_5ForCausalLM": (Qwen35Config, Qwen35),
    "Qwen3_5ForConditionalGeneration": (Qwen35VisionConfig, Qwen35Vision),
    "Qwen3MoeForCausalLM": (Qwen3MoeConfig, Qwen3Moe),
    "Qwen3VLForConditionalGeneration": (Qwen3VLConfig, Qwen3VL),
    "SmolLM3ForCausalLM": (SmolLM3Config, SmolLM3),
    "SmolVLMForConditionalGeneration": (Idefics3Config, Idefics3),
    "StableLmForCausalLM": (StableLmConfig, StableLm),
    "Starcoder2ForCausalLM": (Starcoder2Config, Starcoder2),
}


def architecture(config: dict[str, object]) -> tuple[Any, type[Decoder]]:
    """The (config class, model class) for ``config["architectures"][0]``. Raises UnsupportedError."""
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else config.get("model_type", "unnamed")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise UnsupportedError(
            f"architecture {name!r} is not supported; known: {', '.join(ARCHITECTURES)}",
            hint="Only models of a known architecture can be compiled.",
        )
    return ARCHITECTURES[name]


def usual_task(task: str | None, hf_config: dict[str, object], config: Any) -> TextTask | None:
    """What a recipe's model makes of whole texts (``task``: embed, rerank), as far as its config alone says it."""
    if task is None:
        return None
    if task == "embed":
        return TextTask("embed", "mean")
    names = hf_config.get("architectures")
    if isinstance(names, list) and str(names[0]).endswith("ForSequenceClassification"):
        return architecture(hf_config)[1].scorer(config)
    return TextTask("score", "last", rows=(0, 1))


__all__ = ["ARCHITECTURES", "Decoder", "DecoderConfig", "architecture", "declare_model", "usual_task"]
