//! What holds of every step over every text.

use std::borrow::Cow;

use proptest::prelude::*;

use super::{Step, clean, versions};

/// Steps that, done twice, do what they do once.
const IDEMPOTENT: [Step; 4] = [Step::Html, Step::Whitespace, Step::UnicodeNfc, Step::Placeholder];

/// Pieces that steps look for, in any order, among any text.
fn texts() -> impl Strategy<Value = String> {
    let pieces = "<|>|</|/>|<msup>|</msup>|<msubsup>|</msubsup>|<mfrac>|</mfrac>|<mn>|</mn>|<mml:mi/>|<b>|</b>|<p>|<p/>|<SUB>|</SUB>|<br>|<a href=\"|\"|=|<!--|-->|&|&lt;|&#|;|&amp;|x|\\\\|\\$|\\{|\\}|_|\\^\
                  |~|\\\\alpha|\\\\rm|\\\\frac|\\\\sqrt|\\\\dot|\\\\'|\\\\v |\\\\ion|\\\\over|\\\\stackrel|\\\\left|\\\\cite|\\\\not|``|''|\\\\' |e|1| |  |\n|\u{301}\
                  |é|\u{212b}|Not Available|-|\\.|\\[|\\]";
    prop_oneof![any::<String>(), proptest::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// No text makes a step panic, or grow beyond what its shortest command could stand for.
    #[test]
    fn every_text_can_be_cleaned(text in texts()) {
        for step in Step::ALL {
            prop_assert!(step.apply(&text).len() <= 4 * text.len() + 8, "{step}");
        }
        clean(&Step::ALL, Cow::Borrowed(&text));
    }

    #[test]
    fn once_is_as_good_as_twice(text in texts()) {
        for step in IDEMPOTENT {
            let once = step.apply(&text).into_owned();
            prop_assert_eq!(&*step.apply(&once), &once, "{}", step);
        }
    }

    /// A text without anything to clean is handed back and not copied.
    #[test]
    fn plain_text_is_not_copied(text in "[a-z]{1,5}( [a-zA-Z0-9,.é]{1,5}){0,20}") {
        prop_assume!(Step::Placeholder.apply(&text) == text);
        prop_assert!(matches!(clean(&Step::ALL, Cow::Borrowed(&text)), Cow::Borrowed(same) if same == text));
    }
}

/// Text that would take a naive reader a time that grows with the square of its length.
#[test]
fn no_text_is_slow() {
    for piece in [
        "<",
        "<a x=\"",
        "&a",
        "{",
        "$",
        "$x",
        "\\",
        "<b>",
        "</b>",
        "\\'{",
        "\\frac{",
        "\\(",
        "``",
        "a~",
        "\\cite[",
        "\\' ",
        "\\[",
        "^{",
        "<!--",
        "$^{",
        "<msup>",
        "</msup>",
        "</mn></msup>",
        "</mn>",
    ] {
        let text = piece.repeat(200_000 / piece.len());
        for step in Step::ALL {
            assert!(step.apply(&text).len() <= text.len(), "{step}: {piece}");
        }
    }
}

#[test]
fn steps_act_in_the_order_written() {
    let text = "a &lt;SUB&gt;2&lt;/SUB&gt;  b ";
    let cleaned = |steps: &[Step]| clean(steps, Cow::Borrowed(text)).into_owned();
    assert_eq!(cleaned(&[Step::Html, Step::Entities, Step::Whitespace]), "a <SUB>2</SUB> b");
    assert_eq!(cleaned(&[Step::Entities, Step::Html, Step::Whitespace]), "a 2 b");
    assert_eq!(cleaned(&[]), text);
}

#[test]
fn a_key_names_each_step_and_its_version() {
    assert_eq!(versions(&Step::ALL), "html v3, entities v1, latex v2, whitespace v1, unicode-nfc v1, placeholder v1");
    assert_eq!(versions(&[]), "");
}
