//! What a transformer is made of, as plain data, and the tensors' names by architecture.
//!
//! Filled in by `model/architecture.rs` from config.json; turned into operators by `classic.rs` and `modern.rs`.

use sciembed_kernel::functions::Activation;

/// A text encoder: its sizes, as config.json has them, and its design.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoder {
    /// The file that says so, for messages.
    pub settings: String,
    /// Rows of the table of token vectors.
    pub vocab: usize,
    /// Components of a token's vector.
    pub hidden: usize,
    /// Attention heads, which share the components.
    pub heads: usize,
    /// Components between the two products of a layer.
    pub intermediate: usize,
    /// Layers.
    pub layers: usize,
    /// What LayerNormalization adds to the variance.
    pub norm_eps: f32,
    /// Between the two products of a layer.
    pub activation: Activation,
    /// How it is built.
    pub design: Design,
}

/// How an encoder is built.
#[derive(Clone, Debug, PartialEq)]
pub enum Design {
    /// Positions from a table; normalised after each sum: BERT and its kin.
    Classic(Classic),
    /// Positions by rotation; normalised before each product; gated; some layers see near tokens only: ModernBERT.
    Modern(Modern),
}

/// BERT and its kin.
#[derive(Clone, Debug, PartialEq)]
pub struct Classic {
    /// What its tensors are called.
    pub family: Family,
    /// Rows of the table of positions.
    pub positions: usize,
    /// Rows of the table of segments, 0 where there is none.
    pub types: usize,
    /// The token that stands for nothing, where positions are counted from it: RoBERTa and MPNet.
    pub pad: Option<usize>,
    /// Buckets of distances that attention is biased by: MPNet.
    pub distance_buckets: Option<usize>,
}

/// ModernBERT.
#[derive(Clone, Debug, PartialEq)]
pub struct Modern {
    /// For each layer the base of its rotations, and how far a token sees on either side (none: everywhere).
    pub attention: Vec<(f32, Option<usize>)>,
    /// The longest text, in tokens, that rotations are kept for.
    pub positions: usize,
    /// Whether the products of attention have a bias.
    pub attention_bias: bool,
    /// Whether the products between have a bias.
    pub mlp_bias: bool,
    /// Whether normalisations have a bias.
    pub norm_bias: bool,
}

/// Whose names the tensors of a [`Classic`] have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// BERT, RoBERTa and XLM-RoBERTa.
    Bert,
    /// MPNet.
    Mpnet,
    /// DistilBERT.
    DistilBert,
}

/// The names of a layer's tensors, without `.weight` and `.bias`.
pub(super) struct Names {
    pub layers: &'static str,
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub attention_out: &'static str,
    pub attention_norm: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    pub norm: &'static str,
}

impl Family {
    /// What tensors may be prefixed with, in the order in which they are tried.
    pub(super) const PREFIXES: [&'static str; 6] = ["", "bert.", "roberta.", "mpnet.", "distilbert.", "model."];

    pub(super) const fn names(self) -> Names {
        match self {
            Self::Bert => Names {
                layers: "encoder.layer",
                query: "attention.self.query",
                key: "attention.self.key",
                value: "attention.self.value",
                attention_out: "attention.output.dense",
                attention_norm: "attention.output.LayerNorm",
                up: "intermediate.dense",
                down: "output.dense",
                norm: "output.LayerNorm",
            },
            Self::Mpnet => Names {
                query: "attention.attn.q",
                key: "attention.attn.k",
                value: "attention.attn.v",
                attention_out: "attention.attn.o",
                attention_norm: "attention.LayerNorm",
                ..Self::Bert.names()
            },
            Self::DistilBert => Names {
                layers: "transformer.layer",
                query: "attention.q_lin",
                key: "attention.k_lin",
                value: "attention.v_lin",
                attention_out: "attention.out_lin",
                attention_norm: "sa_layer_norm",
                up: "ffn.lin1",
                down: "ffn.lin2",
                norm: "output_layer_norm",
            },
        }
    }
}

impl Encoder {
    /// Components of a head.
    pub(super) fn head(&self) -> usize {
        self.hidden / self.heads
    }

    /// The most tokens of a text that it has positions for.
    pub fn longest(&self) -> usize {
        match &self.design {
            Design::Classic(classic) => classic.positions.saturating_sub(classic.pad.map_or(0, |pad| pad + 1)),
            Design::Modern(modern) => modern.positions,
        }
    }

    /// Whether the tokenizer's segment ids are looked at.
    pub(super) fn has_types(&self) -> bool {
        matches!(&self.design, Design::Classic(classic) if classic.types > 1 && classic.pad.is_none())
    }
}
