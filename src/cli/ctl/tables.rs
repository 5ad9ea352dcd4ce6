//! The columns of each table.

use super::cells::Kind;
use super::columns::Column;

pub(super) const CONNECTIONS: [Column; 14] = [
    ("ID", "id", Kind::Plain),
    ("STAGE", "stage", Kind::Plain),
    ("ENDPOINT", "endpoint", Kind::Plain),
    ("CLIENT", "client", Kind::Plain),
    ("SNI", "sni", Kind::Plain),
    ("ROUTE", "route", Kind::Plain),
    ("ORIGIN", "origin", Kind::Plain),
    ("AGE", "seconds", Kind::Time),
    ("IDLE", "idle_seconds", Kind::Time),
    ("UP", "bytes_up", Kind::Bytes),
    ("DOWN", "bytes_down", Kind::Bytes),
    ("UP/S", "rate_up", Kind::Rate),
    ("DOWN/S", "rate_down", Kind::Rate),
    ("CLIENT CERTIFICATE", "client_cert", Kind::Plain),
];

pub(super) const TOTALS: [Column; 6] = [
    ("VALUE", "value", Kind::Plain),
    ("CONNECTIONS", "connections", Kind::Plain),
    ("UP", "bytes_up", Kind::Bytes),
    ("DOWN", "bytes_down", Kind::Bytes),
    ("UP/S", "rate_up", Kind::Rate),
    ("DOWN/S", "rate_down", Kind::Rate),
];

pub(super) const FAILURES: [Column; 9] = [
    ("TIME", "time", Kind::Plain),
    ("ID", "id", Kind::Plain),
    ("REASON", "reason", Kind::Plain),
    ("STAGE", "stage", Kind::Plain),
    ("CLIENT", "client", Kind::Plain),
    ("SNI", "sni", Kind::Plain),
    ("ROUTE", "route", Kind::Plain),
    ("ORIGIN", "origin", Kind::Plain),
    ("DETAIL", "detail", Kind::Plain),
];

pub(super) const ENDPOINTS: [Column; 4] = [
    ("ADDRESS", "address", Kind::Plain),
    ("ENDPOINT", "endpoint", Kind::Plain),
    ("STATE", "state", Kind::State),
    ("CONNECTIONS", "connections", Kind::Plain),
];

pub(super) const CERTIFICATES: [Column; 5] = [
    ("CERTIFICATE", "name", Kind::Plain),
    ("ENDPOINT", "endpoint", Kind::Plain),
    ("NAMES", "names", Kind::Plain),
    ("EXPIRES", "not_after", Kind::Plain),
    ("LEFT", "seconds_left", Kind::Left),
];

pub(super) const MANAGED: [Column; 6] = [
    ("ISSUER", "issuer", Kind::Plain),
    ("NAMES", "names", Kind::Plain),
    ("STATE", "state", Kind::Plain),
    ("EXPIRES", "not_after", Kind::Plain),
    ("NEXT ORDER", "next_order", Kind::Plain),
    ("LAST ERROR", "last_error", Kind::Plain),
];

pub(super) const CLIENT_CERTIFICATES: [Column; 5] = [
    ("CERTIFICATE", "name", Kind::Plain),
    ("UPSTREAM", "upstream", Kind::Plain),
    ("SUBJECT", "subject", Kind::Plain),
    ("EXPIRES", "not_after", Kind::Plain),
    ("LEFT", "seconds_left", Kind::Left),
];

pub(super) const ADMIN_CERTIFICATES: [Column; 4] = [
    ("ADMIN CERTIFICATE", "name", Kind::Plain),
    ("NAMES", "names", Kind::Plain),
    ("EXPIRES", "not_after", Kind::Plain),
    ("LEFT", "seconds_left", Kind::Left),
];

pub(super) const AUTHORITIES: [Column; 4] = [
    ("CA", "subject", Kind::Plain),
    ("FILE", "file", Kind::Plain),
    ("EXPIRES", "not_after", Kind::Plain),
    ("LEFT", "seconds_left", Kind::Left),
];

pub(super) const LISTS: [Column; 4] = [
    ("REVOCATION LIST OF", "issuer", Kind::Plain),
    ("FILE", "file", Kind::Plain),
    ("NEXT UPDATE", "next_update", Kind::Plain),
    ("LEFT", "seconds_left", Kind::Left),
];

pub(super) const FETCHED: [Column; 5] = [
    ("FETCHED", "kind", Kind::Plain),
    ("URL", "url", Kind::Plain),
    ("LAST FETCH", "last_fetch", Kind::Plain),
    ("NEXT FETCH", "next_fetch", Kind::Plain),
    ("LAST ERROR", "last_error", Kind::Plain),
];

pub(super) const LIMITS: [Column; 5] = [
    ("OF", "of", Kind::Plain),
    ("LIMIT", "limit", Kind::Plain),
    ("VALUE", "value", Kind::Plain),
    ("USED", "used", Kind::Plain),
    ("NEXT CLIENT", "next", Kind::State),
];

pub(super) const CHANGES: [Column; 5] = [
    ("WHAT", "what", Kind::Plain),
    ("NAME", "name", Kind::Plain),
    ("CHANGE", "change", Kind::Plain),
    ("CONNECTIONS", "connections", Kind::Plain),
    ("LIVE CONNECTIONS", "fate", Kind::Plain),
];

pub(super) const ORIGINS: [Column; 10] = [
    ("UPSTREAM", "upstream", Kind::Plain),
    ("ORIGIN", "name", Kind::Plain),
    ("ADDRESS", "address", Kind::Plain),
    ("STATE", "state", Kind::State),
    ("SINCE", "since", Kind::Plain),
    ("FLAPS", "flaps", Kind::Faults),
    ("WEIGHT", "weight", Kind::Plain),
    ("CONNECTIONS", "connections", Kind::Plain),
    ("CHECK", "check", Kind::State),
    ("LAST FAILURE", "last_failure", Kind::Plain),
];

pub(super) const ROUTES: [Column; 9] = [
    ("ENDPOINT", "endpoint", Kind::Plain),
    ("ROUTE", "route", Kind::Plain),
    ("LIVE", "live", Kind::Plain),
    ("ENDED", "ended", Kind::Plain),
    ("ENDED/S", "ended_per_second", Kind::Plain),
    ("FAILURES", "failures", Kind::Faults),
    ("FAILURES/S", "failures_per_second", Kind::Faults),
    ("UP/S", "bytes_up_per_second", Kind::Rate),
    ("DOWN/S", "bytes_down_per_second", Kind::Rate),
];
