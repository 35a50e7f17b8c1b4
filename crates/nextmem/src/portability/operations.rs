//! Every primitive that model, training and memory use, with the shapes and layouts they use it in.

use burn::tensor::module::embedding;
use burn::tensor::{Tensor, activation};
use nextmem_model::{DecoderConfig, widened};

use super::probe::Probe;

/// Rows of a batch.
const BATCH: usize = 2;
/// Positions; no multiple of anything a kernel likes.
const SEQ: usize = 13;
/// Longest vocabulary and width that a table needs: kernels are chosen by shape, and these are large enough.
const MOST: usize = 4096;

/// A primitive in one of its layouts.
pub struct Operation {
    /// Its row.
    pub name: &'static str,
    /// Where it is used.
    pub used: &'static str,
    /// Computes it.
    pub run: fn(&mut Probe, &Sizes),
}

/// The sizes of the experiment's model.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    hidden: usize,
    inner: usize,
    vocab: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    rank: usize,
}

impl Sizes {
    /// Of a model, cut where a wider one would test nothing more.
    pub fn of(config: &DecoderConfig, rank: usize) -> Self {
        Self {
            hidden: config.hidden_size.min(MOST),
            inner: config.intermediate_size.min(MOST),
            vocab: config.vocab_size.min(MOST),
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            rank,
        }
    }

    fn groups(&self) -> usize {
        self.heads / self.kv_heads
    }
}

