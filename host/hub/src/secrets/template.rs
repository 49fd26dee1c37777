//! `${VAR}` and `${VAR:-default}` in a text, where a default may hold variables with defaults again.

/// Most defaults in each other.
const MAX_DEPTH: usize = 8;

/// One piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text that stands for itself.
    Literal(String),
    /// A variable to look up.
    Variable {
        /// Its name.
        name: String,
        /// What to take when it is not set.
        default: Option<Vec<Part>>,
    },
}

/// A template that cannot be read. Names no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `${` without `}`.
    #[error("`${{` is not closed with `}}`")]
    NotClosed,
    /// Defaults in each other.
    #[error("more than {MAX_DEPTH} defaults stand in each other")]
    TooDeep,
    /// What stands between the braces is not a variable's name.
    #[error(
        "`${{{0}}}` does not name a variable: use letters, digits and `_`, and do not start with a digit"
    )]
    BadName(String),
}

/// Splits a template into its parts. `$$` is one `$`; a `$` before anything else stands for itself. A default is a
/// template too, up to the first `}` that closes none of its own variables.
///
/// # Errors
/// An unclosed `${`, a name that no variable can have, or defaults in each other below [`MAX_DEPTH`].
pub fn parse(template: &str) -> Result<Vec<Part>, TemplateError> {
    let mut rest = template;
    parts(&mut rest, 0)
}

/// The parts that `rest` begins with: all of it, or up to the `}` of the variable that they are a default of.
fn parts(rest: &mut &str, depth: usize) -> Result<Vec<Part>, TemplateError> {
    if depth > MAX_DEPTH {
        return Err(TemplateError::TooDeep);
    }
    let mut parts = Vec::new();
    let mut literal = String::new();
    loop {
        let ends = if depth == 0 { &['$'][..] } else { &['$', '}'] };
        let Some(at) = rest.find(ends) else {
            if depth > 0 {
                return Err(TemplateError::NotClosed);
            }
            literal.push_str(rest);
            break;
        };
        let (before, from) = rest.split_at(at);
        literal.push_str(before);
        if let Some(after) = from.strip_prefix('}') {
            *rest = after;
            break;
        } else if let Some(after) = from.strip_prefix("$$") {
            literal.push('$');
            *rest = after;
        } else if let Some(after) = from.strip_prefix("${") {
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            *rest = after;
            parts.push(variable(rest, depth)?);
        } else {
            literal.push('$');
            *rest = from.strip_prefix('$').unwrap_or_default();
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

/// The variable whose name `rest` begins with, up to its `}`.
fn variable(rest: &mut &str, depth: usize) -> Result<Part, TemplateError> {
    let end = rest.find(['}', ':']).ok_or(TemplateError::NotClosed)?;
    let (name, from) = rest.split_at(end);
    let default = from.strip_prefix(":-");
    if !is_variable_name(name) || (default.is_none() && !from.starts_with('}')) {
        let (inside, _) = rest.split_once('}').ok_or(TemplateError::NotClosed)?;
        return Err(TemplateError::BadName(inside.chars().take(40).collect()));
    }
    let default = match default {
        Some(after) => {
            *rest = after;
            Some(parts(rest, depth + 1)?)
        }
        None => {
            *rest = from.strip_prefix('}').unwrap_or_default();
            None
        }
    };
    Ok(Part::Variable {
        name: name.to_owned(),
        default,
    })
}

/// Whether `name` can be the name of a variable.
pub(crate) fn is_variable_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_place() {
        assert_eq!(parse("a ${B"), Err(TemplateError::NotClosed));
        assert_eq!(parse("${1B}"), Err(TemplateError::BadName("1B".into())));
        assert_eq!(parse("${}"), Err(TemplateError::BadName(String::new())));
        assert_eq!(
            TemplateError::BadName("1B".into()).to_string(),
            "`${1B}` does not name a variable: use letters, digits and `_`, and do not start with a digit"
        );
    }

    fn variable(name: &str, default: Option<Vec<Part>>) -> Part {
        Part::Variable {
            name: name.to_owned(),
            default,
        }
    }

    #[test]
    fn a_default_is_a_template() {
        let literal = |text: &str| Part::Literal(text.to_owned());
        let of_c = variable("B", Some(vec![literal("c")]));
        assert_eq!(
            parse("${A:-${B:-c}}"),
            Ok(vec![variable("A", Some(vec![of_c.clone()]))])
        );
        assert_eq!(
            parse("x${A:-y${B:-c}$$z}w"),
            Ok(vec![
                literal("x"),
                variable("A", Some(vec![literal("y"), of_c, literal("$z")])),
                literal("w")
            ])
        );
        assert_eq!(parse("${A:-}"), Ok(vec![variable("A", Some(vec![]))]));
        assert_eq!(
            parse("${A:-b:-c}"),
            Ok(vec![variable("A", Some(vec![literal("b:-c")]))])
        );
        assert_eq!(parse("${A:-${B}"), Err(TemplateError::NotClosed));
        assert_eq!(parse("${A:-${1}}"), Err(TemplateError::BadName("1".into())));
        assert_eq!(parse("${A:x}"), Err(TemplateError::BadName("A:x".into())));
        assert_eq!(parse("${A:"), Err(TemplateError::NotClosed));
        let deep = |n: usize| format!("{}1{}", "${A:-".repeat(n), "}".repeat(n));
        assert!(parse(&deep(MAX_DEPTH)).is_ok());
        assert_eq!(parse(&deep(MAX_DEPTH + 1)), Err(TemplateError::TooDeep));
        assert_eq!(parse(&"${A:-".repeat(100_000)), Err(TemplateError::TooDeep));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "([$]|[{]|[}]|:-|A|.)*") {
            let _ = parse(&text);
        }
    }

    #[test]
    fn plain_text_is_one_literal() {
        assert_eq!(parse("a$b$"), Ok(vec![Part::Literal("a$b$".into())]));
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("$${A}"), Ok(vec![Part::Literal("${A}".into())]));
    }
}
