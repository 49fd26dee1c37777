//! `server`, `store`, `cache`, `auth`, `rate_limits`, `audit`, `git`.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::{Reader, secret};
use crate::access::{Compat, KeyHash};
use crate::config::cursor::At;
use crate::config::forms::{
    CACHE_URL, GIT_URL, HTTP_URL, LISTEN, STORE_URL, VALUE, host, http_url, listen, network, origin,
};
use crate::config::model::{
    ApiKey, Audit, AuditArguments, Auth, Cache, EntryState, Git, OAuth, OAuthProvider, Rate, RateLimits,
    RateRule, Server, Store, Text, Tls,
};
use crate::names::NameLimit;

/// The words of `compat`.
const COMPAT: &[(&str, Compat)] = &[("auto", Compat::Auto), ("off", Compat::Off)];
/// `server.listen` when the file says none.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8787);
/// `server.conversation_timeout` when the file says none.
const CONVERSATION_TIMEOUT: Duration = Duration::from_secs(900);
/// `server.first_list_wait` when the file says none.
const FIRST_LIST_WAIT: Duration = Duration::from_secs(10);
/// `audit.keep` when the file says none: 90 days.
const AUDIT_KEEP: Duration = Duration::from_secs(90 * 86_400);
/// `per` of a rate when the file says none.
const RATE_PER: Duration = Duration::from_secs(60);

