//! Permission paths: what a key may see and use.
//!
//! A permission is a path such as `mcps/stripe/create_*`, `skills/code-review` or `admin/logs`:
//!
//! - `*` stands for any text, slashes and the empty text included; `*` alone is everything.
//! - A pattern grants the path it names **and everything below it**: `mcps/stripe` and
//!   `mcps/stripe/*` mean the same, the server itself and all that it offers.
//! - A leading `!` takes away. **Taking away wins over granting, in whatever order they are written**:
//!   a list that is sorted, merged or edited can never open by accident what it closes.
//! - What nothing grants is refused; an empty list grants nothing.
//! - A URI of a resource is compared in its normal form, see [`uri`]: in the pattern and in what is asked for.
//!
//! From this follows what the lists of the hub rely on: whoever may `a/b` may also `a/b/c` unless a
//! pattern takes `a/b/c` away.
//!
//! Matching takes time linear in the lengths of path and pattern, and allocates nothing. This module
//! must never look at anything but text: which path a thing has is the caller's knowledge.

use std::fmt;
use std::str::FromStr;

use super::uri::{self, ResourcePath, Wildcards};

/// What a key must be allowed to have the configuration read anew.
pub const RELOAD: &str = "admin/reload";

/// The longest permission string, in bytes.
pub const MAX_LENGTH: usize = 256;

/// The most `*` in one permission string.
pub const MAX_WILDCARDS: usize = 16;

/// The first segments a permission can start with.
pub const KINDS: [&str; 6] = ["mcps", "plugins", "skills", "configs", "hooks", "admin"];

/// A permission string that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("permission {pattern:?}: {kind}")]
pub struct PermissionError {
    /// The permission as written, cut to a printable length.
    pub pattern: String,
    /// What is wrong with it.
    pub kind: PermissionErrorKind,
}

/// What is wrong with a permission string, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PermissionErrorKind {
    /// Nothing is written.
    #[error("is empty; write \"*\" to grant everything, or leave the entry out")]
    Empty,
    /// More than [`MAX_LENGTH`] bytes.
    #[error("is {length} bytes long, at most {MAX_LENGTH} are allowed; use \"*\" for the rest of a name")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// More than [`MAX_WILDCARDS`] wildcards.
    #[error("has {count} \"*\", at most {MAX_WILDCARDS} are allowed")]
    TooManyWildcards {
        /// How many it has.
        count: usize,
    },
    /// A control character, for example a line break.
    #[error("contains a control character; remove it")]
    ControlCharacter,
    /// `!` with nothing behind it.
    #[error("names no path; write a path after the \"!\", or \"!*\" to take away everything")]
    NothingTakenAway,
    /// `..` stands behind a wildcard.
    #[error("has \"..\" after a \"*\", so what it names is not certain; write the path without \"..\"")]
    GoesUp,
    /// The path starts with no known kind.
    #[error("starts with {segment:?}, which is not one of mcps, plugins, skills, configs, hooks, admin{}", DidYouMean(*.nearest))]
    UnknownKind {
        /// The first segment as written.
        segment: String,
        /// The known kind that is most like it, where one is near.
        nearest: Option<&'static str>,
    },
}

struct DidYouMean(Option<&'static str>);

impl fmt::Display for DidYouMean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .map_or(Ok(()), |nearest| write!(f, "; did you mean {nearest:?}?"))
    }
}

/// One permission string, compiled.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    /// As written, with the `!`: for display.
    written: Box<str>,
    /// Without `!`, doubled `*` and a last `/` or `/*`. Itself a path, for "does that cover this".
    base: Box<str>,
    takes_away: bool,
    glob: Glob,
    /// The pattern for URIs: in normal form, and then in other readings of the URI that stands in it. Empty where
    /// `glob` does for URIs too.
    uris: Box<[Glob]>,
}

/// A glob without a last `/*`: it matches what it names and everything below.
#[derive(Clone, PartialEq, Eq)]
struct Glob {
    /// Text before the first `*`; the whole where there is none.
    head: Box<str>,
    /// Texts between two `*`, in order.
    middle: Box<[Box<str>]>,
    end_of_pattern: PatternEnd,
}

/// How a pattern ends.
#[derive(Clone, PartialEq, Eq)]
enum PatternEnd {
    /// No wildcard before the end: after `head` comes the end, or a `/` and anything.
    Exact,
    /// After the last wildcard comes `text` and then the end, or `text_slash` and anything.
    Subtree { text: Box<str>, text_slash: Box<str> },
    /// Ends in a wildcard that stands within a segment (`create_*`) or alone: anything.
    Open,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.written, f)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl FromStr for Pattern {
    type Err = PermissionError;

    fn from_str(written: &str) -> Result<Self, PermissionError> {
        Self::compile(written).map_err(|kind| PermissionError {
            pattern: written.chars().take(64).collect(),
            kind,
        })
    }
}

