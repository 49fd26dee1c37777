//! One consistent snapshot of everything on offer, made once per change and read without a lock.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Arc, RwLock},
};

use aih_mcp::{RawJson, RawObject, headers::ParamHeader, method::meta};
use serde_json::Value;

use super::{
    listed::{Item, ListKind, ListStyle},
    pages::{self, Group, Page, Position},
    target::{Target, ToolNames},
    ui, uri,
};
use crate::{
    access::{Principal, ResourcePath},
    names::{self, ExposedName, NameLimit, Namespace, SEPARATOR},
    provider::{Offers, Provider, ProviderKind},
};

/// A provider with its lists, named.
pub struct Offering {
    /// What serves the calls.
    pub provider: Arc<dyn Provider>,
    /// What kind of provider it is.
    kind: ProviderKind,
    /// What stands in front of its names.
    pub namespace: Namespace,
    /// What it listed when this snapshot was made.
    pub offers: Arc<Offers>,
    /// Longest exposed name.
    limit: NameLimit,
    items: [Vec<Item>; 4],
    by_original: HashMap<Box<str>, usize>,
}

impl Offering {
    /// Names everything that `provider` lists now, no name longer than `limit`. Two tools that would get one name: the first
    /// stays.
    pub fn new(provider: Arc<dyn Provider>, limit: NameLimit) -> Self {
        let offers = provider.offers();
        Self::of(provider, offers, limit)
    }

    /// The same for what `provider` lists for one client.
    pub fn of(provider: Arc<dyn Provider>, offers: Arc<Offers>, limit: NameLimit) -> Self {
        let kind = provider.status().kind;
        let namespace = match kind {
            ProviderKind::Hub => Namespace::hub(),
            ProviderKind::Mcp | ProviderKind::Plugin => Namespace::new(provider.name()),
        };
        let provider_kind = kind;
        let mut items = ListKind::ALL.map(|kind| {
            let mut taken = HashSet::new();
            let items = kind
                .items(&offers)
                .iter()
                .filter_map(|json| named(kind, json, &*provider, provider_kind, &namespace, limit));
            items.filter(|item| {
                let fresh = taken.insert(item.exposed.clone());
                if !fresh {
                    tracing::warn!(target: "aih::catalogue", server = provider.name(), kind = kind.member(),
                        name = %item.original, "an item is listed twice; the first one counts");
                }
                fresh
            }).collect::<Vec<_>>()
        });
        if let (Some(name), Some(text)) = (offers.instructions_tool, &offers.instructions)
            && let Some(tool) = items[0].iter_mut().find(|item| *item.original == *name)
        {
            tool.instructions = Some(text.as_str().into());
        }
        let by_original = items[0]
            .iter()
            .enumerate()
            .map(|(i, t)| (t.original.clone(), i))
            .collect();
        Self {
            provider,
            kind,
            namespace,
            offers,
            limit,
            items,
            by_original,
        }
    }

    /// What kind of provider it is.
    pub fn kind(&self) -> ProviderKind {
        self.kind
    }

    /// The items of one kind, all of them: filter by principal before showing any.
    pub fn items(&self, kind: ListKind) -> &[Item] {
        match kind {
            ListKind::Tools => &self.items[0],
            ListKind::Prompts => &self.items[1],
            ListKind::Resources => &self.items[2],
            ListKind::Templates => &self.items[3],
        }
    }

    /// The tool with this name at the provider.
    pub fn tool(&self, original: &str) -> Option<&Item> {
        self.items(ListKind::Tools).get(*self.by_original.get(original)?)
    }

    /// Whether an item of this kind may be called by a name. What is not listed is not there: a server's own words would
    /// tell it from what is hidden. A server that has not told its lists yet says why it does not serve, and one whose
    /// list is empty or could not be read answers for itself: nothing of it can be hidden behind a name.
    pub fn may_have(&self, kind: ListKind, original: &str) -> bool {
        let listed = match kind {
            ListKind::Tools => self.tool(original).is_some(),
            _ => self.items(kind).iter().any(|item| *item.original == *original),
        };
        listed || self.offers.capabilities.is_none() || self.items(kind).is_empty()
    }

