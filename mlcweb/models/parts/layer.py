"""Has the layers that several architectures use; others are in their architecture's file."""

from __future__ import annotations

from tvm.relax.frontend import nn

from mlcweb.kernels.ops import Array
from mlcweb.models.parts.attention import Attention
from mlcweb.models.parts.decoder import DecoderConfig, Step
from mlcweb.models.parts.weights import WeightBuilder


class Layer(nn.Module):
    """Attention and MLP; each takes a normalized input and is added to the residual.

    The MLP's input is attention's sum, or the layer's own input if ``parallel``.

    ``norms`` are the checkpoint's names under ``prefix``; ``plus`` is added to their weights.
    """

    def __init__(
        self,
        config: DecoderConfig,
        w: WeightBuilder,
        prefix: str,
        attention: nn.Module,
        mlp: nn.Module,
        *,
        norms: tuple[str, str] = ("input_layernorm", "post_attention_layernorm"),
        plus: float = 0.0,
        parallel: bool = False,
    ) -> None:
        size, bias = config.hidden_size, config.centered
        first, second = (f"{prefix}.{name}" for name in norms)
        self.input_layernorm, self.input_layernorm_bias = w.norm(first, size, bias=bias, plus=plus)
        self.self_attn = attention
        self.post_attention_layernorm, self.post_attention_layernorm_bias = w.norm(
            second, size, bias=bias, plus=plus
        )
        self.mlp = mlp
        self.config, self.parallel = config, parallel

    def forward(self, step: Step[Array], x_TD: Array) -> Array:
        norm = self.config.norm(self.input_layernorm, self.input_layernorm_bias)
        y_TD = self.self_attn(step, x_TD, norm, x_TD)
        norm = self.config.norm(self.post_attention_layernorm, self.post_attention_layernorm_bias)
        out_TD: Array = self.mlp(step, x_TD if self.parallel else y_TD, norm, y_TD)
        return out_TD


class PostNormLayer(nn.Module):
    """Attention and MLP; neither has a norm before it, and each one's outputs are normalized before they are added."""

    def __init__(
        self, config: DecoderConfig, w: WeightBuilder, prefix: str, attention: Attention, mlp: nn.Module
    ) -> None:
        hidden = config.hidden_size
        self.self_attn = attention
        self.post_attention_layernorm = w.vector(f"{prefix}.post_attention_layernorm.weight", hidden)
        self.mlp = mlp
        self.post_feedforward_layernorm = w.vector(f"{prefix}.post_feedforward_layernorm.weight", hidden)
        self.config = config

    def forward(self, step: Step[Array], x_TD: Array) -> Array:
        norm, ops = self.config.norm, step.ops
        y_TD = self.self_attn(step, x_TD, None, None)
        x_TD = ops.norm(y_TD, norm(self.post_attention_layernorm), residual=x_TD)
        y_TD = self.mlp(step, x_TD, None, None)
        return ops.norm(y_TD, norm(self.post_feedforward_layernorm), residual=x_TD)


class OneNormLayer(nn.Module):
    """Attention and MLP; both take the same normalized input and are added to the residual."""

    def __init__(
        self, config: DecoderConfig, w: WeightBuilder, prefix: str, attention: Attention, mlp: nn.Module
    ) -> None:
        name = f"{prefix}.input_layernorm"
        self.input_layernorm, self.input_layernorm_bias = w.norm(
            name, config.hidden_size, bias=config.centered
        )
        self.self_attn, self.mlp = attention, mlp
        self.config = config

    def forward(self, step: Step[Array], x_TD: Array) -> Array:
        norm = self.config.norm(self.input_layernorm, self.input_layernorm_bias)
        normed_TD = step.ops.norm(x_TD, norm)
        out_TD: Array = self.mlp(step, normed_TD, None, self.self_attn(step, normed_TD, None, x_TD))
        return out_TD
