//! One module's text: its syntax, its imports, and its types away.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use oxc::{
    allocator::Allocator,
    ast::ast::{
        Argument, AssignmentExpression, AssignmentTarget, CallExpression, Expression, ObjectPropertyKind,
        PropertyKey, StaticMemberExpression,
    },
    ast_visit::{Visit, walk},
    codegen::Codegen,
    diagnostics::OxcDiagnostic,
    parser::Parser,
    semantic::SemanticBuilder,
    span::{SourceType, Span},
    syntax::module_record::{ExportImportName, ImportImportName, ModuleRecord},
    transformer::{EnvOptions, TransformOptions, Transformer},
};

use crate::{BuildError, SourcePosition};

/// How a module takes and gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `import` and `export`.
    Module,
    /// `require` and `module.exports`.
    CommonJs,
}

/// What a file's name and its package say of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    Module,
    CommonJs,
    /// What it uses decides.
    Open,
}

/// A range of bytes of the text.
pub(super) type Range = std::ops::Range<usize>;

/// An `import` or `export … from`.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) name: String,
    /// The string, and the attributes behind it up to the statement's end.
    pub(super) replace: Range,
    /// Whether a semicolon has to close the statement again.
    pub(super) closes: bool,
}

/// An `import(…)` expression.
#[derive(Debug, Clone)]
pub(super) struct Dynamic {
    /// `None` when what is imported is only known when it runs.
    pub(super) name: Option<String>,
    pub(super) whole: Range,
}

/// Names that a module wants of another.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub(super) names: BTreeSet<String>,
    /// `import * as` or `export * from`: whatever there is.
    pub(super) all: bool,
}

/// Line and column, from 1, of requests by their names.
pub(super) type SourcePositions = BTreeMap<String, (u32, u32)>;

/// A module that was read.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) kind: Kind,
    /// JavaScript.
    pub(super) text: String,
    pub(super) requests: Vec<Request>,
    /// Where requests stand in the file, if `text` is not what stands there.
    pub(super) written: SourcePositions,
    pub(super) wants: Vec<(String, Wanted)>,
    pub(super) dynamic: Vec<Dynamic>,
    pub(super) metas: Vec<Range>,
    /// What `require("…")` is called with.
    pub(super) requires: BTreeSet<String>,
    /// Names that it exports, as far as they can be found without running it.
    pub(super) exports: BTreeSet<String>,
    /// CommonJS modules whose exports it passes on.
    pub(super) passes_on: BTreeSet<String>,
    /// Whether it can be run in strict mode, which modules are.
    pub(super) strict: bool,
}

/// Reads a module. `name` is for errors; the language is by the extension of `path`.
pub(super) fn parse(path: &Path, name: &str, source: &str, hint: Hint) -> Result<Parsed, BuildError> {
    let allocator = Allocator::default();
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if matches!(extension, "ts" | "mts" | "cts") {
        let (text, written) = strip_types(&allocator, path, name, source)?;
        let hint = if extension == "cts" {
            Hint::CommonJs
        } else {
            Hint::Module
        };
        let parsed = analyse(&Allocator::default(), name, text, hint)?;
        return Ok(Parsed { written, ..parsed });
    }
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    analyse(&allocator, name, source.to_owned(), hint)
}

fn analyse(allocator: &Allocator, name: &str, text: String, hint: Hint) -> Result<Parsed, BuildError> {
    let kinds = match hint {
        Hint::Module => vec![SourceType::mjs()],
        Hint::CommonJs => vec![SourceType::cjs()],
        Hint::Open => vec![SourceType::mjs(), SourceType::cjs()],
    };
    let mut first_error = None;
    for kind in kinds {
        let parsed = Parser::new(allocator, &text, kind).parse();
        let mut problems = Vec::from(parsed.diagnostics);
        if problems.is_empty() {
            let checked = SemanticBuilder::new()
                .with_check_syntax_error(true)
                .build(&parsed.program);
            problems = checked.diagnostics.into();
        }
        if let Some(problem) = problems.first() {
            first_error.get_or_insert_with(|| syntax(name, &text, problem));
            continue;
        }
        let mut commonjs = CommonJs::default();
        commonjs.visit_program(&parsed.program);
        let is_module = match hint {
            Hint::Module => true,
            Hint::CommonJs => false,
            Hint::Open => kind.is_module() && (parsed.module_record.has_module_syntax || !commonjs.used),
        };
        let strict = kind.is_module() || parses_strictly(allocator, &text);
        return Ok(collect(is_module, strict, &parsed.module_record, commonjs, &text));
    }
    Err(first_error.unwrap_or_else(|| BuildError::Other(format!("{name} cannot be parsed"))))
}