    /// The names of the tool that is listed as `listed`, be it in the list or not; `None` for one that is not
    /// offered.
    pub fn tool_names(&self, listed: &str) -> Option<Arc<ToolNames>> {
        match self.tool(listed) {
            Some(item) => item.names.clone(),
            None => Some(Arc::new(ToolNames {
                own: self.provider.own_tool_name(listed)?.into(),
                listed: listed.into(),
            })),
        }
    }

    /// The permission path of something at this provider: `mcps/{name}/{item}`.
    pub fn permission(&self, item: &str) -> String {
        permission_path(self.provider.name(), self.kind, item)
    }

    /// Whether `principal` may use what a request names here: the one rule for every call, whoever makes it and over
    /// whichever endpoint.
    ///
    /// A tool may be granted by the server's own name or by the listed one. It may be taken away by these two, and by
    /// the name that a hook gave it. The hub's own tools and resources are open to every key: they answer only
    /// what it may see.
    pub fn permits(&self, target: &Target, principal: &Principal) -> bool {
        let permissions = principal.permissions();
        if !principal.is_current() {
            return false;
        }
        if permissions.is_all() {
            return true;
        }
        if self.kind == ProviderKind::Hub {
            return match target {
                Target::Prompt(name) => {
                    let mut prompts = self.items(ListKind::Prompts).iter();
                    let listed = prompts.find(|item| item.original == *name);
                    listed.is_none_or(|item| item.visible_to(principal))
                }
                _ => true,
            };
        }
        match target {
            Target::Tool { names, shown } => {
                let own = self.permission(&names.own);
                let allowed = match names.renamed() {
                    None => permissions.allows(&own),
                    Some(listed) => permissions.allows_one_of(&[&own, &self.permission(listed)]),
                };
                let taken = |shown: &str| permissions.takes_away(&self.permission(shown));
                allowed && !shown.as_deref().is_some_and(taken)
            }
            Target::Prompt(name) => permissions.allows(&self.permission(name)),
            Target::Resource(uri) => {
                permissions.allows_resource(&ResourcePath::new(&self.permission(""), uri))
            }
            Target::Own => self.visible_to(principal),
            Target::Server => permissions.allows_all_under(self.permission("").trim_end_matches('/')),
        }
    }

    /// Whether `principal` may use anything here.
    pub fn visible_to(&self, principal: &Principal) -> bool {
        match self.kind {
            ProviderKind::Hub => principal.is_current(),
            ProviderKind::Mcp => principal
                .permissions()
                .allows_any_under(&format!("mcps/{}/", self.provider.name())),
            ProviderKind::Plugin => principal
                .permissions()
                .allows_any_under(&format!("plugins/{}/", self.provider.name())),
        }
    }
}

fn permission_path(provider: &str, kind: ProviderKind, item: &str) -> String {
    match kind {
        ProviderKind::Mcp => format!("mcps/{provider}/{item}"),
        ProviderKind::Plugin => format!("plugins/{provider}/{item}"),
        ProviderKind::Hub => item.to_owned(),
    }
}

/// The hub's own prompts and resources carry the path that they need in their `_meta`.
fn hub_permission(object: &RawObject<'_>) -> Option<Box<str>> {
    let meta: Value = object.read("_meta")?;
    meta.get("aih/permission").and_then(Value::as_str).map(Into::into)
}

