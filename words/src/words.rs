//! From a text or a question to the words it is found by.
//!
//! - Words are stemmed as English (Snowball's Porter 2); the commonest are left out.
//! - Greek letters are read by their names: α and alpha are the same word.
//! - A name and what numbers it stand in the index together as well as apart: "NGC 1234", "M-31", "H α", "O III" and
//!   "Cygnus A" are also ngc1234, m31, halpha, oiii and cygnusa, so that either way of writing finds the other, and the
//!   number alone counts for less than both.

use std::collections::BTreeSet;

use frostem::{Algorithm, Stemmer};

use crate::atoms::{Atom, Atoms, Gap, Kind, is_greek_name};

/// Lucene's English stop words: in every other text, so that they tell nothing.
const COMMONEST: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
];

/// Words before a number that name nothing, for all that they begin a sentence.
const BEFORE_NUMBERS: [&str; 28] = [
    "about", "above", "after", "all", "before", "below", "between", "both", "during", "each", "from", "has", "have",
    "its", "least", "most", "only", "our", "over", "since", "than", "those", "under", "until", "up", "using", "we",
    "were",
];

/// The longest name that is put together with its number: Markarian has nine letters, TRAPPIST eight.
const LONGEST_NAME: usize = 9;

const ROMAN: [&str; 15] =
    ["i", "ii", "iii", "iv", "ix", "v", "vi", "vii", "viii", "x", "xi", "xii", "xiii", "xiv", "xv"];

/// Who wrote what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hand {
    /// An author, who writes names with a capital.
    Author,
    /// Somebody who asks, and may write everything small.
    Asker,
}

/// Reads texts, one after another.
#[derive(Clone)]
pub(crate) struct Reader {
    stemmer: Stemmer,
    atoms: Atoms,
}

impl Default for Reader {
    fn default() -> Self {
        Self { stemmer: Stemmer::new(Algorithm::English), atoms: Atoms::default() }
    }
}

impl Reader {
    /// Gives each word of a text to `word`, as often as it occurs.
    pub(crate) fn text(&mut self, text: &str, word: impl FnMut(&str)) {
        self.read(text, Hand::Author, word);
    }

    /// The distinct words of a question, in alphabetical order.
    pub(crate) fn question(&mut self, question: &str) -> BTreeSet<String> {
        let mut words = BTreeSet::new();
        self.read(question, Hand::Asker, |word| {
            if !words.contains(word) {
                words.insert(word.to_owned());
            }
        });
        words
    }

    fn read(&mut self, text: &str, hand: Hand, mut word: impl FnMut(&str)) {
        self.atoms.read(text);
        let (atoms, stemmer) = (&self.atoms, self.stemmer);
        let mut before: Option<&Atom> = None;
        let mut joined = String::new();
        for atom in atoms.all() {
            let text = atoms.text(atom);
            if let Some(before) = before.filter(|before| self.is_one_name(before, atom, hand)) {
                joined.clear();
                joined.push_str(atoms.text(before));
                joined.push_str(text);
                word(&stem(stemmer, &joined));
            }
            if COMMONEST.binary_search(&text).is_err() {
                word(&stem(stemmer, text));
            }
            before = Some(atom);
        }
    }

    /// Whether a name and what follows it are one.
    fn is_one_name(&self, name: &Atom, next: &Atom, hand: Hand) -> bool {
        if name.kind == Kind::Ideograph || next.kind == Kind::Ideograph || next.gap == Gap::Wide {
            return false;
        }
        // A letter of each alphabet side by side: Hα, ΛCDM.
        if next.gap == Gap::None {
            return true;
        }
        let (text, following) = (self.atoms.text(name), self.atoms.text(next));
        name.kind == Kind::Word
            && (name.is_capital || hand == Hand::Asker)
            && is_name(text)
            && self.is_number(next, following, hand)
    }

    /// Whether this is what names are numbered by: 1234, 1987A, α, III, A.
    fn is_number(&self, atom: &Atom, text: &str, hand: Hand) -> bool {
        let is_letter = text.len() == 1 || ROMAN.contains(&text);
        text.starts_with(|character: char| character.is_ascii_digit())
            || atom.kind == Kind::Greek
            || is_greek_name(text)
            || (is_letter && (atom.is_capital || hand == Hand::Asker))
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME
        && text.ends_with(char::is_alphabetic)
        && COMMONEST.binary_search(&text).is_err()
        && BEFORE_NUMBERS.binary_search(&text).is_err()
}

/// Stems what is a word of letters only; others are names, which have no forms.
fn stem(stemmer: Stemmer, word: &str) -> std::borrow::Cow<'_, str> {
    if word.bytes().all(|byte| byte.is_ascii_lowercase()) { stemmer.stem(word) } else { word.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        Reader::default().text(text, |word| words.push(word.to_owned()));
        words
    }

