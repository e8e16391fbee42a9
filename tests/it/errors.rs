//! Every error that people can meet has a code and says what to do.

use std::path::Path;

/// The declarations of errors in a file, each from `#[error(` to the end of its attributes.
fn declarations(text: &str) -> impl Iterator<Item = &str> {
    let pieces = text.split("#[error(").skip(1).filter(|piece| !piece.starts_with("transparent"));
    // A variant begins with a capital, and no attribute's line does.
    pieces.map(|piece| {
        let variant = piece.match_indices('\n').find(|(at, _)| {
            piece[at + 1..].trim_start_matches(' ').starts_with(|first: char| first.is_ascii_uppercase())
        });
        &piece[..variant.map_or(piece.len(), |(at, _)| at)]
    })
}

#[test]
fn every_error_has_a_code_and_a_remedy() {
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    let (mut seen, mut lacking) = (0, Vec::new());
    let pattern = Path::new(&root).join("src/**/*.rs");
    for path in glob::glob(&pattern.to_string_lossy()).unwrap().flatten() {
        let text = std::fs::read_to_string(&path).unwrap();
        // Those that carry no diagnostics are worded by the errors that hold them.
        let of_people = text.contains("Diagnostic)]");
        for declared in declarations(&text).filter(|_| of_people) {
            seen += 1;
            // `plan {step}` stands before an error that has both.
            let passes_on = declared.starts_with("\"plan {step}\")");
            let helps = declared.contains("code(sciembed::") && declared.contains("help(");
            if !(passes_on || helps) {
                lacking.push(format!("{}: {}", path.display(), declared.lines().next().unwrap_or_default()));
            }
        }
    }
    assert!(seen > 60, "the declarations are written in another way: only {seen} were found");
    assert!(lacking.is_empty(), "without code or help:\n{}", lacking.join("\n"));
}