fn collect(
    is_module: bool,
    strict: bool,
    record: &ModuleRecord<'_>,
    commonjs: CommonJs,
    text: &str,
) -> Parsed {
    let mut parsed = Parsed {
        kind: if is_module { Kind::Module } else { Kind::CommonJs },
        text: text.to_owned(),
        requests: Vec::new(),
        written: SourcePositions::new(),
        wants: Vec::new(),
        dynamic: Vec::new(),
        metas: record.import_metas.iter().map(|span| range(*span)).collect(),
        requires: if is_module {
            BTreeSet::new()
        } else {
            commonjs.requires
        },
        exports: commonjs.exports,
        passes_on: commonjs.passes_on,
        strict,
    };
    for (name, occurrences) in &record.requested_modules {
        for occurrence in occurrences {
            let (literal, statement) = (range(occurrence.span), range(occurrence.statement_span));
            let closes = text
                .get(literal.end..statement.end)
                .is_some_and(|rest| !rest.is_empty());
            parsed.requests.push(Request {
                name: name.to_string(),
                replace: literal.start..statement.end.max(literal.end),
                closes,
            });
        }
    }
    for import in &record.import_entries {
        let wanted = wanted_of(&mut parsed.wants, &import.module_request.name);
        match &import.import_name {
            ImportImportName::Name(name) => {
                wanted.names.insert(name.name.to_string());
            }
            ImportImportName::Default(_) => {
                wanted.names.insert("default".to_owned());
            }
            ImportImportName::NamespaceObject => wanted.all = true,
        }
    }
    for export in record
        .indirect_export_entries
        .iter()
        .chain(&record.star_export_entries)
    {
        let Some(request) = &export.module_request else {
            continue;
        };
        let wanted = wanted_of(&mut parsed.wants, &request.name);
        match &export.import_name {
            ExportImportName::Name(name) => {
                wanted.names.insert(name.name.to_string());
            }
            _ => wanted.all = true,
        }
    }
    if is_module {
        parsed.exports = record.exported_bindings.keys().map(ToString::to_string).collect();
    }
    for import in &record.dynamic_imports {
        let literal = text.get(range(import.module_request)).unwrap_or_default();
        parsed.dynamic.push(Dynamic {
            name: unquote(literal),
            whole: range(import.span),
        });
    }
    parsed
}

fn wanted_of<'a>(wants: &'a mut Vec<(String, Wanted)>, name: &str) -> &'a mut Wanted {
    let at = wants
        .iter()
        .position(|(known, _)| known == name)
        .unwrap_or_else(|| {
            wants.push((name.to_owned(), Wanted::default()));
            wants.len() - 1
        });
    #[expect(clippy::indexing_slicing, reason = "the position was just found or made")]
    &mut wants[at].1
}

fn parses_strictly(allocator: &Allocator, text: &str) -> bool {
    // In a function of a module, where `return` is allowed as in CommonJS.
    let wrapped = format!("(function () {{{}\n}})", without_hashbang(text));
    let parsed = Parser::new(allocator, allocator.alloc_str(&wrapped), SourceType::mjs()).parse();
    parsed.diagnostics.is_empty()
        && SemanticBuilder::new()
            .with_check_syntax_error(true)
            .build(&parsed.program)
            .diagnostics
            .is_empty()
}

/// The text with a first line that is for a shell made a comment.
pub(super) fn without_hashbang(text: &str) -> std::borrow::Cow<'_, str> {
    text.strip_prefix("#!")
        .map_or_else(|| text.into(), |rest| format!("//{rest}").into())
}

fn range(span: Span) -> Range {
    span.start as usize..span.end as usize
}

/// The value of a plain string literal.
fn unquote(literal: &str) -> Option<String> {
    let literal = literal.trim();
    let quote = literal.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
    let inner = literal.strip_prefix(quote)?.strip_suffix(quote)?;
    (!inner.contains(['\\', '$', quote])).then(|| inner.to_owned())
}

