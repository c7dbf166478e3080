"""The recipes' shapes are the published models': their parameter counts, their family, and plans within the limits."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mlcweb.contract.constants import RECURRENT_COPIES
from mlcweb.footprint import Footprint, footprints
from mlcweb.kernels.choice.tier import F16_SUBGROUPS, SUBGROUPS
from mlcweb.models import architecture
from mlcweb.quantize import get_scheme
from mlcweb.recipes import Recipe, all_recipes, find_recipe
from tests.support.limits import MAX_BINDING, check
from tests.support.recipe_plans import lower_recipe, model_of, quantization_of, shape_of

pytestmark = pytest.mark.slow  # it declares every recipe's model

# Parameters as the models' pages and papers count them, a tied head once; less those of towers for pictures and sound,
# and of Qwen3.5's layer that predicts several tokens. No page has counts of Hunyuan's: these are of its shapes, and
# twice as many bytes are the sizes of its published files, 1.0, 3.3, 7.9 and 14.0 GiB.
PUBLISHED: dict[str, int | float] = {
    "DeepSeek-R1-Distill-Llama-8B": 8_030_261_248,
    "DeepSeek-R1-Distill-Qwen-1.5B": 1_777_088_000,
    "DeepSeek-R1-Distill-Qwen-7B": 7_615_616_512,
    "ERNIE-4.5-0.3B-PT": 360_748_032,
    "EXAONE-4.0-1.2B": 1_279_391_488,
    "Hermes-2-Pro-Llama-3-8B": 8_030_523_392,
    "Hermes-2-Pro-Mistral-7B": 7_241_994_240,
    "Hermes-2-Theta-Llama-3-8B": 8_030_261_248,
    "Hermes-3-Llama-3.1-8B": 8_030_261_248,
    "Hermes-3-Llama-3.2-3B": 3_212_749_824,
    "Hunyuan-0.5B": 539_010_048,
    "Hunyuan-1.8B": 1_791_080_448,
    "Hunyuan-4B": 4_221_757_440,
    "Hunyuan-7B": 7_504_568_320,
    "LFM2-1.2B": 1_170_340_608,
    "LFM2-2.6B": 2_569_272_320,
    "LFM2-350M": 354_483_968,
    "LFM2-700M": 742_489_344,
    "LFM2.5-1.2B": 1_170_340_608,
    "LFM3-1.7B": 1.7,
    "Llama-2-13b-chat-hf": 13_015_864_320,
    "Llama-2-7b-chat-hf": 6_738_415_616,
    "Llama-3-70B": 70_553_706_496,
    "Llama-3-8B": 8_030_261_248,
    "Llama-3.1-70B": 70_553_706_496,
    "Llama-3.1-8B": 8_030_261_248,
    "Llama-3.2-1B": 1_235_814_400,
    "Llama-3.2-3B": 3_212_749_824,
    "Ministral-3-14B-Instruct-2512": 13.5,
    "Ministral-3-3B-Base-2512": 3.4,
    "Ministral-3-3B-Instruct-2512-BF16": 3.4,
    "Ministral-3-3B-Reasoning-2512": 3.4,
    "Ministral-3-8B-Instruct-2512": 8.4,
    "Mistral-7B-Instruct-v0.2": 7_241_732_096,
    "Mistral-7B-Instruct-v0.3": 7_248_023_552,
    "Mixtral-8x7B-Instruct-v0.1": 46_702_792_704,
    "NeuralHermes-2.5-Mistral-7B": 7_241_748_480,
    "OLMo-2-0425-1B": 1_484_916_736,
    "OLMo-2-1124-7B": 7_298_617_344,
    "OLMo-3-7B": 7_298_011_136,
    "OLMoE-1B-7B-0924": 6_919_161_856,
    "OpenHermes-2.5-Mistral-7B": 7_241_748_480,
    "Phi-3-mini-4k": 3_821_079_552,
    "Phi-3.5-mini": 3_821_079_552,
    "Phi-4-mini": 3_836_021_760,
    "Qwen1.5-0.5B-Chat": 463_987_712,
    "Qwen1.5-1.8B-Chat": 1_836_828_672,
    "Qwen1.5-MoE-A2.7B-Chat": 14_315_784_192,
    "Qwen2-0.5B": 494_032_768,
    "Qwen2-1.5B": 1_543_714_304,
    "Qwen2-7B": 7_615_616_512,
    "Qwen2-Math-1.5B": 1_543_714_304,
    "Qwen2-Math-7B": 7_615_616_512,
    "Qwen2.5-0.5B": 494_032_768,
    "Qwen2.5-1.5B": 1_543_714_304,
    "Qwen2.5-3B": 3_085_938_688,
    "Qwen2.5-7B": 7_615_616_512,
    "Qwen2.5-Coder-0.5B": 494_032_768,
    "Qwen2.5-Coder-1.5B": 1_543_714_304,
    "Qwen2.5-Coder-3B": 3_085_938_688,
    "Qwen2.5-Coder-7B": 7_615_616_512,
    "Qwen2.5-Math-1.5B": 1_543_714_304,
    "Qwen2.5-VL-3B": 3_754_622_976 - 752_640,  # patches have weights for two moments, which are summed
    "Qwen2.5-VL-7B": 8_292_166_656 - 752_640,
    "Qwen3-0.6B": 596_049_920,
    "Qwen3-Embedding-0.6B": 595_776_512,
    "Qwen3-Embedding-4B": 4_021_774_336,
    "Qwen3-Reranker-0.6B": 595_776_512,
    "all-MiniLM-L6-v2": 22_713_216 - 384 * 385,  # what BERT pools for another task is left out
    "bge-base-en-v1.5": 109_482_240 - 768 * 769,
    "bge-large-en-v1.5": 335_141_888 - 1024 * 1025,
    "bge-small-en-v1.5": 33_360_000 - 384 * 385,
    "embeddinggemma-300m": 302_863_104,
    "gte-modernbert-base": 149_014_272,
    "gte-reranker-modernbert-base": 149_605_633,
    "ms-marco-MiniLM-L6-v2": 22_713_601,
    "snowflake-arctic-embed-m": 109_482_240 - 768 * 769,
    "snowflake-arctic-embed-s": 33_360_000 - 384 * 385,
    "Qwen3-1.7B": 1_720_574_976,
    "Qwen3-30B-A3B-Instruct-2507": 30_532_122_624,
    "Qwen3-4B": 4_022_468_096,
    "Qwen3-8B": 8_190_735_360,
    "Qwen3-VL-2B": 2_127_532_032 - 786_432,
    "Qwen3-VL-4B": 4_437_815_808 - 786_432,
    "Qwen3-VL-8B": 8_767_123_696 - 884_736,
    "Qwen3.5-0.8B": 873_438_784 - 589_824 - 20_452_864,
    "Qwen3.5-2B": 2_274_069_824 - 786_432 - 60_828_160,
    "Qwen3.5-4B": 4_659_865_088 - 786_432 - 120_599_552,
    "Qwen3.5-9B": 9_653_104_368 - 884_736 - 243_290_624,
    "RedPajama-INCITE-Chat-3B-v1": 2_775_864_320,
    "SmolLM2-1.7B": 1_711_376_384,
    "SmolLM2-135M": 134_515_008,
    "SmolLM2-360M": 361_821_120,
    "SmolLM3-3B": 3_075_098_624,
    "SmolVLM": 2_246_272_880,
    "SmolVLM-256M": 256_484_928,
    "SmolVLM-500M": 507_482_304,
    "SmolVLM2-2.2B": 2_246_784_880,
    "SmolVLM2-256M-Video": 256_484_928,
    "SmolVLM2-500M-Video": 507_482_304,
    "TinyLlama-1.1B-Chat-v0.4": 1_100_060_672,
    "TinyLlama-1.1B-Chat-v1.0": 1_100_048_384,
    "WizardMath-7B-V1.1": 7_241_740_288,
    "gemma-2-2b-it": 2_614_341_888,
    "gemma-2-2b-jpn-it": 2_614_341_888,
    "gemma-2-9b-it": 9_241_705_984,
    "gemma-2b-it": 2_506_172_416,
    # less, too, the projections to keys and values of layers that read another's
    "gemma-4-E2B-it": 5_123_178_979 - 475_729_088 - 18_880_512,
    "gemma-4-E4B-it": 7_996_157_418 - 478_088_384 - 55_055_616,
    "gemma-3-12b-it": 12_187_325_040,
    "gemma-3-270m": 268_098_176,
    "gemma-3-4b-it": 4_300_079_472,
    "gemma3-1b-it": 999_885_952,
    "gpt-oss-20b": 20_914_757_184,
    "gpt2": 124_439_808,
    "granite-3.3-2b": 2_533_539_840,
    "granite-3.3-8b": 8_170_864_640,
    "granite-4.0-micro": 3_402_836_480,
    "phi-1_5": 1_418_270_720,
    "phi-2": 2_779_683_840,
    "stablelm-2-zephyr-1_6b": 1_644_515_328,
    "stablelm-zephyr-3b": 2_795_443_200,
    "starcoder2-3b": 3_030_371_328,
}
RECIPES = all_recipes()
SMALLEST = {
    (recipe.family, recipe.task): recipe
    for recipe in sorted(RECIPES, key=lambda recipe: -PUBLISHED[recipe.name])
}  # the last of a family stays


def footprint(
    config: dict[str, Any],
    quantization: str,
    context: int = 4096,
    kv_dtype: str | None = None,
    task: str | None = None,
) -> Footprint:
    return footprints(config, [get_scheme(quantization)], context, kv_dtype, task=task)[quantization]


def test_every_recipe_has_a_published_count() -> None:
    assert sorted(PUBLISHED) == sorted(recipe.name for recipe in RECIPES)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_config_is_the_published_models(recipe: Recipe) -> None:
    actual, published = footprint(recipe.config, "q0f32", task=recipe.task).parameters, PUBLISHED[recipe.name]
    if isinstance(published, float):  # billions, to the digits that the page states
        assert math.floor(actual / 1e8) / 10 == published
    else:
        assert actual == published
    _, model_class = architecture(recipe.config)
    assert model_class.__module__.rpartition(".")[2] == recipe.family


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_hidden_layers", 27),
        ("intermediate_size", 8448),
        ("vocab_size", 128257),
        ("tie_word_embeddings", False),
    ],
)
def test_a_config_with_a_wrong_number_would_be_noticed(key: str, value: object) -> None:
    recipe = find_recipe("Llama-3.2-3B")
    assert footprint({**recipe.config, key: value}, "q0f32").parameters != PUBLISHED[recipe.name]


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(recipe, marks=pytest.mark.sweep if i % 3 else (), id=recipe.name)
        for i, recipe in enumerate(SMALLEST.values())
    ],
)
def test_the_plan_is_within_the_limits_and_takes_what_list_says(recipe: Recipe) -> None:
    """The smallest of each family at its full size: of three one here; `make recipes` does all, on all tiers."""
    plan, chunk = lower_recipe(recipe, F16_SUBGROUPS)
    for kernel in plan.kernels:
        check(kernel, chunk)
    assert all(buffer.bytes <= MAX_BINDING for buffer in plan.buffers if buffer.kind != "kv")
    taken = footprint(recipe.config, quantization_of(recipe), recipe.context_length, task=recipe.task)
    assert (taken.weights, taken.kv_cache) == (plan.memory("weight"), plan.memory("kv"))
    assert taken.recurrent == (1 + RECURRENT_COPIES) * plan.memory("recurrent")
    assert taken.gpu == taken.weights + taken.kv_cache + taken.recurrent
    assert taken.parameters == model_of(recipe).weight_count


@pytest.mark.slow
def test_a_footprint_depends_on_quantization_context_and_kv_cache() -> None:
    recipe = find_recipe("SmolLM2-135M")
    config = recipe.config
    half, single = (footprint(config, name) for name in ("q4f16_1", "q4f32_1"))
    assert half.weights < single.weights < 4 * half.parameters
    assert single.kv_cache == 2 * half.kv_cache == 30 * 2 * 3 * 64 * 4096 * 4
    assert footprint(config, "q4f32_1", kv_dtype="float16").kv_cache == half.kv_cache
    assert footprint(config, "q4f16_1", 2048).kv_cache * 2 == half.kv_cache
    plan, _ = lower_recipe(recipe, SUBGROUPS)
    assert plan.memory("kv") == single.kv_cache


def test_recipes_of_one_shape_are_told_from_others() -> None:
    llama, hermes = find_recipe("Llama-3.1-8B"), find_recipe("Hermes-3-Llama-3.1-8B")
    assert shape_of(llama) == shape_of(find_recipe("Llama-3-8B")) == shape_of(hermes)
    assert shape_of(llama) != shape_of(find_recipe("Hermes-2-Pro-Llama-3-8B"))
    assert shape_of(llama) != shape_of(find_recipe("Llama-3.1-70B"))
