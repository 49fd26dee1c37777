//! The file as a whole: what it takes, what it refuses, and in which words.

use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;

mod any_text;
mod as_meant;
mod files;
mod without_effect;

/// The file of the product's first description, word for word.
const BRIEF: &str = include_str!("testdata/brief.yaml");

fn load_with(text: &str, vars: &[(&str, &str)]) -> Result<LoadedConfig, Problems> {
    let secrets = Secrets::from_pairs(vars.iter().copied());
    Config::from_text(text, Path::new("aih-config.yaml"), secrets)
}

fn load(text: &str) -> LoadedConfig {
    load_with(text, &[]).unwrap()
}

fn problems(text: &str) -> String {
    load_with(text, &[]).unwrap_err().to_string()
}

fn warnings(loaded: &LoadedConfig) -> String {
    loaded.warnings.iter().map(|w| format!("{w}\n")).collect()
}

#[test]
fn the_first_description_is_taken_word_for_word() {
    let loaded = load(BRIEF);
    let config = &loaded.config;
    assert_eq!(config.name, "my-ai-hub");
    assert_eq!(config.auth.api_keys.len(), 2);
    assert!(config.auth.api_keys[0].key_hash.is_placeholder());
    assert_eq!(config.auth.api_keys[1].permissions, ["mcps/*", "skills/*"]);
    assert_eq!(
        config.auth.oauth.as_ref().unwrap().allowed_users,
        ["your-username"]
    );
    assert_eq!(config.mcps.external.len(), 2);
    assert_eq!(
        config.mcps.external[0].state,
        EntryState::Disabled(DisabledReason::MissingVariable {
            name: "STRIPE_MCP_TOKEN".into()
        })
    );
    assert_eq!(config.plugins[0].runtime, Runtime::Node);
    assert_eq!(config.plugins[1].runtime, Runtime::Python);
    assert_eq!(config.hooks[0].trigger, "conversation.start");
    let names: Vec<_> = config.configs.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["claude", "claude_md", "cursor", "windsurf", "continue"]);
    let text = warnings(&loaded);
    for line in [
        "aih-config.yaml:8:17: auth.api_keys[0].key_hash: key `claude-ai` is a placeholder that nothing can match; \
         make a key with `aih key new` and paste what it prints",
        "mcps.external[0].auth.token: mcp `stripe` is off: ${STRIPE_MCP_TOKEN} is not set; put it in .env or the environment",
        "auth.oauth.client_id: ${GITHUB_CLIENT_ID} is not set: sign-in to the web UI is off",
    ] {
        assert!(text.contains(line), "{line}\n--\n{text}");
    }
}

#[test]
fn auth_and_headers_become_headers_and_print_nothing() {
    let text = r#"
version: "1.0"
mcps:
  external:
    - name: stripe
      url: "https://mcp.stripe.com"
      instances: ["https://${HOST}/mcp?k=${TOKEN}"]
      headers: { X-Team: blue }
      auth: { type: oauth, token: "${TOKEN}" }
      timeout: 500ms
    - name: other
      url: https://mcp.example.com
      transport: sse
      auth: { type: header, name: X-Api-Key, value: "${TOKEN}" }
      timeout: 5
"#;
    let loaded = load_with(text, &[("TOKEN", "hunter2"), ("HOST", "h.example")]).unwrap();
    assert_eq!(warnings(&loaded), "");
    let [stripe, other] = &loaded.config.mcps.external[..] else {
        panic!()
    };
    let headers: Vec<_> = stripe
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.expose_secret()))
        .collect();
    assert_eq!(headers, [("x-team", "blue"), ("authorization", "Bearer hunter2")]);
    assert_eq!(other.headers[0].1.expose_secret(), "hunter2");
    assert_eq!(
        stripe.endpoints[1].expose().as_str(),
        "https://h.example/mcp?k=hunter2"
    );
    assert_eq!(stripe.call_timeout, Duration::from_millis(500));
    assert_eq!(other.call_timeout, Duration::from_secs(5));
    assert_eq!(other.transport, Transport::Sse);
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn local_mcps() {
    let text = r#"
version: "1.0"
mcps:
  local:
    - name: memory
      command: npx
      args: [-y, 8080, "${ARG}"]
      env: { PORT: 80, EMPTY: , KEY: "${ARG:-none}" }
      cwd: ./work
      instances: 3
      sessions: per_client
      protocol: legacy
      tools: { allow: ["read_*"], rename: { read_graph: graph } }
    - { name: script, command: ./mcps/run.sh, enabled: false, args: ["${NOT_THERE}"] }
"#;
    let loaded = load_with(text, &[("ARG", "s3cret")]).unwrap();
    assert_eq!(warnings(&loaded), "");
    let [memory, script] = &loaded.config.mcps.local[..] else {
        panic!()
    };
    let args: Vec<_> = memory.args.iter().map(Text::expose).collect();
    assert_eq!(args, ["-y", "8080", "s3cret"]);
    assert_eq!(memory.env[1].1.expose(), "");
    assert_eq!(memory.cwd, loaded.base_dir.join("work"));
    assert_eq!(memory.instances, 3);
    assert_eq!(memory.sessions, Sessions::PerClient);
    assert_eq!(memory.tools.public_name("read_graph"), "graph");
    assert_eq!(
        script.command.expose(),
        loaded.base_dir.join("mcps/run.sh").to_str().unwrap()
    );
    assert_eq!(script.state, EntryState::Disabled(DisabledReason::ByConfig));
    assert!(!format!("{loaded:?}").contains("s3cret"));
}

