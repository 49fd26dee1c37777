//! JavaScript and TypeScript sources become components. What an import gives is checked at the top level, which
//! runs during the build: a wrong value fails it.

mod common;

use aih_builder::{BuildError, Source, World};
use common::{Project, RAW_JS, options};

const CHECK: &str = "function check(found, wanted) { if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`${JSON.stringify(found)} is not ${JSON.stringify(wanted)}`); }\n";

#[tokio::test]
async fn a_plugin_of_the_contracts_own_shape() {
    let project = Project::new(&[("plugin.js", RAW_JS)]);
    let (component, protections) = project.build("plugin.js").await.unwrap();
    assert!(component.starts_with(b"\0asm"));
    assert_eq!(common::libraries(&component), 0, "they are linked to one module");
    assert!(protections.limits, "{protections:?}");
}

#[tokio::test]
async fn the_sdk_is_there_without_any_folder() {
    let project = Project::new(&[
        (
            "plugin.js",
            "import { defineTool, text } from 'aih-plugin';\ndefineTool({ name: 'a', description: 'A', handler: () => text('x') });\n",
        ),
        (
            "hook.ts",
            "import { defineHook } from 'aih-plugin';\ndefineHook({ on: 'tool.before', handler: (event: { payload: unknown }) => undefined });\n",
        ),
    ]);
    project.build("plugin.js").await.unwrap();
    let hook = Source::new(project.path("hook.ts"), World::Hook).unwrap();
    aih_builder::build(&hook, &options(), |_| ()).await.unwrap();
}