impl Pattern {
    fn compile(written: &str) -> Result<Self, PermissionErrorKind> {
        use PermissionErrorKind as Kind;
        if written.is_empty() {
            return Err(Kind::Empty);
        }
        if written.len() > MAX_LENGTH {
            return Err(Kind::TooLong {
                length: written.len(),
            });
        }
        if written.chars().any(char::is_control) {
            return Err(Kind::ControlCharacter);
        }
        let count = written.matches('*').count();
        if count > MAX_WILDCARDS {
            return Err(Kind::TooManyWildcards { count });
        }
        let (takes_away, path) = match written.strip_prefix('!') {
            Some("") => return Err(Kind::NothingTakenAway),
            Some(path) => (true, path),
            None => (false, written),
        };
        let mut glob = String::with_capacity(path.len());
        for c in path.trim_end_matches('/').chars() {
            if !(c == '*' && glob.ends_with('*')) {
                glob.push(c);
            }
        }
        check_kind(&glob)?;

        // `a/b/*` is `a/b` with everything below it, as is `a/b`.
        let base = glob.strip_suffix("/*").unwrap_or(&glob);
        let whole = Glob::new(base);
        let mut uris = Vec::new();
        for written in uris_of(&glob)? {
            let written = written.trim_end_matches('/');
            let one = Glob::new(written.strip_suffix("/*").unwrap_or(written));
            if !uris.contains(&one) {
                uris.push(one);
            }
        }
        if matches!(&*uris, [one] if *one == whole) {
            uris.clear();
        }
        Ok(Self {
            written: written.into(),
            takes_away,
            base: base.into(),
            glob: whole,
            uris: uris.into(),
        })
    }

    /// Whether this pattern takes away (`!`) instead of granting.
    #[must_use]
    pub fn takes_away(&self) -> bool {
        self.takes_away
    }

    /// Whether the pattern names `path` or something above it.
    fn matches(&self, path: &str) -> bool {
        self.glob.matches(path)
    }

    /// The same for the path of a resource in normal form.
    fn matches_uri(&self, path: &str) -> bool {
        self.uris.first().unwrap_or(&self.glob).matches(path)
    }

    /// The same for the path of a resource in any reading.
    fn matches_reading(&self, path: &str) -> bool {
        match &*self.uris {
            [] => self.glob.matches(path),
            uris => uris.iter().any(|one| one.matches(path)),
        }
    }

    /// Whether some path strictly below `folder` (no trailing slash; "" is the root) is matched.
    fn reaches_below(&self, folder: &str) -> bool {
        let below = |path: &str| {
            folder.is_empty()
                || path
                    .strip_prefix(folder)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        if matches!(self.glob.end_of_pattern, PatternEnd::Exact) {
            return self.matches(folder) || below(&self.glob.head);
        }
        // The first wildcard can swallow whatever of the folder is left.
        below(&self.glob.head) || folder.starts_with(&*self.glob.head)
    }
}

impl Glob {
    fn new(base: &str) -> Self {
        let mut parts = base.split('*').map(Box::<str>::from);
        let head = parts.next().unwrap_or_default();
        let mut middle: Vec<Box<str>> = parts.collect();
        let end_of_pattern = match middle.pop() {
            None => PatternEnd::Exact,
            Some(text) if text.is_empty() => PatternEnd::Open,
            Some(text) => PatternEnd::Subtree {
                text_slash: format!("{text}/").into(),
                text,
            },
        };
        Self {
            head,
            middle: middle.into(),
            end_of_pattern,
        }
    }

    /// Leftmost matching of each middle text is enough: an earlier match leaves more for what follows.
    fn matches(&self, path: &str) -> bool {
        let Some(mut rest) = path.strip_prefix(&*self.head) else {
            return false;
        };
        for text in &self.middle {
            let Some((_, behind)) = rest.split_once(&**text) else {
                return false;
            };
            rest = behind;
        }
        match &self.end_of_pattern {
            PatternEnd::Exact => rest.is_empty() || rest.starts_with('/'),
            PatternEnd::Subtree { text, text_slash } => {
                rest.ends_with(&**text) || rest.contains(&**text_slash)
            }
            PatternEnd::Open => true,
        }
    }
}

/// A glob as it stands for resources: the URI in it in normal form, then in its other readings. A glob without a
/// scheme is a piece of a URI, whose percent-coding alone can be brought into a normal form.
fn uris_of(glob: &str) -> Result<Vec<String>, PermissionErrorKind> {
    let Some((server, written)) = uri::begins_at(glob).and_then(|at| glob.split_at_checked(at)) else {
        return Ok(vec![uri::percent(glob.as_bytes())]);
    };
    if uri::goes_up_behind_a_wildcard(written) {
        return Err(PermissionErrorKind::GoesUp);
    }
    let normal = uri::normal(written.as_bytes());
    let (readings, _) = uri::readings(&normal, Wildcards::Any);
    let all = std::iter::once(normal).chain(readings);
    Ok(all.map(|uri| format!("{server}{uri}")).collect())
}

fn check_kind(glob: &str) -> Result<(), PermissionErrorKind> {
    let segment = glob.split('/').next().unwrap_or_default();
    let known = match segment.split_once('*') {
        Some((start, _)) => KINDS.iter().any(|kind| kind.starts_with(start)),
        None => KINDS.contains(&segment),
    };
    if known {
        return Ok(());
    }
    let nearest = KINDS
        .into_iter()
        .map(|kind| (strsim::damerau_levenshtein(kind, &segment.to_lowercase()), kind))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, kind)| kind);
    Err(PermissionErrorKind::UnknownKind {
        segment: segment.chars().take(64).collect(),
        nearest,
    })
}

