//! What of a formula is more than signs in a row: scripts, fractions, roots, accents over several letters.

use std::borrow::Cow;

use super::{Mode, Writer, accents, scan};

impl Writer {
    /// `_` or `^` in a formula, at the beginning of the text.
    pub(super) fn script<'t>(&mut self, text: &'t str) -> &'t str {
        let (sign, after) = text.split_at(1);
        let Some((argument, rest)) = scan::argument(after.trim_start_matches(' ')) else { return self.kept(text, 1) };
        self.put_script(if sign == "^" { '^' } else { '_' }, argument);
        rest
    }

    /// Writes a script as it would be said: `x_{eff}` is xeff, and `10^{-3}` stays apart from 103.
    pub(super) fn put_script(&mut self, sign: char, argument: &str) {
        let script = self.rendered(argument, Mode::Math);
        let script = joined_sign(script.trim());
        let script = script.as_ref();
        let (before, first) = (self.out.chars().next_back(), script.chars().next());
        let (Some(before), Some(first)) = (before, first) else { return self.out.push_str(script) };
        let signed = "+-−±∓".contains(first);
        if sign == '_' {
            // Two numbers would become one.
            if signed || (before.is_ascii_digit() && first.is_ascii_digit()) {
                self.out.push('_');
            }
            return self.out.push_str(script);
        }
        match first {
            '∘' => self.out.push_str(&script.replacen('∘', "°", 1)),
            '°' | '′' | '″' => self.out.push_str(script),
            // `^{13}CO` has nothing before it that is raised.
            _ if !(signed || before.is_alphanumeric() || ")]}>|⊙′⊕".contains(before)) => {
                self.out.push_str(script)
            }
            _ if is_compound(script) => self.out.push_str(&format!("^({script})")),
            _ => self.out.push_str(&format!("^{script}")),
        }
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
                let rest = after.strip_prefix('=')?;
                self.out.push('≠');
                return Some(rest);
            }
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
        for (part, sign) in [(above, "/"), (below, "")] {
            let part = self.rendered(part, Mode::Math);
            let part = part.trim();
            let whole = if is_compound(part) { format!("({part})") } else { part.to_owned() };
            self.out.push_str(&whole);
            self.out.push_str(sign);
        }
    }

    /// `\sqrt{x}`; the degree of another root is left where it is.
    fn root<'t>(&mut self, after: &'t str) -> Option<&'t str> {
        let (argument, rest) = scan::argument(after).filter(|_| !after.starts_with('['))?;
        let inside = self.rendered(argument, Mode::Math);
        let inside = inside.trim();
        self.out.push('√');
        let single = inside.chars().all(char::is_alphanumeric);
        self.out.push_str(&if single { inside.to_owned() } else { format!("({inside})") });
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

/// A number with its sign: some abstracts have `^{+ 0.04}`.
fn joined_sign(script: &str) -> Cow<'_, str> {
    match script.split_once(' ') {
        Some((sign @ ("+" | "-" | "−" | "±"), number)) => Cow::Owned(format!("{sign}{}", number.trim_start())),
        _ => Cow::Borrowed(script),
    }
}

/// Whether a part of a formula needs parentheses to stay one part: a sign or a space between its ends, which the charge
/// of `^{6+}` is not.
fn is_compound(part: &str) -> bool {
    let enclosed = part.starts_with('(') && part.find(')') == Some(part.len() - 1);
    let last = part.char_indices().next_back().map_or(0, |(at, _)| at);
    !enclosed && part[..last].chars().skip(1).any(|sign| " +-−±/·×=".contains(sign))
}
