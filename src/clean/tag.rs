//! Which stretch of a text is a tag, and what is left of it when it is taken out.
//!
//! In astronomy `a < b` is a comparison and `<B>` the mean of a magnetic field. So a tag is a name that HTML, MathML or
//! JATS has, followed by nothing but attributes with their values.

/// Longest tag, in bytes, addresses of links included. It bounds the search for the end of one.
const MAX_BYTES: usize = 4096;

/// Namespaces whose every name is a tag.
const NAMESPACES: [&str; 7] = ["ce", "html", "jats", "m", "mml", "svg", "xhtml"];

/// Elements that leave nothing, apart from what they enclose; sorted.
const INLINE: [&str; 68] = [
    "a",
    "abbr",
    "alternatives",
    "annotation",
    "astrobj",
    "b",
    "big",
    "bold",
    "cite",
    "code",
    "em",
    "email",
    "etal",
    "etalhook",
    "ext-link",
    "fn",
    "font",
    "i",
    "inf",
    "inline-formula",
    "inline-graphic",
    "italic",
    "math",
    "mfenced",
    "mfrac",
    "mi",
    "mmultiscripts",
    "mn",
    "mo",
    "monospace",
    "mover",
    "mpadded",
    "mphantom",
    "mprescripts",
    "mroot",
    "mrow",
    "msqrt",
    "mstyle",
    "msub",
    "msubsup",
    "msup",
    "mtext",
    "munder",
    "munderover",
    "named-content",
    "nobr",
    "overline",
    "q",
    "roman",
    "s",
    "sans-serif",
    "sc",
    "semantics",
    "small",
    "span",
    "strike",
    "strong",
    "styled-content",
    "sub",
    "sup",
    "tex-math",
    "tt",
    "u",
    "underline",
    "uri",
    "var",
    "wbr",
    "xref",
];

/// Elements between which words do not join; sorted.
const BLOCK: [&str; 35] = [
    "abstract",
    "blockquote",
    "br",
    "caption",
    "center",
    "dd",
    "disp-formula",
    "div",
    "dl",
    "dt",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "list",
    "list-item",
    "mspace",
    "mtable",
    "mtd",
    "mtr",
    "ol",
    "p",
    "para",
    "pre",
    "sec",
    "table",
    "td",
    "th",
    "title",
    "tr",
    "ul",
];

/// Elements that need no end, for all that their names are short.
const ALONE: [&str; 5] = ["br", "hr", "sub", "sup", "wbr"];

/// A tag at the beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// Its bytes, angle brackets included.
    pub bytes: usize,
    /// What is left in its place.
    pub gap: Gap,
    /// The element that it begins or ends.
    pub pair: Pair,
    /// Its part in a formula, if it is MathML.
    pub math: Option<Math>,
}

/// What a tag of MathML begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Math {
    /// Which end of its element it is.
    pub side: Side,
    /// How the parts of the element stand to each other, if not in a row.
    pub structure: Option<Structure>,
}

/// Which end of an element a tag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Opens,
    Closes,
    /// The element is empty: `<mi/>`.
    Both,
}

/// How the parts of an element of MathML stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Structure {
    /// A base and what is below it.
    Index,
    /// A base and what is above it.
    Power,
    /// A base, what is below it and what is above it.
    IndexAndPower,
    /// What is above a line and what is below it.
    Fraction,
    /// What is under a root.
    Root,
}

/// What a tag leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// Nothing: what it encloses is a part of a word.
    None,
    /// `^` or `_` between two numbers that would join: 10<SUP>5</SUP> is not 105.
    Numbers(&'static str),
    /// A space between two words that would join: a link or a note begins there.
    Words,
    /// A space.
    Always,
}

