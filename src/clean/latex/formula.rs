//! What of a formula is more than signs in a row: scripts, fractions, roots, accents over several letters.

use std::borrow::Cow;

use super::super::script::{self, Script};
use super::symbols::{self, Meaning};
use super::{Mode, Writer, accents, scan};

impl Writer {
    /// `_` or `^` in a formula, at the beginning of the text.
    pub(super) fn script<'t>(&mut self, text: &'t str) -> &'t str {
        let (sign, after) = text.split_at(1);
        let Some((argument, rest)) = scan::argument(after.trim_start_matches(' ')) else { return self.kept(text, 1) };
        self.put_script(if sign == "^" { Script::Power } else { Script::Index }, argument);
        rest
    }

    /// Writes a script as it would be said: `x_{eff}` is xeff, and `10^{-3}` stays apart from 103.
    pub(super) fn put_script(&mut self, script: Script, argument: &str) {
        let rendered = self.rendered(argument, Mode::Math);
        let mut text = script::tidied(&rendered);
        if script == Script::Power && text.starts_with('∘') && !self.out.is_empty() {
            text = Cow::Owned(text.replacen('∘', "°", 1));
        }
        let (before, behind) = script::signs(script, self.out.chars().next_back(), &text);
        [before, &text, behind].iter().for_each(|part| self.out.push_str(part));
    }

    /// A command that says how its arguments stand to each other; as it is where they are not there.
    pub(super) fn structure<'t>(&mut self, name: &str, text: &'t str, after: &'t str, mode: Mode) -> &'t str {
        let before = self.out.len();
        self.structured(name, after, mode).unwrap_or_else(|| {
            self.out.truncate(before);
            self.unknown(text, 1 + name.len())
        })
    }

    fn structured<'t>(&mut self, name: &str, after: &'t str, mode: Mode) -> Option<&'t str> {
        let after = after.trim_start_matches(' ');
        match name {
            "left" | "right" | "big" | "Big" | "bigg" | "Bigg" | "bigl" | "bigr" | "Bigl" | "Bigr" => {
                return Some(after.strip_prefix('.').unwrap_or(after));
            }
            "over" => {
                self.out.truncate(self.out.trim_end_matches(' ').len());
                self.out.push('/');
                return Some(after);
            }
            "not" => {
                let (argument, rest) = scan::argument(after)?;
                let content = self.rendered(argument, Mode::Math);
                self.out.push_str(&accents::accented(&content, '\u{338}')?);
                return Some(rest);
            }
            "phantom" | "hphantom" | "vphantom" => return scan::group(after).map(|(_, rest)| rest),
            "sqrt" => return self.root(after),
            _ => {}
        }
        let (first, rest) = scan::argument(after)?;
        if let Some(mark) = accents::over(name) {
            let content = self.rendered(first, Mode::Math);
            self.out.push_str(&accents::accented(&content, mark).unwrap_or(content));
            return Some(rest);
        }
        let (second, rest) = scan::argument(rest.trim_start_matches(' '))?;
        match name {
            "frac" | "dfrac" | "tfrac" => self.fraction(first, second),
            "ion" => self.ion(first, second),
            "href" => self.write(second, Mode::Text),
            _ => self.stacked(first, second, mode),
        }
        Some(rest)
    }

    fn fraction(&mut self, above: &str, below: &str) {
        let (above, below) = (self.rendered(above, Mode::Math), self.rendered(below, Mode::Math));
        self.out.push_str(&script::fraction(&above, &below));
    }

    /// `\sqrt{x}`; the degree of another root is left where it is.
    fn root<'t>(&mut self, after: &'t str) -> Option<&'t str> {
        let (argument, rest) = scan::argument(after).filter(|_| !after.starts_with('['))?;
        let inside = self.rendered(argument, Mode::Math);
        let root = script::root(&inside);
        // What is under the root ends where the next letter begins.
        let next = rest.trim_start_matches(' ');
        let is_letter = scan::name(next).and_then(symbols::find).is_some_and(|next| next.meaning == Meaning::Letter);
        if (next.starts_with(char::is_alphanumeric) || is_letter) && !root.ends_with(')') {
            ["√(", inside.trim(), ")"].iter().for_each(|part| self.out.push_str(part));
        } else {
            self.out.push_str(&root);
        }
        Some(rest)
    }

    /// `\ion{O}{3}`, an element and how far it is ionised: O III.
    fn ion(&mut self, element: &str, stage: &str) {
        self.write(element, Mode::Text);
        self.out.push(' ');
        let roman = stage.trim().parse().ok().and_then(|stage: usize| ROMAN.get(stage.checked_sub(1)?));
        match roman {
            Some(roman) => self.out.push_str(roman),
            None => {
                let stage = self.rendered(stage, Mode::Text);
                self.out.push_str(&stage.to_uppercase());
            }
        }
    }

    /// A stage of ionisation in small capitals, as in `H{\sc i}`: H I. False if it is none.
    pub(super) fn stage(&mut self, text: &str) -> bool {
        let stage = scan::group(text.trim()).map_or(text, |(inner, _)| inner).trim();
        if stage.is_empty() || !stage.bytes().all(|byte| matches!(byte.to_ascii_lowercase(), b'i' | b'v' | b'x')) {
            return false;
        }
        if self.out.ends_with(char::is_alphanumeric) {
            self.out.push(' ');
        }
        self.out.push_str(&stage.to_ascii_uppercase());
        true
    }

    /// `\stackrel{<}{\sim}` and its like: one sign above the other.
    fn stacked(&mut self, above: &str, below: &str, mode: Mode) {
        let (above, below) = (self.rendered(above, mode), self.rendered(below, mode));
        match (above.trim(), below.trim()) {
            ("<", "~") => self.out.push('≲'),
            (">", "~") => self.out.push('≳'),
            ("~", "<") => self.out.push('≲'),
            ("~", ">") => self.out.push('≳'),
            (above, below) => {
                self.out.push_str(above);
                self.out.push_str(below);
            }
        }
    }
}

const ROMAN: [&str; 26] = [
    "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII", "XIV", "XV", "XVI", "XVII",
    "XVIII", "XIX", "XX", "XXI", "XXII", "XXIII", "XXIV", "XXV", "XXVI",
];
