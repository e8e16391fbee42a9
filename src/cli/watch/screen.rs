//! How a run is drawn: its head, a line for each node, what failed, and the tail of its journal.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, Widget};

use super::state::{Node, State};

/// Draws a frame on a terminal.
pub fn draw(frame: &mut Frame, state: &State) {
    let area = frame.area();
    render(state, true, area, frame.buffer_mut());
}

/// A frame as lines, without colours.
pub fn text(state: &State, (width, height): (u16, u16)) -> String {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    render(state, false, area, &mut buffer);
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

fn render(state: &State, is_live: bool, area: Rect, buffer: &mut Buffer) {
    let nodes = u16::try_from(state.nodes.len()).unwrap_or(u16::MAX).saturating_add(2);
    let failed =
        if state.failed.is_empty() { 0 } else { u16::try_from(state.failed.len() + 1).unwrap_or(u16::MAX).min(6) };
    let parts = [Constraint::Length(2), Constraint::Length(nodes), Constraint::Length(failed), Constraint::Min(3)];
    let [head, table, failures, journal] = Layout::vertical(parts).areas(area);
    render_head(state, is_live, head, buffer);
    render_nodes(&state.nodes, table, buffer);
    render_failures(&state.failed, failures, buffer);
    render_journal(&state.lines, journal, buffer);
}

/// A line that is as wide as the screen at most, and says where it was cut: half a number would be another one.
fn fitted(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    let short: String = line.chars().take(columns.saturating_sub(1)).collect();
    let whole = short.rfind(' ').map_or("", |at| &short[..at]);
    format!("{whole} …")
}

fn render_head(state: &State, is_live: bool, area: Rect, buffer: &mut Buffer) {
    let minutes = (state.seconds / 60.0).floor();
    let time = format!("{minutes:.0}:{:02.0}", (state.seconds - minutes * 60.0).floor());
    let head = Line::from(vec![
        Span::styled(state.title.clone(), Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!("   {time}   {}{}", state.state, if is_live { "   q ends the watch" } else { "" })),
    ]);
    Paragraph::new(head).render(area, buffer);
}

fn render_nodes(nodes: &[Node], area: Rect, buffer: &mut Buffer) {
    let dim = Style::new().add_modifier(Modifier::DIM);
    let head = Row::new(["node", "running", "done", "failed", "rows", "rows/s"]).style(dim);
    let rows = nodes.iter().map(|node| {
        let of =
            if node.total > node.rows { format!("{} of {}", node.rows, node.total) } else { node.rows.to_string() };
        let failed = Cell::from(node.failed.to_string());
        let failed = if node.failed > 0 { failed.style(Style::new().fg(Color::Red)) } else { failed };
        Row::new(vec![
            Cell::from(node.name.clone()),
            Cell::from(node.running.to_string()),
            Cell::from(node.done.to_string()),
            failed,
            Cell::from(of),
            Cell::from(node.rate.map_or_else(String::new, |rate| format!("{rate:.0}"))),
        ])
    });
    let widths = [
        Constraint::Min(20),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Length(22),
        Constraint::Length(8),
    ];
    Widget::render(Table::new(rows, widths).header(head), area, buffer);
}

fn render_failures(failed: &[(String, String)], area: Rect, buffer: &mut Buffer) {
    let line = |(step, why): &(String, String)| {
        let told = fitted(&format!("{step} failed: {why}"), area.width.into());
        Line::styled(told, Style::new().fg(Color::Red))
    };
    Paragraph::new(failed.iter().map(line).collect::<Vec<_>>()).render(area, buffer);
}

fn render_journal(lines: &[String], area: Rect, buffer: &mut Buffer) {
    let block = Block::new().borders(Borders::TOP).title(" journal ");
    let inner = block.inner(area);
    let tail = &lines[lines.len().saturating_sub(usize::from(inner.height))..];
    let tail: Vec<Line> = tail.iter().map(|line| Line::raw(fitted(line, inner.width.into()))).collect();
    Paragraph::new(tail).block(block).render(area, buffer);
}
