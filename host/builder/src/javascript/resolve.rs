//! What an import means: the rules of Node's resolution, for a runtime that is neither Node nor a browser.

use std::path::{Path, PathBuf};

use oxc_resolver::{ResolveError, ResolveOptions, Resolver as Oxc};

use crate::embedded;

/// Where an import leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A file of the project, as its real path.
    File(PathBuf),
    /// A file of the SDK, by its name there.
    Sdk(&'static str),
    /// A stand-in for a module of Node, by its file's name.
    Shim(&'static str),
    /// An interface of the WIT world: the engine's own.
    Host,
    /// Switched off by its package for platforms other than Node: an empty module.
    Nothing,
    /// A module of Node that has no stand-in.
    Node,
    /// It is not there. Why, where that is known.
    Missing(Option<String>),
}

/// Names that Node gives to its own modules.
const NODE: &[&str] = &[
    "_http_agent",
    "_http_client",
    "_http_common",
    "_http_incoming",
    "_http_outgoing",
    "_http_server",
    "_stream_duplex",
    "_stream_passthrough",
    "_stream_readable",
    "_stream_transform",
    "_stream_wrap",
    "_stream_writable",
    "_tls_common",
    "_tls_wrap",
    "assert",
    "async_hooks",
    "buffer",
    "child_process",
    "cluster",
    "console",
    "constants",
    "crypto",
    "dgram",
    "diagnostics_channel",
    "dns",
    "domain",
    "events",
    "fs",
    "http",
    "http2",
    "https",
    "inspector",
    "module",
    "net",
    "os",
    "path",
    "perf_hooks",
    "process",
    "punycode",
    "querystring",
    "readline",
    "repl",
    "stream",
    "string_decoder",
    "sys",
    "timers",
    "tls",
    "trace_events",
    "tty",
    "url",
    "util",
    "v8",
    "vm",
    "wasi",
    "worker_threads",
    "zlib",
];

/// The modules of Node that have a stand-in.
const SHIMMED: &[(&str, &str)] = &[
    ("assert", "assert.js"),
    ("buffer", "buffer.js"),
    ("events", "events.js"),
    ("path", "path.js"),
    ("path/posix", "path.js"),
    ("process", "process.js"),
    ("querystring", "querystring.js"),
    ("timers", "timers.js"),
    ("url", "url.js"),
    ("util", "util.js"),
];

/// Resolves imports of one project.
pub(super) struct Resolver {
    root: PathBuf,
    import: Oxc,
    require: Oxc,
}

impl Resolver {
    pub(super) fn new(root: &Path) -> Self {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let options = ResolveOptions {
            // What packages offer to runtimes that have the web's interfaces and not Node's.
            condition_names: words(&["import", "module", "workerd", "worker", "browser", "default"]),
            main_fields: words(&["browser", "module", "main"]),
            alias_fields: vec![words(&["browser"])],
            extensions: words(&[".ts", ".mts", ".js", ".mjs", ".cjs", ".json"]),
            extension_alias: vec![
                (".js".to_owned(), words(&[".js", ".ts"])),
                (".mjs".to_owned(), words(&[".mjs", ".mts"])),
                (".cjs".to_owned(), words(&[".cjs", ".cts"])),
            ],
            node_path: false,
            ..ResolveOptions::default()
        };
        let import = Oxc::new(options.clone());
        let require = import.clone_with_options(ResolveOptions {
            condition_names: words(&["require", "workerd", "worker", "browser", "default"]),
            ..options
        });
        Self {
            root: root.to_owned(),
            import,
            require,
        }
    }

    /// Where a name leads from a file.
    pub(super) fn resolve(&self, from: &Path, name: &str, by_require: bool) -> Target {
        if let Some(target) = own(name) {
            return target;
        }
        let bare = name.strip_prefix("node:");
        if bare.is_none() {
            let resolver = if by_require { &self.require } else { &self.import };
            match resolver.resolve_file(from, name) {
                // The real path: links within the project are followed, and none that leads out.
                Ok(found) => match found.path().canonicalize() {
                    Ok(real) if real.starts_with(&self.root) => return Target::File(real),
                    Ok(real) => {
                        return Target::Missing(Some(format!(
                            "it is at {}, outside of the project's folder {}",
                            real.display(),
                            self.root.display()
                        )));
                    }
                    Err(_) => {}
                },
                Err(ResolveError::Ignored(_)) => return Target::Nothing,
                Err(ResolveError::NotFound(_)) => {}
                Err(other) => {
                    if !is_node(name) {
                        return Target::Missing(Some(other.to_string()));
                    }
                }
            }
        }
        let node = bare.unwrap_or(name);
        if let Some((_, file)) = SHIMMED.iter().find(|(known, _)| *known == node) {
            return Target::Shim(file);
        }
        if bare.is_some() || is_node(node) {
            return Target::Node;
        }
        Target::Missing(None)
    }
}

/// The SDK, and the interfaces of the world.
fn own(name: &str) -> Option<Target> {
    if name.starts_with("aih:") || name.starts_with("wasi:") {
        return Some(Target::Host);
    }
    let rest = match name.strip_prefix("aih-plugin") {
        Some("") => "index".to_owned(),
        Some(rest) => rest.strip_prefix('/')?.to_owned(),
        None => return None,
    };
    let file = embedded::JAVASCRIPT_SDK
        .iter()
        .map(|(file, _)| *file)
        .find(|file| *file == rest || file.strip_suffix(".js") == Some(&rest))?;
    Some(Target::Sdk(file))
}

fn is_node(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or(name);
    NODE.contains(&first)
}

/// The package of a bare import: `a` of `a/b`, `@a/b` of `@a/b/c`. `None` for a path.
pub(super) fn package_of(name: &str) -> Option<&str> {
    if name.starts_with(['.', '/', '#']) {
        return None;
    }
    let mut slashes = name.match_indices('/').map(|(at, _)| at);
    let end = if name.starts_with('@') {
        slashes.nth(1)
    } else {
        slashes.next()
    };
    Some(end.and_then(|end| name.get(..end)).unwrap_or(name))
}
