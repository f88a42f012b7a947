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
        let mut widths: Vec<usize> = titles.iter().map(|title| title.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        let mut head = self.line(&titles, &widths);
        if bold {
            head = format!("\x1b[1m{head}\x1b[0m");
        }
        let rows = self.rows.iter().map(|row| self.line(row, &widths));
        for line in std::iter::once(head).chain(rows) {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{line}");
        }
        text
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (i, ((cell, width), (_, align))) in
            cells.iter().zip(widths).zip(&self.columns).enumerate()
        {
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
