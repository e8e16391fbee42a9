//! The step `html` over any text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sciembed::clean::Step;
use sciembed_fuzz::check_step;

fuzz_target!(|text: &str| {
    check_step(Step::Html, &['<'], text);
    let once = Step::Html.apply(text);
    assert_eq!(Step::Html.apply(&once), once, "twice is not once");
});
