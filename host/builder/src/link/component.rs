//! The component around the libraries: what its indexes mean, and its text with one module in their place.

use std::collections::{BTreeSet, HashMap, HashSet};

use wasm_encoder::{
    Alias, CanonicalFunctionSection, Component, ComponentAliasSection, ExportKind, InstanceSection,
    ModuleArg,
    reencode::{self, Reencode, ReencodeComponent, component_utils},
};
use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentTypeRef,
    Import, Instance as Written, Payload,
};

use super::{
    CannotLink, Result, at, copy,
    library::{Sort, count},
    merge::{Export, IMPORTS, Merge},
    part, raw_module,
};

/// What an index of a core item means in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source<'a> {
    /// An export of an instance of a module.
    Export { instance: u32, name: &'a str },
    /// A function that the component makes, by its index.
    Made(u32),
}

/// A core instance.
enum Instance<'a> {
    Of {
        module: u32,
        args: HashMap<&'a str, u32>,
    },
    Bag(HashMap<&'a str, (Sort, u32)>),
}

/// A component with libraries.
pub(super) struct Inner<'a> {
    whole: &'a [u8],
    sections: Vec<Payload<'a>>,
    modules: Vec<&'a [u8]>,
    instances: Vec<Instance<'a>>,
    /// What the indexes of each kind mean.
    spaces: HashMap<Sort, Vec<Source<'a>>>,
}

impl<'a> Inner<'a> {
    pub(super) fn new(sections: Vec<Payload<'a>>, whole: &'a [u8]) -> Result<Self> {
        let mut inner = Self {
            whole,
            sections: Vec::new(),
            modules: Vec::new(),
            instances: Vec::new(),
            spaces: HashMap::new(),
        };
        for section in &sections {
            inner.read(section)?;
        }
        inner.sections = sections;
        Ok(inner)
    }

