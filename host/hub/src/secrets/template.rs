//! `${VAR}` and `${VAR:-default}` in a text.

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
        default: Option<String>,
    },
}

/// A template that cannot be read. Names no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `${` without `}`.
    #[error("`${{` is not closed with `}}`")]
    NotClosed,
    /// What stands between the braces is not a variable's name.
    #[error(
        "`${{{0}}}` does not name a variable: use letters, digits and `_`, and do not start with a digit"
    )]
    BadName(String),
}

/// Splits a template into its parts. `$$` is one `$`; a `$` before anything else stands for itself.
///
/// # Errors
/// An unclosed `${` or a name that no variable can have.
pub fn parse(template: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        literal.push_str(before);
        if let Some(after) = from.strip_prefix("$$") {
            literal.push('$');
            rest = after;
        } else if let Some(after) = from.strip_prefix("${") {
            let (inside, after) = after.split_once('}').ok_or(TemplateError::NotClosed)?;
            let (name, default) = match inside.split_once(":-") {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (inside, None),
            };
            if !is_variable_name(name) {
                return Err(TemplateError::BadName(name.chars().take(40).collect()));
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Variable {
                name: name.to_owned(),
                default,
            });
            rest = after;
        } else {
            literal.push('$');
            rest = from.strip_prefix('$').unwrap_or_default();
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
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

    #[test]
    fn plain_text_is_one_literal() {
        assert_eq!(parse("a$b$"), Ok(vec![Part::Literal("a$b$".into())]));
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("$${A}"), Ok(vec![Part::Literal("${A}".into())]));
    }
}
