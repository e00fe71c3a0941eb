"""Public models' architectures: the shapes that vendors' configs state, and what follows from them.

Counts are of matrices only (norms and biases: below 0.1 %). Symbols: d hidden, n_q and n_kv heads, d_h head
dimension, E experts of which k are routed to, f their width.
"""

from dataclasses import dataclass
from enum import StrEnum

from servebench.catalog.provenance import Source


class Family(StrEnum):
    """How attention and the feed-forward part are built; the unit that validation leaves out whole."""

    DENSE = "dense GQA"
    MOE = "MoE GQA"
    MLA = "MLA"  # low-rank latent KV (DeepSeek), always MoE here
    WINDOW = "sliding window hybrid"
    LINEAR = "linear-attention hybrid"


@dataclass(frozen=True, slots=True)
class Latent:
    """Multi-head latent attention: ranks and head dimensions as in DeepSeek-V3's config."""

    q_lora: int
    kv_lora: int
    rope: int
    nope: int
    v: int
    index_heads: int = 0  # sparse attention's indexer (DeepSeek Sparse Attention); 0: none
    index_dim: int = 0
    index_top: int = 0  # context tokens that the indexer lets through


@dataclass(frozen=True, slots=True)
class LinearAttention:
    """Gated delta-rule layers: a fixed state per sequence instead of a cache that grows."""

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int


@dataclass(frozen=True, slots=True)
class Architecture:
    """One public model. experts = 0: dense. full_layers: layers whose attention reads the whole context.

    expert_layers: layers with routed experts; the others have a dense feed-forward part of width ffn.
    fixed_expert_bytes: bytes per parameter the maker ships the experts in and every stack serves (MXFP4).
    attention_fp4: True where fp4 checkpoints quantise attention too; else it stays in bf16.
    """

    id: str
    name: str
    aliases: tuple[str, ...]
    family: Family
    layers: int
    hidden: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    expert_layers: int
    experts: int
    experts_active: int
    expert_ffn: int
    shared_ffn: int
    expert_hidden: int  # width the experts read and write; hidden, except where they work in a latent space
    full_layers: int
    window_tokens: int
    latent: Latent | None
    linear: LinearAttention | None
    routed_nodes: int  # nodes that a token's experts may lie on; 0: any
    gated_attention: bool
    tied_embeddings: bool
    fixed_expert_bytes: float | None
    attention_fp4: bool
    published_total: float
    published_active: float | None
    sources: dict[str, Source]

    @property
    def linear_layers(self) -> int:
        return self.layers - self.full_layers if self.linear is not None else 0

    @property
    def window_layers(self) -> int:
        return self.layers - self.full_layers if self.window_tokens else 0

    @property
    def softmax_layers(self) -> int:
        return self.full_layers + self.window_layers

    @property
    def params_attention(self) -> int:
        """Projections of all layers, linear-attention ones included."""
        d = self.hidden
        if self.latent is not None:
            m, n = self.latent, self.heads
            each = d * m.q_lora + m.q_lora * n * (m.nope + m.rope) if m.q_lora else d * n * (m.nope + m.rope)
            each += d * (m.kv_lora + m.rope) + m.kv_lora * n * (m.nope + m.v) + n * m.v * d
            each += m.index_heads * m.index_dim * m.q_lora + d * (m.index_dim + m.index_heads)
        else:
            q = d * self.heads * self.head_dim
            each = (3 if self.gated_attention else 2) * q + 2 * d * self.kv_heads * self.head_dim
        total = self.softmax_layers * each
        if self.linear is not None:
            a = self.linear
            keys, values = a.key_heads * a.key_dim, a.value_heads * a.value_dim
            total += self.linear_layers * d * (2 * keys + 2 * values + 2 * a.value_heads + values)
        return total

    @property
    def params_feed_forward(self) -> int:
        """Dense feed-forward parts, shared experts and routers."""
        dense = (self.layers - self.expert_layers) * 3 * self.hidden * self.ffn
        beside = 3 * self.hidden * self.shared_ffn + self.hidden * self.experts
        return dense + self.expert_layers * beside

    @property
    def params_expert(self) -> int:
        """Routed experts, P_exp."""
        return self.expert_layers * self.experts * 3 * self.expert_hidden * self.expert_ffn

    @property
    def params_head(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def params_embedding(self) -> int:
        """The input table, looked up and never multiplied; 0 where the head shares it."""
        return 0 if self.tied_embeddings else self.vocabulary * self.hidden

    @property
    def params_non_expert(self) -> int:
        """P_ne, both vocabulary tables included."""
        return self.params_attention + self.params_feed_forward + self.params_head + self.params_embedding

    @property
    def params_total(self) -> int:
        return self.params_non_expert + self.params_expert

    @property
    def params_active(self) -> float:
        """Per token, as makers count it: the input table is looked up, not computed with."""
        routed = self.params_expert * self.experts_active / self.experts if self.experts else 0.0
        return self.params_non_expert - self.params_embedding + routed

    @property
    def kv_values_per_layer(self) -> int:
        """Cached numbers of one token in one softmax layer (an indexer's key included)."""
        if self.latent is not None:
            return self.latent.kv_lora + self.latent.rope + self.latent.index_dim
        return 2 * self.kv_heads * self.head_dim

    def kv_bytes_per_token(self, bytes_per_value: float) -> float:
        """kappa: growth of the cache per context token, full-attention layers only."""
        return self.full_layers * self.kv_values_per_layer * bytes_per_value

    def window_bytes(self, bytes_per_value: float) -> float:
        """What a sequence past the window holds in its sliding-window layers."""
        return self.window_layers * self.kv_values_per_layer * bytes_per_value * self.window_tokens

    @property
    def state_bytes(self) -> float:
        """Recurrent state of the linear layers per sequence, fp32."""
        if self.linear is None:
            return 0.0
        a = self.linear
        return self.linear_layers * a.value_heads * a.key_dim * a.value_dim * 4.0

    @property
    def decode_flop_per_context(self) -> float:
        """f_a of one full layer: GQA 4 n_q d_h; absorbed MLA 4 n_q (kv_lora + rope/2)."""
        if self.latent is not None:
            return 4.0 * self.heads * (self.latent.kv_lora + self.latent.rope / 2)
        return 4.0 * self.heads * self.head_dim

    @property
    def prefill_flop_per_pair(self) -> float:
        """f_p of one full layer: 4 n_q (d_qk + d_v)/2."""
        if self.latent is not None:
            return 2.0 * self.heads * (self.latent.nope + self.latent.rope + self.latent.v)
        return 4.0 * self.heads * self.head_dim