#[tokio::test]
async fn packages_of_every_shape_are_found() {
    let main = format!(
        "{CHECK}{RAW_JS}{}",
        r#"
import old, { twice, VERSION } from "old";
import * as all from "old";
import transpiled, { named } from "transpiled";
import { esm } from "modern";
import { sub } from "modern/sub";
import data from "./data.json" with { type: "json" };
import { count } from "./lib/count.ts";
import scoped from "@scope/thing";
import { EventEmitter } from "node:events";
import path from "path";
import sloppy from "sloppy";
check(old.twice(2), 4);
check([twice(3), VERSION], [6, "1.0"]);
check(Object.keys(all).sort(), ["VERSION", "default", "later", "twice"]);
check(old.later(), "b needs a: a");
check([transpiled, named], ["the default", "a name"]);
check([esm, sub], ["workerd", "sub"]);
check(data, { a: [1, 2] });
check(count([1, 2, 3]), 3);
check(scoped.answer, 42);
check(path.join("a", "..", "b"), "b");
check(sloppy, 15);
let heard;
new EventEmitter().on("x", (value) => { heard = value; }).emit("x", 7);
check(heard, 7);
const late = await import("./late.js");
check(late.default, "late");
let refused;
try { await import("nowhere"); } catch (error) { refused = error.message; }
check(refused.includes("npm install nowhere"), true);
check(process.env.NODE_ENV, "production");
check(Buffer.from("aGk=", "base64").toString(), "hi");
"#
    );
    let project = Project::new(&[
        ("package.json", r#"{ "name": "project" }"#),
        ("src/plugin.js", &main),
        ("src/late.js", "export default 'late';"),
        ("src/data.json", r#"{ "a": [1, 2] }"#),
        (
            "src/lib/count.ts",
            "import type { T } from './types';\nexport enum Kind { A = 1 }\nexport function count<T>(list: T[]): number { return list.length; }\n",
        ),
        (
            "node_modules/old/package.json",
            r#"{ "name": "old", "main": "./index", "version": "1.0" }"#,
        ),
        (
            "node_modules/old/index.js",
            "#!/usr/bin/env node\nvar optional;\ntry { optional = require('not-installed'); } catch (error) { optional = error.code; }\nif (optional !== 'MODULE_NOT_FOUND') throw new Error(optional);\nvar fs; try { fs = require('fs'); } catch (error) { fs = null; }\nexports.twice = function (n) { return n * 2; };\nexports.later = function () { return require('./a').value(); };\nexports.VERSION = require('./package.json').version;\n",
        ),
        (
            "node_modules/old/a.js",
            "exports.name = 'a'; exports.value = () => require('./b').value();",
        ),
        (
            "node_modules/old/b.js",
            "const a = require('./a'); module.exports = { value: () => 'b needs a: ' + a.name };",
        ),
        (
            "node_modules/transpiled/package.json",
            r#"{ "name": "transpiled", "main": "index.js" }"#,
        ),
        (
            "node_modules/transpiled/index.js",
            "\"use strict\";\nObject.defineProperty(exports, \"__esModule\", { value: true });\nexports.default = 'the default';\nexports.named = 'a name';\n",
        ),
        (
            "node_modules/modern/package.json",
            r#"{ "name": "modern", "type": "module", "exports": { ".": { "node": "./node.js", "workerd": "./worker.js", "default": "./default.js" }, "./sub": { "import": "./sub.js", "require": "./sub.cjs" } } }"#,
        ),
        (
            "node_modules/modern/node.js",
            "import fs from 'fs'; export const esm = 'node';",
        ),
        ("node_modules/modern/worker.js", "export const esm = 'workerd';"),
        ("node_modules/modern/sub.js", "export const sub = 'sub';"),
        (
            "node_modules/@scope/thing/package.json",
            r#"{ "name": "@scope/thing" }"#,
        ),
        (
            "node_modules/@scope/thing/index.js",
            "module.exports = { answer: 42 };",
        ),
        ("node_modules/sloppy/package.json", r#"{ "name": "sloppy" }"#),
        (
            "node_modules/sloppy/index.js",
            "with ({ x: 017 }) { module.exports = x; }",
        ),
    ]);
    project.build("src/plugin.js").await.unwrap();
}

#[tokio::test]
async fn an_error_says_where_and_what_to_do() {
    let cases = [
        (
            "import x from 'left-pad';\n",
            "plugin.js:1:15: cannot find `left-pad`: run `npm install left-pad`",
        ),
        (
            "\nimport x from './gone.js';\n",
            "plugin.js:2:15: cannot find `./gone.js`: there is no such file",
        ),
        (
            "import fs from 'node:fs';\n",
            "plugin.js:1:16: `node:fs` cannot be used in a sandbox",
        ),
        (
            "import x from './lib.wasm';\n",
            "`./lib.wasm` cannot be used in a sandbox",
        ),
        ("let a = ;\n", "plugin.js:1:9: Unexpected token"),
        (
            "import x from './broken.json';\n",
            "broken.json:1:3: not valid JSON",
        ),
        ("\n\nnull.x;\n", "plugin.js:3"),
        ("throw new Error('no key');\n", "no key"),
    ];
    for (text, wanted) in cases {
        let project = Project::new(&[
            ("plugin.js", &format!("{text}{RAW_JS}")),
            ("lib.wasm", ""),
            ("broken.json", "{ a }"),
        ]);
        let error = project.error("plugin.js").await.to_string();
        assert!(error.contains(wanted), "{text:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[tokio::test]
async fn an_import_of_typescript_is_reported_with_its_line() {
    let source = "interface Gone {\n    a: string;\n}\n\nimport { pad } from 'left-pad';\n";
    let project = Project::new(&[(
        "plugin.ts",
        &format!("{source}export const used = pad;\n{RAW_JS}"),
    )]);
    let error = project.error("plugin.ts").await.to_string();
    assert!(
        error.starts_with("plugin.ts:5:21: cannot find `left-pad`"),
        "{error}"
    );
}

#[tokio::test]
async fn nothing_outside_of_the_project_is_read() {
    let outside = Project::new(&[("secret.json", "{}"), ("project/plugin.js", "")]);
    outside.write(
        "project/plugin.js",
        &format!("import x from '../secret.json';\n{RAW_JS}"),
    );
    let error = outside.error("project/plugin.js").await;
    assert!(matches!(error, BuildError::MissingImport { .. }), "{error}");
    std::os::unix::fs::symlink(outside.path("secret.json"), outside.path("project/link.json")).unwrap();
    outside.write(
        "project/plugin.js",
        &format!("import x from './link.json';\n{RAW_JS}"),
    );
    let error = outside.error("project/plugin.js").await;
    assert!(matches!(error, BuildError::MissingImport { .. }), "{error}");
}

const ANSWER: &str = "export default ";

/// A package of one file.
fn package(folder: &str, name: &str, answer: &str) -> [(String, String); 2] {
    let manifest = format!(r#"{{ "name": "{name}", "type": "module", "main": "./index.js" }}"#);
    [
        (format!("{folder}/{name}/package.json"), manifest),
        (
            format!("{folder}/{name}/index.js"),
            format!("{ANSWER}'{answer}';"),
        ),
    ]
}

#[tokio::test]
async fn packages_that_a_project_carries_are_found() {
    let main = format!(
        "import own from 'own';\nimport both from 'both';\nimport scoped from '@scope/thing';\nimport outer from 'outer';\n\
         const found = [own, both, scoped, outer].join(', ');\n\
         if (found !== 'vendored, installed, scoped, outer with inner of its own') throw new Error(found);\n{RAW_JS}"
    );
    let project = Project::new(&[
        ("package.json", r#"{ "name": "project" }"#),
        ("src/plugin.js", &main),
        (
            "vendor/outer/package.json",
            r##"{ "name": "outer", "type": "module", "exports": "./index.js", "imports": { "#inner": "inner" } }"##,
        ),
        (
            "vendor/outer/index.js",
            "import inner from 'inner';\nimport again from '#inner';\nif (inner !== again) throw new Error(again);\n\
             export default 'outer with ' + inner;",
        ),
    ]);
    for (path, text) in [
        package("vendor", "own", "vendored"),
        package("vendor", "both", "vendored"),
        package("node_modules", "both", "installed"),
        package("vendor", "@scope/thing", "scoped"),
        package("vendor", "inner", "inner of all"),
        package("vendor/outer/vendor", "inner", "inner of its own"),
    ]
    .as_flattened()
    {
        project.write(path, text);
    }
    project.build("src/plugin.js").await.unwrap();
}

#[tokio::test]
async fn a_package_above_the_project_does_not_hide_a_carried_one() {
    let main = format!("import own from 'own';\nif (own !== 'carried') throw new Error(own);\n{RAW_JS}");
    let project = Project::new(&[
        ("project/package.json", r#"{ "name": "project" }"#),
        ("project/plugin.js", &main),
    ]);
    for (path, text) in [
        package("node_modules", "own", "above"),
        package("project/vendor", "own", "carried"),
    ]
    .as_flattened()
    {
        project.write(path, text);
    }
    project.build("project/plugin.js").await.unwrap();
    // What is above the project alone is still not part of it.
    std::fs::remove_dir_all(project.path("project/vendor")).unwrap();
    let error = project.error("project/plugin.js").await.to_string();
    assert!(error.contains("outside of the project's folder"), "{error}");
}

#[tokio::test]
async fn a_package_that_cannot_run_is_named_wherever_it_lies() {
    for folder in [
        "node_modules",
        "vendor",
        "vendor/outer/node_modules",
        "vendor/outer/vendor",
    ] {
        let project = Project::new(&[
            ("package.json", r#"{ "name": "project" }"#),
            (
                "plugin.js",
                &format!("import './{folder}/bad/index.js';\n{RAW_JS}"),
            ),
            (&format!("{folder}/bad/index.js"), "import 'child_process';"),
        ]);
        let error = project.error("plugin.js").await.to_string();
        assert!(error.contains("The package `bad` needs it"), "{folder}: {error}");
    }
}
