//! Which module of the hub may import which. The list is [`ARROWS`]; everything else is refused.
//!
//! The modules of `host/hub/src` are read as tokens, from `lib.rs` down, so that a path counts wherever it stands: in a
//! `use`, within its braces, in a signature, in a body, in a macro. Code under `#[cfg(test)]`, and what only tests and
//! fuzzers see, may import what it likes.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of this is a test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Each module with what it may import, and why. From the top down: no module imports one that stands above it, so there
/// is not a circle. What a module imports from the crates `aih_*` is in `Cargo.toml`.
const ARROWS: &[(&str, &[(&str, &str)])] = &[
    (
        "cli",
        &[
            ("access", "makes keys; the listener asks for them"),
            ("api", "serves REST"),
            ("catalogue", "logs what is up after the start"),
            ("components", "runs one plugin or hook without a hub"),
            ("config", "reads the file"),
            ("data", "claims the data folder"),
            ("gateway", "serves MCP"),
            ("hooks", "tries a hook out"),
            ("hub", "assembles and stops a hub"),
            ("listener", "serves HTTP"),
            ("observe", "sets logging up"),
            ("open_files", "raises the limit before anything is opened"),
            ("plugins", "shows what a component offers"),
            ("provider", "the states that the log of the start tells"),
            (
                "registry",
                "`config check` reads skills and configs as a start does",
            ),
            ("reload", "SIGHUP"),
            ("secrets", "a plugin that is tried out gets its secrets"),
        ],
    ),
    (
        "api",
        &[
            ("access", "every answer is for a caller"),
            ("catalogue", "media types and digests of skills and configs"),
            ("hooks", "triggers hooks, takes webhooks, lists dead events"),
            ("listener", "reads bodies within their limits; shows connections"),
            ("memory", "bodies are accounted for"),
            ("names", "`SKILL.md` is a path of the API"),
            ("observe", "shows the log"),
            ("provider", "health and metrics count states"),
            ("registry", "the views that it shows"),
            ("reload", "POST /reload does what SIGHUP does"),
        ],
    ),
    (
        "reload",
        &[
            ("access", "keys are replaced"),
            ("builtin", "the content of the hub's own tools is replaced"),
            ("catalogue", "what is not connected is connected at once"),
            ("config", "reads the file"),
            ("hooks", "tells hooks"),
            ("hub", "reads keys as the start does"),
            ("registry", "the content that is replaced"),
        ],
    ),
    (
        "hub",
        &[
            ("access", "keys of the configuration"),
            ("builtin", "assembles it"),
            ("calls", "gives components what makes their calls"),
            ("catalogue", "assembles it"),
            ("components", "sets the runtime up"),
            ("config", "says what is assembled"),
            ("data", "the folder, and who runs background hooks"),
            ("gateway", "assembles it"),
            ("hooks", "assembles them"),
            ("plugins", "assembles them"),
            ("provider", "all parts that answer calls are providers"),
            ("registry", "assembles the inventory"),
            ("upstream", "assembles the servers"),
        ],
    ),
    (
        "gateway",
        &[
            (
                "access",
                "every request has a principal; what a principal began ends with it",
            ),
            ("calls", "every call is made there"),
            ("catalogue", "lists, and the look-up of names"),
            ("hooks", "`list.tools` and conversations"),
            ("listener", "reads bodies within their limits"),
            ("memory", "streams and sessions are accounted for"),
            ("names", "names of the aggregated endpoint"),
            ("provider", "makes the client's end of a call"),
        ],
    ),
    (
        "builtin",
        &[
            ("access", "answers only what the caller may see"),
            ("catalogue", "skills and configs as prompts and resources"),
            ("hooks", "`trigger_hook`, and the prompt with what hooks say"),
            ("names", "its own namespace"),
            ("provider", "it is a provider"),
            ("registry", "its tools show the views that REST shows"),
        ],
    ),
    (
        "registry",
        &[
            ("access", "every view is for a principal"),
            ("catalogue", "what is on offer, skills and configs"),
            ("config", "what the configuration registers"),
            ("hooks", "the state of each hook"),
            ("listener", "health counts connections"),
            ("memory", "health counts what is held for clients"),
            ("provider", "the state of each server"),
        ],
    ),
    (
        "calls",
        &[
            ("access", "the grants of a component that calls"),
            ("catalogue", "the offering that a call names, and its permission"),
            ("components", "fills the port for calls of components"),
            ("hooks", "hooks run around calls"),
            ("provider", "makes the call"),
        ],
    ),
    (
        "upstream",
        &[
            ("access", "shares and counts are for each key"),
            ("catalogue", "the check of a list"),
            ("config", "what an entry says of a server"),
            ("memory", "counts that forget who has nothing left"),
            (
                "open_files",
                "children get the limit that the hub was started with",
            ),
            ("provider", "a server is a provider"),
            ("coalesce", "polls connections without waking a thread"),
            ("secrets", "what children may see of the environment"),
        ],
    ),
    (
        "plugins",
        &[
            ("catalogue", "the check of a list"),
            ("components", "a plugin is a component that is kept ready"),
            ("config", "what an entry says of a plugin"),
            ("provider", "a plugin is a provider"),
        ],
    ),
    (
        "hooks",
        &[
            ("access", "hooks run in the name of a principal"),
            (
                "catalogue",
                "what a call names; which servers come up and go down",
            ),
            ("components", "a hook is a component that is kept ready"),
            ("config", "what an entry says of a hook"),
            ("data", "one process of the folder runs background hooks"),
            ("names", "the longest name that a hook may give a tool"),
            ("provider", "the call and the client that an event is about"),
        ],
    ),
    (
        "components",
        &[
            ("access", "`grants.mcps` are permissions"),
            ("config", "what an entry grants, and its limits"),
            ("provider", "a component answers for a call, and asks its client"),
            ("secrets", "`secret()` of a component"),
        ],
    ),
    (
        "catalogue",
        &[
            ("access", "lists and look-ups ask permissions"),
            ("names", "exposed names"),
            ("provider", "it holds providers"),
        ],
    ),
    ("provider", &[("access", "a client has a principal")]),
    (
        "listener",
        &[
            ("access", "who may connect; connections and bodies of a key"),
            ("config", "certificate and key of `server.tls`"),
            ("memory", "bodies are accounted for"),
            ("open_files", "how many connections there may be"),
            ("coalesce", "polls connections without waking a thread"),
        ],
    ),
    ("memory", &[("access", "what is held is held for a key")]),
    (
        "config",
        &[
            ("access", "holds hashes of keys"),
            ("data", "the names of the hub's locks, which nobody is granted"),
            ("names", "which names an entry may have"),
            ("secrets", "`${VAR}`"),
        ],
    ),
    ("access", &[]),
    ("data", &[]),
    ("names", &[]),
    ("observe", &[]),
    ("open_files", &[]),
    ("coalesce", &[]),
    ("secrets", &[]),
];

