//! What config.json says of a model's architecture: the encoders that sciembed builds a graph for by itself.
//!
//! Nothing is guessed: a field that decides vectors and is missing, or that says something no graph here computes, is
//! refused by name. The defaults are those of transformers 5.23, for fields that older files do not have.

use std::path::Path;

use super::ModelError;
use super::settings_file::SettingsFile;
use crate::convert::{Activation, Classic, Design, Encoder, Family, Modern};

/// Values of `model_type` that this version builds graphs for.
const KNOWN: [&str; 6] = ["bert", "roberta", "xlm-roberta", "mpnet", "distilbert", "modernbert"];

/// Why something in config.json is refused.
const BUNDLED: &str =
    "this version builds no graph for it: if the folder holds an ONNX graph, write graph = \"bundled\"";

/// The architecture, if it is one that a graph is built for.
pub(super) fn known(config: &SettingsFile) -> Result<Option<&'static str>, ModelError> {
    let stated = config.text("model_type")?;
    Ok(stated.and_then(|stated| KNOWN.into_iter().find(|known| *known == stated)))
}

/// What the file describes; `max_length` is the longest text, in tokens.
///
/// # Errors
/// A field that is missing, cannot be meant, or describes what no graph is built for.
pub(super) fn encoder(config: &SettingsFile, max_length: usize) -> Result<Encoder, ModelError> {
    let Some(kind) = known(config)? else {
        let stated = config.text("model_type")?.unwrap_or("(not stated)");
        return Err(config.unsupported("model_type", format!("{stated:?}"), BUNDLED));
    };
    refuse_others(config, kind)?;
    let encoder = match kind {
        "distilbert" => distilbert(config),
        "modernbert" => modernbert(config, max_length),
        _ => bert(config, kind),
    }?;
    let turns = matches!(encoder.design, Design::Modern(_));
    match encoder.hidden.is_multiple_of(encoder.heads) {
        true if turns && !(encoder.hidden / encoder.heads).is_multiple_of(2) => {
            let help = "positions turn pairs of components, so a head has an even number of them";
            Err(config.unsupported("num_attention_heads", encoder.heads, help))
        }
        true => Ok(encoder),
        false => Err(ModelError::Contradiction {
            folder: config.path.parent().unwrap_or(Path::new("")).into(),
            first: format!("config.json has a hidden size of {}", encoder.hidden),
            second: format!("its {} attention heads cannot share that evenly", encoder.heads),
        }),
    }
}

/// What would make another model of the same tensors.
fn refuse_others(config: &SettingsFile, kind: &str) -> Result<(), ModelError> {
    for field in ["is_decoder", "add_cross_attention"] {
        if config.flag(field)? == Some(true) {
            return Err(config.unsupported(field, "true", "only encoders of texts can be run"));
        }
    }
    match config.text("position_embedding_type")? {
        // ModernBERT turns by position, whatever stands here ("sans_pos", "rope"): transformers does not look at it.
        _ if kind == "modernbert" => Ok(()),
        None | Some("absolute") => Ok(()),
        Some(other) => Err(config.unsupported("position_embedding_type", format!("{other:?}"), BUNDLED)),
    }
}

/// BERT, RoBERTa, XLM-RoBERTa and MPNet.
fn bert(config: &SettingsFile, kind: &'static str) -> Result<Encoder, ModelError> {
    let mpnet = kind == "mpnet";
    let design = Classic {
        family: if mpnet { Family::Mpnet } else { Family::Bert },
        positions: config.required_count("max_position_embeddings")?,
        types: if mpnet { 0 } else { config.required_count("type_vocab_size")? },
        pad: pad(config, kind)?,
        distance_buckets: if mpnet { Some(distance_buckets(config)?) } else { None },
    };
    Ok(Encoder {
        hidden: config.required_count("hidden_size")?,
        heads: config.required_count("num_attention_heads")?,
        intermediate: config.required_count("intermediate_size")?,
        layers: config.required_count("num_hidden_layers")?,
        norm_eps: config.required_number("layer_norm_eps")?,
        activation: activation(config, "hidden_act")?,
        ..blank(config, Design::Classic(design))?
    })
}

/// transformers' `MPNetEmbeddings` counts positions from here, whatever the file says.
const MPNET_PAD: usize = 1;

/// The token that positions are counted from, in RoBERTa and its kin.
fn pad(config: &SettingsFile, kind: &str) -> Result<Option<usize>, ModelError> {
    match kind {
        "roberta" | "xlm-roberta" => config.required_index("pad_token_id").map(Some),
        "mpnet" => Ok(Some(MPNET_PAD)),
        _ => Ok(None),
    }
}

/// transformers' `MPNetEncoder.compute_position_bias` has 32 buckets, whatever the file says.
fn distance_buckets(config: &SettingsFile) -> Result<usize, ModelError> {
    match config.required_count("relative_attention_num_buckets")? {
        buckets @ 32 => Ok(buckets),
        other => {
            Err(config.unsupported("relative_attention_num_buckets", other, "transformers, too, has 32 buckets only"))
        }
    }
}