/// JavaScript, and where its requests stand in the source.
fn strip_types(
    allocator: &Allocator,
    path: &Path,
    name: &str,
    source: &str,
) -> Result<(String, SourcePositions), BuildError> {
    let parsed = Parser::new(allocator, source, SourceType::ts()).parse();
    let fail = |problem: &OxcDiagnostic| Err(syntax(name, source, problem));
    if let Some(problem) = parsed.diagnostics.first() {
        return fail(problem);
    }
    let requested = parsed.module_record.requested_modules.iter();
    let written = requested
        .filter_map(|(name, all)| {
            let first = all.first()?;
            Some((name.to_string(), position(source, first.span.start as usize)))
        })
        .collect();
    let mut program = parsed.program;
    let checked = SemanticBuilder::new()
        .with_check_syntax_error(true)
        .with_enum_eval(true)
        .with_excess_capacity(2.0)
        .build(&program);
    if let Some(problem) = checked.diagnostics.first() {
        return fail(problem);
    }
    let options = TransformOptions {
        env: EnvOptions::default(),
        ..TransformOptions::default()
    };
    let transformed = Transformer::new(allocator, path, &options)
        .build_with_scoping(checked.semantic.into_scoping(), &mut program);
    if let Some(problem) = transformed.diagnostics.first() {
        return fail(problem);
    }
    Ok((Codegen::new().build(&program).code, written))
}

fn syntax(name: &str, source: &str, problem: &OxcDiagnostic) -> BuildError {
    let offset = problem.labels.first().map(|label| label.offset());
    let (line, column) = offset.map_or((0, 0), |offset| position(source, offset as usize));
    let mut message = problem.message.to_string();
    if let Some(help) = &problem.help {
        message = format!("{message} ({help})");
    }
    BuildError::Syntax {
        position: SourcePosition {
            file: name.to_owned(),
            line,
            column,
        },
        message,
    }
}

/// Line and column, from 1, of a byte of the text.
pub(super) fn position(source: &str, offset: usize) -> (u32, u32) {
    let before = source.get(..offset).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (
        u32::try_from(line).unwrap_or(u32::MAX),
        u32::try_from(column).unwrap_or(u32::MAX),
    )
}

/// What a text does of CommonJS.
#[derive(Debug, Default)]
struct CommonJs {
    used: bool,
    requires: BTreeSet<String>,
    exports: BTreeSet<String>,
    passes_on: BTreeSet<String>,
}

impl CommonJs {
    /// Whether an expression is `exports` or `module.exports`.
    fn is_exports(expression: &Expression<'_>) -> bool {
        match expression {
            Expression::Identifier(name) => name.name == "exports",
            Expression::StaticMemberExpression(member) => is_module_exports(member),
            _ => false,
        }
    }

    fn assigned(&mut self, value: &Expression<'_>) {
        match value {
            Expression::ObjectExpression(object) => {
                for property in &object.properties {
                    match property {
                        ObjectPropertyKind::ObjectProperty(property) => {
                            self.exports.extend(key_of(&property.key));
                        }
                        ObjectPropertyKind::SpreadProperty(spread) => {
                            self.passes_on.extend(required(&spread.argument))
                        }
                    }
                }
            }
            Expression::AssignmentExpression(inner) => self.assigned(&inner.right),
            value => self.passes_on.extend(required(value)),
        }
    }
}

fn is_module_exports(member: &StaticMemberExpression<'_>) -> bool {
    member.property.name == "exports"
        && matches!(&member.object, Expression::Identifier(name) if name.name == "module")
}

fn key_of(key: &PropertyKey<'_>) -> Option<String> {
    match key {
        PropertyKey::StaticIdentifier(name) => Some(name.name.to_string()),
        PropertyKey::StringLiteral(name) => Some(name.value.to_string()),
        _ => None,
    }
}

/// The name in `require("name")`, also as an argument of a helper such as `__toESM(require("name"))`.
fn required(expression: &Expression<'_>) -> Option<String> {
    let Expression::CallExpression(call) = expression else {
        return None;
    };
    match call.arguments.first()? {
        Argument::StringLiteral(name) if call.callee_name() == Some("require") => {
            Some(name.value.to_string())
        }
        Argument::CallExpression(inner) => match inner.arguments.first()? {
            Argument::StringLiteral(name) if inner.callee_name() == Some("require") => {
                Some(name.value.to_string())
            }
            _ => None,
        },
        _ => None,
    }
}

impl<'a> Visit<'a> for CommonJs {
    fn visit_call_expression(&mut self, call: &CallExpression<'a>) {
        match (call.callee_name(), call.arguments.as_slice()) {
            (Some("require"), [Argument::StringLiteral(name), ..]) => {
                self.used = true;
                self.requires.insert(name.value.to_string());
            }
            // Object.defineProperty(exports, "name", …)
            (Some("defineProperty"), [target, Argument::StringLiteral(name), ..])
                if target.as_expression().is_some_and(Self::is_exports) =>
            {
                self.used = true;
                self.exports.insert(name.value.to_string());
            }
            // __exportStar(require("name"), exports), __reExport(exports, require("name"))
            (Some(helper), arguments) if helper.contains("xport") => {
                for argument in arguments {
                    self.passes_on.extend(argument.as_expression().and_then(required));
                }
            }
            _ => {}
        }
        walk::walk_call_expression(self, call);
    }

