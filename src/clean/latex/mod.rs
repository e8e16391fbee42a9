//! `latex`: symbols, accents, fonts and formulas become what a person would read; what is not known stays as it is.
//!
//! A formula is read as signs in a row: `_` goes, as `<SUB>` does, and `^` stays where something stands before it, so
//! that `10$^{-3}$` becomes `10^-3`. Dollars that are money stay. `symbols.rs` is the table, `accents.rs` puts letters
//! under their accents, `scan.rs` cuts the text. Versions: raise `Step::version` with any change to what comes out.

mod accents;
mod formula;
mod scan;
mod symbols;

use std::borrow::Cow;

use memchr::{memchr2, memchr3};

use self::symbols::{Command, Meaning};
use super::script::Script;

/// Groups within groups that are read; what is deeper stays as it is.
const MAX_DEPTH: usize = 12;

/// Sizes and shapes that stages of ionisation are set in.
const SMALL: [&str; 5] = ["footnotesize", "sc", "scriptsize", "small", "tiny"];

/// Makes LaTeX readable.
pub(super) fn latex(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    if memchr3(b'\\', b'$', b'{', bytes).is_none() && memchr2(b'~', b'`', bytes).is_none() {
        return Cow::Borrowed(text);
    }
    let mut writer = Writer { out: String::with_capacity(text.len()), depth: 0 };
    writer.write(text, Mode::Text);
    if writer.out == text { Cow::Borrowed(text) } else { Cow::Owned(writer.out) }
}

/// How a stretch of text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Prose with commands in it.
    Text,
    /// A formula.
    Math,
}

/// Writes what was read.
struct Writer {
    out: String,
    depth: usize,
}

impl Writer {
    /// Writes a stretch of text, which ends no group that began before it.
    fn write(&mut self, mut text: &str, mode: Mode) {
        if self.depth >= MAX_DEPTH {
            self.out.push_str(text);
            return;
        }
        self.depth += 1;
        while let Some(at) = scan::special(text, mode == Mode::Math) {
            let (plain, special) = text.split_at(at);
            self.out.push_str(plain);
            text = match special.as_bytes()[0] {
                b'\\' => self.command(special, mode),
                b'$' => self.dollar(special, mode),
                b'{' => self.group(special, mode),
                // `<~` is less or about, as people type it.
                b'~' if self.out.ends_with(['<', '>']) => self.kept(special, 1),
                b'~' if mode == Mode::Text => self.tie(special),
                b'~' => self.replaced(special, 1, " "),
                b'`' => self.quoted(special),
                _ => self.script(special),
            };
        }
        self.out.push_str(text);
        self.depth -= 1;
    }

    /// What a stretch of text becomes by itself, whatever stands before it.
    fn rendered(&mut self, text: &str, mode: Mode) -> String {
        let before = std::mem::take(&mut self.out);
        self.write(text, mode);
        std::mem::replace(&mut self.out, before)
    }

