//! The official conformance suites against the hub, with the conformance fixture behind it.
//!
//! The suites know the fixture's own names, so they run against the endpoint of that one server.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, time::Duration};

use aih_tests::{Hub, Program, real, tools};
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

/// How a fixture speaks: both eras, or the legacy one only.
type Speaks<'a> = &'a [&'a str];
const BOTH: Speaks<'_> = &[];
const LEGACY: Speaks<'_> = &["--legacy"];

/// A fixture and its URL.
async fn fixture(speaks: Speaks<'_>) -> (Program, String) {
    let mut command = Program::command(&tools::binary("fixture-conformance"));
    command.args(["--port", "0"]).args(speaks);
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
    let hub = Hub::start_open(&real::mcps(&json!([]), &external)).await;
    hub.until_up("conformance").await;
    let endpoint = hub.url("/mcp/conformance");
    (hub, endpoint)
}

/// A suite, and what is known of it.
struct Suite<'a> {
    package: &'a str,
    arguments: &'a [&'a str],
    /// How many checks a conforming server passes.
    passed: usize,
    /// Scenarios or checks that no hub can carry through, each with the reason beside it.
    exempt: &'a [&'a str],
}

impl Suite<'_> {
    /// Runs against the fixture alone and, with a fixture that `speaks` so, through the hub: nothing may be
    /// lost between them.
    async fn compare(&self, speaks: Speaks<'_>) {
        let (_reference, url) = fixture(BOTH).await;
        let alone = run(self.package, &url, self.arguments).await;
        alone.assert_clean("the fixture alone", self.passed);
        let (_fixture, url) = fixture(speaks).await;
        let (_hub, endpoint) = hub_before(&url).await;
        let mut through = run(self.package, &endpoint, self.arguments).await;
        let counts = |(scenario, id): &(String, String)| {
            !self.exempt.contains(&scenario.as_str()) && !self.exempt.contains(&id.as_str())
        };
        through.checks.retain(|key, _| counts(key));
        through.assert_clean("through the hub", 1);
        let successes = |s: &BTreeMap<String, usize>| s.get("SUCCESS").copied().unwrap_or(0);
        let lost: Vec<String> = alone
            .checks
            .iter()
            .filter(|(key, before)| {
                counts(key) && through.checks.get(*key).map_or(0, successes) < successes(before)
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
}

/// The suite of the revisions up to 2025-11-25 that most servers are measured with.
const ACTIVE: Suite<'_> = Suite {
    package: "conformance-0.1",
    arguments: &[],
    passed: 40,
    exempt: &[],
};

/// What revision 2025-11-25 requires.
const OF_2025: Suite<'_> = Suite {
    package: "conformance-0.2",
    arguments: &["--requirements", "2025-11-25"],
    passed: 84,
    // A server that closes a stream in the middle of a call is resumed by the hub itself; the hub's client
    // keeps its own stream, and the suite finds nothing to resume.
    exempt: &["server-sse-disconnect-resume"],
};

/// What revision 2026-07-28 requires.
const OF_2026: Suite<'_> = Suite {
    package: "conformance-0.2",
    arguments: &["--requirements", "2026-07-28"],
    passed: 153,
    exempt: &[],
};

#[tokio::test]
async fn active_suite() {
    ACTIVE.compare(BOTH).await;
}

#[tokio::test]
async fn active_suite_of_a_legacy_server() {
    ACTIVE.compare(LEGACY).await;
}

#[tokio::test]
async fn requirements_of_2025_11_25() {
    OF_2025.compare(BOTH).await;
}

#[tokio::test]
async fn requirements_of_2025_11_25_of_a_legacy_server() {
    OF_2025.compare(LEGACY).await;
}

#[tokio::test]
async fn requirements_of_2026_07_28() {
    OF_2026.compare(BOTH).await;
}

/// The hub makes a server of the legacy era one of the modern era.
#[tokio::test]
async fn requirements_of_2026_07_28_of_a_legacy_server() {
    let bridged = Suite {
        // A legacy server asks one question at a time, and gives it no name of its own.
        exempt: &[
            "input-required-result-basic-elicitation",
            "input-required-result-multiple-input-requests",
            "sep-2322-ignore-unexpected-params",
        ],
        ..OF_2026
    };
    bridged.compare(LEGACY).await;
}
