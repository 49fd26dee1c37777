//! What of a configured value is secret: the value itself, and parts of it that others write alone.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use url::Url;

/// Characters that a secret has at least. Shorter ones stand in other texts by chance.
pub(super) const SHORTEST: usize = 8;
/// Characters of one line of a secret of several lines that is looked for alone.
const LINE: usize = 16;

/// Which texts a value is kept out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Out of the hub's own texts: errors, logs, health, the registry. For values that set something up and open
    /// nothing, such as a path or a host name: answers that hold them must stay usable.
    OwnTexts,
    /// Out of those and out of everything that servers, plugins and hooks send to clients.
    Everything,
}

/// How far the value of the variable `name` is kept out.
pub(super) fn reach(name: &str, value: &str) -> Reach {
    match is_setting(value) && !names_secret(name) {
        true => Reach::OwnTexts,
        false => Reach::Everything,
    }
}

/// Whether a value that the configuration holds as it is, under the key `name`, is a secret.
pub fn is_written_secret(name: &str, value: &str) -> bool {
    let is_path = value.starts_with(['/', '.', '~']);
    if names_secret(name) {
        return !(is_path && Path::new(value).exists());
    }
    // What is secret in an address is found by itself.
    !is_path && !value.contains("://") && !is_setting(value) && is_random(value)
}

/// Whether `name` is one that secrets have, such as `GITHUB_TOKEN`, `apiKey` or `X-Auth`.
pub fn names_secret(name: &str) -> bool {
    const WORDS: [&str; 22] = [
        "auth",
        "authorization",
        "bearer",
        "cookie",
        "credential",
        "credentials",
        "dsn",
        "jwt",
        "key",
        "keys",
        "pass",
        "passphrase",
        "passwd",
        "pat",
        "pin",
        "private",
        "pw",
        "pwd",
        "session",
        "sid",
        "sig",
        "signature",
    ];
    const PARTS: [&str; 4] = ["token", "secret", "password", "apikey"];
    let lower = name.to_ascii_lowercase();
    PARTS.iter().any(|part| lower.contains(part)) || words(name).any(|word| WORDS.contains(&&*word))
}

/// The words of a name in any common spelling, in small letters.
fn words(name: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::with_capacity(name.len() + 8);
    let mut after_small = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && after_small {
            spaced.push(' ');
        }
        after_small = c.is_ascii_lowercase() || c.is_ascii_digit();
        spaced.push(if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            ' '
        });
    }
    spaced
        .split_ascii_whitespace()
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
}

/// Whether a value evidently sets something up and opens nothing: a path that is there, an origin, an address of a
/// host or of mail, a number, or one word.
fn is_setting(value: &str) -> bool {
    if value.parse::<IpAddr>().is_ok() || value.parse::<SocketAddr>().is_ok() {
        return true;
    }
    if value.starts_with('/') {
        return Path::new(value).exists();
    }
    if value.contains("://") {
        return Url::parse(value).is_ok_and(|url| {
            url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
                && url.path().trim_matches('/').is_empty()
        });
    }
    let host = value.rsplit_once('@').map_or(value, |(_, host)| host);
    let (host, port) = host.rsplit_once(':').unwrap_or((host, ""));
    is_host_name(host) && port.bytes().all(|b| b.is_ascii_digit())
        || value.bytes().all(|b| b.is_ascii_lowercase())
        || value.bytes().all(|b| b.is_ascii_digit()) && value.len() < 16
}

/// Names with dots in small letters, as `api.example.com`.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.rsplit_once('.').is_some_and(|(rest, top)| {
        top.len() >= 2 && top.bytes().all(|b| b.is_ascii_lowercase()) && rest.split('.').all(label)
    })
}

/// Whether a text looks like one that a program made up: a run of sixteen letters and digits in a mixture.
fn is_random(value: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '=');
    value.split(|c| !token(c)).any(|run| {
        let digits = run.bytes().filter(u8::is_ascii_digit).count();
        let letters = run.bytes().filter(u8::is_ascii_alphabetic).count();
        run.len() >= LINE && digits >= 3 && letters >= 3
    })
}

/// The texts of `value` that are looked for.
pub(super) fn texts(value: &str) -> Vec<String> {
    let mut texts = Vec::new();
    gather(value, &mut texts, 0);
    texts.retain(|text| text.chars().count() >= SHORTEST);
    texts.sort_unstable();
    texts.dedup();
    texts
}

fn gather(value: &str, texts: &mut Vec<String>, depth: usize) {
    let value = value.trim();
    texts.push(value.to_owned());
    if let Ok(serde_json::Value::Object(object)) = serde_json::from_str(value) {
        // Such as the key file of a service account.
        for (name, value) in &object {
            match value {
                serde_json::Value::String(text) if depth < 4 && is_written_secret(name, text) => {
                    gather(text, texts, depth + 1);
                }
                _ => {}
            }
        }
        return;
    }
    if value.contains('\n') {
        let lines = value.lines().map(str::trim);
        let lines = lines.filter(|line| line.chars().count() >= LINE && !line.starts_with("-----"));
        texts.extend(lines.map(str::to_owned));
        return;
    }
    of_url(value, texts);
    // `Bearer TOKEN`.
    if let Some((scheme, rest)) = value.split_once(' ')
        && scheme.bytes().all(|b| b.is_ascii_alphabetic())
        && !rest.contains(' ')
    {
        texts.push(rest.to_owned());
    }
}

