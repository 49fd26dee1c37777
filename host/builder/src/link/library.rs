//! A core module as the linker sees it: its parts, by index.

use std::collections::{BTreeMap, HashMap, HashSet};

use wasm_encoder::ExportKind;
use wasmparser::{
    CompositeInnerType, ConstExpr, Data, DataKind, Element, ElementItems, ElementKind, ExternalKind,
    FromReader, FuncType, FunctionBody, Global, Import, KnownCustom, Name, Operator, Parser, Payload,
    RecGroup, SectionLimited, TableType, TypeRef,
};

use super::{CannotLink, Result, at};

/// The custom section of a module that is to be linked dynamically.
const DYNAMIC: &str = "dylink.0";

/// The sorts of core items, each with its own indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Sort {
    Func,
    Table,
    Memory,
    Global,
}

impl Sort {
    pub(super) fn of(kind: ExternalKind) -> Result<Self> {
        match kind {
            ExternalKind::Func => Ok(Self::Func),
            ExternalKind::Table => Ok(Self::Table),
            ExternalKind::Memory => Ok(Self::Memory),
            ExternalKind::Global => Ok(Self::Global),
            _ => Err(CannotLink::because("it has what this linker does not know")),
        }
    }
}

impl From<Sort> for ExportKind {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Func => Self::Func,
            Sort::Table => Self::Table,
            Sort::Memory => Self::Memory,
            Sort::Global => Self::Global,
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Library<'a> {
    pub(super) groups: Vec<RecGroup>,
    pub(super) types: Vec<Option<FuncType>>,
    pub(super) imported_funcs: Vec<Import<'a>>,
    pub(super) imported_globals: Vec<Import<'a>>,
    pub(super) imported_tables: Vec<Import<'a>>,
    pub(super) imported_memories: Vec<Import<'a>>,
    pub(super) funcs: Vec<u32>,
    pub(super) tables: Vec<TableType>,
    pub(super) memories: u32,
    pub(super) globals: Vec<Global<'a>>,
    pub(super) exports: HashMap<&'a str, (Sort, u32)>,
    pub(super) starts: bool,
    pub(super) elements: Vec<Element<'a>>,
    pub(super) data: Vec<Data<'a>>,
    pub(super) bodies: Vec<FunctionBody<'a>>,
    /// Names of functions, by index.
    pub(super) names: BTreeMap<u32, &'a str>,
    /// It is one of those that are linked dynamically.
    pub(super) dynamic: bool,
    /// It has what this linker does not know: tags, tables that are not empty at first.
    pub(super) strange: bool,
}

