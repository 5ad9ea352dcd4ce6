//! PROXY headers: the trusted senders, and the headers that Reseal sends.

use super::compiler::Compiler;
use crate::config::reader::listen::Listen;
use crate::config::reader::read::Located;
use crate::config::spec::{self, HeaderVersion, Tlv};
use crate::proxy_protocol::{Accept, SendHeader, TlvSet};

impl Compiler<'_> {
    /// The peers of an endpoint that must send a header.
    pub(super) fn accept_proxy_protocol(&mut self, spec: &spec::Endpoint) -> Option<Accept> {
        let accept = spec.accept_proxy_protocol.as_ref()?;
        if accept.from.is_empty() {
            self.problems
                .error(
                    accept.from.at,
                    "an empty list: no peer could send a PROXY header",
                )
                .help("name the addresses of the load balancers, or leave the key out");
            return None;
        }
        let is_unix = |listen: &Located<Listen>| matches!(listen.value, Listen::Unix(_));
        if !spec.listen.is_empty() && spec.listen.iter().all(is_unix) {
            self.problems
                .warning(
                    accept.at,
                    "`accept_proxy_protocol` has no effect: this endpoint listens only on unix sockets, \
                     whose peers have no address",
                )
                .help("let the peer connect over TCP, or leave the key out");
        }
        Some(Accept {
            from: accept.from.iter().map(|network| network.value.0).collect(),
            timeout: accept.timeout.0,
        })
    }

    /// The header that origins are sent.
    pub(super) fn send_proxy_protocol(
        &mut self,
        spec: &Located<spec::SendProxyProtocol>,
    ) -> Option<SendHeader> {
        let version = spec.version.value;
        if version != HeaderVersion::V2
            && let Some(first) = spec.tlvs.first()
        {
            self.problems
                .error(first.at, "only version 2 of a PROXY header has TLVs")
                .help("write `version: v2`");
        }
        let has = |wanted: Tlv| spec.tlvs.iter().any(|tlv| tlv.value == wanted);
        let tlvs = TlvSet {
            alpn: has(Tlv::Alpn),
            authority: has(Tlv::Authority),
            ssl: has(Tlv::Ssl),
            unique_id: has(Tlv::UniqueId),
            crc32c: has(Tlv::Crc32c),
            client_cert: has(Tlv::ClientCert),
        };
        if tlvs.client_cert && !tlvs.ssl {
            self.problems
                .error(spec.tlvs.at, "`client_cert` is a part of `ssl`")
                .help("add `ssl` to the list");
        }
        match version {
            HeaderVersion::Off => None,
            HeaderVersion::V1 => Some(SendHeader::V1),
            HeaderVersion::V2 => Some(SendHeader::V2(tlvs)),
        }
    }
}