    fn read(&mut self, section: &Payload<'a>) -> Result<()> {
        match section {
            Payload::ModuleSection { unchecked_range, .. } => {
                self.modules.push(part(self.whole, unchecked_range)?)
            }
            Payload::InstanceSection(instances) => {
                for instance in instances.clone() {
                    self.instances.push(match instance? {
                        Written::Instantiate { module_index, args } => Instance::Of {
                            module: module_index,
                            args: args.iter().map(|arg| (arg.name, arg.index)).collect(),
                        },
                        Written::FromExports(exports) => {
                            let item =
                                |e: &wasmparser::Export<'a>| Ok((e.name, (Sort::of(e.kind)?, e.index)));
                            Instance::Bag(exports.iter().map(item).collect::<Result<_>>()?)
                        }
                    });
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases.clone() {
                    match alias? {
                        ComponentAlias::CoreInstanceExport {
                            kind,
                            instance_index,
                            name,
                        } => {
                            let source = self.export(instance_index, name)?;
                            self.spaces.entry(Sort::of(kind)?).or_default().push(source);
                        }
                        ComponentAlias::InstanceExport { kind, .. } => {
                            no_module(kind == ComponentExternalKind::Module)?
                        }
                        ComponentAlias::Outer { kind, .. } => {
                            no_module(kind == ComponentOuterAliasKind::CoreModule)?
                        }
                    }
                }
            }
            Payload::ComponentCanonicalSection(functions) => {
                let funcs = self.spaces.entry(Sort::Func).or_default();
                for function in functions.clone() {
                    if makes_core(&function?) {
                        funcs.push(Source::Made(count(funcs)));
                    }
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    no_module(matches!(import?.ty, ComponentTypeRef::Module(_)))?;
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    no_module(export?.kind == ComponentExternalKind::Module)?;
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances.clone() {
                    no_module(match instance? {
                        wasmparser::ComponentInstance::Instantiate { args, .. } => {
                            args.iter().any(|arg| arg.kind == ComponentExternalKind::Module)
                        }
                        wasmparser::ComponentInstance::FromExports(exports) => exports
                            .iter()
                            .any(|export| export.kind == ComponentExternalKind::Module),
                    })?;
                }
            }
            Payload::ComponentSection {
                parser,
                unchecked_range,
            } => {
                for payload in parser.clone().parse_all(part(self.whole, unchecked_range)?) {
                    if let Payload::ComponentAliasSection(aliases) = payload? {
                        for alias in aliases {
                            no_module(matches!(
                                alias?,
                                ComponentAlias::Outer {
                                    kind: ComponentOuterAliasKind::CoreModule,
                                    ..
                                }
                            ))?;
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn export(&self, instance: u32, name: &'a str) -> Result<Source<'a>> {
        match at(&self.instances, instance)? {
            Instance::Of { .. } => Ok(Source::Export { instance, name }),
            Instance::Bag(items) => {
                let (sort, index) = items
                    .get(name)
                    .ok_or_else(|| CannotLink::because(format!("nothing is exported as `{name}`")))?;
                self.meaning(*sort, *index)
            }
        }
    }

    fn meaning(&self, sort: Sort, index: u32) -> Result<Source<'a>> {
        at(self.spaces.get(&sort).map_or(&[][..], Vec::as_slice), index).copied()
    }

    /// The instances of modules, each with its module.
    pub(super) fn instantiated(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..)
            .zip(&self.instances)
            .filter_map(|(instance, made)| match made {
                Instance::Of { module, .. } => Some((instance, *module)),
                Instance::Bag(_) => None,
            })
    }

    pub(super) fn module(&self, module: u32) -> Result<&'a [u8]> {
        at(&self.modules, module).copied()
    }

    /// Where an import of an instance comes from.
    pub(super) fn import(&self, instance: u32, import: &Import<'a>) -> Result<Source<'a>> {
        let Instance::Of { args, .. } = at(&self.instances, instance)? else {
            return Err(CannotLink::because("it is not an instance of a module"));
        };
        let from = args.get(import.module);
        let from =
            from.ok_or_else(|| CannotLink::because(format!("nothing provides `{}`", import.module)))?;
        self.export(*from, import.name)
    }

    /// The component with one module.
    ///
    /// # Errors
    /// Why it must stay as it is.
    pub(super) fn linked(&self) -> Result<Component> {
        let mut merge = Merge::new(self)?;
        let mut plan = merge.plan()?;
        // Once to see what is used of what the component names, and once without the rest.
        let mut draft = Writer::new(self, &merge, None);
        draft.write(&plan.imports.items, &[])?;
        let used = draft.used;
        let mut exports = BTreeSet::new();
        for (sort, index) in &used {
            let source = self.meaning(*sort, *index)?;
            if let Source::Export { instance, name } = source {
                match merge.lib(instance) {
                    Some(lib) => drop(exports.insert(Export {
                        lib,
                        sort: *sort,
                        name,
                    })),
                    None => merge.call(source)?,
                }
            }
        }
        let module = merge.module(&mut plan, &exports)?;
        let mut last = Writer::new(self, &merge, Some(used));
        last.write(&plan.imports.items, &module)?;
        Ok(last.component)
    }

    /// The instances that only stand between the libraries.
    fn between(&self, merge: &Merge<'_, 'a>) -> HashSet<u32> {
        let (mut inside, mut outside) = (HashSet::new(), HashSet::new());
        for (instance, made) in (0..).zip(&self.instances) {
            if let Instance::Of { args, .. } = made {
                let users = if merge.takes(instance) {
                    &mut inside
                } else {
                    &mut outside
                };
                users.extend(args.values().copied());
            }
        }
        let bag = |instance: &u32| matches!(at(&self.instances, *instance), Ok(Instance::Bag(_)));
        inside.difference(&outside).copied().filter(bag).collect()
    }
}

fn no_module(is: bool) -> Result<()> {
    if is {
        return Err(CannotLink::because("a module comes from elsewhere or goes there"));
    }
    Ok(())
}

fn makes_core(function: &CanonicalFunction) -> bool {
    !matches!(function, CanonicalFunction::Lift { .. })
}

/// The numbers of what was and of what is written.
#[derive(Default)]
struct Numbers {
    old: u32,
    new: u32,
    map: HashMap<u32, u32>,
}

impl Numbers {
    /// The next one that was.
    fn next(&mut self) -> u32 {
        self.old += 1;
        self.old - 1
    }

    /// One that is written only.
    fn add(&mut self) -> u32 {
        self.new += 1;
        self.new - 1
    }

    /// What was is written now.
    fn keep(&mut self, old: u32) {
        let new = self.add();
        self.map.insert(old, new);
    }

    fn new_of(&self, old: u32) -> Result<u32> {
        let found = self.map.get(&old).copied();
        found.ok_or_else(|| CannotLink::because(format!("item {old} is wanted before it is there")))
    }
}

/// Writes the component.
struct Writer<'w, 'a> {
    inner: &'w Inner<'a>,
    merge: &'w Merge<'w, 'a>,
    between: HashSet<u32>,
    component: Component,
    items: HashMap<Sort, Numbers>,
    modules: Numbers,
    instances: Numbers,
    /// The instance of the one module.
    merged: Option<u32>,
    /// What is named before that instance is there.
    later: Vec<(u32, Export<'a>)>,
    /// What something refers to.
    used: HashSet<(Sort, u32)>,
    /// Of the aliases, only these are written.
    only: Option<HashSet<(Sort, u32)>>,
}

type Wanted<'a> = [(Sort, Source<'a>, wasm_encoder::EntityType)];

impl<'w, 'a> Writer<'w, 'a> {
    fn new(inner: &'w Inner<'a>, merge: &'w Merge<'w, 'a>, only: Option<HashSet<(Sort, u32)>>) -> Self {
        Self {
            inner,
            merge,
            between: inner.between(merge),
            component: Component::new(),
            items: HashMap::new(),
            modules: Numbers::default(),
            instances: Numbers::default(),
            merged: None,
            later: Vec::new(),
            used: HashSet::new(),
            only,
        }
    }

    fn write(&mut self, wanted: &Wanted<'a>, module: &[u8]) -> Result<()> {
        for section in &self.inner.sections {
            match section {
                Payload::ModuleSection { .. } => self.module()?,
                Payload::InstanceSection(instances) => {
                    for instance in instances.clone() {
                        self.instance(instance?, wanted, module)?;
                    }
                }
                Payload::ComponentAliasSection(aliases) => {
                    for alias in aliases.clone() {
                        self.alias(alias?)?;
                    }
                }
                Payload::ComponentCanonicalSection(functions) => {
                    let mut written = CanonicalFunctionSection::new();
                    for function in functions.clone() {
                        let function = function?;
                        let makes = makes_core(&function);
                        component_utils::parse_component_canonical(self, &mut written, function)?;
                        if makes {
                            let numbers = self.items.entry(Sort::Func).or_default();
                            let old = numbers.next();
                            numbers.keep(old);
                        }
                    }
                    self.component.section(&written);
                }
                // It names what has other numbers now.
                Payload::CustomSection(custom) if custom.name() == "component-name" => {}
                other => copy(&mut self.component, other, self.inner.whole)?,
            }
        }
        Ok(())
    }

    fn module(&mut self) -> Result<()> {
        let old = self.modules.next();
        let taken = |(instance, module): (u32, u32)| module == old && self.merge.takes(instance);
        if !self.inner.instantiated().any(taken) {
            raw_module(&mut self.component, self.inner.module(old)?);
            self.modules.keep(old);
        }
        Ok(())
    }

    fn instance(&mut self, instance: Written<'a>, wanted: &Wanted<'a>, module: &[u8]) -> Result<()> {
        let old = self.instances.next();
        if self.merge.last() == Some(old) {
            return self.one(wanted, module);
        }
        if self.merge.takes(old) || self.between.contains(&old) {
            return Ok(());
        }
        let mut written = InstanceSection::new();
        match instance {
            Written::Instantiate { module_index, args } => {
                let args = args.iter().map(|arg| {
                    let given = self.instances.new_of(arg.index)?;
                    Ok((arg.name, ModuleArg::Instance(given)))
                });
                let args = args.collect::<Result<Vec<_>>>()?;
                written.instantiate(self.modules.new_of(module_index)?, args);
            }
            Written::FromExports(exports) => {
                let mut items = Vec::new();
                for export in &exports {
                    let index = self.index(Sort::of(export.kind)?, export.index)?;
                    items.push((export.name, ExportKind::from(export.kind), index));
                }
                written.export_items(items);
            }
        }
        self.component.section(&written);
        self.instances.keep(old);
        Ok(())
    }

    /// The one module, where the last library was.
    fn one(&mut self, wanted: &Wanted<'a>, module: &[u8]) -> Result<()> {
        let mut items = Vec::new();
        for (number, (sort, source, _)) in wanted.iter().enumerate() {
            let index = match source {
                Source::Made(old) => self.index(*sort, *old)?,
                Source::Export { instance, name } => {
                    self.named(*sort, self.instances.new_of(*instance)?, name)
                }
            };
            items.push((number.to_string(), ExportKind::from(*sort), index));
        }
        let mut written = InstanceSection::new();
        written.export_items(
            items
                .iter()
                .map(|(name, kind, index)| (name.as_str(), *kind, *index)),
        );
        let given = self.instances.add();
        raw_module(&mut self.component, module);
        written.instantiate(self.modules.add(), [(IMPORTS, ModuleArg::Instance(given))]);
        self.component.section(&written);
        self.merged = Some(self.instances.add());
        for (old, export) in std::mem::take(&mut self.later) {
            self.wanted(old, export);
        }
        Ok(())
    }

    /// Names an export of a written instance.
    fn named(&mut self, sort: Sort, instance: u32, name: &str) -> u32 {
        let mut written = ComponentAliasSection::new();
        written.alias(Alias::CoreInstanceExport {
            instance,
            kind: sort.into(),
            name,
        });
        self.component.section(&written);
        self.items.entry(sort).or_default().add()
    }

    /// Names an export of a library, as soon as it can be.
    fn wanted(&mut self, old: u32, export: Export<'a>) {
        match self.merged {
            Some(instance) => {
                let new = self.named(export.sort, instance, &export.called());
                self.items.entry(export.sort).or_default().map.insert(old, new);
            }
            None => self.later.push((old, export)),
        }
    }

    fn alias(&mut self, alias: ComponentAlias<'a>) -> Result<()> {
        let ComponentAlias::CoreInstanceExport {
            kind,
            instance_index,
            name,
        } = alias
        else {
            let mut written = ComponentAliasSection::new();
            written.alias(component_utils::component_alias(self, alias)?);
            self.component.section(&written);
            return Ok(());
        };
        let sort = Sort::of(kind)?;
        let old = self.items.entry(sort).or_default().next();
        if self
            .only
            .as_ref()
            .is_some_and(|only| !only.contains(&(sort, old)))
        {
            return Ok(());
        }
        if let Some(lib) = self.merge.lib(instance_index) {
            self.wanted(old, Export { lib, sort, name });
        } else if let Ok(instance) = self.instances.new_of(instance_index) {
            let new = self.named(sort, instance, name);
            self.items.entry(sort).or_default().map.insert(old, new);
        }
        Ok(())
    }

    fn index(&mut self, sort: Sort, old: u32) -> Result<u32> {
        self.used.insert((sort, old));
        self.items.entry(sort).or_default().new_of(old)
    }

    fn reencoded(&mut self, sort: Sort, old: u32) -> std::result::Result<u32, reencode::Error<CannotLink>> {
        self.index(sort, old).map_err(reencode::Error::UserError)
    }
}

/// Of the canonical functions; all else is written above.
impl Reencode for Writer<'_, '_> {
    type Error = CannotLink;

    fn function_index(&mut self, func: u32) -> std::result::Result<u32, reencode::Error<CannotLink>> {
        self.reencoded(Sort::Func, func)
    }

    fn memory_index(&mut self, memory: u32) -> std::result::Result<u32, reencode::Error<CannotLink>> {
        self.reencoded(Sort::Memory, memory)
    }

    fn table_index(&mut self, table: u32) -> std::result::Result<u32, reencode::Error<CannotLink>> {
        self.reencoded(Sort::Table, table)
    }

    fn global_index(&mut self, global: u32) -> std::result::Result<u32, reencode::Error<CannotLink>> {
        self.reencoded(Sort::Global, global)
    }
}

impl ReencodeComponent for Writer<'_, '_> {}