#[test]
fn every_problem_is_reported_at_once_with_its_position() {
    let text = r#"version: "2.0"
nam: hub
mcps:
  external:
    - name: a b
      url: ftp://x
      transport: htp
      enable: true
      timeout: soon
    - url: https://x.example
  local:
    - name: "one"
      command: ""
      instances: "2"
      args: x
skills:
  - name: s
"#;
    let expected = r#"aih-config.yaml:1:10: version: unknown value `2.0`; write "1.0"
aih-config.yaml:2:1: nam: unknown key `nam`, did you mean `name`?
aih-config.yaml:5:13: mcps.external[0].name: `a b` is not a name; write letters, digits, `.`, `_` and `-`, starting with a letter or a digit, at most 64; `aih` is the hub's own
aih-config.yaml:6:12: mcps.external[0].url: this is not an http or https URL; write an address such as https://mcp.example.com/mcp
aih-config.yaml:7:18: mcps.external[0].transport: unknown value `htp`; write one of http, sse, auto
aih-config.yaml:8:7: mcps.external[0].enable: unknown key `enable`, did you mean `enabled`?
aih-config.yaml:9:16: mcps.external[0].timeout: `soon` is not a duration; write 500ms, 30s, 2m, 1h, 90d, or a number of seconds; more than nothing
aih-config.yaml:10:7: mcps.external[1]: `name` is missing; give it: write letters, digits, `.`, `_` and `-`, starting with a letter or a digit, at most 64; `aih` is the hub's own
aih-config.yaml:13:16: mcps.local[0].command: is empty, not a value; write a text, or `${VAR}` for a secret
aih-config.yaml:14:18: mcps.local[0].instances: expected a whole number, found a text in quotes; write a number from 1 to 64, without quotes
aih-config.yaml:15:13: mcps.local[0].args: expected a list, found a text; write each item on its own line after `- `, or [] for none
aih-config.yaml:17:5: skills[0]: `file` is missing; give it: write a path; relative ones start at the folder of this file"#;
    assert_eq!(problems(text), expected);
}

#[test]
fn names_that_fall_together_are_named_both() {
    let text = "version: \"1.0\"\nmcps:\n  external:\n    - {name: my-mcp, url: https://a.example}\n  \
                local:\n    - {name: my.mcp, command: x}\nplugins:\n  - {name: my_mcp, file: x.py}\n";
    let text = problems(text);
    assert_eq!(
        text,
        "aih-config.yaml:6:14: mcps.local[0].name: mcp `my.mcp` and mcp `my-mcp` in line 4 both give tools named \
         `my_mcp__…`; rename one of them\n\
         aih-config.yaml:8:12: plugins[0].name: plugin `my_mcp` and mcp `my-mcp` in line 4 both give tools named \
         `my_mcp__…`; rename one of them"
    );
}

