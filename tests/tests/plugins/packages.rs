//! Packages of npm and PyPI in plugins, as they were published: what is plain JavaScript or Python is bundled, what is
//! not is refused by name. Nothing is on the PATH.

use std::{fs, path::Path, time::Duration};

use aih_tests::{Program, tools};
use serde_json::{Value, json};

use crate::examples::root;

/// Longest run of one command, on a machine that is busy with other builds.
const LIMIT: Duration = Duration::from_secs(600);

/// `aih plugin …` in a folder: whether it succeeded, and what it said.
async fn aih(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Program::command(&tools::binary("aih"));
    command
        .arg("plugin")
        .args(arguments)
        .current_dir(folder)
        .env("PATH", "")
        .env(
            "XDG_CACHE_HOME",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins"),
        );
    let output = Program::run("aih plugin", command, LIMIT).await;
    (output.status.success(), output.text)
}

/// What a tool answers, read as JSON.
async fn answer(folder: &Path, file: &str) -> Value {
    let (ok, said) = aih(folder, &["run", file, "go"]).await;
    assert!(ok, "{said}");
    let found = said
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok());
    found.unwrap_or_else(|| serde_json::from_str(said.get(said.find('{').unwrap()..).unwrap()).unwrap())
}

/// The same of a plugin in Python that is one file.
async fn answer_of_python(source: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "plugin.py", source);
    answer(folder.path(), "plugin.py").await
}

/// What the build of a file says that has to fail.
async fn refusal(folder: &Path, file: &str) -> String {
    let (ok, said) = aih(folder, &["build", file]).await;
    assert!(!ok, "{said}");
    said.lines().last().unwrap().to_owned()
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else if from.is_file() {
        fs::copy(from, to).unwrap();
    }
}

/// Copies an installed package of npm and those that it names as its dependencies.
fn npm(folder: &Path, package: &str) {
    let to = folder.join("node_modules").join(package);
    if to.exists() {
        return;
    }
    let from = tools::node_module(package);
    copy(&from, &to);
    let manifest: Value = serde_json::from_slice(&fs::read(from.join("package.json")).unwrap()).unwrap();
    for dependency in manifest["dependencies"].as_object().into_iter().flatten() {
        npm(folder, dependency.0);
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

const GO: &str = "import { defineTool } from 'aih-plugin';\nconst tool = (handler) => defineTool({ name: 'go', description: 'Goes', handler });\n";

#[tokio::test]
async fn packages_of_npm_are_bundled() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(
        folder,
        "package.json",
        r#"{ "name": "uses-packages", "type": "module" }"#,
    );
    // ECMAScript modules; CommonJS with a tree of dependencies; one of each kind of package.json.
    for package in ["nanoid", "eventsource-parser", "qs", "yaml", "ms"] {
        npm(folder, package);
    }
    write(
        folder,
        "plugin.js",
        &format!(
            "{GO}{}",
            r#"
import { customAlphabet, nanoid } from "nanoid";
import { createParser } from "eventsource-parser";
import qs from "qs";
import YAML, { stringify } from "yaml";
import ms from "ms";
tool(() => {
  const events = [];
  createParser({ onEvent: (event) => events.push(event.data) }).feed("data: one\n\ndata: two\n\n");
  return {
    id: [nanoid().length, customAlphabet("a", 4)()], events,
    qs: [qs.parse("a[b]=1&c=2"), qs.stringify({ a: [1, { b: 2 }] })],
    yaml: [YAML.parse("a: [1, {b: c}]\n"), stringify({ x: [1] })],
    ms: ms("2h"),
  };
});
"#
        ),
    );
    assert_eq!(
        answer(folder, "plugin.js").await,
        json!({
            "id": [21, "aaaa"], "events": ["one", "two"],
            "qs": [{"a": {"b": "1"}, "c": "2"}, "a%5B0%5D=1&a%5B1%5D%5Bb%5D=2"],
            "yaml": [{"a": [1, {"b": "c"}]}, "x:\n  - 1\n"],
            "ms": 7_200_000,
        })
    );
}

#[tokio::test]
async fn typescript_loses_its_types_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "shapes.ts",
        "export interface Shape { readonly area: number }\nexport type Maybe<T> = T | undefined;\nexport enum Kind { Square = 'square', Circle = 'circle' }\nexport const enum Size { Small = 1, Large }\nexport abstract class Base<T extends string> implements Shape { constructor(public readonly kind: T, protected side = 2) {} abstract get area(): number; }\n",
    );
    write(
        folder.path(),
        "plugin.ts",
        r#"import { defineTool } from "aih-plugin";
import { Base, Kind, Size, type Maybe, type Shape } from "./shapes.ts";

class Square extends Base<Kind.Square> {
  override get area(): number { return this.side ** 2; }
}
const first = <T,>(list: readonly T[]): Maybe<T> => list[0];
const limits = { most: 3 } satisfies Record<string, number>;
function twice(value: number): number;
function twice(value: string): string;
function twice(value: any): any { return value + value; }
namespace Names { export const own = "own"; }

defineTool({
  name: "go",
  description: "Goes",
  handler: async (): Promise<object> => {
    const shape: Shape = new Square(Kind.Square, 3);
    return { area: shape.area, kind: (shape as Square).kind, first: first<number>([7, 8])!, most: limits.most, size: Size.Large, twice: [twice(2), twice("a")], own: Names.own };
  },
});
"#,
    );
    assert_eq!(
        answer(folder.path(), "plugin.ts").await,
        json!({"area": 9, "kind": "square", "first": 7, "most": 3, "size": 2, "twice": [4, "aa"], "own": "own"})
    );
}

