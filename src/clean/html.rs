//! `html`: tags are taken out, and words that they kept apart do not join.
//!
//! The text is read from its end. So whether `<b>` has its `</b>` is known when it is met, and a tag that only appears
//! when another one is taken out of it is seen as well: once through is as good as twice. What the elements of MathML
//! enclose is put in a row in `mathml.rs`.

use std::borrow::Cow;

use memchr::{memchr_iter, memrchr_iter};

use super::mathml::Formulas;
use super::tag::{self, Gap, Pair, Tag};

/// Takes out tags.
pub(super) fn html(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let may_begin =
        |at: usize| bytes.get(at + 1).is_some_and(|next| next.is_ascii_alphabetic() || b"/!<".contains(next));
    if !memchr_iter(b'<', bytes).any(may_begin) {
        return Cow::Borrowed(text);
    }
    let mut kept = Kept::new(bytes.len());
    let mut ends: Vec<&'static str> = Vec::new();
    let mut formulas = Formulas::default();
    let (mut end, mut changed) = (bytes.len(), false);
    for at in memrchr_iter(b'<', bytes) {
        kept.put(&bytes[at..end]);
        end = at;
        let Some(tag) = tag::read(kept.bytes()).filter(|tag| is_whole(tag, &mut ends)) else { continue };
        kept.take(tag.bytes);
        changed = true;
        formulas.see(tag.math, &text[..at], &mut kept);
        kept.put(left(tag.gap, &bytes[..at], kept.bytes()).as_bytes());
    }
    kept.put(&bytes[..end]);
    if changed { Cow::Owned(kept.into_string()) } else { Cow::Borrowed(text) }
}

/// What a tag leaves between the text before it and that after it.
fn left(gap: Gap, text_before: &[u8], text: &[u8]) -> &'static str {
    let (Some(before), Some(after)) = (text_before.last(), text.first()) else { return "" };
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
    let signed = ["+", "-", "\u{2212}", ""].iter().filter_map(|sign| text.strip_prefix(sign.as_bytes()));
    match gap {
        Gap::Numbers(sign) if ends_in_number(text_before) && signed.flat_map(<[u8]>::first).any(u8::is_ascii_digit) => {
            sign
        }
        // As in `yr<SUP>-1</SUP>`: without its sign a negative power would read as a range.
        Gap::Numbers("^") if ends_in_letter(text_before) && is_negative(text) => "^",
        Gap::Words if letter(*before) && letter(*after) => " ",
        Gap::Always if !before.is_ascii_whitespace() && !after.is_ascii_whitespace() => " ",
        _ => "",
    }
}

/// Whether a text begins with a negative number.
fn is_negative(text: &[u8]) -> bool {
    let signed = ["-", "\u{2212}"].iter().find_map(|sign| text.strip_prefix(sign.as_bytes()));
    signed.and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit)
}

/// Whether a text ends in a letter or what closes, perhaps with another script behind it: what a power may stand behind.
fn ends_in_letter(text: &[u8]) -> bool {
    let last = before_scripts(text).last();
    last.is_some_and(|last| last.is_ascii_alphabetic() || !last.is_ascii() || b")]}".contains(last))
}

/// Whether a text ends in a number, perhaps with another script or a brace behind it: 0.28<SUB>-0.08</SUB>.
fn ends_in_number(text: &[u8]) -> bool {
    before_scripts(text).last().is_some_and(u8::is_ascii_digit)
}

/// A text without the end of a script or a brace behind it.
fn before_scripts(text: &[u8]) -> &[u8] {
    let ends = [&b"</SUB>"[..], b"</SUP>", b"</sub>", b"</sup>", b"}"];
    ends.iter().find_map(|end| text.strip_suffix(*end)).unwrap_or(text)
}

