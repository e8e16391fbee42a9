//! The token that says who asks. Whatever prints it prints a placeholder: it leaves this file in one header alone.

use std::fmt;

use super::HubError;

/// What stands in the place of a token wherever it would be shown.
const HIDDEN: &str = "(hidden)";

/// A token of the hub; `Debug` and `Display` hide it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token as a variable or a file holds it: space around it is not part of it.
    ///
    /// # Errors
    /// [`HubError::BadToken`] for one that no header can carry.
    pub fn new(text: &str) -> Result<Self, HubError> {
        let text = text.trim();
        let bad = |reason| Err(HubError::BadToken { reason });
        match text {
            "" => bad("it is empty"),
            _ if text.contains(['\n', '\r']) => bad("it has a line break in its middle"),
            _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                bad("it has a space or a character that no header can carry")
            }
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// The value of the `Authorization` header.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::new(" hf_secret\n").unwrap();
        assert_eq!(
            format!("{token} {token:?} {token:#?} {:?}", Some(&token)),
            "(hidden) (hidden) (hidden) Some((hidden))"
        );
        assert_eq!(token.header(), "Bearer hf_secret");
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused_without_being_told() {
        for text in ["", " \n", "hf_se\ncret", "hf_se\rcret", "hf_se\u{7}cret", "hf_se cret", "hf_sécret"] {
            let error = Token::new(text).unwrap_err();
            assert!(matches!(error, HubError::BadToken { .. }));
            assert!(!format!("{error} {error:?}").contains("hf_s"), "{error}");
        }
    }
}
