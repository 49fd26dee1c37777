//! `match` of a hook: decides which events it runs on.

use crate::config::{self, matches_pattern};

/// What an event is about, as far as `match` looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject<'a> {
    /// The MCP or plugin.
    pub(crate) server: Option<&'a str>,
    /// The tool, by its server's own name.
    pub(crate) tool: Option<&'a str>,
    /// Other names that the tool has for clients: a pattern may name the tool by any of them.
    pub(crate) also: [Option<&'a str>; 2],
    /// The name of the key.
    pub(crate) key: Option<&'a str>,
}

/// The patterns of one hook.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matcher {
    servers: Patterns,
    tools: Patterns,
    keys: Patterns,
}

impl Matcher {
    /// Compiles `match`.
    pub(crate) fn new(config: &config::HookMatch) -> Self {
        Self {
            servers: Patterns::new(&config.mcps),
            tools: Patterns::new(&config.tools),
            keys: Patterns::new(&config.keys),
        }
    }

    /// Whether the hook runs on such an event. A list that names something matches no event that lacks it.
    pub(crate) fn matches(&self, subject: Subject<'_>) -> bool {
        let also = || {
            let mut names = subject.also.into_iter().flatten();
            names.any(|name| self.tools.match_(Some(name)))
        };
        self.matches_but_tool(subject) && (self.tools.match_(subject.tool) || also())
    }

    /// The same without a look at the tool, whose name costs a look into the call.
    pub(crate) fn matches_but_tool(&self, subject: Subject<'_>) -> bool {
        self.servers.match_(subject.server) && self.keys.match_(subject.key)
    }
}

/// A list of patterns; an empty one matches everything.
#[derive(Clone, Debug, Default)]
struct Patterns(Box<[Pattern]>);

#[derive(Clone, Debug)]
enum Pattern {
    Exact(Box<str>),
    /// Holds a `*`.
    Wild(Box<str>),
}

impl Patterns {
    fn new(patterns: &[String]) -> Self {
        // A lone `*` asks for nothing but that there is something.
        let compile = |pattern: &String| match pattern.contains('*') {
            true => Pattern::Wild(pattern.as_str().into()),
            false => Pattern::Exact(pattern.as_str().into()),
        };
        Self(patterns.iter().map(compile).collect())
    }

    fn match_(&self, text: Option<&str>) -> bool {
        self.0.is_empty()
            || text.is_some_and(|text| {
                self.0.iter().any(|pattern| match pattern {
                    Pattern::Exact(exact) => **exact == *text,
                    Pattern::Wild(wild) => matches_pattern(wild, text),
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matcher(mcps: &[&str], tools: &[&str], keys: &[&str]) -> Matcher {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Matcher::new(&config::HookMatch {
            mcps: owned(mcps),
            tools: owned(tools),
            keys: owned(keys),
        })
    }

    const CALL: Subject<'_> = Subject {
        server: Some("github"),
        tool: Some("create_issue"),
        also: [None, None],
        key: Some("cursor"),
    };

    #[test]
    fn all_lists_must_match_and_an_empty_one_does() {
        assert!(matcher(&[], &[], &[]).matches(CALL));
        assert!(matcher(&["git*"], &["*_issue", "x"], &["cursor"]).matches(CALL));
        assert!(!matcher(&["git*"], &["delete_*"], &[]).matches(CALL));
        assert!(!matcher(&[], &[], &["claude"]).matches(CALL));
        assert!(matcher(&["git*"], &["delete_*"], &[]).matches_but_tool(CALL));
        assert!(!matcher(&["x"], &[], &[]).matches_but_tool(CALL));
    }

    #[test]
    fn a_tool_is_named_by_any_of_its_names() {
        let renamed = Subject {
            also: [Some("new_ticket"), Some("ticket")],
            ..CALL
        };
        for pattern in ["create_issue", "new_*", "ticket"] {
            assert!(matcher(&[], &[pattern], &[]).matches(renamed), "{pattern}");
            assert!(
                !matcher(&["other"], &[pattern], &[]).matches(renamed),
                "{pattern}"
            );
        }
        assert!(!matcher(&[], &["delete_*"], &[]).matches(renamed));
    }

    #[test]
    fn what_an_event_lacks_matches_no_pattern() {
        let nothing = Subject::default();
        assert!(matcher(&[], &[], &[]).matches(nothing));
        assert!(!matcher(&["*"], &[], &[]).matches(nothing));
        assert!(!matcher(&[], &[], &["*"]).matches(nothing));
    }

    proptest! {
        #[test]
        fn compiled_patterns_say_what_plain_ones_say(pattern in "[ab*]{0,6}", text in "[ab]{0,6}") {
            let subject = Subject { tool: Some(&text), ..Subject::default() };
            let compiled = matcher(&[], &[&pattern], &[]).matches(subject);
            prop_assert_eq!(compiled, matches_pattern(&pattern, &text));
        }
    }
}