    /// Writes something in the place of the first bytes, and gives the rest.
    fn replaced<'t>(&mut self, text: &'t str, bytes: usize, by: &str) -> &'t str {
        self.out.push_str(by);
        &text[bytes..]
    }

    /// Leaves the first bytes as they are, and gives the rest.
    fn kept<'t>(&mut self, text: &'t str, bytes: usize) -> &'t str {
        self.replaced(text, bytes, &text[..bytes])
    }

    /// A dollar: that of a formula, or money.
    fn dollar<'t>(&mut self, text: &'t str, mode: Mode) -> &'t str {
        match scan::formula(text).filter(|_| mode == Mode::Text) {
            Some((formula, rest)) => {
                self.tie_before();
                self.write(formula, Mode::Math);
                match rest.strip_prefix('~') {
                    Some(word) if word.starts_with(char::is_alphabetic) => self.replaced(rest, 1, " "),
                    _ => rest,
                }
            }
            None => self.kept(text, 1),
        }
    }

    /// A `~` in prose: a space where it ties a word to another one, as in `Her~X-1`, and about elsewhere, as in `z~3`.
    fn tie<'t>(&mut self, text: &'t str) -> &'t str {
        let after = text[1..].chars().next();
        let is_abbreviated = self.out.ends_with('.') && after.is_some_and(|next| next.is_ascii_digit());
        if is_abbreviated || after.is_some_and(char::is_alphabetic) {
            self.out.push('~');
            self.tie_before();
            return &text[1..];
        }
        self.kept(text, 1)
    }

    /// Quotes as TeX types them: ``so''.
    fn quoted<'t>(&mut self, text: &'t str) -> &'t str {
        let Some((inner, rest)) = scan::quoted(text) else { return self.kept(text, 1) };
        self.out.push('“');
        self.write(inner, Mode::Text);
        self.out.push('”');
        rest
    }

    /// A `~` that ties a word to the formula after it becomes a space. In prose alone it means about: `z~3`.
    fn tie_before(&mut self) {
        let Some(before) = self.out.strip_suffix('~') else { return };
        let mut last = before.chars().rev();
        let word = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphabetic() || letter == '.');
        if word(last.next()) && word(last.next()) {
            self.out.pop();
            self.out.push(' ');
        }
    }

    /// A brace that opens. In prose a group is LaTeX if it begins with a command or a formula, is a script, or keeps one
    /// word together, as BibTeX's `{HST}` does; `{a, b}` is a set.
    fn group<'t>(&mut self, text: &'t str, mode: Mode) -> &'t str {
        let Some((inner, rest)) = scan::group(text) else { return self.kept(text, 1) };
        if mode == Mode::Math {
            self.write(inner, mode);
            return rest;
        }
        let script = match self.out.as_bytes().last() {
            Some(b'^') => Some(Script::Power),
            Some(b'_') => Some(Script::Index),
            _ => None,
        };
        if let Some(script) = script {
            self.out.pop();
            self.put_script(script, inner);
            return rest;
        }
        let name = scan::name(inner.trim_start());
        if name.is_some_and(|name| SMALL.contains(&name) && self.stage(&inner.trim_start()[1 + name.len()..])) {
            return rest;
        }
        let begins_known = name.is_some_and(|name| symbols::find(name).is_some());
        let is_of_word = |letter: char| letter.is_alphanumeric() || "⊙/.+-−^*'".contains(letter);
        let word = inner.trim_matches(['{', '}']).chars().all(is_of_word);
        if begins_known || word || accents::is_accented(inner) || scan::formula(inner).is_some() {
            self.write(inner, mode);
            return rest;
        }
        self.kept(text, 1)
    }

    /// A backslash and what it stands before.
    fn command<'t>(&mut self, text: &'t str, mode: Mode) -> &'t str {
        if let Some(name) = scan::name(text) {
            return self.named(name, text, mode);
        }
        if let Some((letter, bytes)) = accents::read(text) {
            return self.replaced(text, bytes, &letter);
        }
        let Some(sign) = text[1..].chars().next() else { return self.kept(text, 1) };
        match sign {
            // About, where it stands over no letter.
            '~' => self.replaced(text, 2, "~"),
            '%' | '&' | '$' | '#' | '_' | '{' | '}' => self.replaced(text, 2, &text[1..2]),
            ',' | ':' | ';' | ' ' => self.replaced(text, 2, " "),
            '!' | '-' | '/' | '@' => self.replaced(text, 2, ""),
            '|' => self.replaced(text, 2, "‖"),
            // Escaped twice, where what follows is a command; otherwise the end of a line.
            '\\' if scan::name(&text[1..]).is_some_and(|name| symbols::find(name).is_some()) => &text[1..],
            '\\' => self.replaced(text, 2, " "),
            '^' if text[2..].starts_with(|next: char| "+-−".contains(next) || next.is_ascii_digit()) => {
                self.replaced(text, 2, "^")
            }
            '\'' | '`' | '^' if text[2..].starts_with(' ') => self.accent_apart(text),
            '(' | '[' => match scan::display(text) {
                Some((formula, rest)) => {
                    self.write(formula, Mode::Math);
                    rest
                }
                None => self.kept(text, 2),
            },
            other => self.kept(text, 1 + other.len_utf8()),
        }
    }

    /// An accent with a space behind it: `Toru\' n`. After an s, and before one that ends a word, it is an apostrophe.
    fn accent_apart<'t>(&mut self, text: &'t str) -> &'t str {
        if !self.out.ends_with(char::is_alphabetic) {
            return self.kept(text, 2);
        }
        let after = &text[3..];
        let is_genitive = after.strip_prefix('s').is_some_and(|rest| !rest.starts_with(char::is_alphabetic));
        if text.starts_with("\\'") && is_genitive {
            return self.replaced(text, 3, "'");
        }
        if text.starts_with("\\'") && self.out.ends_with('s') {
            return self.replaced(text, 2, "'");
        }
        match accents::read_apart(text) {
            Some((letter, bytes)) => self.replaced(text, bytes, &letter),
            None => self.kept(text, 2),
        }
    }

    /// A command of letters, at the beginning of the text.
    fn named<'t>(&mut self, name: &str, text: &'t str, mode: Mode) -> &'t str {
        let bytes = 1 + name.len();
        if let Some((letter, bytes)) = accents::read_named(name, text) {
            return self.replaced(text, bytes, &letter);
        }
        let Some(command) = symbols::find(name) else { return self.unknown(text, bytes) };
        let after = &text[bytes..];
        let after = after.strip_prefix("{}").unwrap_or(after);
        match command.meaning {
            Meaning::Letter => {
                self.out.push_str(command.text);
                let next = after.trim_start_matches(' ');
                if mode == Mode::Math || next.starts_with(['_', '^']) { next } else { after }
            }
            Meaning::Sign => {
                // `a\times b` has a space on one side because TeX wants one there, `a \times b` on both.
                let tight = !self.out.is_empty() && !self.out.ends_with(' ');
                self.out.push_str(command.text);
                if tight { after.trim_start_matches(' ') } else { after }
            }
            Meaning::Unit => {
                self.out.push_str(command.text);
                after
            }
            Meaning::Function => self.function(command, after),
            Meaning::Nothing => {
                let after = after.trim_start_matches(' ');
                // Written as if it enclosed something: `\it{Herschel}`.
                let Some((group, rest)) = scan::group(after) else { return after };
                self.write(group, mode);
                rest
            }
            Meaning::Enclosing(inner) => {
                let after = after.trim_start_matches(' ');
                let Some((group, rest)) = scan::group(after) else { return after };
                if name == "textsc" && self.stage(group) {
                    return rest;
                }
                self.write(group, if inner == Mode::Text { inner } else { mode });
                rest
            }
            Meaning::Reference => match scan::reference(after) {
                Some(rest) => {
                    let kept = self.out.trim_end_matches([' ', '~', '\n']).len();
                    self.out.truncate(kept);
                    rest
                }
                None => self.unknown(text, bytes),
            },
            Meaning::Structure => self.structure(name, text, after, mode),
        }
    }

    /// `\log`, apart from the letters before and after it.
    fn function<'t>(&mut self, command: &Command, after: &'t str) -> &'t str {
        if self.out.ends_with(char::is_alphanumeric) {
            self.out.push(' ');
        }
        self.out.push_str(command.text);
        if after.starts_with(|next: char| next.is_alphanumeric() || next == '\\') && !after.starts_with("\\,") {
            self.out.push(' ');
        }
        after
    }

    /// What is not known, with its groups: a reader can guess more from the whole than from a part.
    fn unknown<'t>(&mut self, text: &'t str, bytes: usize) -> &'t str {
        self.kept(text, bytes + scan::groups(&text[bytes..]))
    }
}

#[cfg(test)]
mod tests;
