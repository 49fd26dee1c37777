//! The graph on disk, in the form that the engine loads.

use std::{collections::BTreeSet, fmt::Write as _, fs, io, path::Path};

use super::{
    ENTRY, OURS, commonjs, export,
    graph::{Content, Graph, Module, missing, node},
    parse::{Parsed, Range},
    resolve::Target,
};
use crate::{BuildError, SourcePosition, World};

/// The name of the `import` that stands for an `import(…)`.
const DYNAMIC: &str = "__aih_dynamic_";

/// Bytes of free memory at the end of the snapshot, so that few calls have to grow it.
const ROOM: usize = 256 << 10;

/// Writes all modules and the entry.
pub(super) fn emit(graph: &Graph, stage: &Path, world: World) -> Result<(), BuildError> {
    let write = |name: &str, text: &str| -> io::Result<()> {
        let path = stage.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)
    };
    let all = || -> io::Result<()> {
        write(&format!("{OURS}/nothing.js"), "export default {};\n")?;
        for (index, module) in graph.modules.iter().enumerate() {
            match &module.content {
                Content::Json(text) => write(&staged_name(module), &json(module, text))?,
                Content::Code(parsed) if module.is_commonjs() => {
                    write(&module.name, &commonjs::definition(graph, module, parsed))?;
                    for node_mode in [false, true] {
                        let name = commonjs::wrapper_name(index, node_mode);
                        write(&name, &commonjs::wrapper(graph, index, module, node_mode))?;
                    }
                }
                Content::Code(parsed) => {
                    let (text, behind) = rewritten(graph, module, parsed);
                    write(&module.name, &format!("{text}\n{behind}"))?;
                }
            }
        }
        write(ENTRY, &entry(graph, world))
    };
    all().map_err(|e| BuildError::io("cannot write into the build folder", &e))
}

/// The module that the engine starts with.
fn entry(graph: &Graph, world: World) -> String {
    let export = export(world);
    let author = graph
        .modules
        .first()
        .map(|module| specifier(ENTRY, &import_name(graph, &module.path, true)))
        .unwrap_or_default();
    let sdk = crate::embedded::find(
        crate::embedded::JAVASCRIPT_SDK,
        &format!("{}-entry.js", world.name()),
    );
    let mut text = String::new();
    if crate::embedded::find(crate::embedded::JAVASCRIPT_SDK, "prelude.js").is_some() {
        text.push_str("import \"./sdk/prelude.js\";\n");
    }
    let _ = writeln!(
        text,
        "import \"./node/globals.js\";\nimport * as author from {author};"
    );
    // The shape of the WIT world itself, made without the SDK.
    let probe = match world {
        World::Plugin => "callTool",
        World::Hook => "onEvent",
    };
    let raw = format!("typeof author.{export}?.{probe} === \"function\"");
    if sdk.is_some() {
        let _ = writeln!(
            text,
            "import * as sdk from \"./sdk/{}-entry.js\";\nconst raw = {raw};\nif (!raw) sdk.adopt(author);\nexport const {export} = raw ? author.{export} : sdk.{export};",
            world.name()
        );
    } else {
        let _ = writeln!(
            text,
            "if (!({raw})) throw new Error(\"it does not export `{export}`\");\nexport const {export} = author.{export};"
        );
    }
    // Freed again, it stays at the end of the snapshot's heap.
    let _ = writeln!(text, "new ArrayBuffer({ROOM});");
    text
}

/// Where a module is imported from: CommonJS through its wrapper.
pub(super) fn import_name(graph: &Graph, path: &Path, node_mode: bool) -> String {
    graph.at(path).map_or_else(String::new, |(index, module)| {
        if module.is_commonjs() {
            commonjs::wrapper_name(index, node_mode)
        } else {
            staged_name(module)
        }
    })
}

/// The module's file in the stage.
pub(super) fn staged_name(module: &Module) -> String {
    match module.content {
        // A file called package.json would be read as one.
        Content::Json(_) => format!("{}.js", module.name),
        Content::Code(_) => module.name.clone(),
    }
}

/// A string literal that imports `to` from `from`, both names in the stage.
pub(super) fn specifier(from: &str, to: &str) -> String {
    let up = "../".repeat(from.matches('/').count());
    quote(&format!("./{up}{to}"))
}

/// A text as a JavaScript string literal.
pub(super) fn quote(text: &str) -> String {
    // JSON is JavaScript, these two included since 2019.
    serde_json::Value::from(text).to_string()
}