impl<'a> Library<'a> {
    /// Whether a module is a library.
    pub(super) fn is_one(module: &[u8]) -> Result<bool> {
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::CustomSection(custom) if custom.name() == DYNAMIC => return Ok(true),
                // It comes first of all.
                Payload::TypeSection(_) => break,
                _ => {}
            }
        }
        Ok(false)
    }

    pub(super) fn new(module: &'a [u8]) -> Result<Self> {
        let mut new = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            new.take(payload?)?;
        }
        Ok(new)
    }

    fn take(&mut self, payload: Payload<'a>) -> Result<()> {
        match payload {
            Payload::TypeSection(types) => {
                for group in types {
                    let group = group?;
                    self.types
                        .extend(group.types().map(|ty| match &ty.composite_type.inner {
                            CompositeInnerType::Func(ty) => Some(ty.clone()),
                            _ => None,
                        }));
                    self.groups.push(group);
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    match import.ty {
                        TypeRef::Func(_) => self.imported_funcs.push(import),
                        TypeRef::Global(_) => self.imported_globals.push(import),
                        TypeRef::Table(_) => self.imported_tables.push(import),
                        TypeRef::Memory(_) => self.imported_memories.push(import),
                        _ => self.strange = true,
                    }
                }
            }
            Payload::FunctionSection(funcs) => take_all(&mut self.funcs, funcs)?,
            Payload::TableSection(tables) => {
                for table in tables {
                    let table = table?;
                    self.strange |= !matches!(table.init, wasmparser::TableInit::RefNull);
                    self.tables.push(table.ty);
                }
            }
            Payload::MemorySection(memories) => self.memories = memories.count(),
            Payload::GlobalSection(globals) => take_all(&mut self.globals, globals)?,
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    self.exports
                        .insert(export.name, (Sort::of(export.kind)?, export.index));
                }
            }
            Payload::StartSection { .. } => self.starts = true,
            Payload::ElementSection(elements) => take_all(&mut self.elements, elements)?,
            Payload::DataSection(data) => take_all(&mut self.data, data)?,
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::CustomSection(custom) => {
                self.dynamic |= custom.name() == DYNAMIC;
                if let KnownCustom::Name(names) = custom.as_known() {
                    // Of no use but to people: bad ones are none.
                    let functions = names.filter_map(|names| match names {
                        Ok(Name::Function(names)) => Some(names),
                        _ => None,
                    });
                    let named = functions.flatten().filter_map(std::result::Result::ok);
                    self.names.extend(named.map(|named| (named.index, named.name)));
                }
            }
            Payload::Version { .. }
            | Payload::CodeSectionStart { .. }
            | Payload::DataCountSection { .. }
            | Payload::End(_) => {}
            _ => self.strange = true,
        }
        Ok(())
    }

    /// The index of an export.
    pub(super) fn export(&self, sort: Sort, name: &str) -> Result<u32> {
        match self.exports.get(name) {
            Some((found, index)) if *found == sort => Ok(*index),
            _ => Err(CannotLink::because(format!(
                "there is no export `{name}` of that sort"
            ))),
        }
    }

    /// All imports.
    pub(super) fn imports(&self) -> Vec<Import<'a>> {
        let sorts = [Sort::Func, Sort::Global, Sort::Table, Sort::Memory];
        sorts
            .iter()
            .flat_map(|sort| self.imported(*sort))
            .copied()
            .collect()
    }

    /// The imports of a kind: they come first among its indexes.
    pub(super) fn imported(&self, sort: Sort) -> &[Import<'a>] {
        match sort {
            Sort::Func => &self.imported_funcs,
            Sort::Global => &self.imported_globals,
            Sort::Table => &self.imported_tables,
            Sort::Memory => &self.imported_memories,
        }
    }

    /// How many functions come before its own.
    pub(super) fn first_func(&self) -> u32 {
        count(&self.imported_funcs)
    }

    /// The type of a function.
    pub(super) fn signature(&self, func: u32) -> Result<&FuncType> {
        let ty = match func.checked_sub(self.first_func()) {
            Some(own) => *at(&self.funcs, own)?,
            None => func_type(at(&self.imported_funcs, func)?)?,
        };
        let known = at(&self.types, ty)?.as_ref();
        known.ok_or_else(|| CannotLink::because("a function has no function type"))
    }

    /// The value of one of its own globals, where it begins as a number.
    pub(super) fn initial(&self, global: u32) -> Option<i32> {
        let own = global.checked_sub(count(&self.imported_globals))?;
        constant(&at(&self.globals, own).ok()?.init_expr, &|_| None)
    }

    /// The functions of elements that are written into a table at the start, by their place in it.
    pub(super) fn written(
        &self,
        element: &Element<'a>,
        base: &dyn Fn(u32) -> Option<i32>,
    ) -> Result<Option<(u32, Vec<u32>)>> {
        let ElementKind::Active { offset_expr, .. } = &element.kind else {
            return Ok(None);
        };
        let ElementItems::Functions(funcs) = &element.items else {
            return Err(CannotLink::because("a table holds more than functions"));
        };
        let offset = constant(offset_expr, base).and_then(|offset| u32::try_from(offset).ok());
        let offset = offset.ok_or_else(|| CannotLink::because("a place in a table is not known"))?;
        let funcs = funcs.clone().into_iter().collect::<std::result::Result<_, _>>()?;
        Ok(Some((offset, funcs)))
    }

    /// Whether nothing of it runs or is written when it is instantiated, but into tables.
    pub(super) fn is_passive(&self) -> bool {
        let writes = |data: &Data<'_>| matches!(data.kind, DataKind::Active { .. }) && !data.data.is_empty();
        !self.starts && !self.strange && !self.data.iter().any(writes)
    }

    /// The globals that its functions change.
    ///
    /// # Errors
    /// When one of them changes a table.
    pub(super) fn changed_globals(&self) -> Result<HashSet<u32>> {
        let mut changed = HashSet::new();
        for body in &self.bodies {
            let mut code = body.get_operators_reader()?;
            while !code.eof() {
                match code.read()? {
                    Operator::GlobalSet { global_index } => {
                        changed.insert(global_index);
                    }
                    Operator::TableSet { .. }
                    | Operator::TableGrow { .. }
                    | Operator::TableFill { .. }
                    | Operator::TableCopy { .. }
                    | Operator::TableInit { .. } => {
                        return Err(CannotLink::because("a library changes its table"));
                    }
                    _ => {}
                }
            }
        }
        Ok(changed)
    }

    /// The place in the table whose function a function only calls, with its own arguments.
    pub(super) fn trampoline(&self, func: u32) -> Result<Option<u32>> {
        let Some(own) = func.checked_sub(self.first_func()) else {
            return Ok(None);
        };
        let body = at(&self.bodies, own)?;
        let signature = self.signature(func)?;
        let mut code = body.get_operators_reader()?;
        for index in 0..count(signature.params()) {
            if !matches!(code.read()?, Operator::LocalGet { local_index } if local_index == index) {
                return Ok(None);
            }
        }
        let Operator::I32Const { value } = code.read()? else {
            return Ok(None);
        };
        let Operator::CallIndirect {
            type_index,
            table_index: 0,
        } = code.read()?
        else {
            return Ok(None);
        };
        let same = at(&self.types, type_index)?.as_ref() == Some(signature);
        let ends = matches!(code.read()?, Operator::End) && code.eof();
        Ok(if same && ends {
            u32::try_from(value).ok()
        } else {
            None
        })
    }

    /// Checks that its one table is its own, at first empty, and used by trampolines alone.
    ///
    /// # Errors
    /// When it is not so.
    pub(super) fn holds_only_trampolines(&self) -> Result<()> {
        let own = self.imported_tables.is_empty() && self.tables.len() == 1 && self.elements.is_empty();
        if self.strange || !own {
            return Err(CannotLink::because(
                "the module with the memory has more than expected",
            ));
        }
        for (func, body) in (self.first_func()..).zip(&self.bodies) {
            if self.trampoline(func)?.is_some() {
                continue;
            }
            let mut code = body.get_operators_reader()?;
            while !code.eof() {
                let looks = matches!(
                    code.read()?,
                    Operator::CallIndirect { .. }
                        | Operator::ReturnCallIndirect { .. }
                        | Operator::TableGet { .. }
                );
                if looks {
                    return Err(CannotLink::because(
                        "the module with the memory does more than expected",
                    ));
                }
            }
        }
        Ok(())
    }
}

fn take_all<'a, T: FromReader<'a>>(items: &mut Vec<T>, section: SectionLimited<'a, T>) -> Result<()> {
    for item in section {
        items.push(item?);
    }
    Ok(())
}

pub(super) fn func_type(import: &Import<'_>) -> Result<u32> {
    match import.ty {
        TypeRef::Func(ty) => Ok(ty),
        _ => Err(CannotLink::because("an import is not a function")),
    }
}

/// Indexes are of 32 bits, so there are never more.
pub(super) fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}

/// The number that an expression is; `global` knows those of globals.
fn constant(expression: &ConstExpr<'_>, global: &dyn Fn(u32) -> Option<i32>) -> Option<i32> {
    let mut stack = Vec::new();
    let mut code = expression.get_operators_reader();
    while !code.is_end_then_eof() {
        match code.read().ok()? {
            Operator::I32Const { value } => stack.push(value),
            Operator::GlobalGet { global_index } => stack.push(global(global_index)?),
            Operator::I32Add => {
                let (b, a) = (stack.pop()?, stack.pop()?);
                stack.push(a.wrapping_add(b));
            }
            _ => return None,
        }
    }
    match stack.as_slice() {
        [value] => Some(*value),
        _ => None,
    }
}