#[tokio::test]
async fn a_package_that_needs_node_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "package.json", r#"{ "type": "module" }"#);
    for (package, module, why) in [
        // It is an ECMAScript module, and these two are CommonJS.
        ("open", "node:child_process", "a sandbox cannot start processes"),
        ("cross-spawn", "child_process", "a sandbox cannot start processes"),
        ("graceful-fs", "fs", "a sandbox has no file system"),
    ] {
        npm(folder, package);
        let file = format!("{package}.js");
        write(
            folder,
            &file,
            &format!("{GO}import it from '{package}';\ntool(() => String(it));\n"),
        );
        let said = refusal(folder, &file).await;
        for part in [
            format!("error: node_modules/{package}/"),
            format!("`{module}` cannot be used in a sandbox: {why}"),
            format!("The package `{package}` needs it"),
        ] {
            assert!(said.contains(&part), "{part}: {said}");
        }
        assert!(!said.contains(": :") && !said.contains("Failed to"), "{said}");
    }
}

#[tokio::test]
async fn packages_of_python_are_bundled_from_a_wheel_and_from_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let wheel = root().join("example-plugins/pdf-processor/wheels/pypdf-7.1.1-py3-none-any.whl");
    fs::create_dir(folder.join("wheels")).unwrap();
    fs::copy(&wheel, folder.join("wheels").join(wheel.file_name().unwrap())).unwrap();
    python(folder, "idna");
    write(
        folder,
        "plugin.py",
        "import io\n\nimport idna\nfrom aih_plugin import tool\nfrom pypdf import PdfReader, PdfWriter\n\n\n@tool\ndef go() -> dict:\n    \"\"\"Goes.\"\"\"\n    writer = PdfWriter()\n    writer.add_blank_page(width=72, height=72)\n    made = io.BytesIO()\n    writer.write(made)\n    return {\"pages\": len(PdfReader(made).pages), \"idna\": idna.encode(\"bücher.example\").decode()}\n",
    );
    assert_eq!(
        answer(folder, "plugin.py").await,
        json!({"pages": 1, "idna": "xn--bcher-kva.example"})
    );
}

