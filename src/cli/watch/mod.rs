//! `sciembed watch`: a small screen over the journal of a run, here or on another machine that shares the store.

mod screen;
mod state;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::log::find;
use super::print::{say, width};
use super::store::StoreArguments;
use super::{DoorError, Failure};
use crate::error::Exit;
use crate::history::{self, PastRun, runs};
use crate::store::Store;
use state::State;

/// How often the journal is read.
const EVERY: Duration = Duration::from_millis(500);
/// Columns where there is no terminal, and lines, of a frame that is printed.
const FRAME: (u16, u16) = (100, 30);

/// Watch a run: its nodes, how fast they are, what failed, and the last lines of its journal. `q` ends it; the run goes on.
///
/// Without a terminal, or with --once, one frame is printed.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  sciembed watch workflows/quickstart.toml\n  sciembed watch --store /archive/store --run latest"
)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The run: its id, the beginning of it, or `latest`
    #[arg(long, value_name = "RUN", default_value = "latest")]
    run: String,
    /// Print one frame and end
    #[arg(long)]
    once: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let workflow = arguments.store.workflow()?;
    let store = arguments.store.open(workflow.as_ref())?;
    let mut all = runs(&store)?;
    all.retain(|run| workflow.as_ref().is_none_or(|workflow| run.workflow == workflow.graph.name));
    let first = find(&all, &arguments.run)?.clone();
    if arguments.once || !io::stdout().is_terminal() {
        let columns = width().and_then(|columns| u16::try_from(columns).ok()).unwrap_or(FRAME.0);
        say(screen::text(&State::of(&first), (columns, FRAME.1)))?;
        return Ok(Exit::Done);
    }
    let mut terminal = ratatui::try_init().map_err(DoorError::Output)?;
    let watched = watch(&mut terminal, &store, first);
    ratatui::restore();
    watched
}

fn watch(terminal: &mut ratatui::DefaultTerminal, store: &Store, first: PastRun) -> Result<Exit, Failure> {
    let mut run = first;
    let mut read = Instant::now();
    loop {
        let state = State::of(&run);
        terminal.draw(|frame| screen::draw(frame, &state)).map_err(DoorError::Output)?;
        if event::poll(EVERY).map_err(DoorError::Output)?
            && let Event::Key(key) = event::read().map_err(DoorError::Output)?
            && key.kind == KeyEventKind::Press
        {
            let is_interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(Exit::Done);
            }
        }
        if read.elapsed() >= EVERY {
            read = Instant::now();
            run = history::run(store, &run.id)?;
        }
    }
}
