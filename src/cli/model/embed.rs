//! `sciembed model embed`: texts on standard input, vectors on standard output, line by line.

use std::io::{self, BufRead, BufWriter, Write};
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::{Chosen, DoorError, Failure};
use crate::cli::print::remark;
use crate::embedder::{Embedder, Embedding, TextTokenizer, Told};
use crate::error::Exit;

/// Texts held at once: enough that rows of equal length find each other, few enough that answers come soon.
const WINDOW_ROWS: usize = 512;

#[derive(clap::Args)]
#[command(after_help = "Example:\n  echo '{\"text\": \"dark energy\"}' | sciembed model embed models/all-MiniLM-L6-v2")]
pub struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// Each line is a text as it stands, instead of a JSON object with a field `text`
    #[arg(long)]
    lines: bool,
}

/// A line of input.
#[derive(Deserialize)]
struct Question {
    text: String,
}

/// A line of output.
#[derive(Serialize)]
struct Answer {
    tokens: u32,
    tokens_dropped: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ids: Option<Vec<i64>>,
    embedding: Vec<f32>,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (resolved, environment) = arguments.chosen.resolve()?;
    resolved.notes.iter().for_each(|note| remark(format!("note: {note}")));
    let mut embedder = resolved.start(&environment)?;
    let tokenizer = resolved.tokenizer()?;
    let mut output = BufWriter::new(io::stdout().lock());
    let mut window = Vec::with_capacity(WINDOW_ROWS);
    let mut refused = Ok(());
    for (line, number) in io::stdin().lock().split(b'\n').zip(1..) {
        match line.map_err(DoorError::Texts).and_then(|line| text(&line, number, arguments.lines)) {
            Ok(text) => window.push(text),
            Err(error) => {
                refused = Err(error);
                break;
            }
        }
        if window.len() == WINDOW_ROWS {
            answer(&mut *embedder, tokenizer.as_ref(), &window, &mut output)?;
            window.clear();
        }
    }
    // What came before a line that cannot be read is answered all the same.
    answer(&mut *embedder, tokenizer.as_ref(), &window, &mut output)?;
    output.flush().map_err(DoorError::Output)?;
    refused?;
    Ok(Exit::Done)
}

fn text(line: &[u8], number: u64, plain: bool) -> Result<String, DoorError> {
    let refused = |reason: String| DoorError::Text { line: number, reason };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if plain {
        return String::from_utf8(line.to_vec()).map_err(|error| refused(format!("it is not UTF-8: {error}")));
    }
    serde_json::from_slice::<Question>(line).map(|question| question.text).map_err(|error| refused(in_line(&error)))
}

/// What is wrong, without the line, which is always the first of what was parsed.
fn in_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", ", column ")
}

/// Embeds a window of texts and prints the answers in their order.
fn answer(
    embedder: &mut dyn Embedder,
    tokenizer: Option<&TextTokenizer>,
    texts: &[String],
    output: &mut impl Write,
) -> Result<(), Failure> {
    let rows: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut embeddings = vec![None; rows.len()];
    let mut unfit = None;
    let mut take = |told: Told| {
        match told {
            Told::Embedded(row, embedding) => embeddings[row] = Some(embedding),
            Told::Unfit(_, why) => unfit = Some(why),
            Told::Note(note) => remark(note),
            Told::Waiting => {}
        }
        if unfit.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    embedder.embed(&rows, &mut take)?;
    if let Some(reason) = unfit {
        return Err(DoorError::Unfit { reason }.into());
    }
    for (row, embedding) in embeddings.into_iter().flatten().enumerate() {
        let windows = tokenizer.and_then(|tokenizer| tokenizer.encode(rows[row]).ok());
        let ids = windows.map(|windows| windows.into_iter().flat_map(|window| window.ids).collect());
        let Embedding { vector: embedding, tokens, tokens_dropped } = embedding;
        let answer = Answer { tokens, tokens_dropped, token_ids: ids, embedding };
        serde_json::to_writer(&mut *output, &answer).map_err(io::Error::from).map_err(DoorError::Output)?;
        output.write_all(b"\n").map_err(DoorError::Output)?;
    }
    Ok(())
}
