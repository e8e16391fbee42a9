//! Every line of a file is accounted for, whatever was done to it, and how it is cut into chunks shows nowhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::graph::{Config, resolve};
use crate::manifest::Source;
use crate::source::chunks::{CHUNK_BYTES, Chunks};
use crate::store::Store;

/// Something that happens to a file on its way.
#[derive(Clone, Debug)]
enum Mutation {
    /// Bits of a byte flip.
    Flipped(Index, u8),
    /// Bytes are lost.
    Cut(Index, usize),
    /// Bytes come twice.
    Doubled(Index, usize),
    /// Bytes come in between.
    Inserted(Index, Vec<u8>),
}

impl Mutation {
    fn on(&self, text: &mut Vec<u8>) {
        match self {
            Self::Flipped(at, bits) => {
                let at = at.index(text.len());
                text[at] ^= bits;
            }
            Self::Cut(at, bytes) => {
                let at = at.index(text.len());
                text.drain(at..(at + bytes).min(text.len()));
            }
            Self::Doubled(at, bytes) => {
                let at = at.index(text.len());
                let part = text[at..(at + bytes).min(text.len())].to_vec();
                text.splice(at..at, part);
            }
            Self::Inserted(at, bytes) => {
                let at = at.index(text.len());
                text.splice(at..at, bytes.iter().copied());
            }
        }
    }
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..9),
        Just(b"\n".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
        Just(b"\"}\n{\"bibcode\":\"".to_vec()),
        Just(b"\\ud800".to_vec()),
    ];
    let mutation = prop_oneof![
        (any::<Index>(), 1u8..).prop_map(|(at, bits)| Mutation::Flipped(at, bits)),
        (any::<Index>(), 1usize..300).prop_map(|(at, bytes)| Mutation::Cut(at, bytes)),
        (any::<Index>(), 1usize..900).prop_map(|(at, bytes)| Mutation::Doubled(at, bytes)),
        (any::<Index>(), bytes).prop_map(|(at, bytes)| Mutation::Inserted(at, bytes)),
    ];
    proptest::collection::vec(mutation, 0..12)
}

/// Lines of records. The first one is whole whatever happens, so that lines they are, and one record there is.
fn lines(mutations: &[Mutation]) -> Vec<u8> {
    let line = |n: usize| {
        let title = ["\"A title\"", "[\"One\", \"Two \\u00e9\"]", "null", "7"][n % 4];
        format!("{{\"bibcode\": \"2010Test..{n:05}A\", \"year\": \"{}\", \"title\": {title}}}\n", 2008 + n % 5)
    };
    let mut rest: Vec<u8> = (1..80).flat_map(|n| line(n).into_bytes()).collect();
    mutations.iter().for_each(|mutation| mutation.on(&mut rest));
    // Without its last newline a broken line would be a file that was cut short.
    [line(4).into_bytes(), rest, b"\n".to_vec()].concat()
}

/// The configuration of a load node with these settings.
fn config(settings: &str) -> LoadConfig {
    let text = format!(
        "version = 1\nname = \"n\"\nstore = \"s\"\n[load.r]\ninput = \"x\"\nfields = [\"title\"]\n{settings}\n"
    );
    let graph = resolve(&Source { name: "n.toml".into(), text }, &[]).unwrap();
    let Config::Load(load) = &graph.steps[0].config else { panic!("a load step") };
    load.clone()
}

/// Loads a text in chunks of this size.
fn load(store: &Store, config: &LoadConfig, text: &[u8], chunk_bytes: usize) -> Made {
    let (cancel, progress, note, detail) = (AtomicBool::new(false), |_, _, _| {}, |_| {}, |_| {});
    let base = Path::new(".");
    let context = Context { store, base, cancel: &cancel, progress: &progress, note: &note, detail: &detail };
    let mut loader = Loader::new(&context, config).unwrap();
    let mut chunks = Chunks::new(text, None, config.max_record_bytes).in_chunks_of(chunk_bytes);
    while let Some(chunk) = chunks.next_chunk().unwrap() {
        loader.take(parse_chunk(&chunk, 0, config)).unwrap();
    }
    loader.finish().unwrap()
}

/// The records of a line, whole or broken: none of a blank one, and several where whole ones stand one behind the other.
fn records_of(line: &[u8]) -> u64 {
    let line = line.trim_ascii();
    let (mut depth, mut is_string, mut is_escaped) = (0, false, false);
    for (at, byte) in line.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            _ if is_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = if depth > 0 { depth - 1 } else { 0 },
            _ => {}
        }
        let rest = &line[at + 1..];
        let blanks = rest.len() - rest.trim_ascii_start().len();
        let is_end = !is_string && depth == 0 && matches!(byte, b'}' | b']') && line[0] == b'{';
        if is_end && blanks <= 1 && (blanks == 0 || rest[0] == b' ') && rest[blanks..].starts_with(b"{") {
            return 1 + records_of(rest);
        }
        if is_end {
            break;
        }
    }
    u64::from(!line.is_empty())
}

/// Where each of the lines went, by the counts alone.
fn accounted(counts: &BTreeMap<String, u64>) -> u64 {
    let count = |name: &str| counts.get(name).copied().unwrap_or_default();
    let rejected = counts.iter().filter(|(name, _)| name.starts_with("rejected.")).map(|(_, count)| count);
    count("rows") + rejected.sum::<u64>() + count("not_selected") + count("beyond_limit")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_line_is_accounted_for_in_chunks_of_any_size(
        mutations in mutations(),
        selected in any::<bool>(),
        limit in proptest::option::of(1u64..90),
        chunk_bytes in 1usize..2_000,
    ) {
        let condition = if selected { "where = \"year >= 2010\"\nsample = 0.8" } else { "" };
        let limit = limit.map(|limit| format!("limit = {limit}")).unwrap_or_default();
        let (config, text) = (config(&format!("{condition}\n{limit}")), lines(&mutations));
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();

        let made = load(&store, &config, &text, CHUNK_BYTES);
        let lines: u64 = text.split(|byte| *byte == b'\n').map(records_of).sum();
        prop_assert_eq!(made.counts["rows_in"], lines);
        prop_assert_eq!(accounted(&made.counts), lines, "{:?}", made.counts);
        prop_assert_eq!(made.outputs["records"].rows, made.counts["rows"]);
        let rejected = made.counts.iter().filter(|(name, _)| name.starts_with("rejected.")).map(|(_, count)| count);
        prop_assert_eq!(made.outputs["rejects"].rows, rejected.sum::<u64>());

        let other = load(&store, &config, &text, chunk_bytes);
        prop_assert_eq!(other, made);
    }
}