/// The table.
pub const OPERATIONS: &[Operation] = &[
    op("embedding", "token lookup", |p, s| {
        let table = p.input("the table", [s.vocab, s.hidden]);
        let ids = p.ids([BATCH, SEQ], s.vocab);
        p.result(embedding(table, ids));
    }),
    op("matmul, projection", "every projection: x W^T", |p, s| {
        let (x, w) = (p.input("x", [BATCH * SEQ, s.hidden]), p.input("w", [s.inner, s.hidden]));
        p.result(x.matmul(w.transpose()));
    }),
    op("matmul, projection of one position", "encoding and decoding on the cache", |p, s| {
        let (x, w) = (p.input("x", [1, s.hidden]), p.input("w", [s.inner, s.hidden]));
        p.result(x.matmul(w.transpose()));
    }),
    op("matmul, low rank", "LoRA on the activations", |p, s| {
        let (x, a) = (p.input("x", [BATCH * SEQ, s.hidden]), p.input("A", [s.rank, s.hidden]));
        let b = p.input("B", [s.inner, s.rank]);
        p.result(x.matmul(a.transpose()).matmul(b.transpose()) * 2.0);
    }),
    op("matmul, narrow", "merging LoRA", |p, s| {
        let (b, a) = (p.input("B", [s.hidden, s.rank]), p.input("A", [s.rank, s.hidden]));
        p.result(b.matmul(a));
    }),
    op("matmul, transposed right-hand side", "attention scores q k^T, queries of a group stacked", |p, s| {
        let q = p.input("q", [BATCH, s.kv_heads, s.groups() * SEQ, s.head_dim]);
        let k = p.input("k", [BATCH, s.kv_heads, SEQ, s.head_dim]);
        p.result(q.matmul(k.swap_dims(2, 3)));
    }),
    op("matmul, transposed right-hand side, from a view", "attention scores right after the projection", |p, s| {
        let q = p.input("q", [BATCH, SEQ, s.kv_heads, s.head_dim]);
        let k = p.input("k", [BATCH, SEQ, s.kv_heads, s.head_dim]);
        p.result(q.swap_dims(1, 2).matmul(k.swap_dims(1, 2).swap_dims(2, 3)));
    }),
    op("matmul, values from a view", "attention context", |p, s| {
        let weights = p.input("weights", [BATCH, s.kv_heads, s.groups() * SEQ, SEQ]);
        let v = p.input("v", [BATCH, SEQ, s.kv_heads, s.head_dim]);
        p.result(weights.matmul(v.swap_dims(1, 2)));
    }),
    op("matmul, one query", "attention on the cache", |p, s| {
        let q = p.input("q", [BATCH, s.kv_heads, s.groups(), s.head_dim]);
        let k = p.input("k", [BATCH, s.kv_heads, SEQ, s.head_dim]);
        p.result(q.matmul(k.swap_dims(2, 3)));
    }),
    op("matmul, flattened heads", "rotary positions", |p, s| {
        let x = p.input("x", [1, 1, BATCH * s.heads * SEQ, s.head_dim]);
        let r = p.constant([1, 1, s.head_dim, s.head_dim]);
        p.result(x.matmul(r));
    }),
    op("multiply and add with broadcast", "rotary positions, masks", |p, s| {
        let x = p.input("x", [BATCH, s.heads, SEQ, s.head_dim]);
        let (cos, bias) = (p.constant([1, 1, SEQ, s.head_dim]), p.constant([BATCH, 1, SEQ, s.head_dim]));
        p.result(x * cos + bias);
    }),
    op("softmax", "attention weights, some keys hidden", |p, s| {
        let scores = p.input("scores", [BATCH, s.heads, SEQ, SEQ]);
        let hidden = p.ids([BATCH, 1, SEQ, SEQ], 2).float().cast(scores.dtype()) * -6.0e4;
        p.result(activation::softmax(scores * 8.0 + hidden, 3));
    }),
    op("log_softmax and gather", "the loss", |p, s| {
        let logits = p.input("logits", [BATCH * SEQ, s.vocab]);
        let targets = p.ids([BATCH * SEQ, 1], s.vocab);
        p.result(activation::log_softmax(widened(logits) * 8.0, 1).gather(1, targets));
    }),
    op("mean and negate", "the loss", |p, _| {
        let x = p.input("x", [BATCH * SEQ, 1]);
        p.result(x.mean().neg());
    }),
    op("square, mean_dim, sqrt, recip", "RMSNorm", |p, s| {
        let (x, w) = (p.input("x", [BATCH, SEQ, s.hidden]), p.input("w", [s.hidden]));
        let (dtype, x) = (x.dtype(), widened(x));
        let scale = (x.clone().square().mean_dim(2) + 1e-6).sqrt().recip();
        p.result((x * scale).cast(dtype) * w.unsqueeze());
    }),
    op("square, mean_dim, sqrt, recip per head", "q_norm, k_norm", |p, s| {
        let (x, w) = (p.input("x", [BATCH, SEQ, s.heads, s.head_dim]), p.input("w", [s.head_dim]));
        let (dtype, x) = (x.dtype(), widened(x));
        let scale = (x.clone().square().mean_dim(3) + 1e-6).sqrt().recip();
        p.result(((x * scale).cast(dtype) * w.unsqueeze()).swap_dims(1, 2));
    }),
    op("silu times", "SwiGLU", |p, s| {
        let (gate, up) = (p.input("gate", [BATCH, SEQ, s.inner]), p.input("up", [BATCH, SEQ, s.inner]));
        p.result(activation::silu(gate * 6.0) * up);
    }),
    op("reshape, swap_dims, reshape", "splitting and joining heads", |p, s| {
        let x = p.input("x", [BATCH, s.heads, SEQ, s.head_dim]);
        p.result(x.swap_dims(1, 2).reshape([BATCH, SEQ, s.heads * s.head_dim]));
    }),
    op("cat and narrow along positions", "latents among embeddings", |p, s| {
        let (a, b) = (p.input("a", [BATCH, 5, s.hidden]), p.input("b", [BATCH, SEQ, s.hidden]));
        p.result(Tensor::cat(vec![a, b], 1).narrow(1, 3, 9));
    }),
    op("slice_assign and narrow", "the cache", |p, s| {
        let (room, new) = (p.input("cache", [BATCH, s.kv_heads, 2 * SEQ, s.head_dim]), p.input("new", [BATCH, s.kv_heads, 3, s.head_dim]));
        let full = room.slice_assign([0..BATCH, 0..s.kv_heads, SEQ..SEQ + 3, 0..s.head_dim], new);
        p.result(full.narrow(2, 0, SEQ + 3));
    }),
    op("select rows", "finished sequences leave, learnt positions are picked", |p, s| {
        let x = p.input("x", [BATCH * SEQ, s.hidden]);
        let ids = p.ids([SEQ], BATCH * SEQ);
        p.result(x.select(0, ids));
    }),
    op("repeat_dim", "[SoD] for every row", |p, s| {
        let x = p.input("x", [1, 1, s.hidden]);
        p.result(x.repeat_dim(0, 3));
    }),
    op("equal_elem as a number", "rows of special tokens", |p, s| {
        let delta = p.input("delta", [3, s.hidden]);
        let here = p.ids([BATCH, SEQ], 4).equal_elem(2).float().unsqueeze_dim::<3>(2).cast(delta.dtype());
        p.result(here * delta.narrow(0, 1, 1).unsqueeze::<3>());
    }),
    op("sqrt, divide, subtract", "AdamW", |p, s| {
        let (w, m) = (p.input("w", [s.hidden, s.rank]), p.constant([s.hidden, s.rank]));
        let v = p.constant([s.hidden, s.rank]).square();
        p.result(w * (1.0 - 1e-3) - m / (v.sqrt() + 1e-8) * 1e-3);
    }),
    op("sum of squares", "the norm of gradients", |p, s| {
        let x = p.input("x", [s.hidden, s.inner]);
        p.result(x.square().sum());
    }),
    op("mean over latents", "the retrieval index", |p, s| {
        let x = p.input("latents", [BATCH, 15, s.hidden]);
        p.result(x.mean_dim(1));
    }),
    op("argmax", "greedy decoding", |p, s| {
        let logits = p.peaked([BATCH, 1, s.vocab]);
        p.result_ids(logits.argmax(2));
    }),
    op("cast to half types and back", "bf16 memories", |p, s| {
        // More digits than a half type has, no more than f32 has.
        let x = p.constant([BATCH, 15, s.hidden]) + p.constant([BATCH, 15, s.hidden]) / 64.0;
        let dtype = x.dtype();
        for half in p.half_types() {
            p.result_of(&format!("{half:?}"), x.clone().cast(half).cast(dtype));
        }
    }),
];

const fn op(name: &'static str, used: &'static str, run: fn(&mut Probe, &Sizes)) -> Operation {
    Operation { name, used, run }
}