impl Reader<'_> {
    pub(super) fn server(&mut self, at: Option<&At<'_>>) -> Server {
        let Some(at) = at else {
            return Server {
                listen: LISTEN_DEFAULT,
                public_url: None,
                tls: None,
                allowed_hosts: Vec::new(),
                allowed_origins: Vec::new(),
                ip_allowlist: Vec::new(),
                conversation_timeout: CONVERSATION_TIMEOUT,
                first_list_wait: FIRST_LIST_WAIT,
                max_tool_name: NameLimit::DEFAULT,
                compat: Compat::Auto,
            };
        };
        let address = at
            .get("listen")
            .and_then(|l| self.setting(&l, &LISTEN, "127.0.0.1:8787 is used"));
        let public_url = at
            .get("public_url")
            .and_then(|u| self.setting(&u, &HTTP_URL, "none is used"));
        Server {
            listen: address.and_then(|a| listen(a.expose())).unwrap_or(LISTEN_DEFAULT),
            public_url: public_url.and_then(|u| http_url(u.expose())),
            tls: at.get("tls").map(|tls| self.tls(&tls)),
            allowed_hosts: at
                .strings("allowed_hosts")
                .iter()
                .filter_map(|h| host(h))
                .collect(),
            allowed_origins: at
                .strings("allowed_origins")
                .iter()
                .filter_map(|o| origin(o))
                .collect(),
            ip_allowlist: at
                .strings("ip_allowlist")
                .iter()
                .filter_map(|n| network(n))
                .collect(),
            conversation_timeout: at
                .duration("conversation_timeout")
                .unwrap_or(CONVERSATION_TIMEOUT),
            first_list_wait: at.duration("first_list_wait").unwrap_or(FIRST_LIST_WAIT),
            max_tool_name: at
                .int("max_tool_name")
                .and_then(NameLimit::new)
                .unwrap_or_default(),
            compat: at.word("compat", COMPAT).unwrap_or_default(),
        }
    }

    fn tls(&mut self, at: &At<'_>) -> Tls {
        let mut file = |key| {
            let Some(at) = at.get(key) else {
                return PathBuf::new();
            };
            let path = self.path(at.text().unwrap_or_default());
            // Not an entry that could be left out: without its certificate the hub would serve plain HTTP.
            if !path.is_file() {
                let what = format!("{} is not there", path.display());
                self.problem(&at, what, "put the PEM file there, or remove `tls`");
            }
            path
        };
        let (cert, key) = (file("cert"), file("key"));
        Tls { cert, key }
    }

    pub(super) fn store(&mut self, root: &At<'_>) -> Store {
        let default = SecretString::from("sqlite://data/aih.db");
        let Some(at) = root.get("store").and_then(|s| s.get("url")) else {
            return Store { url: default };
        };
        let before = self.warnings.len();
        let url = self.setting(&at, &STORE_URL, "the hub does not know where its state is");
        // Another, empty store in silence would lose keys and audit rows from sight: this one is a problem.
        self.problems.extend(self.warnings.drain(before..));
        Store {
            url: url.map_or(default, secret),
        }
    }

    pub(super) fn cache(&mut self, root: &At<'_>) -> Option<Cache> {
        let at = root.get("cache")?.get("url")?;
        let url = self.setting(&at, &CACHE_URL, "no cache is used")?;
        Some(Cache { url: secret(url) })
    }

    pub(super) fn auth(&mut self, root: &At<'_>) -> Auth {
        let Some(auth) = root.get("auth") else {
            return Auth::default();
        };
        let keys = auth.list("api_keys");
        self.unique_names(&keys, "key");
        let mut seen: HashMap<KeyHash, String> = HashMap::new();
        let mut api_keys = Vec::new();
        for at in &keys {
            let name = at.string("name").unwrap_or_default();
            let Some(hash_at) = at.get("key_hash") else {
                continue;
            };
            let Some(hash) = hash_at.text().and_then(|text| KeyHash::parse(text).ok()) else {
                continue;
            };
            if hash.is_placeholder() {
                let what = format!("key `{name}` is a placeholder that nothing can match");
                self.warn(
                    &hash_at,
                    what,
                    "make a key with `aih key new` and paste what it prints",
                );
            } else if let Some(other) = seen.insert(hash.clone(), name.clone()) {
                let what = format!("key `{name}` is the same key as `{other}`");
                self.problem(&hash_at, what, "give each client a key of its own");
            }
            api_keys.push(ApiKey {
                name,
                key_hash: hash,
                permissions: at.strings("permissions"),
                compat: at.word("compat", COMPAT),
            });
        }
        Auth {
            api_keys,
            oauth: auth.get("oauth").map(|at| self.oauth(&at)),
        }
    }

    fn oauth(&mut self, at: &At<'_>) -> OAuth {
        let off = "sign-in to the web UI is off";
        let client_id = at.get("client_id").and_then(|id| self.setting(&id, &VALUE, off));
        let client_secret = at
            .get("client_secret")
            .and_then(|s| self.setting(&s, &VALUE, off));
        OAuth {
            provider: OAuthProvider::Github,
            client_id: client_id.map(|id| id.expose().to_owned()),
            client_secret: client_secret.map(secret),
            allowed_users: at.strings("allowed_users"),
        }
    }

    pub(super) fn rate_limits(&mut self, root: &At<'_>) -> RateLimits {
        let Some(at) = root.get("rate_limits") else {
            return RateLimits::default();
        };
        let rules = at.list("rules");
        RateLimits {
            per_key: at.get("per_key").and_then(|r| rate(&r)),
            per_ip: at.get("per_ip").and_then(|r| rate(&r)),
            auth_failures: at.get("auth_failures").and_then(|r| rate(&r)),
            rules: rules
                .iter()
                .filter_map(|rule| {
                    Some(RateRule {
                        pattern: rule.string("match")?,
                        keys: match rule.get("keys") {
                            Some(_) => rule.strings("keys"),
                            None => vec!["*".to_owned()],
                        },
                        rate: rate(rule)?,
                    })
                })
                .collect(),
        }
    }

    pub(super) fn audit(&mut self, root: &At<'_>) -> Audit {
        let default = Audit {
            enabled: true,
            arguments: AuditArguments::Digest,
            keep: AUDIT_KEEP,
        };
        let Some(at) = root.get("audit") else {
            return default;
        };
        let words = [
            ("none", AuditArguments::None),
            ("digest", AuditArguments::Digest),
            ("full", AuditArguments::Full),
        ];
        Audit {
            enabled: at.bool("enabled", default.enabled),
            arguments: at.word("arguments", &words).unwrap_or(default.arguments),
            keep: at.duration("keep").unwrap_or(default.keep),
        }
    }

    pub(super) fn git(&mut self, root: &At<'_>) -> Option<Git> {
        let at = root.get("git")?;
        let mut state = EntryState::Enabled;
        let url = at
            .get("url")
            .and_then(|u| self.value(&u, &GIT_URL, "git sync", &mut state))
            // May hold a user and a password, written as they are.
            .map(|u| match u.expose().contains('@') {
                true => Text::Secret(u.into_secret()),
                false => u,
            });
        let token = at
            .get("token")
            .and_then(|t| self.value(&t, &VALUE, "git sync", &mut state));
        Some(Git {
            url,
            branch: at.string("branch").unwrap_or_else(|| "main".to_owned()),
            interval: at.duration("interval"),
            token: token.map(secret),
            state,
        })
    }
}

fn rate(at: &At<'_>) -> Option<Rate> {
    let requests = at.int("requests")?;
    let per = at.duration("per").unwrap_or(RATE_PER);
    Some(Rate {
        requests,
        per,
        burst: at.int("burst").unwrap_or(requests),
    })
}
