//! Text of the file made safe for a terminal: escapes, and the columns of characters.

/// The text with control, bidi and invisible characters escaped.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(|char| printable(char).0).collect()
}

/// The printed form of a character, and its columns.
pub(super) fn printable(char: char) -> (String, usize) {
    match char {
        '\t' => ("    ".to_owned(), 4),
        // Direction marks and invisible characters would disguise the line.
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' => escaped(char),
        char if char.is_control() => escaped(char),
        char => (char.to_string(), width(char)),
    }
}

fn escaped(char: char) -> (String, usize) {
    let text = char.escape_unicode().to_string();
    let width = text.len();
    (text, width)
}

/// The columns of a printable character, by the blocks that terminals agree on. A caret does not justify
/// a whole Unicode table.
fn width(char: char) -> usize {
    match char {
        '\u{0300}'..='\u{036f}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{fe20}'..='\u{fe2f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97c}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}
