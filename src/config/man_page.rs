//! The manual page of the configuration file, reseal.yaml(5), in roff: written from the table of keys. Knows
//! no key.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::reader::reference::{Holder, KeyEntry, Presence, Reference};

/// The text before the keys.
const BEFORE: &str = r#".ad l
.SH NAME
reseal.yaml \- configuration file of
.BR reseal (1)
.SH DESCRIPTION
One YAML file.
.B reseal run
and
.B reseal check
take the file that is named, else by the environment variable
.BR RESEAL_CONFIG ,
else
.IR ./config.yaml ,
else
.IR /etc/reseal/config.yaml .
An unknown key is an error.
.B reseal check \-\-print
shows the effective configuration, with every default filled in.
.SH VALUES
.TP
.B duration
A whole number and one of
.BR ms ", " s ", " m ", " h ,
at most ten years:
.BR 250ms ", " 10m .
.TP
.B size
A whole number and one of
.BR B ", " KiB ", " MiB ", " GiB :
.BR 64KiB .
.TP
.B name
1 to 64 letters, digits,
.BR . ", " _ ", " \- .
.TP
.B path
A relative path is relative to the directory of the file.
.TP
.B none
No limit. The number 0 is refused where it would mean that.
.PP
.B ${VAR}
in a value stands for an environment variable,
.B ${VAR:\-default}
has a default for one that is unset or empty,
.B $$
is a
.BR $ .
.SH KEYS
A path such as
.B endpoints[].timeouts
is a map in each item of a list;
.B upstreams.NAME
is a map under a name of your choice.
"#;

/// The text after the keys.
const AFTER: &str = r#".SH SEE ALSO
.BR reseal (1)
"#;

/// The page.
pub(super) fn page(reference: &Reference, date: &str) -> String {
    let paths = paths(reference);
    let version = env!("CARGO_PKG_VERSION");
    let mut out =
        format!(".TH reseal.yaml 5 {date} \"reseal {version}\" \"File formats\"\n{BEFORE}");
    for table in reference.tables() {
        let path = paths.get(table.name).map_or("", String::as_str);
        let title = if path.is_empty() { "The file" } else { path };
        let _ = writeln!(out, ".SS {}", prose(title));
        paragraph(&mut out, table.about);
        for entry in &table.keys {
            key(&mut out, entry, path, &paths);
        }
    }
    out.push_str(AFTER);
    out
}

/// The path of each map, at its first use.
fn paths(reference: &Reference) -> HashMap<&'static str, String> {
    let mut paths: HashMap<_, String> = HashMap::new();
    for table in reference.tables() {
        let path = paths.entry(table.name).or_default().clone();
        for entry in &table.keys {
            for map in &entry.form.maps {
                paths
                    .entry(*map)
                    .or_insert_with(|| inner_path(&path, entry));
            }
        }
    }
    paths
}

/// The path of the map that a key holds.
fn inner_path(path: &str, entry: &KeyEntry) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    let suffix = match entry.form.holder {
        Holder::Value => "",
        Holder::List => "[]",
        Holder::Names => ".NAME",
    };
    format!("{path}{dot}{}{suffix}", entry.key)
}

fn key(out: &mut String, entry: &KeyEntry, path: &str, paths: &HashMap<&'static str, String>) {
    let presence = match entry.presence {
        Presence::Required => "; required".to_owned(),
        Presence::Optional | Presence::Default("{}") => String::new(),
        Presence::Default(text) => format!("; default `{text}`"),
    };
    let form = prose(&format!("{}{presence}", entry.form.text()));
    let _ = writeln!(out, ".TP\n\\fB{}\\fR \\(en {form}", prose(entry.key));
    paragraph(out, entry.meaning);
    let plain = entry.form.plain_words();
    if !plain.is_empty() {
        paragraph(out, &format!("`{}`.", plain.join("`, `")));
    }
    for (word, about) in entry.form.described_words() {
        let _ = writeln!(out, ".br\n\\fB{}\\fR:", prose(word));
        paragraph(out, about);
    }
    if let (Some(reason), Presence::Default(text)) = (entry.reason, entry.presence) {
        out.push_str(".br\n");
        paragraph(out, &format!("The default is `{text}` because {reason}."));
    }
    let own = inner_path(path, entry);
    let elsewhere = entry.form.maps.first().and_then(|map| paths.get(map));
    if let Some(elsewhere) = elsewhere.filter(|elsewhere| **elsewhere != own) {
        paragraph(out, &format!("Its keys are those of `{elsewhere}`."));
    }
}

/// A line of text.
fn paragraph(out: &mut String, text: &str) {
    let text = prose(text);
    // A line that begins with a dot or an apostrophe would be a request.
    let guard = if text.starts_with(['.', '\'']) {
        "\\&"
    } else {
        ""
    };
    let _ = writeln!(out, "{guard}{text}");
}

/// Text with code spans, in roff.
fn prose(text: &str) -> String {
    let mut out = String::new();
    let mut is_code = false;
    for char in text.chars() {
        match char {
            '`' => {
                is_code = !is_code;
                out.push_str(if is_code { "\\fB" } else { "\\fR" });
            }
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '~' => out.push_str("\\(ti"),
            '^' => out.push_str("\\(ha"),
            '\'' => out.push_str("\\(aq"),
            char => out.push(char),
        }
    }
    out
}
