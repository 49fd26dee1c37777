//! The libraries as one core module: who calls whom, and the module's text.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements, EntityType,
    ExportSection, FunctionSection, GlobalSection, ImportSection, MemoryType, Module, NameMap, NameSection,
    TableSection, TypeSection,
    reencode::{Reencode as _, utils},
};
use wasmparser::{ElementKind, Import, TypeRef};

use super::{
    CannotLink, Result, at,
    component::{Inner, Source},
    library::{Library, Sort, count, func_type},
    past,
    plan::{Imports, LibraryImports, Plan, Target},
};

/// The module's imports are all of this name, and called by their number.
pub(super) const IMPORTS: &str = "";
/// Most functions that only stand for another.
const HOPS: usize = 16;

/// An instance of a core module.
pub(super) struct Part<'a> {
    pub(super) instance: u32,
    library: Library<'a>,
}

/// See the module.
pub(super) struct Merge<'i, 'a> {
    inner: &'i Inner<'a>,
    /// The libraries, in the order in which they are instantiated.
    libs: Vec<Part<'a>>,
    /// The one with the memory, the table and the trampolines.
    env: Part<'a>,
    /// That table.
    table: Source<'a>,
    /// The one that writes into the table what the libraries want of each other.
    filler: Option<Part<'a>>,
    /// What it writes, by place.
    slots: BTreeMap<u32, Source<'a>>,
    /// The globals of `env` that never change.
    constants: HashMap<Source<'a>, i32>,
    /// Trampolines that others than the libraries call.
    called: BTreeSet<u32>,
}

impl<'i, 'a> Merge<'i, 'a> {
    /// Looks for the libraries of a component and what belongs to them.
    ///
    /// # Errors
    /// What is not as expected.
    pub(super) fn new(inner: &'i Inner<'a>) -> Result<Self> {
        let (libs, mut others) = parts(inner)?;
        let (Some(first), Some(last)) = (libs.first(), libs.last()) else {
            return Err(CannotLink::because("no library is instantiated"));
        };
        let (first, last) = (first.instance, last.instance);
        let between = |part: &Part<'a>| (first..last).contains(&part.instance);
        if others.iter().any(|part| part.library.starts && between(part)) {
            return Err(CannotLink::because(
                "something runs before the last library is there",
            ));
        }
        let (memory, table) = ground(inner, &libs)?;
        let home = |source| match source {
            Source::Export { instance, .. } => others.iter().position(|part| part.instance == instance),
            Source::Made(_) => None,
        };
        let env = match (home(memory), home(table)) {
            (Some(env), Some(same)) if env == same => others.swap_remove(env),
            _ => return Err(CannotLink::because("memory and table are not of one module")),
        };
        env.library.holds_only_trampolines()?;
        let mut merge = Self {
            inner,
            libs,
            env,
            table,
            filler: None,
            slots: BTreeMap::new(),
            constants: HashMap::new(),
            called: BTreeSet::new(),
        };
        let mut changed = merge.env.library.changed_globals()?;
        for part in others {
            let shares = part
                .library
                .imported_tables
                .iter()
                .map(|import| merge.source(&part, import));
            if shares.collect::<Result<Vec<_>>>()?.contains(&table) {
                merge.fill(part, last)?;
            } else {
                merge.meet(&part, &mut changed)?;
            }
        }
        merge.settle(changed)?;
        Ok(merge)
    }

