//! Variables in values: the syntax of `${VAR}`, `${VAR:-default}` and `$$`. The caller looks variables
//! up.

use super::invalid::Invalid;
use super::problem::quoted;

/// The text with its variables replaced, or why that fails.
pub(super) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Invalid> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let Some((inside, after)) = after.split_once('}') else {
                return Err(Invalid::new("{} holds a `${` without its `}`")
                    .help("write `$$` for a `$` that begins no variable"));
            };
            out.push_str(&value(inside, env)?);
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Escapes a text so that it reads back unchanged.
pub(super) fn escape(text: &str) -> String {
    text.replace('$', "$$")
}

/// Whether [`expand`] would replace a variable in this text.
pub(super) fn has_variable(text: &str) -> bool {
    text.contains("${")
}

/// The variables that are set and that a text names, each as `${NAME}` and with its value.
pub(super) fn variables(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let inside = text.split("${").skip(1);
    let inside = inside.filter_map(|rest| Some(rest.split_once('}')?.0));
    let names = inside.map(|inside| inside.split_once(":-").map_or(inside, |(name, _)| name));
    names
        .filter_map(|name| Some((format!("${{{name}}}"), env(name)?)))
        .collect()
}

fn value(inside: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Invalid> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let starts_well = name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
    if !starts_well
        || !name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || char == '_')
    {
        return Err(Invalid::new("{} holds a variable without a proper name")
            .help("write `${NAME}` or `${NAME:-default}`, and `$$` for a plain `$`"));
    }
    if default.is_some_and(has_variable) {
        return Err(Invalid::new("{} holds a variable within a default"));
    }
    // As in a shell, `:-` also stands in for a variable that is set but empty.
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(
            Invalid::new(format!("the variable {} is not set", quoted(name)))
                .help("set it, or give a default: `${NAME:-default}`"),
        ),
    }
}