/// What a key may see and use. The default grants nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PermissionSet {
    grants: Box<[Pattern]>,
    takes: Box<[Pattern]>,
    /// `*` is granted and nothing is taken away: the answer is always yes.
    all: bool,
}

impl fmt::Debug for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.grants.iter().chain(&self.takes))
            .finish()
    }
}

impl PermissionSet {
    /// Compiles a list of permission strings; their order has no meaning.
    ///
    /// # Errors
    /// The first string that cannot be understood. To report every bad one, parse each as a [`Pattern`].
    pub fn parse<S: AsRef<str>>(written: impl IntoIterator<Item = S>) -> Result<Self, PermissionError> {
        written.into_iter().map(|one| one.as_ref().parse()).collect()
    }

    /// The set that allows everything, as `["*"]` does.
    #[must_use]
    pub fn all() -> Self {
        Self::parse(["*"]).unwrap_or_default()
    }

    /// Whether `path` may be seen and used.
    #[must_use]
    pub fn allows(&self, path: &str) -> bool {
        self.all
            || (self.grants.iter().any(|one| one.matches(path))
                && !self.takes.iter().any(|one| one.matches(path)))
    }

    /// Whether a resource may be seen and used, in whatever spelling it was asked for: each reading of its URI must be
    /// granted, and none may be taken away.
    #[must_use]
    pub fn allows_resource(&self, resource: &ResourcePath) -> bool {
        let ResourcePath {
            normal,
            readings,
            shorter,
            obscure,
        } = resource;
        let granted = |path: &str| self.grants.iter().any(|one| one.matches_reading(path));
        let taken = |path: &str| self.takes.iter().any(|one| one.matches_reading(path));
        self.all
            || (!obscure
                && self.grants.iter().any(|one| one.matches_uri(normal))
                && readings.iter().all(|path| granted(path))
                && !std::iter::once(normal)
                    .chain(readings)
                    .chain(shorter)
                    .any(|path| taken(path)))
    }

    /// Whether something that has several names may be seen and used: one of its `paths` is granted, and none of
    /// them is taken away.
    #[must_use]
    pub fn allows_one_of(&self, paths: &[&str]) -> bool {
        let any = |patterns: &[Pattern]| {
            patterns
                .iter()
                .any(|one| paths.iter().any(|path| one.matches(path)))
        };
        self.all || (any(&self.grants) && !any(&self.takes))
    }

    /// Whether a pattern takes `path` away, be it granted or not.
    #[must_use]
    pub fn takes_away(&self, path: &str) -> bool {
        self.takes.iter().any(|one| one.matches(path))
    }

    /// Whether all that there is or may ever be below `folder` (`mcps/stripe`) is allowed.
    #[must_use]
    pub fn allows_all_under(&self, folder: &str) -> bool {
        let folder = folder.trim_end_matches('/');
        let taken = |take: &Pattern| take.matches(folder) || take.reaches_below(folder);
        self.all || (self.grants.iter().any(|grant| grant.matches(folder)) && !self.takes.iter().any(taken))
    }

    /// Whether anything below `folder` (`mcps/stripe`, with or without a trailing slash) could be allowed:
    /// whether to show a server in a list although only some of its tools are granted.
    ///
    /// Never says no where something is allowed. May say yes where only several patterns together take
    /// away the last of it; the lists below the folder are then empty.
    #[must_use]
    pub fn allows_any_under(&self, folder: &str) -> bool {
        let folder = folder.trim_end_matches('/');
        self.all
            || (!self.takes.iter().any(|take| take.matches(folder))
                && self
                    .grants
                    .iter()
                    .filter(|grant| grant.reaches_below(folder))
                    // As a path, a grant's `*` is a letter that only a `*` can match: to match it is to cover it.
                    .any(|grant| !self.takes.iter().any(|take| take.matches(&grant.base))))
    }

    /// Whether everything is allowed.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// The permissions as written, grants first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.grants.iter().chain(&self.takes).map(|one| &*one.written)
    }
}

impl FromIterator<Pattern> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> Self {
        let (takes, grants): (Vec<_>, Vec<_>) = patterns.into_iter().partition(Pattern::takes_away);
        let all = takes.is_empty() && grants.iter().any(|one| &*one.base == "*");
        Self {
            grants: grants.into(),
            takes: takes.into(),
            all,
        }
    }
}

#[cfg(test)]
#[path = "permission_tests.rs"]
mod tests;
