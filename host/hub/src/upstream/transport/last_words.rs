//! What a process wrote for people last: the reason that they read when it ends, or when it does not answer.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use super::http_client::excerpt;

/// Lines that are kept.
const LINES: usize = 5;

/// See the module.
#[derive(Default)]
pub(super) struct LastWords(Mutex<VecDeque<String>>);

impl LastWords {
    /// Takes a line without its end. A line that says nothing of the reason, such as one of a stack trace, is left out.
    pub(super) fn push(&self, line: &str) {
        let line = line.trim_end();
        if says_nothing(line) {
            return;
        }
        // Every change under the lock is one call: a panic cannot leave it half-done.
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(excerpt(line.trim_start().as_bytes()));
    }

    /// The lines in one; empty where there are none.
    pub(super) fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }
}

/// Whether a line is part of a stack trace of Node.js, Python or Java, or a notice of npm.
fn says_nothing(line: &str) -> bool {
    let text = line.trim_start();
    let in_place = |text: &str| text.ends_with(')') || text.ends_with(|c: char| c.is_ascii_digit());
    text.is_empty()
        || text.chars().all(|c| matches!(c, '^' | '~' | ' '))
        || text.starts_with("at ") && text != line && in_place(text.trim_end_matches(" {"))
        || text.starts_with("File \"") && text.contains(", line ")
        || text.starts_with("node:internal/")
        || text.starts_with("throw ")
        || text.starts_with("Node.js v")
        || text.starts_with("Traceback (most recent call last)")
        || text.starts_with("npm notice")
        || text.starts_with("npm error A complete log of this run can be found in")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(output: &str) -> String {
        let words = LastWords::default();
        for line in output.lines() {
            words.push(line);
        }
        words.text()
    }

    #[test]
    fn the_reason_is_kept_and_the_way_to_it_is_not() {
        let node = r#"node:internal/modules/cjs/loader:1404
  throw err;
  ^

Error: Cannot find module '/srv/index.js'
    at Module._resolveFilename (node:internal/modules/cjs/loader:1401:15)
    at async Promise.all (index 0)
    at node:internal/main/run_main_module:36:49 {
  code: 'MODULE_NOT_FOUND',
  requireStack: []
}

Node.js v22.20.0"#;
        assert_eq!(
            last(node),
            "Error: Cannot find module '/srv/index.js' | code: 'MODULE_NOT_FOUND', | requireStack: [] | }"
        );
        let python = "starting\nTraceback (most recent call last):\n  File \"/srv/a.py\", line 3, in <module>\n    \
                      ~~~~^^^^\nModuleNotFoundError: No module named 'mcp'\n";
        assert_eq!(
            last(python),
            "starting | ModuleNotFoundError: No module named 'mcp'"
        );
        let npm = "npm error code E404\nnpm error 404 Not Found - GET https://r.test/x\nnpm notice\nnpm notice New major \
                   version\nnpm error A complete log of this run can be found in: /home/me/.npm/_logs/1.log\n";
        assert_eq!(
            last(npm),
            "npm error code E404 | npm error 404 Not Found - GET https://r.test/x"
        );
    }

    #[test]
    fn words_that_look_like_a_place_are_words() {
        assert_eq!(last("at 10:00 (noon)\n"), "at 10:00 (noon)");
        assert_eq!(last("1\n2\n3\n4\n5\n6\n"), "2 | 3 | 4 | 5 | 6");
        assert_eq!(last("\n \n"), "");
    }
}
