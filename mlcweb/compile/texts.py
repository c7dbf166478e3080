"""Decides what a model makes of whole texts: an embedding, as sentence-transformers saved it, or a score."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from mlcweb.bundle import EmbeddingFacts, RerankingFacts
from mlcweb.compile.request import CompileRequest
from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.evaluate.cosine import least_cosine
from mlcweb.models import Decoder, DecoderConfig
from mlcweb.models.parts.encoder import Encoder
from mlcweb.models.parts.text_head import Dense, TextTask
from mlcweb.progress import Progress
from mlcweb.recipes import Recipe
from mlcweb.reference.text_tokens import TextTokenizer
from mlcweb.reference.texts import (
    HostTexts,
    TokenizedText,
    int8_difference_of_texts,
    make_text_validation,
)
from mlcweb.reference.weights import ReferenceWeights
from mlcweb.sources import Checkpoint

Task = Literal["chat", "embed", "rerank"]
TASKS: tuple[Task, ...] = get_args(Task)

DEFAULT_TEXT_CONTEXT = 2048  # tokens of a text, of models that take longer ones

_CLASSIFIER = "ForSequenceClassification"

# How Qwen3-Reranker is asked, by its model card, and the answers that its score compares.
YES_NO_TEMPLATE = (
    "<|im_start|>system\n"
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
YES_NO_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"

# Mlcweb's own, short and long, for what a bundle's outputs are checked with.
_TEXTS = (
    "What is the capital of France?",
    "Paris is the capital and the largest city of France.",
    "The kettle is on the stove.",
    "Größere Städte haben oft eine U-Bahn; 東京 has thirteen lines.",
    "A model is compiled once, ahead of time, into kernels that a browser runs on the graphics card. "
    "The page fetches the weights, keeps them, and answers without sending anything to a server.",
)


@dataclass(frozen=True)
class TextJob:
    """What a job makes of texts, how their tokens are made, and what the manifest says of it."""

    task: TextTask
    tokenizer: TextTokenizer
    embedding: EmbeddingFacts | None = None
    reranking: RerankingFacts | None = None

    def facts(self) -> dict[str, Any]:
        """All that decides a bundle's bytes but the tokenizer, as JSON."""
        return {
            "task": asdict(self.task),
            "embedding": self.embedding and asdict(self.embedding),
            "reranking": self.reranking and asdict(self.reranking),
            "texts": _TEXTS,
        }

    def texts(self) -> list[tuple[str, str | None]]:
        """What outputs are checked with: texts, or a query with each of some documents."""
        if self.embedding is not None:
            return [(text, None) for text in _TEXTS]
        return [(_TEXTS[0], text) for text in _TEXTS[1:]]

    def tokens(self, text: str, document: str | None = None) -> TokenizedText:
        """The tokens of a text, or of a pair, as the engine makes them. Raises CheckpointError."""
        if document is None:
            facts = self.embedding
            prompt = (
                facts.prompts[facts.default_prompt]
                if facts and facts.prompts and facts.default_prompt
                else ""
            )
            return self.tokenizer.text(prompt + text)
        assert self.reranking is not None
        if self.reranking.template is None:
            return self.tokenizer.pair(text, document)
        values = {"query": text, "document": document, "instruction": self.reranking.instruction or ""}
        return self.tokenizer.text(filled(self.reranking.template, values), special=False)


def filled(template: str, values: dict[str, str]) -> str:
    """A template with its places filled in; what is filled in is not read again."""
    parts = template.split("{")
    text = parts[0]
    for part in parts[1:]:
        name, brace, rest = part.partition("}")
        text += values[name] + rest if brace and name in values else "{" + part
    return text


def find_task(request: CompileRequest, recipe: Recipe | None, checkpoint: Checkpoint) -> Task:
    """What the model is for: what is asked for, or what the recipe or the checkpoint says."""
    if request.task is not None and request.task not in TASKS:
        raise UnsupportedError(f"--task {request.task} is not known", hint=f"Give {', '.join(TASKS)}.")
    if request.task is not None:
        return next(task for task in TASKS if task == request.task)
    if recipe is not None and recipe.task is not None:
        return next(task for task in TASKS if task == recipe.task)
    if _architecture(checkpoint).endswith(_CLASSIFIER):
        return "rerank"
    return "chat" if checkpoint.sentence is None else "embed"


def _architecture(checkpoint: Checkpoint) -> str:
    names = checkpoint.config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def make_text_job(
    task: Task,
    checkpoint: Checkpoint,
    recipe: Recipe | None,
    config: DecoderConfig,
    model_class: type[Decoder],
) -> TextJob | None:
    """The job's part that is about texts; None for a model that answers.

    Raises UnsupportedError where the model cannot do that, CheckpointError where the checkpoint contradicts itself.
    """
    if task == "chat":
        if issubclass(model_class, Encoder) or config.ahead:
            raise UnsupportedError(
                f"{_architecture(checkpoint) or 'this model'} sees a whole text at once and cannot answer",
                hint="Give --task embed or --task rerank."
                + ("" if checkpoint.sentence else " Its folder lacks modules.json, which says how it pools."),
            )
        return None
    tokenizer = TextTokenizer(checkpoint.tokenizer_files)
    if task == "embed":
        made, facts = _embedding(checkpoint, recipe, config)
        return TextJob(made, tokenizer, embedding=facts)
    reranked, reranking = _reranking(checkpoint, config, model_class, tokenizer)
    return TextJob(reranked, tokenizer, reranking=reranking)


