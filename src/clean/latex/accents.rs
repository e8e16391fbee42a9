//! Letters under their accents: `\'e`, `\"{o}`, `\c{c}`, `\v s`, and in formulas `\dot{G}`.

use unicode_normalization::char::compose;

use super::scan;

/// Accents that are a sign after the backslash, and the combining character of each.
const SIGNS: [(char, char); 7] = [
    ('\'', '\u{301}'),
    ('`', '\u{300}'),
    ('"', '\u{308}'),
    ('^', '\u{302}'),
    ('~', '\u{303}'),
    ('=', '\u{304}'),
    ('.', '\u{307}'),
];

/// Accents of prose whose name is a letter.
const LETTERS: [(&str, char); 8] = [
    ("c", '\u{327}'),
    ("v", '\u{30c}'),
    ("u", '\u{306}'),
    ("H", '\u{30b}'),
    ("k", '\u{328}'),
    ("r", '\u{30a}'),
    ("d", '\u{323}'),
    ("b", '\u{331}'),
];

/// Accents of formulas.
const OVER: [(&str, char); 15] = [
    ("dot", '\u{307}'),
    ("ddot", '\u{308}'),
    ("bar", '\u{304}'),
    ("overline", '\u{304}'),
    ("hat", '\u{302}'),
    ("widehat", '\u{302}'),
    ("tilde", '\u{303}'),
    ("widetilde", '\u{303}'),
    ("vec", '\u{20d7}'),
    ("check", '\u{30c}'),
    ("acute", '\u{301}'),
    ("grave", '\u{300}'),
    ("breve", '\u{306}'),
    ("mathring", '\u{30a}'),
    ("underline", '\u{332}'),
];

/// The combining character of a formula's accent.
pub(super) fn over(name: &str) -> Option<char> {
    OVER.iter().find(|(known, _)| *known == name).map(|(_, mark)| *mark)
}

/// The letter that an accent at the beginning of the text makes, and the bytes that say so.
pub(super) fn read(text: &str) -> Option<(String, usize)> {
    let sign = text.strip_prefix('\\')?.chars().next()?;
    let (_, mark) = SIGNS.iter().find(|(known, _)| *known == sign)?;
    let after = &text[2..];
    if let Some((base, rest)) = base(after) {
        return Some((accented(base, *mark)?, text.len() - rest.len()));
    }
    // The accent of the first of several letters: `\"{om}`.
    let (letters, rest) = scan::group(after).filter(|(letters, _)| letters.chars().all(char::is_alphabetic))?;
    let (first, others) = letters.split_at(letters.chars().next()?.len_utf8());
    Some((accented(first, *mark)? + others, text.len() - rest.len()))
}

/// As [`read`], of an accent that a space follows, if the two are one letter.
pub(super) fn read_apart(text: &str) -> Option<(String, usize)> {
    let sign = text.strip_prefix('\\')?.chars().next()?;
    let (_, mark) = SIGNS.iter().find(|(known, _)| *known == sign)?;
    let (base, rest) = base(text[2..].strip_prefix(' ')?)?;
    let letter = accented(base, *mark).filter(|letter| letter.chars().count() == 1)?;
    Some((letter, text.len() - rest.len()))
}

/// As [`read`], of an accent whose name is a letter. The letter it is over stands in braces or after one space, for names
/// as short as these are also those of people's own commands.
pub(super) fn read_named(name: &str, text: &str) -> Option<(String, usize)> {
    let (_, mark) = LETTERS.iter().find(|(known, _)| *known == name)?;
    let after = &text[1 + name.len()..];
    let after = if after.starts_with('{') { after } else { after.strip_prefix(' ')? };
    let (base, rest) = base(after)?;
    let alone = base.chars().all(char::is_alphabetic);
    let letter = accented(base, *mark).filter(|_| alone)?;
    // `\v s` is an accent where the two are one letter, and something else where they are not.
    (letter.chars().count() == 1).then(|| (letter, text.len() - rest.len()))
}

/// Whether the text begins with an accent.
pub(super) fn is_accented(text: &str) -> bool {
    read(text).is_some() || scan::name(text).is_some_and(|name| read_named(name, text).is_some())
}

/// The letter to put an accent over: `e`, `{e}`, `\i` or `{\i}`.
fn base(text: &str) -> Option<(&str, &str)> {
    let dotless = |inner: &str| match inner.trim() {
        "\\i" => "i".to_owned(),
        "\\j" => "j".to_owned(),
        inner => inner.to_owned(),
    };
    if let Some((inner, rest)) = scan::group(text) {
        let letter = dotless(inner);
        let start = inner.find(letter.as_str())?;
        let single = letter.chars().count() == 1 && letter.chars().all(char::is_alphabetic);
        return single.then_some((&inner[start..start + letter.len()], rest));
    }
    if let Some(name) = scan::name(text) {
        let rest = text[2..].strip_prefix("{}").unwrap_or(&text[2..]);
        return matches!(name, "i" | "j").then(|| (name, rest.strip_prefix(' ').unwrap_or(rest)));
    }
    let first = text.chars().next().filter(|first| first.is_alphabetic())?;
    Some(text.split_at(first.len_utf8()))
}

/// The one character with the mark over it, as one character where Unicode has it; none of several.
pub(super) fn accented(content: &str, mark: char) -> Option<String> {
    let mut letters = content.trim().chars();
    let (base, None) = (letters.next()?, letters.next()) else { return None };
    Some(compose(base, mark).map_or_else(|| [base, mark].iter().collect(), String::from))
}
