//! CommonJS modules as ECMAScript modules.
//!
//! Two files each: the definition, which holds the code in a function and imports the definitions of what it
//! may require, and a wrapper, which runs it and exports what came of it. So requiring stays what it is, on
//! demand and once, cycles included.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{
    OURS,
    emit::{export_names, quote, rewritten, specifier, staged_name, why_not},
    graph::{Content, Graph, Module},
    parse::{Parsed, without_hashbang},
    resolve::Target,
};

/// The wrapper's file. The default import of a module that was ECMAScript once is its `default`, except for
/// importers that follow Node (`node_mode`).
pub(super) fn wrapper_name(index: usize, node_mode: bool) -> String {
    format!("{OURS}/cjs/{index}{}.js", if node_mode { "n" } else { "" })
}

/// Runs the module and exports what importers want of it.
pub(super) fn wrapper(graph: &Graph, index: usize, module: &Module, node_mode: bool) -> String {
    let name = wrapper_name(index, node_mode);
    let mut names = module.wanted.names.clone();
    if module.wanted.all {
        exports(graph, index, &mut names, &mut BTreeSet::new());
    }
    let mut code = format!(
        "import {{ load, defaultOf }} from {};\nimport {};\nconst value = load({});\nexport default {};\n",
        specifier(&name, &format!("{OURS}/node/cjs.js")),
        specifier(&name, &module.name),
        quote(&module.name),
        if node_mode { "value" } else { "defaultOf(value)" },
    );
    export_names(&mut code, "value", &names);
    code
}

/// The names that a module exports, with those that it passes on.
fn exports(graph: &Graph, index: usize, names: &mut BTreeSet<String>, seen: &mut BTreeSet<usize>) {
    if !seen.insert(index) {
        return;
    }
    let Some(module) = graph.modules.get(index) else {
        return;
    };
    let Content::Code(parsed) = &module.content else {
        return;
    };
    names.extend(parsed.exports.iter().cloned());
    for passed in &parsed.passes_on {
        if let Some(Target::File(path)) = module.requires.get(passed)
            && let Some((next, _)) = graph.at(path)
        {
            exports(graph, next, names, seen);
        }
    }
}

/// Defines the module without running it.
pub(super) fn definition(graph: &Graph, module: &Module, parsed: &Parsed) -> String {
    let from = &module.name;
    // Imports are found before anything runs, so they can stand behind the code and leave its lines alone.
    let mut imports = format!(
        "import {{ define }} from {};",
        specifier(from, &format!("{OURS}/node/cjs.js"))
    );
    let mut requires = String::new();
    for (index, (name, target)) in module.requires.iter().enumerate() {
        let mut of_module = |what: &str, value: &str| {
            let _ = write!(
                imports,
                " import * as __aih_{index} from {};",
                specifier(from, what)
            );
            format!("() => __aih_{index}{value}")
        };
        let getter = match target {
            Target::File(path) => match graph.at(path) {
                Some((_, other)) if other.is_commonjs() => {
                    let _ = write!(imports, " import {};", specifier(from, &other.name));
                    format!("(load) => load({})", quote(&other.name))
                }
                Some((_, other)) => {
                    let is_json = matches!(other.content, Content::Json(_));
                    of_module(&staged_name(other), if is_json { ".default" } else { "" })
                }
                None => "() => undefined".to_owned(),
            },
            Target::Sdk(file) => of_module(&format!("{OURS}/sdk/{file}"), ""),
            Target::Shim(file) => of_module(&format!("{OURS}/node/{file}"), ".default"),
            Target::Nothing => "() => ({})".to_owned(),
            Target::Host => {
                let _ = write!(imports, " import * as __aih_{index} from {};", quote(name));
                format!("() => __aih_{index}")
            }
            Target::Node | Target::Missing(_) => {
                format!(
                    "(load, fail) => fail({})",
                    quote(&why_not(module, name, Some(target)))
                )
            }
        };
        let _ = write!(requires, "{}: {getter}, ", quote(name));
    }
    let (code, behind) = rewritten(graph, module, parsed);
    let code = without_hashbang(&code);
    let body = if parsed.strict {
        format!("function (exports, require, module, __filename, __dirname) {{{code}\n}}")
    } else {
        // Strict mode, which modules are in, refuses what it does: a function made of text is not.
        format!(
            "new Function(\"exports\", \"require\", \"module\", \"__filename\", \"__dirname\", {})",
            quote(&code)
        )
    };
    format!(
        "define({}, {{ {requires}}}, {body});\n{imports} {behind}\n",
        quote(from)
    )
}