fn json(module: &Module, text: &str) -> String {
    let mut code = format!(
        "const value = JSON.parse({});\nexport default value;\n",
        quote(text)
    );
    export_names(&mut code, "value", &module.wanted.names);
    code
}

/// Exports properties of a value by their names, except `default`.
pub(super) fn export_names(code: &mut String, value: &str, names: &BTreeSet<String>) {
    for (index, name) in names.iter().filter(|name| *name != "default").enumerate() {
        let name = quote(name);
        let _ = writeln!(
            code,
            "const _{index} = {value}?.[{name}];\nexport {{ _{index} as {name} }};"
        );
    }
}

/// What an import leads to, as a literal; `None` when it leads nowhere.
fn literal(graph: &Graph, module: &Module, name: &str, from: &str) -> Option<String> {
    Some(match module.imports.get(name)? {
        Target::File(path) => specifier(from, &import_name(graph, path, module.node_mode)),
        Target::Sdk(file) => specifier(from, &format!("{OURS}/sdk/{file}")),
        Target::Shim(file) => specifier(from, &format!("{OURS}/node/{file}")),
        Target::Nothing => specifier(from, &format!("{OURS}/nothing.js")),
        Target::Host => quote(name),
        Target::Node | Target::Missing(_) => return None,
    })
}

/// The module's text with its imports pointing into the stage, everything on the line where it was, and the
/// imports that have to stand behind it.
pub(super) fn rewritten(graph: &Graph, module: &Module, parsed: &Parsed) -> (String, String) {
    let from = &module.name;
    let mut edits: Vec<(Range, String)> = Vec::new();
    let mut behind = String::new();
    for request in &parsed.requests {
        if let Some(literal) = literal(graph, module, &request.name, from) {
            let end = if request.closes { ";" } else { "" };
            // As many lines as before.
            let lines = parsed
                .text
                .get(request.replace.clone())
                .map_or(0, |old| old.matches('\n').count());
            edits.push((
                request.replace.clone(),
                format!("{literal}{end}{}", "\n".repeat(lines)),
            ));
        }
    }
    for (index, import) in parsed.dynamic.iter().enumerate() {
        let found = import
            .name
            .as_deref()
            .map(|name| (name, literal(graph, module, name, from)));
        let code = match found {
            Some((_, Some(literal))) => {
                let _ = write!(behind, "import * as {DYNAMIC}{index} from {literal}; ");
                format!("Promise.resolve().then(() => {DYNAMIC}{index})")
            }
            Some((name, None)) => {
                let target = module.imports.get(name);
                format!(
                    "Promise.reject(new Error({}))",
                    quote(&why_not(module, name, target))
                )
            }
            None => format!(
                "Promise.reject(new Error({}))",
                quote(
                    "write the name of the module as a literal: a sandbox has no files in which to look for it"
                )
            ),
        };
        edits.push((import.whole.clone(), code));
    }
    for meta in &parsed.metas {
        edits.push((
            meta.clone(),
            format!("({{ url: {} }})", quote(&format!("file:///{}", module.name))),
        ));
    }
    (apply(&parsed.text, edits), behind)
}

fn apply(text: &str, mut edits: Vec<(Range, String)>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (range, new) in edits {
        // One in another, such as an import in an import's argument: the outer one counts.
        if range.start < at {
            continue;
        }
        out.push_str(text.get(at..range.start).unwrap_or_default());
        out.push_str(&new);
        at = range.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// Why a `require` or an `import(…)` fails when it is reached.
pub(super) fn why_not(module: &Module, name: &str, target: Option<&Target>) -> String {
    let position = SourcePosition {
        file: module.name.clone(),
        line: 0,
        column: 0,
    };
    match target {
        Some(Target::Node) => node(position, name).to_string(),
        Some(Target::Missing(why)) => missing(position, name, why.as_deref()).to_string(),
        _ => missing(position, name, None).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_keep_what_is_around_them() {
        let edits = vec![
            (6..9, "X".to_owned()),
            (0..1, "Y".to_owned()),
            (7..8, "inner".to_owned()),
        ];
        assert_eq!(apply("abcdef012ghi", edits), "YbcdefXghi");
        assert_eq!(specifier("a/b/c.js", "d.js"), "\"./../../d.js\"");
        assert_eq!(specifier(".aih/entry.js", "x y.js"), "\"./../x y.js\"");
    }
}
