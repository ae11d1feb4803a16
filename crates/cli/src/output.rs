//! What goes to stdout.

use crate::failure::Failure;
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal, Write};

/// How an answer is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: the API's own object, with the field names of its contract.
    Json,
}

/// An answer that has a form for people.
pub(crate) trait Human {
    /// One or more whole lines.
    fn human(&self) -> String;
}

/// Shows an answer in the form that was asked for.
pub(crate) fn show<T: Human + Serialize>(format: Format, answer: &T) -> Result<(), Failure> {
    match format {
        Format::Table => print(&answer.human()),
        Format::Json => {
            let text = serde_json::to_string_pretty(answer)
                .map_err(|error| Failure::failed(format_args!("cannot write the answer as JSON: {error}")))?;
            print(&text)
        }
    }
}

/// Writes whole lines to stdout. A reader that went away (`evenkeel moves | head -1`) has what it wanted: that is
/// not a failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.write_all(end.as_bytes()))
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::failed(format_args!("cannot write to stdout: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// A column of a table.
pub(crate) enum Column {
    /// Words: aligned to the left.
    Text(&'static str),
    /// Numbers: aligned to the right.
    Number(&'static str),
}

/// A table of columns and rows: with lines on a terminal, plain for a pipe.
pub(crate) fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let terminal = std::io::stdout().is_terminal();
    let mut table = Table::new();
    table.load_style(if terminal { presets::UTF8_FULL_CONDENSED } else { presets::NOTHING });
    table.set_header(columns.iter().map(|column| match column {
        Column::Text(name) => Cell::new(name),
        Column::Number(name) => Cell::new(name).set_alignment(CellAlignment::Right),
    }));
    for row in rows {
        assert_eq!(row.len(), columns.len(), "a row has a cell for each column");
        table.add_row(row.into_iter().zip(columns).map(|(text, column)| match column {
            Column::Text(_) => Cell::new(text),
            Column::Number(_) => Cell::new(text).set_alignment(CellAlignment::Right),
        }));
    }
    if !terminal {
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
    }
    table.trim_fmt()
}

/// `1 finding`, `2 findings`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
