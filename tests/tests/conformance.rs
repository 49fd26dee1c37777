//! The official conformance suites against the hub, with the conformance fixture behind it.
//!
//! The suites know the fixture's own names, so they run against the endpoint of that one server.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, time::Duration};

use aih_tests::{Hub, Program, config, real, tools};
use serde_json::{Value, json};

/// How one run went: for each scenario and check, how often each status came.
type Checks = BTreeMap<(String, String), BTreeMap<String, usize>>;

struct Report {
    checks: Checks,
    /// What the suite said about each check that did not succeed.
    complaints: Vec<String>,
    /// Scenarios that the suite runs but that do not count for the revision: extensions.
    unscored: Vec<String>,
    output: String,
}

impl Report {
    /// How many checks that count for the revision ended so.
    fn count(&self, status: &str) -> usize {
        self.checks
            .iter()
            .filter(|((scenario, _), _)| !self.unscored.contains(scenario))
            .filter_map(|(_, statuses)| statuses.get(status))
            .sum()
    }

    /// Asserts that nothing failed and that at least `passed` checks succeeded.
    fn assert_clean(&self, what: &str, passed: usize) {
        assert!(
            self.count("FAILURE") == 0 && self.count("SUCCESS") >= passed,
            "{what}: {} passed (at least {passed} expected), {} failed:\n{}\n{}",
            self.count("SUCCESS"),
            self.count("FAILURE"),
            self.complaints.join("\n"),
            summary(&self.output),
        );
    }
}

fn summary(output: &str) -> &str {
    output.rsplit("=== SUMMARY ===").next().unwrap_or(output)
}

/// Runs one suite against `url`; `suite` is the Node package.
async fn run(suite: &str, url: &str, arguments: &[&str]) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Program::command(&tools::node());
    command
        .arg(tools::node_module(&format!("{suite}/dist/index.js")))
        .args(["server", "--url", url, "--output-dir"])
        .arg(folder.path())
        .args(arguments);
    let output = Program::run(suite, command, Duration::from_secs(170)).await;
    // `  ✗ tasks-lifecycle (extension)`
    let unscored = output
        .text
        .lines()
        .filter_map(|line| line.trim().strip_suffix(" (extension)"));
    let unscored = unscored.filter_map(|line| line.split_whitespace().last());
    let mut report = Report {
        checks: Checks::new(),
        complaints: Vec::new(),
        unscored: unscored.map(str::to_owned).collect(),
        output: output.text,
    };
    for scenario in std::fs::read_dir(folder.path()).unwrap() {
        let scenario = scenario.unwrap();
        let name = scenario.file_name().into_string().unwrap();
        // server-NAME-2026-01-31T12-00-00-000Z
        let name = name.strip_prefix("server-").unwrap_or(&name);
        let name = name.get(..name.len().saturating_sub(25)).unwrap_or(name);
        let text = std::fs::read_to_string(scenario.path().join("checks.json")).unwrap();
        for check in serde_json::from_str::<Vec<Value>>(&text).unwrap() {
            let member = |m: &str| {
                check
                    .get(m)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let (id, status) = (member("id"), member("status"));
            if status == "FAILURE" || status == "WARNING" {
                report
                    .complaints
                    .push(format!("{status} {name}: {id}: {}", member("errorMessage")));
            }
            let statuses = report.checks.entry((name.to_owned(), id)).or_default();
            *statuses.entry(status).or_default() += 1;
        }
    }
    assert!(
        !report.checks.is_empty(),
        "{suite} checked nothing:\n{}",
        report.output
    );
    report
}

/// The fixture and its URL.
async fn fixture() -> (Program, String) {
    let mut command = Program::command(&tools::binary("fixture-conformance"));
    command.args(["--port", "0"]);
    let program = Program::spawn("fixture-conformance", command);
    let line = program.wait_for_line("http://").await;
    let url = line
        .split_whitespace()
        .find(|w| w.starts_with("http://"))
        .unwrap();
    let url = url.to_owned();
    (program, url)
}

/// An open hub with the fixture behind it, and the endpoint of that fixture.
async fn hub_before(url: &str) -> (Hub, String) {
    let external = json!([{"name": "conformance", "url": url}]);
    let hub = Hub::start_open(&config(&real::mcps(&json!([]), &external))).await;
    hub.until_up("conformance").await;
    let endpoint = hub.url("/mcp/conformance");
    (hub, endpoint)
}

/// Runs a suite against the fixture alone and through the hub: nothing may be lost between them.
async fn compare(suite: &str, arguments: &[&str], passed: usize) {
    let (_fixture, url) = fixture().await;
    let alone = run(suite, &url, arguments).await;
    alone.assert_clean("the fixture alone", passed);
    let (_hub, endpoint) = hub_before(&url).await;
    let through = run(suite, &endpoint, arguments).await;
    through.assert_clean("through the hub", passed);
    let lost: Vec<String> = alone
        .checks
        .iter()
        .filter(|(key, statuses)| {
            let good =
                |s: Option<&BTreeMap<String, usize>>| s.and_then(|s| s.get("SUCCESS")).copied().unwrap_or(0);
            good(through.checks.get(key)) < good(Some(statuses))
        })
        .map(|((scenario, id), before)| {
            let after = through.checks.get(&(scenario.clone(), id.clone()));
            format!("{scenario}: {id}: alone {before:?}, through the hub {after:?}")
        })
        .collect();
    assert!(
        lost.is_empty(),
        "lost on the way through the hub:\n{}\n{}\n{}",
        lost.join("\n"),
        through.complaints.join("\n"),
        summary(&through.output)
    );
}

/// The suite of the revisions up to 2025-11-25 that most servers are measured with.
#[tokio::test]
async fn active_suite_of_0_1() {
    compare("conformance-0.1", &[], 40).await;
}

/// What revision 2025-11-25 requires.
#[tokio::test]
async fn requirements_of_2025_11_25() {
    compare("conformance-0.2", &["--requirements", "2025-11-25"], 84).await;
}

/// What revision 2026-07-28 requires.
#[tokio::test]
async fn requirements_of_2026_07_28() {
    compare("conformance-0.2", &["--requirements", "2026-07-28"], 125).await;
}