#[test]
fn meaning_is_checked_too() {
    let hash = format!("sha256:{}", "ab".repeat(32));
    let base = "version: \"1.0\"\n";
    for (text, part) in [
        (
            "skills: [{name: a, file: x}, {name: a, file: y}]",
            "skill `a` is given twice, first in line 2",
        ),
        ("name: a\nname: b", "key `name` is given twice, first in line 2"),
        (
            "mcps: {external: [{name: aih, url: http://x}]}",
            "`aih` is not a name",
        ),
        (
            "mcps: {external: [{name: sse, url: http://x}]}",
            "mcp `sse` cannot have its own address: /mcp/sse is the hub's",
        ),
        (
            "plugins: [{name: messages, file: x.py}]",
            "plugin `messages` cannot have its own address: /mcp/messages is the hub's",
        ),
        (
            "mcps: {local: [{name: Aih-, command: x}]}",
            "mcp `Aih-` would give tools named `Aih__…`, and the namespace `aih` is the hub's own",
        ),
        (
            "mcps: {local: [{name: a__b, command: x}, {name: a.b-, command: x}]}",
            "mcp `a.b-` and mcp `a__b` in line 2 both give tools named `a_b__…`",
        ),
        (
            "mcps: {external: [{name: a, url: http://x, headers: {Host: y}}]}",
            "`Host` is not a header name",
        ),
        (
            "mcps: {external: [{name: a, url: http://x, headers: {Authorization: y}, auth: {type: bearer, token: z}}]}",
            "`headers` gives `authorization` too",
        ),
        (
            "mcps: {external: [{name: a, url: http://x, auth: {type: basic}}]}",
            "write one of bearer, oauth, header",
        ),
        (
            "mcps: {external: [{name: a, url: http://x, auth: {type: bearer}}]}",
            "`token` is missing",
        ),
        (
            "mcps: {external: [{name: a, url: http://x, auth: {type: bearer, token: \"${A\"}}]}",
            "`${` is not closed",
        ),
        (
            "mcps: {local: [{name: a, command: x, tools: {rename: {a: c, b: c}}}]}",
            "renamed to `c` too",
        ),
        (
            "auth: {api_keys: [{name: a, key_hash: plainkey}]}",
            "`aih key hash`",
        ),
        (
            "auth: {api_keys: [{name: a, key_hash: 'sha256:x', permissions: ['a b']}]}",
            "`a b` is not a permission",
        ),
        (
            "hooks: [{name: a, trigger: tool.befor, action: x.js}]",
            "did you mean `tool.before`?",
        ),
        (
            "hooks: [{name: a, trigger: manual, action: x.sh}]",
            "write `runtime:`",
        ),
        ("store: {url: \"${DATABASE_URL}\"}", "${DATABASE_URL} is not set"),
        ("server: {listen: ':8787'}", "write 127.0.0.1:8787"),
        (
            "server: {ip_allowlist: [10.0.0.0/99]}",
            "`10.0.0.0/99` is not a network",
        ),
        ("server: [a]", "expected a map, found a list"),
        ("skills:\n  -\n", "fill it in or remove the `-`"),
        ("mcps: &a {external: []}\nx: *a", "aliases"),
        ("a: [", "this is not YAML"),
        ("? [a]\n: b", "cannot be a key"),
        ("---\nb: 1\n---\nc: 2", "a second document"),
    ] {
        let found = problems(&format!("{base}{text}\n"));
        assert!(found.contains(part), "{text}\n{found}");
    }
    let twice = format!(
        "{base}auth: {{api_keys: [{{name: a, key_hash: '{hash}'}}, {{name: b, key_hash: '{hash}'}}]}}"
    );
    assert!(problems(&twice).contains("key `b` is the same key as `a`"));
    assert!(problems("").contains("`version` is missing; write `version: \"1.0\"`"));
}

#[test]
fn a_problem_never_repeats_what_may_be_a_secret() {
    let text = "version: \"1.0\"\nmcps: {external: [{name: a, url: hunter2, auth: {type: bearer, token: [hunter2]}}]}\n";
    let text = problems(text);
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_variable_that_makes_nonsense_turns_off_its_entry_only() {
    let text = "version: \"1.0\"\nmcps:\n  external:\n    - {name: a, url: \"${URL}\"}\n    \
                - {name: b, url: http://x, auth: {type: bearer, token: \"${TOKEN}\"}}\n    - {name: c, url: http://x}\n";
    let loaded = load_with(text, &[("URL", "s3cret"), ("TOKEN", "s3\ncret")]).unwrap();
    let states: Vec<_> = loaded
        .config
        .mcps
        .external
        .iter()
        .map(|m| m.state.is_enabled())
        .collect();
    assert_eq!(states, [false, false, true]);
    let text = format!("{}{loaded:?}", warnings(&loaded));
    assert!(!text.contains("s3"), "{text}");
    assert!(
        text.contains("mcp `a` is off: mcps.external[0].url is not an http or https URL after"),
        "{text}"
    );
}

#[test]
fn files_that_are_not_there_turn_off_their_entry_only() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("here.md"), "x").unwrap();
    let path = dir.path().join("aih-config.yaml");
    let text = "version: \"1.0\"\nskills:\n  - {name: a, file: ./here.md}\n  - {name: b, file: ./gone.md}\n";
    std::fs::write(&path, text).unwrap();
    let loaded = Config::load(&path).unwrap();
    assert_eq!(loaded.config.skills[0].file, dir.path().join("here.md"));
    assert!(loaded.config.skills[0].state.is_enabled());
    assert!(!loaded.config.skills[1].state.is_enabled());
    assert!(warnings(&loaded).contains("skill `b` is off: "));
    assert!(warnings(&loaded).contains("gone.md is not there"));
}