/// Whether the element of this tag ends further on, where it must.
fn is_whole(tag: &Tag, ends: &mut Vec<&'static str>) -> bool {
    match tag.pair {
        Pair::None => true,
        Pair::Closes(name) => {
            ends.push(name);
            true
        }
        Pair::Opens(name) => match ends.iter().rposition(|end| *end == name) {
            Some(at) => {
                ends.swap_remove(at);
                true
            }
            None => false,
        },
    }
}

/// What is kept of a text, filled from its end.
pub(super) struct Kept {
    buffer: Vec<u8>,
    start: usize,
}

impl Kept {
    fn new(bytes: usize) -> Self {
        Self { buffer: vec![0; bytes], start: bytes }
    }

    /// What is kept.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Puts bytes before the others. There is room: what is put was taken from the text, or is less than a tag.
    pub fn put(&mut self, bytes: &[u8]) {
        let start = self.start - bytes.len();
        self.buffer[start..self.start].copy_from_slice(bytes);
        self.start = start;
    }

    /// Takes the first bytes away.
    pub fn take(&mut self, bytes: usize) {
        self.start += bytes;
    }

    fn into_string(mut self) -> String {
        self.buffer.drain(..self.start);
        String::from_utf8(self.buffer).expect("a text is cut before and after ASCII alone")
    }
}

#[cfg(test)]
mod tests {
    use super::html;

    #[test]
    fn tags_go_and_words_stay_apart() {
        for (text, clean) in [
            ("H<SUB>2</SUB>O at 10<SUP>5</SUP> K, 9<SUP>-3</SUP>", "H2O at 10^5 K, 9^-3"),
            ("One.<P />Two.<BR>Three. <BR /> Four", "One. Two. Three.  Four"),
            ("see <A href=\"http://pdg.lbl.gov\">this page</A>.", "see this page."),
            ("km s<SUP>-1</SUP>, <SUP>13</SUP>CO, 2010<SUP>th</SUP>", "km s^-1, 13CO, 2010th"),
            (
                "M<SUB>sun</SUB><SUP>-1</SUP>, yr<sup>−1</sup>, H<SUP>-</SUP>, Ca<SUP>2+</SUP>, x <SUP>-1</SUP>",
                "Msun^-1, yr^−1, H-, Ca2+, x -1",
            ),
            ("0.28<SUP>+0.09</SUP><SUB>-0.08</SUB>, {10}<SUP>8</SUP>, 2<SUB>1</SUB>", "0.28^+0.09_-0.08, {10}^8, 2_1"),
            ("Contents<A href=\"x.pdf\">PDF</A>, GW <A href=\"y\">1</A>s", "Contents PDF, GW 1s"),
            ("<b>Aims:</b> We<br> <b>Methods:</b> T<sub>eff</sub>", "Aims: We Methods: Teff"),
            ("<mml:math display=\"inline\"><mml:mi>x</mml:mi><mml:mo>=</mml:mo><mml:mn>3</mml:mn></mml:math>", "x=3"),
            ("<inline-formula id=\"IEq1\">y</inline-formula>", "y"),
            ("<jats:p>One.</jats:p><jats:p>Two.</jats:p>", "One. Two."),
            ("Not Available <P />", "Not Available "),
            ("<i>Herschel</i>", "Herschel"),
            ("a<!-- b -->c", "ac"),
            ("<<I>b</I>/b>x", "<b/b>x"),
        ] {
            assert_eq!(html(text), clean);
        }
    }

