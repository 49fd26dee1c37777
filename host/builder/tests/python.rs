//! Python sources become components.

mod common;

use aih_builder::BuildError;
use common::{Project, RAW_PY};

#[tokio::test]
async fn the_sdk_and_packages_are_importable() {
    let project = Project::new(&[
        (
            "word-count.py",
            "from aih_plugin import tool\nimport helper\nimport installed\nfrom importlib import metadata\n\nassert installed.two() == 2 and helper.one == 1\nassert metadata.version('installed') == '3.1'\n\n@tool\ndef count(text: str) -> int:\n    \"\"\"Counts.\"\"\"\n    return len(text.split())\n",
        ),
        ("helper.py", "one = 1\n"),
        ("site-packages/installed/__init__.py", "from ._inner import two\n"),
        ("site-packages/installed/_inner.py", "def two(): return 2\n"),
        (
            "site-packages/installed-3.1.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: installed\nVersion: 3.1\n",
        ),
    ]);
    let (component, _) = project.build("word-count.py").await.unwrap();
    assert!(component.starts_with(b"\0asm"));
}

/// The last step of a build is a rehearsal of calls, which must neither fail a build nor ask a host that is not there.
#[tokio::test]
async fn a_rehearsal_that_fails_fails_no_build() {
    let source = "import json\nfrom aih_plugin import tool\n\ndef none(*_args, **_kwargs):\n    raise RuntimeError('none')\n\njson.loads = none\n\n@tool\ndef hello() -> str:\n    return 'hello'\n";
    let project = Project::new(&[("plugin.py", source)]);
    project.build("plugin.py").await.unwrap();
}

#[tokio::test]
async fn a_plugin_of_the_contracts_own_shape() {
    let project = Project::new(&[("plugin.py", RAW_PY)]);
    let (component, _) = project.build("plugin.py").await.unwrap();
    assert_eq!(common::libraries(&component), 0, "they are linked to one module");
}

#[tokio::test]
async fn an_error_says_where_and_what_to_do() {
    let cases = [
        ("def f(:\n", "plugin.py:1:7: "),
        (
            "import yaml\n",
            "plugin.py:1: cannot find `yaml`: run `pip install yaml --target site-packages`",
        ),
        (
            "x = 1\nimport rusty\n",
            "`rusty` cannot be used in a sandbox: it has native code",
        ),
        ("\n1 / 0\n", "plugin.py:2: ZeroDivisionError"),
        ("import broken\n", "broken.py:2"),
    ];
    for (text, wanted) in cases {
        let project = Project::new(&[
            ("plugin.py", &format!("{text}{RAW_PY}")),
            ("broken.py", "x = 1\n  y = 2\n"),
            ("site-packages/rusty/__init__.py", "from ._rusty import go\n"),
            ("site-packages/rusty/_rusty.cpython-314-x86_64-linux-gnu.so", ""),
        ]);
        let error = project.error("plugin.py").await;
        let line = error.to_string();
        assert!(line.contains(wanted), "{text:?}: {line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(error.is_of_the_source() && !matches!(error, BuildError::Crashed(_)));
    }
}
