//! The keys of the rules on clients' addresses.

use crate::config::reader::fields::spec;
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::ip::Cidr;
use crate::config::reader::networks::CidrOr;
use crate::config::reader::values::Path;
use crate::tls::verify::client::Recheck;

spec! {
    /// Which addresses may connect; from the PROXY header where one has to be sent. Clients of unix sockets
    /// have no address, and are not subject to it.
    pub struct Sources {
        /// The networks that may connect. Absent: all.
        optional allow: OneOrMany<CidrOr<NetworkFile>>,
        /// The networks that may not, even if `allow` has them.
        optional deny: OneOrMany<CidrOr<NetworkFile>>,
        /// What happens to live connections of addresses that a reload denies.
        default recheck: Recheck = "close"
            because "who is denied has to go, not only to stay away",
        example "{ allow: [10.0.0.0/8] }";
        instead
            "allowed" | "allowlist" | "whitelist" | "white_list" | "permit" | "accept" | "from"
                | "sourcerange" | "source_range" => "allow",
            "denied" | "denylist" | "blacklist" | "black_list" | "blocklist" | "block" | "reject"
                | "drop" | "not" => "deny",
            "file" => "`deny: [{ file: FILE }]` takes the networks of a file, and so does `allow`";
    }
}

spec! {
    /// A file with networks.
    pub struct NetworkFile {
        /// Its path. One network or address in each line; `#` begins a comment.
        required file: Path,
        example "{ file: FILE }";
        instead
            "path" | "list" => "file",
            "url" => "`file: FILE` is re-read when it changes: let another program fetch the list into it";
    }
}

spec! {
    /// Networks that are excluded.
    pub struct Excluded {
        /// The networks that do not match, even if others of the list do.
        required not: OneOrMany<Cidr>,
        example "{ not: [10.9.0.0/16] }";
        instead
            "except" | "exclude" => "not",
            "file" =>
                "`sources: { deny: [{ file: FILE }] }` takes the networks of a file; `match` takes none";
    }
}
