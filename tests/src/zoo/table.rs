//! The tables of `docs/clients.md`: they stand between two comments, and the rest of the page stays.

use std::{fs, path::Path};

use super::{
    checks::{self, Check, Outcome},
    compare::{self, Tally},
    direct::Era,
};

/// The comments around a table.
fn marks(name: &str) -> (String, String) {
    (
        format!("<!-- zoo: {name} -->"),
        format!("<!-- zoo: end of {name} -->"),
    )
}

/// Writes both tables into `file`.
pub(crate) fn write(file: &Path, clients: &[checks::Row], servers: &[compare::Row]) {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("cannot read {}: {e}", file.display()));
    let text = replaced(&text, "clients", &table_of_clients(clients));
    let text = replaced(&text, "servers", &table_of_servers(servers));
    fs::write(file, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", file.display()));
}

fn replaced(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = marks(name);
    let (before, rest) = text
        .split_once(&begin)
        .unwrap_or_else(|| panic!("the page has no `{begin}`"));
    let (_, after) = rest
        .split_once(&end)
        .unwrap_or_else(|| panic!("the page has no `{end}`"));
    format!("{before}{begin}\n\n{table}\n{end}{after}")
}

/// When the tables were made.
fn seen() -> String {
    format!("Seen on {}.", jiff::Zoned::now().date())
}

fn table_of_clients(rows: &[checks::Row]) -> String {
    let mut table = format!("{}\n\n| client | package |", seen());
    for check in Check::ALL {
        table.push_str(&format!(" {} |", check.title()));
    }
    table.push_str("\n|");
    table.push_str(&" --- |".repeat(2 + Check::ALL.len()));
    for row in rows {
        table.push_str(&format!(
            "\n| {} | `{}` {} |",
            row.title, row.package, row.version
        ));
        for check in Check::ALL {
            let outcome = row.cells.iter().find(|(found, _)| *found == check);
            let text = outcome.map_or_else(|| "–".to_owned(), |(_, outcome)| cell(outcome));
            table.push_str(&format!(" {text} |"));
        }
    }
    table.push('\n');
    table
}

fn cell(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Good(text) => text.clone(),
        Outcome::Limit(text) => format!("{text} (client)"),
        Outcome::Open(text) | Outcome::Bad(text) => format!("**{text}**"),
    }
}

fn table_of_servers(rows: &[compare::Row]) -> String {
    let head = "| server | revisions | tools | prompts | resources | templates | greetings equal | lists equal | calls equal |";
    let columns = head.matches('|').count() - 1;
    let mut table = format!("{}\n\n{head}\n|{}", seen(), " --- |".repeat(columns));
    for row in rows {
        let revision = |era: &Era| match era {
            Era::Legacy => row.revision.as_str(),
            Era::Modern => "2026-07-28",
        };
        let revisions: Vec<&str> = row.eras.iter().map(revision).collect();
        table.push_str(&format!(
            "\n| `{}` {} | {} |",
            row.package,
            row.version,
            revisions.join(", ")
        ));
        for at in 0..4 {
            let count = row
                .counts
                .get(at)
                .map_or_else(|| "–".to_owned(), usize::to_string);
            table.push_str(&format!(" {count} |"));
        }
        for tally in [row.greetings, row.lists, row.calls] {
            table.push_str(&format!(" {} |", equal(tally)));
        }
    }
    table.push('\n');
    table
}

fn equal(tally: Tally) -> String {
    match tally.is_good() {
        true => tally.to_string(),
        false => format!("**{tally}**"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_replaced_and_the_rest_of_the_page_stays() {
        let page = "before\n<!-- zoo: x -->\nold\n<!-- zoo: end of x -->\nafter";
        let once = replaced(page, "x", "| new |\n");
        assert_eq!(
            once,
            "before\n<!-- zoo: x -->\n\n| new |\n\n<!-- zoo: end of x -->\nafter"
        );
        assert_eq!(replaced(&once, "x", "| new |\n"), once);
    }

    #[test]
    fn the_page_has_a_place_for_both_tables() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients.md");
        let page = fs::read_to_string(page).unwrap();
        for name in ["clients", "servers"] {
            assert!(replaced(&page, name, "| new |").contains("| new |"));
        }
    }
}