fn named(
    kind: ListKind,
    json: &RawJson,
    provider: &dyn Provider,
    provider_kind: ProviderKind,
    namespace: &Namespace,
    limit: NameLimit,
) -> Option<Item> {
    let Ok(object) = RawObject::parse(json) else {
        tracing::warn!(target: "aih::catalogue", server = provider.name(), kind = kind.member(), "an item is not an object and is left out");
        return None;
    };
    let original: Box<str> = object.str(kind.key())?.into();
    let hub = provider_kind == ProviderKind::Hub;
    let of_server = matches!(kind, ListKind::Resources | ListKind::Templates) && !hub;
    let names = match kind {
        ListKind::Tools => Some(Arc::new(ToolNames {
            own: provider.own_tool_name(&original)?.into(),
            listed: original.clone(),
        })),
        ListKind::Prompts | ListKind::Resources | ListKind::Templates => None,
    };
    let permissions: Vec<Box<str>> = if hub {
        hub_permission(&object).into_iter().collect()
    } else {
        let own = names.as_ref().map_or(&*original, |names| &names.own);
        let listed = names.as_ref().and_then(|names| names.renamed());
        let paths = [Some(own), listed].into_iter().flatten();
        paths
            .map(|name| permission_path(provider.name(), provider_kind, name).into())
            .collect()
    };
    let resource =
        of_server.then(|| ResourcePath::new(&permission_path(provider.name(), provider_kind, ""), &original));
    let exposed: Box<str> = match kind {
        ListKind::Tools | ListKind::Prompts => ExposedName::new(namespace, &original, limit).as_str().into(),
        ListKind::Resources | ListKind::Templates if hub => original.clone(),
        ListKind::Resources | ListKind::Templates => uri::expose(namespace, &original).into(),
    };
    let views = match provider_kind {
        ProviderKind::Mcp => ui::uris(&object)
            .into_iter()
            .map(|uri| {
                let path = ResourcePath::new(&permission_path(provider.name(), provider_kind, ""), &uri);
                (uri.into(), path)
            })
            .collect(),
        ProviderKind::Plugin | ProviderKind::Hub => Vec::new(),
    };
    let bindings = match kind {
        ListKind::Tools => ParamHeader::of_schema(&object.read::<Value>("inputSchema").unwrap_or_default()),
        _ => Vec::new(),
    };
    let listed = listed(
        kind,
        object.clone(),
        &exposed,
        if hub { "hub" } else { provider.name() },
        namespace,
    );
    Some(Item {
        original,
        names,
        exposed,
        permissions: permissions.into(),
        resource,
        direct: json.clone(),
        listed,
        bindings,
        instructions: None,
        views,
    })
}

/// The item with its exposed name; tools say where they are from, in `source` and in `_meta`.
fn listed(
    kind: ListKind,
    mut object: RawObject<'_>,
    exposed: &str,
    source: &str,
    namespace: &Namespace,
) -> RawJson {
    object.set(kind.key(), &RawJson::of(exposed));
    ui::rewrite(&mut object, &|uri| Some(uri::expose(namespace, uri)));
    let fields = object.raw("_meta").filter(RawJson::is_object);
    let fields = fields.unwrap_or(RawJson::EMPTY_OBJECT);
    if let Ok(mut fields) = RawObject::parse(&fields) {
        fields.set(meta::SOURCE, &RawJson::of(source));
        let fields = fields.to_json();
        object.set("_meta", &fields);
    }
    if kind == ListKind::Tools {
        object.set("source", &RawJson::of(source));
    }
    object.to_json()
}

/// Which providers an endpoint shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `/mcp`: all, with exposed names.
    All,
    /// `/mcp/{name}`: one, with its own names.
    One(Arc<str>),
}

impl Scope {
    fn shows(&self, offering: &Offering) -> bool {
        match self {
            Self::All => true,
            Self::One(name) => offering.provider.name() == name.as_ref(),
        }
    }
}

/// Kept list answers per snapshot; more keys than this are served without being kept.
const KEPT_LISTS: usize = 512;

/// Whose list of what, on which endpoint, and how it is written: the generation of the principal, since the same key may
/// see something else later.
type ListKey = (u64, Scope, ListKind, ListStyle);

/// Everything on offer at one moment.
#[derive(Default)]
pub struct Snapshot {
    offerings: Vec<Arc<Offering>>,
    by_name: HashMap<Arc<str>, usize>,
    by_namespace: HashMap<Box<str>, usize>,
    /// Exposed tool and prompt names to (offering, item).
    tools: HashMap<Box<str>, (usize, usize)>,
    prompts: HashMap<Box<str>, (usize, usize)>,
    /// Items whose name another one has: kind, offering and item.
    nameless: HashSet<(ListKind, usize, usize)>,
    /// Open URIs of resources with the offerings that list them: such a URI does not say whose it is.
    open_resources: HashMap<Box<str>, Vec<usize>>,
    /// What stands in front of the first expression of each open template, with its offering.
    open_templates: Vec<(Box<str>, usize)>,
    lists: RwLock<HashMap<ListKey, Arc<[Page]>>>,
}

