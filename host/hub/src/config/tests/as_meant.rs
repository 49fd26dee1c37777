//! What people write in the words of a shell or of an AI client.

use super::*;

fn local(entry: &str) -> String {
    format!("version: \"1.0\"\nmcps:\n  local:\n    - {{ name: a, {entry} }}\n")
}

#[test]
fn a_command_line_is_no_program() {
    for (command, instead) in [
        ("npx -y x", "write `command: npx` and `args: [\"-y\", x]`"),
        (
            "uvx  mcp-server-git\t--repository .",
            "`command: uvx` and `args: [mcp-server-git, \"--repository\", \".\"]`",
        ),
        (
            "/usr/bin/env node",
            "write `command: /usr/bin/env` and `args: [node]`",
        ),
        ("x --token=hunter2hunter2", "`args: [\"${VARIABLE}\"]`"),
    ] {
        let text = problems(&local(&format!("command: {command:?}")));
        assert!(
            text.contains("mcps.local[0].command: `command` takes a program alone"),
            "{text}"
        );
        assert!(text.contains(instead), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    // From a variable: the entry is off, and nothing of it is shown.
    let loaded = load_with(&local("command: \"${C}\""), &[("C", "npx -y hunter2")]).unwrap();
    assert!(!loaded.config.mcps.local[0].state.is_enabled());
    let text = warnings(&loaded);
    assert!(
        text.contains("`command` holds arguments") && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn a_program_may_have_blanks_in_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("a program");
    std::fs::write(&program, "").unwrap();
    let loaded = load(&local(&format!("command: {:?}", program.display().to_string())));
    assert_eq!(
        loaded.config.mcps.local[0].command.expose(),
        program.display().to_string()
    );
}

#[test]
fn the_home_folder_is_where_a_shell_has_it() {
    let home = std::env::home_dir().unwrap();
    let text = local("command: ~/bin/server, cwd: \"~\"")
        .replace("mcps:", "plugins: [{name: p, file: ~/p.wasm}]\nmcps:");
    let loaded = load(&text);
    let server = &loaded.config.mcps.local[0];
    assert_eq!(
        server.command.expose(),
        home.join("bin/server").display().to_string()
    );
    assert_eq!(server.cwd, home);
    assert_eq!(loaded.config.plugins[0].file, home.join("p.wasm"));
    // Names of users are not looked up, and arguments go to the program as they are.
    let loaded = load(&local("command: x, args: [~/a], cwd: \"~root\""));
    let server = &loaded.config.mcps.local[0];
    assert_eq!(server.args[0].expose(), "~/a");
    assert!(server.cwd.ends_with("~root") && server.cwd != Path::new("/root"));
}

#[test]
fn a_scheme_in_front_of_a_token_is_not_doubled() {
    let external = |token: &str| {
        format!(
            "version: \"1.0\"\nmcps: {{external: [{{name: a, url: \"http://h/mcp\", auth: {{type: bearer, token: {token:?}}}}}]}}\n"
        )
    };
    let header = |loaded: &LoadedConfig| {
        loaded.config.mcps.external[0].headers[0]
            .1
            .expose_secret()
            .to_owned()
    };
    for written in ["Bearer hunter2", "bearer  hunter2", "${T}"] {
        let loaded = load_with(&external(written), &[("T", "Bearer hunter2\n")]).unwrap();
        assert_eq!(header(&loaded), "Bearer hunter2", "{written}");
        let text = warnings(&loaded);
        assert!(
            text.contains("auth.token: the token begins with `Bearer `"),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }
    for written in ["hunter2", "Bearerhunter2"] {
        let loaded = load(&external(written));
        assert_eq!(header(&loaded), format!("Bearer {written}"));
        assert_eq!(warnings(&loaded), "");
    }
}

#[test]
fn servers_of_a_client_are_shown_in_the_words_of_this_file() {
    let pasted =
        r#"{"version": "1.0", "mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"]}}}"#;
    let text = problems(pasted);
    assert!(
        text.contains("unknown key `mcpServers`, which AI clients have"),
        "{text}"
    );
    assert!(
        text.contains("mcps:\n  local:\n    - name: time\n      command: uvx\n      args: [mcp-server-time]"),
        "{text}"
    );
}
