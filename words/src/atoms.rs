//! A text cut into the smallest pieces that may be words: letters and digits in a row, one Greek letter, one ideograph.
//!
//! Characters are taken apart by Unicode's compatibility decomposition first, so that accents fall off (Erdős, erdos),
//! small digits become digits (CO₂, co2) and the italic letters of formulas become letters.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// Characters of an atom; what follows is left out. The longest word of English has 45, and most that is longer is no word.
const LONGEST: usize = 40;

/// Units that are written after a number without a space as often as with one: 21cm and 21 cm are the same words.
/// None has a single letter: in 3C, 2M and 4U it belongs to a name.
pub(crate) const UNITS: [&str; 48] = [
    "arcmin", "arcsec", "au", "cm", "deg", "erg", "ev", "fm", "gev", "ghz", "gpc", "gyr", "hr", "hz", "jy", "kev",
    "kg", "khz", "km", "kms", "kpc", "kyr", "ly", "mas", "mev", "mhz", "mjy", "mk", "mm", "mpc", "ms", "msun", "myr",
    "nm", "ns", "pc", "pev", "rsun", "tev", "thz", "uas", "ujy", "uk", "um", "us", "wk", "yr", "yrs",
];

/// What an atom is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Letters and digits.
    Word,
    /// A Greek letter, by its name.
    Greek,
    /// A character of Chinese or Japanese, which are written without spaces.
    Ideograph,
}

/// What stands between an atom and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// Nothing.
    None,
    /// White space.
    Space,
    /// A hyphen, or the tie of LaTeX.
    Hyphen,
    /// Anything else.
    Wide,
}

impl Gap {
    fn and(self, next: char) -> Self {
        match self {
            Self::None | Self::Space if next.is_whitespace() => Self::Space,
            Self::None if matches!(next, '-' | '~' | '\u{2010}'..='\u{2014}' | '\u{2212}') => Self::Hyphen,
            _ => Self::Wide,
        }
    }
}

/// A piece of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Atom {
    start: usize,
    end: usize,
    pub kind: Kind,
    /// Whether it begins with a capital letter or a digit, as names in catalogues do.
    pub is_capital: bool,
    pub gap: Gap,
}

/// The atoms of one text; used again for the next one.
#[derive(Clone, Default)]
pub(crate) struct Atoms {
    characters: Vec<char>,
    letters: String,
    atoms: Vec<Atom>,
    gap: Option<Gap>,
}

impl Atoms {
    pub(crate) fn read(&mut self, text: &str) {
        self.characters.clear();
        self.letters.clear();
        self.atoms.clear();
        // What comes first has nothing before it to belong to.
        self.gap = Some(Gap::Wide);
        decompose(text, &mut self.characters);
        let mut at = 0;
        while at < self.characters.len() {
            at = self.step(at);
        }
    }

    pub(crate) fn all(&self) -> &[Atom] {
        &self.atoms
    }

    /// The letters of an atom, in lower case.
    pub(crate) fn text(&self, atom: &Atom) -> &str {
        &self.letters[atom.start..atom.end]
    }

    fn step(&mut self, at: usize) -> usize {
        let character = self.characters[at];
        if self.is_micro(at) || is_word(character) {
            return self.word(at);
        }
        let start = self.letters.len();
        if let Some(name) = greek(character) {
            self.letters.push_str(name);
            self.push(start, Kind::Greek, character.is_uppercase());
        } else if is_ideograph(character) {
            self.letters.push(character);
            self.push(start, Kind::Ideograph, false);
        } else {
            self.gap = Some(self.gap.unwrap_or(Gap::None).and(character));
        }
        at + 1
    }

    fn push(&mut self, start: usize, kind: Kind, is_capital: bool) {
        let gap = self.gap.take().unwrap_or(Gap::None);
        self.atoms.push(Atom { start, end: self.letters.len(), kind, is_capital, gap });
    }

    fn at(&self, at: usize) -> char {
        self.characters.get(at).copied().unwrap_or(' ')
    }

    fn before(&self, at: usize) -> char {
        at.checked_sub(1).map_or(' ', |before| self.characters[before])
    }

    /// Whether this is the letter of micrometre and microjansky, which many write as u.
    fn is_micro(&self, at: usize) -> bool {
        self.characters[at] == 'μ' && self.at(at + 1).is_ascii_alphabetic() && !self.before(at).is_alphabetic()
    }

