//! The step `latex` over any text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sciembed::clean::Step;
use sciembed_fuzz::check_step;

fuzz_target!(|text: &str| check_step(Step::Latex, &['\\', '$', '{', '~', '`'], text));
