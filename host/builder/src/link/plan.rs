//! The indexes of the one module, and the libraries' code with these.

use wasm_encoder::{
    EntityType, Instruction,
    reencode::{self, Reencode, utils},
};
use wasmparser::Operator;

use super::{
    CannotLink, Result, at,
    component::Source,
    library::{Library, Sort, count},
    past,
};

/// What an index of one library is in the one module.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    Own { lib: usize, index: u32 },
    Outside(Source<'a>),
    Constant(i32),
}

/// What the module imports, by its number.
#[derive(Default)]
pub(super) struct Imports<'a> {
    pub(super) items: Vec<(Sort, Source<'a>, EntityType)>,
}

impl<'a> Imports<'a> {
    pub(super) fn number(&mut self, sort: Sort, source: Source<'a>, ty: EntityType) -> u32 {
        self.find(sort, source).unwrap_or_else(|| {
            let number = self.count(sort);
            self.items.push((sort, source, ty));
            number
        })
    }

    /// Where an import of a library is, which becomes one of the module's when it comes from outside.
    pub(super) fn location(&mut self, sort: Sort, target: Target<'a>, ty: EntityType) -> ImportLocation {
        match target {
            Target::Own { lib, index } => ImportLocation::Own { lib, index },
            Target::Constant(value) => ImportLocation::Constant(value),
            Target::Outside(source) => ImportLocation::Import(self.number(sort, source, ty)),
        }
    }

    /// Its number among those of its sort.
    fn find(&self, sort: Sort, source: Source<'a>) -> Option<u32> {
        let mut of_sort = (0..).zip(self.items.iter().filter(|(s, ..)| *s == sort));
        of_sort.find_map(|(number, (_, s, _))| (*s == source).then_some(number))
    }

    /// How many there are of a sort.
    pub(super) fn count(&self, sort: Sort) -> u32 {
        let of_sort = self.items.iter().filter(|(s, ..)| *s == sort);
        of_sort.fold(0, |count, _| count + 1)
    }
}

/// Where a library's import is.
#[derive(Clone, Copy)]
pub(super) enum ImportLocation {
    Import(u32),
    Own { lib: usize, index: u32 },
    Constant(i32),
}

/// The indexes of the one module.
pub(super) struct Plan<'a> {
    pub(super) imports: Imports<'a>,
    pub(super) views: Vec<View>,
}

/// What a library brings: where its imports are, and what it has itself.
pub(super) struct LibraryImports<'l, 'a> {
    pub(super) library: &'l Library<'a>,
    pub(super) types: u32,
    pub(super) funcs: Vec<ImportLocation>,
    pub(super) globals: Vec<ImportLocation>,
}

impl<'a> Plan<'a> {
    /// Numbers what the libraries bring, one library after the other, behind the imports.
    pub(super) fn new(imports: Imports<'a>, imported: Vec<LibraryImports<'_, 'a>>) -> Result<Self> {
        let mut next = View {
            first_func: imports.count(Sort::Func),
            first_global: imports.count(Sort::Global),
            ..View::default()
        };
        let mut views = Vec::new();
        for LibraryImports { library, types, .. } in &imported {
            views.push(View {
                types: *types,
                ..next.clone()
            });
            next.first_func += count(&library.funcs);
            next.first_global += count(&library.globals);
            next.elements += count(&library.elements);
            next.data += count(&library.data);
        }
        let mut plan = Self { imports, views };
        for (
            lib,
            LibraryImports {
                library,
                funcs,
                globals,
                ..
            },
        ) in imported.into_iter().enumerate()
        {
            let funcs = funcs
                .into_iter()
                .map(|location| plan.meaning(Sort::Func, location));
            let mut funcs = funcs.collect::<Result<Vec<_>>>()?;
            let globals = globals
                .into_iter()
                .map(|location| plan.meaning(Sort::Global, location));
            let mut globals = globals.collect::<Result<Vec<_>>>()?;
            let Some(view) = plan.views.get_mut(lib) else {
                continue;
            };
            funcs.extend((view.first_func..).take(library.funcs.len()).map(Meaning::Index));
            globals.extend(
                (view.first_global..)
                    .take(library.globals.len())
                    .map(Meaning::Index),
            );
            (view.funcs, view.globals) = (funcs, globals);
        }
        Ok(plan)
    }