impl Snapshot {
    /// Puts offerings together. The configuration has refused two providers with one namespace.
    ///
    /// So two items have one name only where the hashes of two cut names are the same. Then one that was not cut has the
    /// name, otherwise the first one, and the other one is left out.
    pub fn new(offerings: Vec<Arc<Offering>>) -> Self {
        let mut this = Self::default();
        for (i, offering) in offerings.iter().enumerate() {
            this.by_name.insert(offering.provider.name().into(), i);
            this.by_namespace.insert(offering.namespace.as_str().into(), i);
            for kind in [ListKind::Tools, ListKind::Prompts] {
                for (j, item) in offering.items(kind).iter().enumerate() {
                    let whole = offering.namespace.as_str().len() + SEPARATOR.len() + item.original.len();
                    let names = match kind {
                        ListKind::Tools => &mut this.tools,
                        _ => &mut this.prompts,
                    };
                    match names.entry(item.exposed.clone()) {
                        Entry::Vacant(free) => {
                            free.insert((i, j));
                        }
                        Entry::Occupied(mut taken) => {
                            let mut loser = (i, j);
                            if item.exposed.len() == whole {
                                loser = taken.insert((i, j));
                            }
                            tracing::warn!(target: "aih::catalogue", name = %item.exposed, server = offering.provider.name(),
                                "two servers have an item that gets this name, and one of them is left out; rename one with `tools.rename`");
                            this.nameless.insert((kind, loser.0, loser.1));
                        }
                    }
                }
            }
            for item in offering.items(ListKind::Resources) {
                if uri::is_open(&item.original) {
                    this.open_resources
                        .entry(item.original.clone())
                        .or_default()
                        .push(i);
                }
            }
            for item in offering.items(ListKind::Templates) {
                let begin = item.original.split('{').next().unwrap_or_default();
                if uri::is_open(begin) {
                    this.open_templates.push((begin.into(), i));
                }
            }
        }
        this.offerings = offerings;
        this
    }

    /// The same with other lists of some offerings, by their place in [`Snapshot::offerings`].
    #[must_use]
    pub fn with(&self, others: &[(usize, Arc<Offers>)]) -> Self {
        let mut offerings = self.offerings.clone();
        for (at, offers) in others {
            if let Some(offering) = offerings.get_mut(*at) {
                *offering = Arc::new(Offering::of(
                    offering.provider.clone(),
                    offers.clone(),
                    offering.limit,
                ));
            }
        }
        Self::new(offerings)
    }

    /// All offerings.
    pub fn offerings(&self) -> &[Arc<Offering>] {
        &self.offerings
    }

    /// The offering of the provider with this name in the configuration.
    pub fn provider(&self, name: &str) -> Option<&Arc<Offering>> {
        self.offerings.get(*self.by_name.get(name)?)
    }

    /// The offerings that an endpoint shows.
    pub fn in_scope<'s>(&'s self, scope: &'s Scope) -> impl Iterator<Item = &'s Arc<Offering>> {
        self.offerings
            .iter()
            .filter(move |offering| scope.shows(offering))
    }

    /// The offering whose namespace an exposed name begins with, be there such a name or not.
    pub fn named(&self, exposed: &str) -> Option<&Arc<Offering>> {
        let (namespace, _) = exposed.split_once(names::SEPARATOR)?;
        self.offerings.get(*self.by_namespace.get(namespace)?)
    }

    /// The tool or prompt with this exposed name. Whether a key may use it is for [`Offering::permits`] to say.
    pub fn find(&self, kind: ListKind, exposed: &str) -> Option<(&Arc<Offering>, &Item)> {
        let (i, j) = match kind {
            ListKind::Tools => *self.tools.get(exposed)?,
            ListKind::Prompts => *self.prompts.get(exposed)?,
            ListKind::Resources | ListKind::Templates => return None,
        };
        let offering = self.offerings.get(i)?;
        let item = offering.items(kind).get(j)?;
        Some((offering, item))
    }