/// What a tag has to do with other tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pair {
    /// Nothing: it is a tag by itself.
    None,
    /// It is one only if its element ends further on: `<b>` alone is the mean of b.
    Opens(&'static str),
    /// It ends an element.
    Closes(&'static str),
}

/// The tag that a text begins with, if it does.
pub(super) fn read(text: &[u8]) -> Option<Tag> {
    let text = &text[..text.len().min(MAX_BYTES)];
    if text.starts_with(b"<!--") {
        let end = text.windows(3).skip(4).position(|window| window == b"-->")?;
        return Some(Tag { bytes: end + 7, gap: Gap::None, pair: Pair::None, math: None });
    }
    let closing = text.get(1) == Some(&b'/');
    let start = if closing { 2 } else { 1 };
    let length = text.get(start..)?.iter().take_while(|byte| is_name(**byte)).count();
    let Known { name, gap, math } = look_up(&text[start..start + length])?;
    let rest = Rest::read(&text[start + length..])?;
    let pair = match name {
        Some(name) if closing => Pair::Closes(name),
        Some(name) if rest.plain && name.len() <= 3 && !ALONE.contains(&name) => Pair::Opens(name),
        _ => Pair::None,
    };
    let gap = if closing && gap != Gap::Always { Gap::None } else { gap };
    let side = match closing {
        true => Side::Closes,
        false if rest.alone => Side::Both,
        false => Side::Opens,
    };
    let math = math.map(|structure| Math { side, structure });
    Some(Tag { bytes: start + length + rest.bytes, gap, pair, math })
}

/// An element that is known.
struct Known {
    /// Its name; none if only its namespace makes it an element.
    name: Option<&'static str>,
    /// What its tags leave.
    gap: Gap,
    /// Whether it is MathML, and how its parts stand then.
    math: Option<Option<Structure>>,
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_' | b'.')
}

fn look_up(name: &[u8]) -> Option<Known> {
    let mut lower = [0; 24];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    let name = std::str::from_utf8(lower).ok()?;
    let (namespace, local) = name.split_once(':').map_or((None, name), |(space, local)| (Some(space), local));
    if namespace.is_some_and(|namespace| !NAMESPACES.contains(&namespace)) {
        return None;
    }
    let find = |names: &[&'static str]| names.binary_search(&local).ok().map(|at| names[at]);
    let gap = match local {
        _ if BLOCK.binary_search(&local).is_ok() => Gap::Always,
        "a" | "email" | "ext-link" | "fn" | "uri" | "xref" => Gap::Words,
        "sub" => Gap::Numbers("_"),
        "sup" => Gap::Numbers("^"),
        _ => Gap::None,
    };
    let is_math = match namespace {
        Some(namespace) => matches!(namespace, "m" | "mml"),
        None => local.starts_with('m') && local != "monospace",
    };
    let math = is_math.then(|| structure(local));
    match namespace {
        Some(_) => (!local.is_empty()).then_some(Known { name: None, gap, math }),
        None => Some(Known { name: Some(find(&INLINE).or_else(|| find(&BLOCK))?), gap, math }),
    }
}

/// How the parts of an element of MathML stand to each other, if not in a row.
fn structure(name: &str) -> Option<Structure> {
    Some(match name {
        "msub" => Structure::Index,
        "msup" => Structure::Power,
        "msubsup" => Structure::IndexAndPower,
        "mfrac" => Structure::Fraction,
        "msqrt" => Structure::Root,
        _ => return None,
    })
}

/// What follows a tag's name, up to its end.
struct Rest {
    bytes: usize,
    /// Whether it has neither attributes nor a slash before its end.
    plain: bool,
    /// Whether it has a slash before its end.
    alone: bool,
}

impl Rest {
    fn read(text: &[u8]) -> Option<Self> {
        let (mut at, mut plain, mut alone) = (0, true, false);
        loop {
            let space = blank(&text[at..]);
            at += space;
            let is_slash = text.get(at)? == &b'/';
            match text[at] {
                b'>' => return Some(Self { bytes: at + 1, plain, alone }),
                b'/' => at += 1,
                _ if space > 0 => at += attribute(&text[at..])?,
                _ => return None,
            }
            (plain, alone) = (false, is_slash);
        }
    }
}

/// The bytes of an attribute with its value.
fn attribute(text: &[u8]) -> Option<usize> {
    let name = text.iter().take_while(|byte| is_name(**byte)).count();
    let equals = name + blank(&text[name..]);
    if name == 0 || text.get(equals) != Some(&b'=') {
        return None;
    }
    let value = equals + 1 + blank(&text[equals + 1..]);
    match text.get(value)? {
        quote @ (b'"' | b'\'') => Some(value + 2 + memchr::memchr(*quote, &text[value + 1..])?),
        _ => {
            let bare = |byte: &&u8| !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'\'' | b'<' | b'>');
            let length = text[value..].iter().take_while(bare).count();
            (length > 0).then_some(value + length)
        }
    }
}

fn blank(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_searched() {
        assert!(INLINE.is_sorted() && BLOCK.is_sorted());
        assert!(!INLINE.iter().any(|name| BLOCK.contains(name)));
    }

    #[test]
    fn a_tag_is_a_known_name_with_attributes() {
        let bytes = |text: &str| read(text.as_bytes()).map(|tag| tag.bytes);
        for whole in [
            "<SUB>",
            "</SUB>",
            "<P />",
            "<br/>",
            "<A href=\"http://x.org/?a>b\">",
            "<a href=x.org>",
            "<mml:math display=\"inline\">",
            "<mml:anything>",
            "<inline-formula id='IEq1' >",
            "<!-- a > b -->",
        ] {
            assert_eq!(bytes(&format!("{whole} rest")), Some(whole.len()), "{whole}");
        }
        for none in
            ["<", "<>", "<b and c>", "<sigma v>", "<M/L>", "<0.05>", "<sub", "<a href=\"x>", "<b/r>", "<é>", "<x:p>"]
        {
            assert_eq!(bytes(none), None, "{none}");
        }
    }
}