    fn meaning(&self, sort: Sort, location: ImportLocation) -> Result<Meaning> {
        match location {
            ImportLocation::Import(number) => Ok(Meaning::Index(number)),
            ImportLocation::Own { lib, index } => {
                self.index(sort, Target::Own { lib, index }).map(Meaning::Index)
            }
            ImportLocation::Constant(value) => Ok(Meaning::Constant(value)),
        }
    }

    /// The index of a function or a global.
    pub(super) fn index(&self, sort: Sort, target: Target<'a>) -> Result<u32> {
        match target {
            Target::Own { lib, index } => {
                let view = self
                    .views
                    .get(lib)
                    .ok_or_else(|| CannotLink::because("there is no such library"))?;
                match sort {
                    Sort::Func => past(view.first_func, index),
                    Sort::Global => past(view.first_global, index),
                    _ => Err(CannotLink::because("a library has a table or a memory")),
                }
            }
            Target::Outside(source) => {
                let found = self.imports.find(sort, source);
                found.ok_or_else(|| CannotLink::because("an export is of none of the libraries"))
            }
            Target::Constant(_) => Err(CannotLink::because("an export is a number")),
        }
    }
}

/// What an index of a library is in the one module.
#[derive(Clone, Copy)]
enum Meaning {
    Index(u32),
    Constant(i32),
}

/// The indexes of one library in the one module.
#[derive(Clone, Default)]
pub(super) struct View {
    types: u32,
    funcs: Vec<Meaning>,
    globals: Vec<Meaning>,
    pub(super) first_func: u32,
    first_global: u32,
    elements: u32,
    data: u32,
    /// The module's own table.
    pub(super) table: u32,
}

impl View {
    /// The value of a global that never changes.
    pub(super) fn constant(&self, global: u32) -> Option<i32> {
        match at(&self.globals, global) {
            Ok(Meaning::Constant(value)) => Some(*value),
            _ => None,
        }
    }
}

type Reencoded<T> = std::result::Result<T, reencode::Error<CannotLink>>;

fn index(meanings: &[Meaning], index: u32) -> Reencoded<u32> {
    match at(meanings, index).map_err(reencode::Error::UserError)? {
        Meaning::Index(index) => Ok(*index),
        Meaning::Constant(_) => Err(reencode::Error::UserError(CannotLink::because(
            "a constant is changed",
        ))),
    }
}

fn moved(first: u32, index: u32) -> Reencoded<u32> {
    past(first, index).map_err(reencode::Error::UserError)
}

impl Reencode for View {
    type Error = CannotLink;

    fn type_index(&mut self, ty: u32) -> Reencoded<u32> {
        moved(self.types, ty)
    }

    fn function_index(&mut self, func: u32) -> Reencoded<u32> {
        index(&self.funcs, func)
    }

    fn global_index(&mut self, global: u32) -> Reencoded<u32> {
        index(&self.globals, global)
    }

    fn table_index(&mut self, table: u32) -> Reencoded<u32> {
        moved(self.table, table)
    }

    fn element_index(&mut self, element: u32) -> Reencoded<u32> {
        moved(self.elements, element)
    }

    fn data_index(&mut self, data: u32) -> Reencoded<u32> {
        moved(self.data, data)
    }

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Reencoded<Instruction<'a>> {
        if let Operator::GlobalGet { global_index } = operator
            && let Some(value) = self.constant(global_index)
        {
            return Ok(Instruction::I32Const(value));
        }
        utils::instruction(self, operator)
    }
}
