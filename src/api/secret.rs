//! An API key. Whatever prints it prints a placeholder, and what a server says is told without it.

use std::fmt;

use super::ApiError;

/// What stands in the place of a key wherever it would be shown.
const HIDDEN: &str = "(hidden)";
/// Characters of a server's message that are told.
const TOLD: usize = 300;
/// A word that begins so is a key, or what a server repeats of one.
const KEY_PREFIXES: [&str; 2] = ["sk-", "Bearer"];

/// The value of an API key, and the variable that it is from.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    variable: String,
    value: String,
}

impl Secret {
    /// Takes a key as a variable holds it: space around it is not part of it.
    ///
    /// # Errors
    /// [`ApiError::BadKey`] for one that no header can carry, [`ApiError::MissingKey`] for none.
    pub fn new(variable: &str, value: Option<String>) -> Result<Self, ApiError> {
        let variable = variable.to_owned();
        match value.as_deref().map(str::trim) {
            None | Some("") => Err(ApiError::MissingKey { variable }),
            Some(value) if !value.bytes().all(|byte| byte.is_ascii_graphic()) => Err(ApiError::BadKey { variable }),
            Some(value) => Ok(Self { variable, value: value.to_owned() }),
        }
    }

    /// The name of its variable, which may be told.
    pub fn variable(&self) -> &str {
        &self.variable
    }

    /// The key itself, for a header.
    pub(super) fn expose(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={HIDDEN}", self.variable)
    }
}

/// What a server says, in one line of some length, without keys.
pub(super) fn told(message: &str, keys: &[Secret]) -> String {
    let mut message = message.to_owned();
    for key in keys {
        message = message.replace(key.expose(), HIDDEN);
    }
    let printable = message.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let is_key =
        |word: &str| KEY_PREFIXES.iter().any(|prefix| word.trim_start_matches(['\'', '"', '(']).starts_with(prefix));
    let words: Vec<&str> = printable.map(|word| if is_key(word) { HIDDEN } else { word }).collect();
    let line = words.join(" ");
    match line.char_indices().nth(TOLD) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let key = Secret::new("MY_KEY", Some(" abc123\n".to_owned())).unwrap();
        assert_eq!(format!("{key:?}"), "MY_KEY=(hidden)");
        assert_eq!(key.expose(), "abc123");
        let said = told(
            "Incorrect API key provided: abc123,\n or 'sk-proj-****xyz'. See\u{7}docs",
            std::slice::from_ref(&key),
        );
        assert_eq!(said, "Incorrect API key provided: (hidden), or (hidden) See docs");
        assert_eq!(told(&"long ".repeat(100), &[]).chars().count(), TOLD + 1);
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_refused_without_being_told() {
        for value in ["a\nb", "a b", "é"] {
            let error = Secret::new("MY_KEY", Some(value.to_owned())).unwrap_err();
            assert!(matches!(error, ApiError::BadKey { .. }) && error.to_string().contains("MY_KEY"));
        }
        assert!(matches!(Secret::new("MY_KEY", None), Err(ApiError::MissingKey { .. })));
        assert!(matches!(Secret::new("MY_KEY", Some(" ".into())), Err(ApiError::MissingKey { .. })));
    }
}