    #[test]
    fn formulas_read_as_those_of_latex() {
        for (text, clean) in [
            ("<mn>10</mn><mn>4</mn>", "104"),
            ("<msup><mn>10</mn><mn>4</mn></msup> K", "10^4 K"),
            ("<msup>\n  <mn>10</mn>\n  <mrow>\n<mo>-</mo>\n<mn>4</mn></mrow>\n</msup> K", "\n  10^-4 K"),
            (
                "<msup><mi>x</mi><mn>2</mn></msup>, <msup><mi>x</mi><mrow><mi>n</mi><mo>+</mo><mn>1</mn></mrow></msup>",
                "x^2, x^(n+1)",
            ),
            ("<msup><mn>10</mn><mrow><mo>&#8722;</mo><mn>3</mn></mrow></msup>", "10^&#8722;3"),
            ("<msup><mi>&alpha;</mi><mn>2</mn></msup>", "&alpha;^2"),
            ("<msub><mi>M</mi><mo>⊙</mo></msub>, <msub><mi>T</mi><mtext>eff</mtext></msub>", "M⊙, Teff"),
            ("<msub><mn>10</mn><mn>2</mn></msub>, <msub><mi>H</mi><mn>2</mn></msub>O", "10_2, H2O"),
            (
                "2.7<msubsup><mn>4</mn><mrow><mo>-</mo><mn>0.01</mn></mrow><mrow><mo>+</mo><mn>0.04</mn></mrow></msubsup>",
                "2.74_-0.01^+0.04",
            ),
            ("<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>", "xi^2"),
            (
                "of <math><msup><mrow></mrow><mn>36</mn></msup><mi>Cl</mi></math>, <msup><mi/><mn>13</mn></msup>C",
                "of 36Cl, 13C",
            ),
            ("<mn>0.28</mn><msup><mrow/><mn>2</mn></msup>", "0.28^2"),
            ("<msup><mn>30</mn><mo>∘</mo></msup>, <msup><mn>5</mn><mo>′</mo></msup>", "30°, 5′"),
            ("<msup><msup><mn>10</mn><mn>2</mn></msup><mn>3</mn></msup>", "10^2^3"),
            ("<msup><mn>10</mn><msup><mn>2</mn><mn>3</mn></msup></msup>", "10^2^3"),
            ("<mfrac><mn>1</mn><mn>2</mn></mfrac>, <mfrac><mrow>a+b</mrow><mi>c</mi></mfrac>", "1/2, (a+b)/c"),
            ("<msqrt><mn>2</mn></msqrt>, <msqrt><mi>a</mi><mo>+</mo><mi>b</mi></msqrt>", "√2, √(a+b)"),
        ] {
            assert_eq!(html(text), clean, "{text}");
            let prefixed = text.replace("</m", "</mml:m").replace("<m", "<mml:m");
            assert_eq!(html(&prefixed), clean, "{prefixed}");
        }
    }

    /// What is not nested as it should be stays in its order, and nothing of it is lost.
    #[test]
    fn broken_formulas_lose_their_tags_alone() {
        for (text, clean) in [
            ("10<msup>4", "104"),
            ("<msup><mn>10</mn></msup>", "10"),
            ("</msup>10 4<msup>", "10 4"),
            ("<msup>10<mn>4</mn></msup>", "10^4"),
            ("<msub><mn>10</mn><mn>4</mn></msup>", "104"),
            ("<msubsup><mn>1</mn><mn>2</mn></msubsup>", "1^2"),
            ("<mfrac><mn>1</mn></mfrac>", "1"),
            ("<msup><mi>a <b</mi><mn>4</mn></msup>", "a <b4"),
            ("<msubsup><!--</msubsup>-->x", "x"),
            ("<msup><mn>1</mn><a title=\"<mn>2</mn></msup>\">3</a></msup>", "13"),
        ] {
            assert_eq!(html(text), clean, "{text}");
        }
    }

    #[test]
    fn comparisons_and_means_stay() {
        for text in [
            "a < b and c > d",
            "a <b and c> d",
            "p<0.05",
            "<sigma v>",
            "mean <b/r> = 1.3",
            "<B>=13.75, <V>=11.33",
            "temperatures (<Td>=36+-7 K)",
            "log <I>_e",
            "<p> = 1.63 +/- 0.33",
            "<<<A&A Letters, in press>>>",
            "r<Q^2/M",
            "<A(\\epsilon)>",
            "<",
        ] {
            assert_eq!(html(text), text);
        }
    }
}
