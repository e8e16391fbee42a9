//! Whether what is printed has colours: by `--color`, else by the terminal and the variables that programs share for it
//! (NO_COLOR, CLICOLOR, CLICOLOR_FORCE).

use ratatui::crossterm::style::force_color_output;
use textwrap::{WordSeparator, WordSplitter};

/// When colours are printed.
#[derive(clap::Args)]
pub struct ColorArguments {
    /// Whether to print in colours: on a terminal alone, unless NO_COLOR is set; always; or never
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = When::Auto, global = true)]
    color: When,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

impl ColorArguments {
    /// Tells all that print. Errors are told here how they are worded as well: on a terminal their lines break between words,
    /// elsewhere they do not, for programs that read them.
    pub fn settle(&self) {
        let forced = match self.color {
            When::Auto => None,
            When::Always => Some(true),
            When::Never => Some(false),
        };
        if let Some(colored) = forced {
            console::set_colors_enabled(colored);
            console::set_colors_enabled_stderr(colored);
            force_color_output(colored);
        }
        let breaks = console::Term::stderr().is_term();
        let errors = move || {
            // Paths must not be broken in two: whoever reads one wants to copy it.
            let worded = miette::MietteHandlerOpts::new()
                .wrap_lines(breaks)
                .break_words(false)
                .word_separator(WordSeparator::AsciiSpace)
                .word_splitter(WordSplitter::NoHyphenation);
            forced.into_iter().fold(worded, miette::MietteHandlerOpts::color)
        };
        // Only fails if it was set before, and this is the one place that sets it.
        let _ = miette::set_hook(Box::new(move |_| Box::new(errors().build())));
    }
}
