//! The one filter that keeps secrets out of texts that come from outside.
//!
//! What a server, a plugin, a hook or a build writes may hold a secret that the hub gave it. Such a text passes
//! here before it goes anywhere but to the party that sent it: [`OutsideText`] for errors and logs, [`json`] for
//! messages. The filter belongs to the process: it knows every secret that was looked up since the start, so that a
//! text that comes late, after a change of the configuration, is filtered too.
//!
//! It must never hand out what it knows, and must not change a text that holds no secret by a single byte.

mod decode;
mod filter;
mod forms;
mod json;
mod text;
mod value;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;

use self::filter::Filter;
pub use self::text::OutsideText;
use self::value::Reach;
pub use self::value::{is_written_secret, names_secret};

/// Bytes that a text needs behind the place where it will be cut, so that no secret is cut in two: the longest form
/// of a secret of 4 KiB. See [`start`].
pub const SLACK: usize = 8 * 1024;

/// Both filters, made anew when something was learned.
#[derive(Default)]
struct Filters {
    /// For the hub's own texts.
    own: Filter,
    /// For what goes to clients.
    everything: Filter,
}

/// What is looked for, and why.
#[derive(Default)]
struct Known {
    texts: HashMap<String, Reach>,
    /// The names under which a value was learned.
    values: HashMap<String, HashSet<String>>,
}

#[derive(Default)]
struct Redactor {
    known: Mutex<Known>,
    /// Something is in `known` that is not in `filters`.
    stale: AtomicBool,
    filters: ArcSwap<Filters>,
}

static REDACTOR: LazyLock<Redactor> = LazyLock::new(Redactor::default);

impl Redactor {
    /// Adds the texts that `texts` makes of `value`, once for each name.
    fn learn(&self, name: &str, value: &str, texts: impl FnOnce() -> Vec<(String, Reach)>) {
        // The maps are whole at every point where code under the lock could panic.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.values.get(value).is_some_and(|names| names.contains(name)) {
            return;
        }
        known
            .values
            .entry(value.to_owned())
            .or_default()
            .insert(name.to_owned());
        for (text, reach) in texts() {
            if known.texts.get(&text).is_none_or(|before| *before < reach) {
                known.texts.insert(text, reach);
                self.stale.store(true, Ordering::Release);
            }
        }
    }

    fn filters(&self) -> arc_swap::Guard<std::sync::Arc<Filters>> {
        if self.stale.load(Ordering::Acquire) {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            // A thread that waited for the lock finds it done.
            if self.stale.load(Ordering::Acquire) {
                let to = |least: Reach| {
                    let texts = known.texts.iter().filter(move |(_, reach)| **reach >= least);
                    Filter::new(texts.map(|(text, _)| text.as_str()))
                };
                self.filters.store(std::sync::Arc::new(Filters {
                    own: to(Reach::OwnTexts),
                    everything: to(Reach::Everything),
                }));
                self.stale.store(false, Ordering::Release);
            }
        }
        self.filters.load()
    }
}

/// Makes the value of the variable or the secret `name` known. Values under eight characters are not filtered: they
/// stand in other texts by chance.
pub fn learn(name: &str, value: &str) {
    REDACTOR.learn(name, value, || {
        let reach = value::reach(name, value);
        let texts = value::texts(value).into_iter();
        texts.map(|text| (text, reach)).collect()
    });
}

/// Makes a value known that stands in the configuration as it is, under the key `name`, if its name or its look is
/// that of a secret.
pub fn learn_written(name: &str, value: &str) {
    REDACTOR.learn(name, value, || {
        let whole = value::is_written_secret(name, value);
        // An address is not a secret, but it may hold some.
        let texts = value::texts(value)
            .into_iter()
            .filter(|text| whole || (value.contains("://") && text != value.trim()));
        texts.map(|text| (text, Reach::Everything)).collect()
    });
}

/// [`learn_written`] for an argument behind the option `name`: how an argument looks says nothing.
pub fn learn_argument(name: &str, value: &str) {
    if value::names_secret(name) || value.contains("://") {
        learn_written(name, value);
    }
}

/// A text for the hub's own use, without secrets. Borrows where there are none.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    REDACTOR.filters().own.text(text)
}

/// The first `keep` bytes of a text for the hub's own use, without secrets, and whole characters only. Give at least
/// [`SLACK`] bytes more where there are more: a secret at the cut goes as a whole then.
#[must_use]
pub fn start(text: &str, keep: usize) -> String {
    REDACTOR.filters().own.start(text, keep)
}

/// A JSON text on its way to a client, without secrets in its strings and numbers. It is JSON still; where there are
/// no secrets it is the same bytes, not copied.
#[must_use]
pub fn json(text: &Bytes) -> Bytes {
    REDACTOR.filters().everything.json(text.clone())
}

/// [`json`] for the hub's own use.
#[must_use]
pub fn own_json(text: Bytes) -> Bytes {
    REDACTOR.filters().own.json(text)
}

/// A text on its way to a client, without secrets.
#[must_use]
pub fn for_client(text: &str) -> Cow<'_, str> {
    REDACTOR.filters().everything.text(text)
}