#[tokio::test]
async fn what_the_top_level_of_python_makes_is_immortal_and_what_a_call_makes_is_not() {
    let source = r#"
import sys

from aih_plugin import tool


class Counted:
    freed = 0

    def __del__(self):
        Counted.freed += 1


TABLE = {"a": [object(), "text" * 3], "b": lambda: TABLE}
COUNTED = Counted()


@tool
def go() -> dict:
    """Goes."""
    global COUNTED
    made = [TABLE, TABLE["a"], TABLE["a"][0], TABLE["a"][1], TABLE["b"], TABLE["b"].__code__, Counted, go]
    immortal = [sys.getrefcount(item) >= 1 << 30 for item in made]
    own = Counted()
    counted = sys.getrefcount(own) < 10
    del own
    # It stays, though nothing refers to it any more.
    COUNTED = None
    return {"immortal": immortal, "counted": counted, "freed": Counted.freed}
"#;
    assert_eq!(
        answer_of_python(source).await,
        json!({"immortal": vec![true; 8], "counted": true, "freed": 1})
    );
}

#[tokio::test]
async fn what_a_call_of_python_makes_lies_side_by_side() {
    let source = r#"
from aih_plugin import tool


# Every second one of these leaves a hole when the top level ends.
KEPT = [bytes(size % 200) for size in range(20_000)][::2]


@tool
def go() -> int:
    """Goes."""
    made = [item for n in range(200) for item in (f"number {n}", [n], {"n": n}, bytes(n))]
    return len({id(item) >> 12 for item in made})
"#;
    // About 70 kB are made, which have room on 17 pages of 4 kB; in the holes it would be one page for each object or two.
    let pages = answer_of_python(source).await;
    assert!(pages.as_u64().unwrap() < 60, "{pages}");
}

/// Copies an installed package of PyPI, as `pip install --target site-packages` leaves it.
fn python(folder: &Path, package: &str) {
    let lib = tools::python("python").parent().unwrap().join("../lib");
    let version = fs::read_dir(lib).unwrap().next().unwrap().unwrap().path();
    copy(
        &version.join("site-packages").join(package),
        &folder.join("site-packages").join(package),
    );
}

#[tokio::test]
async fn a_package_with_native_code_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for package in [
        "pydantic",
        "pydantic_core",
        "annotated_types",
        "typing_inspection",
        "typing_extensions.py",
    ] {
        python(folder, package);
    }
    write(folder, "plugin.py", "import pydantic_core\n");
    let said = refusal(folder, "plugin.py").await;
    assert!(
        said.contains("`pydantic_core` cannot be used in a sandbox: it has native code (_pydantic_core."),
        "{said}"
    );
}

#[tokio::test]
async fn a_syntax_error_says_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (name, text) in [
        ("a.js", "let a = 1;\nlet b = ;\n"),
        ("imports.js", "import './a.js';\n"),
        // The parser lets it pass, and the engine does not.
        ("late.js", "import 'aih-plugin';\n\nnew RegExp('(');\n"),
        ("a.ts", "const a: number = 1;\n\nconst b: = 2;\n"),
        ("imports.ts", "import './a.ts';\n"),
        ("a.py", "x = 1\ndef f(:\n    pass\n"),
        ("imports.py", "import a\n"),
    ] {
        write(folder, name, text);
    }
    for (file, place) in [
        ("a.js", "a.js:2:9: "),
        ("imports.js", "a.js:2:9: "),
        ("late.js", "late.js:3"),
        ("a.ts", "a.ts:3:10: "),
        ("imports.ts", "a.ts:3:10: "),
        ("a.py", "a.py:2:7: "),
        ("imports.py", "a.py:2:7: "),
    ] {
        let said = refusal(folder, file).await;
        assert!(said.starts_with(&format!("error: {place}")), "{file}: {said}");
        assert!(!said.contains(": :") && !said.contains("Failed to"), "{said}");
    }
}

#[tokio::test]
async fn the_packages_that_an_example_carries_are_those_of_its_lock_file() {
    let there = std::process::Command::new("npm").arg("--version").output();
    if there.is_err() {
        eprintln!("skipped: npm is not installed");
        return;
    }
    let mut command = Program::command(&tools::binary("xtask"));
    command.args(["vendor", "--check"]);
    let output = Program::run("xtask", command, LIMIT).await;
    if output.text.contains("npm could not install the packages") {
        // No registry can be reached: nothing to compare with.
        eprintln!("skipped: {}", output.text);
        return;
    }
    assert!(output.status.success(), "{}", output.text);
}