/// The credentials in an address: user and password, and what looks like a key in its path and its query.
fn of_url(value: &str, texts: &mut Vec<String>) {
    let Some(url) = value.contains("://").then(|| Url::parse(value).ok()).flatten() else {
        return;
    };
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let user = decode(url.username());
    match url.password() {
        Some(password) => {
            let password = decode(password);
            // As Basic credentials, also where neither is long enough alone.
            texts.push(format!("{user}:{password}"));
            texts.push(password);
        }
        None => texts.push(user),
    }
    for (name, value) in url.query_pairs() {
        if is_written_secret(&name, &value) {
            texts.push(value.into_owned());
        }
    }
    let segments = url.path_segments().into_iter().flatten();
    texts.extend(segments.map(decode).filter(|segment| is_random(segment)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in [
            "GITHUB_TOKEN",
            "apiKey",
            "X-Api-Key",
            "DB_PASS",
            "Authorization",
            "sshPrivateKey",
            "PGPASSWORD",
            "key",
        ] {
            assert!(names_secret(name), "{name}");
        }
        for name in [
            "GIT_AUTHOR_NAME",
            "MONKEY",
            "KEYBOARD",
            "PATTERN",
            "COMPASS_URL",
            "NODE_ENV",
        ] {
            assert!(!names_secret(name), "{name}");
        }
    }

    #[test]
    fn settings_stay_in_answers() {
        for value in [
            "/usr/bin",
            "https://jira.example.com/",
            "http://localhost:8080",
            "me@example.com",
            "api.example.com",
            "db.internal.test:5432",
            "127.0.0.1:8080",
            "production",
            "12345678",
        ] {
            assert_eq!(reach("SOMETHING", value), Reach::OwnTexts, "{value}");
            assert_eq!(reach("MY_PASSWORD", value), Reach::Everything, "{value}");
            assert!(!is_written_secret("SOMETHING", value), "{value}");
        }
        for value in [
            "/nowhere/s3cret-folder",
            "https://user:pw@example.com",
            "https://hooks.example.com/services/T0/B0/x",
            "ghp_0123456789abcdef",
            "correct-horse-battery",
            "eyJhbGciOiJIUzI1NiJ9.e30.abc",
            "Sup3rS3cret",
            "4111111111111111",
        ] {
            assert_eq!(reach("SOMETHING", value), Reach::Everything, "{value}");
        }
    }

    #[test]
    fn written_values_are_secret_by_their_name_or_their_look() {
        for value in [
            "gpt-4o-mini",
            "-y",
            "@scope/server-github@2025.4.8",
            "eu-central-1",
            "My Project",
        ] {
            assert!(!is_written_secret("MODEL", value), "{value}");
        }
        for value in [
            "http://127.0.0.1:41234/stateful/leaky-2026",
            "/opt/server-2026/bin/run99",
            "./bin/server-2026-01",
        ] {
            assert!(!is_written_secret("url", value), "{value}");
        }
        assert!(is_written_secret("TOKEN", "simple"));
        assert!(is_written_secret("X", "sk-proj-8d7f6a5b4c3d2e1f"));
    }

    #[test]
    fn parts_that_stand_alone() {
        let has = |value: &str, part: &str| texts(value).iter().any(|text| text == part);
        assert!(has("https://me:p%40ssword1@h.test/", "p@ssword1"));
        assert!(has("https://me:short@h.test/", "me:short"));
        assert!(has("https://tok-en-alone@h.test/", "tok-en-alone"));
        assert!(has(
            "https://h.test/mcp?api_key=abcdefgh&page=12345678",
            "abcdefgh"
        ));
        assert!(!has(
            "https://h.test/mcp?api_key=abcdefgh&page=12345678",
            "12345678"
        ));
        assert!(has(
            "https://h.test/s/0123456789abcdef0123/mcp",
            "0123456789abcdef0123"
        ));
        assert!(has("Bearer abcdefgh", "abcdefgh"));
        assert!(!has("two words and more", "and more"));
        let pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nshort\n-----END PRIVATE KEY-----\n";
        assert!(has(pem, pem.trim()) && has(pem, "MIIEvQIBADANBgkqhkiG9w0B"));
        assert!(!has(pem, "-----BEGIN PRIVATE KEY-----") && !has(pem, "short"));
        let account = serde_json::json!({ "type": "service_account", "private_key": pem }).to_string();
        assert!(has(&account, "MIIEvQIBADANBgkqhkiG9w0B") && !has(&account, "service_account"));
        assert_eq!(texts("1234567"), Vec::<String>::new());
        assert_eq!(
            texts("\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}"),
            Vec::<String>::new()
        );
        assert!(has(
            " \u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\n",
            "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}"
        ));
    }
}
