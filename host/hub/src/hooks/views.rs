//! Applies what `list.tools` hooks change in a list: hidden tools and renamed tools.
//!
//! The changes hold for calls of the same client too: a client cannot call a hidden tool, and calls a renamed tool by
//! its new name. This is not an access control. The permissions of a key say what the key may use.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use aih_mcp::{ErrorObject, RawJson, RawObject};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{EventContext, Hooks, Trigger, event};
use crate::{
    catalogue::{Scope, pages::Page},
    names::NameLimit,
    provider::{Call, ClientKey},
};

/// Views that are kept; beyond that all are made anew.
const KEPT: usize = 10_000;

/// What each client was shown.
#[derive(Default)]
pub(super) struct Views(Mutex<HashMap<ClientKey, HashMap<Scope, Arc<View>>>>);

impl Views {
    fn get(&self, client: &ClientKey, scope: &Scope) -> Option<Arc<View>> {
        // The map is whole at every point where code under the lock could panic.
        let views = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        views.get(client)?.get(scope).cloned()
    }

    fn keep(&self, client: &ClientKey, scope: &Scope, view: Arc<View>) {
        let mut views = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if views.len() >= KEPT {
            views.clear();
        }
        views
            .entry(client.clone())
            .or_default()
            .insert(scope.clone(), view);
    }

    pub(super) fn forget(&self, client: &ClientKey) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(client);
    }
}

/// What hooks changed in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    hidden: HashSet<Box<str>>,
    /// The name in the list to the new one.
    renamed: HashMap<Box<str>, Box<str>>,
}

/// What a hook answers. Unknown members are for later versions.
#[derive(Debug, Default, Deserialize)]
struct Change {
    #[serde(default)]
    hide: Vec<String>,
    #[serde(default)]
    rename: HashMap<String, String>,
}

impl View {
    /// The name under which a tool is shown; `None` for a hidden one.
    fn shown<'v>(&'v self, name: &'v str) -> Option<&'v str> {
        if self.hidden.contains(name) {
            return None;
        }
        Some(self.renamed.get(name).map_or(name, |new| new))
    }

    /// The name in the list of the tool that is shown as `shown`; `None` where none is.
    fn original<'v>(&'v self, shown: &'v str) -> Option<&'v str> {
        let renamed = self.renamed.iter().find(|(_, new)| ***new == *shown);
        match renamed {
            Some((old, _)) => Some(old),
            None => (self.shown(shown) == Some(shown)).then_some(shown),
        }
    }

    /// This view with what one more hook wants, which sees names as this view shows them. What it says of tools
    /// that are not there is left out.
    fn changed(&self, text: &str, listed: &[String], limit: NameLimit) -> Result<Self, String> {
        let wrong =
            |error: String| format!("it is not {{\"hide\": [names], \"rename\": {{old: new}}}}: {error}");
        // A list would do for a struct as well.
        if !text.trim_start().starts_with('{') {
            return Err(wrong("it is not an object".to_owned()));
        }
        let change: Change = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let mut view = self.clone();
        for name in &change.hide {
            if let Some(old) = self.original(name) {
                view.renamed.remove(old);
                view.hidden.insert(old.into());
            }
        }
        for (from, to) in &change.rename {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            let limit = limit.get();
            if to.is_empty() || to.len() > limit || !to.chars().all(fits) {
                return Err(format!(
                    "`{to}` cannot be the name of a tool: use 1 to {limit} letters, digits, `_` or `-`"
                ));
            }
            if let Some(old) = self.original(from).filter(|old| !view.hidden.contains(*old)) {
                view.renamed.insert(old.into(), to.as_str().into());
            }
        }
        let mut names = HashSet::new();
        for shown in listed.iter().filter_map(|name| view.shown(name)) {
            if !names.insert(shown) {
                return Err(format!("two tools would be called `{shown}`"));
            }
        }
        Ok(view)
    }
}

/// A tool of a list.
struct Tool<'a> {
    name: String,
    description: Option<String>,
    raw: &'a RawValue,
}

fn read(items: &RawJson) -> Vec<Tool<'_>> {
    #[derive(Deserialize)]
    struct Head {
        name: String,
        description: Option<String>,
    }
    let items: Vec<&RawValue> = items.read_borrowed().unwrap_or_default();
    let tools = items.into_iter().filter_map(|raw| {
        let head: Head = serde_json::from_str(raw.get()).ok()?;
        Some(Tool {
            name: head.name,
            description: head.description,
            raw,
        })
    });
    tools.collect()
}

impl Hooks {
    /// The items of one page of a list of tools as the hooks want it shown. The hooks are asked with all pages, at
    /// the first one; the others show what was said then. `may` says whether the client may use the tool of the first
    /// name under the second one, which a hook gave it.
    ///
    /// # Errors
    /// A hook denied the list.
    pub(crate) async fn view_page(
        &self,
        scope: &Scope,
        call: &Call,
        items: &RawJson,
        first: bool,
        all: impl FnOnce() -> Arc<[Page]>,
        may: impl Fn(&str, &str) -> bool,
    ) -> Result<RawJson, ErrorObject> {
        let kept = self.views.get(&call.client.key, scope).filter(|_| !first);
        let view = match kept {
            Some(view) => view,
            None => self.view(scope, call, &all()).await?,
        };
        let mut shown = Vec::new();
        for tool in read(items) {
            match view.shown(&tool.name) {
                None => {}
                Some(name) if *name == *tool.name => shown.push(tool.raw.to_owned()),
                Some(name) if !may(&tool.name, name) => {}
                Some(name) => {
                    let json = RawJson::of(tool.raw);
                    if let Ok(mut object) = RawObject::parse(&json) {
                        object.set("name", &RawJson::of(name));
                        shown.extend(object.to_json().read::<Box<RawValue>>());
                    }
                }
            }
        }
        Ok(RawJson::of(&shown))
    }