    /// Where an import of an instance comes from.
    fn source(&self, part: &Part<'a>, import: &Import<'a>) -> Result<Source<'a>> {
        self.inner.import(part.instance, import)
    }

    /// Takes the part that writes into the libraries' table.
    fn fill(&mut self, part: Part<'a>, last: u32) -> Result<()> {
        let module = &part.library;
        let only_fills = module.is_passive() && module.exports.is_empty() && part.instance > last;
        let has_one_table = module.imported_tables.len() == 1 && module.tables.is_empty();
        if self.filler.is_some() || !only_fills || !has_one_table {
            return Err(CannotLink::because(
                "more than one module uses the libraries' table",
            ));
        }
        for element in &module.elements {
            let Some((first, funcs)) = module.written(element, &|_| None)? else {
                continue;
            };
            for (location, func) in (first..).zip(funcs) {
                let source = self.source(&part, at(&module.imported_funcs, func)?)?;
                self.slots.insert(location, source);
            }
        }
        self.filler = Some(part);
        Ok(())
    }

    /// Notes what a part that stays apart wants of `env`.
    fn meet(&mut self, part: &Part<'a>, changed: &mut HashSet<u32>) -> Result<()> {
        for import in &part.library.imports() {
            match self.source(part, import)? {
                Source::Export { instance, name } if instance == self.env.instance => match import.ty {
                    TypeRef::Global(ty) if ty.mutable => {
                        changed.insert(self.env.library.export(Sort::Global, name)?);
                    }
                    _ => self.call(Source::Export { instance, name })?,
                },
                _ => {}
            }
        }
        Ok(())
    }

    /// Notes that a function is called from outside the libraries, so that its trampoline must lead somewhere.
    pub(super) fn call(&mut self, source: Source<'a>) -> Result<()> {
        self.called.extend(self.location(source)?);
        Ok(())
    }

    /// The place in the table that a trampoline leads to.
    fn location(&self, source: Source<'a>) -> Result<Option<u32>> {
        match source {
            Source::Export { instance, name } if instance == self.env.instance => {
                match self.env.library.exports.get(name) {
                    Some((Sort::Func, func)) => self.env.library.trampoline(*func),
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    /// Finds the globals of `env` that nobody changes.
    fn settle(&mut self, mut changed: HashSet<u32>) -> Result<()> {
        let env = &self.env.library;
        for lib in &self.libs {
            for global in lib.library.changed_globals()? {
                let Ok(import) = at(&lib.library.imported_globals, global) else {
                    continue;
                };
                if let Source::Export { instance, name } = self.source(lib, import)?
                    && instance == self.env.instance
                {
                    changed.insert(env.export(Sort::Global, name)?);
                }
            }
        }
        for (name, (sort, index)) in &env.exports {
            if *sort == Sort::Global
                && !changed.contains(index)
                && let Some(value) = env.initial(*index)
            {
                let source = Source::Export {
                    instance: self.env.instance,
                    name,
                };
                self.constants.insert(source, value);
            }
        }
        Ok(())
    }

    /// Whether an instance is a part of the one module, or of no use beside it.
    pub(super) fn takes(&self, instance: u32) -> bool {
        self.lib(instance).is_some() || self.filler.as_ref().is_some_and(|part| part.instance == instance)
    }

    /// Which library an instance is.
    pub(super) fn lib(&self, instance: u32) -> Option<usize> {
        self.libs.iter().position(|part| part.instance == instance)
    }

    /// The last library to be instantiated: there is all that the one module wants.
    pub(super) fn last(&self) -> Option<u32> {
        self.libs.last().map(|part| part.instance)
    }

    fn part(&self, lib: usize) -> Result<&Part<'a>> {
        self.libs
            .get(lib)
            .ok_or_else(|| CannotLink::because("there is no such library"))
    }

    /// What an export of an instance is in the end.
    fn target(&self, sort: Sort, source: Source<'a>) -> Result<Target<'a>> {
        let mut source = source;
        for _ in 0..HOPS {
            if let Some(value) = self.constants.get(&source) {
                return Ok(Target::Constant(*value));
            }
            let Source::Export { instance, name } = source else {
                return Ok(Target::Outside(source));
            };
            let Some(lib) = self.lib(instance) else {
                match self
                    .location(source)?
                    .and_then(|location| self.slots.get(&location))
                {
                    Some(behind) if self.fits(source, *behind)? => source = *behind,
                    _ => return Ok(Target::Outside(source)),
                }
                continue;
            };
            let part = self.part(lib)?;
            let index = part.library.export(sort, name)?;
            let imports = part.library.imported(sort);
            match at(imports, index) {
                // It only hands on what it imports.
                Ok(import) => source = self.source(part, import)?,
                Err(_) => {
                    return Ok(Target::Own {
                        lib,
                        index: index - count(imports),
                    });
                }
            }
        }
        Err(CannotLink::because("functions refer to each other in a cycle"))
    }

    /// Whether what is behind a trampoline has its type: otherwise a call of it traps, and is to do so.
    fn fits(&self, trampoline: Source<'a>, behind: Source<'a>) -> Result<bool> {
        let (
            Source::Export { name, .. },
            Source::Export {
                instance,
                name: other,
            },
        ) = (trampoline, behind)
        else {
            return Ok(false);
        };
        let Some(lib) = self.lib(instance) else {
            return Ok(false);
        };
        let env = &self.env.library;
        let library = &self.part(lib)?.library;
        let here = env.signature(env.export(Sort::Func, name)?)?;
        Ok(here == library.signature(library.export(Sort::Func, other)?)?)
    }

    /// What the one module imports, and the meaning of each library's indexes in it.
    pub(super) fn plan(&self) -> Result<Plan<'a>> {
        let mut imports = Imports::default();
        let mut types = 0;
        let mut imported = Vec::new();
        for part in &self.libs {
            let library = &part.library;
            let first_type = types;
            types += count(&library.types);
            let mut funcs = Vec::new();
            for import in &library.imported_funcs {
                let target = self.target(Sort::Func, self.source(part, import)?)?;
                let ty = EntityType::Function(past(first_type, func_type(import)?)?);
                funcs.push(imports.location(Sort::Func, target, ty));
            }
            let mut globals = Vec::new();
            for import in &library.imported_globals {
                let TypeRef::Global(ty) = import.ty else {
                    continue;
                };
                let target = self.target(Sort::Global, self.source(part, import)?)?;
                globals.push(imports.location(Sort::Global, target, EntityType::Global(ty.try_into()?)));
            }
            for import in &library.imported_memories {
                if let TypeRef::Memory(ty) = import.ty {
                    let ty = EntityType::Memory(MemoryType::from(ty));
                    imports.number(Sort::Memory, self.source(part, import)?, ty);
                }
            }
            imported.push(LibraryImports {
                library,
                types: first_type,
                funcs,
                globals,
            });
        }
        Plan::new(imports, imported)
    }

    /// The one module.
    pub(super) fn module(&self, plan: &mut Plan<'a>, exports: &BTreeSet<Export<'a>>) -> Result<Vec<u8>> {
        let shared = self.shared(plan)?;
        let mut imports = ImportSection::new();
        for (number, (.., ty)) in plan.imports.items.iter().enumerate() {
            imports.import(IMPORTS, &number.to_string(), *ty);
        }
        let own_table = plan.imports.count(Sort::Table);
        let mut tables = TableSection::new();
        let table = at(&self.env.library.tables, 0)?;
        tables.table((*table).try_into()?);

        let mut types = TypeSection::new();
        let mut functions = FunctionSection::new();
        let mut globals = GlobalSection::new();
        let mut code = CodeSection::new();
        let mut data = DataSection::new();
        let mut elements = ElementSection::new();
        for (part, view) in self.libs.iter().zip(&mut plan.views) {
            let library = &part.library;
            view.table = own_table;
            for group in &library.groups {
                utils::parse_recursive_type_group(view, types.ty(), group.clone())?;
            }
            for ty in &library.funcs {
                functions.function(view.type_index(*ty)?);
            }
            for global in &library.globals {
                utils::parse_global(view, &mut globals, global.clone())?;
            }
            for element in &library.elements {
                if let Some((first, funcs)) = library.written(element, &|global| view.constant(global))? {
                    let funcs = funcs.into_iter().map(|func| view.function_index(func));
                    let funcs = funcs.collect::<std::result::Result<Vec<_>, _>>()?;
                    write(&mut elements, own_table, first, &funcs)?;
                } else if matches!(element.kind, ElementKind::Passive | ElementKind::Declared) {
                    utils::parse_element(view, &mut elements, element.clone())?;
                }
            }
            for part in &library.data {
                utils::parse_data(view, &mut data, part.clone())?;
            }
            for body in &library.bodies {
                utils::parse_function_body(view, &mut code, body.clone())?;
            }
        }
        // What the filler writes, after the libraries as before; what the module's own table is not prepared with comes last.
        let own = self.slots.keys().map(|location| (own_table, *location));
        for (table, location) in own.chain(shared.into_iter().map(|location| (0, location))) {
            let source = self.slots.get(&location);
            let source = *source.ok_or_else(|| CannotLink::because("a trampoline leads nowhere"))?;
            let func = plan.index(Sort::Func, self.target(Sort::Func, source)?)?;
            write(&mut elements, table, location, &[func])?;
        }

        let mut exported = ExportSection::new();
        for export in exports {
            let source = Source::Export {
                instance: self.part(export.lib)?.instance,
                name: export.name,
            };
            let index = plan.index(export.sort, self.target(export.sort, source)?)?;
            exported.export(&export.called(), export.sort.into(), index);
        }
        let mut module = Module::new();
        module
            .section(&types)
            .section(&imports)
            .section(&functions)
            .section(&tables)
            .section(&globals)
            .section(&exported)
            .section(&elements)
            .section(&DataCountSection { count: data.len() })
            .section(&code)
            .section(&data)
            .section(&self.names(plan));
        Ok(module.finish())
    }

    /// The names of the libraries' functions, for whoever reads where one of them trapped.
    fn names(&self, plan: &Plan<'a>) -> NameSection {
        let mut functions = NameMap::new();
        for (part, view) in self.libs.iter().zip(&plan.views) {
            for (func, name) in &part.library.names {
                if let Some(own) = func.checked_sub(part.library.first_func()) {
                    functions.append(view.first_func + own, name);
                }
            }
        }
        let mut names = NameSection::new();
        names.functions(&functions);
        names
    }

    /// The places of the table of `env` that must lead to a function: then the module imports that table.
    fn shared(&self, plan: &mut Plan<'a>) -> Result<BTreeSet<u32>> {
        let mut locations = self.called.clone();
        for (_, source, _) in &plan.imports.items {
            locations.extend(self.location(*source)?);
        }
        locations.retain(|location| self.slots.contains_key(location));
        if !locations.is_empty() {
            let ty = *at(&self.env.library.tables, 0)?;
            let ty = ty.try_into()?;
            plan.imports
                .number(Sort::Table, self.table, EntityType::Table(ty));
        }
        Ok(locations)
    }
}

/// Writes functions into a table at the start.
fn write(elements: &mut ElementSection, table: u32, first: u32, funcs: &[u32]) -> Result<()> {
    let first = i32::try_from(first).map_err(|_| CannotLink::because("a table is too large"))?;
    let table = (table != 0).then_some(table);
    elements.active(
        table,
        &ConstExpr::i32_const(first),
        Elements::Functions(funcs.into()),
    );
    Ok(())
}

/// The libraries, and the other instances of modules.
fn parts<'a>(inner: &Inner<'a>) -> Result<(Vec<Part<'a>>, Vec<Part<'a>>)> {
    let (mut libs, mut others) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for (instance, module) in inner.instantiated() {
        let library = Library::new(inner.module(module)?)?;
        let part = Part { instance, library };
        if !part.library.dynamic {
            others.push(part);
        } else if seen.insert(module) {
            libs.push(part);
        } else {
            return Err(CannotLink::because("a library is instantiated twice"));
        }
    }
    Ok((libs, others))
}

/// The memory and the table of all libraries.
fn ground<'a>(inner: &Inner<'a>, libs: &[Part<'a>]) -> Result<(Source<'a>, Source<'a>)> {
    let (mut memories, mut tables) = (HashSet::new(), HashSet::new());
    for part in libs {
        let library = &part.library;
        if library.strange || library.starts || library.memories > 0 || !library.tables.is_empty() {
            return Err(CannotLink::because(
                "a library has what this linker does not know",
            ));
        }
        if library.imported_memories.len() > 1 || library.imported_tables.len() > 1 {
            return Err(CannotLink::because("a library has two memories or tables"));
        }
        for import in &library.imported_memories {
            memories.insert(inner.import(part.instance, import)?);
        }
        for import in &library.imported_tables {
            tables.insert(inner.import(part.instance, import)?);
        }
    }
    match (
        Vec::from_iter(memories).as_slice(),
        Vec::from_iter(tables).as_slice(),
    ) {
        ([memory], [table]) => Ok((*memory, *table)),
        _ => Err(CannotLink::because(
            "the libraries do not share one memory and one table",
        )),
    }
}

/// An export of a library that somebody outside wants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Export<'a> {
    pub(super) lib: usize,
    pub(super) sort: Sort,
    pub(super) name: &'a str,
}

impl Export<'_> {
    /// Its name in the one module.
    pub(super) fn called(&self) -> String {
        format!("{}:{}", self.lib, self.name)
    }
}
