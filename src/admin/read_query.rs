//! Reads queries from the body of a request.

use std::net::IpAddr;

use ipnet::IpNet;

use super::body::{Body, invalid};
use super::query::{ConnFilter, ConnKey, ConnQuery, FailureQuery, StageFilter};
use super::response::ErrorResponse;
use crate::outcome::Stage;

/// How many rows an answer has where the request does not say.
const ROWS: usize = 1000;

impl ConnQuery {
    pub(super) fn read(body: &mut Body) -> Result<Self, ErrorResponse> {
        let words = "one of id, endpoint, route, upstream, origin, source, sni, certificate, serial, stage, \
                     mode, age, idle, bytes, up, down or rate";
        let filter = ConnFilter::read(body)?;
        let sort = body.read("sort", words, ConnKey::of)?;
        let totals = body.read("totals", words, ConnKey::of)?;
        if totals.is_some_and(|key| !key.groups()) {
            return Err(invalid(
                "`totals` groups by endpoint, route, upstream, origin, source, sni, certificate, serial, \
                 stage, mode, age or idle",
            ));
        }
        let sort = sort.unwrap_or(ConnKey::Age);
        Ok(Self {
            filter,
            sort,
            reverse: body.switch("reverse")?,
            limit: body.number("limit")?.unwrap_or(ROWS),
            totals,
            rates: body.switch("rates")? || sort == ConnKey::Rate,
        })
    }
}

impl ConnFilter {
    pub(super) fn read(body: &mut Body) -> Result<Self, ErrorResponse> {
        let what = "up to 16 hexadecimal digits, as in the access log";
        Ok(Self {
            id: body.read("id", what, id)?,
            endpoint: body.maybe_text("endpoint")?,
            route: body.maybe_text("route")?,
            upstream: body.maybe_text("upstream")?,
            origin: body.maybe_text("origin")?,
            source: body.read("source", SOURCE, source)?,
            sni: body.maybe_text("sni")?,
            certificate: body.maybe_text("certificate")?,
            serial: body.read("serial", "hexadecimal digits", serial)?,
            older_than: body.seconds("older_than")?,
            idle_for: body.seconds("idle_for")?,
            stage: body.read(
                "stage",
                "a stage, or `setup` for all before the relay",
                stage,
            )?,
        })
    }
}

impl FailureQuery {
    pub(super) fn read(body: &mut Body) -> Result<Self, ErrorResponse> {
        Ok(Self {
            reason: body.maybe_text("reason")?,
            endpoint: body.maybe_text("endpoint")?,
            route: body.maybe_text("route")?,
            origin: body.maybe_text("origin")?,
            source: body.read("source", SOURCE, source)?,
            sni: body.maybe_text("sni")?,
            id: body.read(
                "id",
                "up to 16 hexadecimal digits, as in the access log",
                id,
            )?,
            limit: body.number("limit")?.unwrap_or(ROWS),
        })
    }
}

const SOURCE: &str = "an IP address or a network such as 10.0.0.0/8";

/// A connection id as the access log writes it.
pub(super) fn id(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| digits)
}

fn source(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.ok().or_else(|| text.parse().ok())
}

/// A serial number without what only some programs write: colons, capitals and zeros in front.
fn serial(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let is_hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let digits = digits.trim_start_matches('0').to_ascii_lowercase();
    is_hex.then_some(digits)
}

fn stage(text: &str) -> Option<StageFilter> {
    if text == "setup" {
        return Some(StageFilter::Setup);
    }
    let stage = Stage::ALL.into_iter().find(|stage| stage.word() == text);
    stage.map(StageFilter::Is)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn query(body: &str) -> Result<ConnQuery, ErrorResponse> {
        let mut body = Body::parse(body.as_bytes())?;
        let query = ConnQuery::read(&mut body)?;
        body.end().map(|()| query)
    }

    #[test]
    fn each_condition_is_read_or_refused() {
        let read = query(
            r#"{"source": "10.1.0.0/16", "serial": "00:4F:aF", "older_than": 1.5, "stage": "setup",
                "sort": "rate", "limit": 0, "id": null}"#,
        );
        let read = read.unwrap();
        assert_eq!(read.filter.source, "10.1.0.0/16".parse().ok());
        assert_eq!(read.filter.serial.as_deref(), Some("4faf"));
        assert_eq!(read.filter.older_than, Some(Duration::from_millis(1500)));
        assert_eq!(read.filter.stage, Some(StageFilter::Setup));
        assert!(read.rates && read.limit == 0 && read.filter.id.is_none());
        let one = query(r#"{"source": "::1"}"#).unwrap().filter.source;
        assert_eq!(one, "::1/128".parse().ok());
        assert!(query("{}").unwrap().filter.is_empty());
        for wrong in [
            r#"{"source": "10.0.0.0/33"}"#,
            r#"{"source": 7}"#,
            r#"{"serial": "4g"}"#,
            r#"{"serial": ":"}"#,
            r#"{"older_than": -1}"#,
            r#"{"older_than": 1e30}"#,
            r#"{"older_than": "1h"}"#,
            r#"{"stage": "relays"}"#,
            r#"{"sort": "colour"}"#,
            r#"{"totals": "bytes"}"#,
            r#"{"limit": -1}"#,
            r#"{"limit": 0.5}"#,
            r#"{"id": "0x1"}"#,
            r#"{"clinet": "x"}"#,
        ] {
            assert!(query(wrong).is_err(), "{wrong}");
        }
    }
}
