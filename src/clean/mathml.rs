//! MathML as signs in a row: `<msup><mn>10</mn><mn>4</mn></msup>` is `10^4`, as LaTeX's `10^4` is, and never 104.
//!
//! `html` reads a text from its end, so an element is met at its end first, then its parts from the last to the first, and
//! at its beginning all of them are there and are put in a row by the rules of `script.rs`. Markup that is not nested as it
//! should be is left in the order in which it stands.

use std::borrow::Cow;

use super::entities::entities;
use super::html::Kept;
use super::script::{self, Script, signs};
use super::tag::{self, Math, Side, Structure};
use super::whitespace::whitespace;

/// Structures within structures that are put in a row. Each copies what is in it, so this bounds the time of all.
const MAX_DEPTH: usize = 12;
/// Tags before an empty base that are passed over, to find what stands before them.
const TAGS_BEFORE: usize = 8;
/// Bytes of such a tag at most.
const TAG_BYTES: usize = 128;

/// The elements whose ends were met and whose beginnings were not.
#[derive(Default)]
pub(super) struct Formulas {
    open: Vec<Element>,
    /// How many of them are structures.
    depth: usize,
}

/// An element whose end was met.
struct Element {
    structure: Option<Structure>,
    /// The bytes that are kept of what follows it.
    end: usize,
    /// The same for the beginnings of its parts, the last part first, as far as a structure has parts.
    begins: [usize; 3],
    parts: usize,
}

impl Formulas {
    /// Looks at a tag that was taken out; `before` is the text before it.
    pub fn see(&mut self, math: Option<Math>, before: &str, kept: &mut Kept) {
        // A comment or the value of an attribute may have taken with it what looked like tags.
        while self.open.last().is_some_and(|element| element.last_place() > kept.bytes().len()) {
            self.pop();
        }
        let Some(math) = math else { return };
        match math.side {
            Side::Closes => {
                self.depth += usize::from(math.structure.is_some());
                let end = kept.bytes().len();
                self.open.push(Element { structure: math.structure, end, begins: [end; 3], parts: 0 });
                return;
            }
            Side::Opens => match self.pop() {
                Some(element) if element.structure == math.structure => self.close(&element, before, kept),
                _ => *self = Self::default(),
            },
            Side::Both => {}
        }
        if let Some(around) = self.open.last_mut() {
            if let Some(begin) = around.begins.get_mut(around.parts) {
                *begin = kept.bytes().len();
            }
            around.parts += 1;
        }
    }

    fn pop(&mut self) -> Option<Element> {
        let element = self.open.pop()?;
        self.depth -= usize::from(element.structure.is_some());
        Some(element)
    }

    /// Puts what is in an element in a row, once its beginning is met.
    fn close(&mut self, element: &Element, before: &str, kept: &mut Kept) {
        let Some(structure) = element.structure else { return };
        if self.depth >= MAX_DEPTH {
            return;
        }
        let bytes = kept.bytes().len() - element.end;
        let inside = std::str::from_utf8(&kept.bytes()[..bytes]).expect("a text is cut before and after ASCII alone");
        if let Some(row) = in_a_row(structure, inside, &element.parts_at(kept.bytes().len()), before) {
            kept.take(bytes);
            kept.put(row.as_bytes());
        }
    }
}

impl Element {
    /// The most bytes that were kept when one of its places was noted.
    fn last_place(&self) -> usize {
        self.begins.iter().copied().fold(self.end, usize::max)
    }

    /// Where its parts begin in what it encloses, the last one first; `all` are the bytes that are kept.
    fn parts_at(&self, all: usize) -> Vec<usize> {
        self.begins.iter().take(self.parts).map(|begin| all - begin).collect()
    }
}

/// What a structure encloses in a row; none where it has not the parts that it should have. `before` stands before it.
fn in_a_row(structure: Structure, inside: &str, parts: &[usize], before: &str) -> Option<String> {
    // Something else than markup, to be left alone.
    if inside.contains('<') {
        return None;
    }
    match (structure, parts) {
        (Structure::Index, [script, ..]) => scripted(inside, &[(Script::Index, *script)], before),
        (Structure::Power, [script, ..]) => scripted(inside, &[(Script::Power, *script)], before),
        (Structure::IndexAndPower, [power, index, ..]) => {
            scripted(inside, &[(Script::Index, *index), (Script::Power, *power)], before)
        }
        (Structure::Fraction, [below, _]) => Some(script::fraction(&inside[..*below], &inside[*below..])),
        (Structure::Root, _) if !inside.trim().is_empty() => Some(script::root(inside)),
        _ => None,
    }
}

/// A base and its scripts, which begin at these places.
fn scripted(inside: &str, scripts: &[(Script, usize)], before: &str) -> Option<String> {
    let base = inside[..scripts.first()?.1].trim_end();
    let mut row = base.to_owned();
    let ends = scripts.iter().skip(1).map(|(_, begin)| *begin).chain([inside.len()]);
    for ((script, begin), end) in scripts.iter().zip(ends) {
        let folded = whitespace(&inside[*begin..end]);
        let text = match script::tidied(&folded) {
            ring if *script == Script::Power && ring == "∘" => Cow::Borrowed("°"),
            text => text,
        };
        // Entities are another step's work, and count as what they stand for.
        let last = last_of(&row).or_else(|| last_before(before));
        let (sign, end) = signs(*script, last, &entities(&text));
        [sign, &text, end].iter().for_each(|part| row.push_str(part));
    }
    Some(row)
}

fn last_of(text: &str) -> Option<char> {
    entities(text).trim_end().chars().next_back()
}

/// The last character before tags at the end of a text: `<mrow/>` is a base that is empty, as in the mass number of ³⁶Cl.
fn last_before(mut text: &str) -> Option<char> {
    for _ in 0..TAGS_BEFORE {
        let Some(at) = memchr::memrchr(b'<', &text.as_bytes()[text.len().saturating_sub(TAG_BYTES)..]) else { break };
        let at = text.len().saturating_sub(TAG_BYTES) + at;
        match tag::read(&text.as_bytes()[at..]) {
            Some(tag) if at + tag.bytes == text.len() => text = &text[..at],
            _ => break,
        }
    }
    text.chars().next_back()
}