    /// The name in the list behind a name that the client calls. A client that was shown no list yet gets the one
    /// that it would be shown.
    ///
    /// # Errors
    /// A hook denied the list.
    pub(crate) async fn called(
        &self,
        scope: &Scope,
        call: &Call,
        name: &str,
        all: impl FnOnce() -> Arc<[Page]>,
    ) -> Result<Option<String>, ErrorObject> {
        let view = match self.views.get(&call.client.key, scope) {
            Some(view) => view,
            None => self.view(scope, call, &all()).await?,
        };
        Ok(view.original(name).map(str::to_owned))
    }

    async fn view(&self, scope: &Scope, call: &Call, pages: &[Page]) -> Result<Arc<View>, ErrorObject> {
        let tools: Vec<Tool<'_>> = pages.iter().flat_map(|page| read(&page.items)).collect();
        let server = match scope {
            Scope::All => None,
            Scope::One(name) => Some(&**name),
        };
        let context = EventContext {
            server,
            ..EventContext::client(&call.client)
        };
        let listed: Vec<String> = tools.iter().map(|tool| tool.name.clone()).collect();
        let payload = |view: &View| {
            let tools = tools.iter().filter_map(|tool| {
                let shown = view.shown(&tool.name)?.to_owned();
                Some((shown, tool.description.as_deref()))
            });
            tools.collect::<Vec<_>>()
        };
        let write = |facts: event::EventFacts<'_>, view: &View| {
            let tools = payload(view);
            let tools = tools.iter().map(|(name, description)| event::ListedTool {
                name,
                description: *description,
            });
            let payload = event::ListTools {
                server,
                tools: tools.collect(),
            };
            event::write(Trigger::ListTools, facts, &payload)
        };
        let asked = self.ask(
            Trigger::ListTools,
            context,
            call,
            View::default(),
            write,
            |view, text| view.changed(text, &listed, self.name_limit),
        );
        let view = Arc::new(asked.await.map_err(|denied| denied.as_error())?);
        self.views.keep(&call.client.key, scope, view.clone());
        if !self.background(Trigger::ListTools).is_empty() {
            let tools = payload(&view);
            let tools = tools.iter().map(|(name, description)| event::ListedTool {
                name,
                description: *description,
            });
            let payload = event::ListTools {
                server,
                tools: tools.collect(),
            };
            self.tell(Trigger::ListTools, context, &payload);
        }
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listed(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn hidden_and_renamed_tools() {
        let names = listed(&["a__x", "a__y", "b__z"]);
        let first = View::default()
            .changed(
                r#"{"hide":["a__y","nothing"],"rename":{"a__x":"x"}}"#,
                &names,
                NameLimit::DEFAULT,
            )
            .unwrap();
        assert_eq!((first.shown("a__x"), first.shown("a__y")), (Some("x"), None));
        assert_eq!(first.original("x"), Some("a__x"));
        assert_eq!(first.original("a__x"), None, "it has another name now");
        assert_eq!(first.original("a__y"), None);
        assert_eq!(first.original("b__z"), Some("b__z"));
        // The next hook sees what this one made.
        let second = first
            .changed(
                r#"{"rename":{"x":"xx"},"hide":["b__z"]}"#,
                &names,
                NameLimit::DEFAULT,
            )
            .unwrap();
        assert_eq!(second.original("xx"), Some("a__x"));
        assert_eq!(second.shown("b__z"), None);
        let third = second
            .changed(r#"{"hide":["xx"]}"#, &names, NameLimit::DEFAULT)
            .unwrap();
        assert_eq!(third.shown("a__x"), None);
    }

    #[test]
    fn names_must_be_legal_and_one_each() {
        let names = listed(&["a", "b"]);
        for bad in [
            r#"{"rename":{"a":"b"}}"#,
            r#"{"rename":{"a":"x y"}}"#,
            r#"{"rename":{"a":""}}"#,
            r#"{"hide":"a"}"#,
            "[]",
            "",
        ] {
            assert!(
                View::default().changed(bad, &names, NameLimit::DEFAULT).is_err(),
                "{bad}"
            );
        }
        let swapped = View::default()
            .changed(r#"{"rename":{"a":"b","b":"a"}}"#, &names, NameLimit::DEFAULT)
            .unwrap();
        assert_eq!(swapped.original("b"), Some("a"));
        assert!(
            View::default()
                .changed(r#"{"hide":["b"],"rename":{"a":"b"}}"#, &names, NameLimit::DEFAULT)
                .is_ok()
        );
    }

    proptest! {
        #[test]
        fn what_is_shown_leads_back(
            hide in prop::collection::vec("[a-d]", 0..3),
            rename in prop::collection::hash_map("[a-d]", "[a-f]", 0..4),
        ) {
            let names = listed(&["a", "b", "c", "d"]);
            let text = serde_json::json!({ "hide": hide, "rename": rename }).to_string();
            if let Ok(view) = View::default().changed(&text, &names, NameLimit::DEFAULT) {
                for name in &names {
                    if let Some(shown) = view.shown(name) {
                        prop_assert_eq!(view.original(shown), Some(&**name));
                    }
                }
            }
        }
    }
}