def _embedding(
    checkpoint: Checkpoint, recipe: Recipe | None, config: DecoderConfig
) -> tuple[TextTask, EmbeddingFacts]:
    sentence = checkpoint.sentence
    if sentence is None:
        raise UnsupportedError(
            "it is not said what an embedding is made of: the checkpoint has no modules.json",
            hint="Save it with sentence-transformers, whose modules.json and 1_Pooling/config.json say it.",
        )
    width = config.hidden_size
    if sentence.width is not None and sentence.width != width:
        raise CheckpointError(
            f"modules.json pools rows of {sentence.width} numbers, and config.json makes them of {width}"
        )
    dense = []
    for layer in sentence.dense:
        if layer.inputs != width:
            raise CheckpointError(f"{layer.name} takes {layer.inputs} numbers, and is given {width}")
        activation: Any = layer.activation
        dense.append(Dense(layer.name, layer.outputs, layer.bias, activation))
        width = layer.outputs
    task = TextTask("embed", sentence.pooling, tuple(dense), sentence.normalized)
    sizes = tuple(recipe.matryoshka) if recipe and recipe.matryoshka else None
    facts = EmbeddingFacts(
        dimensions=width,
        pooling=sentence.pooling,
        normalized=sentence.normalized,
        similarity=sentence.similarity,
        matryoshka=sizes,
        prompts=sentence.prompts or None,
        default_prompt=sentence.default_prompt,
    )
    return task, facts


def _reranking(
    checkpoint: Checkpoint, config: DecoderConfig, model_class: type[Decoder], tokenizer: TextTokenizer
) -> tuple[TextTask, RerankingFacts]:
    if _architecture(checkpoint).endswith(_CLASSIFIER):
        labels = checkpoint.config.get("num_labels", len(checkpoint.config.get("id2label") or [0, 1]))
        if labels != 1:
            raise UnsupportedError(
                f"this classifier has {labels} labels; one that scores documents has one",
                hint="mlcweb compiles rerankers (cross-encoders), and no other classifiers.",
            )
        return model_class.scorer(config), RerankingFacts(activation="sigmoid")
    if issubclass(model_class, Encoder):
        raise UnsupportedError(
            "this encoder has no classifier that would score a pair of texts",
            hint="Give a checkpoint of …ForSequenceClassification, or --task embed.",
        )
    rows = [tokenizer.single(answer) for answer in ("no", "yes")]
    if None in rows or "<|im_start|>" not in tokenizer:
        raise UnsupportedError(
            "its tokenizer lacks a token for yes, no or <|im_start|>, by which Qwen3-Reranker is asked",
            hint="Rerankers with a classifier (…ForSequenceClassification) need no such tokens.",
        )
    task = TextTask("score", "last", rows=(int(rows[0] or 0), int(rows[1] or 0)))
    return task, RerankingFacts(
        activation="sigmoid", template=YES_NO_TEMPLATE, instruction=YES_NO_INSTRUCTION
    )


def check_text_options(request: CompileRequest) -> None:
    """Refuse what only a model that answers has. Raises UnsupportedError."""
    for option, value in (
        ("--matrix", request.matrix),
        ("--kv-cache-dtype", request.kv_cache_dtype),
        ("--calibrate", request.calibrate),
        ("--scales calibrated", request.scales == "calibrated"),
    ):
        if value:
            raise UnsupportedError(
                f"{option} is for models that answer, and this one makes embeddings or scores",
                hint="Leave it out.",
            )


def default_text_context(checkpoint: Checkpoint) -> int:
    """The longest text in tokens, where neither an option nor a recipe says it."""
    said = checkpoint.sentence.max_tokens if checkpoint.sentence else None
    return min(said or DEFAULT_TEXT_CONTEXT, DEFAULT_TEXT_CONTEXT)


def make_validation_of_texts(
    job: TextJob,
    model: Decoder,
    weights: ReferenceWeights,
    context: int,
    progress: Progress,
    source: tuple[Decoder, ReferenceWeights] | None,
) -> dict[str, Any]:
    """The content of the bundle's validation; with ``source``, what quantization did to embeddings is noted."""
    texts = job.texts()
    tokenized = [job.tokens(*text) for text in texts]
    kept = [i for i, tokens in enumerate(tokenized) if len(tokens.tokens) <= context]
    if not kept:
        raise UnsupportedError(
            f"--context {context} holds none of the texts that a bundle is checked with",
            hint=f"Give at least --context {min(len(tokens.tokens) for tokens in tokenized)}.",
        )
    texts, tokenized = [texts[i] for i in kept], [tokenized[i] for i in kept]
    progress.start("reference", len(texts), "items")
    host = HostTexts(model, weights, context)
    validation = make_text_validation(host, texts, tokenized)
    progress.advance(len(texts))
    if source is not None and job.embedding is not None:
        theirs = HostTexts(source[0], source[1], context)
        cosine = least_cosine([item["output"] for item in validation["texts"]], map(theirs.output, tokenized))
        progress.note(f"embeddings of {len(texts)} texts: at least {cosine:.4f} of the source's by cosine")
    return validation


def int8_moves_texts(
    job: TextJob, model: Decoder, weights: ReferenceWeights, context: int, validation: dict[str, Any]
) -> float:
    """How far rounding activations to int8 moves the outputs of ``make_validation_of_texts``."""
    tokenized = [job.tokens(item["text"], item.get("document")) for item in validation["texts"]]
    return int8_difference_of_texts(HostTexts(model, weights, context), tokenized, validation)
