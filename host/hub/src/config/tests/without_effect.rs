//! Keys that this version accepts and does not act on.

use super::*;

/// Keys that the file may hold and that do nothing, each in two spellings, and what its warning says.
const WITHOUT_EFFECT: [(&str, [&str; 2], &str); 5] = [
    (
        "rate_limits",
        ["rate_limits: {}", "rate_limits:\n  per_ip: {requests: 1}"],
        "no request is limited",
    ),
    (
        "audit",
        ["audit: {enabled: false}", "audit:\n  arguments: full"],
        "no call is written down",
    ),
    (
        "cache",
        ["cache: {url: \"redis://h\"}", "cache:\n  url: redis://h:1/2"],
        "each hub keeps its own state, and replicas share nothing",
    ),
    (
        "git",
        ["git: {}", "git:\n  interval: 1m"],
        "no repository is pulled",
    ),
    (
        "auth.oauth",
        [
            "auth: {oauth: {provider: github, client_id: a}}",
            "auth:\n  oauth: {client_id: a, provider: github, allowed_users: [b]}",
        ],
        "nobody can sign in with it",
    ),
];

#[test]
fn each_key_that_does_nothing_gives_one_warning() {
    for (key, texts, consequence) in WITHOUT_EFFECT {
        for text in texts {
            let loaded = load(&format!("version: \"1.0\"\n{text}\n"));
            let text = warnings(&loaded);
            let expected = format!(
                " {key}: `{key}` is accepted and does nothing in this version: {consequence}; \
                 remove it, or keep it for a later version that reads it\n"
            );
            assert!(text.ends_with(&expected), "{text}: {text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
        let last = key.rsplit('.').next().unwrap();
        assert_eq!(
            warnings(&load(
                &format!("version: \"1.0\"\n{last}:\n").replace("oauth:", "auth: {oauth: }")
            )),
            ""
        );
    }
    let loaded = load(include_str!("../testdata/all.yaml"));
    let text = warnings(&loaded);
    assert_eq!(text.matches("does nothing in this version").count(), 5, "{text}");
}

#[test]
fn the_reference_page_and_the_schema_say_which_keys_do_nothing() {
    let (page, schema) = (reference(), schema().to_string());
    for (key, _, consequence) in WITHOUT_EFFECT {
        let row = format!(
            "| `{key}` | map | – | Accepted, and does nothing in this version: {consequence}. Planned: "
        );
        assert!(page.contains(&row), "{row}\n{page}");
        let section =
            format!("**This version accepts these keys and does nothing with them: {consequence}.**");
        let (_, after) = page.split_once(&format!("\n## `{key}`\n")).unwrap();
        assert!(after.trim_start().starts_with(&section), "{key}");
        assert!(
            schema.contains(&format!("does nothing in this version: {consequence}")),
            "{key}"
        );
    }
    let (_, rate) = page.split_once("\n## `rate_limits.per_key`\n").unwrap();
    assert!(
        rate.trim_start().starts_with("**This version accepts these keys"),
        "{rate}"
    );
}