/// One import: a file of `of` names something of `to`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone)]
struct Import {
    of: String,
    to: String,
    file: PathBuf,
    path: String,
}

/// Reads one file, and the files of its modules.
struct Reader {
    root: PathBuf,
    imports: BTreeSet<Import>,
}

impl Reader {
    fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            imports: BTreeSet::new(),
        }
    }

    /// Reads the file at `path`, which is the module `module`; `folder` is where the files of its modules are.
    fn file(&mut self, path: &Path, module: &[String], folder: &Path) {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let tokens = text
            .parse()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.tokens(tokens, path, module, folder);
    }

    fn tokens(&mut self, tokens: TokenStream, file: &Path, module: &[String], folder: &Path) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        let mut named_file = None;
        while let Some(token) = tokens.get(at) {
            if let Some((attribute, end)) = attribute(&tokens, at) {
                let text = attribute.stream().to_string().replace(' ', "");
                if matches!(text.as_str(), "cfg(test)" | "cfg(any(test,fuzzing))") {
                    at = end_of_item(&tokens, end);
                    continue;
                }
                if let Some(path) = text.strip_prefix("path=\"") {
                    named_file = Some(path.trim_end_matches('"').to_owned());
                }
                self.tokens(attribute.stream(), file, module, folder);
                at = end;
                continue;
            }
            match token {
                TokenTree::Ident(word) if word == "mod" => {
                    if let Some(TokenTree::Ident(name)) = tokens.get(at + 1) {
                        let name = name.to_string();
                        let inner: Vec<String> = module.iter().cloned().chain([name.clone()]).collect();
                        match tokens.get(at + 2) {
                            Some(TokenTree::Group(body)) => {
                                self.tokens(body.stream(), file, &inner, &folder.join(&name));
                                at += 3;
                                continue;
                            }
                            Some(TokenTree::Punct(end)) if end.as_char() == ';' => {
                                self.module(&name, named_file.take(), file, &inner, folder);
                                at += 3;
                                continue;
                            }
                            _ => {}
                        }
                    }
                }
                TokenTree::Ident(word) if (word == "crate" || word == "super") && is_start(&tokens, at) => {
                    self.path(&tokens, at, file, module);
                }
                TokenTree::Group(group) => self.tokens(group.stream(), file, module, folder),
                _ => {}
            }
            at += 1;
        }
    }

    fn module(&mut self, name: &str, named: Option<String>, file: &Path, module: &[String], folder: &Path) {
        let beside = file.parent().unwrap();
        let own = folder.join(name);
        let (path, folder) = match named {
            Some(named) => (beside.join(named), beside.to_owned()),
            None if own.join("mod.rs").is_file() => (own.join("mod.rs"), own),
            None => (own.with_extension("rs"), own),
        };
        self.file(&path, module, &folder);
    }

    /// Notes what the path that begins with `crate` or `super` at `at` names.
    fn path(&mut self, tokens: &[TokenTree], at: usize, file: &Path, module: &[String]) {
        if !is_separator(tokens, at + 1) {
            return;
        }
        let base = match &tokens[at] {
            TokenTree::Ident(word) if word == "super" => &module[..module.len().saturating_sub(1)],
            _ => &[],
        };
        self.rest(&tokens[at + 3..], base, file, module);
    }

    /// Notes what the rest of a path names, or each branch of its braces; `base` is the module that it begins in.
    fn rest(&mut self, rest: &[TokenTree], base: &[String], file: &Path, module: &[String]) {
        match rest.first() {
            Some(TokenTree::Ident(word)) if word == "super" && is_separator(rest, 1) => {
                self.rest(&rest[3..], &base[..base.len().saturating_sub(1)], file, module);
            }
            Some(TokenTree::Ident(_)) if base.is_empty() => self.note(rest, file, module),
            Some(TokenTree::Group(group)) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let branches = inner.split(|token| is_punct(token, ','));
                branches.for_each(|branch| self.rest(branch, base, file, module));
            }
            _ => {}
        }
    }

    /// `path` begins with the name of a module of the crate's root.
    fn note(&mut self, path: &[TokenTree], file: &Path, module: &[String]) {
        let (Some(TokenTree::Ident(to)), Some(of)) = (path.first(), module.first()) else {
            return;
        };
        let to = to.to_string();
        if to == *of {
            return;
        }
        let words = path.iter().take(4).map(ToString::to_string);
        let words = words.take_while(|word| word != ";" && word != "(" && !word.contains('{'));
        self.imports.insert(Import {
            of: of.clone(),
            to,
            file: file.strip_prefix(&self.root).unwrap_or(file).to_owned(),
            path: words.collect::<String>().trim_end_matches(':').to_owned(),
        });
    }
}

