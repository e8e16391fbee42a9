//! What the bytes of an ONNX file tell without parsing it: may rows share a run, and which other files hold weights.
//!
//! A substring test, on the safe side: a tensor that merely carries an operator's name costs speed, never a wrong
//! vector. It is made when an embedder starts and not at every plan, because it reads the whole file.

/// Operators that scale their input by the extremes of the whole batch, so that a row's vector would depend on its
/// neighbours. `DynamicQuantize` stands for `DynamicQuantizeLinear`, `..MatMul` and `..LSTM`.
const BATCH_DEPENDENT: [&[u8]; 2] = [b"DynamicQuantize", b"QAttention"];

/// How a `StringStringEntryProto { key: "location", value: .. }` begins: field 1 with the key, then field 2.
const LOCATION: &[u8] = b"\x0a\x08location\x12";

/// Facts about one ONNX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphFile {
    /// Whether each row's result is independent of the other rows of a run.
    pub row_independent: bool,
    /// Names of the files beside it that hold its weights, sorted, each once.
    pub external_data: Vec<String>,
}

impl GraphFile {
    /// Looks through the bytes of an ONNX file.
    pub fn inspect(bytes: &[u8]) -> Self {
        let mut external_data: Vec<String> =
            positions(bytes, LOCATION).filter_map(|at| short_text(bytes, at)).collect();
        external_data.sort();
        external_data.dedup();
        let batch_dependent = BATCH_DEPENDENT.iter().any(|name| positions(bytes, name).next().is_some());
        Self { row_independent: !batch_dependent, external_data }
    }
}

/// Where the occurrences of `needle` end.
fn positions(bytes: &[u8], needle: &[u8]) -> impl Iterator<Item = usize> {
    let windows = bytes.windows(needle.len()).enumerate();
    let found = windows.filter(move |(_, window)| window[0] == needle[0] && *window == needle);
    found.map(move |(at, _)| at + needle.len())
}

/// The text framed by one length byte at `at`. A longer frame gives a name that no file has, so that it is refused
/// rather than overlooked.
fn short_text(bytes: &[u8], at: usize) -> Option<String> {
    match usize::from(*bytes.get(at)?) {
        length @ ..128 => Some(String::from_utf8_lossy(bytes.get(at + 1..at + 1 + length)?).into_owned()),
        _ => Some("(a name of 128 bytes or more)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dynamic_quantisation_makes_rows_dependent() {
        assert!(GraphFile::inspect(b"..MatMul..LayerNormalization..").row_independent);
        assert!(!GraphFile::inspect(b"..\x22\x15DynamicQuantizeMatMul..").row_independent);
        assert!(!GraphFile::inspect(b"QAttention").row_independent);
    }

    #[test]
    fn external_weights_are_found_by_name() {
        let entry = b"\x6a\x1d\x0a\x08location\x12\x0fmodel.onnx_data";
        let twice = [&b"junk"[..], entry, b"more", entry].concat();
        assert_eq!(GraphFile::inspect(&twice).external_data, ["model.onnx_data"]);
        assert!(GraphFile::inspect(b"location model.onnx_data").external_data.is_empty());
        assert!(GraphFile::inspect(b"\x0a\x08location\x12\x7fcut").external_data.is_empty());
    }
}
