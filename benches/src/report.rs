//! What a run found, as one table for people and as JSON for comparing runs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cell::{Cell, Numbers};

/// One row: a cell the one or the other way.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was asked for.
    pub work: String,
    /// The protocol's era.
    pub era: &'static str,
    /// How many clients at once.
    pub connections: usize,
    /// `direct`, `relay`, `hub`, or what of a hub: `no hook`, `hook`, `plugin`.
    pub path: &'static str,
    /// What was measured.
    #[serde(flatten)]
    pub numbers: Numbers,
    /// Calls a second, as a share of direct's. Not for direct itself.
    pub ratio: Option<f64>,
    /// Microseconds more than direct at p50. Not for direct itself.
    pub added_p50: Option<f64>,
}

/// A single value: a time or a size.
#[derive(Debug, Clone, Serialize)]
pub struct Value {
    /// What it is.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What it should be below, or above where it is a rate (`/s`), from the project's aims.
    pub aim: Option<f64>,
}

/// What calls of one tool cost in this process, without MCP. Times of calls in microseconds.
#[derive(Debug, Clone, Serialize)]
pub struct SandboxRow {
    /// What the plugin is written in.
    pub language: &'static str,
    /// Bytes of the component.
    pub bytes: usize,
    /// Seconds of its first build from source; none where the language's own compiler builds it.
    pub build: Option<f64>,
    /// Seconds of its compilation for this machine.
    pub compile: f64,
    /// Milliseconds to load it from the cache of compiled code.
    pub load: f64,
    /// Half of the calls, each in a sandbox made for it, took no longer.
    pub fresh_p50: f64,
    /// 95 of 100 of them took no longer.
    pub fresh_p95: f64,
    /// What `fresh_p50` should be below.
    pub aim: f64,
    /// Half of the calls in a sandbox that was used before took no longer.
    pub warm_p50: f64,
    /// 95 of 100 of them took no longer.
    pub warm_p95: f64,
}

/// A whole run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Load cells.
    pub rows: Vec<Row>,
    /// Sandboxes without MCP.
    pub sandboxes: Vec<SandboxRow>,
    /// Memory, start, and other single values.
    pub values: Vec<Value>,
}

impl Report {
    /// Adds a cell's rows.
    pub fn add(&mut self, work: &str, era: &'static str, connections: usize, cell: Cell) {
        let Cell { direct, ways } = cell;
        let row = |path, numbers| Row {
            work: work.to_owned(),
            era,
            connections,
            path,
            numbers,
            ratio: None,
            added_p50: None,
        };
        let (rate, p50) = (direct.calls_per_second, direct.p50);
        self.rows.push(row("direct", direct));
        for (path, numbers) in ways {
            self.rows.push(Row {
                ratio: Some(numbers.calls_per_second / rate),
                added_p50: Some(numbers.p50 - p50),
                ..row(path, numbers)
            });
        }
    }

    /// Adds a single value.
    pub fn value(&mut self, name: impl Into<String>, value: f64, unit: &'static str, aim: Option<f64>) {
        self.values.push(Value {
            name: name.into(),
            value,
            unit,
            aim,
        });
    }

    /// What was measured, as tables in Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        if !self.rows.is_empty() {
            text.push_str(&self.load_table());
        }
        if !self.sandboxes.is_empty() {
            text.push_str("\nIn this process, without MCP:\n\n");
            text.push_str(&self.sandbox_table());
        }
        if !self.values.is_empty() {
            text.push('\n');
            text.push_str(&self.value_table());
        }
        text
    }

    fn sandbox_table(&self) -> String {
        let head = [
            "plugin",
            "size kB",
            "build s",
            "compile s",
            "load ms",
            "fresh p50 µs",
            "p95 µs",
            "aim p50",
            "warm p50 µs",
            "p95 µs",
        ];
        let mut lines = vec![head.map(str::to_owned)];
        lines.extend(self.sandboxes.iter().map(|row| {
            [
                row.language.to_owned(),
                (row.bytes / 1000).to_string(),
                row.build.map(|build| format!("{build:.1}")).unwrap_or_default(),
                format!("{:.2}", row.compile),
                format!("{:.1}", row.load),
                format!("{:.0}", row.fresh_p50),
                format!("{:.0}", row.fresh_p95),
                format!("< {:.0}", row.aim),
                format!("{:.0}", row.warm_p50),
                format!("{:.0}", row.warm_p95),
            ]
        }));
        draw(&lines, &[0])
    }

    fn value_table(&self) -> String {
        let mut lines = vec![["what", "value", "unit", "aim"].map(str::to_owned)];
        lines.extend(self.values.iter().map(|value| {
            [
                value.name.clone(),
                format!("{:.1}", value.value),
                value.unit.to_owned(),
                match value.aim {
                    Some(aim) if value.unit.ends_with("/s") => format!("> {aim:.0}"),
                    Some(aim) => format!("< {aim:.0}"),
                    None => String::new(),
                },
            ]
        }));
        draw(&lines, &[0, 2])
    }

    fn load_table(&self) -> String {
        let mut lines = vec![
            [
                "work",
                "era",
                "connections",
                "path",
                "calls/s",
                "p50 µs",
                "p95 µs",
                "p99 µs",
                "ratio",
                "added p50 µs",
                "its CPU µs",
            ]
            .map(str::to_owned),
        ];
        lines.extend(self.rows.iter().map(|row| {
            let numbers = &row.numbers;
            [
                row.work.clone(),
                row.era.to_owned(),
                row.connections.to_string(),
                row.path.to_owned(),
                format!("{:.0}", numbers.calls_per_second),
                format!("{:.0}", numbers.p50),
                format!("{:.0}", numbers.p95),
                format!("{:.0}", numbers.p99),
                row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
                row.added_p50
                    .map(|added| format!("{added:.0}"))
                    .unwrap_or_default(),
                numbers.cpu.map(|cpu| format!("{cpu:.0}")).unwrap_or_default(),
            ]
        }));
        draw(&lines, &[0, 1, 3])
    }
}

/// The first line is the head; the columns of `words` go to the left, numbers to the right.
fn draw<const N: usize>(lines: &[[String; N]], words: &[usize]) -> String {
    let mut widths = [0; N];
    for line in lines {
        for (width, text) in widths.iter_mut().zip(line) {
            *width = (*width).max(text.chars().count());
        }
    }
    let mut table = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (column, (text, width)) in line.iter().zip(widths).enumerate() {
            // Writing to a String cannot fail.
            let _ = if words.contains(&column) {
                write!(table, "| {text:<width$} ")
            } else {
                write!(table, "| {text:>width$} ")
            };
        }
        table.push_str("|\n");
        if number == 0 {
            for width in widths {
                let _ = write!(table, "|{:-<1$}", "", width + 2);
            }
            table.push_str("|\n");
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_and_added_time_are_relative_to_direct() {
        let numbers = |calls_per_second, p50| Numbers {
            calls: 1,
            calls_per_second,
            p50,
            p95: 1.0,
            p99: 1.0,
            cpu: None,
        };
        let mut report = Report::default();
        report.add(
            "echo",
            "legacy",
            8,
            Cell {
                direct: numbers(1000.0, 100.0),
                ways: vec![("hub", numbers(500.0, 180.0))],
            },
        );
        assert_eq!(report.rows[1].ratio, Some(0.5));
        assert_eq!(report.rows[1].added_p50, Some(80.0));
        let table = report.table();
        let widths: Vec<_> = table.lines().map(|line| line.chars().count()).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{table}");
    }
}
