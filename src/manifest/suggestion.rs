//! Near misses: which of the allowed words was probably meant.

/// The candidate nearest to `word`, if one is near enough to be worth naming.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // One slip in a short word, two or three in a long one; more would suggest words that were never meant.
    let allowed = 1 + word.chars().count() / 4;
    candidates
        .into_iter()
        .filter(|candidate| !candidate.is_empty() && *candidate != word)
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

/// Words in backticks, joined by commas.
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// "did you mean `x`?" where something is near, otherwise what there is.
pub(crate) fn hint<'a>(word: &str, candidates: &[&'a str], otherwise: impl FnOnce(&[&'a str]) -> String) -> String {
    match nearest(word, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => otherwise(candidates),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_slips_and_nothing_else() {
        let keys = ["from", "model", "max_length", "normalize"];
        assert_eq!(nearest("modle", keys), Some("model"));
        assert_eq!(nearest("normalise", keys), Some("normalize"));
        assert_eq!(nearest("maxlength", keys), Some("max_length"));
        assert_eq!(nearest("temperature", keys), None);
        assert_eq!(nearest("q", ["a", "b"]), None);
    }
}