    /// Reads a word that begins here; gives where it ends.
    fn word(&mut self, first: usize) -> usize {
        let (start, mut at, mut length) = (self.letters.len(), first, 0);
        let is_capital = self.characters[first].is_uppercase() || self.characters[first].is_numeric();
        while let Some(&character) = self.characters.get(at) {
            let micro = self.is_micro(at);
            if micro || is_word(character) || self.is_point(at) {
                if length < LONGEST {
                    fold(if micro { 'u' } else { character }, &mut self.letters);
                }
                length += 1;
                at += 1;
                continue;
            }
            let skipped = self.inside(at);
            if skipped == 0 {
                break;
            }
            at += skipped;
        }
        self.push_word(start, is_capital);
        at
    }

    /// Whether this is the point of a decimal number.
    fn is_point(&self, at: usize) -> bool {
        self.characters[at] == '.' && self.before(at).is_ascii_digit() && self.at(at + 1).is_ascii_digit()
    }

    /// How many characters here do not end a word, and are no part of it: an apostrophe, and the s of a genitive with it;
    /// the comma of thousands.
    fn inside(&self, at: usize) -> usize {
        let (before, after) = (self.before(at), self.at(at + 1));
        match self.characters[at] {
            '\'' | '\u{2019}' | '\u{02bc}' if before.is_alphabetic() && is_word(after) => {
                1 + usize::from(matches!(after, 's' | 'S') && !is_word(self.at(at + 2)))
            }
            ',' if before.is_ascii_digit() => {
                let is_thousand = (1..4).all(|next| self.at(at + next).is_ascii_digit());
                usize::from(is_thousand && !self.at(at + 4).is_ascii_digit())
            }
            _ => 0,
        }
    }

    /// One atom, or two where a unit is written right after its number.
    fn push_word(&mut self, start: usize, is_capital: bool) {
        let word = &self.letters[start..];
        let number = word.find(|character: char| !matches!(character, '0'..='9' | '.')).unwrap_or(0);
        if number == 0 || UNITS.binary_search(&&word[number..]).is_err() {
            return self.push(start, Kind::Word, is_capital);
        }
        let unit = start + number;
        let gap = self.gap.take().unwrap_or(Gap::None);
        self.atoms.push(Atom { start, end: unit, kind: Kind::Word, is_capital, gap });
        self.gap = Some(Gap::Wide);
        self.push(unit, Kind::Word, false);
    }
}

fn decompose(text: &str, into: &mut Vec<char>) {
    let mut was_exponent = false;
    for character in text.chars() {
        let is_exponent = matches!(character, '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{2070}'..='\u{207f}');
        // An exponent is no digit of its number; after letters or before them it belongs to a name: ¹³CO.
        if is_exponent && !was_exponent && into.last().is_some_and(char::is_ascii_digit) {
            into.push('^');
        }
        was_exponent = is_exponent;
        if character.is_ascii() {
            into.push(character);
            continue;
        }
        decompose_compatible(character, |part| {
            if !is_combining_mark(part) {
                into.push(part);
            }
        });
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() && greek(character).is_none() && !is_ideograph(character)
}

/// Chinese characters and Japanese syllables. Korean is written with spaces.
fn is_ideograph(character: char) -> bool {
    matches!(character, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

/// Lower case, and what is written for a letter where it is not at hand. (Accents are gone by decomposition.)
fn fold(character: char, into: &mut String) {
    match character {
        'A'..='Z' | 'a'..='z' | '0'..='9' => into.push(character.to_ascii_lowercase()),
        'ß' | 'ẞ' => into.push_str("ss"),
        'Æ' | 'æ' => into.push_str("ae"),
        'Œ' | 'œ' => into.push_str("oe"),
        'Ø' | 'ø' => into.push('o'),
        'Ł' | 'ł' => into.push('l'),
        'Đ' | 'đ' | 'Ð' | 'ð' => into.push('d'),
        'Þ' | 'þ' => into.push_str("th"),
        'ı' => into.push('i'),
        _ => into.extend(character.to_lowercase()),
    }
}

/// The English name of a Greek letter, which is how many write it.
fn greek(letter: char) -> Option<&'static str> {
    const FIRST: u32 = 'α' as u32;
    // In the order of Unicode, where a final sigma stands before the other one.
    const NAMES: [&str; 25] = [
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
        "xi", "omicron", "pi", "rho", "sigma", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
    ];
    let lower = if matches!(letter, 'Α'..='Ω') { letter as u32 + 32 } else { letter as u32 };
    lower.checked_sub(FIRST).and_then(|place| NAMES.get(place as usize)).copied()
}

/// Whether a word is the name of a Greek letter.
pub(crate) fn is_greek_name(word: &str) -> bool {
    ('α'..='ω').any(|letter| greek(letter) == Some(word))
}