    fn asked(question: &str) -> Vec<String> {
        Reader::default().question(question).into_iter().collect()
    }

    fn share(text: &str, question: &str, word: &str) {
        assert!(words(text).contains(&word.to_owned()), "{text:?} gives {:?}", words(text));
        assert!(asked(question).contains(&word.to_owned()), "{question:?} gives {:?}", asked(question));
    }

    #[test]
    fn tables_that_are_searched_by_halves_are_sorted() {
        assert!(COMMONEST.is_sorted() && BEFORE_NUMBERS.is_sorted());
        assert!(crate::atoms::UNITS.is_sorted());
    }

    #[test]
    fn words_are_lower_case_without_accents_and_stemmed() {
        assert_eq!(words("The GALAXIES of Erdős, Ångström & Øst"), ["galaxi", "erdo", "angstrom", "ost"]);
        assert_eq!(words("Stars' and Hubble’s stars; O'Neill"), ["star", "hubbl", "star", "oneil"]);
        assert_eq!(words("Straße ﬁeld œuvre 𝑧"), ["strass", "field", "oeuvr", "z"]);
    }

    #[test]
    fn names_and_numbers_are_found_however_they_are_joined() {
        for text in ["NGC 1234", "NGC1234", "NGC-1234", "NGC~1234", "ngc1234", "NGC\u{a0}1234"] {
            for question in ["NGC 1234", "ngc 1234", "NGC1234", "ngc-1234"] {
                share(text, question, "ngc1234");
            }
        }
        share("M31", "m 31", "m31");
        share("GW 170817", "GW170817", "gw170817");
        share("SN1987A", "sn 1987a", "sn1987a");
        share("3C 273", "3c273", "3c273");
        share("O III", "[OIII]", "oiii");
        share("Cygnus A", "cygnus a", "cygnusa");
        assert_eq!(words("in 2012, between 1 and 3. From 5"), ["2012", "between", "1", "3", "from", "5"]);
    }

    #[test]
    fn greek_letters_are_read_by_their_names() {
        assert_eq!(words("Hα"), ["h", "halpha", "alpha"]);
        assert_eq!(words("Λ CDM"), ["lambda", "cdm"]);
        for text in ["Hα", "H-alpha", "H alpha", "Halpha", "H α", "H\u{1D6FC}"] {
            for question in ["hα", "h alpha", "H-α", "halpha"] {
                share(text, question, "halpha");
            }
        }
        share("Lyman-α forest", "lyman alpha", "alpha");
        share("Lyman-α forest", "lyman alpha", "lymanalpha");
        share("ΛCDM", "lambdaCDM", "lambdacdm");
        share("σ_8", "sigma 8", "sigma");
        share("ΣΟΦΟΣ ς", "sigma", "sigma");
    }

    #[test]
    fn numbers_keep_their_points_and_lose_their_units() {
        assert_eq!(words("z~2.5, 21-cm, 21cm 1.4GHz"), ["z", "2.5", "21", "cm", "21", "cm", "1.4", "ghz"]);
        assert_eq!(words("24 μm 24µm 24um"), ["24", "um", "24", "um", "24", "um"]);
        assert_eq!(words("1,000 stars. 10,20 v1.2."), ["1000", "star", "10", "20", "v1.2"]);
        assert_eq!(words("10² CO₂ ¹³CO cm⁻²"), ["10", "2", "co2", "13co", "cm", "2"]);
        assert_eq!(words("2MASS, 3C; μ Cep"), ["2mass", "3c", "mu", "cep"]);
    }

    #[test]
    fn a_long_word_is_cut_and_ideographs_stand_alone() {
        assert_eq!(words(&"é".repeat(100)), ["e".repeat(40)]);
        assert_eq!(words("天文 X線"), ["天", "文", "x", "線"]);
        assert_eq!(words("Звёзды"), ["звезды"]);
    }

    #[test]
    fn what_is_no_word_gives_none() {
        for text in ["", " \n\t", "(;:!?) -- *^", "\u{301}\u{0}\u{fffd}", "the of a"] {
            assert_eq!(words(text), [""; 0], "{text:?}");
        }
    }
}
