//! Comparison of distinguished names (RFC 5280 section 7.1).

use crate::tls::der::{Element, Elements, OID, SEQUENCE, SET};

const UTF8: u8 = 0x0c;
const NUMERIC: u8 = 0x12;
const PRINTABLE: u8 = 0x13;
const TELETEX: u8 = 0x14;
const IA5: u8 = 0x16;
const VISIBLE: u8 = 0x1a;
const UNIVERSAL: u8 = 0x1c;
const BMP: u8 = 0x1e;

/// A name in canonical form: equal names have equal forms. The form ignores string type, case and
/// repeated spaces. It keeps the order of attributes, except within a set. A malformed name equals only
/// the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::tls) struct ComparableName(Vec<u8>);

impl ComparableName {
    /// The name with this content, which lacks the outermost tag and length, as in trust anchors.
    pub(in crate::tls) fn of(content: &[u8]) -> Self {
        let mut form = Vec::with_capacity(content.len());
        Self(match read(content, &mut form) {
            Some(()) => form,
            // No other form begins with this byte: they begin with a set.
            None => [&[0], content].concat(),
        })
    }
}

fn read(content: &[u8], form: &mut Vec<u8>) -> Option<()> {
    let mut relative = Elements(content);
    while !relative.is_done() {
        let mut attributes = Elements(relative.expect(SET)?);
        let mut set = Vec::new();
        while !attributes.is_done() {
            let mut fields = Elements(attributes.expect(SEQUENCE)?);
            let kind = fields.expect(OID)?;
            let value = fields.next()?;
            if !fields.is_done() {
                return None;
            }
            let (sort, value) = comparable(value);
            let mut attribute = Vec::new();
            part(&mut attribute, kind);
            attribute.push(sort);
            part(&mut attribute, &value);
            set.push(attribute);
        }
        set.sort();
        form.push(SET);
        form.extend((set.len() as u64).to_be_bytes());
        form.extend(set.concat());
    }
    Some(())
}

/// The length before each part keeps different parts from giving the same form.
fn part(form: &mut Vec<u8>, bytes: &[u8]) {
    form.extend((bytes.len() as u64).to_be_bytes());
    form.extend(bytes);
}

/// The type and bytes to compare: all texts have one type, other values keep theirs.
fn comparable(value: Element<'_>) -> (u8, Vec<u8>) {
    match text(value) {
        Some(text) => {
            let words: Vec<_> = text.split_whitespace().map(str::to_lowercase).collect();
            (UTF8, words.join(" ").into_bytes())
        }
        None => (value.tag, value.content.to_vec()),
    }
}

fn text(value: Element<'_>) -> Option<String> {
    let content = value.content;
    match value.tag {
        UTF8 => String::from_utf8(content.to_vec()).ok(),
        // TeletexStrings hold Latin 1 in practice, not T.61.
        TELETEX | NUMERIC | PRINTABLE | IA5 | VISIBLE => {
            Some(content.iter().map(|b| char::from(*b)).collect())
        }
        BMP if content.len().is_multiple_of(2) => {
            let units: Vec<_> = content
                .chunks_exact(2)
                .map(|pair| pair.iter().fold(0, |all, b| (all << 8) | u16::from(*b)))
                .collect();
            String::from_utf16(&units).ok()
        }
        UNIVERSAL if content.len().is_multiple_of(4) => content
            .chunks_exact(4)
            .map(|four| char::from_u32(four.iter().fold(0, |all, b| (all << 8) | u32::from(*b))))
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::der::sequence;

    const ORGANIZATION: &[u8] = &[0x55, 4, 10];
    const COMMON_NAME: &[u8] = &[0x55, 4, 3];

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, content.len() as u8], content].concat()
    }

    fn attribute(kind: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        sequence(&[element(OID, kind), element(tag, value)].concat())
    }

    fn name(sets: &[&[Vec<u8>]]) -> ComparableName {
        let sets = sets.iter().map(|set| element(SET, &set.concat()));
        ComparableName::of(&sets.collect::<Vec<_>>().concat())
    }

    fn one(tag: u8, value: &[u8]) -> ComparableName {
        name(&[&[attribute(ORGANIZATION, tag, value)]])
    }

    #[test]
    fn string_type_case_and_spaces_make_no_difference() {
        let corp = one(UTF8, b"Corp CA");
        for (tag, value) in [
            (PRINTABLE, &b"Corp CA"[..]),
            (TELETEX, b"corp ca"),
            (IA5, b"  CORP   CA "),
            (VISIBLE, b"Corp CA"),
            (BMP, b"\0C\0o\0r\0p\0 \0C\0A"),
            (
                UNIVERSAL,
                b"\0\0\0C\0\0\0o\0\0\0r\0\0\0p\0\0\0 \0\0\0C\0\0\0A",
            ),
        ] {
            assert_eq!(one(tag, value), corp, "{tag:x}");
        }
        assert_eq!(one(UTF8, "Müller".as_bytes()), one(TELETEX, b"M\xfcLLER"));
    }

    #[test]
    fn other_texts_kinds_and_orders_do() {
        let corp = one(UTF8, b"Corp CA");
        assert_ne!(one(UTF8, b"CorpCA"), corp);
        assert_ne!(one(UTF8, b"Corp CA2"), corp);
        assert_ne!(one(0x04, b"Corp CA"), corp, "no text");
        assert_ne!(name(&[&[attribute(COMMON_NAME, UTF8, b"Corp CA")]]), corp);
        let a = [attribute(ORGANIZATION, UTF8, b"a")];
        let b = [attribute(COMMON_NAME, UTF8, b"b")];
        let [ab, ba] = [[&a, &b], [&b, &a]].map(|pair| pair.map(|one| one[0].clone()));
        assert_ne!(name(&[&a, &b]), name(&[&b, &a]));
        assert_ne!(name(&[&ab]), name(&[&a, &b]));
        assert_eq!(name(&[&ab]), name(&[&ba]), "a set has no order");
    }

    #[test]
    fn a_malformed_name_equals_only_itself() {
        let broken = ComparableName::of(b"\x31\x05abc");
        assert_eq!(broken, ComparableName::of(b"\x31\x05abc"));
        assert_ne!(broken, ComparableName::of(b"\x31\x05ABC"));
        assert_ne!(one(UTF8, b"\xff\xfe"), one(UTF8, b"\xff\xfd"));
    }
}