    /// The provider and its own URI behind an exposed resource URI. A URI in the form of a server's that no server has
    /// the namespace of is nobody's: it is not the hub's to answer, or what is hidden could be told from what is not there.
    /// Whether a key may use it is for [`Offering::permits`] to say.
    ///
    /// An open URI does not name its server: it is of the first one that lists it, or a template of it, and that
    /// `principal` may ask for it.
    pub fn find_resource(&self, exposed: &str, principal: &Principal) -> Option<(&Arc<Offering>, String)> {
        if uri::is_open(exposed)
            && let Some(found) = self.find_open(exposed, principal)
        {
            return Some((found, exposed.to_owned()));
        }
        if let Some((namespace, original)) = uri::parse(exposed)
            && namespace != crate::names::BUILTIN
        {
            let offering = self.offerings.get(*self.by_namespace.get(namespace)?)?;
            return Some((offering, original));
        }
        let hub = self
            .by_namespace
            .get(crate::names::BUILTIN)
            .and_then(|i| self.offerings.get(*i))?;
        Some((hub, exposed.to_owned()))
    }

    fn find_open(&self, uri: &str, principal: &Principal) -> Option<&Arc<Offering>> {
        let target = Target::Resource(uri.into());
        let listed = self.open_resources.get(uri).into_iter().flatten().copied();
        let templates = self.open_templates.iter();
        let templates = templates.filter(|(begin, _)| uri.starts_with(&**begin));
        listed
            .chain(templates.map(|(_, at)| *at))
            .filter_map(|at| self.offerings.get(at))
            .find(|offering| offering.permits(&target, principal))
    }

    /// The pages of a list for one key; the items are written out and shared among its requests. There is at
    /// least one.
    pub fn list(
        &self,
        scope: &Scope,
        kind: ListKind,
        principal: &Principal,
        style: ListStyle,
    ) -> Arc<[Page]> {
        let style = style.of(kind);
        let key = (principal.generation(), scope.clone(), kind, style);
        if principal.is_current()
            && let Ok(lists) = self.lists.read()
            && let Some(pages) = lists.get(&key)
        {
            return pages.clone();
        }
        let items = self.visible(scope, kind, principal);
        let write = |item: &Item| item.written(*scope != Scope::All, style, principal);
        let pages: Arc<[Page]> = pages::all(items, &write).into();
        if let Ok(mut lists) = self.lists.write()
            && lists.len() < KEPT_LISTS
            && principal.is_current()
        {
            lists.insert(key, pages.clone());
        }
        pages
    }

    /// The page that follows `position`, whether or not the list changed meanwhile.
    pub fn list_after(
        &self,
        scope: &Scope,
        kind: ListKind,
        principal: &Principal,
        style: ListStyle,
        position: &Position,
    ) -> Page {
        let kept = self.list(scope, kind, principal, style);
        let before = kept.iter().position(|page| page.end.as_ref() == Some(position));
        match before.and_then(|at| kept.get(at + 1)) {
            Some(page) => page.clone(),
            None => {
                let write = |item: &Item| item.written(*scope != Scope::All, style.of(kind), principal);
                pages::after(self.visible(scope, kind, principal), position, &write)
            }
        }
    }

    /// What the list shows, by server.
    fn visible<'s>(&'s self, scope: &'s Scope, kind: ListKind, principal: &Principal) -> Vec<Group<'s>> {
        let all = self.offerings.iter().enumerate();
        all.filter(|(_, offering)| scope.shows(offering))
            .map(|(i, offering)| {
                let items = offering.items(kind).iter().enumerate();
                let named =
                    items.filter(|(j, _)| *scope != Scope::All || !self.nameless.contains(&(kind, i, *j)));
                let visible = named
                    .map(|(_, item)| item)
                    .filter(|item| item.visible_to(principal));
                Group {
                    server: offering.namespace.as_str(),
                    items: visible.collect(),
                }
            })
            .collect()
    }
}