#[test]
fn what_cannot_be_read_is_a_problem_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("aih-config.yaml");
    assert!(
        Config::load(&path)
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
    assert!(
        Config::load(dir.path())
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
    for (bytes, place) in [
        (&b"\xff\xfe"[..], ":1:1:"),
        (b"name: \xc3\xa4\nx: caf\xe9\n", ":2:7:"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let text = Config::load(&path).unwrap_err().to_string();
        assert!(
            text.contains(&format!("{place} this is not UTF-8 text")),
            "{text}"
        );
    }
    std::fs::write(&path, "#".repeat(2 << 20)).unwrap();
    assert!(
        Config::load(&path)
            .unwrap_err()
            .to_string()
            .contains("larger than 1 MiB")
    );
}

#[test]
fn the_folder_of_the_file_is_a_variable_and_no_secret() {
    let text =
        "version: \"1.0\"\nmcps: {local: [{name: a, command: x, args: [\"${AIH_CONFIG_DIR}/data\"]}]}\n";
    let loaded = load(text);
    let arg = &loaded.config.mcps.local[0].args[0];
    assert!(!arg.is_secret());
    assert_eq!(Path::new(arg.expose()), loaded.base_dir.join("data"));
}

#[test]
fn what_is_written_into_env_is_a_secret_too() {
    let loaded = load("version: \"1.0\"\nmcps: {local: [{name: a, command: x, env: {KEY: hunter2}}]}\n");
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn tls_without_its_files_is_a_problem() {
    let text = problems("version: \"1.0\"\nserver: {tls: {cert: gone.pem, key: gone.key}}\n");
    assert!(
        text.contains("server.tls.cert: ") && text.contains("gone.pem is not there"),
        "{text}"
    );
}

#[test]
fn providers_that_are_not_there_yet_give_one_warning() {
    let loaded = load("version: \"1.0\"\nsecrets: {provider: vault}\n");
    assert_eq!(
        warnings(&loaded),
        "aih-config.yaml:2:21: secrets.provider: provider `vault` is not available yet; the environment and .env are used\n"
    );
}

#[test]
fn variables_can_lie_in_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("aih-config.yaml");
    let load = |secrets: &str| {
        let text = format!(
            "version: \"1.0\"\nsecrets: {{{secrets}}}\nmcps: {{local: [{{name: a, command: x, env: {{T: \"${{TOKEN}}\"}}}}]}}\n"
        );
        Config::from_text(&text, &path, Secrets::from_pairs([("TOKEN", "from-env")]))
    };
    let token = |loaded: &LoadedConfig| loaded.secrets.get("TOKEN").unwrap().expose_secret().to_owned();
    std::fs::create_dir(dir.path().join("run")).unwrap();
    std::fs::write(dir.path().join("run/TOKEN"), "from-folder\n").unwrap();
    std::fs::write(dir.path().join("some.env"), "TOKEN=from-file\nhunter2\n").unwrap();
    let loaded = load("provider: file, path: ./run").unwrap();
    assert_eq!(
        (token(&loaded).as_str(), warnings(&loaded).as_str()),
        ("from-folder", "")
    );
    assert!(loaded.config.mcps.local[0].state.is_enabled());
    let loaded = load("provider: file, path: some.env").unwrap();
    assert_eq!(token(&loaded), "from-file");
    let text = warnings(&loaded);
    assert!(
        text.contains("secrets.path: ") && text.contains("some.env:2: this line is left out"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
    let text = load("provider: file, path: gone").unwrap_err().to_string();
    assert!(
        text.contains("2:33: secrets.path: ") && text.contains("gone: it is not there"),
        "{text}"
    );
    let text = load("provider: file").unwrap_err().to_string();
    assert!(text.contains("secrets: provider `file` needs `path`"), "{text}");
    let loaded = load("path: run").unwrap();
    assert_eq!(token(&loaded), "from-env");
    assert!(warnings(&loaded).contains("for provider `file` only"));
}

#[test]
fn the_rest_of_the_keys() {
    let loaded = load(include_str!("testdata/all.yaml"));
    let config = &loaded.config;
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:8787");
    assert_eq!(config.server.allowed_origins, ["https://app.example.com"]);
    assert_eq!(config.server.ip_allowlist.len(), 2);
    assert!(config.cache.is_some());
    let hook = &config.hooks[0];
    assert_eq!(
        (hook.order, hook.mode, hook.on_failure),
        (-5, Some(HookMode::Blocking), OnFailure::Closed)
    );
    assert_eq!(hook.matches.tools, ["create_*"]);
    let plugin = &config.plugins[0];
    assert_eq!(plugin.limits.memory, Some(ByteSize(64 << 20)));
    assert_eq!(plugin.limits.time, Some(Duration::from_secs(10)));
    assert_eq!(plugin.grants.state_max_bytes, Some(ByteSize(1_000_000)));
    assert_eq!(plugin.grants.files[0].mode, FileMode::ReadWrite);
    assert_eq!(plugin.config["depth"], 3);
    assert_eq!(plugin.config["nested"]["list"][1], "two");
    assert_eq!(config.rate_limits.per_key.unwrap().burst, 50);
    assert_eq!(config.rate_limits.rules[0].keys, ["*"]);
    assert_eq!(config.audit.arguments, AuditArguments::None);
    let git = config.git.as_ref().unwrap();
    assert_eq!(
        (git.branch.as_str(), git.interval),
        ("main", Some(Duration::from_secs(300)))
    );
}

#[test]
fn the_example_in_the_root_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../aih-config.yaml");
    let text = std::fs::read_to_string(&root).unwrap();
    let loaded = Config::from_text(&text, &root, Secrets::default()).unwrap();
    let off: Vec<_> = loaded.warnings.iter().map(|w| w.what.as_str()).collect();
    let expected = [
        "mcp `stripe` is off: ${STRIPE_MCP_TOKEN} is not set",
        "mcp `vercel` is off: ${VERCEL_TOKEN} is not set",
    ];
    assert_eq!(off, expected);
    assert!(loaded.config.mcps.local.iter().any(|m| m.state.is_enabled()));
    assert!(loaded.config.skills.iter().all(|s| s.state.is_enabled()));
    assert!(loaded.config.configs.iter().all(|c| c.state.is_enabled()));
}

#[test]
fn the_schema_takes_what_the_check_takes() {
    let schema = jsonschema::draft202012::new(&schema()).unwrap();
    let root =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../aih-config.yaml")).unwrap();
    for text in [BRIEF, include_str!("testdata/all.yaml"), root.as_str()] {
        let node = node::parse(text, &mut Vec::new()).unwrap();
        let errors: Vec<_> = schema
            .iter_errors(&node.to_json())
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
    for text in [
        "version: \"1.0\"\nnam: x",
        "name: x",
        "version: \"1.0\"\nskills: [{name: a}]",
    ] {
        let node = node::parse(text, &mut Vec::new()).unwrap();
        assert!(!schema.is_valid(&node.to_json()), "{text}");
    }
}

#[test]
fn the_reference_page_holds_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, _) = page.split_once("<!-- keys -->\n").unwrap();
    let expected = format!("{head}<!-- keys -->\n\n{}", reference());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &expected).unwrap();
    } else {
        assert!(
            page == expected,
            "docs/configuration.md is not the table's; run the test with UPDATE_GOLDEN=1"
        );
    }
}

#[test]
fn every_key_of_the_table_is_tried_here() {
    let tried = format!("{BRIEF}{}", include_str!("testdata/all.yaml"));
    let schema = schema();
    let definitions = schema["$defs"].as_object().unwrap().values();
    let objects = definitions.chain([&schema]);
    let keys = objects.flat_map(|o| o["properties"].as_object().unwrap().keys());
    let untried: Vec<_> = keys.filter(|key| !tried.contains(&format!("{key}:"))).collect();
    assert!(untried.is_empty(), "{untried:?}");
}
