//! Makes the values of metadata fields readable: named steps, each a pure function of a text.
//!
//! Publishers and archives leave HTML, entities, LaTeX and stand-ins such as "Not Available" in titles and abstracts. A
//! step takes one kind of these out and leaves alone what it does not know; where it changes nothing it allocates
//! nothing. Each has a version, which enters the key of a prepare step: raise it when equal text would come out
//! otherwise. This room knows nothing of fields and tables: `node/prepare.rs` applies it.

mod entities;
mod html;
mod latex;
mod mathml;
mod nfc;
mod placeholder;
mod script;
mod tag;
#[cfg(test)]
mod tests;
mod whitespace;

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One step of cleaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Takes out tags: `H<SUB>2</SUB>O` becomes `H2O`, and `10<SUP>5</SUP>` `10^5`, for two numbers do not become one, and
    /// `yr<SUP>-1</SUP>` `yr^-1`, as LaTeX's does; a tag that breaks a line, such as `<BR>`, becomes a space. Powers, indices, fractions and roots of MathML read as those of
    /// LaTeX do: `<msup><mi>x</mi><mn>2</mn></msup>` becomes `x^2`.
    Html,
    /// Decodes entities: `&lt;`, `&eacute;`, `&#8805;`.
    Entities,
    /// Makes LaTeX readable: `$\Omega_\Lambda$` becomes `ΩΛ`, and `Fr\'ejus` `Fréjus`. References such as `\cite{key}` go.
    Latex,
    /// Folds white space to single spaces, and trims.
    Whitespace,
    /// Composes characters: Unicode's normalisation form C.
    UnicodeNfc,
    /// Takes a value that is nothing but a stand-in, such as `Not Available`, as missing.
    Placeholder,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Html, Self::Entities, Self::Latex, Self::Whitespace, Self::UnicodeNfc, Self::Placeholder];

    /// The name that manifests use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Entities => "entities",
            Self::Latex => "latex",
            Self::Whitespace => "whitespace",
            Self::UnicodeNfc => "unicode-nfc",
            Self::Placeholder => "placeholder",
        }
    }

    /// The version of what it does. Raise it when equal text would come out otherwise.
    pub const fn version(self) -> u32 {
        match self {
            Self::Html => 3,
            Self::Latex => 2,
            Self::Entities | Self::Whitespace | Self::UnicodeNfc | Self::Placeholder => 1,
        }
    }

    /// The text after this step; empty where it stands for nothing.
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Html => html::html(text),
            Self::Entities => entities::entities(text),
            Self::Latex => latex::latex(text),
            Self::Whitespace => whitespace::whitespace(text),
            Self::UnicodeNfc => nfc::nfc(text),
            Self::Placeholder => placeholder::placeholder(text),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text after these steps, in their order.
pub fn clean<'t>(steps: &[Step], text: Cow<'t, str>) -> Cow<'t, str> {
    steps.iter().fold(text, |text, step| match text {
        Cow::Borrowed(text) => step.apply(text),
        Cow::Owned(text) => match step.apply(&text) {
            // Of a text that is owned, a step may hand back a part.
            Cow::Borrowed(same) if same.len() == text.len() => Cow::Owned(text),
            other => Cow::Owned(other.into_owned()),
        },
    })
}

/// The steps with their versions, as a key's ingredients name them: `html v1, whitespace v1`.
pub fn versions(steps: &[Step]) -> String {
    let versions: Vec<String> = steps.iter().map(|step| format!("{step} v{}", step.version())).collect();
    versions.join(", ")
}
