//! Aligned tables for people.

use std::fmt::Write;

pub enum Align {
    Left,
    Right,
}

pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: impl IntoIterator<Item = (&'static str, Align)>) -> Table {
        Table { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// A row has a cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The text, with titles in bold if `bold` says so.
    pub fn render(&self, bold: bool) -> String {
        let titles: Vec<String> = self.columns.iter().map(|(title, _)| (*title).into()).collect();
        let mut text = String::new();
        let mut head = self.line(&titles);
        if bold {
            head = format!("\x1b[1m{head}\x1b[0m");
        }
        for line in std::iter::once(head).chain(self.rows.iter().map(|row| self.line(row))) {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{line}");
        }
        text
    }

    fn line(&self, cells: &[String]) -> String {
        let mut line = String::new();
        for (i, (cell, (title, align))) in cells.iter().zip(&self.columns).enumerate() {
            let widths = self.rows.iter().filter_map(|row| row.get(i)).map(|c| c.chars().count());
            let width = widths.fold(title.chars().count(), usize::max);
            let gap = if i == 0 { "" } else { "  " };
            let _ = match align {
                Align::Left => write!(line, "{gap}{cell:width$}"),
                Align::Right => write!(line, "{gap}{cell:>width$}"),
            };
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_numbers_right_and_nothing_trails() {
        let mut table =
            Table::new([("NAME", Align::Left), ("COUNT", Align::Right), ("WHAT", Align::Left)]);
        assert_eq!(table.render(false), "NAME  COUNT  WHAT\n");
        table.row(["é".into(), "7".into(), "x".into()]);
        table.row(["longer".into(), "1234567".into(), String::new()]);
        let expected = "NAME      COUNT  WHAT\né             7  x\nlonger  1234567\n";
        assert_eq!(table.render(false), expected);
        assert!(table.render(true).starts_with("\x1b[1mNAME      COUNT  WHAT\x1b[0m\né"));
    }
}