    fn visit_assignment_expression(&mut self, assignment: &AssignmentExpression<'a>) {
        if let AssignmentTarget::StaticMemberExpression(member) = &assignment.left {
            if is_module_exports(member) {
                self.used = true;
                self.assigned(&assignment.right);
            } else if Self::is_exports(&member.object) {
                self.used = true;
                self.exports.insert(member.property.name.to_string());
            }
        }
        walk::walk_assignment_expression(self, assignment);
    }

    fn visit_static_member_expression(&mut self, member: &StaticMemberExpression<'a>) {
        self.used |= is_module_exports(member);
        walk::walk_static_member_expression(self, member);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, source: &str) -> Parsed {
        parse(Path::new(name), name, source, Hint::Open).unwrap()
    }

    #[test]
    fn imports_are_found_with_their_places() {
        let source = "import a, { b as c } from './x.js';\nimport d from './d.json' with { type: 'json' };\nexport * from 'y';\nconst z = import(\"./z.js\"), v = import(v0);\n";
        let parsed = read("a.js", source);
        assert_eq!(parsed.kind, Kind::Module);
        let mut texts: Vec<_> = parsed
            .requests
            .iter()
            .map(|r| (&*r.name, &source[r.replace.clone()]))
            .collect();
        texts.sort();
        assert_eq!(
            texts,
            [
                ("./d.json", "'./d.json' with { type: 'json' };"),
                ("./x.js", "'./x.js';"),
                ("y", "'y';")
            ]
        );
        assert_eq!(parsed.dynamic[0].name.as_deref(), Some("./z.js"));
        assert_eq!(parsed.dynamic[1].name, None);
        let x = &parsed.wants.iter().find(|(name, _)| name == "./x.js").unwrap().1;
        assert_eq!(x.names.iter().collect::<Vec<_>>(), ["b", "default"]);
        assert!(parsed.wants.iter().find(|(name, _)| name == "y").unwrap().1.all);
    }

    #[test]
    fn commonjs_is_recognised_by_what_it_does() {
        let parsed = read(
            "a.js",
            "const b = require('b'); exports.c = 1; Object.defineProperty(exports, 'd', {}); if (0) module.exports = { e, 'f-g': 1, ...require('h') }; return",
        );
        assert_eq!(parsed.kind, Kind::CommonJs);
        assert_eq!(parsed.requires.iter().collect::<Vec<_>>(), ["b", "h"]);
        assert_eq!(parsed.exports.iter().collect::<Vec<_>>(), ["c", "d", "e", "f-g"]);
        assert_eq!(parsed.passes_on.iter().collect::<Vec<_>>(), ["h"]);
        assert!(parsed.strict);
        assert!(!read("a.js", "with (module.exports) { a = 017 }").strict);
        assert_eq!(read("a.js", "console.log(1)").kind, Kind::Module);
    }

    #[test]
    fn types_go_and_what_has_a_meaning_stays() {
        let parsed = read(
            "a.ts",
            "import type { T } from './t'; import { U, v } from './u'; enum E { A = 1, B } export const x: T = v as U; export { E };",
        );
        assert!(!parsed.text.contains("import type"), "{}", parsed.text);
        assert_eq!(parsed.requests.len(), 1, "{}", parsed.text);
        assert!(parsed.text.contains("\"B\""), "{}", parsed.text);
    }

    #[test]
    fn a_syntax_error_says_where() {
        for (name, source, position) in [
            ("a.js", "let a = 1;\nlet b = ;\n", "a.js:2:9"),
            ("a.js", "let a;\nlet a;\n", "a.js:1:5"),
            ("a.ts", "const a: = 1;\n", "a.ts:1:10"),
            ("a.js", "export const ä = 'ö', b = (;\n", "a.js:1:28"),
            ("a.js", "function f() {\n", "a.js:2:1"),
            ("a.js", "import { a } from;\n", "a.js:1:18"),
            ("a.js", "export default 'unterminated\n", "a.js:1:16"),
            (
                "a.js",
                "const f = () => { await g(); }; export { f };\n",
                "a.js:1:19",
            ),
        ] {
            match parse(Path::new(name), name, source, Hint::Open) {
                Err(BuildError::Syntax {
                    position: found,
                    message,
                }) => {
                    assert_eq!(found.to_string(), position, "{source}: {message}");
                }
                other => panic!("{source}: {other:?}"),
            }
        }
    }
}
