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

/// The folders that packages are looked for in, in the order in which they count: what `npm` installs, and what a
/// project carries. The second is for projects that work without an installation; see `cargo xtask vendor`.
pub(super) const PACKAGE_FOLDERS: [&str; 2] = ["node_modules", "vendor"];

/// Resolves imports of one project.
pub(super) struct Resolver {
    root: PathBuf,
    /// One for each of [`PACKAGE_FOLDERS`], so that a package which lies in a `node_modules` above the project hides none
    /// that the project carries.
    by_folder: [Conditions; PACKAGE_FOLDERS.len()],
}

/// The two ways to name a module.
struct Conditions {
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
        // All of them share what they know of the file system.
        let first = Oxc::new(options.clone());
        let by_folder = PACKAGE_FOLDERS.map(|folder| {
            let options = ResolveOptions {
                modules: vec![folder.to_owned()],
                ..options.clone()
            };
            Conditions {
                import: first.clone_with_options(options.clone()),
                require: first.clone_with_options(ResolveOptions {
                    condition_names: words(&["require", "workerd", "worker", "browser", "default"]),
                    ..options
                }),
            }
        });
        Self {
            root: root.to_owned(),
            by_folder,
        }
    }

    /// Where a name leads from a file.
    pub(super) fn resolve(&self, from: &Path, name: &str, by_require: bool) -> Target {
        if let Some(target) = own(name) {
            return target;
        }
        let bare = name.strip_prefix("node:");
        let mut why = None;
        if bare.is_none() {
            // A path means the same whatever the folder of the packages is called.
            let folders = match name.starts_with(['.', '/']) {
                true => 1,
                false => PACKAGE_FOLDERS.len(),
            };
            for conditions in self.by_folder.iter().take(folders) {
                match self.find(conditions, from, name, by_require) {
                    Target::Missing(reason) => why = why.or(reason),
                    found => return found,
                }
            }
        }
        if let Some(why) = why {
            return Target::Missing(Some(why));
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

    /// Where a name leads from a file, as far as files are concerned.
    fn find(&self, conditions: &Conditions, from: &Path, name: &str, by_require: bool) -> Target {
        let resolver = match by_require {
            true => &conditions.require,
            false => &conditions.import,
        };
        match resolver.resolve_file(from, name) {
            // The real path: links within the project are followed, and none that leads out.
            Ok(found) => match found.path().canonicalize() {
                Ok(real) if real.starts_with(&self.root) => Target::File(real),
                Ok(real) => Target::Missing(Some(format!(
                    "it is at {}, outside of the project's folder {}",
                    real.display(),
                    self.root.display()
                ))),
                Err(_) => Target::Missing(None),
            },
            Err(ResolveError::Ignored(_)) => Target::Nothing,
            Err(ResolveError::NotFound(_)) => Target::Missing(None),
            Err(_) if is_node(name) => Target::Missing(None),
            Err(other) => Target::Missing(Some(other.to_string())),
        }
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
