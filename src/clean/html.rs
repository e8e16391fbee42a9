//! `html`: tags are taken out, and words that they kept apart do not join.
//!
//! The text is read from its end. So whether `<b>` has its `</b>` is known when it is met, and a tag that only appears
//! when another one is taken out of it is seen as well: once through is as good as twice.

use std::borrow::Cow;

use memchr::{memchr_iter, memrchr_iter};

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
    let (mut end, mut changed) = (bytes.len(), false);
    for at in memrchr_iter(b'<', bytes) {
        kept.put(&bytes[at..end]);
        end = at;
        let Some(tag) = tag::read(kept.bytes()).filter(|tag| is_whole(tag, &mut ends)) else { continue };
        kept.take(tag.bytes);
        changed = true;
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
        Gap::Words if letter(*before) && letter(*after) => " ",
        Gap::Always if !before.is_ascii_whitespace() && !after.is_ascii_whitespace() => " ",
        _ => "",
    }
}

/// Whether a text ends in a number, perhaps with another script or a brace behind it: 0.28<SUB>-0.08</SUB>.
fn ends_in_number(text: &[u8]) -> bool {
    let ends = [&b"</SUB>"[..], b"</SUP>", b"</sub>", b"</sup>", b"}"];
    let text = ends.iter().find_map(|end| text.strip_suffix(*end)).unwrap_or(text);
    text.last().is_some_and(u8::is_ascii_digit)
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
struct Kept {
    buffer: Vec<u8>,
    start: usize,
}

impl Kept {
    fn new(bytes: usize) -> Self {
        Self { buffer: vec![0; bytes], start: bytes }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Puts bytes before the others. There is room: what is put was taken from the text, or is less than a tag.
    fn put(&mut self, bytes: &[u8]) {
        let start = self.start - bytes.len();
        self.buffer[start..self.start].copy_from_slice(bytes);
        self.start = start;
    }

    fn take(&mut self, bytes: usize) {
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
            ("km s<SUP>-1</SUP>, <SUP>13</SUP>CO, 2010<SUP>th</SUP>", "km s-1, 13CO, 2010th"),
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