fn distilbert(config: &SettingsFile) -> Result<Encoder, ModelError> {
    let design = Classic {
        family: Family::DistilBert,
        positions: config.required_count("max_position_embeddings")?,
        types: 0,
        pad: None,
        distance_buckets: None,
    };
    Ok(Encoder {
        hidden: config.required_count("dim")?,
        heads: config.required_count("n_heads")?,
        intermediate: config.required_count("hidden_dim")?,
        layers: config.required_count("n_layers")?,
        // Fixed in transformers' `DistilBertModel`.
        norm_eps: 1e-12,
        activation: activation(config, "activation")?,
        ..blank(config, Design::Classic(design))?
    })
}

fn modernbert(config: &SettingsFile, max_length: usize) -> Result<Encoder, ModelError> {
    let layers = config.required_count("num_hidden_layers")?;
    let design = Modern {
        attention: rotations(config, layers)?,
        positions: max_length,
        attention_bias: config.flag("attention_bias")?.unwrap_or(false),
        mlp_bias: config.flag("mlp_bias")?.unwrap_or(false),
        norm_bias: config.flag("norm_bias")?.unwrap_or(false),
    };
    Ok(Encoder {
        hidden: config.required_count("hidden_size")?,
        heads: config.required_count("num_attention_heads")?,
        intermediate: config.required_count("intermediate_size")?,
        layers,
        norm_eps: config.required_number("norm_eps")?,
        activation: activation(config, "hidden_activation")?,
        ..blank(config, Design::Modern(design))?
    })
}

/// The fields that all have; the rest is filled in by whoever knows their names.
fn blank(config: &SettingsFile, design: Design) -> Result<Encoder, ModelError> {
    let name = config.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Ok(Encoder {
        settings: name,
        vocab: config.required_count("vocab_size")?,
        hidden: 0,
        heads: 0,
        intermediate: 0,
        layers: 0,
        norm_eps: 0.0,
        activation: Activation::Identity,
        design,
    })
}

fn activation(config: &SettingsFile, field: &'static str) -> Result<Activation, ModelError> {
    match config.text(field)? {
        Some("gelu" | "gelu_python") => Ok(Activation::Gelu),
        Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Ok(Activation::GeluTanh),
        Some("relu") => Ok(Activation::Relu),
        Some("silu" | "swish") => Ok(Activation::Silu),
        Some(other) => Err(config.unsupported(field, format!("{other:?}"), BUNDLED)),
        None => Err(config.missing(field)),
    }
}

/// More layers than any model has: a lie must not be believed as far as memory goes.
const MAX_LAYERS: usize = 10_000;

/// For each layer the base of its rotations and how far it sees; in the form of transformers 5 or of 4.
fn rotations(config: &SettingsFile, layers: usize) -> Result<Vec<(f32, Option<usize>)>, ModelError> {
    if layers > MAX_LAYERS {
        return Err(config.unsupported("num_hidden_layers", layers, "no model has so many layers"));
    }
    let window = config.required_count("local_attention")? / 2;
    let (full, sliding) = bases(config)?;
    let far = |is_full: bool| if is_full { (full, None) } else { (sliding, Some(window)) };
    let Some(kinds) = config.texts("layer_types")? else {
        let every = config.required_count("global_attn_every_n_layers")?;
        return Ok((0..layers).map(|layer| far(layer.is_multiple_of(every))).collect());
    };
    if kinds.len() != layers {
        return Err(ModelError::Contradiction {
            folder: config.path.parent().unwrap_or(Path::new("")).into(),
            first: format!("config.json has num_hidden_layers = {layers}"),
            second: format!("its layer_types are {}", kinds.len()),
        });
    }
    let kinds = kinds.into_iter().map(|kind| match kind {
        "full_attention" => Ok(far(true)),
        "sliding_attention" => Ok(far(false)),
        other => Err(config.unsupported("layer_types", format!("{other:?}"), BUNDLED)),
    });
    kinds.collect()
}

/// The bases of rotations for layers that see everything, and for those that see near tokens.
fn bases(config: &SettingsFile) -> Result<(f32, f32), ModelError> {
    let Some(parameters) = config.section("rope_parameters")? else {
        if config.section("rope_scaling")?.is_some() {
            return Err(config.unsupported("rope_scaling", "{..}", BUNDLED));
        }
        return Ok((config.required_number("global_rope_theta")?, config.required_number("local_rope_theta")?));
    };
    let base = |kind: &str| {
        let parameters = parameters.section(kind)?.ok_or_else(|| parameters.missing(kind))?;
        match parameters.text("rope_type")? {
            None | Some("default") => parameters.required_number("rope_theta"),
            Some(other) => Err(parameters.unsupported("rope_type", format!("{other:?}"), BUNDLED)),
        }
    };
    Ok((base("full_attention")?, base("sliding_attention")?))
}

/// The most tokens that the model has positions for, where config.json says.
pub(super) fn longest(config: &SettingsFile) -> Result<Option<usize>, ModelError> {
    let Some(positions) = config.count("max_position_embeddings")? else { return Ok(None) };
    // The first position is the one behind that of padding.
    let reserved = pad(config, known(config)?.unwrap_or_default())?.map_or(0, |pad| pad + 1);
    Ok(Some(positions.saturating_sub(reserved)))
}