/// The attribute that begins at `at`, and where it ends.
fn attribute(tokens: &[TokenTree], at: usize) -> Option<(&Group, usize)> {
    if !is_punct(tokens.get(at)?, '#') {
        return None;
    }
    let at = if is_punct(tokens.get(at + 1)?, '!') {
        at + 2
    } else {
        at + 1
    };
    match tokens.get(at)? {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => Some((group, at + 1)),
        _ => None,
    }
}

/// Where the item, the field or the statement ends that begins at `at`.
fn end_of_item(tokens: &[TokenTree], mut at: usize) -> usize {
    const ITEMS: [&str; 14] = [
        "pub", "mod", "fn", "use", "impl", "struct", "enum", "const", "static", "type", "trait", "async",
        "unsafe", "extern",
    ];
    while let Some((_, end)) = attribute(tokens, at) {
        at = end;
    }
    let is_item = tokens
        .get(at)
        .is_some_and(|first| ITEMS.contains(&first.to_string().as_str()));
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                // `use a::{b};` and `const A: T = T {…};` have a semicolon behind their braces.
                return at + usize::from(tokens.get(at).is_some_and(|next| is_punct(next, ';')));
            }
            token if is_punct(token, ';') || (!is_item && is_punct(token, ',')) => return at,
            _ => {}
        }
    }
    at
}

fn is_punct(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| tokens.get(at).is_some_and(|token| is_punct(token, ':'));
    colon(at) && colon(at + 1)
}

/// Whether the word at `at` begins a path: neither `a::crate` nor `$crate`.
fn is_start(tokens: &[TokenTree], at: usize) -> bool {
    let in_path = at >= 2 && is_separator(tokens, at - 2);
    let in_macro = at >= 1 && is_punct(&tokens[at - 1], '$');
    !in_path && !in_macro
}

fn imports() -> BTreeSet<Import> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut reader = Reader::new(&root);
    reader.file(&root.join("lib.rs"), &[], &root);
    reader.imports
}

fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let of = |arrows: &[(&'static str, &str)]| arrows.iter().map(|(to, _)| *to).collect();
    ARROWS
        .iter()
        .map(|(module, arrows)| (*module, of(arrows)))
        .collect()
}

/// What is wrong with these imports, a sentence each.
fn faults(imports: &BTreeSet<Import>) -> Vec<String> {
    let allowed = allowed();
    let refused = imports.iter().filter(|import| {
        let known = allowed.get(&*import.of);
        known.is_none_or(|known| !known.contains(&*import.to))
    });
    let mut faults: Vec<String> = refused
        .map(|Import { of, to, file, path }| {
            let file = file.display();
            format!(
                "src/{file} imports `crate::{path}`, but `{of}` may not import `{to}`: move what it needs to a module below \
                 both, or add the arrow with its reason to ARROWS in host/hub/tests/arrows.rs"
            )
        })
        .collect();
    let used: BTreeSet<(&str, &str)> = imports.iter().map(|import| (&*import.of, &*import.to)).collect();
    for (module, arrows) in ARROWS {
        let unused = arrows.iter().filter(|(to, _)| !used.contains(&(*module, *to)));
        faults.extend(unused.map(|(to, _)| {
            format!("`{module}` does not import `{to}` any more: remove the arrow from ARROWS in host/hub/tests/arrows.rs")
        }));
    }
    faults
}

#[test]
fn modules_import_what_the_list_allows() {
    let imports = imports();
    assert!(
        imports.len() > 100,
        "the reader found {} imports only",
        imports.len()
    );
    let faults = faults(&imports);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn arrows_point_down() {
    let order: Vec<&str> = ARROWS.iter().map(|(module, _)| *module).collect();
    let place = |module: &str| order.iter().position(|other| *other == module);
    for (module, arrows) in ARROWS {
        for (to, why) in *arrows {
            assert!(!why.is_empty(), "{module} -> {to} has no reason");
            assert!(
                place(to) > place(module),
                "`{to}` stands above `{module}` in ARROWS, so `{module}` may not import it"
            );
        }
    }
}

#[test]
fn imports_are_found_wherever_they_stand() {
    let found = |text: &str| {
        let mut reader = Reader::new(Path::new("/"));
        let module = ["hooks".to_owned(), "views".to_owned()];
        reader.tokens(text.parse().unwrap(), Path::new("/f.rs"), &module, Path::new("/"));
        let found = reader.imports.into_iter().map(|import| import.to);
        found
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (text, modules) in [
        ("use crate::gateway::Gateway;", "gateway"),
        (
            "pub(crate) use crate::{gateway::{a, b}, mcp::c as d, hooks::e};",
            "gateway mcp",
        ),
        ("use super::{event, super::gateway::Gateway};", "gateway"),
        ("use super::super::{gateway::Gateway, hooks};", "gateway"),
        ("use super::event::{self, Facts};", ""),
        (
            "fn a(b: &crate::gateway::Gateway) -> Option<crate::api::State> { c() }",
            "api gateway",
        ),
        (
            "fn a() { use crate::gateway as g; tracing::info!(\"{}\", crate::api::MAX); }",
            "api gateway",
        ),
        (
            "mod inner { use super::super::super::gateway; use super::super::event; }",
            "gateway",
        ),
        (
            "impl From<crate::store::A> for B { type C = super::super::gateway::D; }",
            "gateway store",
        ),
        (
            "#[cfg(test)] mod tests { use crate::gateway::Gateway; } use crate::mcp;",
            "mcp",
        ),
        ("#[cfg(test)] use crate::gateway::{A, B}; use crate::mcp;", "mcp"),
        (
            "#[cfg(test)] #[path = \"a.rs\"] pub(super) mod tests; use crate::mcp;",
            "mcp",
        ),
        (
            "#[cfg(test)] fn a<B, C>() { crate::gateway::a() } fn d() { crate::mcp::e() }",
            "mcp",
        ),
        (
            "struct A { #[cfg(test)] b: crate::gateway::B, c: crate::mcp::C }",
            "mcp",
        ),
        ("macro_rules! a { () => { $crate::gateway::b() }; }", ""),
        (
            "// crate::gateway\n/// [`crate::gateway`]\nconst A: &str = \"crate::gateway\";",
            "",
        ),
        ("pub(crate) fn a() {} use other::crate_name;", ""),
    ] {
        assert_eq!(found(text), modules, "{text}");
    }
}
